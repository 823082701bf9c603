package cpu

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"ravn/model"
)

var step = model.Update{LR: 1e-2, Beta1: 0.9, Beta2: 0.95, Eps: 1e-8, WeightDecay: 0.1, GradScale: 0.7}

// TestThreadsDoNotMatter trains five steps with 1, 2 and 3 threads: losses, gradients, norms and parameters are the
// same bits.
func TestThreadsDoNotMatter(t *testing.T) {
	for _, p := range []model.DType{model.F32, model.BF16} {
		t.Run(string(p), func(t *testing.T) { threadsDoNotMatter(t, p) })
	}
}

func threadsDoNotMatter(t *testing.T, p model.DType) {
	c := config(func(c *model.Config) { c.SlidingWindow = 50; c.VocabSize = 301; c.HiddenSize = 72 })
	w := weights(c, 1)
	type result struct {
		losses []float64
		grads  []float32
		params []float32
	}
	train := func(threads int) (r result) {
		e := newEngine(t, w, Options{Threads: threads, MaxTokens: 600, MaxRow: 200, Precision: p})
		for i := range 5 {
			b := batch(c, uint64(i), 3, 200, documents(90, 7, 60))
			nll, err := e.Accumulate(b, 1.0/600)
			if err != nil {
				t.Fatal(err)
			}
			r.losses = append(r.losses, nll, e.GradNorm())
			r.grads = append(r.grads, e.Grads()...)
			u := step
			u.Step = i + 1
			if err := e.Update(u); err != nil {
				t.Fatal(err)
			}
		}
		r.params = append(r.params, e.State().Params...)
		return r
	}
	want := train(1)
	if !(want.losses[8] < want.losses[0]) {
		t.Errorf("loss did not fall: %v", want.losses)
	}
	for _, threads := range []int{2, 3} {
		got := train(threads)
		if !slices.Equal(got.losses, want.losses) {
			t.Errorf("%d threads: losses and norms %v, want %v", threads, got.losses, want.losses)
		}
		if !slices.Equal(got.grads, want.grads) {
			t.Errorf("%d threads: gradients differ", threads)
		}
		if !slices.Equal(got.params, want.params) {
			t.Errorf("%d threads: parameters differ", threads)
		}
	}
}

// TestGradientIsASlope compares the loss a little way along the gradient and against it with what the gradient
// promises. It needs no other implementation.
func TestGradientIsASlope(t *testing.T) {
	for _, tied := range []bool{false, true} {
		c := config(func(c *model.Config) { c.TieWordEmbeddings = tied; c.SlidingWindow = 9 })
		w := weights(c, 3)
		e := newEngine(t, w, Options{MaxTokens: 80})
		b := batch(c, 4, 2, 40, documents(13, 40))
		if _, err := e.Accumulate(b, 1); err != nil {
			t.Fatal(err)
		}
		norm := e.GradNorm()
		const h = 2e-3 // step along the unit gradient
		var at [2]float64
		for i, sign := range []float64{1, -1} {
			p := e.State().Params
			for j := range p {
				p[j] = w.Params[j] + float32(sign*h/norm*float64(e.Grads()[j]))
			}
			for _, v := range losses(t, e, b) {
				at[i] += float64(v)
			}
		}
		got := (at[0] - at[1]) / (2 * h)
		// The losses, about 400 nats, are rounded to 1e-7 of that: 4e-5/2h is 1e-2; the cubic term is of order h² too.
		if math.Abs(got-norm) > 2e-3*norm {
			t.Errorf("tied %v: slope %g, norm of the gradient %g", tied, got, norm)
		}
	}
}

// TestRowsDoNotSeeEachOther computes losses of one row alone, among others, in a larger engine, without gradients, and
// as the loss of training.
func TestRowsDoNotSeeEachOther(t *testing.T) {
	c := config(func(c *model.Config) { c.SlidingWindow = 70 })
	w := weights(c, 5)
	const T = 150
	b := batch(c, 6, 4, T, documents(60, 3, 70))
	e := newEngine(t, w, Options{MaxTokens: 4 * T, MaxRow: T})
	want := losses(t, e, b)
	for row := range 4 {
		from, to := row*T, (row+1)*T
		one := &model.Batch{
			B: 1, T: T, Tokens: b.Tokens[from:to], Targets: b.Targets[from:to],
			Positions: b.Positions[from:to], Segments: b.Segments[from:to],
		}
		for _, o := range []Options{{MaxTokens: T}, {MaxTokens: 9 * T}, {MaxTokens: T, Inference: true, Threads: 1}} {
			if got := losses(t, newEngine(t, w, o), one); !slices.Equal(got, want[from:to]) {
				t.Errorf("row %d, %+v: losses differ", row, o)
			}
		}
	}
	// Each document alone.
	for row := range 4 {
		for from, i := 0, 1; i <= T; i++ {
			if at := row * T; i == T || b.Segments[at+i] != b.Segments[at+from] {
				one := &model.Batch{B: 1, T: i - from, Tokens: b.Tokens[at+from : at+i], Targets: b.Targets[at+from : at+i]}
				if got := losses(t, e, one); !slices.Equal(got, want[at+from:at+i]) {
					t.Errorf("row %d, document at %d: losses differ", row, from)
				}
				from = i
			}
		}
	}
	nll, err := e.Accumulate(b, 1)
	if err != nil {
		t.Fatal(err)
	}
	sum := 0.0
	for _, v := range want {
		sum += float64(v)
	}
	if nll != sum {
		t.Errorf("loss of training is %g, the losses add up to %g", nll, sum)
	}
}

func TestErrors(t *testing.T) {
	c := config(func(c *model.Config) { c.MaxPositionEmbeddings = 20 })
	w := weights(c, 1)
	e := newEngine(t, w, Options{MaxTokens: 30, MaxRow: 15})
	long := newEngine(t, w, Options{MaxTokens: 30, MaxRow: 30})
	with := func(B, T int, f func(b *model.Batch)) *model.Batch { return batch(c, 1, B, T, f) }
	nothing := func(*model.Batch) {}
	for _, tc := range []struct {
		name, want string
		e          *Engine
		b          *model.Batch
	}{
		{"nil", "engine/cpu: no batch", e, nil},
		{"empty", "engine/cpu: model: batch: 0 rows of 0 tokens", e, &model.Batch{}},
		{"long row", "engine/cpu: batch: rows of 16 tokens, the engine was made for 15 (MaxRow)", e, with(1, 16, nothing)},
		{"many rows", "engine/cpu: batch: 3 rows of 15 tokens, the engine was made for 30 tokens (MaxTokens)", e, with(3, 15, nothing)},
		{"token", "engine/cpu: model: batch: row 0, token 3: id 53 is outside the vocabulary of 53", e, with(1, 5, func(b *model.Batch) { b.Tokens[3] = 53 })},
		{"target", "engine/cpu: model: batch: row 1, token 0: target -2 is outside the vocabulary of 53", e, with(2, 5, func(b *model.Batch) { b.Targets[5] = -2 })},
		{"position", "engine/cpu: batch: row 0, token 4: position 20, the model knows 0 to 19 (max_position_embeddings)", e, with(1, 5, func(b *model.Batch) { b.Positions = []int32{0, 1, 2, 3, 20} })},
		{"row beyond positions", "engine/cpu: batch: rows of 21 tokens, the model knows 20 positions (max_position_embeddings)", long, with(1, 21, nothing)},
		{"short", "engine/cpu: model: batch: 4 tokens for 1 rows of 5", e, with(1, 5, func(b *model.Batch) { b.Tokens = b.Tokens[:4] })},
		{"segments", "engine/cpu: model: batch: row 0, token 2: segment 0 after 1", e, with(1, 3, func(b *model.Batch) { b.Segments = []int32{0, 1, 0} })},
	} {
		_, err := tc.e.Accumulate(tc.b, 1)
		if fmt.Sprint(err) != tc.want {
			t.Errorf("%s: %v, want %s", tc.name, err, tc.want)
		}
		if err := tc.e.Loss(nil, tc.b); fmt.Sprint(err) != tc.want {
			t.Errorf("%s: Loss: %v, want %s", tc.name, err, tc.want)
		}
	}
	if n := e.GradNorm(); n != 0 {
		t.Errorf("gradients of norm %g after errors", n)
	}
	n := newEngine(t, w, Options{MaxTokens: 5, NoMoments: true})
	if _, err := n.Accumulate(batch(c, 1, 1, 5), 1); err != nil || n.GradNorm() == 0 || n.State().M != nil {
		t.Errorf("without moments: gradient norm %g, %d moments, %v", n.GradNorm(), len(n.State().M), err)
	}
	if err := n.Update(step); err != errInference {
		t.Errorf("update without moments: %v", err)
	}
	if err := n.SetState(model.State{Params: n.State().Params}); err != nil || n.GradNorm() != 0 {
		t.Errorf("its own state: gradient norm %g, %v", n.GradNorm(), err)
	}
	i := newEngine(t, w, Options{Inference: true})
	if _, err := i.Accumulate(batch(c, 1, 1, 5), 1); err != errInference {
		t.Errorf("training an engine for inference: %v", err)
	}
	if err := i.Update(step); err != errInference {
		t.Errorf("updating an engine for inference: %v", err)
	}
	if err := i.Loss(make([]float32, 5), batch(c, 1, 1, 5)); err == nil {
		t.Error("Loss without MaxTokens worked")
	}
	if err := e.Loss(make([]float32, 4), batch(c, 1, 1, 5)); err == nil {
		t.Error("Loss with too little place worked")
	}
	if err := e.Update(model.Update{}); err == nil {
		t.Error("step 0 worked")
	}
	if err := e.SetState(model.State{Params: make([]float32, 3)}); err == nil {
		t.Error("state of 3 parameters worked")
	}
	for _, o := range []Options{{}, {MaxTokens: -1}, {MaxTokens: 5, MaxRow: 6}, {Inference: true, MaxRow: 1}} {
		if _, err := New(w, o); err == nil {
			t.Errorf("%+v worked", o)
		}
	}
	if _, err := New(&model.Weights{Config: c, Params: w.Params[1:]}, Options{MaxTokens: 5}); err == nil {
		t.Error("too few parameters worked")
	}
}

// TestNotANumber leaves the judgement of a broken model to the caller.
func TestNotANumber(t *testing.T) {
	c := config()
	w := weights(c, 1)
	w.Params[5*c.HiddenSize] = float32(math.NaN())
	e := newEngine(t, w, Options{MaxTokens: 20})
	nll, err := e.Accumulate(batch(c, 1, 1, 20, func(b *model.Batch) { b.Tokens[7] = 5 }), 1)
	if err != nil || !math.IsNaN(nll) {
		t.Errorf("loss %g, error %v; want NaN and none", nll, err)
	}
}

// TestRecomputeChangesNothing trains three steps, keeping activations and making them again: losses, gradients and
// parameters are the same bits.
func TestRecomputeChangesNothing(t *testing.T) {
	for _, p := range []model.DType{model.F32, model.BF16} {
		c := config(func(c *model.Config) { c.SlidingWindow = 50; c.NumHiddenLayers = 3 })
		w := weights(c, 1)
		var engines [2]*Engine
		for i := range engines {
			engines[i] = newEngine(t, w, Options{Threads: 2, MaxTokens: 300, MaxRow: 150, Precision: p, Recompute: i == 1})
		}
		for i := range 3 {
			b := batch(c, uint64(i), 2, 150, documents(90, 7))
			var nll [2]float64
			for k, e := range engines {
				losses(t, e, b) // uses the same buffers
				nll[k] = accumulate(t, e, b, 1.0/300)
			}
			if nll[0] != nll[1] || !slices.Equal(engines[0].Grads(), engines[1].Grads()) {
				t.Fatalf("%s, step %d: losses %v and %v, or gradients that differ", p, i+1, nll[0], nll[1])
			}
			for _, e := range engines {
				u := step
				u.Step = i + 1
				if err := e.Update(u); err != nil {
					t.Fatal(err)
				}
			}
		}
		if !slices.Equal(engines[0].State().Params, engines[1].State().Params) {
			t.Errorf("%s: parameters differ", p)
		}
	}
}
