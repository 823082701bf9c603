package cli

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"ravn/run"
)

// TestEnginesFollowOneRecipe trains the tiny recipe on engine/xla (here GoMLX's backend in plain Go as two virtual devices)
// and holds its losses to engine/cpu's; so it does with a run that begins on cpu, goes on on xla and ends on cpu. Both reckon in float32 in orders of their own, which 24 steps of AdamW magnify to
// less than 1e-3. timings.jsonl tells how long the devices had nothing to do.
func TestEnginesFollowOneRecipe(t *testing.T) {
	if testing.Short() {
		t.Skip("trains twice")
	}
	recipeFile := tiny(t)
	text, err := os.ReadFile(recipeFile)
	if err != nil {
		t.Fatal(err)
	}
	plain := strings.Replace(string(text), "precision: bf16", "precision: fp32", 1)
	kept := strings.ReplaceAll(plain, "checkpoint_every: 3\neval", "checkpoint_every: 8\n  keep_checkpoints: 3\neval")
	if plain == string(text) || kept == plain {
		t.Fatal("the tiny recipe has no precision or no checkpoints to replace")
	}
	plain = kept
	if err := os.WriteFile(recipeFile, []byte(plain), 0o644); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	cpu, xla, moved := filepath.Join(dir, "cpu"), filepath.Join(dir, "xla"), filepath.Join(dir, "moved")
	mustRavn(t, "train", recipeFile, "--out", cpu, "--engine", "cpu")
	checkTimings(t, filepath.Join(cpu, "timings.jsonl"), false)
	mustRavn(t, "train", recipeFile, "--out", xla, "--engine", "xla", "--devices", "2")
	checkTimings(t, filepath.Join(xla, "timings.jsonl"), true)
	want := runLosses(t, cpu)
	sameLosses(t, "on xla", runLosses(t, xla), want)

	// From cpu's checkpoint of step 8 to step 24 on xla, and from step 16 of that on cpu.
	if err := os.CopyFS(moved, os.DirFS(cpu)); err != nil {
		t.Fatal(err)
	}
	for i, engine := range []string{"xla", "cpu"} {
		for _, step := range []string{"step-000016", "step-000024"}[i:] {
			if err := os.RemoveAll(filepath.Join(moved, "checkpoints", step)); err != nil {
				t.Fatal(err)
			}
		}
		out := mustRavn(t, "train", recipeFile, "--out", moved, "--engine", engine)
		if from := fmt.Sprintf("resumed at %d", 8*(i+1)); !strings.Contains(out, from) {
			t.Errorf("engine %s: no %q in\n%s", engine, from, out)
		}
	}
	sameLosses(t, "cpu, xla, cpu", runLosses(t, moved), want)
}

// runLosses are those of all steps and held-out texts of a run's two phases, in the order of its events.
func runLosses(t *testing.T, dir string) (all []float64) {
	t.Helper()
	for _, file := range []string{"base/events.jsonl", "events.jsonl"} {
		events, err := run.ReadEvents(filepath.Join(dir, file))
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range events {
			if loss, ok := e.Float("loss"); ok {
				all = append(all, loss)
			}
		}
	}
	return all
}

func sameLosses(t *testing.T, what string, got, want []float64) {
	t.Helper()
	if len(got) != len(want) || len(want) < 48 {
		t.Fatalf("%s: %d losses, %d on cpu", what, len(got), len(want))
	}
	for i := range want {
		if math.Abs(got[i]-want[i]) > 1e-3*want[i] {
			t.Errorf("%s: loss %d is %.7g, on cpu %.7g", what, i, got[i], want[i])
		}
	}
}

// checkTimings holds each step's parts to its whole, and the share of the last line to the steps that it sums up: all but
// the first.
func checkTimings(t *testing.T, file string, devices bool) {
	t.Helper()
	events, err := run.ReadEvents(file)
	if err != nil {
		t.Fatal(err)
	}
	var seconds, idle float64
	steps := 0
	for _, e := range events {
		switch e.Kind {
		case "step":
			all, _ := e.Float("seconds")
			read, ok := e.Float("data_seconds")
			nothing, has := e.Float("idle_seconds")
			if !ok || read < 0 || read > all || has != devices || nothing < 0 || nothing > all {
				t.Errorf("step %d: %v", e.Step, e)
			}
			if devices && nothing < read {
				t.Errorf("step %d: the devices had nothing to do for %g s, less than the %g s in which the batch was read", e.Step, nothing, read)
			}
			if steps++; steps > 1 {
				seconds, idle = seconds+all, idle+nothing
			}
		case "train":
			share, ok := e.Float("idle_share")
			if ok != devices || ok && math.Abs(share-idle/seconds) > 1e-6 {
				t.Errorf("idle_share %g (there: %v), the steps have %g of %g s", share, ok, idle, seconds)
			}
		}
	}
	if steps < 2 {
		t.Errorf("%s has %d steps", file, steps)
	}
}
