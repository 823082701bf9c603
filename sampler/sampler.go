// Package sampler chooses the next token from a row of logits, greedily or drawn at a temperature from the likeliest, and
// ends a text where a stop string begins.
package sampler

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
)

// Options say how to draw. The zero value is greedy. The cuts apply in the order of their fields: repetition, then the
// temperature, top-k, min-p, top-p.
type Options struct {
	// RepetitionPenalty divides positive logits of tokens seen before and multiplies negative ones (Keskar et al. 2019,
	// arXiv 1909.05858); 0 or 1 leaves them. Below 1 it rewards repetition.
	RepetitionPenalty float64
	RepetitionWindow  int     // newest tokens that count as seen; 0 is all
	Temperature       float64 // 0 takes the likeliest token; 1 leaves the model's probabilities
	TopK              int     // draw from the K likeliest; 0 from all
	MinP              float64 // draw from tokens at least this share as likely as the likeliest (Nguyen et al. 2024, arXiv 2407.01082); 0 from all
	TopP              float64 // draw from the fewest tokens that hold this probability (Holtzman et al. 2020, arXiv 1904.09751); 0 or 1 from all
	Seed              uint64  // the same seed draws the same tokens
}

// Validate reports what cannot be followed.
func (o Options) Validate() error {
	var errs []error
	if !(o.Temperature >= 0) || math.IsInf(o.Temperature, 1) {
		errs = append(errs, fmt.Errorf("temperature %g must not be negative or infinite", o.Temperature))
	}
	if o.TopK < 0 {
		errs = append(errs, fmt.Errorf("top-k %d must not be negative", o.TopK))
	}
	if !(o.TopP >= 0 && o.TopP <= 1) {
		errs = append(errs, fmt.Errorf("top-p %g must lie in [0, 1]", o.TopP))
	}
	if !(o.MinP >= 0 && o.MinP <= 1) {
		errs = append(errs, fmt.Errorf("min-p %g must lie in [0, 1]", o.MinP))
	}
	if !(o.RepetitionPenalty >= 0) || math.IsInf(o.RepetitionPenalty, 1) {
		errs = append(errs, fmt.Errorf("repetition penalty %g must not be negative or infinite", o.RepetitionPenalty))
	}
	if o.RepetitionWindow < 0 {
		errs = append(errs, fmt.Errorf("repetition window %d must not be negative", o.RepetitionWindow))
	}
	return errors.Join(errs...)
}

// Sampler draws tokens one after the other.
type Sampler struct {
	o         Options
	rand      *rand.Rand
	seen      []int32
	penalised []float32 // logits after the penalty
	choices   []choice
}

// choice is a token with its weight, exp of its logit less the largest.
type choice struct {
	id     int32
	weight float64
}

// New returns a Sampler at the start of its stream of random numbers.
func New(o Options) (*Sampler, error) {
	if err := o.Validate(); err != nil {
		return nil, fmt.Errorf("sampler: %w", err)
	}
	return &Sampler{o: o, rand: rand.New(rand.NewPCG(o.Seed, 0x7261766e))}, nil
}

// See counts tokens as seen, for the repetition penalty: those of a prompt. Picked ones are seen by themselves.
func (s *Sampler) See(ids ...int32) {
	s.seen = append(s.seen, ids...)
	if w := s.o.RepetitionWindow; w > 0 && len(s.seen) > w {
		s.seen = append(s.seen[:0], s.seen[len(s.seen)-w:]...)
	}
}

// Pick returns the next token for a row of logits, which it leaves alone. Of equal logits the lower id comes first.
func (s *Sampler) Pick(logits []float32) int32 {
	id := s.pick(s.penalty(logits))
	s.See(id)
	return id
}

func (s *Sampler) penalty(logits []float32) []float32 {
	p := float32(s.o.RepetitionPenalty)
	if p == 0 || p == 1 || len(s.seen) == 0 {
		return logits
	}
	s.penalised = append(s.penalised[:0], logits...)
	for _, id := range s.seen {
		if int(id) >= len(logits) || id < 0 {
			continue
		}
		if x := logits[id]; x > 0 { // from the untouched row: a token seen twice is punished once
			s.penalised[id] = x / p
		} else {
			s.penalised[id] = x * p
		}
	}
	return s.penalised
}

func (s *Sampler) pick(logits []float32) int32 {
	best := 0
	for i, x := range logits {
		if x > logits[best] {
			best = i
		}
	}
	if s.o.Temperature == 0 {
		return int32(best)
	}
	top, sum := float64(logits[best]), 0.0
	s.choices = s.choices[:0]
	for i, x := range logits {
		w := math.Exp((float64(x) - top) / s.o.Temperature)
		if w > 0 {
			s.choices = append(s.choices, choice{int32(i), w})
			sum += w
		}
	}
	if len(s.choices) == 0 { // no logit is a number
		return int32(best)
	}
	if k := s.o.TopK; k > 0 && k < len(s.choices) {
		s.likeliest(func(n int, _ float64) bool { return n >= k })
		s.choices = s.choices[:k]
		sum = total(s.choices)
	}
	if s.o.MinP > 0 {
		kept := s.choices[:0]
		for _, c := range s.choices {
			if c.weight >= s.o.MinP {
				kept = append(kept, c)
			}
		}
		s.choices = kept
		sum = total(kept)
	}
	if p := s.o.TopP; p > 0 && p < 1 {
		s.likeliest(func(_ int, held float64) bool { return held >= p*sum })
		held := 0.0
		for i, c := range s.choices {
			if held += c.weight; held >= p*sum {
				s.choices, sum = s.choices[:i+1], held
				break
			}
		}
	}
	u := s.rand.Float64() * sum
	for _, c := range s.choices {
		if u -= c.weight; u < 0 {
			return c.id
		}
	}
	return s.choices[len(s.choices)-1].id
}

func total(cs []choice) float64 {
	sum := 0.0
	for _, c := range cs {
		sum += c.weight
	}
	return sum
}

// likeliest brings the likeliest choices to the front, in order, as many as enough wants: it is told how many choices
// there are and what they weigh. Most of a vocabulary is never sorted.
func (s *Sampler) likeliest(enough func(n int, held float64) bool) {
	for least := 1e-3; ; least *= 1e-3 {
		n, held := 0, 0.0
		for i, c := range s.choices {
			if c.weight >= least {
				s.choices[i], s.choices[n] = s.choices[n], c
				n++
				held += c.weight
			}
		}
		all := n == len(s.choices)
		if !all && least > 1e-30 && !enough(n, held) {
			continue
		}
		front := s.choices
		if !all && enough(n, held) {
			front = front[:n]
		}
		slices.SortFunc(front, func(a, b choice) int { return cmp.Or(cmp.Compare(b.weight, a.weight), cmp.Compare(a.id, b.id)) })
		return
	}
}
