package workflow

import (
	"fmt"

	"ravn/engine/cpu"
	"ravn/tokenizer"
)

// writer continues prompts with an engine's likeliest tokens, or is nil where the engine has no sessions.
func writer(engine trainer, tok *tokenizer.Tokenizer) func(prompt string, tokens int) (string, error) {
	e, ok := engine.(*cpu.Engine)
	if !ok {
		return nil
	}
	return func(prompt string, tokens int) (string, error) {
		var ids []int32
		if tok.BOS() >= 0 {
			ids = append(ids, tok.BOS())
		}
		ids = tok.EncodeText(ids, prompt)
		most := min(len(ids)+tokens, e.Config().MaxPositionEmbeddings)
		if len(ids) == 0 || len(ids) >= most {
			return "", fmt.Errorf("workflow: prompt %q has %d tokens, the model has %d positions", prompt, len(ids), e.Config().MaxPositionEmbeddings)
		}
		s, err := e.NewSession(most)
		if err != nil {
			return "", err
		}
		s.UseThreads(true)
		logits := make([]float32, e.Config().VocabSize)
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
