package workflow

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"ravn/corpus"
	"ravn/eval"
	"ravn/eval/task"
	"ravn/internal/atomicfile"
	"ravn/pipeline"
	"ravn/recipe"
	"ravn/run"
	"ravn/stats"
	"ravn/train"
)

// The models that a run measures.
const (
	roleDummy  = "dummy"
	roleBase   = "base"
	roleResult = "result"
)

// eval asks base, result and a guesser the same questions and compares the first two item by item.
func (f *Flow) eval(ctx context.Context) error {
	in, err := f.evalInputs()
	if err != nil {
		return err
	}
	return f.once("eval", in, []string{"records.jsonl", "comparison.json", "predictions"}, func(*run.StageRun) (string, error) {
		sets, err := f.datasets()
		if err != nil {
			return "", err
		}
		key, err := recipe.Hash(in)
		if err != nil {
			return "", err
		}
		results := map[string][]*task.Result{}
		var records []eval.Record
		for _, role := range []string{roleDummy, roleBase, roleResult} {
			got, err := f.measure(ctx, role, sets, key)
			if err != nil {
				return "", err
			}
			results[role] = got
			for _, r := range got {
				records = append(records, r.Record)
			}
		}
		comparisons, err := compareAll(results[roleBase], results[roleResult], f.Recipe.Seed)
		if err != nil {
			return "", err
		}
		if err := writeJSON(f.Folder.Path("comparison.json"), comparisons); err != nil {
			return "", err
		}
		for i, r := range results[roleResult] { // the records share what says where they come from
			task.Against(&r.Record, &results[roleBase][i].Record, comparisons)
		}
		if err := os.Remove(f.Folder.RecordsFile()); err != nil && !errors.Is(err, os.ErrNotExist) {
			return "", fmt.Errorf("workflow: %w", err)
		}
		return describeComparisons(comparisons), eval.AppendRecords(f.Folder.RecordsFile(), records...)
	})
}

func (f *Flow) evalInputs() (map[string]string, error) {
	base, err := ReadBase(f.Folder)
	if err != nil {
		return nil, err
	}
	in, err := hashed("recipe", []any{f.Recipe.Eval, f.Recipe.Data.Heldout, f.Recipe.Seed})
	if err != nil {
		return nil, err
	}
	in = inputs(in, f.Folder.Outputs("train"), map[string]string{"base": base.Hash, "corpus/summary.json": f.Folder.Outputs("corpus")["corpus/summary.json"]})
	delete(in, "events.jsonl")
	if err := f.hashDatasets(in, f.Recipe.Eval.Datasets); err != nil {
		return nil, err
	}
	for _, h := range f.Recipe.Data.Heldout {
		if err := f.hashInto(in, h.Path); err != nil {
			return nil, err
		}
	}
	return in, nil
}

// datasets loads the recipe's data sets and makes one of its held-out text.
func (f *Flow) datasets() ([]*task.Dataset, error) {
	var sets []*task.Dataset
	texts, err := f.heldoutSet()
	if err != nil {
		return nil, err
	}
	if texts != nil {
		sets = append(sets, texts)
	}
	for _, name := range f.Recipe.Eval.Datasets {
		dir, err := f.Recipe.Dataset(name)
		if err != nil {
			return nil, err
		}
		d, err := task.LoadDataset(dir)
		if err != nil {
			return nil, err
		}
		sets = append(sets, d)
	}
	return sets, nil
}

func (f *Flow) heldoutSet() (*task.Dataset, error) {
	var rows []task.Row
	var languages []string
	seen := map[string]bool{}
	err := f.heldoutDocuments(func(d *corpus.Document, h recipe.Heldout) {
		if !seen[h.Language] {
			seen[h.Language] = true
			languages = append(languages, h.Language)
		}
		rows = append(rows, task.Row{ID: d.ID, Text: d.Text, Source: d.Source, Language: h.Language})
	})
	if err != nil || len(rows) == 0 {
		return nil, err
	}
	return task.NewTexts(recipe.HeldoutName, languages, rows)
}

// measure evaluates one model on all sets. Each set's answers are kept in predictions/, so that an evaluation that was
// broken off does not begin anew.
func (f *Flow) measure(ctx context.Context, role string, sets []*task.Dataset, key string) ([]*task.Result, error) {
	var m eval.Model // opened when the first set needs it
	var out []*task.Result
	for _, d := range sets {
		r, err := f.stored(role, d.Name, key)
		if err != nil {
			return nil, err
		}
		if r == nil {
			if m == nil {
				opened, err := f.openModel(role)
				if err != nil {
					return nil, err
				}
				if local, ok := opened.(*eval.Local); ok {
					defer local.Close()
				}
				m = opened
			}
			if r, err = task.Evaluate(ctx, m, d, f.evalOptions(d)); err != nil {
				return nil, err
			}
			if err := f.store(role, key, r); err != nil {
				return nil, err
			}
		}
		out = append(out, r)
	}
	return out, nil
}

func (f *Flow) evalOptions(d *task.Dataset) task.Options {
	e := f.Recipe.Eval
	o := task.Options{Mode: e.Mode, Limit: e.Limit, Iterations: e.Iterations, TextBytes: e.HeldoutBytes, Version: run.Version(), Progress: f.Progress}
	if d.Task == task.BitsPerByte {
		o.Limit, o.Iterations = 0, 0
	}
	if n, ok := e.Limits[d.Name]; ok {
		o.Limit = n
	}
	o.Seen, o.SeenAgainst = SeenItems(f.Folder.Dir, d)
	return o
}

// SeenItems are the test items that stand in the training text of a run, as its corpus stage found; nil when nobody
// looked. Items are counted as decontam.LoadTexts does: test lines first.
func SeenItems(dir string, d *task.Dataset) (seen map[int]bool, against string) {
	sum, err := pipeline.ReadSummary(filepath.Join(dir, "corpus", "summary.json"))
	if err != nil {
		return nil, ""
	}
	for _, b := range sum.Benchmarks {
		if b.Name != d.Name {
			continue
		}
		seen := map[int]bool{}
		if b.Action == "mark" {
			for _, hit := range b.Found {
				if hit.Item < len(d.Test) {
					seen[hit.Item] = true
				}
			}
		}
		return seen, "the training text of this run, whole sentences of six words or more and 13-grams"
	}
	return nil, ""
}

// openModel opens the model of a role.
func (f *Flow) openModel(role string) (eval.Model, error) {
	switch role {
	case roleDummy:
		return eval.NewDummy(f.Recipe.Seed), nil
	case roleBase:
		base, err := ReadBase(f.Folder)
		if err != nil {
			return nil, err
		}
		return eval.OpenLocal(base.Path, eval.LocalOptions{Name: base.Name, Threads: f.Threads})
	}
	result, err := f.resultDir()
	if err != nil {
		return nil, err
	}
	return eval.OpenLocal(result, eval.LocalOptions{Name: f.Recipe.Release.ModelName, Threads: f.Threads})
}

// resultDir is the checkpoint that the continued training ended with.
func (f *Flow) resultDir() (string, error) {
	o, err := train.ReadOutcome(f.Folder.Dir, f.Recipe.Train.Steps)
	return train.StepDir(f.Folder.Dir, o.Steps), err
}

// storedResult is a data set's record beside its predictions.
type storedResult struct {
	Key    string      `json:"key"` // of everything the answers depend on
	Record eval.Record `json:"record"`
}

func (f *Flow) predictionsFile(role, dataset, ext string) string {
	return f.Folder.Path("predictions", role, dataset+ext)
}

func (f *Flow) stored(role, dataset, key string) (*task.Result, error) {
	data, err := os.ReadFile(f.predictionsFile(role, dataset, ".json"))
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("workflow: %w", err)
	}
	var s storedResult
	if err := json.Unmarshal(data, &s); err != nil || s.Key != key {
		return nil, nil // another recipe's: asked again and replaced
	}
	ps, err := eval.ReadPredictions(f.predictionsFile(role, dataset, ".jsonl"))
	if err != nil {
		return nil, err
	}
	return &task.Result{Record: s.Record, Predictions: ps}, nil
}

func (f *Flow) store(role, key string, r *task.Result) error {
	file := f.predictionsFile(role, r.Record.Dataset, ".jsonl")
	if err := eval.WritePredictions(file, r.Predictions); err != nil {
		return err
	}
	if r.Record.Ravn != nil {
		r.Record.Ravn.Predictions = filepath.ToSlash(mustRel(f.Folder.Dir, file))
	}
	return writeJSON(f.predictionsFile(role, r.Record.Dataset, ".json"), storedResult{Key: key, Record: r.Record})
}

func writeJSON(path string, v any) error {
	data, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return fmt.Errorf("workflow: %s: %w", path, err)
	}
	return atomicfile.WriteFile(path, append(data, '\n'))
}

// compareAll sets result against base on every data set.
func compareAll(base, result []*task.Result, seed uint64) ([]task.Comparison, error) {
	var all []task.Comparison
	for i := range base {
		cs, err := task.Compare(base[i], result[i], stats.BootstrapOptions{Seed: seed})
		if err != nil {
			return nil, err
		}
		all = append(all, cs...)
	}
	task.Adjust(all)
	return all, nil
}

// ReadComparisons reads comparison.json of a run folder.
func ReadComparisons(folder *run.Folder) ([]task.Comparison, error) {
	data, err := os.ReadFile(folder.Path("comparison.json"))
	if err != nil {
		return nil, fmt.Errorf("workflow: %w", err)
	}
	var cs []task.Comparison
	if err := json.Unmarshal(data, &cs); err != nil {
		return nil, fmt.Errorf("workflow: comparison.json: %w", err)
	}
	return cs, nil
}

func describeComparisons(cs []task.Comparison) string {
	count := map[string]int{}
	for _, c := range cs {
		if !strings.Contains(c.Group, "source=") {
			count[c.Verdict]++
		}
	}
	return fmt.Sprintf("result against base: %d better, %d worse, %d not told apart", count["better"], count["worse"], count["~"])
}
