package task

import (
	"math"
	"slices"
	"strings"
	"testing"

	"ravn/eval"
)

func quirky(o Options) quirks { return o.quirks() }

// Each quirk of ScandEval 9.1.2 in the mode that copies it, repaired by name, and in mode ravn.
func TestQuirksInBothModes(t *testing.T) {
	old := Options{Mode: eval.ModeScandEval2024}
	if got := quirky(old).names(); !slices.Equal(got, Quirks()) {
		t.Errorf("mode of 2024 copies %q", got)
	}
	if got := quirky(Options{}).names(); got != nil {
		t.Errorf("mode ravn copies %q", got)
	}
	if q := quirksOf(quirky(old).names()); q != quirky(old) {
		t.Errorf("read back as %+v", q)
	}
	dansk, _ := LookupSpec("dansk")
	scala, _ := LookupSpec("scala-da")
	swedn, _ := LookupSpec("swedn")
	token := func(spec Spec, r Row, out output, q quirks) string {
		a := &asked{d: &Dataset{Spec: spec}, row: &r, hasMisc: true}
		return kinds[spec.Task].judge(a, out, q).answer
	}
	for _, c := range []struct {
		name string
		run  func(q quirks) string
		with string // as ScandEval 9.1.2
		not  string
	}{
		{"trailing-space", func(q quirks) string {
			p := prompt(&dansk, entities{}, nil, &Row{Tokens: []string{"Hej"}}, !q.TrailingSpace)
			return p[strings.LastIndex(p, "enheder"):]
		}, "enheder: ", "enheder:"},
		{"first-token", func(q quirks) string {
			// The first token of "nej" is likelier than that of "ja", the whole word is not.
			return token(scala, Row{Label: "correct"}, output{logProb: []float64{-3, -1}, firstToken: []float64{-0.5, -1}}, q)
		}, "incorrect", "correct"},
		{"cached-repeats", func(q quirks) string {
			// "ja" is likelier; "nej" is not among the ten likeliest tokens. The row was drawn twice.
			a := &asked{d: &Dataset{Spec: scala}, row: &Row{Label: "correct"}, times: 2}
			a.out = output{logProb: []float64{-9, -2}, firstToken: []float64{-9, -2}, firstRank: []int{40, 3}}
			judgeAll(classification{}, []*draw{{items: []*asked{a}, fresh: []int{0}}}, q)
			return a.verdict.answer + " " + a.repeat.answer
		}, "correct incorrect", "correct correct"},
		{"lower-case-tags", func(q quirks) string {
			// Two neighbouring places found, the second one's tag missing: strictly one of two, in lower case three chunks of "o" and b-loc.
			a := &asked{row: &Row{Tags: []string{"B-LOC", "B-LOC", "O", "B-PER"}}, verdict: judgement{answer: "b-loc o o b-per"}}
			scores := map[string]eval.Score{"micro_f1": 0.5}
			entities{}.sequenceScores(scores, []*asked{a}, q)
			if scores["micro_f1"] == 0.5 && scores["scandeval_micro_f1"] != 0 {
				return "strict"
			}
			if scores["strict_micro_f1"] == 0.5 {
				return "lower case"
			}
			return "?"
		}, "lower case", "strict"},
		{"substring-spans", func(q quirks) string {
			return token(dansk, Row{Tokens: strings.Fields("I Indien i dag"), Tags: []string{"O", "B-LOC", "O", "O"}}, output{text: `{"sted": ["i"]}`}, q)
		}, "o b-loc b-loc o", "o o b-loc o"},
		{"ids-once", func(q quirks) string {
			items := []*asked{{row: &Row{ID: "1"}, verdict: judgement{counts: []float64{1, 1, 1}}}, {row: &Row{ID: "1"}, verdict: judgement{counts: []float64{0, 0, 1}}}}
			scores := map[string]eval.Score{"em": 50}
			questions{}.sequenceScores(scores, items, q)
			if scores["em"] == 0 {
				return "the later answer only"
			}
			return "both"
		}, "the later answer only", "both"},
		{"rouge-letters", func(q quirks) string {
			a := &asked{d: &Dataset{Spec: swedn}, row: &Row{Target: "åå öö"}}
			if (summaries{}).judge(a, output{text: "åå öö"}, q).counts[2] == 0 {
				return "no words"
			}
			return "words"
		}, "no words", "words"},
		{"plain-summaries", func(q quirks) string {
			m := summaries{}.metrics(&swedn, q)
			r := eval.Record{Results: eval.Results{Total: map[string]eval.Score{}, Raw: eval.RawResults{Test: []map[string]eval.Score{{"rouge-l": 0.5, "rouge_l": 0.5}}}}}
			total(&r, m)
			if m[0].name == "rouge-l" && r.Results.Total["test_rouge-l"] == 0.5 {
				return "0.5"
			}
			if m[0].name == "chrf3++" && r.Results.Total["test_rouge_l"] == 50 {
				return "50 %"
			}
			return "?"
		}, "0.5", "50 %"},
	} {
		if got := c.run(quirky(old)); got != c.with {
			t.Errorf("%s copied: got %q, want %q", c.name, got, c.with)
		}
		repaired := quirky(Options{Mode: eval.ModeScandEval2024, Repair: []string{c.name}})
		for what, q := range map[string]quirks{"repaired": repaired, "in mode ravn": {}} {
			if got := c.run(q); got != c.not {
				t.Errorf("%s %s: got %q, want %q", c.name, what, got, c.not)
			}
		}
	}
	for _, o := range []Options{{Repair: []string{"ids-once"}}, {Mode: eval.ModeScandEval2024, Repair: []string{"ids"}}, {Mode: eval.ModeScandEval2024, BitsPerCharacter: true}} {
		if o.Validate() == nil {
			t.Errorf("no error for %+v", o)
		}
	}
}

// A question with options as a column becomes ScandEval's text; bits per character ask it without options.
func TestOptionsAndBitsPerCharacter(t *testing.T) {
	s, _ := LookupSpec("winogrande-da")
	r, err := parseRow([]byte(`{"sp": "Hvad er fugle?", "valg": ["En ræv", "En ravn"], "svar": "b"}`), map[string]string{"text": "sp", "options": "valg", "label": "svar"})
	if err == nil {
		err = kinds[s.Task].check(&s, &r)
	}
	if err != nil || r.Text != "Hvad er fugle?\nSvarmuligheder:\na. En ræv\nb. En ravn" {
		t.Fatalf("text %q, %v", r.Text, err)
	}
	k := bitsPerCharacter{kinds[s.Task]}
	if got := k.sample(&s, &r, true); got != "Spørgsmål: Hvad er fugle?\nSvar: En ravn" {
		t.Errorf("example %q", got)
	}
	if got := prompt(&s, k, nil, &r, true) + k.choices(&s, &r)[0]; !strings.HasSuffix(got, "\n\nSpørgsmål: Hvad er fugle?\nSvar: En ravn") {
		t.Errorf("asked %q", got)
	}
	d, err := New(s, slices.Repeat([]Row{r}, 5), nil, []Row{r, r})
	if err != nil {
		t.Fatal(err)
	}
	got, err := Evaluate(t.Context(), &oracle{answer: func(string) string { return "En ravn" }, maxTokens: -1}, d, Options{BitsPerCharacter: true, Iterations: 1})
	if err != nil {
		t.Fatal(err)
	}
	p := got.Record.Ravn
	if want := 0.1 / math.Ln2 / 7; p.Primary != "bpc" || !p.LowerBetter || math.Abs(float64(got.Record.Results.Total["test_bpc"])-want) > 1e-12 {
		t.Errorf("%s %v, by hand %v", p.Primary, got.Record.Results.Total, want)
	}
	ner, _ := LookupSpec("dansk")
	e := bitsPerCharacter{entities{}}
	a := &asked{d: &Dataset{Spec: ner}, row: &Row{Tokens: strings.Fields("Bo i Ribe"), Tags: []string{"B-PER", "O", "B-LOC"}}}
	if got := e.judge(a, output{logProb: []float64{-6 * math.Ln2}}, quirks{}).counts; math.Abs(got[0]-1) > 1e-12 || got[1] != 1 {
		t.Errorf("six bits over Bo and Ribe: %v", got)
	}
	if _, err := parseRow([]byte(`{"text": ["a"]}`), nil); err == nil || !strings.Contains(err.Error(), "text is no text") {
		t.Errorf("a list as text: %v", err)
	}
}
