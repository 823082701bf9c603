package task

import (
	"errors"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"ravn/internal/nprand"
)

// questions is reading comprehension: an answer is a part of the text.
type questions struct{ f1First bool } // F1 counts, as in today's EuroEval

func (questions) fields() []string { return []string{"{text}", "{question}", "{label}"} }
func (questions) labels() int      { return 0 }

func (questions) check(_ *Spec, r *Row) error {
	var errs []error
	if strip(r.Context) == "" {
		errs = append(errs, errors.New("no context"))
	}
	if strip(r.Question) == "" {
		errs = append(errs, errors.New("no question"))
	}
	if len(r.Answers) == 0 {
		errs = append(errs, errors.New("no answers"))
	}
	if r.ID == "" {
		errs = append(errs, errors.New("no id"))
	}
	return errors.Join(errs...)
}

// shots takes rows with short contexts: below 512 characters, or below the double until there are enough.
func (questions) shots(s *Spec, train []Row, seed uint64) []int {
	var short []int
	for limit := 512; ; limit *= 2 {
		short = short[:0]
		for i := range train {
			if utf8.RuneCountInString(train[i].Context) < limit {
				short = append(short, i)
			}
		}
		if len(short) >= s.Shots || len(short) == len(train) {
			break
		}
	}
	seen := map[string]bool{}
	var rows []int
	for _, i := range nprand.NewGenerator(seed).Permutation(len(short)) {
		if r := &train[short[i]]; !seen[r.Context] && len(rows) < s.Shots {
			seen[r.Context] = true
			rows = append(rows, short[i])
		}
	}
	return rows
}

func (questions) sample(s *Spec, r *Row, answer bool) string {
	text := strip(strings.ReplaceAll(r.Context, "\n", " "))
	if answer {
		return fill(s.Template, "{text}", text, "{question}", strip(r.Question), "{label}", r.Answers[0])
	}
	return fill(s.Template, "{text}", text, "{question}", r.Question, "{label}", "")
}

func (questions) choices(*Spec, *Row) []string { return nil }

func (questions) judge(a *asked, out output, _ quirks) judgement {
	text, _, _ := strings.Cut(out.text, "\n\n")
	text = strings.ToLower(strip(text))
	j := judgement{gold: a.row.Answers[0], answer: text}
	exact, f1 := squad(text, a.row.Answers)
	j.counts = []float64{exact, f1, 1}
	return j
}

// metrics are in percent as they are, which is how ScandEval's scorer gives them.
func (k questions) metrics(*Spec, quirks) []metric {
	em := metric{"em", 1, func(c []float64) float64 { return 100 * c[0] / c[2] }, false}
	f1 := metric{"f1", 1, func(c []float64) float64 { return 100 * c[1] / c[2] }, false}
	if k.f1First {
		return []metric{f1, em}
	}
	return []metric{em, f1}
}

// squad is exact match and F1 of an answer, the best over the accepted ones (Rajpurkar et al. 2018).
func squad(answer string, accepted []string) (exact, f1 float64) {
	var gold []string
	for _, a := range accepted {
		if n := normalizeAnswer(strings.ToLower(a)); n != "" {
			gold = append(gold, n)
		}
	}
	if len(gold) == 0 {
		gold = []string{""}
	}
	got := normalizeAnswer(answer)
	for _, g := range gold {
		if g == got {
			exact = 1
		}
		f1 = max(f1, overlap(strings.Fields(g), strings.Fields(got)))
	}
	return exact, f1
}

func overlap(gold, got []string) float64 {
	if len(gold) == 0 || len(got) == 0 {
		if len(gold) == len(got) {
			return 1
		}
		return 0
	}
	left := slices.Clone(gold)
	same := 0
	for _, w := range got {
		if i := slices.Index(left, w); i >= 0 {
			left = slices.Delete(left, i, i+1)
			same++
		}
	}
	if same == 0 {
		return 0
	}
	precision, recall := float64(same)/float64(len(got)), float64(same)/float64(len(gold))
	return 2 * precision * recall / (precision + recall)
}

// normalizeAnswer is the SQuAD normalisation: lower case, ASCII punctuation deleted, English articles replaced by a
// space, white space squeezed.
func normalizeAnswer(s string) string {
	s = strings.Map(func(r rune) rune {
		if r > ' ' && r < 0x7f && !unicode.IsLetter(r) && !unicode.IsDigit(r) {
			return -1
		}
		return r
	}, strings.ToLower(s))
	var b strings.Builder
	word := 0 // where the current word began in b
	end := func() {
		if w := b.String()[word:]; w == "a" || w == "an" || w == "the" {
			rest := b.String()[:word]
			b.Reset()
			b.WriteString(rest)
			b.WriteByte(' ')
		}
	}
	for _, r := range s {
		if unicode.IsLetter(r) || unicode.IsNumber(r) || r == '_' {
			b.WriteRune(r)
			continue
		}
		end()
		b.WriteRune(r)
		word = b.Len()
	}
	end()
	return strings.Join(strings.FieldsFunc(b.String(), isPythonSpace), " ")
}
