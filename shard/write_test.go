package shard

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"iter"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"ravn/corpus"
)

// Two documents, byte by byte, worked out by hand from the drawing in the package comment.
func TestFilesByHand(t *testing.T) {
	input := []SectionInput{{Name: "adl", Documents: documents(doc("x", "ab"), doc("empty", ""), doc("y", "c"))}}
	idx := func(code, l0, l1, o1 byte) string {
		return "MMIDIDX\x00\x00" + "\x01\x00\x00\x00\x00\x00\x00\x00" + string(rune(code)) +
			"\x02\x00\x00\x00\x00\x00\x00\x00" + "\x03\x00\x00\x00\x00\x00\x00\x00" +
			string([]byte{l0, 0, 0, 0, l1, 0, 0, 0}) +
			"\x00\x00\x00\x00\x00\x00\x00\x00" + string([]byte{o1, 0, 0, 0, 0, 0, 0, 0}) +
			"\x00\x00\x00\x00\x00\x00\x00\x00" + "\x01\x00\x00\x00\x00\x00\x00\x00" + "\x02\x00\x00\x00\x00\x00\x00\x00"
	}
	for _, c := range []struct {
		name, separators string
		tokenizer        Encoder
		bin, idx         string
	}{
		// a is 97: 100 = 0x64 with narrow, 70097 = 0x111d1 with wide.
		{"uint16, both", BOSEOS, narrow, "\x01\x00\x64\x00\x65\x00\x02\x00" + "\x01\x00\x66\x00\x02\x00", idx(8, 4, 3, 8)},
		{"uint16, EOS", EOS, narrow, "\x64\x00\x65\x00\x02\x00" + "\x66\x00\x02\x00", idx(8, 3, 2, 6)},
		{"uint16, none", None, narrow, "\x64\x00\x65\x00" + "\x66\x00", idx(8, 2, 1, 4)},
		{"int32", "", wide, "\x01\x00\x00\x00\xd1\x11\x01\x00\xd2\x11\x01\x00\x02\x00\x00\x00" + "\x01\x00\x00\x00\xd3\x11\x01\x00\x02\x00\x00\x00", idx(4, 4, 3, 16)},
		{"largest uint16", None, letters{65499, 3, -1, -1}, "\x64\x00\x65\x00" + "\x66\x00", idx(8, 2, 1, 4)},
		{"smallest int32", None, letters{65500, 3, -1, -1}, "\x64\x00\x00\x00\x65\x00\x00\x00" + "\x66\x00\x00\x00", idx(4, 2, 1, 8)},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			info := writeSet(t, dir, input, WriterOptions{Tokenizer: c.tokenizer, Separators: c.separators})
			files := folder(t, dir)
			if got := files["adl.bin"]; got != c.bin {
				t.Errorf("bin %x, want %x", got, c.bin)
			}
			if got := files["adl.idx"]; got != c.idx {
				t.Errorf("idx\n%x, want\n%x", got, c.idx)
			}
			if len(files) != 4 {
				t.Errorf("%d files, want adl.bin, adl.idx, spans.parquet, shards.json", len(files))
			}
			s := info.Section("adl")
			if s.Documents != 2 || s.Empty != 1 || s.TextBytes != 3 {
				t.Errorf("counts %+v", s)
			}
			openSet(t, dir)
		})
	}
}

func TestDocumentRows(t *testing.T) {
	dir := t.TempDir()
	writeSet(t, dir, []SectionInput{
		{Name: "empty", Documents: documents()},
		{Name: "adl", License: "CC0-1.0", Language: "da", Role: "target", Documents: documents(
			doc("adl_1", "ab"), &corpus.Document{ID: "adl_2", Text: "abc", License: "CC-BY-4.0", Language: "nb", Source: "kb"})},
		{Name: "pep", Role: "replay", Documents: documents(doc("pep_1", "a"))},
	}, WriterOptions{})
	got, err := openSet(t, dir).Documents()
	if err != nil {
		t.Fatal(err)
	}
	sha := func(s string) string { h := sha256.Sum256([]byte(s)); return hex.EncodeToString(h[:]) }
	want := []DocumentRow{
		{"adl", 0, "adl_1", "CC0-1.0", "da", "target", "", 0, 4, 2, sha("ab")},
		{"adl", 1, "adl_2", "CC-BY-4.0", "nb", "target", "kb", 4, 5, 3, sha("abc")},
		{"pep", 0, "pep_1", "", "", "replay", "", 0, 3, 1, "ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb"}, // printf a | sha256sum
	}
	if diff := cmp.Diff(got, want); diff != "" {
		t.Errorf("rows (-got +want):\n%s", diff)
	}
}

func TestWorkersDoNotMatter(t *testing.T) {
	input := func() []SectionInput {
		return []SectionInput{{Name: "many", Documents: documents(randomDocuments(5, "many", 3000, 700)...)}}
	}
	one := t.TempDir()
	writeSet(t, one, input(), WriterOptions{Workers: 1})
	want := folder(t, one)
	for _, workers := range []int{2, 7} {
		dir := t.TempDir()
		writeSet(t, dir, input(), WriterOptions{Workers: workers})
		same(t, folder(t, dir), want)
	}
}

// The reader is 20 lines of numpy that know nothing of ravn.
func TestNumpyReads(t *testing.T) {
	if err := exec.Command("/usr/bin/python3", "-c", "import numpy").Run(); err != nil {
		t.Skip("no /usr/bin/python3 with numpy")
	}
	for _, tokenizer := range []Encoder{narrow, wide} {
		dir := t.TempDir()
		writeSet(t, dir, three(), WriterOptions{Tokenizer: tokenizer})
		for _, s := range three() {
			out, err := exec.Command("/usr/bin/python3", "testdata/read.py", filepath.Join(dir, s.Name)).Output()
			if err != nil {
				t.Fatal(err)
			}
			var got, want [][]int32
			if err := json.Unmarshal(out, &got); err != nil {
				t.Fatal(err)
			}
			for d := range s.Documents {
				want = append(want, append(tokenizer.EncodeText([]int32{1}, d.Text), 2))
			}
			if diff := cmp.Diff(got, want); diff != "" {
				t.Errorf("section %s (-numpy +want):\n%s", s.Name, diff)
			}
		}
	}
}

// counted tells which sections were read.
func counted(sections []SectionInput, read *[]string) []SectionInput {
	for i := range sections {
		docs, name := sections[i].Documents, sections[i].Name
		sections[i].Documents = func(yield func(*corpus.Document, error) bool) {
			*read = append(*read, name)
			docs(yield)
		}
	}
	return sections
}

// What is kept of an earlier Write, what is done again, and that the folder is the same as one made anew.
func TestKeep(t *testing.T) {
	fresh := t.TempDir()
	writeSet(t, fresh, three(), WriterOptions{})
	want := folder(t, fresh)
	overwrite := func(t *testing.T, dir, name string, change func([]byte) []byte) {
		path := filepath.Join(dir, name)
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, change(data), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	flip := func(data []byte) []byte { data[len(data)/2] ^= 1; return data }
	for _, c := range []struct {
		name   string
		before func(t *testing.T, dir string)
		read   string
	}{
		{"nothing changed", func(*testing.T, string) {}, "[]"},
		{"a .bin changed", func(t *testing.T, dir string) { overwrite(t, dir, "adl.bin", flip) }, "[adl]"},
		{"a .bin cut", func(t *testing.T, dir string) { overwrite(t, dir, "wiki.bin", func(b []byte) []byte { return b[2:] }) }, "[wiki]"},
		{"an .idx removed", func(t *testing.T, dir string) { os.Remove(filepath.Join(dir, "tiny.idx")) }, "[tiny]"},
		{"the table changed", func(t *testing.T, dir string) { overwrite(t, dir, "spans.parquet", flip) }, "[wiki adl tiny]"},
		{"shards.json torn", func(t *testing.T, dir string) {
			overwrite(t, dir, "shards.json", func(b []byte) []byte { return b[:99] })
		}, "[wiki adl tiny]"},
		{"another tokenizer", func(t *testing.T, dir string) {
			writeSet(t, dir, three(), WriterOptions{Tokenizer: wide})
		}, "[wiki adl tiny]"},
		{"other separators", func(t *testing.T, dir string) {
			writeSet(t, dir, three(), WriterOptions{Separators: None})
		}, "[wiki adl tiny]"},
		{"another source", func(t *testing.T, dir string) {
			in := three()
			in[1].Source, in[1].Documents = "a2", documents(doc("adl_new", "new"))
			writeSet(t, dir, in, WriterOptions{})
		}, "[adl]"},
		{"another licence", func(t *testing.T, dir string) {
			in := three()
			in[2].License = "CC-BY-4.0"
			writeSet(t, dir, in, WriterOptions{})
		}, "[tiny]"},
		{"one section more", func(t *testing.T, dir string) {
			in := append(three(), SectionInput{Name: "more", Source: "m", Documents: documents(doc("m", "m"))})
			writeSet(t, dir, in, WriterOptions{})
		}, "[]"},
		{"another order", func(t *testing.T, dir string) {
			in := three()
			in[0], in[2] = in[2], in[0]
			writeSet(t, dir, in, WriterOptions{})
		}, "[]"},
		{"broken off", func(t *testing.T, dir string) {
			in := three()
			in[0].Source = "w2"
			in[0].Documents = func(yield func(*corpus.Document, error) bool) { yield(nil, errTorn) }
			_, err := Write(context.Background(), dir, in, WriterOptions{Tokenizer: narrow})
			check(t, err, `section "wiki": adl.jsonl:3: not JSON`)
			_, err = Open(dir)
			check(t, err, "writing the shards was broken off", "run the stage again")
		}, "[wiki]"},
		{"a killed writer's leftovers", func(t *testing.T, dir string) {
			if err := os.WriteFile(filepath.Join(dir, "shards.json"), nil, 0o644); err != nil {
				t.Fatal(err)
			}
		}, "[wiki adl tiny]"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			writeSet(t, dir, three(), WriterOptions{})
			c.before(t, dir)
			var read []string
			info := writeSet(t, dir, counted(three(), &read), WriterOptions{})
			if got := fmt.Sprint(read); got != c.read {
				t.Errorf("read %s, want %s", got, c.read)
			}
			same(t, folder(t, dir), want)
			opened, err := ReadInfo(dir)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(info, opened); diff != "" {
				t.Errorf("Info (-returned +read):\n%s", diff)
			}
		})
	}
}

// A reader that fails, or a person who stops it, costs the section at work and no other.
func TestKeepAfterError(t *testing.T) {
	fresh, dir := t.TempDir(), t.TempDir()
	writeSet(t, fresh, three(), WriterOptions{})
	in := three()
	in[2].Documents = func(yield func(*corpus.Document, error) bool) { yield(nil, errTorn) }
	_, err := Write(context.Background(), dir, in, WriterOptions{Tokenizer: narrow})
	check(t, err, errTorn.Error())
	var read []string
	writeSet(t, dir, counted(three(), &read), WriterOptions{})
	if got := fmt.Sprint(read); got != "[tiny]" {
		t.Errorf("read %s, want [tiny]", got)
	}
	same(t, folder(t, dir), folder(t, fresh))
}

// A section whose source is not known is done again each time.
func TestUnknownSource(t *testing.T) {
	dir := t.TempDir()
	var read []string
	for range 2 {
		in := three()
		in[1].Source = ""
		writeSet(t, dir, counted(in, &read), WriterOptions{})
	}
	if got := fmt.Sprint(read); got != "[wiki adl tiny adl]" {
		t.Errorf("read %s", got)
	}
}

func TestWriteErrors(t *testing.T) {
	ok := documents(doc("x", "a"))
	section := func(name string) SectionInput { return SectionInput{Name: name, Documents: ok} }
	after := func(n int, err error) iter.Seq2[*corpus.Document, error] {
		return func(yield func(*corpus.Document, error) bool) {
			for i := range n {
				if !yield(doc(fmt.Sprint(i), "abc"), nil) {
					return
				}
			}
			yield(nil, err)
		}
	}
	for _, c := range []struct {
		name     string
		sections []SectionInput
		options  WriterOptions
		want     []string
	}{
		{"no tokenizer", []SectionInput{section("a")}, WriterOptions{}, []string{"no tokenizer"}},
		{"no sections", nil, WriterOptions{Tokenizer: narrow}, []string{"no sections to write"}},
		{"separators", []SectionInput{section("a")}, WriterOptions{Tokenizer: narrow, Separators: "both"}, []string{`separators "both"; there are bos_eos, eos and none`}},
		{"no BOS", []SectionInput{section("a")}, WriterOptions{Tokenizer: letters{300, 3, -1, 2}}, []string{"the tokenizer has no BOS", "(take eos, or none)"}},
		{"no EOS", []SectionInput{section("a")}, WriterOptions{Tokenizer: letters{300, 3, 1, -1}, Separators: EOS}, []string{"separators eos: the tokenizer has no EOS"}},
		{"name up", []SectionInput{section("../a")}, WriterOptions{Tokenizer: narrow}, []string{`section name "../a" begins with a dot or dash`}},
		{"name with slash", []SectionInput{section("a/b")}, WriterOptions{Tokenizer: narrow}, []string{`section name "a/b" holds '/'`}},
		{"name with NUL", []SectionInput{section("a\x00")}, WriterOptions{Tokenizer: narrow}, []string{`holds '\x00'`}},
		{"no name", []SectionInput{section("")}, WriterOptions{Tokenizer: narrow}, []string{`section name "" is empty`}},
		{"not UTF-8", []SectionInput{section("a\xff")}, WriterOptions{Tokenizer: narrow}, []string{"is not UTF-8"}},
		{"long name", []SectionInput{section(strings.Repeat("a", 101))}, WriterOptions{Tokenizer: narrow}, []string{"is longer than 100 bytes"}},
		{"name twice", []SectionInput{section("Wiki"), section("wiki")}, WriterOptions{Tokenizer: narrow}, []string{`sections "Wiki" and "wiki" would have files of one name`}},
		{"several", []SectionInput{section("a b"), {Name: "c"}}, WriterOptions{Tokenizer: narrow, Separators: "x"}, []string{`holds ' '`, `section "c" has no documents to read`, `separators "x"`}},
		{"bad id", []SectionInput{section("a")}, WriterOptions{Tokenizer: letters{100, 3, 1, 2}}, []string{`section "a": document "x": the tokenizer gave id 100, its vocabulary has 100`}},
		{"negative id", []SectionInput{section("a")}, WriterOptions{Tokenizer: letters{100000, -1000, 1, 2}}, []string{"the tokenizer gave id -903"}},
		{"no document id", []SectionInput{{Name: "a", Documents: documents(&corpus.Document{Text: "x", File: "a.jsonl", Line: 7})}}, WriterOptions{Tokenizer: narrow}, []string{`section "a": a.jsonl:7: a document has no id`}},
		{"reader fails", []SectionInput{{Name: "a", Documents: after(1000, errTorn)}}, WriterOptions{Tokenizer: narrow}, []string{`section "a": adl.jsonl:3: not JSON`}},
		{"reader fails at once", []SectionInput{{Name: "a", Documents: after(0, errTorn)}}, WriterOptions{Tokenizer: narrow}, []string{"adl.jsonl:3: not JSON"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "shards")
			_, err := Write(context.Background(), dir, c.sections, c.options)
			check(t, err, c.want...)
			if _, err := Open(dir); err == nil {
				t.Error("a failed Write left shards that open")
			}
			for name := range folderOrNone(dir) {
				if strings.Contains(name, ".tmp") {
					t.Errorf("left %s", name)
				}
			}
		})
	}
}

func folderOrNone(dir string) map[string]bool {
	names := map[string]bool{}
	entries, _ := os.ReadDir(dir)
	for _, e := range entries {
		names[e.Name()] = true
	}
	return names
}

func TestWriteCancelled(t *testing.T) {
	ctx, cancel := context.WithCancelCause(context.Background())
	in := []SectionInput{{Name: "a", Documents: func(yield func(*corpus.Document, error) bool) {
		for i := 0; ; i++ { // without end
			if i == 5000 {
				cancel(fmt.Errorf("enough"))
			}
			if !yield(doc(fmt.Sprint(i), "abc"), nil) {
				return
			}
		}
	}}}
	_, err := Write(ctx, t.TempDir(), in, WriterOptions{Tokenizer: narrow, Workers: 3})
	check(t, err, `section "a": enough`)
}
