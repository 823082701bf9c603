package cli

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// answersOf counts the answers kept of each prompt.
func answersOf(t *testing.T, out string) (keys map[string]int, lines int) {
	t.Helper()
	keys = map[string]int{}
	files, err := filepath.Glob(filepath.Join(out, "r-answers", "*", "*.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		data, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		for _, line := range bytes.Split(data, []byte("\n")) {
			var l struct{ K string }
			if json.Unmarshal(line, &l) == nil && l.K != "" {
				keys[filepath.Base(f)+l.K]++
				lines++
			}
		}
	}
	return keys, lines
}

// Promise: an evaluation that is killed with SIGKILL goes on without asking a finished prompt again, and ends with the
// same records, predictions and comparison, for one thread and for two.
func TestKilledEvalAsksNothingTwice(t *testing.T) {
	recipe := tiny(t)
	material := filepath.Dir(recipe)
	trained := filepath.Join(t.TempDir(), "run")
	mustRavn(t, "train", recipe, "--out", trained)
	base, err := filepath.Glob(filepath.Join(trained, "base", "checkpoints", "step-*"))
	if err != nil || len(base) == 0 {
		t.Fatalf("no base: %v", err)
	}
	result, err := filepath.Glob(filepath.Join(trained, "checkpoints", "step-*"))
	if err != nil || len(result) == 0 {
		t.Fatalf("no result: %v", err)
	}
	args := func(out string, threads string) []string {
		return []string{
			"eval", base[len(base)-1], result[len(result)-1], "--data-dir", filepath.Join(material, "eval"), "--iterations", "6",
			"--out", filepath.Join(out, "r.jsonl"), "--threads", threads,
		}
	}
	whole := t.TempDir()
	mustRavn(t, args(whole, "1")...)
	_, want := answersOf(t, whole)

	killed := t.TempDir()
	kills := 0
	for _, share := range []int{10, 30, 60, 90} {
		cmd := ravn(args(killed, "2")...)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		done := make(chan error, 1)
		go func() { done <- cmd.Wait() }()
		for waiting := true; waiting; {
			select {
			case <-done:
				waiting = false
			case <-time.After(2 * time.Millisecond):
				if _, n := answersOf(t, killed); n >= want*share/100 { // a line may be half written, which is the point
					if cmd.Process.Kill() == nil {
						kills++
					}
					<-done
					waiting = false
				}
			}
		}
	}
	if kills == 0 {
		t.Error("the evaluation was never killed in time")
	}
	_, before := answersOf(t, killed)
	mustRavn(t, args(killed, "2")...)
	keys, n := answersOf(t, killed)
	for k, times := range keys {
		if times > 1 {
			t.Fatalf("%s was asked %d times", k, times)
		}
	}
	t.Logf("%d kills, %d of %d prompts were finished before the last start", kills, before, want)
	if n != want {
		t.Errorf("%d prompts asked in all, an undisturbed evaluation asks %d", n, want)
	}
	for _, pattern := range []string{"r.jsonl", "r-comparison.json", filepath.Join("r-predictions", "*", "*.jsonl")} {
		files, err := filepath.Glob(filepath.Join(whole, pattern))
		if err != nil || len(files) == 0 {
			t.Fatalf("no %s: %v", pattern, err)
		}
		for _, f := range files {
			rel, err := filepath.Rel(whole, f)
			if err != nil {
				t.Fatal(err)
			}
			a, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			b, err := os.ReadFile(filepath.Join(killed, rel))
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(a, b) {
				t.Errorf("%s differs (-undisturbed, one thread +killed, two threads):\n%s", rel, cmp.Diff(string(a), string(b)))
			}
		}
	}
}
