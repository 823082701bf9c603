package shard

import (
	"math"
	"slices"
)

// maxPeriod is the largest common denominator of shares.
const maxPeriod = 1 << 20

// markEvery is the distance between rows of which the counts are kept.
const markEvery = 1 << 12

// interleave is the endless sequence that says which section each row comes from. It repeats after period rows, and is
// so even that of any number of rows from the start each section has its share to within one row.
//
// The rule is Tijdeman's for the chairman assignment problem (Discrete Mathematics 32, 1980): of the K sections that are
// behind by at least 1/(2K-2) of a row, the one that would soonest be behind by 1-1/(2K-2). No section is ever off by
// more than that. Taking the one that is behind most, which is simpler, can be off by more than one row.
type interleave struct {
	weights []int64 // rows of each section in a period
	period  int64
	order   []uint16 // section of each row of a period
	marks   []int32  // (period/markEvery+1, K) rows of each section before every markEvery-th row
}

func newInterleave(weights []int64) *interleave {
	v := &interleave{weights: weights}
	for _, w := range weights {
		v.period += w
	}
	k := int64(len(weights))
	v.order = make([]uint16, v.period)
	counts := make([]int32, k)
	for n := range v.period {
		if n%markEvery == 0 {
			v.marks = append(v.marks, counts...)
		}
		best, bestTop := -1, int64(0)
		for s, w := range weights {
			// In units of 1/((2K-2)*period) of a row: how far s is behind, and how much further it may fall.
			behind := (2*k - 2) * (w*(n+1) - v.period*int64(counts[s]))
			if behind < v.period {
				continue
			}
			top := (2*k-3)*v.period - behind
			if best < 0 || top*weights[best] < bestTop*w {
				best, bestTop = s, top
			}
		}
		best = max(best, 0) // one section alone is never behind
		v.order[n] = uint16(best)
		counts[best]++
	}
	return v
}

// section is the section of a row.
func (v *interleave) section(row int64) int { return int(v.order[row%v.period]) }

// counts sets dst to the number of rows of each section before the given one.
func (v *interleave) counts(dst []int64, row int64) {
	rounds, rest := row/v.period, row%v.period
	mark := v.marks[rest/markEvery*int64(len(v.weights)):]
	for s, w := range v.weights {
		dst[s] = rounds*w + int64(mark[s])
	}
	for _, s := range v.order[rest/markEvery*markEvery : rest] {
		dst[s]++
	}
}

// find is the row that is the j-th (from 0) of a section.
func (v *interleave) find(section int, j int64) int64 {
	rounds, rest := j/v.weights[section], int32(j%v.weights[section])
	k := len(v.weights)
	low, high := 0, len(v.marks)/k // the last mark with at most rest rows before it
	for high-low > 1 {
		if mid := (low + high) / 2; v.marks[mid*k+section] <= rest {
			low = mid
		} else {
			high = mid
		}
	}
	n := v.marks[low*k+section]
	for i := low * markEvery; ; i++ {
		if int(v.order[i]) == section {
			if n == rest {
				return rounds*v.period + int64(i)
			}
			n++
		}
	}
}

// fractions turns positive shares into whole weights: over the smallest common denominator up to 2^20 that meets
// every share to 1e-12, or else over 2^20. So 0.6 and 0.4 become 3 and 2; decimals of six places are met exactly.
func fractions(shares []float64) []int64 {
	total := 0.0
	for _, s := range shares {
		total += s
	}
	weights := make([]int64, len(shares))
search:
	for period := int64(1); period <= maxPeriod; period++ {
		sum := int64(0)
		for i, s := range shares {
			exact := float64(s / total * float64(period)) // the conversion keeps processors from fusing, and differing
			w := math.Round(exact)
			if w < 1 || math.Abs(exact-w) > 1e-12*float64(period) {
				continue search
			}
			weights[i] = int64(w)
			sum += weights[i]
		}
		if sum == period {
			return weights
		}
	}
	// Largest remainders, but at least 1 for each.
	type remainder struct {
		i    int
		rest float64
	}
	rest := make([]remainder, len(shares))
	left := int64(maxPeriod)
	for i, s := range shares {
		exact := float64(s / total * maxPeriod)
		weights[i] = max(1, int64(exact))
		rest[i] = remainder{i, exact - float64(weights[i])}
		left -= weights[i]
	}
	slices.SortStableFunc(rest, func(a, b remainder) int {
		switch {
		case a.rest > b.rest:
			return -1
		case a.rest < b.rest:
			return 1
		}
		return 0
	})
	for i := 0; left > 0; i = (i + 1) % len(rest) {
		weights[rest[i].i]++
		left--
	}
	return weights // tiny shares raised to 1 may make the sum a little more than 2^20
}
