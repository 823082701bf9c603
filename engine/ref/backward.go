package ref

import "fmt"

// backward adds the gradient of the loss with respect to every parameter to e.g, from the one with respect to the
// logits. It is the forward pass read from its end, by the chain rule: each step turns the gradient of its output into
// that of its inputs.
func (e *Engine[F]) backward(r *run[F], dlogits []F) {
	c, w, g, n := e.cfg, e.views(e.w), e.views(e.g), r.b.B*r.b.T
	C := c.HiddenSize
	e.trace("d lm_head", dlogits)
	dnormed := make([]F, n*C)
	linearBackward(dnormed, g.head, dlogits, r.normed, w.head, C)
	e.trace("d model.norm", dnormed)
	dx := make([]F, n*C)
	rmsNormBackward(dx, g.norm, dnormed, r.last, w.norm, r.rstd)
	for l := len(r.blocks) - 1; l >= 0; l-- {
		e.trace(fmt.Sprintf("d model.layers.%d", l), dx)
		dx = e.blockBackward(&r.blocks[l], r, fmt.Sprintf("d model.layers.%d", l), &w.blocks[l], &g.blocks[l], dx)
	}
	e.trace("d model.embed_tokens", dx)
	for i, id := range r.b.Tokens {
		row := g.embed[int(id)*C : (int(id)+1)*C]
		for j := range row {
			row[j] += dx[i*C+j]
		}
	}
}

// blockBackward takes the gradient of a block's output and returns that of its input.
func (e *Engine[F]) blockBackward(br *blockRun[F], r *run[F], name string, w, g *blockWeights[F], dx []F) []F {
	c, n := e.cfg, r.b.B*r.b.T
	C, qw, kw, D := c.HiddenSize, c.NumAttentionHeads*c.HeadDim, c.NumKeyValueHeads*c.HeadDim, c.HeadDim

	// x = mid + down(act): the gradient of x is that of mid and of down's output.
	width := n * c.IntermediateSize
	dact, dgate, dup := make([]F, width), make([]F, width), make([]F, width)
	linearBackward(dact, g.down, dx, br.act, w.down, c.IntermediateSize)
	e.trace(name+".mlp.act", dact)
	swiGLUBackward(dgate, dup, dact, br.gate, br.up)
	e.trace(name+".mlp.gate_proj", dgate)
	e.trace(name+".mlp.up_proj", dup)
	dnormed := make([]F, n*C)
	linearBackward(dnormed, g.gate, dgate, br.normed2, w.gate, C)
	linearBackward(dnormed, g.up, dup, br.normed2, w.up, C)
	e.trace(name+".post_attention_layernorm", dnormed)
	dmid := append([]F(nil), dx...)
	rmsNormBackward(dmid, g.norm2, dnormed, br.mid, w.norm2, br.rstd2)
	e.trace(name+".middle", dmid)

	// mid = in + o(heads).
	dheads := make([]F, n*qw)
	linearBackward(dheads, g.o, dmid, br.heads, w.o, qw)
	e.trace(name+".self_attn.heads", dheads)
	dq, dk, dv := make([]F, n*qw), make([]F, n*kw), make([]F, n*kw)
	attentionBackward(dq, dk, dv, dheads, br.probs, br.q, br.k, br.v, r.b, c)
	e.trace(name+".self_attn.q_rotated", dq)
	e.trace(name+".self_attn.k_rotated", dk)
	r.rope.rotateBackward(dq, D)
	r.rope.rotateBackward(dk, D)
	e.trace(name+".self_attn.q_proj", dq)
	e.trace(name+".self_attn.k_proj", dk)
	e.trace(name+".self_attn.v_proj", dv)
	clear(dnormed)
	linearBackward(dnormed, g.q, dq, br.normed1, w.q, C)
	linearBackward(dnormed, g.k, dk, br.normed1, w.k, C)
	linearBackward(dnormed, g.v, dv, br.normed1, w.v, C)
	e.trace(name+".input_layernorm", dnormed)
	din := append([]F(nil), dmid...)
	rmsNormBackward(din, g.norm1, dnormed, br.in, w.norm1, br.rstd1)
	return din
}
