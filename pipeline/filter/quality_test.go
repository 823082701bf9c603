package filter_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"ravn/corpus"
	"ravn/pipeline"
	"ravn/pipeline/filter"
)

// good is a Danish text that every preset keeps: 87 words, six lines that end as sentences.
const good = `Kommunen vil plante tusind nye træer langs åen, og arbejdet begynder til foråret.
Borgmesteren siger, at det er en gave til de børn, som skal lege i skyggen om tyve år.
Der var modstand fra enkelte lodsejere, men et flertal blev enigt efter lange møder i rådhuset.
Træerne kommer fra planteskoler på Fyn, hvor jorden er let og vinteren mild nok.
Hver skoleklasse får sit eget stykke at passe med skovl og vandkande.
Om ti år regner biologerne med at se både isfugl og odder her igen.`

func examine(t testing.TB, text string, specs ...filter.Spec) (pipeline.Verdict, map[string]float64, string) {
	t.Helper()
	q, err := filter.NewQuality(specs...)
	if err != nil {
		t.Fatal(err)
	}
	d := &corpus.Document{ID: "x", Section: "avis", Text: text}
	x := pipeline.NewDoc(d)
	v := q.Examine(x)
	scores := map[string]float64{}
	for i, name := range filter.Scores {
		scores[name] = x.Scored(i)
	}
	return v, scores, d.Text
}

// Every rule drops a Danish text for its own reason, with the number in the detail. What is not under test is left off.
func TestReasons(t *testing.T) {
	lines := strings.Split(good, "\n")
	twice := func(n int) string { return good + "\n" + strings.Join(lines[:n], "\n") }
	words := func(n int, w string) string { return strings.TrimSpace(strings.Repeat(w+" ", n)) }
	numbered := "" // "og det var" before ever another word
	for i := range 26 {
		numbered += " og det var " + string(rune('a'+i)) + "bc"
	}
	for _, tt := range []struct {
		preset, text, reason, detail string
		off                          []string
	}{
		{"gopher-quality", "Solen skinner over Fyn.", "min_doc_words", "words 4, at least 50 wanted (gopher-quality)", nil},
		{"gopher-quality", good, "min_stop_words", "stop_words_en 0, at least 2 wanted (gopher-quality)", nil},
		{"fineweb2-da", words(60, "å i") + ".", "min_avg_word_length", "mean_word_length 1, at least 3 wanted (fineweb2-da)", nil},
		{"fineweb2-da", words(60, "husejerforsikring"), "max_avg_word_length", "mean_word_length 17, at most 11 wanted (fineweb2-da)", nil},
		{"fineweb2-da", good + strings.Repeat(" # om", 30), "max_hash_ratio", "hash_ratio 0.190, at most 0.100 wanted (fineweb2-da)", nil},
		{"fineweb2-da", strings.ReplaceAll(good, " ", "… ") + strings.Repeat("… og", 20), "max_ellipsis_ratio", "ellipsis_ratio", nil},
		{"fineweb2-da", "- " + strings.ReplaceAll(good, "\n", "\n- "), "max_bullet_lines_ratio", "bullet_lines 1, at most 0.900 wanted (fineweb2-da)", nil},
		{"fineweb2-da", strings.ReplaceAll(good, ".\n", "...\n"), "max_ellipsis_lines_ratio", "ellipsis_lines 0.833, at most 0.300 wanted (fineweb2-da)", nil},
		{"fineweb2-da", good + strings.Repeat(" 17", 30), "min_alpha_words_ratio", "alpha_tokens 0.", nil},
		{"fineweb2-da", words(60, "træet"), "min_stop_words", "stop_words_da 0, at least 2 wanted (fineweb2-da)", nil},
		{"fineweb2-da", twice(5), "dup_line_frac", "dup_line_frac 0.455, at most 0.305 wanted (fineweb2-da)", nil},
		{"gopher-repetition", strings.ReplaceAll(good, "\n", "\n\n") + "\n\n" + strings.ReplaceAll(good, "\n", "\n\n"), "dup_para_frac", "dup_para_frac 0.500, at most 0.300 wanted", nil},
		{"gopher-repetition", strings.ReplaceAll(good, "\n", "\n\n") + "\n\n" + lines[1] + "\n\n" + lines[2], "dup_para_char_frac", "dup_para_char_frac 0.2", nil},
		{"gopher-repetition", good + "\n" + lines[1] + "\n" + lines[2], "dup_line_char_frac", "dup_line_char_frac 0.2", nil},
		{"fineweb2-da", strings.ReplaceAll(good, ", ", " så er det sådan at ") + strings.Repeat(" kort sagt", 40), "top_2_gram", "top_2_gram 0.", nil},
		{"fineweb2-nb", good + numbered, "top_3_gram", "top_3_gram 0.", []string{"top_2_gram"}},
		{"fineweb2-nb", good + strings.Repeat(" og det var den", 9), "top_4_gram", "top_4_gram 0.", []string{"top_2_gram", "top_3_gram"}},
		{"fineweb2-da", good + " " + lines[0] + " " + lines[1], "dup_5_gram", "dup_5_gram 0.2", nil},
		{"fineweb2-da", good + " " + lines[0] + " " + lines[1], "dup_10_gram", "dup_10_gram 0.186", []string{"dup_5_gram", "dup_6_gram", "dup_7_gram", "dup_8_gram", "dup_9_gram"}},
		{"fineweb2-da", strings.ReplaceAll(good, ".", ","), "line_punct_thr", "line_punct 0, more than 0.100 wanted (fineweb2-da)", nil},
		{"fineweb2-da", strings.ReplaceAll(strings.ReplaceAll(good, "\n", "\n\n\n"), "er ", "er\n"), "new_line_ratio", "new_line_ratio 0.", nil},
		{"fineweb", strings.ReplaceAll(good, " ", " \n"), "short_line_thr", "short_lines 1, less than 0.670 wanted (fineweb)", []string{"line_punct_thr", "new_line_ratio", "char_duplicates_ratio"}},
		{"fineweb", twice(1), "char_duplicates_ratio", "char_dup_ratio 0.1", nil},
		{"c4", good + "\nLorem ipsum dolor sit amet.", "lorem_ipsum", "lorem_ipsum 1, at most 0 wanted (c4)", nil},
		{"c4", good + "\nfunction() { return æble; }", "curly_bracket", "curly_bracket 1, at most 0 wanted (c4)", nil},
		{"c4", strings.Join(lines[:4], "\n"), "min_num_sentences", "c4_sentences 4, at least 5 wanted (c4)", nil},
		{"dfm-1", strings.ReplaceAll(good, " ", "\n"), "min_long_lines", "long_lines 0, at least 0.500 wanted (dfm-1)", nil},
		{"dfm-1", "* " + strings.ReplaceAll(good, "\n", "\n* "), "max_bullet_lines_ratio", "dash_star_lines 1, at most 0.900 wanted (dfm-1)", nil},
		{"dfm-1", twice(4), "dup_line_char_frac", "dup_line_char_frac 0.4", nil},
		{"fineweb2-sv", words(60, "træet") + ".", "min_stop_words", "stop_words_sv 0, at least 2 wanted (fineweb2-sv)", nil},
		{"fineweb2-en", good, "min_stop_words", "stop_words_en 0, at least 2 wanted (fineweb2-en)", nil},
		{"fineweb2-nb", good, "", "", nil},
		{"fineweb2-da", good, "", "", nil},
		{"fineweb2-da", "", "min_doc_words", "words 0, at least 50 wanted (fineweb2-da)", nil},
		{"dfm-1", good, "", "", nil},
		{"c4", good, "", "", nil},
		{"gopher-repetition", good, "", "", nil},
		{"fineweb", good, "", "", nil},
	} {
		v, _, _ := examine(t, tt.text, filter.Spec{Preset: tt.preset, Off: tt.off})
		if v.Keep != (tt.reason == "") || v.Reason != tt.reason || !strings.HasPrefix(v.Detail, tt.detail) {
			t.Errorf("%s, want %s: got %+v", tt.preset, tt.reason, v)
		}
	}
}

func TestSpecs(t *testing.T) {
	lines := strings.Split(good, "\n")
	text := good + "\n" + lines[1]
	drops := func(specs ...filter.Spec) string {
		v, _, _ := examine(t, text, specs...)
		return v.Reason
	}
	if got := drops(filter.Spec{Preset: "fineweb"}); got != "char_duplicates_ratio" {
		t.Errorf("got %q", got)
	}
	if got := drops(filter.Spec{Preset: "fineweb", Set: map[string]float64{"char_duplicates_ratio": 0.5}}); got != "" {
		t.Errorf("a raised limit: got %q", got)
	}
	if got := drops(filter.Spec{Preset: "fineweb", Except: []string{"avis"}}); got != "" {
		t.Errorf("an exempt section: got %q", got)
	}
	if got := drops(filter.Spec{Preset: "fineweb", Sections: []string{"lov"}}); got != "" {
		t.Errorf("another section's preset: got %q", got)
	}
	if got := drops(filter.Spec{Preset: "gopher-quality", Language: "da"}, filter.Spec{Preset: "fineweb"}); got != "char_duplicates_ratio" {
		t.Errorf("two presets: got %q", got)
	}
	for _, tt := range []struct {
		s    filter.Spec
		want string
	}{
		{filter.Spec{Preset: "fineweb3"}, `preset "fineweb3" is not known (use one of [c4 dfm-1 dfm-1-lines fineweb fineweb2-da`},
		{filter.Spec{Preset: "c4", Set: map[string]float64{"min_words": 3}}, `c4 has no rule "min_words" to be set to 3 (it has [curly_bracket lorem_ipsum min_num_sentences])`},
		{filter.Spec{Preset: "c4", Off: []string{"x"}}, `c4 has no rule "x" to be left out`},
		{filter.Spec{Preset: "gopher-quality", Language: "fi"}, `no stop words of language "fi" (there are [da nb sv en])`},
	} {
		if err := tt.s.Validate(); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("got %v, want %q", err, tt.want)
		}
	}
}

// The numbers of spec sheets, read off the presets.
func TestPresetNumbers(t *testing.T) {
	for _, tt := range []struct {
		preset string
		want   map[string]float64
	}{
		{"fineweb2-da", map[string]float64{"top_2_gram": .367, "dup_5_gram": .169, "dup_10_gram": .112, "new_line_ratio": .182, "line_punct_thr": .10, "max_avg_word_length": 11, "min_alpha_words_ratio": .798, "dup_line_frac": .305, "char_duplicates_ratio": .1}},
		{"fineweb2-nb", map[string]float64{"top_3_gram": .175, "dup_7_gram": .128, "new_line_ratio": .167, "line_punct_thr": .107}},
		{"fineweb2-sv", map[string]float64{"top_4_gram": .174, "dup_9_gram": .116, "new_line_ratio": .135, "line_punct_thr": .20}},
		{"fineweb2-en", map[string]float64{"top_2_gram": .20, "dup_6_gram": .14, "new_line_ratio": .30, "line_punct_thr": .12}},
		{"dfm-1", map[string]float64{"top_2_gram": .20, "dup_5_gram": .25, "dup_10_gram": .20, "min_alpha_words_ratio": .6, "max_chr_length": 5e6}},
	} {
		rules, err := filter.Spec{Preset: tt.preset}.Rules()
		if err != nil {
			t.Fatal(err)
		}
		for name, want := range tt.want {
			i := slices.IndexFunc(rules, func(r filter.Rule) bool { return r.Name == name })
			if i < 0 || rules[i].Limit != want {
				t.Errorf("%s: %s is not %v in %+v", tt.preset, name, want, rules)
			}
		}
		if slices.ContainsFunc(rules, func(r filter.Rule) bool { return r.Name == "short_line_thr" || r.Name == "dup_para_frac" }) {
			t.Errorf("%s has rules that FineWeb-2 and DFM leave off: %+v", tt.preset, rules)
		}
	}
}

func TestLinesAreTaken(t *testing.T) {
	text := "Forside\nOm os\n" + good + "\nSiden bruger cookies, og they use cookies here.\nDet er nok...\nJa tak.\nSlå javascript til i din browser nu."
	v, scores, got := examine(t, text, filter.Spec{Preset: "c4"})
	if !v.Keep || got != good || scores["c4_dropped_lines"] != 6 {
		t.Errorf("%+v, %v lines dropped:\n%s", v, scores["c4_dropped_lines"], got)
	}
	text = "Forside\n" + good + "\nHele Den Store Danske Encyklopædi Online.\nVi glæder os 🎉\n{x} {y} er med her."
	_, scores, got = examine(t, text, filter.Spec{Preset: "dfm-1-lines"})
	if got != good+"\nVi glæder os 🎉" || scores["dfm_dropped_lines"] != 3 {
		t.Errorf("%v lines dropped:\n%s", scores["dfm_dropped_lines"], got)
	}
	if _, _, got = examine(t, text); got != text {
		t.Error("a text was changed without a preset")
	}
}

// plainTop and plainDup are the published definitions with strings.
func plainTop(words []string, n int) float64 {
	count := map[string]int{}
	best, at := 0, ""
	for i := 0; i+n <= len(words); i++ {
		count[strings.Join(words[i:i+n], " ")]++
	}
	for i := 0; i+n <= len(words); i++ { // the first of the most frequent
		if g := strings.Join(words[i:i+n], " "); count[g] > best {
			best, at = count[g], g
		}
	}
	return float64(len([]rune(at)) * best)
}

func plainDup(words []string, n int) float64 {
	seen := map[string]bool{}
	sum := 0
	for i := 0; i+n <= len(words); {
		g := strings.Join(words[i:i+n], " ")
		if seen[g] {
			sum += len([]rune(strings.Join(words[i:i+n], "")))
			i += n
			continue
		}
		seen[g] = true
		i++
	}
	return float64(sum)
}

func TestRepetitionAgreesWithStrings(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for n := range 300 {
		var words []string
		for range r.IntN(120) {
			words = append(words, []string{"å", "øl", "abe", "træ", "hus", "is"}[r.IntN(1+n%6)])
			if k := len(words); r.IntN(9) == 0 && k > 12 { // a passage again
				words = append(words, words[k-12:]...)
			}
		}
		text := strings.Join(words, " ")
		_, got, _ := examine(t, text)
		chars := float64(len([]rune(text)))
		for k := 2; k <= 10; k++ {
			name, want := fmt.Sprintf("dup_%d_gram", k), plainDup(words, k)
			if k <= 4 {
				name, want = fmt.Sprintf("top_%d_gram", k), plainTop(words, k)
			}
			if chars > 0 {
				want /= chars
			}
			if math.Abs(got[name]-want) > 1e-6 {
				t.Fatalf("%q: %s is %v, want %v", text, name, got[name], want)
			}
		}
	}
}

func BenchmarkQuality(b *testing.B) {
	r := rand.New(rand.NewPCG(1, 2))
	words := strings.Fields(good)
	var text strings.Builder
	for i := range 20000 {
		text.WriteString(words[r.IntN(len(words))])
		text.WriteByte(" \n"[min(1, (i%12)/11)])
	}
	q, err := filter.NewQuality(filter.Spec{Preset: "fineweb2-da"})
	if err != nil {
		b.Fatal(err)
	}
	x := pipeline.NewDoc(&corpus.Document{Text: text.String()})
	b.SetBytes(int64(text.Len()))
	for b.Loop() {
		q.Examine(x)
	}
}

// What a preset would drop, reckoned from scores, is what it drops.
func TestWhatIfAgreesWithTheStage(t *testing.T) {
	lines := strings.Split(good, "\n")
	texts := map[string]string{
		"god": good, "kort": lines[0], "liste": strings.ReplaceAll(good, " ", "\n"), "gentaget": good + " " + lines[0] + " " + lines[1],
		"tal": good + strings.Repeat(" 17", 30),
	}
	var names []string
	for _, s := range append([]string{"filter.x"}, filter.Scores...) {
		names = append(names, "quality."+s)
	}
	names[0] = "langid.score"
	for _, specs := range [][]filter.Spec{{{Preset: "fineweb2-da"}}, {{Preset: "gopher-repetition"}, {Preset: "dfm-1", Except: []string{"tal"}}}, {{Preset: "fineweb2-da", Set: map[string]float64{"min_doc_words": 5}}}} {
		var rows []pipeline.Row
		want := map[string]int64{}
		for _, name := range slices.Sorted(func(yield func(string) bool) {
			for k := range texts {
				if !yield(k) {
					return
				}
			}
		}) {
			q, err := filter.NewQuality(specs...)
			if err != nil {
				t.Fatal(err)
			}
			x := pipeline.NewDoc(&corpus.Document{ID: name, Section: name, Text: texts[name]})
			v := q.Examine(x)
			if !v.Keep {
				want[v.Reason]++
			}
			r := pipeline.Row{ID: name, Section: name, Verdict: "keep", Scores: []float32{0}}
			for i := range filter.Scores {
				r.Scores = append(r.Scores, float32(x.Scored(i)))
			}
			rows = append(rows, r)
		}
		w, err := filter.NewWhatIf(rows, names, specs...)
		if err != nil {
			t.Fatal(err)
		}
		got := map[string]int64{}
		for k, c := range w.Total.Reasons {
			got[k] = c.Documents
		}
		if fmt.Sprint(got) != fmt.Sprint(want) || len(want) == 0 || w.Total.In.Documents != 5 || w.Total.Kept.Documents+w.Total.Dropped.Documents != 5 || w.Total.Lost != w.Total.Dropped {
			t.Errorf("%v: got %v, want %v (%+v)", specs, got, want, w.Total)
		}
	}
	if _, err := filter.NewWhatIf(nil, []string{"langid.score"}); err == nil || !strings.Contains(err.Error(), "no quality scores") {
		t.Errorf("got %v", err)
	}
}

func TestParseSpec(t *testing.T) {
	s, err := filter.ParseSpec("preset=fineweb2-da,top_2_gram=0.4,off=new_line_ratio,except=ft")
	if err != nil || s.Preset != "fineweb2-da" || s.Set["top_2_gram"] != 0.4 || s.Off[0] != "new_line_ratio" || s.Except[0] != "ft" {
		t.Errorf("%+v, %v", s, err)
	}
	if s, err = filter.ParseSpec("c4"); err != nil || s.Preset != "c4" {
		t.Errorf("%+v, %v", s, err)
	}
	for text, want := range map[string]string{"preset=x": "not known", "c4,y": "not NAME=VALUE", "c4,min_num_sentences=mange": `"mange" is not a number`, "c4,z=1": "no rule \"z\""} {
		if _, err := filter.ParseSpec(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", text, err, want)
		}
	}
}
