// Package nprand draws the same random numbers as numpy, Python and pandas, so that prompts and bootstrap samples are
// those of a Python evaluation with the same seed.
//
// numpy.random.default_rng is PCG64 seeded through SeedSequence; Python's random and pandas' sample are MT19937.
// Checked against numpy 1.24.2, pandas 1.5.3 and Python 3.11.
package nprand

import "math/bits"

// Generator is numpy.random.default_rng(seed): PCG XSL RR 128/64 (O'Neill 2014) seeded by a SeedSequence.
type Generator struct {
	hi, lo       uint64 // state
	incHi, incLo uint64
	half         uint32 // the high half of the last 64-bit output, kept for the next 32-bit draw
	hasHalf      bool
}

// Multiplier of PCG64's 128-bit step.
const (
	mulHi = 0x2360ED051FC65DA4
	mulLo = 0x4385DF649FCCF645
)

// NewGenerator returns default_rng(seed).
func NewGenerator(seed uint64) *Generator {
	w := seedSequence(seed)
	g := &Generator{}
	// inc = 2*initseq + 1
	g.incHi = w[2]<<1 | w[3]>>63
	g.incLo = w[3]<<1 | 1
	g.step() // from state 0
	var carry uint64
	g.lo, carry = bits.Add64(g.lo, w[1], 0)
	g.hi, _ = bits.Add64(g.hi, w[0], carry)
	g.step()
	return g
}

// step moves the state on: state = state*mul + inc, modulo 2^128.
func (g *Generator) step() {
	hi, lo := bits.Mul64(g.lo, mulLo)
	hi += g.hi*mulLo + g.lo*mulHi
	var carry uint64
	g.lo, carry = bits.Add64(lo, g.incLo, 0)
	g.hi, _ = bits.Add64(hi, g.incHi, carry)
}

// Uint64 is the next 64-bit output.
func (g *Generator) Uint64() uint64 {
	g.step()
	return bits.RotateLeft64(g.hi^g.lo, -int(g.hi>>58))
}

// Uint32 is the next 32-bit draw: the low half of a 64-bit output, then its high half.
func (g *Generator) Uint32() uint32 {
	if g.hasHalf {
		g.hasHalf = false
		return g.half
	}
	v := g.Uint64()
	g.half, g.hasHalf = uint32(v>>32), true
	return uint32(v)
}

// Integers is integers(0, n, size=count) for 0 < n < 2^32, by Lemire's multiplication on 32-bit draws.
// A matrix is drawn row after row from one call.
func (g *Generator) Integers(n, count int) []int {
	if n <= 0 || uint64(n) >= 1<<32 {
		panic("nprand: Integers needs 0 < n < 2^32")
	}
	out := make([]int, count)
	if n == 1 {
		return out // numpy draws nothing for a range of one
	}
	for i := range out {
		out[i] = int(g.lemire(uint32(n)))
	}
	return out
}

// lemire draws from [0, n) (Lemire 2019, https://arxiv.org/abs/1805.10941).
func (g *Generator) lemire(n uint32) uint32 {
	m := uint64(g.Uint32()) * uint64(n)
	if uint32(m) < n {
		threshold := -n % n
		for uint32(m) < threshold {
			m = uint64(g.Uint32()) * uint64(n)
		}
	}
	return uint32(m >> 32)
}

// Permutation is permutation(n): Fisher-Yates from the end, places drawn by masked rejection (not by Lemire).
func (g *Generator) Permutation(n int) []int { return permutation(n, g.Uint32) }

// permutation shuffles 0..n-1 with numpy's random_interval.
func permutation(n int, draw func() uint32) []int {
	p := make([]int, n)
	for i := range p {
		p[i] = i
	}
	for i := n - 1; i > 0; i-- {
		mask := uint32(1)<<bits.Len32(uint32(i)) - 1
		j := draw() & mask
		for j > uint32(i) {
			j = draw() & mask
		}
		p[i], p[j] = p[j], p[i]
	}
	return p
}

// seedSequence is numpy.random.SeedSequence(seed).generate_state(4, uint64).
func seedSequence(seed uint64) [4]uint64 {
	entropy := [4]uint32{uint32(seed), uint32(seed >> 32)}
	hash := uint32(0x43b0d7e5)
	hashmix := func(v uint32) uint32 {
		v ^= hash
		hash *= 0x931e8875
		v *= hash
		return v ^ v>>16
	}
	mix := func(x, y uint32) uint32 {
		v := 0xca01f9dd*x - 0x4973f715*y
		return v ^ v>>16
	}
	var pool [4]uint32
	for i := range pool {
		pool[i] = hashmix(entropy[i])
	}
	for src := range pool {
		for dst := range pool {
			if src != dst {
				pool[dst] = mix(pool[dst], hashmix(pool[src]))
			}
		}
	}
	hash = 0x8b51f9dd
	var words [8]uint32
	for i := range words {
		v := pool[i%4] ^ hash
		hash *= 0x58f38ded
		v *= hash
		words[i] = v ^ v>>16
	}
	var out [4]uint64
	for i := range out {
		out[i] = uint64(words[2*i]) | uint64(words[2*i+1])<<32
	}
	return out
}
