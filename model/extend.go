package model

import (
	"fmt"
	"slices"
)

// Blend is a weighted mean of rows.
type Blend struct {
	IDs     []int32
	Weights []float64 // sum to 1; nil weighs all alike
}

// Extend returns w with rows for more ids: row first+k of the embedding, and of the head where it is a matrix of its own,
// is the mean of old rows that blends[k] says, such as of the old ids that spell the new piece. All other rows and tensors
// are as they were, so hidden states and logits of old ids are too. The probabilities of old ids shrink by what the new
// ones take.
//
// Rows that w has behind first, as a padded vocabulary does, are overwritten.
func Extend(w *Weights, first int, blends []Blend) (*Weights, error) {
	if first < 1 || first > w.Config.VocabSize {
		return nil, fmt.Errorf("model: extend: the first new id is %d, the model has %d", first, w.Config.VocabSize)
	}
	for k, b := range blends {
		if len(b.IDs) == 0 || slices.ContainsFunc(b.IDs, func(id int32) bool { return id < 0 || int(id) >= first }) {
			return nil, fmt.Errorf("model: extend: new id %d is made of %v, which has to be ids below %d", first+k, b.IDs, first)
		}
		if b.Weights != nil && len(b.Weights) != len(b.IDs) {
			return nil, fmt.Errorf("model: extend: new id %d has %d weights for %d rows", first+k, len(b.Weights), len(b.IDs))
		}
	}
	c := *w.Config
	c.VocabSize = max(c.VocabSize, first+len(blends))
	if err := c.Validate(); err != nil {
		return nil, err
	}
	out := &Weights{Config: &c, Params: make([]float32, c.NumParams())}
	was := w.Config.Layout()
	for i, p := range c.Layout() {
		old := w.Params[was[i].Offset : was[i].Offset+was[i].Size]
		rows := out.Params[p.Offset : p.Offset+p.Size]
		copy(rows, old)
		if p.Name == "model.embed_tokens.weight" || p.Name == "lm_head.weight" {
			for k, b := range blends {
				b.into(rows[(first+k)*c.HiddenSize:][:c.HiddenSize], old)
			}
		}
	}
	return out, nil
}

// into writes the mean of rows as wide as dst.
func (b Blend) into(dst, rows []float32) {
	for d := range dst {
		sum := 0.0
		for i, id := range b.IDs {
			v := float64(rows[int(id)*len(dst)+d])
			if b.Weights != nil {
				v *= b.Weights[i]
			}
			sum += v
		}
		if b.Weights == nil {
			sum /= float64(len(b.IDs))
		}
		dst[d] = float32(sum)
	}
}
