package web

import (
	"encoding/xml"
	"errors"
	"io"
	"math"
	"os"
	"slices"
	"strings"
	"testing"

	"ravn/stats"
)

func full() *Report {
	var loss, rate []Point
	for s := 1; s <= 1000; s++ {
		loss = append(loss, Point{s, 2.2 + 3*math.Exp(-float64(s)/150) + 0.1*math.Sin(float64(s))})
		rate = append(rate, Point{s, 2e-3 * min(1, float64(s)/60) * (0.55 + 0.45*math.Cos(math.Pi*float64(s)/1000))})
	}
	loss[499].Value, loss[500].Value = math.NaN(), 4.75
	difference := func(v, low, high float64, n int) stats.Estimate {
		return stats.Estimate{Value: v, Low: low, High: high, Level: 0.95, N: n}
	}
	return &Report{
		Name: "prøve", Note: "en <note>", State: "finished", Small: true, Version: "v0", Machine: "a machine", Warnings: []string{"a warning"},
		Verdict: []string{"Danish held-out text improved: 3.200 → 2.400 bits per byte, -0.80 [-0.90, -0.70] n=10.", "English held-out text got worse: 2.000 → 2.062 bits per byte, +0.062 [0.040, 0.080] n=10."},
		Facts:   []Fact{{"parameters", "920,000"}, {"seed", "17"}},
		Phases: []Phase{
			{
				Name: "continued", Steps: 1000, Loss: loss, LR: rate,
				Bits: []Series{{Name: "Danish", Points: []Point{{0, 3}, {500, 2.4}, {1000, 2}}}, {Name: "English", Points: []Point{{0, 2}, {500, math.NaN()}, {1000, 2.06}}}, {Name: "Bokmål", Points: []Point{{0, 3.1}, {1000, 2.4}}}},
			},
			{Name: "empty", Steps: 5},
			{
				Name: "guarded", Steps: 1000, Loss: loss[:300], GradNorm: rate[:300],
				Change: []Series{
					{Name: "Danish", Points: []Point{{0, 0}, {100, -9}, {200, -13}, {300, -15}}, Bands: []Band{{0, 0}, {-10, -8}, {-14.5, -11.5}, {-16, -14}}, End: &Band{-26, -16}, Middle: -20},
					{Name: "English", Points: []Point{{0, 0}, {100, 0.5}, {200, 1.6}, {300, 2.9}}, Bands: []Band{{0, 0}, {0, 1}, {1, 2.2}, {2.3, 3.5}}, End: &Band{3, 9}, Middle: 5},
				},
				Limits: []Limit{{"English", 1}, {"Swedish", 1}},
				Tasks:  []Series{{Name: "scala-da", Points: []Point{{0, 0}, {200, -3}, {300, -6}}, Bands: []Band{{0, 0}, {-5, -1}, {-9, -3}}}, {Name: "norquad", Points: []Point{{0, 0}, {300, 1}}, Bands: []Band{{0, 0}, {-1, 3}}}}, TaskLimits: []Limit{{"scala-da", -5}},
				Speed: []Point{{1, 4000}, {2, 5000}, {3, 4500}}, SpeedNote: "Steps without evaluations and checkpoints; median 4500 tokens/s.",
				Guard: &Guard{Actions: []string{"A limit was exceeded and the run was stopped at step 300."}, Rows: []GuardRow{
					{Group: "English", Value: 0.029, Low: 0.023, High: 0.035, Documents: 50, Limit: ptr(0.01), State: "beyond", Forecast: &Band{0.03, 0.09}, Expected: 0.05},
					{Group: "Swedish", Value: 0.012, Low: 0.002, High: 0.022, Documents: 50, Limit: ptr(0.01), State: "above"},
					{Group: "Norwegian", Value: -0.1, Low: -0.12, High: -0.08, Documents: 50, Limit: ptr(0.01), State: "within"},
					{Group: "Danish", Value: -0.15, Low: -0.16, High: -0.14, Documents: 50},
				}},
				Mixture: Mixture{
					{First: 1, Last: 200, Sections: []MixShare{{"adl", 0.5}, {"wiki & co", 0.4}, {"replay-en", 0.1}}},
					{First: 201, Last: 900, Sections: []MixShare{{"adl", 0.4}, {"wiki & co", 0.35}, {"replay-en", 0.25}}, Why: "the guard raised replay behind step 200 to 25 %"},
					{First: 901, Last: 1000, Sections: []MixShare{{"law", 0.75}, {"replay-en", 0.25}}},
				},
				Samples: []Sample{{0, "Danish", "Ravnen sad", " på <the>"}, {300, "Danish", "Ravnen sad", " på taget."}},
				Notes:   []string{"Step 120: loss spike, loss 9.1, skip."},
			},
		},
		Corpus: []CorpusRow{
			{Section: "adl", License: "CC0-1.0", Language: "da", Role: "target", In: 1234567, Kept: 1234560, Heldout: 2, Removed: 5, Bytes: 99},
			{Section: "arkiv", License: "LicenseRef-All-Rights-Reserved", Language: "da", In: 6, Removed: 6},
		},
		Reasons:  []ReasonRow{{"adl", "too_short", 4}, {"adl", "empty", 1}, {"arkiv", "license_forbids", 6}},
		Overlaps: []string{"scala-da: 3 of 2048 items"},
		Rights: &Rights{Allowed: false, Why: "because", Credits: []string{"wiki, CC BY-SA"}, Findings: []RightsRow{
			{Section: "x", License: "LicenseRef-All-Rights-Reserved", Verdict: "forbidden", Reason: "all rights reserved", Share: 0.25, Examples: []string{"x_1"}},
			{Section: "adl", License: "CC0-1.0", Class: "public domain", Verdict: "allowed", Share: 0.75, Tokens: 1234},
		}},
		Scores: []ScoreRow{{"scala-da", "mcc", "m", difference(0.25, 0.1, 0.4, 12), []string{"few items"}}, {"scala-en", "mcc", "m", stats.Estimate{}, nil}},
		Changes: []ChangeRow{
			{Dataset: "heldout", Group: "language=da", Metric: "bpb", Base: 3.2, Result: 2.4, Difference: difference(-0.8, -0.9, -0.7, 10), Verdict: "better"},
			{Dataset: "heldout", Group: "language=en", Metric: "bpb", Base: 2, Result: 2.062, Difference: difference(0.062, 0.04, 0.08, 10), Verdict: "worse"},
			{Dataset: "heldout", Group: "source=x", Metric: "bpb", Base: 2, Result: math.NaN(), Difference: difference(9, 8, 10, 2), Verdict: "worse"},
			{Dataset: "scala-da", Metric: "mcc", Base: 0.1, Result: 0.25, Difference: difference(0.15, -0.1, 0.4, 12), Verdict: "~"},
		},
		Trace:  &Trace{Step: 3, Spans: []TraceSpan{{0, 0, 16, "adl", "adl_1", "CC0-1.0"}, {0, 16, 48, "wiki", "wiki_1", "CC-BY-SA-4.0"}}},
		Stages: []Stage{{"corpus", "done", 12.34}, {"train", "done", 3725}},
		Files:  []File{{"events.jsonl", "measurements"}},
	}
}

func ptr(x float64) *float64 { return &x }

// TestGuardedPhase: bands, limits, forecast, mixture and samples are there, as drawings and in words.
func TestGuardedPhase(t *testing.T) {
	p := full().Phases[2]
	chart := string(p.Charts()[0].SVG("g"))
	for part, n := range map[string]int{`class="band`: 2, `class="limit"`: 2, `<line class="ahead`: 2, "limit of English 1": 1, "is expected to end at 5 [3, 9]": 1} {
		if got := strings.Count(chart, part); got != n {
			t.Errorf("the chart of changes has %d of %q, want %d", got, part, n)
		}
	}
	for i, want := range map[int]string{1: "in change of the score, points: scala-da from 0 at step 0 to -6 at step 300; norquad from 0 at step 0 to 1 at step 300; limit of scala-da -5", 4: "in tokens/s: speed from 4000 at step 1 to 4500 at step 3"} {
		if got := string(p.Charts()[i].SVG("g")); !strings.Contains(got, want) {
			t.Errorf("chart %d lacks %q: %s", i, want, got)
		}
	}
	mix := string(p.Mixture.SVG("m"))
	if strings.Count(mix, "<rect") != 8 || !strings.Contains(mix, "steps 901 to 1000: law 75.0 %, replay-en 25.0 %") || !strings.Contains(mix, "wiki &amp; co") {
		t.Errorf("the mixture: %s", mix)
	}
	html := page(t, full())
	for _, want := range []string{"▼ beyond the limit", "&#43;2.90 % [&#43;2.30, &#43;3.50]", "&#43;5.00 % [&#43;3.00, &#43;9.00]", "~ above, not told apart", "raised replay behind step 200", `Before the end: <span class="key"><span class="m0"></span> adl</span> <span class="key"><span class="m1"></span> wiki &amp; co</span>`, "på &lt;the&gt;", "loss spike", `<p class="legend">change of bits per byte, %: <span class="key"><span class="m0"></span> Danish</span> <span class="key"><span class="m1"></span> English</span>`, "median 4500 tokens/s."} {
		if !strings.Contains(html, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	if got := string(Mixture(nil).SVG("m")); !strings.Contains(got, "No mixture yet") {
		t.Errorf("an empty mixture: %s", got)
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
	for _, want := range []string{
		"prøve", "en &lt;note&gt;", "small or synthetic", "Danish held-out text improved", "continued: held-out text", "1\u202f234\u202f567", "too_short 4, empty 1",
		"scala-da: 3 of 2048", "May not be released.", "x_1", "25.0 %", "0.25 [0.10, 0.40] n=12", "few items", "What step 3 read", "adl/adl_1", `href="../events.jsonl"`,
		"Danish from 3 at step 0 to 2 at step 1000", "~ not told apart", "▼ worse", "adl 25.0 %, wiki 75.0 %", "empty: nothing measured yet", "wiki, CC BY-SA", "1 h 02 min", "left of 0 is better",
	} {
		if !strings.Contains(html, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	if strings.Contains(html, "do not add up") {
		t.Error("the page says that right counts are wrong")
	}
	if os.Getenv("REPORT") != "" { // to look at it
		if err := os.WriteFile(os.Getenv("REPORT"), []byte(html), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func TestWrongCountsAreNamed(t *testing.T) {
	r := full()
	r.Corpus[0].Kept--
	r.Reasons[2].Documents--
	if html := page(t, r); !strings.Contains(html, "The counts of adl, arkiv do not add up") {
		t.Error("the page hides counts that do not add up")
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
	for _, bad := range []string{"http://", "https://", "src=", "NaN", "@import", "url("} {
		if strings.Contains(html, bad) {
			t.Errorf("the page holds %q", bad)
		}
	}
}

func wellFormed(t *testing.T, svg string) {
	t.Helper()
	dec := xml.NewDecoder(strings.NewReader(svg))
	for {
		_, err := dec.Token()
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			t.Fatalf("%v in %s", err, svg)
		}
	}
}

func TestDrawingsAreWellFormedAndSayItInWords(t *testing.T) {
	c := Chart{Title: "loss & more", Unit: "nats", Steps: 10, Series: []Series{{Name: "a", Points: []Point{{0, 1}, {10, 2}}}, {Name: "b", Points: []Point{{0, 1}, {5, math.Inf(1)}, {10, 2}}}}}
	svg := string(c.SVG("c"))
	wellFormed(t, svg)
	if !strings.Contains(svg, "loss &amp; more, in nats: a from 1 at step 0 to 2 at step 10; b from") || strings.Contains(svg, "Inf") || strings.Contains(svg, "NaN") {
		t.Errorf("no text alternative, or a number that is none, in %s", svg)
	}
	for _, empty := range []Chart{{Title: "empty"}, {Title: "empty", Series: []Series{{Name: "a", Points: []Point{{1, math.NaN()}}}}}} {
		if !strings.Contains(string(empty.SVG("e")), "nothing measured yet") {
			t.Error("a chart without points does not say so")
		}
	}
	for _, f := range full().Forests() {
		svg := string(f.SVG("f"))
		wellFormed(t, svg)
		for _, c := range f.Changes {
			if !strings.Contains(svg, c.What()+": "+c.Difference.Difference()) {
				t.Errorf("%s is not in words in %s", c.What(), svg)
			}
		}
	}
	if fs := full().Forests(); len(fs) != 2 || len(fs[0].Changes) != 2 || !fs[0].Lower || fs[1].Lower {
		t.Errorf("forests %+v, want bpb with two languages and mcc with one set", fs)
	}
}

func TestThinKeepsSpikes(t *testing.T) {
	var points []Point
	for i := range 100_000 {
		points = append(points, Point{i, 1})
	}
	points[54321].Value, points[12345].Value, points[999].Value = 100, -100, math.NaN()
	got := thin(points)
	if len(got) > maxPoints || !slices.Contains(got, points[54321]) || !slices.Contains(got, points[12345]) || got[0] != points[0] || got[len(got)-1] != points[99_999] {
		t.Errorf("%d points without the spikes or the ends", len(got))
	}
	if !slices.IsSortedFunc(got, func(a, b Point) int { return a.Step - b.Step }) {
		t.Error("thinned points are out of order")
	}
}

func TestLabelsDoNotTouch(t *testing.T) {
	var series []Series
	for _, v := range []float64{0, 0.1, 0.2, 0.05, 10} {
		series = append(series, Series{Name: "s", Points: []Point{{1, v}}})
	}
	y := scale{0, 10, 240, 12, 0}
	places := labelPlaces(series, y)
	slices.Sort(places)
	for i, p := range places {
		if p > y.from || i > 0 && p-places[i-1] < 13.9 {
			t.Errorf("names at %v touch or hang below the axis", places)
		}
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

func TestTickText(t *testing.T) {
	for want, ticks := range map[string][]float64{"0.0002": {0.0002, 0.0004}, "2e-5": {0.00002, 0.00004}, "0.0010": {0.001, 0.0015}, "2.5": {2.5, 3}, "400": {400, 600}, "0": {0, 5}, "-0.05": {-0.05, 0}} {
		if got := tickText(ticks[0], ticks); got != want {
			t.Errorf("tick %g of %v is written %q, want %q", ticks[0], ticks, got, want)
		}
	}
}
