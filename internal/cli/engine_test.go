package cli

import (
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"ravn/run"
)

// TestEnginesFollowOneRecipe trains the tiny recipe on engine/xla (here GoMLX's backend in plain Go as two virtual devices)
// and holds its losses to engine/cpu's. Both reckon in float32 in orders of their own, which 24 steps of AdamW magnify to
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
	if plain == string(text) {
		t.Fatal("the tiny recipe has no precision to replace")
	}
	if err := os.WriteFile(recipeFile, []byte(plain), 0o644); err != nil {
		t.Fatal(err)
	}
	losses := map[string][]float64{}
	for _, engine := range []string{"cpu", "xla"} {
		dir := filepath.Join(t.TempDir(), engine)
		args := []string{"train", recipeFile, "--out", dir, "--engine", engine}
		if engine == "xla" {
			args = append(args, "--devices", "2")
		}
		mustRavn(t, args...)
		checkTimings(t, filepath.Join(dir, "timings.jsonl"), engine == "xla")
		for _, file := range []string{"base/events.jsonl", "events.jsonl"} {
			events, err := run.ReadEvents(filepath.Join(dir, file))
			if err != nil {
				t.Fatal(err)
			}
			for _, e := range events {
				if loss, ok := e.Float("loss"); ok {
					losses[engine] = append(losses[engine], loss)
				}
			}
		}
	}
	got, want := losses["xla"], losses["cpu"]
	if len(got) != len(want) || len(want) < 48 {
		t.Fatalf("%d losses on xla, %d on cpu", len(got), len(want))
	}
	for i := range want {
		if math.Abs(got[i]-want[i]) > 1e-3*want[i] {
			t.Errorf("loss %d is %.7g on xla, %.7g on cpu", i, got[i], want[i])
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
