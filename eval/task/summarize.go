package task

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"ravn/eval"
	"ravn/stats"
)

// summary is what is known of a run besides its answers.
type summary struct {
	all, asked int // rows of the split; rows asked
	prompts    int // distinct
}

// smallItems is the number of items below which a data set is called small.
const smallItems = 100

func summarize(k kind, m eval.Model, d *Dataset, draws []*draw, o Options, s summary) *Result {
	r := &Result{Record: newRecord(m, d, o)}
	p := r.Record.Ravn
	p.Items, p.RowsInSplit, p.Limit, p.Prompts = s.asked, s.all, o.Limit, s.prompts
	p.Iterations, p.PromptsHash = len(draws), hashPrompts(draws)
	if g := grammarOf(k, d, o); g != nil && m.Info().Grammars {
		p.Grammar = g.Name()
	}
	p.Shots, p.Answers = useOfShots(d, draws, o), countAnswers(draws, k.choices(&d.Spec, draws[0].items[0].row) == nil, o)
	r.Predictions = predictions(draws, o)
	metrics := k.metrics(&d.Spec, o.quirks())
	p.Primary, p.LowerBetter, p.Quirks = metrics[0].name, metrics[0].lower, o.quirks().names()
	for i := range draws {
		r.Record.Results.Raw.Test = append(r.Record.Results.Raw.Test, rawScores(k, metrics, draws[i], o))
	}
	total(&r.Record, metrics)
	estimate(p, metrics, r.Predictions, len(draws), o, r.Record.Results.Raw.Test)
	if o.Seen != nil {
		markSeen(p, metrics, r.Predictions, len(draws), o)
	}
	warn(p, d)
	return r
}

func newRecord(m eval.Model, d *Dataset, o Options) eval.Record {
	info := m.Info()
	return eval.Record{
		Dataset: d.Name, Task: d.Task, DatasetLanguages: d.Languages, Model: info.Name,
		Results:            eval.Results{Total: map[string]eval.Score{}},
		NumModelParameters: info.Params, MaxSequenceLength: info.MaxTokens, VocabularySize: info.VocabSize,
		Generative: info.Generative, FewShot: !o.ZeroShot && d.Shots > 0, ValidationSplit: o.Split == "val",
		Ravn: &eval.Provenance{
			Version: o.Version, Mode: o.mode(), ModelHash: info.Hash, DataHash: d.Hash(), StandsFor: d.StandsFor,
			DataLicense: d.License, Small: d.Synthetic, Estimates: map[string]stats.Estimate{},
		},
	}
}

func useOfShots(d *Dataset, draws []*draw, o Options) eval.ShotUse {
	if o.ZeroShot {
		return eval.ShotUse{}
	}
	u := eval.ShotUse{Asked: d.Shots, Least: d.Shots}
	n, sum := 0, 0
	for _, dr := range draws {
		for _, a := range dr.items {
			n, sum = n+1, sum+a.shots
			u.Least = min(u.Least, a.shots)
			if a.shots < dr.examples {
				u.Shortened++
			}
			if a.truncated {
				u.Truncated++
			}
		}
	}
	u.Mean = float64(sum) / float64(n)
	return u
}

func countAnswers(draws []*draw, written bool, o Options) eval.Answers {
	var c eval.Answers
	for _, dr := range draws {
		for _, a := range dr.items {
			if a.verdict.unreadable {
				c.Unreadable++
			}
			if written {
				if strip(a.out.text) == "" {
					c.Empty++
				}
				continue
			}
			if o.BitsPerCharacter {
				continue
			}
			if c.Labels == nil {
				c.Labels = map[string]int{}
			}
			c.Labels[a.verdict.answer]++
		}
	}
	return c
}

func predictions(draws []*draw, o Options) []eval.Prediction {
	var ps []eval.Prediction
	for i, dr := range draws {
		for _, a := range dr.items {
			ps = append(ps, eval.Prediction{
				Draw: i, Row: a.index, Times: a.times, ID: a.row.ID, Shots: a.shots, Gold: a.verdict.gold,
				Answer: a.verdict.answer, Output: a.out.text, Scores: a.out.logProb, Counts: a.verdict.counts,
				Seen: o.Seen[a.index],
			})
		}
	}
	return ps
}

// rawScores are the metrics of one draw as a record's raw values.
func rawScores(k kind, metrics []metric, dr *draw, o Options) map[string]eval.Score {
	scores := map[string]eval.Score{}
	var sums []float64
	for _, a := range dr.items {
		if sums == nil {
			sums = make([]float64, len(a.verdict.counts))
		}
		for i, v := range a.verdict.counts {
			sums[i] += v + a.repeat.counts[i]*float64(a.times-1)
		}
	}
	for _, m := range metrics {
		scores[m.name] = eval.Score(m.value(sums))
	}
	if c, ok := k.(sequenceScorer); ok {
		c.sequenceScores(scores, dr.order(), o.quirks())
	}
	return scores
}

// sequenceScorer is a kind with scores that are no sums over items: ScandEval's. They replace the others where the quirk
// is copied.
type sequenceScorer interface {
	sequenceScores(scores map[string]eval.Score, items []*asked, q quirks)
}

// sequenceScores is seqeval on tags in lower case over the drawn sequence. The count that is not the mode's own stands
// beside it: "strict_…" or "scandeval_…".
func (entities) sequenceScores(scores map[string]eval.Score, items []*asked, q quirks) {
	var gold, tags, goldNo, tagsNo [][]string
	for _, a := range items {
		g, t := lowerAll(a.row.Tags), strings.Fields(a.verdict.answer)
		gold, tags = append(gold, g), append(tags, t)
		goldNo, tagsNo = append(goldNo, withoutMisc(g)), append(tagsNo, withoutMisc(t))
	}
	for name, f1 := range map[string]float64{"micro_f1": seqevalF1(gold, tags), "micro_f1_no_misc": seqevalF1(goldNo, tagsNo)} {
		strict, ok := scores[name]
		switch {
		case !ok:
		case q.LowerCaseTags:
			scores[name], scores["strict_"+name] = eval.Score(f1), strict
		default:
			scores["scandeval_"+name] = eval.Score(f1)
		}
	}
}

// sequenceScores counts each question id once, the later answer where two rows share an id.
func (questions) sequenceScores(scores map[string]eval.Score, items []*asked, q quirks) {
	if !q.IDsOnce {
		return
	}
	byID := map[string][]float64{}
	var ids []string
	for _, a := range items {
		if byID[a.row.ID] == nil {
			ids = append(ids, a.row.ID)
		}
		byID[a.row.ID] = a.verdict.counts
	}
	var em, f1 float64
	for _, id := range ids {
		em += byID[id][0]
		f1 += byID[id][1]
	}
	n := float64(len(ids))
	scores["em"], scores["f1"] = eval.Score(100*em/n), eval.Score(100*f1/n)
}

// total fills test_METRIC and test_METRIC_se.
func total(r *eval.Record, metrics []metric) {
	scale := map[string]float64{}
	for _, m := range metrics {
		scale[m.name] = m.scale
	}
	for name := range r.Results.Raw.Test[0] {
		var x []float64
		for _, raw := range r.Results.Raw.Test {
			x = append(x, float64(raw[name]))
		}
		by, known := scale[name]
		if !known { // beside the metrics: entity F1 of the other count
			by = 100
		}
		mean, radius := stats.MeanRadius(x)
		r.Results.Total["test_"+name] = eval.Score(by * mean)
		r.Results.Total["test_"+name+"_se"] = eval.Score(by * radius)
	}
}

// sumsByRow lays the counts of all draws of a row side by side, so that a row is resampled with all its answers.
// It returns the rows in ascending order with the table; keep chooses rows.
func sumsByRow(ps []eval.Prediction, draws int, keep func(p *eval.Prediction) bool) (rows []int, s stats.Crossed) {
	dims := 0
	for i := range ps {
		dims = max(dims, len(ps[i].Counts))
		if keep == nil || keep(&ps[i]) {
			rows = append(rows, ps[i].Row)
		}
	}
	slices.Sort(rows)
	rows = slices.Compact(rows)
	at := make(map[int]int, len(rows))
	for i, r := range rows {
		at[r] = i
	}
	s = stats.Crossed{Sums: stats.Sums{Dims: dims * draws, Data: make([]float64, len(rows)*dims*draws)}, Draws: draws}
	for i := range ps {
		p := &ps[i]
		row, ok := at[p.Row]
		if !ok || keep != nil && !keep(p) {
			continue
		}
		dst := s.Data[row*s.Dims+p.Draw*dims:]
		for k, v := range p.Counts {
			dst[k] += v * float64(p.Times)
		}
	}
	return rows, s
}

// itemsAndDraws estimates a metric over the items and draws there could have been.
func itemsAndDraws(c stats.Crossed, m metric, o stats.BootstrapOptions) stats.Estimate {
	e := stats.BootstrapCrossed(c, func(sums []float64) float64 { return m.scale * m.value(sums) }, o)
	e.Method += " of items"
	return e
}

// meanOverDraws makes a statistic of sums laid out by sumsByRow: the metric of each draw, averaged over draws.
func meanOverDraws(m metric, draws int) func(sums []float64) float64 {
	return func(sums []float64) float64 {
		dims := len(sums) / draws
		var total float64
		for i := range draws {
			total += m.value(sums[i*dims : (i+1)*dims])
		}
		return m.scale * total / float64(draws)
	}
}

// estimate gives each metric its interval. In mode ravn rows are resampled; in the mode of 2024 the interval is
// ScandEval's own, from the spread of its bootstrap samples.
func estimate(p *eval.Provenance, metrics []metric, ps []eval.Prediction, draws int, o Options, raw []map[string]eval.Score) {
	if o.compatible() {
		for _, m := range metrics {
			var x []float64
			for _, r := range raw {
				x = append(x, m.scale*float64(r[m.name]))
			}
			mean, radius := stats.MeanRadius(x)
			p.Estimates[m.name] = stats.Estimate{
				Value: mean, Low: mean - radius, High: mean + radius, Level: 0.95, N: p.Items, SE: radius / 1.96,
				Method: fmt.Sprintf("mean and 1.96 s/√%d over bootstrap samples (ScandEval)", len(x)),
			}
		}
	}
	suffix := ""
	if o.compatible() { // beside ScandEval's, over items and draws; see docs/design/statistics.md
		suffix = "/propagated"
	}
	_, sums := sumsByRow(ps, draws, nil)
	for _, m := range metrics {
		p.Estimates[m.name+suffix] = itemsAndDraws(sums, m, o.Bootstrap)
	}
}

// markSeen counts contaminated items and adds estimates on the clean ones, "METRIC/clean".
func markSeen(p *eval.Provenance, metrics []metric, ps []eval.Prediction, draws int, o Options) {
	c := &eval.Contamination{Against: o.SeenAgainst, Items: p.Items}
	for row, seen := range o.Seen {
		if seen && row >= 0 && row < p.Items {
			c.Hit++
		}
	}
	p.Contamination = c
	if c.Hit == 0 {
		return
	}
	p.Warnings = append(p.Warnings, fmt.Sprintf("%d of %d items (%.1f %%) were found in the training text", c.Hit, c.Items, 100*c.Share()))
	if c.Hit == c.Items {
		return
	}
	_, sums := sumsByRow(ps, draws, func(p *eval.Prediction) bool { return !p.Seen })
	for _, m := range metrics {
		e := itemsAndDraws(sums, m, o.Bootstrap)
		e.Method += ", of the items not found in the training text"
		p.Estimates[m.name+"/clean"] = e
	}
}

func warn(p *eval.Provenance, d *Dataset) {
	add := func(format string, args ...any) { p.Warnings = append(p.Warnings, fmt.Sprintf(format, args...)) }
	if d.Synthetic {
		add("the items are made up, the score says nothing about a real benchmark")
	}
	if p.Items < smallItems {
		p.Small = true
		add("only %d items", p.Items)
	}
	if p.Limit > 0 && p.Limit < p.RowsInSplit {
		add("limited to the first %d of %d items", p.Items, p.RowsInSplit)
	}
	if p.StandsFor != "" {
		add("%s stands for %s, whose rows are not here; scores are not comparable with those published", d.Name, p.StandsFor)
	}
	if p.Shots.Shortened > 0 {
		add("%d prompts lost examples to fit the context (%.1f of %d on average)", p.Shots.Shortened, p.Shots.Mean, p.Shots.Asked)
	}
	if p.Shots.Truncated > 0 {
		add("%d prompts were cut on the left to fit the context", p.Shots.Truncated)
	}
	if p.Answers.Unreadable > 0 {
		add("%d of %d answers could not be read and count as wrong", p.Answers.Unreadable, p.Prompts)
	}
	if d.Task == Summaries {
		add("BERTScore, which ScandEval's leaderboard counted, needs a model of its own and is missing; %s stands here", p.Primary)
	}
	if one := onlyLabel(p.Answers.Labels); one != "" {
		add("every answer was %q", one)
	}
	if e := p.Estimates[p.Primary]; math.IsNaN(e.Value) {
		add("%s has no value", p.Primary)
	}
}

// onlyLabel is the label that all answers fell on.
func onlyLabel(counts map[string]int) string {
	if len(counts) != 1 {
		return ""
	}
	for label := range counts {
		return label
	}
	return ""
}
