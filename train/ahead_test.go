package train

import (
	"errors"
	"slices"
	"testing"
	"time"

	"ravn/model"
	"ravn/shard"
)

// slow is a source of eight steps that tells when two calls come at once, and which steps were read.
type slow struct {
	t    *testing.T
	busy chan struct{}
	read []int
}

func (s *slow) alone(f func()) {
	select {
	case s.busy <- struct{}{}:
	default:
		s.t.Error("the source was asked twice at a time")
		return
	}
	time.Sleep(2 * time.Millisecond)
	f()
	<-s.busy
}

func (s *slow) Batch(step int) (b *model.Batch, err error) {
	s.alone(func() {
		if s.read = append(s.read, step); step > 8 {
			err = errors.New("no such step")
			return
		}
		b = &model.Batch{B: 1, T: 1, Tokens: []int32{int32(step)}}
	})
	return b, err
}

func (s *slow) HashTo(int) (h string) {
	s.alone(func() { h = "h" })
	return h
}

func (s *slow) Spans(step int) (x []shard.Span, err error) {
	s.alone(func() { x = make([]shard.Span, step) })
	return x, nil
}

// TestAhead: each batch is that of its step, forwards and after a step back; each step is read once on the way forwards; an error
// comes with its own step alone.
func TestAhead(t *testing.T) {
	s := &slow{t: t, busy: make(chan struct{}, 1)}
	a := NewAhead(s)
	for _, step := range []int{1, 2, 3, 4, 2, 3, 8} {
		b, err := a.Batch(step)
		if err != nil || b.Tokens[0] != int32(step) {
			t.Fatalf("step %d: %v, %v", step, b, err)
		}
		if spans, err := a.Spans(step); err != nil || len(spans) != step || a.HashTo(step) != "h" {
			t.Errorf("step %d: %d spans, %v", step, len(spans), err)
		}
	}
	if _, err := a.Batch(9); err == nil {
		t.Error("a step that is not there was read")
	}
	a.Close()
	if want := []int{1, 2, 3, 4, 5, 2, 3, 4, 8, 9}; !slices.Equal(s.read, want) {
		t.Errorf("steps %v were read, want %v", s.read, want)
	}
}
