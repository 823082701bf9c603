package workflow

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"ravn/stats"
	"ravn/train"
)

// scaled makes the runs of one series: two languages, Danish the target, with the relative change that of gives each
// language, size, seed and document.
func scaled(t *testing.T, sizes []int64, seeds, documents int, of func(language string, size int64, seed, document int) float64) []SweptRun {
	t.Helper()
	s, err := readSweep(t, "name: s\nrecipe: r.yaml\nset: {data.sources: [{path: text, section: a, language: da, role: target}]}\nruns: [{name: a, series: x}]\ngrid: {seed: [1]}")
	if err != nil {
		t.Fatal(err)
	}
	runs, err := s.expand()
	if err != nil {
		t.Fatal(err)
	}
	if runs[0].series != "x" {
		t.Fatalf("the run has series %q", runs[0].series)
	}
	var out []SweptRun
	for _, size := range sizes {
		for seed := range seeds {
			x := SweptRun{Name: fmt.Sprintf("%d-%d", size, seed), Series: "x", Parameters: size, Set: map[string]any{"seed": seed}, recipe: runs[0].recipe}
			for _, language := range []string{"da", "en"} {
				for k := range documents {
					base := 1000 * math.Pow(float64(size), -0.1) * float64(10+k%3)
					x.scores = append(x.scores, train.Scored{Language: language, ID: fmt.Sprint(k), Bytes: 100 * (10 + k%3), Base: base, Last: base * (1 + of(language, size, seed, k))})
				}
			}
			out = append(out, x)
		}
	}
	return out
}

// TestScalingOfALine: changes that are exactly straight in the logarithm, and bases whose bits per byte go exactly as
// parameters^-0.1, give those numbers back: Danish loses 5 points for ten times the parameters, English gains 2.
func TestScalingOfALine(t *testing.T) {
	runs := scaled(t, []int64{40e6, 4e6, 12e6}, 3, 12, func(language string, size int64, _, _ int) float64 {
		x := math.Log10(float64(size))
		if language == "da" {
			return -0.1 - 0.05*(x-7)
		}
		return 0.03 + 0.02*(x-7)
	})
	r := SweepResult{Name: "s", Runs: runs}
	if err := r.scale(); err != nil {
		t.Fatal(err)
	}
	if len(r.Scaling) != 1 || r.Scaling[0].Seeds != 3 || fmt.Sprint(r.Scaling[0].Parameters) != "[4000000 12000000 40000000]" {
		t.Fatalf("scaling %+v", r.Scaling)
	}
	near := func(name string, got, want float64) {
		t.Helper()
		if math.Abs(got-want) > 1e-9 {
			t.Errorf("%s: %g, want %g", name, got, want)
		}
	}
	s := r.Scaling[0]
	near("slope of Danish", s.Languages[0].Slope.Value, -0.05)
	near("slope of the target", s.Target.Slope.Value, -0.05)
	near("slope of what is retained", s.Retained.Slope.Value, 0.02)
	near("exponent of the bases", s.Languages[1].BaseExponent.Value, -0.1)
	near("change at the smallest", s.Retained.Changes[0].Change.Value, 0.03+0.02*(math.Log10(4e6)-7))
	near("the fit at the largest", s.Retained.Fit[8].Change.Value, 0.03+0.02*(math.Log10(40e6)-7))
	near("bits per byte of the smallest base", s.Languages[0].BaseBits[0], 10*math.Pow(4e6, -0.1)/math.Ln2)
	bent := ScaledChange{Fit: s.Retained.Fit, Changes: slices.Clone(s.Retained.Changes)}
	bent.Changes[1].Change = stats.Estimate{Value: 0.1, Low: 0.09, High: 0.11} // where the line has 0.03
	for i := range 3 {
		if e := &s.Retained.Changes[i].Change; i != 1 { // intervals of no width: room for the rounding
			bent.Changes[i].Change = stats.Estimate{Value: e.Value, Low: e.Value - 1e-9, High: e.Value + 1e-9}
		}
	}
	if bent.Missed() != 1 {
		t.Errorf("the line misses %d sizes, want the middle one", bent.Missed())
	}
	svg := string(r.scalingPlots()[1].SVG("x"))
	for _, want := range []string{">2.0M<", ">50M<", `class="band m0"`, "parameters of the base"} {
		if !strings.Contains(svg, want) {
			t.Errorf("the drawing lacks %s:\n%s", want, svg)
		}
	}
	var md strings.Builder
	r.Markdown(&md)
	if want := "| x | en | 4.00M +2.20 % [+2.20, +2.20], 12.00M +3.16 % [+3.16, +3.16], 40.00M +4.20 % [+4.20, +4.20] | +2.00 [+2.00, +2.00] |"; !strings.Contains(md.String(), want) {
		t.Errorf("the table lacks %q:\n%s", want, md.String())
	}
}

// TestScalingCoverage: documents and seeds scatter around a slope of 0.02, documents in how they go with size, seeds at each size
// by themselves. The 95 % interval has to hold 0.02 in 108 to 119 of 120 simulated sweeps: three seeds are few.
func TestScalingCoverage(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 0))
	sizes := []int64{3e6, 12e6, 40e6}
	held, resolved := 0, 0
	const times, seeds, documents = 120, 3, 20
	for range times {
		slopes, jitter := make([]float64, documents), map[string]float64{}
		for k := range slopes {
			slopes[k] = 0.02 + 0.02*rng.NormFloat64()
		}
		for _, size := range sizes {
			for seed := range seeds {
				jitter[fmt.Sprint(size, seed)] = 0.004 * rng.NormFloat64()
			}
		}
		runs := scaled(t, sizes, seeds, documents, func(_ string, size int64, seed, document int) float64 {
			return 0.03 + slopes[document]*(math.Log10(float64(size))-7) + jitter[fmt.Sprint(size, seed)]
		})
		for i := range runs { // English alone, for time
			runs[i].scores = runs[i].scores[documents:]
		}
		s, err := scaleSeries("x", runs)
		if err != nil {
			t.Fatal(err)
		}
		if e := s.Languages[0].Slope; e.Low <= 0.02 && 0.02 <= e.High {
			held++
		}
		if s.Languages[0].Slope.Resolved() {
			resolved++
		}
	}
	t.Logf("held in %d of %d, resolved in %d", held, times, resolved)
	if held < 108 || held > 119 {
		t.Errorf("the interval held the slope in %d of %d", held, times)
	}
	if resolved < times/2 {
		t.Errorf("a slope of four deviations is resolved in %d of %d only", resolved, times)
	}
}

// TestBadSeries: one size, two bases of a size under one seed, and sizes without a seed in common are errors that name the series.
func TestBadSeries(t *testing.T) {
	flat := func(string, int64, int, int) float64 { return 0.1 }
	same := scaled(t, []int64{1e6, 2e6}, 1, 2, flat)
	same[1].Parameters = 1e6
	apart := scaled(t, []int64{1e6, 2e6}, 1, 2, flat)
	apart[1].Set = map[string]any{"seed": 5}
	for want, runs := range map[string][]SweptRun{
		"all runs of series x have bases of 1.00M parameters":                  scaled(t, []int64{1e6}, 2, 2, flat),
		"runs 1000000-0 and 2000000-0 of series x have bases of the same size": same,
		"series x has no seed that was run at all of its 2 sizes":              apart,
	} {
		r := SweepResult{Name: "s", Runs: runs}
		if err := r.scale(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}

// TestSweepOfBasesAlone: a sweep that ends before training says so, instead of a table of nothing.
func TestSweepOfBasesAlone(t *testing.T) {
	r := SweepResult{Name: "s", Runs: []SweptRun{{Name: "a", State: "finished", Target: stats.MeanOf(nil), Retained: stats.MeanOf(nil)}}}
	var md strings.Builder
	r.Markdown(&md)
	if !strings.Contains(md.String(), "No run went as far as training") || strings.Contains(md.String(), "NaN") {
		t.Errorf("got %s", md.String())
	}
}
