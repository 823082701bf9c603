package cpu

import (
	"fmt"

	"ravn/kernel"
	"ravn/model"
)

// headRows is how many rows of logits exist at a time.
const headRows = 512

// head is the memory of the final norm, the logits and the losses of up to headRows rows.
type head struct {
	scored []int32   // rows of the batch that have a target
	x, xn  []float32 // (headRows, C)
	rstd   []float32 // (headRows)
	logits []float32 // (headRows, V)
	target []int32   // (headRows)
	nll    []float32 // (headRows)
	at     []float32 // (headRows) logits of the targets, for ZLoss
	dx     []float32 // (headRows, C), nil without training
}

func newHead(s *shape, rows int, train bool) *head {
	r := min(rows, headRows)
	h := &head{
		scored: make([]int32, 0, rows), x: floats(r * s.C), xn: floats(r * s.C), rstd: floats(r),
		logits: floats(r * s.V), target: make([]int32, r), nll: floats(r), at: floats(r),
	}
	if train {
		h.dx = floats(r * s.C)
	}
	return h
}

// Loss writes the loss of each target to nll (B*T), in nats, 0 where there is none. A row's losses do not depend on
// what other rows the batch has.
func (e *Engine) Loss(nll []float32, b *model.Batch) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if err := e.begin(b); err != nil {
		return err
	}
	if len(nll) != b.B*b.T {
		return fmt.Errorf("engine/cpu: place for %d losses, the batch has %d x %d", len(nll), b.B, b.T)
	}
	w := e.work
	w.x, w.qkv, w.att, w.gu = e.stream, e.qkv, e.att, e.gu
	w.lookup(e.w.embed, b.Tokens)
	for l := range e.w.layers {
		ly := &e.w.layers[l]
		w.project(ly)
		w.attention()
		w.mixed(ly, nil)
		w.mlp(ly, nil)
	}
	e.score(nll, b, 0, nil)
	return nil
}

// score computes the losses of b from the last block's output, w.x, and returns their sum. With t it goes on to set
// t.dx, adding to the gradients of the head and the final norm on the way. Rows without target cost nothing.
func (e *Engine) score(nll []float32, b *model.Batch, scale float32, t *training) (sum float64) {
	h, w := e.head, e.work
	clear(nll)
	h.scored = h.scored[:0]
	for i, target := range b.Targets {
		if target >= 0 {
			h.scored = append(h.scored, int32(i))
		}
	}
	if t != nil {
		clear(t.dx[:w.n*e.C])
	}
	for at := 0; at < len(h.scored); at += headRows {
		rows := h.scored[at:min(len(h.scored), at+headRows)]
		for i, r := range rows {
			copy(h.x[i*e.C:][:e.C], w.x[int(r)*e.C:])
			h.target[i] = b.Targets[r]
		}
		h.forward(e, len(rows))
		z := e.o.ZLoss
		if t != nil && z != 0 {
			for i := range rows {
				h.at[i] = h.logits[i*e.V+int(h.target[i])]
			}
		}
		kernel.CrossEntropy(e.pool, h.nll[:len(rows)], h.logits[:len(rows)*e.V], h.target[:len(rows)], len(rows), e.V, scale, t != nil)
		for i, r := range rows {
			nll[r] = h.nll[i]
			sum += float64(h.nll[i])
		}
		if t != nil {
			if z != 0 {
				for i := range rows {
					zLoss(h.logits[i*e.V:][:e.V], h.target[i], h.nll[i]+h.at[i], z, scale)
				}
			}
			h.backward(e, t, rows)
		}
	}
	return sum
}

// forward computes the logits of n rows of h.x.
func (h *head) forward(e *Engine, n int) {
	kernel.RMSNorm(e.pool, h.xn, h.rstd, h.x, e.w.norm, n, e.C, e.eps)
	e.work.product(h.logits, h.xn, &e.w.head, n, false)
}

// backward takes the gradient of the logits to rows of t.dx. The gradient of h.xn overwrites it.
func (h *head) backward(e *Engine, t *training, rows []int32) {
	n := len(rows)
	dl := kernel.Mat{Data: h.logits, Stride: e.V}
	dlt := dl
	dlt.Trans = true
	e.work.matMul(t.g.head.data, e.C, dlt, kernel.Mat{Data: h.xn, Stride: e.C}, e.V, e.C, n, true)
	e.work.matMul(h.xn, e.C, dl, e.w.head.back(), n, e.C, e.V, false)
	clear(h.dx[:n*e.C])
	kernel.RMSNormBackward(e.pool, h.dx, t.g.norm, h.xn, h.x, e.w.norm, h.rstd, n, e.C)
	for i, r := range rows {
		copy(t.dx[int(r)*e.C:][:e.C], h.dx[i*e.C:])
	}
}
