package train

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"ravn/run"
	"ravn/stats"
)

// GuardTask is a data set that the model is asked while it trains, and what of its score may be lost.
type GuardTask struct {
	Dataset    string  `yaml:"dataset" json:"dataset"`                 // one of eval.datasets
	Points     float64 `yaml:"points" json:"points"`                   // of the main metric, times 100, that may be lost against the base
	Items      int     `yaml:"items,omitempty" json:"items"`           // first items of the test split that are asked; default 64
	Iterations int     `yaml:"iterations,omitempty" json:"iterations"` // draws of examples; default 1
	Every      int     `yaml:"every,omitempty" json:"every"`           // evaluations of the guard from one asking to the next, the last one always; default 2
}

func (t *GuardTask) fill() {
	if t.Items == 0 {
		t.Items = 64
	}
	if t.Iterations == 0 {
		t.Iterations = 1
	}
	if t.Every == 0 {
		t.Every = 2
	}
}

func (t *GuardTask) validate() error {
	switch {
	case t.Dataset == "":
		return errors.New("guard.tasks: a task needs dataset, one of eval.datasets")
	case !(t.Points >= 0) || t.Points > 100:
		return fmt.Errorf("guard.tasks: %s: points %g must lie in [0, 100]; 5 is five points of the score times 100", t.Dataset, t.Points)
	case t.Items < 2 || t.Iterations < 1 || t.Every < 1:
		return fmt.Errorf("guard.tasks: %s: items %d must be at least 2, iterations %d and every %d positive", t.Dataset, t.Items, t.Iterations, t.Every)
	}
	return nil
}

// Asked tells how often a task is asked in a run of so many steps, the base at step 0 included.
func (g *Guard) Asked(t GuardTask, steps int) int {
	n := 1
	for step := g.Every; step <= steps; step += g.Every {
		if g.due(t, step, steps) {
			n++
		}
	}
	if steps%g.Every != 0 {
		n++
	}
	return n
}

func (g *Guard) due(t GuardTask, step, end int) bool {
	return step == end || step%g.Every == 0 && step/g.Every%t.Every == 0
}

// Task asks the model in training the items of a data set.
type Task interface {
	Ask(ctx context.Context) error                         // under the weights as they are
	Keep(path string) (hash string, err error)             // makes the last answers the base's, and a file
	Recall(path string) (hash string, err error)           // reads the base's answers
	Lost(o stats.BootstrapOptions) (stats.Estimate, error) // of the main metric, base minus now, 1 being 100 points; paired by item
}

// tasksKey is where a checkpoint keeps the hashes of the base's answers.
const tasksKey = "guard_tasks"

func (l *loop) tasks() []GuardTask {
	if l.Options.Guard == nil {
		return nil
	}
	return l.Options.Guard.Tasks
}

func (l *loop) taskFile(t GuardTask) string {
	return filepath.Join(l.Dir, tasksDir, strings.ReplaceAll(t.Dataset, "/", "_")+".json")
}

const tasksDir = "guard-tasks"

// askBase asks the base what the guard will compare with.
func (l *loop) askBase() error {
	var hashes []string
	for i, t := range l.tasks() {
		if err := l.Job.Tasks[i].Ask(context.Background()); err != nil {
			return fmt.Errorf("train: guard: %s under the base: %w", t.Dataset, err)
		}
		hash, err := l.Job.Tasks[i].Keep(l.taskFile(t))
		if err != nil {
			return err
		}
		hashes = append(hashes, hash)
	}
	l.taskHashes = strings.Join(hashes, " ")
	return nil
}

// recallBase reads what the base answered.
func (l *loop) recallBase(want string) error {
	var hashes []string
	for i, t := range l.tasks() {
		hash, err := l.Job.Tasks[i].Recall(l.taskFile(t))
		if err != nil {
			return fmt.Errorf("train: guard: what the base answered: %w (restore the file, or remove the checkpoints to begin anew)", err)
		}
		hashes = append(hashes, hash)
	}
	if l.taskHashes = strings.Join(hashes, " "); l.taskHashes != want {
		return fmt.Errorf("train: guard: %s is not what the checkpoint was made with (restore it, or remove the checkpoints to begin anew)", filepath.Join(l.Dir, tasksDir))
	}
	return nil
}

// askTasks asks the tasks that are due at a step, and writes what they say.
func (l *loop) askTasks(step int) error {
	g := l.Options.Guard
	for i, t := range l.tasks() {
		if !g.due(t, step, l.end()) {
			continue
		}
		began := l.now()
		task := l.Job.Tasks[i]
		if err := task.Ask(context.Background()); err != nil {
			return fmt.Errorf("train: guard: %s at step %d: %w", t.Dataset, step, err)
		}
		limit := t.Points / 100
		j := Judged{Group: t.Dataset, Task: true, AskedAt: step, Limit: &limit, State: Within}
		e, err := task.Lost(stats.BootstrapOptions{Resamples: resamples, Level: warnLevel})
		if err != nil {
			return fmt.Errorf("train: guard: %s at step %d: %w", t.Dataset, step, err)
		}
		j.Change = Change{e.Value, e.Low, e.High, e.N}
		level, draws := g.strict()
		if err := j.stand(func() (float64, error) {
			e, err := task.Lost(stats.BootstrapOptions{Resamples: draws, Level: level})
			return e.Low, err
		}); err != nil {
			return fmt.Errorf("train: guard: %s at step %d: %w", t.Dataset, step, err)
		}
		l.keepAsked(j)
		fields := []any{"dataset", t.Dataset, "lost", j.Change.Value, "low", j.Change.Low, "high", j.Change.High, "items", j.Change.Documents, "limit", limit, "state", j.State}
		if j.State == Warned || j.State == Beyond {
			fields = append(fields, "strict_low", j.Strict)
		}
		if err := l.events.Write("guard_task", step, fields...); err != nil {
			return err
		}
		if err := l.timings.Write("guard_task", step, "dataset", t.Dataset, "seconds", l.now().Sub(began).Seconds()); err != nil {
			return err
		}
	}
	return nil
}

// keepAsked takes in what a task said last.
func (l *loop) keepAsked(j Judged) {
	for i := range l.asked {
		if l.asked[i].Group == j.Group {
			l.asked[i] = j
			return
		}
	}
	l.asked = append(l.asked, j)
}

// rememberTask takes a "guard_task" event of an earlier call in.
func (l *loop) rememberTask(e run.Event) {
	j := Judged{Task: true, AskedAt: e.Step}
	j.Group, _ = e.Text("dataset")
	j.Change.Value, _ = e.Float("lost")
	j.Change.Low, _ = e.Float("low")
	j.Change.High, _ = e.Float("high")
	n, _ := e.Int("items")
	j.Change.Documents = int(n)
	limit, _ := e.Float("limit")
	j.Limit = &limit
	j.State, _ = e.Text("state")
	j.Strict, _ = e.Float("strict_low")
	l.keepAsked(j)
}
