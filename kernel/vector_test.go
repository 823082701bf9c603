package kernel

import (
	"fmt"
	"math"
	"testing"
)

// A case of the comparison with the plain routines: in holds slices of one length that begin at odd places, run does
// the work and returns a single number, or 0.
type vectorCase struct {
	name string
	ins  int
	run  func(l *level, in [][]float32) float64
	// tol is the difference allowed beside the magnitudes of result and inputs, in units of 2^-24: the assembly fuses
	// what the plain routine rounds twice, so each sum or product of the formula may differ by half a unit.
	tol float64
	// sum is set when the number returned is a sum over all elements: n roundings in each.
	sum bool
}

var vectorCases = []vectorCase{
	{"dot", 2, func(l *level, in [][]float32) float64 { return float64(l.dot(in[0], in[1])) }, 1, true},
	{"dot3", 3, func(l *level, in [][]float32) float64 { return float64(l.dot3(in[0], in[1], in[2])) }, 2, true},
	{"axpy", 2, func(l *level, in [][]float32) float64 { l.axpy(in[0], 1.7, in[1]); return 0 }, 2, false},
	{"add", 2, func(l *level, in [][]float32) float64 { l.add(in[0], in[1]); return 0 }, 0, false},
	{"scale", 1, func(l *level, in [][]float32) float64 { l.scale(in[0], 1.7); return 0 }, 0, false},
	{"sumSquares", 1, func(l *level, in [][]float32) float64 { return l.sumSquares(in[0]) }, 0, false},
	{"maxOf", 1, func(l *level, in [][]float32) float64 { return float64(l.maxOf(in[0])) }, 0, false},
	// The fused steps of the polynomial move an exponential by a unit in the last place or two.
	{"expSub", 2, func(l *level, in [][]float32) float64 { return float64(l.expSub(in[0], in[1], 1.5)) }, 4, true},
	{"expSum", 1, func(l *level, in [][]float32) float64 { return float64(l.expSum(in[0], 1.5)) }, 4, true},
	{"mulScale", 3, func(l *level, in [][]float32) float64 { l.mulScale(in[0], in[1], in[2], 0.3); return 0 }, 0, false},
	{"mulSub", 2, func(l *level, in [][]float32) float64 { l.mulSub(in[0], in[1], 1.7); return 0 }, 0, false},
	{"normBack", 5, func(l *level, in [][]float32) float64 {
		l.normBack(in[0], in[1], in[2], in[3], in[4], 0.7, -0.4)
		return 0
	}, 8, false},
	{"rotate", 4, func(l *level, in [][]float32) float64 { l.rotate(in[0], in[1], in[2], in[3], -1); return 0 }, 8, false},
	{"swiglu", 3, func(l *level, in [][]float32) float64 { l.swiglu(in[0], in[1], in[2]); return 0 }, 16, false},
	{"swigluBack", 5, func(l *level, in [][]float32) float64 {
		l.swigluBack(in[0], in[1], in[2], in[3], in[4])
		return 0
	}, 32, false},
	{"adamW", 4, func(l *level, in [][]float32) float64 {
		for i, v := range in[3] {
			in[3][i] = v * v
		}
		l.adamW(in[0], in[1], in[2], in[3], &adamWStep{0.9, 0.9, 0.1, 0.95, 0.05, 3, 5, 1e-6, 0.01, 0.1})
		return 0
	}, 16, false},
}

const guard = -123

// inputs are slices of length n, each at another offset within its memory, between guards.
func (c *vectorCase) inputs(seed uint64, n int) (in, whole [][]float32) {
	for i := range c.ins {
		at := 1 + (i*5+n)%17
		w := random(seed+uint64(i), n+at+16)
		for k := range w {
			if k < at || k >= at+n {
				w[k] = guard
			}
		}
		whole = append(whole, w)
		in = append(in, w[at:at+n:at+n])
	}
	return in, whole
}

func (c *vectorCase) check(t *testing.T, seed uint64, n int) {
	t.Helper()
	wantIn, _ := c.inputs(seed, n)
	want := c.run(&portable, wantIn)
	size := 1.0
	for _, x := range wantIn {
		for _, v := range x {
			size = max(size, math.Abs(float64(v)))
		}
	}
	var fusedIn [][]float32
	var fused float64
	for _, l := range levels[1:] {
		in, whole := c.inputs(seed, n)
		got := c.run(l, in)
		what := fmt.Sprintf("%s at %s, n=%d", c.name, l.name, n)
		tol := c.tol * 0x1p-24 * size * size
		if c.sum {
			if d := math.Abs(got - want); !(d <= tol*float64(n)*size) && got != want {
				t.Fatalf("%s: %v, want %v", what, got, want)
			}
		} else if got != want {
			t.Fatalf("%s: %v, want exactly %v", what, got, want)
		}
		for i := range in {
			for k, v := range in[i] {
				if d := math.Abs(float64(v) - float64(wantIn[i][k])); !(d <= tol) {
					t.Fatalf("%s: slice %d, element %d: %v, want %v within %v", what, i, k, v, wantIn[i][k], tol)
				}
			}
			at := 1 + (i*5+n)%17
			for k, v := range whole[i] {
				if (k < at || k >= at+n) && v != guard {
					t.Fatalf("%s: slice %d was written outside, at %d", what, i, k-at)
				}
			}
		}
		if fusedIn == nil {
			fusedIn, fused = in, got
			continue
		}
		if got != fused {
			t.Fatalf("%s: %v, avx2 %v; want the same bits", what, got, fused)
		}
		for i := range in {
			same(t, what+" against avx2", in[i], fusedIn[i])
		}
	}
}

func TestVectorsAgainstPlain(t *testing.T) {
	for _, c := range vectorCases {
		t.Run(c.name, func(t *testing.T) {
			for n := 0; n <= 300; n++ {
				c.check(t, uint64(n), n)
			}
			c.check(t, 1, 5000)
		})
	}
}

func FuzzVectors(f *testing.F) {
	f.Add(uint64(1), uint16(17), uint8(3))
	f.Add(uint64(9), uint16(1000), uint8(7))
	f.Fuzz(func(t *testing.T, seed uint64, n uint16, which uint8) {
		vectorCases[int(which)%len(vectorCases)].check(t, seed, int(n%5000))
	})
}

// The lanes of the portable sums are those that kernel.go promises; worked out here in the other order for integers,
// which are exact in any.
func TestDotIsExactOnIntegers(t *testing.T) {
	eachLevel(t, func(t *testing.T) {
		for n := range 300 {
			x, y := make([]float32, n), make([]float32, n)
			want := 0
			for i := range x {
				x[i], y[i] = float32(i%13-6), float32(i%7-3)
				want += (i%13 - 6) * (i%7 - 3)
			}
			if got := Dot(x, y); got != float32(want) {
				t.Fatalf("n=%d: %v, want %d", n, got, want)
			}
		}
	})
}

// Every 97th float32 in the range where the result is a normal number.
func TestExpError(t *testing.T) {
	eachLevel(t, func(t *testing.T) {
		worst, at := 0.0, float32(0)
		var x, y [64]float32
		test := func() {
			ExpSub(y[:], x[:], 0)
			for i, e := range y {
				want := math.Exp(float64(x[i]))
				_, exp := math.Frexp(want)
				if d := math.Abs(float64(e)-want) / math.Ldexp(1, exp-24); !(d <= worst) {
					worst, at = d, x[i]
				}
			}
		}
		n := 0
		for _, limit := range []float32{88.37, -87.33} {
			sign := math.Float32bits(limit) & 0x80000000
			for b := uint32(0); b < math.Float32bits(limit)&^0x80000000; b += 1997 {
				x[n%64] = math.Float32frombits(b | sign)
				if n++; n%64 == 0 {
					test()
				}
			}
		}
		t.Logf("largest error %.3f units in the last place, at %v", worst, at)
		if worst > 1 {
			t.Errorf("exp(%v) is off by %.3f units in the last place, want 1 at most", at, worst)
		}
	})
}

func TestExpSpecialValues(t *testing.T) {
	inf, nan := float32(math.Inf(1)), float32(math.NaN())
	eachLevel(t, func(t *testing.T) {
		x := []float32{0, -inf, -1e30, -87.7, nan, 1000}
		y := make([]float32, len(x))
		ExpSub(y, x, 0)
		top := float32(math.Exp(float64(float32(expHigh))))
		for i, want := range []float32{1, 0, 0, 0, nan, top} {
			if got := y[i]; got != want && (got == got || want == want) && math.Abs(float64(got/want-1)) > 1e-6 {
				t.Errorf("exp(%v) = %v, want %v", x[i], got, want)
			}
		}
		if got := ExpSub(y[:4], x[:4], 0); got != 1 {
			t.Errorf("sum %v, want 1", got)
		}
		if got := MaxOf(nil); got != -inf {
			t.Errorf("largest of nothing is %v, want -Inf", got)
		}
		p := []float32{1, nan, 2}
		if Softmax(p); p[0] == p[0] || p[2] == p[2] {
			t.Errorf("softmax of a row with NaN is %v, want NaN everywhere", p)
		}
	})
}
