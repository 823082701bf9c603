package workflow

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"ravn/recipe"
	"ravn/train"
)

// TestMistakesAreSaidBeforeTheBaseIsTrained: what the continued training would stop at does not cost the base's training first.
func TestMistakesAreSaidBeforeTheBaseIsTrained(t *testing.T) {
	dir := t.TempDir()
	adapterRun(t, dir, "")
	for more, want := range map[string]string{
		"  mixture: [{section: da, share: 0.9}, {section: en, share: 0.1}]\n": `r.yaml: train: mixture: no section "en"; there are: da, old`,
		"  mixture: [{section: \"language:en\", share: 1}]\n":                 `r.yaml: mixture: no section has language "en"`,
		"  max_epochs: {da: 0.01}\n":                                          "r.yaml: train: max_epochs: at step 1 every section of the mixture has been read as often as it may be",
		"  guard: {retain: {da: 0.1}, on_breach: raise_replay}\n":             "r.yaml: train: guard: on_breach raise_replay has nothing to raise",
		"  only: [model.embedding.weight]\n":                                  `r.yaml: train: freeze or only: no parameter is named like "model.embedding.weight"`,
	} {
		text := `
name: x
data: {sources: [{path: da.jsonl, format: jsonl, section: da, language: da}, {path: da.jsonl, format: jsonl, section: old, language: da, role: replay}], heldout_share: 0.1, seq_tokens: 32, dedup: false}
tokenizer: {model: model}
base:
  config: {hidden_size: 16, intermediate_size: 24, num_hidden_layers: 1, num_attention_heads: 2}
  train: {steps: 2, rows_per_step: 2, schedule: {peak_lr: 0.01}}
train:
  steps: 2
  rows_per_step: 2
  schedule: {peak_lr: 0.01}
` + more
		file := filepath.Join(dir, "r.yaml")
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		r, err := recipe.Load(file)
		if err != nil {
			t.Fatal(err)
		}
		f, err := Open(r, filepath.Join(dir, "run"), Options{Until: "train", Threads: 1})
		if err != nil {
			t.Fatal(err)
		}
		err = f.Run(context.Background())
		f.Close()
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", more, err, want)
		}
		if _, err := os.Stat(filepath.Join(dir, "run", "base", "events.jsonl")); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s: the base was trained: %v", more, err)
		}
	}
}

// TestSupersededRunsAreAllKept goes from one recipe to another and back, twice: nothing of the four runs is removed. At the
// end of each the guard's limit is said.
func TestSupersededRunsAreAllKept(t *testing.T) {
	dir := t.TempDir()
	r := adapterRun(t, dir, "")
	for i := range 4 {
		r.Train.ZLoss = []float64{0, 1e-4}[i%2]
		f, err := Open(r, filepath.Join(dir, "run"), Options{Until: "train", Threads: 1})
		if err != nil {
			t.Fatal(err)
		}
		if err := f.Run(context.Background()); err != nil {
			t.Fatal(err)
		}
		if said := f.describeGuard(&train.Result{Steps: 3}); !strings.HasPrefix(said, "; guard: en ") || !strings.HasSuffix(said, " %, limit 90.00 %: within") {
			t.Errorf("of the guard it says %q", said)
		}
		f.Close()
	}
	aside, err := filepath.Glob(filepath.Join(dir, "run", "superseded-*", "checkpoints", "step-000003"))
	if err != nil || len(aside) != 3 {
		t.Errorf("kept beside the last run: %q, %v", aside, err)
	}
}

// TestOptimizerGroups counts by hand: width 16, 24 in the feed-forward block, two layers, two heads of 8 that share one of
// keys and values, and 300 pieces or so.
func TestOptimizerGroups(t *testing.T) {
	dir := t.TempDir()
	r := adapterRun(t, dir, "")
	p, err := PlanCost(r)
	if err != nil {
		t.Fatal(err)
	}
	vocab := p.Config.VocabSize
	layer := 16*16 + 2*8*16 + 16*16 + 3*16*24 // q, k and v, o, gate and up and down
	ends, norms := 2*16*vocab, 5*16
	group := func(p *Plan, name string) OptimizerGroup {
		for _, g := range p.Phases[0].Groups {
			if g.Name == name {
				return g
			}
		}
		return OptimizerGroup{}
	}
	if g, want := group(p, "decayed"), (OptimizerGroup{"decayed", 2*layer + ends, 16}); g != want {
		t.Errorf("got %+v, want %+v", g, want)
	}
	if g, want := group(p, "not decayed"), (OptimizerGroup{"not decayed", norms, 5}); g != want {
		t.Errorf("got %+v, want %+v", g, want)
	}
	r.Train.Freeze = []string{"model.layers.[01].*"}
	if p, err = PlanCost(r); err != nil {
		t.Fatal(err)
	}
	if g, want := group(p, "frozen"), (OptimizerGroup{"frozen", 2*layer + 4*16, 18}); g != want {
		t.Errorf("got %+v, want %+v", g, want)
	}
	if want := ends + 16; p.Phases[0].Trained != want {
		t.Errorf("trains %d parameters, want %d", p.Phases[0].Trained, want)
	}
	r.Train.Freeze, r.Train.First = nil, &train.First{Steps: 1, Only: []string{"model.embed_tokens.*"}}
	if p, err = PlanCost(r); err != nil {
		t.Fatal(err)
	}
	if g := p.Phases[0].FirstGroups; p.Phases[0].FirstSteps != 1 || len(g) != 2 || g[0] != (OptimizerGroup{"decayed", 16 * vocab, 1}) {
		t.Errorf("the first step trains %+v", g)
	}
	if p.Phases[0].Trained != p.Params {
		t.Errorf("behind it %d parameters are trained, want %d", p.Phases[0].Trained, p.Params)
	}
	r.Train.First = nil
	r.Train.Freeze = []string{"model.layer.0.*"}
	if _, err := PlanCost(r); err == nil || !strings.Contains(err.Error(), `r.yaml: train: freeze or only: no parameter is named like "model.layer.0.*"`) {
		t.Errorf("a pattern that fits nothing: %v", err)
	}
}
