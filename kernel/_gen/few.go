package main

import (
	"fmt"
	"strings"
)

// Products with few rows of A read B once and wait for memory, so these routines read it as it lies and in long runs.

// accStride is the distance in bytes between the rows of sums of a sweep; matmul.go has it as sweepStride.
const accStride = 4096 + 64

// sweepDepth is how many rows of B a sweep adds at a time: as many as there are registers for elements of A.
func sweepDepth(s set, rows int) int {
	if s.lanes == 16 {
		return []int{0, 8, 8, 4, 4}[rows]
	}
	return []int{0, 8, 4, 2, 2}[rows]
}

const maxSweep = 4

// sweep adds depth rows of B at a time, times elements of A, to rows of sums, for t.k/depth groups of rows.
func sweep(o *out, s set, rows, depth int) {
	acc := func(i int) string { return s.r(i) }
	b, mask := s.r(4), s.r(5)
	a := func(i, l int) string { return s.r(6 + i*depth + l) }
	if s.lanes == 16 {
		a = func(i, l int) string { return s.r(16 + i*depth + l) }
	}
	o.line("// func sweep%dx%d%s(t *tile)", rows, depth, s.name)
	o.line("TEXT ·sweep%dx%d%s(SB), NOSPLIT, $0-8", rows, depth, s.name)
	o.op("MOVQ t+0(FP), DI")
	o.op("MOVQ %d(DI), AX", tileA)
	o.op("MOVQ %d(DI), BX", tileB)
	o.op("MOVQ %d(DI), R8", tileARow)
	o.op("MOVQ %d(DI), R12", tileACol)
	o.op("MOVQ %d(DI), R10", tileBRow)
	for _, reg := range []string{"R8", "R12", "R10"} {
		o.op("SHLQ $2, %s", reg)
	}
	o.op("MOVQ %d(DI), CX", tileCols)
	o.op("ANDQ $%d, CX", s.lanes-1)
	if s.lanes == 16 {
		o.op("MOVQ $1, DX")
		o.op("SHLQ CX, DX")
		o.op("DECQ DX")
		o.op("KMOVW DX, K1")
	} else {
		o.op("NEGQ CX")
		o.op("LEAQ lanes<>+32(SB), DX")
		o.op("VMOVUPS (DX)(CX*4), %s", mask)
	}
	o.op("MOVQ %d(DI), R13", tileK)
	o.line("group:")
	for l := range depth {
		o.op("LEAQ (AX)(R8*2), R9")
		o.op("ADDQ R8, R9")
		for i := range rows {
			o.op("VBROADCASTSS %s, %s", []string{"(AX)", "(AX)(R8*1)", "(AX)(R8*2)", "(R9)"}[i], a(i, l))
		}
		o.op("ADDQ R12, AX")
	}
	o.op("MOVQ %d(DI), DX", tileC)
	o.op("MOVQ %d(DI), CX", tileCols)
	o.op("MOVQ BX, SI")
	o.op("LEAQ (SI)(R10*2), R11")
	o.op("ADDQ R10, R11")
	o.op("LEAQ (R11)(R10*2), R9")
	o.op("ADDQ R10, R9")
	row := func(l int) string {
		return "(" + []string{"SI", "R11", "R9"}[l/3] + ")" + []string{"", "(R10*1)", "(R10*2)"}[l%3]
	}
	block := func(last bool) {
		for i := range rows {
			o.op("VMOVUPS %d(DX), %s", i*accStride, acc(i))
		}
		for l := range depth {
			switch {
			case last && s.lanes == 16:
				o.op("VMOVUPS.Z %s, K1, %s", row(l), b)
			case last:
				o.op("VMASKMOVPS %s, %s, %s", row(l), mask, b)
			case rows == 1:
				o.op("VFMADD231PS %s, %s, %s", row(l), a(0, l), acc(0))
				continue
			default:
				o.op("VMOVUPS %s, %s", row(l), b)
			}
			for i := range rows {
				o.op("VFMADD231PS %s, %s, %s", b, a(i, l), acc(i))
			}
		}
		for i := range rows {
			o.op("VMOVUPS %s, %d(DX)", acc(i), i*accStride)
		}
	}
	o.op("SUBQ $%d, CX", s.lanes)
	o.op("JL rest")
	o.line("block:")
	block(false)
	for _, reg := range []string{"SI", "R11", "R9", "DX"} {
		o.op("ADDQ $%d, %s", s.bytes(), reg)
	}
	o.op("SUBQ $%d, CX", s.lanes)
	o.op("JGE block")
	o.line("rest:")
	o.op("ADDQ $%d, CX", s.lanes)
	o.op("JEQ next")
	block(true)
	o.line("next:")
	for range depth {
		o.op("ADDQ R10, BX")
	}
	o.op("SUBQ $%d, R13", depth)
	o.op("JNE group")
	o.op("VZEROUPPER")
	o.op("RET\n")
}

// maxTurned is the most rows of A for which turned keeps sums.
const maxTurned = 6

// turned multiplies rows of A with 16 columns of a B that is stored transposed: blocks of 16 x 16 are turned within
// registers, for the same sums in the same order as a tile has. t.k is a multiple of 16, A has t.aCol 1.
func turned(o *out, rows int) {
	s := avx512
	acc := func(i int) string { return s.r(20 + i) }
	o.line("// func turned%d%s(t *tile)", rows, s.name)
	o.line("TEXT ·turned%d%s(SB), NOSPLIT, $0-8", rows, s.name)
	o.op("MOVQ t+0(FP), DI")
	o.op("MOVQ %d(DI), SI", tileB)
	o.op("MOVQ %d(DI), R9", tileBRow)
	o.op("MOVQ %d(DI), R11", tileA)
	o.op("MOVQ %d(DI), R8", tileARow)
	o.op("MOVQ %d(DI), CX", tileK)
	o.op("SHLQ $2, R8")
	o.op("SHLQ $2, R9")
	o.op("LEAQ (R9)(R9*2), R10")
	base := []string{"SI", "AX", "BX", "DX"}
	for i := 1; i < len(base); i++ {
		o.op("LEAQ (%s)(R9*4), %s", base[i-1], base[i])
	}
	o.op("LEAQ (R11)(R8*2), R12")
	o.op("ADDQ R8, R12")
	for i := range rows {
		o.op("VXORPS %[1]s, %[1]s, %[1]s", acc(i))
	}
	o.line("block:")
	for g, b := range base {
		for i, at := range []string{"", "(R9*1)", "(R9*2)", "(R10*1)"} {
			o.op("VMOVUPS (%s)%s, %s", b, at, s.r(4*g+i))
			o.op("PREFETCHT0 512(%s)%s", b, at)
		}
	}
	turn16(o, s, 16, 16, 16, 16)
	for l := range 16 {
		for i := range rows {
			at := "(" + []string{"R11", "R12"}[i/3] + ")" + []string{"", "(R8*1)", "(R8*2)"}[i%3]
			o.op("VFMADD231PS.BCST %d%s, %s, %s", 4*l, at, s.r(l), acc(i))
		}
	}
	for _, b := range append(base, "R11", "R12") {
		o.op("ADDQ $64, %s", b)
	}
	o.op("SUBQ $16, CX")
	o.op("JNE block")
	o.op("MOVQ %d(DI), DX", tileC)
	o.op("MOVQ %d(DI), R8", tileCRow)
	o.op("SHLQ $2, R8")
	o.op("LEAQ (DX)(R8*2), R12")
	o.op("ADDQ R8, R12")
	c := func(i int) string {
		return "(" + []string{"DX", "R12"}[i/3] + ")" + []string{"", "(R8*1)", "(R8*2)"}[i%3]
	}
	o.op("CMPB %d(DI), $0", tileAdd)
	o.op("JEQ store")
	for i := range rows {
		o.op("VADDPS %s, %s, %s", c(i), acc(i), acc(i))
	}
	o.line("store:")
	for i := range rows {
		o.op("VMOVUPS %s, %s", acc(i), c(i))
	}
	o.op("VZEROUPPER")
	o.op("RET\n")
}

// turn16 transposes registers 0 to 15, using four registers from each of temps, one group of four rows after another;
// temps may name the same ones.
func turn16(o *out, s set, temps ...int) {
	r := s.r
	for g, t := range temps {
		four(o, r(4*g), r(4*g+1), r(4*g+2), r(4*g+3), r(t), r(t+1), r(t+2), r(t+3))
	}
	// Register 4g+c holds column 4L+c of rows 4g to 4g+3 in lane L; turn lanes into registers.
	shuffle := func(imm, a, b, d int) { o.op("VSHUFF32X4 $%#x, %s, %s, %s", imm, r(b), r(a), r(d)) }
	for c, t := range temps {
		shuffle(0x88, c, 4+c, t)
		shuffle(0x88, 8+c, 12+c, t+1)
		shuffle(0xdd, c, 4+c, t+2)
		shuffle(0xdd, 8+c, 12+c, t+3)
		shuffle(0x88, t, t+1, c)
		shuffle(0xdd, t, t+1, 8+c)
		shuffle(0x88, t+2, t+3, 4+c)
		shuffle(0xdd, t+2, t+3, 12+c)
	}
}

// four transposes within lanes: a to d hold rows and then columns; e to h are used up.
func four(o *out, a, b, c, d, e, f, g, h string) {
	o.op("VUNPCKLPS %s, %s, %s", b, a, e)
	o.op("VUNPCKHPS %s, %s, %s", b, a, f)
	o.op("VUNPCKLPS %s, %s, %s", d, c, g)
	o.op("VUNPCKHPS %s, %s, %s", d, c, h)
	o.op("VUNPCKLPD %s, %s, %s", g, e, a)
	o.op("VUNPCKHPD %s, %s, %s", g, e, b)
	o.op("VUNPCKLPD %s, %s, %s", h, f, c)
	o.op("VUNPCKHPD %s, %s, %s", h, f, d)
}

func few(o *out) {
	for _, s := range []set{avx2, avx512} {
		for rows := 1; rows <= maxSweep; rows++ {
			sweep(o, s, rows, sweepDepth(s, rows))
			sweep(o, s, rows, 1)
		}
	}
	for rows := 1; rows <= maxTurned; rows++ {
		turned(o, rows)
	}
}

func fewGo(o *out) {
	for _, s := range []set{avx2, avx512} {
		var cases strings.Builder
		for rows := 1; rows <= maxSweep; rows++ {
			depth := sweepDepth(s, rows)
			o.line("//go:noescape\nfunc sweep%dx%d%s(t *tile)\n", rows, depth, s.name)
			o.line("//go:noescape\nfunc sweep%dx1%s(t *tile)\n", rows, s.name)
			fmt.Fprintf(&cases, "\tcase %d:\n\t\tsweepGroups(t, %d, sweep%dx%d%s, sweep%dx1%s)\n",
				rows, depth, rows, depth, s.name, rows, s.name)
		}
		o.line("func sweep%s(t *tile) {\n\tswitch t.rows {", s.name)
		o.WriteString(cases.String())
		o.line("\tdefault:\n\t\tpanic(\"kernel: no sweep of that size\")\n\t}\n}\n")
	}
	o.line("var turnedAVX512 = [...]func(t *tile){")
	for rows := 1; rows <= maxTurned; rows++ {
		o.line("\t%d: turned%dAVX512,", rows, rows)
	}
	o.line("}\n")
	for rows := 1; rows <= maxTurned; rows++ {
		o.line("//go:noescape\nfunc turned%dAVX512(t *tile)\n", rows)
	}
}
