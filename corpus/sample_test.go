package corpus_test

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"ravn/corpus"
	"ravn/internal/sampledata"
)

// The table of gigaword-sample/README.md: documents, words between white space, bytes, licence.
var sampleSections = []struct {
	name                   string
	documents, words, size int
	license                string
}{
	{"adl", 39, 3274457, 18995807, "CC0-1.0"},
	{"botxt", 22, 115441, 609069, "CC0-1.0"},
	{"depbank", 95, 17656, 110516, "CC-BY-SA-4.0"},
	{"ft", 37, 2365985, 13961130, "CC0-1.0"},
	{"retsinformationdk", 777, 1975209, 13996060, "LicenseRef-DK-Ophavsretsloven-9"},
	{"wiki", 443, 78382, 499089, "CC-BY-SA-4.0"},
}

func TestSampleAgreesWithItsREADME(t *testing.T) {
	root := filepath.Join(sampledata.Dir(t), "gigaword-sample")
	for _, path := range []string{filepath.Join(root, "sections"), root} {
		c, err := corpus.Open(path, corpus.OpenOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if got, want := len(c.Sections), len(sampleSections); got != want {
			t.Fatalf("%s: %d sections, want %d", path, got, want)
		}
		for i, want := range sampleSections {
			s := c.Sections[i]
			if s.Name != want.name || s.License != want.license || s.Language != "da" {
				t.Errorf("section %s %s %s, want %s %s da", s.Name, s.License, s.Language, want.name, want.license)
			}
			if path != root {
				continue
			}
			documents, words, size := 0, 0, 0
			for d, err := range s.Documents() {
				if err != nil {
					t.Fatal(err)
				}
				documents++
				words += len(strings.Fields(d.Text))
				size += len(d.Text)
				if len(d.Notes) > 0 {
					t.Errorf("%s: %q", d.ID, d.Notes)
				}
				if want.name == "adl" && (d.Author == "" || len(d.Created) != len("1918-01-01, 1918-12-31") || d.Added != "2026-11-22") {
					t.Errorf("%s: author %q, created %q, added %q", d.ID, d.Author, d.Created, d.Added)
				}
				if want.name == "retsinformationdk" && d.Added != "2026-11-22" { // written "sön 22 nov 2026 …"
					t.Errorf("%s: added %q", d.ID, d.Added)
				}
			}
			if documents != want.documents || words != want.words || size != want.size {
				t.Errorf("%s: %d documents, %d words, %d bytes; the README says %d, %d, %d",
					s.Name, documents, words, size, want.documents, want.words, want.size)
			}
			for _, note := range s.Notes() { // what SOURCE.md says at length is for a person, not a claim
				if !strings.Contains(note, "SOURCE.md: remark on the licence: ") {
					t.Errorf("%s: note %q", s.Name, note)
				}
			}
		}
	}
}

// The tables of heldout/README.md and replay-en/README.md: documents and bytes by file, over all its sources.
func TestSampleRecordFiles(t *testing.T) {
	dir := sampledata.Dir(t)
	for _, tt := range []struct {
		file            string
		documents, size int
		licenses        map[string]int
	}{
		{"heldout/da.jsonl.gz", 90, 764394 + 23377 + 284812 + 456904 + 63248, map[string]int{"CC0-1.0": 7, "LicenseRef-DK-Ophavsretsloven-9": 27, "CC-BY-SA-4.0": 56}},
		{"heldout/nb.jsonl.gz", 538, 835240 + 897536 + 562859, map[string]int{"LicenseRef-Public-Domain": 4, "NLOD-2.0": 34, "CC-BY-SA-4.0": 500}},
		{"replay-en/replay-en.jsonl.gz", 322, 1154371 + 5843822 + 1252064 + 1989984 + 4607753, map[string]int{"CC0-1.0": 165 + 47 + 5, "LicenseRef-Public-Domain": 15 + 90}},
	} {
		c, err := corpus.Open(filepath.Join(dir, tt.file), corpus.OpenOptions{})
		if err != nil {
			t.Fatal(err)
		}
		documents, size := 0, 0
		licenses := map[string]int{}
		for d, err := range c.Sections[0].Documents() {
			if err != nil {
				t.Fatal(err)
			}
			documents++
			size += len(d.Text)
			licenses[d.License]++
			if d.Meta["origin"] == "" || d.Source == c.Sections[0].Name || d.URI == "" {
				t.Errorf("%s: origin %q, source %q, uri %q", d.ID, d.Meta["origin"], d.Source, d.URI)
			}
		}
		if documents != tt.documents || size != tt.size {
			t.Errorf("%s: %d documents, %d bytes; the README says %d, %d", tt.file, documents, size, tt.documents, tt.size)
		}
		if diff := cmp.Diff(tt.licenses, licenses); diff != "" {
			t.Errorf("%s: licences (-want +got)\n%s", tt.file, diff)
		}
	}
}
