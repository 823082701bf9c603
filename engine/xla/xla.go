// Package xla is the decoder as GoMLX graphs, compiled by XLA through PJRT: the engine for GPUs and TPUs.
//
// There is one program for each kind of work: embedding, a block forward, a block backward that computes its forward
// again (so that what is kept between the two is the blocks' inputs alone), final norm with head and loss, AdamW, and
// sums of squares. Every block runs the same program with other weights, so compiling takes as long for 2 layers as
// for 32. Master weights, gradients and moments are float32 and stay on the device; products may round to bfloat16.
//
// The default build runs the same graphs on GoMLX's backend in plain Go, which is for tests at toy sizes: some
// 0.4 GFLOP/s. The build tag xla links PJRT (cgo) and takes the plug-in that RAVN_PJRT names.
package xla

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"os"
	"slices"
	"sync"

	"github.com/gomlx/gomlx/backends"
	_ "github.com/gomlx/gomlx/backends/simplego" // the backend in plain Go, "go"
	"github.com/gomlx/gomlx/pkg/core/dtypes"
	"github.com/gomlx/gomlx/pkg/core/graph"
	"github.com/gomlx/gomlx/pkg/core/tensors"

	"ravn/model"
)

// Options say how an engine runs. The zero value is float32 on the default backend.
type Options struct {
	Backend   string // GoMLX's name of a backend, such as "go" or "xla:cuda"; "" is DefaultBackend()
	BF16      bool   // round operands of matrix products to bfloat16
	Queries   int    // length of attention's blocks; 0 is 512
	LogitRows int    // rows whose logits are held at once; 0 is 1024
}

// Linked tells whether this build can load PJRT plug-ins (the tag xla).
func Linked() bool { return slices.Contains(backends.List(), "xla") }

// filled puts defaults in the place of zeros.
func (o Options) filled() Options {
	o.Backend = cmp.Or(o.Backend, DefaultBackend())
	o.Queries = cmp.Or(o.Queries, 512)
	o.LogitRows = cmp.Or(o.LogitRows, 1024)
	return o
}

// DefaultBackend is "xla:" and RAVN_PJRT in a build with the tag xla when that names a plug-in (a name such as cuda, or
// the path of its library), and GoMLX's backend in plain Go otherwise.
func DefaultBackend() string {
	if plugin := os.Getenv("RAVN_PJRT"); plugin != "" && Linked() {
		return "xla:" + plugin
	}
	return plainGo
}

// plainGo runs one operation after the other: the workers that GoMLX 0.26 gives operations to can wait for each other
// for ever on machines with few cores.
const plainGo = "go:ops_sequential"

// Engine trains and scores a decoder on one device. Its methods may be called from several goroutines and wait for
// each other.
type Engine struct {
	mu       sync.Mutex
	config   *model.Config
	options  Options
	backend  backends.Backend
	layout   []model.Param
	w, g     []*tensors.Tensor // parameters and gradients, in the order of layout
	m, v     []*tensors.Tensor
	programs map[string]*graph.Exec
	err      error // the device holds half a step after it
}

// New makes an engine with the weights of w, which are copied to the device.
func New(w *model.Weights, o Options) (*Engine, error) {
	if w == nil || w.Config == nil {
		return nil, errors.New("engine/xla: no weights")
	}
	if err := w.Config.Validate(); err != nil {
		return nil, fmt.Errorf("engine/xla: %w", err)
	}
	if n := w.Config.NumParams(); len(w.Params) != n {
		return nil, fmt.Errorf("engine/xla: %d numbers for %d parameters", len(w.Params), n)
	}
	if o.Queries < 0 || o.LogitRows < 0 {
		return nil, fmt.Errorf("engine/xla: Queries %d and LogitRows %d must not be negative", o.Queries, o.LogitRows)
	}
	o = o.filled()
	backend, err := open(o.Backend)
	if err != nil {
		return nil, fmt.Errorf("engine/xla: backend %q: %w (compiled in: %v; PJRT needs a build with -tags xla and a plug-in named by RAVN_PJRT)", o.Backend, err, backends.List())
	}
	e := &Engine{config: w.Config, options: o, backend: backend, layout: w.Config.Layout(), programs: map[string]*graph.Exec{}}
	if err := e.SetState(model.State{Params: w.Params}); err != nil {
		return nil, err
	}
	return e, nil
}

// open starts a backend. GoMLX panics at a name that it does not know.
func open(name string) (b backends.Backend, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%v", p)
		}
	}()
	return backends.NewWithConfig(name)
}

// Config is the configuration of the decoder.
func (e *Engine) Config() *model.Config { return e.config }

// Device says what the engine runs on.
func (e *Engine) Device() string { return e.backend.Description() }

// Close gives the device's memory back.
func (e *Engine) Close() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, p := range e.programs {
		p.Finalize()
	}
	e.programs = nil
	for _, ts := range [][]*tensors.Tensor{e.w, e.g, e.m, e.v} {
		for _, t := range ts {
			if t != nil && t.Ok() {
				t.MustFinalizeAll()
			}
		}
	}
	e.w, e.g, e.m, e.v = nil, nil, nil, nil
	e.backend.Finalize()
	e.err = errors.New("engine/xla: the engine is closed")
	return nil
}

// SetState copies s to the device and clears the gradients. Missing moments become zero.
func (e *Engine) SetState(s model.State) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	n := e.config.NumParams()
	if len(s.Params) != n || s.M != nil && len(s.M) != n || s.V != nil && len(s.V) != n {
		return fmt.Errorf("engine/xla: state has %d parameters and moments of %d and %d, the model has %d", len(s.Params), len(s.M), len(s.V), n)
	}
	e.w, e.m, e.v, e.g = e.upload(s.Params), e.upload(s.M), e.upload(s.V), e.upload(nil)
	e.err = nil
	return nil
}

// upload makes a tensor of each parameter's stretch of flat; nil is zeros.
func (e *Engine) upload(flat []float32) []*tensors.Tensor {
	out := make([]*tensors.Tensor, len(e.layout))
	for i, p := range e.layout {
		if flat == nil {
			out[i] = tensors.FromFlatDataAndDimensions(make([]float32, p.Size), p.Shape...)
			continue
		}
		out[i] = tensors.FromFlatDataAndDimensions(flat[p.Offset:p.Offset+p.Size], p.Shape...)
	}
	return out
}

// State is a copy of parameters and moments.
func (e *Engine) State() model.State {
	e.mu.Lock()
	defer e.mu.Unlock()
	return model.State{Params: e.download(e.w), M: e.download(e.m), V: e.download(e.v)}
}

// DropGradients forgets the accumulated gradients, as for a batch whose update is left out.
func (e *Engine) DropGradients() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.g != nil {
		e.g = e.upload(nil)
	}
}

// Grads is a copy of the accumulated gradients, in the order of Config.Layout.
func (e *Engine) Grads() []float32 {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.download(e.g)
}

func (e *Engine) download(ts []*tensors.Tensor) []float32 {
	flat := make([]float32, e.config.NumParams())
	for i, p := range e.layout {
		tensors.MustConstFlatData(ts[i], func(x []float32) { copy(flat[p.Offset:p.Offset+p.Size], x) })
	}
	return flat
}

// program returns the compiled program of that name, made on first use. GoMLX compiles it for each set of shapes.
func (e *Engine) program(name string, f func(in []*graph.Node) []*graph.Node) (*graph.Exec, error) {
	if p := e.programs[name]; p != nil {
		return p, nil
	}
	p, err := graph.NewExec(e.backend, f)
	if err != nil {
		return nil, fmt.Errorf("engine/xla: %s: %w", name, err)
	}
	p.WithName(name)
	e.programs[name] = p
	return p, nil
}

// run runs a program. Tensors in take are given up: the program may write its results over them.
func (e *Engine) run(p *graph.Exec, in, take []*tensors.Tensor) ([]*tensors.Tensor, error) {
	args := make([]any, 0, len(in)+len(take))
	for _, t := range in {
		args = append(args, t)
	}
	for _, t := range take {
		if t.IsShared() { // device memory that the host sees cannot be given up
			args = append(args, t)
			continue
		}
		b, err := graph.DonateTensorBuffer(t, e.backend, 0)
		if err != nil {
			return nil, fmt.Errorf("engine/xla: %s: %w", p.Name(), err)
		}
		args = append(args, b)
	}
	out, err := p.Exec(args...)
	if err != nil {
		return nil, fmt.Errorf("engine/xla: %s: %w", p.Name(), err)
	}
	return out, nil
}

// inputs is a batch on the device.
type inputs struct {
	d                            *decoder
	ids, targets, segments       *tensors.Tensor // (N), (N), (B, T)
	cos, sin                     *tensors.Tensor // (N, D/2)
	shape                        string          // part of the names of programs that depend on B and T
	blockForward, blockBackward  *graph.Exec
	headLosses, headAccumulating *graph.Exec
}

// lay brings a batch to the device.
func (e *Engine) lay(b *model.Batch) (*inputs, error) {
	if e.err != nil {
		return nil, e.err
	}
	if err := b.Validate(e.config); err != nil {
		return nil, fmt.Errorf("engine/xla: %w", err)
	}
	if b.Targets == nil {
		return nil, errors.New("engine/xla: a batch without targets has no loss")
	}
	if b.T > e.config.MaxPositionEmbeddings {
		return nil, fmt.Errorf("engine/xla: rows of %d tokens, the model knows %d positions (max_position_embeddings)", b.T, e.config.MaxPositionEmbeddings)
	}
	compute := dtypes.Float32
	if e.options.BF16 {
		compute = dtypes.BFloat16
	}
	n, half := b.B*b.T, e.config.HeadDim/2
	in := &inputs{
		d:       &decoder{c: e.config, compute: compute, B: b.B, T: b.T, queries: e.options.Queries, rows: e.options.LogitRows},
		ids:     tensors.FromFlatDataAndDimensions(b.Tokens, n),
		targets: tensors.FromFlatDataAndDimensions(b.Targets, n),
		shape:   fmt.Sprintf(" %dx%d", b.B, b.T),
	}
	segments := b.Segments
	if segments == nil {
		segments = make([]int32, n)
	}
	in.segments = tensors.FromFlatDataAndDimensions(segments, b.B, b.T)
	cos, sin := make([]float32, n*half), make([]float32, n*half)
	for t := range n {
		p := t % b.T
		if b.Positions != nil {
			p = int(b.Positions[t])
		}
		for i := range half {
			s, c := math.Sincos(float64(p) * math.Pow(e.config.RopeTheta, -2*float64(i)/float64(e.config.HeadDim)))
			cos[t*half+i], sin[t*half+i] = float32(c), float32(s)
		}
	}
	in.cos, in.sin = tensors.FromFlatDataAndDimensions(cos, n, half), tensors.FromFlatDataAndDimensions(sin, n, half)
	return in, e.prepare(in)
}

// prepare makes the programs that depend on the shape of a batch.
func (e *Engine) prepare(in *inputs) (err error) {
	d := in.d
	for _, x := range []struct {
		name string
		to   **graph.Exec
		f    func(n []*graph.Node) []*graph.Node
	}{
		{"block forward", &in.blockForward, func(n []*graph.Node) []*graph.Node {
			out, _ := d.block(n[0], layerOf(n[4:]), n[1], n[2], n[3])
			return []*graph.Node{out}
		}},
		{"block backward", &in.blockBackward, func(n []*graph.Node) []*graph.Node {
			dx, g := d.blockBackward(n[4+numLayer], n[0], layerOf(n[4:]), layerOf(n[5+numLayer:]), n[1], n[2], n[3])
			return []*graph.Node{dx, g.inNorm, g.q, g.k, g.v, g.o, g.postNorm, g.gate, g.up, g.down}
		}},
		{"losses", &in.headLosses, func(n []*graph.Node) []*graph.Node {
			return []*graph.Node{d.headLoss(n[0], n[1], n[2], n[3])}
		}},
		{"losses and gradients", &in.headAccumulating, func(n []*graph.Node) []*graph.Node {
			nll, dx, dnorm, dhead := d.headBackward(n[0], n[1], n[2], n[3], n[4], n[5], n[6])
			return []*graph.Node{nll, dx, dnorm, dhead}
		}},
	} {
		if *x.to, err = e.program(x.name+in.shape, x.f); err != nil {
			return err
		}
	}
	return nil
}

// places are where the parts of the decoder stand in Config.Layout.
func (e *Engine) block(l int) (from, to int) { return 1 + l*numLayer, 1 + (l+1)*numLayer }
func (e *Engine) norm() int                  { return 1 + e.config.NumHiddenLayers*numLayer }

// head is the output head, or the embedding where the two are tied.
func (e *Engine) head() int {
	if e.config.TieWordEmbeddings {
		return 0
	}
	return e.norm() + 1
}

// forward gives the stream before each block and after the last.
func (e *Engine) forward(in *inputs, keep bool) ([]*tensors.Tensor, error) {
	look, err := e.program("embed", func(n []*graph.Node) []*graph.Node { return []*graph.Node{embed(n[0], n[1])} })
	if err != nil {
		return nil, err
	}
	out, err := e.run(look, []*tensors.Tensor{e.w[0], in.ids}, nil)
	if err != nil {
		return nil, err
	}
	stream := []*tensors.Tensor{out[0]}
	for l := range e.config.NumHiddenLayers {
		from, to := e.block(l)
		x := stream[len(stream)-1]
		args := append([]*tensors.Tensor{x, in.cos, in.sin, in.segments}, e.w[from:to]...)
		if out, err = e.run(in.blockForward, args, nil); err != nil {
			return nil, err
		}
		if !keep {
			x.MustFinalizeAll()
			stream = stream[:0]
		}
		stream = append(stream, out[0])
	}
	return stream, nil
}

// Loss writes the loss of each target of b in nats to nll (B*T), 0 where there is none.
func (e *Engine) Loss(nll []float32, b *model.Batch) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(nll) != b.B*b.T {
		return fmt.Errorf("engine/xla: place for %d losses of %d rows of %d", len(nll), b.B, b.T)
	}
	in, err := e.lay(b)
	if err != nil {
		return err
	}
	stream, err := e.forward(in, false)
	if err != nil {
		return err
	}
	out, err := e.run(in.headLosses, []*tensors.Tensor{stream[0], e.w[e.norm()], e.w[e.head()], in.targets}, nil)
	if err != nil {
		return err
	}
	tensors.MustConstFlatData(out[0], func(x []float32) { copy(nll, x) })
	return nil
}

// Accumulate runs b forward and backward, adds scale times the gradient of the summed loss to the gradients, and
// returns that sum, in nats over the targets of b. After an error other than a bad batch the gradients may hold half
// of it; SetState starts anew.
func (e *Engine) Accumulate(b *model.Batch, scale float32) (nll float64, err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	in, err := e.lay(b)
	if err != nil {
		return 0, err
	}
	stream, err := e.forward(in, true)
	if err != nil {
		return 0, err
	}
	defer func() {
		if err != nil {
			e.err = fmt.Errorf("engine/xla: an earlier step failed half way: %w", err)
		}
	}()
	norm, head := e.norm(), e.head()
	last := len(stream) - 1
	out, err := e.run(in.headAccumulating,
		[]*tensors.Tensor{stream[last], e.w[norm], e.w[head], in.targets, tensors.FromScalar(scale)},
		[]*tensors.Tensor{e.g[norm], e.g[head]})
	if err != nil {
		return 0, err
	}
	tensors.MustConstFlatData(out[0], func(x []float32) {
		for _, v := range x {
			nll += float64(v)
		}
	})
	dx := out[1]
	e.g[norm], e.g[head] = out[2], out[3]
	for l := e.config.NumHiddenLayers - 1; l >= 0; l-- {
		from, to := e.block(l)
		args := append([]*tensors.Tensor{stream[l], in.cos, in.sin, in.segments}, e.w[from:to]...)
		if out, err = e.run(in.blockBackward, args, append([]*tensors.Tensor{dx}, e.g[from:to]...)); err != nil {
			return 0, err
		}
		dx = out[0]
		copy(e.g[from:to], out[1:])
		stream[l+1].MustFinalizeAll()
	}
	spread, err := e.program("embed backward", func(n []*graph.Node) []*graph.Node {
		return []*graph.Node{embedBackward(n[2], n[0], n[1])}
	})
	if err != nil {
		return 0, err
	}
	if out, err = e.run(spread, []*tensors.Tensor{in.ids, dx}, []*tensors.Tensor{e.g[0]}); err != nil {
		return 0, err
	}
	e.g[0] = out[0]
	return nll, nil
}

// GradNorm is the 2-norm of all gradients together.
func (e *Engine) GradNorm() float64 {
	e.mu.Lock()
	defer e.mu.Unlock()
	squares, err := e.program("squares", func(n []*graph.Node) []*graph.Node {
		return []*graph.Node{graph.ReduceAllSum(graph.Mul(n[0], n[0]))}
	})
	if err != nil {
		return math.NaN()
	}
	sums := make([]*tensors.Tensor, len(e.g))
	for i, g := range e.g { // all are under way before the first is waited for
		out, err := e.run(squares, []*tensors.Tensor{g}, nil)
		if err != nil {
			return math.NaN()
		}
		sums[i] = out[0]
	}
	var total float64
	for _, s := range sums {
		total += float64(tensors.ToScalar[float32](s))
	}
	return math.Sqrt(total)
}

// Update takes one step of AdamW with the accumulated gradients, times u.GradScale, and clears them.
func (e *Engine) Update(u model.Update) (err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.err != nil {
		return e.err
	}
	if u.Step < 1 {
		return fmt.Errorf("engine/xla: update with step %d; the first step is 1", u.Step)
	}
	defer func() {
		if err != nil {
			e.err = fmt.Errorf("engine/xla: an earlier update failed half way: %w", err)
		}
	}()
	numbers := tensors.FromFlatDataAndDimensions([]float32{
		float32(u.LR), float32(u.Beta1), float32(u.Beta2), float32(u.Eps), float32(u.WeightDecay), float32(u.GradScale),
		float32(1 - math.Pow(u.Beta1, float64(u.Step))), float32(1 - math.Pow(u.Beta2, float64(u.Step))),
	}, 8)
	for i, p := range e.layout {
		name := "adamw"
		if p.Decay {
			name = "adamw with decay"
		}
		step, err := e.program(name, func(n []*graph.Node) []*graph.Node {
			w, m, v := adamW(n[1], n[2], n[3], n[4], n[0], p.Decay)
			return []*graph.Node{w, graph.ZerosLike(n[2]), m, v}
		})
		if err != nil {
			return err
		}
		out, err := e.run(step, []*tensors.Tensor{numbers}, []*tensors.Tensor{e.w[i], e.g[i], e.m[i], e.v[i]})
		if err != nil {
			return err
		}
		e.w[i], e.g[i], e.m[i], e.v[i] = out[0], out[1], out[2], out[3]
	}
	return nil
}
