package xla

import (
	"cmp"
	"errors"
	"fmt"
	"math/bits"
	"slices"

	"github.com/gomlx/gomlx/pkg/core/dtypes"
	"github.com/gomlx/gomlx/pkg/core/graph"
	"github.com/gomlx/gomlx/pkg/core/shapes"
)

// passRows is how many tokens of sessions go through the model at a time; more are cut into such passes.
const passRows = 256

// Session is a sequence of tokens whose keys and values stay on the devices, so that going on costs only the new tokens.
// One goroutine uses it at a time; calls of an engine take turns, and Engine.Append takes several sessions through the
// model at once.
//
// Passes are padded to a power of two, in tokens and in sessions, so that few programs are compiled. Logits differ in
// the last bits with how a text is cut into calls and with what goes through beside it, since XLA sums shapes of its own
// choosing.
type Session struct {
	e     *Engine
	max   int
	n     int
	cache cache
}

// cache is the keys and values of a session, of each layer (K, max, D).
type cache struct{ k, v []array }

func (c cache) free() {
	free(c.k...)
	free(c.v...)
}

// NewSession makes an empty session with place for maxTokens tokens.
func (e *Engine) NewSession(maxTokens int) (*Session, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.err != nil {
		return nil, e.err
	}
	if maxTokens < 1 || maxTokens > e.config.MaxPositionEmbeddings {
		return nil, fmt.Errorf("engine/xla: session of %d tokens, the model knows 1 to %d positions (max_position_embeddings)", maxTokens, e.config.MaxPositionEmbeddings)
	}
	c, err := e.newCache(maxTokens)
	return &Session{e: e, max: maxTokens, cache: c}, err
}

func (e *Engine) newCache(length int) (c cache, err error) {
	zeros := make([]float32, e.config.NumKeyValueHeads*length*e.config.HeadDim)
	for range e.config.NumHiddenLayers {
		for _, list := range []*[]array{&c.k, &c.v} {
			a, err := put(e.dev, zeros, whole, e.config.NumKeyValueHeads, length, e.config.HeadDim)
			if err != nil {
				return c, err
			}
			*list = append(*list, a)
		}
	}
	return c, nil
}

// SessionBytes is the memory of a session for maxTokens tokens on a device.
func (e *Engine) SessionBytes(maxTokens int) int64 {
	c := e.config
	return 2 * 4 * int64(c.NumHiddenLayers) * int64(c.NumKeyValueHeads) * int64(maxTokens) * int64(c.HeadDim)
}

// Close gives the session's memory back at once, rather than when the garbage collector finds it.
func (s *Session) Close() {
	s.e.mu.Lock()
	defer s.e.mu.Unlock()
	s.cache.free()
	s.cache, s.n, s.max = cache{}, 0, 0
}

// Len is the number of tokens in the session.
func (s *Session) Len() int { return s.n }

// Truncate keeps the first n tokens, so that another text with the same beginning can follow them.
func (s *Session) Truncate(n int) { s.n = min(s.n, max(n, 0)) }

// CopyFrom makes the first n tokens of src those of s, with their keys and values, so that what many texts begin with is
// computed once. Both must be sessions of one engine, and s have place for n tokens.
func (s *Session) CopyFrom(src *Session, n int) error {
	if src == nil || s.e != src.e {
		return errors.New("engine/xla: copy: the sessions are not of one engine")
	}
	if n < 0 || n > src.n || n > s.max {
		return fmt.Errorf("engine/xla: copy: %d tokens of %d to a session for %d", n, src.n, s.max)
	}
	if s == src {
		s.Truncate(n)
		return nil
	}
	e := s.e
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.err != nil {
		return e.err
	}
	for l := range s.cache.k {
		out, err := e.dev.run("copy keys", []int{whole}, func(in []*graph.Node) []*graph.Node {
			return []*graph.Node{over(in[2], in[0]), over(in[3], in[1])}
		}, []array{src.cache.k[l], src.cache.v[l]}, []array{s.cache.k[l], s.cache.v[l]})
		if err != nil {
			e.err = errors.Join(errors.New("engine/xla: a session lost its keys"), err)
			return e.err
		}
		s.cache.k[l], s.cache.v[l] = out[0], out[1]
	}
	s.n = n
	return nil
}

// over puts a cache over the beginning of another, (K, M, D): as much of it as there is room for.
func over(dst, src *graph.Node) *graph.Node {
	has, wants := src.Shape().Dim(1), dst.Shape().Dim(1)
	if has < wants {
		return graph.Concatenate([]*graph.Node{src, graph.Slice(dst, graph.AxisRange(), graph.AxisRange(has, wants))}, 1)
	}
	moved := graph.Slice(src, graph.AxisRange(), graph.AxisRange(0, wants))
	keep := graph.Equal(graph.Iota(dst.Graph(), shapes.Make(dtypes.Int32, dst.Shape().Dimensions...), 1), graph.Scalar(dst.Graph(), dtypes.Int32, -1))
	return graph.Where(keep, dst, moved) // a copy, not another name of src
}

// Append adds tokens and writes the logits of tokens[from:], one row of V each, to logits. After bad input the session is
// as before.
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

// Append adds to several different sessions, those with pieces of like length in one pass through the model.
func (e *Engine) Append(pieces []Piece) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.err != nil {
		return e.err
	}
	for i := range pieces {
		if err := e.checkPiece(pieces[:i], &pieces[i]); err != nil {
			return err
		}
	}
	before := make([]int, len(pieces))
	for i, p := range pieces {
		before[i] = p.Session.n
	}
	if err := e.append(pieces); err != nil {
		for i, p := range pieces {
			p.Session.n = before[i]
		}
		return err
	}
	return nil
}

func (e *Engine) checkPiece(before []Piece, p *Piece) error {
	s, V := p.Session, e.config.VocabSize
	if s == nil || s.e != e {
		return errors.New("engine/xla: append: the session is not of this engine")
	}
	for i := range before {
		if before[i].Session == s {
			return errors.New("engine/xla: append: a session comes twice")
		}
	}
	if len(p.Tokens) > s.max-s.n {
		return fmt.Errorf("engine/xla: append: %d tokens after %d, the session was made for %d (max_position_embeddings is %d)", len(p.Tokens), s.n, s.max, e.config.MaxPositionEmbeddings)
	}
	if p.From < 0 || p.From > len(p.Tokens) {
		return fmt.Errorf("engine/xla: append: logits wanted from token %d of %d", p.From, len(p.Tokens))
	}
	if want := (len(p.Tokens) - p.From) * V; len(p.Logits) < want {
		return fmt.Errorf("engine/xla: append: place for %d logits, %d tokens of %d need %d", len(p.Logits), len(p.Tokens)-p.From, V, want)
	}
	for i, id := range p.Tokens {
		if id < 0 || int(id) >= V {
			return fmt.Errorf("engine/xla: append: token %d at place %d is outside the vocabulary of %d", id, i, V)
		}
	}
	return nil
}

// stretch is some tokens of a piece, from the one at `at` on.
type stretch struct {
	*Piece
	at, n int
}

// power is the next power of two.
func power(n int) int { return 1 << bits.Len(uint(n-1)) }

// append cuts pieces into passes: rounds of at most passRows tokens of each, those of one padded length and one size of
// session together.
func (e *Engine) append(pieces []Piece) error {
	for at := 0; ; at += passRows {
		var round []stretch
		for i := range pieces {
			if left := len(pieces[i].Tokens) - at; left > 0 {
				round = append(round, stretch{&pieces[i], at, min(left, passRows)})
			}
		}
		if len(round) == 0 {
			return nil
		}
		slices.SortStableFunc(round, func(a, b stretch) int {
			return cmp.Or(cmp.Compare(a.Session.max, b.Session.max), cmp.Compare(power(a.n), power(b.n)))
		})
		for len(round) > 0 {
			first, n := round[0], 1
			for n < len(round) && n < passRows/power(first.n) && round[n].Session.max == first.Session.max && power(round[n].n) == power(first.n) {
				n++
			}
			if err := e.pass(round[:n]); err != nil {
				return err
			}
			round = round[n:]
		}
	}
}

// pass takes some sessions of one size through the model, with stretches of one padded length.
func (e *Engine) pass(parts []stretch) error {
	c, V, half := e.config, e.config.VocabSize, e.config.HeadDim/2
	A, T, M := power(len(parts)), power(parts[0].n), parts[0].Session.max // padding is never seen: it stands behind, and what follows is written over it
	ids, starts := make([]int32, A*T), make([]int32, A)
	cos, sin := make([]float32, A*T*half), make([]float32, A*T*half)
	var wanted []int32
	for i, p := range parts {
		copy(ids[i*T:], p.Tokens[p.at:p.at+p.n])
		starts[i] = int32(p.Session.n)
		for t := range p.n {
			row := i*T + t
			e.angles(cos[row*half:][:half], sin[row*half:][:half], p.Session.n+t)
			if p.at+t >= p.From {
				wanted = append(wanted, int32(row))
			}
		}
	}
	caches := make([]cache, A)
	for i := range caches {
		if i < len(parts) {
			caches[i] = parts[i].Session.cache
			continue
		}
		spare, err := e.spareCache(M, i)
		if err != nil {
			return err
		}
		caches[i] = spare
	}
	d := &decoder{c: c, compute: e.compute(), B: A, T: T}
	var in [4]array
	var errs [4]error
	in[0], errs[0] = put(e.dev, ids, whole, A*T)
	in[1], errs[1] = put(e.dev, cos, whole, A*T, half)
	in[2], errs[2] = put(e.dev, sin, whole, A*T, half)
	in[3], errs[3] = put(e.dev, starts, whole, A)
	defer free(in[:]...)
	if err := errors.Join(errs[:]...); err != nil {
		return err
	}
	x, err := e.embedded(in[0], whole)
	if err != nil {
		return err
	}
	for l := range c.NumHiddenLayers {
		from, to := e.block(l)
		w, done, err := e.weights(e.w[from:to]...)
		if err != nil {
			return err
		}
		var take []array
		for _, cache := range caches {
			take = append(take, cache.k[l])
		}
		for _, cache := range caches {
			take = append(take, cache.v[l])
		}
		out, err := e.dev.run(fmt.Sprintf("extend %d x %d of %d", A, T, M), []int{whole}, func(n []*graph.Node) []*graph.Node {
			last := n[4+numLayer:]
			out, keys, values := d.extend(n[0], layerOf(n[4:]), n[1], n[2], n[3], last[:A], last[A:])
			return append(append([]*graph.Node{out}, keys...), values...)
		}, append([]array{x, in[1], in[2], in[3]}, w...), take)
		done()
		if err != nil {
			e.err = errors.Join(errors.New("engine/xla: sessions lost their keys"), err)
			return e.err
		}
		free(x)
		x = out[0]
		for i, cache := range caches {
			cache.k[l], cache.v[l] = out[1+i], out[1+A+i]
		}
	}
	defer free(x)
	if err := e.logits(parts, x, d, wanted, V); err != nil {
		return err
	}
	for _, p := range parts {
		p.Session.n += p.n
	}
	return nil
}

// spareCache is the i-th cache of length M that only fills a pass up.
func (e *Engine) spareCache(M, i int) (cache, error) {
	key := M*passRows + i
	if c, ok := e.spare[key]; ok {
		return c, nil
	}
	c, err := e.newCache(M)
	if err == nil {
		e.spare[key] = c
	}
	return c, err
}

// logits computes those of the rows of x that are wanted, and nothing where there are none.
func (e *Engine) logits(parts []stretch, x array, d *decoder, wanted []int32, V int) error {
	if len(wanted) == 0 {
		return nil
	}
	n := len(wanted)
	for len(wanted) < power(n) {
		wanted = append(wanted, wanted[n-1])
	}
	rows, err := put(e.dev, wanted, whole, len(wanted))
	if err != nil {
		return err
	}
	defer free(rows)
	w, done, err := e.weights(e.w[e.norm()], e.w[e.head()])
	if err != nil {
		return err
	}
	defer done()
	out, err := e.dev.run("logits", []int{whole}, func(in []*graph.Node) []*graph.Node {
		normed, _ := d.rmsNorm(embed(in[0], in[3]), in[1])
		return []*graph.Node{d.linear(normed, in[2])}
	}, []array{x, w[0], w[1], rows}, nil)
	if err != nil {
		return err
	}
	defer free(out...)
	all := make([]float32, len(wanted)*V)
	if err := get(e.dev, all, out[0], len(wanted), V); err != nil {
		return err
	}
	for _, p := range parts {
		first := min(max(p.From-p.at, 0), p.n)
		if rows := p.n - first; rows > 0 {
			copy(p.Logits[(p.at+first-p.From)*V:], all[:rows*V])
			all = all[rows*V:]
		}
	}
	return nil
}
