package cpu

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"ravn/engine/ref"
	"ravn/model"
)

// TestSlideChangesNothing goes through 900 tokens with a window of 40, of which a session that slides keeps 295 at most:
// in pieces of many sizes, with the cache in both formats, the logits are the bits of a session that keeps everything.
func TestSlideChangesNothing(t *testing.T) {
	c := wide(func(c *model.Config) { c.SlidingWindow, c.MaxPositionEmbeddings = 40, 1000 })
	ts := inFormat(weights(c, 13), only(model.F32))
	tokens := batch(c, 14, 1, 900).Tokens
	for _, cache := range []model.DType{model.F32, model.BF16} {
		want := extend(t, newSession(t, open(t, c, ts, Options{Threads: 1, Cache: cache}), 900), tokens)
		e := open(t, c, ts, Options{Threads: 2, Cache: cache, Slide: true})
		r := rand.New(rand.NewPCG(15, 16))
		for trial, most := range []int{7, 300, 900} {
			s := newSession(t, e, 900)
			if s.places != 295 {
				t.Fatalf("%d places, want 39 and 256", s.places)
			}
			s.UseThreads(trial%2 == 0)
			var got []float32
			for s.Len() < 900 {
				n := min(900-s.Len(), 1+r.IntN(most))
				got = append(got, extend(t, s, tokens[s.Len():s.Len()+n])...)
				if keep := s.Len(); keep > 20 && keep < 890 && r.IntN(3) == 0 { // astray and back, within what is kept
					extend(t, s, []int32{5, 6, 7})
					s.Truncate(keep)
					if s.Len() != keep && s.base <= e.firstKey(keep) {
						t.Fatalf("%d tokens are left of %d", s.Len(), keep)
					}
					if s.Len() == 0 {
						extend(t, s, tokens[:keep])
					}
				}
			}
			if !slices.Equal(got, want) {
				t.Errorf("%s, pieces of up to %d: logits differ", cache, most)
			}
		}
	}
}

// TestSlideLetsGo goes back to where keys are gone, and copies from there.
func TestSlideLetsGo(t *testing.T) {
	c := wide(func(c *model.Config) { c.SlidingWindow, c.MaxPositionEmbeddings = 10, 1000 })
	e := open(t, c, inFormat(weights(c, 17), only(model.BF16)), Options{Slide: true, Cache: model.BF16})
	tokens := batch(c, 18, 1, 700).Tokens
	whole := extend(t, newSession(t, e, 700), tokens)
	s := newSession(t, e, 700)
	extend(t, s, tokens)
	after := func(s *Session, n int) {
		t.Helper()
		if !slices.Equal(extend(t, s, tokens[n:]), whole[n*c.VocabSize:]) {
			t.Errorf("after %d tokens the logits differ", n)
		}
	}
	// Places for 9 + 256: the passes of 256, 256 and 188 tokens began with 0, 247 (which 256 sees) and 503.
	if s.base != 503 {
		t.Fatalf("the first key is %d, want 503", s.base)
	}
	small := newSession(t, e, 520) // keeps as many positions
	for _, tc := range []struct {
		n    int
		want string
	}{{600, "engine/cpu: copy: 600 tokens of 700 to a session for 520"}, {512, "<nil>"}, {500, "engine/cpu: copy: keys that follow 500 tokens were let go of (Options.Slide)"}} {
		if err := small.CopyFrom(s, tc.n); fmt.Sprint(err) != tc.want {
			t.Errorf("copy of %d: %v, want %s", tc.n, err, tc.want)
		}
	}
	if !slices.Equal(extend(t, small, tokens[512:520]), whole[512*c.VocabSize:520*c.VocabSize]) {
		t.Error("after a copy the logits differ")
	}
	other := newSession(t, e, 700)
	if err := other.CopyFrom(s, 690); err != nil {
		t.Fatal(err)
	}
	after(other, 690)
	s.Truncate(512)
	if s.Len() != 512 {
		t.Fatalf("%d tokens are left, want 512", s.Len())
	}
	after(s, 512)
	if s.Truncate(511); s.Len() != 0 || s.base != 0 {
		t.Errorf("%d tokens are left from %d on, want none: 511 sees key 502", s.Len(), s.base)
	}
	after(s, 0)
}

// TestCacheBF16 compares logits with keys and values in bfloat16 with engine/ref, and counts the memory.
func TestCacheBF16(t *testing.T) {
	for _, window := range []int{0, 9} {
		c := wide(func(c *model.Config) { c.SlidingWindow = window })
		ts := inFormat(weights(c, 19), only(model.F32))
		r, err := ref.New[float64](widened(t, c, ts))
		if err != nil {
			t.Fatal(err)
		}
		tokens := batch(c, 20, 1, 70).Tokens
		want, err := r.Logits(tokens)
		if err != nil {
			t.Fatal(err)
		}
		e := open(t, c, ts, Options{Threads: 2, Cache: model.BF16})
		s := newSession(t, e, 70)
		got := append(extend(t, s, tokens[:1]), extend(t, s, tokens[1:])...)
		// Keys and values are rounded by up to 2^-9 of each, in every layer: some tenths of a percent.
		if d := apart(got, want); !(d <= 0.01) || d < 1e-5 {
			t.Errorf("window %d: logits are %.3g apart, want up to 0.01 and more than those of a cache in float32", window, d)
		}
		// 2 bytes of each element; keys of 70 positions are 80 apart.
		if got, want := SessionBytes(c, e.o, 70), int64(2*e.L*e.KV*(80+70)); got != want || 2*got != SessionBytes(c, Options{}, 70) {
			t.Errorf("window %d: a session takes %d bytes, want %d", window, got, want)
		}
	}
	if _, err := Open(wide(), nil, Options{Cache: model.Q8_0}); fmt.Sprint(err) != `engine/cpu: keys and values in "Q8_0", must be F32 or BF16` {
		t.Error(err)
	}
}
