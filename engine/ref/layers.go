package ref

import "math"

func dot[F Float](x, y []F) F {
	var s F
	for i := range x {
		s += x[i] * y[i]
	}
	return s
}

// addScaled adds a*x to dst.
func addScaled[F Float](dst []F, a F, x []F) {
	for i := range dst {
		dst[i] += a * x[i]
	}
}

// linear writes x·wᵀ to out.
//
//	x (N, in)   w (out, in)   out (N, out)
func linear[F Float](out, x, w []F, in int) {
	n := len(x) / in
	width := len(w) / in
	for t := range n {
		for o := range width {
			out[t*width+o] = dot(x[t*in:(t+1)*in], w[o*in:(o+1)*in])
		}
	}
}

// linearBackward adds dout·w to dx and doutᵀ·x to dw.
func linearBackward[F Float](dx, dw, dout, x, w []F, in int) {
	n := len(x) / in
	width := len(w) / in
	for t := range n {
		for o := range width {
			d := dout[t*width+o]
			addScaled(dx[t*in:(t+1)*in], d, w[o*in:(o+1)*in])
			addScaled(dw[o*in:(o+1)*in], d, x[t*in:(t+1)*in])
		}
	}
}

// rmsNorm writes x / rms(x) * w to out, row by row, and 1/rms(x) to rstd for the way back.
//
//	out, x (N, C)   w (C)   rstd (N)        rms(x) = sqrt(mean(x²) + eps)
//
// Zhang & Sennrich 2019, arXiv 1910.07467.
func rmsNorm[F Float](out, rstd, x, w []F, eps F) {
	C := len(w)
	for t := range rstd {
		row := x[t*C : (t+1)*C]
		rstd[t] = 1 / F(math.Sqrt(float64(dot(row, row)/F(C)+eps)))
		for i, v := range row {
			out[t*C+i] = v * rstd[t] * w[i]
		}
	}
}

// rmsNormBackward adds the gradients of rmsNorm to dx and dw. With y = x·rstd, the normed row before the weights:
//
//	dw += dout·y        dx += rstd (dout·w - y mean(dout·w·y))
func rmsNormBackward[F Float](dx, dw, dout, x, w, rstd []F) {
	C := len(w)
	for t, s := range rstd {
		row, d := x[t*C:(t+1)*C], dout[t*C:(t+1)*C]
		var mean F
		for i := range row {
			mean += d[i] * w[i] * row[i] * s
		}
		mean /= F(C)
		for i := range row {
			y := row[i] * s
			dw[i] += d[i] * y
			dx[t*C+i] += s * (d[i]*w[i] - y*mean)
		}
	}
}

func sigmoid[F Float](x F) F { return F(1 / (1 + math.Exp(-float64(x)))) }

// swiGLU writes silu(gate)·up to out, silu(x) = x·sigmoid(x). Shazeer 2020, arXiv 2002.05202.
func swiGLU[F Float](out, gate, up []F) {
	for i, g := range gate {
		out[i] = g * sigmoid(g) * up[i]
	}
}

// swiGLUBackward adds the gradients of swiGLU; silu'(x) = s(x) (1 + x (1 - s(x))), s the sigmoid.
func swiGLUBackward[F Float](dgate, dup, dout, gate, up []F) {
	for i, g := range gate {
		s := sigmoid(g)
		dup[i] += dout[i] * g * s
		dgate[i] += dout[i] * up[i] * s * (1 + g*(1-s))
	}
}

// crossEntropy writes -log softmax(logits)[target] in nats to nll, 0 where the target is -1.
//
//	nll (N)   logits (N, V)   targets (N)
func crossEntropy[F Float](nll, logits []F, targets []int32) {
	V := len(logits) / len(targets)
	for t, target := range targets {
		nll[t] = 0
		if target >= 0 {
			row := logits[t*V : (t+1)*V]
			nll[t] = logSumExp(row) - row[target]
		}
	}
}

// crossEntropyBackward adds scale·(softmax(logits) - onehot(target)) to dlogits where there is a target.
func crossEntropyBackward[F Float](dlogits, logits []F, targets []int32, scale F) {
	V := len(logits) / len(targets)
	for t, target := range targets {
		if target < 0 {
			continue
		}
		row := logits[t*V : (t+1)*V]
		lse := logSumExp(row)
		for i, x := range row {
			dlogits[t*V+i] += scale * F(math.Exp(float64(x-lse)))
		}
		dlogits[t*V+int(target)] -= scale
	}
}

// logSumExp is log Σ exp(x), without overflow.
func logSumExp[F Float](x []F) F {
	highest := x[0]
	for _, v := range x {
		highest = max(highest, v)
	}
	var total float64
	for _, v := range x {
		total += math.Exp(float64(v - highest))
	}
	return highest + F(math.Log(total))
}
