package task

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"ravn/eval"
	"ravn/stats"
)

// Comparison is one metric of two models on the same items.
type Comparison struct {
	Dataset     string         `json:"dataset"`
	Task        string         `json:"task"`
	Languages   []string       `json:"languages"`
	Metric      string         `json:"metric"`          // "mcc", "bpb"
	Group       string         `json:"group,omitempty"` // part of a data set: "language=da", "source=adl", "clean"
	LowerBetter bool           `json:"lower_better,omitempty"`
	Base        float64        `json:"base"`
	Result      float64        `json:"result"`
	Difference  stats.Estimate `json:"difference"`           // result minus base, paired
	Detectable  float64        `json:"detectable"`           // smallest true difference that is found four times in five; 0 unknown
	Adjusted    float64        `json:"adjusted_p,omitempty"` // Holm's p-value among the comparisons of the family, see Adjust; 0: not in it
	Family      int            `json:"family,omitempty"`     // comparisons in the family
	Verdict     string         `json:"verdict"`              // "better", "worse" or "~", the result against the base
	Warnings    []string       `json:"warnings,omitempty"`
}

// String writes one line of a comparison.
func (c *Comparison) String() string {
	name := c.Dataset + " " + c.Metric
	if c.Group != "" {
		name += " " + c.Group
	}
	return fmt.Sprintf("%s: %.4g → %.4g, %s", name, c.Base, c.Result, c.Difference.Difference())
}

// verdict of a difference.
func verdict(d stats.Estimate, lower bool) string {
	switch {
	case !d.Resolved():
		return "~"
	case d.Value > 0 != lower:
		return "better"
	}
	return "worse"
}

// Adjust controls what looking at many data sets does: the comparisons of whole data sets in the metric that counts are
// one family, their p-values are adjusted (Holm), and those not below 0.05 become "~". Other comparisons, of parts and of
// further metrics, keep their own verdicts, which hold for one question asked by itself.
func Adjust(cs []Comparison) {
	first := map[string]bool{}
	var at []int
	var p []float64
	for i := range cs {
		c := &cs[i]
		if c.Group != "" || first[c.Dataset] {
			continue
		}
		first[c.Dataset] = true
		v := c.Difference.P
		if v == 0 {
			v = math.NaN()
		}
		at, p = append(at, i), append(p, v)
	}
	for k, adjusted := range stats.Holm(p) {
		c := &cs[at[k]]
		c.Family = len(at)
		if math.IsNaN(adjusted) {
			continue
		}
		c.Adjusted = adjusted
		if adjusted >= 0.05 {
			c.Verdict = "~"
		}
	}
}

// Against notes in the record of result how it differs from its base, as far as comparisons tell. Floors are nobody's base
// and have none.
func Against(result *eval.Record, base *eval.Record, comparisons []Comparison) {
	if result.Ravn == nil || base.Ravn == nil || strings.HasPrefix(result.Model, "ravn/") || strings.HasPrefix(base.Model, "ravn/") {
		return
	}
	b := &eval.Base{Model: base.Model, ModelHash: base.Ravn.ModelHash, Differences: map[string]stats.Estimate{}}
	for i := range comparisons {
		if c := &comparisons[i]; c.Dataset == result.Dataset {
			name := c.Metric
			if c.Group != "" {
				name += "/" + c.Group
			}
			b.Differences[name] = c.Difference
		}
	}
	result.Ravn.Base = b
}

// TaskDifference is the mean difference of a task over its data sets.
type TaskDifference struct {
	Task       string         `json:"task"`
	Datasets   []string       `json:"datasets"`
	Difference stats.Estimate `json:"difference"`
	Detectable float64        `json:"detectable"` // smallest true difference that is found four times in five; 0 unknown
}

// ByTask averages the comparisons of whole data sets in the metric that counts, tasks in the order met.
func ByTask(cs []Comparison) []TaskDifference {
	var out []TaskDifference
	parts := map[string][]stats.Estimate{}
	seen := map[string]bool{}
	for i := range cs {
		c := &cs[i]
		if c.Group != "" || seen[c.Dataset] {
			continue
		}
		seen[c.Dataset] = true
		k := slices.IndexFunc(out, func(t TaskDifference) bool { return t.Task == c.Task })
		if k < 0 {
			k = len(out)
			out = append(out, TaskDifference{Task: c.Task})
		}
		out[k].Datasets = append(out[k].Datasets, c.Dataset)
		parts[c.Task] = append(parts[c.Task], c.Difference)
	}
	for k := range out {
		out[k].Difference = stats.MeanOf(parts[out[k].Task])
		if d := out[k].Difference.Detectable(); !math.IsNaN(d) {
			out[k].Detectable = d
		}
	}
	return out
}

// Compare sets a result against its base on the items both were asked, metric by metric, the primary one first. Items
// are resampled in pairs and the metrics recomputed; for texts the documents are. Differences of entity F1 are of the
// strict count in every mode.
func Compare(base, result *Result, o stats.BootstrapOptions) ([]Comparison, error) {
	if err := comparable(&base.Record, &result.Record); err != nil {
		return nil, err
	}
	if base.Record.Task == BitsPerByte {
		return compareTexts(base, result, o)
	}
	d := Spec{Task: base.Record.Task}
	k, ok := kinds[d.Task]
	if !ok {
		return nil, fmt.Errorf("task: %s: task %q is not known", base.Record.Dataset, d.Task)
	}
	if base.Record.Ravn.Primary == bitsPerCharacterName {
		k = bitsPerCharacter{k}
	}
	draws, err := samePairs(base, result)
	if err != nil {
		return nil, err
	}
	if _, bpc := k.(bitsPerCharacter); k.labels() > 1 && !bpc {
		d.Labels = make([]Label, squareRoot(len(base.Predictions[0].Counts)))
	}
	var out []Comparison
	parts := []string{""}
	if anySeen(base, result) {
		parts = append(parts, "clean")
	}
	seen := seenRows(base, result)
	for _, part := range parts {
		var keep func(p *eval.Prediction) bool
		if part == "clean" {
			keep = func(p *eval.Prediction) bool { return !seen[p.Row] }
		}
		rows, a := sumsByRow(base.Predictions, draws, keep)
		_, b := sumsByRow(result.Predictions, draws, keep)
		if len(rows) == 0 {
			continue
		}
		for _, m := range k.metrics(&d, quirksOf(base.Record.Ravn.Quirks)) {
			diff := stats.PairedCrossed(b, a, func(sums []float64) float64 { return m.scale * m.value(sums) }, o)
			diff.Method += " of items"
			c := newComparison(base, result, m, part, diff)
			f := meanOverDraws(m, draws)
			c.Base, c.Result = whole(a.Sums, f), whole(b.Sums, f)
			out = append(out, c)
		}
	}
	return out, nil
}

func newComparison(base, result *Result, m metric, group string, diff stats.Estimate) Comparison {
	r := &base.Record
	c := Comparison{
		Dataset: r.Dataset, Task: r.Task, Languages: r.DatasetLanguages, Metric: m.name, Group: group,
		LowerBetter: m.lower, Difference: diff, Verdict: verdict(diff, m.lower),
		Warnings: slices.Clone(diff.Warnings),
	}
	if d := diff.Detectable(); !math.IsNaN(d) {
		c.Detectable = d
	}
	if x, y := base.Record.Ravn.PromptsHash, result.Record.Ravn.PromptsHash; x != "" && y != "" && x != y {
		c.Warnings = append(c.Warnings, "the two models were not asked with the same prompts (examples were dropped to fit the context)")
	}
	if r.Ravn.Small {
		c.Warnings = append(c.Warnings, "small or synthetic material")
	}
	return c
}

func whole(s stats.Sums, f func([]float64) float64) float64 {
	sums := make([]float64, s.Dims)
	for i, v := range s.Data {
		sums[i%s.Dims] += v
	}
	return f(sums)
}

// comparable reports everything that makes two records no pair.
func comparable(a, b *eval.Record) error {
	if a.Ravn == nil || b.Ravn == nil {
		return fmt.Errorf("task: %s: a record of another program has no answers to pair", a.Dataset)
	}
	var errs []error
	same := func(what string, x, y any) {
		if x != y {
			errs = append(errs, fmt.Errorf("%s %v and %v", what, x, y))
		}
	}
	same("data sets", a.Dataset, b.Dataset)
	same("tasks", a.Task, b.Task)
	same("modes", a.Ravn.Mode, b.Ravn.Mode)
	same("rows with hash", a.Ravn.DataHash, b.Ravn.DataHash)
	same("items", a.Ravn.Items, b.Ravn.Items)
	same("iterations", a.Ravn.Iterations, b.Ravn.Iterations)
	same("validation split", a.ValidationSplit, b.ValidationSplit)
	same("examples", a.FewShot, b.FewShot)
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("task: %s and %s were not asked the same (evaluate both alike): %s", a.Model, b.Model, strings.ReplaceAll(err.Error(), "\n", "; "))
	}
	return nil
}

// samePairs checks that both have an answer to the same rows in the same draws.
func samePairs(base, result *Result) (draws int, err error) {
	if len(base.Predictions) == 0 || len(base.Predictions) != len(result.Predictions) {
		return 0, fmt.Errorf("task: %s: %d and %d answers do not pair", base.Record.Dataset, len(base.Predictions), len(result.Predictions))
	}
	for i := range base.Predictions {
		p, q := &base.Predictions[i], &result.Predictions[i]
		if p.Draw != q.Draw || p.Row != q.Row || p.Times != q.Times || len(p.Counts) != len(q.Counts) {
			return 0, fmt.Errorf("task: %s: answer %d is to row %d of draw %d and to row %d of draw %d", base.Record.Dataset, i, p.Row, p.Draw, q.Row, q.Draw)
		}
		draws = max(draws, p.Draw+1)
	}
	return draws, nil
}

func compareTexts(base, result *Result, o stats.BootstrapOptions) ([]Comparison, error) {
	if _, err := samePairs(base, result); err != nil {
		return nil, err
	}
	var out []Comparison
	names, member := groups(base.Predictions)
	for _, name := range names {
		var a, b, size []float64
		var sumA, sumB, bytes float64
		for i := range base.Predictions {
			p, q := &base.Predictions[i], &result.Predictions[i]
			if !member(p, name) {
				continue
			}
			if p.Counts[1] != q.Counts[1] {
				return nil, fmt.Errorf("task: %s: text %q has %v and %v bytes", base.Record.Dataset, p.ID, p.Counts[1], q.Counts[1])
			}
			a, b, size = append(a, p.Counts[0]), append(b, q.Counts[0]), append(size, p.Counts[1])
			sumA, sumB, bytes = sumA+p.Counts[0], sumB+q.Counts[0], bytes+p.Counts[1]
		}
		diff := stats.PairedRatio(b, a, size, o)
		diff.Method += " of documents"
		c := newComparison(base, result, bitsMetric, name, diff)
		c.Base, c.Result = sumA/bytes, sumB/bytes
		if lang, ok := strings.CutPrefix(name, "language="); ok {
			c.Languages = []string{lang}
		}
		out = append(out, c)
	}
	return out, nil
}

func seenRows(rs ...*Result) map[int]bool {
	seen := map[int]bool{}
	for _, r := range rs {
		for i := range r.Predictions {
			if r.Predictions[i].Seen {
				seen[r.Predictions[i].Row] = true
			}
		}
	}
	return seen
}

func anySeen(rs ...*Result) bool { return len(seenRows(rs...)) > 0 }

func squareRoot(n int) int {
	for i := range n + 1 {
		if i*i == n {
			return i
		}
	}
	return 0
}
