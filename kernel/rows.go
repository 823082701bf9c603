package kernel

import "sync"

// Format is how the numbers of a stored weight lie, as in GGUF and safetensors.
type Format uint8

// The formats that products read in place. Blocks hold 32 numbers of a row, each of them a scale in half precision
// and then the numbers: Q8_0 has 32 signed bytes, number = scale·byte; Q4_0 has 16 bytes, of which the low halves are
// numbers 0 to 15 and the high halves 16 to 31, number = scale·(half-8).
const (
	FormatF32 Format = iota
	FormatF16
	FormatBF16
	FormatQ8
	FormatQ4
	numFormats
)

// pairUnit is how many bfloat16 make a register, and pairChunk how many the sixteen sums of an element are over.
const (
	pairUnit  = 32
	pairChunk = 2048
)

// quantBlock is the number of elements that share a scale.
const quantBlock = 32

// RowBytes is the size of a row of k numbers; of formats with blocks, k must be a whole number of them.
func (f Format) RowBytes(k int) int {
	switch f {
	case FormatF32:
		return 4 * k
	case FormatF16, FormatBF16:
		return 2 * k
	case FormatQ8:
		return k / quantBlock * 34
	}
	return k / quantBlock * 18
}

// blocks reports whether the format has blocks with scales.
func (f Format) blocks() bool { return f == FormatQ8 || f == FormatQ4 }

// Weight is a matrix (Out, In) as it lies in a file, row after row. Data needs no alignment.
type Weight struct {
	Format  Format
	Data    []byte
	Out, In int
}

// Input is rows of activations in the form that products with one format of weights read:
//
//	F32, F16    as they are; products and sums are float32, fused at the assembly levels
//	BF16        rounded as BF16 does; the second of a pair is added before the first, as MatMulBF16 does. Where the
//	            processor multiplies pairs (VDPBF16PS), a stretch of 2048 elements has sixteen sums, the i-th of pairs i,
//	            i+16, i+32 and so on, which are then added to the element one after the other
//	Q8_0, Q4_0  blocks of 32 with a scale of their own, max|x|/127, rounded to whole numbers from -127 to 127; the sum
//	            over a block is exact, and is then multiplied by both scales and added to a float32
//
// Else each element of a product is one running sum from the row's beginning to its end. A row gets the same bits alone
// and among others, in every number of threads.
type Input struct {
	format Format
	kit    *rowKit
	n, k   int
	x      []float32 // (n, k); FormatF32 and FormatF16: the caller's
	own    []float32 // where x is rounded
	pairs  []uint16  // (n, k rounded up to whole units of pairUnit), 0 behind k
	q      []int8    // (n, k)
	d      []float32 // (n, k/32), scales
	zero   []int32   // (n, k/32), what the kit's offset of the weights adds to the sum of a block, negated
}

// Set brings x (n, k) into the form for weights of format f. F32 and F16 read x itself until the next Set.
func (in *Input) Set(p *Pool, f Format, x []float32, n, k int) {
	check(len(x) >= n*k, "Input: x is too short")
	kit := &active.rows[f]
	in.format, in.kit, in.n, in.k, in.x = f, kit, n, k, x[:n*k]
	switch {
	case f.blocks():
		check(k%quantBlock == 0, "Input: rows are not whole blocks of 32")
		in.q, in.d, in.zero = fit(in.q, n*k), fit(in.d, n*k/quantBlock), fit(in.zero, n*k/quantBlock)
	case kit.pairs:
		in.pairs = fit(in.pairs, n*padded(k))
	case f == FormatBF16:
		in.own = fit(in.own, n*k)
	default:
		return
	}
	if each := max(1, span/max(k, 1)); n <= each {
		in.convert(0, n)
	} else {
		p.Run((n+each-1)/each, func(i int) { in.convert(i*each, min(n, (i+1)*each)) })
	}
	if !f.blocks() && !kit.pairs { // only now: until here every task reads what was given
		in.x = in.own
	}
}

// convert fills rows [from, to).
func (in *Input) convert(from, to int) {
	for r := from; r < to; r++ {
		x := in.x[r*in.k:][:in.k]
		switch {
		case in.format.blocks():
			b := in.k / quantBlock
			in.kit.quantize(in.q[r*in.k:][:in.k], in.d[r*b:][:b], in.zero[r*b:][:b], x, in.kit.offset)
		case in.kit.pairs:
			dst := in.pairs[r*padded(in.k):][:padded(in.k)]
			clear(dst[in.k:])
			RoundBF16(dst[:in.k], x)
		default:
			dst := in.own[r*in.k:][:in.k]
			for i, v := range x {
				dst[swapped(i, in.k)] = FromBF16(BF16(v))
			}
		}
	}
}

// padded is k in whole units of pairs.
func padded(k int) int { return (k + pairUnit - 1) / pairUnit * pairUnit }

// swapped is the place of element i of k when the second of a pair comes before the first.
func swapped(i, k int) int {
	if i^1 < k {
		return i ^ 1
	}
	return i
}

func fit[T any](s []T, n int) []T {
	if cap(s) < n {
		return make([]T, n)
	}
	return s[:n]
}

// Product is C (n, W.Out), rows Stride apart, = x·Wᵀ, or += when Add is set.
type Product struct {
	W      *Weight
	C      []float32
	Stride int
	Add    bool
}

// Multiply computes products of one input, all of whose weights have its format and width. The destinations must not
// overlap.
func Multiply(p *Pool, in *Input, products ...Product) {
	j := rowJobs.Get().(*rowJob)
	j.in, j.products, j.vecs = in, append(j.products[:0], products...), in.kit.vecs
	if in.n <= in.kit.rows { // the weights are read once and that is the work: better line by line
		j.vecs = 1
	}
	if j.direct = in.n <= in.kit.directMost; j.direct {
		j.vecs = in.kit.directVecs
	}
	width, panels := in.kit.lanes*j.vecs, 0
	for i := range j.products {
		q := &j.products[i]
		check(q.W.Format == in.format && q.W.In == in.k, "Multiply: the weight is not of the input's format and width")
		check(len(q.W.Data) >= q.W.Out*q.W.Format.RowBytes(q.W.In), "Multiply: the weight is too short")
		check(in.n == 0 || q.Stride >= q.W.Out && len(q.C) >= (in.n-1)*q.Stride+q.W.Out, "Multiply: C is too short")
		panels += (q.W.Out + width - 1) / width
	}
	if in.n > 0 && in.k > 0 {
		share := taskShare
		if j.direct {
			share = in.kit.directShare
		}
		j.panels, j.each = panels, max(1, panels/(share*p.Threads()))
		if p.Threads() == 1 {
			j.each = panels
		}
		p.Run((panels+j.each-1)/j.each, j.run)
	}
	j.in = nil
	clear(j.products)
	rowJobs.Put(j)
}

// taskShare is how many tasks a thread gets of one call; neighbours make one task, so that what is read next is known.
// Without panels there are fewer, since the first rows of a task are waited for (rowKit.directShare).
const taskShare = 8

// rowKit is how one level multiplies with weights of one format.
type rowKit struct {
	lanes, vecs int  // a panel has lanes*vecs rows of the weight side by side
	rows        int  // most rows of one tile
	unit        int  // pack takes whole units of so many elements
	chunk       int  // elements of a row that are brought into a panel at a time
	pairs       bool // activations are pairs of bfloat16, whose sums are sixteen
	offset      int  // what pack adds to whole numbers of blocks

	pack     func(p *rowPack)
	tiles    []func(t *rowTile) // for 1 to `rows` rows and panels of lanes, then of lanes*vecs
	quantize func(q []int8, d []float32, zero []int32, x []float32, offset int)

	// Products without panels, for inputs of few rows.
	direct      []func(t *rowDirect) // for 1, 2 and so on rows
	directMost  int                  // most rows of an input that is multiplied this way
	directVecs  int                  // lanes*directVecs rows of the weight at a time
	directUnit  int                  // whole units of so many elements
	directShare int                  // tasks a thread gets of one call
}

// rowPack brings lanes rows of a weight into a panel, side by side. The assembly knows the offsets.
type rowPack struct {
	src       *byte // of the first row
	stride    int   // bytes between rows
	units     int
	dst       *byte    // step by step, dstStride bytes apart
	dstStride int      //
	scale     *float32 // of blocks, dstStride bytes apart too
	next      *byte    // what is read after this, for prefetching
	chain     int      // of pairs: bytes between steps of neighbouring sums

	// For the plain version.
	unit, lanes, offset int
	format              Format
	words               bool // numbers stay as they are: FormatF32, or pairs of FormatBF16
}

// rowTile adds products of rows of activations and a panel to running sums. The assembly knows the offsets.
type rowTile struct {
	a     *byte // activations: float32, pairs or bytes
	aRow  int   // bytes between rows
	b     *byte // panel
	c     *float32
	cRow  int // bytes between rows of sums
	steps int // dwords of a row, or blocks; of pairs, dwords of each of the sixteen sums
	zero  *int32
	d     *float32
	dRow  int      // bytes between rows of zero and of d
	scale *float32 // of the panel, lanes*vecs a block
	rows  int
	width int // lanes*vecs, for the plain version
}

// rowDirect is a few rows of activations times rows of a weight, from where they begin. The assembly knows the offsets.
type rowDirect struct {
	src    *byte // of the first row
	stride int   // bytes between rows
	units  int
	a      *byte // activations
	aRow   int   // bytes between rows
	c      *float32
	cRow   int // bytes between rows of sums, which are written; those of pairs are added to
	zero   *int32
	d      *float32
	dRow   int   // bytes between rows of zero and of d
	next   *byte // what is read after this, for prefetching
	tail   int   // of pairs: which dwords there are of a unit more, a bit each
	sums   *float32

	stretches int // of pairs: how many pairChunk there are, the last perhaps in part
}

// rowJob is some products on their way through the pool.
type rowJob struct {
	in           *Input
	products     []Product
	vecs         int
	direct       bool
	panels, each int // all of them, and those of one task
	run          func(i int)
}

var rowJobs = sync.Pool{New: func() any {
	j := new(rowJob)
	j.run = j.task
	return j
}}

// rowScratch is what one task packs weights into.
type rowScratch struct {
	panel []float32 // aligned by the allocator, since it is large
	scale []float32
	sums  []float32
	apart []float32 // the sixteen sums of pairs: of all stretches, some rows of activations, 16 of the weight
	edge  []byte
	p     rowPack
	t     rowTile
	d     rowDirect
}

var rowScratches = sync.Pool{New: func() any { return new(rowScratch) }}

// task computes some panels.
func (j *rowJob) task(i int) {
	s := rowScratches.Get().(*rowScratch)
	for k := i * j.each; k < min(j.panels, (i+1)*j.each); k++ {
		j.panel(s, k)
	}
	rowScratches.Put(s)
}

// panel computes one panel of one product.
func (j *rowJob) panel(s *rowScratch, i int) {
	in, width := j.in, j.in.kit.lanes*j.vecs
	var q *Product
	for k := range j.products {
		q = &j.products[k]
		n := (q.W.Out + width - 1) / width
		if i < n {
			break
		}
		i -= n
	}
	first := i * width
	cols := min(width, q.W.Out-first)
	s.sums = fit(s.sums, in.n*width)
	if j.direct {
		s.straight(in, q.W, first, cols)
	} else {
		clear(s.sums)
		s.through(in, q.W, j.vecs, first, cols, 0, width)
	}
	for r := range in.n {
		dst, src := q.C[r*q.Stride+first:][:cols], s.sums[r*width:][:cols]
		if q.Add {
			for c, v := range src {
				dst[c] += v
			}
		} else {
			copy(dst, src)
		}
	}
}

// through adds the products of elements from `from` on of some of the weight's rows to the sums, whose rows are width
// apart, a panel in memory after the other.
func (s *rowScratch) through(in *Input, w *Weight, vecs, first, cols, from, width int) {
	for at := from; at < in.k; at += in.kit.chunk {
		n := min(in.kit.chunk, in.k-at)
		s.pack(in, w, vecs, first, cols, at, n)
		s.multiply(in, vecs, at, n, s.sums, width)
	}
}

// straight does the same from the rows' beginning without a panel; what is left over goes through one.
func (s *rowScratch) straight(in *Input, w *Weight, first, cols int) {
	kit, d := in.kit, &s.d
	width := kit.lanes * kit.directVecs
	if kit.pairs {
		clear(s.sums)
		if cols < width || in.k%2 == 1 { // of a pair that ends in the next row
			s.through(in, w, 1, first, cols, 0, width)
		} else {
			s.pairs(in, w, first)
		}
		return
	}
	units := in.k / kit.directUnit
	if cols < width || units == 0 {
		units = 0
		clear(s.sums)
	} else {
		size := w.Format.RowBytes(in.k)
		d.src, d.stride, d.units, d.cRow = &w.Data[first*size], size, units, 4*width
		d.next = &w.Data[min((first+width)*size, len(w.Data)-1)]
		for r := 0; r < in.n; {
			rows := min(len(kit.direct), in.n-r)
			d.c = &s.sums[r*width]
			if in.format.blocks() {
				b := in.k / quantBlock
				d.a, d.aRow = byteOf(&in.q[r*in.k]), in.k
				d.zero, d.d, d.dRow = &in.zero[r*b], &in.d[r*b], 4*b
			} else {
				d.a, d.aRow = in.row(r, 0)
			}
			kit.direct[rows-1](d)
			r += rows
		}
		s.d = rowDirect{}
	}
	if at := units * kit.directUnit; at < in.k {
		all := s.sums
		for g := 0; g < cols; g += kit.lanes {
			s.sums = all[g:]
			s.through(in, w, 1, first+g, min(kit.lanes, cols-g), at, width)
		}
		s.sums = all
	}
}

// pairs adds the products of pairs of the 16 rows of the weight from first on.
func (s *rowScratch) pairs(in *Input, w *Weight, first int) {
	kit, d, size := in.kit, &s.d, w.Format.RowBytes(in.k)
	d.stretches = (in.k + pairChunk - 1) / pairChunk
	s.apart = fit(s.apart, d.stretches*len(kit.direct)*kit.lanes*kit.lanes)
	d.src, d.stride, d.cRow, d.sums = &w.Data[first*size], size, 4*kit.lanes, &s.apart[0]
	d.units, d.tail = in.k/pairUnit, 1<<(in.k%pairUnit/2)-1
	for r := 0; r < in.n; {
		rows := min(len(kit.direct), in.n-r)
		d.c = &s.sums[r*kit.lanes]
		d.a, d.aRow = in.row(r, 0)
		kit.direct[rows-1](d)
		r += rows
	}
	s.d = rowDirect{}
}

// row is where element `at` of row r of float32 or pairs lies, and the bytes between rows.
func (in *Input) row(r, at int) (*byte, int) {
	if in.kit.pairs {
		return byteOf(&in.pairs[r*padded(in.k)+at]), 2 * padded(in.k)
	}
	return byteOf(&in.x[r*in.k+at]), 4 * in.k
}

// pack fills the panel with elements [at, at+n) of the weight's rows from first on.
func (s *rowScratch) pack(in *Input, w *Weight, vecs, first, cols, at, n int) {
	kit := in.kit
	width := kit.lanes * vecs
	room := kit.chunk * kit.lanes * kit.vecs // of float32; blocks need less
	if kit.pairs {
		room /= 2
	}
	s.panel = fit(s.panel, room)
	s.scale = fit(s.scale, kit.chunk/quantBlock*kit.lanes*kit.vecs)
	rowBytes, from, size := w.Format.RowBytes(in.k), w.Format.RowBytes(at), w.Format.RowBytes(n)
	for g := 0; g < cols; g += kit.lanes {
		p := &s.p
		p.src, p.stride = &w.Data[(first+g)*rowBytes+from], rowBytes
		// A panel further on, as much of it as is read here.
		p.next = &w.Data[min((first+g+width)*rowBytes+from*kit.lanes, len(w.Data)-1)]
		if have := cols - g; have < kit.lanes {
			s.edge = fit(s.edge, kit.lanes*size)
			clear(s.edge)
			for r := range have {
				copy(s.edge[r*size:][:size], w.Data[(first+g+r)*rowBytes+from:])
			}
			p.src, p.stride = &s.edge[0], size
		}
		p.dst, p.dstStride = byteOf(&s.panel[g]), 4*width
		p.scale = &s.scale[g]
		p.unit, p.lanes, p.offset, p.format, p.words = kit.unit, kit.lanes, kit.offset, w.Format, kit.pairs || w.Format == FormatF32
		p.units = n / kit.unit
		p.chain = (n + pairUnit - 1) / pairUnit * p.dstStride
		if p.units > 0 {
			kit.pack(p)
		}
		if rest := n % kit.unit; rest > 0 {
			packRest(p, n-rest, rest)
		}
	}
	s.p = rowPack{}
}

// multiply adds the products of all rows of the input, elements [at, at+n), and the panel to sums, whose rows are
// sumRow apart.
func (s *rowScratch) multiply(in *Input, vecs, at, n int, sums []float32, sumRow int) {
	kit, t := in.kit, &s.t
	width := kit.lanes * vecs
	tiles := kit.tiles
	if vecs > 1 {
		tiles = tiles[kit.rows:]
	}
	t.b, t.scale, t.cRow, t.width = byteOf(&s.panel[0]), &s.scale[0], 4*sumRow, width
	for r := 0; r < in.n; r += kit.rows {
		t.rows = min(kit.rows, in.n-r)
		t.c = &sums[r*sumRow]
		switch {
		case in.format.blocks():
			b := in.k / quantBlock
			t.a, t.aRow = byteOf(&in.q[r*in.k+at]), in.k
			t.zero, t.d, t.dRow = &in.zero[r*b+at/quantBlock], &in.d[r*b+at/quantBlock], 4*b
			t.steps = n / quantBlock
		default:
			t.a, t.aRow = in.row(r, at)
			if t.steps = n; kit.pairs {
				t.steps = (n + pairUnit - 1) / pairUnit
			}
		}
		tiles[t.rows-1](t)
	}
	s.t = rowTile{}
}

// Row writes the numbers of row r to dst (In).
func (w *Weight) Row(dst []float32, r int) {
	size := w.Format.RowBytes(w.In)
	widenRow(dst[:w.In], w.Data[r*size:][:size], w.Format)
}
