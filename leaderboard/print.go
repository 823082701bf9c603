package leaderboard

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"

	"ravn/eval"
)

// Markdown writes what is worse than its base, the table, the scores it is made of, bits per byte, published rows and footnotes.
func (t *Table) Markdown() string {
	var b strings.Builder
	for _, w := range t.Warnings() {
		fmt.Fprintf(&b, "> ▼ **%s**\n\n", w)
	}
	t.mainTable(&b)
	if len(t.Sets) > 0 {
		b.WriteString("\nData sets: score, 95 % interval, items\n\n")
		t.setTable(&b)
	}
	t.bitsTable(&b)
	b.WriteString("\n")
	for i, n := range t.Footnotes {
		fmt.Fprintf(&b, "%d. %s\n", i+1, n)
	}
	return b.String()
}

func (t *Table) mainTable(b *strings.Builder) {
	columns := append([]string{Overall}, t.Languages...)
	head := append([]string{"Rank", "Model"}, columns...)
	base := t.Compared()
	if base {
		head = append(head, "Overall − its base")
	}
	line(b, head...)
	rule(b, 2, len(head)-2)
	for i := range t.Rows {
		row := &t.Rows[i]
		if len(row.Scores) == 0 {
			continue
		}
		cells := []string{row.Rank, row.Model}
		for _, column := range columns {
			cells = append(cells, t.cell(row, column))
		}
		if base {
			cells = append(cells, row.Against.overall())
		}
		line(b, cells...)
	}
	if t.Published == nil {
		return
	}
	for i := range t.Published.Rows {
		row := &t.Published.Rows[i]
		name := row.Model + " ‡"
		if row.Note != "" {
			name += " (" + row.Note + ")"
		}
		cells := []string{"–", name}
		for _, column := range columns {
			if c, ok := row.Column(column); ok {
				cell := plusMinus(c[0], c[1])
				if _, worse, ok := t.Published.Against(row, column); ok && worse {
					cell += " ▼"
				}
				cells = append(cells, cell)
			} else {
				cells = append(cells, "–")
			}
		}
		if d, worse, ok := t.Published.Against(row, Overall); ok && worse {
			cells = append(cells, "**"+signed(d)+" ▼**")
		} else if ok {
			cells = append(cells, signed(d))
		} else if base {
			cells = append(cells, "–")
		}
		line(b, cells...)
	}
}

// cell is an average as the main table shows it.
func (t *Table) cell(row *Row, column string) string {
	c := row.Columns[column]
	if c == nil {
		return "–"
	}
	radius := c.Estimate.Radius()
	if t.Compatible {
		radius = float64(c.Radius)
	}
	s := plusMinus(c.Estimate.Value, radius)
	if t.seen(row, column) {
		s += " †"
	}
	if t.small(row, column) {
		s += " (small)"
	}
	if row.Against.IsWorse(column) {
		s += " ▼"
	}
	return s + marks(c.Notes)
}

// overall is the difference from the base as the main table shows it.
func (a *Against) overall() string {
	if a == nil {
		return "–"
	}
	d, ok := a.Columns[Overall]
	if !ok {
		return "–"
	}
	s := interval(d) + " " + Verdict(d)
	if a.IsWorse(Overall) {
		s = "**" + s + "**"
	}
	return s
}

func (t *Table) setTable(b *strings.Builder) {
	head := []string{"Data set", "Metric"}
	for i := range t.Rows {
		if len(t.Rows[i].Scores) > 0 {
			head = append(head, t.Rows[i].Model)
		}
	}
	line(b, head...)
	rule(b, 2, len(head)-2)
	for _, set := range t.Sets {
		cells := []string{set.Name, set.Metric}
		for i := range t.Rows {
			if len(t.Rows[i].Scores) > 0 {
				cells = append(cells, t.Rows[i].scoreCell(set.Name))
			}
		}
		line(b, cells...)
	}
}

func (r *Row) scoreCell(name string) string {
	for _, s := range r.Scores {
		if s.Name == name && r.Against.IsWorse(name) {
			return s.String() + " ▼"
		} else if s.Name == name {
			return s.String()
		}
	}
	return "–"
}

// String writes the score with its interval and marks.
func (s *Score) String() string {
	text := s.Estimate.String()
	if s.Estimate.N == 0 { // a record that does not say how many items
		text = strings.TrimSuffix(text, " n=0")
	}
	if s.Seen > 0 {
		text += " †"
	}
	return text + marks(s.Notes)
}

// bitsTable has a line for each language or source of held-out text.
func (t *Table) bitsTable(b *strings.Builder) {
	type part struct{ set, part string }
	var parts []part
	known := map[part]bool{}
	head := []string{"Text"}
	var rows []*Row
	for i := range t.Rows {
		if len(t.Rows[i].Bits) == 0 {
			continue
		}
		rows = append(rows, &t.Rows[i])
		head = append(head, t.Rows[i].Model)
		for _, s := range t.Rows[i].Bits {
			if p := (part{s.Name, s.Part}); !known[p] {
				known[p] = true
				parts = append(parts, p)
			}
		}
	}
	if len(rows) == 0 {
		return
	}
	b.WriteString("\nBits per byte of held-out text, lower is better: value, 95 % interval, documents\n\n")
	line(b, head...)
	rule(b, 1, len(rows))
	for _, p := range parts {
		cells := []string{p.set + " " + p.part}
		for _, r := range rows {
			text := "–"
			for _, s := range r.Bits {
				if s.Name == p.set && s.Part == p.part {
					text = s.String()
					if r.Against.IsWorse(s.text()) {
						text += " ▼"
					}
				}
			}
			cells = append(cells, text)
		}
		line(b, cells...)
	}
}

func line(b *strings.Builder, cells ...string) {
	for _, c := range cells {
		b.WriteString("| " + strings.ReplaceAll(c, "|", `\|`) + " ")
	}
	b.WriteString("|\n")
}

// rule is the line under the head: words on the left, numbers on the right.
func rule(b *strings.Builder, words, numbers int) {
	b.WriteString(strings.Repeat("| --- ", words) + strings.Repeat("| ---: ", numbers) + "|\n")
}

func plusMinus(v, radius float64) string {
	if math.IsNaN(radius) {
		return fmt.Sprintf("%.2f", v)
	}
	return fmt.Sprintf("%.2f ± %.2f", v, radius)
}

// marks writes the numbers of footnotes in brackets.
func marks(notes []int) string {
	if len(notes) == 0 {
		return ""
	}
	var s []string
	for _, n := range notes {
		s = append(s, strconv.Itoa(n))
	}
	return " [" + strings.Join(s, ",") + "]"
}

// JSON writes everything. Numbers that are missing are null.
func (t *Table) JSON() ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(t); err != nil {
		return nil, fmt.Errorf("leaderboard: %w", err)
	}
	return b.Bytes(), nil
}

// CSV writes one line a number: averages, data sets, parts of texts, published rows.
func (t *Table) CSV() ([]byte, error) {
	var b bytes.Buffer
	w := csv.NewWriter(&b)
	number := func(x float64) string {
		if math.IsNaN(x) {
			return ""
		}
		return strconv.FormatFloat(x, 'g', -1, 64)
	}
	w.Write([]string{"model", "rank", "kind", "name", "task", "language", "metric", "value", "low", "high", "radius", "n", "share_seen", "notes"})
	write := func(row *Row, kind, name string, s *Score) {
		e := s.Estimate
		notes := strings.Trim(marks(s.Notes), " []")
		w.Write([]string{row.Model, row.Rank, kind, name, s.Task, s.Language, s.Metric, number(e.Value), number(e.Low), number(e.High), number(float64(s.Radius)), strconv.Itoa(e.N), number(s.Seen), notes})
	}
	for i := range t.Rows {
		row := &t.Rows[i]
		for _, column := range append([]string{Overall}, t.Languages...) {
			if c := row.Columns[column]; c != nil {
				write(row, "average", column, &Score{Set: Set{Language: column}, Estimate: c.Estimate, Radius: c.Radius, Notes: c.Notes})
			}
		}
		for j := range row.Scores {
			write(row, "dataset", row.Scores[j].Name, &row.Scores[j])
		}
		for j := range row.Bits {
			write(row, "text", row.Bits[j].Name+" "+row.Bits[j].Part, &row.Bits[j])
		}
		if a := row.Against; a != nil {
			for _, column := range append([]string{Overall}, t.Languages...) {
				if d, ok := a.Columns[column]; ok {
					write(row, "average minus base", column, &Score{Set: Set{Language: column}, Estimate: d, Radius: eval.Score(d.Radius())})
				}
			}
			for j := range row.Scores {
				if d, ok := a.Datasets[row.Scores[j].Name]; ok {
					write(row, "dataset minus base", row.Scores[j].Name, &Score{Set: row.Scores[j].Set, Estimate: d, Radius: eval.Score(d.Radius())})
				}
			}
			for j := range row.Bits {
				if d, ok := a.Bits[row.Bits[j].text()]; ok {
					write(row, "text minus base", row.Bits[j].text(), &Score{Set: row.Bits[j].Set, Estimate: d, Radius: eval.Score(d.Radius())})
				}
			}
		}
	}
	if t.Published != nil {
		for i := range t.Published.Rows {
			p := &t.Published.Rows[i]
			for _, column := range append([]string{Overall}, t.Languages...) {
				if c, ok := p.Column(column); ok {
					w.Write([]string{p.Model, "–", "published", column, "", column, "", number(c[0]), "", "", number(c[1]), "", "", t.Published.Mark})
				}
			}
		}
	}
	w.Flush()
	return b.Bytes(), w.Error()
}
