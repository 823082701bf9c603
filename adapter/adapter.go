// Package adapter is low-rank adapters: some matrices of a decoder are trained as the sum of what they were and a product
// of two thin ones, all else stays.
//
//	LoRA  W = W0 + s·B·A                                       Hu et al. 2021, https://arxiv.org/abs/2106.09685
//	DoRA  W = m ∘ V/‖V‖, V = W0 + s·B·A, ‖·‖ of each row       Liu et al. 2024, https://arxiv.org/abs/2402.09353
//
//	W, W0, V (out, in)   A (r, in)   B (out, r)   m (out)   s = alpha/r
//
// W is put where an engine has its weights and the engine's gradient dW is carried over by the chain rule, so every
// engine, precision and option that trains whole weights trains adapters. No result depends on the number of threads.
package adapter

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"ravn/kernel"
	"ravn/model"
)

// layout is where an adapter's numbers stand in one flat vector: target by target in the order of Config.Layout A, B and,
// for DoRA, m; after them the tensors that are trained whole.
type layout struct {
	config  *model.Config
	o       Options
	targets []target
	whole   []whole
	size    int // of the vector
	based   int // elements of all targets
	largest int // elements of the largest target
	rows    int // out of the tallest target
}

// target is one matrix with an adapter.
type target struct {
	model.Param
	out, in int
	base    int // offset of W0 among the kept targets
	a, b, m int // offsets in the vector; m is -1 without
}

// whole is one tensor that is trained as it is.
type whole struct {
	model.Param
	at int // offset in the vector
}

// module is the name of a parameter's module within its layer: "q_proj".
func module(name string) string {
	name = strings.TrimSuffix(name, ".weight")
	return name[strings.LastIndexByte(name, '.')+1:]
}

func newLayout(c *model.Config, o *Options) (*layout, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	l := &layout{config: c, o: *o}
	for _, p := range c.Layout() {
		if !slices.Contains(o.Targets, module(p.Name)) {
			continue
		}
		t := target{Param: p, out: p.Shape[0], in: p.Shape[1], base: l.based, m: -1}
		if o.Rank > min(t.out, t.in) {
			return nil, fmt.Errorf("adapter.rank %d is more than the %d of %s, which is %d × %d", o.Rank, min(t.out, t.in), p.Name, t.out, t.in)
		}
		t.a = l.size
		t.b = t.a + o.Rank*t.in
		l.size = t.b + t.out*o.Rank
		if o.dora() {
			t.m = l.size
			l.size += t.out
		}
		l.based += p.Size
		l.largest, l.rows = max(l.largest, p.Size), max(l.rows, t.out)
		l.targets = append(l.targets, t)
	}
	for _, p := range c.Layout() {
		if strings.HasPrefix(p.Name, "model.layers.") || !slices.Contains(o.ModulesToSave, module(p.Name)) {
			continue
		}
		l.whole = append(l.whole, whole{p, l.size})
		l.size += p.Size
	}
	for _, name := range o.ModulesToSave {
		if !slices.ContainsFunc(l.whole, func(w whole) bool { return module(w.Name) == name }) {
			return nil, fmt.Errorf("adapter.modules_to_save: the model has no %s (with tie_word_embeddings, embed_tokens is the head too)", name)
		}
	}
	return l, nil
}

// Adapter is the numbers of an adapter.
type Adapter struct {
	*layout
	params []float32
}

// New makes the adapter that training starts with. A is uniform in ±1/√in, which is what PEFT's Kaiming initialisation
// comes to, B zero, m the lengths of the rows of W0, so that the first W is W0 bit for bit; what is trained whole is as it
// was. params are the decoder's, in the order of Config.Layout.
func New(w *model.Weights, o Options, seed uint64) (*Adapter, error) {
	l, err := newLayout(w.Config, &o)
	if err != nil {
		return nil, err
	}
	a := &Adapter{l, make([]float32, l.size)}
	for _, t := range a.targets {
		model.Uniform(a.params[t.a:t.b], seed, t.Name+" lora_A", 1/math.Sqrt(float64(t.in)))
		if t.m >= 0 {
			lengths(a.params[t.m:t.m+t.out], w.Params[t.Offset:t.Offset+t.Size])
		}
	}
	for _, t := range a.whole {
		copy(a.params[t.at:t.at+t.Size], w.Params[t.Offset:])
	}
	return a, nil
}

// lengths writes the 2-norm of each row of x.
func lengths(dst, x []float32) {
	in := len(x) / len(dst)
	for i := range dst {
		dst[i] = length(x[i*in : (i+1)*in])
	}
}

// length is rounded to float32, so that a length divided by the same length is 1.
func length(row []float32) float32 { return float32(math.Sqrt(kernel.SumSquares(nil, row))) }

// scratch is the memory that Apply and gradients work in.
type scratch struct {
	b []float32 // (rows, r), s·B
	v []float32 // the largest target, V and then dV; only for DoRA
}

func (l *layout) newScratch() *scratch {
	s := &scratch{b: make([]float32, l.rows*l.o.Rank)}
	if l.o.dora() {
		s.v = make([]float32, l.largest)
	}
	return s
}

// scaled is s·B of t.
func (a *Adapter) scaled(t *target, s *scratch) kernel.Mat {
	b := s.b[:t.out*a.o.Rank]
	copy(b, a.params[t.b:])
	kernel.Scale(b, a.o.scale())
	return kernel.Mat{Data: b, Stride: a.o.Rank}
}

// sum writes V = W0 + s·B·A to dst.
func (a *Adapter) sum(p *kernel.Pool, dst, base []float32, t *target, s *scratch) {
	copy(dst, base[t.base:t.base+t.Size])
	A := kernel.Mat{Data: a.params[t.a:t.b], Stride: t.in}
	kernel.MatMul(p, dst, t.in, a.scaled(t, s), A, t.out, t.in, a.o.Rank, true)
}

// rowsTask is how many rows one thread takes at a time.
const rowsTask = 32

// eachRow calls f for every row of a matrix with n rows, on all threads.
func eachRow(p *kernel.Pool, n int, f func(i int)) {
	p.Run((n+rowsTask-1)/rowsTask, func(k int) {
		for i := k * rowsTask; i < min(n, (k+1)*rowsTask); i++ {
			f(i)
		}
	})
}

// apply puts the effective weights into params, in the order of Config.Layout. base holds W0 of the targets. A row of V
// that is nothing has no direction and stays nothing.
func (a *Adapter) apply(p *kernel.Pool, params, base []float32, s *scratch) {
	for i := range a.targets {
		t := &a.targets[i]
		w := params[t.Offset : t.Offset+t.Size]
		a.sum(p, w, base, t, s)
		if t.m < 0 {
			continue
		}
		m := a.params[t.m : t.m+t.out]
		eachRow(p, t.out, func(i int) {
			row := w[i*t.in : (i+1)*t.in]
			if n := length(row); n > 0 {
				kernel.Scale(row, m[i]/n)
			}
		})
	}
	for _, t := range a.whole {
		copy(params[t.Offset:t.Offset+t.Size], a.params[t.at:])
	}
}

// gradients writes the gradient of the adapter's numbers to dst. grads is dW of all parameters, in the order of
// Config.Layout; it is not changed.
//
//	dA = s·Bᵀ·dV   dB = s·dV·Aᵀ   LoRA: dV = dW
//	DoRA, row by row: dm = dW·V/‖V‖   dV = m/‖V‖·(dW − (dW·V/‖V‖²)·V)
//
// The norm is differentiated like everything else. PEFT takes it for a constant, as section 4.3 of the paper proposes to save
// memory that is not saved here.
func (a *Adapter) gradients(p *kernel.Pool, dst, grads, base []float32, s *scratch) {
	r := a.o.Rank
	for i := range a.targets {
		t := &a.targets[i]
		d := grads[t.Offset : t.Offset+t.Size]
		if t.m >= 0 {
			v := s.v[:t.Size]
			a.sum(p, v, base, t, s)
			m, dm, dw := a.params[t.m:t.m+t.out], dst[t.m:t.m+t.out], d
			eachRow(p, t.out, func(i int) {
				v, dw := v[i*t.in:(i+1)*t.in], dw[i*t.in:(i+1)*t.in]
				n := length(v)
				if dm[i] = 0; n == 0 {
					return
				}
				dm[i] = kernel.Dot(dw, v) / n
				kernel.Scale(v, -dm[i]/n)
				kernel.Add(v, dw)
				kernel.Scale(v, m[i]/n)
			})
			d = v
		}
		A := kernel.Mat{Data: a.params[t.a:t.b], Stride: t.in, Trans: true}
		sB := a.scaled(t, s)
		sB.Trans = true
		dV := kernel.Mat{Data: d, Stride: t.in}
		dB := dst[t.b : t.b+t.out*r]
		kernel.MatMul(p, dst[t.a:t.b], t.in, sB, dV, r, t.in, t.out, false)
		kernel.MatMul(p, dB, r, dV, A, t.out, r, t.in, false)
		kernel.Scale(dB, a.o.scale())
	}
	for _, t := range a.whole {
		copy(dst[t.at:t.at+t.Size], grads[t.Offset:])
	}
}

// runs calls f with each stretch of the vector that weight decay treats alike: it applies to A and B, and to what is
// trained whole if it would without an adapter; not to m, which is a length as a norm's weights are.
func (l *layout) runs(f func(from, to int, decay bool)) {
	for _, t := range l.targets {
		end := t.b + t.out*l.o.Rank
		f(t.a, end, true)
		if t.m >= 0 {
			f(end, end+t.out, false)
		}
	}
	for _, t := range l.whole {
		f(t.at, t.at+t.Size, t.Decay)
	}
}

// keep copies W0 of the targets out of params.
func (l *layout) keep(params []float32) []float32 {
	base := make([]float32, l.based)
	for _, t := range l.targets {
		copy(base[t.base:t.base+t.Size], params[t.Offset:])
	}
	return base
}

// Merge puts the adapter into w, whose numbers are those of the base.
func (a *Adapter) Merge(w *model.Weights) error {
	if !slices.EqualFunc(a.config.Layout(), w.Config.Layout(), func(x, y model.Param) bool { return x.Name == y.Name && slices.Equal(x.Shape, y.Shape) }) {
		return fmt.Errorf("adapter: it was made for a decoder of %d parameters, this one has %d", a.config.NumParams(), w.Config.NumParams())
	}
	pool := kernel.NewPool(0)
	defer pool.Close()
	a.apply(pool, w.Params, a.keep(w.Params), a.newScratch())
	return nil
}

// Options are what the adapter was made with.
func (a *Adapter) Options() Options { return a.o }

// NumParams counts the adapter's numbers.
func (a *Adapter) NumParams() int { return a.size }
