package train

import (
	"errors"
	"fmt"
	"math"
	"slices"
)

// Spikes says what a loss spike is and what is done about it: a loss or a gradient norm that lies more than Z standard
// deviations above the mean of the last Window steps, as OLMo and llm.c have it.
type Spikes struct {
	Window int     `yaml:"window,omitempty" json:"window"` // steps that are looked back on, without earlier spikes; default 64; judged from half of it on
	Z      float64 `yaml:"z,omitempty" json:"z"`           // standard deviations above the mean; default 6
	Action string  `yaml:"action,omitempty" json:"action"` // "warn" (default), "skip", which leaves that batch's update out, or "rewind": back to the last checkpoint before it, and on without the batches that led to it
	Back   int     `yaml:"back,omitempty" json:"back"`     // of rewind: batches before the spike's that are passed over with it; default 3
	Most   int     `yaml:"most,omitempty" json:"most"`     // of rewind: times that a run may go back; the next spike ends it with an error; default 3, at most 8
}

func (s *Spikes) fill() {
	if s.Window == 0 {
		s.Window = 64
	}
	if s.Z == 0 {
		s.Z = 6
	}
	if s.Action == "" {
		s.Action = "warn"
	}
	if s.Action == "rewind" {
		if s.Back == 0 {
			s.Back = 3
		}
		if s.Most == 0 {
			s.Most = 3
		}
	}
}

// Validate reports everything that is wrong with s.
func (s *Spikes) Validate() error {
	var errs []error
	if s.Window < 4 {
		errs = append(errs, fmt.Errorf("spikes.window %d must be at least 4", s.Window))
	}
	if !(s.Z > 0) {
		errs = append(errs, fmt.Errorf("spikes.z %g must be positive", s.Z))
	}
	if !slices.Contains([]string{"warn", "skip", "rewind"}, s.Action) {
		errs = append(errs, fmt.Errorf("spikes.action %q is unknown (warn, skip, rewind)", s.Action))
	}
	if s.Most > 8 {
		errs = append(errs, fmt.Errorf("spikes.most %d is more than 8; a run that has to go back more often needs another recipe", s.Most))
	}
	if rewinds := s.Action == "rewind"; rewinds && (s.Back < 1 || s.Most < 1) || !rewinds && (s.Back != 0 || s.Most != 0) {
		errs = append(errs, fmt.Errorf("spikes.back %d and spikes.most %d belong to action rewind, and are positive there", s.Back, s.Most))
	}
	return errors.Join(errs...)
}

// window is the last values of something.
type window struct {
	size   int
	values []float64
}

func (w *window) add(v float64) {
	w.values = append(w.values, v)
	if len(w.values) > w.size {
		w.values = w.values[1:]
	}
}

// z is how many standard deviations v lies above the mean of the window; 0 while the window is less than half full.
func (w *window) z(v float64) float64 {
	n := float64(len(w.values))
	if len(w.values) < max(2, w.size/2) {
		return 0
	}
	mean, ss := 0.0, 0.0
	for _, x := range w.values {
		mean += x / n
	}
	for _, x := range w.values {
		ss += (x - mean) * (x - mean)
	}
	if sd := math.Sqrt(ss / (n - 1)); sd > 0 {
		return (v - mean) / sd
	}
	return 0
}

// watch keeps the windows of loss and gradient norm.
type watch struct {
	*Spikes
	losses, norms window
}

func newWatch(s *Spikes) *watch {
	if s == nil {
		return nil
	}
	return &watch{Spikes: s, losses: window{size: s.Window}, norms: window{size: s.Window}}
}

// see takes a step in and tells whether it is a spike; what is one does not enter the windows.
func (w *watch) see(loss, norm float64) (zLoss, zNorm float64, spike bool) {
	if w == nil {
		return 0, 0, false
	}
	zLoss, zNorm = w.losses.z(loss), w.norms.z(norm)
	if zLoss > w.Z || zNorm > w.Z {
		return zLoss, zNorm, true
	}
	w.losses.add(loss)
	w.norms.add(norm)
	return zLoss, zNorm, false
}
