package ref

import (
	"math"
	"testing"

	"ravn/model"
)

// base is a decoder small enough for finite differences over all of it.
func base() model.Config {
	return model.Config{
		VocabSize: 13, HiddenSize: 8, IntermediateSize: 12, NumHiddenLayers: 2, NumAttentionHeads: 4,
		NumKeyValueHeads: 2, HeadDim: 4, HiddenAct: "silu", MaxPositionEmbeddings: 32, RMSNormEps: 1e-5, RopeTheta: 100,
	}
}

// formula fills a decoder with numbers that testdata/make_vectors.py makes too: multiples of 2^-11 in (-0.49, 0.49),
// with 1 added in norms.
func formula(c *model.Config) *model.Weights {
	w := &model.Weights{Config: c, Params: make([]float32, c.NumParams())}
	for n, p := range c.Layout() {
		for i := range p.Size {
			h := (uint64(n)*7919 + uint64(i) + 1) * 2654435761 % (1 << 32)
			x := float32(int(h>>8%2003)-1001) / 2048
			if !p.Decay {
				x = x/2 + 1
			}
			w.Params[p.Offset+i] = x
		}
	}
	return w
}

// batch makes tokens and targets by a formula; every fifth position has no target.
func batch(b, t, v int) *model.Batch {
	x := &model.Batch{B: b, T: t, Tokens: make([]int32, b*t), Targets: make([]int32, b*t)}
	for i := range x.Tokens {
		x.Tokens[i] = int32((i*7 + 3) % v)
		x.Targets[i] = int32((i*5 + 1) % v)
		if i%5 == 2 {
			x.Targets[i] = -1
		}
	}
	return x
}

// segmented cuts each row in documents of the given lengths, positions restarting.
func segmented(x *model.Batch, lengths ...int) *model.Batch {
	x.Positions, x.Segments = make([]int32, len(x.Tokens)), make([]int32, len(x.Tokens))
	for row := range x.B {
		at := row * x.T
		for s, n := range lengths {
			for p := range n {
				x.Positions[at], x.Segments[at] = int32(p), int32(s)
				at++
			}
		}
	}
	return x
}

// variant is one kind of decoder and batch that every test of this package goes through.
type variant struct {
	name  string
	cfg   model.Config
	batch *model.Batch
}

func variants() []variant {
	with := func(change func(c *model.Config)) model.Config {
		c := base()
		change(&c)
		return c
	}
	return []variant{
		{"grouped query", base(), batch(2, 6, 13)},
		{"multi-head", with(func(c *model.Config) { c.NumKeyValueHeads = 4 }), batch(2, 6, 13)},
		{"one key-value head", with(func(c *model.Config) { c.NumKeyValueHeads = 1 }), batch(1, 6, 13)},
		{"tied", with(func(c *model.Config) { c.TieWordEmbeddings = true }), batch(2, 6, 13)},
		{"wide heads", with(func(c *model.Config) { c.HeadDim = 6 }), batch(1, 5, 13)},
		{"sliding window", with(func(c *model.Config) { c.SlidingWindow = 3 }), batch(2, 8, 13)},
		{"segments", base(), segmented(batch(2, 9, 13), 4, 1, 4)},
		{"segments and window", with(func(c *model.Config) { c.SlidingWindow = 2; c.TieWordEmbeddings = true }), segmented(batch(1, 9, 13), 5, 4)},
	}
}

func newEngine[F Float](t *testing.T, c *model.Config) *Engine[F] {
	t.Helper()
	e, err := New[F](formula(c))
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// totalLoss is the summed loss of b, by the forward pass alone.
func totalLoss(e *Engine[float64], b *model.Batch) float64 {
	losses := make([]float64, len(b.Tokens))
	crossEntropy(losses, e.forward(b).logits, b.Targets)
	var s float64
	for _, l := range losses {
		s += l
	}
	return s
}

// TestGradientsAgainstFiniteDifferences compares the gradient of every tensor with (loss(w+h) - loss(w-h)) / 2h: single
// elements, and the whole tensor at once along a direction of ±1. With h = 1e-5 in float64 the difference itself is
// good to about 1e-9 for losses near 30: 1e-10 from the third derivative, 1e-15·30/h from rounding.
func TestGradientsAgainstFiniteDifferences(t *testing.T) {
	const h, scale = 1e-5, 0.5
	for _, v := range variants() {
		t.Run(v.name, func(t *testing.T) {
			e := newEngine[float64](t, &v.cfg)
			nll, err := e.Accumulate(v.batch, scale)
			if err != nil {
				t.Fatal(err)
			}
			if want := totalLoss(e, v.batch); nll != want {
				t.Errorf("Accumulate returns loss %g, the forward pass gives %g", nll, want)
			}
			slope := func(p model.Param, direction func(i int) float64) float64 {
				x := e.w[p.Offset : p.Offset+p.Size]
				saved := append([]float64(nil), x...)
				move := func(step float64) float64 {
					for i := range x {
						x[i] = saved[i] + step*direction(i)
					}
					return totalLoss(e, v.batch)
				}
				d := (move(h) - move(-h)) / (2 * h)
				copy(x, saved)
				return scale * d
			}
			for _, p := range e.layout {
				g := e.g[p.Offset : p.Offset+p.Size]
				check := func(what string, got, want, size float64) {
					if math.Abs(got-want) > 2e-8*size {
						t.Errorf("%s %s: gradient %.12g, finite difference %.12g", p.Name, what, got, want)
					}
				}
				sign := func(i int) float64 { return float64(1 - i*i/3%2*2) }
				var along, size float64
				for i := range g {
					along += g[i] * sign(i)
					size += math.Abs(g[i])
				}
				if size == 0 {
					t.Errorf("%s: the gradient is all zeros", p.Name)
				}
				check("along ±1", along, slope(p, sign), 1+size)
				for i := 0; i < p.Size; i += 1 + p.Size/7 {
					one := func(j int) float64 {
						if i == j {
							return 1
						}
						return 0
					}
					check("element", g[i], slope(p, one), 1)
				}
			}
		})
	}
}

func TestSegmentsAreSeparateDocuments(t *testing.T) {
	c := base()
	e := newEngine[float64](t, &c)
	packed := segmented(batch(1, 9, 13), 4, 5)
	all := e.forward(packed).logits
	first, err := e.Logits(packed.Tokens[:4])
	if err != nil {
		t.Fatal(err)
	}
	second, err := e.Logits(packed.Tokens[4:])
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range append(first, second...) {
		if all[i] != want {
			t.Fatalf("logit %d of the packed row is %g, of the documents alone %g", i, all[i], want)
		}
	}
}

func TestWindowHidesOldTokens(t *testing.T) {
	c := base()
	c.NumHiddenLayers, c.SlidingWindow = 1, 3
	e := newEngine[float64](t, &c)
	a, _ := e.Logits([]int32{1, 2, 3, 4, 5})
	b, _ := e.Logits([]int32{9, 8, 3, 4, 5}) // tokens 0 and 1 are out of sight of token 4
	for i := 4 * 13; i < 5*13; i++ {
		if a[i] != b[i] {
			t.Fatalf("a token outside the window changes logit %d from %g to %g", i, a[i], b[i])
		}
	}
	if a[3*13] == b[3*13] {
		t.Error("a token inside the window changes nothing")
	}
}

// TestUniformLoss: with a head of zeros every token is equally likely, so a target costs log V.
func TestUniformLoss(t *testing.T) {
	c := base()
	w := formula(&c)
	head, err := w.Tensor("lm_head.weight")
	if err != nil {
		t.Fatal(err)
	}
	clear(head) // all logits 0: each target costs log V
	e, err := New[float64](w)
	if err != nil {
		t.Fatal(err)
	}
	b := batch(2, 5, 13)
	nll := make([]float32, 10)
	if err := e.Loss(nll, b); err != nil {
		t.Fatal(err)
	}
	for i, l := range nll {
		want := float32(math.Log(13))
		if b.Targets[i] < 0 {
			want = 0
		}
		if l != want {
			t.Errorf("loss %d is %g, want %g", i, l, want)
		}
	}
}

func TestFloat32FollowsFloat64(t *testing.T) {
	for _, v := range variants() {
		e32, e64 := newEngine[float32](t, &v.cfg), newEngine[float64](t, &v.cfg)
		l32, err := e32.Accumulate(v.batch, 1)
		if err != nil {
			t.Fatal(err)
		}
		l64, err := e64.Accumulate(v.batch, 1)
		if err != nil {
			t.Fatal(err)
		}
		// Sums of at most 12 products in each layer: a few dozen roundings of 6e-8.
		if math.Abs(l32-l64) > 1e-5*l64 {
			t.Errorf("%s: loss %g in float32, %g in float64", v.name, l32, l64)
		}
		norm := e64.GradNorm()
		for i := range e64.g {
			if d := math.Abs(float64(e32.g[i]) - e64.g[i]); d > 1e-5*norm {
				t.Fatalf("%s: gradient %d is %g in float32, %g in float64", v.name, i, e32.g[i], e64.g[i])
			}
		}
	}
}

func TestTraceNames(t *testing.T) {
	c := base()
	c.NumHiddenLayers = 1
	e := newEngine[float32](t, &c)
	sizes := map[string]int{}
	e.Trace = func(name string, x []float32) { sizes[name] = len(x) }
	if _, err := e.Accumulate(batch(1, 5, 13), 1); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]int{
		"model.embed_tokens": 5 * 8, "model.layers.0.self_attn.q_rotated": 5 * 16, "model.layers.0.self_attn.k_proj": 5 * 8,
		"model.layers.0.mlp.act": 5 * 12, "model.layers.0": 5 * 8, "lm_head": 5 * 13, "d lm_head": 5 * 13,
		"d model.layers.0.self_attn.v_proj": 5 * 8, "d model.layers.0.middle": 5 * 8, "d model.embed_tokens": 5 * 8,
	} {
		if sizes[name] != want {
			t.Errorf("trace %q has %d numbers, want %d", name, sizes[name], want)
		}
	}
}
