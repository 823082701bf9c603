package web

import (
	"bytes"
	_ "embed"
	"fmt"
	"html/template"
	"math"
	"slices"
	"strings"

	"ravn/leaderboard"
	"ravn/stats"
)

// BoardOptions say what stands around a leaderboard.
type BoardOptions struct {
	Title   string // "" is "Leaderboard"
	Version string // of ravn
}

//go:embed leaderboard.html
var boardHTML string

//go:embed leaderboard.css
var boardCSS string

//go:embed leaderboard.js
var boardJS string

var boardTemplate = template.Must(template.New("leaderboard").Funcs(template.FuncMap{
	"css": func() template.CSS { return template.CSS(reportCSS + boardCSS) },
	"js":  func() template.JS { return template.JS(boardJS) },
}).Parse(boardHTML))

// board is the page's content, flat.
type board struct {
	Title, Version string
	Compatible     bool
	Models         int
	Sets           int
	Groups         []boardGroup
	Columns        []boardColumn
	Rows           []boardRow
	Types          []string
	Licenses       []string
	Bits           []boardBits
	Footnotes      []string
	Warnings       []string // rows that are worse than their base
	FewShot        bool     // all rows are
}

// boardGroup is a view of the table: the averages, or the tasks and data sets of a language.
type boardGroup struct{ ID, Name string }

type boardColumn struct {
	Group string // of boardGroup
	Name  string
	About string // shown when pointed at
	Low   bool   // lower is better
	key   string
	kind  int
}

// Base tells the difference from a model's base.
func (c boardColumn) Base() bool { return c.kind == columnBase }

// Task tells the mean of a task, whose name is words.
func (c boardColumn) Task() bool { return c.kind == columnTask }

// Kinds of columns.
const (
	columnAverage = iota
	columnTask
	columnSet
	columnRank
	columnBase
)

type boardRow struct {
	Rank, Name, Marks string
	Params            float64 // 0 unknown
	Size              string
	Type, License     string
	Published         bool
	Contaminated      bool
	Complete          bool
	Note              string
	Below             string // the base, where the row is worse than it
	Cells             []boardCell
}

type boardCell struct {
	Group    string
	Has      bool
	V        float64
	Low      float64 // of the interval
	High     float64
	Interval bool
	Left     float64 // of the band, 0 to 100
	Right    float64
	Text     string
	Radius   string
	About    string
	Seen     bool
	Average  bool
	Plain    bool   // no band: not on the scale of scores
	Mark     string // ▼, ▲ or ~ beside a difference; ▼ beside a score that is worse than the base's
}

type boardBits struct{ Model, Text, Estimate string }

// Leaderboard makes a page of a table: sortable, filterable, with intervals drawn and a scatter of score against size.
// It loads nothing from elsewhere. Without scripts it is a plain table of averages.
func Leaderboard(t *leaderboard.Table, o BoardOptions) ([]byte, error) {
	b := board{Title: o.Title, Version: o.Version, Compatible: t.Compatible, Models: len(t.Rows), Sets: len(t.Sets), Footnotes: t.Footnotes, Warnings: t.Warnings()}
	if b.Title == "" {
		b.Title = "Leaderboard"
	}
	b.columns(t)
	for i := range t.Rows {
		if r := &t.Rows[i]; len(r.Scores) > 0 {
			b.Rows = append(b.Rows, b.row(t, r))
		}
		for _, s := range t.Rows[i].Bits {
			b.Bits = append(b.Bits, boardBits{t.Rows[i].Model, strings.TrimSpace(s.Name + " " + s.Part), s.Estimate.String()})
		}
	}
	if t.Published != nil {
		for i := range t.Published.Rows {
			b.Rows = append(b.Rows, b.published(t, &t.Published.Rows[i]))
		}
	}
	for _, r := range b.Rows {
		if r.Type != "" && !slices.Contains(b.Types, r.Type) {
			b.Types = append(b.Types, r.Type)
		}
		if r.License != "" && !slices.Contains(b.Licenses, r.License) {
			b.Licenses = append(b.Licenses, r.License)
		}
	}
	b.FewShot = true
	for i := range b.Rows {
		b.FewShot = b.FewShot && (b.Rows[i].Published || strings.Contains(b.Rows[i].Marks, "few-shot"))
	}
	if b.FewShot { // said once
		for i := range b.Rows {
			b.Rows[i].Marks = strings.Trim(strings.ReplaceAll(", "+b.Rows[i].Marks, ", few-shot", ""), ", ")
		}
	}
	slices.Sort(b.Types)
	slices.Sort(b.Licenses)
	var buf bytes.Buffer
	if err := boardTemplate.Execute(&buf, &b); err != nil {
		return nil, fmt.Errorf("web: leaderboard: %w", err)
	}
	return buf.Bytes(), nil
}

func (b *board) columns(t *leaderboard.Table) {
	b.Groups = []boardGroup{{"g0", "Averages"}}
	b.Columns = append(b.Columns, boardColumn{Group: "g0", Name: leaderboard.Overall, About: "mean of the languages", key: leaderboard.Overall})
	if t.Compared() {
		b.Columns = append(b.Columns, boardColumn{Group: "g0", Name: "− base", About: "Overall minus that of the model it was continued from", kind: columnBase})
	}
	ranked := slices.ContainsFunc(t.Rows, func(r leaderboard.Row) bool { return r.Ranks != nil })
	for _, language := range t.Languages {
		if !slices.ContainsFunc(t.Sets, func(s leaderboard.Set) bool { return s.Language == language }) {
			continue
		}
		b.Columns = append(b.Columns, boardColumn{Group: "g0", Name: language, About: "mean of its tasks", key: language})
	}
	if ranked {
		b.Columns = append(b.Columns, boardColumn{Group: "g0", Name: "Rank score", About: "EuroEval 2026: 1 + standard deviations behind the best, mean over data sets; lower is better", Low: true, kind: columnRank})
	}
	for _, language := range t.Languages {
		group := ""
		var tasks []string
		for _, s := range t.Sets {
			if s.Language != language {
				continue
			}
			if group == "" {
				group = fmt.Sprintf("g%d", len(b.Groups))
				b.Groups = append(b.Groups, boardGroup{group, language})
			}
			if !slices.Contains(tasks, s.Task) {
				tasks = append(tasks, s.Task)
			}
		}
		for _, task := range tasks {
			var sets []leaderboard.Set
			for _, s := range t.Sets {
				if s.Language == language && s.Task == task {
					sets = append(sets, s)
				}
			}
			if len(sets) > 1 {
				b.Columns = append(b.Columns, boardColumn{Group: group, Name: strings.ReplaceAll(task, "-", " "), About: "mean of its data sets", key: language + "/" + task, kind: columnTask})
			}
			for _, s := range sets {
				b.Columns = append(b.Columns, boardColumn{Group: group, Name: s.Name, About: s.Task + ", " + s.Metric, key: s.Name, kind: columnSet})
			}
		}
	}
}

func (b *board) row(t *leaderboard.Table, r *leaderboard.Row) boardRow {
	out := boardRow{
		Rank: r.Rank, Name: r.Model, Marks: strings.Join(r.Marks, ", "), Type: r.Type, License: r.License,
		Contaminated: slices.Contains(r.Marks, "contaminated"), Complete: true,
	}
	if r.Params > 0 {
		out.Params, out.Size = float64(r.Params), sizeText(r.Params)
	}
	if r.Against != nil && len(r.Against.Worse) > 0 {
		out.Below = r.Against.Base
	}
	for _, c := range b.Columns {
		cell := boardCell{Group: c.Group}
		switch c.kind {
		case columnBase:
			if r.Against == nil {
				break
			}
			if d, ok := r.Against.Columns[leaderboard.Overall]; ok {
				cell.fill(d, d.Radius(), false)
				cell.Text, cell.Plain, cell.Mark = fmt.Sprintf("%+.2f", d.Value), true, leaderboard.Verdict(d)
				cell.About += " against " + r.Against.Base
			}
		case columnAverage, columnTask:
			from := r.Columns[c.key]
			if c.kind == columnTask {
				from = r.Tasks[c.key]
			}
			if from != nil {
				cell.fill(from.Estimate, float64(from.Radius), t.Compatible)
				cell.Average = true
				if d, ok := r.Against.Column(c.key); ok {
					cell.against(d, r.Against, c.key)
				}
				if len(from.Missing) > 0 {
					cell.About += "; without " + strings.Join(from.Missing, ", ")
					out.Complete = false
				}
			} else if c.kind == columnAverage {
				out.Complete = false
			}
		case columnRank:
			if r.Ranks != nil {
				cell.fill(stats.Estimate{Value: r.Ranks.Autumn2026, Low: r.Ranks.Low, High: r.Ranks.High}, (r.Ranks.High-r.Ranks.Low)/2, false)
				cell.Plain = true
			}
		default:
			for _, s := range r.Scores {
				if s.Name == c.key {
					cell.fill(s.Estimate, float64(s.Radius), t.Compatible)
					cell.Seen = s.Seen > 0
					if d, ok := r.Against.Dataset(c.key); ok {
						cell.against(d, r.Against, c.key)
					}
					if s.Estimate.N > 0 {
						cell.About += fmt.Sprintf("; %d items", s.Estimate.N)
					}
					if s.Seen > 0 {
						cell.About += fmt.Sprintf("; %.1f %% of them found in the training text", 100*s.Seen)
					}
					if s.Failed >= 0.1 {
						cell.About += fmt.Sprintf("; %.0f %% of the answers could not be read", 100*s.Failed)
					}
				}
			}
		}
		out.Cells = append(out.Cells, cell)
	}
	return out
}

func (b *board) published(t *leaderboard.Table, r *leaderboard.PublishedRow) boardRow {
	out := boardRow{Rank: "–", Name: r.Model, Marks: t.Published.Mark, Published: true, Complete: true, Note: r.Note}
	for _, c := range b.Columns {
		cell := boardCell{Group: c.Group}
		d, worse, compared := t.Published.Against(r, c.key)
		if v, ok := r.Column(c.key); ok && c.kind == columnAverage {
			cell.fill(stats.Estimate{Value: v[0], Low: math.NaN(), High: math.NaN()}, v[1], true)
			cell.Average, cell.About = true, "as published; ± is a mean of radii, no interval"
			if compared {
				cell.About += fmt.Sprintf("; %+.2f against %s", d, r.Base)
			}
			if worse {
				cell.Mark, out.Below = "▼", r.Base
			}
		}
		if d, worse, ok := t.Published.Against(r, leaderboard.Overall); ok && c.kind == columnBase {
			cell = boardCell{Group: c.Group, Has: true, V: d, Text: fmt.Sprintf("%+.2f", d), Plain: true, About: "as published, against " + r.Base}
			if worse {
				cell.Mark = "▼"
			}
		}
		out.Cells = append(out.Cells, cell)
	}
	return out
}

// fill shows an estimate: its interval, or in the compatible table ScandEval's radius, which is none.
func (c *boardCell) fill(e stats.Estimate, radius float64, compatible bool) {
	if !finite(e.Value) {
		return
	}
	c.Has, c.V, c.Text = true, e.Value, fmt.Sprintf("%.2f", e.Value)
	c.About = "no interval"
	if !compatible && finite(e.Low) && finite(e.High) {
		radius = e.Radius()
		c.Interval, c.Low, c.High = true, e.Low, e.High
		c.Left, c.Right = min(100, max(0, e.Low)), min(100, max(0.6, e.High))
		c.Right = max(c.Right, min(100, c.Left+0.6)) // an interval of no width is seen, too
		c.About = fmt.Sprintf("%.2f to %.2f", e.Low, e.High)
	}
	if finite(radius) {
		c.Radius = fmt.Sprintf("%.2f", radius)
	}
}

// against says how a score stands to the base's.
func (c *boardCell) against(d stats.Estimate, a *leaderboard.Against, what string) {
	c.About += fmt.Sprintf("; %+.2f [%+.2f, %+.2f] against %s", d.Value, d.Low, d.High, a.Base)
	if a.IsWorse(what) {
		c.Mark = "▼"
	}
}

// Worse tells a cell that is worse than the base's.
func (c boardCell) Worse() bool { return c.Mark == "▼" }

// Better tells a difference that is better than nothing.
func (c boardCell) Better() bool { return c.Mark == "▲" }

// sizeText writes a number of parameters: 7.2B, 110M, 64k.
func sizeText(n int64) string {
	for _, u := range []struct {
		by   float64
		unit string
	}{{1e9, "B"}, {1e6, "M"}, {1e3, "k"}} {
		if x := float64(n) / u.by; x >= 1 {
			if x < 10 {
				return fmt.Sprintf("%.1f%s", x, u.unit)
			}
			return fmt.Sprintf("%.0f%s", x, u.unit)
		}
	}
	return fmt.Sprint(n)
}
