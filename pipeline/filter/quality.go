package filter

import (
	"bytes"
	"fmt"
	"math/bits"
	"slices"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"

	"github.com/cespare/xxhash/v2"

	"ravn/pipeline"
)

// Scores are the names of what Quality measures; docs/design/filters.md defines each.
var Scores = []string{
	"chars", "words", "tokens", "mean_word_length", "alpha_tokens", "alpha_words", "hash_ratio", "ellipsis_ratio",
	"bullet_lines", "dash_star_lines", "ellipsis_lines", "stop_words_da", "stop_words_nb", "stop_words_sv", "stop_words_en",
	"dup_line_frac", "dup_line_char_frac", "dup_para_frac", "dup_para_char_frac",
	"top_2_gram", "top_3_gram", "top_4_gram", "often_2_gram", "often_3_gram", "often_4_gram",
	"dup_5_gram", "dup_6_gram", "dup_7_gram", "dup_8_gram", "dup_9_gram", "dup_10_gram",
	"line_punct", "short_lines", "char_dup_ratio", "new_line_ratio", "long_lines",
	"c4_sentences", "c4_dropped_lines", "lorem_ipsum", "curly_bracket", "dfm_dropped_lines",
}

// places of scores.
const (
	sChars = iota
	sWords
	sTokens
	sMeanWord
	sAlphaTokens
	sAlphaWords
	sHash
	sEllipsis
	sBullets
	sDashStar
	sEllipsisLines
	sStop // da, nb, sv, en
	_
	_
	_
	sDupLine
	sDupLineChars
	sDupPara
	sDupParaChars
	sTop // 2, 3, 4
	_
	_
	sOften // 2, 3, 4
	_
	_
	sDup // 5 to 10
	_
	_
	_
	_
	_
	sLinePunct
	sShortLines
	sCharDup
	sNewLines
	sLongLines
	sC4Sentences
	sC4Dropped
	sLorem
	sCurly
	sDFMDropped
)

// stopWords are FineWeb-2's for Danish, Bokmål and Swedish, and Gopher's for English.
var stopWords = map[string][]string{
	"da": strings.Fields("i og af en til er den at som på for med det blev var der fra de han et"),
	"nb": strings.Fields("i og av som en er til på for ble med den det var han de å fra"),
	"sv": strings.Fields("i och är av en som den med på till att för"),
	"en": strings.Fields("the be to of and that have with"),
}

var stopLanguages = []string{"da", "nb", "sv", "en"}

// wordTable says of a word's hash which bit it has; few words, so one look.
type wordTable struct {
	slots [512]struct {
		hash uint64
		bit  uint8 // plus one
	}
	masks [4]uint64 // of the stop words of a language
	hints uint64    // of the words after which lines are looked at closely
}

// hintWords begin the phrases that C4 looks for in lines.
var hintWords = strings.Fields("javascript lorem terms privacy cookie cookies")

var table = func() *wordTable {
	t := &wordTable{}
	places := map[string]uint8{}
	add := func(w string) uint64 {
		if p, ok := places[w]; ok {
			return 1 << p
		}
		p := uint8(len(places))
		if p == 64 {
			panic("filter: more than 64 words")
		}
		places[w] = p
		h := pipeline.HashWord(w)
		i := h & 511
		for t.slots[i].bit != 0 {
			i = (i + 1) & 511
		}
		t.slots[i].hash, t.slots[i].bit = h, p+1
		return 1 << p
	}
	for i, l := range stopLanguages {
		for _, w := range stopWords[l] {
			t.masks[i] |= add(w)
		}
	}
	for _, w := range hintWords {
		t.hints |= add(w)
	}
	return t
}()

// bit is 1 << place of a word, 0 when it is none of the table's.
func (t *wordTable) bit(h uint64) uint64 {
	for i := h & 511; t.slots[i].bit != 0; i = (i + 1) & 511 {
		if t.slots[i].hash == h {
			return 1 << (t.slots[i].bit - 1)
		}
	}
	return 0
}

// Quality is the stage that measures every score and drops by the rules of the presets it was given. With none it drops
// nothing, and the scores are in the ledger all the same.
type Quality struct{ rules []ruleSet }

// NewQuality makes the stage.
func NewQuality(presets ...Spec) (*Quality, error) {
	q := &Quality{}
	for _, p := range presets {
		r, err := p.resolve()
		if err != nil {
			return nil, err
		}
		q.rules = append(q.rules, r)
	}
	return q, nil
}

// Name is "quality".
func (*Quality) Name() string { return "quality" }

// Scores are their names.
func (*Quality) Scores() []string { return Scores }

// Counted are the lines that presets take out of texts, counted.
func (q *Quality) Counted() []string {
	var out []string
	for _, r := range q.rules {
		if r.lines != 0 {
			out = append(out, Scores[r.lines])
		}
	}
	return out
}

// Examine measures and judges.
func (q *Quality) Examine(x *pipeline.Doc) pipeline.Verdict {
	v := pipeline.Keep
	hints := q.measure(x)
	for _, r := range q.rules {
		if !r.covers(x.Section) {
			continue
		}
		for _, rule := range r.rules {
			if s := x.Scored(rule.score); v.Keep && rule.breaks(s) {
				v = pipeline.Drop(rule.Name, fmt.Sprintf("%s %s, %s wanted (%s)", Scores[rule.score], number(s), rule.wanted(), r.spec.Preset))
			}
		}
	}
	for _, r := range q.rules {
		if v.Keep && r.lines != 0 && r.covers(x.Section) {
			takeLines(x, r.lines, hints)
		}
	}
	return v
}

// number prints a score shortly.
func number(v float64) string {
	if v == float64(int64(v)) {
		return fmt.Sprint(int64(v))
	}
	return fmt.Sprintf("%.3f", v)
}

// measure computes every score. It says whether some line may hold a phrase that C4 looks for.
func (q *Quality) measure(x *pipeline.Doc) (hints bool) {
	t := x.Tokens()
	chars := utf8.RuneCountInString(x.Text)
	words, runes, letters, lettersOfWords := 0, 0, 0, 0
	seen := uint64(0)
	for i, k := range t.Kind {
		if k&pipeline.Word == 0 {
			continue
		}
		words++
		runes += int(t.Runes[i])
		if k&pipeline.Letter != 0 {
			letters++
			lettersOfWords++
			seen |= table.bit(t.Hash[i])
		}
	}
	tokens := len(t.Hash)
	hints = seen&table.hints != 0
	x.Score(sChars, float64(chars))
	x.Score(sWords, float64(words))
	x.Score(sTokens, float64(tokens))
	x.Score(sMeanWord, share(runes, words))
	x.Score(sAlphaTokens, share(letters, tokens))
	x.Score(sAlphaWords, share(lettersOfWords, words))
	x.Score(sHash, share(strings.Count(x.Text, "#"), tokens))
	x.Score(sEllipsis, share(strings.Count(x.Text, "...")+strings.Count(x.Text, "…"), tokens))
	for i := range stopLanguages {
		x.Score(sStop+i, float64(bits.OnesCount64(seen&table.masks[i])))
	}
	r := measure(t)
	for n := 2; n <= 4; n++ {
		x.Score(sTop+n-2, share(r.top[n], chars))
		often := 0
		if r.times[n] > 3 {
			often = r.top[n]
		}
		x.Score(sOften+n-2, share(often, chars))
	}
	for n := 5; n <= 10; n++ {
		x.Score(sDup+n-5, share(r.dup[n], chars))
	}
	q.measureLines(x, chars, hints)
	return hints
}

func share(a, b int) float64 {
	if b == 0 {
		return 0
	}
	return float64(a) / float64(b)
}

// hashSet remembers hashes of lines.
type hashSet struct {
	slots []uint64
}

var hashSets = sync.Pool{New: func() any { return new(hashSet) }}

func (s *hashSet) reset(n int) {
	size := 16
	for size < 2*n {
		size *= 2
	}
	s.slots = slices.Grow(s.slots[:0], size)[:size]
	clear(s.slots)
}

// add says whether h was there before.
func (s *hashSet) add(h uint64) bool {
	h |= 1
	mask := uint64(len(s.slots) - 1)
	for i := h >> 20 & mask; ; i = (i + 1) & mask {
		switch s.slots[i] {
		case 0:
			s.slots[i] = h
			return false
		case h:
			return true
		}
	}
}

// measureLines computes the scores of lines and paragraphs.
func (q *Quality) measureLines(x *pipeline.Doc, chars int, hints bool) {
	lines := x.Lines()
	set := hashSets.Get().(*hashSet)
	defer hashSets.Put(set)
	set.reset(len(lines))
	var filled, dup, dupChars, bullets, dashStar, ellipsis, punct, short, long, sentences, c4Dropped, dfmDropped int
	curly := strings.IndexByte(x.Text, '{') >= 0
	lorem := false
	for _, line := range lines {
		n := utf8.RuneCountInString(line)
		if n <= 30 {
			short++
		}
		body := trimSpace(line)
		if body == "" {
			c4Dropped++
			dfmDropped++
			continue
		}
		filled++
		if n > 30 {
			long++
		}
		if set.add(xxhash.Sum64String(line)) {
			dup++
			dupChars += n
		}
		switch body[0] {
		case '-':
			bullets++
			dashStar++
		case '*':
			dashStar++
		case 0xE2:
			if strings.HasPrefix(body, "•") {
				bullets++
			}
		}
		if strings.HasSuffix(body, "...") || strings.HasSuffix(body, "…") {
			ellipsis++
		}
		if ends(line[len(line)-1]) {
			punct++
		}
		if c4Line(body, hints) {
			sentences += countSentences(body)
		} else {
			c4Dropped++
		}
		if hints && !lorem {
			lorem = strings.Contains(strings.ToLower(body), "lorem ipsum")
		}
		if !dfmLine(body) {
			dfmDropped++
		}
	}
	all := max(1, len(lines))
	x.Score(sBullets, share(bullets, all))
	dashes := share(dashStar, all)
	if dashStar <= 2 { // DFM's rule asks for more than two such lines
		dashes = 0
	}
	x.Score(sDashStar, dashes)
	x.Score(sEllipsisLines, share(ellipsis, all))
	x.Score(sDupLine, share(dup, filled))
	x.Score(sDupLineChars, share(dupChars, chars))
	x.Score(sLinePunct, share(punct, all))
	x.Score(sShortLines, share(short, all))
	newlines := strings.Count(x.Text, "\n")
	x.Score(sCharDup, share(dupChars, chars-newlines))
	x.Score(sNewLines, share(newlines, len(x.Tokens().Hash)))
	x.Score(sLongLines, share(long, filled))
	x.Score(sC4Sentences, float64(sentences))
	x.Score(sC4Dropped, float64(c4Dropped))
	x.Score(sLorem, one(lorem))
	x.Score(sCurly, one(curly))
	x.Score(sDFMDropped, float64(dfmDropped))

	// Paragraphs stand between empty lines.
	set.reset(len(lines))
	paras, dupParas, dupParaChars := 0, 0, 0
	text := strings.TrimSpace(x.Text)
	for text != "" {
		para, rest, _ := strings.Cut(text, "\n\n")
		text = strings.TrimLeft(rest, "\n")
		paras++
		if set.add(xxhash.Sum64String(para)) {
			dupParas++
			dupParaChars += utf8.RuneCountInString(para)
		}
	}
	x.Score(sDupPara, share(dupParas, paras))
	x.Score(sDupParaChars, share(dupParaChars, chars))
}

func one(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// trimSpace is strings.TrimSpace with a short way for what needs no trimming.
func trimSpace(s string) string {
	if s != "" && s[0] > ' ' && s[0] < utf8.RuneSelf && s[len(s)-1] > ' ' && s[len(s)-1] < utf8.RuneSelf {
		return s
	}
	return strings.TrimSpace(s)
}

// ends says whether a sentence may end in c.
func ends(c byte) bool { return c == '.' || c == '!' || c == '?' || c == '"' || c == '\'' }

// policyPhrases are C4's.
var policyPhrases = []string{"terms of use", "privacy policy", "cookie policy", "uses cookies", "use of cookies", "use cookies"}

// c4Line says whether C4 keeps a line: it ends as a sentence and not in an ellipsis, has three words or more and none of
// over 1,000 characters, and speaks neither of javascript nor of policies.
func c4Line(line string, hints bool) bool {
	if !ends(line[len(line)-1]) || strings.HasSuffix(line, "...") || !hasWords(line, 3, 1000) {
		return false
	}
	if !hints {
		return true
	}
	low := strings.ToLower(line)
	return !strings.Contains(low, "javascript") && !slices.ContainsFunc(policyPhrases, func(p string) bool { return strings.Contains(low, p) })
}

// hasWords says whether line has n words or more, and none longer than most characters.
func hasWords(line string, n, most int) bool {
	words, from := 0, 0
	for i := 0; i <= len(line); i++ {
		if i < len(line) && line[i] > ' ' {
			continue
		}
		if i > from {
			words++
			if i-from > most && utf8.RuneCountInString(line[from:i]) > most {
				return false
			}
			if words >= n && len(line)-i <= most {
				return true
			}
		}
		from = i + 1
	}
	return words >= n
}

// countSentences counts marks that end a sentence before white space or the end.
func countSentences(line string) int {
	n := 0
	for i := 0; i < len(line); i++ {
		if c := line[i]; (c == '.' || c == '!' || c == '?') && (i+1 == len(line) || line[i+1] == ' ') {
			n++
		}
	}
	return max(1, n)
}

// dfmLine says whether DFM's first sentence filter keeps a line: it ends as a sentence or in an emoji, has three words or
// more, fewer than 70 % of them in title case, and fewer than two curly brackets.
func dfmLine(line string) bool {
	if !ends(line[len(line)-1]) {
		r, _ := utf8.DecodeLastRuneInString(line)
		if !(r >= 0x1F300 && r <= 0x1FAFF || r >= 0x2600 && r <= 0x27BF) {
			return false
		}
	}
	words, title := 0, 0
	for i := 0; i < len(line); {
		for i < len(line) && line[i] == ' ' {
			i++
		}
		if i == len(line) {
			break
		}
		words++
		if c := line[i]; c >= 'A' && c <= 'Z' {
			title++
		} else if c >= utf8.RuneSelf {
			if r, _ := utf8.DecodeRuneInString(line[i:]); unicode.IsUpper(r) {
				title++
			}
		}
		for i < len(line) && line[i] != ' ' {
			i++
		}
	}
	return words >= 3 && 10*title < 7*words && strings.Count(line, "{")+strings.Count(line, "}") < 2
}

// takeLines removes the lines that a preset does not keep.
func takeLines(x *pipeline.Doc, rule int, hints bool) {
	if x.Scored(rule) == 0 {
		return
	}
	var b bytes.Buffer
	b.Grow(len(x.Text))
	for _, line := range x.Lines() {
		body := strings.TrimSpace(line)
		if body == "" || rule == sC4Dropped && !c4Line(body, hints) || rule == sDFMDropped && !dfmLine(body) {
			continue
		}
		if b.Len() > 0 {
			b.WriteByte('\n')
		}
		b.WriteString(body)
	}
	x.Text = b.String()
}
