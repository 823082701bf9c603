package eval

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"ravn/internal/atomicfile"
)

// Prediction is what a model answered to one item under one draw of examples. Counts are the item's part of the sums
// that its metrics are functions of, so two models can be compared item by item without asking again.
type Prediction struct {
	Draw   int       `json:"draw"`             // from 0
	Row    int       `json:"row"`              // of the split, from 0
	Times  int       `json:"times"`            // how often the row stands in the draw's sample; 1 in mode ravn
	ID     string    `json:"id,omitempty"`     // of the item, where it has one
	Group  string    `json:"group,omitempty"`  // source of a text
	Shots  int       `json:"shots,omitempty"`  // examples in its prompt
	Gold   string    `json:"gold,omitempty"`   // right answer
	Answer string    `json:"answer,omitempty"` // as read
	Output string    `json:"output,omitempty"` // as written by the model, where it wrote
	Scores []float64 `json:"scores,omitempty"` // log-probabilities of the labels in their order
	Counts []float64 `json:"counts"`
	Seen   bool      `json:"seen,omitempty"` // the item was found in the training text
}

// WritePredictions writes a JSONL file, whole or not at all.
func WritePredictions(path string, ps []Prediction) error {
	f, err := atomicfile.Create(path)
	if err != nil {
		return err
	}
	defer f.Abort()
	w := bufio.NewWriter(f)
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	for i := range ps {
		if err := enc.Encode(&ps[i]); err != nil {
			return fmt.Errorf("eval: %s: prediction %d: %w", path, i, err)
		}
	}
	if err := w.Flush(); err != nil {
		return fmt.Errorf("eval: %s: %w", path, err)
	}
	return f.Commit()
}

// ReadPredictions reads what WritePredictions wrote.
func ReadPredictions(path string) ([]Prediction, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("eval: %w", err)
	}
	defer f.Close()
	r := bufio.NewReader(f)
	var ps []Prediction
	for line := 1; ; line++ {
		data, err := r.ReadBytes('\n')
		if len(data) > 0 {
			var p Prediction
			if e := json.Unmarshal(data, &p); e != nil {
				return nil, fmt.Errorf("eval: %s:%d: %w", path, line, e)
			}
			ps = append(ps, p)
		}
		if errors.Is(err, io.EOF) {
			return ps, nil
		}
		if err != nil {
			return nil, fmt.Errorf("eval: %s: %w", path, err)
		}
	}
}
