// Package sampledata finds the folder of real material that some tests and benchmarks use and the repository does not
// carry: a Danish corpus sample, held-out text, evaluation sets, a tokenizer with reference encodings.
package sampledata

import (
	"os"
	"path/filepath"
	"testing"
)

// Dir returns that folder: $RAVN_DATA, or shared/data beside or above the module. Without it the test is skipped.
func Dir(t testing.TB) string {
	t.Helper()
	if dir := os.Getenv("RAVN_DATA"); dir != "" {
		return dir
	}
	at, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		dir := filepath.Join(at, "shared", "data")
		if _, err := os.Stat(filepath.Join(dir, "tokenizers")); err == nil {
			return dir
		}
		up := filepath.Dir(at)
		if up == at {
			t.Skip("no sample data: set RAVN_DATA to a folder that holds gigaword-sample, heldout, eval, tokenizers")
		}
		at = up
	}
}
