package task

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestBadRowsAreNamed(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "scala-da")
	good := `{"text": "Hun bor i Aarhus.", "label": "correct"}` + "\n"
	write(t, filepath.Join(dir, "train.jsonl"), strings.Repeat(good, 12))
	write(t, filepath.Join(dir, "test.jsonl"), good+`{"text": " ", "label": "correct"}`+"\n"+`{"text": "Hun bor.", "label": "ja"}`+"\n{\n")
	_, err := LoadDataset(dir)
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{
		"scala-da/test.jsonl:2: no text", `scala-da/test.jsonl:3: label "ja" is none of incorrect, correct`, "scala-da/test.jsonl:4: unexpected end of JSON",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q does not hold %q", err, want)
		}
	}
	write(t, filepath.Join(dir, "test.jsonl"), good)
	d, err := LoadDataset(dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(d.Train) != 12 || len(d.Val) != 0 || len(d.Test) != 1 {
		t.Errorf("%d, %d and %d rows", len(d.Train), len(d.Val), len(d.Test))
	}
	if _, err := d.Split("val"); err == nil || !strings.Contains(err.Error(), `"scala-da" has no val split`) {
		t.Errorf("val split: %v", err)
	}
}

func TestBadEntityRows(t *testing.T) {
	s, _ := LookupSpec("dansk")
	for _, c := range []struct {
		row  Row
		want string
	}{
		{Row{Tokens: []string{"Hun", "bor"}, Tags: []string{"O"}}, "2 tokens and 1 labels"},
		{Row{Tokens: []string{"Hun"}, Tags: []string{"B-DATE"}}, `label "B-DATE" of token 0 is not O, or B- or I- and one of PER, LOC, ORG, MISC`},
		{Row{}, "no tokens"},
	} {
		if err := s.check(&c.row); err == nil || err.Error() != c.want {
			t.Errorf("got %v, want %q", err, c.want)
		}
	}
}

func TestUnknownFolderAndOwnDescription(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "mine")
	if _, err := LoadDataset(dir); err == nil || !strings.Contains(err.Error(), `data set "mine" is not known`) || !strings.Contains(err.Error(), "norquad") {
		t.Errorf("unknown folder: %v", err)
	}
	row := `{"text": "Fin film.", "label": "good"}` + "\n" + `{"text": "Tom film.", "label": "bad"}` + "\n"
	write(t, filepath.Join(dir, "train.jsonl"), row)
	write(t, filepath.Join(dir, "test.jsonl"), row)
	yaml := "name: mine\ntask: sentiment-classification\nlanguages: [da]\nprefix: Film.\ntemplate: \"T: {text}\\nS: {label}\"\n" +
		"labels: [{id: bad, word: dårlig}, {id: good, word: god}]\nshots: 2\nmax_tokens: 3\n"
	write(t, filepath.Join(dir, "dataset.yaml"), yaml)
	d, err := LoadDataset(dir)
	if err != nil {
		t.Fatal(err)
	}
	prompts, _, err := Prompts(d, 0, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasSuffix(prompts[0], "\n\nT: Fin film.\nS:") || !strings.Contains(prompts[0], "S: dårlig") {
		t.Errorf("prompt %q", prompts[0])
	}
	write(t, filepath.Join(dir, "dataset.yaml"), yaml+"shot: 3\n")
	if _, err := LoadDataset(dir); err == nil || !strings.Contains(err.Error(), "shot") {
		t.Errorf("unknown field: %v", err)
	}
	write(t, filepath.Join(dir, "dataset.yaml"), strings.Replace(yaml, "{text}", "{tekst}", 1))
	if _, err := LoadDataset(dir); err == nil || !strings.Contains(err.Error(), `needs {text} once`) {
		t.Errorf("template without text: %v", err)
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestReadEntities(t *testing.T) {
	for _, c := range []struct {
		name, text string
		want       []entityList
		ok         bool
	}{
		{"as asked", `{"person": ["Åse Holm"], "sted": []}`, []entityList{{"person", []string{"Åse Holm"}}, {"sted", nil}}, true},
		{"Python", ` {'person': ['Åse', 'Bo',], 'sted': [],}`, []entityList{{"person", []string{"Åse", "Bo"}}, {"sted", nil}}, true},
		{"keys without quotes", `{person: ["Bo"], sted: [Vejle]} og mere`, []entityList{{"person", []string{"Bo"}}, {"sted", []string{"Vejle"}}}, true},
		{"comments, escapes", "{\n// navne\n\"person\": [\"\\u00c5se \\\"Holm\\\"\"] /* ikke flere */}", []entityList{{"person", []string{`Åse "Holm"`}}}, true},
		{"a key twice", `{"person": ["A"], "sted": ["B"], "person": ["C"]}`, []entityList{{"person", []string{"C"}}, {"sted", []string{"B"}}}, true},
		{"text around it", `Svar: {"sted": ["Ribe"]} Sætning: {"sted": ["Vejle"]}`, []entityList{{"sted", []string{"Ribe"}}}, true},
		{"numbers in a list", `{"person": [3, "Bo", null]}`, []entityList{{"person", []string{"Bo"}}}, true},
		{"cut off", `{"person": ["Åse`, nil, false},
		{"a value that is no list", `{"person": "Åse"}`, nil, false},
		{"a list", `["Åse"]`, nil, false},
		{"empty braces", `{}`, nil, true},
		{"nothing", "", nil, false},
		{"prose", "der er ingen", nil, false},
		{"an inner object ends the match", `{"person": {"a": []}, "sted": []}`, nil, false},
	} {
		got, ok := readEntities(c.text)
		if ok != c.ok || !cmp.Equal(got, c.want, cmp.AllowUnexported(entityList{})) {
			t.Errorf("%s: got %v, %v, want %v, %v", c.name, got, ok, c.want, c.ok)
		}
	}
}

func FuzzReadEntities(f *testing.F) {
	f.Add(`{'a': ["b", c,], "d": []}`)
	f.Add("{/*")
	f.Add(strings.Repeat("[", 200))
	s, _ := LookupSpec("dansk")
	f.Fuzz(func(t *testing.T, text string) {
		lists, _ := readEntities(text)
		tokens := []string{"Åse", "bor", "i", "Ribe"}
		if tags := tagsByTokens(&s, tokens, lists); len(tags) != 4 {
			t.Fatalf("%d tags", len(tags))
		}
		tagsBySubstring(&s, tokens, lists)
	})
}

// Mode ravn marks whole words only, each entity at one place.
func TestTagsByTokens(t *testing.T) {
	s, _ := LookupSpec("dansk")
	for _, c := range []struct {
		tokens string
		answer string
		want   string
	}{
		{"I Indien i dag", `{"sted": ["i"]}`, "o o b-loc o"},
		{"Oslo og Nye Oslo", `{"sted": ["Nye Oslo", "Oslo"]}`, "b-loc o b-loc i-loc"},
		{"Bo og Bo Holm", `{"person": ["Bo", "Bo Holm"]}`, "b-per o b-per i-per"},
		{"Anders Fogh Rasmussen", `{"person": ["Anders Rasmussen"]}`, "o o o"},
		{"New York Times", `{"sted": ["New York"], "organisation": ["New York Times"]}`, "b-loc i-loc o"},
		{"Bo", `{"dato": ["Bo"]}`, "o"},
	} {
		lists, _ := readEntities(c.answer)
		if got := strings.Join(tagsByTokens(&s, strings.Fields(c.tokens), lists), " "); got != c.want {
			t.Errorf("%s in %q: got %q, want %q", c.answer, c.tokens, got, c.want)
		}
	}
}

func TestCutBytes(t *testing.T) {
	for n, want := range []string{"æøå", "", "æ", "æ", "æø", "æø", "æøå", "æøå"} {
		if got := cutBytes("æøå", n); got != want {
			t.Errorf("%d bytes: got %q, want %q", n, got, want)
		}
	}
}

func TestLimitBySource(t *testing.T) {
	var rows []Row
	for i := range 9 {
		rows = append(rows, Row{Source: fmt.Sprint(i % 2), Language: "da", Text: "x"})
	}
	if got := limitBySource(rows, 2); !cmp.Equal(got, []int{0, 1, 2, 3}) {
		t.Errorf("got rows %v, want two of each source", got)
	}
}

func TestBuiltinDescriptions(t *testing.T) {
	for _, name := range SpecNames() {
		s, _ := LookupSpec(name)
		if k := kinds[s.Task]; k.choices(&s, nil) != nil {
			for _, c := range k.choices(&s, nil) {
				if c != strings.ToLower(c) || !strings.HasPrefix(c, " ") {
					t.Errorf("%s: choice %q", name, c)
				}
			}
		}
	}
	// The lists of January 2024: four NLU tasks of 14 data sets, and 26 with summaries, knowledge and common sense.
	counts := map[string]int{}
	for _, name := range SpecNames() {
		s, _ := LookupSpec(name)
		if s.Source == "" || s.License == "" {
			t.Errorf("%s: source %q, licence %q", name, s.Source, s.License)
		}
		if slices.Contains(s.Benchmark, "scandeval-2024") {
			counts["nlg"]++
			if slices.Contains([]string{Acceptability, Sentiment, Entities, Questions}, s.Task) {
				counts["nlu"]++
			}
		}
	}
	if counts["nlu"] != 14 || counts["nlg"] != 26 {
		t.Errorf("data sets of January 2024: %v, want 14 and 26", counts)
	}
}
