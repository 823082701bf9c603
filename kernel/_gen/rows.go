package main

import (
	"fmt"
	"strings"
)

// Products with stored weights: lanes rows of a weight are brought into a panel, dword by dword side by side, and
// tiles add the products of the panel and rows of activations.

// Offsets in the struct rowPack of rows.go.
const (
	packSrc       = 0
	packStride    = 8
	packUnits     = 16
	packDst       = 24
	packDstStride = 32
	packScale     = 40
	packNext      = 48
	packChain     = 56
)

// Offsets in the struct rowTile.
const (
	rowA      = 0
	rowARow   = 8
	rowB      = 16
	rowC      = 24
	rowCRow   = 32
	rowSteps  = 40
	rowZero   = 48
	rowD      = 56
	rowDRow   = 64
	rowScales = 72
)

// rowVecs is how many registers of a panel stand side by side.
func rowVecs(s set) int {
	if s.lanes == 16 {
		return 4
	}
	return 2
}

// blockRows is the most rows of a tile of blocks, whose sums need registers twice.
func blockRows(s set) int {
	if s.lanes == 16 {
		return 3
	}
	return 2
}

// packer is one packing routine.
type packer struct {
	*out
	set
}

var packBases = []string{"SI", "AX", "BX", "DX"}

// row addresses row 4*i+j at an offset.
func (p *packer) row(i, j, offset int) string {
	return fmt.Sprintf("%d(%s)%s", offset, packBases[i], []string{"", "(R8*1)", "(R8*2)", "(R9*1)"}[j])
}

// gather reads 16 bytes of every row and turns them, so that register j has dword j of all rows in their order.
// Registers 4 to 7 are used up.
func (p *packer) gather(offset int) {
	for j := range 4 {
		p.op("VMOVDQU %s, X%d", p.row(0, j, offset), 4+j)
		for i := 1; i < p.lanes/4; i++ {
			if p.lanes == 16 {
				p.op("VINSERTI32X4 $%d, %s, Z%d, Z%d", i, p.row(i, j, offset), 4+j, 4+j)
			} else {
				p.op("VINSERTI128 $%d, %s, Y%d, Y%d", i, p.row(i, j, offset), 4+j, 4+j)
			}
		}
	}
	r := p.r
	p.op("VPUNPCKLDQ %s, %s, %s", r(5), r(4), r(0))
	p.op("VPUNPCKHDQ %s, %s, %s", r(5), r(4), r(2))
	p.op("VPUNPCKLDQ %s, %s, %s", r(7), r(6), r(1))
	p.op("VPUNPCKHDQ %s, %s, %s", r(7), r(6), r(3))
	p.op("VPUNPCKLQDQ %s, %s, %s", r(1), r(0), r(4))
	p.op("VPUNPCKHQDQ %s, %s, %s", r(1), r(0), r(5))
	p.op("VPUNPCKLQDQ %s, %s, %s", r(3), r(2), r(6))
	p.op("VPUNPCKHQDQ %s, %s, %s", r(3), r(2), r(7))
}

// prefetch asks for as many bytes of what is read next as are being read, in the order of memory, which the
// processor's own prefetching follows.
func (p *packer) prefetch(bytes int) {
	for at := 0; at < bytes*p.lanes; at += 64 {
		p.op("PREFETCHNTA %d(R10)", at)
	}
	p.op("ADDQ $%d, R10", bytes*p.lanes)
}

func (p *packer) begin(name string) {
	p.line("// func %s%s(p *rowPack)", name, p.name)
	p.line("TEXT ·%s%s(SB), NOSPLIT, $0-8", name, p.name)
	p.op("MOVQ p+0(FP), DI")
	p.op("MOVQ %d(DI), SI", packSrc)
	p.op("MOVQ %d(DI), R8", packStride)
	p.op("MOVQ %d(DI), CX", packUnits)
	p.op("MOVQ %d(DI), R15", packDstStride)
	p.op("MOVQ %d(DI), R14", packScale)
	p.op("MOVQ %d(DI), R10", packNext)
	p.op("MOVQ %d(DI), DI", packDst)
	p.op("LEAQ (R8)(R8*2), R9")
	p.op("LEAQ (SI)(R8*4), AX")
	if p.lanes == 16 {
		p.op("LEAQ (AX)(R8*4), BX")
		p.op("LEAQ (BX)(R8*4), DX")
	}
}

// forward moves all rows on.
func (p *packer) forward(bytes int) {
	for i := range p.lanes / 4 {
		p.op("ADDQ $%d, %s", bytes, packBases[i])
	}
}

// put stores a register as the next step.
func (p *packer) put(reg string) {
	p.op("VMOVUPS %s, (DI)", reg)
	p.op("ADDQ R15, DI")
}

func (p *packer) end() {
	p.op("VZEROUPPER")
	p.op("RET\n")
}

// words packs units of 16 bytes a row; each turns the dwords that gather brings into steps.
func (p *packer) words(name string, each func()) {
	p.begin(name)
	p.op("SUBQ $4, CX")
	p.op("JL few")
	p.line("many:")
	p.prefetch(64)
	for i := range 4 {
		p.gather(16 * i)
		each()
	}
	p.forward(64)
	p.op("SUBQ $4, CX")
	p.op("JGE many")
	p.line("few:")
	p.op("ADDQ $4, CX")
	p.op("JEQ done")
	p.line("one:")
	p.gather(0)
	each()
	p.forward(16)
	p.op("DECQ CX")
	p.op("JNE one")
	p.line("done:")
	p.end()
}

// scales widens the halves at the beginning of each row's block.
func (p *packer) scales() {
	for i := range p.lanes / 4 {
		for j := range 4 {
			p.op("VPINSRW $%d, %s, X%d, X%d", (4*i+j)%8, p.row(i, j, 0), 8+i/2, 8+i/2)
		}
	}
	if p.lanes == 16 {
		p.op("VINSERTI128 $1, X9, Y8, Y8")
		p.op("VCVTPH2PS Y8, Z8")
	} else {
		p.op("VCVTPH2PS X8, Y8")
	}
	p.op("VMOVUPS %s, (R14)", p.r(8))
	p.op("ADDQ R15, R14")
}

func (p *packer) constant(name string, reg int) { p.op("VPBROADCASTD %s<>(SB), %s", name, p.r(reg)) }

// pairs packs units of 64 bytes a row, of which each dword belongs to a sum of its own.
func (p *packer) pairs() {
	p.begin("packPairs")
	p.op("MOVQ p+0(FP), R11")
	p.op("MOVQ %d(R11), R14", packChain)
	p.op("TESTQ CX, CX")
	p.op("JEQ done")
	p.line("unit:")
	p.prefetch(64)
	for i := range 4 {
		for j := range 4 {
			p.op("VMOVDQU32 %s, %s", p.row(i, j, 0), p.r(4*i+j))
		}
	}
	turn16(p.out, p.set, 16, 16, 16, 16)
	p.op("MOVQ DI, R11")
	for l := range 16 {
		p.op("VMOVUPS %s, (R11)", p.r(l))
		p.op("ADDQ R14, R11")
	}
	p.op("ADDQ R15, DI")
	p.forward(64)
	p.op("DECQ CX")
	p.op("JNE unit")
	p.line("done:")
	p.end()
}

func packers(o *out, s set) {
	p := &packer{o, s}
	p.words("packWords", func() {
		for i := range 4 {
			p.put(p.r(4 + i))
		}
	})
	p.words("packBF16", func() {
		for i := range 4 {
			p.op("VPSRLD $16, %s, %s", p.r(4+i), p.r(8))
			p.op("VPSLLD $16, %s, %s", p.r(8), p.r(8))
			p.put(p.r(8))
			p.op("VPSLLD $16, %s, %s", p.r(4+i), p.r(8))
			p.put(p.r(8))
		}
	})
	p.words("packF16", func() {
		for i := range 4 {
			p.op("VPSRLD $16, %s, %s", p.r(4+i), p.r(9))
			if s.lanes == 16 {
				p.op("VPMOVDW Z%d, Y8", 4+i)
				p.op("VPMOVDW Z9, Y9")
				p.op("VCVTPH2PS Y8, Z8")
				p.op("VCVTPH2PS Y9, Z9")
			} else {
				p.op("VPSLLD $16, Y%d, Y8", 4+i)
				p.op("VPSRLD $16, Y8, Y8")
				p.op("VPACKUSDW Y9, Y8, Y8") // low halves of each half, then high ones
				p.op("VPERMQ $0xd8, Y8, Y8")
				p.op("VEXTRACTI128 $1, Y8, X9")
				p.op("VCVTPH2PS X8, Y8")
				p.op("VCVTPH2PS X9, Y9")
			}
			p.put(p.r(8))
			p.put(p.r(9))
		}
	})
	if s.lanes == 16 {
		p.pairs()
	}
	for _, f := range []struct {
		name  string
		bytes int
	}{{"packQ80", 34}, {"packQ40", 18}} {
		p.begin(f.name)
		flip := f.name == "packQ80" && s.lanes == 16 // bytes become unsigned
		shift := f.name == "packQ40" && s.lanes == 8 // halves become signed
		if f.name == "packQ40" {
			p.constant("lowHalves", 10)
		}
		if shift {
			p.constant("eights", 11)
		}
		if flip {
			p.constant("signs", 11)
		}
		p.op("TESTQ CX, CX")
		p.op("JEQ done")
		p.line("block:")
		p.prefetch(f.bytes)
		p.scales()
		if f.name == "packQ80" {
			for half := range 2 {
				p.gather(2 + 16*half)
				for i := range 4 {
					if flip {
						p.op("VPXORD Z11, Z%d, Z%d", 4+i, 4+i)
					}
					p.put(p.r(4 + i))
				}
			}
		} else {
			p.gather(2)
			and, sub := "VPANDD", "VPSUBB"
			if s.lanes == 8 {
				and = "VPAND"
			}
			for half := range 2 {
				for i := range 4 {
					src := p.r(4 + i)
					if half == 1 {
						p.op("VPSRLW $4, %s, %s", src, p.r(0))
						src = p.r(0)
					}
					p.op("%s %s, %s, %s", and, p.r(10), src, p.r(0))
					if shift {
						p.op("%s %s, %s, %s", sub, p.r(11), p.r(0), p.r(0))
					}
					p.put(p.r(0))
				}
			}
		}
		p.forward(f.bytes)
		p.op("DECQ CX")
		p.op("JNE block")
		p.line("done:")
		p.end()
	}
}

// tileHead loads the arguments of a tile and the sums. Rows of activations are at arow.
func tileHead(o *out, s set, name string, rows, vecs int, acc func(i, n int) string) {
	o.line("// func %s%dx%d%s(t *rowTile)", name, rows, vecs, s.name)
	o.line("TEXT ·%s%dx%d%s(SB), NOSPLIT, $0-8", name, rows, vecs, s.name)
	o.op("MOVQ t+0(FP), DI")
	o.op("MOVQ %d(DI), SI", rowA)
	o.op("MOVQ %d(DI), R8", rowARow)
	o.op("MOVQ %d(DI), BX", rowB)
	o.op("MOVQ %d(DI), CX", rowSteps)
	o.op("LEAQ (SI)(R8*2), R9")
	o.op("ADDQ R8, R9")
	tileSums(o, s, rows, vecs, acc, false)
}

// tileSums reads or writes the sums.
func tileSums(o *out, s set, rows, vecs int, acc func(i, n int) string, write bool) {
	o.op("MOVQ %d(DI), AX", rowC)
	o.op("MOVQ %d(DI), DX", rowCRow)
	for i := range rows {
		for n := range vecs {
			if write {
				o.op("VMOVUPS %s, %d(AX)", acc(i, n), n*s.bytes())
			} else {
				o.op("VMOVUPS %d(AX), %s", n*s.bytes(), acc(i, n))
			}
		}
		if i < rows-1 {
			o.op("ADDQ DX, AX")
		}
	}
}

func rowAt(i, offset int) string {
	return fmt.Sprintf("%d(%s)%s", offset, []string{"SI", "R9"}[i/3], []string{"", "(R8*1)", "(R8*2)"}[i%3])
}

// wordTile multiplies float32.
func wordTile(o *out, s set, rows, vecs int) {
	acc := tileReg(s, vecs)
	tileHead(o, s, "tileFloat", rows, vecs, acc)
	wordSteps(o, s, rows, vecs, 4, func(b, a, c string) { o.op("VFMADD231PS %s, %s, %s", b, a, c) })
	tileSums(o, s, rows, vecs, acc, true)
	o.op("VZEROUPPER")
	o.op("RET\n")
}

func tileReg(s set, vecs int) func(i, n int) string {
	return func(i, n int) string { return s.r(i*vecs + n) }
}

// wordSteps multiplies CX steps of dwords, those of activations apart bytes apart.
func wordSteps(o *out, s set, rows, vecs, apart int, multiply func(b, a, c string)) {
	acc := tileReg(s, vecs)
	b := tileRows * vecs
	step := func(l int) {
		for n := range vecs {
			o.op("VMOVUPS %d(BX), %s", (l*vecs+n)*s.bytes(), s.r(b+n))
		}
		for i := range rows {
			a := s.r(b + vecs + i%2)
			o.op("VBROADCASTSS %s, %s", rowAt(i, apart*l), a)
			for n := range vecs {
				multiply(s.r(b+n), a, acc(i, n))
			}
		}
	}
	forward := func(steps int) {
		o.op("ADDQ $%d, BX", steps*vecs*s.bytes())
		o.op("ADDQ $%d, SI", apart*steps)
		o.op("ADDQ $%d, R9", apart*steps)
	}
	o.op("SUBQ $4, CX")
	o.op("JL few")
	o.line("many:")
	for l := range 4 {
		step(l)
	}
	forward(4)
	o.op("SUBQ $4, CX")
	o.op("JGE many")
	o.line("few:")
	o.op("ADDQ $4, CX")
	o.op("JEQ done")
	o.line("one:")
	step(0)
	forward(1)
	o.op("DECQ CX")
	o.op("JNE one")
	o.line("done:")
}

// chainTile multiplies pairs of bfloat16, whose sums are sixteen, each over every sixteenth pair. They are added to the
// running sums one after the other.
func chainTile(o *out, s set, rows, vecs int) {
	acc := tileReg(s, vecs)
	o.line("// func tilePairs%dx%d%s(t *rowTile)", rows, vecs, s.name)
	o.line("TEXT ·tilePairs%dx%d%s(SB), NOSPLIT, $0-8", rows, vecs, s.name)
	o.op("MOVQ t+0(FP), DI")
	o.op("MOVQ %d(DI), R11", rowA)
	o.op("MOVQ %d(DI), R8", rowARow)
	o.op("MOVQ %d(DI), BX", rowB)
	o.op("LEAQ (R8)(R8*2), R12")
	o.op("MOVQ $16, R10")
	o.line("chain:")
	o.op("MOVQ %d(DI), CX", rowSteps)
	o.op("MOVQ R11, SI")
	o.op("LEAQ (R11)(R12*1), R9")
	for i := range rows {
		for n := range vecs {
			o.op("VPXORD %[1]s, %[1]s, %[1]s", acc(i, n))
		}
	}
	wordSteps(o, s, rows, vecs, 64, o.dotPairs)
	o.op("MOVQ %d(DI), AX", rowC)
	o.op("MOVQ %d(DI), DX", rowCRow)
	for i := range rows {
		for n := range vecs {
			o.op("VADDPS %d(AX), %s, %s", n*s.bytes(), acc(i, n), acc(i, n))
			o.op("VMOVUPS %s, %d(AX)", acc(i, n), n*s.bytes())
		}
		if i < rows-1 {
			o.op("ADDQ DX, AX")
		}
	}
	o.op("ADDQ $4, R11")
	o.op("DECQ R10")
	o.op("JNE chain")
	o.op("VZEROUPPER")
	o.op("RET\n")
}

// blockTile multiplies blocks of whole numbers. The sum over a block is exact; then it is multiplied by both scales.
func blockTile(o *out, s set, rows, vecs int) {
	whole := func(i, n int) string { return s.r(i*vecs + n) }
	most := blockRows(s) * vecs
	acc := func(i, n int) string { return s.r(most + i*vecs + n) }
	free := 2 * most // first register that is left
	tileHead(o, s, "tileBlocks", rows, vecs, acc)
	o.op("MOVQ %d(DI), R9", rowScales)
	o.op("MOVQ %d(DI), R10", rowZero)
	o.op("MOVQ %d(DI), R11", rowD)
	o.op("MOVQ %d(DI), R12", rowDRow)
	if s.lanes == 8 {
		o.op("VPCMPEQW Y14, Y14, Y14")
		o.op("VPSRLW $15, Y14, Y14") // ones
	}
	side := func(base string, i int) string { return "(" + base + ")" + []string{"", "(R12*1)", "(R12*2)"}[i] }
	o.op("TESTQ CX, CX")
	o.op("JEQ done")
	o.line("block:")
	for i := range rows {
		for n := range vecs {
			if s.lanes == 16 {
				o.op("VPBROADCASTD %s, %s", side("R10", i), whole(i, n))
			} else {
				o.op("VPXOR %s, %s, %s", whole(i, n), whole(i, n), whole(i, n))
			}
		}
	}
	for l := range 8 {
		for n := range vecs {
			o.op("VMOVUPS %d(BX), %s", (l*vecs+n)*s.bytes(), s.r(free+n))
			if s.lanes == 8 {
				o.op("VPABSB Y%d, Y%d", free+n, free+vecs+n)
			}
		}
		for i := range rows {
			if s.lanes == 16 {
				a := s.r(free + vecs + i%2)
				o.op("VPBROADCASTD %s, %s", rowAt(i, 4*l), a)
				for n := range vecs {
					o.op("VPDPBUSD %s, %s, %s", a, s.r(free+n), whole(i, n))
				}
				continue
			}
			a, t := "Y12", []string{"Y13", "Y15"}
			o.op("VPBROADCASTD %s, %s", rowAt(i, 4*l), a)
			for n := range vecs {
				o.op("VPSIGNB Y%d, %s, %s", free+n, a, t[n])
				o.op("VPMADDUBSW %s, Y%d, %s", t[n], free+vecs+n, t[n])
				o.op("VPMADDWD Y14, %s, %s", t[n], t[n])
				o.op("VPADDD %s, %s, %s", t[n], whole(i, n), whole(i, n))
			}
		}
	}
	for i := range rows {
		d, t := free, free+1
		o.op("VBROADCASTSS %s, %s", side("R11", i), s.r(d))
		for n := range vecs {
			t := s.r(t + n%2)
			o.op("VMULPS %d(R9), %s, %s", n*s.bytes(), s.r(d), t)
			o.op("VCVTDQ2PS %s, %s", whole(i, n), whole(i, n))
			o.op("VFMADD231PS %s, %s, %s", whole(i, n), t, acc(i, n))
		}
	}
	o.op("ADDQ $%d, BX", 8*vecs*s.bytes())
	o.op("ADDQ $32, SI")
	o.op("ADDQ $%d, R9", vecs*s.bytes())
	o.op("ADDQ $4, R10")
	o.op("ADDQ $4, R11")
	o.op("DECQ CX")
	o.op("JNE block")
	o.line("done:")
	tileSums(o, s, rows, vecs, acc, true)
	o.op("VZEROUPPER")
	o.op("RET\n")
}

// quantize cuts activations into blocks of 32 whole numbers with scales, as quantizeGeneric does.
func quantize(o *out) {
	o.line("// func quantizeAVX2(q []int8, d []float32, zero []int32, x []float32, offset int)")
	o.line("TEXT ·quantizeAVX2(SB), NOSPLIT, $0-104")
	o.op("MOVQ q_base+0(FP), DI")
	o.op("MOVQ d_base+24(FP), R8")
	o.op("MOVQ d_len+32(FP), CX")
	o.op("MOVQ zero_base+48(FP), R9")
	o.op("MOVQ x_base+72(FP), SI")
	o.op("MOVQ offset+96(FP), R10")
	o.op("NEGQ R10")
	o.op("VPCMPEQD Y8, Y8, Y8")
	o.op("VPSRLD $1, Y8, Y8") // all bits but the sign
	o.op("MOVL $0x42fe0000, AX")
	o.op("VMOVD AX, X9") // 127
	o.op("VMOVDQU blockOrder<>(SB), Y10")
	o.op("VPCMPEQW Y11, Y11, Y11")
	o.op("VPSRLW $15, Y11, Y11") // ones
	o.op("TESTQ CX, CX")
	o.op("JEQ done")
	o.line("block:")
	for i := range 4 {
		o.op("VMOVUPS %d(SI), Y%d", 32*i, i)
		o.op("VPAND Y%d, Y8, Y%d", i, 4+i)
	}
	o.op("VPMAXUD Y5, Y4, Y4")
	o.op("VPMAXUD Y7, Y6, Y6")
	o.op("VPMAXUD Y6, Y4, Y4")
	o.op("VEXTRACTI128 $1, Y4, X5")
	o.op("VPMAXUD X5, X4, X4")
	o.op("VPSHUFD $0x4e, X4, X5")
	o.op("VPMAXUD X5, X4, X4")
	o.op("VPSHUFD $0xb1, X4, X5")
	o.op("VPMAXUD X5, X4, X4")
	o.op("VMOVD X4, AX")
	o.op("CMPL AX, $0x7f800000")
	o.op("JAE bad")
	o.op("CMPL AX, $0x03800000") // 2^-120
	o.op("JB none")
	o.op("VDIVSS X9, X4, X5")
	o.op("VMOVSS X5, (R8)")
	o.op("VDIVSS X4, X9, X5")
	o.op("VBROADCASTSS X5, Y5")
	for i := range 4 {
		o.op("VMULPS Y5, Y%d, Y%d", i, i)
		o.op("VCVTPS2DQ Y%d, Y%d", i, i)
	}
	o.op("VPACKSSDW Y1, Y0, Y0")
	o.op("VPACKSSDW Y3, Y2, Y2")
	o.op("VPADDW Y2, Y0, Y3")
	o.op("VPMADDWD Y11, Y3, Y3")
	o.op("VPACKSSWB Y2, Y0, Y0")
	o.op("VPERMD Y0, Y10, Y0")
	o.op("VMOVDQU Y0, (DI)")
	o.op("VEXTRACTI128 $1, Y3, X4")
	o.op("VPADDD X4, X3, X3")
	o.op("VPSHUFD $0x4e, X3, X4")
	o.op("VPADDD X4, X3, X3")
	o.op("VPSHUFD $0xb1, X3, X4")
	o.op("VPADDD X4, X3, X3")
	o.op("VMOVD X3, AX")
	o.op("IMULL R10, AX")
	o.op("MOVL AX, (R9)")
	o.line("next:")
	o.op("ADDQ $128, SI")
	o.op("ADDQ $32, DI")
	o.op("ADDQ $4, R8")
	o.op("ADDQ $4, R9")
	o.op("DECQ CX")
	o.op("JNE block")
	o.line("done:")
	o.op("VZEROUPPER")
	o.op("RET")
	o.line("bad:")
	o.op("MOVL $0x7fc00000, (R8)")
	o.op("JMP clear")
	o.line("none:")
	o.op("MOVL $0, (R8)")
	o.line("clear:")
	o.op("MOVL $0, (R9)")
	o.op("VPXOR Y0, Y0, Y0")
	o.op("VMOVDQU Y0, (DI)")
	o.op("JMP next\n")
}

var packNames = []string{"packWords", "packBF16", "packF16", "packQ80", "packQ40"}

func rowsText() string {
	o := new(out)
	o.WriteString(asm)
	o.line("// The order that packing twice leaves dwords in, undone.")
	for i, x := range []int{0, 4, 1, 5, 2, 6, 3, 7} {
		o.line("DATA blockOrder<>+%d(SB)/4, $%d", 4*i, x)
	}
	o.line("GLOBL blockOrder<>(SB), RODATA|NOPTR, $32\n")
	for _, c := range [][2]string{{"lowHalves", "0x0f0f0f0f"}, {"eights", "0x08080808"}, {"signs", "0x80808080"}} {
		o.line("DATA %s<>+0(SB)/4, $%s\nGLOBL %s<>(SB), RODATA|NOPTR, $4\n", c[0], c[1], c[0])
	}
	for _, s := range []set{avx2, avx512} {
		packers(o, s)
		for _, vecs := range []int{1, rowVecs(s)} {
			for rows := 1; rows <= tileRows; rows++ {
				wordTile(o, s, rows, vecs)
				if s.lanes == 16 {
					chainTile(o, s, rows, vecs)
				}
				if rows <= blockRows(s) {
					blockTile(o, s, rows, vecs)
				}
			}
		}
	}
	direct(o)
	quantize(o)
	return o.String()
}

func rowsGo() string {
	o := new(out)
	o.WriteString(header + "package kernel\n\n")
	for _, s := range []set{avx2, avx512} {
		for _, n := range packNames {
			o.line("//go:noescape\nfunc %s%s(p *rowPack)\n", n, s.name)
		}
		if s.lanes == 16 {
			o.line("//go:noescape\nfunc packPairs%s(p *rowPack)\n", s.name)
		}
		kinds := map[string]int{"tileFloat": tileRows, "tileBlocks": blockRows(s)}
		names := []string{"tileFloat", "tileBlocks"}
		if s.lanes == 16 {
			kinds["tilePairs"] = tileRows
			names = append(names, "tilePairs")
		}
		for _, n := range names {
			var list []string
			for _, vecs := range []int{1, rowVecs(s)} {
				for rows := 1; rows <= kinds[n]; rows++ {
					f := fmt.Sprintf("%s%dx%d%s", n, rows, vecs, s.name)
					o.line("//go:noescape\nfunc %s(t *rowTile)\n", f)
					list = append(list, f)
				}
			}
			o.line("// %s%s has those of one register a row, then those of all.", n, s.name)
			o.line("var %s%s = []func(*rowTile){\n\t%s,\n}\n", n, s.name, strings.Join(list, ",\n\t"))
		}
	}
	directGo(o)
	o.line("//go:noescape\nfunc quantizeAVX2(q []int8, d []float32, zero []int32, x []float32, offset int)")
	return o.String()
}
