package synth_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"ravn/corpus"
	"ravn/corpus/synth"
)

const text = "Færgen sejler fra Rønne klokken otte, og om bord er der kaffe, brød og en avis til hver af de rejsende, som skal til Ystad. "

func source(t *testing.T) *corpus.Corpus {
	t.Helper()
	dir := t.TempDir()
	lines := ""
	for _, id := range []string{"a", "b", "c"} {
		lines += `{"id":"` + id + `","text":"` + id + " " + strings.Repeat(text, 20) + `","license":"CC0-1.0","language":"da"}` + "\n"
	}
	if err := os.WriteFile(filepath.Join(dir, "avis.jsonl"), []byte(lines), 0o644); err != nil {
		t.Fatal(err)
	}
	c, err := corpus.Open(dir, corpus.OpenOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestWrite(t *testing.T) {
	var files []string
	for range 2 {
		dir := filepath.Join(t.TempDir(), "ud")
		made, err := synth.Write(context.Background(), source(t), dir, synth.Options{Bytes: 200_000, Exact: 0.2, Near: 0.2, Seed: 1})
		if err != nil {
			t.Fatal(err)
		}
		if made.Bytes < 200_000 || made.Bytes > 215_000 || made.Exact < 5 || made.Near < 5 {
			t.Errorf("%+v", made)
		}
		all := ""
		for _, name := range []string{"text/avis.jsonl", "text/copies.jsonl", "truth.jsonl"} {
			data, err := os.ReadFile(filepath.Join(dir, name))
			if err != nil {
				t.Fatal(err)
			}
			all += string(data)
		}
		files = append(files, all)

		c, err := corpus.Open(filepath.Join(dir, "text"), corpus.OpenOptions{})
		if err != nil {
			t.Fatal(err)
		}
		texts := map[string]string{}
		var bytes int64
		for _, s := range c.Sections {
			for d, err := range s.Documents() {
				if err != nil {
					t.Fatal(err)
				}
				texts[d.ID], bytes = d.Text, bytes+int64(len(d.Text))
			}
		}
		if int64(len(texts)) != made.Documents || bytes != made.Bytes {
			t.Errorf("%d documents, %d bytes were written, not %+v", len(texts), bytes, made)
		}
		if texts["a.0"] != "a "+strings.TrimSuffix(strings.Repeat(text, 20), "") {
			t.Errorf("the first round is not the source: %q", texts["a.0"])
		}
		if n := changed(texts["a.0"], texts["a.1"]); n < 100 || n > 180 { // 501 words, of which 440 are plain; a third, less those that met themselves
			t.Errorf("%d words of the second round differ", n)
		}
		for id, text := range texts {
			base, kind, _ := strings.Cut(id, ".near")
			if base != id && kind == "" {
				if n := changed(texts[base], text); n != 3 { // words 100, 300 and 500 of 501
					t.Errorf("%s: %d words differ", id, n)
				}
			}
		}
	}
	if files[0] != files[1] {
		t.Error("two runs differ")
	}
}

func changed(a, b string) int {
	x, y := strings.Fields(a), strings.Fields(b)
	if len(x) != len(y) {
		return -1
	}
	n := 0
	for i := range x {
		if x[i] != y[i] {
			n++
		}
	}
	return n
}

func TestRefuses(t *testing.T) {
	full := t.TempDir()
	if err := os.WriteFile(filepath.Join(full, "x"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		dir  string
		o    synth.Options
		want string
	}{
		{full, synth.DefaultOptions(1000), "is not empty"},
		{filepath.Join(full, "ny"), synth.Options{}, "0 bytes"},
		{filepath.Join(full, "ny"), synth.Options{Bytes: 9, Exact: 0.4, Near: 0.2}, "shares of copies"},
	} {
		if _, err := synth.Write(context.Background(), source(t), tt.dir, tt.o); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("got %v, want %q", err, tt.want)
		}
	}
}
