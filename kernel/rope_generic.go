package kernel

// rotateGeneric turns the pairs (x1[i], x2[i]) by the angles, and back when sign is -1.
func rotateGeneric(x1, x2, cos, sin []float32, sign float32) {
	x2, cos, sin = x2[:len(x1)], cos[:len(x1)], sin[:len(x1)]
	for i := range x1 {
		a, b, c, s := x1[i], x2[i], cos[i], sign*sin[i]
		x1[i] = float32(a*c) - float32(b*s)
		x2[i] = float32(b*c) + float32(a*s)
	}
}
