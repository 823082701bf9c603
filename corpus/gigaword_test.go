package corpus_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"ravn/corpus"
)

// avis is what testdata/gigaword/sektioner/avis holds, by hand.
func avis(dir string) []*corpus.Document {
	claims := []string{"LICENSE file: CC0-1.0", "README.md: CC-BY-SA 4.0"}
	doc := func(id, text string) *corpus.Document {
		return &corpus.Document{
			ID: id, Text: text, Section: "avis", Source: "avis", License: "CC0-1.0", Language: "da", Claims: claims,
			File: filepath.Join(dir, "avis", id),
		}
	}
	d1 := doc("avis_001", "Kommunen vil plante tusind nye træer langs åen til foråret.\nDet koster en halv million kroner.\n")
	d1.URI, d1.Created, d1.Added = "https://example.org/1", "2020-09-14", "2019-11-13"
	d1.Meta = map[string]string{
		"date_published": "Mon Sep 14 10:28:26 2020 CEST +0200", "date_built": "ons 13 nov 2019 12:42:34 CET +0100",
		"location_name": "Århus", "location_latlong": "[56.15,10.2]",
	}
	d2 := doc("avis_002", "")
	d2.Meta = map[string]string{"date_built": "NA"}
	d3 := doc("avis_003", "  \tForskydning er ikke en fejl.\r\nLinjen ender som på Windows.\r\n")
	d3.Created, d3.Title, d3.Author = "1887-01-01, 1887-12-31", "Om linjer", "Ane Hansen"
	d3.Meta = map[string]string{"year_published": "1887"}
	d5 := doc("avis_005", "Færgen til Ærø sejler igen i morgen tidlig.\n")
	d5.Created = "2026-11-22"
	d5.Meta = map[string]string{"date_published": "Sun Nov 22 21:05:50 2026"}
	dot := doc("avis_1.2", "Teksten begynder med et usynligt mærke.\n")
	dot.License = "CC-BY-4.0"
	dot.Claims = append(append([]string{}, claims...), "metadata license field: CC-BY 4.0")
	dot.Meta = map[string]string{"date_built": "engang i går"}
	dot.Notes = []string{"byte order mark taken off", `date_built "engang i går": is in no known form of date`}
	none := doc("avis_nometa", "Ingen har skrevet noget om denne tekst.\n")
	none.Notes = []string{"no metadata record"}
	return []*corpus.Document{d1, d2, d3, d5, dot, none}
}

func TestGigawordLayout(t *testing.T) {
	root := filepath.Join("testdata", "gigaword")
	dir := filepath.Join(root, "sektioner")
	c := open(t, root, corpus.OpenOptions{})
	var names []string
	for _, s := range c.Sections {
		names = append(names, s.Name+" "+s.License)
	}
	if diff := cmp.Diff([]string{"avis CC0-1.0", "kvidder ", "tale LicenseRef-DK-Ophavsretsloven-9"}, names); diff != "" {
		t.Fatal(diff)
	}

	if diff := cmp.Diff(avis(dir), documents(t, c.Sections[0])); diff != "" {
		t.Errorf("avis (-want +got)\n%s", diff)
	}
	want := []string{
		filepath.Join(dir, "avis", "README.md") + ": remark on the licence: nogle af artiklerne er skrevet af læsere, som ikke er blevet spurgt, og skal ses efter af et menneske, før de bruges.",
		filepath.Join(dir, "avis", "avis.jsonl") + `:7: no file for doc_id "avis_borte"`,
	}
	if diff := cmp.Diff(want, c.Sections[0].Notes()); diff != "" {
		t.Errorf("notes (-want +got)\n%s", diff)
	}

	tweets := documents(t, c.Sections[1])
	if len(tweets) != 2 || tweets[0].ID != "kvidder_2020_1001" || tweets[1].Text != "Hvem har set min cykel?\n" || tweets[0].License != "" {
		t.Errorf("the folder level more: %+v", tweets)
	}
	if notes := c.Sections[1].Notes(); len(notes) != 3 || !strings.HasSuffix(notes[0], "no kvidder.jsonl: documents have no metadata") {
		t.Errorf("notes %q", notes)
	}

	talk := documents(t, c.Sections[2])
	if len(talk) != 1 || talk[0].Created != "2020-09-14" || !strings.HasPrefix(talk[0].Text, "TALER 1: ") {
		t.Errorf("talere.jsonl and SOURCE.md are not documents: %+v", talk)
	}
}

func TestGigawordIsFoundFromAnyLevel(t *testing.T) {
	base := tree(t, map[string]string{
		"dagw/sektioner/brev/brev_1": "Kære Anna\n", "dagw/sektioner/brev/LICENSE": "CC0",
		"flat/brev/brev_1": "Kære Anna\n", "flat/.git/brev_2": "x", "flat/noget/andet": "x",
		"gone/sections/brev/brev.jsonl": `{"doc_id": "brev_1"}`,
	})
	if err := os.Symlink(filepath.Join(base, "flat", "brev"), filepath.Join(base, "flat", "brev2")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Join(base, "flat", "brev"), filepath.Join(base, "brev")); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		path string
		want int // documents in section brev
	}{
		{"", 1}, {"dagw", 1}, {"dagw/sektioner", 1}, {"dagw/sektioner/brev", 1}, {"flat", 1}, {"brev", 1}, {"gone", 0},
	} {
		c := open(t, filepath.Join(base, tt.path), corpus.OpenOptions{})
		s, ok := c.Find("brev")
		if !ok {
			t.Errorf("%q: no section brev", tt.path)
			continue
		}
		if got := len(documents(t, s)); got != tt.want {
			t.Errorf("%q: %d documents, want %d", tt.path, got, tt.want)
		}
	}
	c := open(t, filepath.Join(base, "flat"), corpus.OpenOptions{})
	if want := []string{filepath.Join(base, "flat", "brev2") + ": no files brev2_…: passed over", filepath.Join(base, "flat", "noget") + ": no files noget_…: passed over"}; !cmp.Equal(want, c.Notes) {
		t.Errorf("notes %q, want %q", c.Notes, want)
	}
}

// A line buffer, a scanner's limit or a fixed array somewhere would show here: the longest real document has 30.3 M
// characters.
func TestDocumentOfThirtyMegabytes(t *testing.T) {
	line := "Der var engang en hest, som ikke kunne holde op med at fortælle om sin ferie på Læsø. "
	text := strings.Repeat(line, 30_300_000/len([]rune(line))+1)
	dir := tree(t, map[string]string{"hest/hest_1": text, "hest/LICENSE": "CC0"})
	docs := documents(t, open(t, dir, corpus.OpenOptions{}).Sections[0])
	if len(docs) != 1 || docs[0].Text != text {
		t.Fatal("the document did not come back")
	}
	path := filepath.Join(dir, "ud.jsonl.zst")
	w, err := corpus.CreateJSONL(path)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Abort()
	if err := w.Write(docs[0]); err != nil {
		t.Fatal(err)
	}
	if err := w.Commit(); err != nil {
		t.Fatal(err)
	}
	back := documents(t, open(t, path, corpus.OpenOptions{}).Sections[0])
	if len(back) != 1 || back[0].Text != text || back[0].License != "CC0-1.0" {
		t.Fatal("the line did not come back")
	}
}
