package kernel

// AdamWParams are the numbers of one optimizer step.
type AdamWParams struct {
	LR, Beta1, Beta2, Eps float32
	WeightDecay           float32
	GradScale             float32 // every gradient is multiplied by it first
	BC1, BC2              float32 // bias corrections 1-Beta1^t and 1-Beta2^t
}

// adamWStep is AdamWParams as the loops want them; the assembly reads the fields in this order.
type adamWStep struct {
	gradScale, beta1, rest1, beta2, rest2 float32
	inv1, inv2                            float32 // 1/BC1, 1/BC2
	eps, lr, decay                        float32
}

// AdamW makes one step of Adam with decoupled weight decay:
//
//	g' = GradScale g     m = Beta1 m + (1-Beta1) g'     v = Beta2 v + (1-Beta2) g' g'
//	w -= LR ((m/BC1) / (sqrt(v/BC2) + Eps) + WeightDecay w)
//
// decay says whether these weights are decayed. g is cleared, for the next gradients to be added to.
//
// Loshchilov & Hutter 2019, https://arxiv.org/abs/1711.05101.
func AdamW(p *Pool, w, g, m, v []float32, u AdamWParams, decay bool) {
	n := len(w)
	check(len(g) == n && len(m) == n && len(v) == n, "AdamW: lengths differ")
	j := newJob(func(j *job, i int) {
		a, b := i*span, min((i+1)*span, len(j.f[0]))
		active.adamW(j.f[0][a:b], j.f[1][a:b], j.f[2][a:b], j.f[3][a:b], &j.step)
	})
	j.f[0], j.f[1], j.f[2], j.f[3] = w, g, m, v
	j.step = adamWStep{
		gradScale: u.GradScale,
		beta1:     u.Beta1, rest1: 1 - u.Beta1,
		beta2: u.Beta2, rest2: 1 - u.Beta2,
		inv1: 1 / u.BC1, inv2: 1 / u.BC2,
		eps: u.Eps, lr: u.LR,
	}
	if decay {
		j.step.decay = u.WeightDecay
	}
	p.Run(numSpans(n), j.run)
	j.free()
}
