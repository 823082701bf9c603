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

// MemoryPart is one line of a memory table.
type MemoryPart struct {
	Name    string
	Bytes   int64
	Formula string // how Bytes was reckoned, in the shape letters
}

// MemoryPlan says what training keeps in memory.
type MemoryPlan struct {
	B, T      int
	DType     DType // of weights, gradients and activations in the products; moments and master weights are F32
	Recompute bool  // keep only the input of each block and compute the rest again on the way back
	Inference bool  // weights and one forward pass alone
}

// Memory is the table of what p needs, largest kinds first; TotalBytes adds it up.
//
// With F32 that is 16 bytes a parameter: weights 4, gradients 4, moments 8. With BF16 or F16 it is 16 too: weights 2,
// gradients 2, master weights 4, moments 8. Activations are those that the backward pass reads: in each block the input
// and output of the norms, queries, keys, values, the heads' outputs, gate, up and their product.
func (c *Config) Memory(p MemoryPlan) []MemoryPart {
	n, e := int64(c.NumParams()), int64(p.DType.Size())
	parts := []MemoryPart{{"weights", n * e, "N"}}
	if !p.Inference {
		parts = append(parts, MemoryPart{"gradients", n * e, "N"})
		if p.DType != F32 {
			parts = append(parts, MemoryPart{"master weights", n * 4, "N, F32"})
		}
		parts = append(parts, MemoryPart{"moments", n * 8, "2·N, F32"})
	}
	rows := int64(p.B) * int64(p.T)
	C, F, L := int64(c.HiddenSize), int64(c.IntermediateSize), int64(c.NumHiddenLayers)
	q, k := int64(c.NumAttentionHeads)*int64(c.HeadDim), int64(c.NumKeyValueHeads)*int64(c.HeadDim)
	block := 4*C + 2*q + 2*k + 3*F // input, norm, middle, norm; q and heads' output; k, v; gate, up, product
	switch {
	case p.Inference:
		parts = append(parts, MemoryPart{"activations", rows * block * e, "B·T·(4·C+2·H·D+2·K·D+3·F)"})
	case p.Recompute:
		parts = append(parts, MemoryPart{"activations", rows * (L*C + block) * e, "B·T·(L·C + 4·C+2·H·D+2·K·D+3·F)"})
	default:
		parts = append(parts, MemoryPart{"activations", rows * L * block * e, "B·T·L·(4·C+2·H·D+2·K·D+3·F)"})
	}
	return append(parts, MemoryPart{"logits", rows * int64(c.VocabSize) * 4, "B·T·V, F32"})
}

// TotalBytes adds up a memory table.
func TotalBytes(parts []MemoryPart) int64 {
	var sum int64
	for _, p := range parts {
		sum += p.Bytes
	}
	return sum
}
