package train

import (
	"ravn/model"
	"ravn/shard"
)

// Ahead is a Source that reads the batch after the one that was asked for while the step is computed, so that an engine whose
// devices do the work does not wait for a disk. The source behind it is never asked twice at a time. One goroutine uses it.
type Ahead struct {
	source Source
	step   int // that is being read; 0 is none
	read   chan fetched
}

// fetched is what Batch gave.
type fetched struct {
	b   *model.Batch
	err error
}

// NewAhead reads ahead from s. Close it before s.
func NewAhead(s Source) *Ahead { return &Ahead{source: s, read: make(chan fetched, 1)} }

// wait is the batch that was being read, and its step; 0 is none.
func (a *Ahead) wait() (step int, f fetched) {
	if a.step == 0 {
		return 0, f
	}
	step, a.step = a.step, 0
	return step, <-a.read
}

// Batch is that of the source behind it. An error of the batch ahead is told when that is asked for.
func (a *Ahead) Batch(step int) (*model.Batch, error) {
	at, f := a.wait()
	if at != step {
		f.b, f.err = a.source.Batch(step)
	}
	if f.err == nil {
		a.step = step + 1
		go func() {
			b, err := a.source.Batch(step + 1)
			a.read <- fetched{b, err}
		}()
	}
	return f.b, f.err
}

// HashTo is that of the source behind it.
func (a *Ahead) HashTo(step int) string {
	a.keep()
	return a.source.HashTo(step)
}

// Spans are those of the source behind it.
func (a *Ahead) Spans(step int) ([]shard.Span, error) {
	a.keep()
	return a.source.Spans(step)
}

// keep lets what is being read come to its end, for Batch to find.
func (a *Ahead) keep() {
	if at, f := a.wait(); at != 0 {
		a.step = at
		a.read <- f
	}
}

// Close waits for what is being read.
func (a *Ahead) Close() { a.wait() }
