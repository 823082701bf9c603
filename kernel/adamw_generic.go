package kernel

import "math"

func adamWGeneric(w, g, m, v []float32, u *adamWStep) {
	g, m, v = g[:len(w)], m[:len(w)], v[:len(w)]
	for i := range w {
		d := g[i] * u.gradScale
		g[i] = 0
		a := float32(m[i]*u.beta1) + float32(d*u.rest1)
		b := float32(v[i]*u.beta2) + float32(float32(d*d)*u.rest2)
		m[i], v[i] = a, b
		s := float32(math.Sqrt(float64(b*u.inv2))) + u.eps
		w[i] -= float32(u.lr * (float32(float32(a*u.inv1)/s) + float32(u.decay*w[i])))
	}
}
