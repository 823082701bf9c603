package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"ravn/eval"
	"ravn/eval/task"
	"ravn/internal/atomicfile"
	"ravn/leaderboard"
	"ravn/run"
	"ravn/workflow"
)

// EvalCmd measures models on data sets.
type EvalCmd struct {
	Models     []string `arg:"" name:"model" help:"Hugging Face folders or GGUF files, or \"dummy\"."`
	Data       []string `required:"" help:"Folder of a data set (train.jsonl, test.jsonl), or a file of held-out documents for bits per byte; may be repeated."`
	Out        string   `default:"records.jsonl" help:"Records are appended here; predictions go beside it."`
	Mode       string   `enum:"ravn,scandeval-2024" default:"ravn" help:"ravn, or scandeval-2024: prompts and readings of ScandEval 9.1.2."`
	Split      string   `enum:"test,val" default:"test" help:"test or val."`
	Iterations int      `default:"10" help:"Draws of examples (bootstrap iterations)."`
	Limit      int      `help:"Use the first rows of the split only; recorded."`
	Threads    int      `help:"Threads; 0 uses all processors. Does not change any result."`
	JSON       bool     `name:"json" help:"Print the records as JSON."`
}

// Help is shown under --help.
func (c *EvalCmd) Help() string {
	return `The first model is the base: each further model is also compared with it item by item, in pairs.

Example:
  ravn eval runs/quickstart/base/checkpoints/step-000140 runs/quickstart/release --data runs/quickstart/material/eval/mini-scala-da`
}

// Run asks every model every data set.
func (c *EvalCmd) Run(ctx context.Context, s *Streams) error {
	var sets []*task.Dataset
	for _, path := range c.Data {
		d, err := openDataset(path)
		if err != nil {
			return err
		}
		sets = append(sets, d)
	}
	progress := s.Progress()
	first := map[string]*task.Result{}
	var records []eval.Record
	for _, name := range c.Models {
		m, err := c.open(name)
		if err != nil {
			return err
		}
		for _, d := range sets {
			o := task.Options{Mode: c.Mode, Split: c.Split, Limit: c.Limit, Iterations: c.Iterations, Version: run.Version(), Progress: progress}
			if d.Task == task.BitsPerByte {
				o.Iterations = 0
			}
			r, err := task.Evaluate(ctx, m, d, o)
			if err != nil {
				return err
			}
			file := filepath.Join(strings.TrimSuffix(c.Out, filepath.Ext(c.Out))+"-predictions", fileName(m.Info().Name), d.Name+".jsonl")
			if err := eval.WritePredictions(file, r.Predictions); err != nil {
				return err
			}
			r.Record.Ravn.Predictions = filepath.ToSlash(file)
			if err := eval.AppendRecords(c.Out, r.Record); err != nil {
				return err
			}
			records = append(records, r.Record)
			if !c.JSON {
				if err := c.show(s, m.Info().Name, r, first[d.Name]); err != nil {
					return err
				}
			}
			if first[d.Name] == nil {
				first[d.Name] = r
			}
		}
		if local, ok := m.(*eval.Local); ok {
			local.Close()
		}
	}
	if c.JSON {
		return s.JSON(records)
	}
	return nil
}

// show prints a result and its paired difference from the first model's.
func (c *EvalCmd) show(s *Streams, model string, r, base *task.Result) error {
	p := r.Record.Ravn
	fmt.Fprintf(s.Out, "%s  %s  %s %s\n", model, r.Record.Dataset, p.Primary, p.Estimates[p.Primary])
	if base == nil {
		return nil
	}
	cs, err := task.Compare(base, r, bootstrapOptions)
	if err != nil {
		return err
	}
	for i := range cs {
		if cs[i].Metric == p.Primary && cs[i].Group == "" {
			fmt.Fprintf(s.Out, "  against %s: %s\n", base.Record.Model, cs[i].String())
		}
	}
	return nil
}

func (c *EvalCmd) open(name string) (eval.Model, error) {
	if name == "dummy" {
		return eval.NewDummy(bootstrapOptions.Seed), nil
	}
	if strings.HasPrefix(name, "openai:") {
		return nil, usageError{fmt.Errorf("eval: %s: endpoints are not part of this version; name a folder", name)}
	}
	return eval.OpenLocal(name, eval.LocalOptions{Threads: c.Threads})
}

func openDataset(path string) (*task.Dataset, error) {
	info, err := os.Stat(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, usageError{fmt.Errorf("eval: no data set at %s (a folder with train.jsonl and test.jsonl, or a JSONL file of documents)", path)}
	}
	if err != nil {
		return nil, err
	}
	if info.IsDir() {
		return task.LoadDataset(path)
	}
	name, _, _ := strings.Cut(filepath.Base(path), ".")
	return task.LoadTexts("heldout-"+name, path)
}

// fileName makes a model's name a folder's name.
func fileName(model string) string {
	return strings.Map(func(r rune) rune {
		if strings.ContainsRune(`/\: `, r) {
			return '-'
		}
		return r
	}, model)
}

// LeaderboardCmd makes a table of records.
type LeaderboardCmd struct {
	Records    []string `arg:"" help:"Files of records, or run folders."`
	Format     string   `enum:"markdown,json,csv" default:"markdown" help:"markdown, json or csv."`
	JSON       bool     `name:"json" help:"The same as --format json."`
	Compatible bool     `help:"Round and average as ScandEval's leaderboard of January 2024 did."`
	Published  bool     `help:"Add the five rows of the Munin announcement, marked as published and not re-run."`
	Out        string   `help:"Write to this file instead of standard output."`
}

// Help is shown under --help.
func (c *LeaderboardCmd) Help() string {
	return "Example:\n  ravn leaderboard runs/quickstart --published"
}

// Run reads, averages and prints.
func (c *LeaderboardCmd) Run(s *Streams) error {
	var all []eval.Record
	for _, path := range c.Records {
		if workflow.IsRun(path) {
			path = filepath.Join(path, "records.jsonl")
		}
		rs, err := eval.ReadRecords(path)
		if err != nil {
			return err
		}
		all = append(all, rs...)
	}
	o := leaderboard.Options{Compatible: c.Compatible}
	if c.Published {
		o.Published = leaderboard.Announcement()
	}
	t, err := leaderboard.Build(all, o)
	if err != nil {
		return err
	}
	var text []byte
	switch {
	case c.JSON || c.Format == "json":
		text, err = t.JSON()
	case c.Format == "csv":
		text, err = t.CSV()
	default:
		text = []byte(t.Markdown())
	}
	if err != nil {
		return err
	}
	if c.Out != "" {
		return atomicfile.WriteFile(c.Out, text)
	}
	_, err = s.Out.Write(text)
	return err
}
