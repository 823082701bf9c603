package task

import (
	"fmt"
	"math"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"ravn/internal/nprand"
)

// classification is acceptability, sentiment and word in context: one label a text.
type classification struct{}

func (classification) fields() []string { return []string{"{text}", "{label}"} }
func (classification) labels() int      { return 2 }

func (classification) check(s *Spec, r *Row) error {
	if strip(r.Text) == "" {
		return fmt.Errorf("no text")
	}
	if s.labelIndex(r.Label) < 0 {
		return fmt.Errorf("label %q is none of %s", r.Label, strings.Join(s.labelIDs(), ", "))
	}
	return nil
}

func (s *Spec) labelIndex(id string) int {
	for i, l := range s.Labels {
		if l.ID == id {
			return i
		}
	}
	return -1
}

func (s *Spec) labelIDs() []string {
	ids := make([]string, len(s.Labels))
	for i, l := range s.Labels {
		ids[i] = l.ID
	}
	return ids
}

func (classification) shots(s *Spec, train []Row, seed uint64) []int {
	order := nprand.NewGenerator(seed).Permutation(len(train))
	rows := roundRobin(train, order, s.labelIDs(), s.Shots, func(r *Row, class string) bool { return r.Label == class })
	return shuffleShots(rows, seed)
}

var newlines = regexp.MustCompile(`\n+`)

func (classification) sample(s *Spec, r *Row, answer bool) string {
	text := strip(newlines.ReplaceAllString(r.Text, "\n"))
	if !answer {
		return strip(fill(s.Template, "{text}", text, "{label}", ""))
	}
	return fill(s.Template, "{text}", text, "{label}", s.Labels[s.labelIndex(r.Label)].Word)
}

func (classification) choices(s *Spec, _ *Row) []string {
	out := make([]string, len(s.Labels))
	for i, l := range s.Labels {
		out[i] = " " + strings.ToLower(l.Word)
	}
	return out
}

// judge takes the label with the highest log-probability, the first on ties: of the whole word, or of its first token.
// Where the model wrote instead, it is the label whose word is nearest; an answer that begins with none counts as failed.
func (classification) judge(a *asked, out output, q quirks) judgement {
	scores := out.logProb
	if q.FirstToken {
		scores = out.firstToken
	}
	best, failed := 0, false
	if scores == nil {
		best, failed = closestLabel(a.d.Labels, out.text), !beginsWithLabel(a.d.Labels, out.text)
	}
	for i, v := range scores {
		if v > scores[best] {
			best = i
		}
	}
	n := len(a.d.Labels)
	gold := a.d.labelIndex(a.row.Label)
	j := judgement{gold: a.row.Label, answer: a.d.Labels[best].ID, counts: make([]float64, n*n), unreadable: failed}
	j.counts[gold*n+best] = 1
	return j
}

func (classification) metrics(s *Spec, _ quirks) []metric {
	n := len(s.Labels)
	return []metric{
		{"mcc", 100, func(c []float64) float64 { return mcc(c, n) }, false},
		{"macro_f1", 100, func(c []float64) float64 { return macroF1(c, n) }, false},
		{"accuracy", 100, func(c []float64) float64 { return accuracy(c, n) }, false},
	}
}

// closestLabel is the label whose word is nearest by edit distance to the first paragraph of an answer, the first one
// on ties, so that an empty answer is the shortest word. It reads answers of models that give no probabilities.
func closestLabel(labels []Label, text string) int {
	text, _, _ = strings.Cut(text, "\n\n")
	text = strings.ToLower(strip(text))
	best, least := 0, math.MaxInt
	for i, l := range labels {
		if d := editDistance(text, strings.ToLower(l.Word)); d < least {
			best, least = i, d
		}
	}
	return best
}

func beginsWithLabel(labels []Label, text string) bool {
	text = strings.ToLower(strip(text))
	return slices.ContainsFunc(labels, func(l Label) bool { return strings.HasPrefix(text, strings.ToLower(l.Word)) })
}

// editDistance is Levenshtein's, over code points.
func editDistance(a, b string) int {
	rb := []rune(b)
	row := make([]int, len(rb)+1)
	for j := range row {
		row[j] = j
	}
	i := 0
	for _, ca := range a {
		diagonal := row[0]
		i++
		row[0] = i
		for j, cb := range rb {
			cost := diagonal
			if ca != cb {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, diagonal+1)
		}
	}
	return row[utf8.RuneCountInString(b)]
}

// Confusion counts c are (n, n), true label by row, predicted by column.

// mcc is the Matthews correlation over n labels (Gorodkin 2004, R_K), 0 where a margin is constant.
func mcc(c []float64, n int) float64 {
	var total, correct, cross, pp, tt float64
	for k := range n {
		var t, p float64
		for j := range n {
			t += c[k*n+j]
			p += c[j*n+k]
		}
		total += t
		correct += c[k*n+k]
		cross += t * p
		pp += p * p
		tt += t * t
	}
	d := (total*total - pp) * (total*total - tt)
	if d <= 0 {
		return 0
	}
	return (correct*total - cross) / math.Sqrt(d)
}

// macroF1 is the mean F1 over the labels that occur in truth or prediction.
func macroF1(c []float64, n int) float64 {
	var sum, classes float64
	for k := range n {
		var t, p float64
		for j := range n {
			t += c[k*n+j]
			p += c[j*n+k]
		}
		if t+p == 0 {
			continue
		}
		classes++
		sum += 2 * c[k*n+k] / (t + p)
	}
	return sum / classes
}

func accuracy(c []float64, n int) float64 {
	var total, correct float64
	for i, v := range c {
		total += v
		if i/n == i%n {
			correct += v
		}
	}
	return correct / total
}
