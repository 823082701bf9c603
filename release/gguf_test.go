package release

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"ravn/model"
	"ravn/tokenizer"
	"ravn/weights"
)

// A release may hold the model as GGUF: named after model and format, on the card, in the checksums, and a model.
func TestGGUF(t *testing.T) {
	o := options(t)
	to := tokenizer.DefaultTrainOptions()
	to.VocabSize = 320
	tok, err := tokenizer.Train(t.Context(), slices.Values([]string{strings.Repeat("Ravnen fløj over marken og råbte 123 gange; rødgrød med fløde. ", 30)}), to)
	if err != nil {
		t.Fatal(err)
	}
	c := &model.Config{
		ModelType: "llama", VocabSize: 320, HiddenSize: 32, IntermediateSize: 64, NumHiddenLayers: 1, NumAttentionHeads: 2, NumKeyValueHeads: 1, HeadDim: 16,
		HiddenAct: "silu", MaxPositionEmbeddings: 64, RMSNormEps: 1e-5, RopeTheta: 10000, InitializerRange: 0.02, BOSTokenID: 1, EOSTokenID: 2,
	}
	if err := weights.SaveFolder(o.Checkpoint, model.Init(c, 5), weights.SaveOptions{Files: tok.Files()}); err != nil {
		t.Fatal(err)
	}
	o.Name, o.GGUF = "somebody/ravn-da", []model.DType{model.Q8_0, model.BF16}
	f, err := Build(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	card, err := os.ReadFile(filepath.Join(o.Out, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"ravn-da-q8_0.gguf", "ravn-da-bf16.gguf"} {
		if !slices.Contains(f.Files, name) {
			t.Errorf("%s is not among the files with checksums: %q", name, f.Files)
		}
		if !strings.Contains(string(card), name) {
			t.Errorf("the card does not name %s", name)
		}
		if _, err := weights.Load(filepath.Join(o.Out, name)); err != nil {
			t.Error(err)
		}
		if _, err := weights.LoadTokenizer(filepath.Join(o.Out, name)); err != nil {
			t.Error(err)
		}
	}
	if err := Verify(t.Context(), o.Out); err != nil {
		t.Error(err)
	}
	o.GGUF = []model.DType{model.Q8_0, model.Q8_0, "Q3"}
	if err := o.Validate(); err == nil || strings.Count(err.Error(), "GGUF in") != 2 {
		t.Errorf("a format twice and an unknown one: %v", err)
	}
}
