package web

import (
	"encoding/xml"
	"errors"
	"io"
	"strings"
	"testing"

	"ravn/stats"
)

func full() *Report {
	return &Report{
		Name: "prøve", Note: "en <note>", State: "finished", Small: true, Verdict: []string{"Danish got better."}, Version: "v0", Machine: "a machine",
		Phases: []Phase{{Name: "continued", Steps: 100, Loss: []Point{{1, 5}, {100, 3}}, LR: []Point{{1, 0.001}, {100, 0.0001}},
			Bits: []Series{{"da", []Point{{0, 3}, {100, 2}}}, {"en", []Point{{0, 2}, {100, 2.01}}}}}},
		Corpus:   []CorpusRow{{Section: "adl", License: "CC0-1.0", Language: "da", Role: "target", In: 1234567, Kept: 1234560, Heldout: 2, Removed: 5}},
		Reasons:  []ReasonRow{{"adl", "too_short", 5}},
		Overlaps: []string{"scala-da: 3 of 2048 items"},
		Rights:   &Rights{Allowed: false, Why: "because", Findings: []RightsRow{{Section: "x", Verdict: "forbidden", Share: 0.25, Examples: []string{"x_1"}}}},
		Scores:   []ScoreRow{{"scala-da", "mcc", "m", stats.Estimate{Value: 0.25, Low: 0.1, High: 0.4, N: 12}, []string{"few items"}}},
		Changes:  []ChangeRow{{"scala-da", "", "mcc", 0.1, 0.25, stats.Estimate{Value: 0.15, Low: -0.1, High: 0.4, N: 12}, "~"}},
		Trace:    &Trace{Step: 3, Spans: []TraceSpan{{0, 0, 16, "adl", "adl_1", "CC0-1.0"}}},
		Files:    []File{{"events.jsonl", "measurements"}},
	}
}

func page(t *testing.T, r *Report) string {
	t.Helper()
	html, err := r.HTML()
	if err != nil {
		t.Fatal(err)
	}
	return string(html)
}

func TestReportShowsEveryPart(t *testing.T) {
	html := page(t, full())
	for _, want := range []string{"prøve", "en &lt;note&gt;", "small or synthetic", "Danish got better.", "continued: held-out text", "1\u202f234\u202f567", "too_short",
		"scala-da: 3 of 2048", "May not be released.", "x_1", "25.0 %", "[0.100, 0.400]", "few items", "What step 3 read", "adl/adl_1", `href="../events.jsonl"`,
		"da from 3 at step 0 to 2 at step 100"} {
		if !strings.Contains(html, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	if strings.Contains(html, "missing\"") && strings.Contains(html, "nothing measured yet") {
		t.Error("a full report says that something is missing")
	}
}

func TestEmptyReportSaysWhatIsMissing(t *testing.T) {
	html := page(t, &Report{Name: "x", State: "running, stage corpus"})
	for _, want := range []string{"No result yet", "Not compared yet", "No training yet", "Nothing measured yet", "No corpus yet", "The gate has not been asked yet"} {
		if !strings.Contains(html, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	if strings.Contains(html, "What step") {
		t.Error("an empty report traces a step")
	}
}

func TestPageLoadsNothingFromElsewhere(t *testing.T) {
	html := page(t, full())
	for _, bad := range []string{"http://", "https://", "src=", "@import", "url("} {
		if strings.Contains(html, bad) {
			t.Errorf("the page holds %q", bad)
		}
	}
}

func TestChartIsWellFormedAndSaysItInWords(t *testing.T) {
	svg := string(chart("loss & more", "nats", 10, []Series{{"a", []Point{{0, 1}, {10, 2}}}, {"b", []Point{{0, 1}, {10, 2}}}}))
	dec := xml.NewDecoder(strings.NewReader(svg))
	for {
		_, err := dec.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatalf("%v in %s", err, svg)
		}
	}
	if !strings.Contains(svg, "loss &amp; more, in nats: a from 1 at step 0 to 2 at step 10") {
		t.Errorf("no text alternative in %s", svg)
	}
	if !strings.Contains(string(chart("empty", "x", 5, nil)), "nothing measured yet") {
		t.Error("a chart without points does not say so")
	}
}

func TestTicksAreRoundAndCover(t *testing.T) {
	for _, c := range []struct {
		low, high float64
		first     float64
		last      float64
	}{{0, 10, 0, 10}, {1.93, 4.47, 1, 5}, {0.2, 0.21, 0.2, 0.21}, {5, 5, 4, 6}} {
		got := niceTicks(c.low, c.high, 4)
		if got[0] > c.low || got[len(got)-1] < c.high-1e-9 || len(got) > 8 {
			t.Errorf("%g to %g: %v", c.low, c.high, got)
		}
	}
}
