package corpus_test

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"ravn/corpus"
)

func TestJSONLFields(t *testing.T) {
	dir := tree(t, map[string]string{
		"blandet.jsonl": "\ufeff" +
			`{"id": "a", "text": "Løven er løs.\nLuk døren \u00e6\ud83e\udd81!", "source": "avis", "license": "cc0", "metadata": {"license": "CC-BY-4.0", "title": "indre", "sprog": 1}, "title": "Ydre", "added": "2024-02-29", "created": "1990-01-01, 1995-12-31"}` + "\r\n\n" +
			`{"metadata": {"uri": "https://example.org/b", "author": "Bo"}, "text": "", "licence": null, "id": 7, "year_published": 1918, "language": "nb", "extra": [1, {"x": null}]}` + "\n" +
			`{"doc_id":"c","text":"c","LICENSE":"Creative Commons Legal Code\n\nCC0 1.0 Universal\n\nlong text","claims":["LICENSE file: CC0-1.0"],"url":"u1","uri":"u2"}`,
	})
	path := filepath.Join(dir, "blandet.jsonl")
	want := []*corpus.Document{
		{
			ID: "a", Text: "Løven er løs.\nLuk døren æ🦁!", Section: "blandet", Source: "avis", License: "CC0-1.0", Title: "Ydre",
			Added: "2024-02-29", Created: "1990-01-01, 1995-12-31", File: path, Line: 1,
			Claims: []string{"jsonl license field: cc0", "jsonl metadata.license field: CC-BY-4.0"},
			Meta:   map[string]string{"title": "indre", "sprog": "1"},
		},
		{
			ID: "7", Section: "blandet", Source: "blandet", Language: "nb", URI: "https://example.org/b", Author: "Bo",
			Created: "1918-01-01, 1918-12-31", File: path, Line: 3,
			Meta: map[string]string{"year_published": "1918", "extra": `[1,{"x":null}]`},
		},
		{
			ID: "c", Text: "c", Section: "blandet", Source: "blandet", License: "CC0-1.0", URI: "u1", File: path, Line: 4,
			Claims: []string{"LICENSE file: CC0-1.0"}, Meta: map[string]string{"uri": "u2"},
		},
	}
	got := documents(t, open(t, path, corpus.OpenOptions{}).Sections[0])
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}

	// What the caller states fills gaps and is a claim beside the others.
	got = documents(t, open(t, path, corpus.OpenOptions{License: "CC-BY-SA-4.0", Language: "da", Section: "min"}).Sections[0])
	if got[0].License != "CC0-1.0" || got[1].License != "CC-BY-SA-4.0" || got[0].Language != "da" || got[1].Language != "nb" || got[1].Section != "min" {
		t.Errorf("options: %+v", got)
	}
	if diff := cmp.Diff([]string{"option: CC-BY-SA-4.0", "jsonl license field: cc0", "jsonl metadata.license field: CC-BY-4.0"}, got[0].Claims); diff != "" {
		t.Error(diff)
	}
}

func TestWriterRoundTrip(t *testing.T) {
	want := avis("dir")
	want[1].Meta = map[string]string{"citat": "\"\\\x00\x1f\u2028\t/", "": "tom nøgle"}
	for _, ext := range []string{".jsonl", ".jsonl.gz", ".jsonl.zst"} {
		var files [2][]byte
		for i := range files {
			path := filepath.Join(t.TempDir(), "avis"+ext)
			w, err := corpus.CreateJSONL(path)
			if err != nil {
				t.Fatal(err)
			}
			for _, d := range want {
				if err := w.Write(d); err != nil {
					t.Fatal(err)
				}
			}
			if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("%s is there before Commit: %v", path, err)
			}
			if err := w.Commit(); err != nil {
				t.Fatal(err)
			}
			if err := w.Abort(); err != nil {
				t.Errorf("Abort after Commit: %v", err)
			}
			got := documents(t, open(t, path, corpus.OpenOptions{Language: "da"}).Sections[0])
			for j, d := range got {
				d.File, d.Line, d.Notes = want[j].File, 0, want[j].Notes
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%s (-want +got)\n%s", ext, diff)
			}
			if files[i], err = os.ReadFile(path); err != nil {
				t.Fatal(err)
			}
		}
		if !bytes.Equal(files[0], files[1]) {
			t.Errorf("%s: the same documents gave different bytes", ext)
		}
	}
	dir := t.TempDir()
	w, err := corpus.CreateJSONL(filepath.Join(dir, "x.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	w.Write(want[0])
	w.Abort()
	if left, _ := os.ReadDir(dir); len(left) > 0 {
		t.Errorf("Abort left %v", left)
	}
}

func TestJSONLFolders(t *testing.T) {
	rec := func(id string) string { return `{"id":"` + id + `","text":"t"}` + "\n" }
	dir := tree(t, map[string]string{
		"flat/b.jsonl": rec("1"), "flat/a.jsonl": rec("1"), "flat/LICENSE": "CC-BY 4.0",
		"dolma/navn/documents/00.jsonl": rec("1"), "dolma/navn/documents/01.jsonl": rec("2"), "dolma/navn/attributes/x.jsonl": rec("3"), "dolma/navn/navn.md": "---\nlicense: cc0-1.0\n---\n",
		"run/sections/a.jsonl": rec("1"), "run/removed/a.jsonl": rec("2"),
	})
	for _, tt := range []struct {
		path, section string
		want          []string // name/documents license claims
	}{
		{"flat", "", []string{"a/1 CC-BY-4.0", "b/1 CC-BY-4.0"}},
		{"dolma", "", []string{"navn/2 "}},
		{"dolma", "et", []string{"et/3 "}},
		{"run", "", []string{"a/1 "}},
	} {
		var got []string
		for _, s := range open(t, filepath.Join(dir, tt.path), corpus.OpenOptions{Section: tt.section}).Sections {
			got = append(got, s.Name+"/"+string(rune('0'+len(documents(t, s))))+" "+s.License)
		}
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%s %q (-want +got)\n%s", tt.path, tt.section, diff)
		}
	}
	s := open(t, filepath.Join(dir, "dolma"), corpus.OpenOptions{}).Sections[0]
	if diff := cmp.Diff([]string{"navn.md: cc0-1.0"}, s.Claims); diff != "" {
		t.Errorf("the datasheet's front matter is a claim\n%s", diff)
	}
}

func TestTextFolder(t *testing.T) {
	dir := tree(t, map[string]string{"breve/1.txt": "Kære Ib\n", "breve/aar/2.txt": "\ufeffKære Åse\r\n", "breve/README.txt": "om brevene", "breve/x.pdf": "%PDF"})
	docs := documents(t, open(t, filepath.Join(dir, "breve"), corpus.OpenOptions{License: "CC0", Language: "da"}).Sections[0])
	if len(docs) != 2 || docs[0].ID != "1" || docs[1].ID != "aar/2" || docs[1].Text != "Kære Åse\r\n" || docs[0].License != "CC0-1.0" || docs[0].Language != "da" || docs[0].Section != "breve" {
		t.Errorf("%+v", docs)
	}
	if diff := cmp.Diff([]string{"option: CC0"}, docs[0].Claims); diff != "" {
		t.Error(diff)
	}
}

func TestRepair(t *testing.T) {
	dir := tree(t, map[string]string{
		"gl/gl_1": "R\xf8dgr\xf8d med fl\xf8de på", "gl/LICENSE": "CC0",
		"j.jsonl": "{\"id\":\"1\",\"text\":\"R\xf8dgr\xf8d \\ud800 slut\"}\n",
	})
	o := corpus.OpenOptions{Repair: true}
	d := documents(t, open(t, filepath.Join(dir, "gl"), o).Sections[0])[0]
	if want := "Rødgrød med fløde på"; d.Text != want {
		t.Errorf("got %q, want %q", d.Text, want)
	}
	if diff := cmp.Diff([]string{"3 bytes that are not UTF-8 read as Windows-1252, the first at byte 1"}, d.Notes[:1]); diff != "" {
		t.Error(diff)
	}
	d = documents(t, open(t, filepath.Join(dir, "j.jsonl"), o).Sections[0])[0]
	if want := "Rødgrød \ufffd slut"; d.Text != want {
		t.Errorf("got %q, want %q", d.Text, want)
	}
}

// compressed returns text as gzip or zstd.
func compressed(t testing.TB, ext, text string) string {
	t.Helper()
	var b bytes.Buffer
	if ext == ".gz" {
		w := gzip.NewWriter(&b)
		w.Write([]byte(text))
		w.Close()
		return b.String()
	}
	w, err := zstd.NewWriter(&b)
	if err != nil {
		t.Fatal(err)
	}
	w.Write([]byte(text))
	w.Close()
	return b.String()
}

// Files of several compressed parts, one behind the other, are one file.
func TestConcatenatedParts(t *testing.T) {
	for _, ext := range []string{".gz", ".zst"} {
		text := compressed(t, ext, `{"id":"1","text":"a"}`+"\n") + compressed(t, ext, `{"id":"2","text":"b"}`+"\n")
		dir := tree(t, map[string]string{"x.jsonl" + ext: text})
		if got := documents(t, open(t, dir, corpus.OpenOptions{}).Sections[0]); len(got) != 2 {
			t.Errorf("%s: %d documents, want 2", ext, len(got))
		}
	}
}
