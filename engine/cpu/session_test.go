package cpu

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"ravn/kernel"
	"ravn/model"
)

func newSession(t testing.TB, e *Engine, tokens int) *Session {
	t.Helper()
	s, err := e.NewSession(tokens)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// extend appends and returns the logits of all tokens.
func extend(t testing.TB, s *Session, tokens []int32) []float32 {
	t.Helper()
	logits := make([]float32, len(tokens)*s.e.V)
	if err := s.Append(tokens, logits, 0); err != nil {
		t.Fatal(err)
	}
	return logits
}

// TestSessionCuts appends the same 400 tokens in pieces of many sizes, with and without threads, after other tokens
// that are truncated away, and together with other sessions: the logits are the same bits. So are the losses that
// Engine.Loss computes.
func TestSessionCuts(t *testing.T) {
	for _, window := range []int{0, 70} {
		c := config(func(c *model.Config) { c.SlidingWindow = window })
		w := weights(c, 21)
		e := newEngine(t, w, Options{Threads: 2, MaxTokens: 400})
		b := batch(c, 22, 1, 400)
		want := extend(t, newSession(t, e, 400), b.Tokens)

		r := rand.New(rand.NewPCG(1, 2))
		for trial, most := range []int{1, 3, 20, 63, 64, 65, 130, 300, 400} {
			s := newSession(t, e, 400+trial)
			s.UseThreads(trial%2 == 0)
			extend(t, s, b.Tokens[200:][:trial*7])
			s.Truncate(0)
			var got []float32
			for s.Len() < 400 {
				n := min(400-s.Len(), 1+r.IntN(most))
				at := s.Len()
				got = append(got, extend(t, s, b.Tokens[at:at+n])...)
				if r.IntN(4) == 0 { // go a little astray, and back
					keep := s.Len()
					if keep+2 <= s.max {
						extend(t, s, []int32{1, 2})
					}
					s.Truncate(keep)
				}
			}
			if !slices.Equal(got, want) {
				t.Errorf("window %d, pieces of up to %d: logits differ", window, most)
			}
		}
		nll := make([]float32, 400)
		kernel.CrossEntropy(nil, nll, want, b.Targets, 400, c.VocabSize, 0, false)
		if !slices.Equal(losses(t, e, b), nll) {
			t.Errorf("window %d: losses of Loss and of a session differ", window)
		}
	}
}

// TestSessionsTogether appends to several sessions in one call, wanting logits from different places.
func TestSessionsTogether(t *testing.T) {
	c := config()
	e := newEngine(t, weights(c, 31), Options{Threads: 2, Inference: true})
	var pieces, alone []Piece
	for i, n := range []int{40, 1, 300, 25, 0, 60} {
		for _, list := range []*[]Piece{&pieces, &alone} {
			b := batch(c, uint64(i), 1, 10+n)
			p := Piece{Session: newSession(t, e, 400), Tokens: b.Tokens[10:], From: n * 2 / 3}
			p.Logits = make([]float32, (n-p.From)*c.VocabSize)
			extend(t, p.Session, b.Tokens[:10])
			*list = append(*list, p)
		}
	}
	if err := e.Append(pieces); err != nil {
		t.Fatal(err)
	}
	for i, p := range alone {
		if err := p.Session.Append(p.Tokens, p.Logits, p.From); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(pieces[i].Logits, p.Logits) {
			t.Errorf("piece %d: logits differ from those alone", i)
		}
		if pieces[i].Session.Len() != 10+len(p.Tokens) {
			t.Errorf("piece %d: length %d", i, pieces[i].Session.Len())
		}
	}
}

// TestSessionsSideBySide uses eight sessions of one engine in eight goroutines.
func TestSessionsSideBySide(t *testing.T) {
	c := config()
	e := newEngine(t, weights(c, 41), Options{Threads: 2, MaxTokens: 120})
	b := batch(c, 42, 1, 120)
	want := extend(t, newSession(t, e, 120), b.Tokens)
	var wg sync.WaitGroup
	got := make([][]float32, 8)
	for i := range got {
		s := newSession(t, e, 120)
		s.UseThreads(i%3 == 0)
		wg.Add(1)
		go func() {
			defer wg.Done()
			for s.Len() < 120 {
				n := min(120-s.Len(), 7+i)
				logits := make([]float32, n*c.VocabSize)
				if err := s.Append(b.Tokens[s.Len():s.Len()+n], logits, 0); err != nil {
					t.Error(err)
					return
				}
				got[i] = append(got[i], logits...)
			}
		}()
	}
	wg.Wait()
	for i := range got {
		if !slices.Equal(got[i], want) {
			t.Errorf("session %d: logits differ", i)
		}
	}
}

// TestSessionReadsNewWeights appends before and after the weights change.
func TestSessionReadsNewWeights(t *testing.T) {
	for _, tied := range []bool{false, true} {
		c := config(func(c *model.Config) { c.TieWordEmbeddings = tied; c.VocabSize = 130 })
		b := batch(c, 61, 1, 30)
		e := newEngine(t, weights(c, 61), Options{MaxTokens: 30})
		before := extend(t, newSession(t, e, 30), b.Tokens)
		accumulate(t, e, b, 1)
		u := step
		u.Step = 1
		if err := e.Update(u); err != nil {
			t.Fatal(err)
		}
		after := extend(t, newSession(t, e, 30), b.Tokens)
		if slices.Equal(before, after) {
			t.Errorf("tied %v: an update did not reach a session", tied)
		}
		if err := e.SetState(model.State{Params: weights(c, 61).Params}); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(before, extend(t, newSession(t, e, 30), b.Tokens)) {
			t.Errorf("tied %v: old weights do not give the old logits", tied)
		}
	}
}

// TestSessionCopies goes on from the first tokens of another session.
func TestSessionCopies(t *testing.T) {
	c := config()
	e := newEngine(t, weights(c, 71), Options{Inference: true})
	tokens := batch(c, 72, 1, 90).Tokens
	want := extend(t, newSession(t, e, 90), tokens)
	src := newSession(t, e, 300)
	extend(t, src, tokens[:70])
	extend(t, src, []int32{3, 4})
	for _, n := range []int{0, 1, 33, 70} {
		s := newSession(t, e, 90+n)
		extend(t, s, []int32{9, 8, 7})
		if err := s.CopyFrom(src, n); err != nil || s.Len() != n {
			t.Fatalf("copy of %d: length %d, %v", n, s.Len(), err)
		}
		if !slices.Equal(extend(t, s, tokens[n:]), want[n*c.VocabSize:]) {
			t.Errorf("after a copy of %d tokens the logits differ", n)
		}
	}
	if err := src.CopyFrom(src, 70); err != nil || src.Len() != 70 {
		t.Errorf("copy to itself: length %d, %v", src.Len(), err)
	}
	other := newSession(t, newEngine(t, weights(c, 71), Options{Inference: true}), 90)
	for _, tc := range []struct {
		want string
		err  error
	}{
		{"engine/cpu: copy: the sessions are not of one engine", other.CopyFrom(src, 1)},
		{"engine/cpu: copy: the sessions are not of one engine", other.CopyFrom(nil, 1)},
		{"engine/cpu: copy: 71 tokens of 70 to a session for 90", newSession(t, e, 90).CopyFrom(src, 71)},
		{"engine/cpu: copy: 60 tokens of 70 to a session for 50", newSession(t, e, 50).CopyFrom(src, 60)},
	} {
		if fmt.Sprint(tc.err) != tc.want {
			t.Errorf("%v, want %s", tc.err, tc.want)
		}
	}
}

func TestSessionErrors(t *testing.T) {
	c := config(func(c *model.Config) { c.MaxPositionEmbeddings = 50 })
	w := weights(c, 51)
	e := newEngine(t, w, Options{Inference: true})
	other := newSession(t, newEngine(t, w, Options{Inference: true}), 5)
	for _, n := range []int{0, -1, 51} {
		want := fmt.Sprintf("engine/cpu: session of %d tokens, the model knows 1 to 50 positions (max_position_embeddings)", n)
		if _, err := e.NewSession(n); fmt.Sprint(err) != want {
			t.Errorf("session of %d: %v, want %s", n, err, want)
		}
	}
	s := newSession(t, e, 10)
	extend(t, s, []int32{1, 2, 3})
	place := make([]float32, 8*c.VocabSize)
	for _, tc := range []struct {
		name, want string
		pieces     []Piece
	}{
		{"too many", "engine/cpu: append: 8 tokens after 3, the session was made for 10 (max_position_embeddings is 50)", []Piece{{s, make([]int32, 8), place, 0}}},
		{"no place", "engine/cpu: append: place for 53 logits, 2 tokens of 53 need 106", []Piece{{s, []int32{1, 2}, place[:53], 0}}},
		{"from", "engine/cpu: append: logits wanted from token 3 of 2", []Piece{{s, []int32{1, 2}, place, 3}}},
		{"token", "engine/cpu: append: token 53 at place 1 is outside the vocabulary of 53", []Piece{{s, []int32{1, 53}, place, 0}}},
		{"twice", "engine/cpu: append: a session comes twice", []Piece{{s, []int32{1}, place, 0}, {s, []int32{1}, place, 0}}},
		{"other", "engine/cpu: append: the session is not of this engine", []Piece{{s, []int32{1}, place, 0}, {other, []int32{1}, place, 0}}},
		{"none", "engine/cpu: append: the session is not of this engine", []Piece{{}}},
	} {
		if err := e.Append(tc.pieces); fmt.Sprint(err) != tc.want {
			t.Errorf("%s: %v, want %s", tc.name, err, tc.want)
		}
		if s.Len() != 3 {
			t.Fatalf("%s: length %d after the error", tc.name, s.Len())
		}
	}
	if err := e.Append(nil); err != nil {
		t.Errorf("no pieces: %v", err)
	}
	for _, tc := range []struct{ n, want int }{{5, 3}, {2, 2}, {-4, 0}} {
		if s.Truncate(tc.n); s.Len() != tc.want {
			t.Errorf("Truncate(%d) leaves %d, want %d", tc.n, s.Len(), tc.want)
		}
	}
}
