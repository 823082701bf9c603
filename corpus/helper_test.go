package corpus_test

import (
	"os"
	"path/filepath"
	"testing"

	"ravn/corpus"
)

// tree writes files below a new folder and returns it.
func tree(t testing.TB, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// open opens a corpus that must open.
func open(t testing.TB, path string, o corpus.OpenOptions) *corpus.Corpus {
	t.Helper()
	c, err := corpus.Open(path, o)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// documents reads a section that must read.
func documents(t testing.TB, s *corpus.Section) []*corpus.Document {
	t.Helper()
	var out []*corpus.Document
	for d, err := range s.Documents() {
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, d)
	}
	return out
}

// readAll opens and reads whatever is at path and returns the documents before the error, and it.
func readAll(path string, o corpus.OpenOptions) (out []*corpus.Document, err error) {
	c, err := corpus.Open(path, o)
	if err != nil {
		return nil, err
	}
	for _, s := range c.Sections {
		for d, err := range s.Documents() {
			if err != nil {
				return out, err
			}
			out = append(out, d)
		}
	}
	return out, nil
}
