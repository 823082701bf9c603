package task

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"ravn/eval"
	"ravn/internal/nprand"
)

// entities is named entity recognition, and the detection of grammatical errors, by writing a JSON object.
type entities struct{}

func (entities) fields() []string { return []string{"{text}", "{label}"} }
func (entities) labels() int      { return 1 }

// entityClasses is the order in which examples go round: of names as in ScandEval, else that of the labels.
func entityClasses(s *Spec) []string {
	if s.Task == Entities {
		return []string{"loc", "org", "per", "misc"}
	}
	return s.labelIDs()
}

func (entities) check(s *Spec, r *Row) error {
	if len(r.Tokens) == 0 {
		return errors.New("no tokens")
	}
	if len(r.Tokens) != len(r.Tags) {
		return fmt.Errorf("%d tokens and %d labels", len(r.Tokens), len(r.Tags))
	}
	for i, tag := range r.Tags {
		lower := strings.ToLower(tag)
		kind, typ, _ := strings.Cut(lower, "-")
		if lower != "o" && (kind != "b" && kind != "i" || s.labelIndex(typ) < 0) {
			return fmt.Errorf("label %q of token %d is not O, or B- or I- and one of %s", tag, i, strings.ToUpper(strings.Join(s.labelIDs(), ", ")))
		}
	}
	if r.Text == "" {
		r.Text = strings.Join(r.Tokens, " ")
	}
	return nil
}

func (entities) shots(s *Spec, train []Row, seed uint64) []int {
	order := nprand.NewGenerator(seed).Permutation(len(train))
	rows := roundRobin(train, order, entityClasses(s), s.Shots, func(r *Row, class string) bool {
		return slices.ContainsFunc(r.Tags, func(tag string) bool { return strings.EqualFold(tag, "b-"+class) })
	})
	return shuffleShots(rows, seed)
}

func (entities) sample(s *Spec, r *Row, answer bool) string {
	text := strip(strings.ReplaceAll(strings.Join(r.Tokens, " "), "\n", " "))
	label := ""
	if answer {
		label = entityAnswer(s, r)
	}
	return fill(s.Template, "{text}", text, "{label}", label)
}

func (entities) choices(*Spec, *Row) []string { return nil }

// grammar keeps the answer of mode ravn to the JSON that examples show, so that finding names is measured and not JSON.
func (entities) grammar(s *Spec) eval.Grammar { return listsOf(s.Labels) }

// entityAnswer is the right answer as examples show it: a JSON object with every key, written as Python's json does.
func entityAnswer(s *Spec, r *Row) string {
	var b strings.Builder
	b.WriteString("{")
	for i, l := range s.Labels {
		if i > 0 {
			b.WriteString(", ")
		}
		pythonString(&b, l.Word)
		b.WriteString(": [")
		for j, e := range entitiesOf(r, l.ID) {
			if j > 0 {
				b.WriteString(", ")
			}
			pythonString(&b, e)
		}
		b.WriteString("]")
	}
	b.WriteString("}")
	return b.String()
}

// entitiesOf lists the entities of one type as text.
func entitiesOf(r *Row, typ string) []string {
	var out []string
	for i, tag := range r.Tags {
		switch tag = strings.ToLower(tag); {
		case tag == "b-"+typ || tag == "i-"+typ && len(out) == 0:
			out = append(out, r.Tokens[i])
		case tag == "i-"+typ:
			out[len(out)-1] += " " + r.Tokens[i]
		}
	}
	return out
}

// pythonString writes s as json.dumps(s, ensure_ascii=False).
func pythonString(b *strings.Builder, s string) {
	b.WriteByte('"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\r':
			b.WriteString(`\r`)
		case r == '\t':
			b.WriteString(`\t`)
		case r == '\b':
			b.WriteString(`\b`)
		case r == '\f':
			b.WriteString(`\f`)
		case r < ' ':
			fmt.Fprintf(b, `\u%04x`, r)
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte('"')
}

// judge reads the answer and counts chunks. The counts are of the strict reading in both modes (F1 of lower-case tags is
// no function of sums over sentences; see seqevalF1).
func (entities) judge(a *asked, out output, q quirks) judgement {
	found, ok := readEntities(out.text)
	var tags []string
	if q.SubstringSpans {
		tags = tagsBySubstring(&a.d.Spec, a.row.Tokens, found)
	} else {
		tags = tagsByTokens(&a.d.Spec, a.row.Tokens, found)
	}
	if a.d.Task == Entities && !a.hasMisc {
		tags = withoutMisc(tags)
	}
	gold := lowerAll(a.row.Tags)
	j := judgement{gold: entityAnswer(&a.d.Spec, a.row), answer: strings.Join(tags, " "), unreadable: !ok}
	j.counts = append(chunkCounts(gold, tags), chunkCounts(withoutMisc(gold), withoutMisc(tags))...)
	return j
}

// chunkCounts is right chunks, predicted chunks, true chunks.
func chunkCounts(gold, tags []string) []float64 {
	g, p := chunks(upperAll(gold)), chunks(upperAll(tags))
	right := 0
	for _, c := range p {
		if slices.Contains(g, c) {
			right++
		}
	}
	return []float64{float64(right), float64(len(p)), float64(len(g))}
}

func (entities) metrics(s *Spec, q quirks) []metric {
	f1 := func(at int) func(c []float64) float64 {
		return func(c []float64) float64 {
			if c[at+1]+c[at+2] == 0 {
				return 0
			}
			return 2 * c[at] / (c[at+1] + c[at+2])
		}
	}
	with, without := metric{"micro_f1", 100, f1(0), false}, metric{"micro_f1_no_misc", 100, f1(3), false}
	switch {
	case s.Task == ErrorSpans:
		return []metric{with}
	case q.LowerCaseTags: // the leaderboard of 14 January 2024 still counted MISC
		return []metric{with, without}
	}
	return []metric{without, with}
}

// entityList is one key of an answer and what was listed under it.
type entityList struct {
	word  string
	names []string
}

// readEntities reads the first {...} of an answer, or all of it, leniently. ok is false when it is no object of lists.
func readEntities(text string) (lists []entityList, ok bool) {
	if i := strings.IndexByte(text, '{'); i >= 0 && i+2 <= len(text) {
		// at least one character between the braces, as \{.+?\} wants
		_, width := utf8.DecodeRuneInString(text[i+1:])
		if j := strings.IndexByte(text[i+1+width:], '}'); j >= 0 {
			text = text[i : i+1+width+j+1]
		}
	}
	v, err := parseLenient(text)
	if err != nil {
		return nil, false
	}
	object, isObject := v.(lenientObject)
	if !isObject {
		return nil, false
	}
	for _, m := range object {
		list, isList := m.value.([]any)
		if !isList {
			return nil, false
		}
		e := entityList{word: m.key}
		for _, name := range list {
			if s, isString := name.(string); isString {
				e.names = append(e.names, s)
			}
		}
		lists = append(lists, e)
	}
	return lists, true
}

// typeOf is the entity type whose word is w.
func (s *Spec) typeOf(w string) (string, bool) {
	for _, l := range s.Labels {
		if l.Word == w {
			return l.ID, true
		}
	}
	return "", false
}

// tagsBySubstring marks tokens as ScandEval does: every token that contains a word of an entity is taken for it. The
// token left of the first one is the last one.
func tagsBySubstring(s *Spec, tokens []string, lists []entityList) []string {
	tags := outside(len(tokens))
	for _, l := range lists {
		typ, known := s.typeOf(l.word)
		if !known {
			continue
		}
		for _, name := range l.names {
			for w, word := range strings.FieldsFunc(name, isPythonSpace) {
				for i, token := range tokens {
					left := tags[(i+len(tags)-1)%len(tags)]
					switch {
					case !strings.Contains(token, word):
					case w == 0:
						tags[i] = "b-" + typ
					case tags[i] == "o" && (left == "b-"+typ || left == "i-"+typ):
						tags[i] = "i-" + typ
					}
				}
			}
		}
	}
	return tags
}

// tagsByTokens marks, for each entity, the first place where its words are whole neighbouring tokens that are not
// marked yet.
func tagsByTokens(s *Spec, tokens []string, lists []entityList) []string {
	tags := outside(len(tokens))
	for _, l := range lists {
		typ, known := s.typeOf(l.word)
		if !known {
			continue
		}
		for _, name := range l.names {
			words := strings.FieldsFunc(name, isPythonSpace)
			for i := 0; len(words) > 0 && i+len(words) <= len(tokens); i++ {
				free := !slices.ContainsFunc(tags[i:i+len(words)], func(t string) bool { return t != "o" })
				if free && slices.Equal(tokens[i:i+len(words)], words) {
					for k := range words {
						tags[i+k] = "i-" + typ
					}
					tags[i] = "b-" + typ
					break
				}
			}
		}
	}
	return tags
}

func outside(n int) []string {
	tags := make([]string, n)
	for i := range tags {
		tags[i] = "o"
	}
	return tags
}

func withoutMisc(tags []string) []string {
	out := slices.Clone(tags)
	for i, t := range out {
		if strings.HasSuffix(t, "misc") {
			out[i] = "o"
		}
	}
	return out
}

func lowerAll(tags []string) []string {
	out := make([]string, len(tags))
	for i, t := range tags {
		out[i] = strings.ToLower(t)
	}
	return out
}

func upperAll(tags []string) []string {
	out := make([]string, len(tags))
	for i, t := range tags {
		out[i] = strings.ToUpper(t)
	}
	return out
}
