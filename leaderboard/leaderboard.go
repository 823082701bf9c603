// Package leaderboard makes tables of evaluation records: a language is the mean of its tasks, a task the mean of its
// data sets, overall the mean of the languages.
//
// The table propagates intervals and says what each average lacks. With Options.Compatible it rounds, averages and
// prints as ScandEval's leaderboard of January 2024 did, to the last digit.
package leaderboard

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"ravn/eval"
	"ravn/stats"
)

// Overall is the column that averages the languages.
const Overall = "Overall"

// bitsPerByte is the task that no average holds.
const bitsPerByte = "bits-per-byte"

// languages in the order of columns, with the codes of data sets that each collects.
var languages = []struct {
	name  string
	codes []string
}{
	{"Danish", []string{"da"}},
	{"Norwegian", []string{"nb", "nn", "no"}},
	{"Swedish", []string{"sv"}},
	{"English", []string{"en"}},
}

// primaries are the metrics that count where a record does not say so.
var primaries = map[string]string{
	"linguistic-acceptability": "mcc", "sentiment-classification": "mcc", "named-entity-recognition": "micro_f1",
	"question-answering": "em", "summarization": "bertscore", "knowledge": "mcc", "common-sense-reasoning": "mcc",
	"reading-comprehension": "f1", "multiple-choice-reading-comprehension": "mcc", "word-in-context": "mcc",
	"grammatical-error-detection": "micro_f1", "natural-language-inference": "mcc",
	bitsPerByte: "bpb",
}

// bitsPerCharacter is the metric of records that are kept off the averages as bits per byte are.
const bitsPerCharacter = "bpc"

// taskOrder is the order in which ScandEval's generator added up tasks, which the last digit of a mean depends on.
var taskOrder = []string{
	"named-entity-recognition", "sentiment-classification", "linguistic-acceptability", "question-answering",
	"summarization", "knowledge", "common-sense-reasoning",
}

// Options say what table to make.
type Options struct {
	Compatible bool              // as ScandEval's leaderboard of January 2024
	Published  *Published        // shown below the table; nil: nothing
	Bases      map[string]string // of models whose records do not name the one that they were continued from
}

// Table is a leaderboard.
type Table struct {
	Languages  []string   `json:"languages"` // columns after Overall
	Rows       []Row      `json:"rows"`      // best first
	Sets       []Set      `json:"datasets"`  // what the averages are made of
	Footnotes  []string   `json:"footnotes"`
	Published  *Published `json:"published,omitempty"`
	Compatible bool       `json:"compatible,omitempty"`
}

// Set is a data set that some row has.
type Set struct {
	Name     string `json:"name"`
	Task     string `json:"task"`
	Language string `json:"language"`
	Metric   string `json:"metric"`
}

// Row is one model under one way of asking.
type Row struct {
	Model   string           `json:"model"`             // with (val), (zero-shot) and the like behind it
	Params  int64            `json:"params"`            // -1 unknown
	Type    string           `json:"type"`              // base, instruction_tuned, reasoning, encoder, floor; "" unknown
	License string           `json:"license,omitempty"` // of the model; "" unknown
	Merge   bool             `json:"merge,omitempty"`
	Marks   []string         `json:"marks,omitempty"` // few-shot, zero-shot, val, contaminated, partial, failed answers
	Rank    string           `json:"rank"`            // "1", "~" for not told apart from the rank above, "–" for not ranked
	Columns map[string]*Cell `json:"columns"`
	Tasks   map[string]*Cell `json:"tasks,omitempty"`       // by "LANGUAGE/TASK"
	Ranks   *RankScores      `json:"rank_scores,omitempty"` // nil where a data set or the raw scores are missing
	Scores  []Score          `json:"scores"`                // by data set, in the order of Table.Sets
	Bits    []Score          `json:"bits,omitempty"`        // bits per byte by language and source
	Against *Against         `json:"against,omitempty"`     // the model that it was continued from; nil: not known
	key     string
	model   string // without the way of asking
	base    string
}

// Cell is an average over languages or tasks.
type Cell struct {
	Estimate stats.Estimate `json:"estimate"`
	Radius   eval.Score     `json:"radius"`            // mean of the radii of what was averaged, as ScandEval prints it
	Missing  []string       `json:"missing,omitempty"` // data sets or languages that other rows have here
	Notes    []int          `json:"notes,omitempty"`   // numbers of footnotes, from 1
}

// Score is one data set.
type Score struct {
	Set
	Part     string         `json:"part,omitempty"` // of texts: "language=da", "source=adl"
	Estimate stats.Estimate `json:"estimate"`
	Radius   eval.Score     `json:"radius"` // 1.96 standard errors, as the record has it
	Seen     float64        `json:"seen"`   // share of items found in the training text
	Checked  bool           `json:"checked"`
	Small    bool           `json:"small,omitempty"`
	Partial  bool           `json:"partial,omitempty"` // not all rows, or not all draws of examples, were asked
	Failed   float64        `json:"failed,omitempty"`  // share of answers that could not be read
	Version  string         `json:"version,omitempty"` // of the program that made the record
	Warnings []string       `json:"warnings,omitempty"`
	Notes    []int          `json:"notes,omitempty"`
	raw      []float64      // of each iteration

	difference *stats.Estimate // from the base, paired; nil: none
}

// Build makes a table of records.
func Build(records []eval.Record, o Options) (*Table, error) {
	t := &Table{Published: o.Published, Compatible: o.Compatible}
	if len(records) == 0 {
		return nil, errors.New("leaderboard: no records (run ravn eval first)")
	}
	if err := t.collect(records); err != nil {
		return nil, err
	}
	t.columns()
	for i := range t.Rows {
		t.average(&t.Rows[i])
	}
	t.rank()
	t.rankScores()
	if err := t.against(o.Bases); err != nil {
		return nil, err
	}
	t.notes()
	return t, nil
}

// Language is the column that a data set counts in.
func Language(codes []string) string {
	for _, l := range languages {
		if slices.ContainsFunc(codes, func(c string) bool { return slices.Contains(l.codes, c) }) {
			return l.name
		}
	}
	return strings.ToUpper(strings.Join(codes, "+"))
}

// collect sorts records into rows; a later record of the same model, data set and way of asking replaces an earlier.
func (t *Table) collect(records []eval.Record) error {
	rows := map[string]int{}
	var errs []error
	replaced, banned := 0, 0
	for i := range records {
		r := &records[i]
		if !t.Compatible && r.Ravn == nil && slices.Contains(bannedVersions, r.Version()) {
			banned++
			continue
		}
		name := t.rowName(r)
		key := name + "\x00" + mode(r)
		at, ok := rows[key]
		if !ok {
			at = len(t.Rows)
			rows[key] = at
			t.Rows = append(t.Rows, Row{Model: name, Params: r.NumModelParameters, Columns: map[string]*Cell{}, Tasks: map[string]*Cell{}, key: key, model: r.Model})
		}
		row := &t.Rows[at]
		row.describe(r)
		if r.Task == bitsPerByte || r.Ravn != nil && r.Ravn.Primary == bitsPerCharacter {
			row.Bits = append(row.Bits, bits(r)...)
			continue
		}
		s, err := t.score(r)
		if errors.Is(err, errNotCounted) {
			t.note("%s is not counted: %v.", r.Dataset, err)
			continue
		}
		if err != nil {
			errs = append(errs, err)
			continue
		}
		if i := slices.IndexFunc(row.Scores, func(x Score) bool { return x.Name == s.Name }); i >= 0 {
			replaced++
			if !t.older(s.Version, row.Scores[i].Version) {
				row.Scores[i] = s
			}
			continue
		}
		row.Scores = append(row.Scores, s)
	}
	if replaced > 0 {
		t.note("%d records were replaced by later ones of the same model and data set.", replaced)
	}
	if banned > 0 {
		t.note("%d records of ScandEval %s were left out: those versions cut prompts where they should not.", banned, strings.Join(bannedVersions, " and "))
	}
	return errors.Join(errs...)
}

// bannedVersions were meant to be left out by ScandEval's own leaderboard, whose check read a field that records do not
// have; the compatible table counts them as it did.
var bannedVersions = []string{"9.3.0", "10.0.0"}

// older reports whether version a is before b. ScandEval's leaderboard compared the parts as texts, so that 10 came
// before 9; the compatible table does too. Unknown versions are the oldest; of equals the later record counts.
func (t *Table) older(a, b string) bool {
	if t.Compatible {
		return slices.Compare(strings.Split(a, "."), strings.Split(b, ".")) < 0
	}
	return slices.CompareFunc(strings.Split(a, "."), strings.Split(b, "."), func(x, y string) int {
		i, errX := strconv.Atoi(x)
		j, errY := strconv.Atoi(y)
		if errX == nil && errY == nil {
			return i - j
		}
		return strings.Compare(x, y)
	}) < 0
}

// describe takes from a record what is said of the model.
func (row *Row) describe(r *eval.Record) {
	switch {
	case r.GenerativeType != "":
		row.Type = r.GenerativeType
	case row.Type != "":
	case strings.HasPrefix(r.Model, "ravn/"):
		row.Type = "floor"
	case !r.Generative:
		row.Type = "encoder"
	}
	row.License = cmp.Or(r.License, row.License)
	row.Merge = row.Merge || r.Merge
	row.Params = max(row.Params, r.NumModelParameters)
	mark := func(m string, on bool) {
		if on && !slices.Contains(row.Marks, m) {
			row.Marks = append(row.Marks, m)
			slices.Sort(row.Marks)
		}
	}
	mark("few-shot", r.FewShot && r.Generative)
	mark("zero-shot", !r.FewShot && r.Generative && r.Task != bitsPerByte)
	mark("val", r.ValidationSplit)
	if p := r.Ravn; p != nil {
		if p.Base != nil {
			row.base = p.Base.Model
		}
		mark("contaminated", p.Contamination.Share() > 0)
		mark("partial", partial(p))
	}
}

func partial(p *eval.Provenance) bool {
	return p.EarlyStop != nil || p.Limit > 0 && p.Limit < p.RowsInSplit
}

func mode(r *eval.Record) string {
	if r.Ravn == nil {
		return ""
	}
	return r.Ravn.Mode
}

// rowName is the model and how it was asked.
func (t *Table) rowName(r *eval.Record) string {
	var marks []string
	switch {
	case t.Compatible && r.FewShot && r.Generative:
		marks = append(marks, "few-shot")
	case !t.Compatible && !r.FewShot && r.Generative && r.Task != bitsPerByte:
		marks = append(marks, "zero-shot")
	}
	if r.ValidationSplit {
		marks = append(marks, "val")
	}
	if !t.Compatible && mode(r) == eval.ModeScandEval2024 {
		marks = append(marks, eval.ModeScandEval2024)
	}
	if len(marks) == 0 {
		return r.Model
	}
	return r.Model + " (" + strings.Join(marks, ", ") + ")"
}

// errNotCounted marks records that no average holds.
var errNotCounted = errors.New("no average holds it")

// score reads the metric that counts.
func (t *Table) score(r *eval.Record) (Score, error) {
	s := Score{Set: Set{Name: r.Dataset, Task: r.Task, Language: Language(r.DatasetLanguages), Metric: primaries[r.Task]}, Version: r.Version()}
	if r.Ravn != nil {
		s.Version = "" // the later record counts, whichever build made it
		s.Metric = r.Ravn.Primary
		s.Small, s.Warnings, s.Partial = r.Ravn.Small, r.Ravn.Warnings, partial(r.Ravn)
		s.Checked, s.Seen = r.Ravn.Contamination != nil, r.Ravn.Contamination.Share()
		if n := r.Ravn.Items * r.Ravn.Iterations; n > 0 {
			s.Failed = float64(r.Ravn.Answers.Unreadable) / float64(n)
		}
	}
	if r.Task == "summarization" && (t.Compatible || r.Ravn == nil) {
		s.Metric = "bertscore" // what ScandEval counted
		if _, ok := r.Results.Total["test_bertscore"]; !ok && t.Compatible {
			return s, fmt.Errorf("%w: BERTScore is missing, which needs a model of its own", errNotCounted)
		} else if !ok {
			s.Metric = firstWithPrefix(r.Metrics(), "chr")
		}
	}
	if s.Metric == "" {
		return s, fmt.Errorf("%w: task %s", errNotCounted, r.Task)
	}
	value, ok := r.Results.Total["test_"+s.Metric]
	if !ok || s.Metric == "" {
		return s, fmt.Errorf("leaderboard: %s on %s: no %q among the totals (metrics: %s)", r.Model, r.Dataset, "test_"+s.Metric, strings.Join(r.Metrics(), ", "))
	}
	radius, ok := r.Results.Total["test_"+s.Metric+"_se"]
	if !ok {
		radius = eval.Score(math.NaN())
	}
	for _, raw := range r.Results.Raw.Test {
		if x, ok := raw[s.Metric]; ok {
			s.raw = append(s.raw, float64(x))
		} else if x, ok := raw["test_"+s.Metric]; ok {
			s.raw = append(s.raw, float64(x))
		}
	}
	v := float64(value)
	s.Radius = radius
	half := float64(radius)
	s.Estimate = stats.Estimate{Value: v, Low: v - half, High: v + half, SE: half / 1.96, Level: 0.95, Method: "mean and 1.96 s/√n of the record"}
	if r.Ravn != nil {
		if e, ok := r.Ravn.Estimates[s.Metric]; ok {
			s.Estimate = e
		}
		s.difference = r.Ravn.Base.Difference(s.Metric)
	}
	return s, nil
}

func firstWithPrefix(names []string, prefix string) string {
	for _, n := range names {
		if strings.HasPrefix(n, prefix) {
			return n
		}
	}
	return ""
}

// bits lists bits per byte by language and source.
func bits(r *eval.Record) []Score {
	if r.Ravn == nil {
		return nil
	}
	var parts []string
	for key := range r.Ravn.Estimates {
		if part, ok := strings.CutPrefix(key, "bpb/"); ok {
			parts = append(parts, part)
		}
	}
	slices.Sort(parts)
	if r.Ravn.Primary == bitsPerCharacter {
		s := Score{Set: Set{Name: r.Dataset, Task: r.Task, Language: Language(r.DatasetLanguages), Metric: bitsPerCharacter}, Part: "bits a character", Estimate: r.Ravn.Estimates[bitsPerCharacter], Warnings: r.Ravn.Warnings, difference: r.Ravn.Base.Difference(bitsPerCharacter)}
		s.Radius, s.Seen, s.Checked = eval.Score(s.Estimate.Radius()), r.Ravn.Contamination.Share(), r.Ravn.Contamination != nil
		return []Score{s}
	}
	var out []Score
	for _, part := range parts {
		s := Score{Set: Set{Name: r.Dataset, Task: r.Task, Metric: "bpb"}, Part: part, Estimate: r.Ravn.Estimates["bpb/"+part], Warnings: r.Ravn.Warnings, difference: r.Ravn.Base.Difference("bpb/" + part)}
		s.Radius, s.Seen, s.Checked = eval.Score(s.Estimate.Radius()), r.Ravn.Contamination.Share(), r.Ravn.Contamination != nil
		if code, ok := strings.CutPrefix(part, "language="); ok {
			s.Language = Language([]string{code})
		}
		out = append(out, s)
	}
	return out
}

// columns finds which data sets and languages there are, and puts scores in one order.
func (t *Table) columns() {
	order := func(language string) int {
		i := slices.IndexFunc(languages, func(l struct {
			name  string
			codes []string
		},
		) bool {
			return l.name == language
		})
		if i < 0 {
			return len(languages)
		}
		return i
	}
	less := func(a, b Set) int {
		if d := order(a.Language) - order(b.Language); d != 0 {
			return d
		}
		return cmp.Or(
			strings.Compare(a.Language, b.Language), taskPlace(a.Task)-taskPlace(b.Task),
			strings.Compare(a.Task, b.Task), strings.Compare(a.Name, b.Name),
		)
	}
	for i := range t.Rows {
		slices.SortStableFunc(t.Rows[i].Scores, func(a, b Score) int { return less(a.Set, b.Set) })
		for _, s := range t.Rows[i].Scores {
			if !slices.ContainsFunc(t.Sets, func(x Set) bool { return x.Name == s.Name }) {
				t.Sets = append(t.Sets, s.Set)
			}
		}
	}
	slices.SortFunc(t.Sets, less)
	for _, l := range languages {
		if l.name != "English" || slices.ContainsFunc(t.Sets, func(s Set) bool { return s.Language == l.name }) {
			t.Languages = append(t.Languages, l.name)
		}
	}
	for _, s := range t.Sets {
		if !slices.Contains(t.Languages, s.Language) {
			t.Languages = append(t.Languages, s.Language)
		}
	}
}

func taskPlace(task string) int {
	if i := slices.Index(taskOrder, task); i >= 0 {
		return i
	}
	return len(taskOrder)
}

// setsOf lists the table's data sets of a language by task, tasks in order.
func (t *Table) setsOf(language string) (tasks []string, byTask map[string][]string) {
	byTask = map[string][]string{}
	for _, s := range t.Sets {
		if s.Language != language {
			continue
		}
		if byTask[s.Task] == nil {
			tasks = append(tasks, s.Task)
		}
		byTask[s.Task] = append(byTask[s.Task], s.Name)
	}
	return tasks, byTask
}

// average fills the columns of a row.
func (t *Table) average(row *Row) {
	var means []stats.Estimate
	var radii []float64
	overall := &Cell{}
	for _, language := range t.Languages {
		c := t.averageLanguage(row, language)
		if c == nil {
			if tasks, _ := t.setsOf(language); len(tasks) > 0 {
				overall.Missing = append(overall.Missing, language)
			}
			continue
		}
		row.Columns[language] = c
		means, radii = append(means, c.Estimate), append(radii, float64(c.Radius))
		overall.Missing = append(overall.Missing, c.Missing...)
	}
	if len(means) == 0 || t.Compatible && len(overall.Missing) > 0 {
		return
	}
	overall.Estimate, overall.Radius = stats.MeanOf(means), eval.Score(stats.Mean(radii))
	row.Columns[Overall] = overall
}

func (t *Table) averageLanguage(row *Row, language string) *Cell {
	c := &Cell{}
	var means []stats.Estimate
	var radii []float64
	tasks, byTask := t.setsOf(language)
	for _, task := range tasks {
		var es []stats.Estimate
		var rs []float64
		for _, name := range byTask[task] {
			i := slices.IndexFunc(row.Scores, func(s Score) bool { return s.Name == name })
			if i < 0 {
				c.Missing = append(c.Missing, name)
				continue
			}
			e, r := row.Scores[i].Estimate, float64(row.Scores[i].Radius)
			if t.Compatible {
				e.Value, r = twoDecimals(e.Value), twoDecimals(r)
			}
			es, rs = append(es, e), append(rs, r)
		}
		if len(es) > 0 {
			means, radii = append(means, stats.MeanOf(es)), append(radii, stats.Mean(rs))
			row.Tasks[language+"/"+task] = &Cell{Estimate: means[len(means)-1], Radius: eval.Score(radii[len(radii)-1])}
		}
	}
	if len(means) == 0 || t.Compatible && len(c.Missing) > 0 {
		return nil
	}
	c.Estimate, c.Radius = stats.MeanOf(means), eval.Score(stats.Mean(radii))
	return c
}

// twoDecimals rounds as printing and reading back does: ScandEval's generator averaged the cells it had printed.
func twoDecimals(x float64) float64 {
	v, err := strconv.ParseFloat(strconv.FormatFloat(x, 'f', 2, 64), 64)
	if err != nil {
		return x
	}
	return v
}

// rank sorts rows by Overall, best first. Rows that lack something others have are not ranked. A row gets a new rank
// when it is told apart from the row that opened the rank above: the difference exceeds its own 95 % radius, the two
// taken as independent.
func (t *Table) rank() {
	overall := func(r *Row) float64 {
		if c := r.Columns[Overall]; c != nil {
			return c.Estimate.Value
		}
		return math.Inf(-1)
	}
	slices.SortStableFunc(t.Rows, func(a, b Row) int {
		switch x, y := overall(&a), overall(&b); {
		case x > y:
			return -1
		case x < y:
			return 1
		}
		return strings.Compare(a.key, b.key)
	})
	var leader *Cell
	place := 0
	for i := range t.Rows {
		c := t.Rows[i].Columns[Overall]
		if c == nil || len(c.Missing) > 0 || math.IsNaN(c.Estimate.Radius()) {
			t.Rows[i].Rank = "–"
			continue
		}
		place++
		if leader != nil && leader.Estimate.Value-c.Estimate.Value <= math.Hypot(leader.Estimate.Radius(), c.Estimate.Radius()) {
			t.Rows[i].Rank = "~"
			continue
		}
		t.Rows[i].Rank, leader = strconv.Itoa(place), c
	}
}
