package cpu

import (
	"errors"
	"fmt"
	"sync"

	"ravn/kernel"
	"ravn/model"
)

// sessionRows is how many tokens of sessions go through the model at a time; more are cut into such passes.
const sessionRows = 256

// Session is a sequence of tokens with the keys and values of each layer kept, so that going on costs only the new
// tokens. One goroutine uses it at a time; many sessions of an engine run side by side.
type Session struct {
	e       *Engine
	max     int // tokens
	places  int // for keys and values of positions from base on
	base    int
	n       int
	stride  int       // between elements of a key
	k       []float32 // (L, K, D, stride), keys across, as products with queries want them
	v       []float32 // (L, K, places, D)
	kh, vh  []uint16  // the same in bfloat16, in place of k and v
	threads bool
}

// NewSession makes an empty session with place for maxTokens tokens.
func (e *Engine) NewSession(maxTokens int) (*Session, error) {
	if maxTokens < 1 || maxTokens > e.maxPos {
		return nil, fmt.Errorf("engine/cpu: session of %d tokens, the model knows 1 to %d positions (max_position_embeddings)", maxTokens, e.maxPos)
	}
	e.ropes.upTo(maxTokens)
	s := &Session{e: e, max: maxTokens, places: e.places(&e.o, maxTokens)}
	s.stride = keyStride(s.places)
	keys, values := e.L*e.KV*s.stride, e.L*e.KV*s.places
	if e.o.Cache == model.BF16 {
		s.kh, s.vh = make([]uint16, keys), make([]uint16, values)
	} else {
		s.k, s.v = make([]float32, keys), make([]float32, values)
	}
	return s, nil
}

// places is how many positions a session for maxTokens tokens keeps: with Slide those that the window sees of a first
// query, and those of one pass.
func (s *shape) places(o *Options, maxTokens int) int {
	if o.Slide && s.window > 0 {
		return min(maxTokens, s.window-1+sessionRows)
	}
	return maxTokens
}

// UseThreads says whether Append may use all threads of the engine, for a session that runs alone. At first it uses
// the caller's only. Results are the same.
func (s *Session) UseThreads(on bool) { s.threads = on }

// Len is the number of tokens in the session.
func (s *Session) Len() int { return s.n }

// Truncate keeps the first n tokens, so that another text with the same beginning can follow them. An n beyond Len
// changes nothing, one below 0 is 0. With Options.Slide, keys that the next token would see may be gone: then nothing is
// kept, and Len is 0.
func (s *Session) Truncate(n int) {
	if n = min(s.n, max(n, 0)); n < s.n {
		s.n = n
		if s.e.firstKey(n) < s.base {
			s.n = 0
		}
		if s.n == 0 {
			s.base = 0
		}
	}
}

// slide makes room for n more tokens, letting go of keys and values that no query sees any more.
func (s *Session) slide(n int) {
	if s.n+n-s.base <= s.places {
		return
	}
	from := s.e.firstKey(s.n)
	off, have := from-s.base, s.n-from
	slideRows(s.k, s.stride, off, have, 1)
	slideRows(s.kh, s.stride, off, have, 1)
	slideRows(s.v, s.places*s.e.D, off, have, s.e.D)
	slideRows(s.vh, s.places*s.e.D, off, have, s.e.D)
	s.base = from
}

// slideRows moves `have` units of elements, off units further on, to the beginning of each row.
func slideRows[T any](x []T, row, off, have, unit int) {
	for at := 0; at < len(x); at += row {
		copy(x[at:][:have*unit], x[at+off*unit:])
	}
}

// CopyFrom makes the first n tokens of src those of s, with their keys and values, so that what many texts begin with is
// computed once. Both must be sessions of one engine, and s have place for n tokens.
func (s *Session) CopyFrom(src *Session, n int) error {
	if src == nil || s.e != src.e {
		return errors.New("engine/cpu: copy: the sessions are not of one engine")
	}
	if n < 0 || n > src.n || n > s.max {
		return fmt.Errorf("engine/cpu: copy: %d tokens of %d to a session for %d", n, src.n, s.max)
	}
	if s == src {
		if s.Truncate(n); s.n < n {
			return errGone(n)
		}
		return nil
	}
	e := s.e
	base, from := src.base, 0
	if n > 0 {
		if from = e.firstKey(n); from < base {
			return errGone(n)
		}
	}
	if n-base > s.places { // of a shorter session
		base = from
	}
	off, have := base-src.base, n-base
	copyRows(s.k, src.k, s.stride, src.stride, off, have, 1)
	copyRows(s.kh, src.kh, s.stride, src.stride, off, have, 1)
	copyRows(s.v, src.v, s.places*e.D, src.places*e.D, off, have, e.D)
	copyRows(s.vh, src.vh, s.places*e.D, src.places*e.D, off, have, e.D)
	s.base, s.n = base, n
	return nil
}

func errGone(n int) error {
	return fmt.Errorf("engine/cpu: copy: keys that follow %d tokens were let go of (Options.Slide)", n)
}

// copyRows copies `have` units of elements of each row, off units further on, to the beginning of dst's.
func copyRows[T any](dst, src []T, dstRow, srcRow, off, have, unit int) {
	for r := 0; r*dstRow < len(dst); r++ {
		copy(dst[r*dstRow:][:have*unit], src[r*srcRow+off*unit:])
	}
}

// SessionBytes is the memory of a session for maxTokens tokens of c, for the keys and values that it keeps, of an engine
// made with o.
func SessionBytes(c *model.Config, o Options, maxTokens int) int64 {
	s := newShape(c)
	size := int64(4)
	if o.Cache == model.BF16 {
		size = 2
	}
	places := s.places(&o, maxTokens)
	return size * int64(s.L) * int64(s.KV) * int64(keyStride(places)+places)
}

// keyStride is how far elements of a key are apart.
func keyStride(maxTokens int) int {
	stride := (maxTokens + 15) / 16 * 16
	if stride%256 == 0 { // rows a power of two apart would share few lines of the cache
		stride += 16
	}
	return stride
}

// Append adds tokens and writes the logits of tokens[from:], one row of V each, to logits. After an error the session
// is as before. Logits do not depend on how a text is cut into calls.
func (s *Session) Append(tokens []int32, logits []float32, from int) error {
	piece := [1]Piece{{Session: s, Tokens: tokens, Logits: logits, From: from}}
	return s.e.Append(piece[:])
}

// Piece is what Append adds to one session.
type Piece struct {
	Session *Session
	Tokens  []int32
	Logits  []float32 // (len(Tokens)-From, V), written
	From    int       // first token whose logits are wanted; len(Tokens) wants none
}

// Append adds to several different sessions in one pass through the model, which for short pieces is faster than one
// after the other. Each gets what it would get alone. The first session's UseThreads counts.
func (e *Engine) Append(pieces []Piece) error {
	for i := range pieces {
		if err := e.checkPiece(pieces[:i], &pieces[i]); err != nil {
			return err
		}
	}
	w := e.free.take(e)
	defer e.free.give(w)
	w.pool = nil
	if len(pieces) > 0 && pieces[0].Session.threads {
		w.pool = e.pool
		w.pool.Hold()
		defer w.pool.Release()
	}
	w.rope = e.ropes.last.Load()
	for i := range pieces {
		p := &pieces[i]
		for at := 0; at < len(p.Tokens); {
			n := min(len(p.Tokens)-at, sessionRows-w.n)
			w.add(p, at, n)
			at += n
			if w.n == sessionRows {
				w.flush(e)
			}
		}
	}
	w.flush(e)
	return nil
}

func (e *Engine) checkPiece(before []Piece, p *Piece) error {
	s := p.Session
	if s == nil || s.e != e {
		return errors.New("engine/cpu: append: the session is not of this engine")
	}
	for i := range before {
		if before[i].Session == s {
			return errors.New("engine/cpu: append: a session comes twice")
		}
	}
	if len(p.Tokens) > s.max-s.n {
		return fmt.Errorf("engine/cpu: append: %d tokens after %d, the session was made for %d (max_position_embeddings is %d)", len(p.Tokens), s.n, s.max, e.maxPos)
	}
	if p.From < 0 || p.From > len(p.Tokens) {
		return fmt.Errorf("engine/cpu: append: logits wanted from token %d of %d", p.From, len(p.Tokens))
	}
	if want := (len(p.Tokens) - p.From) * e.V; len(p.Logits) < want {
		return fmt.Errorf("engine/cpu: append: place for %d logits, %d tokens of %d need %d", len(p.Logits), len(p.Tokens)-p.From, e.V, want)
	}
	if i := outside(p.Tokens, 0, e.V); i >= 0 {
		return fmt.Errorf("engine/cpu: append: token %d at place %d is outside the vocabulary of %d", p.Tokens[i], i, e.V)
	}
	return nil
}

// sessionWork is the memory of one pass of sessions.
type sessionWork struct {
	*work
	ids         []int32
	parts       []part
	logits      []float32 // (sessionRows, V) scratch, when the rows wanted are not one stretch
	input       kernel.Input
	group, rest [3]kernel.Product // of multiply
	table       *kernel.Weight    // for lookup

	copy, untwine, lookup func(i int)
}

// part is n rows of a pass that belong to one session, from row on; its positions begin at from.
type part struct {
	s            *Session
	row, n, from int
	wanted       int       // first of the n rows whose logits are wanted
	logits       []float32 // for those
}

// sessionWorks keeps works that nobody uses.
type sessionWorks struct {
	mu   sync.Mutex
	free []*sessionWork
}

func (f *sessionWorks) take(e *Engine) *sessionWork {
	f.mu.Lock()
	defer f.mu.Unlock()
	if n := len(f.free); n > 0 {
		w := f.free[n-1]
		f.free = f.free[:n-1]
		return w
	}
	w := &sessionWork{work: newWork(e.shape, sessionRows, e.pool.Threads()), ids: make([]int32, sessionRows)}
	w.x, w.qkv = make([]float32, sessionRows*e.C), make([]float32, sessionRows*e.QKV)
	w.att, w.gu = make([]float32, sessionRows*e.Q), make([]float32, sessionRows*2*e.F)
	w.copy, w.untwine, w.lookup = w.cacheRows, w.untwineRows, w.lookupRows
	return w
}

func (f *sessionWorks) give(w *sessionWork) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.free = append(f.free, w)
}

// add puts n tokens of p, from the one at `at` on, into the pass.
func (w *sessionWork) add(p *Piece, at, n int) {
	s := p.Session
	s.slide(n)
	copy(w.ids[w.n:], p.Tokens[at:at+n])
	for i := range n {
		w.pos[w.n+i] = int32(s.n + i)
	}
	wanted := min(max(p.From-at, 0), n)
	pt := part{s: s, row: w.n, n: n, from: s.n, wanted: wanted}
	if wanted < n {
		pt.logits = p.Logits[(at+wanted-p.From)*w.V : (at+n-p.From)*w.V]
	}
	w.parts = append(w.parts, pt)
	w.spans = appendSpans(w.spans, w.n, s.n, s.n+n, 0, s)
	w.n += n
	s.n += n
}

// flush runs the pass and empties it.
func (w *sessionWork) flush(e *Engine) {
	if w.n == 0 {
		return
	}
	w.table = &e.stored.embed
	w.run(w.chunks(), w.lookup)
	for l := range e.stored.layers {
		w.l = l
		w.layer(e, &e.stored.layers[l])
	}
	w.head(e)
	w.n, w.parts, w.spans = 0, w.parts[:0], w.spans[:0]
}

// cacheRows copies the new keys and values of one part to its session.
func (w *sessionWork) cacheRows(i int) {
	pt := w.parts[i]
	s := pt.s
	k0, v0 := w.l*w.KV*s.stride, w.l*w.KV*s.places
	for r := range pt.n {
		row := w.qkv[(pt.row+r)*w.QKV+w.Q:][:2*w.KV]
		p := pt.from + r - s.base
		for h := range w.K {
			key, value := row[h*w.D:][:w.D], row[w.KV+h*w.D:][:w.D]
			k, v := k0+h*w.D*s.stride+p, v0+(h*s.places+p)*w.D
			if s.kh != nil {
				for d, x := range key {
					s.kh[k+d*s.stride] = kernel.BF16(x)
				}
				kernel.RoundBF16(s.vh[v:][:w.D], value)
				continue
			}
			for d, x := range key {
				s.k[k+d*s.stride] = x
			}
			copy(s.v[v:][:w.D], value)
		}
	}
}

// keys is the cache of layer l, as far as head's positions [first, to) of it; what is kept in bfloat16 is widened into sc.
func (s *Session) keys(sc *scratch, l, head, first, to int) (k, v keys) {
	e := s.e
	k0, v0 := l*e.KV*s.stride, l*e.KV*s.places
	if s.kh == nil {
		k = keys{s.k[k0:][:e.KV*s.stride], s.stride, e.D * s.stride, s.base, true}
		v = keys{s.v[v0:][:e.KV*s.places], e.D, e.D * s.places, s.base, false}
		return k, v
	}
	n, at := to-first, first-s.base
	stride := keyStride(n)
	if need := e.D * (stride + n); len(sc.wide) < need {
		sc.wide = make([]float32, e.D*(keyStride(s.places)+s.places))
	}
	wk, wv := sc.wide[:e.D*stride], sc.wide[e.D*stride:][:e.D*n]
	for d := range e.D {
		kernel.WidenBF16(wk[d*stride:][:n], s.kh[k0+(head*e.D+d)*s.stride+at:][:n])
	}
	kernel.WidenBF16(wv, s.vh[v0+(head*s.places+at)*e.D:][:n*e.D])
	return keys{wk, stride, 0, first, true}, keys{wv, e.D, 0, first, false}
}

// head writes the logits that are wanted. Their rows of x are brought together first, so that the head's weights are
// read once.
func (w *sessionWork) head(e *Engine) {
	rows, last := 0, -1
	for i, pt := range w.parts {
		for r := pt.wanted; r < pt.n; r++ {
			copy(w.x[rows*w.C:][:w.C], w.x[(pt.row+r)*w.C:])
			rows++
			last = i
		}
	}
	if rows == 0 {
		return
	}
	dst := w.parts[last].logits
	alone := len(dst) == rows*w.V
	if !alone {
		if w.logits == nil {
			w.logits = make([]float32, sessionRows*w.V)
		}
		dst = w.logits
	}
	kernel.RMSNorm(w.pool, w.xn, w.rstd, w.x, e.stored.norm, rows, w.C, w.eps)
	w.multiply(w.xn, rows, kernel.Product{W: &e.stored.head, C: dst, Stride: w.V})
	if alone {
		return
	}
	for _, pt := range w.parts {
		if n := pt.n - pt.wanted; n > 0 {
			copy(pt.logits, dst[:n*w.V])
			dst = dst[n*w.V:]
		}
	}
}
