package task

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"ravn/eval"
)

// The peculiarities of ScandEval that are no switches, in both modes: what is sampled, how often, what "_se" holds, and
// what lies in the data. docs/design/evaluation.md lists all of them with their tests.
func TestPeculiaritiesInBothModes(t *testing.T) {
	for _, mode := range []string{eval.ModeScandEval2024, eval.ModeRavn} {
		old := mode == eval.ModeScandEval2024
		d := english(t, 40)
		o := Options{Mode: mode, Iterations: 10}
		answer := func(prompt string) string { // right for a part of the rows, so that scores differ between samples
			if n := lastNumber(prompt); n%3 == 0 {
				return parity(strings.Replace(prompt, fmt.Sprint(n), fmt.Sprint(n+1), 1))
			}
			return parity(prompt)
		}
		results := make([]*Result, 2)
		for i := range results {
			r, err := Evaluate(t.Context(), &oracle{answer: answer, maxTokens: -1}, d, o)
			if err != nil {
				t.Fatal(err)
			}
			results[i] = r
		}
		// 1: nothing is sampled at temperature 1, so that an evaluation can be repeated.
		if diff := cmp.Diff(results[0].Record, results[1].Record); diff != "" {
			t.Errorf("%s: asked again, the record differs: %s", mode, diff)
		}
		// 9: "_se" is 1.96 standard errors over the iterations, in both.
		r := results[0].Record
		var x []float64
		mean := 0.0
		for _, raw := range r.Results.Raw.Test {
			x = append(x, float64(raw["mcc"]))
			mean += float64(raw["mcc"]) / 10
		}
		ss := 0.0
		for _, v := range x {
			ss += (v - mean) * (v - mean)
		}
		want := 100 * 1.96 * math.Sqrt(ss/9/10)
		if got := float64(r.Results.Total["test_mcc_se"]); math.Abs(got-want) > 1e-9 {
			t.Errorf("%s: _se is %v, by hand %v", mode, got, want)
		}
		// The interval that is shown is ScandEval's in its mode, with the propagated one beside it, and the propagated one in mode ravn.
		e, propagated := r.Ravn.Estimates["mcc"], r.Ravn.Estimates["mcc/propagated"]
		if old != (math.Abs(e.High-e.Value-want) < 1e-9) || old != (propagated.N > 0) {
			t.Errorf("%s: estimate %v, propagated %v", mode, e, propagated)
		}
		// 10: rows are drawn with replacement, with other examples each time; in mode ravn every row is asked once a draw.
		for k, sample := range samples(40, o) {
			rows := slices.Clone(sample)
			slices.Sort(rows)
			if distinct := len(slices.Compact(rows)); len(sample) != 40 || old != (distinct < 40) {
				t.Errorf("%s: sample %d has %d rows, %d of them distinct", mode, k, len(sample), distinct)
			}
		}
		_, a, err := Prompts(d, 0, o)
		if err != nil {
			t.Fatal(err)
		}
		_, b, err := Prompts(d, 1, o)
		if err != nil {
			t.Fatal(err)
		}
		if slices.Equal(a, b) {
			t.Errorf("%s: two iterations show the same examples", mode)
		}
		// 13: Nynorsk is asked in Bokmål, and what is Norwegian counts for both: part of the data sets, in both modes.
		nn, _ := LookupSpec("scala-nn")
		p := prompt(&nn, kinds[nn.Task], nil, &Row{Text: "Eg såg ein ramn."}, !o.quirks().TrailingSpace)
		if p != "Følgende er setninger og hvorvidt de er grammatisk korrekte.\n\nSetning: Eg såg ein ramn.\nGrammatisk korrekt:" {
			t.Errorf("%s: scala-nn asks %q", mode, p)
		}
	}
	for _, name := range []string{"norec", "norquad"} {
		if s, _ := LookupSpec(name); !slices.Equal(s.Languages, []string{"nb", "nn"}) {
			t.Errorf("%s is in %q", name, s.Languages)
		}
	}
}
