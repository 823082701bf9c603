package cli

import (
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"ravn/run"
)

// TestEnginesFollowOneRecipe trains the tiny recipe on engine/xla (here GoMLX's backend in plain Go) and holds its losses
// to engine/cpu's. Both reckon in float32 in orders of their own, which 24 steps of AdamW magnify to less than 1e-3.
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
		mustRavn(t, "train", recipeFile, "--out", dir, "--engine", engine)
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
