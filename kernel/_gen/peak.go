package main

// Loops that touch no memory and have no chain long enough to wait for, to measure what the processor can do at most.

// peaks are the accumulators of a loop: enough that each waits for nothing, and two registers are left for operands.
func peaks(s set) int {
	if s.lanes == 16 {
		return 24
	}
	return 12
}

func peakText() string {
	o := new(out)
	o.WriteString(asm)
	for _, s := range []set{avx2, avx512} {
		x, y := s.r(peaks(s)), s.r(peaks(s)+1)
		peak(o, s, "peakF32"+s.name, func(acc string) { o.op("VFMADD231PS %s, %s, %s", x, y, acc) })
	}
	peak(o, avx512, "peakBF16AVX512", func(acc string) { o.dotPairs("Z24", "Z25", acc) })
	peak(o, avx512, "peakInt8AVX512", func(acc string) { o.op("VPDPBUSD Z24, Z25, %s", acc) })
	for _, s := range []set{avx2, avx512} {
		readAll(o, s)
	}
	return o.String()
}

// peak writes a loop of n rounds, one instruction for each accumulator. Everything is zero.
func peak(o *out, s set, name string, instruction func(acc string)) {
	o.line("// func %s(n int)", name)
	o.line("TEXT ·%s(SB), NOSPLIT, $0-8", name)
	o.op("MOVQ n+0(FP), CX")
	for i := range peaks(s) + 2 {
		o.op("VXORPS %[1]s, %[1]s, %[1]s", s.r(i))
	}
	o.op("TESTQ CX, CX")
	o.op("JEQ done")
	o.line("loop:")
	for i := range peaks(s) {
		instruction(s.r(i))
	}
	o.op("DECQ CX")
	o.op("JNE loop")
	o.line("done:")
	o.op("VZEROUPPER")
	o.op("RET\n")
}

// readAll writes a routine that loads every register of a stretch of memory, n of 512 bytes.
func readAll(o *out, s set) {
	o.line("// func readAll%s(p *byte, n int)", s.name)
	o.line("TEXT ·readAll%s(SB), NOSPLIT, $0-16", s.name)
	o.op("MOVQ p+0(FP), AX")
	o.op("MOVQ n+8(FP), CX")
	o.op("TESTQ CX, CX")
	o.op("JEQ done")
	o.line("loop:")
	for i := range 512 / s.bytes() {
		o.op("VMOVUPS %d(AX), %s", i*s.bytes(), s.r(i%8))
	}
	o.op("ADDQ $512, AX")
	o.op("DECQ CX")
	o.op("JNE loop")
	o.line("done:")
	o.op("VZEROUPPER")
	o.op("RET\n")
}

func peakGo() string {
	o := new(out)
	o.WriteString(header + "package kernel\n\n")
	for _, f := range []string{"peakF32AVX2(n int)", "peakF32AVX512(n int)", "peakBF16AVX512(n int)", "peakInt8AVX512(n int)", "readAllAVX2(p *byte, n int)", "readAllAVX512(p *byte, n int)"} {
		o.line("//go:noescape\nfunc %s\n", f)
	}
	o.Truncate(o.Len() - 1)
	return o.String()
}
