package train

import (
	"context"
	"errors"
	"math"
	"path/filepath"
	"testing"

	"ravn/engine/xla"
	"ravn/model"
	"ravn/run"
)

// TestRunMovesBetweenEngines begins a run on engine/cpu, goes on on engine/xla and ends on engine/cpu: the checkpoints are
// the same folders, and every loss is that of a run that stayed, up to rounding. Both engines sum in float32 in orders of
// their own; AdamW magnifies that from step to step, to less than 1e-4 of the loss in twelve.
func TestRunMovesBetweenEngines(t *testing.T) {
	stayed, moved := t.TempDir(), t.TempDir()
	if _, err := newJob(t, stayed, pattern{4, 16}, tinyOptions()).Run(context.Background()); err != nil {
		t.Fatal(err)
	}
	for i, batches := range []int{4, 4, 100} {
		ctx, cancel := context.WithCancel(context.Background())
		j := newJob(t, moved, &cancelAfter{pattern{4, 16}, batches, cancel}, tinyOptions())
		if i == 1 {
			e, err := xla.New(model.Init(tinyConfig(), 5), xla.Options{})
			if err != nil {
				t.Fatal(err)
			}
			defer e.Close()
			j.Engine = e
		}
		_, err := j.Run(ctx)
		cancel()
		var stopped *Interrupted
		if i < 2 && (!errors.As(err, &stopped) || stopped.Step != 4*(i+1)) || i == 2 && err != nil {
			t.Fatalf("part %d: %v", i, err)
		}
	}
	want, got := losses(t, stayed), losses(t, moved)
	if len(got) != len(want) || len(want) == 0 {
		t.Fatalf("%d losses, want %d", len(got), len(want))
	}
	for i := range want {
		if math.Abs(got[i]-want[i]) > 1e-4*want[i] {
			t.Errorf("loss %d is %.8g, want %.8g", i, got[i], want[i])
		}
	}
}

// losses are those of all steps and held-out texts of a run, in the order of its events.
func losses(t *testing.T, dir string) (all []float64) {
	t.Helper()
	events, err := run.ReadEvents(filepath.Join(dir, "events.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range events {
		if loss, ok := e.Float("loss"); ok {
			all = append(all, loss)
		}
	}
	return all
}
