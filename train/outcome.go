package train

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"ravn/checkpoint"
	"ravn/internal/atomicfile"
)

// Outcome is outcome.json of a phase: how far it has come, and what its guard has seen and done. It repeats byte for
// byte when a run is resumed.
type Outcome struct {
	Steps            int      `json:"steps"`                       // where the phase ends: before the planned end after an early decay
	Finished         bool     `json:"finished"`                    // the last step is done
	Stopped          int      `json:"stopped,omitempty"`           // step at which the guard stopped it
	DecayFrom        int      `json:"decay_from,omitempty"`        // step behind which the guard brought the rate down
	Raised           []int    `json:"raised,omitempty"`            // steps behind which the guard raised replay
	Rewinds          []Rewind `json:"rewinds,omitempty"`           // spikes that the run went back for
	Within           int      `json:"within,omitempty"`            // step of the last scheduled checkpoint known to be within all limits
	WithinCheckpoint string   `json:"within_checkpoint,omitempty"` // its folder, relative; "" is the base
	JudgedAt         int      `json:"judged_at,omitempty"`         // step of the last evaluation
	Judged           []Judged `json:"judged,omitempty"`            // what it found
}

// Changes are what the outcome says of the order.
func (o Outcome) Changes() Changes { return Changes{Raised: o.Raised, Passed: passed(o.Rewinds)} }

const outcomeName = "outcome.json"

// ReadOutcome reads outcome.json of a phase's folder. One that is missing is the outcome of a phase that ends as planned.
func ReadOutcome(dir string, planned int) (Outcome, error) {
	o := Outcome{Steps: planned}
	path := filepath.Join(dir, outcomeName)
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return o, nil
	}
	if err == nil {
		err = json.Unmarshal(data, &o)
	}
	if err != nil {
		return o, fmt.Errorf("train: %s: %w", path, err)
	}
	if o.Steps < 1 || o.Steps > planned {
		return o, fmt.Errorf("train: %s: ends at step %d of %d planned (it belongs to another recipe; remove it)", path, o.Steps, planned)
	}
	return o, nil
}

func (l *loop) writeOutcome(finished bool) error {
	s := l.state
	o := Outcome{
		Steps: l.end(), Finished: finished, Stopped: s.Stopped, DecayFrom: s.Decay, Raised: s.Raised, Rewinds: l.rewinds,
		Within: s.Within, JudgedAt: l.judgedAt, Judged: l.judged,
	}
	if s.Within > 0 {
		o.WithinCheckpoint = "checkpoints/" + checkpoint.Name(s.Within)
	}
	data, err := json.MarshalIndent(o, "", "  ")
	if err != nil {
		return fmt.Errorf("train: outcome: %w", err)
	}
	return atomicfile.WriteFile(filepath.Join(l.Dir, outcomeName), append(data, '\n'))
}
