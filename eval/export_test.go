package eval

// Forget makes a model begin every prompt anew.
func (l *Local) Forget() { l.forget = true }
