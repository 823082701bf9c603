//go:build slow

package tokenizer

import (
	"slices"
	"testing"
)

// The whole Danish sample, 48 MB, by document: every id as the reference gives it. About a minute.
func TestDanishSampleMatchesReference(t *testing.T) {
	tok := mistral(t)
	texts := danish(t)
	want := askReference(t, tok.source, texts, nil)
	for i, text := range texts {
		if !slices.Equal(tok.Encode(nil, text), want.IDs[i]) {
			t.Errorf("text %d, %.100q, has other ids", i, text)
		}
		if tok.Decode(want.IDs[i]) != want.Decoded[i] {
			t.Errorf("text %d, %.100q, decodes differently", i, text)
		}
	}
}

func TestExtendMistralOnAll(t *testing.T) { extendMistral(t, danish(t)) }
