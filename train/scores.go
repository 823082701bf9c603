package train

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	"ravn/internal/atomicfile"
)

// Scored is one held-out document under the base and at the last evaluation, a line of scores.jsonl.
type Scored struct {
	Step     int     `json:"step"` // of that evaluation
	Language string  `json:"language"`
	Source   string  `json:"source,omitempty"`
	ID       string  `json:"id"`
	Bytes    int     `json:"bytes"`
	Base     float64 `json:"base"` // nats
	Last     float64 `json:"last"` // nats
}

const scoresName = "scores.jsonl"

func (l *loop) writeScores(step int, nll []float64) error {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	for i, t := range l.Heldout.texts {
		if err := enc.Encode(Scored{step, t.Language, t.Source, t.ID, t.Bytes, l.base[i], nll[i]}); err != nil {
			return fmt.Errorf("train: scores: %w", err)
		}
	}
	return atomicfile.WriteFile(filepath.Join(l.Dir, scoresName), b.Bytes())
}

// ReadScores reads scores.jsonl of a phase's folder.
func ReadScores(dir string) ([]Scored, error) {
	path := filepath.Join(dir, scoresName)
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("train: %w", err)
	}
	var all []Scored
	for n, line := range bytes.Split(data, []byte("\n")) {
		if len(line) == 0 {
			continue
		}
		var s Scored
		if err := json.Unmarshal(line, &s); err != nil {
			return nil, fmt.Errorf("train: %s:%d: %w", path, n+1, err)
		}
		all = append(all, s)
	}
	return all, nil
}
