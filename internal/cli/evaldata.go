package cli

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"

	"ravn/eval/task"
	"ravn/hub"
	"ravn/internal/atomicfile"
)

// EvalDataCmd is about the data that models are measured on.
type EvalDataCmd struct {
	List  EvalDataListCmd  `cmd:"" help:"The data sets that are known, with task, licence, and where they are."`
	Check EvalDataCheckCmd `cmd:"" help:"Read data sets, count their rows, look for what a score would suffer from."`
	Pull  EvalDataPullCmd  `cmd:"" help:"Fetch data sets whose source is on a Hugging Face hub."`
	Scala EvalDataScalaCmd `cmd:"" help:"Make acceptability data (ScaLA) of a Universal Dependencies treebank."`
}

// foundSet is a folder of a data set.
type foundSet struct {
	dir  string
	spec task.Spec
	err  error // the description cannot be read
}

// findDatasets lists the folders that are data sets, those that are known by name and those that bring a description.
func findDatasets(dirs []string) ([]foundSet, error) {
	var out []foundSet
	for _, dir := range dirs {
		entries, err := os.ReadDir(dir)
		if err != nil {
			return nil, usageError{fmt.Errorf("eval: %w (--data-dir names a folder of data sets)", err)}
		}
		for _, e := range entries {
			path := filepath.Join(dir, e.Name())
			if info, err := os.Stat(path); err != nil || !info.IsDir() {
				continue
			}
			_, described := task.LookupSpec(e.Name())
			if _, err := os.Stat(filepath.Join(path, "dataset.yaml")); err == nil {
				described = true
			}
			if !described {
				continue
			}
			spec, err := task.FolderSpec(path)
			out = append(out, foundSet{path, spec, err})
		}
	}
	return out, nil
}

// EvalDataListCmd lists data sets.
type EvalDataListCmd struct {
	DataDir   []string `env:"RAVN_EVAL_DATA" help:"Folders of data sets, each in a folder of its name."`
	Benchmark string   `help:"Only those of a list: scandeval-2024 or euroeval."`
	JSON      bool     `name:"json" help:"As JSON."`
}

// Help is shown under --help.
func (c *EvalDataListCmd) Help() string {
	return `No rows come with ravn. A data set is here when a --data-dir holds a folder of its name; ravn eval data pull gets those whose
source begins with "hub:". Your own is a folder with dataset.yaml (docs/design/evaluation.md) and train, val and test as .jsonl or .parquet.

Example:
  ravn eval data list --data-dir eval-data`
}

type listedSet struct {
	Name      string   `json:"name"`
	Task      string   `json:"task"`
	Languages []string `json:"languages"`
	License   string   `json:"license"`
	Source    string   `json:"source"`
	Benchmark []string `json:"benchmark,omitempty"`
	StandsFor string   `json:"stands_for,omitempty"`
	Path      string   `json:"path,omitempty"` // "" where it is not here
	Problem   string   `json:"problem,omitempty"`
}

// Run lists what is known and what is here.
func (c *EvalDataListCmd) Run(s *Streams) error {
	found, err := findDatasets(c.DataDir)
	if err != nil {
		return err
	}
	var list []listedSet
	add := func(spec task.Spec, path, problem string) {
		if c.Benchmark == "" || slices.Contains(spec.Benchmark, c.Benchmark) {
			list = append(list, listedSet{spec.Name, spec.Task, spec.Languages, cmp.Or(spec.License, "unknown"), spec.Source, spec.Benchmark, spec.StandsFor, path, problem})
		}
	}
	here := map[string]bool{}
	for _, f := range found {
		problem := ""
		if f.err != nil {
			problem, f.spec.Name = f.err.Error(), filepath.Base(f.dir)
		}
		here[f.spec.Name] = true
		add(f.spec, f.dir, problem)
	}
	for _, name := range task.SpecNames() {
		if spec, _ := task.LookupSpec(name); !here[name] {
			add(spec, "", "")
		}
	}
	slices.SortFunc(list, func(a, b listedSet) int {
		return cmp.Or(strings.Compare(strings.Join(a.Languages, "+"), strings.Join(b.Languages, "+")), strings.Compare(a.Task, b.Task), strings.Compare(a.Name, b.Name))
	})
	if c.JSON {
		return s.JSON(list)
	}
	w := tabwriter.NewWriter(s.Out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "data set\tlanguages\ttask\tlicence\there\tsource")
	n := 0
	for _, l := range list {
		where := cmp.Or(l.Problem, l.Path, "–")
		if l.Path != "" {
			n++
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", l.Name, strings.Join(l.Languages, "+"), l.Task, l.License, where, l.Source)
	}
	w.Flush()
	fmt.Fprintf(s.Out, "%d data sets, %d of them here\n", len(list), n)
	return nil
}

// EvalDataCheckCmd reads data sets.
type EvalDataCheckCmd struct {
	Data    []string `arg:"" optional:"" help:"Folders of data sets; without them all of the --data-dir."`
	DataDir []string `env:"RAVN_EVAL_DATA" help:"Folders of data sets, each in a folder of its name."`
	JSON    bool     `name:"json" help:"As JSON."`
}

// Help is shown under --help.
func (c *EvalDataCheckCmd) Help() string {
	return `Rows that cannot be read are errors, with file and line. Repeated rows, rows of the test split among the examples, row counts other
than described and labels that are missing are warnings.

Example:
  ravn eval data check --data-dir eval-data`
}

type checkedSet struct {
	Path     string         `json:"path"`
	Name     string         `json:"name,omitempty"`
	License  string         `json:"license,omitempty"`
	Rows     map[string]int `json:"rows,omitempty"`
	Labels   map[string]int `json:"labels,omitempty"` // of the test split
	Hash     string         `json:"hash,omitempty"`
	Warnings []string       `json:"warnings,omitempty"`
	Error    string         `json:"error,omitempty"`
}

// Run checks every data set and fails when one cannot be read.
func (c *EvalDataCheckCmd) Run(s *Streams) error {
	paths := c.Data
	if len(paths) == 0 {
		found, err := findDatasets(c.DataDir)
		if err != nil {
			return err
		}
		for _, f := range found {
			paths = append(paths, f.dir)
		}
	}
	if len(paths) == 0 {
		return usageError{errors.New("eval: no data set to check (name folders, or --data-dir)")}
	}
	var list []checkedSet
	bad := 0
	for _, path := range paths {
		set, err := checkSet(path)
		if err != nil {
			bad++
			set.Error = err.Error()
		}
		list = append(list, set)
	}
	if c.JSON {
		if err := s.JSON(list); err != nil {
			return err
		}
	} else {
		for i := range list {
			list[i].write(s.Out)
		}
	}
	if bad > 0 {
		return fmt.Errorf("eval: %d of %d data sets cannot be read", bad, len(list))
	}
	return nil
}

// checkSet reads a data set and counts what is in it.
func checkSet(path string) (checkedSet, error) {
	set := checkedSet{Path: path}
	d, err := task.LoadDataset(path)
	if err != nil {
		return set, err
	}
	set.Name, set.License, set.Hash, set.Warnings = d.Name, cmp.Or(d.License, "unknown"), d.Hash(), d.Remarks()
	set.Rows = map[string]int{"train": len(d.Train), "val": len(d.Val), "test": len(d.Test)}
	for i := range d.Test {
		if label := d.Test[i].Label; label != "" {
			if set.Labels == nil {
				set.Labels = map[string]int{}
			}
			set.Labels[label]++
		}
	}
	return set, nil
}

func (x *checkedSet) write(out io.Writer) {
	if x.Error != "" {
		fmt.Fprintf(out, "%s: %s\n", x.Path, x.Error)
		return
	}
	fmt.Fprintf(out, "%s: %d train, %d val, %d test rows, licence %s", x.Name, x.Rows["train"], x.Rows["val"], x.Rows["test"], x.License)
	var labels []string
	for l, n := range x.Labels {
		labels = append(labels, fmt.Sprintf("%s %d", l, n))
	}
	if slices.Sort(labels); len(labels) > 0 {
		fmt.Fprintf(out, " (%s)", strings.Join(labels, ", "))
	}
	fmt.Fprintln(out)
	for _, w := range x.Warnings {
		fmt.Fprintf(out, "  warning: %s\n", w)
	}
}

// EvalDataPullCmd fetches data sets.
type EvalDataPullCmd struct {
	Names     []string `arg:"" optional:"" name:"data set" help:"Names, as ravn eval data list has them."`
	Benchmark string   `help:"All of a list: scandeval-2024 or euroeval."`
	DataDir   string   `required:"" env:"RAVN_EVAL_DATA" help:"Folder that gets a folder for each."`
	Revision  string   `default:"main" help:"Branch, tag or commit on the hub."`
	JSON      bool     `name:"json" help:"As JSON."`
}

// Help is shown under --help.
func (c *EvalDataPullCmd) Help() string {
	return `Only the files of the splits are fetched, checked against the hub's hashes, and read. HF_ENDPOINT and HF_TOKEN as for ravn pull. What is
there already is not fetched again. A licence that is not stated is said: look at the source before rows are passed on.

Examples:
  ravn eval data pull scala-da norquad --data-dir eval-data
  ravn eval data pull --benchmark scandeval-2024 --data-dir eval-data`
}

// Run fetches and reads each; one that fails does not keep the others back.
func (c *EvalDataPullCmd) Run(ctx context.Context, s *Streams) error {
	specs, err := c.specs(s)
	if err != nil {
		return err
	}
	o := hubOptions()
	o.Dataset, o.Revision = true, c.Revision
	if err := o.Validate(); err != nil {
		return usageError{err}
	}
	list := []checkedSet{}
	var errs []error
	for i := range specs {
		set, err := pullSet(ctx, s, filepath.Join(c.DataDir, specs[i].Name), &specs[i], o)
		if ctx.Err() != nil {
			return err
		}
		if err != nil {
			errs = append(errs, err)
			set.Error = err.Error()
		}
		if list = append(list, set); !c.JSON && err == nil {
			set.write(s.Out)
		}
	}
	if c.JSON {
		if err := s.JSON(list); err != nil {
			return err
		}
	}
	return errors.Join(errs...)
}

// specs are the descriptions that were asked for, all of them on a hub.
func (c *EvalDataPullCmd) specs(s *Streams) ([]task.Spec, error) {
	names := slices.Clone(c.Names)
	var specs []task.Spec
	var errs []error
	for _, name := range task.SpecNames() {
		spec, _ := task.LookupSpec(name)
		if c.Benchmark == "" || !slices.Contains(spec.Benchmark, c.Benchmark) || slices.Contains(names, name) {
			continue
		}
		if !strings.HasPrefix(spec.Source, "hub:") {
			fmt.Fprintf(s.Err, "eval: %s is not on a hub: %s\n", name, spec.Source)
			continue
		}
		names = append(names, name)
	}
	for _, name := range names {
		spec, ok := task.LookupSpec(name)
		switch {
		case !ok:
			errs = append(errs, fmt.Errorf("eval: no data set is called %q (ravn eval data list)", name))
		case !strings.HasPrefix(spec.Source, "hub:"):
			errs = append(errs, fmt.Errorf("eval: %s is not on a hub: %s", name, spec.Source))
		}
		specs = append(specs, spec)
	}
	if len(names) == 0 {
		errs = append(errs, errors.New("eval: no data set to fetch (name some, or a --benchmark)"))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, usageError{err}
	}
	return specs, nil
}

func pullSet(ctx context.Context, s *Streams, dir string, spec *task.Spec, o hub.Options) (checkedSet, error) {
	for _, split := range []string{"train", "val", "test"} {
		name := cmp.Or(spec.Splits[split], split)
		o.Include = append(o.Include, name+".jsonl*", name+".parquet", "data/"+name+"-*.parquet", "data/"+name+".parquet", "data/"+name+".jsonl")
	}
	if _, err := pull(ctx, s, strings.TrimPrefix(spec.Source, "hub:"), dir, o); err != nil {
		return checkedSet{Path: dir}, err
	}
	return checkSet(dir)
}

// EvalDataScalaCmd makes ScaLA.
type EvalDataScalaCmd struct {
	Treebank string `arg:"" help:"Folder of a treebank, or one of its .conllu files."`
	Out      string `required:"" help:"Folder of the data set."`
	Language string `help:"da, nb, nn, sv or en: whose prompt is used. Without it the beginning of the files' names says (da_ddt-ud-train.conllu)."`
	Name     string `help:"Of the data set; without it that of the folder."`
	License  string `default:"unknown" help:"Of the treebank: its sentences keep it."`
	Seed     uint64 `default:"4242" help:"Of the draws and the corruption."`
	Val      int    `default:"128" help:"Sentences of the val split; each is also there corrupted."`
	Test     int    `default:"1024" help:"Sentences of the test split."`
	Train    int    `default:"512" help:"Sentences of the train split, where examples come from."`
	JSON     bool   `name:"json" help:"Print the report as JSON."`
}

// Help is shown under --help.
func (c *EvalDataScalaCmd) Help() string {
	return `Sentences that ScaLA keeps, half of them with a word deleted or two neighbours swapped, by the rules of Nielsen 2023. The same seed
gives the same rows; ScandEval's own corruption is unseeded, so these are other rows than those on the hub.

Example:
  ravn eval data scala UD_Danish-DDT --license CC-BY-SA-4.0 --out eval-data/scala-da`
}

// Run builds the folder.
func (c *EvalDataScalaCmd) Run(s *Streams) error {
	files, err := conlluFiles(c.Treebank)
	if err != nil {
		return err
	}
	language := c.Language
	if language == "" {
		language, _, _ = strings.Cut(filepath.Base(files[0]), "_")
		if language == "no" && strings.Contains(filepath.Base(files[0]), "nynorsk") {
			language = "nn"
		}
		if language == "no" {
			language = "nb"
		}
	}
	rep, err := task.BuildScaLA(c.Out, files, task.ScaLAOptions{
		Name: cmp.Or(c.Name, filepath.Base(filepath.Clean(c.Out))), Language: language, License: c.License, Source: filepath.Base(filepath.Clean(c.Treebank)),
		Seed: c.Seed, Val: c.Val, Test: c.Test, Train: c.Train,
	})
	if err != nil {
		return err
	}
	if c.JSON {
		return s.JSON(rep)
	}
	fmt.Fprintf(s.Out, "%d sentences, %d usable; rows: %d train, %d val, %d test; %d deletions, %d swaps\n",
		rep.Sentences, rep.Usable, rep.Rows["train"], rep.Rows["val"], rep.Rows["test"], rep.Corrupted["delete"], rep.Corrupted["flip_neighbours"])
	var reasons []string
	for why, n := range rep.Dropped {
		reasons = append(reasons, fmt.Sprintf("  left out: %d, %s", n, why))
	}
	slices.Sort(reasons)
	for _, r := range reasons {
		fmt.Fprintln(s.Out, r)
	}
	return nil
}

// conlluFiles lists a treebank's files as ScaLA reads them: train, dev, test.
func conlluFiles(path string) ([]string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, usageError{fmt.Errorf("eval: %w", err)}
	}
	if !info.IsDir() {
		return []string{path}, nil
	}
	files, err := filepath.Glob(filepath.Join(path, "*.conllu"))
	if err != nil || len(files) == 0 {
		return nil, usageError{fmt.Errorf("eval: no .conllu files in %s", path)}
	}
	place := func(f string) int {
		return slices.IndexFunc([]string{"train", "dev", "test"}, func(split string) bool { return strings.Contains(filepath.Base(f), split) })
	}
	slices.SortStableFunc(files, func(a, b string) int { return place(a) - place(b) })
	return files, nil
}

func writeJSONFile(path string, v any) error {
	data, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return atomicfile.WriteFile(path, append(data, '\n'))
}
