package cpu

import (
	"ravn/model"
)

// Freeze keeps the parameters for which frozen says so as they are: they get no update, no decay, and their gradients
// do not count in GradNorm. It may be called before the first Accumulate.
func (e *Engine) Freeze(frozen func(name string) bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.runs, e.frozen = e.runs[:0], nil
	for _, p := range e.config.Layout() {
		list := &e.runs
		if frozen(p.Name) {
			list = &e.frozen
		}
		appendRun(list, p)
	}
}

// appendRun adds a parameter to a list of runs, joined with its neighbour where they agree on weight decay.
func appendRun(list *[]run, p model.Param) {
	rs := *list
	if n := len(rs); n > 0 && rs[n-1].decay == p.Decay && rs[n-1].to == p.Offset {
		rs[n-1].to += p.Size
		return
	}
	*list = append(rs, run{p.Offset, p.Offset + p.Size, p.Decay})
}

// DropGradients forgets the accumulated gradients, as for a batch whose update is left out.
func (e *Engine) DropGradients() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.train != nil {
		clear(e.train.grads)
	}
}

// dropFrozen forgets the gradients of what is frozen.
func (e *Engine) dropFrozen() {
	for _, r := range e.frozen {
		clear(e.train.grads[r.from:r.to])
	}
}

// zLoss adds the gradient of scale·z·log²Z to that of scale times the cross-entropy, which logits holds: with c = 2z·log Z,
// scale·(p − onehot) becomes scale·(p(1+c) − onehot). Z is the sum of the exponentials of a row's logits; keeping it near 1
// keeps the logits from drifting away together (Chowdhery et al. 2022, arXiv 2204.02311).
func zLoss(logits []float32, target int32, logZ, z, scale float32) {
	c := 2 * z * logZ
	for i := range logits {
		logits[i] *= 1 + c
	}
	logits[target] += c * scale
}
