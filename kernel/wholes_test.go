package kernel

import (
	"math"
	"testing"
)

// The tests here compare whole routines with their definitions in float64.

func near(t *testing.T, what string, got []float32, want func(i int) float64, tol float64) {
	t.Helper()
	for i := range got {
		w := want(i)
		if d := math.Abs(float64(got[i]) - w); !(d <= tol*(1+math.Abs(w))) {
			t.Fatalf("%s[%d] = %v, want %v (tolerance %v)", what, i, got[i], w, tol)
		}
	}
}

func TestRMSNormAndBackward(t *testing.T) {
	p := NewPool(2)
	defer p.Close()
	const rows, c, eps = 70, 37, 1e-5
	x, w, dout := random(1, rows*c), random(2, c), random(3, rows*c)
	out, rstd := make([]float32, rows*c), make([]float32, rows)
	dx, dw := random(4, rows*c), random(5, c)
	dx0, dw0 := append([]float32(nil), dx...), append([]float32(nil), dw...)
	RMSNorm(p, out, rstd, x, w, rows, c, eps)
	RMSNormBackward(p, dx, dw, dout, x, w, rstd, rows, c)
	scale := func(r int) float64 {
		s := 0.0
		for _, v := range x[r*c : (r+1)*c] {
			s += float64(v) * float64(v)
		}
		return 1 / math.Sqrt(s/c+eps)
	}
	const tol = 4e-6 // sums of 37 to 70 terms near 1
	near(t, "out", out, func(i int) float64 { return float64(x[i]) * scale(i/c) * float64(w[i%c]) }, tol)
	near(t, "dx", dx, func(i int) float64 {
		r, s, mean := i/c, scale(i/c), 0.0
		for k := range c {
			mean += float64(dout[r*c+k]) * float64(w[k]) * float64(x[r*c+k]) / c
		}
		return float64(dx0[i]) + s*(float64(dout[i])*float64(w[i%c])-float64(x[i])*s*s*mean)
	}, tol)
	near(t, "dw", dw, func(k int) float64 {
		sum := float64(dw0[k])
		for r := range rows {
			sum += float64(dout[r*c+k]) * float64(x[r*c+k]) * scale(r)
		}
		return sum
	}, 2e-5)
}

func TestRopeTurnsAndTurnsBack(t *testing.T) {
	const d, heads, stride, rows, positions = 6, 2, 15, 3, 9
	cos, sin := make([]float32, positions*d/2), make([]float32, positions*d/2)
	RopeTable(cos, sin, positions, d, 10000)
	x := random(1, rows*stride)
	was := append([]float32(nil), x...)
	pos := []int32{8, 0, 5}
	Rope(nil, x, pos, cos, sin, rows, heads, d, stride, false)
	near(t, "turned", x, func(i int) float64 {
		r, j := i/stride, i%stride
		if j >= heads*d {
			return float64(was[i])
		}
		k := j % d
		angle := float64(pos[r]) * math.Pow(10000, -2*float64(k%(d/2))/d)
		s, c := math.Sincos(angle)
		if k < d/2 {
			return float64(was[i])*c - float64(was[i+d/2])*s
		}
		return float64(was[i])*c + float64(was[i-d/2])*s
	}, 5e-7)
	Rope(nil, x, pos, cos, sin, rows, heads, d, stride, true)
	near(t, "back", x, func(i int) float64 { return float64(was[i]) }, 5e-7)
}

func TestSwiGLUAndBackward(t *testing.T) {
	const n = 300
	gate, up, dout := random(1, n), random(2, n), random(3, n)
	for i := range gate {
		gate[i] *= 5
	}
	gate[0], gate[1], gate[2] = 100, -100, 0
	out, dgate, dup := make([]float32, n), random(4, n), random(5, n)
	g0, u0 := append([]float32(nil), dgate...), append([]float32(nil), dup...)
	SwiGLU(nil, out, gate, up)
	SwiGLUBackward(nil, dgate, dup, dout, gate, up)
	sig := func(i int) float64 { return 1 / (1 + math.Exp(-float64(gate[i]))) }
	near(t, "out", out, func(i int) float64 { return float64(gate[i]) * sig(i) * float64(up[i]) }, 1e-6)
	near(t, "dup", dup, func(i int) float64 { return float64(u0[i]) + float64(dout[i])*float64(gate[i])*sig(i) }, 1e-6)
	near(t, "dgate", dgate, func(i int) float64 {
		s, g := sig(i), float64(gate[i])
		return float64(g0[i]) + float64(dout[i])*float64(up[i])*s*(1+g*(1-s))
	}, 2e-6)
}

func TestCrossEntropy(t *testing.T) {
	p := NewPool(2)
	defer p.Close()
	const rows, v, scale = 9, 5003, 0.25
	x := random(1, rows*v)
	was := append([]float32(nil), x...)
	targets := []int32{0, -1, 5002, 17, -1, 3, 4, 5, 6}
	nll, again := make([]float32, rows), make([]float32, rows)
	CrossEntropy(p, nll, x, targets, rows, v, scale, false)
	near(t, "logits without grad", x, func(i int) float64 { return float64(was[i]) }, 0)
	CrossEntropy(p, again, x, targets, rows, v, scale, true)
	sums := make([]float64, rows)
	for i, l := range was {
		sums[i/v] += math.Exp(float64(l))
	}
	want := func(r int) float64 {
		if targets[r] < 0 {
			return 0
		}
		return math.Log(sums[r]) - float64(was[r*v+int(targets[r])])
	}
	near(t, "nll", nll, want, 1e-6)
	near(t, "nll with grad", again, want, 1e-6)
	near(t, "gradient", x, func(i int) float64 {
		r, g := i/v, 0.0
		if targets[r] < 0 {
			return 0
		}
		g = math.Exp(float64(was[i])) / sums[r]
		if i%v == int(targets[r]) {
			g--
		}
		return scale * g
	}, 1e-7)
}

func TestSoftmaxAndLogSoftmax(t *testing.T) {
	x := []float32{1, 2, float32(math.Inf(-1)), 3}
	logs := make([]float32, 4)
	LogSoftmax(logs, x)
	Softmax(x)
	// e/(e+e^2+e^3) and so on, from a table of exponentials.
	want := []float64{0.09003057, 0.24472847, 0, 0.66524096}
	near(t, "softmax", x, func(i int) float64 { return want[i] }, 1e-7)
	for i, w := range []float64{-2.40760596, -1.40760596, math.Inf(-1), -0.40760596} {
		if d := math.Abs(float64(logs[i]) - w); float64(logs[i]) != w && !(d < 1e-6) {
			t.Errorf("log softmax[%d] = %v, want %v", i, logs[i], w)
		}
	}
	Softmax(nil)
	LogSoftmax(nil, nil)
}

// The bounds that ExpSub and SwiGLU state, against float64, over all arguments whose results are normal numbers.
func TestErrorBounds(t *testing.T) {
	const n = 1 << 18
	x, exp, silu, ones := make([]float32, n), make([]float32, n), make([]float32, n), make([]float32, n)
	for i := range x {
		x[i], ones[i] = float32(-87+175*float64(i)/n), 1
	}
	units := func(got float32, want float64) float64 {
		return math.Abs(float64(got)-want) / math.Ldexp(1, math.Ilogb(want)-23)
	}
	eachLevel(t, func(t *testing.T) {
		active.expSub(exp, x, 0)
		active.swiglu(silu, x, ones)
		for i := range x {
			v := float64(x[i])
			if d := units(exp[i], math.Exp(v)); !(d <= 1.1) {
				t.Fatalf("exp(%v) is off by %.2f units in the last place", x[i], d)
			}
			if d := units(silu[i], v/(1+math.Exp(-v))); v != 0 && !(d <= 2.5) {
				t.Fatalf("silu(%v) is off by %.2f units in the last place", x[i], d)
			}
		}
	})
	far, got := []float32{-88, -100, -1e30}, make([]float32, 3)
	SwiGLU(nil, got, far, []float32{1, 1, 1})
	for i, v := range got {
		if !(math.Abs(float64(v)) <= 1e-38*math.Abs(float64(far[i]))) {
			t.Errorf("silu(%v) is %v, want nearly zero", far[i], v)
		}
	}
}

// The gradient of e/(e+e^2+e^3) and so on for dp = (1, 0, 0): p1 - p1^2, -p1 p2, -p1 p3.
func TestSoftmaxBackward(t *testing.T) {
	p, dp := []float32{0.09003057, 0.24472847, 0.66524096}, []float32{1, 0, 0}
	SoftmaxBackward(dp, p)
	want := []float64{0.08192507, -0.02203304, -0.05989202}
	near(t, "gradient", dp, func(i int) float64 { return want[i] }, 1e-7)
}

func TestAdamW(t *testing.T) {
	const n = 40
	w, g, m, v := random(1, n), random(2, n), random(3, n), random(4, n)
	for i := range v {
		v[i] *= v[i]
	}
	w0, g0, m0, v0 := append([]float32(nil), w...), append([]float32(nil), g...), append([]float32(nil), m...), append([]float32(nil), v...)
	u := AdamWParams{LR: 0.01, Beta1: 0.9, Beta2: 0.95, Eps: 1e-8, WeightDecay: 0.1, GradScale: 0.5, BC1: 0.271, BC2: 0.142625}
	AdamW(nil, w, g, m, v, u, true)
	mean := func(i int) float64 { return 0.9*float64(m0[i]) + 0.1*0.5*float64(g0[i]) }
	square := func(i int) float64 { return 0.95*float64(v0[i]) + 0.05*0.25*float64(g0[i])*float64(g0[i]) }
	near(t, "m", m, mean, 1e-6)
	near(t, "v", v, square, 1e-6)
	near(t, "w", w, func(i int) float64 {
		return float64(w0[i]) - 0.01*(mean(i)/0.271/(math.Sqrt(square(i)/0.142625)+1e-8)+0.1*float64(w0[i]))
	}, 1e-6)
	near(t, "g", g, func(int) float64 { return 0 }, 0)
	flat := append([]float32(nil), w...)
	AdamW(nil, flat, make([]float32, n), make([]float32, n), make([]float32, n), u, false)
	near(t, "w without gradient and decay", flat, func(i int) float64 { return float64(w[i]) }, 0)
}

func TestSumSquares(t *testing.T) {
	x := random(1, 3*span+5)
	want := 0.0
	for _, v := range x {
		want += float64(v) * float64(v)
	}
	first := SumSquares(nil, x)
	if d := math.Abs(first - want); !(d <= want*1e-12) {
		t.Errorf("sum of squares %v, want %v", first, want)
	}
	for _, threads := range []int{2, 5} {
		p := NewPool(threads)
		if got := SumSquares(p, x); got != first {
			t.Errorf("%d threads: %v, want exactly %v", threads, got, first)
		}
		p.Close()
	}
}
