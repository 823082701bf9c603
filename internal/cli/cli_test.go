package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/testscript"

	"ravn/internal/builtin"
	"ravn/model"
	"ravn/pipeline"
	"ravn/run"
	"ravn/tokenizer"
	"ravn/train"
	"ravn/weights"
)

// TestMain makes the test binary a ravn of its own, for scripts and for processes to be killed.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"ravn": func() {
			ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
			defer stop()
			os.Exit(Main(ctx, os.Args[1:], Streams{In: os.Stdin, Out: os.Stdout, Err: os.Stderr}))
		},
	})
}

// tinyRecipe is the whole way in a few seconds, on the built-in material.
const tinyRecipe = `
name: tiny
seed: 5
data:
  sources:
    - {path: corpus/da, format: jsonl, language: da, role: target}
    - {path: corpus/en, format: jsonl, language: en, role: replay}
  rights: drop
  heldout_share: 0
  heldout: [{path: heldout/da.jsonl, language: da, max_documents: 2}, {path: heldout/en.jsonl, language: en, max_documents: 2}]
  min_characters: 50
  decontaminate: {against: [mini-scala-da], action: drop}
  seq_tokens: 32
tokenizer: {train: 400}
base:
  name: tiny-en
  license: Apache-2.0
  config: {hidden_size: 32, intermediate_size: 48, num_hidden_layers: 2, num_attention_heads: 2, num_key_value_heads: 1, max_position_embeddings: 256}
  train:
    mixture: [{section: "role:replay", share: 1}]
    steps: 24
    rows_per_step: 4
    schedule: {peak_lr: 0.003, warmup_steps: 2}
    validate_every: 8
    checkpoint_every: 3
train:
  mixture: [{section: "role:target", share: 0.75}, {section: "role:replay", share: 0.25}]
  steps: 24
  rows_per_step: 4
  micro_rows: 2
  precision: bf16
  recompute: block
  schedule: {peak_lr: 0.002, warmup_steps: 2}
  validate_every: 8
  checkpoint_every: 3
eval: {data: eval, datasets: [mini-scala-da], iterations: 1, limit: 16, heldout_bytes: 400}
release: {purpose: release, share_alike: allow, model_name: tiny-da, gguf: [q8_0]}
`

func tiny(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "material")
	if err := builtin.Extract(dir); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "tiny.yaml")
	if err := os.WriteFile(path, []byte(tinyRecipe), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// ravn starts this binary as the command.
func ravn(args ...string) *exec.Cmd {
	cmd := exec.Command("ravn", args...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	return cmd
}

func mustRavn(t *testing.T, args ...string) string {
	t.Helper()
	cmd := ravn(args...)
	err := cmd.Run()
	out := cmd.Stdout.(*bytes.Buffer).String()
	if err != nil {
		t.Fatalf("ravn %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return out
}

// results are the hashes of what a run promises to repeat, and of what more it has.
func results(t *testing.T, dir string, more ...string) map[string]string {
	t.Helper()
	out := map[string]string{}
	for _, name := range append([]string{"corpus/sections", "corpus/documents.parquet", "tokenizer", "shards", "events.jsonl", "tb", "checkpoints/step-000024"}, more...) {
		path := filepath.Join(dir, filepath.FromSlash(name))
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		hash := run.HashFile
		if info.IsDir() {
			hash = run.HashTree
		}
		if out[name], err = hash(path); err != nil {
			t.Fatal(err)
		}
	}
	return out
}

func sameResults(t *testing.T, got, want map[string]string, what string) {
	t.Helper()
	for name, hash := range want {
		if got[name] != hash {
			t.Errorf("%s: %s differs", what, name)
		}
	}
}

// trainKilled trains dir while killing it with SIGKILL at so many random moments, took being what a whole run takes.
func trainKilled(t *testing.T, recipeFile, dir string, times int, took time.Duration) {
	t.Helper()
	rng := rand.New(rand.NewPCG(1, 2))
	kills := 0
	for range times {
		cmd := ravn("train", recipeFile, "--out", dir)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Duration(rng.Float64() * float64(took) / 3))
		if cmd.Process.Kill() == nil {
			kills++
		}
		cmd.Wait()
	}
	mustRavn(t, "train", recipeFile, "--out", dir)
	t.Logf("%d kills; an undisturbed run took %v", kills, took)
}

// TestKilledRunEndsWithTheSameBytes kills a run with SIGKILL at ten random moments and lets it go on each time: shards,
// weights and events are those of a run that nobody killed. So it is with a run that takes the first one's base, extends its
// vocabulary and trains an adapter and the new rows in two stages, with a mean of the weights beside.
func TestKilledRunEndsWithTheSameBytes(t *testing.T) {
	recipeFile := tiny(t)
	whole := filepath.Join(t.TempDir(), "whole")
	start := time.Now()
	mustRavn(t, "train", recipeFile, "--out", whole)
	took := time.Since(start)
	base := []string{"base/events.jsonl", "base/checkpoints/step-000024"}
	want := results(t, whole, base...)

	killed := filepath.Join(t.TempDir(), "killed")
	trainKilled(t, recipeFile, killed, 10, took)
	sameResults(t, results(t, killed, base...), want, "killed ten times")

	two := filepath.Join(t.TempDir(), "threads")
	mustRavn(t, "train", recipeFile, "--out", two, "--threads", "1")
	sameResults(t, results(t, two, base...), want, "one thread instead of all")

	extended := filepath.Join(filepath.Dir(recipeFile), "extended.yaml")
	text := tinyRecipe[:strings.Index(tinyRecipe, "tokenizer: {")] + fmt.Sprintf(`tokenizer: {extend: 24, init: overlap}
base: {model: %q, name: tiny-en, license: Apache-2.0}
train:
  stages:
    - {steps: 12, mixture: [{section: "role:target", share: 0.75}, {section: "role:replay", share: 0.25}]}
    - {mixture: [{section: da-natur, share: 0.95}, {section: "role:replay", share: 0.05}]}
  adapter: {kind: dora, rank: 4, modules_to_save: [embed_tokens, lm_head]}
  ema: 0.5
  steps: 24
  rows_per_step: 4
  schedule: {peak_lr: 0.002, warmup_steps: 2}
  validate_every: 8
  checkpoint_every: 3
eval: {data: eval}
`, filepath.Join(whole, "base", "checkpoints", "step-000024"))
	if err := os.WriteFile(extended, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	more := []string{"base/extended", "adapter/step-000024", "ema/step-000024", "order.json", "outcome.json", "scores.jsonl"}
	whole, killed = filepath.Join(t.TempDir(), "whole"), filepath.Join(t.TempDir(), "killed")
	start = time.Now()
	mustRavn(t, "train", extended, "--out", whole)
	took = time.Since(start)
	trainKilled(t, extended, killed, 6, took)
	sameResults(t, results(t, killed, more...), results(t, whole, more...), "extended and killed six times")
}

// TestWholeWay walks the tiny recipe to its end and reads what it left.
func TestWholeWay(t *testing.T) {
	recipeFile := tiny(t)
	dir := filepath.Join(t.TempDir(), "run")
	mustRavn(t, "run", recipeFile, "--out", dir)
	for _, name := range []string{
		"recipe.yaml", "manifest.json", "corpus/documents.parquet", "records.jsonl", "comparison.json", "leaderboard.md", "leaderboard.json",
		"release/README.md", "release/model.safetensors", "release/tiny-da-q8_0.gguf", "release/config.json", "release/SHA256SUMS", "report/index.html",
	} {
		if info, err := os.Stat(filepath.Join(dir, filepath.FromSlash(name))); err != nil || info.Size() == 0 {
			t.Errorf("%s is missing or empty: %v", name, err)
		}
	}
	if out := mustRavn(t, "run", recipeFile, "--out", dir); strings.Count(out, "unchanged, skipped") != 9 {
		t.Errorf("a second run does not skip all nine stages:\n%s", out)
	}
	mustRavn(t, "release", dir, "--verify")

	rows, err := pipeline.ReadLedger(filepath.Join(dir, "corpus", "documents.parquet"))
	if err != nil {
		t.Fatal(err)
	}
	reasons := map[string]int{}
	for _, r := range rows {
		if r.Reason != "empty" && r.Tokens <= 0 {
			t.Errorf("document %s/%s has %d tokens in the ledger", r.Section, r.ID, r.Tokens)
		}
		if r.Verdict == pipeline.VerdictDrop {
			reasons[r.Reason]++
		}
	}
	// The planted cases of the built-in material; SOURCE.md there lists them.
	want := map[string]int{"license_forbids": 6, "exact_duplicate": 1, "empty": 1, "too_short": 1, "contaminated": 1}
	if diff := cmp.Diff(reasons, want); diff != "" {
		t.Errorf("reasons of removal (-got +want):\n%s", diff)
	}

	var trace struct {
		Tokens    int
		Documents []struct {
			Section, Document, License string
			Len                        int
			IDs                        []int32 `json:"ids"`
		}
	}
	if err := json.Unmarshal([]byte(mustRavn(t, "trace", dir, "--step", "7", "--tokens", "--json")), &trace); err != nil {
		t.Fatal(err)
	}
	sum := 0
	for _, d := range trace.Documents {
		sum += d.Len
		if d.License == "" || len(d.IDs) != d.Len {
			t.Errorf("span %+v lacks its licence or ids", d)
		}
		if d.Section == "da-arkiv" {
			t.Errorf("step 7 read %s, which nobody may use", d.Document)
		}
	}
	if sum != 4*32 || trace.Tokens != sum {
		t.Errorf("step 7 has %d tokens in its spans, want 4 rows of 32", sum)
	}

	var written struct {
		Text   string
		Tokens int
		Ended  string
	}
	args := []string{"generate", filepath.Join(dir, "release"), "--prompt", "Ravnen sad", "--max-tokens", "5", "--temperature", "1", "--json"}
	first := mustRavn(t, args...)
	if err := json.Unmarshal([]byte(first), &written); err != nil {
		t.Fatal(err)
	}
	if written.Tokens > 5 || written.Ended == "length" && written.Tokens != 5 || written.Ended == "" {
		t.Errorf("generate: %+v, want at most five tokens and the reason of the end", written)
	}
	if again := mustRavn(t, args...); again != first {
		t.Errorf("the same seed writes %s and %s", first, again)
	}

	// On the way back to the base: weight 0 is the base, so nothing changes; a model averaged with itself is itself.
	var sweep struct {
		Points []struct {
			Weight float64
			Judged []struct {
				Group  string
				Change struct{ Value float64 }
			}
		}
	}
	said, err := exec.Command("ravn", "merge", dir, "--recipe", recipeFile, "--sweep", "1,0,0.5", "--json").Output()
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(said, &sweep); err != nil {
		t.Fatal(err)
	}
	if len(sweep.Points) != 3 || sweep.Points[0].Weight != 0 || sweep.Points[2].Weight != 1 {
		t.Fatalf("sweep: %+v", sweep)
	}
	for i, j := range sweep.Points[0].Judged {
		if one := sweep.Points[2].Judged[i]; j.Change.Value != 0 || one.Change.Value == 0 {
			t.Errorf("%s changes by %g at weight 0 and by %g at weight 1", j.Group, j.Change.Value, one.Change.Value)
		}
	}
	if svg, err := os.ReadFile(filepath.Join(dir, "merge", "sweep.svg")); err != nil || !bytes.Contains(svg, []byte("</svg>")) {
		t.Errorf("sweep.svg: %v", err)
	}
	average := filepath.Join(t.TempDir(), "average")
	last := filepath.Join(dir, "checkpoints", "step-000024")
	mustRavn(t, "merge", last, last, "--out", average)
	a, errA := run.HashFile(filepath.Join(average, "model.safetensors"))
	b, errB := run.HashFile(filepath.Join(last, "model.safetensors"))
	if a != b || errA != nil || errB != nil {
		t.Errorf("a model averaged with itself differs from itself: %v, %v", errA, errB)
	}

	// The engines agree on the released model, read by its file names alone.
	score := func(engine string) float64 {
		cmd := ravn("score", filepath.Join(dir, "release"), "--json", "--engine", engine)
		cmd.Stdin = strings.NewReader(`{"text": "Ravnen sad på taget."}` + "\n" + `{"text": ""}` + "\n")
		if err := cmd.Run(); err != nil {
			t.Fatalf("score: %v\n%s", err, cmd.Stdout)
		}
		if !strings.Contains(cmd.Stdout.(*bytes.Buffer).String(), `{"nll":0,"tokens":0,"bytes":0,"bpb":null}`) {
			t.Errorf("an empty text is not scored as nothing: %s", cmd.Stdout)
		}
		var r struct{ NLL float64 }
		if err := json.NewDecoder(cmd.Stdout.(*bytes.Buffer)).Decode(&r); err != nil {
			t.Fatal(err)
		}
		return r.NLL
	}
	// fp32 against float64 over some 20 tokens of about 6 nats.
	if cpu, ref := score("cpu"), score("ref"); cpu-ref > 1e-3 || ref-cpu > 1e-3 || cpu <= 0 {
		t.Errorf("engine cpu finds %.6f nats, engine ref %.6f", cpu, ref)
	}
}

// TestGateRefuses trains on everything, the reserved section too: the release is refused with exit code 3, names the
// documents, and writes nothing.
func TestGateRefuses(t *testing.T) {
	recipeFile := tiny(t)
	data, err := os.ReadFile(recipeFile)
	if err != nil {
		t.Fatal(err)
	}
	text := strings.Replace(string(data), "rights: drop", "rights: keep", 1)
	if err := os.WriteFile(recipeFile, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "run")
	for _, args := range [][]string{{"run", recipeFile, "--out", dir}, {"release", dir}, {"plan", recipeFile}} {
		cmd := ravn(args...)
		cmd.Run()
		out := cmd.Stdout.(*bytes.Buffer).String()
		if code := cmd.ProcessState.ExitCode(); code != ExitGate {
			t.Errorf("ravn %s: exit code %d, want %d\n%s", args[0], code, ExitGate, out)
		}
		for _, want := range []string{"da-arkiv", "LicenseRef-All-Rights-Reserved"} {
			if !strings.Contains(out, want) {
				t.Errorf("ravn %s does not name %s:\n%s", args[0], want, out)
			}
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "release")); !os.IsNotExist(err) {
		t.Errorf("a refused release left a folder: %v", err)
	}
	if _, err := os.Stat(filepath.Join(dir, "report", "index.html")); err != nil {
		t.Errorf("the report was not written: %v", err)
	}
}

// TestGuardStopsAHarmfulRun continues the tiny base on Danish alone at a rate far too high: the guard stops it with exit
// code 3 and the numbers, the report says so, and asking again says the same.
func TestGuardStopsAHarmfulRun(t *testing.T) {
	recipeFile := tiny(t)
	data, err := os.ReadFile(recipeFile)
	if err != nil {
		t.Fatal(err)
	}
	before, after, _ := strings.Cut(string(data), "\ntrain:\n")
	_, after, _ = strings.Cut(after, "\neval:")
	before = strings.Replace(before, "{path: heldout/en.jsonl, language: en, max_documents: 2}", "{path: heldout/en.jsonl, language: en, max_bytes: 400}", 1)
	harmful := before + `
train:
  mixture: [{section: "role:target", share: 1}]
  steps: 60
  rows_per_step: 4
  schedule: {kind: constant, peak_lr: 0.05}
  checkpoint_every: 5
  guard: {retain: {en: 0.01}, every: 5, on_breach: stop}
eval:` + after
	if err := os.WriteFile(recipeFile, []byte(harmful), 0o644); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "run")
	for range 2 {
		cmd := ravn("run", recipeFile, "--out", dir)
		cmd.Run()
		out := cmd.Stdout.(*bytes.Buffer).String()
		if code := cmd.ProcessState.ExitCode(); code != ExitGate || !strings.Contains(out, "stopped by the guard") || !strings.Contains(out, "limit 1.00 %") {
			t.Fatalf("exit code %d, want %d\n%s", code, ExitGate, out)
		}
	}
	events, err := run.ReadEvents(filepath.Join(dir, "events.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	last := events[len(events)-1]
	if action, _ := last.Text("action"); last.Kind != "breach" || action != "stop" || last.Step >= 60 {
		t.Errorf("last event %s at step %d, action %q", last.Kind, last.Step, action)
	}
	page, err := os.ReadFile(filepath.Join(dir, "report", "index.html"))
	if err != nil || !strings.Contains(string(page), "stopped by the guard") {
		t.Errorf("the report does not say that the guard stopped the run: %v", err)
	}
}

// TestMixtureChangesBehindTheCheckpoint: a run that was stopped goes on with another mixture for the rest, and ends with
// the bytes of one that was asked for both stages from the start. A change of what was read already begins anew, and
// train --resume refuses it with the field that differs.
func TestMixtureChangesBehindTheCheckpoint(t *testing.T) {
	recipeFile := tiny(t)
	data, err := os.ReadFile(recipeFile)
	if err != nil {
		t.Fatal(err)
	}
	const one = `  mixture: [{section: "role:target", share: 0.75}, {section: "role:replay", share: 0.25}]
  steps: 24
  rows_per_step: 4
  micro_rows: 2`
	change := func(text string) {
		t.Helper()
		if !strings.Contains(string(data), one) {
			t.Fatal("the tiny recipe has changed")
		}
		if err := os.WriteFile(recipeFile, []byte(strings.Replace(string(data), one, text, 1)), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	stages := strings.Replace(one, "  mixture: [", `  stages:
  - {steps: 12, mixture: [{section: "role:target", share: 0.75}, {section: "role:replay", share: 0.25}]}
  - {mixture: [{section: da-natur, share: 0.95}, {section: "role:replay", share: 0.05}]}
  #`, 1)
	change(stages)
	whole := filepath.Join(t.TempDir(), "whole")
	mustRavn(t, "train", recipeFile, "--out", whole)
	want := results(t, whole)

	change(one + "\n  time_limit: 1ns") // one step a call
	dir := filepath.Join(t.TempDir(), "run")
	for range 3 {
		cmd := ravn("train", recipeFile, "--out", dir)
		if cmd.Run() == nil {
			break
		}
	}
	change(stages)
	out := mustRavn(t, "train", recipeFile, "--out", dir, "--resume")
	if strings.Contains(out, "begins anew") {
		t.Errorf("training began anew:\n%s", out)
	}
	sameResults(t, results(t, dir), want, "with a stage that was added on the way")
	parts, err := os.ReadFile(filepath.Join(dir, "order.json"))
	if err != nil || strings.Count(string(parts), `"first"`) != 2 {
		t.Errorf("order.json: %s, %v", parts, err)
	}
	var trace struct{ Sections []struct{ Name string } }
	if err := json.Unmarshal([]byte(mustRavn(t, "trace", dir, "--step", "13", "--json")), &trace); err != nil {
		t.Fatal(err)
	}
	for _, s := range trace.Sections {
		if s.Name != "da-natur" && !strings.HasPrefix(s.Name, "en-") {
			t.Errorf("step 13 is traced to %s, which its stage does not mix", s.Name)
		}
	}

	change(strings.Replace(stages, "share: 0.75}", "share: 0.7}", 1))
	cmd := ravn("train", recipeFile, "--out", dir, "--resume")
	if cmd.Run() == nil || !strings.Contains(cmd.Stdout.(*bytes.Buffer).String(), "train.stages[0].mixture[0].share: 0.75 → 0.7") {
		t.Errorf("a change of what was read is not refused with its field:\n%s", cmd.Stdout)
	}
}

// TestTerminatedRunGoesOn ends a run with SIGTERM, as a queueing system does: it leaves a checkpoint at the step it had come to, goes
// on from it, and ends with the bytes of a run that was left alone.
func TestTerminatedRunGoesOn(t *testing.T) {
	recipeFile := tiny(t)
	whole := filepath.Join(t.TempDir(), "whole")
	mustRavn(t, "train", recipeFile, "--out", whole)
	dir := filepath.Join(t.TempDir(), "run")
	cmd := ravn("train", recipeFile, "--out", dir)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for range 6000 { // until the continued training has begun; a busy machine takes its time
		if data, _ := os.ReadFile(filepath.Join(dir, "events.jsonl")); strings.Count(string(data), `"step"`) > 8 {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	err := cmd.Wait()
	out := cmd.Stdout.(*bytes.Buffer).String()
	if err == nil {
		t.Skip("the run was over before the signal came")
	}
	if !strings.Contains(out, "run the same command again to go on") {
		t.Errorf("terminated without a word on how to go on:\n%s", out)
	}
	var step int
	if at := strings.Index(out, "stopped at step "); at < 0 {
		t.Errorf("it does not say at which step it stopped:\n%s", out)
	} else if _, err := fmt.Sscanf(out[at:], "stopped at step %d of 24", &step); err != nil || step < 1 {
		t.Errorf("stopped at step %d: %v\n%s", step, err, out)
	}
	if _, err := os.Stat(train.StepDir(dir, step)); err != nil {
		t.Errorf("the checkpoint of the step it stopped at: %v", err)
	}
	mustRavn(t, "train", recipeFile, "--out", dir)
	sameResults(t, results(t, dir), results(t, whole), "terminated once")
}

func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(e *testscript.Env) error {
			e.Setenv("RAVN_DATA", "")
			e.Setenv("RAVN_EVAL_DATA", "")
			return builtin.Extract(filepath.Join(e.WorkDir, "material"))
		},
		Cmds:          map[string]func(*testscript.TestScript, bool, []string){"tinymodel": tinyModel},
		UpdateScripts: os.Getenv("UPDATE") != "",
	})
}

// tinyModel is a command of scripts: tinymodel DIR writes a model folder of random weights with a tokenizer.
func tinyModel(ts *testscript.TestScript, _ bool, args []string) {
	o := tokenizer.DefaultTrainOptions()
	o.VocabSize = 320
	tok, err := tokenizer.Train(context.Background(), slices.Values([]string{strings.Repeat("Ravnen fløj over marken og råbte 123 gange; rødgrød med fløde. ", 30)}), o)
	ts.Check(err)
	c := &model.Config{
		ModelType: "llama", VocabSize: 320, HiddenSize: 32, IntermediateSize: 64, NumHiddenLayers: 2, NumAttentionHeads: 2, NumKeyValueHeads: 1, HeadDim: 16,
		HiddenAct: "silu", MaxPositionEmbeddings: 64, RMSNormEps: 1e-5, RopeTheta: 10000, InitializerRange: 0.02, BOSTokenID: 1, EOSTokenID: 2,
	}
	ts.Check(weights.SaveFolder(ts.MkAbs(args[0]), model.Init(c, 5), weights.SaveOptions{Files: tok.Files()}))
}

func ExampleMain() {
	code := Main(context.Background(), []string{"tokenizer", "encode"}, Streams{In: strings.NewReader(""), Out: os.Stdout, Err: &bytes.Buffer{}})
	fmt.Println("exit code", code)
	// Output: exit code 2
}
