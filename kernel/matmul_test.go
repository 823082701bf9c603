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
	{1, 1, 1}, {1, 64, 384}, {2, 3, 5}, {3, 17, 0}, {5, 16, 9}, {6, 64, 64}, {7, 65, 33}, {8, 130, 40},
	{13, 31, 385}, {25, 100, 800}, {64, 48, 16}, {97, 129, 17},
}

func TestMatMulAgainstFloat64(t *testing.T) {
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
