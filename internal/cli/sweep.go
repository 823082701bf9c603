package cli

import (
	"context"
	"path/filepath"

	"ravn/internal/atomicfile"
	"ravn/workflow"
)

// CompareCmd sets runs beside each other.
type CompareCmd struct {
	Runs      []string `arg:"" name:"run" type:"existingdir" help:"Run folders; the others are compared with the first."`
	HTML      string   `name:"html" help:"Also write a page with the runs' curves laid over each other." placeholder:"FILE"`
	Forecasts bool     `help:"Instead: how often the guard's forecasts at 10, 25 and 50 % of finished runs held the end, by language. Takes folders of runs too, as a sweep leaves them."`
	JSON      bool     `name:"json" help:"As JSON."`
}

// Help is shown under --help.
func (c *CompareCmd) Help() string {
	return `Held-out text is compared document by document, data sets item by item; ~ says that a difference is not resolved.

Example:
  ravn compare runs/sample-da runs/sample-da-no-replay --html compare.html
  ravn compare --forecasts runs/study/part2`
}

// Run compares.
func (c *CompareCmd) Run(s *Streams) error {
	if c.Forecasts {
		rec, err := workflow.Forecasts(c.Runs)
		if err != nil {
			return err
		}
		if c.JSON {
			return s.JSON(rec)
		}
		rec.Write(s.Out)
		return nil
	}
	r, err := workflow.CompareRuns(c.Runs)
	if err != nil {
		return err
	}
	if c.HTML != "" {
		page, err := r.Page()
		if err != nil {
			return err
		}
		if err := atomicfile.WriteFile(c.HTML, page); err != nil {
			return err
		}
	}
	if c.JSON {
		return s.JSON(r)
	}
	r.Write(s.Out)
	return nil
}

// SweepCmd runs a recipe again and again with fields changed.
type SweepCmd struct {
	Sweep   string `arg:"" type:"existingfile" help:"Sweep file: a recipe, and a grid or a list of changes to its fields."`
	Out     string `help:"Folder for the runs; default runs/sweeps/NAME." placeholder:"DIR"`
	Threads int    `help:"Threads over all runs; 0 uses all processors. Does not change any result."`
	JSON    bool   `name:"json" help:"The result as JSON."`
}

// Help is shown under --help.
func (c *SweepCmd) Help() string {
	return `What runs have in common (corpus, tokenizer, shards, the base of a seed) is made once. A sweep that was broken off goes on.
At the end stand one table and one drawing: what the target languages gain against what the retained ones lose.
Where runs of a list name a series, scaling.svg and another table fit the changes of each series against the size of the base, with intervals over
documents and seeds.

Example:
  ravn sweep docs/experiments/replay.yaml`
}

// Run sweeps.
func (c *SweepCmd) Run(ctx context.Context, s *Streams) error {
	f, err := workflow.ReadSweep(c.Sweep)
	if err != nil {
		return usageError{err}
	}
	if c.Out == "" {
		c.Out = filepath.Join("runs", "sweeps", f.Name)
	}
	r, err := workflow.RunSweep(ctx, f, c.Out, workflow.Options{Threads: c.Threads, Progress: s.Progress()})
	if err != nil {
		return err
	}
	if c.JSON {
		return s.JSON(r)
	}
	r.Markdown(s.Out)
	return nil
}
