package cpu

import "testing"

// TestNothingIsAllocated counts allocations of a step after the first.
func TestNothingIsAllocated(t *testing.T) {
	c := config()
	e := newEngine(t, weights(c, 1), Options{Threads: 2, MaxTokens: 256, MaxRow: 128})
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
