package stats

import (
	"encoding/json"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
)

func near(t *testing.T, what string, got, want, tolerance float64) {
	t.Helper()
	if math.Abs(got-want) > tolerance {
		t.Errorf("%s: got %v, want %v", what, got, want)
	}
}

// Quantiles of Student's t from printed tables.
func TestStudent(t *testing.T) {
	for _, c := range []struct{ p, df, want float64 }{
		{0.975, 1, 12.7062},
		{0.975, 2, 4.30265},
		{0.975, 9, 2.26216},
		{0.975, 30, 2.04227},
		{0.95, 5, 2.01505},
		{0.995, 10, 3.16927},
		{0.975, 100000, 1.95999},
	} {
		near(t, "t quantile", tQuantile(c.p, c.df), c.want, 2e-5*c.want)
	}
	near(t, "normal", normalCDF(1.959964), 0.975, 1e-7)
}

// Values of numpy, by way of the ScandEval vectors.
func TestMeanRadius(t *testing.T) {
	m, r := MeanRadius([]float64{-0.02, 0.03, 0.01, -0.01})
	near(t, "mean", m, 0.0025, 1e-15)
	near(t, "radius", r, 0.021730086669561784, 1e-15)
	if _, r := MeanRadius([]float64{0.42}); !math.IsNaN(r) {
		t.Errorf("radius of one score: got %v, want NaN", r)
	}
}

func TestString(t *testing.T) {
	for _, c := range []struct {
		e    Estimate
		want string
	}{
		{Estimate{Value: 0.6123, Low: 0.5981, High: 0.6272, N: 2048}, "0.612 [0.598, 0.627] n=2048"},
		{Estimate{Value: 30.864, Low: 29.4, High: 32.33, N: 9}, "30.86 [29.40, 32.33] n=9"},
		{Estimate{Value: 1.25, Low: math.NaN(), High: math.NaN(), N: 1}, "1.250 [no interval] n=1"},
		{Estimate{Value: math.NaN(), N: 0}, "– n=0"},
	} {
		if got := c.e.String(); got != c.want {
			t.Errorf("got %q, want %q", got, c.want)
		}
	}
	d := Estimate{Value: 0.012, Low: -0.004, High: 0.028, N: 306}
	if got, want := d.Difference(), "+0.012 [-0.004, 0.028] n=306 ~"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	d.Low = 0.004
	if got := d.Difference(); strings.Contains(got, "~") {
		t.Errorf("a resolved difference is marked: %q", got)
	}
}

func TestJSONKeepsNaN(t *testing.T) {
	e := Bootstrap(1, func([]int) float64 { return 3 }, BootstrapOptions{})
	data, err := json.Marshal(e)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(data), `"low":null`) {
		t.Errorf("no null bound in %s", data)
	}
	var back Estimate
	if err := json.Unmarshal(data, &back); err != nil {
		t.Fatal(err)
	}
	if back.Value != 3 || !math.IsNaN(back.Low) || len(back.Warnings) != 1 || back.Resolved() {
		t.Errorf("came back as %+v", back)
	}
}

func TestSameSeedSameInterval(t *testing.T) {
	x := sample(rand.New(rand.NewPCG(1, 1)), 50)
	a, b := BootstrapMean(x, BootstrapOptions{Seed: 5}), BootstrapMean(x, BootstrapOptions{Seed: 5})
	if a.Low != b.Low || a.High != b.High {
		t.Errorf("two intervals of one seed: %v, %v", a, b)
	}
	if c := BootstrapMean(x, BootstrapOptions{Seed: 6}); c.Low == a.Low {
		t.Errorf("another seed gave the same bound %v", c.Low)
	}
}

// Of a mean the jackknife's standard error is s/√n: for 1, 2, 3 it is 1/√3, and t with 2 degrees of freedom 4.30265.
func TestFewUnitsGetStudentsInterval(t *testing.T) {
	e := BootstrapMean([]float64{1, 2, 3}, BootstrapOptions{})
	near(t, "standard error", e.SE, 1/math.Sqrt(3), 1e-12)
	near(t, "radius", e.Radius(), 4.30265/math.Sqrt(3), 1e-4)
}

func TestSmallNWarns(t *testing.T) {
	e := BootstrapMean([]float64{1, 2, 3}, BootstrapOptions{})
	if len(e.Warnings) != 1 || !strings.Contains(e.Warnings[0], "only 3 units") {
		t.Errorf("warnings of n=3: %q", e.Warnings)
	}
	if e := BootstrapMean(make([]float64, SmallN), BootstrapOptions{}); len(e.Warnings) != 0 {
		t.Errorf("warnings of n=%d: %q", SmallN, e.Warnings)
	}
}

func TestPairingShrinksTheInterval(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 3))
	n := 200
	a, b, bytes := make([]float64, n), make([]float64, n), make([]float64, n)
	for i := range n {
		bytes[i] = 100 + 900*r.Float64()
		a[i] = bytes[i] * (1 + 0.3*r.NormFloat64())
		b[i] = a[i] - bytes[i]*(0.02+0.02*r.NormFloat64())
	}
	d := PairedRatio(a, b, bytes, BootstrapOptions{})
	near(t, "difference", d.Value, 0.02, 0.006)
	if !d.Resolved() {
		t.Errorf("a difference of 0.02 with paired noise 0.02 over 200 documents is not resolved: %v", d)
	}
	if e := BootstrapRatio(a, bytes, BootstrapOptions{}); e.Radius() < 5*d.Radius() {
		t.Errorf("unpaired radius %v is not far above the paired %v", e.Radius(), d.Radius())
	}
	near(t, "detectable", d.Detectable(), 2.8016*d.SE, 1e-4*d.SE)
}

func TestSumsEqualPlainBootstrap(t *testing.T) {
	r := rand.New(rand.NewPCG(9, 9))
	s := Sums{Dims: 2}
	var num, den []float64
	for range 40 {
		a, b := float64(r.IntN(5)), float64(1+r.IntN(5))
		s.Data = append(s.Data, a, b)
		num, den = append(num, a), append(den, b)
	}
	o := BootstrapOptions{Seed: 11}
	got := BootstrapSums(s, func(x []float64) float64 { return x[0] / x[1] }, o)
	want := BootstrapRatio(num, den, o)
	if got.Value != want.Value || got.Low != want.Low || got.High != want.High {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestMeanOf(t *testing.T) {
	// The radii of Danish, Norwegian and Swedish in the Munin table: their mean is 2.52, propagated it is 1.46.
	var es []Estimate
	for _, c := range []struct{ v, r float64 }{{27.74, 2.38}, {27.26, 2.76}, {37.59, 2.43}} {
		es = append(es, Estimate{Value: c.v, Low: c.v - c.r, High: c.v + c.r, Level: 0.95})
	}
	e := MeanOf(es)
	near(t, "mean", e.Value, 30.863333, 1e-6)
	near(t, "radius", e.Radius(), 1.4596, 1e-3)
}

func sample(r *rand.Rand, n int) []float64 {
	x := make([]float64, n)
	for i := range x {
		x[i] = r.ExpFloat64()
	}
	return x
}

// Promise: a nominal 95 % interval holds the truth about 95 % of the time. Simulated: 1000 samples each; the standard
// error of a simulated coverage is 0.7 points.
func TestCoverage(t *testing.T) {
	const trials = 1000
	o := BootstrapOptions{Resamples: 400}
	cases := []struct {
		name     string
		low, top float64
		trial    func(r *rand.Rand) (Estimate, float64)
	}{
		{"mean of 12 normal", 93, 97, func(r *rand.Rand) (Estimate, float64) {
			x := make([]float64, 12)
			for i := range x {
				x[i] = 5 + r.NormFloat64()
			}
			return BootstrapMean(x, o), 5
		}},
		{"paired difference, 3 documents", 93, 97, func(r *rand.Rand) (Estimate, float64) {
			a, b, den := make([]float64, 3), make([]float64, 3), make([]float64, 3)
			for i := range a {
				den[i] = 800 + 200*r.Float64()
				a[i] = den[i] * (1.2 + 0.2*r.NormFloat64())
				b[i] = a[i] - den[i]*(0.05+0.04*r.NormFloat64())
			}
			return PairedRatio(a, b, den, o), 0.05
		}},
		{"mean of 9 normal", 93, 97, func(r *rand.Rand) (Estimate, float64) {
			x := make([]float64, 9)
			for i := range x {
				x[i] = 5 + r.NormFloat64()
			}
			return BootstrapMean(x, o), 5
		}},
		{"accuracy of 150 items", 93, 97, func(r *rand.Rand) (Estimate, float64) {
			x := make([]float64, 150)
			for i := range x {
				if r.Float64() < 0.7 {
					x[i] = 1
				}
			}
			return BootstrapMean(x, o), 0.7
		}},
		{"bits over bytes, 60 documents of very different size", 93, 97, func(r *rand.Rand) (Estimate, float64) {
			num, den := make([]float64, 60), make([]float64, 60)
			for i := range num {
				den[i] = 200 + 800*r.Float64()
				num[i] = den[i] * (1.2 + 0.2*r.NormFloat64())
			}
			return BootstrapRatio(num, den, o), 1.2
		}},
		{"paired difference, 60 documents", 93, 97, func(r *rand.Rand) (Estimate, float64) {
			a, b, den := make([]float64, 60), make([]float64, 60), make([]float64, 60)
			for i := range a {
				den[i] = 200 + 800*r.Float64()
				a[i] = den[i] * (1.2 + 0.2*r.NormFloat64())
				b[i] = a[i] - den[i]*(0.05+0.04*r.NormFloat64())
			}
			return PairedRatio(a, b, den, o), 0.05
		}},
	}
	for k, c := range cases {
		r := rand.New(rand.NewPCG(uint64(k), 77))
		hit := 0
		for i := range trials {
			o.Seed = uint64(i)
			if e, truth := c.trial(r); e.Low <= truth && truth <= e.High {
				hit++
			}
		}
		share := 100 * float64(hit) / trials
		t.Logf("%s: %.1f %%", c.name, share)
		if share < c.low || share > c.top {
			t.Errorf("%s: a 95 %% interval covers %.1f %%, want %.1f to %.1f", c.name, share, c.low, c.top)
		}
	}
}

func BenchmarkPairedRatio2048(b *testing.B) {
	r := rand.New(rand.NewPCG(1, 2))
	x, y, z := sample(r, 2048), sample(r, 2048), sample(r, 2048)
	for b.Loop() {
		PairedRatio(x, y, z, BootstrapOptions{})
	}
}
