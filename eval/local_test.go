package eval

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// hashEngine is a language model whose logits are a hash of everything before them, so that a wrong cache, a wrong
// window or a wrong cut changes every number.
type hashEngine struct {
	vocab    int
	appended atomic.Int64
	favour   func(prefix []int32) int32 // token that gets the highest logit; nil: none
}

type hashSession struct {
	e      *hashEngine
	max    int
	tokens []int32
}

func (e *hashEngine) NewSession(n int) (*hashSession, error) { return &hashSession{e: e, max: n}, nil }
func (s *hashSession) Len() int                              { return len(s.tokens) }
func (s *hashSession) Truncate(n int)                        { s.tokens = s.tokens[:n] }

func (s *hashSession) Append(tokens []int32, logits []float32, from int) error {
	if len(s.tokens)+len(tokens) > s.max {
		return fmt.Errorf("session of %d is full", s.max)
	}
	s.e.appended.Add(int64(len(tokens)))
	for i, id := range tokens {
		s.tokens = append(s.tokens, id)
		if i >= from {
			copy(logits[(i-from)*s.e.vocab:], s.e.logits(s.tokens))
		}
	}
	return nil
}

func (e *hashEngine) logits(prefix []int32) []float32 {
	h := uint64(14695981039346656037)
	for _, id := range prefix {
		h = (h ^ uint64(id+1)) * 1099511628211
	}
	r := rand.New(rand.NewPCG(h, 1))
	out := make([]float32, e.vocab)
	for i := range out {
		out[i] = float32(4 * r.Float64())
	}
	if e.favour != nil {
		out[e.favour(prefix)] = 9
	}
	return out
}

// byteTokens has one token a byte, BOS 256, EOS 257.
type byteTokens struct{ noBOS bool }

func (b byteTokens) EncodeText(dst []int32, text string) []int32 { return b.Encode(dst, text) }

func (byteTokens) Encode(dst []int32, text string) []int32 {
	for _, b := range []byte(text) {
		dst = append(dst, int32(b))
	}
	return dst
}

func (byteTokens) Decode(ids []int32) string {
	b := make([]byte, len(ids))
	for i, id := range ids {
		b[i] = byte(id)
	}
	return string(b)
}

func (t byteTokens) BOS() int32 {
	if t.noBOS {
		return -1
	}
	return 256
}
func (byteTokens) EOS() int32 { return 257 }
func (byteTokens) Size() int  { return 258 }
func (byteTokens) Surface(id int32) string {
	if id > 255 {
		return ""
	}
	return string([]byte{byte(id)})
}

func newHash(t *testing.T, e *hashEngine, tok Tokenizer, o LocalOptions) *Local {
	t.Helper()
	e.vocab = 258
	l, err := NewLocal(EngineOf(e.NewSession), tok, Info{Name: "hash", VocabSize: 258, MaxTokens: 4096}, o)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// nats is the loss of ids[from:] by brute force, everything before them as context.
func (e *hashEngine) nats(ids []int32, from int) float64 {
	var sum float64
	for i := from; i < len(ids); i++ {
		row := e.logits(ids[:i])
		sum += logSumExp(row) - float64(row[ids[i]])
	}
	return sum
}

func TestChoiceScores(t *testing.T) {
	e := &hashEngine{}
	l := newHash(t, e, byteTokens{}, LocalOptions{Threads: 2})
	p := ChoicePrompt{Prompt: "Sætning: hej\nKorrekt:", Choices: []string{" ja", " nej", "!"}}
	got, err := l.ChoiceScores(t.Context(), []ChoicePrompt{p})
	if err != nil {
		t.Fatal(err)
	}
	ctx := l.encode(p.Prompt)
	for i, c := range p.Choices {
		whole := l.encode(p.Prompt + c)
		if want := -e.nats(whole, len(ctx)); math.Abs(got[0][i].LogProb-want) > 1e-5 {
			t.Errorf("%q: log-probability %v, by brute force %v", c, got[0][i].LogProb, want)
		}
		if want := -e.nats(whole[:len(ctx)+1], len(ctx)); math.Abs(got[0][i].FirstToken-want) > 1e-5 {
			t.Errorf("%q: first token %v, by brute force %v", c, got[0][i].FirstToken, want)
		}
		if got[0][i].Tokens != len(c) {
			t.Errorf("%q: %d tokens, want %d", c, got[0][i].Tokens, len(c))
		}
	}
}

// Promise: neither the order of prompts nor the number of sessions changes a number, and shared beginnings are
// computed once.
func TestOrderAndThreadsDoNotMatter(t *testing.T) {
	var prompts []ChoicePrompt
	shots := strings.Repeat("Eksempel: godt. Svar: ja\n\n", 20)
	for i := range 40 {
		prompts = append(prompts, ChoicePrompt{Prompt: shots + fmt.Sprintf("Nummer %d:", i*37%40), Choices: []string{" ja", " nej"}})
	}
	ask := func(threads int, ps []ChoicePrompt) ([][]ChoiceScore, int64) {
		e := &hashEngine{}
		got, err := newHash(t, e, byteTokens{}, LocalOptions{Threads: threads}).ChoiceScores(t.Context(), ps)
		if err != nil {
			t.Fatal(err)
		}
		return got, e.appended.Load()
	}
	want, computed := ask(1, prompts)
	if limit := int64(len(shots) + 40*40); computed > limit {
		t.Errorf("one session computed %d tokens, want at most %d: shared beginnings are not reused", computed, limit)
	}
	if got, _ := ask(3, prompts); !cmp.Equal(got, want) {
		t.Error("three sessions give other scores than one")
	}
	reversed := make([]ChoicePrompt, len(prompts))
	for i, p := range prompts {
		reversed[len(prompts)-1-i] = p
	}
	got, _ := ask(2, reversed)
	for i := range got {
		if !cmp.Equal(got[len(got)-1-i], want[i]) {
			t.Fatalf("prompt %d scores otherwise in reverse order", i)
		}
	}
}

func TestLongPromptIsCutOnTheLeft(t *testing.T) {
	e := &hashEngine{}
	l := newHash(t, e, byteTokens{}, LocalOptions{Threads: 1, ContextTokens: 16})
	prompt := strings.Repeat("x", 30) + "spørg"
	got, err := l.ChoiceScores(t.Context(), []ChoicePrompt{{Prompt: prompt, Choices: []string{" ja"}}})
	if err != nil {
		t.Fatal(err)
	}
	all := l.encode(prompt + " ja") // BOS, 36 bytes of prompt, 3 of the choice
	kept := append([]int32{256}, all[len(all)-15:]...)
	if want := -e.nats(kept, 13); math.Abs(got[0][0].LogProb-want) > 1e-5 {
		t.Errorf("log-probability %v, with BOS and the last 12 bytes %v", got[0][0].LogProb, want)
	}
	if got[0][0].Truncated != 24 {
		t.Errorf("%d tokens cut, want 24", got[0][0].Truncated)
	}
}

func TestGenerateStops(t *testing.T) {
	answer := "Aarhus\n\nTekst: mere"
	prompt := "Spørgsmål: hvor?\nSvar:"
	start := len(prompt) + 1
	e := &hashEngine{favour: func(prefix []int32) int32 {
		if at := len(prefix) - start; at < len(answer) {
			return int32(answer[at])
		}
		return 257
	}}
	l := newHash(t, e, byteTokens{}, LocalOptions{Threads: 1})
	for _, c := range []struct {
		max    int
		stop   []string
		text   string
		tokens int
	}{
		{32, []string{"\n\n"}, "Aarhus", 8},
		{4, []string{"\n\n"}, "Aarh", 4},
		{32, nil, answer, len(answer)}, // ends by EOS
		{32, []string{"mere", "s"}, "Aarhu", 6},
	} {
		got, err := l.Generate(t.Context(), []GeneratePrompt{{Prompt: prompt, MaxTokens: c.max, Stop: c.stop}})
		if err != nil {
			t.Fatal(err)
		}
		if want := (Generation{Text: c.text, Tokens: c.tokens}); got[0] != want {
			t.Errorf("max %d, stop %q: got %+v, want %+v", c.max, c.stop, got[0], want)
		}
	}
	if _, err := l.Generate(t.Context(), []GeneratePrompt{{Prompt: "x"}}); err == nil || !strings.Contains(err.Error(), "0 tokens to generate") {
		t.Errorf("no length: got error %v", err)
	}
}

func TestWindowsCoverEachTokenOnce(t *testing.T) {
	for n := range 70 {
		for _, size := range []int{4, 5, 8, 31, 64} {
			for bos := range 2 {
				at := 1 - bos
				for i, w := range windows(0, n, size, bos) {
					if w.from != at || w.to <= w.from || w.to > n {
						t.Fatalf("n %d, size %d: window %d is %+v, want it to begin at %d", n, size, i, w, at)
					}
					if input := bos + w.to - 1 - w.start; input > size || w.start < 0 {
						t.Fatalf("n %d, size %d: window %+v has %d tokens of input", n, size, w, input)
					}
					if i > 0 && bos+w.from-w.start < size/2 {
						t.Fatalf("n %d, size %d: window %+v leaves less than half a window of context", n, size, w)
					}
					at = w.to
				}
				if at != max(n, 1-bos) {
					t.Fatalf("n %d, size %d: %d of the tokens are scored", n, size, at)
				}
			}
		}
	}
}

func TestTextLoss(t *testing.T) {
	e := &hashEngine{}
	text := strings.Repeat("En ræv bag øen. ", 12) // 216 bytes
	texts := []string{text, "kort", "", text[:64]}
	one := newHash(t, e, byteTokens{}, LocalOptions{Threads: 1, WindowTokens: 64})
	got, err := one.TextLoss(t.Context(), texts)
	if err != nil {
		t.Fatal(err)
	}
	// By hand: 64 tokens, then 32 a window, each after BOS and the 31 or more before it.
	all := byteTokens{}.Encode(nil, text)
	want := e.nats(append([]int32{256}, all[:64]...), 1)
	for at := 64; at < len(all); at += 32 {
		to := min(at+32, len(all))
		input := append([]int32{256}, all[to-64:to]...)
		want += e.nats(input, len(input)-(to-at))
	}
	if math.Abs(got[0].NLL-want) > 1e-3 || got[0].Tokens != 216 || got[0].Bytes != len(text) {
		t.Errorf("got %+v, by hand %v nats over %d tokens", got[0], want, len(all))
	}
	if got[2] != (TextLoss{}) {
		t.Errorf("empty text: got %+v", got[2])
	}
	if whole := e.nats(append([]int32{256}, all[:64]...), 1); math.Abs(got[3].NLL-whole) > 1e-3 {
		t.Errorf("a text of one window: got %v, want %v", got[3].NLL, whole)
	}
	many, err := newHash(t, &hashEngine{}, byteTokens{}, LocalOptions{Threads: 3, WindowTokens: 64}).TextLoss(t.Context(), texts)
	if err != nil {
		t.Fatal(err)
	}
	if !cmp.Equal(got, many) {
		t.Errorf("three sessions: %+v, one: %+v", many, got)
	}
	bare, err := newHash(t, &hashEngine{}, byteTokens{noBOS: true}, LocalOptions{WindowTokens: 64}).TextLoss(t.Context(), texts[:2])
	if err != nil {
		t.Fatal(err)
	}
	if bare[1].Tokens != 3 {
		t.Errorf("without BOS %d of 4 tokens are scored, want 3", bare[1].Tokens)
	}
}

func TestCancelledCallReturns(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	l := newHash(t, &hashEngine{}, byteTokens{}, LocalOptions{})
	if _, err := l.TextLoss(ctx, []string{"hej"}); err == nil {
		t.Error("a cancelled call gave a result")
	}
}

func TestWrongTokenizer(t *testing.T) {
	e := &hashEngine{vocab: 200}
	_, err := NewLocal(EngineOf(e.NewSession), byteTokens{}, Info{Name: "m", VocabSize: 200}, LocalOptions{})
	if want := "eval: m: the tokenizer has 258 pieces, the model scores 200"; err == nil || !strings.HasPrefix(err.Error(), want) {
		t.Errorf("got %v, want %q", err, want)
	}
}

func TestDummyIsFair(t *testing.T) {
	d := NewDummy(3)
	won := make([]int, 3)
	var prompts []ChoicePrompt
	for i := range 3000 {
		prompts = append(prompts, ChoicePrompt{Prompt: fmt.Sprint("spørgsmål ", i), Choices: []string{" a", " b", " c"}})
	}
	got, err := d.ChoiceScores(t.Context(), prompts)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range got {
		best := 0
		for j := range s {
			if s[j].LogProb > s[best].LogProb {
				best = j
			}
		}
		won[best]++
	}
	for j, n := range won { // 1000 ± 26
		if n < 900 || n > 1100 {
			t.Errorf("choice %d won %d of 3000", j, n)
		}
	}
	loss, _ := d.TextLoss(t.Context(), []string{"ræv"})
	if bits := loss[0].NLL / math.Ln2 / float64(loss[0].Bytes); math.Abs(bits-8) > 1e-12 {
		t.Errorf("%v bits per byte, want 8", bits)
	}
}
