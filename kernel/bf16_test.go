package kernel

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
)

// Values rounded by hand: halves go to the even neighbour, carries run into the exponent, and NaN stays NaN.
func TestBF16(t *testing.T) {
	for _, c := range []struct{ in, want uint32 }{
		{0x3f800000, 0x3f80}, // 1
		{0x3f808000, 0x3f80}, // halfway, even below
		{0x3f808001, 0x3f81},
		{0x3f818000, 0x3f82}, // halfway, even above
		{0x3f817fff, 0x3f81},
		{0x3fffffff, 0x4000}, // carries into the exponent
		{0x7f7fffff, 0x7f80}, // the largest float32 is nearer to 2^128 than to the largest bfloat16
		{0x7f7f7fff, 0x7f7f},
		{0x7f800000, 0x7f80}, // infinities
		{0xff800000, 0xff80},
		{0x7fc00000, 0x7fc0}, // NaN
		{0x7f800001, 0x7fc0}, // a signalling one becomes quiet
		{0xffffffff, 0xffff},
		{0x80000000, 0x8000}, // -0
		{0x007fffff, 0x0000}, // below 2^-126
		{0x807fffff, 0x8000},
		{0x00800000, 0x0080},
	} {
		if got := BF16(math.Float32frombits(c.in)); got != uint16(c.want) {
			t.Errorf("BF16(%#08x) = %#04x, want %#04x", c.in, got, c.want)
		}
	}
}

// All levels round alike: every exponent and sign, with lower halves around the middle, in slices of every length.
func TestRoundBF16(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	var all []float32
	for upper := range 1 << 16 {
		for _, lower := range []uint32{0, 1, 0x7fff, 0x8000, 0x8001, 0xffff, r.Uint32() & 0xffff} {
			all = append(all, math.Float32frombits(uint32(upper)<<16|lower))
		}
	}
	eachLevel(t, func(t *testing.T) {
		got := make([]uint16, len(all))
		RoundBF16(got, all)
		for i, x := range all {
			if want := BF16(x); got[i] != want {
				t.Fatalf("%#08x became %#04x, want %#04x", math.Float32bits(x), got[i], want)
			}
		}
		for n := range 301 {
			at := n % 17
			dst := make([]uint16, n+at+40)
			RoundBF16(dst[at:at+n], all[at*1000:][:n])
			for i, v := range dst {
				want := uint16(0)
				if i >= at && i < at+n {
					want = BF16(all[at*1000+i-at])
				}
				if v != want {
					t.Fatalf("n=%d: element %d is %#04x, want %#04x", n, i-at, v, want)
				}
			}
			wide := make([]float32, n+at+40)
			WidenBF16(wide[at:at+n], dst[at:at+n])
			for i, v := range wide {
				if want := FromBF16(dst[i]); math.Float32bits(v) != math.Float32bits(want) {
					t.Fatalf("n=%d: element %d is %v, want %v", n, i-at, v, want)
				}
			}
		}
	})
}

// half is a random operand of that shape with gaps between its rows, in float32 or bfloat16.
func half(seed uint64, rows, cols int, trans, bf16 bool) Half {
	m := mat(seed, rows, cols, trans)
	x := Half{F32: m.Data, Stride: m.Stride, Trans: trans}
	if bf16 {
		x.BF16, x.F32 = make([]uint16, len(m.Data)), nil
		for i, v := range m.Data {
			x.BF16[i] = BF16(v)
		}
	}
	return x
}

// checkHalves compares all levels with the definition. They have the same products in the same order with the same
// roundings, so the bits are the same.
func checkHalves(t *testing.T, m, n, k, mode int) {
	t.Helper()
	a, b := half(uint64(m), m, k, mode&1 != 0, mode&8 != 0), half(uint64(n)+1, k, n, mode&2 != 0, mode&16 != 0)
	ldc := n + mode%3
	start := random(6, m*ldc)
	want := append([]float32(nil), start...)
	matMulBF16Generic(want, ldc, a, b, m, n, k, mode&4 != 0)
	eachLevel(t, func(t *testing.T) {
		got := append([]float32(nil), start...)
		MatMulBF16(nil, got, ldc, a, b, m, n, k, mode&4 != 0)
		same(t, fmt.Sprintf("%dx%dx%d mode %d", m, n, k, mode), got, want)
	})
}

func TestMatMulBF16(t *testing.T) {
	for _, s := range append(shapes, [][3]int{{20, 70, 769}, {530, 9, 34}, {7, 1030, 64}, {40, 40, 1600}}...) {
		step := 1
		if s[0]*s[1]*s[2] > 1e5 {
			step = 7 // large ones in some of the modes
		}
		for mode := 0; mode < 32; mode += step {
			checkHalves(t, s[0], s[1], s[2], mode)
		}
	}
	for n := range 301 { // every size in one direction, with small ones in the others
		checkHalves(t, n, 5, 7, n%32)
		checkHalves(t, 5, n, 9, (n+n/32)%32)
		checkHalves(t, 4, 19, n, (n+n/32)%32)
	}
}

// The rounded operands multiply as they should: against float64, within the rounding of k sums.
func TestMatMulBF16AgainstFloat64(t *testing.T) {
	m, n, k := 33, 70, 900
	a, b := half(1, m, k, false, false), half(2, k, n, true, true)
	c := make([]float32, m*n)
	MatMulBF16(nil, c, n, a, b, m, n, k, false)
	for i := range m {
		for j := range n {
			var want, size float64
			for l := range k {
				v := float64(a.value(i, l)) * float64(b.value(l, j))
				want += v
				size += math.Abs(v)
			}
			if d := math.Abs(float64(c[i*n+j]) - want); !(d <= size*float64(k)*0x1p-24) {
				t.Fatalf("(%d, %d) is %v, want %v", i, j, c[i*n+j], want)
			}
		}
	}
}

func TestMatMulBF16RowsStandAlone(t *testing.T) {
	eachLevel(t, func(t *testing.T) {
		for mode := range 4 {
			m, n, k := 300, 150, 800
			a, b := half(3, m, k, mode&1 != 0, false), half(4, k, n, mode&2 != 0, false)
			whole := make([]float32, m*n)
			MatMulBF16(nil, whole, n, a, b, m, n, k, false)
			for _, threads := range []int{2, 5} {
				p := NewPool(threads)
				c := make([]float32, m*n)
				MatMulBF16(p, c, n, a, b, m, n, k, false)
				p.Close()
				same(t, fmt.Sprintf("mode %d, %d threads", mode, threads), c, whole)
			}
			for rows := 1; rows <= 14; rows += 3 {
				x := a
				x.F32 = a.F32[a.at(rows, 0):]
				c := make([]float32, rows*n)
				MatMulBF16(nil, c, n, x, b, rows, n, k, false)
				same(t, fmt.Sprintf("mode %d, %d rows", mode, rows), c, whole[rows*n:][:rows*n])
			}
		}
	})
}

// The last element of each operand is the last of its memory; what lies beyond must not be touched or matter.
func TestMatMulBF16StaysInside(t *testing.T) {
	eachLevel(t, func(t *testing.T) {
		for mode := range 32 {
			m, n, k := 7, 37, 19
			a, b := half(3, m, k, mode&1 != 0, mode&8 != 0), half(6, k, n, mode&2 != 0, mode&16 != 0) // strides without gaps
			const ldc = 41
			c := make([]float32, m*ldc)
			for i := range c {
				c[i] = -77
			}
			want := append([]float32(nil), c...)
			matMulBF16Generic(want, ldc, a, b, m, n, k, mode&4 != 0)
			MatMulBF16(nil, c, ldc, a, b, m, n, k, mode&4 != 0)
			same(t, fmt.Sprintf("mode %d", mode), c, want)
		}
	})
}

func TestMatMulBF16RefusesShortSlices(t *testing.T) {
	x, y := make([]float32, 12), make([]uint16, 12)
	for name, f := range map[string]func(){
		"kernel: MatMulBF16: C is too short":                func() { MatMulBF16(nil, x[:11], 4, Half{F32: x, Stride: 2}, Half{BF16: y, Stride: 4}, 3, 4, 2, false) },
		"kernel: MatMulBF16: A is too short, or both kinds": func() { MatMulBF16(nil, x, 4, Half{F32: x[:5], Stride: 2}, Half{F32: x, Stride: 4}, 3, 4, 2, false) },
		"kernel: MatMulBF16: B is too short, or both kinds": func() {
			MatMulBF16(nil, x, 4, Half{F32: x, Stride: 2}, Half{F32: x, BF16: y, Stride: 4}, 3, 4, 2, false)
		},
	} {
		func() {
			defer func() {
				if got := recover(); got != name {
					t.Errorf("panic %v, want %q", got, name)
				}
			}()
			f()
		}()
	}
}

func TestMatMulBF16AllocatesNothing(t *testing.T) {
	if raceOn {
		t.Skip("sync.Pool forgets at random under the race detector")
	}
	p := NewPool(2)
	defer p.Close()
	a, b := half(3, 200, 100, true, false), half(4, 100, 300, true, false)
	c := make([]float32, 200*300)
	if got := testing.AllocsPerRun(20, func() { MatMulBF16(p, c, 300, a, b, 200, 300, 100, false) }); got >= 1 {
		t.Errorf("MatMulBF16 made %v allocations a call, want none", got)
	}
}

func FuzzMatMulBF16(f *testing.F) {
	f.Add(uint8(7), uint8(65), uint16(33), uint8(3))
	f.Add(uint8(1), uint8(16), uint16(771), uint8(30))
	f.Fuzz(func(t *testing.T, rows, cols uint8, depth uint16, mode uint8) {
		m, n, k := int(rows), int(cols), int(depth%1700)
		if m*n*k > 1<<21 {
			t.Skip()
		}
		checkHalves(t, m, n, k, int(mode%32))
	})
}

func BenchmarkMatMulBF16(b *testing.B) {
	for _, s := range benchShapes {
		if s.m < 8 {
			continue
		}
		x, y, c := operands(s.m, s.n, s.k, s.transA, s.transB)
		u, v := Half{F32: x.Data, Stride: x.Stride, Trans: x.Trans}, Half{F32: y.Data, Stride: y.Stride, Trans: y.Trans}
		w := v
		w.F32, w.BF16 = nil, make([]uint16, len(v.F32))
		RoundBF16(w.BF16, v.F32)
		for _, threads := range []int{1, 2} {
			for _, kind := range []string{"F32", "BF16"} {
				right := map[string]Half{"F32": v, "BF16": w}[kind]
				b.Run(fmt.Sprintf("%dx%dx%d/%v/%v/%s/threads=%d", s.m, s.n, s.k, s.transA, s.transB, kind, threads), func(b *testing.B) {
					p := NewPool(threads)
					defer p.Close()
					for b.Loop() {
						MatMulBF16(p, c, s.n, u, right, s.m, s.n, s.k, false)
					}
					b.ReportMetric(2e-9*float64(s.m)*float64(s.n)*float64(s.k)*float64(b.N)/b.Elapsed().Seconds(), "GFLOP/s")
				})
			}
		}
	}
}
