package cli

import (
	"path/filepath"

	"ravn/eval"
	"ravn/internal/atomicfile"
	"ravn/leaderboard"
	"ravn/run"
	"ravn/web"
	"ravn/workflow"
)

// LeaderboardCmd makes a table of records.
type LeaderboardCmd struct {
	Records    []string          `arg:"" help:"Files of records, or run folders."`
	Format     string            `enum:"markdown,json,csv,html" default:"markdown" help:"markdown, json, csv, or html: one page that loads nothing, sortable, with intervals drawn."`
	JSON       bool              `name:"json" help:"The same as --format json."`
	Compatible bool              `help:"Round and average as ScandEval's leaderboard of January 2024 did."`
	Published  bool              `help:"Add the five rows of the Munin announcement, marked as published and not re-run."`
	Base       map[string]string `placeholder:"MODEL=BASE" help:"What a model was continued from, where its records do not say: it is compared with that row, the two taken as independent. May be repeated."`
	Title      string            `default:"Leaderboard" help:"Of the page."`
	Out        string            `help:"Write to this file instead of standard output."`
}

// Help is shown under --help.
func (c *LeaderboardCmd) Help() string {
	return "Reads records of ravn, ScandEval from version 9 on and EuroEval, old and new, together. A model whose base is known (ravn eval and runs\nrecord it) is shown with its difference from it, and said to be worse, above the table, where it is told apart as worse.\n\nExamples:\n  ravn leaderboard runs/quickstart --published\n  ravn leaderboard records.jsonl scandeval_benchmark_results.jsonl --format html --out board.html"
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
	o := leaderboard.Options{Compatible: c.Compatible, Bases: c.Base}
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
	case c.Format == "html":
		text, err = web.Leaderboard(t, web.BoardOptions{Title: c.Title, Version: run.Version()})
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
