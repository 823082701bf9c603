package cpu

import "ravn/kernel"

// matrix is a weight (out, in), read in products x·Wᵀ.
type matrix struct {
	data    []float32
	in, out int
}

// forth is the operand that takes x (·, in) to (·, out).
func (m *matrix) forth() kernel.Mat { return kernel.Mat{Data: m.data, Stride: m.in, Trans: true} }

// back is the operand that takes gradients of (·, out) to those of (·, in).
func (m *matrix) back() kernel.Mat { return kernel.Mat{Data: m.data, Stride: m.in} }

// product writes a·mᵀ for the first n rows of a to c, or adds it.
func (w *work) product(c, a []float32, m *matrix, n int, add bool) {
	w.matMul(c, m.out, kernel.Mat{Data: a, Stride: m.in}, m.forth(), n, m.out, m.in, add)
}

// matMul is kernel.MatMul in the precision of the engine.
func (w *work) matMul(c []float32, ldc int, a, b kernel.Mat, m, n, k int, add bool) {
	if !w.half {
		kernel.MatMul(w.pool, c, ldc, a, b, m, n, k, add)
		return
	}
	kernel.MatMulBF16(w.pool, c, ldc, halfOf(a), halfOf(b), m, n, k, add)
}
