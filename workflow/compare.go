package workflow

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"ravn/eval"
	"ravn/eval/task"
	"ravn/recipe"
	"ravn/run"
	"ravn/stats"
	"ravn/train"
	"ravn/web"
)

// RunComparison sets runs beside each other; the first is what the others are compared with.
type RunComparison struct {
	Runs  []ComparedRun `json:"runs"`
	Notes []string      `json:"notes,omitempty"`

	curves map[string][]web.Series // language → a curve a run
}

// ComparedRun is one run of a comparison.
type ComparedRun struct {
	Name     string            `json:"name"`
	Dir      string            `json:"dir"`
	State    string            `json:"state"`
	Steps    int               `json:"steps"`              // done
	Settings []string          `json:"settings,omitempty"` // fields of the recipe that differ from the first run's
	Base     []GroupChange     `json:"base"`               // held-out text against the run's own base
	First    []GroupChange     `json:"first,omitempty"`    // against the first run, on the documents that both have
	Tasks    []task.Comparison `json:"tasks,omitempty"`    // data sets that both were measured on, against the first run
	scores   []train.Scored
}

// GroupChange is a relative change of bits per byte, paired by document.
type GroupChange struct {
	Group   string         `json:"group"` // language, or language/source
	Change  stats.Estimate `json:"change"`
	Verdict string         `json:"verdict"` // "better", "worse" or "~"
}

// CompareRuns reads what runs have measured. Runs that have only trained are compared on held-out text alone.
func CompareRuns(dirs []string) (*RunComparison, error) {
	c := &RunComparison{curves: map[string][]web.Series{}}
	texts := make([]string, len(dirs))
	for i, dir := range dirs {
		r, text, err := c.read(dir)
		if err != nil {
			return nil, err
		}
		texts[i] = text
		if i > 0 {
			first := &c.Runs[0]
			r.Settings = train.Differences(texts[0], text)
			r.First = groupChanges(r.scores, matched(first.scores, r.scores, lastScore))
			if len(r.First) == 0 {
				c.Notes = append(c.Notes, fmt.Sprintf("%s and %s have no held-out document in common", first.Name, r.Name))
			}
			if r.Tasks, err = compareTasks(first.Dir, dir); err != nil {
				return nil, err
			}
		}
		c.Runs = append(c.Runs, *r)
	}
	c.Notes = append(c.Notes, "each interval holds 95 % by itself; among twenty differences that are none, one is expected to look resolved")
	return c, nil
}

func (c *RunComparison) read(dir string) (*ComparedRun, string, error) {
	folder, err := run.Open(dir)
	if err != nil {
		return nil, "", err
	}
	rec, err := recipe.Load(folder.RecipeFile())
	if err != nil {
		return nil, "", err
	}
	text, err := rec.Deciding(true)
	if err != nil {
		return nil, "", err
	}
	f := &Flow{Recipe: rec, Folder: folder}
	r := &ComparedRun{Name: filepath.Base(filepath.Clean(dir)), Dir: dir, State: f.state(folder.Manifest())}
	if r.scores, err = train.ReadScores(dir); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, "", err
	}
	own := make([]float64, len(r.scores))
	for i, s := range r.scores {
		own[i] = s.Base
		r.Steps = s.Step
	}
	r.Base = groupChanges(r.scores, own)
	events, err := run.ReadEvents(folder.EventsFile())
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, "", err
	}
	for _, s := range curves(continuedPhase, rec.Train.Steps, events).Bits {
		language := s.Name
		s.Name = r.Name
		c.curves[language] = append(c.curves[language], s)
	}
	return r, text, nil
}

// matched is a number of each document of b, such as its last score, as a has it; NaN where a has not got the document.
func matched(a, b []train.Scored, of func(train.Scored) float64) []float64 {
	type key struct {
		language, source, id string
		bytes                int
	}
	have := map[key]float64{}
	for _, s := range a {
		have[key{s.Language, s.Source, s.ID, s.Bytes}] = of(s)
	}
	out := make([]float64, len(b))
	for i, s := range b {
		v, ok := have[key{s.Language, s.Source, s.ID, s.Bytes}]
		if out[i] = v; !ok {
			out[i] = math.NaN()
		}
	}
	return out
}

func lastScore(d train.Scored) float64 { return d.Last }

// groupChanges sets the last scores of documents against others, by language and by language and source.
func groupChanges(scores []train.Scored, was []float64) []GroupChange {
	now, before := map[string][]float64{}, map[string][]float64{}
	add := func(group string, a, b float64) {
		now[group], before[group] = append(now[group], a), append(before[group], b)
	}
	for i, s := range scores {
		if math.IsNaN(was[i]) {
			continue
		}
		add(s.Language, s.Last, was[i])
		if s.Source != "" {
			add(s.Language+"/"+s.Source, s.Last, was[i])
		}
	}
	var out []GroupChange
	for _, name := range slices.Sorted(maps.Keys(now)) {
		e := stats.PairedRatio(now[name], before[name], before[name], stats.BootstrapOptions{})
		verdict := "~"
		if e.Resolved() {
			verdict = map[bool]string{true: "worse", false: "better"}[e.Value > 0]
		}
		out = append(out, GroupChange{name, e, verdict})
	}
	return out
}

// compareTasks compares the results of two run folders on the data sets that both have answers of.
func compareTasks(first, second string) ([]task.Comparison, error) {
	results := func(dir string) (map[string]*task.Result, error) {
		files, err := filepath.Glob(filepath.Join(dir, "predictions", roleResult, "*.json"))
		if err != nil {
			return nil, err
		}
		out := map[string]*task.Result{}
		for _, path := range files {
			data, err := os.ReadFile(path)
			if err != nil {
				return nil, fmt.Errorf("workflow: %w", err)
			}
			var s storedResult
			if err := json.Unmarshal(data, &s); err != nil {
				return nil, fmt.Errorf("workflow: %s: %w", path, err)
			}
			ps, err := eval.ReadPredictions(strings.TrimSuffix(path, ".json") + ".jsonl")
			if err != nil {
				return nil, err
			}
			out[s.Record.Dataset] = &task.Result{Record: s.Record, Predictions: ps}
		}
		return out, nil
	}
	a, err := results(first)
	if err != nil {
		return nil, err
	}
	b, err := results(second)
	if err != nil {
		return nil, err
	}
	var all []task.Comparison
	for _, name := range sortedKeys(a) {
		if b[name] == nil {
			continue
		}
		cs, err := task.Compare(a[name], b[name], stats.BootstrapOptions{})
		if err != nil {
			continue // asked differently: not the same items or prompts
		}
		all = append(all, cs...)
	}
	task.Adjust(all)
	return all, nil
}

func showChange(c GroupChange) string {
	return fmt.Sprintf("%+.2f %% [%+.2f, %+.2f] %s", 100*c.Change.Value, 100*c.Change.Low, 100*c.Change.High, c.Verdict)
}

// languagesOf are the groups that are whole languages.
func languagesOf(cs []GroupChange) []GroupChange {
	return slices.DeleteFunc(slices.Clone(cs), func(c GroupChange) bool { return strings.Contains(c.Group, "/") })
}

// Write prints the comparison for people.
func (c *RunComparison) Write(w io.Writer) {
	for i, r := range c.Runs {
		fmt.Fprintf(w, "%s: %s, step %d\n", r.Name, r.State, r.Steps)
		for _, s := range r.Settings {
			fmt.Fprintf(w, "  %s\n", s)
		}
		for _, g := range languagesOf(r.Base) {
			fmt.Fprintf(w, "  %-18s %-40s against its base, %d documents\n", languageName(g.Group), showChange(g), g.Change.N)
		}
		if i > 0 {
			for _, g := range r.First {
				name := g.Group
				if !strings.Contains(name, "/") {
					name = languageName(name)
				}
				fmt.Fprintf(w, "  %-18s %-40s against %s, %d documents\n", name, showChange(g), c.Runs[0].Name, g.Change.N)
			}
			for _, t := range mainComparisons(r.Tasks) {
				if t.Dataset != recipe.HeldoutName {
					fmt.Fprintf(w, "  %s against %s\n", t.String(), c.Runs[0].Name)
				}
			}
		}
		fmt.Fprintln(w)
	}
	for _, n := range c.Notes {
		fmt.Fprintf(w, "note: %s\n", n)
	}
}

// Page overlays the runs' curves and lists the differences.
func (c *RunComparison) Page() ([]byte, error) {
	p := web.Overview{Title: "Runs compared", Notes: c.Notes, Note: "Differences are of bits per byte on held-out text, relative, paired by document; negative is better."}
	var against, settings web.Table
	against.Caption = "Against the run's own base, and against the first run"
	against.Head = []string{"run", "state", "language", "against its base", "against the first run", "documents"}
	settings.Caption, settings.Head = "What the recipes differ in from the first", []string{"run", "field: first → this"}
	for i, r := range c.Runs {
		for k, g := range languagesOf(r.Base) {
			row := []string{r.Name, r.State, languageName(g.Group), showChange(g), "", fmt.Sprint(g.Change.N)}
			if first := languagesOf(r.First); i > 0 && k < len(first) {
				row[4] = showChange(first[k])
			}
			against.Rows = append(against.Rows, row)
		}
		for _, s := range r.Settings {
			settings.Rows = append(settings.Rows, []string{r.Name, s})
		}
	}
	p.Tables = []web.Table{against, settings}
	for i, language := range sortedKeys(c.curves) {
		chart := web.Chart{Title: language + ": held-out text", Unit: "bits per byte", Series: c.curves[language]}
		p.Drawings = append(p.Drawings, web.Drawing{Title: chart.Title, SVG: chart.SVG(fmt.Sprintf("c%d", i))})
	}
	return p.HTML()
}
