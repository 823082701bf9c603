package release

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/google/go-cmp/cmp"

	"ravn/rights"
	"ravn/stats"
)

func checkpoint(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{
		"config.json": `{"model_type": "llama"}`, "model.safetensors": "weights", "tokenizer.json": `{"model": {"vocab": {"/home/": 1}}}`,
		"optimizer.safetensors": "moments", "state.json": `{"step": 120}`, "notes.txt": "private",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func estimate(v, low, high float64, n int) stats.Estimate {
	return stats.Estimate{Value: v, Low: low, High: high, Level: 0.95, N: n, Method: "test", SE: (high - low) / 3.92}
}

func options(t *testing.T) Options {
	zero := 0.0
	return Options{
		Checkpoint: checkpoint(t), Out: filepath.Join(t.TempDir(), "release"), Name: "quickstart-da", Note: "Made by a test.", Version: "0.1.0", Small: true,
		Uses: []rights.Use{
			{Section: "da-natur", License: "CC0-1.0", Documents: 16, Bytes: 14366, Tokens: 6000, Examples: []string{"da-natur_ugler"}},
			{Section: "da-opskrifter", License: "cc-by-4.0", Documents: 10, Bytes: 8913, Tokens: 4000, Examples: []string{"da-opskrifter_rugbroed"}},
			{Section: "quickstart-en", License: "Apache-2.0", Base: true},
		},
		Policy: rights.Policy{Purpose: "release", ShareAlike: "allow", Date: "2026-11-25"}, Languages: []string{"da", "en"},
		Base:     Base{Name: "quickstart-en", License: "Apache-2.0", Here: true},
		Training: Training{Parameters: 920_000, Steps: 120, Tokens: 245_760, SeqTokens: 128, BatchTokens: 2048, Schedule: "cosine", PeakLR: 2e-3, Seed: 17, Hardware: "2 cores", Hours: 0.02, KWh: 0.0006, EnergyHow: "30 W assumed"},
		Results: []Result{
			{Label: "Danish held-out text", Dataset: "heldout-da", Task: "bits-per-byte", Language: "da", Metric: "bpb", LowerBetter: true, Base: estimate(3.2, 3.1, 3.3, 10), Result: estimate(2.4, 2.3, 2.5, 10), Difference: estimate(-0.8, -0.9, -0.7, 10), Small: true},
			{Label: "English held-out text", Dataset: "heldout-en", Task: "bits-per-byte", Language: "en", Metric: "bpb", LowerBetter: true, Base: estimate(2.0, 1.9, 2.1, 10), Result: estimate(2.062, 1.96, 2.16, 10), Difference: estimate(0.062, 0.04, 0.08, 10), Small: true},
			{Label: "Danish acceptability", Dataset: "mini-scala-da", Task: "linguistic-acceptability", Language: "da", Metric: "mcc", Base: estimate(0.02, -0.15, 0.19, 128), Result: estimate(0.05, -0.12, 0.22, 128), Difference: estimate(0.03, -0.1, 0.16, 128), Chance: &zero, Small: true},
			{Label: "Danish | sentiment", Dataset: "mini-sentiment-da", Task: "sentiment-classification", Language: "da", Metric: "mcc", Result: estimate(0.2, 0.05, 0.35, 60), Chance: &zero, Small: true},
		},
		Contamination: []Contamination{{Dataset: "mini-scala-da", Items: 128, Hit: 6, Action: "drop"}, {Dataset: "mini-sentiment-da", Items: 60, Hit: 2, Action: "mark"}, {Dataset: "mini-scala-en", Items: 128}},
	}
}

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if os.Getenv("UPDATE") != "" {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s (-want +got):\n%s", name, diff)
	}
}

func read(t *testing.T, path ...string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(path...))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestBuild(t *testing.T) {
	o := options(t)
	f, err := Build(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		".eval_results/ravn.yaml", "ATTRIBUTION.md", "DATA.json", "DATA.md", "LICENSE", "README.md", "TRAINING-CONTENT.json", "TRAINING-CONTENT.md",
		"config.json", "croissant.json", "model.safetensors", "spdx.json", "tokenizer.json",
	}
	if !slices.Equal(f.Files, want) || f.License != "Apache-2.0" {
		t.Errorf("files %v under %s, want %v under Apache-2.0", f.Files, f.License, want)
	}
	golden(t, "README.md", read(t, o.Out, "README.md"))
	golden(t, "ATTRIBUTION.md", read(t, o.Out, "ATTRIBUTION.md"))
	golden(t, "DATA.json", read(t, o.Out, "DATA.json"))
	golden(t, "ravn.yaml", read(t, o.Out, ".eval_results", "ravn.yaml"))
	if sha, err := exec.LookPath("sha256sum"); err == nil {
		cmd := exec.Command(sha, "--check", "--strict", "SHA256SUMS")
		cmd.Dir = o.Out
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("sha256sum: %v\n%s", err, out)
		}
	}
	first := read(t, o.Out, "SHA256SUMS")
	if _, err := Build(t.Context(), o); err != nil { // over the older one
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(first), string(read(t, o.Out, "SHA256SUMS"))); diff != "" {
		t.Errorf("built twice, two results:\n%s", diff)
	}
	nothingElse(t, o.Out, "release")
}

// nothingElse checks that the folder around the release holds nothing but what is named: no temporary leftovers.
func nothingElse(t *testing.T, out string, want ...string) {
	t.Helper()
	entries, err := os.ReadDir(filepath.Dir(out))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range entries {
		got = append(got, e.Name())
	}
	if !slices.Equal(got, want) {
		t.Errorf("beside the release lie %v, want %v", got, want)
	}
}

func TestFrontMatterIsYAML(t *testing.T) {
	o := options(t)
	o.Name = "da: \"model\" #1"
	o.Uses = append(o.Uses, rights.Use{Section: "wiki", License: "CC-BY-SA-4.0", Tokens: 1})
	o.Base = Base{Name: "mistralai/Mistral-7B-v0.1", License: "Apache-2.0"}
	if _, err := Build(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	parts := strings.SplitN(string(read(t, o.Out, "README.md")), "---\n", 3)
	var f frontMatter
	if err := yaml.UnmarshalWithOptions([]byte(parts[1]), &f, yaml.Strict()); err != nil {
		t.Fatal(err)
	}
	if f.License != "cc-by-sa-4.0" || f.BaseModel != "mistralai/Mistral-7B-v0.1" || f.ModelIndex[0].Name != o.Name || len(f.ModelIndex[0].Results) != 4 {
		t.Errorf("front matter: %+v", f)
	}
	if v := f.ModelIndex[0].Results[1].Metrics[0]; v.Type != "bpb" || v.Value != 2.062 {
		t.Errorf("second result: %+v", v)
	}
}

func TestLimitations(t *testing.T) {
	o := options(t)
	list := limitations(&o, &rights.Decision{})
	// 0.062 of 2.0 is 3.1 %; 0.04 and 0.08 are 2 % and 4 %.
	for i, want := range []string{
		"Worse than its base on English held-out text (bpb): +3.1 % [+2.0, +4.0], +0.062 [0.040, 0.080] n=10.",
		"Danish acceptability (mcc): 0.05 [-0.12, 0.22] n=128 is not better than guessing (0) beyond the interval.",
		"Not told apart from its base on Danish acceptability (mcc): +0.03 [-0.10, 0.16] n=128 ~. A difference below 0.19 would mostly not have been seen.",
		"2 of 60 items of mini-sentiment-da were in the training text; its score there says less.",
		"A small model (920,000 parameters): it continues text and knows little.",
	} {
		if i >= len(list) || list[i] != want {
			t.Fatalf("limitation %d of\n%s\nwant %s", i, strings.Join(list, "\n"), want)
		}
	}
	o.Results = nil
	if list := limitations(&o, &rights.Decision{License: "LicenseRef-Research-Only"}); !slices.ContainsFunc(list, func(s string) bool { return strings.HasPrefix(s, "Nothing was measured") }) || !strings.Contains(list[len(list)-1], "research project only") {
		t.Errorf("without results: %q", list)
	}
}

func TestRefused(t *testing.T) {
	o := options(t)
	o.Uses = append(o.Uses, rights.Use{Section: "da-arkiv", License: "LicenseRef-All-Rights-Reserved", Documents: 6, Tokens: 2500, Examples: []string{"da-arkiv_premiere", "da-arkiv_ny-bro"}})
	_, err := Build(t.Context(), o)
	var refused *Refused
	if !errors.As(err, &refused) || refused.Decision.Allowed {
		t.Fatalf("error %v, want a refusal", err)
	}
	want := `release: refused: 1 of 4 sources stop it: 6 documents forbidden, 0 held
	forbidden da-arkiv (LicenseRef-All-Rights-Reserved): all rights reserved: the text may not be in a model that is published; 6 documents, 20.0 % of the tokens, such as da-arkiv_premiere, da-arkiv_ny-bro
	(leave the sections out, or record a decision about them)`
	if diff := cmp.Diff(want, err.Error()); diff != "" {
		t.Error(diff)
	}
	nothingElse(t, o.Out)
}

func TestSecrets(t *testing.T) {
	for what, text := range map[string]string{
		"a Hugging Face token":       "first line\nuse hf_" + strings.Repeat("aB3", 11),
		"a private key":              "\n-----BEGIN OPENSSH " + "PRIVATE KEY-----\n",
		"an API key":                 "\nsk-" + strings.Repeat("x1", 20),
		"a password":                 "\npassword: hunter2hunter2",
		"an address with a password": "\nhttps://" + "anna:kodeord@example.org/",
		"a path in somebody's home":  "\n/home/anna/models",
	} {
		o := options(t)
		o.Files = map[string][]byte{"NOTES.md": []byte(text)}
		_, err := Build(t.Context(), o)
		var refused *Refused
		if !errors.As(err, &refused) || !slices.Equal(refused.Secrets, []string{"NOTES.md:2: " + what}) {
			t.Errorf("%s: %v", what, err)
		}
		nothingElse(t, o.Out)
	}
}

func TestBadInput(t *testing.T) {
	tests := []struct {
		name   string
		change func(*Options)
		want   string
	}{
		{"no name", func(o *Options) { o.Name = "" }, "are needed"},
		{"no languages", func(o *Options) { o.Languages = nil }, "no languages"},
		{"a file that is the release's own", func(o *Options) { o.Files = map[string][]byte{"README.md": nil} }, `further file "README.md"`},
		{"a file elsewhere", func(o *Options) { o.Files = map[string][]byte{"../x": nil} }, `further file "../x"`},
		{"no checkpoint", func(o *Options) { o.Checkpoint += "/none" }, "no such file"},
		{"no weights", func(o *Options) { os.Remove(filepath.Join(o.Checkpoint, "model.safetensors")) }, "has no model*.safetensors"},
		{"no tokenizer", func(o *Options) { os.Remove(filepath.Join(o.Checkpoint, "tokenizer.json")) }, "has no tokenizer.model"},
		{"half a model", func(o *Options) {
			os.WriteFile(filepath.Join(o.Checkpoint, "model.safetensors.index.json"), []byte(`{"weight_map": {"a": "model.safetensors", "b": "model-2.safetensors"}}`), 0o644)
		}, "names files that are not there: model-2.safetensors"},
	}
	for _, tt := range tests {
		o := options(t)
		tt.change(&o)
		if _, err := Build(t.Context(), o); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: error %v, want %q", tt.name, err, tt.want)
		}
		nothingElse(t, o.Out)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	o := options(t)
	if _, err := Build(ctx, o); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	nothingElse(t, o.Out)
}

func TestVerify(t *testing.T) {
	o := options(t)
	if _, err := Build(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	if err := Verify(t.Context(), o.Out); err != nil {
		t.Fatalf("a fresh release: %v", err)
	}
	os.WriteFile(filepath.Join(o.Out, "config.json"), []byte("{}"), 0o644)
	os.WriteFile(filepath.Join(o.Out, "extra.txt"), nil, 0o644)
	os.Remove(filepath.Join(o.Out, "DATA.json"))
	err := Verify(t.Context(), o.Out)
	for _, want := range []string{"config.json: has changed", "extra.txt: is not listed", "DATA.json: missing"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q", err, want)
		}
	}
	if err := Verify(t.Context(), t.TempDir()); err == nil || !strings.Contains(err.Error(), "not a release folder?") {
		t.Errorf("an empty folder: %v", err)
	}
	if got := read(t, o.Checkpoint, "config.json"); string(got) != `{"model_type": "llama"}` {
		t.Errorf("editing the release changed the checkpoint: %s", got)
	}
}

func TestSharesAddUp(t *testing.T) {
	o := options(t)
	d := rights.Gate(o.Uses, o.Policy)
	var share float64
	var tokens int64
	for _, r := range byLicense(&d) {
		share += r.Share
		tokens += r.Tokens
	}
	if tokens != 10_000 || share < 1-1e-12 || share > 1+1e-12 {
		t.Errorf("%d tokens and a share of %v in all, want 10000 and 1", tokens, share)
	}
	data, err := dataSheet(&o, &Folder{Decision: d})
	if err != nil || !json.Valid(data) {
		t.Errorf("DATA.json: %v", err)
	}
}
