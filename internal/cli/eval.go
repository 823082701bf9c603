package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"

	"ravn/eval"
	"ravn/eval/task"
	"ravn/internal/progress"
	"ravn/run"
	"ravn/workflow"
)

// EvalCmd measures models, and knows the data that they are measured on.
type EvalCmd struct {
	Run  EvalRunCmd  `cmd:"" default:"withargs" help:"Measure models on data sets."`
	Data EvalDataCmd `cmd:"" help:"Data sets: which are known, which are here, what their licences are; ScaLA from a treebank."`
}

// EvalRunCmd measures models on data sets.
type EvalRunCmd struct {
	Models           []string `arg:"" name:"model" help:"Hugging Face folders or GGUF files, openai:NAME for a model behind OpenAI's interface, or \"dummy\" or \"majority\", the floors."`
	Data             []string `help:"A data set: its folder, its name in a --data-dir, or a file of held-out documents for bits per byte; may be repeated. Without it every data set of the --data-dir."`
	DataDir          []string `env:"RAVN_EVAL_DATA" help:"Folders of data sets, each in a folder of its name."`
	Language         []string `help:"Only data sets in these languages (da, nb, nn, sv, …)."`
	Task             []string `help:"Only data sets of these tasks."`
	Out              string   `default:"records.jsonl" help:"Records are kept here; answers, predictions and comparisons go beside it."`
	Mode             string   `enum:"ravn,scandeval-2024" default:"ravn" help:"ravn, or scandeval-2024: prompts and readings of ScandEval 9.1.2."`
	Repair           []string `help:"Quirks of scandeval-2024 that are not copied: trailing-space, cached-repeats, first-token, lower-case-tags, substring-spans, ids-once, rouge-letters, plain-summaries."`
	Split            string   `enum:"test,val" default:"test" help:"test or val."`
	Iterations       int      `default:"10" help:"Draws of examples (bootstrap iterations)."`
	Limit            int      `help:"Use the first rows of the split only; recorded."`
	ZeroShot         bool     `help:"Show no examples."`
	BitsPerCharacter bool     `help:"Ask for the surprise at right answers instead of for answers: says something of models that still guess. Not on the leaderboard."`
	StopWhenResolved bool     `help:"Stop asking a further model when its difference from the first is resolved; recorded."`
	Against          string   `help:"Run folder whose training text the items were looked for in: its findings are marked."`
	Fresh            bool     `help:"Ask everything anew instead of reading the answers that are kept."`
	Threads          int      `help:"Threads; 0 uses all processors. Does not change any result."`
	Engine           string   `enum:"cpu,xla,ref" default:"cpu" help:"What runs the models: cpu, xla (see ravn train --help), or ref, the slow reading copy."`
	JSON             bool     `name:"json" help:"Print records and comparisons as JSON."`

	Endpoint endpointFlags `embed:""`
}

// Help is shown under --help.
func (c *EvalRunCmd) Help() string {
	return `The first model is the base: each further model is also compared with it item by item, in pairs, and differences over several
data sets are adjusted for their number (Holm). Every answer is kept as soon as it is there: a command that was killed goes on
where it was when it is given again.

Examples:
  ravn eval runs/quickstart/base/checkpoints/step-000140 runs/quickstart/release --data runs/quickstart/material/eval/mini-scala-da
  ravn eval my-model dummy majority --data-dir eval-data --language da
  ravn eval openai:gpt-4-0613 --data shared/data/eval/scala-da --split val --prices prices.yaml --max-cost 20`
}

// Run asks every model every data set.
func (c *EvalRunCmd) Run(ctx context.Context, s *Streams) error {
	sets, err := c.datasets()
	if err != nil {
		return err
	}
	first := map[string]*task.Result{}
	var records []eval.Record
	var comparisons []modelComparison
	for k, name := range c.Models {
		m, err := c.open(ctx, s, name, sets)
		if err != nil {
			return err
		}
		var against []task.Comparison
		for _, d := range sets {
			r, err := c.evaluate(ctx, s, m, d, first[d.Name])
			if err != nil {
				return err
			}
			if k > 0 {
				cs, err := task.Compare(first[d.Name].FirstDraws(r.Record.Ravn.Iterations), r, bootstrapOptions)
				if err != nil {
					return err
				}
				task.Against(&r.Record, &first[d.Name].Record, cs)
				against = append(against, cs...)
			}
			if err := eval.PutRecord(c.Out, r.Record); err != nil {
				return err
			}
			records = append(records, r.Record)
			if !c.JSON {
				p := r.Record.Ravn
				fmt.Fprintf(s.Out, "%s  %s  %s %s\n", m.Info().Name, r.Record.Dataset, p.Primary, p.Estimates[p.Primary])
			}
			if k == 0 {
				first[d.Name] = r
			}
		}
		if l, ok := m.(*eval.Local); ok {
			if sent, computed := l.PromptTokens(); sent > 0 {
				s.Progress().Logf("%s: %s of %s prompt tokens were computed, the others in memory from a prompt that began alike", m.Info().Name, progress.Count(computed), progress.Count(sent))
			}
		}
		if closer, ok := m.(io.Closer); ok {
			closer.Close()
		}
		if k > 0 {
			task.Adjust(against)
			comparisons = append(comparisons, modelComparison{first[sets[0].Name].Record.Model, m.Info().Name, against, task.ByTask(against)})
		}
	}
	if len(comparisons) > 0 {
		if err := writeJSONFile(c.beside("-comparison.json"), comparisons); err != nil {
			return err
		}
	}
	if c.JSON {
		return s.JSON(struct {
			Records     []eval.Record     `json:"records"`
			Comparisons []modelComparison `json:"comparisons,omitempty"`
		}{records, comparisons})
	}
	for i := range comparisons {
		comparisons[i].write(s.Out)
	}
	return nil
}

// modelComparison is a model against the base.
type modelComparison struct {
	Base     string                `json:"base"`
	Model    string                `json:"model"`
	Datasets []task.Comparison     `json:"datasets"`
	Tasks    []task.TaskDifference `json:"tasks"`
}

func (m *modelComparison) write(out io.Writer) {
	fmt.Fprintf(out, "\n%s against %s, paired on the same items\n", m.Model, m.Base)
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "data set\tmetric\tbase\tresult\tdifference\tadjusted p\tdetectable\tverdict")
	for i := range m.Datasets {
		c := &m.Datasets[i]
		if c.Family == 0 { // a part, or a further metric
			continue
		}
		p := "–"
		if c.Adjusted > 0 {
			p = fmt.Sprintf("%.2g", c.Adjusted)
		}
		fmt.Fprintf(w, "%s\t%s\t%.2f\t%.2f\t%s\t%s\t%.2g\t%s\n", c.Dataset, c.Metric, c.Base, c.Result, strings.TrimSuffix(c.Difference.Difference(), " ~"), p, c.Detectable, c.Verdict)
	}
	for _, t := range m.Tasks {
		if len(t.Datasets) > 1 {
			fmt.Fprintf(w, "%s, mean of %d\t\t\t\t%s\t\t%.2g\t\n", t.Task, len(t.Datasets), t.Difference.Difference(), t.Detectable)
		}
	}
	w.Flush()
	fmt.Fprintln(out, "~ is not told apart: the true difference may be anything up to about the detectable one. p is adjusted for the number of data sets (Holm).")
}

// evaluate asks one model one data set, with the answers that are kept, and writes predictions.
func (c *EvalRunCmd) evaluate(ctx context.Context, s *Streams, m eval.Model, d *task.Dataset, base *task.Result) (*task.Result, error) {
	o := c.options()
	o.Progress = s.Progress()
	if d.Task == task.BitsPerByte {
		o.Iterations = 0
	}
	if c.Against != "" {
		o.Seen, o.SeenAgainst = workflow.SeenItems(c.Against, d)
	}
	if strings.HasPrefix(m.Info().Kind, "local") || m.Info().Kind == "endpoint" {
		file := c.beside("-answers", fileName(m.Info().Name), d.Name+".jsonl")
		if c.Fresh {
			if err := os.Remove(file); err != nil && !errors.Is(err, os.ErrNotExist) {
				return nil, err
			}
		}
		kept, err := eval.OpenCache(file, m)
		if err != nil {
			return nil, err
		}
		defer kept.Close()
		m = kept
	}
	ask := task.Evaluate
	if c.StopWhenResolved && base != nil {
		ask = func(ctx context.Context, m eval.Model, d *task.Dataset, o task.Options) (*task.Result, error) {
			return task.EvaluateUntilResolved(ctx, m, d, base, o)
		}
	}
	r, err := ask(ctx, m, d, o)
	if err != nil {
		return nil, err
	}
	file := c.beside("-predictions", fileName(m.Info().Name), d.Name+".jsonl")
	if err := eval.WritePredictions(file, r.Predictions); err != nil {
		return nil, err
	}
	if rel, err := filepath.Rel(filepath.Dir(c.Out), file); err == nil {
		file = rel
	}
	r.Record.Ravn.Predictions = filepath.ToSlash(file)
	return r, nil
}

// beside is a file or folder next to the records, named after them.
func (c *EvalRunCmd) beside(suffix string, more ...string) string {
	return filepath.Join(append([]string{strings.TrimSuffix(c.Out, filepath.Ext(c.Out)) + suffix}, more...)...)
}

// datasets are those named, or all that are in the folders of data sets, as far as language and task are asked for.
func (c *EvalRunCmd) datasets() ([]*task.Dataset, error) {
	paths := c.Data
	if len(paths) == 0 {
		found, err := findDatasets(c.DataDir)
		if err != nil {
			return nil, err
		}
		for _, f := range found {
			if f.err == nil && c.wants(f.spec.Task, f.spec.Languages) {
				paths = append(paths, f.dir)
			}
		}
	}
	var sets []*task.Dataset
	for _, path := range paths {
		for _, dir := range c.DataDir {
			if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
				path = filepath.Join(dir, path)
			}
		}
		d, err := openDataset(path)
		if err != nil {
			return nil, err
		}
		if c.wants(d.Task, d.Languages) {
			sets = append(sets, d)
		}
	}
	if len(sets) == 0 {
		return nil, usageError{errors.New("eval: no data set to measure on (name one with --data, or a folder of them with --data-dir; ravn eval data list shows which are known)")}
	}
	return sets, nil
}

func (c *EvalRunCmd) wants(name string, languages []string) bool {
	return (len(c.Task) == 0 || slices.Contains(c.Task, name)) &&
		(len(c.Language) == 0 || slices.ContainsFunc(languages, func(l string) bool { return slices.Contains(c.Language, l) }))
}

// options are what every data set is asked with.
func (c *EvalRunCmd) options() task.Options {
	return task.Options{
		Mode: c.Mode, Split: c.Split, Limit: c.Limit, Iterations: c.Iterations, Version: run.Version(),
		ZeroShot: c.ZeroShot, Repair: c.Repair, BitsPerCharacter: c.BitsPerCharacter, Bootstrap: bootstrapOptions,
	}
}

func (c *EvalRunCmd) open(ctx context.Context, s *Streams, name string, sets []*task.Dataset) (eval.Model, error) {
	if name == "dummy" {
		return eval.NewDummy(bootstrapOptions.Seed), nil
	}
	if name == "majority" {
		return &task.Majority{}, nil
	}
	if endpoint, ok := endpointName(name); ok {
		return c.Endpoint.open(ctx, s, endpoint, sets, c.options())
	}
	return eval.OpenLocal(name, eval.LocalOptions{Threads: c.Threads, Engine: c.Engine})
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
