package kernel

// Mat is a matrix operand: rows of Stride elements in Data. When Trans is set the stored matrix is the transpose of
// the operand.
type Mat struct {
	Data   []float32
	Stride int
	Trans  bool
}

// at returns where element (i, j) of the operand lies.
func (a Mat) at(i, j int) int {
	if a.Trans {
		return j*a.Stride + i
	}
	return i*a.Stride + j
}

// fits reports whether the operand has rows x cols elements in Data.
func (a Mat) fits(rows, cols int) bool {
	if rows == 0 || cols == 0 {
		return true
	}
	width := cols
	if a.Trans {
		width = rows
	}
	return a.Stride >= width && len(a.Data) > a.at(rows-1, cols-1)
}

// MatMul writes A·B to C, or adds it when add is set.
//
//	C (m, n) with rows of ldc elements   A (m, k)   B (k, n)
//
// k is cut into blocks that depend on k alone. Each element of C is the sum over its blocks, in order, each block one
// running sum from zero; with add, C comes first. So a value depends on its row of A and its column of B, and on
// nothing else: not on threads, nor m, nor n, nor where it stands.
func MatMul(p *Pool, c []float32, ldc int, a, b Mat, m, n, k int, add bool) {
	if m == 0 || n == 0 {
		return
	}
	check(ldc >= n && len(c) >= (m-1)*ldc+n, "MatMul: C is too short")
	check(a.fits(m, k), "MatMul: A is too short")
	check(b.fits(k, n), "MatMul: B is too short")
	if k == 0 {
		for i := range m {
			if !add {
				clear(c[i*ldc : i*ldc+n])
			}
		}
		return
	}
	p.Run(m, func(i int) {
		a := a
		a.Data = a.Data[a.at(i, 0):]
		matMulGeneric(c[i*ldc:], ldc, a, b, 1, n, k, add)
	})
}

// blockK is the longest running sum over k.
const blockK = 384

// kBlock returns the size of the blocks that k is cut into: as equal as multiples of 8 allow, and at most blockK.
func kBlock(k int) int {
	blocks := (k + blockK - 1) / blockK
	if blocks <= 1 {
		return k
	}
	return ((k+blocks-1)/blocks + 7) &^ 7
}

type tiles struct{}

var tilesGeneric tiles
