package model

import (
	"math"
	"runtime"
	"strings"
	"testing"
)

func tiny() *Config {
	return &Config{
		ModelType: "llama", VocabSize: 50, HiddenSize: 32, IntermediateSize: 48, NumHiddenLayers: 2, NumAttentionHeads: 4,
		NumKeyValueHeads: 2, HeadDim: 8, HiddenAct: "silu", MaxPositionEmbeddings: 64, RMSNormEps: 1e-5, RopeTheta: 10000,
		InitializerRange: 0.02, BOSTokenID: 1, EOSTokenID: 2,
	}
}

func TestNormalQuantile(t *testing.T) {
	// statistics.NormalDist().inv_cdf of Python 3.11.
	for p, want := range map[float64]float64{
		0.5: 0, 0.6: 0.2533471031357998, 0.075: -1.4395314709384557, 0.999: 3.090232306167813, 1e-9: -5.9978070150076865, 1e-30: -11.464024688443617,
	} {
		if got := normal(p); math.Abs(got-want) > 1e-14*math.Max(1, math.Abs(want)) {
			t.Errorf("normal(%g) = %.17g, want %.17g", p, got, want)
		}
	}
}

func TestInit(t *testing.T) {
	c := tiny()
	w := Init(c, 17)
	var deepest float64
	for _, p := range c.Layout() {
		x := w.Params[p.Offset : p.Offset+p.Size]
		if !p.Decay {
			for _, v := range x {
				if v != 1 {
					t.Fatalf("%s holds %g, want 1", p.Name, v)
				}
			}
			continue
		}
		want := 0.02
		if strings.Contains(p.Name, "o_proj") || strings.Contains(p.Name, "down_proj") {
			want = 0.01 // 0.02 / sqrt(2·2)
		}
		var sum, squares float64
		for _, v := range x {
			sum += float64(v)
			squares += float64(v) * float64(v)
			deepest = max(deepest, math.Abs(float64(v))/want)
		}
		n := float64(p.Size)
		mean, std := sum/n, math.Sqrt(squares/n)
		// Mean and standard deviation of n normal numbers are within 4 standard errors.
		if math.Abs(mean) > 4*want/math.Sqrt(n) || math.Abs(std-want) > 4*want/math.Sqrt(2*n) {
			t.Errorf("%s: mean %g and deviation %g of %d numbers, want 0 and %g", p.Name, mean, std, p.Size, want)
		}
	}
	if deepest < 3 || deepest > 6 {
		t.Errorf("largest number is %.2f deviations out; 18,000 normal numbers reach about 4", deepest)
	}
}

func TestInitIsAFunctionOfSeedNameAndIndex(t *testing.T) {
	c := tiny()
	a := Init(c, 17)
	old := runtime.GOMAXPROCS(1)
	b := Init(c, 17)
	runtime.GOMAXPROCS(old)
	if a.Hash() != b.Hash() {
		t.Error("one thread gives other numbers than several")
	}
	if a.Hash() == Init(c, 18).Hash() {
		t.Error("two seeds give the same numbers")
	}
	// Another depth and vocabulary leave the numbers of a tensor of the same name and width alone.
	deep := tiny()
	deep.NumHiddenLayers, deep.VocabSize = 3, 70
	d := Init(deep, 17)
	const name = "model.layers.1.self_attn.q_proj.weight"
	x, err := a.Tensor(name)
	if err != nil {
		t.Fatal(err)
	}
	y, err := d.Tensor(name)
	if err != nil {
		t.Fatal(err)
	}
	for i := range x {
		if x[i] != y[i] {
			t.Fatalf("%s[%d] is %g and %g", name, i, x[i], y[i])
		}
	}
	if _, err := a.Tensor("model.layers.2.mlp.up_proj.weight"); err == nil {
		t.Error("a third layer was found")
	}
	// Pinned, so that a run can be repeated with a later version.
	if got, want := a.Hash(), "88e756c4d95ca4e3"; !strings.HasPrefix(got, want) {
		t.Errorf("hash of seed 17 is %s", got)
	}
}

func TestCost(t *testing.T) {
	c := parse(t, mistral)
	// By hand: 6·(7,241,732,096 - 131,072,000) = 42,663,960,576; 12·32·4096·2048.5 = 3,222,011,904.
	if got, want := c.TrainFLOPs(4096), 42_663_960_576.0+3_222_011_904.0; got != want {
		t.Errorf("Mistral trains at %.0f FLOP a token, want %.0f", got, want)
	}
	// A window of 4096 in a row of 8192: (4096·4097/2 + 4096·4096)/8192 keys.
	if got, want := c.VisibleKeys(8192), 3072.25; got != want {
		t.Errorf("%g visible keys, want %g", got, want)
	}
	tied := tiny()
	untied := tied.ForwardFLOPs(8)
	tied.TieWordEmbeddings = true
	if got := tied.ForwardFLOPs(8); got != untied {
		t.Errorf("tying changes the cost from %g to %g", untied, got)
	}
	if got := TotalBytes([]MemoryPart{{Bytes: 3}, {Bytes: 1 << 40}}); got != 1<<40+3 {
		t.Errorf("the total is %d", got)
	}
}

func TestBatchValidate(t *testing.T) {
	c := tiny()
	good := func() *Batch {
		return &Batch{B: 1, T: 3, Tokens: []int32{0, 49, 2}, Targets: []int32{1, -1, 2}, Positions: []int32{0, 1, 0}, Segments: []int32{0, 0, 1}}
	}
	if err := good().Validate(c); err != nil {
		t.Fatal(err)
	}
	if n := good().NumTargets(); n != 2 {
		t.Errorf("%d targets, want 2", n)
	}
	tests := []struct {
		want  string
		spoil func(*Batch)
	}{
		{"0 rows of 3 tokens", func(b *Batch) { b.B = 0 }},
		{"3 tokens for 2 rows of 3", func(b *Batch) { b.B = 2 }},
		{"2 targets for 1 rows of 3", func(b *Batch) { b.Targets = b.Targets[:2] }},
		{"token 1: id 50 is outside the vocabulary of 50", func(b *Batch) { b.Tokens[1] = 50 }},
		{"token 0: id -1 is outside", func(b *Batch) { b.Tokens[0] = -1 }},
		{"token 2: target 50 is outside", func(b *Batch) { b.Targets[2] = 50 }},
		{"token 1: target -2 is outside", func(b *Batch) { b.Targets[1] = -2 }},
		{"token 2: position -1", func(b *Batch) { b.Positions[2] = -1 }},
		{"token 1: segment 0 after 3", func(b *Batch) { b.Segments[0] = 3 }},
	}
	for _, tt := range tests {
		b := good()
		tt.spoil(b)
		if err := b.Validate(c); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("got %v, want %q", err, tt.want)
		}
	}
}
