package cpu

import (
	"errors"
	"fmt"
	"slices"
	"unsafe"

	"ravn/kernel"
	"ravn/model"
)

// stored is a decoder's weights as sessions read them: in place, in the formats they have.
type stored struct {
	embed  kernel.Weight // (V, C)
	layers []storedLayer
	norm   []float32     // (C)
	head   kernel.Weight // (V, C); the embedding when tied
}

type storedLayer struct {
	norm1      []float32 // (C)
	q, k, v, o kernel.Weight
	norm2      []float32 // (C)
	gate, up   kernel.Weight
	down       kernel.Weight
}

// formatOf is the format of products for a number format of tensors.
func formatOf(d model.DType) (kernel.Format, bool) {
	i := slices.Index([]model.DType{model.F32, model.F16, model.BF16, model.Q8_0, model.Q4_0}, d)
	return kernel.Format(i), i >= 0
}

// Open makes an engine for sessions alone, whose weights are read where tensors has them: mapped from a file they are
// neither copied nor widened, and processes that map the same file share its pages. The tensors stand in the order of
// c.Layout and may be F32, F16, BF16, Q8_0 or Q4_0, each on its own; they must stay as they are until Close. Options
// that are about batches have no meaning.
//
// Products round activations as the weight's format wants it (kernel.Input): with F32 and F16 not at all, with BF16 to
// bfloat16, with Q8_0 and Q4_0 to whole 127ths of the largest of 32.
func Open(c *model.Config, tensors []model.Tensor, o Options) (*Engine, error) {
	if c == nil {
		return nil, errors.New("engine/cpu: no configuration")
	}
	if err := c.Validate(); err != nil {
		return nil, fmt.Errorf("engine/cpu: %w", err)
	}
	o.Inference, o.MaxTokens, o.MaxRow = true, 0, 0
	if err := o.Validate(); err != nil {
		return nil, err
	}
	s := newShape(c)
	e := &Engine{shape: &s, o: o, config: c}
	var err error
	if e.stored, err = storedOf(c, tensors); err != nil {
		return nil, err
	}
	e.pool = kernel.NewPool(o.Threads)
	e.ropes = &ropes{d: s.D, theta: c.RopeTheta, scale: s.scale()}
	return e, nil
}

// storedOf checks tensors against the layout.
func storedOf(c *model.Config, tensors []model.Tensor) (stored, error) {
	layout := c.Layout()
	if len(tensors) != len(layout) {
		return stored{}, fmt.Errorf("engine/cpu: %d tensors, the configuration has %d", len(tensors), len(layout))
	}
	var errs []error
	for i, p := range layout {
		t := &tensors[i]
		_, known := formatOf(t.DType)
		in := p.Shape[len(p.Shape)-1]
		switch {
		case t.Name != p.Name || !slices.Equal(t.Shape, p.Shape):
			errs = append(errs, fmt.Errorf("engine/cpu: tensor %d is %q %d, the configuration has %q %d there", i, t.Name, t.Shape, p.Name, p.Shape))
		case !known || len(p.Shape) == 1 && t.DType.Size() == 0:
			errs = append(errs, fmt.Errorf("engine/cpu: tensor %q is %s, which is not computed with (F32, F16, BF16, and Q8_0 and Q4_0 for matrices; ravn convert makes such)", t.Name, t.DType))
		case t.DType.RowBytes(in) == 0 || len(t.Data) != t.DType.RowBytes(in)*(p.Size/in):
			errs = append(errs, fmt.Errorf("engine/cpu: tensor %q has %d bytes, %d rows of %d numbers in %s do not fit them", t.Name, len(t.Data), p.Size/in, in, t.DType))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return stored{}, err
	}
	at := 0
	table := func() kernel.Weight {
		t := &tensors[at]
		at++
		f, _ := formatOf(t.DType)
		return kernel.Weight{Format: f, Data: t.Data, Out: t.Shape[0], In: t.Shape[1]}
	}
	vector := func() []float32 {
		t := &tensors[at]
		at++
		f, _ := formatOf(t.DType)
		x := make([]float32, t.Shape[0])
		w := kernel.Weight{Format: f, Data: t.Data, Out: 1, In: t.Shape[0]}
		w.Row(x, 0)
		return x
	}
	w := stored{embed: table(), layers: make([]storedLayer, c.NumHiddenLayers)}
	for l := range w.layers {
		w.layers[l] = storedLayer{
			norm1: vector(), q: table(), k: table(), v: table(), o: table(),
			norm2: vector(), gate: table(), up: table(), down: table(),
		}
	}
	w.norm = vector()
	w.head = w.embed
	if !c.TieWordEmbeddings {
		w.head = table()
	}
	return w, nil
}

// storedParams is the flat vector of parameters, seen as stored weights.
func storedParams(s *shape, t *tensors) stored {
	table := func(data []float32, out, in int) kernel.Weight {
		b := unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(data))), 4*len(data))
		return kernel.Weight{Format: kernel.FormatF32, Data: b[:4*out*in], Out: out, In: in}
	}
	w := stored{embed: table(t.embed, s.V, s.C), norm: t.norm, head: table(t.head.data, s.V, s.C)}
	for i := range t.layers {
		ly := &t.layers[i]
		qkv, gu := ly.qkv.data, ly.gu.data
		w.layers = append(w.layers, storedLayer{
			norm1: ly.norm1, norm2: ly.norm2,
			q: table(qkv, s.Q, s.C), k: table(qkv[s.Q*s.C:], s.KV, s.C), v: table(qkv[(s.Q+s.KV)*s.C:], s.KV, s.C), o: table(ly.o.data, s.C, s.Q),
			gate: table(gu, s.F, s.C), up: table(gu[s.F*s.C:], s.F, s.C), down: table(ly.down.data, s.C, s.F),
		})
	}
	return w
}

// multiply computes products of the first n rows of x, (n, width of the weights); they may have different formats.
func (w *sessionWork) multiply(x []float32, n int, products ...kernel.Product) {
	for len(products) > 0 {
		f := products[0].W.Format
		w.input.Set(w.pool, f, x, n, products[0].W.In)
		group, rest := w.group[:0], w.rest[:0]
		for _, p := range products {
			if p.W.Format == f {
				group = append(group, p)
			} else {
				rest = append(rest, p)
			}
		}
		kernel.Multiply(w.pool, &w.input, group...)
		products = append(products[:0], rest...)
	}
}

// layer takes the stream x through one block.
func (w *sessionWork) layer(e *Engine, ly *storedLayer) {
	kernel.RMSNorm(w.pool, w.xn, w.rstd, w.x, ly.norm1, w.n, w.C, w.eps)
	w.multiply(w.xn, w.n,
		kernel.Product{W: &ly.q, C: w.qkv, Stride: w.QKV},
		kernel.Product{W: &ly.k, C: w.qkv[w.Q:], Stride: w.QKV},
		kernel.Product{W: &ly.v, C: w.qkv[w.Q+w.KV:], Stride: w.QKV})
	if e.o.Interleaved {
		w.run(w.chunks(), w.untwine)
	}
	kernel.Rope(w.pool, w.qkv, w.pos, w.rope.qcos, w.rope.qsin, w.n, w.H, w.D, w.QKV, false)
	kernel.Rope(w.pool, w.qkv[w.Q:], w.pos, w.rope.cos, w.rope.sin, w.n, w.K, w.D, w.QKV, false)
	w.run(len(w.parts), w.copy)
	w.attention()
	w.multiply(w.att, w.n, kernel.Product{W: &ly.o, C: w.x, Stride: w.C, Add: true})
	kernel.RMSNorm(w.pool, w.xn, w.rstd, w.x, ly.norm2, w.n, w.C, w.eps)
	w.multiply(w.xn, w.n,
		kernel.Product{W: &ly.gate, C: w.gu, Stride: 2 * w.F},
		kernel.Product{W: &ly.up, C: w.gu[w.F:], Stride: 2 * w.F})
	w.run(w.chunks(), w.swigluTask)
	w.multiply(w.act, w.n, kernel.Product{W: &ly.down, C: w.x, Stride: w.C, Add: true})
}

// untwineRows puts queries and keys whose rotary pairs are neighbours, (2i, 2i+1), into the order (i, i+D/2).
func (w *sessionWork) untwineRows(i int) {
	from, to := w.chunk(i)
	var heads [512]float32
	half := w.D / 2
	tmp := heads[:]
	if w.D > len(heads) {
		tmp = make([]float32, w.D)
	}
	for r := from; r < to; r++ {
		row := w.qkv[r*w.QKV:][:w.Q+w.KV]
		for h := 0; h < len(row); h += w.D {
			x := row[h : h+w.D]
			copy(tmp, x)
			for i := range half {
				x[i], x[half+i] = tmp[2*i], tmp[2*i+1]
			}
		}
	}
}

// lookupRows writes the embeddings of a task's tokens to x.
func (w *sessionWork) lookupRows(i int) {
	from, to := w.chunk(i)
	for r := from; r < to; r++ {
		w.table.Row(w.x[r*w.C:][:w.C], int(w.ids[r]))
	}
}
