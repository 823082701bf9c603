package xla

import (
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"ravn/engine/cpu"
	"ravn/model"
)

// beside is an engine/cpu over the same first weights.
func beside(t *testing.T, v variant, o cpu.Options) *cpu.Engine {
	t.Helper()
	o.Threads, o.MaxTokens = 1, 2*v.cfg.MaxPositionEmbeddings
	e, err := cpu.New(model.Init(&v.cfg, 11), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() })
	return e
}

// likeCPU trains ten steps on both engines, and compares losses and parameters with the tolerance of TestTenSteps.
func likeCPU(t *testing.T, v variant, e *Engine, c *cpu.Engine) {
	t.Helper()
	got, want := train(t, e, v, 1, 10), train(t, c, v, 1, 10)
	for i := range want {
		if math.Abs(got[i]-want[i]) > 1e-4*coarse(e)*want[i] {
			t.Errorf("step %d: loss %.7g, engine/cpu %.7g", i+1, got[i], want[i])
		}
	}
	w := c.State().Params
	exact := make([]float64, len(w))
	for i, x := range w {
		exact[i] = float64(x)
	}
	if d := far(e.State().Params, exact); !(d < 1e-4*coarse(e)) {
		t.Errorf("parameters are off engine/cpu's by %.2g after ten steps", d)
	}
}

// TestZLoss holds gradients with a z-loss to engine/cpu's, whose own are held to finite differences. A z-loss of 0.1 moves
// the gradients by far more than the tolerance.
func TestZLoss(t *testing.T) {
	v := variants()[2]
	e, _ := pair(t, v, Options{ZLoss: 0.1})
	plain, _ := pair(t, v, Options{})
	c := beside(t, v, cpu.Options{ZLoss: 0.1})
	b := batch(rand.New(rand.NewPCG(4, 2)), &v.cfg, true)
	var losses [3]float64
	for i, x := range []trainer{e, plain, c} {
		var err error
		if losses[i], err = x.Accumulate(b, 0.5); err != nil {
			t.Fatal(err)
		}
	}
	if losses[0] != losses[1] || math.Abs(losses[0]/losses[2]-1) > 1e-6 {
		t.Errorf("losses %.9g with z-loss, %.9g without, %.9g on engine/cpu: the z-loss is no part of them", losses[0], losses[1], losses[2])
	}
	want := make([]float64, v.cfg.NumParams())
	for i, x := range c.Grads() {
		want[i] = float64(x)
	}
	got, without := e.Grads(), plain.Grads()
	for _, p := range v.cfg.Layout() {
		lo, hi := p.Offset, p.Offset+p.Size
		if d := far(got[lo:hi], want[lo:hi]); !(d < 1e-5*coarse(e)) {
			t.Errorf("gradient of %s is off engine/cpu's by %.2g", p.Name, d)
		}
	}
	if d := far(without, want); d < 1e-3 {
		t.Errorf("the z-loss moves gradients by %.2g of their largest only: it tests nothing", d)
	}
	likeCPU(t, v, e, c) // from the same gradients on
}

// TestFreeze trains with the embedding and the first block frozen, and with one norm alone, as engine/cpu does, on one
// and on two devices. What is frozen keeps its bits.
func TestFreeze(t *testing.T) {
	needDevices(t, 2)
	v := variants()[1]
	for name, frozen := range map[string]func(name string) bool{
		"embedding and a block": func(name string) bool {
			return strings.HasPrefix(name, "model.embed_tokens") || strings.HasPrefix(name, "model.layers.0.")
		},
		"all but a norm": func(name string) bool { return name != "model.norm.weight" },
	} {
		for _, devices := range []int{1, 2} {
			t.Run(name, func(t *testing.T) {
				e, _ := pair(t, v, Options{Devices: devices})
				c := beside(t, v, cpu.Options{})
				e.Freeze(frozen)
				c.Freeze(frozen)
				first := e.State().Params
				likeCPU(t, v, e, c)
				last := e.State().Params
				for _, p := range v.cfg.Layout() {
					lo, hi := p.Offset, p.Offset+p.Size
					if same := slices.Equal(first[lo:hi], last[lo:hi]); same != frozen(p.Name) {
						t.Errorf("%s: frozen %v, the same %v", p.Name, frozen(p.Name), same)
					}
				}
				if slices.ContainsFunc(e.Grads(), func(x float32) bool { return x != 0 }) {
					t.Error("an update left gradients of what is frozen")
				}
			})
		}
	}
}

// TestBF16Moments: moments in bfloat16 take half the memory, are numbers of bfloat16 when they come back, go through
// SetState unchanged, and train to losses within 2 % of float32's in ten steps (8 bits of mantissa in what a step is
// divided by; GoMLX's backend in plain Go cuts them off).
func TestBF16Moments(t *testing.T) {
	v := variants()[1]
	e, r := pair(t, v, Options{BF16Moments: true})
	got, want := train(t, e, v, 1, 10), train(t, r, v, 1, 10)
	differs := false
	for i := range want {
		if math.Abs(got[i]-want[i]) > 0.02*want[i] {
			t.Errorf("step %d: loss %.7g, with moments in float64 %.7g", i+1, got[i], want[i])
		}
		differs = differs || math.Abs(got[i]-want[i]) > 1e-5*want[i]
	}
	if !differs {
		t.Error("losses are those of full precision: nothing was rounded")
	}
	s := e.State()
	for i, x := range s.V {
		if math.Float32bits(x)&0xffff != 0 || math.Float32bits(s.M[i])&0xffff != 0 {
			t.Fatalf("moments %d are %g and %g: no numbers of bfloat16", i, s.M[i], x)
		}
	}
	moved, _ := pair(t, v, Options{BF16Moments: true})
	if err := moved.SetState(s); err != nil {
		t.Fatal(err)
	}
	if again := moved.State(); !slices.Equal(again.M, s.M) || !slices.Equal(again.V, s.V) {
		t.Error("moments changed on the way through SetState")
	}
	if got, want := nearest(1.00390625+1.0/512).Float32(), float32(1.0078125); got != want { // between two numbers of bfloat16
		t.Errorf("1.005859375 rounds to %v, want %v", got, want)
	}
}

// TestDropGradients: gradients of a batch that was left out do not come back.
func TestDropGradients(t *testing.T) {
	v := variants()[1]
	e, _ := pair(t, v, Options{})
	if _, err := e.Accumulate(batch(rand.New(rand.NewPCG(4, 2)), &v.cfg, false), 1); err != nil {
		t.Fatal(err)
	}
	if e.GradNorm() == 0 {
		t.Fatal("no gradient to drop")
	}
	e.DropGradients()
	if n := e.GradNorm(); n != 0 {
		t.Errorf("norm %g after dropping the gradients", n)
	}
}
