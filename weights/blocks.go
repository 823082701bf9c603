package weights

import (
	"encoding/binary"
	"math"

	"ravn/model"
)

// The formats with blocks, in plain Go. docs/design/gguf.md draws them. All scales are F16.

// quantize writes whole blocks of src in the format d, Q8_0 or Q4_0. Numbers must be finite.
func quantize(dst []byte, src []float32, d model.DType) {
	n, size := d.Block()
	for len(src) > 0 {
		if d == model.Q8_0 {
			blockQ8(dst[:size], src[:n])
		} else {
			blockQ4(dst[:size], src[:n])
		}
		dst, src = dst[size:], src[n:]
	}
}

// blockQ8 takes the largest magnitude for 127 steps and rounds halves away from zero, by the scale before it is rounded.
func blockQ8(dst []byte, src []float32) {
	var largest float32
	for _, x := range src {
		largest = max(largest, abs(x))
	}
	scale := largest / 127
	binary.LittleEndian.PutUint16(dst, toF16(scale))
	inverse := invert(scale)
	for i, x := range src {
		dst[2+i] = byte(int8(math.Round(float64(x * inverse))))
	}
}

// blockQ4 takes the element of largest magnitude for -8 steps; of the sixteen values from -8 to 7 it is met exactly.
func blockQ4(dst []byte, src []float32) {
	var largest float32
	for _, x := range src {
		if abs(x) > abs(largest) {
			largest = x
		}
	}
	scale := largest / -8
	binary.LittleEndian.PutUint16(dst, toF16(scale))
	inverse := invert(scale)
	step := func(x float32) byte { return byte(min(15, int(float32(x*inverse)+8.5))) }
	for i := range 16 {
		dst[2+i] = step(src[i]) | step(src[16+i])<<4
	}
}

func abs(x float32) float32 { return math.Float32frombits(math.Float32bits(x) &^ (1 << 31)) }

// invert is 1/x, 0 for 0. Where 1/x overflows (a block of subnormal numbers) every step becomes 0, as the scale does.
func invert(x float32) float32 {
	if y := 1 / x; x != 0 && !math.IsInf(float64(y), 0) {
		return y
	}
	return 0
}

// dequantize widens whole blocks of the format d to dst.
func dequantize(dst []float32, src []byte, d model.DType) {
	n, size := d.Block()
	block := map[model.DType]func([]float32, []byte){model.Q8_0: widenQ8, model.Q4_0: widenQ4, model.Q4_K: widenQ4K, model.Q6_K: widenQ6K}[d]
	for len(dst) > 0 {
		block(dst[:n], src[:size])
		dst, src = dst[n:], src[size:]
	}
}

func half(b []byte) float32 { return fromF16(binary.LittleEndian.Uint16(b)) }

func widenQ8(dst []float32, b []byte) {
	scale := half(b)
	for i := range dst {
		dst[i] = scale * float32(int8(b[2+i]))
	}
}

func widenQ4(dst []float32, b []byte) {
	scale := half(b)
	for i, q := range b[2:18] {
		dst[i] = scale * float32(int(q&15)-8)
		dst[16+i] = scale * float32(int(q>>4)-8)
	}
}

// widenQ4K: x = scale·s·q - minimum·m, with s and m of six bits for each group of 32.
func widenQ4K(dst []float32, b []byte) {
	scale, minimum, sixes, qs := half(b), half(b[2:]), b[4:16], b[16:144]
	for g := range 8 {
		var s, m byte
		if g < 4 {
			s, m = sixes[g]&63, sixes[g+4]&63
		} else {
			s, m = sixes[g+4]&15|sixes[g-4]>>6<<4, sixes[g+4]>>4|sixes[g]>>6<<4
		}
		times, less := scale*float32(s), minimum*float32(m)
		shift := g % 2 * 4
		for i, q := range qs[g/2*32:][:32] {
			dst[g*32+i] = float32(times*float32(q>>shift&15)) - less
		}
	}
}

// widenQ6K: x = scale·s·(q - 32), with a signed byte s for each group of 16.
func widenQ6K(dst []float32, b []byte) {
	low, high, scales, scale := b[:128], b[128:192], b[192:208], half(b[208:])
	for i := range dst {
		h, part, l := i/128, i%128/32, i%32 // half of the block, quarter of the half, place in it
		q := low[h*64+part%2*32+l]>>(part/2*4)&15 | high[h*32+l]>>(2*part)&3<<4
		dst[i] = scale * float32(int8(scales[i/16])) * float32(int(q)-32)
	}
}
