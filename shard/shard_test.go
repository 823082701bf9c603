package shard

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"ravn/corpus"
)

// letters is a tokenizer for tests: BOS 1, EOS 2, and a letter's byte plus an offset.
type letters struct {
	size     int
	offset   int32
	bos, eos int32
}

var (
	narrow = letters{300, 3, 1, 2}
	wide   = letters{100000, 70000, 1, 2}
)

func (l letters) EncodeText(dst []int32, text string) []int32 {
	for i := range len(text) {
		dst = append(dst, l.offset+int32(text[i]))
	}
	return dst
}
func (l letters) BOS() int32   { return l.bos }
func (l letters) EOS() int32   { return l.eos }
func (l letters) Size() int    { return l.size }
func (l letters) Hash() string { return fmt.Sprint("letters ", l) }

func documents(docs ...*corpus.Document) iter.Seq2[*corpus.Document, error] {
	return func(yield func(*corpus.Document, error) bool) {
		for _, d := range docs {
			if !yield(d, nil) {
				return
			}
		}
	}
}

func doc(id, text string) *corpus.Document { return &corpus.Document{ID: id, Text: text} }

// randomDocuments makes n documents of 1 to most bytes; the seed decides them.
func randomDocuments(seed uint64, name string, n, most int) []*corpus.Document {
	r := rand.New(rand.NewPCG(seed, 7))
	docs := make([]*corpus.Document, n)
	for i := range docs {
		text := make([]byte, 1+r.IntN(most))
		for k := range text {
			text[k] = byte('a' + r.IntN(26))
		}
		docs[i] = &corpus.Document{ID: fmt.Sprintf("%s_%d", name, i), Text: string(text), License: []string{"", "CC-BY-4.0"}[i%2]}
	}
	return docs
}

// three are sections of quite different sizes: many short documents, a few long ones, and next to nothing.
func three() []SectionInput {
	return []SectionInput{
		{Name: "wiki", License: "CC-BY-SA-4.0", Language: "da", Role: "target", Source: "w1", Documents: documents(randomDocuments(1, "wiki", 97, 40)...)},
		{Name: "adl", License: "CC0-1.0", Language: "da", Role: "target", Source: "a1", Documents: documents(randomDocuments(2, "adl", 5, 900)...)},
		{Name: "tiny", License: "CC0-1.0", Language: "en", Role: "replay", Source: "t1", Documents: documents(randomDocuments(3, "tiny", 2, 5)...)},
	}
}

func writeSet(t testing.TB, dir string, sections []SectionInput, o WriterOptions) *Info {
	t.Helper()
	if o.Tokenizer == nil {
		o.Tokenizer = narrow
	}
	info, err := Write(context.Background(), dir, sections, o)
	if err != nil {
		t.Fatal(err)
	}
	return info
}

func openSet(t testing.TB, dir string) *Set {
	t.Helper()
	s, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// folder is the contents of a folder's files by name.
func folder(t testing.TB, dir string) map[string]string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{}
	for _, e := range entries {
		data, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		files[e.Name()] = string(data)
	}
	return files
}

// same asserts that two folders hold the same bytes under the same names.
func same(t *testing.T, got, want map[string]string) {
	t.Helper()
	for name := range maps.Keys(got) {
		if _, ok := want[name]; !ok {
			t.Errorf("%s is there and should not be", name)
		}
	}
	for name, text := range want {
		if got[name] != text {
			t.Errorf("%s differs (%d bytes, want %d)", name, len(got[name]), len(text))
		}
	}
}

// check asserts that err says all of want.
func check(t *testing.T, err error, want ...string) {
	t.Helper()
	if err == nil {
		t.Fatalf("no error, want one with %q", want)
	}
	for _, w := range want {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("error lacks %q:\n%v", w, err)
		}
	}
}

var errTorn = errors.New("adl.jsonl:3: not JSON")
