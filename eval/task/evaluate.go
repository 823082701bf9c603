package task

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"math"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"ravn/eval"
	"ravn/internal/nprand"
	"ravn/internal/progress"
	"ravn/stats"
)

// scandEvalSeed is ScandEval's seed for everything.
const scandEvalSeed = 4242

// Prompts a model is handed at once: as many as it answers in about a second, so that little is lost where a run is
// broken off. Answers do not depend on it.
const (
	firstChunk = 16
	mostChunk  = 512
	chunkTime  = time.Second
)

// Options say how to evaluate. The zero value evaluates the whole test split in mode ravn.
type Options struct {
	Mode       string // eval.ModeRavn (also ""), or eval.ModeScandEval2024
	Split      string // "test" (also ""), or "val"
	Limit      int    // use the first Limit rows of the split, for texts of each source; 0: all
	Iterations int    // draws of examples; 0: 5, or 10 in mode scandeval-2024
	ZeroShot   bool   // no examples
	Version    string // of ravn, for the record

	Repair           []string // mode scandeval-2024: quirks (see Quirks) that are not copied
	BitsPerCharacter bool     // ask for the surprise at right answers instead of for answers; mode ravn

	// Seen marks rows of the split that were found in the training text; nil: not checked. SeenAgainst says what
	// was compared.
	Seen        map[int]bool
	SeenAgainst string

	TextBytes int // texts: score at most the first TextBytes bytes of each, cut between characters; 0: all
	Bootstrap stats.BootstrapOptions
	Progress  *progress.Reporter
}

// Validate reports options that make no sense.
func (o *Options) Validate() error {
	var errs []error
	if o.Mode != "" && o.Mode != eval.ModeRavn && o.Mode != eval.ModeScandEval2024 {
		errs = append(errs, fmt.Errorf("mode %q is not known (%s or %s)", o.Mode, eval.ModeRavn, eval.ModeScandEval2024))
	}
	for _, f := range []struct {
		name string
		v    int
	}{{"limit", o.Limit}, {"iterations", o.Iterations}, {"text bytes", o.TextBytes}} {
		if f.v < 0 {
			errs = append(errs, fmt.Errorf("%s is %d, must not be negative", f.name, f.v))
		}
	}
	if err := o.checkRepair(); err != nil {
		errs = append(errs, err)
	}
	if o.BitsPerCharacter && o.compatible() {
		errs = append(errs, fmt.Errorf("bits per character are asked for in mode %s", eval.ModeRavn))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("task: options: %w", err)
	}
	return nil
}

func (o *Options) compatible() bool { return o.Mode == eval.ModeScandEval2024 }

func (o *Options) mode() string {
	if o.Mode == "" {
		return eval.ModeRavn
	}
	return o.Mode
}

func (o *Options) iterations() int {
	switch {
	case o.Iterations > 0:
		return o.Iterations
	case o.compatible():
		return 10
	}
	return 5 // fewer do not tell how much draws differ; see docs/design/statistics.md
}

// Result is a record with the answers it sums up.
type Result struct {
	Record      eval.Record
	Predictions []eval.Prediction // by draw, then row
}

// asked is one row in one draw: its prompt and, later, its answer.
type asked struct {
	d         *Dataset
	row       *Row
	index     int // of the row
	times     int // in the draw's sample
	hasMisc   bool
	prompt    string
	shots     int
	truncated bool
	out       output
	verdict   judgement
	repeat    judgement // of the row's repeats in the sample, which may be read otherwise; see quirks.CachedRepeats
}

// draw is one choice of examples with the rows that are asked under it.
type draw struct {
	sample   []int    // rows in the order drawn, repeats included
	items    []*asked // distinct rows, ascending
	byRow    map[int]*asked
	examples int   // in a prompt that lost none
	fresh    []int // rows whose prompt was first met here, in the order drawn
}

// Evaluate asks a model every item of a data set and scores the answers. Each distinct prompt is run once.
func Evaluate(ctx context.Context, m eval.Model, d *Dataset, o Options) (*Result, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	if d.Task == BitsPerByte {
		return evaluateTexts(ctx, m, d, o)
	}
	if f, ok := m.(interface{ For(d *Dataset) eval.Model }); ok {
		m = f.For(d)
	}
	k := kindOf(d, o)
	rows, err := d.Split(o.Split)
	if err != nil {
		return nil, err
	}
	all := len(rows)
	if o.Limit > 0 && o.Limit < len(rows) {
		rows = rows[:o.Limit]
	}
	draws, err := makeDraws(k, m, d, rows, o)
	if err != nil {
		return nil, err
	}
	run, err := ask(ctx, k, m, d, draws, o)
	if err != nil {
		return nil, fmt.Errorf("task: %s on %s: %w", m.Info().Name, d.Name, err)
	}
	judgeAll(k, draws, o.quirks())
	return summarize(k, m, d, draws, o, summary{all: all, asked: len(rows), prompts: run}), nil
}

func kindOf(d *Dataset, o Options) kind {
	if o.BitsPerCharacter {
		return bitsPerCharacter{kinds[d.Task]}
	}
	return kinds[d.Task]
}

// Prompts returns the prompts of one iteration in the order of its sample, repeats included, and the train rows of its
// examples, without asking a model.
func Prompts(d *Dataset, iteration int, o Options) (prompts []string, shots []int, err error) {
	if err := o.Validate(); err != nil {
		return nil, nil, err
	}
	if kinds[d.Task] == nil {
		return nil, nil, fmt.Errorf("task: %s has no prompts", d.Task)
	}
	k := kindOf(d, o)
	rows, err := d.Split(o.Split)
	if err != nil {
		return nil, nil, err
	}
	if o.Limit > 0 && o.Limit < len(rows) {
		rows = rows[:o.Limit]
	}
	if iteration < 0 || iteration >= o.iterations() {
		return nil, nil, fmt.Errorf("task: iteration %d of %d", iteration, o.iterations())
	}
	shots, texts := examples(k, d, iteration, o)
	for _, i := range samples(len(rows), o)[iteration] {
		prompts = append(prompts, prompt(&d.Spec, k, texts, &rows[i], !o.quirks().TrailingSpace))
	}
	return prompts, shots, nil
}

// samples gives the rows of each iteration: bootstrap samples from one call of numpy's generator, or every row once.
func samples(n int, o Options) [][]int {
	out := make([][]int, o.iterations())
	if !o.compatible() {
		every := make([]int, n)
		for i := range every {
			every[i] = i
		}
		for i := range out {
			out[i] = every
		}
		return out
	}
	flat := nprand.NewGenerator(scandEvalSeed).Integers(n, n*len(out))
	for i := range out {
		out[i] = flat[i*n : (i+1)*n]
	}
	return out
}

// examples chooses the train rows of an iteration and writes them out.
func examples(k kind, d *Dataset, iteration int, o Options) (rows []int, texts []string) {
	if o.ZeroShot || d.Shots == 0 {
		return nil, nil
	}
	rows = k.shots(&d.Spec, d.Train, scandEvalSeed+uint64(iteration))
	for _, r := range rows {
		texts = append(texts, k.sample(&d.Spec, &d.Train[r], true))
	}
	return rows, texts
}

func makeDraws(k kind, m eval.Model, d *Dataset, rows []Row, o Options) ([]*draw, error) {
	misc := slices.ContainsFunc(d.Train, func(r Row) bool {
		return slices.ContainsFunc(r.Tags, func(t string) bool { return strings.HasSuffix(strings.ToLower(t), "-misc") })
	})
	var draws []*draw
	for iteration, sample := range samples(len(rows), o) {
		_, texts := examples(k, d, iteration, o)
		dr := &draw{sample: sample, byRow: map[int]*asked{}, examples: len(texts)}
		for _, i := range sample {
			if a := dr.byRow[i]; a != nil {
				a.times++
				continue
			}
			a := &asked{d: d, row: &rows[i], index: i, times: 1, hasMisc: misc}
			a.prompt, a.shots = fittedPrompt(m, k, d, texts, a.row, o)
			dr.byRow[i] = a
			dr.items = append(dr.items, a)
		}
		slices.SortFunc(dr.items, func(a, b *asked) int { return a.index - b.index })
		draws = append(draws, dr)
	}
	return draws, nil
}

// fittedPrompt leaves out examples from the end of their list until prompt and answer fit the context, so that what
// prompts share at their beginning stays shared. ScandEval cuts on the left instead, which the model does.
func fittedPrompt(m eval.Model, k kind, d *Dataset, texts []string, r *Row, o Options) (string, int) {
	room := m.Info().MaxTokens - d.MaxTokens
	for {
		p := prompt(&d.Spec, k, texts, r, !o.quirks().TrailingSpace)
		// A token is a byte at least; BOS and the space that some tokenizers put in front are two more.
		if o.compatible() || len(texts) == 0 || m.Info().MaxTokens <= 0 || len(p)+2 <= room || m.CountTokens(p) <= room {
			return p, len(texts)
		}
		texts = texts[:len(texts)-1]
	}
}

// ask runs every distinct prompt once, in the order met, and returns how many there were.
func ask(ctx context.Context, k kind, m eval.Model, d *Dataset, draws []*draw, o Options) (int, error) {
	known := map[string]*asked{}
	var queue []*asked
	for _, dr := range draws {
		for _, i := range dr.sample {
			a := dr.byRow[i]
			if known[a.prompt] == nil {
				known[a.prompt] = a
				queue = append(queue, a)
				dr.fresh = append(dr.fresh, i)
			}
		}
	}
	t := o.Progress.Start("eval "+d.Name, int64(len(queue)), "prompts")
	defer t.Done()
	grammar := grammarOf(k, d, o)
	for at, size := 0, firstChunk; at < len(queue); {
		part := queue[at:min(at+size, len(queue))]
		begin := time.Now()
		var err error
		if k.choices(&d.Spec, part[0].row) != nil && !m.Info().NoScores {
			err = askChoices(ctx, m, k, part, o.quirks().CachedRepeats)
		} else {
			err = askText(ctx, m, part, d.MaxTokens, grammar)
		}
		if err != nil {
			return 0, err
		}
		t.Add(int64(len(part)))
		at += len(part)
		switch took := time.Since(begin); {
		case took < chunkTime:
			size = min(2*size, mostChunk)
		case took > 2*chunkTime:
			size = max(size/2, firstChunk)
		}
	}
	for _, dr := range draws {
		for _, a := range dr.items {
			a.out, a.truncated = known[a.prompt].out, known[a.prompt].truncated
		}
	}
	return len(queue), nil
}

func askChoices(ctx context.Context, m eval.Model, k kind, part []*asked, ranks bool) error {
	prompts := make([]eval.ChoicePrompt, len(part))
	for i, a := range part {
		prompts[i] = eval.ChoicePrompt{Prompt: a.prompt, Choices: k.choices(&a.d.Spec, a.row), Ranks: ranks}
	}
	scores, err := m.ChoiceScores(ctx, prompts)
	if err != nil {
		return err
	}
	for i, a := range part {
		for _, s := range scores[i] {
			if math.IsNaN(s.LogProb) || math.IsNaN(s.FirstToken) {
				return fmt.Errorf("the model gave NaN as a log-probability (row %d)", a.index)
			}
			a.out.logProb = append(a.out.logProb, s.LogProb)
			a.out.firstToken = append(a.out.firstToken, s.FirstToken)
			a.out.firstRank = append(a.out.firstRank, s.FirstRank)
			a.truncated = a.truncated || s.Truncated > 0
		}
	}
	return nil
}

// grammarOf is what answers have to keep to: nothing in the mode of 2024.
func grammarOf(k kind, d *Dataset, o Options) eval.Grammar {
	if g, ok := k.(interface{ grammar(s *Spec) eval.Grammar }); ok && !o.compatible() {
		return g.grammar(&d.Spec)
	}
	return nil
}

func askText(ctx context.Context, m eval.Model, part []*asked, maxTokens int, g eval.Grammar) error {
	prompts := make([]eval.GeneratePrompt, len(part))
	for i, a := range part {
		prompts[i] = eval.GeneratePrompt{Prompt: a.prompt, MaxTokens: maxTokens, Stop: []string{"\n\n"}, Grammar: g}
	}
	written, err := m.Generate(ctx, prompts)
	if err != nil {
		return err
	}
	for i, a := range part {
		a.out.text, a.truncated = written[i].Text, written[i].Truncated > 0
	}
	return nil
}

func judgeAll(k kind, draws []*draw, q quirks) {
	for _, dr := range draws {
		fresh := map[int]bool{}
		for _, i := range dr.fresh {
			fresh[i] = true
		}
		for _, a := range dr.items {
			a.verdict = k.judge(a, a.out, q)
			a.repeat = a.verdict
			if !q.CachedRepeats || a.out.firstToken == nil {
				continue
			}
			a.repeat = k.judge(a, a.out.topTen(0), q)
			if fresh[a.index] {
				a.verdict = k.judge(a, a.out.topTen(-1e9), q)
			} else { // the same prompt was asked in an earlier iteration
				a.verdict = a.repeat
			}
		}
	}
}

// topTen is what an engine tells that gives the ten likeliest tokens: others have the log-probability given here.
func (o output) topTen(other float64) output {
	o.firstToken = slices.Clone(o.firstToken)
	for i, rank := range o.firstRank {
		if rank > 10 {
			o.firstToken[i] = other
		}
	}
	return o
}

// order is the sequence in which ScandEval scores an iteration: rows whose prompt was new, by length of the prompt in
// characters, longest first, then the rest as drawn.
func (dr *draw) order() []*asked {
	var first, rest []*asked
	fresh := map[int]bool{}
	for _, i := range dr.fresh {
		fresh[i] = true
	}
	for _, i := range dr.sample {
		if fresh[i] {
			delete(fresh, i)
			first = append(first, dr.byRow[i])
		} else {
			rest = append(rest, dr.byRow[i])
		}
	}
	slices.SortStableFunc(first, func(a, b *asked) int {
		return utf8.RuneCountInString(b.prompt) - utf8.RuneCountInString(a.prompt)
	})
	return append(first, rest...)
}

// hashPrompts identifies all prompts of all draws.
func hashPrompts(draws []*draw) string {
	h := sha256.New()
	for _, dr := range draws {
		for _, a := range dr.items {
			writeZ(h, a.prompt)
		}
	}
	return hex.EncodeToString(h.Sum(nil))
}

func writeZ(h hash.Hash, s string) {
	io.WriteString(h, s)
	h.Write([]byte{0})
}
