package tokenizer

// loadCompanions reads the other tokenizer files of a folder.
func (t *Tokenizer) loadCompanions(dir, not string) error { return nil }

// Files returns what belongs in a Hugging Face folder.
func (t *Tokenizer) Files() map[string][]byte {
	return map[string][]byte{"tokenizer.model": t.source}
}
