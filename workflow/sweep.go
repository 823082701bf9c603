package workflow

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"

	"github.com/goccy/go-yaml"

	"ravn/internal/atomicfile"
	"ravn/recipe"
	"ravn/run"
	"ravn/stats"
	"ravn/train"
	"ravn/web"
)

// SweepFile is SWEEP.yaml: a recipe and what is changed in it, run after run.
type SweepFile struct {
	Name     string           `yaml:"name"`
	Note     string           `yaml:"note"`
	Recipe   string           `yaml:"recipe"`   // relative to the sweep's folder
	Until    string           `yaml:"until"`    // last stage of each run; default train
	Parallel int              `yaml:"parallel"` // runs at once, the threads parted among them; default 1
	Set      map[string]any   `yaml:"set"`      // field → value, in every run: "train.steps: 200"
	Grid     map[string][]any `yaml:"grid"`     // field → values; every combination is a run
	Runs     []SweepRun       `yaml:"runs"`     // or a list; with a grid, every combination of each of these

	path string
}

// SweepRun is one line of a list.
type SweepRun struct {
	Name string         `yaml:"name"`
	Set  map[string]any `yaml:"set"`
}

// ReadSweep reads a sweep file strictly.
func ReadSweep(path string) (*SweepFile, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("workflow: %w", err)
	}
	s := &SweepFile{path: path}
	if err := yaml.UnmarshalWithOptions(data, s, yaml.Strict()); err != nil {
		return nil, fmt.Errorf("workflow: %s: %s", path, yaml.FormatError(err, false, false))
	}
	s.Until = cmp.Or(s.Until, "train")
	s.Parallel = cmp.Or(s.Parallel, 1)
	var errs []error
	if s.Name == "" || s.Recipe == "" {
		errs = append(errs, errors.New("name and recipe are needed"))
	}
	if !slices.Contains(Stages(), s.Until) {
		errs = append(errs, fmt.Errorf("until: no stage %q (there are: %s)", s.Until, strings.Join(Stages(), ", ")))
	}
	if s.Parallel < 1 {
		errs = append(errs, fmt.Errorf("parallel %d must be positive", s.Parallel))
	}
	if len(s.Grid)+len(s.Runs) == 0 {
		errs = append(errs, errors.New("grid and runs are both empty, so there is nothing to sweep over"))
	}
	for _, field := range sortedKeys(s.Grid) {
		if len(s.Grid[field]) == 0 {
			errs = append(errs, fmt.Errorf("grid: %s has no values", field))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return nil, fmt.Errorf("workflow: %s: %w", path, err)
	}
	return s, nil
}

// sweptRun is one combination.
type sweptRun struct {
	name   string
	set    map[string]any
	recipe *recipe.Recipe
}

// expand makes the recipes of all combinations, in order: the list, and within it the grid's fields by name.
func (s *SweepFile) expand() ([]sweptRun, error) {
	lines := s.Runs
	if len(lines) == 0 {
		lines = []SweepRun{{}}
	}
	fields := sortedKeys(s.Grid)
	var all []sweptRun
	for i, line := range lines {
		combos := []sweptRun{{name: line.Name, set: map[string]any{}}}
		if line.Name == "" && len(s.Runs) > 0 {
			return nil, fmt.Errorf("workflow: %s: runs[%d] has no name", s.path, i)
		}
		for _, field := range fields {
			var next []sweptRun
			for _, c := range combos {
				for _, v := range s.Grid[field] {
					set := map[string]any{field: v}
					for k, x := range c.set {
						set[k] = x
					}
					last := field[strings.LastIndexByte(field, '.')+1:]
					name := fmt.Sprintf("%s-%v", last, v)
					if _, scalar := v.(map[string]any); scalar || strings.ContainsAny(name, "[]{} /") {
						name = fmt.Sprintf("%s-%d", last, slices.IndexFunc(s.Grid[field], func(x any) bool { return fmt.Sprint(x) == fmt.Sprint(v) })+1)
					}
					if c.name != "" {
						name = c.name + "_" + name
					}
					next = append(next, sweptRun{name: name, set: set})
				}
			}
			combos = next
		}
		for _, c := range combos {
			for k, v := range line.Set {
				if _, twice := c.set[k]; twice {
					return nil, fmt.Errorf("workflow: %s: %s is set in run %s and in the grid", s.path, k, line.Name)
				}
				c.set[k] = v
			}
			var err error
			if c.recipe, err = s.recipeOf(c); err != nil {
				return nil, err
			}
			if slices.ContainsFunc(all, func(x sweptRun) bool { return x.name == c.name }) {
				return nil, fmt.Errorf("workflow: %s: two runs are called %s", s.path, c.name)
			}
			all = append(all, c)
		}
	}
	return all, nil
}

func (s *SweepFile) recipeOf(c sweptRun) (*recipe.Recipe, error) {
	path := filepath.Join(filepath.Dir(s.path), filepath.FromSlash(s.Recipe))
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("workflow: %w", err)
	}
	var tree map[string]any
	if err := yaml.Unmarshal(data, &tree); err != nil {
		return nil, fmt.Errorf("workflow: %s: %s", path, yaml.FormatError(err, false, false))
	}
	sets := []map[string]any{s.Set, c.set, {"name": c.name}}
	for _, set := range sets {
		for _, field := range sortedKeys(set) {
			if err := setField(tree, strings.Split(field, "."), set[field]); err != nil {
				return nil, fmt.Errorf("workflow: %s: run %s: %s: %w", s.path, c.name, field, err)
			}
		}
	}
	out, err := yaml.Marshal(tree)
	if err != nil {
		return nil, fmt.Errorf("workflow: %w", err)
	}
	r, err := recipe.Parse(out, path)
	if err != nil {
		return nil, fmt.Errorf("workflow: %s: run %s: %w", s.path, c.name, err)
	}
	return r, nil
}

// setField puts a value at a path of keys; null takes the field away.
func setField(tree map[string]any, path []string, value any) error {
	for i, key := range path[:len(path)-1] {
		inner, ok := tree[key].(map[string]any)
		if !ok {
			if tree[key] != nil {
				return fmt.Errorf("%s has no fields", strings.Join(path[:i+1], "."))
			}
			inner = map[string]any{}
			tree[key] = inner
		}
		tree = inner
	}
	last := path[len(path)-1]
	if value == nil {
		delete(tree, last)
		return nil
	}
	tree[last] = value
	return nil
}

// SweepResult is what a sweep has found: sweep.json.
type SweepResult struct {
	Name  string       `json:"name"`
	Note  string       `json:"note,omitempty"`
	Runs  []SweptRun   `json:"runs"`
	Seeds []SweptGroup `json:"seeds,omitempty"` // runs that differ in their seed alone, put together
}

// SweptRun is one run's row. Changes are of bits per byte against the run's own base, relative, paired by document.
type SweptRun struct {
	Name     string         `json:"name"`
	Set      map[string]any `json:"set"`
	State    string         `json:"state"`
	Steps    int            `json:"steps"`
	Seconds  float64        `json:"seconds"` // of training, in the call that ended it
	Target   stats.Estimate `json:"target"`  // mean over the target languages
	Retained stats.Estimate `json:"retained"`
	Groups   []GroupChange  `json:"groups"`
	Front    bool           `json:"front"` // no other run is better on one side without being worse on the other
}

// SweptGroup is the mean over seeds with the lowest and highest.
type SweptGroup struct {
	Set      map[string]any `json:"set"`
	Seeds    int            `json:"seeds"`
	Target   [3]float64     `json:"target"` // mean, lowest, highest
	Retained [3]float64     `json:"retained"`
}

// RunSweep walks all runs of a sweep in out, one folder a run; what is finished is skipped, so a broken sweep goes on.
// A run that the guard stops is a result like any other. sweep.json, sweep.md, sweep.svg and index.html are left in out.
func RunSweep(ctx context.Context, s *SweepFile, out string, o Options) (*SweepResult, error) {
	runs, err := s.expand()
	if err != nil {
		return nil, err
	}
	if o.Threads == 0 {
		o.Threads = runtime.GOMAXPROCS(0)
	}
	o.Threads = max(1, o.Threads/s.Parallel)
	o.Until = s.Until
	w := &sweeper{file: s, out: out, o: o, done: map[string]string{}, states: make([]string, len(runs))}
	// The first run makes what the others take over; then as many at once as asked for.
	if err := w.run(ctx, runs, 0); err != nil {
		return nil, err
	}
	var wg sync.WaitGroup
	errs := make([]error, len(runs))
	places := make(chan struct{}, s.Parallel)
	for i := 1; i < len(runs); i++ {
		places <- struct{}{}
		if ctx.Err() != nil {
			break
		}
		wg.Add(1)
		go func() {
			defer wg.Done()
			errs[i] = w.run(ctx, runs, i)
			<-places
		}()
	}
	wg.Wait()
	if err := errors.Join(append(errs, ctx.Err())...); err != nil {
		return nil, err
	}
	return s.collect(runs, w.states, out)
}

type sweeper struct {
	file   *SweepFile
	out    string
	o      Options
	mu     sync.Mutex
	done   map[string]string // what the base depends on → folder of a run that has it
	states []string
}

func (w *sweeper) run(ctx context.Context, runs []sweptRun, i int) error {
	c := runs[i]
	dir := filepath.Join(w.out, c.name)
	key, err := recipe.Hash([]any{c.recipe.Seed, c.recipe.Data, c.recipe.Tokenizer, c.recipe.Base})
	if err != nil {
		return err
	}
	f, err := Open(c.recipe, dir, w.o)
	if err != nil {
		return err
	}
	defer f.Close()
	w.mu.Lock()
	donor, first := w.done[key], w.done[""]
	w.mu.Unlock()
	stages := []string{"corpus", "tokenizer", "shards", "base"}
	if donor == "" {
		donor, stages = first, stages[:3]
	}
	if donor != "" {
		from, err := run.Open(donor)
		if err != nil {
			return err
		}
		if err := f.Folder.Adopt(from, stages...); err != nil {
			return err
		}
	}
	w.o.Progress.Logf("sweep %s: run %d of %d, %s", w.file.Name, i+1, len(runs), c.name)
	err = f.Run(ctx)
	var breached *train.Breached
	var diverged *train.Diverged
	switch {
	case errors.As(err, &breached):
		w.states[i] = fmt.Sprintf("stopped by the guard at step %d", breached.Step)
	case errors.As(err, &diverged):
		w.states[i] = fmt.Sprintf("diverged at step %d", diverged.Step)
	case err != nil && !IsRefusal(err):
		return fmt.Errorf("sweep %s: run %s: %w", w.file.Name, c.name, err)
	default:
		w.states[i] = "finished"
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.done[key] = dir
	w.done[""] = cmp.Or(w.done[""], dir)
	return nil
}

// collect reads what the runs have left and writes the sweep's table, drawing and page.
func (s *SweepFile) collect(runs []sweptRun, states []string, out string) (*SweepResult, error) {
	res := &SweepResult{Name: s.Name, Note: s.Note}
	for i, c := range runs {
		dir := filepath.Join(out, c.name)
		scores, err := train.ReadScores(dir)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return nil, err
		}
		r := SweptRun{Name: c.name, Set: c.set, State: states[i]}
		own := make([]float64, len(scores))
		for k, x := range scores {
			own[k], r.Steps = x.Base, x.Step
		}
		r.Groups = groupChanges(scores, own)
		roles := (&Flow{Recipe: c.recipe}).languageRoles()
		var target, retained []stats.Estimate
		for _, g := range languagesOf(r.Groups) {
			guard := c.recipe.Train.Guard
			switch {
			case roles[g.Group] == "target":
				target = append(target, g.Change)
			case guard == nil:
				retained = append(retained, g.Change)
			default:
				if _, ok := guard.Retain[g.Group]; ok {
					retained = append(retained, g.Change)
				}
			}
		}
		r.Target, r.Retained = stats.MeanOf(target), stats.MeanOf(retained)
		r.Seconds = trainedSeconds(dir)
		res.Runs = append(res.Runs, r)
	}
	res.front()
	res.seeds()
	if err := writeJSON(filepath.Join(out, "sweep.json"), res); err != nil {
		return nil, err
	}
	var md strings.Builder
	res.Markdown(&md)
	if err := atomicfile.WriteFile(filepath.Join(out, "sweep.md"), []byte(md.String())); err != nil {
		return nil, err
	}
	plot := res.plot()
	if err := atomicfile.WriteFile(filepath.Join(out, "sweep.svg"), plot.File()); err != nil {
		return nil, err
	}
	page := web.Overview{
		Title: "Sweep " + s.Name, Note: s.Note, Drawings: []web.Drawing{{Title: plot.Title, SVG: plot.SVG("pareto")}},
		Tables: []web.Table{res.table()}, Version: run.Version(), Notes: []string{"Changes are of bits per byte on held-out text against each run's own base, relative, paired by document, 95 % intervals; negative is better"},
	}
	html, err := page.HTML()
	if err != nil {
		return nil, err
	}
	return res, atomicfile.WriteFile(filepath.Join(out, "index.html"), html)
}

// trainedSeconds is how long the steps of a run took, over all its calls.
func trainedSeconds(dir string) float64 {
	events, err := run.ReadEvents(filepath.Join(dir, "timings.jsonl"))
	if err != nil {
		return 0
	}
	sum := 0.0
	for _, e := range events {
		if e.Kind == "step" || e.Kind == "checkpoint" {
			x, _ := e.Float("seconds")
			sum += x
		}
	}
	return sum
}

// front marks the runs that no other run beats on both sides.
func (r *SweepResult) front() {
	for i := range r.Runs {
		a := &r.Runs[i]
		a.Front = !math.IsNaN(a.Target.Value) && !math.IsNaN(a.Retained.Value)
		for _, b := range r.Runs {
			if b.Target.Value <= a.Target.Value && b.Retained.Value <= a.Retained.Value && (b.Target.Value < a.Target.Value || b.Retained.Value < a.Retained.Value) {
				a.Front = false
			}
		}
	}
}

// seeds puts runs together that differ in their seed alone.
func (r *SweepResult) seeds() {
	var order []string
	groups := map[string][]SweptRun{}
	for _, x := range r.Runs {
		if _, ok := x.Set["seed"]; !ok {
			return
		}
		key := describeSet(x.Set, "seed")
		if groups[key] == nil {
			order = append(order, key)
		}
		groups[key] = append(groups[key], x)
	}
	for _, key := range order {
		g := groups[key]
		rest := map[string]any{}
		for k, v := range g[0].Set {
			if k != "seed" {
				rest[k] = v
			}
		}
		over := func(of func(SweptRun) float64) [3]float64 {
			sum, low, high := 0.0, math.Inf(1), math.Inf(-1)
			for _, x := range g {
				v := of(x)
				sum, low, high = sum+v, min(low, v), max(high, v)
			}
			return [3]float64{sum / float64(len(g)), low, high}
		}
		r.Seeds = append(r.Seeds, SweptGroup{
			Set: rest, Seeds: len(g), Target: over(func(x SweptRun) float64 { return x.Target.Value }), Retained: over(func(x SweptRun) float64 { return x.Retained.Value }),
		})
	}
}

func describeSet(set map[string]any, without string) string {
	var parts []string
	for _, k := range sortedKeys(set) {
		if k != without {
			parts = append(parts, fmt.Sprintf("%s=%v", k, set[k]))
		}
	}
	return strings.Join(parts, " ")
}

// plot draws what the target gains against what the retained languages lose.
func (r *SweepResult) plot() web.Scatter {
	s := web.Scatter{Title: r.Name + ": target gain against retention", X: "target languages: change of bits per byte, %", Y: "retained: change, %", Groups: []web.ScatterGroup{{Name: "on the front"}, {Name: "others"}}}
	for _, x := range r.Runs {
		if math.IsNaN(x.Target.Value) || math.IsNaN(x.Retained.Value) {
			continue
		}
		i := 1
		if x.Front {
			i = 0
		}
		s.Groups[i].Points = append(s.Groups[i].Points, web.ScatterPoint{Name: x.Name, X: x.Target.Scale(100), Y: x.Retained.Scale(100)})
	}
	return s
}

func (r *SweepResult) table() web.Table {
	t := web.Table{Caption: "Runs", Head: []string{"run", "state", "steps", "training time", "target", "retained", "by language", "front"}}
	percent := func(e stats.Estimate) string {
		if math.IsNaN(e.Value) {
			return "–"
		}
		return fmt.Sprintf("%+.2f %% [%+.2f, %+.2f]", 100*e.Value, 100*e.Low, 100*e.High)
	}
	for _, x := range r.Runs {
		var by []string
		for _, g := range languagesOf(x.Groups) {
			by = append(by, fmt.Sprintf("%s %+.2f %%", g.Group, 100*g.Change.Value))
		}
		front := ""
		if x.Front {
			front = "●"
		}
		t.Rows = append(t.Rows, []string{x.Name, x.State, fmt.Sprint(x.Steps), hours(x.Seconds / 3600), percent(x.Target), percent(x.Retained), strings.Join(by, ", "), front})
	}
	return t
}

// Markdown writes the table.
func (r *SweepResult) Markdown(w io.Writer) {
	t := r.table()
	fmt.Fprintf(w, "# Sweep %s\n\n%s\n\nChange of bits per byte on held-out text against each run's own base, paired by document, 95 %% interval; negative is better.\n\n", r.Name, r.Note)
	fmt.Fprintf(w, "| %s |\n|%s\n", strings.Join(t.Head, " | "), strings.Repeat("---|", len(t.Head)))
	for _, row := range t.Rows {
		fmt.Fprintf(w, "| %s |\n", strings.Join(row, " | "))
	}
	if len(r.Seeds) > 0 && r.Seeds[0].Seeds > 1 {
		fmt.Fprintf(w, "\n| setting | seeds | target, mean [lowest, highest] | retained |\n|---|---|---|---|\n")
		for _, g := range r.Seeds {
			fmt.Fprintf(w, "| %s | %d | %+.2f %% [%+.2f, %+.2f] | %+.2f %% [%+.2f, %+.2f] |\n", describeSet(g.Set, ""), g.Seeds,
				100*g.Target[0], 100*g.Target[1], 100*g.Target[2], 100*g.Retained[0], 100*g.Retained[1], 100*g.Retained[2])
		}
	}
}
