package cpu

// DropGradients forgets the accumulated gradients, as for a batch whose update is left out.
func (e *Engine) DropGradients() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.train != nil {
		clear(e.train.grads)
	}
}
