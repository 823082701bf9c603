package cli

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"ravn/run"
	"ravn/train"
	"ravn/workflow"
)

// TestPoisonedDocumentIsPassedOver puts signs drawn at random, five rows long, among the built-in Danish texts. The
// run goes back for them, never reads the batches in which the loss stood out, and says so wherever it is asked.
func TestPoisonedDocumentIsPassedOver(t *testing.T) {
	recipeFile := tiny(t)
	data, err := os.ReadFile(recipeFile)
	if err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(1, 2))
	var poison strings.Builder
	for i := range 120 {
		poison.WriteRune(rune(0x4e00 + rng.IntN(40)))
		if i%4 == 3 {
			poison.WriteByte(' ')
		}
	}
	file := filepath.Join(filepath.Dir(recipeFile), "corpus", "da", "da-natur.jsonl")
	lines, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	first, _, _ := strings.Cut(string(lines), "\n")
	var document map[string]any
	if err := json.Unmarshal([]byte(first), &document); err != nil {
		t.Fatal(err)
	}
	document["id"], document["text"] = "poison", poison.String()
	line, err := json.Marshal(document)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, fmt.Appendf(lines, "%s\n", line), 0o644); err != nil {
		t.Fatal(err)
	}
	before, after, _ := strings.Cut(string(data), "\ntrain:\n")
	_, after, _ = strings.Cut(after, "\neval:")
	text := before + `
train:
  mixture: [{section: da-natur, share: 1}]
  steps: 60
  rows_per_step: 4
  schedule: {peak_lr: 0.003, warmup_steps: 2}
  checkpoint_every: 5
  validate_every: 60
  spikes: {window: 32, z: 6, action: rewind, back: 1}
eval:` + after
	if err := os.WriteFile(recipeFile, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "run")
	mustRavn(t, "run", recipeFile, "--out", dir, "--until", "train")
	outcome, err := train.ReadOutcome(dir, 60)
	if err != nil {
		t.Fatal(err)
	}
	if len(outcome.Rewinds) != 1 || !slices.Contains(outcome.Rewinds[0].Documents, "da-natur/poison") {
		t.Fatalf("rewinds %+v, want one for the poisoned document", outcome.Rewinds)
	}
	spike := outcome.Rewinds[0]
	if want := (spike.Step - 2) / 5 * 5; spike.To != want || spike.First != spike.Step-1 || spike.Last != spike.Step {
		t.Errorf("went back from %d to %d for %d to %d", spike.Step, spike.To, spike.First, spike.Last)
	}
	// What was read is what the order says, and the part of the document that made the spike is not in it.
	tr, err := workflow.OpenTrace(dir, "continued")
	if err != nil {
		t.Fatal(err)
	}
	defer tr.Close()
	events, err := run.ReadEvents(filepath.Join(dir, "events.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	steps := 0
	for _, e := range events {
		if e.Kind == "step" {
			if steps++; e.Step != steps {
				t.Fatalf("step %d stands in the events where %d is expected", e.Step, steps)
			}
		}
	}
	if steps != 60 {
		t.Errorf("%d steps in the events", steps)
	}
	told, err := tr.Document("poison")
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range told.Sightings {
		if s.Step == spike.Step || s.Step == spike.Step-1 {
			t.Errorf("step %d is said to have read the poisoned document", s.Step)
		}
	}
	for name, want := range map[string]string{
		"order.json": fmt.Sprintf(`"first": %d`, spike.First), "events.jsonl": fmt.Sprintf(`{"event":"rewind","step":%d,"from":%d,`, spike.To, spike.Step),
	} {
		text, err := os.ReadFile(filepath.Join(dir, filepath.FromSlash(name)))
		if err != nil || !strings.Contains(string(text), want) {
			t.Errorf("%s does not say %q: %v", name, want, err)
		}
	}
	// Stopped behind the rewind, it goes on to the same bytes.
	want, err := run.HashTree(filepath.Join(dir, "checkpoints", "step-000060"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(filepath.Join(dir, "checkpoints", "step-000060")); err != nil {
		t.Fatal(err)
	}
	mustRavn(t, "run", recipeFile, "--out", dir, "--until", "train")
	if got, err := run.HashTree(filepath.Join(dir, "checkpoints", "step-000060")); err != nil || got != want {
		t.Errorf("the last checkpoint differs after an interruption: %v", err)
	}
}
