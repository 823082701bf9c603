package task

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func words(t *testing.T, s string) []treeWord {
	t.Helper()
	var out []treeWord
	for _, w := range strings.Fields(s) {
		i := strings.LastIndex(w, "/")
		out = append(out, treeWord{w[:i], w[i+1:]})
	}
	return out
}

const owl = "Uglen/NOUN flyver/VERB om/ADP natten/NOUN ,/PUNCT og/CCONJ den/PRON er/AUX helt/ADV stille/ADJ ./PUNCT"

func TestJoinWords(t *testing.T) {
	for in, want := range map[string]string{
		owl: "Uglen flyver om natten, og den er helt stille.",
		`"/PUNCT Kom/VERB !/PUNCT "/PUNCT sagde/VERB hun/PRON (/PUNCT vredt/ADV )/PUNCT ./PUNCT`: `"Kom!" sagde hun (vredt).`,
	} {
		if got := joinWords(words(t, in)); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

// By the rules of ScaLA, for each word by hand.
func TestCorruptionRules(t *testing.T) {
	s := words(t, owl)
	var deleted []string
	for _, i := range deletable(s) {
		deleted = append(deleted, s[i].form)
	}
	// Not: the comma and full stop, the adverb, the adjective. "natten" has no noun beside it.
	if got := strings.Join(deleted, " "); got != "Uglen flyver om natten og den er" {
		t.Errorf("may be deleted: %s", got)
	}
	two := words(t, "Peter/PROPN Plys/PROPN sover/VERB")
	if got := deletable(two); len(got) != 1 || got[0] != 2 {
		t.Errorf("one of two names is missing: %v", got)
	}
	rng := rand.New(rand.NewPCG(1, 1))
	for i, want := range map[int][]string{
		0: {"Flyver uglen om natten, og den er helt stille."},                                                   // the only neighbour; cases follow
		1: {"Flyver uglen om natten, og den er helt stille.", "Uglen om flyver natten, og den er helt stille."}, // a coin
		3: {"Uglen flyver natten om, og den er helt stille."},                                                   // to the left, a comma on the right
		5: {"Uglen flyver om natten, den og er helt stille."},                                                   // to the right, a comma on the left
		6: {"Uglen flyver om natten, den og er helt stille."},                                                   // "er den" would be a question
		7: {"Uglen flyver om natten, og er den helt stille.", "Uglen flyver om natten, og den helt er stille."}, // a coin
		9: {"Uglen flyver om natten, og den er stille helt."},                                                   // full stop on the right
	} {
		if got := joinWords(swapWords(s, i, partner(s, i, rng))); !slices.Contains(want, got) {
			t.Errorf("word %d: got %q, want %q", i, got, want)
		}
	}
	if got := swapWords(words(t, "USA/PROPN er/AUX stort/ADJ"), 0, 1); joinWords(got) != "Er USA stort" {
		t.Errorf("all-caps is kept: %q", joinWords(got))
	}
	for in, want := range map[string]string{
		"Hun/PRON bor/VERB her/ADV ./PUNCT":                         "five tokens or fewer",
		"a/X b/X c/X d/X e/X f/X":                                   "five parts of speech or fewer",
		strings.Replace(owl, "Uglen/NOUN", "-/PUNCT Uglen/NOUN", 1): "begins with punctuation",
		strings.Replace(owl, "om/ADP", `om/ADP "/PUNCT`, 1):         "odd number of quotation marks",
		owl: "",
	} {
		if got := unusable(words(t, in), joinWords(words(t, in))); got != want {
			t.Errorf("%q: unusable because %q, want %q", in, got, want)
		}
	}
}

// A treebank of our own sentences.
func tinyTreebank(t *testing.T) string {
	t.Helper()
	var b strings.Builder
	id := 0
	sentence := func(s string) {
		fmt.Fprintf(&b, "# sent_id = %d\n", id)
		for i, w := range strings.Fields(s) {
			k := strings.LastIndex(w, "/")
			fmt.Fprintf(&b, "%d\t%s\t_\t%s\t_\t_\t_\t_\t_\t_\n", i+1, w[:k], w[k+1:])
		}
		b.WriteString("\n")
		id++
	}
	for _, bird := range []string{"Uglen", "Ravnen", "Musvitten", "Svalen", "Lærken", "Måsen"} {
		for _, when := range []string{"natten", "dagen", "foråret", "morgenen"} {
			sentence(strings.NewReplacer("Uglen", bird, "natten", when).Replace(owl))
		}
	}
	sentence("Kort/ADJ ./PUNCT")
	sentence(owl) // repeated
	path := filepath.Join(t.TempDir(), "da_mini-ud-train.conllu")
	write(t, path, b.String())
	return path
}

func TestBuildScaLA(t *testing.T) {
	bank := tinyTreebank(t)
	o := ScaLAOptions{Language: "da", License: "CC0-1.0", Source: "our own sentences", Val: 4, Test: 10, Train: 8}
	var first map[string]string
	for range 2 {
		dir := filepath.Join(t.TempDir(), "mini")
		rep, err := BuildScaLA(dir, []string{bank}, o)
		if err != nil {
			t.Fatal(err)
		}
		if rep.Sentences != 26 || rep.Usable != 24 || rep.Dropped["repeated"] != 1 || rep.Dropped["five tokens or fewer"] != 1 || rep.Corrupted["delete"]+rep.Corrupted["flip_neighbours"] != 22 {
			t.Errorf("report %+v", rep)
		}
		got := map[string]string{}
		for _, name := range []string{"train.jsonl", "val.jsonl", "test.jsonl", "dataset.yaml"} {
			data, err := os.ReadFile(filepath.Join(dir, name))
			if err != nil {
				t.Fatal(err)
			}
			got[name] = string(data)
		}
		if first == nil {
			first = got
			continue
		}
		for name := range got {
			if got[name] != first[name] {
				t.Errorf("%s differs with the same seed", name)
			}
		}
		d, err := LoadDataset(dir)
		if err != nil {
			t.Fatal(err)
		}
		correct, texts := 0, map[string]bool{}
		for _, r := range d.Test {
			if r.Label == "correct" {
				correct++
			}
			texts[r.Text] = true
		}
		if len(d.Train) != 16 || len(d.Val) != 8 || len(d.Test) != 20 || correct != 10 || len(texts) != 20 || d.License != "CC0-1.0" {
			t.Errorf("%d, %d, %d rows, %d correct, %d texts, licence %s", len(d.Train), len(d.Val), len(d.Test), correct, len(texts), d.License)
		}
	}
	o.Test = 100
	if _, err := BuildScaLA(t.TempDir(), []string{bank}, o); err == nil || !strings.Contains(err.Error(), "24 sentences are usable, 112 are wanted") {
		t.Errorf("too few: %v", err)
	}
	bad := filepath.Join(t.TempDir(), "x.conllu")
	write(t, bad, "1\tHun\n")
	if _, err := BuildScaLA(t.TempDir(), []string{bad}, ScaLAOptions{Language: "da"}); err == nil || !strings.Contains(err.Error(), "x.conllu:1: 2 columns") {
		t.Errorf("bad columns: %v", err)
	}
}

// A word written as one and counted as two keeps its form; empty nodes are no words.
func TestReadCoNLLU(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.conllu")
	row := func(id, form, tag string) string { return id + "\t" + form + "\t_\t" + tag + "\t_\t_\t_\t_\t_\t_\n" }
	write(t, path, row("1", "Hun", "PRON")+row("2-3", "im", "_")+row("2", "in", "ADP")+row("3", "dem", "DET")+row("3.1", "x", "VERB")+row("4", "Haus", "NOUN"))
	var got string
	if err := eachSentence(path, func(s []treeWord) { got = fmt.Sprint(s) }); err != nil {
		t.Fatal(err)
	}
	if got != "[{Hun PRON} {im ADP} {Haus NOUN}]" {
		t.Errorf("got %s", got)
	}
}
