package xla

import (
	"testing"

	"ravn/model"
)

// TestMemoryOfMistral checks the plan of a 7B model against figures worked out by hand.
func TestMemoryOfMistral(t *testing.T) {
	c := &model.Config{
		Architectures: []string{"MistralForCausalLM"}, ModelType: "mistral", VocabSize: 32000, HiddenSize: 4096, IntermediateSize: 14336,
		NumHiddenLayers: 32, NumAttentionHeads: 32, NumKeyValueHeads: 8, HeadDim: 128, HiddenAct: "silu", MaxPositionEmbeddings: 32768,
		RMSNormEps: 1e-5, RopeTheta: 10000, SlidingWindow: 4096,
	}
	const n = 7_241_732_096 // spec of the published model
	for _, x := range []struct {
		devices int
		want    map[string]int64
	}{
		{1, map[string]int64{
			"weights": 4 * n, "gradients": 4 * n, "moments": 8 * n,
			"rounded":        2 * 218_112_000,      // a block, without the rounding of its two norms counted apart
			"block inputs":   4 * 33 * 4096 * 4096, // 2.2 GB
			"block backward": 8 * 4096 * (16384 + 16384 + 4096 + 43008),
			"scores":         12 * 32 * 512 * 512,
			"logits":         12*1024*32000 + 4*32000*4096,
			"written anew":   4 * 218_112_000,
		}},
		{4, map[string]int64{"weights": n, "gradients": n, "moments": 2 * n, "gathered": 2 * (2*218_112_000 + 32000*4096), "to be added up": 4 * 218_112_000, "written anew": 218_112_000}},
	} {
		got := map[string]int64{}
		for _, p := range Memory(c, Options{BF16: true}, 1, 4096, x.devices) {
			got[p.Name] = p.Bytes
		}
		for name, want := range x.want {
			if got[name] != want {
				t.Errorf("%d devices: %s is %d bytes, want %d", x.devices, name, got[name], want)
			}
		}
	}
}
