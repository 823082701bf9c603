package main

import (
	"fmt"
	"strings"
)

// Products of a few rows of activations with 16 rows of a stored weight, straight from where they lie, in the order in
// which tiles of panels add: dwords of float32 and blocks are turned within registers and multiplied at once; of pairs of
// bfloat16 only the sums are turned. Reading the weight is the work here, and a panel in memory would cost more than it.

// Offsets in the struct rowDirect of rows.go.
const (
	directSrc    = 0
	directStride = 8
	directUnits  = 16
	directA      = 24
	directARow   = 32
	directC      = 40
	directCRow   = 48
	directZero   = 56
	directD      = 64
	directDRow   = 72
	directNext   = 80
	directTail   = 88
	directSums   = 96

	directStretches = 104
)

// pairStretch is how many units of pairs have sums of their own; rows.go has it as pairChunk.
const pairStretch = 64

// Most rows of activations, and how many times 16 rows of float32 are read side by side: sums wait for themselves, so
// that more than one chain of them has to be under way.
const (
	directWordRows  = 4
	directBlockRows = 3
	directVecs      = 2
)

// direct begins a routine and loads the arguments that all have.
func (p *packer) direct(name string, rows int) {
	p.line("// func %s%d%s(t *rowDirect)", name, rows, p.name)
	p.line("TEXT ·%s%d%s(SB), NOSPLIT, $0-8", name, rows, p.name)
	p.op("MOVQ t+0(FP), DI")
	p.op("MOVQ %d(DI), SI", directSrc)
	p.op("MOVQ %d(DI), R8", directStride)
	p.op("MOVQ %d(DI), CX", directUnits)
	p.op("MOVQ %d(DI), R14", directARow)
	p.op("MOVQ %d(DI), R11", directNext)
	p.op("LEAQ (R8)(R8*2), R9")
	p.op("LEAQ (R14)(R14*2), R15")
	p.op("LEAQ (SI)(R8*4), AX")
	p.op("LEAQ (AX)(R8*4), BX")
	p.op("LEAQ (BX)(R8*4), DX")
}

// activation addresses dword l of row i of the activations, which begin at DI.
func activation(i, l int) string {
	return fmt.Sprintf("%d(DI)%s", 4*l, []string{"", "(R14*1)", "(R14*2)", "(R15*1)"}[i])
}

// sums writes the sums and returns.
func (p *packer) sums(rows, vecs int, acc func(i, g int) string) {
	p.op("MOVQ t+0(FP), DI")
	p.op("MOVQ %d(DI), AX", directC)
	p.op("MOVQ %d(DI), DX", directCRow)
	for i := range rows {
		for g := range vecs {
			p.op("VMOVUPS %s, %d(AX)", acc(i, g), g*p.bytes())
		}
		if i < rows-1 {
			p.op("ADDQ DX, AX")
		}
	}
	p.end()
}

// directPairs multiplies pairs of bfloat16, four rows of the weight at a time as they lie. Each stretch of pairStretch
// units has sixteen sums, which are turned and added to c one after the other when those of 16 rows are there.
func (p *packer) directPairs(rows int) {
	acc := func(i, r int) string { return p.r(16 + 4*i + r) }
	weight := func(base string, r int) string {
		return "(" + base + ")" + []string{"", "(R8*1)", "(R8*2)", "(R9*1)"}[r]
	}
	p.line("// func directPairs%d%s(t *rowDirect)", rows, p.name)
	p.line("TEXT ·directPairs%d%s(SB), NOSPLIT, $16-8", rows, p.name)
	p.op("MOVQ t+0(FP), DI")
	p.op("MOVQ %d(DI), SI", directSrc)
	p.op("MOVQ %d(DI), R8", directStride)
	p.op("MOVQ %d(DI), R14", directARow)
	p.op("MOVQ %d(DI), R12", directSums)
	p.op("MOVQ %d(DI), AX", directTail)
	p.op("KMOVW AX, K1")
	p.op("LEAQ (R8)(R8*2), R9")
	p.op("LEAQ (R14)(R14*2), R15")
	p.op("LEAQ (R8)(R9*1), R10")
	p.op("MOVQ $4, R13")
	p.line("group:")
	p.op("MOVQ R12, 8(SP)")
	p.op("MOVQ SI, AX")
	p.op("ADDQ R10, SI")
	p.op("MOVQ SI, R11") // the next four rows, asked for meanwhile
	p.op("MOVQ %d(DI), DX", directA)
	p.op("MOVQ %d(DI), BX", directUnits)
	p.op("MOVQ %d(DI), CX", directStretches)
	p.op("MOVQ CX, 0(SP)")
	p.line("stretch:")
	for i := range rows {
		for r := range 4 {
			p.op("VPXORD %[1]s, %[1]s, %[1]s", acc(i, r))
		}
	}
	multiply := func() {
		for i := range rows {
			p.op("VMOVDQU32 (DX)%s, %s", []string{"", "(R14*1)", "(R14*2)", "(R15*1)"}[i], p.r(4+i))
			for r := range 4 {
				p.dotPairs(p.r(r), p.r(4+i), acc(i, r))
			}
		}
	}
	p.op("MOVQ $%d, CX", pairStretch)
	p.op("CMPQ BX, CX")
	p.op("CMOVQLT BX, CX")
	p.op("SUBQ CX, BX")
	p.op("TESTQ CX, CX")
	p.op("JEQ last")
	p.line("unit:")
	for r := range 4 {
		p.op("VMOVDQU32 %s, %s", weight("AX", r), p.r(r))
		p.op("PREFETCHT0 %s", weight("R11", r))
	}
	multiply()
	for _, b := range []string{"AX", "DX", "R11"} {
		p.op("ADDQ $64, %s", b)
	}
	p.op("DECQ CX")
	p.op("JNE unit")
	p.line("last:")
	p.op("CMPQ 0(SP), $1")
	p.op("JNE keep")
	p.op("CMPQ %d(DI), $0", directTail)
	p.op("JEQ keep")
	for r := range 4 {
		p.op("VMOVDQU32.Z %s, K1, %s", weight("AX", r), p.r(r))
	}
	multiply()
	p.line("keep:")
	for i := range rows {
		for r := range 4 {
			p.op("VMOVUPS %s, %d(R12)", acc(i, r), 1024*i+64*r)
		}
	}
	p.op("ADDQ $%d, R12", 1024*rows)
	p.op("DECQ 0(SP)")
	p.op("JNE stretch")
	p.op("MOVQ 8(SP), R12")
	p.op("ADDQ $256, R12")
	p.op("DECQ R13")
	p.op("JNE group")

	p.op("MOVQ %d(DI), R12", directSums)
	p.op("MOVQ %d(DI), CX", directStretches)
	p.op("MOVQ %d(DI), DX", directCRow)
	p.line("turn:")
	p.op("MOVQ %d(DI), AX", directC)
	for i := range rows {
		for r := range 16 {
			p.op("VMOVUPS %d(R12), %s", 1024*i+64*r, p.r(r))
		}
		turn16(p.out, p.set, 16, 16, 16, 16)
		p.op("VMOVUPS (AX), Z20")
		for l := range 16 {
			p.op("VADDPS %s, Z20, Z20", p.r(l))
		}
		p.op("VMOVUPS Z20, (AX)")
		if i < rows-1 {
			p.op("ADDQ DX, AX")
		}
	}
	p.op("ADDQ $%d, R12", 1024*rows)
	p.op("DECQ CX")
	p.op("JNE turn")
	p.end()
}

// directWords multiplies dwords; units are 64 bytes of each of 16*directVecs rows.
func (p *packer) directWords(rows int) {
	acc := func(i, g int) string { return p.r(20 + i*directVecs + g) }
	p.direct("directFloat", rows)
	p.op("MOVQ %d(DI), DI", directA)
	p.op("MOVQ R8, R10")
	p.op("SHLQ $4, R10") // to the next 16 rows
	p.op("IMUL3Q $%d, R10, R12", directVecs-1)
	p.op("SUBQ $64, R12") // and back
	for i := range rows {
		for g := range directVecs {
			p.op("VPXORD %[1]s, %[1]s, %[1]s", acc(i, g))
		}
	}
	p.line("block:")
	for g := range directVecs {
		for i := range 4 {
			for j := range 4 {
				p.op("VMOVDQU32 %s, %s", p.row(i, j, 0), p.r(4*i+j))
			}
		}
		for at := 0; at < 64*p.lanes; at += 64 {
			p.op("PREFETCHT0 %d(R11)", at)
		}
		p.op("ADDQ $%d, R11", 64*p.lanes)
		turn16(p.out, p.set, 16, 16, 16, 16)
		for l := range 16 {
			for i := range rows {
				a := p.r(16 + (l*rows+i)%4)
				p.op("VBROADCASTSS %s, %s", activation(i, l), a)
				p.op("VFMADD231PS %s, %s, %s", p.r(l), a, acc(i, g))
			}
		}
		for _, b := range packBases {
			if g < directVecs-1 {
				p.op("ADDQ R10, %s", b)
			} else {
				p.op("SUBQ R12, %s", b)
			}
		}
	}
	p.op("ADDQ $64, DI")
	p.op("DECQ CX")
	p.op("JNE block")
	p.sums(rows, directVecs, acc)
}

// directBlocks multiplies blocks of whole numbers, a block of each of 16 rows at a time. Each has two running sums of
// whole numbers, which are exact.
func (p *packer) directBlocks(name string, size, rows int) {
	whole := func(i, k int) string { return p.r(12 + 2*i + k) }
	acc := func(i, _ int) string { return p.r(20 + i) }
	p.direct(name, rows)
	p.op("MOVQ %d(DI), R10", directZero)
	p.op("MOVQ %d(DI), R12", directD)
	p.op("MOVQ %d(DI), R13", directDRow)
	p.op("MOVQ %d(DI), DI", directA)
	p.constant("lowHalves", 30)
	p.constant("signs", 31)
	p.op("VPXOR X10, X10, X10")
	for i := range rows {
		p.op("VPXORD %[1]s, %[1]s, %[1]s", acc(i, 0))
	}
	side := func(base string, i int) string { return "(" + base + ")" + []string{"", "(R13*1)", "(R13*2)"}[i] }
	multiply := func(l int, reg string) {
		for i := range rows {
			p.op("VPDPBUSD.BCST %s, %s, %s", activation(i, l), reg, whole(i, l%2))
		}
	}
	p.line("block:")
	for at := 0; at < size*p.lanes; at += 64 {
		p.op("PREFETCHT0 %d(R11)", at)
	}
	p.op("ADDQ $%d, R11", size*p.lanes)
	for i := range rows {
		p.op("VPBROADCASTD %s, %s", side("R10", i), whole(i, 0))
		p.op("VPXORD %[1]s, %[1]s, %[1]s", whole(i, 1))
	}
	if size == 34 {
		// Rows 4g to 4g+3 stand in the lower halves of registers and the next four in the upper ones.
		for g := range 2 {
			for j := range 4 {
				p.op("VMOVDQU %s, Y%d", p.row(2*g, j, 2), 4*g+j)
				p.op("VINSERTI64X4 $1, %s, Z%d, Z%d", p.row(2*g+1, j, 2), 4*g+j, 4*g+j)
			}
		}
		for g := range 2 {
			b := 4 * g
			four(p.out, p.r(b), p.r(b+1), p.r(b+2), p.r(b+3), "Z24", "Z25", "Z26", "Z27")
		}
		for c := range 4 {
			p.op("VSHUFI32X4 $0x88, Z%d, Z%d, Z24", 4+c, c)
			p.op("VSHUFI32X4 $0xdd, Z%d, Z%d, Z25", 4+c, c)
			p.op("VPXORD Z31, Z24, Z24")
			p.op("VPXORD Z31, Z25, Z25")
			multiply(c, "Z24")
			multiply(4+c, "Z25")
		}
	} else {
		p.gather(2)
		for j := range 4 {
			p.op("VPANDD Z30, Z%d, Z24", 4+j)
			p.op("VPSRLW $4, Z%d, Z25", 4+j)
			p.op("VPANDD Z30, Z25, Z25")
			multiply(j, "Z24")
			multiply(4+j, "Z25")
		}
	}
	for i := range p.lanes / 4 {
		for j := range 4 {
			at, from := (4*i+j)%8, 8+i/2
			if at == 0 {
				from = 10 // zero: blocks must not wait for each other
			}
			p.op("VPINSRW $%d, %s, X%d, X%d", at, p.row(i, j, 0), from, 8+i/2)
		}
	}
	p.op("VINSERTI128 $1, X9, Y8, Y8")
	p.op("VCVTPH2PS Y8, Z8")
	for i := range rows {
		p.op("VPADDD %s, %s, %s", whole(i, 1), whole(i, 0), whole(i, 0))
		p.op("VCVTDQ2PS %s, %s", whole(i, 0), whole(i, 0))
		p.op("VMULPS.BCST %s, Z8, Z9", side("R12", i))
		p.op("VFMADD231PS %s, Z9, %s", whole(i, 0), acc(i, 0))
	}
	p.forward(size)
	p.op("ADDQ $32, DI")
	p.op("ADDQ $4, R10")
	p.op("ADDQ $4, R12")
	p.op("DECQ CX")
	p.op("JNE block")
	p.sums(rows, 1, acc)
}

func direct(o *out) {
	p := &packer{o, avx512}
	for rows := 1; rows <= directWordRows; rows++ {
		p.directWords(rows)
		p.directPairs(rows)
	}
	for rows := 1; rows <= directBlockRows; rows++ {
		p.directBlocks("directQ80", 34, rows)
		p.directBlocks("directQ40", 18, rows)
	}
}

func directGo(o *out) {
	for _, f := range []struct {
		name string
		rows int
	}{{"directFloat", directWordRows}, {"directPairs", directWordRows}, {"directQ80", directBlockRows}, {"directQ40", directBlockRows}} {
		var list []string
		for rows := 1; rows <= f.rows; rows++ {
			name := fmt.Sprintf("%s%d%s", f.name, rows, avx512.name)
			o.line("//go:noescape\nfunc %s(t *rowDirect)\n", name)
			list = append(list, name)
		}
		o.line("var %s%s = []func(*rowDirect){\n\t%s,\n}\n", f.name, avx512.name, strings.Join(list, ",\n\t"))
	}
}
