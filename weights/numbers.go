package weights

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"

	"ravn/model"
)

// ToF32 writes the numbers of a tensor to dst: F32, F16 and BF16 exactly, formats with blocks as scale times step in
// float32.
func ToF32(dst []float32, t model.Tensor) error {
	if n, _ := t.DType.Block(); n == 0 {
		return fmt.Errorf("weights: tensor %q is %s, which is not read as numbers", t.Name, t.DType)
	}
	if bytes := t.DType.RowBytes(len(dst)); bytes != len(t.Data) || bytes == 0 && len(dst) > 0 {
		return fmt.Errorf("weights: tensor %q has %d bytes of %s for %d numbers", t.Name, len(t.Data), t.DType, len(dst))
	}
	src := t.Data
	if t.DType.Size() == 0 {
		dequantize(dst, src, t.DType)
		return nil
	}
	switch t.DType {
	case model.F32:
		for i := range dst {
			dst[i] = math.Float32frombits(binary.LittleEndian.Uint32(src[i*4:]))
		}
	case model.BF16:
		for i := range dst {
			dst[i] = math.Float32frombits(uint32(binary.LittleEndian.Uint16(src[i*2:])) << 16)
		}
	case model.F16:
		for i := range dst {
			dst[i] = fromF16(binary.LittleEndian.Uint16(src[i*2:]))
		}
	}
	return nil
}

// writable are the formats that FromF32 knows.
var writable = []model.DType{model.F32, model.F16, model.BF16, model.Q8_0, model.Q4_0}

// FromF32 writes src to dst in the format d, one of F32, F16, BF16, Q8_0 and Q4_0; dst has d.RowBytes(len(src)) bytes.
// Numbers are rounded to the nearest, ties to even; beyond the range of F16 they become infinite; NaN stays NaN. In
// Q8_0 and Q4_0 numbers must be finite.
func FromF32(dst []byte, src []float32, d model.DType) {
	if !slices.Contains(writable, d) || len(dst) != d.RowBytes(len(src)) {
		panic(fmt.Sprintf("weights: %d numbers as %s in %d bytes", len(src), d, len(dst)))
	}
	switch d {
	case model.Q8_0, model.Q4_0:
		quantize(dst, src, d)
	case model.F32:
		for i, x := range src {
			binary.LittleEndian.PutUint32(dst[i*4:], math.Float32bits(x))
		}
	case model.BF16:
		for i, x := range src {
			binary.LittleEndian.PutUint16(dst[i*2:], toBF16(x))
		}
	case model.F16:
		for i, x := range src {
			binary.LittleEndian.PutUint16(dst[i*2:], toF16(x))
		}
	}
}

// toBF16 keeps the upper half of x, rounded. A NaN keeps its sign and upper bits and is made quiet.
func toBF16(x float32) uint16 {
	b := math.Float32bits(x)
	if b&0x7fffffff > 0x7f800000 {
		return uint16(b>>16) | 0x40
	}
	return uint16((b + 0x7fff + b>>16&1) >> 16)
}

// IEEE 754 half precision: sign, 5 bits of exponent (bias 15), 10 of fraction.

func fromF16(h uint16) float32 {
	sign, exp, frac := uint32(h>>15)<<31, uint32(h>>10&31), uint32(h&1023)
	switch exp {
	case 0: // frac · 2^-24
		x := float32(frac) * 0x1p-24
		return math.Float32frombits(math.Float32bits(x) | sign)
	case 31:
		return math.Float32frombits(sign | 0x7f800000 | frac<<13)
	}
	return math.Float32frombits(sign | (exp+112)<<23 | frac<<13)
}

func toF16(x float32) uint16 {
	b := math.Float32bits(x)
	sign, b := uint16(b>>16&0x8000), b&0x7fffffff
	switch {
	case b > 0x7f800000: // NaN
		return sign | 0x7e00 | uint16(b>>13&0x3ff)
	case b >= 0x477ff000: // 65520 and more round to infinity
		return sign | 0x7c00
	case b >= 0x38800000: // 2^-14 and more are normal
		b += 0xfff + b>>13&1
		return sign | uint16((b-112<<23)>>13)
	case b < 0x33000000: // less than 2^-25; 2^-25 itself is a tie with 0, even
		return sign
	}
	// A multiple of 2^-24: the fraction with its leading 1, shifted right and rounded.
	shift := 126 - b>>23
	frac := b&0x7fffff | 0x800000
	half := uint32(1) << (shift - 1)
	return sign | uint16((frac+half-1+frac>>shift&1)>>shift)
}
