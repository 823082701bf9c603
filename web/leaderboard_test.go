package web

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"ravn/eval"
	"ravn/leaderboard"
	"ravn/stats"
)

// The 26 data sets of January 2024.
var boardSets = []struct{ name, task, language, metric string }{
	{"dansk", "named-entity-recognition", "da", "micro_f1_no_misc"},
	{"angry-tweets", "sentiment-classification", "da", "mcc"},
	{"scala-da", "linguistic-acceptability", "da", "mcc"},
	{"scandiqa-da", "question-answering", "da", "em"},
	{"nordjylland-news", "summarization", "da", "chrf3++"},
	{"mmlu-da", "knowledge", "da", "mcc"},
	{"arc-da", "knowledge", "da", "mcc"},
	{"hellaswag-da", "common-sense-reasoning", "da", "mcc"},
	{"norne-nb", "named-entity-recognition", "nb", "micro_f1_no_misc"},
	{"norne-nn", "named-entity-recognition", "nn", "micro_f1_no_misc"},
	{"norec", "sentiment-classification", "nb", "mcc"},
	{"scala-nb", "linguistic-acceptability", "nb", "mcc"},
	{"scala-nn", "linguistic-acceptability", "nn", "mcc"},
	{"norquad", "question-answering", "nb", "em"},
	{"no-sammendrag", "summarization", "nb", "chrf3++"},
	{"mmlu-no", "knowledge", "nb", "mcc"},
	{"arc-no", "knowledge", "nb", "mcc"},
	{"hellaswag-no", "common-sense-reasoning", "nb", "mcc"},
	{"suc3", "named-entity-recognition", "sv", "micro_f1_no_misc"},
	{"swerec", "sentiment-classification", "sv", "mcc"},
	{"scala-sv", "linguistic-acceptability", "sv", "mcc"},
	{"scandiqa-sv", "question-answering", "sv", "em"},
	{"swedn", "summarization", "sv", "chrf3++"},
	{"mmlu-sv", "knowledge", "sv", "mcc"},
	{"arc-sv", "knowledge", "sv", "mcc"},
	{"hellaswag-sv", "common-sense-reasoning", "sv", "mcc"},
}

// made makes records of n models that do not exist on every data set; every seventh lacks one, every ninth saw one in training.
func made(n int) []eval.Record {
	r := rand.New(rand.NewPCG(7, 7))
	var out []eval.Record
	for m := range n {
		params := int64(1e7 * (1 + 9*r.Float64()) * []float64{1, 10, 100, 1000, 3000}[m%5])
		skill := 5 + 10*float64(m%5) + 12*r.Float64()
		for k, s := range boardSets {
			if m%7 == 3 && k == 4 {
				continue
			}
			score := max(0.5, skill+12*r.NormFloat64())
			radius := 0.6 + 2*r.Float64()
			rec := eval.Record{
				Dataset: s.name, Task: s.task, DatasetLanguages: []string{s.language}, Model: fmt.Sprintf("made-up/raven-%03d", m),
				NumModelParameters: params, MaxSequenceLength: 4096, VocabularySize: 32000, Generative: true, FewShot: true,
				GenerativeType: []string{"base", "instruction_tuned", "reasoning"}[m%3], License: []string{"Apache-2.0", "", "CC-BY-NC-4.0", "MIT"}[m%4],
				Results: eval.Results{Total: map[string]eval.Score{"test_" + s.metric: eval.Score(score), "test_" + s.metric + "_se": eval.Score(radius)}},
				Ravn: &eval.Provenance{
					Mode: eval.ModeRavn, Primary: s.metric, Items: 2048, RowsInSplit: 2048, Iterations: 10, Contamination: &eval.Contamination{Items: 2048},
					Estimates: map[string]stats.Estimate{s.metric: {Value: score, Low: score - radius, High: score + radius, SE: radius / 2, N: 2048, Level: 0.95}},
				},
			}
			for range 10 {
				rec.Results.Raw.Test = append(rec.Results.Raw.Test, map[string]eval.Score{s.metric: eval.Score((score + radius*r.NormFloat64()) / 100)})
			}
			if d, ok := map[int]float64{3: -4, 4: 3, 5: 0.1}[m]; ok { // worse than its base, better, not told apart
				rec.Ravn.Base = &eval.Base{Model: "made-up/raven-000", Differences: map[string]stats.Estimate{s.metric: {Value: d, Low: d - 2, High: d + 2, SE: 1, N: 2048, Level: 0.95}}}
			}
			if m%9 == 2 && s.name == "scala-da" {
				rec.Ravn.Contamination.Hit = 418
			}
			out = append(out, rec)
		}
	}
	return out
}

func boardPage(t testing.TB, models int) string {
	t.Helper()
	table, err := leaderboard.Build(made(models), leaderboard.Options{Published: leaderboard.Announcement()})
	if err != nil {
		t.Fatal(err)
	}
	page, err := Leaderboard(table, BoardOptions{Title: "Models that do not exist", Version: "test"})
	if err != nil {
		t.Fatal(err)
	}
	return string(page)
}

func TestLeaderboardPage(t *testing.T) {
	page := boardPage(t, 9)
	for _, want := range []string{
		"<h1>Models that do not exist</h1>", `<span class="name">made-up/raven-004</span>`, `class="published"`, "munin-7b-alpha</span> ‡ <span class=\"below\">▼ worse than its base, mistralai/Mistral-7B-v0.1</span> <span class=\"marks\">published, not re-run</span>",
		"Worse than their base</h2>", "munin-7b-alpha ‡ is worse than its base mistralai/Mistral-7B-v0.1: Overall −9.40, Danish", `raven-003</span> <span class="below">▼ worse than its base, made-up/raven-000`,
		"21.46 ▼ <small>± 2.98</small>", ">-9.40 ▼</td>", ">&#43;3.00 ▲ <small>", ">&#43;0.10 ~ <small>",
		"<small>± 2.98</small>", `data-view="g0"`, ">Norwegian</span>", "20.4 % of them found in the training text", "<option>Apache-2.0</option>",
		"† scala-da: 20.4 % of the items were found in the training text.",
	} {
		if !strings.Contains(page, want) {
			t.Errorf("the page does not hold %q", want)
		}
	}
	plain, _, _ := strings.Cut(page, "<script>")
	for _, bad := range []string{"http://", "https://", "NaN", "ZgotmplZ", "partial"} {
		if strings.Contains(plain, bad) {
			t.Errorf("the page holds %q", bad)
		}
	}
	if got := strings.Count(page, "<tr"); got != 1+9+5 {
		t.Errorf("%d rows, want a head, nine models and five published", got)
	}
}

// Names and marks of records are text, whatever they hold.
func TestLeaderboardPageEscapes(t *testing.T) {
	records := made(1)
	for i := range records {
		records[i].Model, records[i].License, records[i].GenerativeType = `<script>alert(1)</script>`, `"><b>`, `'x`
	}
	table, err := leaderboard.Build(records, leaderboard.Options{})
	if err != nil {
		t.Fatal(err)
	}
	page, err := Leaderboard(table, BoardOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(page), "<script>alert") || strings.Contains(string(page), `"><b>`) {
		t.Error("a name became code")
	}
}

func BenchmarkLeaderboardPage200(b *testing.B) {
	for b.Loop() {
		boardPage(b, 200)
	}
}
