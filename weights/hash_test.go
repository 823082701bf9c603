package weights

import (
	"path/filepath"
	"testing"

	"ravn/model"
)

// TestHash compares the hash of files with that of the same numbers in memory.
func TestHash(t *testing.T) {
	c := &model.Config{
		ModelType: "llama", Architectures: []string{"LlamaForCausalLM"}, VocabSize: 70, HiddenSize: 32, IntermediateSize: 64, NumHiddenLayers: 2,
		NumAttentionHeads: 4, NumKeyValueHeads: 2, HeadDim: 8, HiddenAct: "silu", MaxPositionEmbeddings: 64, RMSNormEps: 1e-5, RopeTheta: 10000,
		InitializerRange: 0.02, BOSTokenID: 1, EOSTokenID: 2,
	}
	for _, d := range []model.DType{model.F32, model.BF16, model.F16} {
		dir := filepath.Join(t.TempDir(), "m")
		if err := SaveFolder(dir, model.Init(c, 3), SaveOptions{DType: d}); err != nil {
			t.Fatal(err)
		}
		w, err := Load(dir)
		if err != nil {
			t.Fatal(err)
		}
		m, err := Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		got, err := Hash(m)
		if want := w.Hash(); err != nil || got != want {
			t.Errorf("%s: %s, %v, want %s", d, got, err, want)
		}
		if err := m.Close(); err != nil {
			t.Fatal(err)
		}
		if _, err := Hash(m); err == nil {
			t.Errorf("%s: a closed model has a hash", d)
		}
	}
}
