package decontam

import "ravn/pipeline"

// cutWords returns a hash of every word of text. A word is a run of letters, digits and marks; case, punctuation and
// underscores do not count.
func cutWords(text string) []uint64 {
	var t pipeline.Tokens
	t.Cut(text)
	return t.Words
}
