package model

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
