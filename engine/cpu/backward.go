package cpu

import (
	"ravn/kernel"
)

// columnsTask is how many columns one task of the embedding's gradient takes. A task adds the rows in their order, so
// that a token that comes twice is added in one order whatever the threads.
const columnsTask = 64

// mlpBackward takes dx from the output of block l to the stream between its attention and its MLP.
func (e *Engine) mlpBackward(l int) {
	w, t, ly, g := e.work, e.train, &e.w.layers[l], &e.train.g.layers[l]
	k, n, p := &t.kept[l], w.n, e.pool
	dx := kernel.Mat{Data: t.dx, Stride: e.C}
	w.matMul(t.dact, e.F, dx, ly.down.back(), n, e.F, e.C, false)
	w.gu = k.gu
	w.run(w.chunks(), t.swigluTask)
	dx.Trans = true
	w.matMul(g.down.data, e.F, dx, kernel.Mat{Data: w.act, Stride: e.F}, e.C, e.F, n, true)

	kernel.RMSNorm(p, w.xn, w.rstd, k.mid, ly.norm2, n, e.C, e.eps)
	dgu := kernel.Mat{Data: t.dgu, Stride: 2 * e.F}
	w.matMul(t.dxn, e.C, dgu, ly.gu.back(), n, e.C, 2*e.F, false)
	dgu.Trans = true
	w.matMul(g.gu.data, e.C, dgu, kernel.Mat{Data: w.xn, Stride: e.C}, 2*e.F, e.C, n, true)
	kernel.RMSNormBackward(p, t.dx, g.norm2, t.dxn, k.mid, ly.norm2, w.rstd, n, e.C)
}

// swigluBackwardRows makes act again and turns dact into dgu.
func (e *Engine) swigluBackwardRows(i int) {
	w, t := e.work, e.train
	from, to := w.chunk(i)
	for r := from; r < to; r++ {
		gu, dgu := w.gu[r*2*e.F:][:2*e.F], t.dgu[r*2*e.F:][:2*e.F]
		kernel.SwiGLU(nil, w.act[r*e.F:][:e.F], gu[:e.F], gu[e.F:])
		clear(dgu)
		kernel.SwiGLUBackward(nil, dgu[:e.F], dgu[e.F:], t.dact[r*e.F:][:e.F], gu[:e.F], gu[e.F:])
	}
}

// again computes what block l keeps from its input, as Accumulate did.
func (e *Engine) again(l int) {
	w, k, ly := e.work, &e.train.kept[l], &e.w.layers[l]
	w.x, w.qkv, w.att, w.gu = k.in, k.qkv, k.att, k.gu
	w.project(ly)
	w.attention()
	w.mixed(ly, k.mid)
	kernel.RMSNorm(w.pool, w.xn, w.rstd, w.x, ly.norm2, w.n, w.C, w.eps)
	w.product(w.gu, w.xn, &ly.gu, w.n, false)
}

// attentionBackward takes dx from there to the input of block l.
func (e *Engine) attentionBackward(l int) {
	w, t, ly, g := e.work, e.train, &e.w.layers[l], &e.train.g.layers[l]
	k, n, p := &t.kept[l], w.n, e.pool
	dx := kernel.Mat{Data: t.dx, Stride: e.C}
	w.matMul(t.datt, e.Q, dx, ly.o.back(), n, e.Q, e.C, false)
	dx.Trans = true
	w.matMul(g.o.data, e.Q, dx, kernel.Mat{Data: k.att, Stride: e.Q}, e.C, e.Q, n, true)

	w.qkv = k.qkv
	w.run(len(e.segments)*e.K, t.attendTask)
	kernel.Rope(p, t.dqkv, w.pos, w.rope.qcos, w.rope.qsin, n, e.H, e.D, e.QKV, true)
	kernel.Rope(p, t.dqkv[e.Q:], w.pos, w.rope.cos, w.rope.sin, n, e.K, e.D, e.QKV, true)

	kernel.RMSNorm(p, w.xn, w.rstd, k.in, ly.norm1, n, e.C, e.eps)
	dqkv := kernel.Mat{Data: t.dqkv, Stride: e.QKV}
	w.matMul(t.dxn, e.C, dqkv, ly.qkv.back(), n, e.C, e.QKV, false)
	dqkv.Trans = true
	w.matMul(g.qkv.data, e.C, dqkv, kernel.Mat{Data: w.xn, Stride: e.C}, e.QKV, e.C, n, true)
	kernel.RMSNormBackward(p, t.dx, g.norm1, t.dxn, k.in, ly.norm1, w.rstd, n, e.C)
}

func (e *Engine) attendBackwardSegment(i int) {
	w, t := e.work, e.train
	sc := <-w.scratch
	e.attendBackward(sc, t.dqkv, t.datt, w.qkv, e.segments[i/e.K], i%e.K)
	w.scratch <- sc
}

// embedBackwardColumns adds dx to the rows of the embedding's gradient, for some columns.
func (e *Engine) embedBackwardColumns(i int) {
	from, to := i*columnsTask, min(e.C, (i+1)*columnsTask)
	for r, token := range e.work.tokens[:e.work.n] {
		kernel.Add(e.train.g.embed[int(token)*e.C:][from:to], e.train.dx[r*e.C:][from:to])
	}
}
