package cpu

import (
	"math/rand/v2"
	"testing"

	"ravn/model"
)

// config is a small decoder: C=24, D=6, H=4, K=2, V not a multiple of 16.
func config(change ...func(c *model.Config)) *model.Config {
	c := &model.Config{
		Architectures: []string{"MistralForCausalLM"}, ModelType: "mistral",
		VocabSize: 53, HiddenSize: 24, IntermediateSize: 40, NumHiddenLayers: 2,
		NumAttentionHeads: 4, NumKeyValueHeads: 2, HeadDim: 6, HiddenAct: "silu",
		MaxPositionEmbeddings: 640, RMSNormEps: 1e-5, RopeTheta: 10000, InitializerRange: 0.2,
		BOSTokenID: 1, EOSTokenID: 2,
	}
	for _, f := range change {
		f(c)
	}
	return c
}

// weights are random, norms included.
func weights(c *model.Config, seed uint64) *model.Weights {
	w := model.Init(c, seed)
	r := rand.New(rand.NewPCG(seed, 1))
	for _, p := range c.Layout() {
		if !p.Decay {
			for i := range p.Size {
				w.Params[p.Offset+i] = 0.5 + r.Float32()
			}
		}
	}
	return w
}

// batch is random tokens, each predicting the next.
func batch(c *model.Config, seed uint64, B, T int, change ...func(b *model.Batch)) *model.Batch {
	r := rand.New(rand.NewPCG(seed, 2))
	b := &model.Batch{B: B, T: T, Tokens: make([]int32, B*T), Targets: make([]int32, B*T)}
	for i := range b.Tokens {
		b.Tokens[i] = r.Int32N(int32(c.VocabSize))
	}
	for i := range b.Targets {
		b.Targets[i] = -1
		if i%T != T-1 {
			b.Targets[i] = b.Tokens[i+1]
		}
	}
	for _, f := range change {
		f(b)
	}
	return b
}

// documents cuts each row of b into documents of the given lengths, the last of which is repeated; the last token of a
// document has no target.
func documents(lengths ...int) func(b *model.Batch) {
	return func(b *model.Batch) {
		b.Positions, b.Segments = make([]int32, b.B*b.T), make([]int32, b.B*b.T)
		for row := range b.B {
			doc, at := 0, 0
			for t := range b.T {
				if at == lengths[min(doc, len(lengths)-1)] {
					doc, at = doc+1, 0
				}
				i := row*b.T + t
				b.Positions[i], b.Segments[i] = int32(at), int32(doc)
				if at == 0 && t > 0 {
					b.Targets[i-1] = -1
				}
				at++
			}
		}
	}
}

func copyWeights(w *model.Weights) *model.Weights {
	return &model.Weights{Config: w.Config, Params: append([]float32(nil), w.Params...)}
}

func newEngine(t testing.TB, w *model.Weights, o Options) *Engine {
	t.Helper()
	e, err := New(copyWeights(w), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() })
	return e
}

func losses(t testing.TB, e *Engine, b *model.Batch) []float32 {
	t.Helper()
	nll := make([]float32, b.B*b.T)
	if err := e.Loss(nll, b); err != nil {
		t.Fatal(err)
	}
	return nll
}
