package workflow

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
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
	Name   string         `yaml:"name"`
	Series string         `yaml:"series"` // runs of a series differ in the size of their base, and are drawn against it
	Set    map[string]any `yaml:"set"`
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
	row    string // the name without the seed: runs of one row differ in their seed alone
	series string
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
		combos := []sweptRun{{name: line.Name, row: line.Name, set: map[string]any{}}}
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
					row := c.row
					if field != "seed" {
						row = joined(c.row, name)
					}
					next = append(next, sweptRun{name: joined(c.name, name), row: row, set: set})
				}
			}
			combos = next
		}
		for _, c := range combos {
			c.series = line.Series
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

func joined(before, name string) string {
	if before == "" {
		return name
	}
	return before + "_" + name
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
		return nil, fmt.Errorf("workflow: %s: run %s, lines being those of the recipe with its changes: %w", s.path, c.name, err)
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
	// Scaling is a fit over the sizes of the bases for each series that the sweep names.
	Scaling []Scaling `json:"scaling,omitempty"`
}

// SweptRun is one run's row. Changes are of bits per byte against the run's own base, relative, paired by document.
type SweptRun struct {
	Name     string         `json:"name"`
	Row      string         `json:"row,omitempty"` // its name without the seed
	Series   string         `json:"series,omitempty"`
	Set      map[string]any `json:"set"`
	State    string         `json:"state"`
	Steps    int            `json:"steps"`
	Seconds  float64        `json:"seconds"` // of training, in the call that ended it
	Target   stats.Estimate `json:"target"`  // mean over the target languages
	Retained stats.Estimate `json:"retained"`
	Groups   []GroupChange  `json:"groups"`
	// Parameters is the size of the base that a run of a series started from.
	Parameters int64 `json:"parameters,omitempty"`
	Front      bool  `json:"front"` // no other run is better on one side without being worse on the other

	recipe *recipe.Recipe
	scores []train.Scored
}

// SweptGroup is a row of the sweep: runs that differ in their seed alone.
type SweptGroup struct {
	Name     string         `json:"name"`
	Set      map[string]any `json:"set"`
	Seeds    int            `json:"seeds"`
	Target   OverSeeds      `json:"target"`   // against each run's own base
	Retained OverSeeds      `json:"retained"` // likewise
	Against  string         `json:"against,omitempty"`
	// The same documents under the row that Against names, seed by seed.
	TargetAgainst   *OverSeeds `json:"target_against,omitempty"`
	RetainedAgainst *OverSeeds `json:"retained_against,omitempty"`
}

// OverSeeds is a relative change of bits per byte over seeds. Better and Worse count the seeds whose own 95 % interval,
// over documents, lies wholly below or above zero.
type OverSeeds struct {
	Mean   float64 `json:"mean"`
	Low    float64 `json:"low"`  // of the seeds
	High   float64 `json:"high"` // of the seeds
	Better int     `json:"better"`
	Worse  int     `json:"worse"`
}

func overSeeds(es []stats.Estimate) OverSeeds {
	o := OverSeeds{Low: math.Inf(1), High: math.Inf(-1)}
	for _, e := range es {
		o.Mean, o.Low, o.High = o.Mean+e.Value/float64(len(es)), min(o.Low, e.Value), max(o.High, e.Value)
		switch {
		case e.High < 0:
			o.Better++
		case e.Low > 0:
			o.Worse++
		}
	}
	return o
}

// verdict is "better" or "worse" where every seed says so by itself, else "~".
func (o OverSeeds) verdict(seeds int) string {
	switch seeds {
	case o.Better:
		return "better"
	case o.Worse:
		return "worse"
	}
	return "~"
}

// RunSweep walks all runs of a sweep in out, one folder a run; what is finished is skipped, so a broken sweep goes on.
// A run that the guard stops is a result like any other. sweep.json, sweep.md, sweep.svg and index.html are left in out, and
// scaling.svg where the sweep names series.
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
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("sweep %s: %w (run the same command again to go on)", s.Name, err)
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
		r := SweptRun{Name: c.name, Row: c.row, Series: c.series, Set: c.set, State: states[i], recipe: c.recipe, scores: scores}
		own := make([]float64, len(scores))
		for k, x := range scores {
			own[k], r.Steps = x.Base, x.Step
		}
		r.Groups = groupChanges(scores, own)
		r.Target, r.Retained = sides(c.recipe, r.Groups)
		r.Seconds = trainedSeconds(dir)
		if c.series != "" && len(scores) > 0 {
			if r.Parameters, err = baseParameters(dir); err != nil {
				return nil, err
			}
		}
		res.Runs = append(res.Runs, r)
	}
	res.front()
	res.seeds()
	if err := res.scale(); err != nil {
		return nil, err
	}
	if err := writeJSON(filepath.Join(out, "sweep.json"), res); err != nil {
		return nil, err
	}
	var md strings.Builder
	res.Markdown(&md)
	if !res.measured() {
		return res, atomicfile.WriteFile(filepath.Join(out, "sweep.md"), []byte(md.String()))
	}
	if err := atomicfile.WriteFile(filepath.Join(out, "sweep.md"), []byte(md.String())); err != nil {
		return nil, err
	}
	plot := res.plot()
	if err := atomicfile.WriteFile(filepath.Join(out, "sweep.svg"), plot.File()); err != nil {
		return nil, err
	}
	page := web.Overview{
		Title: "Sweep " + s.Name, Note: s.Note, Drawings: []web.Drawing{{Title: plot.Title, SVG: plot.SVG("pareto")}},
		Tables: []web.Table{res.table()}, Version: run.Version(), Notes: []string{"Changes are of bits per byte on held-out text against each run's own base, relative, paired by document, 95 % intervals; negative is better. Retained is what the guard names; without one, the languages of replay"},
	}
	if t, ok := res.seedTable(); ok {
		page.Tables = append([]web.Table{t}, page.Tables...)
	}
	if len(res.Scaling) > 0 {
		plots := res.scalingPlots()
		if err := atomicfile.WriteFile(filepath.Join(out, "scaling.svg"), web.Stacked(s.Name+": against the size of the base", plots...)); err != nil {
			return nil, err
		}
		for i, p := range plots {
			page.Drawings = append(page.Drawings, web.Drawing{Title: p.Title, SVG: p.SVG(fmt.Sprintf("scaling%d", i))})
		}
		page.Tables = append([]web.Table{res.scalingTable()}, page.Tables...)
	}
	html, err := page.HTML()
	if err != nil {
		return nil, err
	}
	return res, atomicfile.WriteFile(filepath.Join(out, "index.html"), html)
}

// retained says which languages a recipe wants to keep: those that its guard names; without a guard those of its replay,
// which is text of the base's own kind; without either all that are no target.
func retained(r *recipe.Recipe) func(language string) bool {
	roles := (&Flow{Recipe: r}).languageRoles()
	named := map[string]bool{}
	if g := r.Train.Guard; g != nil {
		for language := range g.Retain {
			named[language] = true
		}
	} else {
		for _, s := range r.Data.Sources {
			if s.Role == "replay" && s.Language != "" && roles[s.Language] != "target" {
				named[s.Language] = true
			}
		}
		if len(named) == 0 {
			return func(language string) bool { return roles[language] != "target" }
		}
	}
	return func(language string) bool { return roles[language] != "target" && named[language] }
}

// sides are the means over the target languages and over those that are to be retained.
func sides(r *recipe.Recipe, groups []GroupChange) (target, kept stats.Estimate) {
	roles, keep := (&Flow{Recipe: r}).languageRoles(), retained(r)
	var gained, lost []stats.Estimate
	for _, g := range languagesOf(groups) {
		if roles[g.Group] == "target" {
			gained = append(gained, g.Change)
		} else if keep(g.Group) {
			lost = append(lost, g.Change)
		}
	}
	return stats.MeanOf(gained), stats.MeanOf(lost)
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

// seeds puts runs together that differ in their seed alone, and sets the rows against the first one, seed by seed.
func (r *SweepResult) seeds() {
	var order []string
	rows := map[string][]SweptRun{}
	for _, x := range r.Runs {
		if _, ok := x.Set["seed"]; !ok {
			return
		}
		if rows[x.Row] == nil {
			order = append(order, x.Row)
		}
		rows[x.Row] = append(rows[x.Row], x)
	}
	for i, name := range order {
		set := maps.Clone(rows[name][0].Set)
		delete(set, "seed")
		g := SweptGroup{Name: cmp.Or(name, "all"), Set: set, Seeds: len(rows[name])}
		var target, retained, targetAgainst, retainedAgainst []stats.Estimate
		for _, x := range rows[name] {
			target, retained = append(target, x.Target), append(retained, x.Retained)
			k := slices.IndexFunc(rows[order[0]], func(f SweptRun) bool { return fmt.Sprint(f.Set["seed"]) == fmt.Sprint(x.Set["seed"]) })
			if i > 0 && k >= 0 {
				t, k := sides(x.recipe, groupChanges(x.scores, matched(rows[order[0]][k].scores, x.scores, lastScore)))
				targetAgainst, retainedAgainst = append(targetAgainst, t), append(retainedAgainst, k)
			}
		}
		g.Target, g.Retained = overSeeds(target), overSeeds(retained)
		if len(targetAgainst) == g.Seeds {
			t, k := overSeeds(targetAgainst), overSeeds(retainedAgainst)
			g.Against, g.TargetAgainst, g.RetainedAgainst = cmp.Or(order[0], "all"), &t, &k
		}
		r.Seeds = append(r.Seeds, g)
	}
}

// plot draws what the target gains against what the retained languages lose: a mark a row, with the reach of its seeds, or
// a mark a run with the interval over documents where there are no seeds.
func (r *SweepResult) plot() web.Scatter {
	s := web.Scatter{
		Title: r.Name + ": target gain against retention", X: "target: change of bits per byte against the base, % (better to the left)", Y: "retained: change, % (better below)",
		Note: "whiskers: 95 % intervals over documents", Groups: []web.ScatterGroup{{Name: "on the front: nothing beats it on both sides"}, {Name: "others"}},
	}
	runs := r.Runs
	if len(r.Seeds) > 0 && r.Seeds[0].Seeds > 1 {
		runs, s.Note = nil, fmt.Sprintf("mean of %d seeds; whiskers: lowest and highest seed", r.Seeds[0].Seeds)
		for _, g := range r.Seeds {
			over := func(o OverSeeds) stats.Estimate { return stats.Estimate{Value: o.Mean, Low: o.Low, High: o.High} }
			runs = append(runs, SweptRun{Name: g.Name, Target: over(g.Target), Retained: over(g.Retained)})
		}
		(&SweepResult{Runs: runs}).front()
	}
	for _, x := range runs {
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

// measured says whether any run has come to held-out scores: a sweep may end with its bases.
func (r *SweepResult) measured() bool {
	return slices.ContainsFunc(r.Runs, func(x SweptRun) bool { return len(x.Groups)+len(x.scores) > 0 })
}

// Markdown writes the table.
func (r *SweepResult) Markdown(w io.Writer) {
	if !r.measured() {
		fmt.Fprintf(w, "# Sweep %s\n\n%s\n\nNo run went as far as training, so there is nothing to compare.\n\n", r.Name, r.Note)
		for _, x := range r.Runs {
			fmt.Fprintf(w, "- %s: %s\n", x.Name, x.State)
		}
		return
	}
	t := r.table()
	fmt.Fprintf(w, "# Sweep %s\n\n%s\n\nChange of bits per byte on held-out text against each run's own base, paired by document, 95 %% interval; negative is better. Retained is what the guard names; without one, the languages of replay.\n\n", r.Name, r.Note)
	fmt.Fprintf(w, "| %s |\n|%s\n", strings.Join(t.Head, " | "), strings.Repeat("---|", len(t.Head)))
	for _, row := range t.Rows {
		fmt.Fprintf(w, "| %s |\n", strings.Join(row, " | "))
	}
	var more []web.Table
	if t, ok := r.seedTable(); ok {
		more = append(more, t)
	}
	if len(r.Scaling) > 0 {
		more = append(more, r.scalingTable())
	}
	for _, t := range more {
		fmt.Fprintf(w, "\n%s\n\n| %s |\n|%s\n", t.Caption, strings.Join(t.Head, " | "), strings.Repeat("---|", len(t.Head)))
		for _, row := range t.Rows {
			fmt.Fprintf(w, "| %s |\n", strings.Join(row, " | "))
		}
	}
}

// seedTable is a line a row: mean over seeds, lowest and highest, and in how many seeds the change is resolved.
func (r *SweepResult) seedTable() (web.Table, bool) {
	if len(r.Seeds) == 0 || r.Seeds[0].Seeds < 2 {
		return web.Table{}, false
	}
	first := r.Seeds[0].Name
	t := web.Table{
		Caption: "Over seeds: mean [lowest, highest]; better or worse where the interval of every seed, over documents, says so by itself, else in how many of the seeds it does",
		Head:    []string{"row", "seeds", "target", "retained", "target against " + first, "retained against " + first},
	}
	for _, g := range r.Seeds {
		show := func(o *OverSeeds) string {
			if o == nil || math.IsNaN(o.Mean) {
				return "–"
			}
			verdict := o.verdict(g.Seeds)
			if verdict == "~" && o.Better+o.Worse > 0 {
				verdict = fmt.Sprintf("~ (better in %d, worse in %d)", o.Better, o.Worse)
			}
			return fmt.Sprintf("%+.2f %% [%+.2f, %+.2f] %s", 100*o.Mean, 100*o.Low, 100*o.High, verdict)
		}
		t.Rows = append(t.Rows, []string{g.Name, fmt.Sprint(g.Seeds), show(&g.Target), show(&g.Retained), show(g.TargetAgainst), show(g.RetainedAgainst)})
	}
	return t, true
}
