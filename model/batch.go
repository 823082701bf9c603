package model

import "fmt"

// Batch is what an engine reads in one forward pass: B rows of T tokens, row by row.
//
// A target of -1 is not scored. Position restarts at 0 where a document begins; tokens see only tokens of the same
// segment, so a row packed with several documents gives each its own attention. A nil Positions counts from 0 in
// each row; a nil Segments is one segment a row.
type Batch struct {
	B, T      int
	Tokens    []int32 // (B*T)
	Targets   []int32 // (B*T), -1 where there is none
	Positions []int32 // (B*T) or nil
	Segments  []int32 // (B*T) or nil; never decreases within a row
}

// NumTargets counts the scored positions.
func (b *Batch) NumTargets() int {
	n := 0
	for _, t := range b.Targets {
		if t >= 0 {
			n++
		}
	}
	return n
}

// Update is one optimizer step: AdamW with decoupled weight decay (Loshchilov & Hutter 2019, arXiv 1711.05101),
// p -= LR * (mhat/(sqrt(vhat)+Eps) + WeightDecay*p), decay on parameters whose Decay is set.
type Update struct {
	Step         int     // 1 for the first update; for bias correction
	LR           float64 // learning rate of this step
	Beta1, Beta2 float64
	Eps          float64
	WeightDecay  float64
	GradScale    float64 // every gradient is multiplied by it first (clipping); 1 leaves it
}

// State is everything of a model in training, flat and in the order of Config.Layout.
type State struct {
	Params []float32 // master weights
	M, V   []float32 // first and second moments; nil when there are none
}

// Validate reports whether an engine for c can read b: lengths, ids within the vocabulary, positions not negative,
// segments not decreasing within a row.
func (b *Batch) Validate(c *Config) error {
	if b.B <= 0 || b.T <= 0 {
		return fmt.Errorf("model: batch: %d rows of %d tokens", b.B, b.T)
	}
	n := b.B * b.T
	if len(b.Tokens) != n {
		return fmt.Errorf("model: batch: %d tokens for %d rows of %d", len(b.Tokens), b.B, b.T)
	}
	for _, f := range []struct {
		name string
		s    []int32
	}{{"targets", b.Targets}, {"positions", b.Positions}, {"segments", b.Segments}} {
		if f.s != nil && len(f.s) != n {
			return fmt.Errorf("model: batch: %d %s for %d rows of %d", len(f.s), f.name, b.B, b.T)
		}
	}
	for i := range n {
		row, t := i/b.T, i%b.T
		switch {
		case b.Tokens[i] < 0 || int(b.Tokens[i]) >= c.VocabSize:
			return fmt.Errorf("model: batch: row %d, token %d: id %d is outside the vocabulary of %d", row, t, b.Tokens[i], c.VocabSize)
		case b.Targets != nil && (b.Targets[i] < -1 || int(b.Targets[i]) >= c.VocabSize):
			return fmt.Errorf("model: batch: row %d, token %d: target %d is outside the vocabulary of %d", row, t, b.Targets[i], c.VocabSize)
		case b.Positions != nil && b.Positions[i] < 0:
			return fmt.Errorf("model: batch: row %d, token %d: position %d", row, t, b.Positions[i])
		case b.Segments != nil && t > 0 && b.Segments[i] < b.Segments[i-1]:
			return fmt.Errorf("model: batch: row %d, token %d: segment %d after %d", row, t, b.Segments[i], b.Segments[i-1])
		}
	}
	return nil
}
