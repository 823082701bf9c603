// Package xla is the decoder as GoMLX graphs, compiled by XLA through PJRT: the engine for GPUs and TPUs.
//
// There is one program for each kind of work: embedding, a block forward, a block backward that computes its forward
// again (so that what is kept between the two is the blocks' inputs alone), final norm with head and loss, AdamW, and
// sums of squares. Every block runs the same program with other weights, so compiling takes as long for 2 layers as
// for 32. Master weights, gradients and moments are float32 and stay on the device; products may round to bfloat16.
//
// The default build runs the same graphs on GoMLX's backend in plain Go, which is for tests at toy sizes: some
// 0.4 GFLOP/s, with virtual devices where several are wanted. The build tag xla links PJRT (cgo) and takes the plug-in that RAVN_PJRT names.
package xla

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"strings"
	"sync"
	"time"

	"github.com/gomlx/gomlx/backends"
	_ "github.com/gomlx/gomlx/backends/simplego" // the backend in plain Go, "go"
	"github.com/gomlx/gomlx/pkg/core/dtypes"
	"github.com/gomlx/gomlx/pkg/core/dtypes/bfloat16"
	"github.com/gomlx/gomlx/pkg/core/graph"

	"ravn/model"
)

// Options say how an engine runs. The zero value is float32 on the default backend.
type Options struct {
	Devices   int    // of the host, that work as one; 0 is all that the backend has
	Grow      bool   // take a GPU's memory as it is needed, which tells how much that is, rather than nearly all at once
	Backend   string // GoMLX's name of a backend, such as "go" or "xla:cuda"; "" is DefaultBackend()
	BF16      bool   // round operands of matrix products to bfloat16
	Queries   int    // length of attention's blocks; 0 is 512
	LogitRows int    // rows whose logits are held at once; 0 is 1024

	ZLoss       float64 // weight of log²Z in what training minimises; losses that are returned do not hold it
	BF16Moments bool    // keep the moments of AdamW in bfloat16, half the memory; they are reckoned in float32
}

// filled puts defaults in the place of zeros.
func (o Options) filled() Options {
	o.Backend = cmp.Or(o.Backend, DefaultBackend())
	o.Queries = cmp.Or(o.Queries, 512)
	o.LogitRows = cmp.Or(o.LogitRows, 1024)
	return o
}

// Engine trains and scores a decoder. Its methods may be called from several goroutines and wait for each other.
type Engine struct {
	mu      sync.Mutex
	config  *model.Config
	options Options
	dev     *devices
	layout  []model.Param
	w, g    []array // parameters and gradients, in the order of layout
	m, v    []array
	frozen  []bool        // parameters that are left as they are; nil is none
	spare   map[int]cache // of sessions that only fill a pass up, by length
	err     error         // the device holds half a step after it
}

// New makes an engine with the weights of w, which are copied to the devices.
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
	if o.Queries < 0 || o.LogitRows < 0 || o.Devices < 0 || o.ZLoss < 0 {
		return nil, fmt.Errorf("engine/xla: Queries %d, LogitRows %d, Devices %d and ZLoss %g must not be negative", o.Queries, o.LogitRows, o.Devices, o.ZLoss)
	}
	o = o.filled()
	dev, err := start(o.Backend, o.Devices, o.Grow)
	if err != nil {
		why := advice(err.Error())
		if !Linked() && !strings.HasPrefix(o.Backend, "go") {
			why = " (this build cannot load PJRT plug-ins: CGO_ENABLED=1 go build -tags xla ./cmd/ravn)"
		}
		return nil, fmt.Errorf("engine/xla: backend %q: %w%s", o.Backend, err, why)
	}
	e := &Engine{config: w.Config, options: o, dev: dev, layout: w.Config.Layout(), spare: map[int]cache{}}
	if err := e.SetState(model.State{Params: w.Params}); err != nil {
		dev.close()
		return nil, err
	}
	return e, nil
}

// open starts a backend. GoMLX panics at a name that it does not know.
func open(name string, grow bool) (b backends.Backend, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%v", p)
		}
	}()
	return openPJRT(name, grow)
}

// Config is the configuration of the decoder.
func (e *Engine) Config() *model.Config { return e.config }

// Device says what the engine runs on.
func (e *Engine) Device() string { return e.dev.backend.Description() }

// Devices is how many devices work as one. A batch whose rows they do not divide is filled up with rows that count for
// nothing, so batches of a multiple of Devices rows are the fast ones.
func (e *Engine) Devices() int { return e.dev.n }

// Idle is the time since New in which no program was under way on the devices: what they waited for the host, copies to
// and from them, and what lay between uses. A program counts as under way while the call that runs it lasts.
func (e *Engine) Idle() time.Duration {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.dev.clock.total()
}

// Close gives the devices' memory back.
func (e *Engine) Close() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.dev.programs == nil {
		return nil
	}
	for _, as := range [][]array{e.w, e.g, e.m, e.v} {
		free(as...)
	}
	for _, c := range e.spare {
		c.free()
	}
	e.w, e.g, e.m, e.v, e.spare = nil, nil, nil, nil, nil
	e.dev.close()
	e.err = errClosed
	return nil
}

// Freeze keeps the parameters for which frozen says so as they are: they get no update, no decay, and their gradients
// do not count in GradNorm. It may be called before the first Accumulate.
func (e *Engine) Freeze(frozen func(name string) bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.frozen = make([]bool, len(e.layout))
	for i, p := range e.layout {
		e.frozen[i] = frozen(p.Name)
	}
}

func (e *Engine) isFrozen(i int) bool { return e.frozen != nil && e.frozen[i] }

// SetState copies s to the devices and clears the gradients. Missing moments become zero.
func (e *Engine) SetState(s model.State) (err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.dev.programs == nil {
		return errClosed
	}
	n := e.config.NumParams()
	if len(s.Params) != n || s.M != nil && len(s.M) != n || s.V != nil && len(s.V) != n {
		return fmt.Errorf("engine/xla: state has %d parameters and moments of %d and %d, the model has %d", len(s.Params), len(s.M), len(s.V), n)
	}
	for _, as := range [][]array{e.w, e.g, e.m, e.v} {
		free(as...)
	}
	if e.w, err = e.upload(s.Params, false); err != nil {
		return err
	}
	if e.g, err = e.zeros(dtypes.Float32); err != nil {
		return err
	}
	moments := dtypes.Float32
	if e.options.BF16Moments {
		moments = dtypes.BFloat16
	}
	for _, x := range []struct {
		to   *[]array
		from []float32
	}{{&e.m, s.M}, {&e.v, s.V}} {
		if x.from == nil {
			*x.to, err = e.zeros(moments)
		} else {
			*x.to, err = e.upload(x.from, e.options.BF16Moments)
		}
		if err != nil {
			return err
		}
	}
	e.err = nil
	return nil
}

// upload makes an array of each parameter's stretch of flat.
func (e *Engine) upload(flat []float32, round bool) ([]array, error) {
	out := make([]array, len(e.layout))
	for i, p := range e.layout {
		x, cut := flat[p.Offset:p.Offset+p.Size], e.dev.axis(p.Shape)
		var err error
		if round {
			half := make([]bfloat16.BFloat16, len(x))
			for j, v := range x {
				half[j] = nearest(v)
			}
			out[i], err = put(e.dev, half, cut, p.Shape...)
		} else {
			out[i], err = put(e.dev, x, cut, p.Shape...)
		}
		if err != nil {
			return nil, err
		}
	}
	return out, nil
}

// zeros makes an array of zeros for each parameter, on the devices.
func (e *Engine) zeros(format dtypes.DType) ([]array, error) {
	out := make([]array, len(e.layout))
	for i := range e.layout {
		z, err := e.dev.run("zeros "+format.String(), []int{e.w[i].cut}, func(n []*graph.Node) []*graph.Node {
			s := n[0].Shape().Clone()
			s.DType = format
			return []*graph.Node{graph.Zeros(n[0].Graph(), s)}
		}, []array{e.w[i]}, nil)
		if err != nil {
			return nil, err
		}
		out[i] = z[0]
	}
	return out, nil
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
	for i := range e.g {
		if err := e.clear(i); err != nil {
			e.err = fmt.Errorf("engine/xla: gradients could not be dropped: %w", err)
			return
		}
	}
}

// clear makes the gradient of a parameter zero.
func (e *Engine) clear(i int) error {
	out, err := e.dev.run("clear", []int{e.g[i].cut}, func(n []*graph.Node) []*graph.Node {
		return []*graph.Node{graph.ZerosLike(n[0])}
	}, nil, e.g[i:i+1])
	if err != nil {
		return err
	}
	e.g[i] = out[0]
	return nil
}

// Grads is a copy of the accumulated gradients, in the order of Config.Layout.
func (e *Engine) Grads() []float32 {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.download(e.g)
}

// download is nil when the devices do not answer; e.err then says why.
func (e *Engine) download(as []array) []float32 {
	flat := make([]float32, e.config.NumParams())
	for i, p := range e.layout {
		if e.err == nil && i < len(as) {
			e.err = e.fetch(flat[p.Offset:p.Offset+p.Size], as[i], p.Shape)
		}
	}
	if e.err != nil {
		return nil
	}
	return flat
}

func (e *Engine) fetch(dst []float32, a array, dims []int) error {
	if a.parts[0].DType() != dtypes.BFloat16 {
		return get(e.dev, dst, a, dims...)
	}
	half := make([]bfloat16.BFloat16, len(dst))
	if err := get(e.dev, half, a, dims...); err != nil {
		return err
	}
	for i, x := range half {
		dst[i] = x.Float32()
	}
	return nil
}

// nearest is x in bfloat16, halves to even.
func nearest(x float32) bfloat16.BFloat16 {
	b := math.Float32bits(x)
	if x != x {
		return bfloat16.BFloat16(b >> 16)
	}
	return bfloat16.BFloat16((b + 0x7fff + b>>16&1) >> 16)
}
