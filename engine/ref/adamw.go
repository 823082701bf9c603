package ref

import (
	"math"

	"ravn/model"
)

// adamW is one step of Adam with decoupled weight decay on one tensor (Kingma & Ba 2015, arXiv 1412.6980, algorithm 1;
// Loshchilov & Hutter 2019, arXiv 1711.05101, algorithm 2, with the decay multiplied by the learning rate as PyTorch
// does):
//
//	m = β₁m + (1-β₁)g        v = β₂v + (1-β₂)g²
//	w -= lr (m̂ / (sqrt(v̂) + eps) + λw)        m̂ = m/(1-β₁ᵗ)   v̂ = v/(1-β₂ᵗ)
//
// g is first multiplied by u.GradScale.
func adamW[F Float](w, g, m, v []F, u model.Update, decay bool) {
	b1, b2 := F(u.Beta1), F(u.Beta2)
	correct1 := F(1 - math.Pow(u.Beta1, float64(u.Step)))
	correct2 := F(1 - math.Pow(u.Beta2, float64(u.Step)))
	lambda := F(0)
	if decay {
		lambda = F(u.WeightDecay)
	}
	for i := range w {
		gi := g[i] * F(u.GradScale)
		m[i] = b1*m[i] + (1-b1)*gi
		v[i] = b2*v[i] + (1-b2)*gi*gi
		mhat, vhat := m[i]/correct1, v[i]/correct2
		w[i] -= F(u.LR) * (mhat/(F(math.Sqrt(float64(vhat)))+F(u.Eps)) + lambda*w[i])
	}
}
