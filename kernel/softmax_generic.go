package kernel

import "math"

// Constants of the exponential, shared with the assembly: x = n ln2 + r with |r| <= ln2/2, exp(x) = 2^n exp(r), and
// exp(r) as 1 + r + r*r*P(r), P of degree 5 as in Cephes' expf (Moshier 1984-1992, https://www.netlib.org/cephes/).
const (
	expLow   = -88      // n is -127 here, whose power of two is taken for 0
	expHigh  = 88.37626 // n stays at most 127
	log2e    = 1.44269504088896341
	ln2High  = 0.693359375
	ln2Low   = -2.12194440e-4
	expP0    = 1.9875691500e-4
	expP1    = 1.3981999507e-3
	expP2    = 8.3334519073e-3
	expP3    = 4.1665795894e-2
	expP4    = 1.6666665459e-1
	expP5    = 5.0000001201e-1
	roundBig = 12582912 // 1.5 * 2^23: adding and subtracting it rounds to the nearest integer
)

func expGeneric(x float32) float32 {
	if x < expLow {
		x = expLow
	}
	if x > expHigh {
		x = expHigh
	}
	if x != x {
		return x
	}
	n := float32(float32(x*log2e)+roundBig) - roundBig
	r := x - float32(n*ln2High)
	r -= float32(n * ln2Low)
	y := float32(expP0*r) + expP1
	y = float32(y*r) + expP2
	y = float32(y*r) + expP3
	y = float32(y*r) + expP4
	y = float32(y*r) + expP5
	y = float32(float32(y*r)*r) + r + 1
	return y * math.Float32frombits(uint32(int32(n)+127)<<23)
}

func maxOfGeneric(x []float32) float32 {
	m := float32(math.Inf(-1))
	for _, v := range x {
		if v > m {
			m = v
		}
	}
	return m
}

func expSubGeneric(dst, x []float32, m float32) float32 {
	var a [16]float32
	dst = dst[:len(x)]
	for i, v := range x {
		e := expGeneric(v - m)
		dst[i] = e
		a[i%16] += e
	}
	return tree16(&a)
}

func expSumGeneric(x []float32, m float32) float32 {
	var a [16]float32
	for i, v := range x {
		a[i%16] += expGeneric(v - m)
	}
	return tree16(&a)
}
