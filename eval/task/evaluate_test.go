package task

import (
	"context"
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"ravn/eval"
	"ravn/internal/sampledata"
	"ravn/stats"
)

// oracle knows the right answers and gives them, but for prompts whose number is in wrong. It counts what it is asked.
type oracle struct {
	eval.Dummy
	answer    func(prompt string) string // the right word or text
	wrong     func(prompt string) bool
	maxTokens int
	asked     map[string]int
	bits      float64 // per byte
}

func (o *oracle) Info() eval.Info {
	return eval.Info{Name: "oracle", Params: 1, MaxTokens: o.maxTokens, VocabSize: 1, Generative: true, Hash: "abc", Kind: "test"}
}

func (o *oracle) note(p string) {
	if o.asked == nil {
		o.asked = map[string]int{}
	}
	o.asked[p]++
}

func (o *oracle) ChoiceScores(ctx context.Context, ps []eval.ChoicePrompt) ([][]eval.ChoiceScore, error) {
	out := make([][]eval.ChoiceScore, len(ps))
	for i, p := range ps {
		o.note(p.Prompt)
		right := o.answer(p.Prompt)
		for _, c := range p.Choices {
			s := eval.ChoiceScore{LogProb: -5, FirstToken: -5, Tokens: 1}
			if (c == " "+right) != (o.wrong != nil && o.wrong(p.Prompt)) {
				s.LogProb, s.FirstToken = -0.1, -0.1
			}
			out[i] = append(out[i], s)
		}
	}
	return out, ctx.Err()
}

func (o *oracle) Generate(ctx context.Context, ps []eval.GeneratePrompt) ([]eval.Generation, error) {
	out := make([]eval.Generation, len(ps))
	for i, p := range ps {
		o.note(p.Prompt)
		if o.wrong == nil || !o.wrong(p.Prompt) {
			out[i].Text = o.answer(p.Prompt)
		}
	}
	return out, ctx.Err()
}

func (o *oracle) TextLoss(ctx context.Context, texts []string) ([]eval.TextLoss, error) {
	out := make([]eval.TextLoss, len(texts))
	for i, s := range texts {
		out[i] = eval.TextLoss{NLL: (o.bits + float64(len(s)%7)/10) * math.Ln2 * float64(len(s)), Tokens: 1, Bytes: len(s)}
	}
	return out, ctx.Err()
}

// sentences makes n rows of English acceptability, the label by the parity of the number.
func sentences(prefix string, n int) []Row {
	var rows []Row
	for i := range n {
		rows = append(rows, Row{Text: fmt.Sprintf("%s sentence %d.", prefix, i), Label: []string{"correct", "incorrect"}[i%2]})
	}
	return rows
}

// parity answers the questions of sentences.
func parity(prompt string) string {
	if lastNumber(prompt)%2 == 0 {
		return "yes"
	}
	return "no"
}

func lastNumber(prompt string) int {
	question := prompt[strings.LastIndex(prompt, "Sentence: "):]
	var n int
	fmt.Sscanf(question[strings.LastIndex(question, "sentence ")+len("sentence "):], "%d", &n)
	return n
}

func english(t *testing.T, n int) *Dataset {
	t.Helper()
	s, ok := LookupSpec("scala-en")
	if !ok {
		t.Fatal("no scala-en")
	}
	s.Synthetic = true
	d, err := New(s, sentences("Train", 40), nil, sentences("Test", n))
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestPerfectAndWrongAnswers(t *testing.T) {
	d := english(t, 60)
	for _, mode := range []string{eval.ModeRavn, eval.ModeScandEval2024} {
		for _, wrong := range []bool{false, true} {
			m := &oracle{answer: parity, wrong: func(string) bool { return wrong }, maxTokens: 5000}
			r, err := Evaluate(t.Context(), m, d, Options{Mode: mode})
			if err != nil {
				t.Fatal(err)
			}
			want := eval.Score(100)
			if wrong {
				want = -100
			}
			if got := r.Record.Results.Total["test_mcc"]; got != want {
				t.Errorf("%s, wrong %v: mcc %v, want %v", mode, wrong, got, want)
			}
			for p, n := range m.asked {
				if n != 1 {
					t.Fatalf("%s: a prompt was run %d times:\n%s", mode, n, p)
				}
			}
			p := r.Record.Ravn
			if p.Prompts != len(m.asked) || p.Items != 60 || p.Mode != mode || p.Primary != "mcc" {
				t.Errorf("%s: provenance %+v", mode, p)
			}
			if draws := map[string]int{eval.ModeRavn: 5, eval.ModeScandEval2024: 10}[mode]; p.Iterations != draws || len(r.Record.Results.Raw.Test) != draws {
				t.Errorf("%s: %d iterations", mode, p.Iterations)
			}
			if !slices.Contains(p.Warnings, "the items are made up, the score says nothing about a real benchmark") || !slices.Contains(p.Warnings, "only 60 items") || !p.Small {
				t.Errorf("%s: warnings %q", mode, p.Warnings)
			}
			times := 0
			for _, q := range r.Predictions {
				times += q.Times
			}
			if times != 60*p.Iterations {
				t.Errorf("%s: %d answers counted, want %d", mode, times, 60*p.Iterations)
			}
		}
	}
}

func TestLimitAndSplit(t *testing.T) {
	d := english(t, 60)
	d.Val = sentences("Val", 20)
	r, err := Evaluate(t.Context(), &oracle{answer: parity, maxTokens: -1}, d, Options{Limit: 12, Split: "val", Version: "v0"})
	if err != nil {
		t.Fatal(err)
	}
	p := r.Record.Ravn
	if p.Items != 12 || p.RowsInSplit != 20 || p.Limit != 12 || !r.Record.ValidationSplit || p.Version != "v0" {
		t.Errorf("provenance %+v", p)
	}
	if !slices.Contains(p.Warnings, "limited to the first 12 of 20 items") {
		t.Errorf("warnings %q", p.Warnings)
	}
	_, err = Evaluate(t.Context(), &oracle{answer: parity}, d, Options{Limit: -1, Mode: "best"})
	if err == nil || !strings.Contains(err.Error(), `mode "best" is not known`) || !strings.Contains(err.Error(), "limit is -1") {
		t.Errorf("bad options: %v", err)
	}
}

// In mode ravn a prompt that is too long loses examples from their end, so that prompts still share their beginning.
func TestShotsAreDroppedFromTheEnd(t *testing.T) {
	d := english(t, 10)
	full, _, err := Prompts(d, 0, Options{})
	if err != nil {
		t.Fatal(err)
	}
	m := &oracle{answer: parity, maxTokens: len(full[0]) - 100}
	r, err := Evaluate(t.Context(), m, d, Options{Iterations: 1})
	if err != nil {
		t.Fatal(err)
	}
	shots := r.Record.Ravn.Shots
	if shots.Asked != 12 || shots.Least >= 12 || shots.Shortened != 10 || shots.Mean != float64(shots.Least) {
		t.Errorf("shots %+v", shots)
	}
	for p := range m.asked {
		if len(p)+d.MaxTokens > m.maxTokens {
			t.Errorf("a prompt of %d and an answer of %d do not fit %d", len(p), d.MaxTokens, m.maxTokens)
		}
		at := strings.LastIndex(p, "\n\nSentence: ")
		if !strings.HasPrefix(full[0], p[:at]) {
			t.Errorf("the shortened prompt is no beginning of the full one:\n%s", p)
		}
	}
	r, err = Evaluate(t.Context(), m, d, Options{Iterations: 1, Mode: eval.ModeScandEval2024})
	if err != nil {
		t.Fatal(err)
	}
	if r.Record.Ravn.Shots.Least != 12 {
		t.Errorf("mode of 2024 dropped examples: %+v", r.Record.Ravn.Shots)
	}
}

func TestContaminatedItems(t *testing.T) {
	d := english(t, 40)
	seen := map[int]bool{0: true, 1: true, 2: true, 3: true, 99: true}
	// Right on the items that were in the training text only: mcc is that of guessing elsewhere.
	m := &oracle{answer: parity, maxTokens: -1, wrong: func(p string) bool { return lastNumber(p) >= 4 }}
	r, err := Evaluate(t.Context(), m, d, Options{Seen: seen, SeenAgainst: "test corpus"})
	if err != nil {
		t.Fatal(err)
	}
	p := r.Record.Ravn
	if *p.Contamination != (eval.Contamination{Against: "test corpus", Items: 40, Hit: 4}) || p.Contamination.Share() != 0.1 {
		t.Errorf("contamination %+v", p.Contamination)
	}
	if all, clean := p.Estimates["mcc"], p.Estimates["mcc/clean"]; all.Value <= clean.Value || clean.Value != -100 || clean.N != 36 {
		t.Errorf("all %v, clean %v", all, clean)
	}
	if want := "4 of 40 items (10.0 %) were found in the training text"; !slices.Contains(p.Warnings, want) {
		t.Errorf("warnings %q", p.Warnings)
	}
}

func TestCompareIsPaired(t *testing.T) {
	d := english(t, 400)
	ask := func(wrong func(p string) bool) *Result {
		r, err := Evaluate(t.Context(), &oracle{answer: parity, maxTokens: -1, wrong: wrong}, d, Options{Iterations: 2})
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	// The result errs where the base does and on twelve items more.
	base := ask(func(p string) bool { return lastNumber(p)%5 == 0 })
	worse := ask(func(p string) bool { n := lastNumber(p); return n%5 == 0 || n < 30 && n%2 == 1 })
	cs, err := Compare(base, worse, stats.BootstrapOptions{})
	if err != nil {
		t.Fatal(err)
	}
	c := cs[0]
	if c.Metric != "mcc" || c.Verdict != "worse" || !c.Difference.Resolved() || c.Difference.Value != c.Result-c.Base {
		t.Errorf("got %+v", c)
	}
	if acc := cs[2]; math.Abs(acc.Base-80) > 1e-9 || math.Abs(acc.Difference.Value+3) > 1e-9 { // 12 of 400
		t.Errorf("accuracy %v, difference %v, by hand 80 and -3", acc.Base, acc.Difference)
	}
	if unpaired := base.Record.Ravn.Estimates["accuracy"].Radius(); c.Detectable <= 0 || cs[2].Difference.Radius() > 0.6*unpaired {
		t.Errorf("paired radius %v, of one model %v, detectable %v", cs[2].Difference.Radius(), unpaired, c.Detectable)
	}
	same, err := Compare(base, base, stats.BootstrapOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if same[0].Verdict != "~" || same[0].Difference.Value != 0 || !strings.HasSuffix(same[0].String(), "~") {
		t.Errorf("a model against itself: %s", same[0].String())
	}
	other := *worse
	other.Record.Ravn = &eval.Provenance{Mode: eval.ModeScandEval2024, Items: 7, DataHash: base.Record.Ravn.DataHash, Iterations: 2}
	if _, err := Compare(base, &other, stats.BootstrapOptions{}); err == nil || !strings.Contains(err.Error(), "items 400 and 7") || !strings.Contains(err.Error(), "modes ravn and scandeval-2024") {
		t.Errorf("unlike records: %v", err)
	}
}

func TestBitsPerByte(t *testing.T) {
	var rows []Row
	for i := range 24 {
		rows = append(rows, Row{
			ID: fmt.Sprint(i), Text: strings.Repeat("en ræv ", 3+i*7), Source: []string{"adl", "wiki", "lov"}[i%3], Language: []string{"da", "da", "nb"}[i%3],
		})
	}
	d, err := NewTexts("heldout", []string{"da", "nb"}, rows)
	if err != nil {
		t.Fatal(err)
	}
	ask := func(bits float64) *Result {
		r, err := Evaluate(t.Context(), &oracle{bits: bits}, d, Options{})
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	base, better := ask(1.5), ask(1.4)
	var bits, size float64
	for _, r := range rows {
		n := float64(len(r.Text))
		bits, size = bits+n*(1.5+float64(len(r.Text)%7)/10), size+n
	}
	p := base.Record.Ravn
	if e := p.Estimates["bpb"]; math.Abs(e.Value-bits/size) > 1e-9 || e.N != 24 || e.Low >= e.Value {
		t.Errorf("bits per byte %v, by hand %v", e, bits/size)
	}
	if e := p.Estimates["bpb/source=lov"]; e.N != 8 || len(e.Warnings) != 1 {
		t.Errorf("one source: %v %q", e, e.Warnings)
	}
	if e := p.Estimates["bpb/language=da"]; e.N != 16 {
		t.Errorf("one language: %v", e)
	}
	cs, err := Compare(base, better, stats.BootstrapOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var groups []string
	for _, c := range cs {
		groups = append(groups, c.Group)
		if c.Verdict != "better" || math.Abs(c.Difference.Value+0.1) > 1e-9 || !c.LowerBetter {
			t.Errorf("%s: %+v", c.Group, c)
		}
	}
	if want := []string{"", "language=da", "language=nb", "source=adl", "source=lov", "source=wiki"}; !cmp.Equal(groups, want) {
		t.Errorf("groups %q, want %q", groups, want)
	}
	dummy, err := Evaluate(t.Context(), eval.NewDummy(1), d, Options{TextBytes: 50})
	if err != nil {
		t.Fatal(err)
	}
	if v := dummy.Record.Results.Total["test_bpb"]; math.Abs(float64(v)-8) > 1e-12 {
		t.Errorf("a guess over bytes costs %v bits, want 8", v)
	}
	if w := dummy.Record.Ravn.Warnings; !slices.Contains(w, "23 texts were scored on their first 50 bytes only") {
		t.Errorf("warnings %q", w)
	}
}

func TestNaNStopsTheEvaluation(t *testing.T) {
	d, err := NewTexts("x", []string{"da"}, []Row{{ID: "a", Text: "hej", Source: "s"}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Evaluate(t.Context(), &oracle{bits: math.NaN()}, d, Options{}); err == nil || !strings.Contains(err.Error(), `the loss of text "a" is NaN`) {
		t.Errorf("got %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Evaluate(ctx, &oracle{answer: parity}, english(t, 12), Options{}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

// Gold answers given back as outputs score 100 on real data, in both modes; the empty answers of a guesser score little.
func TestRealDataGoldAndGuess(t *testing.T) {
	dir := filepath.Join(sampledata.Dir(t), "eval")
	for _, c := range []struct {
		name, metric string
		guess        float64 // bound on what guessing may score
	}{
		{"scala-da", "mcc", 25}, {"norec", "mcc", 25}, {"danplus", "micro_f1", 1}, {"norquad", "em", 1}, {"gerlangmod-sv", "micro_f1", 1},
	} {
		d, err := LoadDataset(filepath.Join(dir, c.name))
		if err != nil {
			t.Fatal(err)
		}
		for _, mode := range []string{eval.ModeRavn, eval.ModeScandEval2024} {
			o := Options{Mode: mode, Limit: 200, Iterations: 2}
			gold := map[string]string{}
			k := kinds[d.Task]
			cue := strings.TrimSuffix(d.Template[strings.LastIndex(d.Template, "\n")+1:], "{label}")
			for i := range 2 {
				prompts, _, err := Prompts(d, i, o)
				if err != nil {
					t.Fatal(err)
				}
				for at, row := range samples(200, o)[i] {
					full := k.sample(&d.Spec, &d.Test[row], true)
					gold[prompts[at]] = strip(full[strings.LastIndex(full, cue)+len(cue):])
				}
			}
			r, err := Evaluate(t.Context(), &oracle{answer: func(p string) string { return gold[p] }, maxTokens: -1}, d, o)
			if err != nil {
				t.Fatal(err)
			}
			got := float64(r.Record.Results.Total["test_"+c.metric])
			// Entities are given as text, and text that stands twice in a sentence cannot say which place is meant.
			if got != 100 && (d.Task != Entities && d.Task != ErrorSpans || got < 90) {
				t.Errorf("%s, %s: gold answers score %.2f", c.name, mode, got)
			}
			r, err = Evaluate(t.Context(), eval.NewDummy(1), d, o)
			if err != nil {
				t.Fatal(err)
			}
			t.Logf("%s, %s: gold %.2f, guess %v", c.name, mode, got, r.Record.Ravn.Estimates[c.metric])
			if got := float64(r.Record.Results.Total["test_"+c.metric]); math.Abs(got) > c.guess {
				t.Errorf("%s, %s: guessing scores %.2f", c.name, mode, got)
			}
		}
	}
}

// The commonest label of the train split, 30 of 40, is right on half of a balanced test split, and tells nothing.
func TestMajority(t *testing.T) {
	d := english(t, 60)
	for i := range d.Train[:20] {
		d.Train[i].Label = "incorrect"
	}
	r, err := Evaluate(t.Context(), &Majority{}, d, Options{Iterations: 1})
	if err != nil {
		t.Fatal(err)
	}
	total := r.Record.Results.Total
	if r.Record.Model != "ravn/majority" || total["test_accuracy"] != 50 || total["test_mcc"] != 0 || r.Record.Ravn.Answers.Labels["incorrect"] != 60 {
		t.Errorf("%s: %v, answers %v", r.Record.Model, total, r.Record.Ravn.Answers.Labels)
	}
}

// A model that is always right against one that is right four times in five is told apart after five draws; one like
// its base never is.
func TestStopsWhenResolved(t *testing.T) {
	d := english(t, 200)
	o := Options{Iterations: 8}
	base, err := Evaluate(t.Context(), &oracle{answer: parity, maxTokens: -1, wrong: func(p string) bool { return lastNumber(p)%5 == 0 }}, d, o)
	if err != nil {
		t.Fatal(err)
	}
	better := &oracle{answer: parity, maxTokens: -1}
	r, err := EvaluateUntilResolved(t.Context(), better, d, base, o)
	if err != nil {
		t.Fatal(err)
	}
	p := r.Record.Ravn
	if s := p.EarlyStop; s == nil || s.Draws != 5 || s.Of != 8 || s.Against != "oracle" || s.Level != 1-0.05/4 || p.Iterations != 5 || len(better.asked) != 1000 {
		t.Errorf("stopped %+v after %d draws and %d prompts", s, p.Iterations, len(better.asked))
	}
	if !slices.ContainsFunc(p.Warnings, func(w string) bool { return strings.HasPrefix(w, "asked under 5 of 8 draws") }) {
		t.Errorf("warnings %q", p.Warnings)
	}
	cs, err := Compare(base.FirstDraws(5), r, stats.BootstrapOptions{})
	if err != nil || cs[0].Verdict != "better" || len(cs[0].Warnings) != 1 {
		t.Errorf("compared: %+v, %v", cs, err)
	}
	same := &oracle{answer: parity, maxTokens: -1, wrong: func(p string) bool { return lastNumber(p)%5 == 1 }}
	r, err = EvaluateUntilResolved(t.Context(), same, d, base, o)
	if err != nil || r.Record.Ravn.EarlyStop != nil || r.Record.Ravn.Iterations != 8 || len(same.asked) != 1600 {
		t.Errorf("an unresolved comparison stopped: %+v, %v", r.Record.Ravn.EarlyStop, err)
	}
	for prompt, n := range same.asked {
		if n != 1 {
			t.Fatalf("asked %d times: %q", n, prompt)
		}
	}
}

// The metric that counts, on whole data sets, is the family; parts and further metrics keep their verdicts.
func TestAdjust(t *testing.T) {
	var cs []Comparison
	for _, c := range []struct {
		set, metric, group string
		p                  float64
	}{{"a", "mcc", "", 0.02}, {"a", "accuracy", "", 0.001}, {"b", "mcc", "", 0.04}, {"b", "mcc", "clean", 0.001}, {"c", "em", "", 0.0001}} {
		cs = append(cs, Comparison{Dataset: c.set, Task: Sentiment, Metric: c.metric, Group: c.group, Difference: stats.Estimate{Value: 1, Low: 0.5, High: 1.5, SE: 0.3, N: 100, P: c.p}, Verdict: "better"})
	}
	cs[4].Task = Questions
	Adjust(cs)
	var got []string
	for _, c := range cs {
		got = append(got, fmt.Sprintf("%s %.4g %d", c.Verdict, c.Adjusted, c.Family))
	}
	// Smallest first: 0.0001·3, 0.02·2, 0.04·1.
	if want := []string{"better 0.04 3", "better 0 0", "better 0.04 3", "better 0 0", "better 0.0003 3"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	cs[2].Difference.P = 0.06
	Adjust(cs)
	if cs[2].Verdict != "~" {
		t.Errorf("p 0.06 is %s", cs[2].Verdict)
	}
	tasks := ByTask(cs)
	if len(tasks) != 2 || len(tasks[0].Datasets) != 2 || math.Abs(tasks[0].Difference.SE-0.3/math.Sqrt2) > 1e-12 || tasks[0].Detectable <= 0 {
		t.Errorf("tasks %+v", tasks)
	}
}
