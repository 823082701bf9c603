package kernel

import (
	"math"
	"sync"
	"unsafe"
)

// BF16 rounds x to bfloat16, the upper half of a float32: to the nearest, to the even one when two are equally near.
// Numbers below 2^-126 become zero and a NaN stays one, as with VCVTNEPS2BF16.
func BF16(x float32) uint16 {
	b := math.Float32bits(x)
	switch {
	case b&0x7f800000 == 0:
		return uint16(b >> 16 & 0x8000)
	case b&0x7fffffff > 0x7f800000:
		return uint16(b>>16 | 0x40)
	}
	return uint16((b + 0x7fff + b>>16&1) >> 16)
}

// FromBF16 is the float32 that a bfloat16 stands for.
func FromBF16(x uint16) float32 { return math.Float32frombits(uint32(x) << 16) }

// RoundBF16 writes BF16 of each element of src to dst.
func RoundBF16(dst []uint16, src []float32) {
	check(len(dst) == len(src), "RoundBF16: lengths differ")
	if len(src) > 0 {
		active.halves.round(&dst[0], &src[0], len(src))
	}
}

// WidenBF16 writes FromBF16 of each element of src to dst.
func WidenBF16(dst []float32, src []uint16) {
	check(len(dst) == len(src), "WidenBF16: lengths differ")
	if len(src) > 0 {
		active.halves.widen(&dst[0], &src[0], len(src))
	}
}

// Half is an operand of MatMulBF16: rows of Stride elements, either float32 in F32, which are rounded on the way as BF16
// says, or bfloat16 in BF16, as they lie in a file. When Trans is set the stored matrix is the transpose of the operand.
type Half struct {
	F32    []float32
	BF16   []uint16
	Stride int
	Trans  bool
}

// at returns where element (i, j) of the operand lies.
func (a *Half) at(i, j int) int {
	if a.Trans {
		return j*a.Stride + i
	}
	return i*a.Stride + j
}

// fits reports whether the operand has rows x cols elements.
func (a *Half) fits(rows, cols int) bool {
	if rows == 0 || cols == 0 {
		return true
	}
	width := cols
	if a.Trans {
		width = rows
	}
	return a.Stride >= width && len(a.F32)+len(a.BF16) > a.at(rows-1, cols-1) && (a.F32 == nil || a.BF16 == nil)
}

// value is element (i, j) as a product reads it: rounded, and zero below 2^-126.
func (a *Half) value(i, j int) float32 {
	if a.BF16 != nil {
		return flush(FromBF16(a.BF16[a.at(i, j)]))
	}
	return FromBF16(BF16(a.F32[a.at(i, j)]))
}

// flush makes zero of what is below 2^-126.
func flush(x float32) float32 {
	if math.Float32bits(x)&0x7f800000 == 0 {
		return 0
	}
	return x
}

// MatMulBF16 is MatMul with operands in bfloat16: it writes A·B to C, or adds it when add is set. C and all sums are
// float32.
//
//	C (m, n) with rows of ldc elements   A (m, k)   B (k, n)
//
// k is cut into blocks that depend on k alone. Within one, elements of k come in pairs, the second of a pair before the
// first: s = s + a1*b1, s = s + a0*b0, each rounded to float32; the product of two bfloat16 is exact. A last element
// without a partner has zero for it. That is what VDPBF16PS does, so all levels give the same bits, unless a product or
// a sum is below 2^-126 in magnitude, which the instruction takes for zero.
//
// As in MatMul a value depends on its row of A and its column of B alone. Operands are packed on the way; for fewer
// than some 16 rows of A that costs more than the product.
func MatMulBF16(p *Pool, c []float32, ldc int, a, b Half, m, n, k int, add bool) {
	if m == 0 || n == 0 {
		return
	}
	check(ldc >= n && len(c) >= (m-1)*ldc+n, "MatMulBF16: C is too short")
	check(a.fits(m, k), "MatMulBF16: A is too short, or both kinds")
	check(b.fits(k, n), "MatMulBF16: B is too short, or both kinds")
	if k == 0 {
		for i := range m {
			if !add {
				clear(c[i*ldc : i*ldc+n])
			}
		}
		return
	}
	j := halfMatMuls.Get().(*halfMatMul)
	kit := &active.halves
	j.kit, j.c, j.ldc, j.a, j.b, j.m, j.n, j.k, j.add = kit, c, ldc, a, b, m, n, k, add
	cut := matMul{kit: &kit.tiles, m: m, n: n, k: k, wide: halfWide}
	cut.cut(p.Threads())
	j.rows, j.cols = cut.rows, cut.cols
	tasks := ((m + j.rows - 1) / j.rows) * ((n + j.cols - 1) / j.cols)
	if tasks == 1 {
		j.task(0)
	} else {
		p.Run(tasks, j.run)
	}
	j.c, j.a, j.b = nil, Half{}, Half{}
	halfMatMuls.Put(j)
}

// halfWide is how many columns of a task are worth the packing of A.
const halfWide = 256

// halfBlockK is the longest running sum over k.
const halfBlockK = 768

// halfBlock returns the size of the blocks that k is cut into: as equal as multiples of 32 allow.
func halfBlock(k int) int {
	blocks := (k + halfBlockK - 1) / halfBlockK
	if blocks <= 1 {
		return k
	}
	return ((k+blocks-1)/blocks + 31) &^ 31
}

// halves is how one level multiplies bfloat16. A packed operand has slots of 32 bits: one for a pair of bfloat16, when
// the tile takes pairs, or two for the pair's elements in float32, the second first, when it does not.
type halves struct {
	tiles
	slots int // of a pair

	round    func(dst *uint16, src *float32, n int)
	widen    func(dst *float32, src *uint16, n int)
	packF32  func(dst, src *float32, n int)                                 // a row along k; n is even
	packBF16 func(dst *float32, src *uint16, n int)                         // the same
	pairF32  func(dst, src *float32, dstStride, srcStride, pairs, cols int) // two rows of src make a row of dst for each slot
	pairBF16 func(dst *float32, src *uint16, dstStride, srcStride, pairs, cols int)
}

// halfMatMul is one product on its way through the pool.
type halfMatMul struct {
	kit        *halves
	c          []float32
	ldc        int
	a, b       Half
	m, n, k    int
	add        bool
	rows, cols int // of one task
	run        func(int)
}

var halfMatMuls = sync.Pool{New: func() any {
	j := new(halfMatMul)
	j.run = j.task
	return j
}}

// halfScratch is what one task packs operands into.
type halfScratch struct {
	t          tile
	a, b, temp []float32
	last       []float32 // a row without a partner, and zeros
	last16     []uint16
	pair       [2]float32 // an element without a partner, and zero
	pair16     [2]uint16
}

var halfScratches = sync.Pool{New: func() any { return new(halfScratch) }}

// task computes one rectangle of C.
func (j *halfMatMul) task(i int) {
	numCols := (j.n + j.cols - 1) / j.cols
	row, col := i/numCols*j.rows, i%numCols*j.cols
	s := halfScratches.Get().(*halfScratch)
	j.rectangle(s, row, min(row+j.rows, j.m), col, min(col+j.cols, j.n))
	s.t.a, s.t.b, s.t.c = nil, nil, nil
	halfScratches.Put(s)
}

// rectangle computes rows i0 to i1 and columns j0 to j1 of C, block of k by block.
func (j *halfMatMul) rectangle(s *halfScratch, i0, i1, j0, j1 int) {
	kit, t := j.kit, &s.t
	step := halfBlock(j.k)
	down := j.a // A as (k, m)
	down.Trans = !down.Trans
	for k0 := 0; k0 < j.k; k0 += step {
		k := min(step, j.k-k0)
		t.k, t.add = (k+1)/2*kit.slots, j.add || k0 > 0
		t.aRow, t.aCol = t.k+16, 1
		grow(&s.a, (i1-i0+16)*t.aRow)
		kit.alongK(s, s.a, t.aRow, &down, k0, k, i0, i1-i0)
		for col := j0; col < j1; col += kit.cols {
			t.cols, t.cRow = min(kit.cols, j1-col), j.ldc
			t.bRow = (t.cols + kit.lanes - 1) / kit.lanes * kit.lanes
			grow(&s.b, t.k*t.bRow+16)
			kit.acrossK(s, s.b, t.bRow, &j.b, k0, k, col, t.cols)
			t.b = s.b
			for i := i0; i < i1; i += kit.rows {
				t.rows = min(kit.rows, i1-i)
				t.a, t.c = s.a[(i-i0)*t.aRow:], j.c[i*j.ldc+col:]
				kit.tile(t)
			}
		}
	}
}

// grow makes room for n elements, whatever they are.
func grow(x *[]float32, n int) {
	if cap(*x) < n {
		*x = make([]float32, n+n/4)
	}
	*x = (*x)[:cap(*x)]
}

// alongK packs k elements of cols columns of x (k, n), beginning with (k0, col), into a row for each column.
func (kit *halves) alongK(s *halfScratch, dst []float32, stride int, x *Half, k0, k, col, cols int) {
	if x.Trans { // columns lie along k
		kit.rows16(s, dst, stride, x, k0, k, col, cols)
		return
	}
	// Sixteen rows of pairs at a time, which are then turned.
	width := cols + 16
	deep := 16 * kit.slots
	grow(&s.temp, deep*width)
	slots := (k + 1) / 2 * kit.slots
	for l := 0; l < slots; l += deep {
		n := min(deep, slots-l)
		from := l / kit.slots * 2
		kit.pair(s, s.temp, width, x, k0+from, min(k-from, 32), col, cols)
		kit.turn(dst[l:], stride, s.temp, width, n, cols)
	}
}

// acrossK packs the same into a row for each slot, which holds all columns and zeros up to a whole register.
func (kit *halves) acrossK(s *halfScratch, dst []float32, stride int, x *Half, k0, k, col, cols int) {
	if !x.Trans {
		kit.pair(s, dst, stride, x, k0, k, col, cols)
		return
	}
	slots := (k + 1) / 2 * kit.slots
	lanes := kit.lanes
	grow(&s.temp, lanes*(slots+16))
	for c := 0; c < cols; c += lanes {
		n := min(lanes, cols-c)
		kit.rows16(s, s.temp, slots+16, x, k0, k, col+c, n)
		if n < lanes {
			clear(s.temp[n*(slots+16) : lanes*(slots+16)])
		}
		kit.turn(dst[c:], stride, s.temp, slots+16, lanes, slots)
	}
}

// rows16 packs columns of x that lie along k.
func (kit *halves) rows16(s *halfScratch, dst []float32, stride int, x *Half, k0, k, col, cols int) {
	even := k &^ 1
	for c := range cols {
		to, from := dst[c*stride:], x.at(k0, col+c)
		if even > 0 {
			if x.BF16 != nil {
				kit.packBF16(&to[0], &x.BF16[from], even)
			} else {
				kit.packF32(&to[0], &x.F32[from], even)
			}
		}
		if even == k {
			continue
		}
		last := even / 2 * kit.slots
		if x.BF16 != nil {
			s.pair16[0] = x.BF16[from+even]
			kit.packBF16(&to[last], &s.pair16[0], 2)
		} else {
			s.pair[0] = x.F32[from+even]
			kit.packF32(&to[last], &s.pair[0], 2)
		}
	}
}

// pair packs k rows of x from k0 on, which lie across k, in pairs.
func (kit *halves) pair(s *halfScratch, dst []float32, stride int, x *Half, k0, k, col, cols int) {
	pairs := k / 2
	at := x.at(k0, col)
	if pairs > 0 {
		if x.BF16 != nil {
			kit.pairBF16(&dst[0], &x.BF16[at], stride, x.Stride, pairs, cols)
		} else {
			kit.pairF32(&dst[0], &x.F32[at], stride, x.Stride, pairs, cols)
		}
	}
	if k%2 == 0 {
		return
	}
	at += 2 * pairs * x.Stride
	dst = dst[pairs*kit.slots*stride:]
	if x.BF16 != nil {
		if len(s.last16) < 2*cols {
			s.last16 = make([]uint16, 2*cols)
		}
		clear(s.last16[copy(s.last16, x.BF16[at:at+cols]) : 2*cols])
		kit.pairBF16(&dst[0], &s.last16[0], stride, cols, 1, cols)
		return
	}
	grow(&s.last, 2*cols)
	clear(s.last[copy(s.last, x.F32[at:at+cols]) : 2*cols])
	kit.pairF32(&dst[0], &s.last[0], stride, cols, 1, cols)
}

// halvesOf multiplies bfloat16 with the tiles for float32.
func halvesOf(t tiles) halves {
	return halves{
		tiles: t, slots: 2, round: roundGeneric, widen: widenGeneric,
		packF32: packF32Generic, packBF16: packBF16Generic, pairF32: pairF32Generic, pairBF16: pairBF16Generic,
	}
}

func roundGeneric(dst *uint16, src *float32, n int) {
	d, s := unsafe.Slice(dst, n), unsafe.Slice(src, n)
	for i, x := range s {
		d[i] = BF16(x)
	}
}

func widenGeneric(dst *float32, src *uint16, n int) {
	d, s := unsafe.Slice(dst, n), unsafe.Slice(src, n)
	for i, x := range s {
		d[i] = FromBF16(x)
	}
}

func packF32Generic(dst, src *float32, n int) {
	d, s := unsafe.Slice(dst, n), unsafe.Slice(src, n)
	for i, x := range s {
		d[i^1] = FromBF16(BF16(x))
	}
}

func packBF16Generic(dst *float32, src *uint16, n int) {
	d, s := unsafe.Slice(dst, n), unsafe.Slice(src, n)
	for i, x := range s {
		d[i^1] = flush(FromBF16(x))
	}
}

func pairF32Generic(dst, src *float32, dstStride, srcStride, pairs, cols int) {
	d, s := unsafe.Slice(dst, (2*pairs-1)*dstStride+cols), unsafe.Slice(src, (2*pairs-1)*srcStride+cols)
	for l := range 2 * pairs {
		row := d[(l^1)*dstStride:][:cols]
		for i, x := range s[l*srcStride:][:cols] {
			row[i] = FromBF16(BF16(x))
		}
	}
}

func pairBF16Generic(dst *float32, src *uint16, dstStride, srcStride, pairs, cols int) {
	d, s := unsafe.Slice(dst, (2*pairs-1)*dstStride+cols), unsafe.Slice(src, (2*pairs-1)*srcStride+cols)
	for l := range 2 * pairs {
		row := d[(l^1)*dstStride:][:cols]
		for i, x := range s[l*srcStride:][:cols] {
			row[i] = flush(FromBF16(x))
		}
	}
}

// matMulBF16Generic is the definition of MatMulBF16, element by element.
func matMulBF16Generic(c []float32, ldc int, a, b Half, m, n, k int, add bool) {
	step := halfBlock(k)
	for i := range m {
		for j := range n {
			sum := float32(0)
			if add {
				sum = c[i*ldc+j]
			}
			for k0 := 0; k0 < k; k0 += step {
				s := float32(0)
				end := min(k0+step, k)
				for l := k0; l < end; l += 2 {
					if l+1 < end {
						s += float32(a.value(i, l+1) * b.value(l+1, j))
					}
					s += float32(a.value(i, l) * b.value(l, j))
				}
				sum += s
			}
			c[i*ldc+j] = sum
		}
	}
}
