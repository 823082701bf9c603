package stats

import (
	"math"
	"slices"
)

// Holm adjusts the p-values of a family of comparisons so that, with all of them below 0.05, none of those that are
// called different is wrong in 95 of 100 families (Holm 1979). NaN stays NaN and does not count.
func Holm(p []float64) []float64 {
	var order []int
	out := make([]float64, len(p))
	for i, v := range p {
		out[i] = v
		if !math.IsNaN(v) {
			order = append(order, i)
		}
	}
	slices.SortStableFunc(order, func(a, b int) int {
		switch {
		case p[a] < p[b]:
			return -1
		case p[a] > p[b]:
			return 1
		}
		return 0
	})
	floor := 0.0
	for rank, i := range order {
		floor = max(floor, min(1, p[i]*float64(len(order)-rank)))
		out[i] = floor
	}
	return out
}

// PairedT is the two-sided p-value of Student's test on pairs, NaN where no difference varies.
func PairedT(x, y []float64) float64 {
	mustMatch(len(x), len(y))
	d := make([]float64, len(x))
	for i := range d {
		d[i] = x[i] - y[i]
	}
	n := float64(len(d))
	t := Mean(d) / (deviation(d) / math.Sqrt(n))
	return 2 * (1 - tCDF(math.Abs(t), n-1))
}

// WelchGreater is the one-sided p-value of Welch's test that the mean of x is above that of y.
func WelchGreater(x, y []float64) float64 {
	vx, vy := variance(x)/float64(len(x)), variance(y)/float64(len(y))
	t := (Mean(x) - Mean(y)) / math.Sqrt(vx+vy)
	df := (vx + vy) * (vx + vy) / (vx*vx/float64(len(x)-1) + vy*vy/float64(len(y)-1))
	return tCDF(-t, df)
}

// populationDeviation divides by n.
func populationDeviation(x []float64) float64 {
	m := Mean(x)
	var ss float64
	for _, v := range x {
		ss += (v - m) * (v - m)
	}
	return math.Sqrt(ss / float64(len(x)))
}

// RankScores2024 are EuroEval's of April 2024 to spring 2026 on one data set: models by mean, best first; a model that
// Welch's test tells from the last anchor falls behind it by their distance in standard deviations of the models' means
// and becomes the anchor; the others tie with it. The best has 1.
func RankScores2024(scores [][]float64) []float64 {
	means := make([]float64, len(scores))
	order := make([]int, len(scores))
	for i, x := range scores {
		means[i], order[i] = Mean(x), i
	}
	slices.SortStableFunc(order, func(a, b int) int {
		switch {
		case means[a] > means[b]:
			return -1
		case means[a] < means[b]:
			return 1
		}
		return 0
	})
	sd := populationDeviation(means)
	out := make([]float64, len(scores))
	score, anchor := 1.0, -1
	for _, i := range order {
		if anchor >= 0 && sd > 0 && WelchGreater(scores[anchor], scores[i]) < 0.05 {
			score += (means[anchor] - means[i]) / sd
			anchor = i
		}
		if anchor < 0 {
			anchor = i
		}
		out[i] = score
	}
	return out
}

// RankScores2026 are EuroEval's of August 2026 on one data set: 1 + (best mean - mean) / standard deviation of all raw
// scores of all models. Best mean and deviation are those of scores, so that resampled scores are ranked against the
// scores as they were; without resampling, both are the same.
func RankScores2026(resampled, scores [][]float64) []float64 {
	best, all := math.Inf(-1), []float64(nil)
	for _, x := range scores {
		best = max(best, Mean(x))
		all = append(all, x...)
	}
	sd := populationDeviation(all)
	out := make([]float64, len(resampled))
	for i, x := range resampled {
		out[i] = 1
		if sd > 0 {
			out[i] += (best - Mean(x)) / sd
		}
	}
	return out
}
