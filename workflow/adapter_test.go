package workflow

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"ravn/model"
	"ravn/recipe"
	"ravn/tokenizer"
	"ravn/train"
	"ravn/weights"
)

// adapterRun writes a tiny base and text to dir and returns the recipe of a run with an adapter on it; more are lines below train.
func adapterRun(t *testing.T, dir, more string) *recipe.Recipe {
	t.Helper()
	o := tokenizer.DefaultTrainOptions()
	o.VocabSize = 300
	english := strings.Repeat("the raven sat on the chimney and cried to the skipper in the harbour. ", 4)
	tok, err := tokenizer.Train(context.Background(), slices.Values([]string{english, "æøå kpj"}), o)
	if err != nil {
		t.Fatal(err)
	}
	cfg := NewConfig(&recipe.Shape{HiddenSize: 16, IntermediateSize: 24, Layers: 2, Heads: 2, KeyValueHeads: 1, MaxPositions: 64, RopeTheta: 10000}, tok.Size(), 1, 2)
	base := filepath.Join(dir, "model")
	if err := os.MkdirAll(base, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := weights.WriteFolder(base, model.Init(cfg, 5), weights.SaveOptions{DType: model.F32, Files: tok.Files()}); err != nil {
		t.Fatal(err)
	}
	var da, en strings.Builder
	for i := range 40 {
		fmt.Fprintf(&da, `{"id": "da%d", "license": "CC0-1.0", "text": "Ravnen nummer %d sad på skorstenen over havnen og skreg til skipperen, som ikke hørte ravnen på skorstenen."}`+"\n", i, i)
		fmt.Fprintf(&en, `{"id": "h%d", "license": "CC0-1.0", "text": "the raven cried to the skipper %d times"}`+"\n", i, i)
	}
	for name, text := range map[string]string{"da.jsonl": da.String(), "en.jsonl": en.String(), "r.yaml": `
name: x
data:
  sources: [{path: da.jsonl, format: jsonl, section: da, language: da}]
  heldout: [{path: en.jsonl, language: en}]
  heldout_share: 0
  dedup: false
  seq_tokens: 32
tokenizer: {model: model}
base: {model: model, name: raven-en, license: CC0-1.0}
train:
  steps: 3
  rows_per_step: 2
  schedule: {peak_lr: 0.01}
  guard: {retain: {en: 0.9}, on_breach: warn}
` + more} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	r, err := recipe.Load(filepath.Join(dir, "r.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// TestAdapterFromARecipe runs a recipe with an adapter: what it leaves is a model like any other and an adapter that makes
// the same model of the base.
func TestAdapterFromARecipe(t *testing.T) {
	dir := t.TempDir()
	r := adapterRun(t, dir, "  adapter: {kind: dora, rank: 2, targets: [q_proj, down_proj]}\n")
	p, err := PlanCost(r)
	if err != nil {
		t.Fatal(err)
	}
	// By hand, two layers: q 16×16 and down 16×24, at rank 2, and their 16 rows' lengths.
	if want := 2 * (2*(16+16) + 16 + 2*(16+24) + 16); p.Phases[0].Trained != want {
		t.Errorf("the plan trains %d parameters, want %d", p.Phases[0].Trained, want)
	}
	for _, m := range p.Phases[0].Memory {
		if m.Name == "moments" {
			t.Errorf("the plan has moments of all weights: %+v", m)
		}
	}
	var plan bytes.Buffer
	p.Write(&plan)
	if !strings.Contains(plan.String(), "% of the model: dora, rank 2, alpha 4, on q_proj down_proj") {
		t.Errorf("the plan does not name the adapter:\n%s", plan.String())
	}

	f, err := Open(r, filepath.Join(dir, "run"), Options{Until: "train", Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := f.Run(context.Background()); err != nil {
		t.Fatal(err)
	}
	result, err := weights.Load(train.StepDir(f.Folder.Dir, 3))
	if err != nil {
		t.Fatal(err)
	}
	out, ad := filepath.Join(dir, "merged"), train.AdapterDir(f.Folder.Dir, 3)
	if err := MergeAdapter(filepath.Join(dir, "model"), ad, out); err != nil {
		t.Fatal(err)
	}
	merged, err := weights.Load(out)
	if err != nil {
		t.Fatal(err)
	}
	base, err := weights.Load(filepath.Join(dir, "model"))
	if err != nil {
		t.Fatal(err)
	}
	if merged.Hash() != result.Hash() || base.Hash() == result.Hash() {
		t.Error("the base with its adapter is not the result of the run")
	}
	if err := MergeAdapter(filepath.Join(dir, "model"), ad, out); err == nil || !strings.Contains(err.Error(), "is there already") {
		t.Errorf("merging twice to one folder: %v", err)
	}
	if text, err := os.ReadFile(filepath.Join(ad, "adapter_config.json")); err != nil || !strings.Contains(string(text), `"base_model_name_or_path": "raven-en"`) {
		t.Errorf("adapter_config.json: %s, %v", text, err)
	}
}

// TestAdapterErrorsNameTheRecipe: what can only be told once the base is known.
func TestAdapterErrorsNameTheRecipe(t *testing.T) {
	dir := t.TempDir()
	r := adapterRun(t, dir, "  adapter: {rank: 9}\n")
	if _, err := PlanCost(r); err == nil || !strings.Contains(err.Error(), "r.yaml: train.adapter.rank 9 is more than the 8 of model.layers.0.self_attn.k_proj.weight, which is 8 × 16") {
		t.Errorf("got %v", err)
	}
	f, err := Open(r, filepath.Join(dir, "run"), Options{Until: "train", Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := f.Run(context.Background()); err == nil || !strings.Contains(err.Error(), "r.yaml: train.adapter.rank 9 is more") {
		t.Errorf("got %v", err)
	}
}
