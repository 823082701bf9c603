package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"ravn/run"
)

// TestGuardAsksATaskOfTheRecipe: the tiny run with mini-scala-da watched. The base is asked once, the model at every second
// evaluation, with what that costs said beforehand; an interruption asks nothing of the base again and changes no byte.
func TestGuardAsksATaskOfTheRecipe(t *testing.T) {
	recipeFile := tiny(t)
	data, err := os.ReadFile(recipeFile)
	if err != nil {
		t.Fatal(err)
	}
	text := strings.Replace(string(data), "  checkpoint_every: 3\neval:", "  checkpoint_every: 3\n  guard: {retain: {en: 10}, every: 4, tasks: [{dataset: mini-scala-da, points: 100, items: 8}]}\neval:", 1)
	if text == string(data) {
		t.Fatal("the tiny recipe has changed")
	}
	text = strings.Replace(text, "language: en, max_documents: 2", "language: en, max_bytes: 200", 1)
	if err := os.WriteFile(recipeFile, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	if out := mustRavn(t, "plan", recipeFile); !strings.Contains(out, "guard task mini-scala-da: asked 4 times, at most ") {
		t.Errorf("the plan does not say what the task costs:\n%s", out)
	}
	dir := filepath.Join(t.TempDir(), "run")
	mustRavn(t, "run", recipeFile, "--out", dir, "--until", "train")
	read := func() (steps []int, hash string) {
		t.Helper()
		events, err := run.ReadEvents(filepath.Join(dir, "events.jsonl"))
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range events {
			if e.Kind != "guard_task" {
				continue
			}
			steps = append(steps, e.Step)
			low, _ := e.Float("low")
			value, _ := e.Float("lost")
			high, ok := e.Float("high")
			if n, _ := e.Int("items"); !ok || n != 8 || !(low <= value && value <= high) {
				t.Errorf("step %d: lost %g [%g, %g] of %d items", e.Step, value, low, high, n)
			}
		}
		if hash, err = run.HashFile(filepath.Join(dir, "events.jsonl")); err != nil {
			t.Fatal(err)
		}
		return steps, hash
	}
	steps, want := read()
	if len(steps) != 3 || steps[0] != 8 || steps[1] != 16 || steps[2] != 24 {
		t.Errorf("asked at steps %v", steps)
	}
	for _, step := range []string{"step-000024", "step-000021"} {
		if err := os.RemoveAll(filepath.Join(dir, "checkpoints", step)); err != nil && step == "step-000024" {
			t.Fatal(err)
		}
	}
	mustRavn(t, "run", recipeFile, "--out", dir, "--until", "train", "--threads", "1")
	if _, got := read(); got != want {
		t.Error("the events differ after an interruption, on another number of threads")
	}
	// What the base answered belongs to the checkpoints.
	if err := os.WriteFile(filepath.Join(dir, "guard-tasks", "mini-scala-da.json"), []byte("{}"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(filepath.Join(dir, "checkpoints", "step-000024")); err != nil {
		t.Fatal(err)
	}
	cmd := ravn("run", recipeFile, "--out", dir, "--until", "train")
	if out, err := cmd.Stdout, cmd.Run(); err == nil || !strings.Contains(outText(out), "is not what the checkpoint was made with") {
		t.Errorf("other answers of the base were taken: %v\n%s", err, outText(out))
	}
	bad := strings.Replace(text, "dataset: mini-scala-da, points", "dataset: mini-scala-sv, points", 1)
	if err := os.WriteFile(recipeFile, []byte(bad), 0o644); err != nil {
		t.Fatal(err)
	}
	cmd = ravn("plan", recipeFile)
	if err := cmd.Run(); err == nil || !strings.Contains(outText(cmd.Stdout), `"mini-scala-sv" has to be one of eval.datasets`) {
		t.Errorf("a task that is not the recipe's: %v\n%s", err, outText(cmd.Stdout))
	}
}

func outText(w any) string { return w.(interface{ String() string }).String() }
