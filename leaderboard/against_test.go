package leaderboard

import (
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"ravn/eval"
	"ravn/stats"
)

// estimate is a value with the same distance to both ends.
func estimate(v, radius float64) stats.Estimate {
	return stats.Estimate{Value: v, Low: v - radius, High: v + radius, SE: radius / 1.96, Level: 0.95, N: 100}
}

// asked is a record of ravn; difference, where its value is not NaN, is from the model called base.
func asked(model, dataset, task, language, metric string, score, difference stats.Estimate) eval.Record {
	r := eval.Record{
		Model: model, Dataset: dataset, Task: task, DatasetLanguages: []string{language}, FewShot: true, Generative: true, NumModelParameters: -1,
		Results: eval.Results{Total: map[string]eval.Score{"test_" + metric: eval.Score(score.Value), "test_" + metric + "_se": eval.Score(score.Radius())}},
		Ravn:    &eval.Provenance{Mode: eval.ModeRavn, Primary: metric, Items: 100, RowsInSplit: 100, Iterations: 5, Estimates: map[string]stats.Estimate{metric: score}},
	}
	if metric == "bpb" {
		r.Ravn.Estimates = map[string]stats.Estimate{"bpb/language=" + language: score}
		metric = "bpb/language=" + language
	}
	if !math.IsNaN(difference.Value) {
		r.Ravn.Base = &eval.Base{Model: "base", Differences: map[string]stats.Estimate{metric: difference}}
	}
	return r
}

// A model is worse than its base where the paired differences of its records say so. By hand: Danish is the mean of −4 ± 2
// and 1 ± 2, −1.5 ± √(4+4)/2 = 1.41; with Swedish at 0 ± 1 Overall is −0.75 ± √(2+1)/2 = 0.87, which holds 0.
func TestWorseThanItsBase(t *testing.T) {
	none := stats.Estimate{Value: math.NaN()}
	records := []eval.Record{
		asked("base", "scala-da", "linguistic-acceptability", "da", "mcc", estimate(40, 5), none),
		asked("base", "heldout", "bits-per-byte", "en", "bpb", estimate(2.2, 0.1), none),
		asked("result", "scala-da", "linguistic-acceptability", "da", "mcc", estimate(36, 5), estimate(-4, 2)),
		asked("result", "angry-tweets", "sentiment-classification", "da", "mcc", estimate(31, 5), estimate(1, 2)),
		asked("result", "scala-sv", "linguistic-acceptability", "sv", "mcc", estimate(20, 5), estimate(0, 1)),
		asked("result", "heldout", "bits-per-byte", "en", "bpb", estimate(2.23, 0.1), estimate(0.03, 0.01)),
		asked("ravn/dummy", "scala-da", "linguistic-acceptability", "da", "mcc", estimate(0, 3), none),
	}
	table, err := Build(records, Options{})
	if err != nil {
		t.Fatal(err)
	}
	var a *Against
	for _, r := range table.Rows {
		if r.Model == "result" {
			a = r.Against
		} else if r.Against != nil {
			t.Errorf("%s has a base", r.Model)
		}
	}
	if a == nil || a.Base != "base" || !a.Paired {
		t.Fatalf("result stands against %+v", a)
	}
	if d := cmp.Diff(a.Worse, []string{"Danish", "scala-da", "heldout language=en"}); d != "" {
		t.Errorf("worse (-got +want):\n%s", d)
	}
	for column, want := range map[string][3]float64{"Danish": {-1.5, -2.914, -0.086}, Overall: {-0.75, -1.616, 0.116}, "Swedish": {0, -1, 1}} {
		d := a.Columns[column]
		for i, got := range []float64{d.Value, d.Low, d.High} {
			if math.Abs(got-want[i]) > 0.001 {
				t.Errorf("%s: %v [%v, %v], by hand %v", column, d.Value, d.Low, d.High, want)
				break
			}
		}
	}
	md := table.Markdown()
	for _, want := range []string{
		"> ▼ **result is worse than its base base: Danish −1.50 [−2.91, −0.09], scala-da −4.00 [−6.00, −2.00], heldout language=en +0.030 [+0.020, +0.040] (95 % intervals, paired on the same items).**",
		"| Overall − its base |", "| −0.75 [−1.62, +0.12] ~ |", "36.00 [31.00, 41.00] n=100 [1] ▼ |", "] ▼ |",
	} {
		if !strings.Contains(md, want) {
			t.Errorf("the table lacks %q:\n%s", want, md)
		}
	}
	csv, err := table.CSV()
	if err != nil || !strings.Contains(string(csv), "average minus base,Danish,,Danish,,-1.5,-2.914") {
		t.Errorf("CSV (%v):\n%s", err, csv)
	}
}

// Where records do not name a base, Options.Bases does; the two are taken as independent: 47 ± 2 against 50 ± 2 is −3 ± 2.83.
func TestBasesOfOthersRecords(t *testing.T) {
	none := stats.Estimate{Value: math.NaN()}
	at := func(model string, v float64) eval.Record {
		r := asked(model, "scala-da", "linguistic-acceptability", "da", "mcc", estimate(v, 2), none)
		r.Ravn = nil
		return r
	}
	records := []eval.Record{at("base", 50), at("worse", 47), at("close", 48), at("alone", 10)}
	table, err := Build(records, Options{Bases: map[string]string{"worse": "base", "close": "base", "alone": "elsewhere"}})
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, r := range table.Rows {
		if r.Against != nil {
			d := r.Against.Columns[Overall]
			got[r.Model] = fmt.Sprintf("%.0f ± %.2f %v %v", d.Value, d.Radius(), r.Against.Paired, r.Against.Worse)
		}
	}
	if d := cmp.Diff(got, map[string]string{"worse": "-3 ± 2.83 false [Overall Danish scala-da]", "close": "-2 ± 2.83 false []"}); d != "" {
		t.Errorf("against base (-got +want):\n%s", d)
	}
	if !strings.Contains(strings.Join(table.Footnotes, "\n"), "alone is not compared with its base elsewhere") {
		t.Errorf("notes: %q", table.Footnotes)
	}
	if _, err := Build(records, Options{Bases: map[string]string{"wurse": "base"}}); err == nil || !strings.Contains(err.Error(), `"wurse", which has no record`) {
		t.Errorf("a base of a model that is not there: %v", err)
	}
}

// The announcement's failure stands above every table that shows its rows. Differences by hand: 21.46 − 30.86 = −9.40,
// 20.53 − 27.74 = −7.21, 14.59 − 27.26 = −12.67, 29.25 − 37.59 = −8.34.
func TestTheAnnouncementsFailureIsSaid(t *testing.T) {
	none := stats.Estimate{Value: math.NaN()}
	table, err := Build([]eval.Record{asked("mine", "scala-da", "linguistic-acceptability", "da", "mcc", estimate(40, 5), none)}, Options{Published: Announcement()})
	if err != nil {
		t.Fatal(err)
	}
	md := table.Markdown()
	const said = "> ▼ **danish-foundation-models/munin-7b-alpha ‡ is worse than its base mistralai/Mistral-7B-v0.1: Overall −9.40, Danish −7.21, Norwegian −12.67, Swedish −8.34 (as published; each beyond the two ± together).**\n"
	if !strings.HasPrefix(md, said) {
		t.Errorf("the table begins with\n%.600s\nwant\n%s", md, said)
	}
	if want := "| – | danish-foundation-models/munin-7b-alpha ‡ | 21.46 ± 2.98 ▼ | 20.53 ± 2.82 ▼ | 14.59 ± 3.47 ▼ | 29.25 ± 2.66 ▼ | **−9.40 ▼** |\n"; !strings.Contains(md, want) {
		t.Errorf("the table lacks %q:\n%s", want, md)
	}
}
