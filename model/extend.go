package model

import (
	"fmt"
	"slices"
)

// Extend returns w with rows for more ids: row first+k of the embedding, and of the head where it is a matrix of its own,
// is the mean of the rows of spelled[k], the old ids that spell the new piece. All other rows and tensors are as they were,
// so hidden states and logits of old ids are too. The probabilities of old ids shrink by what the new ones take.
//
// Rows that w has behind first, as a padded vocabulary does, are overwritten.
func Extend(w *Weights, first int, spelled [][]int32) (*Weights, error) {
	if first < 1 || first > w.Config.VocabSize {
		return nil, fmt.Errorf("model: extend: the first new id is %d, the model has %d", first, w.Config.VocabSize)
	}
	c := *w.Config
	c.VocabSize = max(c.VocabSize, first+len(spelled))
	if err := c.Validate(); err != nil {
		return nil, err
	}
	out := &Weights{Config: &c, Params: make([]float32, c.NumParams())}
	was := w.Config.Layout()
	for i, p := range c.Layout() {
		old := w.Params[was[i].Offset : was[i].Offset+was[i].Size]
		rows := out.Params[p.Offset : p.Offset+p.Size]
		copy(rows, old)
		if p.Name != "model.embed_tokens.weight" && p.Name != "lm_head.weight" {
			continue
		}
		for k, ids := range spelled {
			if len(ids) == 0 || slices.ContainsFunc(ids, func(id int32) bool { return id < 0 || int(id) >= first }) {
				return nil, fmt.Errorf("model: extend: new id %d is spelled by %v, which has to be ids below %d", first+k, ids, first)
			}
			row := rows[(first+k)*c.HiddenSize:][:c.HiddenSize]
			for d := range row {
				sum := 0.0
				for _, id := range ids {
					sum += float64(old[int(id)*c.HiddenSize+d])
				}
				row[d] = float32(sum / float64(len(ids)))
			}
		}
	}
	return out, nil
}
