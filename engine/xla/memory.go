package xla

import (
	"fmt"

	"ravn/model"
)

// Memory reckons the bytes that training c in rows of T tokens, B at a time on each of a number of devices, takes on one
// device, by kind. On several devices parameters, gradients and moments are cut evenly over them, and the weights of a
// block are brought together for as long as it is computed; those of the next may be on their way.
//
// go-xla 0.1.4 gives XLA no aliasing of inputs and outputs, so what a program overwrites is freed when it has ended.
//
// Working memory is what a block backward would hold if nothing were freed in between; XLA frees and fuses, so it is
// an upper bound.
func Memory(c *model.Config, o Options, b, t, devices int) []model.MemoryPart {
	o = o.filled()
	n, d := int64(c.NumParams()), int64(max(devices, 1))
	C, F, D, V := int64(c.HiddenSize), int64(c.IntermediateSize), int64(c.HeadDim), int64(c.VocabSize)
	H, K, L := int64(c.NumAttentionHeads), int64(c.NumKeyValueHeads), int64(c.NumHiddenLayers)
	tokens := int64(b) * int64(t)
	element := int64(4)
	if o.BF16 {
		element = 2
	}
	block := 2*C*H*D + 2*C*K*D + 3*C*F + 2*C
	queries, rows := int64(min(o.Queries, t)), min(int64(o.LogitRows), tokens)
	over := ""
	if d > 1 {
		over = fmt.Sprintf(" / %d", d)
	}
	moments := int64(4)
	if o.BF16Moments {
		moments = 2
	}
	parts := []model.MemoryPart{
		{Name: "weights", Bytes: 4 * n / d, Formula: "4·N" + over},
		{Name: "gradients", Bytes: 4 * n / d, Formula: "4·N" + over},
		{Name: "moments", Bytes: 2 * moments * n / d, Formula: fmt.Sprintf("%d·N", 2*moments) + over},
	}
	if d > 1 {
		parts = append(parts,
			model.MemoryPart{Name: "gathered", Bytes: element * (2*block + V*C), Formula: fmt.Sprintf("2 blocks and the head, %d·(2·(2·C·H·D+2·C·K·D+3·C·F)+V·C)", element)},
			model.MemoryPart{Name: "to be added up", Bytes: 4 * block, Formula: "a block's gradients, 4·(2·C·H·D+2·C·K·D+3·C·F)"},
		)
	} else if o.BF16 {
		parts = append(parts, model.MemoryPart{Name: "rounded", Bytes: element * block, Formula: "a block's weights, 2·(2·C·H·D+2·C·K·D+3·C·F)"})
	}
	parts = append(parts,
		model.MemoryPart{Name: "block inputs", Bytes: 4 * (L + 1) * tokens * C, Formula: "4·(L+1)·B·T·C"},
		model.MemoryPart{Name: "block backward", Bytes: 4 * 2 * tokens * (4*C + 4*H*D + 4*K*D + 3*F), Formula: "8·B·T·(4·C+4·H·D+4·K·D+3·F), at most"},
		model.MemoryPart{Name: "scores", Bytes: 4 * 3 * int64(b) * H * queries * queries, Formula: fmt.Sprintf("12·B·H·%d²", queries)},
		model.MemoryPart{Name: "logits", Bytes: 4*3*rows*V + 4*V*C, Formula: fmt.Sprintf("12·%d·V, and 4·V·C of a block's part in the head's gradient", rows)},
	)
	// What a program gives lies beside what it replaces until it has ended. AdamW does that to most, but without the above.
	largest := max(block, V*C) / d
	anew := model.MemoryPart{Name: "written anew", Bytes: 4 * largest, Formula: "gradients beside old ones, 4·max(2·C·H·D+2·C·K·D+3·C·F, V·C)" + over}
	if adamW := (8+2*moments)*largest - model.TotalBytes(parts[3:]); adamW > anew.Bytes {
		anew = model.MemoryPart{Name: "written anew", Bytes: adamW, Formula: fmt.Sprintf("by AdamW, %d·max(2·C·H·D+2·C·K·D+3·C·F, V·C)%s, less what a pass takes", 8+2*moments, over)}
	}
	return append(parts, anew)
}
