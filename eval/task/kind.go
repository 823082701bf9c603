package task

import (
	"strings"

	"ravn/internal/nprand"
)

// kind is what differs between the tasks that are asked with prompts.
type kind interface {
	fields() []string                               // that the template needs, the answer's last
	labels() int                                    // least number of labels
	check(s *Spec, r *Row) error                    // is the row good
	shots(s *Spec, train []Row, seed uint64) []int  // rows of the examples, in prompt order
	sample(s *Spec, r *Row, answer bool) string     // one example, or the question without its answer
	choices(s *Spec, r *Row) []string               // to be scored after the prompt; nil: an answer is written
	judge(a *asked, out output, q quirks) judgement // one answer
	metrics(s *Spec, q quirks) []metric             // functions of summed counts, the one that counts first
}

var kinds = map[string]kind{
	Acceptability: classification{},
	Sentiment:     classification{},
	WordInContext: classification{},
	Knowledge:     multipleChoice{},
	CommonSense:   multipleChoice{},
	TextChoice:    multipleChoice{},
	Entities:      entities{},
	ErrorSpans:    entities{},
	Questions:     questions{},
	Comprehension: questions{f1First: true},
	Summaries:     summaries{},
}

// judgement is an answer as read, and the item's part of the sums.
type judgement struct {
	gold, answer string
	counts       []float64
	unreadable   bool
}

// output is what a model said: scores of the choices, or a text.
type output struct {
	logProb, firstToken []float64
	firstRank           []int // of the first token among all tokens, from 1; 0 unknown
	text                string
}

// metric is a function of summed counts, in percent where the total of a record is.
type metric struct {
	name  string
	scale float64 // what the raw value of a record is multiplied by for the total: 100, or 1
	value func(sums []float64) float64
	lower bool // lower is better
}

// prompt puts a prompt together. ScandEval's prompts of January 2024 end in a space where the answer is written by
// generation; trim takes it off, since pieces of most tokenizers begin with their space.
func prompt(s *Spec, k kind, shots []string, r *Row, trim bool) string {
	var b strings.Builder
	b.WriteString(s.Prefix)
	for _, shot := range shots {
		b.WriteString("\n\n")
		b.WriteString(shot)
	}
	b.WriteString("\n\n")
	b.WriteString(k.sample(s, r, false))
	if trim {
		return strip(b.String())
	}
	return b.String()
}

// fill puts values in a template. Values are not looked through for fields.
func fill(template string, pairs ...string) string {
	return strings.NewReplacer(pairs...).Replace(template)
}

// strip is Python's str.strip: white space of Unicode and the four information separators.
func strip(s string) string {
	return strings.TrimFunc(s, func(r rune) bool { return isPythonSpace(r) })
}

func isPythonSpace(r rune) bool {
	switch {
	case r >= '\t' && r <= '\r', r >= 0x1c && r <= ' ', r == 0x85, r == 0xa0, r == 0x1680, r >= 0x2000 && r <= 0x200a,
		r == 0x2028, r == 0x2029, r == 0x202f, r == 0x205f, r == 0x3000:
		return true
	}
	return false
}

// roundRobin goes round the classes in order and takes the first row left of each (one that is(row, class)), then
// drops every row with the same text, until n are taken or no class has a row left. order is the shuffled train split.
func roundRobin(train []Row, order []int, classes []string, n int, is func(r *Row, class string) bool) []int {
	left := append([]int(nil), order...)
	var taken []int
	for missed, c := 0, 0; len(taken) < n && missed < len(classes); c = (c + 1) % len(classes) {
		at := -1
		for i, row := range left {
			if is(&train[row], classes[c]) {
				at = i
				break
			}
		}
		if at < 0 {
			missed++
			continue
		}
		missed = 0
		row := left[at]
		taken = append(taken, row)
		kept := left[:0]
		for _, other := range left {
			if train[other].Text != train[row].Text {
				kept = append(kept, other)
			}
		}
		left = kept
	}
	return taken
}

// shuffleShots puts examples in prompt order, as Python's random.seed(seed); random.shuffle(rows).
func shuffleShots(rows []int, seed uint64) []int {
	nprand.NewPython(seed).Shuffle(len(rows), func(i, j int) { rows[i], rows[j] = rows[j], rows[i] })
	return rows
}
