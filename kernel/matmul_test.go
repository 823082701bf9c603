package kernel

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
)

func random(seed uint64, n int) []float32 {
	r := rand.New(rand.NewPCG(seed, 1))
	x := make([]float32, n)
	for i := range x {
		x[i] = float32(r.NormFloat64())
	}
	return x
}

// mat returns a random operand of that shape with gaps between its rows.
func mat(seed uint64, rows, cols int, trans bool) Mat {
	if trans {
		rows, cols = cols, rows
	}
	stride := cols + int(seed%3)
	return Mat{Data: random(seed, rows*stride), Stride: stride, Trans: trans}
}

// product64 is the product in float64 with the sum of magnitudes, which bounds the rounding error of any order.
func product64(a, b Mat, m, n, k int) (value, size []float64) {
	value, size = make([]float64, m*n), make([]float64, m*n)
	for i := range m {
		for j := range n {
			for l := range k {
				v := float64(a.Data[a.at(i, l)]) * float64(b.Data[b.at(l, j)])
				value[i*n+j] += v
				size[i*n+j] += math.Abs(v)
			}
		}
	}
	return value, size
}

var shapes = [][3]int{
	{1, 1, 1},
	{1, 64, 384},
	{2, 3, 5},
	{3, 17, 0},
	{5, 16, 9},
	{6, 64, 64},
	{7, 65, 33},
	{8, 130, 40},
	{13, 31, 385},
	{25, 100, 800},
	{64, 48, 16},
	{97, 129, 17},
}

func TestMatMulAgainstFloat64(t *testing.T) { eachLevel(t, matMulAgainstFloat64) }

func matMulAgainstFloat64(t *testing.T) {
	p := NewPool(2)
	defer p.Close()
	for _, s := range shapes {
		m, n, k := s[0], s[1], s[2]
		for mode := range 8 {
			name := fmt.Sprintf("%dx%dx%d mode %d", m, n, k, mode)
			a, b := mat(3, m, k, mode&1 != 0), mat(4, k, n, mode&2 != 0)
			add := mode&4 != 0
			ldc := n + 3
			c := random(5, m*ldc)
			was := append([]float32(nil), c...)
			MatMul(p, c, ldc, a, b, m, n, k, add)
			value, size := product64(a, b, m, n, k)
			for i := range m {
				for j := range ldc {
					got, want, tol := float64(c[i*ldc+j]), float64(was[i*ldc+j]), 0.0
					if j < n {
						if !add {
							want = 0
						}
						// Each of k additions rounds by at most 2^-24 of the running magnitude, the products too.
						tol = (size[i*n+j] + math.Abs(want)) * float64(k+2) * 0x1p-24
						want += value[i*n+j]
					}
					if !(math.Abs(got-want) <= tol) {
						t.Fatalf("%s: C[%d,%d] = %v, want %v within %v", name, i, j, got, want, tol)
					}
				}
			}
		}
	}
}

// eachLevel runs f at every level of this machine and build.
func eachLevel(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	for _, l := range levels {
		t.Run(l.name, func(t *testing.T) {
			was := active
			active = l
			defer func() { active = was }()
			f(t)
		})
	}
}

func same(t *testing.T, what string, got, want []float32) {
	t.Helper()
	for i := range want {
		if math.Float32bits(got[i]) != math.Float32bits(want[i]) {
			t.Fatalf("%s: element %d is %v, want exactly %v", what, i, got[i], want[i])
		}
	}
}

// A row of a product is the same alone, in a larger matrix, in a part of the columns, and for any number of threads.
func TestMatMulRowsStandAlone(t *testing.T) {
	eachLevel(t, func(t *testing.T) {
		for _, s := range [][3]int{{41, 150, 400}, {300, 70, 40}, {9, 1100, 776}} {
			m, n, k := s[0], s[1], s[2]
			for mode := range 8 {
				add := mode&4 != 0
				a, b := mat(3, m, k, mode&1 != 0), mat(4, k, n, mode&2 != 0)
				start := random(6, m*n)
				whole := append([]float32(nil), start...)
				MatMul(nil, whole, n, a, b, m, n, k, add)
				for _, threads := range []int{2, 5} {
					p := NewPool(threads)
					c := append([]float32(nil), start...)
					MatMul(p, c, n, a, b, m, n, k, add)
					p.Close()
					same(t, fmt.Sprintf("%v mode %d, %d threads", s, mode, threads), c, whole)
				}
				for rows := 1; rows <= 9; rows++ {
					i := (m - rows) * (rows - 1) / 8 // from the first to the last that there are
					few := append([]float32(nil), start[i*n:(i+rows)*n]...)
					x := a
					x.Data = a.Data[a.at(i, 0):]
					MatMul(nil, few, n, x, b, rows, n, k, add)
					same(t, fmt.Sprintf("%v mode %d, %d rows from %d", s, mode, rows, i), few, whole[i*n:(i+rows)*n])
				}
				// Columns 3 to n-2, rows 2 to 9.
				const i0, j0 = 2, 3
				cols := n - 5
				part := make([]float32, 7*cols)
				for r := range 7 {
					copy(part[r*cols:(r+1)*cols], start[(i0+r)*n+j0:])
				}
				x, y := a, b
				x.Data, y.Data = a.Data[a.at(i0, 0):], b.Data[b.at(0, j0):]
				MatMul(nil, part, cols, x, y, 7, cols, k, add)
				for r := range 7 {
					same(t, fmt.Sprintf("%v mode %d, a part's row %d", s, mode, r), part[r*cols:(r+1)*cols], whole[(i0+r)*n+j0:][:cols])
				}
			}
		}
	})
}

// The portable level is the definition, and the two assembly levels are one.
func TestMatMulLevelsAgree(t *testing.T) {
	for _, s := range shapes {
		m, n, k := s[0], s[1], s[2]
		for mode := range 8 {
			a, b := mat(3, m, k, mode&1 != 0), mat(4, k, n, mode&2 != 0)
			start := random(6, m*n)
			truth := append([]float32(nil), start...)
			matMulGeneric(truth, n, a, b, m, n, k, mode&4 != 0)
			var fused []float32
			eachLevel(t, func(t *testing.T) {
				c := append([]float32(nil), start...)
				MatMul(nil, c, n, a, b, m, n, k, mode&4 != 0)
				what := fmt.Sprintf("%v mode %d", s, mode)
				switch {
				case active == &portable:
					same(t, what, c, truth)
				case fused == nil:
					fused = c
				default:
					same(t, what, c, fused)
				}
			})
		}
	}
}

func TestMatMulEveryEdge(t *testing.T) {
	// All sizes of edge tiles against the definition; k = 20 keeps the difference of fused and rounded products small.
	const k = 20
	eachLevel(t, func(t *testing.T) {
		for m := 1; m <= 14; m++ {
			for n := 1; n <= 131; n += 1 + n/40 {
				for mode := range 4 {
					a, b := mat(uint64(m), m, k, mode&1 != 0), mat(uint64(n), k, n, mode&2 != 0)
					got, want := make([]float32, m*n), make([]float32, m*n)
					MatMul(nil, got, n, a, b, m, n, k, false)
					matMulGeneric(want, n, a, b, m, n, k, false)
					for i := range got {
						if d := math.Abs(float64(got[i] - want[i])); !(d <= 2e-5) {
							t.Fatalf("%dx%d mode %d: element %d is %v, want %v", m, n, mode, i, got[i], want[i])
						}
					}
				}
			}
		}
	})
}

// The last element of each operand is the last of its memory; what lies beyond must not be touched or matter.
func TestMatMulStaysInside(t *testing.T) {
	eachLevel(t, func(t *testing.T) {
		for mode := range 4 {
			m, n, k := 7, 37, 19
			nan := float32(math.NaN())
			guard := func(x Mat, rows, cols int) Mat {
				if x.Trans {
					rows, cols = cols, rows
				}
				for i := range x.Data {
					if i%x.Stride >= cols || i/x.Stride >= rows {
						x.Data[i] = nan
					}
				}
				x.Data = append(x.Data[:(rows-1)*x.Stride+cols], nan, nan, nan, nan)[:(rows-1)*x.Stride+cols]
				return x
			}
			a := guard(mat(2, m, k, mode&1 != 0), m, k)
			b := guard(mat(5, k, n, mode&2 != 0), k, n)
			const ldc = 41
			c := make([]float32, m*ldc)
			for i := range c {
				c[i] = -77
			}
			MatMul(nil, c, ldc, a, b, m, n, k, false)
			for i, v := range c {
				if out := i%ldc >= n; out && v != -77 || !out && v != v {
					t.Fatalf("mode %d: C[%d,%d] = %v", mode, i/ldc, i%ldc, v)
				}
			}
		}
	})
}

func TestMatMulRefusesShortSlices(t *testing.T) {
	x := make([]float32, 12)
	for name, f := range map[string]func(){
		"kernel: MatMul: C is too short": func() { MatMul(nil, x[:11], 4, Mat{x, 2, false}, Mat{x, 4, false}, 3, 4, 2, false) },
		"kernel: MatMul: A is too short": func() { MatMul(nil, x, 4, Mat{x[:5], 2, false}, Mat{x, 4, false}, 3, 4, 2, false) },
		"kernel: MatMul: B is too short": func() { MatMul(nil, x, 4, Mat{x, 2, false}, Mat{x, 1, true}, 3, 4, 2, false) },
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

func TestMatMulAllocatesNothing(t *testing.T) {
	if raceOn {
		t.Skip("sync.Pool forgets at random under the race detector")
	}
	p := NewPool(2)
	defer p.Close()
	a, b := mat(3, 200, 100, true), mat(4, 100, 300, true)
	c := make([]float32, 200*300)
	// A collection in between may empty the kept scratch; one in twenty calls is not every call.
	if got := testing.AllocsPerRun(20, func() { MatMul(p, c, 300, a, b, 200, 300, 100, false) }); got >= 1 {
		t.Errorf("MatMul made %v allocations a call, want none", got)
	}
}

func FuzzMatMul(f *testing.F) {
	f.Add(uint8(7), uint8(65), uint16(33), uint8(3))
	f.Add(uint8(1), uint8(16), uint16(770), uint8(6))
	f.Fuzz(func(t *testing.T, rows, cols uint8, depth uint16, mode uint8) {
		m, n, k := int(rows), int(cols), int(depth%1000)
		if m*n*k > 1<<21 {
			t.Skip()
		}
		a, b := mat(uint64(rows), m, k, mode&1 != 0), mat(uint64(cols), k, n, mode&2 != 0)
		start := random(6, m*n)
		want := append([]float32(nil), start...)
		matMulGeneric(want, n, a, b, m, n, k, mode&4 != 0)
		_, size := product64(a, b, m, n, k)
		eachLevel(t, func(t *testing.T) {
			got := append([]float32(nil), start...)
			MatMul(nil, got, n, a, b, m, n, k, mode&4 != 0)
			for i := range got {
				// Both round each of k+2 steps by at most 2^-24 of the magnitudes summed.
				tol := (size[i] + math.Abs(float64(start[i]))) * float64(2*k+4) * 0x1p-24
				if d := math.Abs(float64(got[i]) - float64(want[i])); !(d <= tol) {
					t.Fatalf("element %d is %v, want %v within %v", i, got[i], want[i], tol)
				}
			}
		})
	})
}

// Every element is in exactly one task, whatever the sizes.
func TestMatMulCutsAllOfC(t *testing.T) {
	for _, l := range levels {
		for _, threads := range []int{1, 2, 7, 64} {
			for m := 1; m < 3000; m += 1 + m/3 {
				for n := 1; n < 9000; n += 1 + n/3 {
					j := &matMul{kit: &l.tiles, m: m, n: n, k: 1000, wide: m % 2 * l.tiles.cols}
					j.cut(threads)
					if j.rows < 1 || j.cols < 1 || j.rows%l.tiles.rows != 0 || j.cols%l.tiles.cols != 0 {
						t.Fatalf("%s, %d threads: %dx%d is cut into %dx%d, want whole tiles", l.name, threads, m, n, j.rows, j.cols)
					}
				}
			}
		}
	}
}
