package cpu

import (
	"runtime"

	"ravn/model"
)

// Memory predicts the bytes that an engine made of c with o holds once it has seen its first batch, by kind; empty is
// what it does not need. Sessions add their own, and so do the program around the engine and Go's runtime: some 20 MB
// and, while a checkpoint is read or written, its largest tensor.
func Memory(c *model.Config, o Options) []model.MemoryPart {
	s := newShape(c)
	if o.MaxRow == 0 {
		o.MaxRow = min(o.MaxTokens, s.maxPos)
	}
	threads := o.Threads
	if threads <= 0 {
		threads = runtime.GOMAXPROCS(0)
	}
	n, rows := int64(c.NumParams()), int64(o.MaxTokens)
	C, Q, QKV, F, L := int64(s.C), int64(s.Q), int64(s.QKV), int64(s.F), int64(s.L)
	parts := []model.MemoryPart{{Name: "weights", Bytes: 4 * n, Formula: "4·N"}}
	add := func(name string, floats int64, formula string) {
		if floats > 0 {
			parts = append(parts, model.MemoryPart{Name: name, Bytes: 4 * floats, Formula: formula})
		}
	}
	moments := 2 * n
	if o.NoMoments {
		moments = 0
	}
	block := C + QKV + Q + 2*F // all but the input
	switch {
	case o.Inference:
		add("activations", rows*(C+block-C), "4·B·T·(C+QKV+Q+2F)")
	case o.Recompute:
		add("gradients", n, "4·N")
		add("moments", moments, "8·N")
		add("activations", rows*(L*C+block+C), "4·B·T·(L·C+2C+QKV+Q+2F)")
	default:
		add("gradients", n, "4·N")
		add("moments", moments, "8·N")
		add("activations", rows*(L*(C+block)+C), "4·B·T·(L·(2C+QKV+Q+2F)+C)")
	}
	add("forward pass", rows*(C+F+4), "4·B·T·(C+F)")
	if !o.Inference {
		add("backward pass", rows*(2*C+QKV+Q+3*F), "4·B·T·(2C+QKV+Q+3F)")
	}
	head := min(rows, headRows)
	add("logits", head*(int64(s.V)+3*C), "4·512·(V+3C), or fewer rows")
	scores := int64(threads) * int64(s.scores(o.MaxRow))
	if !o.Inference {
		scores *= 2
	}
	add("attention", scores, "4·threads·64·2·T, or the window")
	add("packing", int64(threads)*packing(o), "kernels' scratch, about 1 MB a thread")
	return parts
}

// scores is the size of one worker's scores of rows of T tokens.
func (s *shape) scores(T int) int {
	keys := T
	if s.window > 0 {
		keys = min(keys, s.window-1+queryBlock)
	}
	return min(queryBlock, T) * keys
}

// packing is about what one thread packs operands into: a block of A, a panel of B.
func packing(o Options) int64 {
	n := min(int64(o.MaxTokens), 1024)*400 + 1<<15
	if o.Precision == model.BF16 {
		n += 1 << 17
	}
	return n
}
