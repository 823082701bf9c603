// Package ref is the decoder as the papers write it: plain loops, forward and backward, in float32 or float64.
//
// It is for reading, and for checking the fast engines tensor by tensor. Its gradients are checked against finite
// differences and against PyTorch. Shape letters are those of the house: B rows, T tokens in a row, C width, H heads,
// K key-value heads, D head width, F width of the feed-forward layer, V vocabulary, L layers. N is B*T. Matrices are
// row-major, a weight (out, in) maps a row x to x·Wᵀ.
package ref

import (
	"fmt"
	"math"

	"ravn/model"
)

// Float is the number format that an engine reckons in.
type Float interface{ float32 | float64 }

// Engine holds a decoder with its gradients and moments. One goroutine may use it at a time.
type Engine[F Float] struct {
	// Trace, when set, is shown every intermediate tensor as it is computed, row by row of tokens (N, width), under
	// the name that the module has in transformers: "model.layers.0.self_attn.q_proj", and some more (see forward.go).
	// Gradients with respect to them carry the prefix "d ". The slice must not be kept or changed.
	Trace func(name string, x []F)

	cfg    *model.Config
	layout []model.Param
	w, g   []F // parameters and gradients, flat, in the order of layout
	m, v   []F // moments
}

// New makes an engine with the weights of w, which are copied.
func New[F Float](w *model.Weights) (*Engine[F], error) {
	if err := w.Config.Validate(); err != nil {
		return nil, err
	}
	n := w.Config.NumParams()
	if len(w.Params) != n {
		return nil, fmt.Errorf("engine/ref: %d numbers for %d parameters", len(w.Params), n)
	}
	e := &Engine[F]{
		cfg: w.Config, layout: w.Config.Layout(),
		w: make([]F, n), g: make([]F, n), m: make([]F, n), v: make([]F, n),
	}
	convert(e.w, w.Params)
	return e, nil
}

// Config is the configuration of the decoder.
func (e *Engine[F]) Config() *model.Config { return e.cfg }

// Params are the live parameters, flat, in the order of Config.Layout.
func (e *Engine[F]) Params() []F { return e.w }

// Grads are the live gradients, in the order of Params.
func (e *Engine[F]) Grads() []F { return e.g }

// Accumulate runs b forward and backward, adds scale times the gradient of the summed loss to the gradients, and
// returns that sum, in nats over the targets of b.
func (e *Engine[F]) Accumulate(b *model.Batch, scale float32) (nll float64, err error) {
	if err := b.Validate(e.cfg); err != nil {
		return 0, err
	}
	if b.Targets == nil {
		return 0, fmt.Errorf("engine/ref: a batch without targets has no loss")
	}
	run := e.forward(b)
	losses := make([]F, b.B*b.T)
	dlogits := make([]F, len(run.logits))
	crossEntropy(losses, run.logits, b.Targets)
	crossEntropyBackward(dlogits, run.logits, b.Targets, F(scale))
	e.backward(run, dlogits)
	for _, l := range losses {
		nll += float64(l)
	}
	return nll, nil
}

// Loss writes the loss of each target of b in nats to nll (B*T), 0 where there is none.
func (e *Engine[F]) Loss(nll []float32, b *model.Batch) error {
	if err := b.Validate(e.cfg); err != nil {
		return err
	}
	if len(nll) != b.B*b.T || b.Targets == nil {
		return fmt.Errorf("engine/ref: %d losses and %d targets for %d rows of %d", len(nll), len(b.Targets), b.B, b.T)
	}
	losses := make([]F, len(nll))
	crossEntropy(losses, e.forward(b).logits, b.Targets)
	convert(nll, losses)
	return nil
}

// Logits returns the logits (len(tokens), V) after each of tokens, one row from position 0.
func (e *Engine[F]) Logits(tokens []int32) ([]F, error) {
	b := &model.Batch{B: 1, T: len(tokens), Tokens: tokens}
	if err := b.Validate(e.cfg); err != nil {
		return nil, err
	}
	return e.forward(b).logits, nil
}

// GradNorm is the 2-norm of all gradients together.
func (e *Engine[F]) GradNorm() float64 {
	var sum float64
	for _, g := range e.g {
		sum += float64(g) * float64(g)
	}
	return math.Sqrt(sum)
}

// Update takes one step of AdamW with the gradients, and clears them.
func (e *Engine[F]) Update(u model.Update) error {
	if u.Step < 1 {
		return fmt.Errorf("engine/ref: update with step %d; the first step is 1", u.Step)
	}
	for _, p := range e.layout {
		lo, hi := p.Offset, p.Offset+p.Size
		adamW(e.w[lo:hi], e.g[lo:hi], e.m[lo:hi], e.v[lo:hi], u, p.Decay)
	}
	clear(e.g)
	return nil
}

// State is the state in training: the live slices of a float32 engine, rounded copies of a float64 one.
func (e *Engine[F]) State() model.State {
	return model.State{Params: as32(e.w), M: as32(e.m), V: as32(e.v)}
}

// SetState copies s into the engine. Moments that are nil become zero.
func (e *Engine[F]) SetState(s model.State) error {
	for _, x := range []struct {
		name string
		s    []float32
		may  bool
	}{{"parameters", s.Params, false}, {"first moments", s.M, true}, {"second moments", s.V, true}} {
		if len(x.s) != len(e.w) && (x.s != nil || !x.may) {
			return fmt.Errorf("engine/ref: a state with %d %s for %d parameters", len(x.s), x.name, len(e.w))
		}
	}
	clear(e.m)
	clear(e.v)
	clear(e.g)
	convert(e.w, s.Params)
	convert(e.m, s.M)
	convert(e.v, s.V)
	return nil
}

// Close does nothing; it is there for those who hold an engine of any kind.
func (e *Engine[F]) Close() error { return nil }

// convert copies src to dst, which is as long or longer.
func convert[D, S Float](dst []D, src []S) {
	for i, x := range src {
		dst[i] = D(x)
	}
}

func as32[F Float](x []F) []float32 {
	if s, ok := any(x).([]float32); ok {
		return s
	}
	s := make([]float32, len(x))
	convert(s, x)
	return s
}
