package adapter

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"ravn/kernel"
	"ravn/model"
)

// Carrier is the engine that an adapter is trained on. It is asked for gradients of whole weights, and given weights.
type Carrier interface {
	Config() *model.Config
	Accumulate(b *model.Batch, scale float32) (nll float64, err error)
	Loss(nll []float32, b *model.Batch) error
	DropGradients()
	Grads() []float32 // accumulated, in the order of Config.Layout
	SetState(s model.State) error
	Close() error
}

// Engine trains an adapter. It is to a training loop what an engine is, with other parameters: GradNorm and Update are
// of the adapter alone.
type Engine struct {
	carrier   Carrier
	adapter   *Adapter
	name      string    // of the base, for adapter_config.json
	params    []float32 // effective weights, in the order of Config.Layout
	base      []float32 // W0 of the targets
	first     []float32 // the adapter's numbers before the first step
	m, v      []float32 // moments
	grads     []float32 // of the adapter
	projected bool      // grads are those of what the carrier has accumulated
	pool      *kernel.Pool
	scratch   *scratch
}

// NewEngine puts a new adapter on carrier, whose weights are w: the base. w.Params hold the effective weights from now on;
// it does not matter whether they are the carrier's own memory. threads 0 is one a processor.
func NewEngine(carrier Carrier, w *model.Weights, o Options, seed uint64, name string, threads int) (*Engine, error) {
	a, err := New(w, o, seed)
	if err != nil {
		return nil, err
	}
	return &Engine{
		carrier: carrier, adapter: a, name: name, params: w.Params, base: a.keep(w.Params), first: slices.Clone(a.params),
		m: make([]float32, a.size), v: make([]float32, a.size), grads: make([]float32, a.size),
		pool: kernel.NewPool(threads), scratch: a.newScratch(),
	}, nil
}

// Adapter is the adapter in training, live.
func (e *Engine) Adapter() *Adapter { return e.adapter }

// Carrier is the engine below.
func (e *Engine) Carrier() Carrier { return e.carrier }

// Config is the configuration of the decoder.
func (e *Engine) Config() *model.Config { return e.carrier.Config() }

// Accumulate is the carrier's.
func (e *Engine) Accumulate(b *model.Batch, scale float32) (float64, error) {
	e.projected = false
	return e.carrier.Accumulate(b, scale)
}

// Loss is the carrier's.
func (e *Engine) Loss(nll []float32, b *model.Batch) error { return e.carrier.Loss(nll, b) }

// DropGradients forgets what Accumulate has added up.
func (e *Engine) DropGradients() {
	e.projected = false
	e.carrier.DropGradients()
}

// Grads are the gradients of the adapter's numbers.
func (e *Engine) Grads() []float32 {
	if !e.projected {
		e.adapter.gradients(e.pool, e.grads, e.carrier.Grads(), e.base, e.scratch)
		e.projected = true
	}
	return e.grads
}

// GradNorm is the 2-norm of the gradients of the adapter's numbers.
func (e *Engine) GradNorm() float64 { return math.Sqrt(kernel.SumSquares(e.pool, e.Grads())) }

// Update takes one step of AdamW on the adapter's numbers and gives the carrier the weights that follow.
func (e *Engine) Update(u model.Update) error {
	if u.Step < 1 {
		return fmt.Errorf("adapter: update: step is %d, the first is 1", u.Step)
	}
	g, a := e.Grads(), e.adapter
	step := kernel.AdamWParams{
		LR: float32(u.LR), Beta1: float32(u.Beta1), Beta2: float32(u.Beta2), Eps: float32(u.Eps),
		WeightDecay: float32(u.WeightDecay), GradScale: float32(u.GradScale),
		BC1: float32(1 - math.Pow(u.Beta1, float64(u.Step))), BC2: float32(1 - math.Pow(u.Beta2, float64(u.Step))),
	}
	a.runs(func(from, to int, decay bool) {
		kernel.AdamW(e.pool, a.params[from:to], g[from:to], e.m[from:to], e.v[from:to], step, decay)
	})
	return e.give()
}

// give puts the effective weights into the carrier.
func (e *Engine) give() error {
	e.projected = false
	e.adapter.apply(e.pool, e.params, e.base, e.scratch)
	return e.carrier.SetState(model.State{Params: e.params})
}

// State is the effective weights, live. The moments are the adapter's, see Write.
func (e *Engine) State() model.State { return model.State{Params: e.params} }

// SetState is refused: the weights follow from the base and the adapter, see Read.
func (e *Engine) SetState(model.State) error {
	return errors.New("adapter: weights cannot be set, they follow from the base and the adapter")
}

// Restart makes the adapter what it was before the first step.
func (e *Engine) Restart() error {
	copy(e.adapter.params, e.first)
	clear(e.m)
	clear(e.v)
	e.carrier.DropGradients()
	return e.give()
}

// Close closes the carrier.
func (e *Engine) Close() error {
	e.pool.Close()
	return e.carrier.Close()
}
