package corpus

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/parquet-go/parquet-go"
)

// The forms that Danish corpora had on Hugging Face, as structs. Texts are ours.
type (
	nowRow struct {
		ID         string `parquet:"id"`
		Text       string `parquet:"text"`
		Source     string `parquet:"source,dict"`
		Added      string `parquet:"added"`
		Created    string `parquet:"created"`
		TokenCount int64  `parquet:"token_count"`
	}
	restructuredRow struct {
		Text     string `parquet:"text"`
		Source   string `parquet:"source"`
		ID       string `parquet:"id"`
		Added    string `parquet:"added"`
		Created  string `parquet:"created"`
		License  string `parquet:"license"`
		Domain   string `parquet:"domain"`
		Metadata struct {
			Pretty string `parquet:"source-pretty"`
		} `parquet:"metadata"`
	}
	secondRow struct {
		Text     string `parquet:"text"`
		Source   string `parquet:"source"`
		ID       string `parquet:"id"`
		Added    string `parquet:"added"`
		Created  string `parquet:"created"`
		Metadata struct {
			Domain  string `parquet:"domain"`
			License string `parquet:"license"`
			Pretty  string `parquet:"source-pretty"`
		} `parquet:"metadata"`
	}
	partialRow struct {
		Text      string    `parquet:"text"`
		Source    string    `parquet:"source"`
		DocID     string    `parquet:"doc_id"`
		LICENSE   string    `parquet:"LICENSE"`
		URI       string    `parquet:"uri"`
		DateBuilt string    `parquet:"date_built"`
		Seen      time.Time `parquet:"seen,timestamp(millisecond)"`
		Tags      []string  `parquet:"tags,list"`
	}
)

func writeParquet[T any](t testing.TB, path string, group int, rows ...T) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	w := parquet.NewGenericWriter[T](f, parquet.Compression(&parquet.Zstd), parquet.MaxRowsPerRowGroup(int64(group)))
	if _, err := w.Write(rows); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

func describeAll(t *testing.T, path string, o OpenOptions) []string {
	t.Helper()
	c, err := Open(path, o)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, s := range c.Sections {
		for d, err := range s.Documents() {
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, fmt.Sprintf("%s|%s|%s|%s|%s|%s|%d", d.Section, d.ID, d.Text, d.License, d.Added, d.Created, d.Line))
		}
	}
	return out
}

func same(t *testing.T, what string, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s:\n got %s\nwant %s", what, strings.Join(got, "\n     "), strings.Join(want, "\n     "))
	}
}

func TestParquetForms(t *testing.T) {
	t.Run("now", func(t *testing.T) {
		dir := t.TempDir()
		writeParquet(t, filepath.Join(dir, "data", "ugler", "ugler.parquet"), 2,
			nowRow{"ugler_1", "Uglen sover om dagen.", "ugler", "2025-06-01", "2020-01-01, 2020-12-31", 6},
			nowRow{"ugler_2", "Musen løber.", "ugler", "2025-06-01", "1999-05-02, 1999-05-02", 3},
			nowRow{"ugler_3", "Æblet faldt.", "ugler", "2025-06-01", "", 3})
		if err := os.WriteFile(filepath.Join(dir, "data", "ugler", "ugler.md"), []byte("---\npretty_name: Ugler\nlicense: cc0-1.0\n---\n"), 0o644); err != nil {
			t.Fatal(err)
		}
		same(t, "documents", describeAll(t, dir, OpenOptions{License: "cc0-1.0"}),
			"ugler|ugler_1|Uglen sover om dagen.|CC0-1.0|2025-06-01|2020-01-01, 2020-12-31|1",
			"ugler|ugler_2|Musen løber.|CC0-1.0|2025-06-01|1999-05-02|2",
			"ugler|ugler_3|Æblet faldt.|CC0-1.0|2025-06-01||3")
		c, err := Open(dir, OpenOptions{})
		if err != nil || !slices.Contains(c.Sections[0].Claims, "ugler.md: cc0-1.0") {
			t.Errorf("the datasheet's licence is not a claim: %v, %v", c.Sections[0].Claims, err)
		}
	})
	t.Run("first restructuring", func(t *testing.T) {
		dir := t.TempDir()
		r := restructuredRow{Text: "Haren.", Source: "skov", ID: "skov_1", Added: "2024-11-20", Created: "2001-01-01, 2002-01-01", License: "cc-by-sa-4.0", Domain: "Natur"}
		r.Metadata.Pretty = "Skoven"
		writeParquet(t, filepath.Join(dir, "data", "skov", "skov.parquet"), 9, r)
		same(t, "documents", describeAll(t, dir, OpenOptions{}), "skov|skov_1|Haren.|CC-BY-SA-4.0|2024-11-20|2001-01-01, 2002-01-01|1")
	})
	t.Run("second", func(t *testing.T) {
		dir := t.TempDir()
		var r secondRow
		r.Text, r.Source, r.ID, r.Added, r.Created = "Ræven.", "skov", "skov_7", "2024-11-20", "2001-01-01, 2002-01-01"
		r.Metadata.Domain, r.Metadata.License, r.Metadata.Pretty = "Natur", "Creative Commons Attribution 4.0", "Skoven"
		writeParquet(t, filepath.Join(dir, "skov", "train-00000-of-00001.parquet"), 9, r)
		c, err := Open(dir, OpenOptions{})
		if err != nil {
			t.Fatal(err)
		}
		for d, err := range c.Sections[0].Documents() {
			if err != nil {
				t.Fatal(err)
			}
			if d.Section != "skov" || d.License != "CC-BY-4.0" || d.Meta["domain"] != "Natur" || d.Meta["source-pretty"] != "Skoven" || !slices.Contains(d.Claims, "parquet metadata.license field: Creative Commons Attribution 4.0") {
				t.Errorf("%+v", d)
			}
		}
	})
	t.Run("partial, many sources in one file", func(t *testing.T) {
		dir := t.TempDir()
		var rows []partialRow
		for i := range 10 {
			source := []string{"tv2r", "adl", "tv2r"}[min(i/4, 2)]
			rows = append(rows, partialRow{Text: fmt.Sprintf("Tekst %d", i), Source: source, DocID: fmt.Sprintf("%s_%d", source, i), LICENSE: "Creative Commons Legal Code\n\nCC0 1.0 Universal", DateBuilt: "NA", Seen: time.UnixMilli(1.7e12), Tags: []string{"a", "b"}})
		}
		writeParquet(t, filepath.Join(dir, "data", "train-00000-of-00001.parquet"), 3, rows...)
		var want []string
		for _, source := range []string{"adl", "tv2r"} {
			for i, r := range rows {
				if r.Source == source {
					want = append(want, fmt.Sprintf("%s|%s|%s|CC0-1.0|||%d", source, r.DocID, r.Text, i+1))
				}
			}
		}
		same(t, "documents", describeAll(t, dir, OpenOptions{}), want...)
		whole := describeAll(t, dir, OpenOptions{Section: "alt"})
		if len(whole) != 10 || !strings.HasPrefix(whole[0], "alt|tv2r_0|") {
			t.Errorf("under one name: %q", whole)
		}
	})
}

// TestParquetProblems: every row is checked, not the first alone; unreadable ones are named by file and row.
func TestParquetProblems(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "ugler.parquet")
	writeParquet(t, path, 2, nowRow{ID: "u_1", Text: "En."}, nowRow{ID: "u_2", Text: "To."}, nowRow{ID: "", Text: "Uden navn."}, nowRow{ID: "u_1", Text: "Igen."})
	c, err := Open(path, OpenOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, err = range c.Sections[0].Documents() {
		if err != nil {
			break
		}
	}
	for _, want := range []string{path + `:3: no "id"`, path + `:4: id "u_1" was already used at ` + path + ":1"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	if got := describeAll(t, path, OpenOptions{MaxErrors: 2}); len(got) != 2 {
		t.Errorf("with two errors allowed: %q", got)
	}
	writeParquet(t, filepath.Join(dir, "x", "x.parquet"), 2, struct {
		Body string `parquet:"body"`
	}{"hej"})
	if _, err := openParquetFile(filepath.Join(dir, "x", "x.parquet")); err == nil || !strings.Contains(err.Error(), `no column "text" (it has: body)`) {
		t.Errorf("without text: %v", err)
	}
}

// TestDamagedParquet cuts a file off at every length and changes every byte: it is read, refused or found damaged, and
// always soon.
func TestDamagedParquet(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ugler.parquet")
	writeParquet(t, path, 2, nowRow{"u_1", "Uglen sover.", "ugler", "2025-06-01", "", 3}, nowRow{"u_2", "Musen løber.", "ugler", "2025-06-01", "", 3}, nowRow{"u_3", "Haren.", "ugler", "2025-06-01", "", 1})
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := CheckParquet(bytes.NewReader(good), int64(len(good))); err != nil {
		t.Fatal(err)
	}
	for n := range good {
		if CheckParquet(bytes.NewReader(good[:n]), int64(n)) == nil {
			t.Fatalf("cut off after %d of %d bytes it passes", n, len(good))
		}
	}
	read := func(data []byte) {
		if err := os.WriteFile(path, data, 0o644); err != nil {
			t.Fatal(err)
		}
		c, err := Open(path, OpenOptions{Section: "u"})
		if err != nil {
			return
		}
		for _, err := range c.Sections[0].Documents() {
			if err != nil {
				return
			}
		}
	}
	start := time.Now()
	step := 1
	if testing.Short() {
		step = 7
	}
	for i := 0; i < len(good); i += step {
		for _, flip := range []byte{1, 0x80, 0xff} {
			bad := bytes.Clone(good)
			bad[i] ^= flip
			read(bad)
		}
	}
	t.Logf("%d damaged files in %v", 3*len(good)/step, time.Since(start))
}

func TestParquetRoundTrip(t *testing.T) {
	path := filepath.Join(t.TempDir(), "data", "ugler", "ugler.parquet")
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	w, err := CreateParquet(path)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Abort()
	long := strings.Repeat("Æ blå ø. ", 1000)
	for i, text := range []string{"Uglen.", long, "To\nlinjer\t\"citat\"."} {
		if err := w.Write(&Document{ID: fmt.Sprintf("ugler_%d", i), Section: "ugler", Text: text, Added: "2025-06-01", Created: "2020-01-02"}, 10+i); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Commit(); err != nil {
		t.Fatal(err)
	}
	p, err := openParquetFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got := columnNames(p.columns); got != "id, text, source, added, created, token_count" {
		t.Errorf("columns %s", got)
	}
	p.Close()
	same(t, "documents", describeAll(t, path, OpenOptions{}),
		"ugler|ugler_0|Uglen.||2025-06-01|2020-01-02|1", "ugler|ugler_1|"+long+"||2025-06-01|2020-01-02|2", "ugler|ugler_2|To\nlinjer\t\"citat\".||2025-06-01|2020-01-02|3")
}

const wet = "WARC/1.0\r\nWARC-Type: warcinfo\r\nContent-Type: application/warc-fields\r\nContent-Length: 5\r\n\r\na: b\n\r\n\r\n" +
	"WARC/1.0\r\nWARC-Type: conversion\r\nWARC-Target-URI: https://example.org/ugler\r\nWARC-Date: 2024-05-06T07:08:09Z\r\nWARC-Record-ID: <urn:uuid:11-22>\r\nWARC-Identified-Content-Language: dan,eng\r\nContent-Type: text/plain\r\nContent-Length: 15\r\n\r\nUgler er stærke\r\n\r\n" +
	"WARC/1.0\r\nWARC-Type: response\r\nContent-Type: application/http; msgtype=response\r\nContent-Length: 4\r\n\r\nHTML\r\n\r\n" +
	"WARC/1.0\r\nWARC-Type: conversion\r\nWARC-Record-ID: <urn:uuid:33>\r\nContent-Type: text/plain\r\nContent-Length: 3\r\n\r\nTo.\r\n\r\n"

func TestWARC(t *testing.T) {
	// "Ugler er stærke" has fifteen characters and sixteen bytes.
	text := strings.Replace(wet, "Content-Length: 15", "Content-Length: 16", 1)
	dir := t.TempDir()
	path := filepath.Join(dir, "a.warc.wet.gz")
	var b bytes.Buffer
	for _, part := range strings.SplitAfter(text, "\r\n\r\n\r\n") { // as archives are: a gzip member a record
		z := gzip.NewWriter(&b)
		z.Write([]byte(part))
		z.Close()
	}
	if err := os.WriteFile(path, b.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	c, err := Open(dir, OpenOptions{Section: "web"})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for d, err := range c.Sections[0].Documents() {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, fmt.Sprintf("%s|%s|%s|%s|%s|%d", d.ID, d.Text, d.URI, d.Added, d.Language, d.Line))
	}
	same(t, "records", got, "11-22|Ugler er stærke|https://example.org/ugler|2024-05-06|da|2", "33|To.||||4")
	if notes := strings.Join(c.Sections[0].Notes(), "\n"); !strings.Contains(notes, `1 records of kind "response application/http" are not text`) {
		t.Errorf("notes %q", notes)
	}
	for what, bad := range map[string]string{
		"record 2 is cut off after": text[:strings.Index(text, "Ugler er")+4],
		"its head is cut off":       text[:strings.Index(text, "WARC-Date")],
		`Content-Length "9x"`:       strings.Replace(text, "Content-Length: 16", "Content-Length: 9x", 1),
		`begins with "\x00"`:        strings.Replace(text, "To.\r\n\r\n", "To.\r\n\r\n\x00\r\n", 1),
		"has no WARC-Record-ID":     strings.Replace(text, "WARC-Record-ID: <urn:uuid:33>", "X: y", 1),
		"begins with":               strings.Replace(text, "Content-Length: 16", "Content-Length: 15", 1),
	} {
		path := filepath.Join(t.TempDir(), "b.wet")
		if err := os.WriteFile(path, []byte(bad), 0o644); err != nil {
			t.Fatal(err)
		}
		c, err := Open(path, OpenOptions{})
		if err != nil {
			t.Fatal(err)
		}
		for _, err = range c.Sections[0].Documents() {
			if err != nil {
				break
			}
		}
		if err == nil || !strings.Contains(err.Error(), what) || !strings.Contains(err.Error(), path+":") {
			t.Errorf("%v, want %q", err, what)
		}
	}
}

func FuzzCheckParquet(f *testing.F) {
	path := filepath.Join(f.TempDir(), "u.parquet")
	writeParquet(f, path, 2, nowRow{ID: "u_1", Text: "Uglen."}, nowRow{ID: "u_2", Text: "Musen."})
	data, err := os.ReadFile(path)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Fuzz(func(_ *testing.T, data []byte) { _ = CheckParquet(bytes.NewReader(data), int64(len(data))) })
}
