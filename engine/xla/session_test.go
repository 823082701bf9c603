package xla

import (
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"ravn/model"
)

func text(r *rand.Rand, n, vocab int) []int32 {
	out := make([]int32, n)
	for i := range out {
		out[i] = int32(r.IntN(vocab))
	}
	return out
}

// TestSessionsTogether appends to seven sessions of two sizes and unlike lengths in one call, some with many tokens, some
// with one, some with logits from the middle on, some with none, and compares with engine/ref over each whole text. Then
// each goes on by a token, all in one pass. Tolerance as in TestAgainstReference.
func TestSessionsTogether(t *testing.T) {
	for _, v := range []variant{variants()[1], variants()[4]} {
		e, r := pair(t, v, Options{})
		rng := rand.New(rand.NewPCG(3, 3))
		V := v.cfg.VocabSize
		type one struct {
			before, add, from int
			text              []int32
			session           *Session
			logits            []float32
		}
		var all []*one
		var pieces []Piece
		for i, n := range [][3]int{{0, 9, 0}, {4, 1, 0}, {2, 7, 5}, {9, 1, 1}, {0, 14, 13}, {5, 1, 0}, {3, 2, 1}} {
			x := &one{before: n[0], add: n[1], from: n[2], text: text(rng, n[0]+n[1]+1, V)}
			var err error
			if x.session, err = e.NewSession(16 + i%2*4); err != nil {
				t.Fatal(err)
			}
			if err := x.session.Append(x.text[:x.before], nil, x.before); err != nil {
				t.Fatal(err)
			}
			x.logits = make([]float32, (x.add-x.from)*V)
			all = append(all, x)
			pieces = append(pieces, Piece{Session: x.session, Tokens: x.text[x.before : x.before+x.add], Logits: x.logits, From: x.from})
		}
		check := func(i int, got []float32, from, to int) {
			t.Helper()
			want, err := r.Logits(all[i].text[:to])
			if err != nil {
				t.Fatal(err)
			}
			if d := far(got, want[from*V:to*V]); len(got) > 0 && !(d < 1e-5*coarse(e)) {
				t.Errorf("%s: session %d: logits of tokens %d to %d are off by %.2g", v.name, i, from, to, d)
			}
		}
		if err := e.Append(pieces); err != nil {
			t.Fatal(err)
		}
		for i, x := range all {
			check(i, x.logits, x.before+x.from, x.before+x.add)
			if x.session.Len() != x.before+x.add {
				t.Errorf("session %d has %d tokens, want %d", i, x.session.Len(), x.before+x.add)
			}
			x.logits = make([]float32, V)
			pieces[i] = Piece{Session: x.session, Tokens: x.text[x.before+x.add:], Logits: x.logits}
		}
		if err := e.Append(pieces); err != nil {
			t.Fatal(err)
		}
		for i, x := range all {
			check(i, x.logits, len(x.text)-1, len(x.text))
		}
	}
}

// TestCopyFrom: sessions of other sizes go on from what another has read, and it from where it was.
func TestCopyFrom(t *testing.T) {
	v := variants()[4]
	e, r := pair(t, v, Options{})
	rng := rand.New(rand.NewPCG(5, 3))
	V := v.cfg.VocabSize
	prefix := text(rng, 8, V)
	src, err := e.NewSession(12)
	if err != nil {
		t.Fatal(err)
	}
	if err := src.Append(prefix, nil, 8); err != nil {
		t.Fatal(err)
	}
	for _, size := range []int{9, 12, 20} {
		s, err := e.NewSession(size)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Append(text(rng, 9, V), nil, 9); err != nil { // what lies under the copy must not show
			t.Fatal(err)
		}
		keep := min(size-2, 8)
		if err := s.CopyFrom(src, keep); err != nil {
			t.Fatal(err)
		}
		whole := slices.Concat(prefix[:keep], text(rng, 2, V))
		got := make([]float32, 2*V)
		if err := s.Append(whole[keep:], got, 0); err != nil {
			t.Fatal(err)
		}
		want, err := r.Logits(whole)
		if err != nil {
			t.Fatal(err)
		}
		if d := far(got, want[keep*V:]); !(d < 1e-5*coarse(e)) {
			t.Errorf("size %d: logits after the copy are off by %.2g", size, d)
		}
	}
	got := make([]float32, V)
	if err := src.Append(prefix[:1], got, 0); err != nil {
		t.Fatal(err)
	}
	want, err := r.Logits(slices.Concat(prefix, prefix[:1]))
	if err != nil {
		t.Fatal(err)
	}
	if d := far(got, want[8*V:]); !(d < 1e-5*coarse(e)) {
		t.Errorf("the source goes on with logits that are off by %.2g", d)
	}
	other, _ := pair(t, v, Options{})
	foreign, err := other.NewSession(4)
	if err != nil {
		t.Fatal(err)
	}
	for what, err := range map[string]error{
		"not of one engine":          foreign.CopyFrom(src, 1),
		"9 tokens of":                func() error { s, _ := e.NewSession(4); return s.CopyFrom(src, 9) }(),
		"comes twice":                e.Append([]Piece{{Session: src}, {Session: src}}),
		"not of this engine":         e.Append([]Piece{{Session: foreign}}),
		"logits wanted from token 3": e.Append([]Piece{{Session: src, Tokens: prefix[:2], From: 3}}),
	} {
		if err == nil || !strings.Contains(err.Error(), what) {
			t.Errorf("%v, want %q", err, what)
		}
	}
}

// TestLogProbabilities: what a session says of each token is what Loss says of the row.
func TestLogProbabilities(t *testing.T) {
	v := variants()[4]
	e, _ := pair(t, v, Options{})
	V, n := v.cfg.VocabSize, 13
	tokens := text(rand.New(rand.NewPCG(9, 3)), n+1, V)
	nll := make([]float32, n)
	if err := e.Loss(nll, &model.Batch{B: 1, T: n, Tokens: tokens[:n], Targets: tokens[1:]}); err != nil {
		t.Fatal(err)
	}
	s, err := e.NewSession(n)
	if err != nil {
		t.Fatal(err)
	}
	logits := make([]float32, n*V)
	if err := s.Append(tokens[:n], logits, 0); err != nil {
		t.Fatal(err)
	}
	for i := range n {
		sum := 0.0
		for _, x := range logits[i*V : (i+1)*V] {
			sum += math.Exp(float64(x))
		}
		if want := math.Log(sum) - float64(logits[i*V+int(tokens[i+1])]); math.Abs(float64(nll[i])-want) > 1e-5*coarse(e)*want {
			t.Errorf("token %d: loss %g, log-probability of the session's logits %g", i, nll[i], -want)
		}
	}
	s.Close()
	if err := s.Append(tokens[:1], logits, 0); err == nil {
		t.Error("a closed session takes tokens")
	}
}
