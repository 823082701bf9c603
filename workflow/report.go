package workflow

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"ravn/eval"
	"ravn/internal/atomicfile"
	"ravn/pipeline"
	"ravn/recipe"
	"ravn/rights"
	"ravn/run"
	"ravn/shard"
	"ravn/train"
	"ravn/web"
)

// report writes report/index.html from the folder alone.
func (f *Flow) report(context.Context) error {
	in := inputs(f.Folder.Outputs("corpus"), f.Folder.Outputs("train"), f.Folder.Outputs("eval"), f.Folder.Outputs("leaderboard"), f.Folder.Outputs("release"))
	if path := f.Folder.Path("outcome.json"); exists(path) {
		h, err := run.HashFile(path)
		if err != nil {
			return err
		}
		in["outcome.json"] = h
	}
	return f.once("report", in, []string{"report/index.html"}, func(*run.StageRun) (string, error) {
		page, err := f.page()
		if err != nil {
			return "", err
		}
		html, err := page.HTML()
		if err != nil {
			return "", err
		}
		return fmt.Sprintf("%d bytes", len(html)), atomicfile.WriteFile(f.Folder.Path("report", "index.html"), html)
	})
}

// page collects what the report shows; what is not there yet stays empty.
func (f *Flow) page() (*web.Report, error) {
	r := f.head()
	for _, fill := range []func(*web.Report) error{f.pageFacts, f.pageCorpus, f.pagePhases, f.pageScores, f.pageRights, f.pageTrace} {
		if err := fill(r); err != nil && !errors.Is(err, os.ErrNotExist) {
			return nil, err
		}
	}
	f.pageFiles(r)
	return r, nil
}

// head is what the manifest says.
func (f *Flow) head() *web.Report {
	m := f.Folder.Manifest()
	r := &web.Report{
		Name: f.Recipe.Name, Note: f.Recipe.Note, State: f.state(m), Version: m.Version,
		Machine: fmt.Sprintf("%s, %d cores, %s", m.Machine.CPU, m.Machine.Cores, m.Machine.Go),
	}
	for _, s := range m.Stages {
		r.Stages = append(r.Stages, pageStage(&s))
	}
	return r
}

// pageFiles lists what is there.
func (f *Flow) pageFiles(r *web.Report) {
	for _, x := range []web.File{
		{Path: "recipe.yaml", What: "the recipe, every default filled in"},
		{Path: "manifest.json", What: "stages with the hashes of their inputs and outputs"},
		{Path: "corpus/documents.parquet", What: "the ledger: a row a document, kept or not, and why"},
		{Path: "events.jsonl", What: "measurements of the continued training"},
		{Path: "records.jsonl", What: "evaluation records"},
		{Path: "leaderboard.md", What: "the table"},
		{Path: "release/README.md", What: "the model card"},
	} {
		if exists(f.Folder.Path(filepath.FromSlash(x.Path))) {
			r.Files = append(r.Files, x)
		}
	}
}

// state says how far the run has come.
func (f *Flow) state(m *run.Manifest) string {
	o, err := train.ReadOutcome(f.Folder.Dir, f.Recipe.Train.Steps)
	if err == nil && o.Stopped > 0 {
		return fmt.Sprintf("stopped by the guard at step %d of %d", o.Stopped, f.Recipe.Train.Steps)
	}
	last := "nothing done yet"
	for _, s := range m.Stages {
		if s.Name == "report" {
			continue
		}
		if !s.Done() {
			if s.Name == "release" {
				return "finished; the release was refused"
			}
			return "not finished: stage " + s.Name + " has begun"
		}
		last = "done up to stage " + s.Name
		if s.Name == "release" {
			return "finished"
		}
	}
	return last
}

// pageStage is one stage of the manifest; the report itself is still being made.
func pageStage(s *run.StageRecord) web.Stage {
	out := web.Stage{Name: s.Name, State: "done", Seconds: s.Seconds}
	switch {
	case !s.Done():
		out.State = "begun"
	case s.Skipped > 0:
		out.State = "not changed"
	}
	return out
}

// pageFacts says what was trained on what, and warns of what is known to have hurt others.
func (f *Flow) pageFacts(r *web.Report) error {
	fact := func(name, format string, args ...any) {
		r.Facts = append(r.Facts, web.Fact{Name: name, Value: fmt.Sprintf(format, args...)})
	}
	fact("seed", "%d", f.Recipe.Seed)
	plan, err := PlanCost(f.Recipe)
	if err != nil { // the base's folder may have gone since; the page can do without
		return nil
	}
	r.Warnings = append(r.Warnings, plan.Warnings...)
	fact("parameters", "%s", count(int64(plan.Params)))
	fact("vocabulary", "%s pieces", count(int64(plan.Config.VocabSize)))
	for _, p := range plan.Phases {
		fact("tokens, "+p.Name, "%s (%.2g FLOPs)", count(p.Tokens), p.FLOPs)
	}
	switch t := f.Recipe.Train; {
	case t.Adapter != nil:
		p := plan.Phases[len(plan.Phases)-1]
		fact("trained", "adapter: %s; %s parameters", p.Adapter, count(int64(p.Trained)))
	case len(t.Only) > 0:
		fact("trained", "only %s", strings.Join(t.Only, ", "))
	case len(t.Freeze) > 0:
		fact("trained", "all but %s", strings.Join(t.Freeze, ", "))
	}
	base, err := ReadBase(f.Folder)
	if err != nil {
		return err
	}
	fact("base", "%s", base.Name)
	return nil
}

func (f *Flow) pageCorpus(r *web.Report) error {
	sum, err := pipeline.ReadSummary(filepath.Join(f.Folder.CorpusDir(), "summary.json"))
	if err != nil {
		return err
	}
	tokens := map[string]int64{}
	if info, err := shard.ReadInfo(f.Folder.ShardsDir()); err == nil {
		for _, s := range info.Sections {
			tokens[s.Name] = s.Tokens
		}
	}
	for _, s := range sum.Sections {
		license := s.License
		if license == "" {
			license = strings.Join(sortedKeys(s.Licenses), ", ")
		}
		r.Corpus = append(r.Corpus, web.CorpusRow{
			Section: s.Name, License: license, Language: s.Language, Role: s.Role, In: s.In.Documents, Kept: s.Kept.Documents,
			Heldout: s.Heldout.Documents, Removed: s.Removed.Documents, Bytes: s.Kept.Bytes, Tokens: tokens[s.Name],
		})
		for _, reason := range sortedKeys(s.Reasons) {
			r.Reasons = append(r.Reasons, web.ReasonRow{Section: s.Name, Reason: reason, Documents: s.Reasons[reason].Documents})
		}
	}
	for _, b := range sum.Benchmarks {
		what := "were removed"
		if b.Action == "mark" {
			what = "stayed, and the scores are marked"
		}
		r.Overlaps = append(r.Overlaps, fmt.Sprintf("%s: %d of %d items stood in %d documents, which %s", b.Name, b.Hit, b.Items, len(b.Documents), what))
	}
	return nil
}

func (f *Flow) pagePhases(r *web.Report) error {
	type source struct {
		name, dir string
		phase     *recipe.Phase
	}
	for _, s := range []source{{basePhase, f.Folder.Path("base"), f.Recipe.Base.Phase}, {continuedPhase, f.Folder.Dir, &f.Recipe.Train}} {
		if s.phase == nil {
			continue
		}
		events, err := run.ReadEvents(filepath.Join(s.dir, "events.jsonl"))
		if err != nil {
			return err
		}
		if len(events) > 0 {
			p := curves(s.name, s.phase.Steps, events)
			if err := f.pageSpeed(&p, s.dir, s.phase); err != nil {
				return err
			}
			if err := f.pageGuard(&p, s.dir, s.phase, events); err != nil {
				return err
			}
			r.Verdict = append(r.Verdict, breaches(p)...)
			r.Phases = append(r.Phases, p)
		}
	}
	return nil
}

// pageSpeed adds tokens a second of each step, of the last call that made it, and the median's share of the processor's peak. The
// share is of model FLOPs, so a run that trains an adapter or parts of the model has none.
func (f *Flow) pageSpeed(p *web.Phase, dir string, phase *recipe.Phase) error {
	events, err := run.ReadEvents(filepath.Join(dir, "timings.jsonl"))
	if err != nil {
		if errors.Is(err, os.ErrNotExist) {
			return nil
		}
		return err
	}
	at, peak := map[int]float64{}, 0.0
	for _, e := range events {
		switch e.Kind {
		case "step":
			if seconds, _ := e.Float("seconds"); seconds > 0 {
				at[e.Step] = float64(phase.RowsPerStep*f.Recipe.Data.SeqTokens) / seconds
			}
		case "peak":
			peak, _ = e.Float("flops")
		}
	}
	if len(at) == 0 {
		return nil
	}
	var speeds []float64
	for _, step := range slices.Sorted(maps.Keys(at)) {
		p.Speed = append(p.Speed, web.Point{Step: step, Value: at[step]})
		speeds = append(speeds, at[step])
	}
	middle := median(speeds)
	p.SpeedNote = fmt.Sprintf("Steps without evaluations and checkpoints; median %.0f tokens/s", middle)
	whole := phase.Adapter == nil && len(phase.Freeze)+len(phase.Only) == 0
	if cfg, _, err := plannedConfig(f.Recipe); err == nil && whole && peak > 0 {
		flops := middle * cfg.TrainFLOPs(f.Recipe.Data.SeqTokens)
		p.SpeedNote += fmt.Sprintf(", %.3g GFLOP/s of the model's, %.0f %% of the %.3g that the processor was measured at when the run began", flops/1e9, 100*flops/peak, peak/1e9)
	}
	p.SpeedNote += "."
	return nil
}

func curves(name string, steps int, events []run.Event) web.Phase {
	p := web.Phase{Name: name, Steps: steps}
	at := map[string]int{}
	for _, e := range events {
		switch e.Kind {
		case "step":
			loss, _ := e.Float("loss")
			lr, _ := e.Float("lr")
			p.Loss = append(p.Loss, web.Point{Step: e.Step, Value: loss})
			p.LR = append(p.LR, web.Point{Step: e.Step, Value: lr})
			norm, _ := e.Float("grad_norm")
			p.GradNorm = append(p.GradNorm, web.Point{Step: e.Step, Value: norm})
		case "guard":
			changeCurve(&p, e)
		case "guard_task":
			taskCurve(&p, e)
		case "sample":
			s := web.Sample{Step: e.Step}
			s.Language, _ = e.Text("language")
			s.Language = languageName(s.Language)
			s.Prompt, _ = e.Text("prompt")
			s.Text, _ = e.Text("text")
			p.Samples = append(p.Samples, s)
		case "spike", "nan":
			action, _ := e.Text("action")
			loss, _ := e.Float("loss")
			p.Notes = append(p.Notes, fmt.Sprintf("Step %d: %s, loss %.3f, %s. Documents are in events.jsonl.", e.Step, map[string]string{"spike": "loss spike", "nan": "no number"}[e.Kind], loss, action))
		case "rewind":
			loss, _ := e.Float("loss")
			from, _ := e.Int("from")
			first, _ := e.Int("first")
			last, _ := e.Int("last")
			p.Notes = append(p.Notes, fmt.Sprintf("Step %d: loss spike, loss %.3f; back to step %d, and on without the batches of steps %d to %d. Documents are in events.jsonl.", from, loss, e.Step, first, last))
		case "breach":
			group, _ := e.Text("group")
			change, _ := e.Float("change")
			limit, _ := e.Float("limit")
			action, _ := e.Text("action")
			if unit, _ := e.Text("unit"); unit == "points" {
				p.Notes = append(p.Notes, fmt.Sprintf("Step %d: %s beyond its limit, %+.2f points of %+.2f: %s.", e.Step, group, -100*change, -100*limit, action))
				break
			}
			p.Notes = append(p.Notes, fmt.Sprintf("Step %d: %s beyond its limit, %+.2f %% of %+.2f %%: %s.", e.Step, languageName(group), 100*change, 100*limit, action))
		case "branch":
			p.Notes = append(p.Notes, fmt.Sprintf("Branched off from another run at step %d.", e.Step))
		case "valid":
			language, _ := e.Text("language")
			if source, _ := e.Text("source"); source != "" {
				continue
			}
			i, ok := at[language]
			if !ok {
				i = len(p.Bits)
				at[language] = i
				p.Bits = append(p.Bits, web.Series{Name: languageName(language)})
			}
			bpb, _ := e.Float("bpb")
			p.Bits[i].Points = append(p.Bits[i].Points, web.Point{Step: e.Step, Value: bpb})
		}
	}
	return p
}

func (f *Flow) pageScores(r *web.Report) error {
	cs, err := ReadComparisons(f.Folder)
	if err != nil {
		return err
	}
	for _, c := range cs {
		r.Changes = append(r.Changes, web.ChangeRow{Dataset: c.Dataset, Group: c.Group, Metric: c.Metric, Base: c.Base, Result: c.Result, Difference: c.Difference, Verdict: c.Verdict})
	}
	for _, c := range mainComparisons(cs) {
		if language, ok := strings.CutPrefix(c.Group, "language="); ok {
			word := map[string]string{"better": "improved", "worse": "got worse", "~": "did not change beyond the interval"}[c.Verdict]
			r.Verdict = append(r.Verdict, fmt.Sprintf("%s held-out text %s: %.3f → %.3f bits per byte, %s.", languageName(language), word, c.Base, c.Result, difference(c.Difference)))
		}
	}
	records, err := eval.ReadRecords(f.Folder.RecordsFile())
	if err != nil {
		return err
	}
	for _, rec := range records {
		if rec.Ravn == nil {
			continue
		}
		r.Small = r.Small || rec.Ravn.Small
		for _, metric := range sortedKeys(rec.Ravn.Estimates) {
			if !strings.Contains(metric, "source=") {
				r.Scores = append(r.Scores, web.ScoreRow{Dataset: rec.Dataset, Metric: metric, Model: rec.Model, Estimate: rec.Ravn.Estimates[metric], Warnings: rec.Ravn.Warnings})
			}
		}
	}
	return nil
}

func (f *Flow) pageRights(r *web.Report) error {
	uses, _, err := f.uses()
	if err != nil {
		return err
	}
	d := rights.Gate(uses, f.policy())
	r.Rights = &web.Rights{Allowed: d.Allowed, License: d.License, Why: d.Why, Credits: d.Attribution, Warnings: d.Warnings}
	for _, x := range d.Findings {
		row := web.RightsRow{Section: x.Section, License: x.License, Class: string(x.Class), Verdict: string(x.Verdict), Reason: x.Reason, Tokens: x.Tokens, Share: x.Share}
		if x.Verdict != rights.Allowed {
			row.Examples = x.Examples
		}
		r.Rights.Findings = append(r.Rights.Findings, row)
	}
	return nil
}

// pageTrace shows the first rows of a step in the middle of the run.
func (f *Flow) pageTrace(r *web.Report) error {
	tr, err := OpenTrace(f.Folder.Dir, continuedPhase)
	if err != nil {
		return err
	}
	defer tr.Close()
	outcome, err := train.ReadOutcome(f.Folder.Dir, f.Recipe.Train.Steps)
	if err != nil {
		return err
	}
	step := (outcome.Steps + 1) / 2
	s, err := tr.Step(step, false)
	if err != nil {
		return err
	}
	r.Trace = &web.Trace{Step: step}
	for _, d := range s.Documents[:min(12, len(s.Documents))] {
		r.Trace.Spans = append(r.Trace.Spans, web.TraceSpan{Row: d.Row, At: d.At, Len: d.Len, Section: d.Section, Document: d.Document, Licenses: d.License})
	}
	return nil
}
