package shard

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// Places in an index of S sequences.
const (
	atVersion   = 9
	atCode      = 17
	atSequences = 18
	atDocuments = 26
	atLengths   = 34
)

// hostile changes to an index of three documents of 3, 4 and 5 tokens in uint16 (24 bytes of .bin), and what is said.
var hostile = []struct {
	name   string
	change func(idx []byte) []byte
	want   string
}{
	{"empty", func([]byte) []byte { return nil }, "0 bytes are too few for an index"},
	{"header cut", func(b []byte) []byte { return b[:33] }, "33 bytes are too few for an index"},
	{"magic", func(b []byte) []byte { b[0] = 'X'; return b }, `begins with "XMIDIDX\x00\x00", a Megatron index begins with "MMIDIDX\x00\x00"`},
	{"version", put64(atVersion, 2), "index version 2, only 1 is known"},
	{"float tokens", func(b []byte) []byte { b[atCode] = 7; return b }, "number format 7; tokens are 8 (uint16) or 4 (int32)"},
	{"other width", func(b []byte) []byte { b[atCode] = 4; return b }, "sequence 1 begins at byte 6, before the end of the one before it at 12"},
	{"a sequence more", put64(atSequences, 4), "4 sequences and 4 document indices do not make 102 bytes"},
	{"a document less", put64(atDocuments, 3), "3 sequences and 3 document indices do not make 102 bytes"},
	{"no end of sequences", put64(atSequences, 1<<63), "9223372036854775808 sequences and 4 document indices do not make"},
	{"counts that wrap round", func(b []byte) []byte { return put64(atDocuments, 1<<61+4)(b) }, "do not make 102 bytes"},
	{"cut", func(b []byte) []byte { return b[:len(b)-1] }, "do not make 101 bytes"},
	{"more behind", func(b []byte) []byte { return append(b, 0) }, "do not make 103 bytes"},
	{"negative length", put32(atLengths, -1), "sequence 0 has -1 tokens"},
	{"length beyond the .bin", put32(atLengths+8, 6), "sequence 2 of 6 tokens at byte 14 ends behind the .bin of 24 bytes"},
	{"largest length", put32(atLengths+8, 1<<31-1), "sequence 2 of 2147483647 tokens at byte 14 ends behind"},
	{"overlap", put64(atLengths+12+8, 4), "sequence 1 begins at byte 4, before the end of the one before it at 6"},
	{"negative offset", put64(atLengths+12, 1<<64-2), "sequence 0 begins at byte -2, before the end of the one before it at 0"},
	{"offset within a token", put64(atLengths+12+16, 15), "sequence 2 begins at byte 15, within a token of 2 bytes"},
	{"offset far beyond", put64(atLengths+12+16, 1<<62), "sequence 2 of 5 tokens at byte 4611686018427387904 ends behind"},
	{"documents not from 0", put64(atLengths+36, 1), "document indices do not begin with 0"},
	{"documents backwards", put64(atLengths+36+16, 0), "document 2 begins at sequence 0, before the one before it at 1"},
	{"documents end early", put64(atLengths+36+24, 2), "document indices end with 2, there are 3 sequences"},
	{"no documents", func(b []byte) []byte { b = b[:atLengths]; put64(atSequences, 0)(b); return put64(atDocuments, 0)(b) }, "document indices do not begin with 0"},
}

func put64(at int, v uint64) func([]byte) []byte {
	return func(b []byte) []byte { binary.LittleEndian.PutUint64(b[at:], v); return b }
}

func put32(at int, v int32) func([]byte) []byte {
	return func(b []byte) []byte { binary.LittleEndian.PutUint32(b[at:], uint32(v)); return b }
}

func TestHostileIndex(t *testing.T) {
	for _, c := range hostile {
		t.Run(c.name, func(t *testing.T) {
			_, err := parseIndex(c.change(appendIndex(nil, codeUint16, []int32{3, 4, 5})), 24)
			check(t, err, c.want)
		})
	}
	x, err := parseIndex(appendIndex(nil, codeUint16, []int32{3, 4, 5}), 24)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(x.offsets, []int64{0, 6, 14}); diff != "" {
		t.Error(diff)
	}
}

// An index that Megatron would take and this package does not write: gaps, several sequences in a document.
func TestForeignIndex(t *testing.T) {
	b := appendIndex(nil, codeUint16, []int32{3, 0, 5})
	put64(atLengths+12+16, 8)(b)
	put64(atLengths+36+8, 2)(b)
	put64(atLengths+36+16, 2)(b)
	x, err := parseIndex(b, 24)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(x.documents, []int64{0, 2, 2, 3}); diff != "" {
		t.Error(diff)
	}
}

func FuzzParseIndex(f *testing.F) {
	f.Add(appendIndex(nil, codeUint16, []int32{3, 4, 5}), int64(24))
	f.Add(appendIndex(nil, codeInt32, nil), int64(0))
	for _, c := range hostile {
		f.Add(c.change(appendIndex(nil, codeUint16, []int32{3, 4, 5})), int64(24))
	}
	f.Fuzz(func(t *testing.T, data []byte, binBytes int64) {
		x, err := parseIndex(data, binBytes)
		if err != nil {
			return
		}
		// What was accepted can be read without looking further.
		for i, n := range x.lengths {
			if from := x.offsets[i]; n < 0 || from < 0 || from+int64(n)*x.tokenBytes() > binBytes {
				t.Errorf("sequence %d of %d tokens at %d lies outside %d bytes", i, n, from, binBytes)
			}
		}
		if again, err := parseIndex(appendIndex(nil, x.code, x.lengths), 1<<62); err != nil || !cmp.Equal(again.lengths, x.lengths) {
			t.Errorf("lengths do not survive: %v", err)
		}
	})
}

func TestBadFolders(t *testing.T) {
	edit := func(name string, change func(string) string) func(t *testing.T, dir string) {
		return func(t *testing.T, dir string) {
			t.Helper()
			path := filepath.Join(dir, name)
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			changed := change(string(data))
			if changed == string(data) {
				t.Fatal("nothing changed")
			}
			if err := os.WriteFile(path, []byte(changed), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	replace := func(old, new string) func(t *testing.T, dir string) {
		return edit("shards.json", func(s string) string { return strings.Replace(s, old, new, 1) })
	}
	byteAt := func(i int, b byte) func(string) string {
		return func(s string) string { return s[:i] + string([]byte{b}) + s[i+1:] }
	}
	for _, c := range []struct {
		name   string
		change func(t *testing.T, dir string)
		want   []string
	}{
		{"no folder", func(t *testing.T, dir string) { os.RemoveAll(dir) }, []string{"holds no shards", "shards.json"}},
		{"not JSON", edit("shards.json", func(s string) string { return s[:50] }), []string{"shards.json: unexpected end of JSON input"}},
		{"newer", replace(`"format": 1`, `"format": 2`), []string{"format 2, this ravn knows 1"}},
		{"dtype", replace(`"uint16"`, `"uint8"`), []string{`dtype "uint8" is neither uint16 nor int32`}},
		{"vocabulary", replace(`"vocab_size": 300`, `"vocab_size": 0`), []string{"vocab_size is 0, must be positive"}},
		{"not complete", replace(`"complete": true`, `"complete": false`), []string{"writing the shards was broken off"}},
		{"path for a section", replace(`"name": "wiki"`, `"name": "../wiki"`), []string{`section name "../wiki" begins with a dot or dash`}},
		{"path for a file", replace(`"name": "adl.bin"`, `"name": "../adl.bin"`), []string{`section "adl" has files "../adl.bin" and "adl.idx"`}},
		{"path for the table", replace(`"name": "spans.parquet"`, `"name": "/etc/passwd"`), []string{`the table of documents is called "/etc/passwd"`}},
		{"section twice", replace(`"name": "wiki"`, `"name": "adl"`), []string{`section "adl" stands there twice`}},
		{"token count", replace(`"tokens": `, `"tokens": 1`), []string{`section "wiki" has 97 documents of 1`}},
		{"negative", replace(`"documents": 97`, `"documents": -97`), []string{`section "wiki" has -97 documents`}},
		{"document count", replace(`"documents": 97`, `"documents": 96`), []string{"wiki.idx: 97 documents, shards.json says 96"}},
		{"other width", replace(`"uint16"`, `"int32"`), []string{`section "wiki" has 97 documents of`, `section "tiny" has 2 documents of`}},
		{"no .bin", func(t *testing.T, dir string) { os.Remove(filepath.Join(dir, "adl.bin")) }, []string{"adl.bin: no such file", "(make the shards again)"}},
		{"no .bin and no .idx", func(t *testing.T, dir string) {
			os.Remove(filepath.Join(dir, "adl.bin"))
			os.Remove(filepath.Join(dir, "wiki.idx"))
		}, []string{"adl.bin: no such file", "wiki.idx: no such file"}},
		{".bin cut", edit("adl.bin", func(s string) string { return s[2:] }), []string{"adl.bin holds ", " bytes, shards.json says "}},
		{".idx cut to nothing", edit("tiny.idx", func(string) string { return "" }), []string{"tiny.idx holds 0 bytes, shards.json says"}},
		{".bin a folder", func(t *testing.T, dir string) {
			os.Remove(filepath.Join(dir, "adl.bin"))
			os.Mkdir(filepath.Join(dir, "adl.bin"), 0o755)
		}, []string{"adl.bin is not a regular file"}},
		{"index of another .bin", edit("tiny.idx", byteAt(atCode, 4)), []string{"tiny.idx: sequence"}},
		{"a document without tokens", func(t *testing.T, dir string) {
			edit("tiny.idx", func(s string) string { // lengths a, b become 0, a+b; the second begins at 0
				b := []byte(s)
				n := binary.LittleEndian.Uint32(b[atLengths:]) + binary.LittleEndian.Uint32(b[atLengths+4:])
				put32(atLengths, 0)(b)
				put32(atLengths+4, int32(n))(b)
				put64(atLengths+8+8, 0)(b)
				return string(b)
			})(t, dir)
		}, []string{"tiny.idx: document 0 has no tokens"}},
		{"a gap", edit("tiny.idx", func(s string) string {
			b := []byte(s)
			put32(atLengths, int32(binary.LittleEndian.Uint32(b[atLengths:]))-1)(b)
			return string(b)
		}), []string{"tiny.idx: document 1 begins at token", "the one before it ends at"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "shards")
			writeSet(t, dir, three(), WriterOptions{})
			c.change(t, dir)
			s, err := Open(dir)
			if err == nil {
				s.Close()
			}
			check(t, err, c.want...)
		})
	}
}

// What Open lets through because sizes agree, Verify, the table or the batch finds.
func TestVerify(t *testing.T) {
	dir := t.TempDir()
	writeSet(t, dir, three(), WriterOptions{})
	if err := openSet(t, dir).Verify(); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"adl.bin", "spans.parquet"} {
		path := filepath.Join(dir, name)
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		data[1] = 0xff
		if err := os.WriteFile(path, data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	s := openSet(t, dir)
	check(t, s.Verify(), "adl.bin has SHA-256 ", "spans.parquet has SHA-256 ", "(make the shards again)")
	_, err := s.Documents()
	check(t, err, "spans.parquet has SHA-256 ", "(make the shards again)")
	o := newOrder(t, s, OrderOptions{Mixture: []Share{{"adl", 1}}, Rows: 100, T: 100})
	_, err = o.Batch(1)
	check(t, err, fmt.Sprintf("adl.bin: token 0 is %d, the vocabulary has 300", 0xff01))
	_, err = o.Spans(1)
	check(t, err, "spans.parquet has SHA-256 ")
	_, err = s.Tokens(nil, "adl", 0)
	check(t, err, "adl.bin: token 0 is ")
	_, err = s.Tokens(nil, "adl", 5)
	check(t, err, `section "adl" has no document 5; there are 5`)
	_, err = s.Tokens(nil, "xyz", 0)
	check(t, err, `no section "xyz"; there are: wiki, adl, tiny`)
	got, err := s.Tokens([]int32{7}, "tiny", 0)
	if err != nil || len(got) < 4 || got[0] != 7 || got[1] != 1 || got[len(got)-1] != 2 {
		t.Errorf("tokens %v, %v", got, err)
	}
}

// A table that belongs to other shards of the same number of documents.
func TestForeignTable(t *testing.T) {
	dir, other := t.TempDir(), t.TempDir()
	writeSet(t, dir, three(), WriterOptions{})
	in := three()
	in[2].Documents = documents(randomDocuments(4, "tiny", 2, 50)...)
	writeSet(t, other, in, WriterOptions{})
	data, err := os.ReadFile(filepath.Join(other, spansName))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, spansName), data, 0o644); err != nil {
		t.Fatal(err)
	}
	_, err = openSet(t, dir).Documents()
	check(t, err, "spans.parquet ", "(make the shards again)") // by size or by hash

	// Even when shards.json was changed to match.
	s := openSet(t, dir)
	sum := sha256.Sum256(data)
	s.info.Spans = FileInfo{Name: spansName, Bytes: int64(len(data)), SHA256: hex.EncodeToString(sum[:])}
	_, err = s.Documents()
	check(t, err, `row 102 says section "tiny", document 0`, "the index says")
}
