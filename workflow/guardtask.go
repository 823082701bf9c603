package workflow

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"

	"ravn/adapter"
	"ravn/engine/cpu"
	"ravn/eval"
	"ravn/eval/task"
	"ravn/internal/atomicfile"
	"ravn/model"
	"ravn/recipe"
	"ravn/run"
	"ravn/stats"
	"ravn/tokenizer"
	"ravn/train"
)

// guardTask asks the engine in training a data set, with the weights where they are: no copy, in memory or on disk.
type guardTask struct {
	engine    *cpu.Engine
	tok       *tokenizer.Tokenizer
	set       *task.Dataset
	options   task.Options
	threads   int
	base, now *task.Result
}

// guardTasks are the data sets that the guard of a phase asks.
func (f *Flow) guardTasks(p recipe.Phase, engine trainer, tok *tokenizer.Tokenizer) ([]train.Task, error) {
	if p.Guard == nil || len(p.Guard.Tasks) == 0 {
		return nil, nil
	}
	if a, ok := engine.(*adapter.Engine); ok {
		engine, _ = a.Carrier().(trainer)
	}
	e, ok := engine.(*cpu.Engine)
	if !ok {
		return nil, fmt.Errorf("workflow: %s: train.guard.tasks are asked on engine cpu only (leave them out, or train there)", f.Recipe.File())
	}
	var tasks []train.Task
	for _, t := range p.Guard.Tasks {
		set, err := f.guardSet(t)
		if err != nil {
			return nil, err
		}
		tasks = append(tasks, &guardTask{
			engine: e, tok: tok, set: set, threads: f.Threads,
			options: task.Options{Mode: f.Recipe.Eval.Mode, Limit: t.Items, Iterations: t.Iterations, Version: run.Version()},
		})
	}
	return tasks, nil
}

func (f *Flow) guardSet(t train.GuardTask) (*task.Dataset, error) {
	dir, err := f.Recipe.Dataset(t.Dataset)
	if err != nil {
		return nil, err
	}
	return task.LoadDataset(dir)
}

// Ask asks with sessions of its own: what an older one remembers belongs to older weights.
func (g *guardTask) Ask(ctx context.Context) error {
	threads := g.threads
	if threads <= 0 {
		threads = runtime.GOMAXPROCS(0)
	}
	c := g.engine.Config()
	info := eval.Info{Name: "training", Params: int64(c.NumParams()), VocabSize: c.VocabSize, MaxTokens: c.MaxPositionEmbeddings}
	m, err := eval.NewLocal(eval.EngineOf(g.engine.NewSession), g.tok, info, eval.LocalOptions{Threads: threads})
	if err != nil {
		return err
	}
	defer m.Close()
	g.now, err = task.Evaluate(ctx, m, g.set, g.options)
	return err
}

// Keep writes the last answers as the base's.
func (g *guardTask) Keep(path string) (string, error) {
	g.base = g.now
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return "", fmt.Errorf("workflow: %w", err)
	}
	data, err := json.Marshal(g.base)
	if err != nil {
		return "", fmt.Errorf("workflow: %s: %w", path, err)
	}
	if err := atomicfile.WriteFile(path, append(data, '\n')); err != nil {
		return "", err
	}
	return run.HashFile(path)
}

// Recall reads what Keep wrote.
func (g *guardTask) Recall(path string) (string, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("workflow: %w", err)
	}
	g.base = &task.Result{}
	if err := json.Unmarshal(data, g.base); err != nil {
		return "", fmt.Errorf("workflow: %s: %w", path, err)
	}
	return run.HashFile(path)
}

// Lost is what the score of the main metric has lost against the base, on the same items.
func (g *guardTask) Lost(o stats.BootstrapOptions) (stats.Estimate, error) {
	cs, err := task.Compare(g.base, g.now, o)
	if err != nil {
		return stats.Estimate{}, err
	}
	if len(cs) == 0 {
		return stats.Estimate{}, errors.New("workflow: no items in common with what the base was asked")
	}
	d := cs[0].Difference
	if !cs[0].LowerBetter {
		d.Value, d.Low, d.High = 0-d.Value, 0-d.High, 0-d.Low // not -0 where nothing is lost
	}
	return d.Scale(0.01), nil // scores are percentages
}

// PlannedTask is what asking a data set costs in a phase.
type PlannedTask struct {
	Dataset string  `json:"dataset"`
	Times   int     `json:"times"`   // asked, the base included
	Tokens  int64   `json:"tokens"`  // of all prompts of one asking, about
	FLOPs   float64 `json:"flops"`   // of all askings
	Share   float64 `json:"share"`   // of the phase's own
	Problem string  `json:"problem"` // why it could not be reckoned
}

// planTasks reckons what the guard's tasks cost: the forward pass over prompts of about three bytes a token, each once.
// What prompts share is computed once, so this is at most.
func planTasks(f *Flow, c *model.Config, p recipe.Phase, flops float64) []PlannedTask {
	if p.Guard == nil {
		return nil
	}
	var out []PlannedTask
	for _, t := range p.Guard.Tasks {
		planned := PlannedTask{Dataset: t.Dataset, Times: p.Guard.Asked(t, p.Steps)}
		set, err := f.guardSet(t)
		for i := 0; err == nil && i < t.Iterations; i++ {
			var prompts []string
			prompts, _, err = task.Prompts(set, i, task.Options{Mode: f.Recipe.Eval.Mode, Limit: t.Items, Iterations: t.Iterations})
			for _, text := range prompts {
				planned.Tokens += int64(min(len(text)/bytesPerToken, c.MaxPositionEmbeddings))
			}
		}
		if err != nil {
			planned.Problem = err.Error()
		}
		planned.FLOPs = float64(planned.Times) * float64(planned.Tokens) * c.TrainFLOPs(1) / 3 // forward: a third
		planned.Share = planned.FLOPs / flops
		out = append(out, planned)
	}
	return out
}

const bytesPerToken = 3
