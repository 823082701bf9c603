package cli

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"ravn/internal/atomicfile"
	"ravn/recipe"
	"ravn/workflow"
)

// QuickstartCmd walks the built-in material from text to release.
type QuickstartCmd struct {
	Out     string `default:"runs/quickstart" help:"Run folder."`
	Threads int    `help:"Threads; 0 uses all processors. Does not change any result."`
	JSON    bool   `name:"json" help:"Print the result as JSON."`
}

// Help is shown under --help.
func (c *QuickstartCmd) Help() string { return "Example:\n  ravn quickstart --out runs/quickstart" }

// Run walks it.
func (c *QuickstartCmd) Run(ctx context.Context, s *Streams) error {
	f, err := workflow.Quickstart(c.Out, workflow.Options{Threads: c.Threads, Progress: s.Progress()})
	if err != nil {
		return err
	}
	defer f.Close()
	return walk(ctx, s, f, c.JSON)
}

// RunCmd walks a recipe.
type RunCmd struct {
	Recipe  string `arg:"" type:"existingfile" help:"Recipe to follow."`
	Out     string `help:"Run folder; default runs/NAME."`
	Until   string `help:"Stop after this stage: corpus, tokenizer, shards, base, train, eval, leaderboard, release, report."`
	Threads int    `help:"Threads; 0 uses all processors. Does not change any result."`
	Engine  string `enum:"cpu,xla" default:"cpu" help:"What trains: cpu, or xla (GPUs and TPUs in a build with -tags xla and the plug-in that RAVN_PJRT names; else plain Go, for toy sizes)."`
	Devices int    `help:"Devices of this host that --engine xla trains on together; 0 is all that the plug-in shows. Changes results by rounding only."`
	JSON    bool   `name:"json" help:"Print the result as JSON."`
}

// Help is shown under --help.
func (c *RunCmd) Help() string {
	return `A run that was stopped or killed goes on where it was; the result is the same to the byte.

Example:
  ravn run recipes/sample-da.yaml --out runs/sample-da`
}

// Run walks it.
func (c *RunCmd) Run(ctx context.Context, s *Streams) error {
	f, err := openFlow(s, c.Recipe, c.Out, workflow.Options{Until: c.Until, Threads: c.Threads, Engine: c.Engine, Devices: c.Devices})
	if err != nil {
		return err
	}
	defer f.Close()
	return walk(ctx, s, f, c.JSON)
}

// TrainCmd runs a recipe up to the end of its training.
type TrainCmd struct {
	Recipe  string `arg:"" type:"existingfile" help:"Recipe to follow."`
	Out     string `help:"Run folder; default runs/NAME."`
	Resume  bool   `help:"Only go on from a checkpoint: fail when there is none."`
	Threads int    `help:"Threads; 0 uses all processors. Does not change any result."`
	Engine  string `enum:"cpu,xla" default:"cpu" help:"What trains: cpu, or xla (GPUs and TPUs in a build with -tags xla and the plug-in that RAVN_PJRT names; else plain Go, for toy sizes)."`
	Devices int    `help:"Devices of this host that --engine xla trains on together; 0 is all that the plug-in shows. Changes results by rounding only."`
	JSON    bool   `name:"json" help:"Print the result as JSON."`
}

// Help is shown under --help.
func (c *TrainCmd) Help() string {
	return `Corpus, tokenizer, shards and base come first where they are missing or out of date. Ctrl-C leaves a checkpoint.

Example:
  ravn train recipes/sample-da.yaml --out runs/sample-da`
}

// Run trains.
func (c *TrainCmd) Run(ctx context.Context, s *Streams) error {
	f, err := openFlow(s, c.Recipe, c.Out, workflow.Options{Until: "train", Threads: c.Threads, Engine: c.Engine, Devices: c.Devices})
	if err != nil {
		return err
	}
	defer f.Close()
	f.Resume = c.Resume
	if c.Resume && !f.HasCheckpoint() {
		return usageError{fmt.Errorf("train: %s holds no checkpoint to go on from (leave out --resume to begin)", f.Folder.Dir)}
	}
	return walk(ctx, s, f, c.JSON)
}

// openFlow opens the run folder of a recipe, after what a command's flags change in it.
func openFlow(s *Streams, recipeFile, out string, o workflow.Options, change ...func(*recipe.Recipe)) (*workflow.Flow, error) {
	if o.Until != "" && !slices.Contains(workflow.Stages(), o.Until) {
		return nil, usageError{fmt.Errorf("no stage %q (there are: %s)", o.Until, strings.Join(workflow.Stages(), ", "))}
	}
	r, err := recipe.Load(recipeFile)
	if err != nil {
		return nil, usageError{err}
	}
	for _, f := range change {
		f(r)
	}
	if out == "" {
		out = filepath.Join("runs", r.Name)
	}
	o.Progress = s.Progress()
	return workflow.Open(r, out, o)
}

// walk runs a flow and says where things are.
func walk(ctx context.Context, s *Streams, f *workflow.Flow, asJSON bool) error {
	err := f.Run(ctx)
	if err != nil && !workflow.IsRefusal(err) {
		return err
	}
	out, outErr := f.Outcome()
	if outErr != nil {
		return errors.Join(err, outErr)
	}
	if asJSON {
		outErr = s.JSON(out)
	} else {
		out.Write(s.Out)
	}
	return errors.Join(err, outErr)
}

// PlanCmd reckons before anything is spent.
type PlanCmd struct {
	Recipe string `arg:"" type:"existingfile" help:"Recipe to look at."`
	JSON   bool   `name:"json" help:"As JSON."`
	Plot   bool   `help:"Also draw the learning rates, as text."`
	SVG    string `name:"svg" help:"Also draw the learning rate of the continued training into this SVG file." placeholder:"FILE"`
}

// Help is shown under --help.
func (c *PlanCmd) Help() string {
	return `Exits with 3 when the result could not be released under the recipe's own policy.

Examples:
  ravn plan recipes/sample-da.yaml
  ravn plan recipes/sample-da.yaml --plot --svg rate.svg`
}

// Run reckons and prints.
func (c *PlanCmd) Run(s *Streams) error {
	r, err := recipe.Load(c.Recipe)
	if err != nil {
		return usageError{err}
	}
	p, err := workflow.NewPlan(r)
	if err != nil {
		return err
	}
	if c.JSON {
		if err := s.JSON(p); err != nil {
			return err
		}
	} else {
		p.Write(s.Out)
	}
	charts := workflow.RateCharts(r)
	if c.Plot && !c.JSON {
		for _, chart := range charts {
			fmt.Fprintf(s.Out, "\n%s", chart.Text(72, 12))
		}
	}
	if c.SVG != "" {
		if err := atomicfile.WriteFile(c.SVG, charts[len(charts)-1].File()); err != nil {
			return err
		}
	}
	return p.Refusal()
}
