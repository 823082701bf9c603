package workflow

import (
	"fmt"

	"ravn/adapter"
	"ravn/engine/cpu"
	"ravn/engine/xla"
	"ravn/tokenizer"
)

// session is what writing needs of an engine's session.
type session struct {
	Append func(tokens []int32, logits []float32, from int) error
	close  func()
}

// opener opens sessions of an engine that has such.
func opener(engine trainer) func(tokens int) (session, error) {
	switch e := engine.(type) {
	case *adapter.Engine:
		if carrier, ok := e.Carrier().(trainer); ok {
			return opener(carrier)
		}
	case *cpu.Engine:
		return func(tokens int) (session, error) {
			s, err := e.NewSession(tokens)
			if err != nil {
				return session{}, err
			}
			s.UseThreads(true)
			return session{s.Append, func() {}}, nil
		}
	case *xla.Engine:
		return func(tokens int) (session, error) {
			s, err := e.NewSession(tokens)
			if err != nil {
				return session{}, err
			}
			return session{s.Append, s.Close}, nil
		}
	}
	return nil
}

// writer continues prompts with an engine's likeliest tokens, or is nil where the engine has no sessions.
func writer(engine trainer, tok *tokenizer.Tokenizer) func(prompt string, tokens int) (string, error) {
	open := opener(engine)
	if open == nil {
		return nil
	}
	return func(prompt string, tokens int) (string, error) {
		var ids []int32
		if tok.BOS() >= 0 {
			ids = append(ids, tok.BOS())
		}
		ids = tok.EncodeText(ids, prompt)
		most := min(len(ids)+tokens, engine.Config().MaxPositionEmbeddings)
		if len(ids) == 0 || len(ids) >= most {
			return "", fmt.Errorf("workflow: prompt %q has %d tokens, the model has %d positions", prompt, len(ids), engine.Config().MaxPositionEmbeddings)
		}
		s, err := open(most)
		if err != nil {
			return "", err
		}
		defer s.close()
		logits := make([]float32, engine.Config().VocabSize)
		next, all := ids, ids
		for len(all) < most {
			if err := s.Append(next, logits, len(next)-1); err != nil {
				return "", err
			}
			best := int32(0)
			for i, x := range logits {
				if x > logits[best] {
					best = int32(i)
				}
			}
			if best == tok.EOS() {
				break
			}
			all = append(all, best)
			next = all[len(all)-1:]
		}
		return tok.Decode(all)[len(tok.Decode(ids)):], nil
	}
}
