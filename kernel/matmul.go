package kernel

import "sync"

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
	j := matMuls.Get().(*matMul)
	j.kit, j.c, j.ldc, j.a, j.b, j.m, j.n, j.k, j.add = &active.tiles, c, ldc, a, b, m, n, k, add
	j.wide = 0
	if !a.Trans { // A is read where it lies, so that only B costs packing
		j.wide = j.kit.cols
	}
	j.cut(p.Threads())
	tasks := ((m + j.rows - 1) / j.rows) * ((n + j.cols - 1) / j.cols)
	if tasks == 1 {
		j.task(0)
	} else {
		p.Run(tasks, j.run)
	}
	j.c, j.a, j.b = nil, Mat{}, Mat{}
	matMuls.Put(j)
}

// blockK is the longest running sum over k.
const blockK = 384

// kBlock returns the size of the blocks that k is cut into: as equal as multiples of 16 allow, and at most blockK.
func kBlock(k int) int {
	blocks := (k + blockK - 1) / blockK
	if blocks <= 1 {
		return k
	}
	return ((k+blocks-1)/blocks + 15) &^ 15
}

// tiles is how one level multiplies: a register tile of rows x cols, whose columns come in groups of lanes, and what
// brings operands into the order that the tile reads.
type tiles struct {
	rows, cols, lanes int
	maxRows           int // of A that are worked on before B moves on

	tile      func(t *tile)
	transpose func(dst, src *float32, dstStride, srcStride, quads int)
	copyRows  func(dst, src *float32, dstStride, srcStride, rows, cols int)

	// For few rows of A, reading B as it lies. sweep adds to rows of sums that are sweepStride apart; turned has a
	// routine for each number of rows, which wants whole lanes, k a multiple of 16, and B stored transposed.
	sweep  func(t *tile)
	turned []func(t *tile)
}

// maxSweep is the most rows of A that sweep takes; sweepStride stands in the assembly.
const (
	maxSweep    = 4
	sweepStride = maxCols + 16
)

// sweepGroups runs a sweep over most of k in groups of depth, and one by one over the rest.
func sweepGroups(t *tile, depth int, group, single func(t *tile)) {
	k := t.k
	t.k = k - k%depth
	if t.k > 0 {
		group(t)
	}
	if k > t.k {
		t.a, t.b = t.a[t.k*t.aCol:], t.b[t.k*t.bRow:]
		t.k = k - t.k
		single(t)
	}
	t.k = k
}

// tile is one call of the innermost routine: c = a·b or c += a·b, summed over k from zero. Strides are in elements;
// row i of a at step l is a[i*aRow+l*aCol]. b has whole groups of lanes in each row, c only cols elements.
// The assembly knows the offsets.
type tile struct {
	a, b, c                []float32
	aRow, aCol, bRow, cRow int
	k, rows, cols          int
	add                    bool
}

// matMul is one product on its way through the pool.
type matMul struct {
	kit        *tiles
	c          []float32
	ldc        int
	a, b       Mat
	m, n, k    int
	add        bool
	wide       int // tasks are cut along the columns, down to that many, and then along the rows; 0 is rows first
	rows, cols int // of one task
	run        func(int)
}

var matMuls = sync.Pool{New: func() any {
	j := new(matMul)
	j.run = j.task
	return j
}}

// scratch is what one task packs operands into.
type scratch struct {
	t    tile
	a, b []float32
	sums []float32 // of a sweep
}

var scratches = sync.Pool{New: func() any { return new(scratch) }}

const (
	maxCols   = 1024    // of one task
	maxDirect = 4096    // rows of one task when columns are cut first
	taskWork  = 1 << 20 // multiplications that are worth waking a thread for
)

// cut chooses the size of tasks: about four for each thread, none too small to be worth its packing. No result
// depends on it.
func (j *matMul) cut(threads int) {
	rows := even(j.m, j.kit.maxRows, j.kit.rows)
	if j.wide > 0 {
		rows = even(j.m, maxDirect, j.kit.rows)
	}
	cols := even(j.n, maxCols, j.kit.cols)
	want := 1
	if threads > 1 {
		want = min(4*threads, j.m*j.n*j.k/taskWork)
	}
	for {
		numRows, numCols := (j.m+rows-1)/rows, (j.n+cols-1)/cols
		if numRows*numCols >= want {
			break
		}
		r, c := rows, cols
		switch {
		case j.wide > 0 && cols >= 2*j.wide:
			c = even(j.n, (j.n+numCols)/(numCols+1), j.kit.cols)
		case rows >= 192 && 2*rows >= cols:
			r = even(j.m, (j.m+numRows)/(numRows+1), j.kit.rows)
		case cols >= 2*j.kit.cols:
			c = even(j.n, (j.n+numCols)/(numCols+1), j.kit.cols)
		case rows >= 48:
			r = even(j.m, (j.m+numRows)/(numRows+1), j.kit.rows)
		}
		if r == rows && c == cols {
			break
		}
		rows, cols = r, c
	}
	j.rows, j.cols = rows, cols
}

// even cuts n into equal parts of at most limit (but at least unit), rounded up to whole units.
func even(n, limit, unit int) int {
	parts := (n + limit - 1) / limit
	return ((n+parts-1)/parts + unit - 1) / unit * unit
}

// task computes one rectangle of C.
func (j *matMul) task(i int) {
	numCols := (j.n + j.cols - 1) / j.cols
	row, col := i/numCols*j.rows, i%numCols*j.cols
	s := scratches.Get().(*scratch)
	j.rectangle(s, row, min(row+j.rows, j.m), col, min(col+j.cols, j.n))
	s.t.a, s.t.b, s.t.c = nil, nil, nil
	scratches.Put(s)
}

// rectangle computes rows i0 to i1 and columns j0 to j1 of C, block of k by block.
func (j *matMul) rectangle(s *scratch, i0, i1, j0, j1 int) {
	kit, t := j.kit, &s.t
	step := kBlock(j.k)
	if n := step*kit.cols + kit.lanes; cap(s.b) < n {
		s.b = make([]float32, max(n, 1<<13))
	}
	rows := i1 - i0
	if rows <= kit.rows {
		j.fewRows(s, i0, i1, j0, j1, step)
		return
	}
	// The rows of A can be broadcast from anywhere, but going down the columns of a large matrix is slow.
	packA := j.a.Trans && j1-j0 > kit.cols
	if n := (i1 - i0 + 4) * (step + rowGap); packA && cap(s.a) < n {
		s.a = make([]float32, max(n, 1<<13))
	}
	down := Mat{Data: j.a.Data, Stride: j.a.Stride, Trans: !j.a.Trans} // A as (k, m)
	for k0 := 0; k0 < j.k; k0 += step {
		t.k, t.add = min(step, j.k-k0), j.add || k0 > 0
		if packA {
			kit.packDown(s.a[:cap(s.a)], t.k+rowGap, down, k0, t.k, i0, i1)
		}
		for col := j0; col < j1; col += kit.cols {
			j.panel(s, i0, i1, k0, col, min(kit.cols, j1-col), packA)
		}
	}
}

// panel adds block k0 of the sums of cols columns from col.
func (j *matMul) panel(s *scratch, i0, i1, k0, col, cols int, packA bool) {
	kit, t := j.kit, &s.t
	t.cols, t.cRow = cols, j.ldc
	t.bRow = (cols + kit.lanes - 1) / kit.lanes * kit.lanes
	kit.pack(s.b[:cap(s.b)], t.bRow, j.b, k0, t.k, col, cols)
	t.b = s.b
	for i := i0; i < i1; i += kit.rows {
		t.rows = min(kit.rows, i1-i)
		if packA {
			t.a, t.aRow, t.aCol = s.a[(i-i0)*(t.k+rowGap):cap(s.a)], t.k+rowGap, 1
		} else {
			j.place(t, i, k0)
		}
		t.c = j.c[i*j.ldc+col:]
		kit.tile(t)
	}
}

// rowGap is what stands between rows of A that were packed, a cache line, so that they do not share lines of the cache.
const rowGap = 16

// place lets the tile read A where it lies.
func (j *matMul) place(t *tile, i, k0 int) {
	t.a, t.aRow, t.aCol = j.a.Data[j.a.at(i, k0):], j.a.Stride, 1
	if j.a.Trans {
		t.aRow, t.aCol = 1, j.a.Stride
	}
}

// fewRows is rectangle for no more rows than a tile has. The sums over k are the same, but B is read once, so it is
// read as it lies and along its rows.
func (j *matMul) fewRows(s *scratch, i0, i1, j0, j1, step int) {
	kit, t := j.kit, &s.t
	rows := i1 - i0
	each := func(yield func(k0 int) bool) {
		for k0 := 0; k0 < j.k; k0 += step {
			t.k, t.add, t.rows = min(step, j.k-k0), j.add || k0 > 0, rows
			if !yield(k0) {
				return
			}
		}
	}
	if !j.b.Trans && rows <= maxSweep && kit.sweep != nil {
		for k0 := range each {
			j.sweepBlock(s, i0, i1, j0, j1, k0)
		}
		return
	}
	whole := j0
	if j.b.Trans && !j.a.Trans && rows < len(kit.turned) {
		whole += (j1 - j0) / kit.lanes * kit.lanes
	}
	for col := j0; col < whole; col += kit.lanes {
		for k0 := range each {
			if t.k%16 != 0 {
				j.panel(s, i0, i1, k0, col, kit.lanes, false)
				continue
			}
			j.place(t, i0, k0)
			t.b, t.bRow = j.b.Data[j.b.at(k0, col):], j.b.Stride
			t.c, t.cRow = j.c[i0*j.ldc+col:], j.ldc
			kit.turned[rows](t)
		}
	}
	for col := whole; col < j1; col += kit.cols {
		for k0 := range each {
			j.panel(s, i0, i1, k0, col, min(kit.cols, j1-col), false)
		}
	}
}

// sweepBlock adds block k0 of all columns, row of B by row of B.
func (j *matMul) sweepBlock(s *scratch, i0, i1, j0, j1, k0 int) {
	t := &s.t
	if s.sums == nil {
		s.sums = make([]float32, maxSweep*sweepStride)
	}
	clear(s.sums)
	j.place(t, i0, k0)
	t.b, t.bRow = j.b.Data[j.b.at(k0, j0):], j.b.Stride
	t.c, t.cols = s.sums, j1-j0
	j.kit.sweep(t)
	for i := i0; i < i1; i++ {
		c, sums := j.c[i*j.ldc+j0:i*j.ldc+j1], s.sums[(i-i0)*sweepStride:]
		if t.add {
			active.add(c, sums[:len(c)])
		} else {
			copy(c, sums)
		}
	}
}

// packDown packs columns i0 to i1 of x, which is A seen as (k, m), into rows stride apart. x is not transposed. Some rows
// of x are turned at a time, all their columns, so that each cache line of x is used up before it is lost.
func (kit *tiles) packDown(dst []float32, stride int, x Mat, k0, k, i0, i1 int) {
	for l := 0; l < k; l += kit.lanes {
		kit.turn(dst[l:], stride, x.Data[x.at(k0+l, i0):], x.Stride, min(kit.lanes, k-l), i1-i0)
	}
}

// turn writes the transpose of src (rows, cols) to dst (cols, rows).
func (kit *tiles) turn(dst []float32, dstStride int, src []float32, srcStride, rows, cols int) {
	whole, quads := rows/kit.lanes*kit.lanes, cols/4
	if quads == 0 {
		whole = 0
	}
	for r := 0; r < whole; r += kit.lanes {
		kit.transpose(&dst[r], &src[r*srcStride], dstStride, srcStride, quads)
	}
	for r := range rows {
		from := 0
		if r < whole {
			from = 4 * quads
		}
		for c := from; c < cols; c++ {
			dst[c*dstStride+r] = src[r*srcStride+c]
		}
	}
}

// pack writes rows k0 to k0+k and cols columns from col of x into dst, in rows of width elements. Where cols is less
// than width the rest is zero. Up to a register beyond the last row may be overwritten.
func (kit *tiles) pack(dst []float32, width int, x Mat, k0, k, col, cols int) {
	if !x.Trans {
		kit.copyRows(&dst[0], &x.Data[x.at(k0, col)], width, x.Stride, k, cols)
		return
	}
	quads := k / 4
	whole := cols / kit.lanes * kit.lanes
	if quads > 0 {
		for c := 0; c < whole; c += kit.lanes {
			kit.transpose(&dst[c], &x.Data[x.at(k0, col+c)], width, x.Stride, quads)
		}
	}
	for c := range cols {
		src := x.Data[x.at(k0, col+c):]
		from := 0
		if c < whole {
			from = 4 * quads
		}
		for l := from; l < k; l++ {
			dst[l*width+c] = src[l]
		}
	}
	if cols < width {
		for l := range k {
			clear(dst[l*width+cols : (l+1)*width])
		}
	}
}
