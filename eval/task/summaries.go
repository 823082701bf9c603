package task

import (
	"errors"
	"math"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"ravn/internal/nprand"
)

// summaries is summarization of news.
type summaries struct{}

func (summaries) fields() []string { return []string{"{text}", "{target_text}"} }
func (summaries) labels() int      { return 0 }

func (summaries) check(_ *Spec, r *Row) error {
	var errs []error
	if strip(r.Text) == "" {
		errs = append(errs, errors.New("no text"))
	}
	if strip(r.Target) == "" {
		errs = append(errs, errors.New("no target_text"))
	}
	return errors.Join(errs...)
}

// shots takes the first rows with distinct text.
func (summaries) shots(s *Spec, train []Row, seed uint64) []int {
	seen := map[string]bool{}
	var rows []int
	for _, i := range nprand.NewGenerator(seed).Permutation(len(train)) {
		if !seen[train[i].Text] && len(rows) < s.Shots {
			seen[train[i].Text] = true
			rows = append(rows, i)
		}
	}
	return shuffleShots(rows, seed)
}

func (summaries) sample(s *Spec, r *Row, answer bool) string {
	line := func(text string) string { return strip(strings.ReplaceAll(text, "\n", " ")) }
	if answer {
		return fill(s.Template, "{text}", line(r.Text), "{target_text}", line(r.Target))
	}
	return strip(fill(s.Template, "{text}", line(r.Text), "{target_text}", ""))
}

func (summaries) choices(*Spec, *Row) []string { return nil }

func (summaries) judge(a *asked, out output, q quirks) judgement {
	text, _, _ := strings.Cut(out.text, "\n\n")
	text = strip(text)
	words := unicodeWords
	if q.RougeLetters {
		words = asciiWords
	}
	j := judgement{gold: a.row.Target, answer: text}
	j.counts = []float64{chrF(text, a.row.Target, 3), chrF(text, a.row.Target, 4), rougeL(words(text), words(a.row.Target)), 1}
	return j
}

// metrics are means over items. BERTScore, which ScandEval's leaderboard counted, needs a model of its own and is
// missing; ROUGE-L is a plain mean, where ScandEval takes the median of 1,000 resampled means, the same up to noise. Its
// totals before version 9.2 were not multiplied by 100.
func (summaries) metrics(_ *Spec, q quirks) []metric {
	mean := func(at int, by float64) func(c []float64) float64 {
		return func(c []float64) float64 { return c[at] / c[3] * by }
	}
	if q.PlainSummaries {
		return []metric{{"rouge-l", 1, mean(2, 1), false}, {"chrf3++", 1, mean(0, 1), false}, {"chrf4++", 1, mean(1, 1), false}}
	}
	return []metric{{"chrf3++", 1, mean(0, 1), false}, {"chrf4++", 1, mean(1, 1), false}, {"rouge_l", 100, mean(2, 1), false}}
}

// asciiWords are ROUGE's: runs of a to z and 0 to 9 in lower case, so that æ, ø, å, ä and ö part words.
func asciiWords(s string) []string {
	return strings.FieldsFunc(strings.ToLower(s), func(r rune) bool { return (r < 'a' || r > 'z') && (r < '0' || r > '9') })
}

func unicodeWords(s string) []string {
	return strings.FieldsFunc(strings.ToLower(s), func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsNumber(r) && !unicode.IsMark(r) })
}

// rougeL is the F1 of the longest common subsequence of words, 0 to 1 (Lin 2004).
func rougeL(got, want []string) float64 {
	row := make([]int, len(want)+1)
	for _, g := range got {
		diagonal := 0
		for j, w := range want {
			above := row[j+1]
			if g == w {
				row[j+1] = diagonal + 1
			} else {
				row[j+1] = max(above, row[j])
			}
			diagonal = above
		}
	}
	common := float64(row[len(want)])
	if common == 0 {
		return 0
	}
	precision, recall := common/float64(len(got)), common/float64(len(want))
	return 2 * precision * recall / (precision + recall)
}

// chrF is the sentence score chrF++ of sacreBLEU in percent, with recall weighing beta times precision: mean over
// character n-grams of 1 to 6, white space left out, and word n-grams of 1 and 2 (Popović 2017).
func chrF(got, want string, beta float64) float64 {
	g, w := characters(got), characters(want)
	gw, ww := chrfWords(got), chrfWords(want)
	var precision, recall, orders float64
	add := func(same, inGot, inWant int) {
		if inGot > 0 && inWant > 0 {
			precision += float64(same) / float64(inGot)
			recall += float64(same) / float64(inWant)
			orders++
		}
	}
	for n := 1; n <= 6; n++ {
		add(ngramOverlap(g, w, n))
	}
	for n := 1; n <= 2; n++ {
		add(ngramOverlap(gw, ww, n))
	}
	if orders == 0 {
		return 0
	}
	precision, recall = precision/orders, recall/orders
	if precision+recall == 0 {
		return 0
	}
	b := beta * beta
	return 100 * (1 + b) * precision * recall / (b*precision + recall)
}

func characters(s string) []string {
	var out []string
	for _, r := range s {
		if !isPythonSpace(r) {
			out = append(out, string(r))
		}
	}
	return out
}

// chrfWords parts a mark of punctuation from the end of a word, or else from its beginning.
func chrfWords(s string) []string {
	const marks = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"
	var out []string
	for _, word := range strings.FieldsFunc(s, isPythonSpace) {
		n := utf8.RuneCountInString(word)
		last, width := utf8.DecodeLastRuneInString(word)
		first, head := utf8.DecodeRuneInString(word)
		switch {
		case n > 1 && strings.ContainsRune(marks, last):
			out = append(out, word[:len(word)-width], string(last))
		case n > 1 && strings.ContainsRune(marks, first):
			out = append(out, string(first), word[head:])
		default:
			out = append(out, word)
		}
	}
	return out
}

// ngramOverlap counts the n-grams of both, with repeats, and those of each.
func ngramOverlap(a, b []string, n int) (same, inA, inB int) {
	inA, inB = max(0, len(a)-n+1), max(0, len(b)-n+1)
	count := make(map[string]int, inB)
	for i := range inB {
		count[strings.Join(b[i:i+n], "\x00")]++
	}
	for i := range inA {
		key := strings.Join(a[i:i+n], "\x00")
		if count[key] > 0 {
			count[key]--
			same++
		}
	}
	return same, inA, inB
}

// bitsPerCharacter asks any task for the surprise at its right answer: −log₂ p(answer | prompt) over the characters of
// the answer, mean over items, lower is better. It says something of checkpoints whose answers are still guesses.
// Multiple choice is asked without its options, for the text of the right one; of entities only the names' characters
// count, and sentences without names are left out.
type bitsPerCharacter struct{ kind }

func (k bitsPerCharacter) sample(s *Spec, r *Row, answer bool) string {
	mc, ok := k.kind.(multipleChoice)
	if !ok {
		return k.kind.sample(s, r, answer)
	}
	question, text, ok := mc.parts(s, r)
	if !ok {
		return mc.sample(s, r, answer)
	}
	if !answer {
		return strip(fill(s.Template, "{text}", question, "{label}", ""))
	}
	return fill(s.Template, "{text}", question, "{label}", text)
}

func (k bitsPerCharacter) gold(s *Spec, r *Row) string {
	switch kk := k.kind.(type) {
	case multipleChoice:
		if _, text, ok := kk.parts(s, r); ok {
			return text
		}
		return s.Labels[s.labelIndex(r.Label)].Word
	case classification:
		return s.Labels[s.labelIndex(r.Label)].Word
	case entities:
		return entityAnswer(s, r)
	case questions:
		return r.Answers[0]
	}
	return strip(strings.ReplaceAll(r.Target, "\n", " "))
}

func (k bitsPerCharacter) choices(s *Spec, r *Row) []string { return []string{" " + k.gold(s, r)} }

func (k bitsPerCharacter) judge(a *asked, out output, _ quirks) judgement {
	gold := k.gold(&a.d.Spec, a.row)
	size := utf8.RuneCountInString(gold)
	if _, ok := k.kind.(entities); ok {
		size = 0
		for _, l := range a.d.Labels {
			for _, name := range entitiesOf(a.row, l.ID) {
				size += utf8.RuneCountInString(name)
			}
		}
	}
	j := judgement{gold: gold, counts: []float64{0, 0}}
	if size > 0 {
		j.counts = []float64{bitsPerCharacterOf(out.logProb, size), 1}
	}
	return j
}

// bitsPerCharacterOf turns natural-log probabilities into bits a character.
func bitsPerCharacterOf(logProbs []float64, characters int) float64 {
	var nats float64
	for _, p := range slices.Backward(logProbs) {
		nats -= p
	}
	return nats / math.Ln2 / float64(characters)
}

func (bitsPerCharacter) metrics(*Spec, quirks) []metric {
	return []metric{{bitsPerCharacterName, 1, func(c []float64) float64 { return c[0] / c[1] }, true}}
}

const bitsPerCharacterName = "bpc"
