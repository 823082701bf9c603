package cpu

import (
	"fmt"
	"math"
	"os"
	"os/exec"
	"testing"

	"ravn/engine/ref"
	"ravn/kernel"
	"ravn/model"
)

// variants are the shapes and batches on which the engine must agree with engine/ref.
func variants() []struct {
	name string
	c    *model.Config
	b    func(c *model.Config, seed uint64) *model.Batch
} {
	type variant = struct {
		name string
		c    *model.Config
		b    func(c *model.Config, seed uint64) *model.Batch
	}
	rows := func(B, T int, change ...func(*model.Batch)) func(*model.Config, uint64) *model.Batch {
		return func(c *model.Config, seed uint64) *model.Batch { return batch(c, seed, B, T, change...) }
	}
	some := func(b *model.Batch) { // few targets
		for i := range b.Targets {
			if i%5 != 2 {
				b.Targets[i] = -1
			}
		}
	}
	far := func(b *model.Batch) { // a document that goes on
		b.Positions = make([]int32, b.B*b.T)
		for i := range b.Positions {
			b.Positions[i] = int32(300 + i%b.T)
		}
	}
	return []variant{
		{"grouped heads", config(), rows(2, 37)},
		{"one token", config(), func(c *model.Config, seed uint64) *model.Batch {
			return batch(c, seed, 3, 1, func(b *model.Batch) { b.Targets = []int32{5, -1, 52} })
		}},
		{"all heads their own", config(func(c *model.Config) { c.NumKeyValueHeads = 4 }), rows(2, 37)},
		{"one key-value head", config(func(c *model.Config) { c.NumKeyValueHeads = 1 }), rows(1, 70)},
		{"tied", config(func(c *model.Config) { c.TieWordEmbeddings = true }), rows(2, 37)},
		{"sliding window", config(func(c *model.Config) { c.SlidingWindow = 11 }), rows(2, 137)},
		{"window over value blocks", config(func(c *model.Config) { c.SlidingWindow = 100; c.NumHiddenLayers = 1 }), rows(1, 600)},
		{"long", config(func(c *model.Config) { c.NumHiddenLayers = 1 }), rows(1, 530)},
		{"documents", config(), rows(2, 90, documents(1, 30, 2, 40))},
		{"documents, window, few targets", config(func(c *model.Config) { c.SlidingWindow = 7 }), rows(2, 90, documents(64, 9), some)},
		{"positions from 300", config(), rows(1, 40, far)},
		{"head width of its own", config(func(c *model.Config) { c.HeadDim = 10; c.VocabSize = 300 }), rows(2, 150)},
		{"vocabulary", config(func(c *model.Config) { c.VocabSize = 1021 }), rows(1, 60)},
	}
}

// closeTo compares got with want, both of one tensor, in units of the root mean square of want.
func closeTo(t *testing.T, what string, got []float32, want []float64, tolerance float64) {
	t.Helper()
	var square, worst float64
	for i, w := range want {
		square += w * w
		d := math.Abs(float64(got[i]) - w)
		if !(d <= worst) {
			worst = d
		}
	}
	rms := math.Sqrt(square / float64(len(want)))
	if !(worst <= tolerance*rms) {
		t.Errorf("%s: off by %.3g of %.3g (root mean square)", what, worst, rms)
	}
}

// TestAgainstReference compares losses and the gradient of every tensor with engine/ref in float64, and then ten losses
// of training.
//
// The tolerance is 1e-4 of a tensor's root mean square: float32 rounds to 6e-8, a value passes some twenty sums of up to
// a thousand products, which makes about 1e-6 of the mean, and the worst of ten thousand elements, or one that is a
// difference of larger ones, some ten times that. A wrong term anywhere shows as 1e-2 or more.
func TestAgainstReference(t *testing.T) {
	for _, v := range variants() {
		t.Run(v.name, func(t *testing.T) {
			w := weights(v.c, 11)
			e := newEngine(t, w, Options{Threads: 2, MaxTokens: 600})
			r, err := ref.New[float64](w)
			if err != nil {
				t.Fatal(err)
			}
			b := v.b(v.c, 12)
			got, want := losses(t, e, b), make([]float32, b.B*b.T)
			if err := r.Loss(want, b); err != nil {
				t.Fatal(err)
			}
			for i := range got {
				if d := math.Abs(float64(got[i] - want[i])); !(d <= 1e-5*(1+float64(want[i]))) {
					t.Fatalf("loss %d is %g, want %g", i, got[i], want[i])
				}
			}
			const scale = 0.25
			for range 2 { // the second adds to the first
				accumulate(t, e, b, scale)
				if _, err := r.Accumulate(b, scale); err != nil {
					t.Fatal(err)
				}
			}
			for _, p := range v.c.Layout() {
				closeTo(t, "gradient of "+p.Name, e.Grads()[p.Offset:p.Offset+p.Size], r.Grads()[p.Offset:p.Offset+p.Size], 1e-4)
			}
			if got, want := e.GradNorm(), r.GradNorm(); math.Abs(got-want) > 1e-5*want {
				t.Errorf("norm %g, want %g", got, want)
			}
			if b.T < 200 {
				train(t, v.c, w, v.b)
			}
		})
	}
}

// TestBF16AgainstReference compares losses and gradients, made with products of bfloat16, with engine/ref in float64,
// which rounds nothing.
//
// A bfloat16 is off by a 2^-9th at most, 0.1 % in the mean square, and so is each of the two operands of a product; such
// errors are independent, so that a sum of products is off by 0.16 % of its size, whatever its length. A gradient has
// passed some ten products one after the other, whose errors add up as squares, and that of queries and keys is a
// difference of the gradients of probabilities: 1 to 3 % of a tensor's norm; 5 % are allowed. A wrong term shows as 10 %
// or more.
func TestBF16AgainstReference(t *testing.T) {
	for _, v := range variants() {
		t.Run(v.name, func(t *testing.T) {
			w := weights(v.c, 11)
			e := newEngine(t, w, Options{Threads: 2, MaxTokens: 600, Precision: model.BF16})
			r, err := ref.New[float64](w)
			if err != nil {
				t.Fatal(err)
			}
			b := v.b(v.c, 12)
			got, want := losses(t, e, b), make([]float32, b.B*b.T)
			if err := r.Loss(want, b); err != nil {
				t.Fatal(err)
			}
			gotSum, wantSum := 0.0, 0.0
			for i := range got {
				gotSum += float64(got[i])
				wantSum += float64(want[i])
			}
			if !(math.Abs(gotSum-wantSum) <= 0.01*wantSum) {
				t.Errorf("loss %g, want %g", gotSum, wantSum)
			}
			if nll := accumulate(t, e, b, 0.25); nll != gotSum {
				t.Errorf("loss %g on the way to the gradients, %g without", nll, gotSum)
			}
			if _, err := r.Accumulate(b, 0.25); err != nil {
				t.Fatal(err)
			}
			for _, p := range v.c.Layout() {
				var off, size float64
				for i := p.Offset; i < p.Offset+p.Size; i++ {
					d := float64(e.Grads()[i]) - r.Grads()[i]
					off += d * d
					size += r.Grads()[i] * r.Grads()[i]
				}
				if off, size = math.Sqrt(off), math.Sqrt(size); !(off <= 0.05*size+1e-6) {
					t.Errorf("gradient of %s: off by %.2g, its norm is %.2g", p.Name, off, size)
				}
			}
		})
	}
}

// train compares ten losses, with weight decay and clipping by half. AdamW divides small gradients by themselves, so
// that rounding grows from step to step: 1e-4 of the loss is allowed, where the loss falls by a third.
func train(t *testing.T, c *model.Config, w *model.Weights, b func(*model.Config, uint64) *model.Batch) {
	t.Helper()
	e := newEngine(t, w, Options{Threads: 2, MaxTokens: 600})
	r, err := ref.New[float64](w)
	if err != nil {
		t.Fatal(err)
	}
	data := b(c, 13)
	scale := 1 / float32(data.NumTargets())
	for i := range 10 {
		got := accumulate(t, e, data, scale)
		want, err := r.Accumulate(data, scale)
		if err != nil {
			t.Fatal(err)
		}
		if !(math.Abs(got-want) <= 1e-4*want) {
			t.Fatalf("step %d: loss %g, want %g", i+1, got, want)
		}
		u := model.Update{Step: i + 1, LR: 3e-3, Beta1: 0.9, Beta2: 0.95, Eps: 1e-6, WeightDecay: 0.1, GradScale: 0.5}
		if err := e.Update(u); err != nil {
			t.Fatal(err)
		}
		if err := r.Update(u); err != nil {
			t.Fatal(err)
		}
	}
}

func accumulate(t testing.TB, e *Engine, b *model.Batch, scale float32) float64 {
	t.Helper()
	nll, err := e.Accumulate(b, scale)
	if err != nil {
		t.Fatal(err)
	}
	return nll
}

// TestLevels runs the promises again at each level of the kernels that this machine has, other than the one in use.
func TestLevels(t *testing.T) {
	if os.Getenv("RAVN_CPU") != "" || testing.Short() {
		t.Skip("runs from the top only")
	}
	for _, level := range kernel.Levels() {
		if level == kernel.Level() {
			continue
		}
		cmd := exec.Command(os.Args[0], "-test.run", "^(TestAgainstReference|TestBF16AgainstReference|TestRecomputeChangesNothing|TestThreadsDoNotMatter|TestRowsDoNotSeeEachOther|TestSession.*|TestStored.*)$")
		cmd.Env = append(os.Environ(), fmt.Sprintf("RAVN_CPU=%s", level))
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", level, err, out)
		}
	}
}
