package workflow

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"ravn/recipe"
	"ravn/release"
	"ravn/run"
	"ravn/shard"
	"ravn/train"
	"ravn/web"
)

// guardRecord is what the card says about the guard of the continued training.
func (f *Flow) guardRecord() (*release.Guard, error) {
	if f.Recipe.Train.Guard == nil {
		return nil, nil
	}
	o, err := train.ReadOutcome(f.Folder.Dir, f.Recipe.Train.Steps)
	if err != nil {
		return nil, err
	}
	events, err := run.ReadEvents(filepath.Join(f.Folder.Dir, "events.jsonl"))
	if err != nil {
		return nil, err
	}
	g := &release.Guard{Actions: append(warnedOf(events), guardActions(o)...)}
	for _, j := range o.Judged {
		g.Rows = append(g.Rows, release.Guarded{
			Group: j.Group, Change: j.Change.Value, Low: j.Change.Low, High: j.Change.High, Documents: j.Change.Documents, Task: j.Task, Limit: j.Limit, State: j.State,
		})
	}
	return g, nil
}

// warnedOf are sentences about breaches that the recipe wanted to be told of and no more: outcome.json does not have them.
func warnedOf(events []run.Event) []string {
	var said []string
	for _, e := range events {
		if action, _ := e.Text("action"); e.Kind != "breach" || action != "warn" {
			continue
		}
		group, _ := e.Text("group")
		change, _ := e.Float("change")
		low, _ := e.Float("low")
		high, _ := e.Float("high")
		limit, _ := e.Float("limit")
		unit := "%"
		if points, _ := e.Text("unit"); points != "" {
			unit = points
		}
		said = append(said, fmt.Sprintf("The limit on %s was exceeded at step %d: %+.2f [%+.2f, %+.2f] %s, limit %.2f; the recipe had the run go on.", group, e.Step, 100*change, 100*low, 100*high, unit, 100*limit))
	}
	return said
}

// guardActions are sentences about what the guard has done.
func guardActions(o train.Outcome) []string {
	var said []string
	for _, step := range o.Raised {
		said = append(said, fmt.Sprintf("A limit was exceeded at step %d, and the share of replay was raised from then on.", step))
	}
	if o.DecayFrom > 0 {
		said = append(said, fmt.Sprintf("A limit was exceeded at step %d; the rate was brought down from then on and the run ended at step %d.", o.DecayFrom, o.Steps))
	}
	if o.Stopped > 0 {
		said = append(said, fmt.Sprintf("A limit was exceeded and the run was stopped at step %d.", o.Stopped))
	}
	if o.JudgedAt > 0 {
		if o.WithinCheckpoint != "" {
			said = append(said, fmt.Sprintf("The last checkpoint within all limits is that of step %d.", o.Within))
		} else {
			said = append(said, "No checkpoint of the run was found within all limits.")
		}
	}
	return said
}

// breaches says what a phase was stopped for and what is left of it; nothing where it was not stopped.
func breaches(p web.Phase) (said []string) {
	if p.Guard == nil || !p.Guard.Stopped {
		return nil
	}
	for _, row := range p.Guard.Rows {
		if row.State == train.Beyond {
			said = append(said, fmt.Sprintf("Stopped by the guard: %s, %s against the base where %s is the limit.", row.Group, row.Change(), row.LimitText()))
		}
	}
	return append(said, p.Guard.Actions[len(p.Guard.Actions)-1])
}

// changeCurve adds a "guard" event to the curves of change, those of whole languages.
func changeCurve(p *web.Phase, e run.Event) {
	group, _ := e.Text("group")
	if strings.Contains(group, "/") {
		return
	}
	name := languageName(group)
	i := slices.IndexFunc(p.Change, func(s web.Series) bool { return s.Name == name })
	if i < 0 {
		i = len(p.Change)
		p.Change = append(p.Change, web.Series{Name: name, Points: []web.Point{{}}, Bands: []web.Band{{}}})
	}
	s := &p.Change[i]
	value, _ := e.Float("change")
	low, _ := e.Float("low")
	high, _ := e.Float("high")
	s.Points = append(s.Points, web.Point{Step: e.Step, Value: 100 * value})
	s.Bands = append(s.Bands, web.Band{Low: 100 * low, High: 100 * high})
	s.End = nil
	if middle, ok := e.Float("forecast"); ok && e.Step < p.Steps {
		low, _ = e.Float("forecast_low")
		high, _ = e.Float("forecast_high")
		s.End, s.Middle = &web.Band{Low: 100 * low, High: 100 * high}, 100*middle
	}
}

// taskCurve adds a point to the curve of the data set that a guard_task event is about: a loss of score is drawn as a fall.
func taskCurve(p *web.Phase, e run.Event) {
	name, _ := e.Text("dataset")
	i := slices.IndexFunc(p.Tasks, func(s web.Series) bool { return s.Name == name })
	if i < 0 {
		i = len(p.Tasks)
		p.Tasks = append(p.Tasks, web.Series{Name: name, Points: []web.Point{{}}, Bands: []web.Band{{}}})
		if limit, ok := e.Float("limit"); ok {
			p.TaskLimits = append(p.TaskLimits, web.Limit{Name: name, Value: -100 * limit})
		}
	}
	lost, _ := e.Float("lost")
	low, _ := e.Float("low")
	high, _ := e.Float("high")
	p.Tasks[i].Points = append(p.Tasks[i].Points, web.Point{Step: e.Step, Value: -100 * lost})
	p.Tasks[i].Bands = append(p.Tasks[i].Bands, web.Band{Low: -100 * high, High: -100 * low})
}

// pageGuard adds what outcome.json and order.json say of a phase.
func (f *Flow) pageGuard(p *web.Phase, dir string, phase *recipe.Phase, events []run.Event) error {
	o, err := train.ReadOutcome(dir, phase.Steps)
	if err != nil {
		return err
	}
	data, err := os.ReadFile(filepath.Join(dir, "order.json"))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("workflow: %w", err)
	}
	var parts []shard.Part
	if err == nil {
		if err := json.Unmarshal(data, &parts); err != nil {
			return fmt.Errorf("workflow: %s: order.json: %w", dir, err)
		}
	}
	for _, part := range parts {
		sum := 0.0
		for _, m := range part.Mixture {
			sum += m.Share
		}
		mix := web.MixPart{First: part.First, Last: part.Last, Why: part.Why}
		for _, m := range part.Mixture {
			mix.Sections = append(mix.Sections, web.MixShare{Section: m.Section, Share: m.Share / sum})
		}
		p.Mixture = append(p.Mixture, mix)
	}
	if phase.Guard == nil {
		return nil
	}
	p.Guard = &web.Guard{Actions: guardActions(o), Stopped: o.Stopped > 0}
	for _, group := range sortedKeys(phase.Guard.Retain) {
		p.Limits = append(p.Limits, web.Limit{Name: languageName(group), Value: 100 * phase.Guard.Retain[group]})
	}
	judged := o.Judged
	if at, newer := judgedSince(events, o.JudgedAt); at > o.JudgedAt { // outcome.json is written with checkpoints, events at once
		judged = newer
	}
	for _, j := range judged {
		if repeats(j, judged) {
			continue
		}
		row := web.GuardRow{Group: j.Group, Value: j.Change.Value, Low: j.Change.Low, High: j.Change.High, Documents: j.Change.Documents, Points: j.Task, Limit: j.Limit, State: j.State}
		if j.Task {
			row.Group += fmt.Sprintf(" (asked at step %d)", j.AskedAt)
		} else if !strings.Contains(row.Group, "/") {
			row.Group = languageName(row.Group)
		}
		if j.Forecast != nil && !o.Finished {
			row.Forecast, row.Expected = &web.Band{Low: j.Forecast.Low, High: j.Forecast.High}, j.Forecast.Value
		}
		p.Guard.Rows = append(p.Guard.Rows, row)
	}
	return nil
}

// judgedSince is what the guard said last, by its events, and at which step; tasks as they were asked last. Step is 0 where nothing
// was said after the step that is given.
func judgedSince(events []run.Event, after int) (step int, judged []train.Judged) {
	for _, e := range events {
		if e.Kind == "guard" && e.Step > after {
			step = e.Step
		}
	}
	var tasks []train.Judged
	for _, e := range events {
		number := func(name string) float64 { x, _ := e.Float(name); return x }
		j := train.Judged{Change: train.Change{Low: number("low"), High: number("high")}}
		j.State, _ = e.Text("state")
		if limit, ok := e.Float("limit"); ok {
			j.Limit = &limit
		}
		switch {
		case e.Kind == "guard" && e.Step == step:
			j.Group, _ = e.Text("group")
			j.Change.Value, j.Change.Documents = number("change"), int(number("documents"))
			if value, ok := e.Float("forecast"); ok {
				j.Forecast = &train.Forecast{Value: value, Low: number("forecast_low"), High: number("forecast_high")}
			}
			judged = append(judged, j)
		case e.Kind == "guard_task":
			j.Group, _ = e.Text("dataset")
			j.Task, j.AskedAt = true, e.Step
			j.Change.Value, j.Change.Documents = number("lost"), int(number("items"))
			tasks = slices.DeleteFunc(tasks, func(t train.Judged) bool { return t.Group == j.Group })
			tasks = append(tasks, j)
		}
	}
	return step, append(judged, tasks...)
}

// repeats reports whether a source's line would say its language's again: all of the language's text is of this source,
// and no limit is set for the source alone.
func repeats(j train.Judged, all []train.Judged) bool {
	language, _, isSource := strings.Cut(j.Group, "/")
	return isSource && j.Limit == nil && slices.ContainsFunc(all, func(l train.Judged) bool {
		return l.Group == language && l.Change.Documents == j.Change.Documents
	})
}
