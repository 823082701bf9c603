package ref

import (
	"encoding/json"
	"math"
	"os"
	"testing"

	"ravn/model"
)

// vector is what PyTorch computed for one variant: testdata/make_vectors.py.
type vector struct {
	Name           string
	Whole          bool // tensors are stored whole, not as digests
	Norms          []float64
	Losses, Logits []float64
	Grads, Params  map[string][]float64
}

// digest is all of x, or its norm, its sum with signs, and some elements, as the script stores it.
func digest(x []float64, whole bool) []float64 {
	if whole {
		return x
	}
	var squares, signed float64
	for i, v := range x {
		squares += v * v
		signed += v * float64(1-i*i/3%2*2)
	}
	out := []float64{math.Sqrt(squares), signed}
	for i := 0; i < len(x); i += 1 + len(x)/5 {
		out = append(out, x[i])
	}
	return out
}

// near compares to 1e-9, relative to numbers larger than 1. Both sides are float64; sums in another order differ by
// about 1e-14.
func near(t *testing.T, what string, got, want []float64) {
	t.Helper()
	if len(got) != len(want) {
		t.Errorf("%s: %d numbers, PyTorch has %d", what, len(got), len(want))
		return
	}
	for i := range got {
		if !(math.Abs(got[i]-want[i]) <= 1e-9*max(1, math.Abs(want[i]))) {
			t.Errorf("%s[%d] is %.15g, PyTorch has %.15g", what, i, got[i], want[i])
			return
		}
	}
}

func TestAgainstPyTorch(t *testing.T) {
	text, err := os.ReadFile("testdata/vectors.json")
	if err != nil {
		t.Fatal(err)
	}
	var vectors []vector
	if err := json.Unmarshal(text, &vectors); err != nil {
		t.Fatal(err)
	}
	byName := map[string]vector{}
	for _, v := range vectors {
		byName[v.Name] = v
	}
	for _, v := range variants() {
		t.Run(v.name, func(t *testing.T) {
			want, ok := byName[v.name]
			if !ok || len(want.Norms) != 3 {
				t.Fatal("no vector of this name")
			}
			e := newEngine[float64](t, &v.cfg)
			var logits []float64
			e.Trace = func(name string, x []float64) {
				if name == "lm_head" {
					logits = append(logits[:0], x...)
				}
			}
			first := append([]int32(nil), v.batch.Tokens...)
			defer copy(v.batch.Tokens, first)
			for step := 1; step <= 3; step++ {
				for i := range first {
					v.batch.Tokens[i] = (first[i] + int32(step) - 1) % 13
				}
				if _, err := e.Accumulate(v.batch, 0.125); err != nil {
					t.Fatal(err)
				}
				norm := e.GradNorm()
				near(t, "norm of the gradients", []float64{norm}, want.Norms[step-1:step])
				if step == 1 {
					e.checkFirst(t, v.batch, want, logits)
				}
				// PyTorch's clip_grad_norm_ divides by norm + 1e-6.
				scale := min(1, 1/(norm+1e-6))
				if err := e.Update(model.Update{Step: step, LR: 0.01, Beta1: 0.9, Beta2: 0.95, Eps: 1e-8, WeightDecay: 0.1, GradScale: scale}); err != nil {
					t.Fatal(err)
				}
				if e.GradNorm() != 0 {
					t.Error("the gradients are not cleared")
				}
			}
			for _, p := range e.layout {
				near(t, "after three steps "+p.Name, digest(e.w[p.Offset:p.Offset+p.Size], want.Whole), want.Params[p.Name])
			}
			if len(want.Params) != len(e.layout) {
				t.Errorf("%d tensors, PyTorch has %d", len(e.layout), len(want.Params))
			}
		})
	}
}

// checkFirst compares losses, logits and gradients of the first step.
func (e *Engine[F]) checkFirst(t *testing.T, b *model.Batch, want vector, logits []F) {
	t.Helper()
	wide := make([]float64, len(logits))
	convert(wide, logits)
	near(t, "logits", digest(wide, want.Whole), want.Logits)
	losses := make([]F, len(b.Tokens))
	crossEntropy(losses, logits, b.Targets)
	wide = make([]float64, len(losses))
	convert(wide, losses)
	near(t, "losses", wide, want.Losses)
	for _, p := range e.layout {
		g := make([]float64, p.Size)
		convert(g, e.g[p.Offset:p.Offset+p.Size])
		near(t, "gradient of "+p.Name, digest(g, want.Whole), want.Grads[p.Name])
	}
}
