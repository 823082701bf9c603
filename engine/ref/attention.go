package ref

import (
	"math"

	"ravn/model"
)

// visible says whether query i sees key j of the same row: not later, of the same segment, and among the newest
// SlidingWindow keys (Beltagy et al. 2020, arXiv 2004.05150; Jiang et al. 2023, arXiv 2310.06825, section 2).
func visible(b *model.Batch, c *model.Config, row, i, j int) bool {
	if j > i || (c.SlidingWindow > 0 && i-j >= c.SlidingWindow) {
		return false
	}
	return b.Segments == nil || b.Segments[row*b.T+i] == b.Segments[row*b.T+j]
}

// attention is scaled dot-product attention with H query heads that share K key-value heads in groups of H/K.
//
//	probs[i, j] = softmax over visible j of q[i]·k[j] / sqrt(D)        out[i] = Σ_j probs[i, j] v[j]
//
//	out, q (B*T, H*D)   k, v (B*T, K*D)   probs (B, H, T, T), 0 where nothing is seen
//
// Vaswani et al. 2017, arXiv 1706.03762, section 3.2.1; Ainslie et al. 2023, arXiv 2305.13245.
func attention[F Float](out, probs, q, k, v []F, b *model.Batch, c *model.Config) {
	T, H, K, D := b.T, c.NumAttentionHeads, c.NumKeyValueHeads, c.HeadDim
	scale := F(1 / math.Sqrt(float64(D)))
	for row := range b.B {
		for h := range H {
			for i := range T {
				qi := head(q, row*T+i, h, H, D)
				p := probs[((row*H+h)*T+i)*T:][:T]
				highest := F(math.Inf(-1))
				for j := range T {
					if visible(b, c, row, i, j) {
						p[j] = scale * dot(qi, head(k, row*T+j, h/(H/K), K, D))
						highest = max(highest, p[j])
					}
				}
				var total F
				for j := range T {
					if visible(b, c, row, i, j) {
						p[j] = F(math.Exp(float64(p[j] - highest)))
						total += p[j]
					}
				}
				oi := head(out, row*T+i, h, H, D)
				for j := range T {
					p[j] /= total
					addScaled(oi, p[j], head(v, row*T+j, h/(H/K), K, D))
				}
			}
		}
	}
}

// attentionBackward adds the gradients of attention to dq, dk, dv.
//
//	dprobs[i, j] = dout[i]·v[j]
//	dscore[i, j] = probs[i, j] (dprobs[i, j] - Σ_j' probs[i, j'] dprobs[i, j'])        the softmax
//	dq[i] += Σ_j dscore[i, j] k[j] / sqrt(D)        dk[j] += Σ_i dscore[i, j] q[i] / sqrt(D)
//	dv[j] += Σ_i probs[i, j] dout[i]
func attentionBackward[F Float](dq, dk, dv, dout, probs, q, k, v []F, b *model.Batch, c *model.Config) {
	T, H, K, D := b.T, c.NumAttentionHeads, c.NumKeyValueHeads, c.HeadDim
	scale := F(1 / math.Sqrt(float64(D)))
	dp := make([]F, T)
	for row := range b.B {
		for h := range H {
			for i := range T {
				at := row*T + i
				qi, doi := head(q, at, h, H, D), head(dout, at, h, H, D)
				p := probs[((row*H+h)*T+i)*T:][:T]
				for j := range T {
					vj := row*T + j
					dp[j] = dot(doi, head(v, vj, h/(H/K), K, D))
					addScaled(head(dv, vj, h/(H/K), K, D), p[j], doi)
				}
				mean := dot(p, dp)
				for j := range T {
					ds := scale * p[j] * (dp[j] - mean)
					kj := row*T + j
					addScaled(head(dq, at, h, H, D), ds, head(k, kj, h/(H/K), K, D))
					addScaled(head(dk, kj, h/(H/K), K, D), ds, qi)
				}
			}
		}
	}
}

// head is head h of row i of x, which has heads of width d side by side.
func head[F Float](x []F, i, h, heads, d int) []F {
	return x[(i*heads+h)*d:][:d]
}

// rotation holds the cosines and sines of every token's position.
//
// A pair of numbers (i, i+D/2) of a head at position p turns by the angle p·θ^(-2i/D): Su et al. 2021, arXiv
// 2104.09864, equation 34, with the pairs laid out in two halves as transformers does.
type rotation[F Float] struct {
	cos, sin []F // (N, D/2)
}

func newRotation[F Float](b *model.Batch, d int, theta float64) rotation[F] {
	n, half := b.B*b.T, d/2
	r := rotation[F]{make([]F, n*half), make([]F, n*half)}
	for t := range n {
		p := t % b.T
		if b.Positions != nil {
			p = int(b.Positions[t])
		}
		for i := range half {
			sin, cos := math.Sincos(float64(p) * math.Pow(theta, -2*float64(i)/float64(d)))
			r.cos[t*half+i], r.sin[t*half+i] = F(cos), F(sin)
		}
	}
	return r
}

// rotate turns each head of x (N, heads*d) in place.
func (r rotation[F]) rotate(x []F, d int) { r.turn(x, d, 1) }

// rotateBackward turns a gradient back: the inverse of a rotation is its transpose.
func (r rotation[F]) rotateBackward(dx []F, d int) { r.turn(dx, d, -1) }

func (r rotation[F]) turn(x []F, d int, sign F) {
	half := d / 2
	n := len(r.cos) / half
	heads := len(x) / n / d
	for t := range n {
		for h := range heads {
			v := head(x, t, h, heads, d)
			for i := range half {
				cos, sin := r.cos[t*half+i], sign*r.sin[t*half+i]
				a, b := v[i], v[i+half]
				v[i] = a*cos - b*sin
				v[i+half] = b*cos + a*sin
			}
		}
	}
}
