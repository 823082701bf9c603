package langid

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"ravn/corpus"
	"ravn/internal/sampledata"
	"ravn/pipeline"
)

// material is what the built-in model was trained on: docs/design/langid.md names sources and licences. Sentences that
// the accuracy is measured on are left out.
func material(t testing.TB) (train, test map[string][]string) {
	t.Helper()
	dir := sampledata.Dir(t)
	train, test = map[string][]string{}, map[string][]string{}
	lines := func(path string, f func(r map[string]any)) {
		data, err := os.ReadFile(filepath.Join(dir, path))
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasSuffix(path, ".gz") {
			z, err := gzip.NewReader(bytes.NewReader(data))
			if err != nil {
				t.Fatal(err)
			}
			var b bytes.Buffer
			if _, err := b.ReadFrom(z); err != nil {
				t.Fatal(err)
			}
			data = b.Bytes()
		}
		for line := range bytes.Lines(data) {
			var r map[string]any
			if err := json.Unmarshal(line, &r); err != nil {
				t.Fatal(err)
			}
			f(r)
		}
	}
	str := func(r map[string]any, key string) string { s, _ := r[key].(string); return s }
	squeeze := func(s string) string {
		return strings.Join(strings.FieldsFunc(s, func(r rune) bool { return !letter(r) }), " ")
	}
	measured := map[string]bool{}
	for _, l := range []string{"da", "nb", "nn", "sv"} {
		lines("eval/scala-"+l+"/test.jsonl", func(r map[string]any) {
			measured[squeeze(str(r, "text"))] = true
			if str(r, "label") == "correct" {
				test[l] = append(test[l], str(r, "text"))
			}
		})
	}
	for _, l := range []string{"da", "nb", "nn", "sv"} {
		for _, split := range []string{"train", "val"} {
			lines("eval/scala-"+l+"/"+split+".jsonl", func(r map[string]any) {
				if str(r, "label") == "correct" && !measured[squeeze(str(r, "text"))] {
					train[l] = append(train[l], str(r, "text"))
				}
			})
		}
	}
	for _, l := range []string{"nb", "nn"} {
		for _, split := range []string{"train", "val", "test"} {
			lines("eval/norne-"+l+"/"+split+".jsonl", func(r map[string]any) {
				if !measured[squeeze(str(r, "text"))] {
					train[l] = append(train[l], str(r, "text"))
				}
			})
		}
		lines("eval/norsumm-"+l+"/train.jsonl", func(r map[string]any) { train[l] = append(train[l], str(r, "text")) })
	}
	for _, set := range []struct{ l, name string }{{"da", "danplus"}, {"da", "gerlangmod-da"}, {"sv", "gerlangmod-sv"}} {
		for _, split := range []string{"train", "val", "test"} {
			lines("eval/"+set.name+"/"+split+".jsonl", func(r map[string]any) {
				var words []string
				tokens, _ := r["tokens"].([]any)
				for _, w := range tokens {
					words = append(words, w.(string))
				}
				if s := strings.Join(words, " "); !measured[squeeze(s)] {
					train[set.l] = append(train[set.l], s)
				}
			})
		}
	}
	contexts := map[string]bool{}
	for _, split := range []string{"train", "val", "test"} {
		lines("eval/norquad/"+split+".jsonl", func(r map[string]any) {
			if c := str(r, "context"); !contexts[c] {
				contexts[c] = true
				train["nb"] = append(train["nb"], c)
			}
			train["nb"] = append(train["nb"], str(r, "question"))
		})
	}
	c, err := corpus.Open(filepath.Join(dir, "gigaword-sample"), corpus.OpenOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if wiki, ok := c.Find("wiki"); ok {
		n := 0
		for d, err := range wiki.Documents() {
			if err != nil {
				t.Fatal(err)
			}
			if n++; n%2 == 0 {
				train["da"] = append(train["da"], d.Text)
			}
		}
	}
	if ft, ok := c.Find("ft"); ok {
		n := 0
		for d, err := range ft.Documents() {
			if err != nil {
				t.Fatal(err)
			}
			if train["da"] = append(train["da"], d.Text); n == 3 {
				break
			}
			n++
		}
	}
	for _, l := range []string{"da", "nb", "sv", "en"} {
		n := 0
		lines("heldout/"+l+".jsonl.gz", func(r map[string]any) {
			source, text := str(r, "source"), str(r, "text")
			if source == "eltec-nor" || source == "botxt" { // Norwegian novels in Danish spelling; Bornholmsk
				return
			}
			if n++; l == "en" && strings.HasPrefix(source, "wikipedia") && n%2 == 0 {
				test[l] = append(test[l], Sentences(text)...)
				return
			}
			train[l] = append(train[l], text)
		})
	}
	// Statutes and articles that are called Norwegian are in Nynorsk now and then.
	nynorsk := func(text string) bool {
		text = " " + strings.ToLower(squeeze(text)) + " "
		return strings.Contains(text, " ikkje ") || strings.Contains(text, " frå ") || strings.Contains(text, " eit ") || strings.Contains(text, " ein ")
	}
	n := len(train["nb"])
	train["nb"] = slices.DeleteFunc(train["nb"], nynorsk)
	t.Logf("%d of %d texts called Bokmål are in Nynorsk", n-len(train["nb"]), n)
	for _, l := range []string{"de", "fo", "is"} {
		data, err := os.ReadFile(filepath.Join("own", l+".txt"))
		if err != nil {
			t.Fatal(err)
		}
		train[l] = []string{string(data)}
	}
	for l, s := range held {
		test[l] = append(test[l], s...)
	}
	return train, test
}

// The built-in model is made by this test from the material when UPDATE=1 is set.
func TestMakeBuiltin(t *testing.T) {
	if os.Getenv("UPDATE") == "" {
		t.Skip("UPDATE=1 trains the built-in model anew")
	}
	train, _ := material(t)
	for l, texts := range train { // single sentences of one source are one text
		var out []string
		var b strings.Builder
		for _, text := range texts {
			if len(text) < 2000 {
				b.WriteString(text + "\n")
				if b.Len() < 60000 {
					continue
				}
				text = b.String()
				b.Reset()
			}
			out = append(out, text)
		}
		if b.Len() > 0 {
			out = append(out, b.String())
		}
		train[l] = out
	}
	m, err := Train(context.Background(), train, TrainOptions{Seed: 17})
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := m.Write(&b); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile("model.langid", b.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d bytes", b.Len())
	builtin = b.Bytes()
	loadBuiltin = func() (*Model, error) { return m, nil }
}

func TestOwnSentences(t *testing.T) {
	m, err := Builtin()
	if err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(m.Languages()); got != "[da de en fo is nb nn sv]" {
		t.Errorf("languages %s", got)
	}
	for l, sentences := range held {
		right := 0
		for _, s := range sentences {
			g := m.Identify(s)
			if g.Language == l {
				right++
				continue
			}
			t.Logf("%q is %s with %.3f, not %s", s, g.Language, g.P, l)
		}
		if right < 6 {
			t.Errorf("%s: %d of %d sentences right", l, right, len(sentences))
		}
	}
	for _, s := range []string{"", "1234 – 5678!", "\n"} {
		if g := m.Identify(s); g.Language != "" || g.P != 0 {
			t.Errorf("%q is %+v", s, g)
		}
	}
}

// Accuracy by sentence length on sentences that were not trained on; docs/benchmarks.md has the table.
func TestAccuracy(t *testing.T) {
	_, test := material(t)
	m, err := Builtin()
	if err != nil {
		t.Fatal(err)
	}
	bins := []int{1, 4, 8, 15, 1 << 30} // words, from one to below the next
	var table strings.Builder
	confused := map[string]int{}
	for _, l := range m.Languages() {
		fmt.Fprintf(&table, "\n%s", l)
		for b := range len(bins) - 1 {
			n, right := 0, 0
			for _, s := range test[l] {
				if w := len(strings.Fields(s)); w < bins[b] || w >= bins[b+1] {
					continue
				}
				n++
				g := m.Identify(s)
				if g.Language == l {
					right++
				} else if b > 0 {
					confused[l+" as "+g.Language]++
				}
			}
			fmt.Fprintf(&table, " | %d of %d", right, n)
			least := map[int]float64{2: 0.97, 3: 0.98}[b]
			if l == "nb" || l == "nn" { // told from each other less surely than from the rest
				least = map[int]float64{2: 0.87, 3: 0.94}[b]
			}
			if n >= 50 && float64(right) < least*float64(n) {
				t.Errorf("%s, sentences of %d words and more: %d of %d right", l, bins[b], right, n)
			}
		}
	}
	if n := confused["da as nb"] + confused["da as nn"]; n > 15 {
		t.Errorf("%d Danish sentences of 4 words or more were taken for Norwegian", n)
	}
	t.Logf("words 1-3, 4-7, 8-14, 15-:%s\n%v", table.String(), confused)
}

// Documents of the sample are told by their sections' languages.
func TestSampleIsDanish(t *testing.T) {
	c, err := corpus.Open(filepath.Join(sampledata.Dir(t), "gigaword-sample"), corpus.OpenOptions{})
	if err != nil {
		t.Fatal(err)
	}
	m, err := Builtin()
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range c.Sections {
		if s.Name == "botxt" {
			continue // Bornholmsk
		}
		n, danish := 0, 0
		var other []string
		for d, err := range s.Documents() {
			if err != nil {
				t.Fatal(err)
			}
			n++
			if g := m.Identify(d.Text); g.Language == "da" {
				danish++
			} else {
				other = append(other, fmt.Sprintf("%s %s %.2f", d.ID, g.Language, g.P))
			}
		}
		t.Logf("%s: %d of %d; %v", s.Name, danish, n, other[:min(5, len(other))])
		if float64(danish) < 0.98*float64(n) {
			t.Errorf("%s: %d of %d are Danish", s.Name, danish, n)
		}
	}
}

func TestStage(t *testing.T) {
	m, err := Builtin()
	if err != nil {
		t.Fatal(err)
	}
	s, err := NewStage(m, Options{Keep: []string{"da"}, MinScore: 0.3, Except: []string{"en-tekster"}})
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ section, text, detected, reason string }{
		{"avis", "Hunden sov hele dagen under det store bord, og ingen vækkede den.", "da", ""},
		{"avis", "Hunden sov hela dagen under det stora bordet, och ingen väckte den.", "sv", "wrong_language"},
		{"en-tekster", "The dog slept all day under the big table, and nobody woke it.", "en", ""},
		{"avis", "12 + 7", "", "wrong_language"},
	} {
		x := pipeline.NewDoc(&corpus.Document{Section: tt.section, Text: tt.text})
		v := s.(pipeline.Examiner).Examine(x)
		if x.Detected != tt.detected || v.Reason != tt.reason || v.Keep != (tt.reason == "") {
			t.Errorf("%q: %s %+v", tt.text, x.Detected, v)
		}
	}
	if _, err := NewStage(m, Options{Keep: []string{"fi"}}); err == nil || !strings.Contains(err.Error(), `does not know language "fi"`) {
		t.Errorf("%v", err)
	}
}

// A model of two languages that were made up is trained, written, read and right; the same input gives the same bytes.
func TestTrain(t *testing.T) {
	texts := map[string][]string{}
	for i := range 40 {
		texts["xa"] = append(texts["xa"], fmt.Sprintf("talo kala %c muna pala", 'a'+i%26))
		texts["xb"] = append(texts["xb"], fmt.Sprintf("strik sprod %c wrung blenk", 'a'+i%26))
	}
	o := TrainOptions{Bits: 10, Epochs: 2, PerEpoch: 200, Seed: 1}
	var first []byte
	for range 2 {
		m, err := Train(context.Background(), texts, o)
		if err != nil {
			t.Fatal(err)
		}
		var b bytes.Buffer
		if err := m.Write(&b); err != nil {
			t.Fatal(err)
		}
		if first != nil && !bytes.Equal(first, b.Bytes()) {
			t.Error("the same input gave another model")
		}
		first = b.Bytes()
	}
	m, err := Read(bytes.NewReader(first))
	if err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]string{"kalamuna talo": "xa", "sprik blunk": "xb", strings.Repeat("strik wrung ", 4000): "xb"} {
		if g := m.Identify(text); g.Language != want || g.P < 0.8 {
			t.Errorf("%.20q: %+v, want %s", text, g, want)
		}
	}
	for i := range first {
		bad := slices.Clone(first)
		bad[i] ^= 0x55
		if _, err := Read(bytes.NewReader(bad)); err == nil {
			t.Fatalf("byte %d was changed, and the model read", i)
		}
		if i > 200 {
			break
		}
	}
	delete(texts, "xb")
	if _, err := Train(context.Background(), texts, o); err == nil || !strings.Contains(err.Error(), "1 languages") {
		t.Errorf("%v", err)
	}
	texts["xb"] = []string{"kun en"}
	if _, err := Train(context.Background(), texts, o); err == nil || !strings.Contains(err.Error(), "language xb: 1 sentences are too few") {
		t.Errorf("%v", err)
	}
}

func BenchmarkIdentify(b *testing.B) {
	m, err := Builtin()
	if err != nil {
		b.Fatal(err)
	}
	s := strings.Repeat("Kommunen vil plante tusind nye træer langs åen til foråret. ", 60)
	b.SetBytes(int64(len(s)))
	for b.Loop() {
		m.Identify(s)
	}
}
