package train

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"ravn/run"
	"ravn/stats"
)

// scripted is a task of 40 items whose score falls by so much at each asking after the base's. Its interval is ±0.02, the strict one ±0.03.
type scripted struct {
	engine Engine
	lost   func(params []float32) float64
	now    float64
	asked  int
}

func (s *scripted) Ask(context.Context) error {
	s.asked++
	s.now = s.lost(s.engine.State().Params)
	return nil
}

func (s *scripted) Keep(path string) (string, error) {
	if err := os.MkdirAll(path[:strings.LastIndexByte(path, '/')], 0o755); err != nil {
		return "", err
	}
	if err := os.WriteFile(path, []byte(fmt.Sprint(s.now)), 0o644); err != nil {
		return "", err
	}
	return run.HashFile(path)
}

func (s *scripted) Recall(path string) (string, error) { return run.HashFile(path) }

func (s *scripted) Lost(o stats.BootstrapOptions) (stats.Estimate, error) {
	r := 0.02
	if o.Level > 0.95 {
		r = 0.03
	}
	return stats.Estimate{Value: s.now, Low: s.now - r, High: s.now + r, N: 40}, nil
}

// watching is a guarded job of 40 steps with a task whose loss is that of the weights: how far the first one has moved.
func watching(t *testing.T, dir, action string, scale float64) (*Job, *scripted) {
	t.Helper()
	j := guarded(t, dir, action)
	j.Options.Guard.Retain = nil
	j.Options.Guard.Tasks = []GuardTask{{Dataset: "scala-da", Points: 5}}
	j.Options.Fill()
	first := float64(j.Engine.State().Params[7])
	task := &scripted{engine: j.Engine, lost: func(p []float32) float64 { return scale * max(float64(p[7])-first, first-float64(p[7])) }}
	j.Tasks = []Task{task}
	return j, task
}

func TestGuardAsksTasks(t *testing.T) {
	dir := t.TempDir()
	j, task := watching(t, dir, "warn", 0)
	if _, err := j.Run(context.Background()); err != nil {
		t.Fatal(err)
	}
	every := j.Options.Guard.Every
	if want := 1 + 40/(2*every); task.asked != want || j.Options.Guard.Asked(j.Options.Guard.Tasks[0], 40) != want {
		t.Errorf("asked %d times, Asked says %d, want %d", task.asked, j.Options.Guard.Asked(j.Options.Guard.Tasks[0], 40), want)
	}
	for _, e := range kinds(t, dir, "guard_task") {
		if state, _ := e.Text("state"); state != Within || e.Step%(2*every) != 0 {
			t.Errorf("step %d: %s", e.Step, state)
		}
	}
	out, err := ReadOutcome(dir, 40)
	if err != nil {
		t.Fatal(err)
	}
	if j := out.Judged[len(out.Judged)-1]; !j.Task || j.Group != "scala-da" || j.AskedAt != 40 || *j.Limit != 0.05 || j.Change.Documents != 40 {
		t.Errorf("outcome: %+v", j)
	}
}

// TestTaskBreaches: a score that falls without end stops the run at the second asking beyond the limit, and the evaluations of
// held-out text between the two change nothing about that. Resumed, it is the same bytes.
func TestTaskBreaches(t *testing.T) {
	whole := t.TempDir()
	j, task := watching(t, whole, "stop", 1e6)
	_, err := j.Run(context.Background())
	var b *Breached
	if !errors.As(err, &b) || task.asked != 3 || b.Step != 4*j.Options.Guard.Every || !strings.Contains(err.Error(), "scala-da has lost ") || !strings.Contains(err.Error(), "points of its score, limit 5.00, 40 items") {
		t.Fatalf("asked %d times: %v", task.asked, err)
	}
	end := fmt.Sprintf("checkpoints/step-%06d/", b.Step)
	names := []string{"events.jsonl", "outcome.json", "guard-tasks/scala-da.json", end + "model.safetensors", end + "state.json"}
	want := files(t, whole, names...)
	if !strings.Contains(string(want["events.jsonl"]), `"action":"stop","why":"","within":0,"unit":"points"`) {
		t.Error("the breach is not among the events")
	}
	for _, after := range []int{3, 8, 12, 15} { // before, at and behind the first asking beyond the limit
		dir := t.TempDir()
		ctx, cancel := context.WithCancel(context.Background())
		j, _ := watching(t, dir, "stop", 1e6)
		j.Source = &cancelAfter{j.Source, after, cancel}
		if _, err := j.Run(ctx); err == nil {
			t.Fatalf("was not stopped after %d", after)
		}
		cancel()
		j, _ = watching(t, dir, "stop", 1e6)
		if _, err := j.Run(context.Background()); !errors.As(err, &b) {
			t.Fatalf("stopped after %d: %v", after, err)
		}
		for file, got := range files(t, dir, names...) {
			if !bytes.Equal(got, want[file]) {
				t.Errorf("stopped after %d: %s differs from the uninterrupted run's", after, file)
			}
		}
	}
}
