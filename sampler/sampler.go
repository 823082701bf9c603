// Package sampler chooses the next token from a row of logits: greedy, or drawn at a temperature from the likeliest.
package sampler

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"sort"
)

// Options say how to draw. The zero value is greedy.
type Options struct {
	Temperature float64 // 0 takes the likeliest token; 1 leaves the model's probabilities
	TopK        int     // draw from the K likeliest; 0 from all
	TopP        float64 // draw from the fewest tokens that hold this probability (Holtzman et al. 2020, arXiv 1904.09751); 0 or 1 from all
	Seed        uint64  // the same seed draws the same tokens
}

// Validate reports what cannot be followed.
func (o Options) Validate() error {
	var errs []error
	if o.Temperature < 0 || math.IsNaN(o.Temperature) {
		errs = append(errs, fmt.Errorf("temperature %g must not be negative", o.Temperature))
	}
	if o.TopK < 0 {
		errs = append(errs, fmt.Errorf("top-k %d must not be negative", o.TopK))
	}
	if o.TopP < 0 || o.TopP > 1 || math.IsNaN(o.TopP) {
		errs = append(errs, fmt.Errorf("top-p %g must lie in [0, 1]", o.TopP))
	}
	return errors.Join(errs...)
}

// Sampler draws tokens one after the other.
type Sampler struct {
	o    Options
	rand *rand.Rand
	ids  []int
	p    []float64
}

// New returns a Sampler at the start of its stream of random numbers.
func New(o Options) (*Sampler, error) {
	if err := o.Validate(); err != nil {
		return nil, fmt.Errorf("sampler: %w", err)
	}
	return &Sampler{o: o, rand: rand.New(rand.NewPCG(o.Seed, 0x7261766e))}, nil
}

// Pick returns the next token for a row of logits. Of equal logits the lower id comes first.
func (s *Sampler) Pick(logits []float32) int32 {
	if s.o.Temperature == 0 {
		best := 0
		for i, x := range logits {
			if x > logits[best] {
				best = i
			}
		}
		return int32(best)
	}
	s.ids = s.ids[:0]
	for i := range logits {
		s.ids = append(s.ids, i)
	}
	sort.SliceStable(s.ids, func(a, b int) bool { return logits[s.ids[a]] > logits[s.ids[b]] })
	if s.o.TopK > 0 && s.o.TopK < len(s.ids) {
		s.ids = s.ids[:s.o.TopK]
	}
	s.p = s.p[:0]
	top, sum := float64(logits[s.ids[0]]), 0.0
	for _, i := range s.ids {
		e := math.Exp((float64(logits[i]) - top) / s.o.Temperature)
		s.p = append(s.p, e)
		sum += e
	}
	if s.o.TopP > 0 && s.o.TopP < 1 {
		held := 0.0
		for i, e := range s.p {
			held += e
			if held >= s.o.TopP*sum {
				s.p, sum = s.p[:i+1], held
				break
			}
		}
	}
	u := s.rand.Float64() * sum
	for i, e := range s.p {
		if u -= e; u < 0 {
			return int32(s.ids[i])
		}
	}
	return int32(s.ids[len(s.p)-1])
}
