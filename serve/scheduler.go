package serve

import (
	"errors"
	"math"
	"runtime"
	"slices"
	"sync"
	"time"

	"ravn/engine/cpu"
)

const (
	passRows  = 256 // tokens of one pass through the model
	scoreRows = 64  // of them, those whose logits are wanted: each has a row as wide as the vocabulary
	worthIt   = 16  // tokens of common beginning for which a request waits until another has computed them
)

var (
	errQueueFull = errors.New("serve: the queue is full")
	errClosing   = errors.New("serve: the server is shutting down")
)

// kept is a session that nobody uses, with what it holds. logProbs[i] is that of tokens[i] given those before, NaN where
// it was not computed.
type kept struct {
	session  *cpu.Session
	size     int // tokens that it has place for
	tokens   []int32
	logProbs []float64
	used     time.Time
}

// scheduler computes all requests in one goroutine: in each pass through the model every running text gets its next
// token, and the rows that are left go to the prompts in the order in which they came. What a text gets does not depend
// on its neighbours, so requests do not change each other's answers.
type scheduler struct {
	engine *cpu.Engine
	eos    []int32
	vocab  int
	o      Options
	m      *metrics

	mu      sync.Mutex
	waiting []*sequence
	running int // for the metrics
	closed  bool
	wake    chan struct{}
	done    chan struct{}

	// of the goroutine alone
	active []*sequence
	idle   []*kept
	size   int // tokens that all sessions have place for
	pieces []cpu.Piece
	logits []float32
}

func newScheduler(e *cpu.Engine, eos []int32, o Options, m *metrics) *scheduler {
	s := &scheduler{engine: e, eos: eos, vocab: e.Config().VocabSize, o: o, m: m, wake: make(chan struct{}, 1), done: make(chan struct{})}
	go s.run()
	return s
}

// submit puts all sequences of a request into the queue, or none.
func (s *scheduler) submit(list []*sequence) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return errClosing
	}
	free := max(0, s.o.Batch-s.running)
	if len(s.waiting)+len(list) > s.o.Queue+free {
		return errQueueFull
	}
	s.waiting = append(s.waiting, list...)
	s.signal()
	return nil
}

func (s *scheduler) signal() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// close ends the goroutine when everything that was submitted is done; cancel the requests to hurry it.
func (s *scheduler) close() {
	s.mu.Lock()
	s.closed = true
	s.signal()
	s.mu.Unlock()
	<-s.done
}

// counts are how many texts are computed and how many wait.
func (s *scheduler) counts() (running, waiting int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.running, len(s.waiting)
}

func (s *scheduler) run() {
	defer close(s.done)
	for {
		s.admit()
		if len(s.active) > 0 {
			s.pass()
			continue
		}
		s.mu.Lock()
		end := s.closed && len(s.waiting) == 0
		s.mu.Unlock()
		if end {
			return
		}
		<-s.wake
	}
}

// admit moves requests from the queue to the batch as long as there is place, in the order in which they came. One whose
// prompt begins like a prompt that is being scored lets others pass and waits for it, to go on from there.
func (s *scheduler) admit() {
	s.mu.Lock()
	defer s.mu.Unlock()
	rest := s.waiting[:0]
	full := false
	for _, q := range s.waiting {
		if err := q.ctx.Err(); err != nil {
			q.end(event{err: err})
			continue
		}
		full = full || len(s.active) >= s.o.Batch
		if full || s.better(q) {
			rest = append(rest, q)
			continue
		}
		k, reuse := s.session(q)
		if k == nil {
			full = true
			rest = append(rest, q)
			continue
		}
		s.m.reused.Add(int64(reuse))
		s.m.prompt.Add(int64(len(q.prompt)))
		q.begin(k, reuse)
		s.active = append(s.active, q)
	}
	clear(s.waiting[len(rest):])
	s.waiting = rest
	s.running = len(s.active)
}

// best is the idle session with place for q that holds most of its prompt.
func (s *scheduler) best(q *sequence) (at, reuse int) {
	at = -1
	for i, k := range s.idle {
		if n := q.reusable(k); k.size >= q.size() && n > reuse {
			at, reuse = i, n
		}
	}
	return at, reuse
}

// better reports whether a prompt that is being scored will soon leave a session which saves q much work.
func (s *scheduler) better(q *sequence) bool {
	for _, a := range s.active {
		if a.maxTokens > 0 || a.finished || q.scored() && (q.top > 0 || !a.scored()) || a.kept.size < q.size() {
			continue
		}
		if shared := commonPrefix(a.prompt[:a.target], q.prompt); shared >= worthIt {
			if _, reuse := s.best(q); shared >= reuse+worthIt {
				return true
			}
		}
	}
	return false
}

// session finds or makes a session for q, forgetting idle ones where memory asks for it; nil when there is no place.
func (s *scheduler) session(q *sequence) (k *kept, reuse int) {
	if at, reuse := s.best(q); at >= 0 {
		k = s.idle[at]
		s.idle = slices.Delete(s.idle, at, at+1)
		return k, reuse
	}
	size := min((q.size()+255)/256*256, s.o.ContextTokens)
	for s.size+size > s.o.CacheTokens {
		if len(s.idle) == 0 {
			return nil, 0
		}
		oldest := 0
		for i, k := range s.idle {
			if k.used.Before(s.idle[oldest].used) {
				oldest = i
			}
		}
		k = s.idle[oldest]
		s.idle = slices.Delete(s.idle, oldest, oldest+1)
		if k.size >= size {
			return k, 0
		}
		s.size -= k.size
	}
	session, err := s.engine.NewSession(size)
	if err != nil {
		panic("serve: " + err.Error()) // sizes lie within the model's context
	}
	session.UseThreads(true)
	s.size += size
	return &kept{session: session, size: size}, 0
}

// pass takes all active texts one step further.
func (s *scheduler) pass() {
	s.pieces = s.pieces[:0]
	for _, q := range s.active {
		q.step = 0
		q.cancelled = q.ctx.Err()
	}
	s.drop()
	rows, scored, wide := passRows, scoreRows, 0
	take := func(q *sequence, n, from int) {
		q.step, q.from = n, from
		rows -= n
		scored -= n - from
		wide += n - from
	}
	for _, q := range s.active { // one token each for those that write
		if !q.prefilling() {
			take(q, 1, 0)
		}
	}
	for _, q := range s.active {
		if !q.prefilling() || rows <= 0 {
			continue
		}
		n := min(q.target-q.fed, rows)
		if n = q.limit(n, max(scored, 1)); n > 0 {
			take(q, n, q.wantedFrom(n))
		}
	}
	if need := wide * s.vocab; len(s.logits) < need {
		s.logits = make([]float32, need)
	}
	at := 0
	for _, q := range s.active {
		if q.step == 0 {
			continue
		}
		n := (q.step - q.from) * s.vocab
		q.logits = s.logits[at : at+n]
		at += n
		s.pieces = append(s.pieces, cpu.Piece{Session: q.kept.session, Tokens: q.input(), Logits: q.logits, From: q.from})
	}
	if len(s.pieces) == 0 {
		return
	}
	if err := s.engine.Append(s.pieces); err != nil {
		for _, q := range s.active {
			if q.step > 0 {
				q.cancelled = err
			}
		}
		s.drop()
		return
	}
	s.m.passes.Add(1)
	s.each(func(q *sequence) {
		if q.step > 0 {
			q.advance(s)
		}
	})
	s.drop()
}

// each runs f for every active text, on all processors.
func (s *scheduler) each(f func(q *sequence)) {
	if len(s.active) == 1 {
		f(s.active[0])
		return
	}
	var wg sync.WaitGroup
	slots := make(chan struct{}, runtime.GOMAXPROCS(0))
	for _, q := range s.active {
		slots <- struct{}{}
		wg.Go(func() {
			f(q)
			<-slots
		})
	}
	wg.Wait()
}

// drop takes those that are done or cancelled out of the batch; their sessions stay for texts that begin alike.
func (s *scheduler) drop() {
	s.active = slices.DeleteFunc(s.active, func(q *sequence) bool {
		if q.cancelled != nil && !q.finished {
			q.end(event{err: q.cancelled})
		}
		if !q.finished {
			return false
		}
		k := q.kept
		k.used = time.Now()
		s.idle = append(s.idle, k)
		q.kept, q.logits = nil, nil
		return true
	})
}

func commonPrefix(a, b []int32) int {
	n := min(len(a), len(b))
	for i := range n {
		if a[i] != b[i] {
			return i
		}
	}
	return n
}

// logSumExp is log Σ exp(x), summed in float64 from first to last.
func logSumExp(x []float32) float64 {
	m := float64(slices.Max(x))
	var sum float64
	for _, v := range x {
		sum += math.Exp(float64(v) - m)
	}
	return m + math.Log(sum)
}
