package main

import (
	"fmt"
	"strings"
)

// Go's assembler does not know the instructions of AVX512_BF16, so they stand as bytes. All operands are whole
// registers, Z0 to Z31: 62 P0 P1 P2 opcode ModRM, the register numbers spread over the prefix as in section 2.7 of
// Intel's manual, volume 2.

const (
	prefixF3 = 2
	prefixF2 = 3
)

// evex writes an instruction of map 0F38 on 512 bits, its operands in Intel's order.
func (o *out) evex(prefix, opcode int, dst, x, y string, what string) {
	number := func(r string) (n int) {
		fmt.Sscanf(strings.TrimLeft(r, "XYZ"), "%d", &n)
		return n
	}
	d, v, m := number(dst), number(x), number(y)
	bit := func(n, i int) int { return n >> i & 1 }
	p0 := (1-bit(d, 3))<<7 | (1-bit(m, 4))<<6 | (1-bit(m, 3))<<5 | (1-bit(d, 4))<<4 | 2
	p1 := (15-v&15)<<3 | 1<<2 | prefix
	p2 := 2<<5 | (1-bit(v, 4))<<3
	bytes := []int{0x62, p0, p1, p2, opcode, 3<<6 | (d&7)<<3 | m&7}
	var text []string
	for _, b := range bytes {
		text = append(text, fmt.Sprintf("BYTE $%#02x", b))
	}
	o.op("%s // %s", strings.Join(text, "; "), what)
}

// dotPairs adds to each lane of acc the products of the two bf16 in the lanes of x and y, the upper one first, each
// rounded once: VDPBF16PS.
func (o *out) dotPairs(x, y, acc string) {
	o.evex(prefixF3, 0x52, acc, x, y, fmt.Sprintf("VDPBF16PS %s, %s, %s", y, x, acc))
}

// roundTwo rounds low and high to bf16 in the lower and the upper half of dst: VCVTNE2PS2BF16.
func (o *out) roundTwo(low, high, dst string) {
	o.evex(prefixF2, 0x72, dst, high, low, fmt.Sprintf("VCVTNE2PS2BF16 %s, %s, %s", low, high, dst))
}

// multiply adds the products of x and y to acc.
func (s set) multiply(o *out, x, y, acc string) {
	if s == bf16 {
		o.dotPairs(x, y, acc)
		return
	}
	o.op("VFMADD231PS %s, %s, %s", x, y, acc)
}

func bf16Text() string {
	o := new(out)
	o.WriteString(asm)
	o.line("// Puts the halves of a register side by side: 0, 16, 1, 17 and so on, in words.")
	for i := range 16 {
		o.line("DATA interleave<>+%d(SB)/4, $%#x", 4*i, i|(16+i)<<16)
	}
	o.line("GLOBL interleave<>(SB), RODATA|NOPTR, $64\n")
	for rows := 1; rows <= tileRows; rows++ {
		for vecs := 1; vecs <= tileVectors(bf16); vecs++ {
			tile(o, bf16, rows, vecs)
		}
	}
	roundRow(o)
	widenRow(o)
	pairRows(o, false)
	pairRows(o, true)
	return o.String()
}

// lastMask sets as many bits of mask as reg says.
func lastMask(o *out, reg, temp, mask string) {
	o.op("MOVQ $-1, %s", temp)
	o.op("SHLQ %s, %s", reg, temp)
	o.op("NOTQ %s", temp)
	o.op("KMOVD %s, %s", temp, mask)
}

// roundRow rounds n float32, any number of them.
func roundRow(o *out) {
	o.line("// func roundRowBF16(dst *uint16, src *float32, n int)")
	o.line("TEXT ·roundRowBF16(SB), NOSPLIT, $0-24")
	o.op("MOVQ dst+0(FP), DI")
	o.op("MOVQ src+8(FP), SI")
	o.op("MOVQ n+16(FP), CX")
	o.op("SUBQ $32, CX")
	o.op("JL rest")
	o.line("loop:")
	o.op("VMOVUPS (SI), Z0")
	o.op("VMOVUPS 64(SI), Z1")
	o.roundTwo("Z0", "Z1", "Z2")
	o.op("VMOVUPS Z2, (DI)")
	o.op("ADDQ $128, SI")
	o.op("ADDQ $64, DI")
	o.op("SUBQ $32, CX")
	o.op("JGE loop")
	o.line("rest:")
	o.op("ADDQ $32, CX")
	o.op("JEQ done")
	lastMask(o, "CX", "AX", "K1")
	o.op("KSHIFTRD $16, K1, K2")
	o.op("VMOVUPS.Z (SI), K1, Z0")
	o.op("VMOVUPS.Z 64(SI), K2, Z1")
	o.roundTwo("Z0", "Z1", "Z2")
	o.op("VMOVDQU16 Z2, K1, (DI)")
	o.line("done:")
	o.op("VZEROUPPER")
	o.op("RET\n")
}

// widenRow makes float32 of n bf16.
func widenRow(o *out) {
	o.line("// func widenRowBF16(dst *float32, src *uint16, n int)")
	o.line("TEXT ·widenRowBF16(SB), NOSPLIT, $0-24")
	o.op("MOVQ dst+0(FP), DI")
	o.op("MOVQ src+8(FP), SI")
	o.op("MOVQ n+16(FP), CX")
	o.op("SUBQ $16, CX")
	o.op("JL rest")
	o.line("loop:")
	o.op("VPMOVZXWD (SI), Z0")
	o.op("VPSLLD $16, Z0, Z0")
	o.op("VMOVUPS Z0, (DI)")
	o.op("ADDQ $32, SI")
	o.op("ADDQ $64, DI")
	o.op("SUBQ $16, CX")
	o.op("JGE loop")
	o.line("rest:")
	o.op("ADDQ $16, CX")
	o.op("JEQ done")
	lastMask(o, "CX", "AX", "K1")
	o.op("VMOVDQU16.Z (SI), K1, Y0")
	o.op("VPMOVZXWD Y0, Z0")
	o.op("VPSLLD $16, Z0, Z0")
	o.op("VMOVUPS Z0, K1, (DI)")
	o.line("done:")
	o.op("VZEROUPPER")
	o.op("RET\n")
}

// pairRows brings two rows of src side by side, element by element: a row of dst is pairs, the element of the upper row
// low. Rows of dst are filled up to whole registers with zeros. half is set when src is bf16 already.
func pairRows(o *out, half bool) {
	name, kind, size := "pairRowsBF16", "float32", 4
	if half {
		name, kind, size = "pairHalvesBF16", "uint16", 2
	}
	o.line("// func %s(dst *float32, src *%s, dstStride, srcStride, pairs, cols int)", name, kind)
	o.line("TEXT ·%s(SB), NOSPLIT, $0-48", name)
	o.op("MOVQ dst+0(FP), DI")
	o.op("MOVQ src+8(FP), SI")
	o.op("MOVQ dstStride+16(FP), R8")
	o.op("MOVQ srcStride+24(FP), R9")
	o.op("MOVQ pairs+32(FP), DX")
	o.op("MOVQ cols+40(FP), R10")
	o.op("SHLQ $2, R8")
	o.op("SHLQ $%d, R9", size/2)
	o.op("LEAQ (R9)(R9*8), R11")
	o.op("VMOVUPS interleave<>(SB), Z3")
	o.op("MOVQ R10, CX")
	o.op("ANDQ $15, CX")
	lastMask(o, "CX", "AX", "K1")
	o.op("SUBQ $16, R10")
	body := func(masked bool) {
		z, k := "", ""
		if masked {
			z, k = ".Z", ", K1"
		}
		if half {
			if masked {
				o.op("VMOVDQU16.Z (AX), K1, Y0")
				o.op("VMOVDQU16.Z (AX)(R9*1), K1, Y1")
				o.op("VPMOVZXWD Y0, Z0")
				o.op("VPMOVZXWD Y1, Z1")
			} else {
				o.op("VPMOVZXWD (AX), Z0")
				o.op("VPMOVZXWD (AX)(R9*1), Z1")
			}
			o.op("VPSLLD $16, Z1, Z1")
			o.op("VPORD Z1, Z0, Z2")
		} else {
			o.op("VMOVUPS%s (AX)%s, Z0", z, k)
			o.op("VMOVUPS%s (AX)(R9*1)%s, Z1", z, k)
			o.roundTwo("Z0", "Z1", "Z2")
			o.op("VPERMW Z2, Z3, Z2")
		}
		o.op("VMOVUPS Z2, (BX)")
		o.op("PREFETCHT0 (AX)(R9*8)")
		o.op("PREFETCHT0 (AX)(R11*1)")
	}
	o.line("row:")
	o.op("MOVQ SI, AX")
	o.op("MOVQ DI, BX")
	o.op("MOVQ R10, CX")
	o.op("CMPQ CX, $0")
	o.op("JL rest")
	o.line("loop:")
	body(false)
	o.op("ADDQ $%d, AX", 16*size)
	o.op("ADDQ $64, BX")
	o.op("SUBQ $16, CX")
	o.op("JGE loop")
	o.line("rest:")
	o.op("ADDQ $16, CX")
	o.op("JEQ next")
	body(true)
	o.line("next:")
	o.op("LEAQ (SI)(R9*2), SI")
	o.op("ADDQ R8, DI")
	o.op("DECQ DX")
	o.op("JNE row")
	o.op("VZEROUPPER")
	o.op("RET\n")
}

func bf16Go() string {
	o := new(out)
	o.WriteString(header + "package kernel\n\n")
	tilesOf(o, bf16)
	o.line("//go:noescape\nfunc roundRowBF16(dst *uint16, src *float32, n int)\n")
	o.line("//go:noescape\nfunc widenRowBF16(dst *float32, src *uint16, n int)\n")
	o.line("//go:noescape\nfunc pairRowsBF16(dst *float32, src *float32, dstStride, srcStride, pairs, cols int)\n")
	o.line("//go:noescape\nfunc pairHalvesBF16(dst *float32, src *uint16, dstStride, srcStride, pairs, cols int)")
	return strings.TrimRight(o.String(), "\n") + "\n"
}
