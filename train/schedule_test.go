package train

import (
	"math"
	"strings"
	"testing"
)

// TestSchedulesAgainstClosedForms compares with numbers reckoned by hand from the formulas in the comment of Schedule.
func TestSchedulesAgainstClosedForms(t *testing.T) {
	type at struct {
		step int
		want float64
	}
	for name, c := range map[string]struct {
		s      Schedule
		steps  int
		points []at
	}{
		"cosine": {Schedule{Kind: "cosine", PeakLR: 1, WarmupSteps: 4, FloorShare: 0.1}, 15, []at{
			{1, 0.2}, {4, 0.8}, {5, 1}, // warm-up by fifths, then the peak
			{10, 0.55}, {15, 0.1}, {20, 0.1}, // half way, the floor, and it stays
			{7, 0.1 + 0.45*(1+math.Cos(math.Pi*0.2))},
		}},
		"cosine from the first step": {Schedule{Kind: "cosine", PeakLR: 1}, 11, []at{{1, 1}, {6, 0.5}, {11, 0}}},
		"warm-up from the base's last rate": {Schedule{Kind: "constant", PeakLR: 0.5, WarmupSteps: 3, StartLR: 0.1}, 9, []at{
			{1, 0.2}, {2, 0.3}, {3, 0.4}, {4, 0.5}, {9, 0.5},
		}},
		"constant": {Schedule{Kind: "constant", PeakLR: 0.5}, 10, []at{{1, 0.5}, {10, 0.5}}},
		"none":     {Schedule{Kind: "none", PeakLR: 0.5}, 10, []at{{1, 0.5}, {10, 0.5}}},
		"linear":   {Schedule{Kind: "linear", PeakLR: 1, WarmupSteps: 1, FloorShare: 0.2}, 6, []at{{1, 0.5}, {2, 1}, {3, 0.8}, {4, 0.6}, {6, 0.2}}},
		"inverse square root": {Schedule{Kind: "inverse_sqrt", PeakLR: 1, WarmupSteps: 3, FloorShare: 0.25}, 100, []at{
			{2, 0.5}, {4, 1}, {16, 0.5}, {36, 1. / 3}, {100, 0.25},
		}},
		"wsd 1-sqrt": {Schedule{Kind: "wsd", PeakLR: 1, WarmupSteps: 1, DecaySteps: 4, Decay: "1-sqrt", FloorShare: 0.1}, 10, []at{
			{1, 0.5}, {2, 1}, {6, 1}, {7, 0.1 + 0.9*0.5}, {9, 0.1 + 0.9*(1-math.Sqrt(0.75))}, {10, 0.1},
		}},
		"wsd linear":      {Schedule{Kind: "wsd", PeakLR: 1, DecaySteps: 4, Decay: "linear"}, 10, []at{{1, 1}, {6, 1}, {7, 0.75}, {8, 0.5}, {10, 0}}},
		"wsd exponential": {Schedule{Kind: "wsd", PeakLR: 1, DecaySteps: 4, Decay: "exponential", FloorShare: 0.0625}, 10, []at{{6, 1}, {7, 0.5}, {8, 0.25}, {10, 0.0625}}},
		"wsd cosine":      {Schedule{Kind: "wsd", PeakLR: 1, DecaySteps: 4, Decay: "cosine"}, 10, []at{{6, 1}, {8, 0.5}, {10, 0}}},
		"infinite": {Schedule{Kind: "infinite", PeakLR: 1, WarmupSteps: 1, CooldownSteps: 4, Cooldown: "cosine", StableShare: 0.5, DecaySteps: 2, Decay: "exponential", FloorShare: 0.125}, 12, []at{
			{1, 0.5}, {2, 1}, {4, 0.75}, {6, 0.5}, {10, 0.5}, {11, 0.25}, {12, 0.125},
		}},
		"infinite inverse square root": {Schedule{Kind: "infinite", PeakLR: 1, CooldownSteps: 3, Cooldown: "inverse_sqrt", StableShare: 0.5, DecaySteps: 1, Decay: "linear"}, 8, []at{
			{1, 1}, {2, 1 / math.Sqrt2}, {3, 1 / math.Sqrt(3)}, {4, 0.5}, {7, 0.5}, {8, 0},
		}},
	} {
		c.s.Fill(c.steps)
		if err := c.s.Validate(c.steps); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		for _, p := range c.points {
			if got := c.s.LR(p.step, c.steps); math.Abs(got-p.want) > 1e-12 {
				t.Errorf("%s: step %d: %.6f, want %.6f", name, p.step, got, p.want)
			}
		}
	}
}

// TestStablePhaseDoesNotKnowTheEnd is why a decay may begin at any checkpoint of a stable phase.
func TestStablePhaseDoesNotKnowTheEnd(t *testing.T) {
	for _, kind := range []string{"wsd", "infinite"} {
		long := Schedule{Kind: kind, PeakLR: 1e-3, WarmupSteps: 10, DecaySteps: 50}
		if kind == "infinite" {
			long.CooldownSteps = 20
		}
		long.Fill(1000)
		short := long
		for step := 1; step <= 150; step++ {
			if a, b := long.LR(step, 1000), short.LR(step, 200); a != b {
				t.Fatalf("%s: step %d: %g of 1000 steps, %g of 200", kind, step, a, b)
			}
		}
	}
}

func TestBadSchedulesAreAllNamed(t *testing.T) {
	s := Schedule{Kind: "infinite", PeakLR: 0, WarmupSteps: 5, StartLR: 2, FloorShare: 0.7, Decay: "steps", StableShare: 0.5, CooldownSteps: 4, Cooldown: "linear", DecaySteps: 4}
	err := s.Validate(10)
	for _, want := range []string{"peak_lr 0", "start_lr 2", `decay "steps"`, "stable_share 0.5", "cooldown_steps 4 and decay_steps 4"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error lacks %q:\n%v", want, err)
		}
	}
	s = Schedule{Kind: "cosine", PeakLR: 1, DecaySteps: 3, CooldownSteps: 2}
	err = s.Validate(10)
	for _, want := range []string{"decay_steps belong", "cooldown belong"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error lacks %q:\n%v", want, err)
		}
	}
}
