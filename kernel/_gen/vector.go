package main

import (
	"fmt"
	"strings"
)

// The routines on vectors are written in blocks of 16 elements. A block fills one register of AVX-512 and two of AVX2,
// so that both sets do the same operations on the same lanes, and sums come out the same.

// v is a block in registers, 0 to 6; AVX2 keeps the mask of the last block in the two registers of block 7.
type v int

// single is one register, the first of block i, that serves both halves of a block.
type single int

// constant is the name of a constant in memory.
type constant string

var constants = []struct {
	name constant
	bits string
	what string
}{
	{"expLow", "0xc2b00000", "-88"},
	{"expHigh", "0x42b0c0a5", "88.37626"},
	{"log2e", "0x3fb8aa3b", "1/ln 2"},
	{"roundBig", "0x4b400000", "1.5 * 2^23"},
	{"ln2High", "0x3f318000", "0.693359375"},
	{"ln2Low", "0xb95e8083", "-2.12194440e-4"},
	{"expP0", "0x39506967", "1.9875691500e-4"},
	{"expP1", "0x3ab743ce", "1.3981999507e-3"},
	{"expP2", "0x3c088908", "8.3334519073e-3"},
	{"expP3", "0x3d2aa9c1", "4.1665795894e-2"},
	{"expP4", "0x3e2aaaaa", "1.6666665459e-1"},
	{"expP5", "0x3f000000", "5.0000001201e-1"},
	{"one", "0x3f800000", "1"},
	{"sign", "0x80000000", "the sign bit"},
	{"negInf", "0xff800000", "-Inf"},
}

// A routine is one function in the making.
type routine struct {
	*out
	set
	name   string
	ptr    map[string]string // registers of the slices
	offset map[string]int    // of the arguments
	ret    int
	kept   map[constant]string // constants that have a register
	block  int                 // of the unrolled ones
	tail   bool                // the last, partial block
}

var pointers = []string{"DI", "SI", "AX", "BX", "DX", "R8", "R9"}

// begin writes the head of a function. Arguments are "x []", "a float32" or "u *adamWStep"; the first slice gives the
// length.
func begin(o *out, s set, name, result string, args ...string) *routine {
	r := &routine{out: o, set: s, name: name + s.name, ptr: map[string]string{}, offset: map[string]int{}}
	at, length := 0, ""
	var moves []string
	for _, a := range args {
		arg, kind, _ := strings.Cut(a, " ")
		if kind != "float32" {
			at = (at + 7) &^ 7
		}
		r.offset[arg] = at
		switch kind {
		case "[]":
			reg := pointers[len(r.ptr)]
			r.ptr[arg] = reg
			moves = append(moves, fmt.Sprintf("MOVQ %s_base+%d(FP), %s", arg, at, reg))
			if length == "" {
				length = fmt.Sprintf("MOVQ %s_len+%d(FP), R11", arg, at+8)
			}
			at += 24
		case "float32":
			at += 4
		default:
			moves = append(moves, fmt.Sprintf("MOVQ %s+%d(FP), R10", arg, at))
			at += 8
		}
	}
	if result != "" {
		at = (at + 7) &^ 7
	}
	r.ret = at
	switch result {
	case "float32":
		at += 4
	case "float64":
		at += 8
	}
	o.line("// func %s", declaration(s, name, result, args))
	o.line("TEXT ·%s(SB), NOSPLIT, $0-%d", r.name, at)
	for _, m := range append(moves, length, "XORQ R12, R12") {
		o.op("%s", m)
	}
	return r
}

func declaration(s set, name, result string, args []string) string {
	var list []string
	for _, a := range args {
		if arg, kind, _ := strings.Cut(a, " "); kind == "[]" {
			a = arg + " []float32"
		}
		list = append(list, a)
	}
	return strings.TrimSpace(fmt.Sprintf("%s%s(%s) %s", name, s.name, strings.Join(list, ", "), result))
}

// parts is the number of registers of a block.
func (r *routine) parts() int { return 16 / r.lanes }

// arg names an operand of half p.
func (r *routine) arg(x any, p int) string {
	switch x := x.(type) {
	case v:
		return r.r(int(x)*r.parts() + p)
	case single:
		return r.r(int(x) * r.parts())
	case constant:
		if reg, ok := r.kept[x]; ok {
			return reg
		}
		return string(x) + "<>(SB)"
	}
	return fmt.Sprint(x)
}

// do writes one instruction for every half of a block; operands in Go's order.
func (r *routine) do(name string, operands ...any) {
	for p := range r.parts() {
		var list []string
		for _, x := range operands {
			list = append(list, r.arg(x, p))
		}
		r.op("%s %s", name, strings.Join(list, ", "))
	}
}

func (r *routine) mem(slice string, p int) string {
	return fmt.Sprintf("%d(%s)(R12*1)", 64*r.block+r.bytes()*p, r.ptr[slice])
}

// load reads the block of a slice; lanes beyond its end are 0.
func (r *routine) load(slice string, d v) {
	for p := range r.parts() {
		switch reg := r.arg(d, p); {
		case !r.tail:
			r.op("VMOVUPS %s, %s", r.mem(slice, p), reg)
		case r.lanes == 16:
			r.op("VMOVUPS.Z %s, K1, %s", r.mem(slice, p), reg)
		default:
			r.op("VMASKMOVPS %s, %s, %s", r.mem(slice, p), r.arg(v(7), p), reg)
		}
	}
}

func (r *routine) store(x v, slice string) {
	for p := range r.parts() {
		switch reg := r.arg(x, p); {
		case !r.tail:
			r.op("VMOVUPS %s, %s", reg, r.mem(slice, p))
		case r.lanes == 16:
			r.op("VMOVUPS %s, K1, %s", reg, r.mem(slice, p))
		default:
			r.op("VMASKMOVPS %s, %s, %s", reg, r.arg(v(7), p), r.mem(slice, p))
		}
	}
}

// keep puts 0 into the lanes of x that lie beyond the end.
func (r *routine) keep(x v) {
	switch {
	case !r.tail:
	case r.lanes == 16:
		r.op("VMOVUPS.Z %s, K1, %s", r.arg(x, 0), r.arg(x, 0))
	default:
		r.do("VANDPS", v(7), x, x)
	}
}

// zero clears a block.
func (r *routine) zero(x v) { r.do("VXORPS", x, x, x) }

// scalar spreads a float32 argument over a single.
func (r *routine) scalar(name string, d single) {
	r.op("VBROADCASTSS %s+%d(FP), %s", name, r.offset[name], r.arg(d, 0))
}

// field spreads a field of the struct in R10 over a single.
func (r *routine) field(at int, d single) { r.op("VBROADCASTSS %d(R10), %s", 4*at, r.arg(d, 0)) }

// loops writes body for all blocks: groups of unroll blocks first, then one by one, then the partial one. body is told
// which block of a group it is.
func (r *routine) loops(unroll int, body func(i int)) {
	if unroll > 1 {
		r.op("SUBQ $%d, R11", 16*unroll)
		r.op("JL few")
		r.line("many:")
		for i := range unroll {
			r.block = i
			body(i)
		}
		r.block = 0
		r.op("ADDQ $%d, R12", 64*unroll)
		r.op("SUBQ $%d, R11", 16*unroll)
		r.op("JGE many")
		r.line("few:")
		r.op("ADDQ $%d, R11", 16*unroll)
	}
	r.op("SUBQ $16, R11")
	r.op("JL last")
	r.line("loop:")
	body(0)
	r.op("ADDQ $64, R12")
	r.op("SUBQ $16, R11")
	r.op("JGE loop")
	r.line("last:")
	r.op("ADDQ $16, R11")
	r.op("JEQ done")
	if r.lanes == 16 {
		r.op("MOVQ R11, CX")
		r.op("MOVQ $-1, R13")
		r.op("SHLQ CX, R13")
		r.op("NOTQ R13")
		r.op("KMOVW R13, K1")
	} else {
		r.op("NEGQ R11")
		r.op("LEAQ lanes16<>+64(SB), R13")
		for p := range 2 {
			r.op("VMOVUPS %d(R13)(R11*4), %s", 32*p, r.arg(v(7), p))
		}
	}
	r.tail = true
	body(0)
	r.tail = false
	r.line("done:")
}

// end writes the return.
func (r *routine) end() {
	r.op("VZEROUPPER")
	r.op("RET\n")
}

// fold joins the 16 lanes of block x with an instruction, halves onto halves, and returns the value.
func (r *routine) fold(x v, name string) {
	if r.lanes == 16 {
		r.op("VEXTRACTF64X4 $1, %s, Y14", r.arg(x, 0))
		r.op("%s Y14, Y%d, Y14", name, x)
	} else {
		r.op("%s %s, %s, Y14", name, r.arg(x, 1), r.arg(x, 0))
	}
	r.op("VEXTRACTF128 $1, Y14, X15")
	r.op("%s X15, X14, X14", name)
	r.op("VPERMILPD $1, X14, X15")
	r.op("%s X15, X14, X14", name)
	r.op("VMOVSHDUP X14, X15")
	r.op("%s X15, X14, X14", name)
	r.op("VMOVSS X14, ret+%d(FP)", r.ret)
	r.end()
}

// preload keeps the constants of exp in registers that only AVX-512 has.
func (r *routine) preload() {
	if r.lanes == 8 {
		return
	}
	r.kept = map[constant]string{}
	for i, c := range constants {
		if c.name == "negInf" {
			continue
		}
		reg := r.r(16 + i)
		r.op("VMOVUPS %s, %s", r.arg(c.name, 0), reg)
		r.kept[c.name] = reg
	}
}

// exp replaces x by its exponential; t and y are used up. The way is that of softmax_generic.go.
func (r *routine) exp(x, t, y v) {
	// The operand that may be NaN stands last in Intel's order, so that it comes through.
	low, high := any(constant("expLow")), any(constant("expHigh"))
	if r.kept == nil {
		r.do("VMOVUPS", low, t)
		r.do("VMOVUPS", high, y)
		low, high = t, y
	}
	r.do("VMAXPS", x, low, x)
	r.do("VMINPS", x, high, x)
	r.do("VMOVUPS", constant("log2e"), t)
	r.do("VFMADD213PS", constant("roundBig"), x, t)
	r.do("VSUBPS", constant("roundBig"), t, y)
	r.do("VFNMADD231PS", constant("ln2High"), y, x)
	r.do("VFNMADD231PS", constant("ln2Low"), y, x)
	r.do("VMOVUPS", constant("expP0"), y)
	for i := 1; i <= 5; i++ {
		r.do("VFMADD213PS", constant(fmt.Sprintf("expP%d", i)), x, y)
	}
	r.do("VMULPS", x, y, y)
	r.do("VFMADD213PS", x, x, y) // y*r + r, y being P(r)*r
	r.do("VADDPS", constant("one"), y, y)
	r.do("VPSLLD", "$23", t, t)
	r.do("VPADDD", constant("one"), t, t) // the bits of 1 are those of exponent 0
	r.do("VMULPS", t, y, x)
}

func vectorText() string {
	o := new(out)
	o.WriteString(asm)
	o.line("// 16 lanes kept, then 16 left out.")
	for i := range 32 {
		bits := "0"
		if i < 16 {
			bits = "0xffffffff"
		}
		o.line("DATA lanes16<>+%d(SB)/4, $%s", 4*i, bits)
	}
	o.line("GLOBL lanes16<>(SB), RODATA|NOPTR, $128\n")
	for _, c := range constants {
		o.line("// %s", c.what)
		for i := range 16 {
			o.line("DATA %s<>+%d(SB)/4, $%s", c.name, 4*i, c.bits)
		}
		o.line("GLOBL %s<>(SB), RODATA|NOPTR, $64\n", c.name)
	}
	for _, s := range []set{avx2, avx512} {
		for _, f := range vectorRoutines {
			f.write(begin(o, s, f.name, f.result, f.args...))
		}
	}
	return o.String()
}

func vectorGo() string {
	o := new(out)
	o.WriteString(header + "package kernel\n\n")
	for _, s := range []set{avx2, avx512} {
		for _, f := range vectorRoutines {
			o.line("//go:noescape\nfunc %s\n", declaration(s, f.name, f.result, f.args))
		}
		o.line("// vectors%s puts the routines in place of the plain ones.", s.name)
		o.line("func vectors%s(l *level) {", s.name)
		for _, f := range vectorRoutines {
			o.line("\tl.%s = %s%s", f.name, f.name, s.name)
		}
		o.line("}\n")
	}
	return strings.TrimRight(o.String(), "\n") + "\n"
}

var vectorRoutines = []struct {
	name, result string
	args         []string
	write        func(r *routine)
}{
	{"dot", "float32", []string{"x []", "y []"}, func(r *routine) {
		sums(r, func(acc v) {
			r.load("x", 0)
			r.load("y", 1)
			r.do("VFMADD231PS", v(0), v(1), acc)
		})
	}},
	{"dot3", "float32", []string{"x []", "y []", "z []"}, func(r *routine) {
		sums(r, func(acc v) {
			r.load("x", 0)
			r.load("y", 1)
			r.load("z", 2)
			r.do("VMULPS", v(0), v(1), v(1))
			r.do("VFMADD231PS", v(1), v(2), acc)
		})
	}},
	{"axpy", "", []string{"dst []", "a float32", "x []"}, func(r *routine) {
		r.scalar("a", 6)
		r.loops(2, func(int) {
			r.load("dst", 0)
			r.load("x", 1)
			r.do("VFMADD231PS", single(6), v(1), v(0))
			r.store(0, "dst")
		})
		r.end()
	}},
	{"add", "", []string{"dst []", "x []"}, func(r *routine) {
		r.loops(2, func(int) {
			r.load("dst", 0)
			r.load("x", 1)
			r.do("VADDPS", v(1), v(0), v(0))
			r.store(0, "dst")
		})
		r.end()
	}},
	{"scale", "", []string{"dst []", "a float32"}, func(r *routine) {
		r.scalar("a", 6)
		r.loops(2, func(int) {
			r.load("dst", 0)
			r.do("VMULPS", single(6), v(0), v(0))
			r.store(0, "dst")
		})
		r.end()
	}},
	{"sumSquares", "float64", []string{"x []"}, sumSquares},
	{"maxOf", "float32", []string{"x []"}, func(r *routine) {
		for a := v(3); a < 7; a++ {
			r.do("VMOVUPS", constant("negInf"), a)
		}
		r.loops(4, func(i int) {
			r.load("x", 0)
			switch {
			case !r.tail:
			case r.lanes == 16:
				r.op("VMOVUPS negInf<>(SB), Z1")
				r.op("VMOVUPS Z0, K1, Z1")
				r.op("VMOVAPS Z1, Z0")
			default:
				r.do("VMOVUPS", constant("negInf"), v(1))
				r.do("VBLENDVPS", v(7), v(0), v(1), v(0))
			}
			r.do("VMAXPS", v(3+i), v(0), v(3+i))
		})
		r.do("VMAXPS", v(4), v(3), v(3))
		r.do("VMAXPS", v(6), v(5), v(5))
		r.do("VMAXPS", v(5), v(3), v(3))
		r.fold(3, "VMAXPS")
	}},
	{"expSub", "float32", []string{"dst []", "x []", "max float32"}, func(r *routine) {
		r.zero(3)
		r.scalar("max", 6)
		r.preload()
		r.loops(1, func(int) {
			r.load("x", 0)
			r.do("VSUBPS", single(6), v(0), v(0))
			r.exp(0, 1, 2)
			r.store(0, "dst")
			r.keep(0)
			r.do("VADDPS", v(0), v(3), v(3))
		})
		r.fold(3, "VADDPS")
	}},
	{"expSum", "float32", []string{"x []", "max float32"}, func(r *routine) {
		r.zero(3)
		r.scalar("max", 6)
		r.preload()
		r.loops(1, func(int) {
			r.load("x", 0)
			r.do("VSUBPS", single(6), v(0), v(0))
			r.exp(0, 1, 2)
			r.keep(0)
			r.do("VADDPS", v(0), v(3), v(3))
		})
		r.fold(3, "VADDPS")
	}},
	{"mulScale", "", []string{"dst []", "x []", "w []", "a float32"}, func(r *routine) {
		r.scalar("a", 6)
		r.loops(1, func(int) {
			r.load("x", 0)
			r.load("w", 1)
			r.do("VMULPS", single(6), v(0), v(0))
			r.do("VMULPS", v(1), v(0), v(0))
			r.store(0, "dst")
		})
		r.end()
	}},
	{"mulSub", "", []string{"dst []", "x []", "a float32"}, func(r *routine) {
		r.scalar("a", 6)
		r.loops(2, func(int) {
			r.load("dst", 0)
			r.load("x", 1)
			r.do("VSUBPS", single(6), v(0), v(0))
			r.do("VMULPS", v(1), v(0), v(0))
			r.store(0, "dst")
		})
		r.end()
	}},
	{"normBack", "", []string{"dx []", "dw []", "dout []", "x []", "w []", "r float32", "a float32"}, func(r *routine) {
		r.scalar("r", 5)
		r.scalar("a", 6)
		r.loops(1, func(int) {
			r.load("dout", 0)
			r.do("VMULPS", single(5), v(0), v(0))
			r.load("x", 1)
			r.load("w", 2)
			r.load("dx", 3)
			r.do("VFMADD231PS", v(2), v(0), v(3))
			r.do("VFNMADD231PS", single(6), v(1), v(3))
			r.store(3, "dx")
			r.load("dw", 4)
			r.do("VFMADD231PS", v(1), v(0), v(4))
			r.store(4, "dw")
		})
		r.end()
	}},
	{"rotate", "", []string{"x1 []", "x2 []", "cos []", "sin []", "sign float32"}, func(r *routine) {
		r.scalar("sign", 6)
		r.loops(1, func(int) {
			r.load("x1", 0)
			r.load("x2", 1)
			r.load("cos", 2)
			r.load("sin", 3)
			r.do("VMULPS", single(6), v(3), v(3))
			r.do("VMULPS", v(1), v(3), v(4))
			r.do("VFMSUB231PS", v(0), v(2), v(4)) // x1 cos - x2 sin
			r.do("VMULPS", v(1), v(2), v(5))
			r.do("VFMADD231PS", v(0), v(3), v(5)) // x2 cos + x1 sin
			r.store(4, "x1")
			r.store(5, "x2")
		})
		r.end()
	}},
	{"swiglu", "", []string{"out []", "gate []", "up []"}, func(r *routine) {
		r.preload()
		r.loops(1, func(int) {
			r.load("gate", 3)
			r.load("up", 4)
			r.do("VXORPS", constant("sign"), v(3), v(0))
			r.exp(0, 1, 2)
			r.do("VADDPS", constant("one"), v(0), v(0))
			r.do("VDIVPS", v(0), v(3), v(0))
			r.do("VMULPS", v(4), v(0), v(0))
			r.store(0, "out")
		})
		r.end()
	}},
	{"swigluBack", "", []string{"dgate []", "dup []", "dout []", "gate []", "up []"}, func(r *routine) {
		r.preload()
		r.loops(1, func(int) {
			r.load("gate", 3)
			r.load("dout", 4)
			r.load("up", 5)
			r.do("VXORPS", constant("sign"), v(3), v(0))
			r.exp(0, 1, 2)
			r.do("VADDPS", constant("one"), v(0), v(0))
			r.do("VMOVUPS", constant("one"), v(1))
			r.do("VDIVPS", v(0), v(1), v(0)) // s
			r.load("dup", 2)
			r.do("VMULPS", v(0), v(3), v(6))
			r.do("VFMADD231PS", v(6), v(4), v(2)) // dup + d (g s)
			r.store(2, "dup")
			r.do("VSUBPS", v(0), v(1), v(6))
			r.do("VFMADD213PS", v(1), v(3), v(6)) // (1-s) g + 1
			r.do("VMULPS", v(6), v(0), v(0))
			r.do("VMULPS", v(5), v(4), v(4))
			r.load("dgate", 2)
			r.do("VFMADD231PS", v(4), v(0), v(2))
			r.store(2, "dgate")
		})
		r.end()
	}},
	{"adamW", "", []string{"w []", "g []", "m []", "v []", "u *adamWStep"}, func(r *routine) {
		const gradScale, beta1, rest1, beta2, rest2, inv1, inv2, eps, lr, decay = 0, 1, 2, 3, 4, 5, 6, 7, 8, 9
		const s = single(6)
		r.loops(1, func(int) {
			r.load("g", 1)
			r.zero(0)
			r.store(0, "g")
			r.field(gradScale, s)
			r.do("VMULPS", s, v(1), v(1))
			r.load("m", 2)
			r.field(rest1, s)
			r.do("VMULPS", s, v(1), v(3))
			r.field(beta1, s)
			r.do("VFMADD213PS", v(3), s, v(2))
			r.store(2, "m")
			r.load("v", 3)
			r.do("VMULPS", v(1), v(1), v(1))
			r.field(rest2, s)
			r.do("VMULPS", s, v(1), v(1))
			r.field(beta2, s)
			r.do("VFMADD213PS", v(1), s, v(3))
			r.store(3, "v")
			r.field(inv2, s)
			r.do("VMULPS", s, v(3), v(3))
			r.do("VSQRTPS", v(3), v(3))
			r.field(eps, s)
			r.do("VADDPS", s, v(3), v(3))
			r.field(inv1, s)
			r.do("VMULPS", s, v(2), v(2))
			r.do("VDIVPS", v(3), v(2), v(2))
			r.load("w", 0)
			r.field(decay, s)
			r.do("VFMADD231PS", s, v(0), v(2))
			r.field(lr, s)
			r.do("VFNMADD231PS", s, v(2), v(0))
			r.store(0, "w")
		})
		r.end()
	}},
}

// sums writes a sum in four blocks of accumulators, 3 to 6.
func sums(r *routine, body func(acc v)) {
	for a := v(3); a < 7; a++ {
		r.zero(a)
	}
	r.loops(4, func(i int) { body(v(3 + i)) })
	r.do("VADDPS", v(4), v(3), v(3))
	r.do("VADDPS", v(6), v(5), v(5))
	r.do("VADDPS", v(5), v(3), v(3))
	r.fold(3, "VADDPS")
}

// sumSquares has 16 float64 lanes: blocks of float32 are widened in halves or quarters.
func sumSquares(r *routine) {
	numAcc := 32 / r.lanes // registers of 8 or 4 float64
	for i := range numAcc {
		a := r.r(8 + i)
		r.op("VXORPD %s, %s, %s", a, a, a)
	}
	r.loops(1, func(int) {
		r.load("x", 0)
		for i := range numAcc {
			d, a := r.r(4+i), r.r(8+i)
			if r.lanes == 16 {
				if i == 1 {
					r.op("VEXTRACTF64X4 $1, Z0, Y0")
				}
				r.op("VCVTPS2PD Y0, %s", d)
			} else {
				if i%2 == 1 {
					r.op("VEXTRACTF128 $1, Y%d, X%d", i/2, i/2)
				}
				r.op("VCVTPS2PD X%d, %s", i/2, d)
			}
			r.op("VFMADD231PD %s, %s, %s", d, d, a)
		}
	})
	if r.lanes == 16 {
		r.op("VADDPD Z9, Z8, Z8")
		r.op("VEXTRACTF64X4 $1, Z8, Y9")
	} else {
		r.op("VADDPD Y10, Y8, Y8")
		r.op("VADDPD Y11, Y9, Y9")
	}
	r.op("VADDPD Y9, Y8, Y8")
	r.op("VEXTRACTF128 $1, Y8, X9")
	r.op("VADDPD X9, X8, X8")
	r.op("VPERMILPD $1, X8, X9")
	r.op("VADDSD X9, X8, X8")
	r.op("VMOVSD X8, ret+%d(FP)", r.ret)
	r.end()
}
