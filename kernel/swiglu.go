package kernel

// SwiGLU writes silu(gate)*up to out, silu(x) = x/(1+exp(-x)); out may be gate or up. silu is within 2.5 units in the
// last place for x above -87, where it is a normal number; below, where exp(-x) is cut off, it is within 1e-38 |x|.
//
// Shazeer 2020, https://arxiv.org/abs/2002.05202.
func SwiGLU(p *Pool, out, gate, up []float32) {
	check(len(gate) == len(out) && len(up) == len(out), "SwiGLU: lengths differ")
	j := newJob(func(j *job, i int) {
		a, b := i*span, min((i+1)*span, len(j.f[0]))
		active.swiglu(j.f[0][a:b], j.f[1][a:b], j.f[2][a:b])
	})
	j.f[0], j.f[1], j.f[2] = out, gate, up
	p.Run(numSpans(len(out)), j.run)
	j.free()
}

// SwiGLUBackward adds the gradients of SwiGLU to dgate and dup.
func SwiGLUBackward(p *Pool, dgate, dup, dout, gate, up []float32) {
	n := len(dout)
	check(len(dgate) == n && len(dup) == n && len(gate) == n && len(up) == n, "SwiGLUBackward: lengths differ")
	j := newJob(func(j *job, i int) {
		a, b := i*span, min((i+1)*span, len(j.f[0]))
		active.swigluBack(j.f[0][a:b], j.f[1][a:b], j.f[2][a:b], j.f[3][a:b], j.f[4][a:b])
	})
	j.f[0], j.f[1], j.f[2], j.f[3], j.f[4] = dgate, dup, dout, gate, up
	p.Run(numSpans(n), j.run)
	j.free()
}
