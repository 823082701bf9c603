package kernel

func swigluGeneric(out, gate, up []float32) {
	gate, up = gate[:len(out)], up[:len(out)]
	for i := range out {
		g := gate[i]
		out[i] = float32(g/(1+expGeneric(-g))) * up[i]
	}
}

// swigluBackGeneric uses d silu(g)/dg = s (1 + g (1-s)), s = sigmoid(g).
func swigluBackGeneric(dgate, dup, dout, gate, up []float32) {
	n := len(dgate)
	dup, dout, gate, up = dup[:n], dout[:n], gate[:n], up[:n]
	for i := range dgate {
		g, d := gate[i], dout[i]
		s := 1 / (1 + expGeneric(-g))
		dup[i] += float32(d * float32(g*s))
		t := float32(g*(1-s)) + 1
		dgate[i] += float32(float32(d*up[i]) * float32(s*t))
	}
}
