package builtin

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

type document struct{ ID, Text, Source, License, Language, Title string }

type row struct {
	Text       string  `json:"text"`
	Label      string  `json:"label"`
	Corruption *string `json:"corruption_type"`
}

func readLines[T any](t *testing.T, name string) []T {
	t.Helper()
	data, err := fs.ReadFile(FS(), name)
	if err != nil {
		t.Fatal(err)
	}
	if !utf8.Valid(data) || !norm.NFC.IsNormal(data) {
		t.Errorf("%s is not UTF-8 in NFC", name)
	}
	var all []T
	sc := bufio.NewScanner(bytes.NewReader(data))
	for sc.Scan() {
		d := json.NewDecoder(bytes.NewReader(sc.Bytes()))
		d.DisallowUnknownFields()
		var v T
		if err := d.Decode(&v); err != nil {
			t.Fatalf("%s:%d: %v", name, len(all)+1, err)
		}
		all = append(all, v)
	}
	return all
}

func corpusOf(t *testing.T, pattern string) map[string][]document {
	t.Helper()
	names, err := fs.Glob(FS(), pattern)
	if err != nil || len(names) == 0 {
		t.Fatalf("%s: %v, %v", pattern, names, err)
	}
	sections := map[string][]document{}
	for _, n := range names {
		sections[strings.TrimSuffix(path.Base(n), ".jsonl")] = readLines[document](t, n)
	}
	return sections
}

func TestSections(t *testing.T) {
	want := map[string]struct {
		n       int
		license string
	}{
		"da-arkiv":         {6, "LicenseRef-All-Rights-Reserved"},
		"da-fortaellinger": {23, "CC0-1.0"},
		"da-natur":         {16, "CC0-1.0"},
		"da-opskrifter":    {10, "CC-BY-4.0"},
		"da-samfund":       {17, "CC0-1.0"},
		"en-howto":         {20, "CC0-1.0"},
		"en-nature":        {20, "CC0-1.0"},
		"en-stories":       {24, "CC0-1.0"},
	}
	got := corpusOf(t, "corpus/*/*.jsonl")
	seen, bytesOf := map[string]bool{}, map[string]int{}
	for name, w := range want {
		if len(got[name]) != w.n {
			t.Errorf("%s has %d documents, want %d", name, len(got[name]), w.n)
		}
		for _, d := range got[name] {
			if seen[d.ID] || !strings.HasPrefix(d.ID, name+"_") {
				t.Errorf("id %q in %s is repeated or does not start with its section", d.ID, name)
			}
			seen[d.ID] = true
			if d.License != w.license || d.Language != name[:2] || d.Source == "" {
				t.Errorf("%s: license %q, language %q, source %q", d.ID, d.License, d.Language, d.Source)
			}
			bytesOf[d.Language] += len(d.Text)
			if words := len(strings.Fields(d.Text)); !strings.Contains(d.ID, "_plantet-") && (words < 110 || words > 300) {
				t.Errorf("%s has %d words, want 110 to 300", d.ID, words)
			}
		}
	}
	if len(got) != len(want) {
		t.Errorf("%d sections, want %d", len(got), len(want))
	}
	if bytesOf["da"] < 60_000 || bytesOf["en"] < 60_000 {
		t.Errorf("bytes of text by language: %v, want 60,000 of da and of en", bytesOf)
	}
}

// stopWords are frequent in one of the four languages and not words, or rare ones, in the others.
var stopWords = map[string][]string{
	"da": {"af", "hvad", "ikke", "noget", "bliver", "kun", "også", "mig", "blev", "sig", "at", "nogen", "ud", "op"},
	"en": {"the", "and", "of", "was", "is", "with", "it", "that", "to", "in", "you", "from"},
	"nb": {"av", "hva", "ikke", "noen", "blir", "etter", "bare", "også", "meg", "ble", "seg", "å", "opp", "ut", "fram"},
	"sv": {"och", "är", "inte", "av", "någon", "blir", "bara", "också", "ska", "att", "upp", "ut"},
}

func guess(text string) string {
	counts := map[string]int{}
	for _, w := range strings.Fields(strings.ToLower(text)) {
		w = strings.Trim(w, `.,:;!?"«»`)
		for lang, words := range stopWords {
			if slices.Contains(words, w) {
				counts[lang]++
			}
		}
	}
	best := "da"
	for _, lang := range []string{"en", "nb", "sv"} {
		if counts[lang] > counts[best] {
			best = lang
		}
	}
	return best
}

func TestLanguages(t *testing.T) {
	check := func(docs []document) {
		for _, d := range docs {
			if len(d.Text) < 100 {
				continue
			}
			if got := guess(d.Text); got != d.Language {
				t.Errorf("%s says %s and reads like %s", d.ID, d.Language, got)
			}
		}
	}
	for _, docs := range corpusOf(t, "corpus/*/*.jsonl") {
		check(docs)
	}
	for _, docs := range corpusOf(t, "heldout/*.jsonl") {
		check(docs)
	}
}

func squeeze(s string) string { return strings.ToLower(strings.Join(strings.Fields(s), " ")) }

func TestPlanted(t *testing.T) {
	byID := map[string]document{}
	for _, docs := range corpusOf(t, "corpus/da/*.jsonl") {
		for _, d := range docs {
			byID[d.ID] = d
		}
	}
	first, copied := byID["da-fortaellinger_noeglen"], byID["da-fortaellinger_plantet-dublet"]
	if first.Text == "" || first.Text == copied.Text || squeeze(first.Text) != squeeze(copied.Text) {
		t.Error("the planted duplicate must differ from its original in spacing and case only")
	}
	if d, ok := byID["da-samfund_plantet-tom"]; !ok || d.Text != "" {
		t.Errorf("the planted empty document holds %q", d.Text)
	}
	if d := byID["da-samfund_plantet-kort"]; d.Text != "Lukket i dag." {
		t.Errorf("the planted short document holds %q", d.Text)
	}
	overlaps := func(text string) (n int) {
		for _, r := range readLines[row](t, "eval/mini-scala-da/test.jsonl") {
			if r.Label == "correct" && strings.Contains(text, r.Text) {
				n++
			}
		}
		return n
	}
	for id, d := range byID {
		want := 0
		if id == "da-samfund_plantet-oeveark" {
			want = 6
		}
		if got := overlaps(d.Text); got != want {
			t.Errorf("%s holds %d test sentences, want %d", id, got, want)
		}
	}
}

func TestHeldoutIsApart(t *testing.T) {
	want := map[string]int{"da": 10, "en": 10, "nb": 6, "sv": 6}
	grams := map[string]string{}
	eachGram := func(text string, f func(string)) {
		words := strings.Fields(squeeze(text))
		for i := 0; i+8 <= len(words); i++ {
			f(strings.Join(words[i:i+8], " "))
		}
	}
	for _, docs := range corpusOf(t, "corpus/*/*.jsonl") {
		for _, d := range docs {
			eachGram(d.Text, func(g string) { grams[g] = d.ID })
		}
	}
	for lang, docs := range corpusOf(t, "heldout/*.jsonl") {
		if len(docs) != want[lang] {
			t.Errorf("%d held-out documents of %s, want %d", len(docs), lang, want[lang])
		}
		for _, d := range docs {
			if words := len(strings.Fields(d.Text)); words < 100 || words > 250 {
				t.Errorf("%s has %d words, want 100 to 250", d.ID, words)
			}
			eachGram(d.Text, func(g string) {
				if id, ok := grams[g]; ok {
					t.Errorf("%s shares %q with %s", d.ID, g, id)
				}
			})
		}
	}
}

// corrupts reports whether bad is good with one word deleted or two neighbours swapped. Punctuation stays in its place.
func corrupts(good, bad, kind string) bool {
	split := func(s string) (words []string) {
		for _, w := range strings.Fields(s) {
			words = append(words, strings.Trim(w, ".,?!"))
		}
		return words
	}
	g, b := split(good), split(bad)
	for i := range g {
		switch kind {
		case "delete":
			if slices.Equal(slices.Delete(slices.Clone(g), i, i+1), b) {
				return true
			}
		case "flip_neighbours":
			c := slices.Clone(g)
			if i+1 < len(c) {
				c[i], c[i+1] = c[i+1], c[i]
				if slices.Equal(c, b) {
					return true
				}
			}
		}
	}
	return false
}

func TestAcceptability(t *testing.T) {
	for _, lang := range []string{"da", "en"} {
		all := map[string]bool{}
		for split, n := range map[string]int{"train": 32, "test": 64} {
			var correct []string
			var wrong []row
			for _, r := range readLines[row](t, "eval/mini-scala-"+lang+"/"+split+".jsonl") {
				if all[r.Text] {
					t.Errorf("%s: %q is there twice", lang, r.Text)
				}
				all[r.Text] = true
				switch {
				case r.Label == "correct" && r.Corruption == nil:
					correct = append(correct, r.Text)
				case r.Label == "incorrect" && r.Corruption != nil:
					wrong = append(wrong, r)
				default:
					t.Errorf("%s: label %q with corruption %v", r.Text, r.Label, r.Corruption)
				}
			}
			if len(correct) != n || len(wrong) != n {
				t.Errorf("%s %s: %d correct and %d incorrect rows, want %d of each", lang, split, len(correct), len(wrong), n)
			}
			for _, r := range wrong {
				if !slices.ContainsFunc(correct, func(good string) bool { return corrupts(good, r.Text, *r.Corruption) }) {
					t.Errorf("%q comes from no sentence by %s", r.Text, *r.Corruption)
				}
			}
		}
	}
}

func TestSentiment(t *testing.T) {
	seen := map[string]bool{}
	for split, n := range map[string]int{"train": 12, "test": 20} {
		counts := map[string]int{}
		for _, r := range readLines[row](t, "eval/mini-sentiment-da/"+split+".jsonl") {
			counts[r.Label]++
			if seen[r.Text] {
				t.Errorf("%q is there twice", r.Text)
			}
			seen[r.Text] = true
		}
		if len(counts) != 3 || counts["positive"] != n || counts["neutral"] != n || counts["negative"] != n {
			t.Errorf("%s: %v, want %d of each", split, counts, n)
		}
	}
}

func TestExtract(t *testing.T) {
	dir := t.TempDir()
	if err := Extract(dir); err != nil {
		t.Fatal(err)
	}
	n := 0
	err := fs.WalkDir(FS(), ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		n++
		want, _ := fs.ReadFile(FS(), name)
		got, err := os.ReadFile(filepath.Join(dir, name))
		if !bytes.Equal(got, want) {
			t.Errorf("%s is not what was embedded (%v)", name, err)
		}
		return nil
	})
	if err != nil || n != 1+8+4+12 {
		t.Errorf("%d files, %v; want 25", n, err)
	}
	if err := Extract(filepath.Join(dir, "SOURCE.md")); err == nil || !strings.Contains(err.Error(), "builtin: ") {
		t.Errorf("extracting over a file: %v", err)
	}
}
