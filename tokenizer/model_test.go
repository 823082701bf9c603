package tokenizer

import (
	"bufio"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"ravn/internal/sampledata"
)

// mistral loads the tokenizer of Mistral-7B-v0.1 from the sample data.
func mistral(t testing.TB) *Tokenizer {
	t.Helper()
	dir := sampledata.Dir(t)
	tok, err := loadMistral(dir)
	if err != nil {
		t.Fatal(err)
	}
	return tok
}

var (
	mistralOnce sync.Once
	mistralTok  *Tokenizer
	mistralErr  error
)

func loadMistral(dir string) (*Tokenizer, error) {
	mistralOnce.Do(func() { mistralTok, mistralErr = Load(filepath.Join(dir, "tokenizers", "mistral-7b-v0.1.model")) })
	return mistralTok, mistralErr
}

// vector is one row of the reference's answers.
type vector struct {
	Text    string   `json:"text"`
	IDs     []int32  `json:"ids"`
	Pieces  []string `json:"pieces"`
	Decoded string   `json:"decoded"`
	Cat     string   `json:"cat"`
}

func vectors(t testing.TB, name string) []vector {
	t.Helper()
	f, err := os.Open(filepath.Join(sampledata.Dir(t), "tokenizers", name))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var rows []vector
	s := bufio.NewScanner(f)
	s.Buffer(nil, 1<<20)
	for s.Scan() {
		var v vector
		if err := json.Unmarshal(s.Bytes(), &v); err != nil {
			t.Fatal(err)
		}
		rows = append(rows, v)
	}
	if s.Err() != nil {
		t.Fatal(s.Err())
	}
	return rows
}

// Every row was made with libsentencepiece 0.1.97.
func TestMistralVectors(t *testing.T) {
	tok := mistral(t)
	rows := vectors(t, "mistral_vectors.jsonl")
	if len(rows) != 807 {
		t.Fatalf("%d rows, want 807", len(rows))
	}
	for _, v := range rows {
		for _, how := range []struct {
			name   string
			encode func([]int32, string) []int32
		}{{"Encode", tok.Encode}, {"reference", tok.encodeReference}, {"Encode again", tok.Encode}} {
			if got := how.encode(nil, v.Text); !slices.Equal(got, v.IDs) {
				t.Errorf("%s: %s(%.80q) = %v, want %v", v.Cat, how.name, v.Text, got, v.IDs)
			}
		}
		if got := tok.Decode(v.IDs); got != v.Decoded {
			t.Errorf("%s: Decode(%v) = %q, want %q", v.Cat, v.IDs, got, v.Decoded)
		}
		for i, id := range v.IDs {
			if got := tok.Piece(id); got != v.Pieces[i] {
				t.Errorf("Piece(%d) = %q, want %q", id, got, v.Pieces[i])
			}
		}
	}
}

func TestMistralDecodeVectors(t *testing.T) {
	tok := mistral(t)
	rows := vectors(t, "mistral_decode_vectors.jsonl")
	if len(rows) != 146 {
		t.Fatalf("%d rows, want 146", len(rows))
	}
	for _, v := range rows {
		if got := tok.Decode(v.IDs); got != v.Decoded {
			t.Errorf("Decode(%v) = %q, want %q", v.IDs, got, v.Decoded)
		}
	}
}
