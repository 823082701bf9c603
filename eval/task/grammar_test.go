package task

import (
	"strings"
	"testing"
)

func writes(g *jsonLists, text string) (whole, beginning bool) {
	state := g.Start()
	for i := range len(text) {
		var ok bool
		if state, ok = g.Next(state, text[i]); !ok {
			return false, false
		}
	}
	return g.Accepts(state), true
}

func TestJSONGrammar(t *testing.T) {
	s, _ := LookupSpec("dansk")
	g := listsOf(s.Labels)
	for _, c := range []struct {
		text string
		ok   bool
	}{
		{`{"person": [], "sted": [], "organisation": [], "diverse": []}`, true},
		{` {"person": ["Åse Holm", "😀"], "sted": ["Ærø"], "organisation": [], "diverse": []}`, true},
		{`{"person": ["a", "b", "c", "d", "e"], "sted": [], "organisation": [], "diverse": []}`, true},
		{`{"person": ["a", "b", "c", "d", "e", "f"], "sted": [], "organisation": [], "diverse": []}`, false},
		{`{"person": [""], "sted": [], "organisation": [], "diverse": []}`, false},
		{`{"person": ["a",], "sted": [], "organisation": [], "diverse": []}`, false},
		{`{"person": [, "a"], "sted": [], "organisation": [], "diverse": []}`, false},
		{`{"sted": [], "person": [], "organisation": [], "diverse": []}`, false},
		{"{\"person\": [\"a\nb\"], \"sted\": [], \"organisation\": [], \"diverse\": []}", false},
		{"{\"person\": [\"\xff\"]", false},
		{`{"person": []}`, false},
		{`{}`, false},
		{``, false},
	} {
		if got, _ := writes(g, c.text); got != c.ok {
			t.Errorf("%s: whole %v, want %v", c.text, got, c.ok)
		}
	}
	if _, ok := writes(g, `{"person": ["Åse`); !ok {
		t.Error("a beginning is refused")
	}
}

// Every right answer of a data set can be written under its grammar, and is read back as it was.
func TestGrammarAllowsRightAnswers(t *testing.T) {
	s, _ := LookupSpec("dansk")
	r := Row{Tokens: strings.Fields("Åse Holm bor i Ribe ."), Tags: []string{"B-PER", "I-PER", "O", "O", "B-LOC", "O"}}
	answer := entityAnswer(&s, &r)
	if ok, _ := writes(listsOf(s.Labels), answer); !ok {
		t.Errorf("the grammar does not allow %s", answer)
	}
	lists, ok := readEntities(answer)
	if !ok || strings.Join(tagsByTokens(&s, r.Tokens, lists), " ") != "b-per i-per o o b-loc o" {
		t.Errorf("read back as %v", lists)
	}
}
