package cpu

import (
	"fmt"
	"math"

	"ravn/model"
)

// shape is a configuration as the loops need it.
type shape struct {
	V, C, F, L, H, K, D int     // vocabulary, width, SwiGLU width, layers, heads, key-value heads, head width
	Q, KV, QKV          int     // H*D, K*D, Q+2*KV
	G                   int     // query heads of one key-value head
	window              int     // keys that a query sees; 0 is all
	maxPos              int     // positions that the model knows
	eps                 float32 // of the norms
}

func newShape(c *model.Config) shape {
	s := shape{
		V: c.VocabSize, C: c.HiddenSize, F: c.IntermediateSize, L: c.NumHiddenLayers,
		H: c.NumAttentionHeads, K: c.NumKeyValueHeads, D: c.HeadDim,
		window: c.SlidingWindow, maxPos: c.MaxPositionEmbeddings, eps: float32(c.RMSNormEps),
	}
	s.Q, s.KV, s.G = s.H*s.D, s.K*s.D, s.H/s.K
	s.QKV = s.Q + 2*s.KV
	return s
}

// scale is what scores are multiplied by: 1/sqrt(D).
func (s *shape) scale() float64 { return 1 / math.Sqrt(float64(s.D)) }

// layer is one block's view of a flat vector of parameters or gradients. Query, key and value rows lie together, and
// so do gate and up, so that each group is one matrix.
type layer struct {
	norm1 []float32 // (C)
	qkv   matrix    // (QKV, C)
	o     matrix    // (C, Q)
	norm2 []float32 // (C)
	gu    matrix    // (2F, C)
	down  matrix    // (C, F)
}

// tensors is a flat vector of parameters or gradients, seen as a decoder.
type tensors struct {
	embed  []float32 // (V, C)
	layers []layer
	norm   []float32 // (C)
	head   matrix    // (V, C); the embedding when tied
}

// view cuts flat in the order of Config.Layout.
func view(c *model.Config, flat []float32) (tensors, error) {
	s, at := newShape(c), 0
	take := func(size int) []float32 {
		from := min(at, len(flat))
		at += size
		return flat[from:min(at, len(flat)):min(at, len(flat))]
	}
	table := func(out, in int) matrix { return matrix{data: take(out * in), in: in, out: out} }
	t := tensors{embed: take(s.V * s.C), layers: make([]layer, s.L)}
	for l := range t.layers {
		t.layers[l] = layer{
			norm1: take(s.C), qkv: table(s.QKV, s.C), o: table(s.C, s.Q),
			norm2: take(s.C), gu: table(2*s.F, s.C), down: table(s.C, s.F),
		}
	}
	t.norm = take(s.C)
	t.head = matrix{data: t.embed, in: s.C, out: s.V}
	if !c.TieWordEmbeddings {
		t.head = table(s.V, s.C)
	}
	if at != len(flat) {
		return tensors{}, fmt.Errorf("engine/cpu: %d parameters, the configuration has %d", len(flat), at)
	}
	return t, nil
}

// run is a stretch of parameters that the optimizer treats alike.
type run struct {
	from, to int
	decay    bool
}

// optimizerRuns joins neighbours of the layout that agree on weight decay.
func optimizerRuns(c *model.Config) []run {
	var rs []run
	for _, p := range c.Layout() {
		appendRun(&rs, p)
	}
	return rs
}
