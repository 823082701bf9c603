package decontam

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/text/unicode/norm"

	"ravn/corpus"
	"ravn/internal/sampledata"
	"ravn/pipeline"
)

// one makes a stage for a single benchmark.
func one(t testing.TB, o Options, texts ...string) *Stage {
	t.Helper()
	s, err := New([]Benchmark{{Name: "prøve", Texts: texts}}, o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestSearch(t *testing.T) {
	const cat = "Katten sad længe på taget og så efter månen."
	const long = "Da skibet endelig kom i havn efter tre uger på det åbne hav stod hele byen på kajen og vinkede med flag og tørklæder"
	for _, tt := range []struct {
		name, text string
		o          Options
		items      []string
		want       []Hit
	}{
		{"in the middle", "Se: katten sad længe på taget, og så efter MÅNEN! Ja.", Options{}, []string{cat}, []Hit{{Whole: true}}},
		{"over a line end", "Katten sad længe på taget og\nså efter månen", Options{}, []string{cat}, []Hit{{Whole: true}}},
		{"not composed", "Katten sad længe pa\u030a taget og sa\u030a efter ma\u030anen", Options{}, []string{cat}, []Hit{{Whole: true}}},
		{"a word is another", "Katten sad længe på taget og så efter solen", Options{}, []string{cat}, nil},
		{"cut off", "Katten sad længe på taget og så efter", Options{}, []string{cat}, nil},
		{"part of a longer word", "Katten sad længe på taget og så efter månens lys", Options{}, []string{cat}, nil},
		{"hyphens and dots part words", "f.eks. den 1600-tallets bro over å-en", Options{}, []string{"F eks den 1600 tallets bro over å en"}, []Hit{{Whole: true}}},
		{"five words are too few", "Katten sad længe på taget", Options{}, []string{"Katten sad længe på taget", cat}, nil},
		{"five words if asked for", "Katten sad længe på taget", Options{MinWords: 5}, []string{"Katten sad længe på taget", cat}, []Hit{{Whole: true}}},
		{"second of two", cat, Options{}, []string{"Hunden sov hele dagen under det store bord.", cat}, []Hit{{Item: 1, Whole: true}}},
		{"two items of one text", cat, Options{}, []string{cat, strings.ToUpper(cat)}, []Hit{{Whole: true}, {Item: 1, Whole: true}}},
		{"one line of a text", cat, Options{}, []string{"Overskrift\n" + cat + "\nHunden sov hele dagen under det store bord."}, []Hit{{Whole: true}}},
		// long has 24 words and so twelve 13-grams. Words 1 to 20 hold eight of them, words 1 to 19 seven.
		{"twenty words of it", strings.Join(strings.Fields(long)[:20], " ") + " ja", Options{}, []string{long}, []Hit{{NGrams: 8}}},
		{"nineteen", strings.Join(strings.Fields(long)[:19], " ") + " ja", Options{}, []string{long}, nil},
		{"nineteen are enough if asked", strings.Join(strings.Fields(long)[:19], " ") + " ja", Options{MinHits: 7}, []string{long}, []Hit{{NGrams: 7}}},
		{"the same n-gram often is one", strings.Repeat(strings.Join(strings.Fields(long)[:13], " ")+". Nej. ", 9), Options{}, []string{long}, nil},
		{"by 8-grams", strings.Join(strings.Fields(long)[:15], " ") + " ja", Options{NGram: 8}, []string{long}, []Hit{{NGrams: 8}}},
		{"n-grams off", strings.Join(strings.Fields(long)[:20], " ") + " ja", Options{MinHits: -1}, []string{long}, nil},
		{"whole, with its n-grams", long, Options{}, []string{long}, []Hit{{Whole: true, NGrams: 12}}},
		{"nothing", "", Options{}, []string{cat}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, one(t, tt.o, tt.items...).Search(tt.text)); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

// judge examines a document and notes what was found, as a build does.
func judge(s *Stage, d *corpus.Document) pipeline.Verdict {
	x := pipeline.NewDoc(d)
	v := s.Examine(x)
	s.Note(&pipeline.Member{ID: d.ID, Section: d.Section}, x.Attached())
	return v
}

func TestVerdictAndReport(t *testing.T) {
	texts := []string{"Katten sad længe på taget og så efter månen.", "Kort.", "Hunden sov hele dagen under det store bord."}
	for _, action := range []string{Drop, Mark} {
		s := one(t, Options{Action: action}, texts...)
		for _, d := range []*corpus.Document{
			{Section: "avis", ID: "1", Text: texts[0] + texts[2]},
			{Section: "avis", ID: "2", Text: "Intet her, kære ven, som nogen har set før."},
			{Section: "wiki", ID: "1", Text: "Og " + texts[0]},
		} {
			v := judge(s, d)
			clean := d.ID == "2"
			if v.Keep != (clean || action == Mark) || clean != (v.Reason == "") {
				t.Errorf("%s: %+v", action, v)
			}
			if want := `holds 2 texts of prøve, 2 of them word for word, the first: item 0, "Katten sad længe på taget og så efter månen."`; d.ID == "1" && d.Section == "avis" && v.Detail != want {
				t.Errorf("got %s, want %s", v.Detail, want)
			}
		}
		want := []pipeline.BenchmarkOverlap{{
			Name: "prøve", Action: action, Items: 3, Checked: 2, Hit: 2, Whole: 2,
			Sections:  map[string]pipeline.SectionOverlap{"avis": {Items: 2, Documents: 1}, "wiki": {Items: 1, Documents: 1}},
			Documents: []string{"avis/1", "wiki/1"},
			Found: []pipeline.ItemHit{
				{Item: 0, Whole: true, NumDocuments: 2, Documents: []string{"avis/1", "wiki/1"}},
				{Item: 2, Whole: true, NumDocuments: 1, Documents: []string{"avis/1"}},
			},
		}}
		if diff := cmp.Diff(want, s.Report()); diff != "" {
			t.Errorf("%s (-want +got)\n%s", action, diff)
		}
	}
}

func TestNewRefuses(t *testing.T) {
	good := Benchmark{Name: "a", Texts: []string{"en to tre fire fem seks"}}
	for _, tt := range []struct {
		b    []Benchmark
		o    Options
		want string
	}{
		{[]Benchmark{{Name: "b", Texts: []string{"for kort", ""}}}, Options{}, "benchmark b: none of 2 texts has a line of 6 words or more"},
		{[]Benchmark{good, good}, Options{}, `benchmark 1 is called "a"`},
		{[]Benchmark{{Texts: good.Texts}}, Options{}, `benchmark 0 is called ""`},
		{[]Benchmark{good}, Options{Action: "slet"}, `action "slet" is not known (use drop or mark)`},
		{[]Benchmark{good}, Options{NGram: 1}, "NGram is 1 (use 3 to 50"},
		{[]Benchmark{good}, Options{MinWords: 99}, "MinWords is 99 (use 3 to 50"},
		{[]Benchmark{good}, Options{MinHits: -2}, "MinHits is -2"},
	} {
		if _, err := New(tt.b, tt.o); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("got %v, want %q", err, tt.want)
		}
	}
}

func TestLoadTexts(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("test.jsonl", `{"text":"a b","tokens":["x"]}`+"\n\n"+`{"tokens":["c","d"],"labels":["O","O"]}`+"\n"+`{"context":"e\nf","question":"g?","answers":{}}`+"\n"+`{"text":"h","target_text":"i"}`)
	want := []string{"a b", "c d", "e\nf\ng?", "h\ni"}
	got, err := LoadTexts(dir)
	if err != nil || !cmp.Equal(want, got) {
		t.Errorf("got %q, %v, want %q", got, err, want)
	}
	write("val.jsonl", `{"text":"v"}`)
	if got, err = LoadTexts(dir); err != nil || !cmp.Equal(append(want, "v"), got) {
		t.Errorf("got %q, %v: val comes after test", got, err)
	}
	for text, want := range map[string]string{
		`{"text":"a"}` + "\n" + `{"tekst":"b"}`: "test.jsonl:2: no text", "{": "test.jsonl:1: unexpected end", "\n": "test.jsonl: no records", `{"tokens":"a"}`: "test.jsonl:1: json: cannot unmarshal",
	} {
		write("test.jsonl", text)
		if _, err := LoadTexts(dir); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want %q", text, err, want)
		}
	}
	if _, err := LoadTexts(filepath.Join(dir, "borte")); err == nil {
		t.Error("no error for a folder that is not there")
	}
}

// naive searches as the package comment says, with strings.
func naive(texts []string, o Options, text string) (out []Hit) {
	split := func(s string) []string {
		return strings.FieldsFunc(strings.ToLower(norm.NFC.String(s)), func(r rune) bool { return !isWord(r) })
	}
	joined := func(w []string) string { return " " + strings.Join(w, " ") + " " }
	doc := joined(split(text))
	for i, item := range texts {
		h := Hit{Item: i}
		for line := range strings.Lines(item) {
			w := split(line)
			if len(w) >= o.MinWords && strings.Contains(doc, joined(w)) {
				h.Whole = true
			}
			for k := 0; k+o.NGram <= len(w); k++ {
				if strings.Contains(doc, joined(w[k:k+o.NGram])) {
					h.NGrams++
				}
			}
		}
		if h.Whole || h.NGrams >= o.MinHits {
			out = append(out, h)
		}
	}
	return out
}

// Random texts over three words hold each other's parts all the time.
func TestSearchAgreesWithStrings(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	text := func(n int) string {
		var b strings.Builder
		for range n {
			b.WriteString([]string{"å", "ø", "AB"}[r.IntN(3)] + []string{" ", ", ", "-", "_", "\n"}[min(4, r.IntN(40))])
		}
		return b.String()
	}
	o := Options{MinWords: 4, NGram: 5, MinHits: 3}
	found := 0
	for range 300 {
		items := []string{"å ø ab å ø"}
		for range 8 {
			items = append(items, text(3+r.IntN(20)))
		}
		doc := text(r.IntN(200))
		got, want := one(t, o, items...).Search(doc), naive(items, o, doc)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("%q in %q (-want +got)\n%s", items, doc, diff)
		}
		found += len(got)
	}
	if found < 100 {
		t.Errorf("only %d found: the test does not test", found)
	}
}

// FuzzWords cuts words as the definition does.
func FuzzWords(f *testing.F) {
	for _, s := range []string{"Rødgrød_med-fløde 17½", "a\u030ab e\u0301", "\xc3", "ÆØÅ×÷", "日本 x", "\u2126\u212b"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if strings.ToValidUTF8(s, "") != s {
			return
		}
		var want []uint64
		for _, w := range strings.FieldsFunc(norm.NFC.String(s), func(r rune) bool { return !isWord(r) }) {
			want = append(want, cutWords(strings.ToLower(w))...)
		}
		if got := cutWords(s); !slices.Equal(got, want) {
			t.Errorf("%q: %d words, want %d", s, len(got), len(want))
		}
	})
}

// The counts that eval/README.md gives, by split and kind, found by this package alone.
func TestSampleOverlap(t *testing.T) {
	dir := sampledata.Dir(t)
	c, err := corpus.Open(filepath.Join(dir, "gigaword-sample", "sections", "depbank"), corpus.OpenOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name           string
		checked, whole int // test split
	}{{"scala-da", 1015, 209}, {"danplus", 1762, 376}, {"lcc-sentiment", 297, 0}} {
		texts, err := LoadSplit(filepath.Join(dir, "eval", tt.name, "test.jsonl"))
		if err != nil {
			t.Fatal(err)
		}
		if tt.name == "scala-da" { // only the sentences that were not corrupted
			data, err := os.ReadFile(filepath.Join(dir, "eval", tt.name, "test.jsonl"))
			if err != nil {
				t.Fatal(err)
			}
			lines := strings.Split(string(data), "\n")
			i := -1
			texts = slices.DeleteFunc(texts, func(string) bool { i++; return !strings.Contains(lines[i], `"label": "correct"`) })
		}
		s := one(t, Options{MinHits: -1}, texts...)
		for d, err := range c.Sections[0].Documents() {
			if err != nil {
				t.Fatal(err)
			}
			judge(s, d)
		}
		if r := s.Report()[0]; r.Checked != tt.checked || r.Whole != tt.whole || r.Hit != tt.whole {
			t.Errorf("%s: %d of %d found, want %d of %d", tt.name, r.Whole, r.Checked, tt.whole, tt.checked)
		}
	}
}

func BenchmarkSearch(b *testing.B) {
	r := rand.New(rand.NewPCG(1, 2))
	sentence := func() string {
		var w []string
		for range 15 {
			w = append(w, fmt.Sprintf("ord%då", r.IntN(5000)))
		}
		return strings.Join(w, " ") + ". "
	}
	var items []string
	for range 5000 {
		items = append(items, sentence())
	}
	var text strings.Builder
	for range 10000 {
		text.WriteString(sentence())
	}
	s := one(b, Options{}, items...)
	b.SetBytes(int64(text.Len()))
	for b.Loop() {
		s.Search(text.String())
	}
}

func isWord(r rune) bool { return unicode.IsLetter(r) || unicode.IsNumber(r) || unicode.IsMark(r) }
