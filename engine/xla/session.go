package xla

import (
	"errors"
	"fmt"
	"math"
	"math/bits"

	"github.com/gomlx/gomlx/pkg/core/dtypes"
	"github.com/gomlx/gomlx/pkg/core/graph"
	"github.com/gomlx/gomlx/pkg/core/tensors"
)

// maxExtend is how many tokens go through the model at a time; more are cut into such passes.
const maxExtend = 256

// Session is a sequence of tokens whose keys and values stay on the device, so that going on costs only the new tokens.
// One goroutine uses it at a time; sessions of an engine take turns.
//
// Passes are padded to a power of two, so that few programs are compiled. Logits differ in the last bits with how a
// text is cut into calls, since XLA sums shapes of its own choosing.
type Session struct {
	e    *Engine
	max  int
	n    int
	k, v []*tensors.Tensor // of each layer (K, max, D)
}

// NewSession makes an empty session with place for maxTokens tokens.
func (e *Engine) NewSession(maxTokens int) (*Session, error) {
	c := e.config
	if maxTokens < 1 || maxTokens > c.MaxPositionEmbeddings {
		return nil, fmt.Errorf("engine/xla: session of %d tokens, the model knows 1 to %d positions (max_position_embeddings)", maxTokens, c.MaxPositionEmbeddings)
	}
	return &Session{e: e, max: maxTokens, k: e.emptyCache(maxTokens), v: e.emptyCache(maxTokens)}, nil
}

func (e *Engine) emptyCache(length int) []*tensors.Tensor {
	c := e.config
	out := make([]*tensors.Tensor, c.NumHiddenLayers)
	for l := range out {
		out[l] = tensors.FromFlatDataAndDimensions(make([]float32, c.NumKeyValueHeads*length*c.HeadDim), c.NumKeyValueHeads, length, c.HeadDim)
	}
	return out
}

// Len is the number of tokens in the session.
func (s *Session) Len() int { return s.n }

// Truncate keeps the first n tokens, so that another text with the same beginning can follow them.
func (s *Session) Truncate(n int) { s.n = min(s.n, max(n, 0)) }

// Append adds tokens and writes the logits of tokens[from:], one row of V each, to logits.
func (s *Session) Append(tokens []int32, logits []float32, from int) error {
	e, c := s.e, s.e.config
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.err != nil {
		return e.err
	}
	if len(tokens) > s.max-s.n {
		return fmt.Errorf("engine/xla: append: %d tokens after %d, the session was made for %d", len(tokens), s.n, s.max)
	}
	if from < 0 || from > len(tokens) || len(logits) < (len(tokens)-from)*c.VocabSize {
		return fmt.Errorf("engine/xla: append: place for %d logits, tokens %d to %d need %d each", len(logits), from, len(tokens), c.VocabSize)
	}
	for i, id := range tokens {
		if id < 0 || int(id) >= c.VocabSize {
			return fmt.Errorf("engine/xla: append: token %d at place %d is outside the vocabulary of %d", id, i, c.VocabSize)
		}
	}
	began := s.n
	for at := 0; at < len(tokens); {
		n := min(len(tokens)-at, maxExtend)
		skip := min(max(from-at, 0), n)
		var dst []float32
		if skip < n {
			dst = logits[(at+skip-from)*c.VocabSize:][:(n-skip)*c.VocabSize]
		}
		if err := s.extend(tokens[at:at+n], dst, skip); err != nil {
			s.n = began
			return err
		}
		at += n
	}
	return nil
}

// extend takes at most maxExtend tokens through the model.
func (s *Session) extend(tokens []int32, logits []float32, skip int) error {
	e, c := s.e, s.e.config
	n := 1 << bits.Len(uint(len(tokens)-1)) // padding is never seen: it stands behind, and what follows is written over it
	half := c.HeadDim / 2
	ids, cos, sin := make([]int32, n), make([]float32, n*half), make([]float32, n*half)
	copy(ids, tokens)
	for t := range n {
		for i := range half {
			y, x := math.Sincos(float64(s.n+t) * math.Pow(c.RopeTheta, -2*float64(i)/float64(c.HeadDim)))
			cos[t*half+i], sin[t*half+i] = float32(x), float32(y)
		}
	}
	compute := dtypes.Float32
	if e.options.BF16 {
		compute = dtypes.BFloat16
	}
	d := &decoder{c: c, compute: compute, B: 1, T: n}
	look, err := e.program("embed", func(n []*graph.Node) []*graph.Node { return []*graph.Node{embed(n[0], n[1])} })
	if err != nil {
		return err
	}
	block, err := e.program(fmt.Sprintf("extend %d of %d", n, s.max), func(in []*graph.Node) []*graph.Node {
		out, k, v := d.extend(in[0], layerOf(in[4:]), in[1], in[2], in[3], in[4+numLayer], in[5+numLayer])
		return []*graph.Node{out, k, v}
	})
	if err != nil {
		return err
	}
	out, err := e.run(look, []*tensors.Tensor{e.w[0], tensors.FromFlatDataAndDimensions(ids, n)}, nil)
	if err != nil {
		return err
	}
	x := out[0]
	start := tensors.FromScalar(int32(s.n))
	cosines, sines := tensors.FromFlatDataAndDimensions(cos, n, half), tensors.FromFlatDataAndDimensions(sin, n, half)
	for l := range c.NumHiddenLayers {
		from, to := e.block(l)
		args := append([]*tensors.Tensor{x, cosines, sines, start}, e.w[from:to]...)
		if out, err = e.run(block, args, []*tensors.Tensor{s.k[l], s.v[l]}); err != nil {
			e.err = errors.Join(errors.New("engine/xla: a session lost its keys"), err)
			return e.err
		}
		x, s.k[l], s.v[l] = out[0], out[1], out[2]
	}
	s.n += len(tokens)
	if logits == nil {
		return nil
	}
	head, err := e.program("logits", func(in []*graph.Node) []*graph.Node {
		normed, _ := d.rmsNorm(in[0], in[1])
		return []*graph.Node{d.linear(normed, in[2])}
	})
	if err != nil {
		return err
	}
	if out, err = e.run(head, []*tensors.Tensor{x, e.w[e.norm()], e.w[e.head()]}, nil); err != nil {
		return err
	}
	tensors.MustConstFlatData(out[0], func(all []float32) { copy(logits, all[skip*c.VocabSize:]) })
	return nil
}
