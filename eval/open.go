package eval

import (
	"cmp"
	"errors"
	"fmt"
	"path/filepath"
	"sync"

	"ravn/engine/cpu"
	"ravn/engine/ref"
	"ravn/model"
	"ravn/tokenizer"
	"ravn/weights"
)

// OpenLocal loads a Hugging Face folder with its tokenizer. Close releases it.
func OpenLocal(dir string, o LocalOptions) (*Local, error) {
	tok, err := tokenizer.Load(dir)
	if err != nil {
		return nil, fmt.Errorf("eval: %w", err)
	}
	w, err := weights.Load(dir)
	if err != nil {
		return nil, fmt.Errorf("eval: %w", err)
	}
	e, closer, err := openEngine(w, o.Engine)
	if err != nil {
		return nil, err
	}
	name := filepath.Base(filepath.Clean(dir))
	if abs, err := filepath.Abs(dir); err == nil {
		name = filepath.Base(abs)
	}
	l, err := NewLocal(e, tok, InfoOf(name, w.Config, w.Hash()), o)
	if err != nil {
		return nil, errors.Join(err, closer())
	}
	l.close = closer
	return l, nil
}

// InfoOf describes a decoder by its configuration.
func InfoOf(name string, c *model.Config, hash string) Info {
	return Info{
		Name: name, Params: int64(c.NumParams()), MaxTokens: c.MaxPositionEmbeddings, VocabSize: c.VocabSize,
		Generative: true, Hash: hash, Kind: "local",
	}
}

// openEngine starts the engine with that name over w. Sessions of engine/cpu use the thread that calls them, so the
// engine itself needs none.
func openEngine(w *model.Weights, name string) (Engine, func() error, error) {
	switch cmp.Or(name, "cpu") {
	case "cpu":
		e, err := cpu.New(w, cpu.Options{Threads: 1, Inference: true})
		if err != nil {
			return nil, nil, err
		}
		return EngineOf(e.NewSession), e.Close, nil
	case "ref":
		e, err := ref.New[float32](w)
		if err != nil {
			return nil, nil, err
		}
		return &refEngine{e: e}, func() error { return nil }, nil
	}
	return nil, nil, fmt.Errorf("eval: engine %q is not known (cpu or ref)", name)
}

// refEngine gives the reading copy sessions without a cache: each Append reckons its text from the beginning, one
// session at a time.
type refEngine struct {
	mu sync.Mutex
	e  *ref.Engine[float32]
}

func (r *refEngine) NewSession(maxTokens int) (Session, error) {
	return &refSession{engine: r, max: maxTokens}, nil
}

type refSession struct {
	engine *refEngine
	max    int
	tokens []int32
}

func (s *refSession) Len() int       { return len(s.tokens) }
func (s *refSession) Truncate(n int) { s.tokens = s.tokens[:n] }

func (s *refSession) Append(tokens []int32, logits []float32, from int) error {
	if len(s.tokens)+len(tokens) > s.max {
		return fmt.Errorf("eval: %d tokens after %d, the session was made for %d", len(tokens), len(s.tokens), s.max)
	}
	s.tokens = append(s.tokens, tokens...)
	if from == len(tokens) {
		return nil
	}
	s.engine.mu.Lock()
	defer s.engine.mu.Unlock()
	all, err := s.engine.e.Logits(s.tokens)
	if err != nil {
		return err
	}
	copy(logits, all[(len(s.tokens)-len(tokens)+from)*s.engine.e.Config().VocabSize:])
	return nil
}
