package xla

import (
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"ravn/engine/ref"
	"ravn/model"
)

// variant is a decoder and how its attention is cut.
type variant struct {
	name    string
	cfg     model.Config
	queries int
	rows    int
	packed  bool // several documents in a row
}

func variants() []variant {
	base := model.Config{
		Architectures: []string{"LlamaForCausalLM"}, ModelType: "llama", VocabSize: 37, HiddenSize: 16, IntermediateSize: 24,
		NumHiddenLayers: 2, NumAttentionHeads: 4, NumKeyValueHeads: 4, HeadDim: 4, HiddenAct: "silu", MaxPositionEmbeddings: 32,
		RMSNormEps: 1e-5, RopeTheta: 10000, InitializerRange: 0.2, BOSTokenID: 1, EOSTokenID: 2, TorchDtype: "float32",
	}
	with := func(name string, queries, rows int, packed bool, change func(c *model.Config)) variant {
		c := base
		change(&c)
		return variant{name, c, queries, rows, packed}
	}
	return []variant{
		with("heads of their own", 64, 64, false, func(*model.Config) {}),
		with("shared heads in blocks", 5, 7, false, func(c *model.Config) { c.NumKeyValueHeads = 2 }),
		with("one key head, tied", 4, 64, true, func(c *model.Config) { c.NumKeyValueHeads, c.TieWordEmbeddings = 1, true }),
		with("window in blocks", 4, 10, false, func(c *model.Config) {
			c.Architectures, c.ModelType, c.SlidingWindow, c.NumKeyValueHeads = []string{"MistralForCausalLM"}, "mistral", 3, 2
		}),
		with("documents and window", 6, 5, true, func(c *model.Config) { c.SlidingWindow, c.NumKeyValueHeads = 5, 2 }),
		with("wide heads", 3, 64, true, func(c *model.Config) { c.HeadDim, c.NumKeyValueHeads = 6, 2 }),
	}
}

func batch(r *rand.Rand, c *model.Config, packed bool) *model.Batch {
	b := &model.Batch{B: 2, T: 13}
	for range b.B {
		segment, position := int32(0), int32(0)
		for i := range b.T {
			if packed && i > 0 && r.IntN(4) == 0 {
				segment, position = segment+1, 0
			}
			b.Tokens = append(b.Tokens, int32(r.IntN(c.VocabSize)))
			target := int32(r.IntN(c.VocabSize))
			if r.IntN(5) == 0 {
				target = -1
			}
			b.Targets = append(b.Targets, target)
			b.Positions, b.Segments = append(b.Positions, position), append(b.Segments, segment)
			position++
		}
	}
	if !packed {
		b.Positions, b.Segments = nil, nil
	}
	return b
}

// backendOf is the backend to test on: in a build with the tag xla the plug-in that RAVN_PJRT names or that lies where
// plug-ins usually lie, else plain Go.
func backendOf(t *testing.T) string {
	t.Helper()
	if Linked() && Plugin() == "" {
		t.Log("built with the tag xla, but there is no plug-in (RAVN_PJRT, ravn pull-plugin): testing on the backend in plain Go")
	}
	return DefaultBackend()
}

// coarse is how much wider tolerances of float32 are on the device of e: on CUDA, products that XLA gives to Triton rather than
// to cuBLAS may be in TF32, which rounds operands to 11 bits.
func coarse(e *Engine) float64 {
	if strings.Contains(e.options.Backend, "cuda") {
		return 500
	}
	return 1
}

func pair(t *testing.T, v variant, o Options) (*Engine, *ref.Engine[float64]) {
	t.Helper()
	w := model.Init(&v.cfg, 11)
	o.Backend, o.Queries, o.LogitRows = backendOf(t), v.queries, v.rows
	e, err := New(w, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() })
	r, err := ref.New[float64](w)
	if err != nil {
		t.Fatal(err)
	}
	return e, r
}

// far is the largest difference, relative to the largest number of want.
func far(got []float32, want []float64) float64 {
	var off, top float64
	for i := range want {
		off, top = max(off, math.Abs(float64(got[i])-want[i])), max(top, math.Abs(want[i]))
	}
	return off / max(top, 1e-12)
}

// TestAgainstReference compares losses and gradients with engine/ref in float64, tensor by tensor. Everything here is
// float32 with sums of at most 37 terms: 1e-5 of a tensor's largest number leaves room for some hundred roundings (coarse has
// the exception).
func TestAgainstReference(t *testing.T) {
	for _, v := range variants() {
		t.Run(strings.ReplaceAll(v.name, " ", "_"), func(t *testing.T) {
			e, r := pair(t, v, Options{})
			againstReference(t, v, e, r)
		})
	}
}

func againstReference(t *testing.T, v variant, e *Engine, r *ref.Engine[float64]) {
	t.Helper()
	rng := rand.New(rand.NewPCG(1, 2))
	var nll, want float64
	for range 2 { // gradients add up
		b := batch(rng, &v.cfg, v.packed)
		got, err := e.Accumulate(b, 0.25)
		if err != nil {
			t.Fatal(err)
		}
		exact, err := r.Accumulate(b, 0.25)
		if err != nil {
			t.Fatal(err)
		}
		nll, want = nll+got, want+exact
	}
	if math.Abs(nll/want-1) > 1e-6*coarse(e) {
		t.Errorf("loss %.9g, want %.9g", nll, want)
	}
	grads := e.Grads()
	for _, p := range v.cfg.Layout() {
		lo, hi := p.Offset, p.Offset+p.Size
		if d := far(grads[lo:hi], r.Grads()[lo:hi]); !(d < 1e-5*coarse(e)) {
			t.Errorf("gradient of %s is off by %.2g of its largest number", p.Name, d)
		}
	}
	if got, want := e.GradNorm(), r.GradNorm(); math.Abs(got/want-1) > 1e-5*coarse(e) {
		t.Errorf("norm %g, want %g", got, want)
	}
	b := batch(rng, &v.cfg, v.packed)
	losses, exact := make([]float32, 26), make([]float32, 26)
	if err := e.Loss(losses, b); err != nil {
		t.Fatal(err)
	}
	if err := r.Loss(exact, b); err != nil {
		t.Fatal(err)
	}
	for i := range losses {
		if math.Abs(float64(losses[i]-exact[i])) > 1e-5*coarse(e)*max(1, math.Abs(float64(exact[i]))) {
			t.Errorf("loss of token %d is %g, want %g", i, losses[i], exact[i])
		}
	}
}

type trainer interface {
	Accumulate(b *model.Batch, scale float32) (float64, error)
	GradNorm() float64
	Update(u model.Update) error
}

// train takes steps from..to and gives their losses.
func train(t *testing.T, e trainer, v variant, from, to int) (losses []float64) {
	t.Helper()
	for step := from; step <= to; step++ {
		b := batch(rand.New(rand.NewPCG(uint64(step), 9)), &v.cfg, v.packed)
		nll, err := e.Accumulate(b, 1/float32(b.NumTargets()))
		if err != nil {
			t.Fatal(err)
		}
		losses = append(losses, nll/float64(b.NumTargets()))
		u := model.Update{Step: step, LR: 3e-3, Beta1: 0.9, Beta2: 0.95, Eps: 1e-8, WeightDecay: 0.1, GradScale: min(1, 1/e.GradNorm())}
		if err := e.Update(u); err != nil {
			t.Fatal(err)
		}
	}
	return losses
}

// TestTenSteps holds ten updates to engine/ref's, with a move of the state to a new engine in the middle. AdamW divides
// by the root of small second moments, which magnifies roundings; losses still agree to 1e-4.
func TestTenSteps(t *testing.T) {
	v := variants()[4]
	e, r := pair(t, v, Options{})
	got := train(t, e, v, 1, 5)
	moved, _ := pair(t, v, Options{})
	if err := moved.SetState(e.State()); err != nil {
		t.Fatal(err)
	}
	got = append(got, train(t, moved, v, 6, 10)...)
	want := train(t, r, v, 1, 10)
	for i := range want {
		if math.Abs(got[i]-want[i]) > 1e-4*coarse(e)*want[i] {
			t.Errorf("step %d: loss %.7g, want %.7g", i+1, got[i], want[i])
		}
	}
	params := moved.State().Params
	if d := far(params, r.Params()); !(d < 1e-4*coarse(e)) {
		t.Errorf("parameters are off by %.2g after ten steps", d)
	}
	if slices.ContainsFunc(moved.Grads(), func(x float32) bool { return x != 0 }) {
		t.Error("an update left gradients")
	}
}

// TestBF16 rounds the operands of products and their results to bfloat16. GoMLX's backend in plain Go cuts the lower
// bits off, so each rounding is up to 2^-7 and always down: a gradient at the head is off by 2 % in the root mean
// square, one that has come through two blocks by 7 %. A missing or wrong term is off by far more.
func TestBF16(t *testing.T) {
	v := variants()[1]
	e, r := pair(t, v, Options{BF16: true})
	b := batch(rand.New(rand.NewPCG(3, 4)), &v.cfg, false)
	got, err := e.Accumulate(b, 1)
	if err != nil {
		t.Fatal(err)
	}
	want, err := r.Accumulate(b, 1)
	if err != nil {
		t.Fatal(err)
	}
	if math.Abs(got/want-1) > 0.01 {
		t.Errorf("loss %g, want %g", got, want)
	}
	grads := e.Grads()
	for _, p := range v.cfg.Layout() {
		var off, all float64
		for i := p.Offset; i < p.Offset+p.Size; i++ {
			off += (float64(grads[i]) - r.Grads()[i]) * (float64(grads[i]) - r.Grads()[i])
			all += r.Grads()[i] * r.Grads()[i]
		}
		if !(off < 0.1*0.1*all) {
			t.Errorf("gradient of %s is off by %.2g in the root mean square", p.Name, math.Sqrt(off/all))
		}
	}
	if d := far(grads, r.Grads()); d < 1e-5 {
		t.Errorf("gradients are within %.2g of float64: nothing was rounded", d)
	}
}

// TestSession compares logits with engine/ref's over whole texts, for texts that are cut into calls in several ways,
// truncated and gone on with. Tolerance as in TestAgainstReference.
func TestSession(t *testing.T) {
	for _, v := range variants() {
		t.Run(strings.ReplaceAll(v.name, " ", "_"), func(t *testing.T) {
			e, r := pair(t, v, Options{})
			rng := rand.New(rand.NewPCG(7, 8))
			text := make([]int32, 23)
			for i := range text {
				text[i] = int32(rng.IntN(v.cfg.VocabSize))
			}
			want, err := r.Logits(text)
			if err != nil {
				t.Fatal(err)
			}
			s, err := e.NewSession(24)
			if err != nil {
				t.Fatal(err)
			}
			V := v.cfg.VocabSize
			for _, cuts := range [][]int{{23}, {1, 1, 1, 20}, {7, 5, 11}, {16, 7}} {
				s.Truncate(0)
				at := 0
				for _, n := range cuts {
					got := make([]float32, n*V)
					if err := s.Append(text[at:at+n], got, 0); err != nil {
						t.Fatal(err)
					}
					if d := far(got, want[at*V:(at+n)*V]); !(d < 1e-5*coarse(e)) {
						t.Errorf("cut %v: logits from token %d are off by %.2g", cuts, at, d)
					}
					at += n
				}
			}
			// Another text with the same beginning, and back again: what lies behind must not show through.
			s.Truncate(9)
			if err := s.Append(text[:3], nil, 3); err != nil {
				t.Fatal(err)
			}
			s.Truncate(9)
			got := make([]float32, 2*V)
			if err := s.Append(text[9:], got, 12); err != nil {
				t.Fatal(err)
			}
			if d := far(got, want[21*V:]); !(d < 1e-5*coarse(e)) || s.Len() != 23 {
				t.Errorf("after going back, %d tokens: logits are off by %.2g", s.Len(), d)
			}
			for what, err := range map[string]error{
				"made for 24":            s.Append(text[:2], nil, 2),
				"outside the vocabulary": s.Append([]int32{int32(V)}, nil, 1),
				"place for 1 logits":     s.Append(text[:1], make([]float32, 1), 0),
			} {
				if err == nil || !strings.Contains(err.Error(), what) {
					t.Errorf("%v, want %q", err, what)
				}
			}
		})
	}
}

func TestBadInput(t *testing.T) {
	v := variants()[0]
	e, _ := pair(t, v, Options{})
	good := batch(rand.New(rand.NewPCG(5, 6)), &v.cfg, false)
	long := &model.Batch{B: 1, T: 33, Tokens: make([]int32, 33), Targets: make([]int32, 33)}
	outside := &model.Batch{B: 1, T: 1, Tokens: []int32{37}, Targets: []int32{0}}
	for _, x := range []struct {
		name, want string
		do         func() error
	}{
		{"no targets", "no loss", func() error {
			_, err := e.Accumulate(&model.Batch{B: 1, T: 2, Tokens: []int32{1, 2}}, 1)
			return err
		}},
		{"outside the vocabulary", "outside the vocabulary of 37", func() error { _, err := e.Accumulate(outside, 1); return err }},
		{"too long", "knows 32 positions", func() error { _, err := e.Accumulate(long, 1); return err }},
		{"no place", "place for 3 losses", func() error { return e.Loss(make([]float32, 3), good) }},
		{"step 0", "the first step is 1", func() error { return e.Update(model.Update{}) }},
		{"short state", "state has 3 parameters", func() error { return e.SetState(model.State{Params: make([]float32, 3)}) }},
		{"backend", `backend "nonsense"`, func() error {
			_, err := New(model.Init(&v.cfg, 1), Options{Backend: "nonsense"})
			return err
		}},
		{"options", "must not be negative", func() error {
			_, err := New(model.Init(&v.cfg, 1), Options{Queries: -1})
			return err
		}},
		{"no weights", "no weights", func() error { _, err := New(nil, Options{}); return err }},
	} {
		if err := x.do(); err == nil || !strings.Contains(err.Error(), x.want) {
			t.Errorf("%s: %v, want %q", x.name, err, x.want)
		}
	}
	if _, err := e.Accumulate(good, 1); err != nil {
		t.Errorf("bad input left the engine unusable: %v", err)
	}
	e.Close()
	if _, err := e.Accumulate(good, 1); err == nil {
		t.Error("a closed engine still trains")
	}
}
