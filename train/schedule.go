package train

import (
	"errors"
	"fmt"
	"math"
)

// Schedule is the learning rate as a pure function of the step.
type Schedule struct {
	Kind        string  `yaml:"kind,omitempty" json:"kind"`                 // "cosine" (default) or "constant"
	PeakLR      float64 `yaml:"peak_lr" json:"peak_lr"`                     // η, reached at the end of the warm-up
	WarmupSteps int     `yaml:"warmup_steps,omitempty" json:"warmup_steps"` // linear from η/(W+1) at step 1; 0 starts at the peak
	FloorShare  float64 `yaml:"floor_share,omitempty" json:"floor_share"`   // cosine ends at this share of the peak (0.1 in the 2024 run)
}

// Validate reports what is wrong with s for a run of the given number of steps.
func (s Schedule) Validate(steps int) error {
	var errs []error
	if s.Kind != "cosine" && s.Kind != "constant" {
		errs = append(errs, fmt.Errorf("schedule kind %q is unknown (cosine, constant)", s.Kind))
	}
	if !(s.PeakLR > 0) || s.PeakLR > 1 {
		errs = append(errs, fmt.Errorf("schedule peak_lr %g must lie in (0, 1]", s.PeakLR))
	}
	if s.WarmupSteps < 0 || s.WarmupSteps >= steps && steps > 0 {
		errs = append(errs, fmt.Errorf("schedule warmup_steps %d must lie in [0, steps=%d)", s.WarmupSteps, steps))
	}
	if s.FloorShare < 0 || s.FloorShare > 1 {
		errs = append(errs, fmt.Errorf("schedule floor_share %g must lie in [0, 1]", s.FloorShare))
	}
	return errors.Join(errs...)
}

// LR is the learning rate of a step, 1 being the first of steps.
//
// During warm-up it is η·step/(W+1), so that no step has rate 0. After it, cosine:
// η_min + ½(η − η_min)(1 + cos π·x), x from 0 at the first step after the warm-up to 1 at the last step.
func (s Schedule) LR(step, steps int) float64 {
	if step <= s.WarmupSteps {
		return s.PeakLR * float64(step) / float64(s.WarmupSteps+1)
	}
	if s.Kind == "constant" {
		return s.PeakLR
	}
	first := s.WarmupSteps + 1
	if step > steps {
		step = steps
	}
	x := 0.0
	if steps > first {
		x = float64(step-first) / float64(steps-first)
	}
	floor := s.PeakLR * s.FloorShare
	return floor + (s.PeakLR-floor)*0.5*(1+math.Cos(math.Pi*x))
}
