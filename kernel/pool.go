package kernel

import (
	"runtime"
	"sync"
	"sync/atomic"
)

// Pool is a fixed number of workers that share loops. A nil Pool is one thread, the caller's.
//
// One loop runs at a time: a Run inside a Run, or beside it from another goroutine, does its work on the goroutine
// that called it.
type Pool struct {
	threads int
	wake    chan struct{} // one token for each helper asked to join
	done    chan struct{} // the last helper to leave says so
	busy    atomic.Bool
	closed  atomic.Bool
	held    atomic.Int32 // how many want the helpers awake

	f       func(int)
	n       int64
	next    atomic.Int64
	helpers atomic.Int64 // asked to join and not yet gone
}

// NewPool starts a pool of that many threads, the calling goroutine counted; threads <= 0 means GOMAXPROCS. Idle
// workers sleep.
func NewPool(threads int) *Pool {
	if threads <= 0 {
		threads = runtime.GOMAXPROCS(0)
	}
	p := &Pool{threads: threads, wake: make(chan struct{}, threads), done: make(chan struct{}, 1)}
	for range threads - 1 {
		go p.help()
	}
	return p
}

// Threads returns the number of threads; 1 for a nil pool.
func (p *Pool) Threads() int {
	if p == nil {
		return 1
	}
	return p.threads
}

// Close ends the workers. It must not overlap a Run; a Run after it works on the calling goroutine.
func (p *Pool) Close() {
	if p != nil && p.closed.CompareAndSwap(false, true) {
		close(p.wake)
	}
}

// Hold keeps the helpers awake until Release: between loops they look for the next one rather than sleep, since waking
// a thread takes as long as a short loop. It is for a pass of many loops that follow each other at once; a helper that
// finds nothing for a while sleeps all the same. Holds may overlap; a nil pool ignores them.
func (p *Pool) Hold() {
	if p != nil {
		p.held.Add(1)
	}
}

// Release ends a Hold.
func (p *Pool) Release() {
	if p != nil {
		p.held.Add(-1)
	}
}

// looks is how often a held pool looks for work, or for the end of a loop, before it sleeps: some tenths of a millisecond.
const looks = 1 << 15

// receive takes from c, and while the pool is held looks for a while before it waits; ok is false when c is closed.
func (p *Pool) receive(c chan struct{}) (ok bool) {
	for i := 0; i < looks && p.held.Load() > 0; i++ {
		select {
		case _, ok = <-c:
			return ok
		default:
		}
	}
	_, ok = <-c
	return ok
}

// Run calls f(0) to f(n-1), each once, in no fixed order and on all threads, and returns when all have returned.
func (p *Pool) Run(n int, f func(i int)) {
	if p == nil || p.threads == 1 || n <= 1 || p.closed.Load() || !p.busy.CompareAndSwap(false, true) {
		for i := range n {
			f(i)
		}
		return
	}
	helpers := min(n, p.threads) - 1
	p.f, p.n = f, int64(n)
	p.next.Store(0)
	p.helpers.Store(int64(helpers))
	for range helpers {
		p.wake <- struct{}{}
	}
	p.work()
	p.wait(helpers)
	p.f = nil
	p.busy.Store(false)
}

// wait takes back the invitations that nobody has answered, and waits for the helpers that are at work.
func (p *Pool) wait(helpers int) {
	late := 0
	for late < helpers {
		select {
		case <-p.wake:
			late++
			continue
		default:
		}
		break
	}
	if late == helpers || p.helpers.Add(-int64(late)) == 0 && late > 0 {
		// The last helper left before the count was corrected, or none came: nobody sends on done.
		return
	}
	p.receive(p.done)
}

func (p *Pool) work() {
	for {
		i := p.next.Add(1) - 1
		if i >= p.n {
			return
		}
		p.f(int(i))
	}
}

func (p *Pool) help() {
	for p.receive(p.wake) {
		p.work()
		if p.helpers.Add(-1) == 0 {
			p.done <- struct{}{}
		}
	}
}

// job carries the arguments of one parallel routine to its workers. Jobs are kept for reuse, each with its own run
// closure, so that calls allocate nothing.
type job struct {
	f    [7][]float32
	ids  []int32
	n    [6]int
	s    [2]float32
	flag bool
	step adamWStep
	sums []float64 // scratch that is kept
	rows []float32 // scratch that is kept
	do   func(j *job, i int)
	run  func(i int)
}

var jobs = sync.Pool{New: func() any {
	j := new(job)
	j.run = func(i int) { j.do(j, i) }
	return j
}}

func newJob(do func(j *job, i int)) *job {
	j := jobs.Get().(*job)
	j.do = do
	return j
}

// free puts the job back without the caller's slices.
func (j *job) free() {
	j.f, j.ids, j.do = [7][]float32{}, nil, nil
	jobs.Put(j)
}

// span is the number of elements that one task of an elementwise routine takes.
const span = 1 << 14

func numSpans(n int) int { return (n + span - 1) / span }

// rowsPerTask cuts rows of width c into tasks of about one span.
func rowsPerTask(c int) int { return max(1, span/max(c, 1)) }
