package cpu

import (
	"ravn/model"
)

// kept is what the backward pass of a block reads: its input, the stream after attention, and the products that would
// cost a matrix product to make again. Norms, SwiGLU and probabilities are made again. With Options.Recompute all blocks
// share everything but the input.
type kept struct {
	in, mid []float32 // (n, C)
	qkv     []float32 // (n, QKV)
	att     []float32 // (n, Q)
	gu      []float32 // (n, 2F)
}

// training is the memory that gradients need.
type training struct {
	grads []float32
	m, v  []float32
	g     tensors // of grads
	kept  []kept
	out   []float32 // (n, C), the last block's output

	dx   []float32 // (n, C), gradient of the residual stream
	dxn  []float32 // (n, C)
	dqkv []float32 // (n, QKV)
	datt []float32 // (n, Q)
	dgu  []float32 // (n, 2F)
	dact []float32 // (n, F)

	swigluTask, attendTask, embedTask func(i int)
}

func (e *Engine) newTraining(rows int) (*training, error) {
	moments := len(e.params)
	if e.o.NoMoments {
		moments = 0
	}
	t := &training{
		grads: floats(len(e.params)), m: floats(moments), v: floats(moments),
		kept: make([]kept, e.L), out: floats(rows * e.C),
		dx: floats(rows * e.C), dxn: floats(rows * e.C), dqkv: floats(rows * e.QKV),
		datt: floats(rows * e.Q), dgu: floats(rows * 2 * e.F), dact: floats(rows * e.F),
	}
	for l := range t.kept {
		k := &t.kept[l]
		if l > 0 && e.o.Recompute {
			*k = t.kept[0]
		} else {
			k.mid, k.qkv = floats(rows*e.C), floats(rows*e.QKV)
			k.att, k.gu = floats(rows*e.Q), floats(rows*2*e.F)
		}
		k.in = floats(rows * e.C)
	}
	var err error
	t.g, err = view(e.config, t.grads)
	t.swigluTask, t.attendTask, t.embedTask = e.swigluBackwardRows, e.attendBackwardSegment, e.embedBackwardColumns
	return t, err
}

// Accumulate runs b forward and backward. It adds scale times the gradient of the sum of the targets' losses to the
// gradients, and returns that sum in nats, unscaled, whatever it is: a loss that is not a number is the caller's to judge.
func (e *Engine) Accumulate(b *model.Batch, scale float32) (nll float64, err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.train == nil {
		return 0, errInference
	}
	if err := e.begin(b); err != nil {
		return 0, err
	}
	w, t := e.work, e.train
	w.x = t.kept[0].in
	w.lookup(e.w.embed, b.Tokens)
	for l := range t.kept {
		k, ly := &t.kept[l], &e.w.layers[l]
		w.qkv, w.att, w.gu = k.qkv, k.att, k.gu
		w.project(ly)
		w.attention()
		w.mixed(ly, k.mid)
		out := t.out
		if l+1 < e.L {
			out = t.kept[l+1].in
		}
		w.mlp(ly, out)
	}
	nll = e.score(e.nll, b, scale, t)
	for l := e.L - 1; l >= 0; l-- {
		if e.o.Recompute && l < e.L-1 {
			e.again(l)
		}
		e.mlpBackward(l)
		e.attentionBackward(l)
	}
	w.run((e.C+columnsTask-1)/columnsTask, t.embedTask)
	return nll, nil
}
