package serve

import (
	"context"
	"math"
	"slices"
	"sync"
	"time"

	"ravn/sampler"
	"ravn/tokenizer"
)

// event is what a sequence tells its request.
type event struct {
	index int // of the sequence in its request
	// text that is certain, and the tokens behind what has been told so far
	text   string
	tokens []scoredToken
	finish string // "stop" or "length", with the last event
	err    error
}

// scoredToken is a token with its log-probability, NaN where there is none, and those of its likeliest rivals.
type scoredToken struct {
	id      int32
	logProb float64
	top     []rival
}

type rival struct {
	id      int32
	logProb float64
}

// mailbox holds events until the request's goroutine takes them. Writers never wait.
type mailbox struct {
	mu    sync.Mutex
	list  []event
	ready chan struct{}
}

func newMailbox() *mailbox { return &mailbox{ready: make(chan struct{}, 1)} }

func (m *mailbox) put(e event) {
	m.mu.Lock()
	m.list = append(m.list, e)
	m.mu.Unlock()
	select {
	case m.ready <- struct{}{}:
	default:
	}
}

func (m *mailbox) take() []event {
	m.mu.Lock()
	defer m.mu.Unlock()
	list := m.list
	m.list = nil
	return list
}

// sequence is one text: a prompt to be scored, gone on from, or both.
type sequence struct {
	ctx       context.Context
	index     int
	prompt    []int32
	maxTokens int // to write
	echo      bool
	logProbs  bool
	top       int // rivals to name, 0 none
	pick      *sampler.Sampler
	bias      map[int32]float32
	presence  float32
	frequency float32
	ignoreEOS bool
	stops     sampler.Stops
	decoder   *tokenizer.Decoder
	box       *mailbox

	// of the scheduler
	submitted  time.Time
	kept       *kept
	target     int // tokens of the prompt that have to be computed
	fed        int // tokens of the prompt in the session
	written    int
	last       int32
	seen       map[int32]int // how often each token was written
	step, from int           // tokens of this pass, and the first whose logits are wanted
	logits     []float32
	row        []float32
	cancelled  error
	finished   bool
}

// end tells the last event.
func (q *sequence) end(e event) {
	e.index = q.index
	q.finished = true
	q.box.put(e)
}

func (q *sequence) prefilling() bool { return q.fed < q.target }

// size is how many tokens the session must have place for. The last token of a prompt that is only scored is not
// computed.
func (q *sequence) size() int {
	if q.maxTokens == 0 {
		return max(1, len(q.prompt)-1)
	}
	return len(q.prompt) + q.maxTokens
}

// scored reports whether the log-probabilities of the prompt are wanted.
func (q *sequence) scored() bool { return q.echo && q.logProbs }

// reusable is how many tokens of k this prompt can begin with. The last token is computed anew, as its logits are
// wanted. Where log-probabilities of the prompt are wanted, those up to and including the first token computed anew must
// be known; rivals are not kept.
func (q *sequence) reusable(k *kept) int {
	n := min(commonPrefix(k.tokens, q.prompt), len(q.prompt)-1)
	if !q.scored() {
		return n
	}
	if q.top > 0 {
		return 0
	}
	for i := 1; i < n; i++ {
		if math.IsNaN(k.logProbs[i]) {
			return i - 1
		}
	}
	if n == len(q.prompt)-1 && len(k.tokens) > n && k.tokens[n] == q.prompt[n] && !math.IsNaN(k.logProbs[n]) {
		return n
	}
	return max(0, n-1)
}

// begin takes over a session that holds the first reuse tokens of the prompt, and tells what is known of them.
func (q *sequence) begin(k *kept, reuse int) {
	known := min(reuse+1, len(k.logProbs))
	if !q.scored() {
		known = reuse
	}
	k.session.Truncate(reuse)
	k.tokens, k.logProbs = k.tokens[:reuse], k.logProbs[:known]
	q.kept, q.fed = k, reuse
	q.target = len(q.prompt)
	if q.maxTokens == 0 {
		q.target = 0
		if q.scored() {
			q.target = len(q.prompt) - 1 // nothing is asked of what follows the last token
		}
	}
	if q.scored() {
		first := event{index: q.index, tokens: []scoredToken{{id: q.prompt[0], logProb: math.NaN()}}}
		for i := 1; i <= reuse; i++ {
			first.tokens = append(first.tokens, scoredToken{id: q.prompt[i], logProb: k.logProbs[i]})
		}
		q.box.put(first)
	}
	if q.maxTokens == 0 && !q.prefilling() {
		q.end(event{finish: "length"})
	}
}

// limit bounds n tokens of the prompt so that at most rows rows of logits are wanted.
func (q *sequence) limit(n, rows int) int {
	if q.scored() {
		return min(n, rows)
	}
	return n
}

// wantedFrom is the first of the next n tokens of the prompt whose logits are wanted.
func (q *sequence) wantedFrom(n int) int {
	switch {
	case q.scored():
		return 0
	case q.fed+n == q.target && q.maxTokens > 0:
		return n - 1
	}
	return n
}

// input is what this pass feeds.
func (q *sequence) input() []int32 {
	if q.prefilling() {
		return q.prompt[q.fed : q.fed+q.step]
	}
	return []int32{q.last}
}

// advance takes in the logits of a pass.
func (q *sequence) advance(s *scheduler) {
	k := q.kept
	wasPrompt := q.prefilling()
	k.tokens = append(k.tokens, q.input()...)
	for len(k.logProbs) < len(k.tokens) {
		k.logProbs = append(k.logProbs, math.NaN())
	}
	if wasPrompt {
		if q.scored() {
			q.scorePrompt(s)
		}
		if q.fed += q.step; q.prefilling() {
			return
		}
		if q.maxTokens == 0 {
			q.end(event{finish: "length"})
			return
		}
	}
	rows := q.step - q.from
	q.write(s, q.logits[(rows-1)*s.vocab:rows*s.vocab])
}

// scorePrompt tells the log-probabilities of prompt tokens that the logits of this pass are about.
func (q *sequence) scorePrompt(s *scheduler) {
	e := event{index: q.index}
	k := q.kept
	for r := range q.step {
		at := q.fed + r + 1 // the token that row r is about
		if at >= len(q.prompt) {
			break
		}
		t := q.scoreToken(q.logits[r*s.vocab:(r+1)*s.vocab], q.prompt[at])
		e.tokens = append(e.tokens, t)
		if at < len(k.logProbs) {
			k.logProbs[at] = t.logProb
		} else {
			k.logProbs = append(k.logProbs, t.logProb) // of the token that the next pass feeds
		}
	}
	q.box.put(e)
}

func (q *sequence) scoreToken(row []float32, id int32) scoredToken {
	norm := logSumExp(row)
	t := scoredToken{id: id, logProb: float64(row[id]) - norm}
	if q.top > 0 {
		for _, i := range likeliest(row, q.top) {
			t.top = append(t.top, rival{i, float64(row[i]) - norm})
		}
	}
	return t
}

// likeliest are the n places with the largest values, the largest first, the lower place first on ties.
func likeliest(row []float32, n int) []int32 {
	best := make([]int32, 0, n+1)
	for i, v := range row {
		if len(best) == n && v <= row[best[n-1]] {
			continue
		}
		at, _ := slices.BinarySearchFunc(best, v, func(b int32, v float32) int {
			if row[b] >= v {
				return -1
			}
			return 1
		})
		best = slices.Insert(best, at, int32(i))
		best = best[:min(len(best), n)]
	}
	return best
}

// write chooses the next token and tells it.
func (q *sequence) write(s *scheduler, row []float32) {
	id := q.pick.Pick(q.adjusted(row))
	e := event{index: q.index}
	if slices.Contains(s.eos, id) && !q.ignoreEOS {
		q.finish(e, "stop")
		return
	}
	if q.logProbs {
		e.tokens = []scoredToken{q.scoreToken(row, id)}
	}
	if q.written == 0 {
		s.m.first.add(time.Since(q.submitted))
	}
	q.written++
	q.last = id
	if q.seen != nil {
		q.seen[id]++
	}
	s.m.generated.Add(1)
	text, stopped := q.stops.Next(q.decoder.Next(id))
	e.text = text
	switch {
	case stopped:
		e.finish = "stop"
		q.end(e)
	case q.written == q.maxTokens:
		q.finish(e, "length")
	case e.text != "" || e.tokens != nil:
		q.box.put(e)
	}
}

// finish adds what the decoder and the watch for stop strings still hold.
func (q *sequence) finish(e event, why string) {
	rest, stopped := q.stops.Next(q.decoder.Flush())
	e.text += rest
	if !stopped {
		e.text += q.stops.Flush()
	} else {
		why = "stop"
	}
	e.finish = why
	q.end(e)
}

// adjusted is the row with biases added and penalties taken off, as OpenAI's documentation defines them.
func (q *sequence) adjusted(row []float32) []float32 {
	if len(q.bias) == 0 && q.seen == nil {
		return row
	}
	q.row = append(q.row[:0], row...)
	for id, b := range q.bias {
		q.row[id] += b
	}
	for id, n := range q.seen {
		q.row[id] -= q.presence + q.frequency*float32(n)
	}
	return q.row
}
