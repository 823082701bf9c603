package cpu

import (
	"ravn/kernel"
)

// rowsTask is how many rows one task of an elementwise pass takes.
const rowsTask = 16

// work is the buffers and the tasks of one forward pass over at most `rows` rows. Tasks are bound once, so that
// handing them to the pool allocates nothing; what they act on stands in the fields.
type work struct {
	*shape
	pool *kernel.Pool // nil runs everything in the caller
	half bool         // products round their operands to bfloat16
	n    int          // rows in use

	pos     []int32
	spans   []span
	scratch chan *scratch
	rope    *angles

	x    []float32 // (n, C), the residual stream
	xn   []float32 // (n, C), a norm's output
	rstd []float32 // (n)
	qkv  []float32 // (n, QKV)
	att  []float32 // (n, Q)
	gu   []float32 // (n, 2F)
	act  []float32 // (n, F)
	l    int       // layer that the attention tasks are in

	embed  []float32 // (V, C), for embedTask
	tokens []int32
	from   []float32 // for copyTask

	embedTask, attendTask, swigluTask, copyTask func(i int)
}

// newWork allocates buffers for rows of s. Those that training keeps for each layer are left to it.
func newWork(s *shape, rows, threads int) *work {
	w := &work{shape: s, xn: floats(rows * s.C), rstd: floats(rows), act: floats(rows * s.F), pos: make([]int32, rows)}
	w.scratch = make(chan *scratch, threads)
	for range threads {
		w.scratch <- &scratch{}
	}
	w.embedTask, w.attendTask, w.swigluTask, w.copyTask = w.embedRows, w.attendSpan, w.swigluRows, w.copyRows
	return w
}

// run calls f for 0 … n-1 on the pool, or here.
func (w *work) run(n int, f func(i int)) {
	if w.pool == nil {
		for i := range n {
			f(i)
		}
		return
	}
	w.pool.Run(n, f)
}

// chunks is the number of tasks of rowsTask rows.
func (w *work) chunks() int { return (w.n + rowsTask - 1) / rowsTask }

func (w *work) chunk(i int) (from, to int) { return i * rowsTask, min(w.n, (i+1)*rowsTask) }

// lookup writes the embeddings of tokens to x.
func (w *work) lookup(embed []float32, tokens []int32) {
	w.embed, w.tokens = embed, tokens
	w.run(w.chunks(), w.embedTask)
}

func (w *work) embedRows(i int) {
	from, to := w.chunk(i)
	for r := from; r < to; r++ {
		copy(w.x[r*w.C:][:w.C], w.embed[int(w.tokens[r])*w.C:])
	}
}

// project computes queries, keys and values of layer ly, with their rotary positions.
func (w *work) project(ly *layer) {
	kernel.RMSNorm(w.pool, w.xn, w.rstd, w.x, ly.norm1, w.n, w.C, w.eps)
	w.product(w.qkv, w.xn, &ly.qkv, w.n, false)
	kernel.Rope(w.pool, w.qkv, w.pos, w.rope.qcos, w.rope.qsin, w.n, w.H, w.D, w.QKV, false)
	kernel.Rope(w.pool, w.qkv[w.Q:], w.pos, w.rope.cos, w.rope.sin, w.n, w.K, w.D, w.QKV, false)
}

// attention computes att for all spans.
func (w *work) attention() { w.run(len(w.spans)*w.K, w.attendTask) }

func (w *work) attendSpan(i int) {
	sp, head := w.spans[i/w.K], i%w.K
	sc := <-w.scratch
	k, v := w.keys(w.qkv, sp.start)
	if sp.session != nil {
		k, v = sp.session.keys(sc, w.l, head, w.firstKey(sp.from), sp.to)
	}
	w.attend(sc, w.att, w.qkv, k, v, sp, head)
	w.scratch <- sc
}

// mixed adds att·Wo to x; the sum stands in dst, unless that is nil.
func (w *work) mixed(ly *layer, dst []float32) {
	w.move(dst)
	w.product(w.x, w.att, &ly.o, w.n, true)
}

// mlp adds down(silu(gate(norm(x))) * up(norm(x))) to x; the sum stands in dst, unless that is nil.
func (w *work) mlp(ly *layer, dst []float32) {
	kernel.RMSNorm(w.pool, w.xn, w.rstd, w.x, ly.norm2, w.n, w.C, w.eps)
	w.product(w.gu, w.xn, &ly.gu, w.n, false)
	w.run(w.chunks(), w.swigluTask)
	w.move(dst)
	w.product(w.x, w.act, &ly.down, w.n, true)
}

func (w *work) swigluRows(i int) {
	from, to := w.chunk(i)
	for r := from; r < to; r++ {
		gu := w.gu[r*2*w.F:][:2*w.F]
		kernel.SwiGLU(nil, w.act[r*w.F:][:w.F], gu[:w.F], gu[w.F:])
	}
}

// move makes dst, a copy of x, the residual stream. Without dst it stays where it is.
func (w *work) move(dst []float32) {
	if dst == nil {
		return
	}
	w.from, w.x = w.x, dst
	w.run(w.chunks(), w.copyTask)
}

func (w *work) copyRows(i int) {
	from, to := w.chunk(i)
	copy(w.x[from*w.C:to*w.C], w.from[from*w.C:])
}
