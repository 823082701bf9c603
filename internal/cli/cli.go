// Package cli is ravn's command line: one file a command, parsing here and doing elsewhere.
package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/alecthomas/kong"

	"ravn/eval/endpoint"
	"ravn/internal/progress"
	"ravn/kernel"
	"ravn/release"
	"ravn/train"
)

// Exit codes of every command.
const (
	ExitDone   = 0
	ExitFailed = 1
	ExitUsage  = 2 // wrong use: flags, arguments, a recipe that cannot be read
	ExitGate   = 3 // a gate or guard said no
)

// Streams are where a command reads and writes. Results go to Out; progress and messages to Err.
type Streams struct {
	In  io.Reader
	Out io.Writer
	Err io.Writer
}

// Progress reports to Err.
func (s *Streams) Progress() *progress.Reporter { return progress.New(s.Err) }

// JSON writes v to Out, indented, one value.
func (s *Streams) JSON(v any) error {
	enc := json.NewEncoder(s.Out)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}

// Commands is the whole of the command line.
type Commands struct {
	Quickstart  QuickstartCmd  `cmd:"" help:"The whole way on built-in Danish and English texts: about two minutes on two cores, no network."`
	Run         RunCmd         `cmd:"" help:"The whole way on your recipe; a stage whose inputs have not changed is skipped."`
	Plan        PlanCmd        `cmd:"" help:"What a recipe will cost, and whether its result could be released, before it starts."`
	Corpus      CorpusCmd      `cmd:"" help:"Documents in, kept documents and a ledger out."`
	Rights      RightsCmd      `cmd:"" help:"The register of sources, licence claims and agreements; what a recipe may become."`
	Tokenizer   TokenizerCmd   `cmd:"" help:"Train, encode, decode, statistics."`
	Train       TrainCmd       `cmd:"" help:"Only the training of a recipe (and what it needs); resumes by itself."`
	Generate    GenerateCmd    `cmd:"" help:"Text from a model."`
	Score       ScoreCmd       `cmd:"" help:"Nats and bits per byte of given texts, continuations or token ids."`
	Eval        EvalCmd        `cmd:"" help:"Measure models on data sets."`
	Merge       MergeCmd       `cmd:"" help:"One model of several: averages of checkpoints, a result on the way back to its base."`
	Compare     CompareCmd     `cmd:"" help:"Runs beside each other: curves, and which differences are resolved."`
	Sweep       SweepCmd       `cmd:"" help:"A recipe again and again with fields changed; one table and one drawing at the end."`
	Leaderboard LeaderboardCmd `cmd:"" help:"Records in, a table with intervals out."`
	Release     ReleaseCmd     `cmd:"" help:"Gate, model card, weights and checksums of a finished run."`
	Convert     ConvertCmd     `cmd:"" help:"Between Hugging Face folders and GGUF files, and between number formats."`
	Pull        PullCmd        `cmd:"" help:"A model or data set from a Hugging Face hub: checked, and going on where it was cut off."`
	Serve       ServeCmd       `cmd:"" help:"OpenAI's HTTP interface to a model, and a page to try it; or the live page of a run."`
	Trace       TraceCmd       `cmd:"" help:"Which documents and licences a training step saw, and which steps saw a document, source, licence or agreement."`
	Launch      LaunchCmd      `cmd:"" help:"Job files for clusters: Slurm, Kubernetes."`
	Bench       BenchCmd       `cmd:"" help:"How fast this machine multiplies, reads, tokenises, trains and generates."`
	PullPlugin  PullPluginCmd  `cmd:"" name:"pull-plugin" help:"The library through which --engine xla drives GPUs: fetched, checked, and where it was put."`
	Doctor      DoctorCmd      `cmd:"" help:"What this machine has, what is missing, what to do."`
	Version     VersionCmd     `cmd:"" help:"The version of ravn."`
}

// usageError marks what the user has to write differently: exit code 2.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

// exited carries kong's wish to end (after --help).
type exited int

// Main runs one command line and returns the exit code.
func Main(ctx context.Context, args []string, s Streams) (code int) {
	defer func() {
		if r := recover(); r != nil {
			e, ok := r.(exited)
			if !ok {
				panic(r)
			}
			code = int(e)
		}
	}()
	var c Commands
	parser, err := newParser(&c, s)
	if err != nil {
		panic(err)
	}
	if len(args) == 0 {
		args = []string{"--help"}
	}
	k, err := parser.Parse(args)
	if err != nil {
		fmt.Fprintf(s.Err, "ravn: %v (ravn --help lists the commands)\n", err)
		return ExitUsage
	}
	if err := kernel.Check(); err != nil {
		fmt.Fprintf(s.Err, "ravn: %v\n", err)
		return ExitUsage
	}
	k.BindTo(ctx, (*context.Context)(nil))
	k.Bind(&s)
	if err := k.Run(); err != nil {
		fmt.Fprintf(s.Err, "ravn: %v\n", err)
		return exitCode(err)
	}
	return ExitDone
}

// newParser makes the command line's parser; a wish to end comes as a panic of type exited.
func newParser(c *Commands, s Streams) (*kong.Kong, error) {
	return kong.New(c,
		kong.Name("ravn"),
		kong.Description("A better language model for a small language: trained in the open, measured honestly, released lawfully."),
		kong.Writers(s.Out, s.Err),
		kong.Exit(func(code int) { panic(exited(code)) }),
		kong.UsageOnError(),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, Summary: true}),
	)
}

func exitCode(err error) int {
	var refused *release.Refused
	var usage usageError
	var breached *train.Breached
	var cost *endpoint.CostError
	switch {
	case errors.As(err, &refused), errors.As(err, &breached), errors.As(err, &cost):
		return ExitGate
	case errors.As(err, &usage):
		return ExitUsage
	}
	return ExitFailed
}
