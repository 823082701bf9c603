package workflow

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"ravn/engine/cpu"
	"ravn/model"
	"ravn/recipe"
	"ravn/tokenizer"
	"ravn/train"
	"ravn/weights"
)

// TestVocabularyIsExtended takes a base that knows English, adds Danish pieces and trains two steps. At step 0 a text whose
// ids are unchanged has the same hidden states and the same logits of old ids; its loss is higher by −log(1 − p), where p is
// what the new ids take of each token's probability, and by nothing else.
func TestVocabularyIsExtended(t *testing.T) {
	dir := t.TempDir()
	english := strings.Repeat("the raven sat on the chimney and cried to the skipper in the harbour. ", 4)
	o := tokenizer.DefaultTrainOptions()
	o.VocabSize = 330
	old, err := tokenizer.Train(context.Background(), slices.Values([]string{english, "æøå kpj"}), o)
	if err != nil {
		t.Fatal(err)
	}
	cfg := NewConfig(&recipe.Shape{HiddenSize: 16, IntermediateSize: 24, Layers: 2, Heads: 2, KeyValueHeads: 1, MaxPositions: 64, RopeTheta: 10000}, old.Size(), 1, 2)
	was := model.Init(cfg, 5)
	for i := range was.Params { // larger than at the start of a training, so that probabilities differ
		was.Params[i] *= 4
	}
	base := filepath.Join(dir, "model")
	if err := os.MkdirAll(base, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := weights.WriteFolder(base, was, weights.SaveOptions{DType: model.F32, Files: old.Files()}); err != nil {
		t.Fatal(err)
	}
	var da, heldout strings.Builder
	for i := range 40 {
		fmt.Fprintf(&da, `{"id": "da%d", "license": "CC0-1.0", "text": "Ravnen nummer %d sad på skorstenen over havnen og skreg til skipperen, som ikke hørte ravnen på skorstenen."}`+"\n", i, i)
		fmt.Fprintf(&heldout, `{"id": "h%d", "license": "CC0-1.0", "text": "the raven cried to the skipper %d times"}`+"\n", i, i)
	}
	for name, text := range map[string]string{"da.jsonl": da.String(), "en.jsonl": heldout.String(), "r.yaml": `
name: x
data:
  sources: [{path: da.jsonl, format: jsonl, section: da, language: da}]
  heldout: [{path: en.jsonl, language: en}]
  heldout_share: 0
  dedup: false
  seq_tokens: 32
tokenizer: {extend: 12}
base: {model: model, license: CC0-1.0}
train: {steps: 2, rows_per_step: 2, schedule: {peak_lr: 0.001}}
`} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	r, err := recipe.Load(filepath.Join(dir, "r.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	f, err := Open(r, filepath.Join(dir, "run"), Options{Until: "train", Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(f.Run(context.Background()), f.Close()); err != nil {
		t.Fatal(err)
	}

	now, err := tokenizer.Load(f.Folder.TokenizerDir())
	if err != nil {
		t.Fatal(err)
	}
	b, err := ReadBase(f.Folder)
	if err != nil || b.Path != base || b.Start != f.Folder.Path("base", "extended") {
		t.Fatalf("base %+v, %v", b, err)
	}
	is, err := weights.Load(b.Start)
	if err != nil || is.Config.VocabSize != 342 || now.Size() != 342 {
		t.Fatalf("%v ids, %d pieces, %v", is.Config.VocabSize, now.Size(), err)
	}
	result, err := weights.Load(train.StepDir(f.Folder.Dir, 2))
	if err != nil || result.Config.VocabSize != 342 {
		t.Errorf("the result: %v", err)
	}
	var e Extension
	data, err := os.ReadFile(filepath.Join(f.Folder.TokenizerDir(), extensionName))
	if err == nil {
		err = json.Unmarshal(data, &e)
	}
	if err != nil || e.Before != 330 || e.After != 342 || len(e.Languages) != 1 || e.Languages[0].Words != 40*8 {
		t.Errorf("fertility %+v, %v", e, err)
	}

	// Begun by overlap, the same pieces get other rows, in a run that takes up nothing of the one before.
	file := filepath.Join(dir, "r.yaml")
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(strings.Replace(string(text), "{extend: 12}", "{extend: 12, init: overlap}", 1)), 0o644); err != nil {
		t.Fatal(err)
	}
	if r, err = recipe.Load(file); err != nil {
		t.Fatal(err)
	}
	again, err := Open(r, filepath.Join(dir, "run"), Options{Until: "train", Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	if err := again.Run(context.Background()); err != nil {
		t.Fatal(err)
	}
	rows := newRows(old, now, "overlap")
	want, err := model.Extend(was, 330, rows)
	if err != nil {
		t.Fatal(err)
	}
	got, err := weights.Load(b.Start)
	if err != nil || got.Hash() != want.Hash() || got.Hash() == is.Hash() {
		t.Errorf("rows begun by overlap: %v", err)
	}
	if other, err := weights.Load(train.StepDir(f.Folder.Dir, 2)); err != nil || other.Hash() == result.Hash() {
		t.Errorf("the run was not trained again from other rows: %v", err)
	}

	var kept []string // words without new pieces
	for _, word := range strings.Fields(english) {
		if slices.Equal(now.EncodeText(nil, word), old.EncodeText(nil, word)) {
			kept = append(kept, word)
		}
	}
	words := strings.Join(kept[:min(12, len(kept))], " ")
	ids := now.EncodeText([]int32{1}, words)
	if !slices.Equal(ids, old.EncodeText([]int32{1}, words)) || len(ids) < 4 {
		t.Fatalf("%q has new pieces, or is too short", words)
	}
	n := len(ids) - 1
	loss := func(w *model.Weights, targets []int32) []float32 {
		engine, err := cpu.New(w, cpu.Options{Threads: 1, MaxTokens: 64, MaxRow: 64, Inference: true})
		if err != nil {
			t.Fatal(err)
		}
		defer engine.Close()
		nll := make([]float32, n)
		if err := engine.Loss(nll, &model.Batch{B: 1, T: n, Tokens: ids[:n], Targets: targets}); err != nil {
			t.Fatal(err)
		}
		return nll
	}
	before, after := loss(was, ids[1:]), loss(is, ids[1:])
	taken := make([]float64, n)
	for id := 330; id < 342; id++ {
		for i, x := range loss(is, slices.Repeat([]int32{int32(id)}, n)) {
			taken[i] += math.Exp(-float64(x))
		}
	}
	for i := range before {
		want := float64(before[i]) - math.Log1p(-taken[i])
		if math.Abs(float64(after[i])-want) > 2e-5 { // float32 exponentials, summed over 342 ids
			t.Errorf("token %d: loss %.6f, want %.6f = %.6f before and %.4f taken by new ids", i, after[i], want, before[i], taken[i])
		}
	}
}
