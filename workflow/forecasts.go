package workflow

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"ravn/recipe"
	"ravn/run"
	"ravn/train"
)

// ForecastRecord says how often the guard's forecasts held the end of finished runs.
type ForecastRecord struct {
	Rows     []ForecastRow `json:"rows"`
	Runs     int           `json:"runs"`                // finished, with forecasts
	Left     []string      `json:"left_out,omitempty"`  // runs without an end to compare with, and why
	Forecast []Foretold    `json:"forecasts,omitempty"` // every forecast that was counted
}

// ForecastRow is a language at a part of the run.
type ForecastRow struct {
	Group  string  `json:"group"`  // language, or language/source with a limit
	Share  float64 `json:"share"`  // of the planned steps: the first forecast made at or behind it counts
	Runs   int     `json:"runs"`   // that have one
	Steps  int     `json:"steps"`  // mean step at which these were made
	Held   int     `json:"held"`   // whose interval holds the end
	Narrow int     `json:"narrow"` // whose interval is narrower than twice the change itself, and so says something
}

// Foretold is one forecast and what came of it; changes are relative, of bits per byte against the base.
type Foretold struct {
	Run   string         `json:"run"`
	Group string         `json:"group"`
	Share float64        `json:"share"`
	Step  int            `json:"step"`
	Says  train.Forecast `json:"says"`
	End   float64        `json:"end"`
	Held  bool           `json:"held"`
}

// forecastShares are the parts of a run at which forecasts are looked at.
var forecastShares = []float64{0.1, 0.25, 0.5}

// Forecasts reads the events of run folders, or of folders of run folders as a sweep leaves them, and sets what the guard
// foretold against what came. Runs that have not come to their planned end are named and left out.
func Forecasts(dirs []string) (*ForecastRecord, error) {
	var runs []string
	for _, dir := range dirs {
		if isRun(dir) {
			runs = append(runs, dir)
			continue
		}
		inside, err := filepath.Glob(filepath.Join(dir, "*", "manifest.json"))
		if err != nil || len(inside) == 0 {
			return nil, fmt.Errorf("workflow: %s is no run folder and holds none", dir)
		}
		for _, path := range inside {
			runs = append(runs, filepath.Dir(path))
		}
	}
	rec := &ForecastRecord{}
	for _, dir := range runs {
		found, why, err := foretold(dir)
		if err != nil {
			return nil, err
		}
		if why != "" {
			rec.Left = append(rec.Left, fmt.Sprintf("%s: %s", dir, why))
			continue
		}
		rec.Runs++
		rec.Forecast = append(rec.Forecast, found...)
	}
	rec.sum()
	return rec, nil
}

func isRun(dir string) bool {
	_, err := os.Stat(filepath.Join(dir, "manifest.json"))
	return err == nil
}

// foretold are the forecasts of one run that are counted, or why it has none.
func foretold(dir string) (found []Foretold, why string, err error) {
	folder, err := run.Open(dir)
	if err != nil {
		return nil, "", err
	}
	r, err := recipe.Load(folder.RecipeFile())
	if err != nil {
		return nil, "", err
	}
	steps := r.Train.Steps
	o, err := train.ReadOutcome(dir, steps)
	if err != nil {
		return nil, "", err
	}
	events, err := run.ReadEvents(folder.EventsFile())
	switch {
	case errors.Is(err, os.ErrNotExist):
		return nil, "it has not been trained", nil
	case err != nil:
		return nil, "", err
	case o.Stopped > 0:
		return nil, fmt.Sprintf("the guard stopped it at step %d", o.Stopped), nil
	case !o.Finished || o.Steps != steps:
		return nil, "it has not come to its planned end", nil
	case len(o.Raised) > 0:
		return nil, "its mixture was changed on the way", nil
	}
	found = counted(filepath.Base(dir), steps, events)
	if len(found) == 0 {
		return nil, "its guard made no forecast (it takes a guard, and four evaluations before the end)", nil
	}
	return found, "", nil
}

// counted are the first forecasts made at or behind each part of a run of so many steps, with what came of them.
func counted(name string, steps int, events []run.Event) (found []Foretold) {
	type key struct {
		group string
		share float64
	}
	made, end := map[key]Foretold{}, map[string]float64{}
	for _, e := range events {
		if e.Kind != "guard" {
			continue
		}
		group, _ := e.Text("group")
		if e.Step == steps {
			end[group], _ = e.Float("change")
			continue
		}
		f := Foretold{Run: name, Group: group, Step: e.Step}
		var ok bool
		if f.Says.Value, ok = e.Float("forecast"); !ok {
			continue
		}
		f.Says.Low, _ = e.Float("forecast_low")
		f.Says.High, _ = e.Float("forecast_high")
		for _, share := range forecastShares {
			k := key{group, share}
			if _, have := made[k]; !have && float64(e.Step) >= share*float64(steps) {
				f.Share = share
				made[k] = f
			}
		}
	}
	for _, group := range sortedKeys(end) {
		for _, share := range forecastShares {
			if f, ok := made[key{group, share}]; ok {
				f.End = end[group]
				f.Held = f.Says.Low <= f.End && f.End <= f.Says.High
				found = append(found, f)
			}
		}
	}
	return found
}

// sum counts by language and part of the run.
func (r *ForecastRecord) sum() {
	for _, f := range r.Forecast {
		i := slices.IndexFunc(r.Rows, func(x ForecastRow) bool { return x.Group == f.Group && x.Share == f.Share })
		if i < 0 {
			i = len(r.Rows)
			r.Rows = append(r.Rows, ForecastRow{Group: f.Group, Share: f.Share})
		}
		row := &r.Rows[i]
		row.Runs, row.Steps = row.Runs+1, row.Steps+f.Step
		if f.Held {
			row.Held++
		}
		if change := f.End; f.Says.High-f.Says.Low < 2*max(change, -change) {
			row.Narrow++
		}
	}
	for i := range r.Rows {
		r.Rows[i].Steps /= r.Rows[i].Runs
	}
	slices.SortStableFunc(r.Rows, func(a, b ForecastRow) int { return strings.Compare(a.Group, b.Group) })
}

// Write prints the record as a Markdown table.
func (r *ForecastRecord) Write(w io.Writer) {
	fmt.Fprintf(w, "Forecasts of the change at the end of %d finished runs. A forecast is the first one made at or behind a part of the run; held: its 95 %% interval holds the end; narrow: it is narrower than twice the change.\n\n", r.Runs)
	fmt.Fprintf(w, "| held-out text | part of the run | made at step, mean | runs | held | narrow |\n|---|---|---|---|---|---|\n")
	for _, x := range r.Rows {
		group := x.Group
		if !strings.Contains(group, "/") {
			group = languageName(group)
		}
		fmt.Fprintf(w, "| %s | %.0f %% | %d | %d | %d | %d |\n", group, 100*x.Share, x.Steps, x.Runs, x.Held, x.Narrow)
	}
	for _, l := range r.Left {
		fmt.Fprintf(w, "\nleft out: %s\n", l)
	}
}
