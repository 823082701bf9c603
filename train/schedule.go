package train

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
)

// Schedule is the learning rate as a pure function of the step.
//
// Every kind but "none" begins with a linear warm-up of W steps. After it, with η = peak_lr, η_min = floor_share·η and
// x running from 0 at the first step of a part to 1 at its last:
//
//	cosine        η_min + ½(η − η_min)(1 + cos πx)              to the last step
//	linear        η + (η_min − η)x                              to the last step
//	inverse_sqrt  η√((W+1)/step)                                never below η_min
//	wsd           η, then over the last decay_steps η_min + (η − η_min)·d(x), d as decay says
//	infinite      cooldown from η to stable_share·η in cooldown_steps, then constant, then as wsd from there
//	constant      η
//	none          η from the first step on
//
// A continued model is re-warmed and re-decayed (Gupta et al. 2023, arXiv 2308.04014). wsd: Hu et al. 2024, arXiv
// 2404.06395, 1-sqrt from Hägele et al. 2024, arXiv 2405.18392; infinite: Ibrahim et al. 2024, arXiv 2403.08763.
type Schedule struct {
	Kind          string  `yaml:"kind,omitempty" json:"kind"`                               // "cosine" (default), "linear", "inverse_sqrt", "wsd", "infinite", "constant" or "none"
	PeakLR        float64 `yaml:"peak_lr" json:"peak_lr"`                                   // η, reached at the end of the warm-up
	WarmupSteps   int     `yaml:"warmup_steps,omitempty" json:"warmup_steps"`               // W, linear: start_lr + (η − start_lr)·step/(W+1); 0 starts at the peak
	StartLR       float64 `yaml:"start_lr,omitempty" json:"start_lr,omitempty"`             // where the warm-up rises from, such as the rate that the base ended with
	StartAtBase   bool    `yaml:"start_at_base,omitempty" json:"start_at_base,omitempty"`   // start_lr is the last rate of base.train, or of the checkpoint of ravn that base.model is
	FloorShare    float64 `yaml:"floor_share,omitempty" json:"floor_share"`                 // of the peak, where decay ends (0.1 in the 2024 run)
	Decay         string  `yaml:"decay,omitempty" json:"decay,omitempty"`                   // of wsd and infinite: "1-sqrt" (default), "linear", "exponential" or "cosine"
	DecaySteps    int     `yaml:"decay_steps,omitempty" json:"decay_steps,omitempty"`       // of wsd and infinite: the last steps; default a fifth of them
	StableShare   float64 `yaml:"stable_share,omitempty" json:"stable_share,omitempty"`     // of infinite: the constant rate as a share of the peak; default 0.5
	CooldownSteps int     `yaml:"cooldown_steps,omitempty" json:"cooldown_steps,omitempty"` // of infinite: from the peak to the constant rate; default a quarter of the steps
	Cooldown      string  `yaml:"cooldown,omitempty" json:"cooldown,omitempty"`             // of infinite: "cosine" (default) or "inverse_sqrt"
}

var (
	scheduleKinds = []string{"cosine", "linear", "inverse_sqrt", "wsd", "infinite", "constant", "none"}
	decayKinds    = []string{"1-sqrt", "linear", "exponential", "cosine"}
)

// Fill completes what was left at zero for a run of the given number of steps.
func (s *Schedule) Fill(steps int) {
	if s.Kind != "wsd" && s.Kind != "infinite" {
		return
	}
	if s.Decay == "" {
		s.Decay = "1-sqrt"
	}
	if s.DecaySteps == 0 {
		s.DecaySteps = max(1, steps/5)
	}
	if s.Kind == "wsd" {
		return
	}
	if s.StableShare == 0 {
		s.StableShare = 0.5
	}
	if s.CooldownSteps == 0 {
		s.CooldownSteps = max(1, steps/4)
	}
	if s.Cooldown == "" {
		s.Cooldown = "cosine"
	}
}

// Validate reports what is wrong with s for a run of the given number of steps.
func (s Schedule) Validate(steps int) error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf("schedule."+format, args...)) }
	if !slices.Contains(scheduleKinds, s.Kind) {
		bad("kind %q is unknown (%s)", s.Kind, strings.Join(scheduleKinds, ", "))
	}
	if !(s.PeakLR > 0) || s.PeakLR > 1 {
		bad("peak_lr %g must lie in (0, 1]", s.PeakLR)
	}
	if s.WarmupSteps < 0 || s.WarmupSteps >= steps && steps > 0 {
		bad("warmup_steps %d must lie in [0, steps=%d)", s.WarmupSteps, steps)
	}
	if s.Kind == "none" && s.WarmupSteps != 0 {
		bad("kind none has no warm-up, but warmup_steps is %d (constant has one)", s.WarmupSteps)
	}
	if s.StartLR < 0 || s.StartLR > 1 {
		bad("start_lr %g must lie in [0, 1]", s.StartLR)
	}
	if (s.StartLR > 0 || s.StartAtBase) && s.WarmupSteps == 0 {
		bad("start_lr %g is what a warm-up rises from, and warmup_steps is 0 (give some, or leave out start_lr and start_at_base)", s.StartLR)
	}
	if s.FloorShare < 0 || s.FloorShare > 1 {
		bad("floor_share %g must lie in [0, 1]", s.FloorShare)
	}
	decays, cools := s.Kind == "wsd" || s.Kind == "infinite", s.Kind == "infinite"
	switch {
	case !decays && (s.Decay != "" || s.DecaySteps != 0):
		bad("decay and decay_steps belong to the kinds wsd and infinite, not to %s", s.Kind)
	case decays && !slices.Contains(decayKinds, s.Decay):
		bad("decay %q is unknown (%s)", s.Decay, strings.Join(decayKinds, ", "))
	case decays && s.Decay == "exponential" && s.FloorShare == 0:
		bad("decay exponential never reaches 0: floor_share must be positive")
	}
	switch {
	case !cools && (s.StableShare != 0 || s.CooldownSteps != 0 || s.Cooldown != ""):
		bad("stable_share, cooldown_steps and cooldown belong to the kind infinite, not to %s", s.Kind)
	case cools && (s.StableShare < s.FloorShare || s.StableShare > 1):
		bad("stable_share %g must lie in [floor_share=%g, 1]", s.StableShare, s.FloorShare)
	case cools && s.Cooldown != "cosine" && s.Cooldown != "inverse_sqrt":
		bad("cooldown %q is unknown (cosine, inverse_sqrt)", s.Cooldown)
	}
	if parts := s.WarmupSteps + s.CooldownSteps + s.DecaySteps; s.DecaySteps < 0 || s.CooldownSteps < 0 || steps > 0 && decays && parts > steps {
		bad("warmup_steps %d, cooldown_steps %d and decay_steps %d must not be negative and fit into steps=%d", s.WarmupSteps, s.CooldownSteps, s.DecaySteps, steps)
	}
	return errors.Join(errs...)
}

// LR is the learning rate of a step, 1 being the first of steps.
func (s Schedule) LR(step, steps int) float64 {
	peak, floor, first := s.PeakLR, s.PeakLR*s.FloorShare, s.WarmupSteps+1
	step = min(step, steps)
	if s.Kind == "none" {
		return peak
	}
	if step < first {
		return s.StartLR + (peak-s.StartLR)*float64(step)/float64(first)
	}
	switch s.Kind {
	case "constant":
		return peak
	case "linear":
		return peak + (floor-peak)*within(step, first, steps)
	case "inverse_sqrt":
		return max(floor, peak*math.Sqrt(float64(first)/float64(step)))
	case "wsd":
		return decayed(s.Decay, peak, floor, step-(steps-s.DecaySteps), s.DecaySteps)
	case "infinite":
		stable := peak * s.StableShare
		if k := step - s.WarmupSteps; k <= s.CooldownSteps {
			return cooled(s.Cooldown, peak, stable, within(k, 1, s.CooldownSteps+1))
		}
		return decayed(s.Decay, stable, floor, step-(steps-s.DecaySteps), s.DecaySteps)
	}
	return cosine(peak, floor, within(step, first, steps))
}

// within is how far step has come from first (0) to last (1).
func within(step, first, last int) float64 {
	if last <= first {
		return 0
	}
	return float64(step-first) / float64(last-first)
}

func cosine(from, to, x float64) float64 { return to + (from-to)*0.5*(1+math.Cos(math.Pi*x)) }

// cooled goes from one rate to a lower one. The inverse square root from/√(1+αx) has its α such that it ends at to.
func cooled(kind string, from, to, x float64) float64 {
	if kind == "inverse_sqrt" {
		alpha := from*from/(to*to) - 1
		return from / math.Sqrt(1+alpha*x)
	}
	return cosine(from, to, x)
}

// decayed is the rate at step k of a decay over n steps, from before step 1 to at step n.
func decayed(kind string, from, to float64, k, n int) float64 {
	if k <= 0 || n <= 0 {
		return from
	}
	x := min(1, float64(k)/float64(n))
	switch kind {
	case "linear":
		return from + (to-from)*x
	case "exponential":
		return from * math.Pow(to/from, x)
	case "cosine":
		return cosine(from, to, x)
	}
	return to + (from-to)*(1-math.Sqrt(x))
}
