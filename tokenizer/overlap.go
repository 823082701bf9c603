package tokenizer

import (
	"cmp"
	"math"
	"slices"
)

// Overlap finds the pieces of a vocabulary that a new piece looks like.
type Overlap struct {
	t     *Tokenizer
	grams map[string][]gram // n-gram → the pieces that hold it
	norms []float64         // 2-norm of each piece's n-gram counts; 0 where it has none
}

// gram is how often a piece holds an n-gram.
type gram struct {
	id    int32
	count float64
}

// Characters of the n-grams that pieces are compared by. A single one says too little: every second piece has an e.
const leastGram, mostGram = 2, 4

// overlapTemperature divides similarities before sparsemax. At 0.1 a piece has some five partners, more or fewer as they
// are alike.
const overlapTemperature = 0.1

// NewOverlap indexes the normal pieces of t.
func NewOverlap(t *Tokenizer) *Overlap {
	o := &Overlap{t: t, grams: map[string][]gram{}, norms: make([]float64, len(t.pieces))}
	for id, p := range t.pieces {
		if p.kind != Normal {
			continue
		}
		counts := countGrams(p.text)
		for g, n := range counts {
			o.grams[g] = append(o.grams[g], gram{int32(id), n})
		}
		o.norms[id] = norm2(counts)
	}
	return o
}

// Blend returns old pieces with weights that sum to 1: the sparsemax (Martins & Astudillo 2016, arXiv 1602.02068) of the
// cosine similarities of character n-gram counts, n from 2 to 4 and the space mark a character, over a temperature. Those
// that share nothing have no weight; where none shares anything, the pieces that spell it are weighed alike.
//
// FOCUS (arXiv 2305.14481) weighs as much by sparsemax, of similarities in a further model's embeddings; here the strings
// alone say what is alike.
func (o *Overlap) Blend(piece string) (ids []int32, weights []float64) {
	counts := countGrams(piece)
	norm := norm2(counts)
	dots := map[int32]float64{}
	for g, n := range counts {
		for _, p := range o.grams[g] {
			dots[p.id] += n * p.count // whole numbers, so the order of the sum is of no importance
		}
	}
	for id := range dots {
		ids = append(ids, id)
	}
	if len(ids) == 0 {
		ids = o.t.Spell(piece)
		return ids, slices.Repeat([]float64{1 / float64(max(1, len(ids)))}, len(ids))
	}
	like := func(id int32) float64 { return dots[id] / (norm * o.norms[id]) / overlapTemperature }
	slices.SortFunc(ids, func(a, b int32) int { return cmp.Or(cmp.Compare(like(b), like(a)), cmp.Compare(a, b)) })
	scores := make([]float64, len(ids))
	for i, id := range ids {
		scores[i] = like(id)
	}
	weights = sparsemax(scores)
	return ids[:len(weights)], weights
}

// sparsemax is the point of the simplex nearest to scores, which fall; zeros at the end are left out.
func sparsemax(scores []float64) []float64 {
	sum, over := 0.0, 0.0
	n := 0
	for i, s := range scores {
		if 1+float64(i+1)*s <= sum+s {
			break
		}
		sum += s
		n, over = i+1, (sum-1)/float64(i+1)
	}
	out := make([]float64, n)
	for i := range out {
		out[i] = scores[i] - over
	}
	return out
}

func countGrams(s string) map[string]float64 {
	runes := []rune(s)
	counts := map[string]float64{}
	for n := leastGram; n <= mostGram; n++ {
		for i := 0; i+n <= len(runes); i++ {
			counts[string(runes[i:i+n])]++
		}
	}
	return counts
}

func norm2(counts map[string]float64) float64 {
	sum := 0.0
	for _, n := range counts {
		sum += n * n
	}
	return math.Sqrt(sum)
}
