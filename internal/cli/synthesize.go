package cli

import (
	"context"
	"fmt"

	"ravn/corpus"
	"ravn/corpus/synth"
	"ravn/internal/progress"
)

// CorpusSynthesizeCmd makes a corpus of any size, to measure what a build of that size takes.
type CorpusSynthesizeCmd struct {
	Source string  `arg:"" type:"existingpath" help:"Documents to make more of: corpus, JSON lines, Parquet, or a folder of texts."`
	Out    string  `required:"" help:"New folder: text/SECTION.jsonl and truth.jsonl, the pairs of copies."`
	MB     float64 `name:"mb" default:"1000" help:"Megabytes of text."`
	Exact  float64 `default:"0.01" help:"Share of documents with an exact copy."`
	Near   float64 `default:"0.02" help:"Share of documents with a near copy."`
	Seed   uint64  `default:"17" help:"Of the changes and the choice of copies."`
	JSON   bool    `name:"json" help:"As JSON."`
}

// Help is shown under --help.
func (c *CorpusSynthesizeCmd) Help() string {
	return `The documents again and again, in every round but the first with a third of their plain words changed for others of the same document, so that no two are copies but those in the section copies.
It is text to measure with, not to train on.

Example:
  ravn corpus synthesize runs/quickstart/corpus --out big --mb 1`
}

// Run writes.
func (c *CorpusSynthesizeCmd) Run(ctx context.Context, s *Streams) error {
	o := synth.Options{Bytes: int64(c.MB * 1e6), Exact: c.Exact, Near: c.Near, Seed: c.Seed}
	if err := o.Validate(); err != nil {
		return usageError{err}
	}
	in, err := corpus.Open(c.Source, corpus.OpenOptions{})
	if err != nil {
		return err
	}
	made, err := synth.Write(ctx, in, c.Out, o)
	if err != nil {
		return err
	}
	if c.JSON {
		return s.JSON(made)
	}
	fmt.Fprintf(s.Out, "%s: %s documents, %s bytes of text, %d exact and %d near copies\n", c.Out, progress.Count(made.Documents), progress.Count(made.Bytes), made.Exact, made.Near)
	return nil
}
