package train

import (
	"math"

	"ravn/stats"
)

// Forecast is what a curve so far says of its end.
type Forecast struct {
	Value  float64 `json:"value"`
	Low    float64 `json:"low"` // 95 %
	High   float64 `json:"high"`
	Points int     `json:"points"` // evaluations it is made from
}

// curvePoint is a measured value at a step.
type curvePoint struct {
	step  int
	value float64
}

// curves are what is fitted: value = a + Σ b·f(t), t from 0 to 1 at the end of the run. Powers and logarithms of t, which
// go on and on; exponentials, which come to rest; and exponentials with a straight line, for what falls first and rises
// later, as a re-warmed model's loss does, or the other way round.
var curves = func() (list [][]func(t float64) float64) {
	for _, offset := range []float64{0.005, 0.03, 0.2} {
		for _, power := range []float64{-1, -0.5, 0.5} {
			list = append(list, []func(float64) float64{func(t float64) float64 { return math.Pow(t+offset, power) }})
		}
		list = append(list, []func(float64) float64{func(t float64) float64 { return math.Log(t + offset) }})
	}
	straight := func(t float64) float64 { return t }
	list = append(list, []func(float64) float64{straight})
	for _, rate := range []float64{1, 2, 4, 8, 16, 32} {
		f := func(t float64) float64 { return math.Exp(-rate * t) }
		list = append(list, []func(float64) float64{f}, []func(float64) float64{f, straight})
	}
	return list
}()

const (
	forecastLeast = 4   // points below which nothing is said
	distrust      = 0.2 // standard deviation of any extrapolation, as a share of the change that it foretells
)

// forecast extrapolates points to the end of the run. progress is how far a step has come, from 0 to 1 at the end: the
// sum of learning rates, because a step at a tenth of the rate moves the model about a tenth as far.
//
// Each kind of curve is fitted by least squares; kinds are weighed by their likelihood, with BIC's penalty, so
// that what the points cannot tell apart widens the interval.
func forecast(points []curvePoint, progress func(step int) float64) *Forecast {
	n := len(points)
	if n < forecastLeast {
		return nil
	}
	t, y := make([]float64, n), make([]float64, n)
	for i, p := range points {
		t[i], y[i] = progress(p.step), p.value
	}
	if last := y[n-1]; t[n-1] >= 1 { // the end itself
		return &Forecast{Value: last, Low: last, High: last, Points: n}
	}
	value, sd := foretell(t, y)
	r := stats.StudentQuantile(0.975, float64(n-2)) * math.Hypot(sd, distrust*math.Abs(value-y[n-1]))
	return &Forecast{Value: value, Low: value - r, High: value + r, Points: n}
}

// foretell is the weighed prediction at t = 1, and its standard deviation.
func foretell(t, y []float64) (mean, sd float64) {
	n := float64(len(t))
	size := 0.0
	for _, v := range y {
		size = max(size, math.Abs(v))
	}
	rounding := n * math.Pow(1e-9*size+1e-15, 2) // a sum of squares below it says nothing
	type fitted struct{ weight, mean, variance float64 }
	var fits []fitted
	best := math.Inf(-1)
	for _, terms := range curves {
		free := n - float64(len(terms)+1)
		if free < 2 {
			continue
		}
		at, leverage, rss, ok := fitAt(terms, t, y, 1)
		if !ok {
			continue
		}
		rss = max(rss, rounding)
		weight := -0.5 * (n*math.Log(rss) + float64(len(terms)+1)*math.Log(n))
		fits = append(fits, fitted{weight, at, rss / free * (1 + leverage)})
		best = max(best, weight)
	}
	sum, second := 0.0, 0.0
	for _, f := range fits {
		w := math.Exp(f.weight - best)
		sum += w
		mean += w * f.mean
		second += w * (f.variance + f.mean*f.mean)
	}
	mean, second = mean/sum, second/sum
	return mean, math.Sqrt(max(0, second-mean*mean))
}

// fitAt fits y = a + Σ b·f(t) by least squares, and gives its value at another t, the variance of that value in units of
// the residuals', and the sum of squared residuals. ok is false where the points do not determine the curve.
func fitAt(terms []func(float64) float64, t, y []float64, at float64) (value, leverage, rss float64, ok bool) {
	k := len(terms) + 1
	row := func(t float64) []float64 {
		x := []float64{1}
		for _, f := range terms {
			x = append(x, f(t))
		}
		return x
	}
	// Normal equations, beside them the right sides y and the point asked for.
	m := make([][]float64, k)
	for i := range m {
		m[i] = make([]float64, k+2)
	}
	for n := range t {
		x := row(t[n])
		for i := range k {
			for c := range k {
				m[i][c] += x[i] * x[c]
			}
			m[i][k] += x[i] * y[n]
		}
	}
	target := row(at)
	for i := range k {
		m[i][k+1] = target[i]
	}
	for c := range k { // Gauss and Jordan, with the largest pivot
		p := c
		for i := c + 1; i < k; i++ {
			if math.Abs(m[i][c]) > math.Abs(m[p][c]) {
				p = i
			}
		}
		m[c], m[p] = m[p], m[c]
		if math.Abs(m[c][c]) < 1e-10 {
			return 0, 0, 0, false
		}
		for i := range k {
			if i != c {
				f := m[i][c] / m[c][c]
				for q := c; q < k+2; q++ {
					m[i][q] -= f * m[c][q]
				}
			}
		}
	}
	b := make([]float64, k)
	for i := range k {
		b[i] = m[i][k] / m[i][i]
		value += b[i] * target[i]
		leverage += target[i] * m[i][k+1] / m[i][i]
	}
	for n := range t {
		d := y[n]
		for i, x := range row(t[n]) {
			d -= b[i] * x
		}
		rss += d * d
	}
	return value, max(0, leverage), rss, true
}
