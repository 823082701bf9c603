package model

// VisibleKeys is the mean number of keys that a query sees in a row of T tokens of one segment: (T+1)/2 when attention
// is causal, less when the sliding window is shorter than the row.
func (c *Config) VisibleKeys(T int) float64 {
	w := c.SlidingWindow
	if w == 0 || w > T {
		w = T
	}
	// Queries 0..w-1 see 1..w keys, the others w.
	return (float64(w)*float64(w+1)/2 + float64(T-w)*float64(w)) / float64(T)
}

// ForwardFLOPs is the number of floating-point operations of the forward pass for one token in a row of T tokens:
//
//	2·N + 4·L·H·D·A
//
// N counts the parameters that multiply: all but the input embedding (a look-up; when tied, the embedding counts once,
// as the head). A is VisibleKeys(T): each seen key costs 2·D for its score and 2·D for its value, a head. A
// multiplication and an addition count as two; norms, softmax and activations are left out, below 1 %.
func (c *Config) ForwardFLOPs(T int) float64 {
	n := float64(c.NumParams())
	if !c.TieWordEmbeddings {
		n -= float64(c.VocabSize) * float64(c.HiddenSize)
	}
	heads := float64(c.NumHiddenLayers) * float64(c.NumAttentionHeads) * float64(c.HeadDim)
	return 2*n + 4*heads*c.VisibleKeys(T)
}

// TrainFLOPs is the cost of training on one token in a row of T tokens, three times the forward pass:
//
//	6·N + 12·L·H·D·A        (with A ≈ T/2: 6·N + 6·L·H·D·T)
//
// The backward pass needs two products for each of the forward pass. Work done again to save memory is not counted, as
// in "model FLOPs utilisation" (Chowdhery et al. 2022, arXiv 2204.02311, appendix B, which counts A = T).
func (c *Config) TrainFLOPs(T int) float64 { return 3 * c.ForwardFLOPs(T) }

// MemoryPart is one line of a memory table, such as an engine makes of what it would hold.
type MemoryPart struct {
	Name    string
	Bytes   int64
	Formula string // how Bytes was reckoned, in the shape letters
}

// TotalBytes adds up a memory table.
func TotalBytes(parts []MemoryPart) int64 {
	var sum int64
	for _, p := range parts {
		sum += p.Bytes
	}
	return sum
}
