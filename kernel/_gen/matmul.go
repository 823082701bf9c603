package main

import (
	"fmt"
	"strings"
)

// tileRows and tileVectors bound the register tile: 6 x 64 with AVX-512, 6 x 16 with AVX2, in accumulators that leave
// room for a row of B and a few broadcast elements of A.
const tileRows = 6

func tileVectors(s set) int {
	if s.lanes == 16 {
		return 4
	}
	return 2
}

// Offsets in the struct tile of matmul.go.
const (
	tileA    = 0
	tileB    = 24
	tileC    = 48
	tileARow = 72
	tileACol = 80
	tileBRow = 88
	tileCRow = 96
	tileK    = 104
	tileCols = 120
	tileAdd  = 128
)

func matmulText() string {
	o := new(out)
	o.WriteString(asm)
	o.line("// Eight lanes kept, then eight left out: a mask of n lanes starts 4*(8-n) bytes in.")
	for i := range 16 {
		v := "0"
		if i < 8 {
			v = "0xffffffff"
		}
		o.line("DATA lanes<>+%d(SB)/4, $%s", 4*i, v)
	}
	o.line("GLOBL lanes<>(SB), RODATA|NOPTR, $64\n")
	for _, s := range []set{avx2, avx512} {
		for rows := 1; rows <= tileRows; rows++ {
			for vecs := 1; vecs <= tileVectors(s); vecs++ {
				tile(o, s, rows, vecs)
			}
		}
		transpose(o, s)
		copyRows(o, s)
	}
	few(o)
	return o.String()
}

// tile writes the product of rows of A with vecs registers of columns of B. B is read whole registers at a time; C
// only as far as cols goes.
func tile(o *out, s set, rows, vecs int) {
	first := 8 // accumulators
	bcast, numBcast := 4, 4
	if s.lanes == 8 {
		first, bcast, numBcast = 4, 2, 2
	}
	acc := func(i, j int) string { return s.r(first + i*vecs + j) }
	o.line("// func tile%dx%d%s(t *tile)", rows, vecs, s.name)
	o.line("TEXT ·tile%dx%d%s(SB), NOSPLIT, $0-8", rows, vecs, s.name)
	o.op("MOVQ t+0(FP), DI")
	o.op("MOVQ %d(DI), AX", tileA)
	o.op("MOVQ %d(DI), BX", tileB)
	o.op("MOVQ %d(DI), DX", tileC)
	for _, f := range []struct {
		at  int
		reg string
	}{{tileARow, "R8"}, {tileACol, "SI"}, {tileBRow, "R10"}, {tileCRow, "R11"}} {
		o.op("MOVQ %d(DI), %s", f.at, f.reg)
		o.op("SHLQ $2, %s", f.reg)
	}
	o.op("MOVQ %d(DI), CX", tileK)
	o.op("LEAQ (AX)(R8*2), R9")
	o.op("ADDQ R8, R9")
	// Rows of A and C lie at base, base+stride, base+2*stride, twice over.
	row := func(base, base3, stride string, i int) string {
		if i >= 3 {
			base = base3
		}
		return "(" + base + ")" + []string{"", "(" + stride + "*1)", "(" + stride + "*2)"}[i%3]
	}
	o.op("MOVQ DX, R12")
	o.op("LEAQ (DX)(R11*2), R13")
	o.op("ADDQ R11, R13")
	for i := range rows {
		for j := 0; j < vecs; j += 64 / s.bytes() {
			o.op("PREFETCHT0 %d%s", j*s.bytes(), row("R12", "R13", "R11", i))
		}
	}
	for i := range rows {
		for j := range vecs {
			o.op("VXORPS %[1]s, %[1]s, %[1]s", acc(i, j))
		}
	}
	step := func() {
		for j := range vecs {
			o.op("VMOVUPS %d(BX), %s", j*s.bytes(), s.r(j))
		}
		for i := range rows {
			a := s.r(bcast + i%numBcast)
			o.op("VBROADCASTSS %s, %s", row("AX", "R9", "R8", i), a)
			for j := range vecs {
				s.multiply(o, s.r(j), a, acc(i, j))
			}
		}
		o.op("ADDQ R10, BX")
		o.op("ADDQ SI, AX")
		if rows > 3 {
			o.op("ADDQ SI, R9")
		}
	}
	o.op("SUBQ $2, CX")
	o.op("JL odd")
	o.line("loop:")
	step()
	step()
	o.op("SUBQ $2, CX")
	o.op("JGE loop")
	o.line("odd:")
	o.op("ADDQ $2, CX")
	o.op("JEQ sum")
	step()
	o.line("sum:")
	o.op("MOVQ %d(DI), CX", tileCols)
	o.op("SUBQ $%d, CX", (vecs-1)*s.lanes)
	if s.lanes == 16 {
		o.op("MOVQ $-1, AX")
		o.op("SHLQ CX, AX")
		o.op("NOTQ AX")
		o.op("KMOVW AX, K1")
	}
	o.op("CMPB %d(DI), $0", tileAdd)
	o.op("JEQ store")
	each := func(masked bool, f func(i, j int, mem string, last bool)) {
		for i := range rows {
			for j := range vecs {
				f(i, j, fmt.Sprintf("%d%s", j*s.bytes(), row("R12", "R13", "R11", i)), masked && j == vecs-1)
			}
		}
	}
	if s.lanes == 16 {
		each(true, func(i, j int, mem string, last bool) {
			if last {
				o.op("VADDPS %s, %s, K1, %s", mem, acc(i, j), acc(i, j))
			} else {
				o.op("VADDPS %s, %s, %s", mem, acc(i, j), acc(i, j))
			}
		})
		o.line("store:")
		each(true, func(i, j int, mem string, last bool) {
			if last {
				o.op("VMOVUPS %s, K1, %s", acc(i, j), mem)
			} else {
				o.op("VMOVUPS %s, %s", acc(i, j), mem)
			}
		})
	} else {
		mask := func() {
			o.op("NEGQ CX")
			o.op("LEAQ lanes<>+32(SB), AX")
			o.op("VMOVUPS (AX)(CX*4), Y0")
		}
		o.op("CMPQ CX, $8")
		o.op("JNE addpart")
		each(false, func(i, j int, mem string, _ bool) {
			o.op("VADDPS %s, %s, %s", mem, acc(i, j), acc(i, j))
		})
		o.op("JMP whole")
		o.line("addpart:")
		mask()
		each(true, func(i, j int, mem string, last bool) {
			if last {
				o.op("VMASKMOVPS %s, Y0, Y1", mem)
				o.op("VADDPS Y1, %s, %s", acc(i, j), acc(i, j))
			} else {
				o.op("VADDPS %s, %s, %s", mem, acc(i, j), acc(i, j))
			}
		})
		o.op("JMP part")
		o.line("store:")
		o.op("CMPQ CX, $8")
		o.op("JEQ whole")
		mask()
		o.line("part:")
		each(true, func(i, j int, mem string, last bool) {
			if last {
				o.op("VMASKMOVPS %s, Y0, %s", acc(i, j), mem)
			} else {
				o.op("VMOVUPS %s, %s", acc(i, j), mem)
			}
		})
		o.op("VZEROUPPER")
		o.op("RET")
		o.line("whole:")
		each(false, func(i, j int, mem string, _ bool) {
			o.op("VMOVUPS %s, %s", acc(i, j), mem)
		})
	}
	o.op("VZEROUPPER")
	o.op("RET\n")
}

// transpose writes the packing of a transposed operand: lanes rows of src become columns of dst, and four times quads
// columns become rows.
//
// With AVX-512 a block is 16 x 16, so that each cache line is read once: rows of a matrix are often a power of two
// apart, and then 16 of them share one set of the first-level cache. What is left, and AVX2, goes by four columns:
// quarters of rows are gathered from memory into the 128-bit lanes, and only a 4 x 4 transpose within lanes is left.
func transpose(o *out, s set) {
	o.line("// func transpose%s(dst, src *float32, dstStride, srcStride, quads int)", s.name)
	o.line("TEXT ·transpose%s(SB), NOSPLIT, $0-40", s.name)
	o.op("MOVQ dst+0(FP), DI")
	o.op("MOVQ src+8(FP), SI")
	o.op("MOVQ dstStride+16(FP), R8")
	o.op("MOVQ srcStride+24(FP), R9")
	o.op("MOVQ quads+32(FP), CX")
	o.op("SHLQ $2, R8")
	o.op("SHLQ $2, R9")
	o.op("LEAQ (R9)(R9*2), R10")
	o.op("LEAQ (R8)(R8*2), R11")
	base := []string{"SI", "AX", "BX", "DX"}[:s.lanes/4] // rows 0, 4, 8, 12
	for i := 1; i < len(base); i++ {
		o.op("LEAQ (%s)(R9*4), %s", base[i-1], base[i])
	}
	offset := []string{"", "(R9*1)", "(R9*2)", "(R10*1)"}
	dst := []string{"(DI)", "(DI)(R8*1)", "(DI)(R8*2)", "(DI)(R11*1)"}
	r := s.r
	if s.lanes == 16 {
		o.op("SUBQ $4, CX")
		o.op("JL rest")
		o.line("block:")
		for g, b := range base {
			for i, at := range offset {
				o.op("VMOVUPS (%s)%s, %s", b, at, r(4*g+i))
				o.op("PREFETCHT0 256(%s)%s", b, at)
			}
		}
		turn16(o, s, 16, 20, 24, 28)
		for l := range 4 {
			for c := range 4 {
				o.op("VMOVUPS %s, %s", r(4*l+c), dst[c])
			}
			o.op("LEAQ (DI)(R8*4), DI")
		}
		for _, b := range base {
			o.op("ADDQ $64, %s", b)
		}
		o.op("SUBQ $4, CX")
		o.op("JGE block")
		o.line("rest:")
		o.op("ADDQ $4, CX")
		o.op("JEQ done")
	}
	o.line("loop:")
	for g := range 4 {
		o.op("VMOVUPS (%s)%s, X%d", base[0], offset[g], g)
		for l := 1; l < len(base); l++ {
			if s.lanes == 16 {
				o.op("VINSERTF32X4 $%d, (%s)%s, Z%d, Z%d", l, base[l], offset[g], g, g)
			} else {
				o.op("VINSERTF128 $1, (%s)%s, Y%d, Y%d", base[l], offset[g], g, g)
			}
		}
	}
	four(o, r(0), r(1), r(2), r(3), r(4), r(5), r(6), r(7))
	for c := range 4 {
		o.op("VMOVUPS %s, %s", r(c), dst[c])
	}
	o.op("LEAQ (DI)(R8*4), DI")
	for _, b := range base {
		o.op("ADDQ $16, %s", b)
	}
	o.op("DECQ CX")
	o.op("JNE loop")
	o.line("done:")
	o.op("VZEROUPPER")
	o.op("RET\n")
}

// copyRows writes the packing of an operand that lies as it should: from each row of src, cols elements go to a row of
// dst, which is filled up to whole registers with zeros. There is one routine for each number of registers.
func copyRows(o *out, s set) {
	for vecs := 1; vecs <= tileVectors(s); vecs++ {
		o.line("// func copyRows%d%s(dst, src *float32, dstStride, srcStride, rows, cols int)", vecs, s.name)
		o.line("TEXT ·copyRows%d%s(SB), NOSPLIT, $0-48", vecs, s.name)
		o.op("MOVQ dst+0(FP), DI")
		o.op("MOVQ src+8(FP), SI")
		o.op("MOVQ dstStride+16(FP), R8")
		o.op("MOVQ srcStride+24(FP), R9")
		o.op("MOVQ rows+32(FP), DX")
		o.op("MOVQ cols+40(FP), CX")
		o.op("SHLQ $2, R8")
		o.op("SHLQ $2, R9")
		o.op("SUBQ $%d, CX", (vecs-1)*s.lanes)
		if s.lanes == 16 {
			o.op("MOVQ $-1, AX")
			o.op("SHLQ CX, AX")
			o.op("NOTQ AX")
			o.op("KMOVW AX, K1")
		} else {
			o.op("NEGQ CX")
			o.op("LEAQ lanes<>+32(SB), AX")
			o.op("VMOVUPS (AX)(CX*4), Y4")
		}
		o.line("loop:")
		for j := range vecs {
			switch {
			case j < vecs-1:
				o.op("VMOVUPS %d(SI), %s", j*s.bytes(), s.r(j))
			case s.lanes == 16:
				o.op("VMOVUPS.Z %d(SI), K1, %s", j*s.bytes(), s.r(j))
			default:
				o.op("VMASKMOVPS %d(SI), Y4, %s", j*s.bytes(), s.r(j))
			}
		}
		for j := 0; j < vecs; j += 64 / s.bytes() {
			o.op("PREFETCHT0 %d(SI)(R9*8)", j*s.bytes())
		}
		for j := range vecs {
			o.op("VMOVUPS %s, %d(DI)", s.r(j), j*s.bytes())
		}
		o.op("ADDQ R9, SI")
		o.op("ADDQ R8, DI")
		o.op("DECQ DX")
		o.op("JNE loop")
		o.op("VZEROUPPER")
		o.op("RET\n")
	}
}

// tilesGo writes the declarations and the choice of the tile for the rows and columns that are left.
func tilesGo() string {
	o := new(out)
	o.WriteString(header + "package kernel\n\n")
	for _, s := range []set{avx2, avx512} {
		tilesOf(o, s)
		o.line("//go:noescape\nfunc transpose%s(dst, src *float32, dstStride, srcStride, quads int)\n", s.name)
		var copies strings.Builder
		for vecs := 1; vecs <= tileVectors(s); vecs++ {
			o.line("//go:noescape\nfunc copyRows%d%s(dst, src *float32, dstStride, srcStride, rows, cols int)\n", vecs, s.name)
			fmt.Fprintf(&copies, "\tcase %d:\n\t\tcopyRows%d%s(dst, src, dstStride, srcStride, rows, cols)\n", vecs, vecs, s.name)
		}
		o.line("func copyRows%s(dst, src *float32, dstStride, srcStride, rows, cols int) {", s.name)
		o.line("\tswitch (cols + %d) / %d {", s.lanes-1, s.lanes)
		o.WriteString(copies.String())
		o.line("\tdefault:\n\t\tpanic(\"kernel: no copy of that width\")\n\t}\n}\n")
	}
	fewGo(o)
	return strings.TrimRight(o.String(), "\n") + "\n"
}

// tilesOf writes the declarations of one set's tiles and the choice among them.
func tilesOf(o *out, s set) {
	var cases strings.Builder
	for rows := 1; rows <= tileRows; rows++ {
		for vecs := 1; vecs <= tileVectors(s); vecs++ {
			o.line("//go:noescape\nfunc tile%dx%d%s(t *tile)\n", rows, vecs, s.name)
			fmt.Fprintf(&cases, "\tcase %d<<3 | %d:\n\t\ttile%dx%d%s(t)\n", rows, vecs, rows, vecs, s.name)
		}
	}
	o.line("func tile%s(t *tile) {", s.name)
	o.line("\tswitch t.rows<<3 | (t.cols+%d)/%d {", s.lanes-1, s.lanes)
	o.WriteString(cases.String())
	o.line("\tdefault:\n\t\tpanic(\"kernel: no tile of that size\")\n\t}\n}\n")
}
