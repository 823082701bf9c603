package eval

import (
	"strings"
	"testing"
)

// digits in square brackets, at most four of them.
type bracketed struct{}

func (bracketed) Name() string           { return "bracketed" }
func (bracketed) Start() int             { return 0 }
func (bracketed) Accepts(state int) bool { return state == 6 }
func (bracketed) Next(state int, b byte) (int, bool) {
	switch {
	case state == 0 && b == '[':
		return 1, true
	case state >= 1 && state <= 5 && b == ']':
		return 6, true
	case state >= 1 && state <= 4 && b >= '0' && b <= '9':
		return state + 1, true
	}
	return state, false
}

// A model that would rather write anything else keeps to the grammar, ends where the text is complete, and is the same
// for any number of threads.
func TestGenerateKeepsToTheGrammar(t *testing.T) {
	e := &hashEngine{favour: func([]int32) int32 { return 'x' }}
	var prompts []GeneratePrompt
	for _, p := range []string{"a", "b", "c", "d", "e"} {
		prompts = append(prompts, GeneratePrompt{Prompt: p, MaxTokens: 20, Grammar: bracketed{}})
	}
	var texts []string
	for _, threads := range []int{1, 3} {
		got, err := newHash(t, e, byteTokens{}, LocalOptions{Threads: threads}).Generate(t.Context(), prompts)
		if err != nil {
			t.Fatal(err)
		}
		var all []string
		for _, g := range got {
			inner := strings.TrimSuffix(strings.TrimPrefix(g.Text, "["), "]")
			if len(inner)+2 != len(g.Text) || len(inner) > 4 || strings.Trim(inner, "0123456789") != "" {
				t.Errorf("%q is not what the grammar allows", g.Text)
			}
			all = append(all, g.Text)
		}
		texts = append(texts, strings.Join(all, " "))
	}
	if texts[0] != texts[1] {
		t.Errorf("one thread wrote %s, three %s", texts[0], texts[1])
	}
	free, err := newHash(t, e, byteTokens{}, LocalOptions{}).Generate(t.Context(), []GeneratePrompt{{Prompt: "a", MaxTokens: 3}})
	if err != nil || free[0].Text != "xxx" {
		t.Errorf("without a grammar: %q, %v", free[0].Text, err)
	}
}
