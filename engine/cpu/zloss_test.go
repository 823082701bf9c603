package cpu

import (
	"math"
	"testing"

	"ravn/model"
)

// TestZLossAgainstFiniteDifferences: the logits' gradient of CE + z·log²Z, times a scale, in float64.
func TestZLossAgainstFiniteDifferences(t *testing.T) {
	const z, scale, h = 0.3, 0.5, 1e-6
	x := []float64{0.5, -1, 2, 0.25}
	logZ := func(x []float64) float64 {
		s := 0.0
		for _, v := range x {
			s += math.Exp(v)
		}
		return math.Log(s)
	}
	loss := func(x []float64) float64 { l := logZ(x); return l - x[2] + z*l*l }
	got := make([]float32, len(x))
	for i, v := range x {
		got[i] = float32(scale * math.Exp(v-logZ(x)))
	}
	got[2] -= scale
	zLoss(got, 2, float32(logZ(x)), z, scale)
	for i := range x {
		up, down := append([]float64(nil), x...), append([]float64(nil), x...)
		up[i], down[i] = up[i]+h, down[i]-h
		want := scale * (loss(up) - loss(down)) / (2 * h)
		if math.Abs(float64(got[i])-want) > 1e-6 { // float32 of numbers near 1
			t.Errorf("logit %d: %g, want %g", i, got[i], want)
		}
	}
}

// TestZLossIsNotPartOfTheLoss: what Accumulate returns stays the cross-entropy, the gradients do not.
func TestZLossIsNotPartOfTheLoss(t *testing.T) {
	b := &model.Batch{B: 1, T: 4, Tokens: []int32{1, 2, 3, 4}, Targets: []int32{2, 3, 4, 5}}
	run := func(z float32) (float64, float64) {
		c := &model.Config{
			Architectures: []string{"LlamaForCausalLM"}, ModelType: "llama", VocabSize: 16, HiddenSize: 16, IntermediateSize: 16,
			NumHiddenLayers: 1, NumAttentionHeads: 2, NumKeyValueHeads: 1, HeadDim: 8, HiddenAct: "silu",
			MaxPositionEmbeddings: 8, RMSNormEps: 1e-5, RopeTheta: 10000, InitializerRange: 0.05, BOSTokenID: 1, EOSTokenID: 2, TorchDtype: "float32",
		}
		e, err := New(model.Init(c, 3), Options{Threads: 1, MaxTokens: 4, ZLoss: z})
		if err != nil {
			t.Fatal(err)
		}
		defer e.Close()
		nll, err := e.Accumulate(b, 1)
		if err != nil {
			t.Fatal(err)
		}
		return nll, e.GradNorm()
	}
	plain, norm := run(0)
	with, withNorm := run(0.1)
	if plain != with || norm == withNorm {
		t.Errorf("loss %g and %g, gradient norm %g and %g", plain, with, norm, withNorm)
	}
}
