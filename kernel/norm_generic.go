package kernel

// normBackGeneric adds one row's gradients: dx += r*dout*w - a*x, dw += dout*x*r.
func normBackGeneric(dx, dw, dout, x, w []float32, r, a float32) {
	dw, dout, x, w = dw[:len(dx)], dout[:len(dx)], x[:len(dx)], w[:len(dx)]
	for i := range dx {
		d := dout[i] * r
		dx[i] = dx[i] + float32(d*w[i]) - float32(a*x[i])
		dw[i] += float32(d * x[i])
	}
}
