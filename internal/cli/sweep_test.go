package cli

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestSweep runs three changes of the tiny recipe: as it is, without replay at a harmful rate under a guard, and with
// half the rate. What they share is made once, a second call trains nothing, and compare says what differs.
func TestSweep(t *testing.T) {
	recipeFile := tiny(t)
	sweep := filepath.Join(filepath.Dir(recipeFile), "sweep.yaml")
	err := os.WriteFile(sweep, []byte(`
name: rates
recipe: tiny.yaml
set:
  data.heldout: [{path: heldout/da.jsonl, language: da, max_bytes: 400}, {path: heldout/en.jsonl, language: en, max_bytes: 400}]
  train.guard: {retain: {en: 0.01}, every: 4}
runs:
  - {name: plain, set: {train.guard: null}}
  - {name: harmful, set: {train.steps: 60, train.mixture: [{section: "role:target", share: 1}], train.schedule: {kind: constant, peak_lr: 0.05}}}
  - {name: half, set: {train.schedule.peak_lr: 0.001, train.guard: null}}
`), 0o644)
	if err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(t.TempDir(), "out")
	said := mustRavn(t, "sweep", sweep, "--out", out)
	if n := strings.Count(said, "base         unchanged, skipped"); n != 2 {
		t.Errorf("%d runs take over the base, want 2\n%s", n, said)
	}
	var res struct {
		Runs []struct {
			Name, State    string
			Steps          int
			Front          bool
			Target         struct{ Value, Low, High float64 }
			Retained       struct{ Value float64 }
			Groups         []struct{ Group string }
			Set            map[string]any
			TrainedSeconds float64 `json:"seconds"`
		}
	}
	data, err := os.ReadFile(filepath.Join(out, "sweep.json"))
	if err != nil || json.Unmarshal(data, &res) != nil || len(res.Runs) != 3 {
		t.Fatalf("sweep.json: %v\n%s", err, data)
	}
	for i, want := range []string{"finished", "stopped by the guard at step ", "finished"} {
		r := res.Runs[i]
		if !strings.HasPrefix(r.State, want) || !(r.Target.Low <= r.Target.Value && r.Target.Value <= r.Target.High) || r.Target.Value == 0 || r.Retained.Value == 0 {
			t.Errorf("run %s: %+v, want %s", r.Name, r, want)
		}
	}
	for _, name := range []string{"sweep.md", "sweep.svg", "index.html"} {
		if data, err := os.ReadFile(filepath.Join(out, name)); err != nil || !bytes.Contains(data, []byte("harmful")) {
			t.Errorf("%s: %v", name, err)
		}
	}
	again := mustRavn(t, "sweep", sweep, "--out", out)
	if strings.Contains(again, "train        4") || strings.Count(again, "train        unchanged, skipped") != 2 {
		t.Errorf("a second sweep trains again:\n%s", again)
	}
	page := filepath.Join(out, "compare.html")
	said = mustRavn(t, "compare", filepath.Join(out, "plain"), filepath.Join(out, "half"), "--html", page)
	for _, want := range []string{"train.schedule.peak_lr: 0.002 → 0.001", "against plain, 10 documents", "against its base"} {
		if !strings.Contains(said, want) {
			t.Errorf("compare does not say %q:\n%s", want, said)
		}
	}
	if data, err := os.ReadFile(page); err != nil || strings.Count(string(data), "<svg") != 2 {
		t.Errorf("the page of a comparison: %v", err)
	}
	// A run is not told apart from itself.
	var same struct {
		Runs []struct {
			First []struct{ Verdict string }
		}
	}
	if err := json.Unmarshal([]byte(mustRavn(t, "compare", filepath.Join(out, "plain"), filepath.Join(out, "plain"), "--json")), &same); err != nil {
		t.Fatal(err)
	}
	for _, g := range same.Runs[1].First {
		if g.Verdict != "~" {
			t.Errorf("a run against itself is %s", g.Verdict)
		}
	}
}
