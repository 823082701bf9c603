package leaderboard

import (
	"fmt"
	"slices"
	"strings"
)

// note adds a footnote once and returns its number.
func (t *Table) note(format string, args ...any) int {
	text := fmt.Sprintf(format, args...)
	if i := slices.Index(t.Footnotes, text); i >= 0 {
		return i + 1
	}
	t.Footnotes = append(t.Footnotes, text)
	return len(t.Footnotes)
}

// notes writes everything that a reader must know beside the numbers, and marks the cells.
func (t *Table) notes() {
	for i := range t.Rows {
		row := &t.Rows[i]
		for j := range row.Scores {
			t.scoreNotes(&row.Scores[j])
		}
		for j := range row.Bits {
			t.scoreNotes(&row.Bits[j])
		}
		for _, column := range append([]string{Overall}, t.Languages...) {
			if c := row.Columns[column]; c != nil {
				t.cellNotes(row, column, c)
			}
		}
	}
	if t.Compatible {
		t.note("As ScandEval's leaderboard of January 2024: cells are rounded to two decimals before they are averaged, and ± is the mean of the cells' ±, not an interval of the mean. A model without every data set has no average.")
	} else {
		t.note("± is half a 95 %% interval, propagated from the data sets as independent. Rank ~ is not told apart from the rank above it (unpaired; a paired comparison of two models says more).")
	}
	if t.Compared() {
		t.note("▼ is told apart from its base as worse: averages each by itself, data sets and texts adjusted for their number (Holm). Differences of averages are over the data sets that both have.")
	}
	for _, language := range t.Languages {
		tasks, byTask := t.setsOf(language)
		if len(tasks) == 0 {
			t.note("No data set here is %s.", language)
			continue
		}
		var parts []string
		for _, task := range tasks {
			parts = append(parts, fmt.Sprintf("%s (%s)", task, strings.Join(byTask[task], ", ")))
		}
		t.note("%s is the mean of %s.", language, strings.Join(parts, ", "))
	}
	if t.Published != nil {
		t.note("Rows marked ‡: %s. Source: %s.", t.Published.Mark, t.Published.Source)
	}
}

func (t *Table) scoreNotes(s *Score) {
	add := func(format string, args ...any) { s.Notes = append(s.Notes, t.note(format, args...)) }
	for _, w := range s.Warnings {
		if s.Seen > 0 && strings.Contains(w, "found in the training text") {
			continue // the mark says it
		}
		add("%s: %s.", s.Name, w)
	}
	for _, w := range s.Estimate.Warnings {
		add("%s: %s.", strings.TrimSpace(s.Name+" "+s.Part), w)
	}
	if s.Seen > 0 {
		add("† %s: %.1f %% of the items were found in the training text.", s.Name, 100*s.Seen)
	}
	if !s.Checked {
		add("Not checked against the training text: %s.", s.Name)
	}
}

func (t *Table) cellNotes(row *Row, column string, c *Cell) {
	if len(c.Missing) > 0 {
		c.Notes = append(c.Notes, t.note("%s, %s: averaged over other data sets than the full rows, without %s.", row.Model, column, strings.Join(c.Missing, ", ")))
	}
}

// seen tells whether a column of a row rests on a contaminated score.
func (t *Table) seen(row *Row, column string) bool {
	return slices.ContainsFunc(row.Scores, func(s Score) bool {
		return s.Seen > 0 && (column == Overall || s.Language == column)
	})
}

// small tells whether a column of a row rests on small or synthetic material.
func (t *Table) small(row *Row, column string) bool {
	return slices.ContainsFunc(row.Scores, func(s Score) bool {
		return s.Small && (column == Overall || s.Language == column)
	})
}
