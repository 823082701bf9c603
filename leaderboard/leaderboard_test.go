package leaderboard

import (
	"encoding/csv"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"ravn/eval"
	"ravn/internal/sampledata"
	"ravn/stats"
)

var shortTasks = map[string]string{
	"ner": "named-entity-recognition", "sent": "sentiment-classification", "la": "linguistic-acceptability",
	"qa": "question-answering", "summ": "summarization", "know": "knowledge", "reason": "common-sense-reasoning",
}

// Promise: in compatible mode the table is ScandEval's of January 2024 to the last digit, for every published row.
func TestPublishedRowsToTheLastDigit(t *testing.T) {
	data, err := os.ReadFile(filepath.Join(sampledata.Dir(t), "eval", "metric_vectors.json"))
	if err != nil {
		t.Fatal(err)
	}
	var v struct {
		Leaderboard struct {
			Tables []struct {
				Benchmark, Updated string
				Tasks              map[string]map[string][]string
				Rows               []struct {
					Model     string
					Datasets  map[string][2]float64
					Published struct{ Overall, Da, No, Sv string }
				}
			}
		} `json:"leaderboard_2024"`
	}
	if err := json.Unmarshal(data, &v); err != nil {
		t.Fatal(err)
	}
	checked := 0
	for _, table := range v.Leaderboard.Tables {
		var records []eval.Record
		want := map[string][4]string{}
		for _, row := range table.Rows {
			name, marks, _ := strings.Cut(row.Model, " (")
			few := strings.Contains(marks, "few-shot")
			for code, tasks := range table.Tasks {
				for task, sets := range tasks {
					for _, set := range sets {
						m := "test_" + primaries[shortTasks[task]]
						cell := row.Datasets[set]
						records = append(records, eval.Record{
							Dataset: set, Task: shortTasks[task], DatasetLanguages: []string{code}, Model: name,
							Results: eval.Results{Total: map[string]eval.Score{m: eval.Score(cell[0]), m + "_se": eval.Score(cell[1])}},
							FewShot: few, Generative: few, ValidationSplit: strings.Contains(marks, "val"),
						})
					}
				}
			}
			p := row.Published
			want[row.Model] = [4]string{p.Overall, p.Da, p.No, p.Sv}
		}
		got, err := Build(records, Options{Compatible: true})
		if err != nil {
			t.Fatal(err)
		}
		if len(got.Rows) != len(table.Rows) {
			t.Errorf("%s %s: %d rows, want %d", table.Benchmark, table.Updated, len(got.Rows), len(table.Rows))
		}
		for i := range got.Rows {
			row := &got.Rows[i]
			for j, column := range []string{Overall, "Danish", "Norwegian", "Swedish"} {
				c := row.Columns[column]
				if c == nil {
					t.Errorf("%s %s: %s has no %s", table.Benchmark, table.Updated, row.Model, column)
					continue
				}
				if s := plusMinus(c.Estimate.Value, float64(c.Radius)); s != want[row.Model][j] {
					t.Errorf("%s %s: %s, %s: got %s, published %s", table.Benchmark, table.Updated, row.Model, column, s, want[row.Model][j])
				}
				checked++
			}
		}
	}
	if checked != 38*4 {
		t.Errorf("%d cells compared, want %d", checked, 38*4)
	}
}

// rec is a record of one data set with an interval of ± radius over n items.
func rec(model, set, task, lang string, value, radius float64, n int) eval.Record {
	m := primaries[task]
	return eval.Record{
		Dataset: set, Task: task, DatasetLanguages: []string{lang}, Model: model, FewShot: true, Generative: true,
		Results: eval.Results{Total: map[string]eval.Score{"test_" + m: eval.Score(value)}},
		Ravn: &eval.Provenance{
			Mode: eval.ModeRavn, Primary: m, Items: n, Contamination: &eval.Contamination{Items: n},
			Estimates: map[string]stats.Estimate{m: {Value: value, Low: value - radius, High: value + radius, Level: 0.95, N: n, SE: radius / 1.96}},
		},
	}
}

const (
	la   = "linguistic-acceptability"
	sent = "sentiment-classification"
	ner  = "named-entity-recognition"
)

func TestAveragesPropagateAndRank(t *testing.T) {
	var rs []eval.Record
	for _, m := range []struct {
		name string
		add  float64
	}{{"base", 0}, {"better", 10}, {"same", 9.5}} {
		rs = append(rs,
			rec(m.name, "scala-da", la, "da", 20+m.add, 3, 100),
			rec(m.name, "lcc-sentiment", sent, "da", 40+m.add, 4, 300),
			rec(m.name, "scala-nb", la, "nb", 10+m.add, 3, 500), // with scala-nn the mean of la: 20
			rec(m.name, "scala-nn", la, "nn", 30+m.add, 4, 500),
			rec(m.name, "norec", sent, "nb", 60+m.add, 0, 500),
		)
	}
	table, err := Build(rs, Options{})
	if err != nil {
		t.Fatal(err)
	}
	var names, ranks []string
	for _, r := range table.Rows {
		names, ranks = append(names, r.Model), append(ranks, r.Rank)
	}
	if !slices.Equal(names, []string{"better", "same", "base"}) || !slices.Equal(ranks, []string{"1", "~", "3"}) {
		t.Errorf("rows %q with ranks %q", names, ranks)
	}
	base := table.Rows[2]
	// Danish: (20+40)/2 ± √(3²+4²)/2. Norwegian: (20+60)/2, la ± √(3²+4²)/2, halved again.
	for _, c := range []struct {
		column        string
		value, radius float64
		n             int
	}{{"Danish", 30, 2.5, 400}, {"Norwegian", 40, 1.25, 1500}, {Overall, 35, math.Hypot(2.5, 1.25) / 2, 1900}} {
		e := base.Columns[c.column].Estimate
		if math.Abs(e.Value-c.value) > 1e-12 || math.Abs(e.Radius()-c.radius) > 1e-12 || e.N != c.n {
			t.Errorf("%s: got %v, by hand %v ± %v n=%d", c.column, e, c.value, c.radius, c.n)
		}
	}
	if base.Columns["Swedish"] != nil {
		t.Error("there is a Swedish average of nothing")
	}
	if slices.Contains(table.Languages, "English") {
		t.Error("an English column without English data sets")
	}
	md := table.Markdown()
	for _, want := range []string{
		"| 3 | base | 35.00 ± 1.40 | 30.00 ± 2.50 | 40.00 ± 1.25 | – |",
		"| scala-da | mcc | 30.0 [", "No data set here is Swedish.",
		"Norwegian is the mean of sentiment-classification (norec), linguistic-acceptability (scala-nb, scala-nn).",
	} {
		if !strings.Contains(md, want) && !strings.Contains(md, strings.Replace(want, "30.0 [", "30.00 [", 1)) {
			t.Errorf("Markdown does not hold %q:\n%s", want, md)
		}
	}
}

func TestDifferentSetsSaySo(t *testing.T) {
	rs := []eval.Record{
		rec("full", "scala-da", la, "da", 20, 3, 100), rec("full", "danplus", ner, "da", 40, 3, 100),
		rec("half", "scala-da", la, "da", 50, 3, 100),
	}
	table, err := Build(rs, Options{})
	if err != nil {
		t.Fatal(err)
	}
	half := table.Rows[0]
	if half.Model != "half" || half.Rank != "–" {
		t.Errorf("a row with half the data sets has rank %q", half.Rank)
	}
	if c := half.Columns["Danish"]; !slices.Equal(c.Missing, []string{"danplus"}) || len(c.Notes) != 1 {
		t.Fatalf("missing %q, notes %v", c.Missing, c.Notes)
	}
	want := "half, Danish: averaged over other data sets than the full rows, without danplus."
	if got := table.Footnotes[half.Columns["Danish"].Notes[0]-1]; got != want {
		t.Errorf("footnote %q, want %q", got, want)
	}
	compatible, err := Build(rs, Options{Compatible: true})
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range compatible.Rows {
		if (r.Columns[Overall] == nil) != strings.HasPrefix(r.Model, "half") {
			t.Errorf("compatible: %s has overall %v", r.Model, r.Columns[Overall])
		}
	}
}

func TestMarks(t *testing.T) {
	a := rec("m", "scala-da", la, "da", 20, 3, 100)
	a.Ravn.Contamination.Hit = 21
	b := rec("m", "tiny", sent, "da", 20, 3, 8)
	b.Ravn.Small, b.Ravn.Contamination = true, nil
	b.Ravn.Warnings = []string{"only 8 items"}
	table, err := Build([]eval.Record{a, b}, Options{Published: Announcement()})
	if err != nil {
		t.Fatal(err)
	}
	md := table.Markdown()
	for _, want := range []string{
		"† scala-da: 21.0 % of the items were found in the training text.",
		"tiny: only 8 items.", "Not checked against the training text: tiny.", "± 2.12 † (small) |",
		"mistralai/Mistral-7B-v0.1 ‡ | 30.86 ± 2.52 | 27.74 ± 2.38 | 27.26 ± 2.76 | 37.59 ± 2.43 |",
		"published, not re-run",
	} {
		if !strings.Contains(md, want) {
			t.Errorf("Markdown does not hold %q:\n%s", want, md)
		}
	}
}

func TestLaterRecordReplaces(t *testing.T) {
	table, err := Build([]eval.Record{rec("m", "scala-da", la, "da", 20, 3, 100), rec("m", "scala-da", la, "da", 25, 3, 100)}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if v := table.Rows[0].Columns["Danish"].Estimate.Value; v != 25 {
		t.Errorf("got %v, want the later 25", v)
	}
	if !strings.HasPrefix(table.Footnotes[0], "1 records were replaced") {
		t.Errorf("footnotes %q", table.Footnotes)
	}
}

func TestBuildErrors(t *testing.T) {
	if _, err := Build(nil, Options{}); err == nil || !strings.Contains(err.Error(), "no records") {
		t.Errorf("no records: %v", err)
	}
	r := rec("m", "scala-da", la, "da", 1, 1, 10)
	r.Ravn.Primary = "f1"
	if _, err := Build([]eval.Record{r}, Options{}); err == nil || !strings.Contains(err.Error(), `m on scala-da: no "test_f1" among the totals (metrics: mcc)`) {
		t.Errorf("wrong metric: %v", err)
	}
}

func TestMachineForms(t *testing.T) {
	r := rec("m", "scala-da", la, "da", 20, 3, 100) // no _se: its radius is NaN
	b := eval.Record{
		Dataset: "heldout", Task: bitsPerByte, DatasetLanguages: []string{"da"}, Model: "m",
		Results: eval.Results{Total: map[string]eval.Score{"test_bpb": 1.5}},
		Ravn: &eval.Provenance{Mode: eval.ModeRavn, Primary: "bpb", Estimates: map[string]stats.Estimate{
			"bpb": {Value: 1.5, Low: 1.4, High: 1.6, N: 20}, "bpb/language=da": {Value: 1.5, Low: 1.4, High: 1.6, N: 20},
			"bpb/source=adl": {Value: 1.75, Low: math.NaN(), High: math.NaN(), N: 1},
		}},
	}
	table, err := Build([]eval.Record{r, b}, Options{Published: Announcement()})
	if err != nil {
		t.Fatal(err)
	}
	if len(table.Rows) != 1 {
		t.Fatalf("%d rows, want texts and data sets of a model in one", len(table.Rows))
	}
	data, err := table.JSON()
	if err != nil {
		t.Fatal(err)
	}
	var back Table
	if err := json.Unmarshal(data, &back); err != nil || back.Rows[0].Scores[0].Estimate.Value != 20 || len(back.Rows[0].Bits) != 2 {
		t.Errorf("JSON comes back as %+v (%v)", back, err)
	}
	text, err := table.CSV()
	if err != nil {
		t.Fatal(err)
	}
	lines, err := csv.NewReader(strings.NewReader(string(text))).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	// head, Overall, Danish, one data set, two parts of texts, five published rows of four columns
	if len(lines) != 1+2+1+2+20 {
		t.Errorf("%d lines of CSV", len(lines))
	}
	if md := table.Markdown(); !strings.Contains(md, "| heldout source=adl | 1.750 [no interval] n=1") {
		t.Errorf("no line of bits per byte in:\n%s", md)
	}
}

// Two peculiarities of ScandEval's leaderboard, in both forms of the table: cells are rounded before they are averaged,
// and versions are compared as texts, their ban without effect.
func TestPeculiaritiesOfTheTable(t *testing.T) {
	published := func(version string, score float64) eval.Record {
		r := rec("m", "scala-da", la, "da", 0, 0, 10)
		r.Ravn, r.ScandEvalVersion, r.FewShot, r.Generative = nil, version, true, true
		r.Results.Total = map[string]eval.Score{"test_mcc": eval.Score(score), "test_mcc_se": 1}
		return r
	}
	for _, c := range []struct {
		name       string
		records    []eval.Record
		compatible bool
		want       float64
	}{
		{"rounded first", []eval.Record{published("9.1.2", 20.004)}, true, 20},
		{"as they are", []eval.Record{published("9.1.2", 20.004)}, false, 20.004},
		{"10 before 9", []eval.Record{published("10.0.1", 30), published("9.1.2", 20)}, true, 20},
		{"9 before 10", []eval.Record{published("10.0.1", 30), published("9.1.2", 20)}, false, 30},
		{"9.3.0 counts", []eval.Record{published("9.1.2", 20), published("9.3.0", 30)}, true, 30},
		{"9.3.0 is left out", []eval.Record{published("9.1.2", 20), published("9.3.0", 30)}, false, 20},
	} {
		table, err := Build(c.records, Options{Compatible: c.compatible})
		if err != nil {
			t.Fatal(err)
		}
		if got := table.Rows[0].Columns["Danish"].Estimate.Value; math.Abs(got-c.want) > 1e-9 {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}
