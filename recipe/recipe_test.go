package recipe

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"ravn/checkpoint"
	"ravn/model"
)

const good = `name: x
data:
  sources: [{path: text}]
tokenizer: {train: 500}
base:
  config: {hidden_size: 8, intermediate_size: 16, num_hidden_layers: 1, num_attention_heads: 2}
  train: {steps: 10, rows_per_step: 2, schedule: {peak_lr: 0.001}}
train: {steps: 20, rows_per_step: 4, schedule: {peak_lr: 0.001}}
`

func parse(text string) (*Recipe, error) { return Parse([]byte(text), "r.yaml") }

func TestDefaultsAreFilledIn(t *testing.T) {
	r, err := parse(good)
	if err != nil {
		t.Fatal(err)
	}
	if r.Seed != 17 || r.Data.SeqTokens != 512 || r.Data.Sources[0].Format != "auto" || r.Data.Sources[0].Role != "target" {
		t.Errorf("data defaults: %+v", r.Data)
	}
	if r.Train.Beta2 != 0.95 || r.Train.MicroRows != 4 || r.Train.ValidateEvery != 2 || r.Train.CheckpointEvery != 4 || r.Train.Schedule.Kind != "cosine" || r.Train.Schedule.FloorShare != 0.1 {
		t.Errorf("training defaults: %+v", r.Train)
	}
	if r.Base.Phase.WeightDecay != 0.1 || r.Base.Config.KeyValueHeads != 2 || r.Base.Config.MaxPositions != 512 || r.Release.ModelName != "x" {
		t.Errorf("base defaults: %+v %+v", r.Base.Phase, r.Base.Config)
	}
}

func TestResolvedRecipeReadsBackEqual(t *testing.T) {
	r, err := parse(good)
	if err != nil {
		t.Fatal(err)
	}
	text, err := r.Resolved()
	if err != nil {
		t.Fatal(err)
	}
	again, err := Parse(text, "r.yaml")
	if err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
	if diff := cmp.Diff(r, again, cmpopts.IgnoreUnexported(Recipe{})); diff != "" {
		t.Errorf("changed on the way:\n%s", diff)
	}
}

func TestRecipesOfTheRepositoryAreSound(t *testing.T) {
	files, err := filepath.Glob("../recipes/*.yaml")
	if err != nil || len(files) < 3 {
		t.Fatalf("found %v: %v", files, err)
	}
	for _, f := range append(files, "../workflow/quickstart.yaml") {
		if _, err := Load(f); err != nil {
			t.Error(err)
		}
	}
}

func TestPathsExpandVariables(t *testing.T) {
	r, err := parse(good)
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("RAVN_TEST_DIR", "/data")
	os.Unsetenv("RAVN_TEST_NONE")
	here, _ := filepath.Abs(".")
	for in, want := range map[string]string{
		"a/b":                                     filepath.Join(here, "a/b"),
		"${RAVN_TEST_DIR}/b":                      "/data/b",
		"${RAVN_TEST_NONE:-/else}/../b":           "/b",
		"${RAVN_TEST_NONE:-../x}/y":               filepath.Join(filepath.Dir(here), "x/y"),
		"${RAVN_TEST_DIR:-/not}/${RAVN_TEST_DIR}": "/data/data",
	} {
		if got, err := r.Path(in); err != nil || got != want {
			t.Errorf("%s: got %s, %v, want %s", in, got, err, want)
		}
	}
	if _, err := r.Path("${RAVN_TEST_NONE}/x"); err == nil || !strings.Contains(err.Error(), "RAVN_TEST_NONE is not set") {
		t.Errorf("unset variable: %v", err)
	}
	r.Eval.Data = "${RAVN_TEST_NONE:-../../shared}/eval"
	if got, err := r.Dataset("scala-da"); err != nil || got != filepath.Join(here, "../../shared/eval/scala-da") {
		t.Errorf("data set: %s, %v", got, err)
	}
}

// TestBadRecipes changes one thing of a good recipe at a time; each message names the place.
func TestBadRecipes(t *testing.T) {
	for _, c := range []struct{ from, to, want string }{
		{"name: x", "name: a/b", `name "a/b" must be letters`},
		{"name: x", "nmae: x", `r.yaml:1: unknown field "nmae"`},
		{"name: x", "name: x\nname: y", "r.yaml:2: "},
		{"name: x", "name: x\nseed: many", "r.yaml:2: "},
		{"name: x", "name: [x", "r.yaml:"},
		{"sources: [{path: text}]", "sources: []", "data.sources is empty"},
		{"{path: text}", "{format: text}", "data.sources[0] has no path"},
		{"{path: text}", "{path: text, format: pdf}", `data.sources[0].format "pdf" is unknown (auto, gigaword, jsonl, parquet, warc, text)`},
		{"{path: text}", "{path: text, role: main}", `data.sources[0].role "main" is unknown (target, replay, anneal)`},
		{"{path: text}", "{path: text, licence: CC0}", `unknown field "licence"`},
		{"sources:", "rights: ignore\n  sources:", `data.rights "ignore" is unknown (drop, keep)`},
		{"sources:", "separators: eot\n  sources:", `data.separators "eot" is unknown`},
		{"sources:", "heldout_share: 1\n  sources:", "data.heldout_share 1 must lie in [0, 1)"},
		{"sources:", "seq_tokens: 1\n  sources:", "data.seq_tokens 1 must be at least 2"},
		{"sources:", "min_words: -1\n  sources:", "must not be negative"},
		{"sources:", "heldout: [{path: h}]\n  sources:", "data.heldout[0] needs path and language"},
		{"sources:", "decontaminate: {against: [a]}\n  sources:", "eval.data (the folder of data sets) is needed"},
		{"sources:", "decontaminate: {action: hide}\n  sources:", `data.decontaminate.action "hide" is unknown (drop, mark)`},
		{"{train: 500}", "{}", "tokenizer needs either model"},
		{"{train: 500}", "{train: 500, model: m}", "tokenizer needs either model"},
		{"{train: 500}", "{train: 100}", "tokenizer.train 100 is too small"},
		{"config:", "model: m\n  config:", "base.train is for a new decoder"},
		{"  train: {steps: 10, rows_per_step: 2, schedule: {peak_lr: 0.001}}\n", "", "base.config needs base.train"},
		{"train: {steps: 20", "train: {steps: 0", "train.steps 0 must be positive"},
		{"rows_per_step: 4", "rows_per_step: 4, micro_rows: 5", "train.micro_rows 5 must lie in [1, rows_per_step=4]"},
		{"rows_per_step: 4", "rows_per_step: 4, mixture: [{section: a}]", "train.mixture[0] needs a section and a positive share"},
		{"rows_per_step: 4", "rows_per_step: 4, clip_norm: 0", "train.clip_norm 0 must be positive"},
		{"rows_per_step: 4, schedule: {peak_lr: 0.001}", "rows_per_step: 4, schedule: {peak_lr: 0.001}, stages: [{steps: 2, mixture: []}]", "train.stages[0].mixture is empty"},
		{"rows_per_step: 4, schedule: {peak_lr: 0.001}", "rows_per_step: 4, schedule: {peak_lr: 0.001}, stages: [{steps: 1, mixture: [{section: a, share: 1}]}, {steps: 1, share: 0.5, mixture: [{section: a, share: 1}]}]", "stages[1] has steps and a share"},
		{"rows_per_step: 4, schedule: {peak_lr: 0.001}", "rows_per_step: 4, schedule: {peak_lr: 0.001}, temperature: 0.5, max_epochs: {a: 0}", "train.temperature 0.5 must be at least 1"},
		{"rows_per_step: 4, schedule: {peak_lr: 0.001}", "rows_per_step: 4, schedule: {peak_lr: 0.001}, guard: {retain: {en: -1}}", "train.guard.retain: en: limit -1"},
		{"rows_per_step: 4, schedule: {peak_lr: 0.001}", "rows_per_step: 4, schedule: {peak_lr: 0.001, kind: saw}", `line 8: train.schedule.kind "saw" is unknown (cosine, linear, inverse_sqrt, wsd, infinite, constant, none)`},
		{"rows_per_step: 4, schedule: {peak_lr: 0.001}", "rows_per_step: 4, schedule: {peak_lr: 0.001, warmup_steps: 20}", "train.schedule.warmup_steps 20 must lie in [0, steps=20)"},
		{"rows_per_step: 4, schedule: {peak_lr: 0.001}", "rows_per_step: 4", "train.schedule.peak_lr 0 must lie in (0, 1]"},
		{"rows_per_step: 4", `rows_per_step: 4, first: {steps: 20, only: ["model.embed_tokens.*"]}`, "line 8: train.first needs steps in [1, steps=20), not 20"},
		{"rows_per_step: 4", "rows_per_step: 4.5", "line 8: train.rows_per_step: 4.5 where a whole number belongs"},
		{"rows_per_step: 4, schedule: {peak_lr: 0.001}", "rows_per_step: 4, schedule: {peak_lr: 0.001}, stages: [{steps: 1.5, mixture: [{section: a, share: 1}]}, {mixture: [{section: a, share: 1}]}]", "line 8: train.stages[0].steps: 1.5 where"},
		{"rows_per_step: 4", "rows_per_step: four", "r.yaml:8: text where a whole number belongs (see docs/recipe.md for the fields): train: {steps: 20, rows_per_step: four"},
		{"rows_per_step: 4", "rows_per_step: 4, guard: {retain: {en: 1%}}", "r.yaml:8: text where a number belongs"},
		{"rows_per_step: 4", "rows_per_step: 4, freeze: a", "r.yaml:8: text where a list belongs"},
		{"rows_per_step: 4", "rows_per_step: 4, guard: stop", "r.yaml:8: text where a mapping {name: value} belongs"},
		{"name: x", "name: x\nseed: -4", "r.yaml:2: -4 where a whole number from 0 on belongs"},
		{"rows_per_step: 4", `rows_per_step: 4, mixture: [{section: "role:replay", share: 1}]`, `line 8: train.mixture[0]: "role:replay" stands for no text: no source has the role "replay"`},
		{"rows_per_step: 4", `rows_per_step: 4, max_epochs: {"kind:a": 2}`, `line 8: train.max_epochs: "kind:a" is no group (role:NAME and language:CODE are)`},
		{"rows_per_step: 4", "rows_per_step: 4, guard: {retain: {en: 0.01}, on_breach: raise_replay}", "line 8: train.guard.on_breach: raise_replay needs a source with the role replay"},
		{"rows_per_step: 4, schedule: {peak_lr: 0.001}", "rows_per_step: 4, schedule: {peak_lr: 0.001, start_lr: 0.0001}", "line 8: train.schedule.start_lr 0.0001 is what a warm-up rises from, and warmup_steps is 0"},
		{"rows_per_step: 4", "rows_per_step: 4, adapter: {rank: 0}", "line 8: train.adapter.rank 0 must be positive"},
		{"rows_per_step: 4", "rows_per_step: 4, adapter: {kind: ia3}", `train.adapter.kind "ia3" is unknown (lora, dora)`},
		{"rows_per_step: 4", "rows_per_step: 4, adapter: {targets: [q_proj, w_pack, q_proj]}", `train.adapter.targets: no module is called "w_pack" (q_proj, `},
		{"rows_per_step: 4", "rows_per_step: 4, adapter: {targets: [q_proj, q_proj]}", "train.adapter.targets names q_proj twice"},
		{"rows_per_step: 4", "rows_per_step: 4, adapter: {alpha: -1}", "train.adapter.alpha -1 must lie in (0, 1e6]"},
		{"rows_per_step: 4", "rows_per_step: 4, adapter: {dropout: 0.1}", `r.yaml:8: unknown field "dropout"`},
		{"rows_per_step: 4", "rows_per_step: 4, only: [a], adapter: {}", "train.adapter trains nothing but itself, so freeze, only and first have no say"},
		{"rows_per_step: 2", "rows_per_step: 2, adapter: {}", "base.train: from, guard, adapter and schedule.start_at_base are for the continued training"},
		{"name: x", "name: x\neval: {mode: mine}", `eval.mode "mine" is unknown (ravn, scandeval-2024)`},
		{"name: x", "name: x\neval: {iterations: 0}", "eval.iterations and eval.heldout_bytes must be positive"},
		{"name: x", "name: x\neval: {limits: {dala: 3}}", "eval.limits: dala: 3 must not be negative, and dala has to be one of eval.datasets"},
		{"name: x", "name: x\nrelease: {purpose: sale}", `release.purpose "sale" is unknown (release, research)`},
		{"name: x", "name: x\nrelease: {share_alike: maybe}", `release.share_alike "maybe" is unknown (allow, refuse)`},
		{"name: x", "name: x\nrelease: {gguf: [q8_0, q3]}", `release.gguf "q3" is unknown (f32, f16, bf16, q8_0, q4_0)`},
		{"name: x", "name: x\nrelease: {gguf: [q8_0, q8_0]}", "release.gguf names q8_0 twice"},
	} {
		text := strings.Replace(good, c.from, c.to, 1)
		if text == good {
			t.Fatalf("%q is not in the good recipe", c.from)
		}
		_, err := parse(text)
		if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "r.yaml") {
			t.Errorf("%q for %q: got %v, want %q", c.to, c.from, err, c.want)
		}
	}
}

// TestRateOfABaseFolder reads the last rate of a base from the checkpoint that it is.
func TestRateOfABaseFolder(t *testing.T) {
	const text = "name: x\ndata: {sources: [{path: text}]}\ntokenizer: {model: m}\nbase: {model: BASE}\ntrain: {steps: 20, rows_per_step: 4, schedule: {peak_lr: 0.001, warmup_steps: 4, start_at_base: true}}\n"
	dir := t.TempDir()
	if _, err := parse(strings.Replace(text, "BASE", dir, 1)); err == nil || !strings.Contains(err.Error(), "r.yaml: line 5: train.schedule.start_at_base: the base is not trained here, and its folder is no checkpoint") {
		t.Errorf("a folder without a rate: %v", err)
	}
	cfg := &model.Config{
		Architectures: []string{"LlamaForCausalLM"}, ModelType: "llama", VocabSize: 2, HiddenSize: 2, IntermediateSize: 2, NumHiddenLayers: 1, NumAttentionHeads: 1, NumKeyValueHeads: 1,
		HeadDim: 2, HiddenAct: "silu", MaxPositionEmbeddings: 4, RMSNormEps: 1e-5, RopeTheta: 10000, InitializerRange: 0.02, EOSTokenID: 1, TorchDtype: "float32",
	}
	base := filepath.Join(dir, "step-000007")
	if err := checkpoint.Save(base, cfg, model.State{Params: make([]float32, cfg.NumParams())}, checkpoint.Meta{Step: 7, Extra: map[string]string{"rate": "0.00025"}}, nil); err != nil {
		t.Fatal(err)
	}
	r, err := parse(strings.Replace(text, "BASE", base, 1))
	if err != nil {
		t.Fatal(err)
	}
	if s := r.Train.Schedule; s.StartLR != 0.00025 || s.LR(1, 20) != 0.00025+(0.001-0.00025)/5 {
		t.Errorf("starts at %g, first step %g", s.StartLR, s.LR(1, 20))
	}
	resolved, err := r.Resolved()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := parse(strings.Replace(string(resolved), base, dir, 1)); err != nil {
		t.Errorf("the resolved recipe needs the base again: %v", err)
	}
}

// TestLimitsAreOnWhatIsMeasured: a limit on a language without held-out text would be noticed only when training begins.
func TestLimitsAreOnWhatIsMeasured(t *testing.T) {
	text := strings.Replace(good, "sources:", "heldout: [{path: h, language: en}, {path: i, language: da}]\n  sources:", 1)
	text = strings.Replace(text, "rows_per_step: 4", "rows_per_step: 4, guard: {retain: {en/web: 0.01, LANGUAGE: 0.01}}", 1)
	if _, err := parse(strings.Replace(text, "LANGUAGE", "sv", 1)); err == nil || !strings.Contains(err.Error(), "line 9: train.guard.retain: sv is not measured: data.heldout has text in da, en (add") {
		t.Errorf("got %v", err)
	}
	if _, err := parse(strings.Replace(text, "LANGUAGE", "da", 1)); err != nil {
		t.Error(err)
	}
}

// TestAdapterOnAnExtendedVocabulary: new rows that nothing trains would stay the mean of others.
func TestAdapterOnAnExtendedVocabulary(t *testing.T) {
	const text = "name: x\ndata: {sources: [{path: text}]}\ntokenizer: {extend: 5}\nbase: {model: m}\ntrain:\n  steps: 20\n  rows_per_step: 4\n  schedule: {peak_lr: 0.001}\n  adapter:\n    kind: dora\n"
	if _, err := parse(text); err == nil || !strings.Contains(err.Error(), "r.yaml: line 10: train.adapter: tokenizer.extend adds rows to the embedding, which no adapter trains (add embed_tokens") {
		t.Errorf("got %v", err)
	}
	r, err := parse(text + "    modules_to_save: [embed_tokens]\n")
	if err != nil {
		t.Fatal(err)
	}
	if a := r.Train.Adapter; a.Kind != "dora" || a.Rank != 16 || a.Alpha != 32 || len(a.Targets) != 7 {
		t.Errorf("defaults of an adapter: %+v", a)
	}
}

// FuzzParse: no text makes the reader panic, and what it accepts it can write and read again.
func FuzzParse(f *testing.F) {
	f.Add([]byte(good))
	f.Add([]byte("name: x\ndata: {sources: &a [*a]}\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := Parse(data, "r.yaml")
		if err != nil {
			return
		}
		text, err := r.Resolved()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Parse(text, "r.yaml"); err != nil {
			t.Fatalf("%v in\n%s", err, text)
		}
	})
}
