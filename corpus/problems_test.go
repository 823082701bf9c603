package corpus_test

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"ravn/corpus"
)

// Every bad input is refused with what and where; DIR stands for the folder.
func TestBadInput(t *testing.T) {
	jsonl := func(line string) map[string]string {
		return map[string]string{"x.jsonl": `{"id":"0","text":"god"}` + "\n" + line + "\n"}
	}
	many := strings.Repeat("linje\n", 1)
	tests := []struct {
		name  string
		files map[string]string
		o     corpus.OpenOptions
		want  string
	}{
		{"no text", jsonl(`{"id":"1"}`), corpus.OpenOptions{}, `DIR/x.jsonl:2: no "text"` + "\n        (add \"text\", or remove the line)"},
		{"null text", jsonl(`{"id":"1","text":null}`), corpus.OpenOptions{}, `DIR/x.jsonl:2: "text" is a null, not a string`},
		{"number as text", jsonl(`{"id":"1","text":17}`), corpus.OpenOptions{}, `DIR/x.jsonl:2: "text" is a number, not a string`},
		{"list as text", jsonl(`{"id":"1","text":["a"]}`), corpus.OpenOptions{}, `"text" is a array, not a string`},
		{"Text for text", jsonl(`{"id":"1","Text":"a"}`), corpus.OpenOptions{}, `DIR/x.jsonl:2: no "text"`},
		{"no id", jsonl(`{"text":"a"}`), corpus.OpenOptions{}, `DIR/x.jsonl:2: no "id"` + "\n        (add \"id\", different in every line: jq -c '.id = (input_line_number | tostring)')"},
		{"empty id", jsonl(`{"id":"","text":"a"}`), corpus.OpenOptions{}, `DIR/x.jsonl:2: no "id"`},
		{"id is an object", jsonl(`{"id":{},"text":"a"}`), corpus.OpenOptions{}, `"id" is a object, not a string`},
		{"same id twice", jsonl(`{"id":"0","text":"a"}`), corpus.OpenOptions{}, `DIR/x.jsonl:2: id "0" was already used at DIR/x.jsonl:1`},
		{"licence is a number", jsonl(`{"id":"1","text":"a","license":4}`), corpus.OpenOptions{}, `"license" is a number, not a string`},
		{"claims are not text", jsonl(`{"id":"1","text":"a","claims":[1]}`), corpus.OpenOptions{}, `"claims" is not a list of strings`},
		{"not JSON", jsonl(`Her er ingen JSON`), corpus.OpenOptions{}, `DIR/x.jsonl:2: byte 0: not a JSON object`},
		{"an array", jsonl(`[1,2]`), corpus.OpenOptions{}, `DIR/x.jsonl:2: byte 0: not a JSON object`},
		{"cut off", jsonl(`{"id":"1","text":"midt i`), corpus.OpenOptions{}, `DIR/x.jsonl:2: byte 17: the string that starts here has no closing "`},
		{"cut off after the value", jsonl(`{"id":"1","text":"a"`), corpus.OpenOptions{}, `DIR/x.jsonl:2: byte 20: the line ends inside the JSON object`},
		{"two objects", jsonl(`{"id":"1","text":"a"}{"id":"2"}`), corpus.OpenOptions{}, `byte 21: more text after the JSON object`},
		{"a field twice", jsonl(`{"id":"1","text":"a","text":"b"}`), corpus.OpenOptions{}, `byte 21: field "text" is there twice`},
		{"trailing comma", jsonl(`{"id":"1","text":"a",}`), corpus.OpenOptions{}, `byte 21: expected a string in "`},
		{"no colon", jsonl(`{"id" "1"}`), corpus.OpenOptions{}, `byte 6: expected : after id`},
		{"single quotes", jsonl(`{'id':'1'}`), corpus.OpenOptions{}, `byte 1: expected a string in "`},
		{"unknown escape", jsonl(`{"id":"1","text":"\x41"}`), corpus.OpenOptions{}, `byte 18: unknown escape \x41`},
		{"half a surrogate pair", jsonl(`{"id":"1","text":"\ud83e slut"}`), corpus.OpenOptions{}, `byte 18: half of a surrogate pair, \ud83e`},
		{"raw control character", jsonl("{\"id\":\"1\",\"text\":\"a\x01\"}"), corpus.OpenOptions{}, `byte 19: control character 0x01 inside a string (write it as \u0001)`},
		{"bad value", jsonl(`{"id":"1","n":tru,"text":"a"}`), corpus.OpenOptions{}, `byte 14: a value that is not JSON`},
		{"Latin-1 line", jsonl("{\"id\":\"1\",\"text\":\"R\xf8d\"}"), corpus.OpenOptions{}, "DIR/x.jsonl:2: byte 19: byte 0xF8 is not UTF-8, nor are 0 more\n        (convert it: iconv -f WINDOWS-1252 -t UTF-8"},
		{"UTF-16 file", map[string]string{"x.jsonl": "\xff\xfe{\x00"}, corpus.OpenOptions{}, `DIR/x.jsonl:1: byte 0: starts like UTF-16`},
		{"line too long", jsonl(`{"id":"1","text":"` + strings.Repeat("a", 100) + `"}`), corpus.OpenOptions{MaxBytes: 64}, "DIR/x.jsonl:2: the line is longer than 64 bytes\n        (split it, or raise MaxBytes)"},
		{"gzip cut off", map[string]string{"x.jsonl.gz": compressed(t, ".gz", strings.Repeat(`{"id":"1","text":"a"}`, 99))[:30]}, corpus.OpenOptions{}, "DIR/x.jsonl.gz: cut off after line 0: unexpected EOF\n        (fetch or write the file again)"},
		{"zstd cut off", map[string]string{"x.jsonl.zst": compressed(t, ".zst", `{"id":"1","text":"a"}`+"\n")[:20]}, corpus.OpenOptions{}, "DIR/x.jsonl.zst: cut off after line 0"},
		{"not gzip", map[string]string{"x.jsonl.gz": "ren tekst, som ikke er pakket"}, corpus.OpenOptions{}, "DIR/x.jsonl.gz: gzip: invalid header\n        (is it gzip?"},
		{"not zstd", map[string]string{"x.jsonl.zst": "ren tekst, som ikke er pakket"}, corpus.OpenOptions{}, "DIR/x.jsonl.zst: damaged after line 0"},
		{"Latin-1 document", map[string]string{"gl/gl_1": "R\xf8dgr\xf8d"}, corpus.OpenOptions{}, "DIR/gl/gl_1: byte 1: byte 0xF8 is not UTF-8, nor are 1 more"},
		{"UTF-16 document", map[string]string{"gl/gl_1": "\xff\xfeh\x00"}, corpus.OpenOptions{}, "DIR/gl/gl_1: byte 0: starts like UTF-16"},
		{"stray file", map[string]string{"gl/gl_1": many, "gl/Makefile": many}, corpus.OpenOptions{}, "DIR/gl/Makefile: is neither a document (gl_…) nor a known side file\n        (rename it, or move it out of the section)"},
		{"document too long", map[string]string{"gl/gl_1": many}, corpus.OpenOptions{MaxBytes: 3}, "DIR/gl/gl_1: 6 bytes, at most 3 are read"},
		{"metadata without doc_id", map[string]string{"gl/gl_1": many, "gl/gl.jsonl": `{"uri":"u"}`}, corpus.OpenOptions{}, `DIR/gl/gl.jsonl:1: no doc_id`},
		{"metadata twice", map[string]string{"gl/gl_1": many, "gl/gl.jsonl": "{\"doc_id\":\"gl_1\"}\n{\"doc_id\":\"gl_1\"}"}, corpus.OpenOptions{}, `DIR/gl/gl.jsonl:2: doc_id "gl_1" was already described in line 1`},
		{"metadata not JSON", map[string]string{"gl/gl_1": many, "gl/gl.jsonl": `{"doc_id": gl_1}`}, corpus.OpenOptions{}, `DIR/gl/gl.jsonl:1: byte 11: a value that is not JSON`},
		{"metadata of a wrong kind", map[string]string{"gl/gl_1": many, "gl/gl.jsonl": `{"doc_id":"gl_1","uri":5}`}, corpus.OpenOptions{}, `DIR/gl/gl.jsonl:1: "uri" is a number, not a string`},
		{"nothing there", map[string]string{"a.pdf": "x"}, corpus.OpenOptions{}, "DIR: nothing to read here\n        (expected sektioner/ or sections/ with"},
		{"wrong format", map[string]string{"a.txt": "x"}, corpus.OpenOptions{Format: "jsonl"}, "DIR: no sections of format jsonl"},
		{"unknown format", map[string]string{"a.txt": "x"}, corpus.OpenOptions{Format: "csv"}, `format "csv" is not known (use auto, gigaword, jsonl, parquet, warc or text)`},
		{"one name for two", map[string]string{"a/a_1": many, "b/b_1": many}, corpus.OpenOptions{Section: "c"}, `has 2 sections, so they cannot all be called "c"`},
		{"two of one name", map[string]string{"x/a.jsonl": "", "y/a.jsonl.gz": ""}, corpus.OpenOptions{}, `both are section "a"`},
		{"negative MaxErrors", map[string]string{"a.txt": "x"}, corpus.OpenOptions{MaxErrors: -1}, `MaxErrors is -1 (use 0 or more)`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := tree(t, tt.files)
			_, err := readAll(dir, tt.o)
			if err == nil {
				t.Fatalf("no error, want %s", tt.want)
			}
			got := strings.ReplaceAll(filepath.ToSlash(err.Error()), filepath.ToSlash(dir), "DIR")
			if !strings.Contains(got, tt.want) {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
			if !strings.HasPrefix(got, "corpus: ") {
				t.Errorf("%s does not say which package", got)
			}
		})
	}
}

func TestMaxErrors(t *testing.T) {
	var b strings.Builder
	for i := range 60 {
		if i%2 == 1 {
			fmt.Fprintf(&b, "{\"id\":\"%d\"}\n", i)
		} else {
			fmt.Fprintf(&b, "{\"id\":\"%d\",\"text\":\"a\"}\n", i)
		}
	}
	path := filepath.Join(tree(t, map[string]string{"x.jsonl": b.String()}), "x.jsonl")

	// None allowed: nothing after the first, and twenty are told before giving up.
	docs, err := readAll(path, corpus.OpenOptions{})
	var p *corpus.Problems
	if !errors.As(err, &p) || len(p.List) != 20 || !p.More || len(docs) != 1 {
		t.Errorf("%d documents, %v", len(docs), err)
	}
	if !strings.Contains(err.Error(), "x.jsonl:40: no \"text\"") || !strings.Contains(err.Error(), "stopped after 20 unreadable records") {
		t.Error(err)
	}

	// 25 allowed, 30 there: the documents up to the 26th problem.
	docs, err = readAll(path, corpus.OpenOptions{MaxErrors: 25})
	if !errors.As(err, &p) || len(p.List) != 26 || len(docs) != 26 {
		t.Errorf("%d documents, %v", len(docs), err)
	}
	if !strings.Contains(err.Error(), "and 6 more") {
		t.Error(err)
	}

	// 30 allowed: all good ones.
	docs, err = readAll(path, corpus.OpenOptions{MaxErrors: 30})
	if err != nil || len(docs) != 30 {
		t.Errorf("%d documents, %v", len(docs), err)
	}
}

func TestStopEarly(t *testing.T) {
	c := open(t, filepath.Join("testdata", "gigaword"), corpus.OpenOptions{})
	n := 0
	for _, err := range c.Sections[0].Documents() {
		if err != nil {
			t.Fatal(err)
		}
		if n++; n == 2 {
			break
		}
	}
	if n != 2 || len(documents(t, c.Sections[0])) != 6 {
		t.Error("a section can be left and read again")
	}
}
