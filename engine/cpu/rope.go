package cpu

import (
	"sync"
	"sync/atomic"

	"ravn/kernel"
)

// angles holds cosines and sines of the rotary positions 0 … n-1. Those for queries are multiplied by 1/sqrt(D), so
// that scores need no pass of their own for it.
type angles struct {
	n          int
	cos, sin   []float32 // (n, D/2), for keys
	qcos, qsin []float32 // (n, D/2), for queries
}

// ropes makes tables as long as they are asked for; what a position gets does not depend on the length.
type ropes struct {
	mu    sync.Mutex
	last  atomic.Pointer[angles]
	d     int
	theta float64
	scale float64
}

func (r *ropes) upTo(n int) *angles {
	if a := r.last.Load(); a != nil && a.n >= n {
		return a
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if a := r.last.Load(); a != nil {
		if a.n >= n {
			return a
		}
		n = max(n, 2*a.n)
	}
	size := n * r.d / 2
	a := &angles{
		n: n, cos: make([]float32, size), sin: make([]float32, size),
		qcos: make([]float32, size), qsin: make([]float32, size),
	}
	kernel.RopeTable(a.cos, a.sin, n, r.d, r.theta)
	for i := range size {
		a.qcos[i] = float32(float64(a.cos[i]) * r.scale)
		a.qsin[i] = float32(float64(a.sin[i]) * r.scale)
	}
	r.last.Store(a)
	return a
}
