package leaderboard

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"ravn/stats"
)

// Against says how a row stands to the model that it was continued from. Differences are the row's score minus its
// base's, so below zero is worse, but for bits per byte.
type Against struct {
	Base     string                    `json:"base"`
	Paired   bool                      `json:"paired"`             // on the same items; else of the two intervals, as if independent
	Columns  map[string]stats.Estimate `json:"columns"`            // averages, over the data sets that both have
	Datasets map[string]stats.Estimate `json:"datasets,omitempty"` // by name
	Bits     map[string]stats.Estimate `json:"bits,omitempty"`     // by "DATASET PART"
	Worse    []string                  `json:"worse,omitempty"`    // columns, data sets and texts on which the row is told apart as worse
}

// IsWorse tells whether the row is told apart from its base as worse on a column, data set or text.
func (a *Against) IsWorse(what string) bool { return a != nil && slices.Contains(a.Worse, what) }

// Column is the difference of an average; ok is false where there is none.
func (a *Against) Column(name string) (d stats.Estimate, ok bool) {
	if a != nil {
		d, ok = a.Columns[name]
	}
	return d, ok
}

// Dataset is the difference on a data set; ok is false where there is none.
func (a *Against) Dataset(name string) (d stats.Estimate, ok bool) {
	if a != nil {
		d, ok = a.Datasets[name]
	}
	return d, ok
}

// against compares each row with its base, where one is known: by the records, or by Options.Bases.
func (t *Table) against(bases map[string]string) error {
	used := map[string]bool{}
	for i := range t.Rows {
		row := &t.Rows[i]
		if base, ok := bases[row.model]; ok {
			used[row.model] = true
			if base != row.base {
				row.base = base
				row.unpair()
			}
		}
		if row.base == "" {
			continue
		}
		a := &Against{Base: row.base, Columns: map[string]stats.Estimate{}, Datasets: map[string]stats.Estimate{}, Bits: map[string]stats.Estimate{}}
		var other *Row
		for k := range t.Rows {
			if t.Rows[k].model == row.base && strings.TrimPrefix(t.Rows[k].key, row.base) == strings.TrimPrefix(row.key, row.model) {
				other = &t.Rows[k]
			}
		}
		a.compare(row, other)
		if len(a.Datasets)+len(a.Bits) == 0 {
			t.note("%s is not compared with its base %s: no record of that, asked the same way.", row.Model, row.base)
			continue
		}
		t.averageDifferences(a)
		a.findWorse(t)
		row.Against = a
	}
	for model := range bases {
		if !used[model] {
			return fmt.Errorf("leaderboard: a base is named for %q, which has no record", model)
		}
	}
	return nil
}

func (row *Row) unpair() {
	for _, list := range [][]Score{row.Scores, row.Bits} {
		for i := range list {
			list[i].difference = nil
		}
	}
}

// compare fills differences of data sets and texts: those of the records, which are paired, or of the two intervals.
func (a *Against) compare(row, other *Row) {
	a.Paired = true
	one := func(s *Score, of []Score) (stats.Estimate, bool) {
		if s.difference != nil {
			return *s.difference, true
		}
		for i := range of {
			if b := &of[i]; b.Name == s.Name && b.Part == s.Part && b.Metric == s.Metric {
				a.Paired = false
				return apart(s.Estimate, b.Estimate), true
			}
		}
		return stats.Estimate{}, false
	}
	var scores, bits []Score
	if other != nil {
		scores, bits = other.Scores, other.Bits
	}
	for i := range row.Scores {
		if d, ok := one(&row.Scores[i], scores); ok {
			a.Datasets[row.Scores[i].Name] = d
		}
	}
	for i := range row.Bits {
		if d, ok := one(&row.Bits[i], bits); ok {
			a.Bits[row.Bits[i].text()] = d
		}
	}
}

// text names a part of a set of texts.
func (s *Score) text() string { return strings.TrimSpace(s.Name + " " + s.Part) }

// apart is the difference of two estimates taken as independent.
func apart(x, y stats.Estimate) stats.Estimate {
	d := x.Value - y.Value
	return stats.Estimate{
		Value: d, Low: d - math.Hypot(x.Value-x.Low, y.High-y.Value), High: d + math.Hypot(x.High-x.Value, y.Value-y.Low),
		Level: x.Level, N: min(x.N, y.N), SE: math.Hypot(x.SE, y.SE), Method: "difference of two estimates taken as independent",
	}
}

// averageDifferences are means as those of the scores: of data sets to tasks, languages, and Overall.
func (t *Table) averageDifferences(a *Against) {
	var languages []stats.Estimate
	for _, language := range t.Languages {
		var means []stats.Estimate
		tasks, byTask := t.setsOf(language)
		for _, task := range tasks {
			var es []stats.Estimate
			for _, name := range byTask[task] {
				if d, ok := a.Datasets[name]; ok {
					es = append(es, d)
				}
			}
			if len(es) > 0 {
				means = append(means, stats.MeanOf(es))
			}
		}
		if len(means) > 0 {
			a.Columns[language] = stats.MeanOf(means)
			languages = append(languages, a.Columns[language])
		}
	}
	if len(languages) > 0 {
		a.Columns[Overall] = stats.MeanOf(languages)
	}
}

// findWorse lists where the row is told apart from its base as worse: averages each by itself, data sets and texts as
// two families (Holm).
func (a *Against) findWorse(t *Table) {
	for _, column := range append([]string{Overall}, t.Languages...) {
		if d, ok := a.Columns[column]; ok && d.High < 0 {
			a.Worse = append(a.Worse, column)
		}
	}
	family := func(of map[string]stats.Estimate, worse func(d stats.Estimate) bool) {
		var names []string
		for name := range of {
			names = append(names, name)
		}
		slices.Sort(names)
		p := make([]float64, len(names))
		for i, name := range names {
			p[i] = probability(of[name])
		}
		for i, adjusted := range stats.Holm(p) {
			if d := of[names[i]]; worse(d) && (adjusted < 0.05 || math.IsNaN(adjusted)) {
				a.Worse = append(a.Worse, names[i])
			}
		}
	}
	family(a.Datasets, func(d stats.Estimate) bool { return d.High < 0 })
	family(a.Bits, func(d stats.Estimate) bool { return d.Low > 0 })
}

// probability is the estimate's own p-value, or that of its value over its standard error; NaN where neither is known.
func probability(d stats.Estimate) float64 {
	switch {
	case d.P > 0:
		return d.P
	case d.SE > 0:
		return math.Erfc(math.Abs(d.Value) / d.SE / math.Sqrt2)
	}
	return math.NaN()
}

// Warnings are a line for each row that is worse than its base, published ones too.
func (t *Table) Warnings() []string {
	var out []string
	for i := range t.Rows {
		row := &t.Rows[i]
		a := row.Against
		if a == nil || len(a.Worse) == 0 {
			continue
		}
		var parts, sets []string
		for _, what := range a.Worse {
			if d, ok := a.Columns[what]; ok {
				parts = append(parts, what+" "+interval(d))
			} else if d, ok := a.Datasets[what]; ok {
				sets = append(sets, what+" "+interval(d))
			}
		}
		if len(sets) > 4 { // the table marks them
			sets = []string{fmt.Sprintf("%d of %d data sets", len(sets), len(a.Datasets))}
		}
		parts = append(parts, sets...)
		for _, what := range a.Worse {
			if d, ok := a.Bits[what]; ok {
				parts = append(parts, what+" "+interval(d))
			}
		}
		how := "95 % intervals, paired on the same items"
		if !a.Paired {
			how = "95 % intervals as if the two were independent"
		}
		out = append(out, fmt.Sprintf("%s is worse than its base %s: %s (%s).", row.Model, a.Base, strings.Join(parts, ", "), how))
	}
	if t.Published != nil {
		for i := range t.Published.Rows {
			p := &t.Published.Rows[i]
			var parts []string
			for _, column := range append([]string{Overall}, t.Languages...) {
				if d, worse, ok := t.Published.Against(p, column); ok && worse {
					parts = append(parts, fmt.Sprintf("%s %s", column, signed(d)))
				}
			}
			if len(parts) > 0 {
				out = append(out, fmt.Sprintf("%s ‡ is worse than its base %s: %s (as published; each beyond the two ± together).", p.Model, p.Base, strings.Join(parts, ", ")))
			}
		}
	}
	return out
}

// Against is a published row minus the row of its base; worse when it is below by more than the two ± together.
func (p *Published) Against(row *PublishedRow, column string) (d float64, worse, ok bool) {
	i := slices.IndexFunc(p.Rows, func(r PublishedRow) bool { return row.Base != "" && r.Model == row.Base })
	mine, ok := row.Column(column)
	if i < 0 || !ok {
		return 0, false, false
	}
	its, _ := p.Rows[i].Column(column)
	d = mine[0] - its[0]
	return d, d < -math.Hypot(mine[1], its[1]), true
}

// signed writes a difference with its sign, and a real minus.
func signed(d float64) string {
	s := fmt.Sprintf("%+.2f", d)
	if strings.TrimLeft(s, "+-0.") == "" {
		return "0.00"
	}
	return strings.ReplaceAll(s, "-", "−")
}

// interval writes a difference with its interval; small ones, of bits, with three decimals.
func interval(d stats.Estimate) string {
	if math.Abs(d.Value) < 0.1 {
		return strings.ReplaceAll(fmt.Sprintf("%+.3f [%+.3f, %+.3f]", d.Value, d.Low, d.High), "-", "−")
	}
	return fmt.Sprintf("%s [%s, %s]", signed(d.Value), signed(d.Low), signed(d.High))
}

// Verdict marks a difference of scores: ▼ told apart as worse, ▲ as better, ~ not told apart.
func Verdict(d stats.Estimate) string {
	switch {
	case d.High < 0:
		return "▼"
	case d.Low > 0:
		return "▲"
	}
	return "~"
}

// Compared tells whether some row, or published row, is shown beside its base.
func (t *Table) Compared() bool {
	return slices.ContainsFunc(t.Rows, func(r Row) bool { return r.Against != nil && len(r.Scores) > 0 }) ||
		t.Published != nil && slices.ContainsFunc(t.Published.Rows, func(r PublishedRow) bool { return r.Base != "" })
}
