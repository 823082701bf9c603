package kernel

// The plain routines write float32(a*b) + c: the conversion keeps the compiler of any architecture from fusing the
// two, so that the portable level gives the same bits everywhere.

// tree16 adds 16 lanes in the order of the assembly: halves onto halves.
func tree16(a *[16]float32) float32 {
	for h := 8; h > 0; h /= 2 {
		for i := range h {
			a[i] += a[i+h]
		}
	}
	return a[0]
}

// fold64 adds four groups of 16 lanes pairwise, then the lanes.
func fold64(a *[64]float32) float32 {
	var s [16]float32
	for i := range s {
		s[i] = (a[i] + a[16+i]) + (a[32+i] + a[48+i])
	}
	return tree16(&s)
}

func dotGeneric(x, y []float32) float32 {
	var a [64]float32
	y = y[:len(x)]
	for len(x) >= 64 {
		u, v := x[:64], y[:64]
		for i := range a {
			a[i] += float32(u[i] * v[i])
		}
		x, y = x[64:], y[64:]
	}
	for i := range x {
		a[i%16] += float32(x[i] * y[i])
	}
	return fold64(&a)
}

func dot3Generic(x, y, z []float32) float32 {
	var a [64]float32
	y, z = y[:len(x)], z[:len(x)]
	for len(x) >= 64 {
		u, v, w := x[:64], y[:64], z[:64]
		for i := range a {
			a[i] += float32(float32(u[i]*v[i]) * w[i])
		}
		x, y, z = x[64:], y[64:], z[64:]
	}
	for i := range x {
		a[i%16] += float32(float32(x[i]*y[i]) * z[i])
	}
	return fold64(&a)
}

func axpyGeneric(dst []float32, a float32, x []float32) {
	x = x[:len(dst)]
	for i := range dst {
		dst[i] += float32(a * x[i])
	}
}

func addGeneric(dst, x []float32) {
	x = x[:len(dst)]
	for i := range dst {
		dst[i] += x[i]
	}
}

func scaleGeneric(dst []float32, a float32) {
	for i := range dst {
		dst[i] *= a
	}
}

// sumSquaresGeneric has 16 float64 lanes. A product of two float32 is exact in float64, so fusing changes nothing.
func sumSquaresGeneric(x []float32) float64 {
	var a [16]float64
	for len(x) >= 16 {
		u := x[:16]
		for i := range a {
			v := float64(u[i])
			a[i] += v * v
		}
		x = x[16:]
	}
	for i := range x {
		v := float64(x[i])
		a[i] += v * v
	}
	for h := 8; h > 0; h /= 2 {
		for i := range h {
			a[i] += a[i+h]
		}
	}
	return a[0]
}

func mulSubGeneric(dst, x []float32, a float32) {
	x = x[:len(dst)]
	for i := range dst {
		dst[i] = x[i] * (dst[i] - a)
	}
}

func mulScaleGeneric(dst, x, w []float32, a float32) {
	x, w = x[:len(dst)], w[:len(dst)]
	for i := range dst {
		dst[i] = float32(x[i]*a) * w[i]
	}
}
