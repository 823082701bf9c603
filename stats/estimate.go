// Package stats gives every sampled number its interval: bootstrap estimates, paired differences, and how large a
// difference would have to be to be seen.
//
// All resampling is seeded and single-threaded in its random numbers, so the same data give the same interval anywhere.
package stats

import (
	"encoding/json"
	"fmt"
	"math"
	"strconv"
)

// Estimate is a sampled number with its interval. Low and High are NaN (null in JSON) where n is too small for any.
type Estimate struct {
	Value     float64  // of the sample at hand
	Low, High float64  // the interval at Level
	Level     float64  // 0.95 for 95 %
	N         int      // units that were resampled: items or documents
	Method    string   // how the interval was found
	SE        float64  // standard error, NaN (null in JSON) when unknown
	P         float64  // two-sided p-value of "the truth is 0", of differences; 0 unknown
	Warnings  []string // caveats, to be printed wherever the number is
}

// SmallN is the number of units below which an estimate carries a warning.
const SmallN = 10

// String writes `0.612 [0.598, 0.627] n=2048`, with as many decimals as the interval is worth.
func (e Estimate) String() string {
	if math.IsNaN(e.Value) {
		return fmt.Sprintf("– n=%d", e.N)
	}
	d := e.decimals()
	if math.IsNaN(e.Low) || math.IsNaN(e.High) {
		return fmt.Sprintf("%.*f [no interval] n=%d", d, e.Value, e.N)
	}
	return fmt.Sprintf("%.*f [%.*f, %.*f] n=%d", d, e.Value, d, e.Low, d, e.High, e.N)
}

// Difference writes a difference: `+0.012 [0.004, 0.020] n=306`, with ` ~` behind it when the interval holds 0.
func (e Estimate) Difference() string {
	s := e.String()
	if e.Value > 0 {
		s = "+" + s
	}
	if !e.Resolved() {
		s += " ~"
	}
	return s
}

// Resolved reports whether the interval of a difference excludes 0. Without an interval nothing is resolved.
func (e Estimate) Resolved() bool { return e.Low > 0 || e.High < 0 }

// Radius is half the width of the interval.
func (e Estimate) Radius() float64 { return (e.High - e.Low) / 2 }

// Detectable is the smallest true difference that a comparison like this one finds four times in five at 5 %
// (two-sided): (1.96 + 0.84) standard errors, NaN when they are unknown. It belongs beside every "no difference", which
// is not "equal".
func (e Estimate) Detectable() float64 { return (1.959964 + 0.841621) * e.SE }

// Scale returns e with value, bounds and standard error multiplied by f > 0, as for percent.
func (e Estimate) Scale(f float64) Estimate {
	e.Value, e.Low, e.High, e.SE = e.Value*f, e.Low*f, e.High*f, e.SE*f
	return e
}

// decimals shows two significant digits of half the interval, and 2 to 6 decimals.
func (e Estimate) decimals() int {
	r := e.Radius()
	if math.IsNaN(r) || r <= 0 {
		return 3
	}
	return min(6, max(2, 1-int(math.Floor(math.Log10(r)))))
}

type estimateJSON struct {
	Value    *float64 `json:"value"`
	Low      *float64 `json:"low"`
	High     *float64 `json:"high"`
	Level    float64  `json:"level"`
	N        int      `json:"n"`
	Method   string   `json:"method"`
	SE       *float64 `json:"se"`
	P        float64  `json:"p,omitempty"`
	Warnings []string `json:"warnings,omitempty"`
}

// MarshalJSON writes NaN as null.
func (e Estimate) MarshalJSON() ([]byte, error) {
	number := func(x float64) *float64 {
		if math.IsNaN(x) || math.IsInf(x, 0) {
			return nil
		}
		return &x
	}
	return json.Marshal(estimateJSON{number(e.Value), number(e.Low), number(e.High), e.Level, e.N, e.Method, number(e.SE), zeroNaN(e.P), e.Warnings})
}

// UnmarshalJSON reads null as NaN.
func (e *Estimate) UnmarshalJSON(data []byte) error {
	var j estimateJSON
	if err := json.Unmarshal(data, &j); err != nil {
		return err
	}
	number := func(p *float64) float64 {
		if p == nil {
			return math.NaN()
		}
		return *p
	}
	*e = Estimate{
		Value: number(j.Value), Low: number(j.Low), High: number(j.High), Level: j.Level, N: j.N, Method: j.Method,
		SE: number(j.SE), P: j.P, Warnings: j.Warnings,
	}
	return nil
}

func zeroNaN(x float64) float64 {
	if math.IsNaN(x) {
		return 0
	}
	return x
}

// MeanRadius is ScandEval's summary of a few scores: their mean and 1.96 s/√n, s the sample standard deviation.
// The radius of one score is NaN. Note: ScandEval's field names end in `_se` although they hold 1.96 standard errors.
func MeanRadius(x []float64) (mean, radius float64) {
	n := float64(len(x))
	mean = Mean(x)
	if len(x) < 2 {
		return mean, math.NaN()
	}
	var ss float64
	for _, v := range x {
		ss += (v - mean) * (v - mean)
	}
	return mean, 1.96 * math.Sqrt(ss/(n-1)) / math.Sqrt(n)
}

// Mean is the plain mean, NaN of nothing.
func Mean(x []float64) float64 {
	var s float64
	for _, v := range x {
		s += v
	}
	return s / float64(len(x))
}

// MeanOf combines independent estimates into the estimate of their plain mean: deviations add as squares.
// It is what an average over data sets may claim; a mean of their radii claims too much uncertainty.
func MeanOf(es []Estimate) Estimate {
	if len(es) == 0 {
		return Estimate{Value: math.NaN(), Low: math.NaN(), High: math.NaN(), Level: 0.95, Method: "none"}
	}
	out := Estimate{Level: es[0].Level, Method: "mean of " + strconv.Itoa(len(es)) + ", propagated as independent"}
	var down, up, ss float64
	for _, e := range es {
		out.Value += e.Value
		out.N += e.N
		down += (e.Value - e.Low) * (e.Value - e.Low)
		up += (e.High - e.Value) * (e.High - e.Value)
		ss += e.SE * e.SE
		out.Warnings = append(out.Warnings, e.Warnings...)
	}
	n := float64(len(es))
	out.Value /= n
	out.Low, out.High = out.Value-math.Sqrt(down)/n, out.Value+math.Sqrt(up)/n
	out.SE = math.Sqrt(ss) / n
	return out
}
