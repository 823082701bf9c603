package stats

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
)

// Crossed is a table of counts of units that were each asked under the same draws of examples: Sums with the counts of
// the first draw in the first columns, and so on. A score is the mean over draws of a function of one draw's sums; both
// the units and the draws are samples, of all the questions and all the examples there could have been.
type Crossed struct {
	Sums
	Draws int
}

// BootstrapCrossed estimates the mean over draws of f(one draw's sums). Units are resampled, each with all its answers;
// what the draws differ in beyond the luck of the units is added as Student's t with draws-1 degrees of freedom, because
// a handful of draws cannot be resampled. With one draw the interval is of the units alone, and says so.
func BootstrapCrossed(c Crossed, f func(sums []float64) float64, o BootstrapOptions) Estimate {
	per := make([]float64, c.Draws)
	return crossed(c.Units(), c.Draws, o, func(total []float64) []float64 {
		return c.perDraw(per, total, f)
	}, c)
}

// PairedCrossed estimates the difference of two models, a - b, on the same units under the same draws.
func PairedCrossed(a, b Crossed, f func(sums []float64) float64, o BootstrapOptions) Estimate {
	mustMatch(a.Units(), b.Units())
	mustMatch(a.Draws, b.Draws)
	pa, pb := make([]float64, a.Draws), make([]float64, a.Draws)
	both := Crossed{Sums: Sums{Dims: a.Dims + b.Dims}, Draws: a.Draws}
	for i := range a.Units() {
		both.Data = append(append(both.Data, a.Data[i*a.Dims:(i+1)*a.Dims]...), b.Data[i*b.Dims:(i+1)*b.Dims]...)
	}
	e := crossed(a.Units(), a.Draws, o, func(total []float64) []float64 {
		a.perDraw(pa, total[:a.Dims], f)
		b.perDraw(pb, total[a.Dims:], f)
		for i := range pa {
			pa[i] -= pb[i]
		}
		return pa
	}, both)
	e.Method = "paired " + e.Method
	return e
}

// perDraw is f of each draw's part of the sums.
func (c Crossed) perDraw(dst, total []float64, f func(sums []float64) float64) []float64 {
	dims := c.Dims / c.Draws
	for d := range dst {
		dst[d] = f(total[d*dims : (d+1)*dims])
	}
	return dst
}

// crossed resamples units; values gives the statistic of each draw from column sums, in a slice of its own.
func crossed(n, draws int, o BootstrapOptions, values func(total []float64) []float64, c Crossed) Estimate {
	total := make([]float64, c.Dims)
	var within float64 // variance between draws, summed over resamples
	count := 0
	e, resamples, tail := resample(n, o, func(idx []int) float64 {
		c.Add(total, idx)
		per := values(total)
		if v := variance(per); count > 0 && len(idx) == n && !math.IsNaN(v) { // the first call is of all units once
			within += v
		}
		count++
		return Mean(per)
	})
	if n < 2 || draws < 1 {
		return e
	}
	if draws == 1 {
		e.Warnings = append(e.Warnings, "one draw of examples: what another draw would change is not in the interval")
		return e
	}
	if n < SmallN { // jackknifed: nothing to tell the draws' own part from the units'
		return e
	}
	clear(total)
	for i, v := range c.Data {
		total[i%c.Dims] += v
	}
	between := variance(values(total))
	// Resampling units adds to the variance between draws what the luck of the units already puts into it.
	own := max(0, 2*between-within/float64(count-1))
	e.Method += fmt.Sprintf(", %d draws as a sample", draws)
	if own == 0 || resamples == nil {
		return e
	}
	tau := math.Sqrt(own / float64(draws))
	rng := rand.New(rand.NewPCG(o.Seed, 0x647261777321))
	df := float64(draws - 1)
	for i := range resamples {
		resamples[i] += tau * studentT(rng, df)
	}
	slices.Sort(resamples)
	e.Low, e.High = Quantile(resamples, tail), Quantile(resamples, 1-tail)
	e.SE = math.Hypot(e.SE, tau)
	e.P = tailShare(e, resamples)
	return e
}

// studentT draws from Student's t: a normal over the root of a mean of squares.
func studentT(rng *rand.Rand, df float64) float64 {
	var ss float64
	for range int(df) {
		z := rng.NormFloat64()
		ss += z * z
	}
	return rng.NormFloat64() / math.Sqrt(ss/df)
}

func variance(x []float64) float64 {
	if len(x) < 2 {
		return 0
	}
	d := deviation(x)
	return d * d
}
