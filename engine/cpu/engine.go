// Package cpu trains and runs decoders of the Llama and Mistral family on the processor, in pure Go.
//
// No result depends on the number of threads: every sum has one order. What a row of a batch or a position of a session
// gets does not depend on the other rows, on how the tokens were cut into calls, or on the sizes an engine was made for.
package cpu

import (
	"errors"
	"fmt"
	"math"
	"sync"

	"ravn/kernel"
	"ravn/model"
)

var errInference = errors.New("engine/cpu: engine was made without gradients or without moments (Options.Inference, Options.NoMoments)")

// Options say what an engine is made for.
type Options struct {
	Threads   int         // workers; 0 is one a processor
	MaxTokens int         // most tokens of a batch, B*T; memory is planned for it; 0 leaves only sessions, and needs Inference
	MaxRow    int         // longest row of a batch, T; 0 is the smaller of MaxTokens and max_position_embeddings
	Inference bool        // without gradients and moments
	NoMoments bool        // with gradients, for one who makes the updates elsewhere: no memory for moments, and no Update
	Precision model.DType // of the operands of products, in training and Loss: F32 (or empty), or BF16; all else is float32
	ZLoss     float32     // weight of log²Z in what training minimises; losses that are returned do not hold it
	Recompute bool        // keep only the input of each block and compute the rest again on the way back: the same bits, less memory, a third more work

	// For sessions:
	Cache model.DType // of the keys and values they keep: F32 (or empty), or BF16, half the memory
	Slide bool        // of a model with a sliding window they keep the keys and values that it still sees and some 255 more, not all; see Session.Truncate

	Interleaved bool // rows of q and k stand as in GGUF: a head's rotary pairs are (2i, 2i+1) rather than (i, i+D/2); for Open
}

// Engine is a decoder with its memory. Its methods may be called from several goroutines; all but sessions wait for
// each other. Sessions read the parameters: none may run while they are updated.
type Engine struct {
	*shape
	o      Options
	config *model.Config
	params []float32
	w      tensors // of params
	runs   []run
	frozen []run // parameters that are left as they are
	pool   *kernel.Pool
	ropes  *ropes

	mu           sync.Mutex // guards the pool and everything below
	work         *work
	stream       []float32 // (MaxTokens, C), for Loss
	qkv, att, gu []float32 // for Loss; with training, those kept for the first block
	nll          []float32 // (MaxTokens)
	segments     []segment
	head         *head
	train        *training // nil for inference
	free         sessionWorks
	stored       stored // what sessions read
}

// New makes an engine of w, whose parameters it takes over without copying.
func New(w *model.Weights, o Options) (*Engine, error) {
	if w == nil || w.Config == nil {
		return nil, errors.New("engine/cpu: no weights")
	}
	if err := w.Config.Validate(); err != nil {
		return nil, fmt.Errorf("engine/cpu: %w", err)
	}
	s := newShape(w.Config)
	if o.MaxRow == 0 {
		o.MaxRow = min(o.MaxTokens, s.maxPos)
	}
	if err := o.Validate(); err != nil {
		return nil, err
	}
	e := &Engine{shape: &s, o: o, config: w.Config, params: w.Params, runs: optimizerRuns(w.Config)}
	var err error
	if e.w, err = view(w.Config, w.Params); err != nil {
		return nil, err
	}
	e.stored = storedParams(&s, &e.w)
	e.pool = kernel.NewPool(o.Threads)
	e.ropes = &ropes{d: s.D, theta: w.Config.RopeTheta, scale: s.scale()}
	if o.MaxTokens > 0 {
		if err := e.plan(); err != nil {
			e.pool.Close()
			return nil, err
		}
	}
	return e, nil
}

// Validate reports options that no engine can be made with.
func (o *Options) Validate() error {
	var errs []error
	if o.MaxTokens < 0 || o.MaxTokens == 0 && !o.Inference {
		errs = append(errs, fmt.Errorf("engine/cpu: MaxTokens is %d, must be positive (0 is for sessions alone, with Inference)", o.MaxTokens))
	}
	if o.MaxRow < 0 || o.MaxRow > o.MaxTokens {
		errs = append(errs, fmt.Errorf("engine/cpu: MaxRow is %d, must be between 1 and MaxTokens, %d", o.MaxRow, o.MaxTokens))
	}
	if o.Precision != "" && o.Precision != model.F32 && o.Precision != model.BF16 {
		errs = append(errs, fmt.Errorf("engine/cpu: precision %q, must be F32 or BF16", o.Precision))
	}
	if o.Cache != "" && o.Cache != model.F32 && o.Cache != model.BF16 {
		errs = append(errs, fmt.Errorf("engine/cpu: keys and values in %q, must be F32 or BF16", o.Cache))
	}
	return errors.Join(errs...)
}

// plan allocates all that batches need.
func (e *Engine) plan() (err error) {
	rows := e.o.MaxTokens
	e.work = newWork(e.shape, rows, e.pool.Threads())
	e.work.pool = e.pool
	e.work.half = e.o.Precision == model.BF16
	e.work.spans = make([]span, 0, rows)
	e.segments = make([]segment, 0, rows)
	e.nll = floats(rows)
	e.head = newHead(e.shape, rows, !e.o.Inference)
	e.ropes.upTo(min(e.o.MaxRow, e.maxPos))
	scores := e.scores(e.o.MaxRow)
	for range cap(e.work.scratch) {
		sc := <-e.work.scratch
		sc.fit(scores, !e.o.Inference)
		sc.half = e.work.half
		e.work.scratch <- sc
	}
	if e.o.Inference {
		e.stream, e.qkv, e.att, e.gu = floats(rows*e.C), floats(rows*e.QKV), floats(rows*e.Q), floats(rows*2*e.F)
		return nil
	}
	if e.train, err = e.newTraining(rows); err != nil {
		return err
	}
	collapse(e.params)
	k := &e.train.kept[0]
	e.stream, e.qkv, e.att, e.gu = k.in, k.qkv, k.att, k.gu
	return nil
}

// begin checks b and lays out the pass over it.
func (e *Engine) begin(b *model.Batch) error {
	if e.work == nil {
		return errors.New("engine/cpu: engine was made for sessions alone (MaxTokens is 0)")
	}
	positions, err := e.check(b)
	if err != nil {
		return err
	}
	w := e.work
	w.n = b.B * b.T
	w.rope = e.ropes.upTo(positions)
	for i := range w.n {
		w.pos[i] = int32(i % b.T)
	}
	copy(w.pos, b.Positions)
	e.segments = segments(e.segments[:0], b)
	w.spans = w.spans[:0]
	for _, s := range e.segments {
		w.spans = appendSpans(w.spans, s.from, 0, s.to-s.from, s.from, nil)
	}
	return nil
}

// Config is the model's configuration.
func (e *Engine) Config() *model.Config { return e.config }

// Close releases the workers. The parameters stay with their owner.
func (e *Engine) Close() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.pool.Close()
	return nil
}

// Grads is the accumulated gradients, live, in the order of Config.Layout; nil for inference.
func (e *Engine) Grads() []float32 {
	if e.train == nil {
		return nil
	}
	return e.train.grads
}

// State is the live parameters and moments; they may be read while nothing runs.
func (e *Engine) State() model.State {
	if e.train == nil {
		return model.State{Params: e.params}
	}
	if e.o.NoMoments {
		return model.State{Params: e.params}
	}
	return model.State{Params: e.params, M: e.train.m, V: e.train.v}
}

// SetState copies s in, unless its parameters are the engine's own, and clears the gradients. Missing moments become zero.
func (e *Engine) SetState(s model.State) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	n := len(e.params)
	if len(s.Params) != n || s.M != nil && len(s.M) != n || s.V != nil && len(s.V) != n {
		return fmt.Errorf("engine/cpu: state has %d parameters and moments of %d and %d, the model has %d", len(s.Params), len(s.M), len(s.V), n)
	}
	if &e.params[0] != &s.Params[0] {
		copy(e.params, s.Params)
	}
	if e.train != nil {
		clear(e.train.grads)
		clear(e.train.m)
		clear(e.train.v)
		copy(e.train.m, s.M)
		copy(e.train.v, s.V)
	}
	return nil
}

// GradNorm is the 2-norm of all accumulated gradients but those of frozen parameters; 0 for inference.
func (e *Engine) GradNorm() float64 {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.train == nil {
		return 0
	}
	e.dropFrozen()
	return math.Sqrt(kernel.SumSquares(e.pool, e.train.grads))
}

// Update takes one step of AdamW with the accumulated gradients, times u.GradScale, and clears them.
func (e *Engine) Update(u model.Update) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	t := e.train
	if t == nil || e.o.NoMoments {
		return errInference
	}
	if u.Step < 1 {
		return fmt.Errorf("engine/cpu: update: step is %d, the first is 1", u.Step)
	}
	for _, r := range e.runs {
		kernel.AdamW(e.pool, e.params[r.from:r.to], t.grads[r.from:r.to], t.m[r.from:r.to], t.v[r.from:r.to], adamW(u), r.decay)
	}
	return nil
}

func adamW(u model.Update) kernel.AdamWParams {
	return kernel.AdamWParams{
		LR: float32(u.LR), Beta1: float32(u.Beta1), Beta2: float32(u.Beta2), Eps: float32(u.Eps),
		WeightDecay: float32(u.WeightDecay), GradScale: float32(u.GradScale),
		BC1: float32(1 - math.Pow(u.Beta1, float64(u.Step))), BC2: float32(1 - math.Pow(u.Beta2, float64(u.Step))),
	}
}
