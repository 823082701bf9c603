package ref

import (
	"fmt"

	"ravn/model"
)

// weights are views of a flat vector of parameters, or of their gradients.
type weights[F Float] struct {
	embed  []F // (V, C)
	blocks []blockWeights[F]
	norm   []F // (C)
	head   []F // (V, C); the embedding when tied
}

type blockWeights[F Float] struct {
	norm1      []F // (C)
	q, k, v, o []F // (H*D, C), (K*D, C), (K*D, C), (C, H*D)
	norm2      []F // (C)
	gate, up   []F // (F, C)
	down       []F // (C, F)
}

// views cuts flat as the layout says.
func (e *Engine[F]) views(flat []F) weights[F] {
	at := 0
	next := func() []F {
		p := e.layout[at]
		at++
		return flat[p.Offset : p.Offset+p.Size]
	}
	w := weights[F]{embed: next()}
	for range e.cfg.NumHiddenLayers {
		w.blocks = append(w.blocks, blockWeights[F]{
			norm1: next(), q: next(), k: next(), v: next(), o: next(),
			norm2: next(), gate: next(), up: next(), down: next(),
		})
	}
	w.norm = next()
	w.head = w.embed
	if !e.cfg.TieWordEmbeddings {
		w.head = next()
	}
	return w
}

// run is everything of a forward pass that the way back reads.
type run[F Float] struct {
	b      *model.Batch
	rope   rotation[F]
	blocks []blockRun[F]
	last   []F // (N, C), output of the last block
	normed []F // (N, C)
	rstd   []F // (N)
	logits []F // (N, V)
}

type blockRun[F Float] struct {
	in, normed1, rstd1  []F // (N, C), (N, C), (N)
	q, k, v             []F // (N, H*D), (N, K*D), (N, K*D); q and k are rotated
	probs               []F // (B, H, T, T)
	heads               []F // (N, H*D)
	mid, normed2, rstd2 []F // (N, C), (N, C), (N)
	gate, up, act       []F // (N, F)
}

// forward computes the logits of b.
//
// One block (Touvron et al. 2023, arXiv 2302.13971, section 2.2; Jiang et al. 2023, arXiv 2310.06825):
//
//	x += o(attention(rotate(q(n)), rotate(k(n)), v(n)))     n = RMSNorm(x)
//	x += down(silu(gate(n)) * up(n))                        n = RMSNorm(x)
//
// Traced beside the modules: "….q_rotated" and "….k_rotated", "….self_attn.heads" (what o_proj reads), "….middle" (x
// between the two lines above), "….mlp.act" (what down_proj reads), and under the block's own name its output.
func (e *Engine[F]) forward(b *model.Batch) *run[F] {
	c, w, n := e.cfg, e.views(e.w), b.B*b.T
	C := c.HiddenSize
	r := &run[F]{b: b, rope: newRotation[F](b, c.HeadDim, c.RopeTheta)}
	x := make([]F, n*C)
	for i, id := range b.Tokens {
		copy(x[i*C:(i+1)*C], w.embed[int(id)*C:])
	}
	e.trace("model.embed_tokens", x)
	for l := range w.blocks {
		var br blockRun[F]
		x = e.blockForward(&br, r, fmt.Sprintf("model.layers.%d", l), &w.blocks[l], x)
		r.blocks = append(r.blocks, br)
	}
	r.last = x
	r.normed, r.rstd = make([]F, n*C), make([]F, n)
	rmsNorm(r.normed, r.rstd, x, w.norm, F(c.RMSNormEps))
	e.trace("model.norm", r.normed)
	r.logits = make([]F, n*c.VocabSize)
	linear(r.logits, r.normed, w.head, C)
	e.trace("lm_head", r.logits)
	return r
}

func (e *Engine[F]) blockForward(br *blockRun[F], r *run[F], name string, w *blockWeights[F], x []F) []F {
	c, n := e.cfg, r.b.B*r.b.T
	C, qw, kw, D := c.HiddenSize, c.NumAttentionHeads*c.HeadDim, c.NumKeyValueHeads*c.HeadDim, c.HeadDim

	br.in, br.normed1, br.rstd1 = x, make([]F, n*C), make([]F, n)
	rmsNorm(br.normed1, br.rstd1, x, w.norm1, F(c.RMSNormEps))
	e.trace(name+".input_layernorm", br.normed1)
	br.q, br.k, br.v = make([]F, n*qw), make([]F, n*kw), make([]F, n*kw)
	linear(br.q, br.normed1, w.q, C)
	linear(br.k, br.normed1, w.k, C)
	linear(br.v, br.normed1, w.v, C)
	e.trace(name+".self_attn.q_proj", br.q)
	e.trace(name+".self_attn.k_proj", br.k)
	e.trace(name+".self_attn.v_proj", br.v)
	r.rope.rotate(br.q, D)
	r.rope.rotate(br.k, D)
	e.trace(name+".self_attn.q_rotated", br.q)
	e.trace(name+".self_attn.k_rotated", br.k)
	br.heads, br.probs = make([]F, n*qw), make([]F, n*c.NumAttentionHeads*r.b.T)
	attention(br.heads, br.probs, br.q, br.k, br.v, r.b, c)
	e.trace(name+".self_attn.heads", br.heads)
	out := make([]F, n*C)
	linear(out, br.heads, w.o, qw)
	e.trace(name+".self_attn.o_proj", out)
	br.mid = sum(x, out)
	e.trace(name+".middle", br.mid)

	br.normed2, br.rstd2 = make([]F, n*C), make([]F, n)
	rmsNorm(br.normed2, br.rstd2, br.mid, w.norm2, F(c.RMSNormEps))
	e.trace(name+".post_attention_layernorm", br.normed2)
	width := n * c.IntermediateSize
	br.gate, br.up, br.act = make([]F, width), make([]F, width), make([]F, width)
	linear(br.gate, br.normed2, w.gate, C)
	linear(br.up, br.normed2, w.up, C)
	e.trace(name+".mlp.gate_proj", br.gate)
	e.trace(name+".mlp.up_proj", br.up)
	swiGLU(br.act, br.gate, br.up)
	e.trace(name+".mlp.act", br.act)
	down := make([]F, n*C)
	linear(down, br.act, w.down, c.IntermediateSize)
	e.trace(name+".mlp.down_proj", down)
	x = sum(br.mid, down)
	e.trace(name, x)
	return x
}

func (e *Engine[F]) trace(name string, x []F) {
	if e.Trace != nil {
		e.Trace(name, x)
	}
}

func sum[F Float](x, y []F) []F {
	z := make([]F, len(x))
	for i := range z {
		z[i] = x[i] + y[i]
	}
	return z
}
