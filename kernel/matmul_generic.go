package kernel

import "unsafe"

// matMulGeneric is the definition of MatMul, element by element. The portable level agrees with it bit for bit.
func matMulGeneric(c []float32, ldc int, a, b Mat, m, n, k int, add bool) {
	step := kBlock(k)
	for i := range m {
		for j := range n {
			sum := float32(0)
			if add {
				sum = c[i*ldc+j]
			}
			for k0 := 0; k0 < k; k0 += step {
				s := float32(0)
				for l := k0; l < min(k0+step, k); l++ {
					s += float32(a.Data[a.at(i, l)] * b.Data[b.at(l, j)])
				}
				sum += s
			}
			c[i*ldc+j] = sum
		}
	}
}

var tilesGeneric = tiles{
	rows: 2, cols: 4, lanes: 4, maxRows: 256,
	tile: tileGeneric, transpose: transposeGeneric, copyRows: copyRowsGeneric,
}

// tileGeneric keeps 2 x 4 sums in registers; what is left at the lower edge is done row by row.
func tileGeneric(t *tile) {
	var s [2][4]float32
	if t.rows == 2 {
		s = tile2x4(t)
	} else {
		s[0] = tile1x4(t)
	}
	for i := range t.rows {
		c := t.c[i*t.cRow:][:t.cols]
		for j := range c {
			if t.add {
				c[j] += s[i][j]
			} else {
				c[j] = s[i][j]
			}
		}
	}
}

func tile2x4(t *tile) [2][4]float32 {
	var s00, s01, s02, s03, s10, s11, s12, s13 float32
	a0, a1, b := t.a, t.a[t.aRow:], t.b
	ai, bi := 0, 0
	for range t.k {
		v := b[bi : bi+4 : bi+4]
		x, y := a0[ai], a1[ai]
		s00 += float32(x * v[0])
		s01 += float32(x * v[1])
		s02 += float32(x * v[2])
		s03 += float32(x * v[3])
		s10 += float32(y * v[0])
		s11 += float32(y * v[1])
		s12 += float32(y * v[2])
		s13 += float32(y * v[3])
		ai += t.aCol
		bi += t.bRow
	}
	return [2][4]float32{{s00, s01, s02, s03}, {s10, s11, s12, s13}}
}

func tile1x4(t *tile) [4]float32 {
	var s0, s1, s2, s3 float32
	a, b := t.a, t.b
	ai, bi := 0, 0
	for range t.k {
		v := b[bi : bi+4 : bi+4]
		x := a[ai]
		s0 += float32(x * v[0])
		s1 += float32(x * v[1])
		s2 += float32(x * v[2])
		s3 += float32(x * v[3])
		ai += t.aCol
		bi += t.bRow
	}
	return [4]float32{s0, s1, s2, s3}
}

func transposeGeneric(dst, src *float32, dstStride, srcStride, quads int) {
	d := unsafe.Slice(dst, (4*quads-1)*dstStride+4)
	s := unsafe.Slice(src, 3*srcStride+4*quads)
	for r := range 4 {
		row := s[r*srcStride:][:4*quads]
		for l, v := range row {
			d[l*dstStride+r] = v
		}
	}
}

// copyRowsGeneric fills rows up to a multiple of 4, as the assembly fills registers, unless they are to lie closer.
func copyRowsGeneric(dst, src *float32, dstStride, srcStride, rows, cols int) {
	d := unsafe.Slice(dst, rows*dstStride)
	s := unsafe.Slice(src, (rows-1)*srcStride+cols)
	for r := range rows {
		n := copy(d[r*dstStride:][:dstStride], s[r*srcStride:][:cols])
		clear(d[r*dstStride+n : (r+1)*dstStride])
	}
}
