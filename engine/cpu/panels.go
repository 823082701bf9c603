package cpu

import (
	"sync"
	"sync/atomic"

	"ravn/kernel"
)

// matrix is a weight (out, in), read in products x·Wᵀ.
type matrix struct {
	data    []float32
	in, out int
	panels  []float32 // the same once more, as turned writes it; nil when there is none
}

// forth is the operand that takes x (·, in) to (·, out).
func (m *matrix) forth() kernel.Mat { return kernel.Mat{Data: m.data, Stride: m.in, Trans: true} }

// back is the operand that takes gradients of (·, out) to those of (·, in).
func (m *matrix) back() kernel.Mat { return kernel.Mat{Data: m.data, Stride: m.in} }

// panelCols is how many rows of a weight stand side by side in a panel.
const panelCols = 64

// numPanels counts the panels of m, the last of which may be narrow.
func (m *matrix) numPanels() int { return (m.out + panelCols - 1) / panelCols }

// panel is columns [from, to) of Wᵀ (in, out), which lie together, row by row.
func (m *matrix) panel(i int) (p kernel.Mat, from, to int) {
	from, to = i*panelCols, min(m.out, (i+1)*panelCols)
	return kernel.Mat{Data: m.panels[from*m.in : to*m.in], Stride: to - from}, from, to
}

// turn fills the panels of m.
func (m *matrix) turn(p *kernel.Pool) {
	p.Run(m.numPanels(), func(i int) {
		panel, from, to := m.panel(i)
		for l := range m.in {
			dst := panel.Data[l*panel.Stride:][:to-from]
			for r := range dst {
				dst[r] = m.data[(from+r)*m.in+l]
			}
		}
	})
}

// turned is the weights a second time, in panels of the transpose. A product with few rows has no time to turn weights
// as a large one does on the way: one token alone would spend three quarters of its time on it, forty a fifth.
type turned struct {
	fresh atomic.Bool // false when the weights have changed since
	mu    sync.Mutex
	w     tensors
}

// sessionWeights is the weights as sessions read them.
func (e *Engine) sessionWeights() *tensors {
	t := &e.turned
	if e.o.OneCopy {
		return &e.w
	}
	if t.fresh.Load() {
		return &t.w
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.fresh.Load() {
		return &t.w
	}
	if t.w.layers == nil {
		t.w = e.w
		t.w.layers = append([]layer(nil), e.w.layers...)
	}
	for _, m := range t.w.matrices() {
		if m.panels == nil {
			m.panels = make([]float32, len(m.data))
		}
		m.turn(e.pool)
	}
	t.fresh.Store(true)
	return &t.w
}

// matrices are the weights of all products.
func (t *tensors) matrices() []*matrix {
	ms := []*matrix{&t.head}
	for l := range t.layers {
		ly := &t.layers[l]
		ms = append(ms, &ly.qkv, &ly.o, &ly.gu, &ly.down)
	}
	return ms
}

// product writes a·mᵀ for the first n rows of a to c, or adds it.
func (w *work) product(c, a []float32, m *matrix, n int, add bool) {
	if m.panels == nil {
		w.matMul(c, m.out, kernel.Mat{Data: a, Stride: m.in}, m.forth(), n, m.out, m.in, add)
		return
	}
	w.prod = product{c, a, m, n, add}
	w.run(m.numPanels(), w.panelTask)
}

// matMul is kernel.MatMul in the precision of the engine.
func (w *work) matMul(c []float32, ldc int, a, b kernel.Mat, m, n, k int, add bool) {
	if !w.half {
		kernel.MatMul(w.pool, c, ldc, a, b, m, n, k, add)
		return
	}
	x, y := kernel.Half{F32: a.Data, Stride: a.Stride, Trans: a.Trans}, kernel.Half{F32: b.Data, Stride: b.Stride, Trans: b.Trans}
	kernel.MatMulBF16(w.pool, c, ldc, x, y, m, n, k, add)
}

// product is the arguments of one product by panels.
type product struct {
	c, a []float32
	m    *matrix
	n    int
	add  bool
}

func (w *work) productPanel(i int) {
	p := &w.prod
	panel, from, to := p.m.panel(i)
	kernel.MatMul(nil, p.c[from:], p.m.out, kernel.Mat{Data: p.a, Stride: p.m.in}, panel, p.n, to-from, p.m.in, p.add)
}
