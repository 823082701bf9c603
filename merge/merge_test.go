package merge

import (
	"math"
	"slices"
	"strings"
	"testing"

	"ravn/model"
)

// tiny is the smallest decoder there is; first puts numbers into its first tensor, which has 2 rows of 2.
func tiny(first ...float32) *model.Weights {
	c := &model.Config{
		Architectures: []string{"LlamaForCausalLM"}, ModelType: "llama", VocabSize: 2, HiddenSize: 2, IntermediateSize: 2,
		NumHiddenLayers: 1, NumAttentionHeads: 1, NumKeyValueHeads: 1, HeadDim: 2, HiddenAct: "silu",
		MaxPositionEmbeddings: 4, RMSNormEps: 1e-5, RopeTheta: 10000, InitializerRange: 0.02, BOSTokenID: 0, EOSTokenID: 1, TorchDtype: "float32",
	}
	w := &model.Weights{Config: c, Params: make([]float32, c.NumParams())}
	copy(w.Params, first)
	return w
}

func merged(t *testing.T, base *model.Weights, models []*model.Weights, o Options) []float32 {
	t.Helper()
	w, err := Merge(base, models, o)
	if err != nil {
		t.Fatal(err)
	}
	return w.Params[:4]
}

func TestMergesAgainstHandReckonedTensors(t *testing.T) {
	base, a, b := tiny(1, 2, 3, 4), tiny(2, 2, 1, 8), tiny(0, 2.5, 2, 10)
	// δ of a: 1, 0, -2, 4. δ of b: -1, 0.5, -1, 6.
	for _, c := range []struct {
		name string
		base *model.Weights
		in   []*model.Weights
		o    Options
		want []float32
	}{
		{"average", nil, []*model.Weights{a, b}, Options{Method: "linear"}, []float32{1, 2.25, 1.5, 9}},
		{"three to one", nil, []*model.Weights{a, b}, Options{Method: "linear", Weights: []float64{3, 1}}, []float32{1.5, 2.125, 1.25, 8.5}},
		{"half of the way back to the base", base, []*model.Weights{a}, Options{Method: "task", Weights: []float64{0.5}}, []float32{1.5, 2, 2, 6}},
		{"task arithmetic", base, []*model.Weights{a, b}, Options{Method: "task", Weights: []float64{1, 2}, Lambda: 0.5}, []float32{0.5, 2.5, 1, 12}},
		// Of four coordinates the two largest stay: a keeps -2 and 4, b keeps 6 and the first of two ones, -1 at the front.
		// Signs: -, none, -, +. Means of those that agree: -1, 0, -2, 5.
		{"ties", base, []*model.Weights{a, b}, Options{Method: "ties", Density: 0.5}, []float32{0, 2, 1, 9}},
		// All stay; at the front 1 and -1 sum to 0, which is no sign.
		{"ties, all kept", base, []*model.Weights{a, b}, Options{Method: "ties", Density: 1}, []float32{1, 2.5, 1.5, 9}},
		{"dare, all kept, is task arithmetic", base, []*model.Weights{a, b}, Options{Method: "dare", Density: 1}, []float32{1, 2.5, 0, 14}},
		{"dare_ties, all kept, is ties", base, []*model.Weights{a, b}, Options{Method: "dare_ties", Density: 1}, []float32{1, 2.5, 1.5, 9}},
	} {
		if got := merged(t, c.base, c.in, c.o); !slices.Equal(got, c.want) {
			t.Errorf("%s: got %v, want %v", c.name, got, c.want)
		}
	}
}

// TestSlerp: between (1,0,0,0) and (0,1,0,0) half of the way is (√½, √½, 0, 0), a third is (cos 30°, sin 30°, 0, 0);
// of parallel vectors it is the line.
func TestSlerp(t *testing.T) {
	x, y := tiny(1, 0, 0, 0), tiny(0, 1, 0, 0)
	for weight, want := range map[float64][]float64{0.5: {math.Sqrt(0.5), math.Sqrt(0.5)}, 1. / 3: {math.Sqrt(3) / 2, 0.5}, 0: {1, 0}, 1: {0, 1}} {
		got := merged(t, nil, []*model.Weights{x, y}, Options{Method: "slerp", Weights: []float64{1 - weight, weight}})
		if math.Abs(float64(got[0])-want[0]) > 1e-6 || math.Abs(float64(got[1])-want[1]) > 1e-6 {
			t.Errorf("at %.2f: %v, want %v", weight, got, want)
		}
	}
	got := merged(t, nil, []*model.Weights{tiny(1, 2, 3, 4), tiny(2, 4, 6, 8)}, Options{Method: "slerp"})
	if !slices.Equal(got, []float32{1.5, 3, 4.5, 6}) {
		t.Errorf("parallel: %v", got)
	}
}

// TestDareKeepsTheMean: a third is kept and tripled, so the sum stays within its standard error, and a seed repeats.
func TestDareKeepsTheMean(t *testing.T) {
	d := make([]float64, 30000)
	for i := range d {
		d[i] = 1
	}
	again := slices.Clone(d)
	drop(d, 1./3, 7, "x", 0)
	drop(again, 1./3, 7, "x", 0)
	if !slices.Equal(d, again) {
		t.Error("the same seed drops other coordinates")
	}
	sum, kept := 0.0, 0
	for _, x := range d {
		if sum += x; x != 0 {
			kept++
		}
	}
	// The standard deviation of the sum is √(n(1/p − 1)) = 245.
	if math.Abs(sum-30000) > 4*245 || math.Abs(float64(kept)*3-sum) > 1e-6 {
		t.Errorf("sum %.0f of %d kept", sum, kept)
	}
}

func TestBadMerges(t *testing.T) {
	a := tiny(1)
	other := tiny()
	c := *other.Config
	c.VocabSize = 3
	other = &model.Weights{Config: &c, Params: make([]float32, c.NumParams())}
	for want, f := range map[string]func() error{
		`method "mean" is unknown`: func() error { _, err := Merge(nil, []*model.Weights{a}, Options{Method: "mean"}); return err },
		"no models":                func() error { _, err := Merge(nil, nil, Options{Method: "linear"}); return err },
		"2 weights for 1 models": func() error {
			_, err := Merge(nil, []*model.Weights{a}, Options{Method: "linear", Weights: []float64{1, 2}})
			return err
		},
		"sum to 0": func() error {
			_, err := Merge(nil, []*model.Weights{a, a}, Options{Method: "linear", Weights: []float64{1, -1}})
			return err
		},
		"ties takes a base": func() error { _, err := Merge(nil, []*model.Weights{a}, Options{Method: "ties"}); return err },
		"it takes two":      func() error { _, err := Merge(nil, []*model.Weights{a}, Options{Method: "slerp"}); return err },
		"density 2":         func() error { _, err := Merge(a, []*model.Weights{a}, Options{Method: "dare", Density: 2}); return err },
		"differ in their tensors": func() error {
			_, err := Merge(a, []*model.Weights{other}, Options{Method: "task"})
			return err
		},
	} {
		if err := f(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}
