package kernel

import (
	"encoding/binary"
	"math"
	"slices"
	"unsafe"
)

// rowsGeneric are the plain kits.
func rowsGeneric() (kits [numFormats]rowKit) {
	for f := range kits {
		kits[f] = rowKit{
			lanes: 4, vecs: 4, rows: 8, unit: 1, chunk: 128,
			pack: packRowsGeneric, tiles: plainTiles(tileFloatGeneric), quantize: quantizeGeneric,
		}
		if Format(f).blocks() {
			kits[f].unit, kits[f].tiles = quantBlock, plainTiles(tileBlocksGeneric)
		}
	}
	return kits
}

// plainTiles is one routine for every number of rows and registers.
func plainTiles(f func(*rowTile)) []func(*rowTile) { return slices.Repeat([]func(*rowTile){f}, 16) }

// byteOf is the first byte of what x points to.
func byteOf[T any](x *T) *byte { return (*byte)(unsafe.Pointer(x)) }

// elements is n elements from p on, step bytes further than the last of those before.
func elements[T any](p *byte, offset, n int) []T {
	return unsafe.Slice((*T)(unsafe.Add(unsafe.Pointer(p), offset)), n)
}

// fromF16 widens half precision: sign, 5 bits of exponent (bias 15), 10 of fraction.
func fromF16(h uint16) float32 {
	sign, exp, frac := uint32(h>>15)<<31, uint32(h>>10&31), uint32(h&1023)
	switch exp {
	case 0: // frac · 2^-24
		return math.Float32frombits(math.Float32bits(float32(frac)*0x1p-24) | sign)
	case 31:
		if frac != 0 {
			frac |= 512 // quiet
		}
		return math.Float32frombits(sign | 0x7f800000 | frac<<13)
	}
	return math.Float32frombits(sign | (exp+112)<<23 | frac<<13)
}

// quantizeGeneric writes blocks of 32 as whole numbers with their scales, and -offset times the sum of each block. A
// block with an infinity or a NaN gets a scale of NaN.
func quantizeGeneric(q []int8, d []float32, zero []int32, x []float32, offset int) {
	for b := range d {
		x, q := x[b*quantBlock:][:quantBlock], q[b*quantBlock:][:quantBlock]
		var bits uint32
		for _, v := range x {
			bits = max(bits, math.Float32bits(v)&0x7fffffff)
		}
		most := math.Float32frombits(bits)
		if bits >= 0x7f800000 {
			d[b], zero[b] = float32(math.NaN()), 0
			clear(q)
			continue
		}
		d[b] = most / 127
		inverse := float32(0)
		if most >= 0x1p-120 { // below, 127/most overflows; such a block is 0
			inverse = 127 / most
		} else {
			d[b] = 0
		}
		sum := int32(0)
		for i, v := range x {
			n := int32(math.RoundToEven(float64(v * inverse)))
			q[i] = int8(n)
			sum += n
		}
		zero[b] = -int32(offset) * sum
	}
}

// packRowsGeneric is the truth of all packing routines: steps of the lanes rows side by side.
func packRowsGeneric(p *rowPack) {
	if p.format.blocks() {
		for b := range p.units {
			packBlock(p, b)
		}
		return
	}
	packRest(p, 0, p.units*p.unit)
}

// packRest packs n elements from element `at` of the chunk on, of a format without blocks.
func packRest(p *rowPack, at, n int) {
	for r := range p.lanes {
		row := elements[byte](p.src, r*p.stride+p.format.RowBytes(at), p.format.RowBytes(n))
		if p.words && p.format == FormatBF16 { // whole units of pairs; what is not there is 0
			for i := range padded(n) / 2 {
				pair := uint32(0)
				if 2*i < n {
					pair = uint32(binary.LittleEndian.Uint16(row[4*i:]))
				}
				if 2*i+1 < n {
					pair |= uint32(binary.LittleEndian.Uint16(row[4*i+2:])) << 16
				}
				elements[uint32](p.dst, i%16*p.chain+(at/pairUnit+i/16)*p.dstStride, p.lanes)[r] = pair
			}
			continue
		}
		for i := range n {
			var v float32
			to := at + i
			switch p.format {
			case FormatF32:
				v = math.Float32frombits(binary.LittleEndian.Uint32(row[4*i:]))
			case FormatF16:
				v = fromF16(binary.LittleEndian.Uint16(row[2*i:]))
			case FormatBF16:
				v = FromBF16(binary.LittleEndian.Uint16(row[2*i:]))
				to = at + swapped(i, n)
			}
			elements[float32](p.dst, to*p.dstStride, p.lanes)[r] = v
		}
	}
}

// packBlock packs one block: 8 steps of four bytes a row, plus the offset.
func packBlock(p *rowPack, b int) {
	size := p.format.RowBytes(quantBlock)
	for r := range p.lanes {
		block := elements[byte](p.src, r*p.stride+b*size, size)
		elements[float32](byteOf(p.scale), b*p.dstStride, p.lanes)[r] = fromF16(binary.LittleEndian.Uint16(block))
		for i := range quantBlock {
			var v int
			if p.format == FormatQ8 {
				v = int(int8(block[2+i]))
			} else {
				v = int(block[2+i%16]>>(i/16*4)&15) - 8
			}
			elements[byte](p.dst, (8*b+i/4)*p.dstStride, 4*p.lanes)[4*r+i%4] = byte(v + p.offset)
		}
	}
}

// tileFloatGeneric multiplies float32 with float32.
func tileFloatGeneric(t *rowTile) {
	for r := range t.rows {
		a := elements[float32](t.a, r*t.aRow, t.steps)
		c := elements[float32](byteOf(t.c), r*t.cRow, t.width)
		for l, x := range a {
			b := elements[float32](t.b, 4*l*t.width, t.width)
			for i, y := range b {
				c[i] += float32(x * y)
			}
		}
	}
}

// tileBlocksGeneric multiplies blocks of whole numbers; those of the panel are signed, without an offset.
func tileBlocksGeneric(t *rowTile) {
	for r := range t.rows {
		a := elements[int8](t.a, r*t.aRow, t.steps*quantBlock)
		d := elements[float32](byteOf(t.d), r*t.dRow, t.steps)
		c := elements[float32](byteOf(t.c), r*t.cRow, t.width)
		for b := range t.steps {
			scale := elements[float32](byteOf(t.scale), 4*b*t.width, t.width)
			for i := range t.width {
				sum := int32(0)
				for l := range 8 {
					w := elements[int8](t.b, 4*((8*b+l)*t.width+i), 4)
					x := a[b*quantBlock+4*l:][:4]
					for e, v := range x {
						sum += int32(v) * int32(w[e])
					}
				}
				c[i] += float32(float32(sum) * float32(scale[i]*d[b]))
			}
		}
	}
}

// widenRow writes the numbers of a stored row.
func widenRow(dst []float32, row []byte, f Format) {
	for i := range dst {
		switch f {
		case FormatF32:
			dst[i] = math.Float32frombits(binary.LittleEndian.Uint32(row[4*i:]))
		case FormatF16:
			dst[i] = fromF16(binary.LittleEndian.Uint16(row[2*i:]))
		case FormatBF16:
			dst[i] = FromBF16(binary.LittleEndian.Uint16(row[2*i:]))
		case FormatQ8:
			b := row[i/quantBlock*34:]
			dst[i] = fromF16(binary.LittleEndian.Uint16(b)) * float32(int8(b[2+i%quantBlock]))
		case FormatQ4:
			b := row[i/quantBlock*18:]
			dst[i] = fromF16(binary.LittleEndian.Uint16(b)) * float32(int(b[2+i%16]>>(i%quantBlock/16*4)&15)-8)
		}
	}
}
