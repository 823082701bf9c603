package stats

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
)

// BootstrapOptions say how to resample. The zero value is useful.
type BootstrapOptions struct {
	Resamples int     // number of resamples; 0 is 2000
	Seed      uint64  // of the resampling
	Level     float64 // of the interval; 0 is 0.95
}

func (o BootstrapOptions) resamples() int {
	if o.Resamples <= 0 {
		return 2000
	}
	return o.Resamples
}

func (o BootstrapOptions) level() float64 {
	if o.Level <= 0 || o.Level >= 1 {
		return 0.95
	}
	return o.Level
}

// Bootstrap estimates stat over n units: the value on all of them, the interval from resamples with replacement
// (Efron's percentile interval, its tails widened for small n as in Hesterberg 2015, https://arxiv.org/abs/1411.5279).
// Fewer than SmallN units are too few to resample: the interval is Student's, with the jackknife's standard error.
// stat gets unit numbers, possibly repeated, and must not keep the slice.
func Bootstrap(n int, stat func(idx []int) float64, o BootstrapOptions) Estimate {
	return bootstrap(n, o, stat)
}

// PairedBootstrap estimates a - b, both recomputed on the same resample of n units.
func PairedBootstrap(n int, stat func(idx []int) (a, b float64), o BootstrapOptions) Estimate {
	e := bootstrap(n, o, func(idx []int) float64 {
		a, b := stat(idx)
		return a - b
	})
	e.Method = "paired " + e.Method
	return e
}

// BootstrapRatio estimates Σnum/Σden over units, such as bits over bytes with documents as units.
func BootstrapRatio(num, den []float64, o BootstrapOptions) Estimate {
	mustMatch(len(num), len(den))
	return bootstrap(len(num), o, func(idx []int) float64 {
		var a, b float64
		for _, i := range idx {
			a += num[i]
			b += den[i]
		}
		return a / b
	})
}

// PairedRatio estimates (ΣnumA - ΣnumB)/Σden over units that both were measured on.
func PairedRatio(numA, numB, den []float64, o BootstrapOptions) Estimate {
	mustMatch(len(numA), len(den))
	mustMatch(len(numB), len(den))
	e := bootstrap(len(den), o, func(idx []int) float64 {
		var d, b float64
		for _, i := range idx {
			d += numA[i] - numB[i]
			b += den[i]
		}
		return d / b
	})
	e.Method = "paired " + e.Method
	return e
}

// BootstrapMean estimates the mean of x.
func BootstrapMean(x []float64, o BootstrapOptions) Estimate {
	return bootstrap(len(x), o, func(idx []int) float64 {
		var s float64
		for _, i := range idx {
			s += x[i]
		}
		return s / float64(len(idx))
	})
}

// Sums is a table of counts, one row of dims numbers a unit, for statistics that are functions of summed counts: a
// confusion matrix, hits and misses, bits and bytes. It makes a resample cost additions only.
type Sums struct {
	Dims int
	Data []float64 // (units, Dims)
}

// Units is the number of rows.
func (s Sums) Units() int {
	if s.Dims == 0 {
		return 0
	}
	return len(s.Data) / s.Dims
}

// Add writes the column sums over the units of idx to dst (Dims).
func (s Sums) Add(dst []float64, idx []int) {
	clear(dst)
	for _, i := range idx {
		row := s.Data[i*s.Dims : (i+1)*s.Dims]
		for d, v := range row {
			dst[d] += v
		}
	}
}

// BootstrapSums estimates f of the column sums of s.
func BootstrapSums(s Sums, f func(sums []float64) float64, o BootstrapOptions) Estimate {
	total := make([]float64, s.Dims)
	return bootstrap(s.Units(), o, func(idx []int) float64 {
		s.Add(total, idx)
		return f(total)
	})
}

// PairedSums estimates f(a) - f(b), the same units drawn for both.
func PairedSums(a, b Sums, f func(sums []float64) float64, o BootstrapOptions) Estimate {
	mustMatch(a.Units(), b.Units())
	ta, tb := make([]float64, a.Dims), make([]float64, b.Dims)
	return PairedBootstrap(a.Units(), func(idx []int) (float64, float64) {
		a.Add(ta, idx)
		b.Add(tb, idx)
		return f(ta), f(tb)
	}, o)
}

func mustMatch(a, b int) {
	if a != b {
		panic(fmt.Sprintf("stats: %d and %d units do not pair", a, b))
	}
}

func bootstrap(n int, o BootstrapOptions, stat func(idx []int) float64) Estimate {
	e, _, _ := resample(n, o, stat)
	return e
}

// resample also gives the sorted resamples, nil where there are none, and the share that the interval cuts off at each end.
func resample(n int, o BootstrapOptions, stat func(idx []int) float64) (e Estimate, draws []float64, tail float64) {
	b, level := o.resamples(), o.level()
	e = Estimate{
		Value: math.NaN(), Low: math.NaN(), High: math.NaN(), SE: math.NaN(), Level: level, N: n,
		Method: fmt.Sprintf("percentile bootstrap, %d resamples", b),
	}
	if n == 0 {
		e.Warnings = append(e.Warnings, "nothing was measured")
		return e, nil, 0
	}
	idx := make([]int, n)
	for i := range idx {
		idx[i] = i
	}
	e.Value = stat(idx)
	if n < SmallN {
		e.Warnings = append(e.Warnings, fmt.Sprintf("only %d units: the interval is a rough guess", n))
	}
	if n < 2 {
		return e, nil, 0
	}
	if n < SmallN {
		e.Method = "jackknife, Student's t"
		e.SE = jackknife(n, stat)
		r := e.SE * tQuantile(1-(1-level)/2, float64(n-1))
		e.Low, e.High = e.Value-r, e.Value+r
		e.P = 2 * (1 - tCDF(math.Abs(e.Value/e.SE), float64(n-1)))
		return e, nil, 0
	}
	draws = make([]float64, 0, b)
	rng := rand.NewPCG(o.Seed, 0x7261766e)
	undefined := 0
	for range b {
		fill(idx, rng)
		if v := stat(idx); !math.IsNaN(v) {
			draws = append(draws, v)
		} else {
			undefined++
		}
	}
	if undefined > 0 {
		e.Warnings = append(e.Warnings, fmt.Sprintf("%d of %d resamples gave no value", undefined, b))
	}
	if len(draws) < 2 {
		return e, nil, 0
	}
	slices.Sort(draws)
	tail = normalCDF(-math.Sqrt(float64(n)/float64(n-1)) * tQuantile(1-(1-level)/2, float64(n-1)))
	e.Low, e.High = Quantile(draws, tail), Quantile(draws, 1-tail)
	e.SE = deviation(draws)
	e.P = tailShare(e, draws)
	return e, draws, tail
}

// tailShare is the two-sided p-value of "the truth is 0" from the resamples beyond 0. Where fewer than twenty are, the
// share is too coarse for families of comparisons and the standard error says more.
func tailShare(e Estimate, draws []float64) float64 {
	below, above := 0, 0
	for _, v := range draws {
		if v <= 0 {
			below++
		}
		if v >= 0 {
			above++
		}
	}
	few, of := min(below, above), float64(len(draws)+1)
	p := min(1, 2*float64(few+1)/of)
	if few < 20 && e.SE > 0 {
		p = min(2*21/of, 2*(1-tCDF(math.Abs(e.Value)/e.SE, float64(e.N-1))))
	}
	return p
}

// jackknife is the standard error from leaving out one unit at a time.
func jackknife(n int, stat func(idx []int) float64) float64 {
	without := make([]float64, n)
	idx := make([]int, n-1)
	for skip := range n {
		for i := range idx {
			idx[i] = i
			if i >= skip {
				idx[i]++
			}
		}
		without[skip] = stat(idx)
	}
	return deviation(without) * float64(n-1) / math.Sqrt(float64(n))
}

// fill draws len(idx) units with replacement: one 64-bit output gives two 32-bit draws, scaled by multiplication.
func fill(idx []int, rng *rand.PCG) {
	n := uint64(len(idx))
	for i := 0; i < len(idx); i += 2 {
		r := rng.Uint64()
		idx[i] = int(uint64(uint32(r)) * n >> 32)
		if i+1 < len(idx) {
			idx[i+1] = int((r >> 32) * n >> 32)
		}
	}
}

// Quantile of sorted values, linear between neighbours.
func Quantile(sorted []float64, q float64) float64 {
	at := q * float64(len(sorted)-1)
	i := int(at)
	if i+1 >= len(sorted) {
		return sorted[len(sorted)-1]
	}
	return sorted[i] + (at-float64(i))*(sorted[i+1]-sorted[i])
}

func deviation(x []float64) float64 {
	m := Mean(x)
	var ss float64
	for _, v := range x {
		ss += (v - m) * (v - m)
	}
	return math.Sqrt(ss / float64(len(x)-1))
}
