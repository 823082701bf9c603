package cli

import (
	"errors"
	"io"

	"ravn/workflow"
)

// TraceCmd says what was trained on when.
type TraceCmd struct {
	Dir       string `arg:"" name:"run" type:"existingdir" help:"Run folder."`
	Step      int    `help:"What this step read; 1 is the first."`
	Document  string `help:"When this document was read (ID, or SECTION/ID)."`
	Source    string `help:"When this section, or source of the register, was read."`
	License   string `help:"When text under this licence was read, as stated or as decided."`
	Agreement string `help:"When text under this agreement of the register was read."`
	From      int    `default:"-1" help:"With --to: what was read after this checkpoint; 0 is the beginning."`
	To        int    `help:"With --from: up to this checkpoint."`
	Spikes    bool   `help:"Steps whose loss stands out, and what they read."`
	Phase     string `enum:"continued,base" default:"continued" help:"Training phase: continued or base."`
	Tokens    bool   `help:"With --step: also the token ids and the text of every span."`
	JSON      bool   `name:"json" help:"As JSON."`
}

// Help is shown under --help.
func (c *TraceCmd) Help() string {
	return `The answer is reckoned from the seed, the mixture and the shards; the first question writes an index of names, RUN/trace/documents.idx.

Examples:
  ravn trace runs/quickstart --step 12
  ravn trace runs/quickstart --document da-natur/da-natur_ugler
  ravn trace runs/quickstart --license CC-BY-4.0
  ravn trace runs/quickstart --from 0 --to 120`
}

// Run asks the order of the run.
func (c *TraceCmd) Run(s *Streams) error {
	questions := 0
	for _, asked := range []bool{c.Step != 0, c.Document != "", c.Source != "", c.License != "", c.Agreement != "", c.From >= 0 || c.To != 0, c.Spikes} {
		if asked {
			questions++
		}
	}
	if questions != 1 || (c.From >= 0) != (c.To != 0) {
		return usageError{errors.New("trace: ask one of --step, --document, --source, --license, --agreement, --from with --to, --spikes")}
	}
	tr, err := workflow.OpenTrace(c.Dir, c.Phase)
	if err != nil {
		return err
	}
	defer tr.Close()
	answer, err := c.ask(tr)
	if err != nil {
		return err
	}
	if c.JSON {
		return s.JSON(answer)
	}
	if spikes, ok := answer.([]workflow.SpikeTrace); ok {
		workflow.WriteSpikes(s.Out, spikes)
		return nil
	}
	answer.(interface{ Write(w io.Writer) }).Write(s.Out)
	return nil
}

func (c *TraceCmd) ask(tr *workflow.Trace) (any, error) {
	switch {
	case c.Step != 0:
		return tr.Step(c.Step, c.Tokens)
	case c.Document != "":
		return tr.Document(c.Document)
	case c.To != 0:
		return tr.Difference(c.From, c.To)
	case c.Spikes:
		return tr.Spikes()
	}
	return tr.Usage(workflow.Selection{Source: c.Source, License: c.License, Agreement: c.Agreement})
}
