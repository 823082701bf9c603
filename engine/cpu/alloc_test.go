package cpu

import (
	"testing"

	"ravn/model"
)

// TestNothingIsAllocated counts allocations of a step after the first.
func TestNothingIsAllocated(t *testing.T) {
	for _, p := range []model.DType{model.F32, model.BF16} {
		t.Run(string(p), func(t *testing.T) { nothingIsAllocated(t, p) })
	}
}

func nothingIsAllocated(t *testing.T, p model.DType) {
	c := config()
	e := newEngine(t, weights(c, 1), Options{Threads: 2, MaxTokens: 256, MaxRow: 128, Precision: p, Recompute: p == model.BF16})
	b := batch(c, 1, 2, 128, documents(50))
	u := step
	u.Step = 1
	got := testing.AllocsPerRun(5, func() {
		if _, err := e.Accumulate(b, 1); err != nil {
			t.Fatal(err)
		}
		e.GradNorm()
		if err := e.Update(u); err != nil {
			t.Fatal(err)
		}
	})
	// A garbage collection empties the kernels' pools of arguments; a handful is that, a leak would be hundreds.
	if got > 20 {
		t.Errorf("%v allocations a step", got)
	}
}
