package eval

// Grammar says which texts may be written: an automaton over bytes, which knows nothing of models or their tokens.
type Grammar interface {
	Name() string // tells grammars apart: equal names, equal texts
	Start() int
	Next(state int, b byte) (next int, ok bool)
	Accepts(state int) bool // the text may end here
}

// maskKey names the tokens that may follow in a state of a grammar.
type maskKey struct {
	grammar string
	state   int
}

// spelling is a text being written under a grammar. Without one everything may be written.
type spelling struct {
	l     *Local
	g     Grammar
	state int
}

func (l *Local) spell(g Grammar) *spelling {
	s := &spelling{l: l, g: g}
	if g != nil {
		s.state = g.Start()
	}
	return s
}

// best is the likeliest token that may follow, the lowest number on ties, and moves on by it. done is true where the
// text is complete, or no token can go on.
func (s *spelling) best(logits []float32) (id int32, done bool) {
	if s.g == nil {
		return int32(argmax(logits)), false
	}
	id = -1
	for word, bits := range s.l.mask(s.g, s.state) {
		for k := 0; bits != 0; k, bits = k+1, bits>>1 {
			if i := int32(word*64 + k); bits&1 != 0 && (id < 0 || logits[i] > logits[id]) {
				id = i
			}
		}
	}
	if eos := s.l.tok.EOS(); s.g.Accepts(s.state) && (id < 0 || eos >= 0 && logits[eos] > logits[id]) {
		return eos, true
	}
	if id < 0 {
		return -1, true
	}
	s.state, _ = walk(s.g, s.state, s.l.tok.Surface(id))
	return id, false
}

// mask has a bit for each token whose bytes may all follow in the state.
func (l *Local) mask(g Grammar, state int) []uint64 {
	key := maskKey{g.Name(), state}
	if m, ok := l.masks.Load(key); ok {
		return m.([]uint64)
	}
	m := make([]uint64, (l.tok.Size()+63)/64)
	for id := range l.tok.Size() {
		text := l.tok.Surface(int32(id))
		if text == "" || int32(id) == l.tok.EOS() || int32(id) == l.tok.BOS() {
			continue
		}
		if _, ok := walk(g, state, text); ok {
			m[id/64] |= 1 << (id % 64)
		}
	}
	l.masks.Store(key, m)
	return m
}

func walk(g Grammar, state int, text string) (int, bool) {
	for i := range len(text) {
		next, ok := g.Next(state, text[i])
		if !ok {
			return state, false
		}
		state = next
	}
	return state, true
}
