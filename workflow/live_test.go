package workflow

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"ravn/internal/builtin"
	"ravn/recipe"
	"ravn/run"
)

// TestLiveStates walks a run folder from empty to stopped; the finished one is the report's own test.
func TestLiveStates(t *testing.T) {
	material, dir := t.TempDir(), t.TempDir()
	if err := builtin.Extract(material); err != nil {
		t.Fatal(err)
	}
	r, err := recipe.Parse(quickstartRecipe, filepath.Join(material, "quickstart.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	live := Live(dir)
	last := ""
	shows := func(state string) {
		t.Helper()
		if s := live.Stamp(); s == last {
			t.Errorf("%s: the stamp has not changed", state)
		} else {
			last = s
		}
		p, err := live.Page()
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(p.State, state) {
			t.Errorf("state %q, want %q", p.State, state)
		}
		for _, w := range p.Warnings {
			if strings.Contains(w, "cannot be read") {
				t.Errorf("%s: %s", state, w)
			}
		}
		if text, err := p.HTML(); err != nil || len(text) < 1000 {
			t.Errorf("%s: %d bytes, %v", state, len(text), err)
		}
	}
	shows("the folder is empty")
	f, err := Open(r, dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	shows("UTC, stage the first")
	if _, _, err := f.Folder.Stage("train", map[string]string{"x": "y"}); err != nil {
		t.Fatal(err)
	}
	e, err := run.OpenEvents(f.Folder.EventsFile(), run.KeepAll)
	if err != nil {
		t.Fatal(err)
	}
	for step := 1; step <= 3; step++ {
		if err := e.Write("step", step, "loss", 5.0-float64(step), "lr", 1e-3, "grad_norm", 1.0); err != nil {
			t.Fatal(err)
		}
	}
	shows("UTC, stage train, step 3 of 120")
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	shows("stopped; not finished: stage train has begun. The same command goes on")
	// A folder with something else in it is no run.
	if err := os.WriteFile(filepath.Join(dir, "manifest.json"), []byte("{"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := live.Page(); err == nil {
		t.Error("a broken manifest is shown")
	}
}
