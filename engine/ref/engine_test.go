package ref

import (
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"ravn/model"
)

func TestGradientsAreAddedToAndScaled(t *testing.T) {
	c := base()
	e := newEngine[float64](t, &c)
	b := segmented(batch(2, 6, 13), 4, 2)
	one, err := e.Accumulate(b, 1)
	if err != nil {
		t.Fatal(err)
	}
	once := slices.Clone(e.Grads())
	again, err := e.Accumulate(b, 0.5)
	if err != nil {
		t.Fatal(err)
	}
	if one != again {
		t.Errorf("the loss %g is scaled to %g", one, again)
	}
	for i, g := range e.Grads() {
		if math.Abs(g-1.5*once[i]) > 1e-12 {
			t.Fatalf("gradient %d is %g after two batches, want %g", i, g, 1.5*once[i])
		}
	}
	// Two rows together are the sum of each alone.
	f := newEngine[float64](t, &c)
	var sum float64
	for row := range 2 {
		lo, hi := row*6, row*6+6
		nll, err := f.Accumulate(&model.Batch{B: 1, T: 6, Tokens: b.Tokens[lo:hi], Targets: b.Targets[lo:hi], Positions: b.Positions[lo:hi], Segments: b.Segments[lo:hi]}, 1)
		if err != nil {
			t.Fatal(err)
		}
		sum += nll
	}
	if math.Abs(sum-one) > 1e-12 {
		t.Errorf("rows alone cost %g, together %g", sum, one)
	}
	for i, g := range f.Grads() {
		if math.Abs(g-once[i]) > 1e-12 {
			t.Fatalf("gradient %d of rows alone is %g, together %g", i, g, once[i])
		}
	}
}

func TestLossAgreesWithAccumulate(t *testing.T) {
	for _, v := range variants() {
		e := newEngine[float32](t, &v.cfg)
		nll := make([]float32, len(v.batch.Tokens))
		if err := e.Loss(nll, v.batch); err != nil {
			t.Fatal(err)
		}
		var sum float64
		for _, l := range nll {
			sum += float64(l)
		}
		total, err := e.Accumulate(v.batch, 1)
		if err != nil {
			t.Fatal(err)
		}
		if total != sum {
			t.Errorf("%s: Loss adds up to %g, Accumulate returns %g", v.name, sum, total)
		}
	}
}

// TestAdamWByHand follows one number through two steps: g = 1 then 1, lr 0.1, β 0.9 and 0.95, no eps, decay 0.5.
func TestAdamWByHand(t *testing.T) {
	w, g, m, v := []float64{2, 2}, []float64{4, 4}, make([]float64, 2), make([]float64, 2)
	u := model.Update{Step: 1, LR: 0.1, Beta1: 0.9, Beta2: 0.95, WeightDecay: 0.5, GradScale: 0.25}
	adamW(w[:1], g[:1], m[:1], v[:1], u, true)
	adamW(w[1:], g[1:], m[1:], v[1:], u, false)
	// g·scale = 1: m̂ = v̂ = 1, so the step is 0.1; decay takes 0.1·0.5·2 = 0.1 more.
	near(t, "w", w, []float64{1.8, 1.9})
	near(t, "m and v", []float64{m[0], v[0]}, []float64{0.1, 0.05})
	u.Step = 2
	adamW(w[:1], g[:1], m[:1], v[:1], u, true)
	// m = 0.19, m̂ = 0.19/(1-0.81) = 1; v = 0.0975, v̂ = 0.0975/(1-0.9025) = 1; decay 0.05·1.8.
	near(t, "w after two steps", w[:1], []float64{1.8 - 0.1 - 0.09})
}

func TestStateGoesInAndOut(t *testing.T) {
	c := base()
	a, b := newEngine[float32](t, &c), newEngine[float32](t, &c)
	step := func(e *Engine[float32], n int) {
		t.Helper()
		if _, err := e.Accumulate(batch(2, 6, 13), 0.125); err != nil {
			t.Fatal(err)
		}
		if err := e.Update(model.Update{Step: n, LR: 0.01, Beta1: 0.9, Beta2: 0.95, Eps: 1e-8, WeightDecay: 0.1, GradScale: 1}); err != nil {
			t.Fatal(err)
		}
	}
	step(a, 1)
	if err := b.SetState(a.State()); err != nil {
		t.Fatal(err)
	}
	step(a, 2)
	step(b, 2)
	if d := cmp.Diff(a.State(), b.State()); d != "" {
		t.Error("an engine that takes over goes another way:\n", d)
	}
	if &a.State().Params[0] != &a.Params()[0] {
		t.Error("the state of a float32 engine is a copy")
	}
	if err := b.SetState(model.State{Params: a.w}); err != nil {
		t.Fatal(err)
	}
	for _, x := range slices.Concat(b.m, b.v) {
		if x != 0 {
			t.Fatal("moments that are not given are not zero")
		}
	}
	for want, s := range map[string]model.State{
		"0 parameters":          {},
		"3 first moments":       {Params: a.w, M: make([]float32, 3)},
		"3 second moments for ": {Params: a.w, V: make([]float32, 3)},
	} {
		if err := b.SetState(s); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}

func TestRefused(t *testing.T) {
	c := base()
	e := newEngine[float32](t, &c)
	plain := batch(1, 4, 13)
	noTargets := &model.Batch{B: 1, T: 4, Tokens: plain.Tokens}
	bad := &model.Batch{B: 1, T: 4, Tokens: []int32{1, 2, 3, 13}, Targets: plain.Targets}
	tests := map[string]func() error{
		"a batch without targets has no loss": func() error { _, err := e.Accumulate(noTargets, 1); return err },
		"4 losses and 0 targets":              func() error { return e.Loss(make([]float32, 4), noTargets) },
		"3 losses and 4 targets":              func() error { return e.Loss(make([]float32, 3), plain) },
		"id 13 is outside the vocabulary":     func() error { _, err := e.Accumulate(bad, 1); return err },
		"1 rows of 0 tokens":                  func() error { _, err := e.Logits(nil); return err },
		"the first step is 1":                 func() error { return e.Update(model.Update{}) },
		"5 numbers for": func() error {
			_, err := New[float32](&model.Weights{Config: &c, Params: make([]float32, 5)})
			return err
		},
		"hidden_act": func() error {
			other := base()
			other.HiddenAct = "gelu"
			_, err := New[float32](formula(&other))
			return err
		},
	}
	for want, f := range tests {
		if err := f(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}

// TestLossFalls trains on one batch until it is known by heart.
func TestLossFalls(t *testing.T) {
	c := base()
	e := newEngine[float32](t, &c)
	b := batch(1, 8, 13)
	n := float32(b.NumTargets())
	var first, last float64
	for step := 1; step <= 60; step++ {
		nll, err := e.Accumulate(b, 1/n)
		if err != nil {
			t.Fatal(err)
		}
		if step == 1 {
			first = nll
		}
		last = nll
		if err := e.Update(model.Update{Step: step, LR: 0.02, Beta1: 0.9, Beta2: 0.95, Eps: 1e-8, GradScale: 1}); err != nil {
			t.Fatal(err)
		}
	}
	if !(last < 0.05*first) {
		t.Errorf("60 steps on one batch bring the loss from %g to %g", first, last)
	}
}
