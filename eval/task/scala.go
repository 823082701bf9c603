package task

import (
	"bufio"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/goccy/go-yaml"

	"ravn/internal/atomicfile"
	"ravn/internal/nprand"
)

// ScaLAOptions say how acceptability data are made of a treebank (Nielsen 2023, "ScandEval").
type ScaLAOptions struct {
	Name     string // of the data set
	Language string // da, nb, nn, sv, en: whose prompt is used
	License  string // of the treebank; its sentences keep it
	Source   string // where the treebank is from
	Seed     uint64 // 0 is 4242
	Val      int    // sentences of each split, doubled by corruption; 0 is 128
	Test     int    // 0 is 1024
	Train    int    // 0 is 512
}

// ScaLAReport counts what became of the sentences.
type ScaLAReport struct {
	Sentences int            `json:"sentences"` // in the treebank
	Dropped   map[string]int `json:"dropped"`   // by reason
	Usable    int            `json:"usable"`
	Rows      map[string]int `json:"rows"`      // by split
	Corrupted map[string]int `json:"corrupted"` // by kind
}

// treeWord is a token of a treebank with its universal part of speech.
type treeWord struct{ form, tag string }

// BuildScaLA reads CoNLL-U files (a treebank's train, dev and test), keeps the sentences that ScaLA keeps, draws its
// splits, corrupts each sentence once and writes a folder that LoadDataset reads. The same seed gives the same bytes.
// Not byte for byte ScandEval's: its corruption is unseeded.
func BuildScaLA(dir string, files []string, o ScaLAOptions) (*ScaLAReport, error) {
	spec, ok := builtin["scala-"+o.Language]
	if !ok {
		return nil, fmt.Errorf("task: no acceptability prompt in language %q (da, nb, nn, sv, en)", o.Language)
	}
	rep := &ScaLAReport{Dropped: map[string]int{}, Rows: map[string]int{}, Corrupted: map[string]int{}}
	sentences, err := usableSentences(files, rep)
	if err != nil {
		return nil, err
	}
	seed := cmp.Or(o.Seed, scandEvalSeed)
	sizes := []int{cmp.Or(o.Val, 128), cmp.Or(o.Test, 1024), cmp.Or(o.Train, 512)}
	if need := sizes[0] + sizes[1] + sizes[2]; need > len(sentences) {
		return nil, fmt.Errorf("task: %d sentences are usable, %d are wanted (smaller --val, --test and --train, or a larger treebank; dropped: %v)", len(sentences), need, rep.Dropped)
	}
	spec.Name, spec.License, spec.Source, spec.Benchmark, spec.Note = cmp.Or(o.Name, "scala-"+o.Language), cmp.Or(o.License, "unknown"), cmp.Or(o.Source, "unknown"), nil,
		fmt.Sprintf("made by ravn eval data scala, seed %d", seed)
	spec.Rows = RowCounts{Val: 2 * sizes[0], Test: 2 * sizes[1], Train: 2 * sizes[2]}
	rng := rand.New(rand.NewPCG(seed, 0x7363616c61))
	for i, split := range []string{"val", "test", "train"} {
		var drawn, rest [][]treeWord
		order := nprand.PandasSample(len(sentences), len(sentences), uint32(seed))
		taken := map[int]bool{}
		for _, k := range order[:sizes[i]] {
			drawn = append(drawn, sentences[k])
			taken[k] = true
		}
		for k, s := range sentences {
			if !taken[k] {
				rest = append(rest, s)
			}
		}
		sentences = rest
		data, err := scalaRows(drawn, seed, rng, rep)
		if err != nil {
			return nil, err
		}
		rep.Rows[split] = 2 * len(drawn)
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return nil, fmt.Errorf("task: %w", err)
		}
		if err := atomicfile.WriteFile(filepath.Join(dir, split+".jsonl"), data); err != nil {
			return nil, err
		}
	}
	text, err := yaml.Marshal(spec)
	if err != nil {
		return nil, fmt.Errorf("task: %w", err)
	}
	return rep, atomicfile.WriteFile(filepath.Join(dir, "dataset.yaml"), text)
}

// scalaRow is a line of a ScaLA file.
type scalaRow struct {
	Text  string  `json:"text"`
	Kind  *string `json:"corruption_type"`
	Label string  `json:"label"`
}

// scalaRows makes a split: the sentences, one corruption of each, shuffled.
func scalaRows(sentences [][]treeWord, seed uint64, rng *rand.Rand, rep *ScaLAReport) ([]byte, error) {
	var rows []scalaRow
	for _, s := range sentences {
		rows = append(rows, scalaRow{Text: joinWords(s), Label: "correct"})
	}
	for _, s := range sentences {
		words, kind := corrupt(s, rng)
		rep.Corrupted[kind]++
		rows = append(rows, scalaRow{Text: joinWords(words), Kind: &kind, Label: "incorrect"})
	}
	var b strings.Builder
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	for _, i := range nprand.PandasSample(len(rows), len(rows), uint32(seed)) {
		if err := enc.Encode(rows[i]); err != nil {
			return nil, fmt.Errorf("task: %w", err)
		}
	}
	return []byte(b.String()), nil
}

func usableSentences(files []string, rep *ScaLAReport) ([][]treeWord, error) {
	var out [][]treeWord
	seen := map[string]bool{}
	var errs []error
	for _, path := range files {
		err := eachSentence(path, func(s []treeWord) {
			rep.Sentences++
			text := joinWords(s)
			if why := unusable(s, text); why != "" {
				rep.Dropped[why]++
				return
			}
			if seen[text] {
				rep.Dropped["repeated"]++
				return
			}
			seen[text] = true
			out = append(out, s)
		})
		errs = append(errs, err)
	}
	rep.Usable = len(out)
	return out, errors.Join(errs...)
}

// unusable says why ScaLA leaves a sentence out.
func unusable(s []treeWord, text string) string {
	tags := map[string]bool{}
	for _, w := range s {
		tags[w.tag] = true
	}
	switch {
	case len(s) <= 5:
		return "five tokens or fewer"
	case len(tags) <= 5:
		return "five parts of speech or fewer"
	case strings.Count(text, `"`)%2 == 1:
		return "odd number of quotation marks"
	case s[0].tag == "PUNCT" || s[0].tag == "SYM":
		return "begins with punctuation"
	case strings.Count(text, "=") > 1:
		return "more than one ="
	case strings.Contains(text, "SLUTORD"):
		return "holds SLUTORD"
	case len(deletable(s))+len(swappable(s)) == 0:
		return "nothing to corrupt"
	}
	return ""
}

// eachSentence reads CoNLL-U: ten columns a word, an empty line after a sentence. A word that is written as one and
// counted as several (1-2) is taken as written, with the tag of its first part; empty nodes (1.1) are not words.
func eachSentence(path string, f func(s []treeWord)) error {
	file, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("task: %w", err)
	}
	defer file.Close()
	r := bufio.NewScanner(file)
	r.Buffer(nil, 1<<20)
	var s []treeWord
	until := ""       // last number that a word written as one stands for
	waiting := false  // its tag is the next word's
	flush := func() { // at the end of a sentence
		if len(s) > 0 {
			f(s)
		}
		s, until, waiting = nil, "", false
	}
	for line := 1; r.Scan(); line++ {
		text := strings.TrimSuffix(r.Text(), "\r")
		if text == "" {
			flush()
			continue
		}
		if strings.HasPrefix(text, "#") {
			continue
		}
		cols := strings.Split(text, "\t")
		if len(cols) != 10 {
			return fmt.Errorf("task: %s:%d: %d columns, CoNLL-U has 10 separated by tabs", path, line, len(cols))
		}
		id, form, tag := cols[0], cols[1], cols[3]
		_, last, span := strings.Cut(id, "-")
		switch {
		case strings.Contains(id, "."):
		case span:
			s = append(s, treeWord{form, "_"})
			until, waiting = last, true
		case until != "":
			if waiting {
				s[len(s)-1].tag, waiting = tag, false
			}
			if id == until {
				until = ""
			}
		default:
			s = append(s, treeWord{form, tag})
		}
	}
	if err := r.Err(); err != nil {
		return fmt.Errorf("task: %s: %w", path, err)
	}
	flush()
	return nil
}

// corrupt deletes a word or swaps two neighbours, whichever of the two is drawn first and can be done.
func corrupt(s []treeWord, rng *rand.Rand) ([]treeWord, string) {
	for {
		if rng.IntN(2) == 0 {
			if at := swappable(s); len(at) > 0 {
				i := at[rng.IntN(len(at))]
				return swapWords(s, i, partner(s, i, rng)), "flip_neighbours"
			}
			continue
		}
		if at := deletable(s); len(at) > 0 {
			i := at[rng.IntN(len(at))]
			return slices.Delete(slices.Clone(s), i, i+1), "delete"
		}
	}
}

// deletable lists the words whose absence is a mistake.
func deletable(s []treeWord) []int {
	noun := func(i int) bool { return i >= 0 && i < len(s) && (s[i].tag == "NOUN" || s[i].tag == "PROPN") }
	var out []int
	for i, w := range s {
		switch w.tag {
		case "ADJ", "ADV", "PUNCT", "SYM", "DET", "NUM":
			continue
		}
		if !noun(i) || !noun(i-1) && !noun(i+1) {
			out = append(out, i)
		}
	}
	return out
}

// swappable lists the words with a neighbour of another part of speech; punctuation stays where it is.
func swappable(s []treeWord) []int {
	var out []int
	for i, w := range s {
		other := func(k int) bool {
			return k >= 0 && k < len(s) && s[k].tag != "PUNCT" && s[k].tag != w.tag
		}
		left, right := other(i-1), other(i+1)
		if right && i > 0 && pronounAux(w, s[i+1]) { // taken to the left, so that must be possible
			right = false
		}
		if w.tag != "PUNCT" && (left || right) {
			out = append(out, i)
		}
	}
	return out
}

// partner chooses the neighbour that word i changes places with.
func partner(s []treeWord, i int, rng *rand.Rand) int {
	tag := s[i].tag
	bad := func(k int) bool { return s[k].tag == "PUNCT" || s[k].tag == tag }
	switch {
	case i == 0:
		return 1
	case i == len(s)-1:
		return i - 1
	case bad(i+1) || pronounAux(s[i], s[i+1]):
		return i - 1
	case bad(i - 1):
		return i + 1
	}
	return i - 1 + 2*rng.IntN(2)
}

// pronounAux tells the word order of questions, which is no mistake.
func pronounAux(a, b treeWord) bool {
	return a.tag == "PRON" && b.tag == "AUX" || a.tag == "AUX" && b.tag == "PRON"
}

func swapWords(s []treeWord, i, j int) []treeWord {
	out := slices.Clone(s)
	out[i], out[j] = out[j], out[i]
	if i == 0 || j == 0 {
		out[0].form = titleCase(out[0].form)
		if f := out[1].form; f != strings.ToUpper(f) {
			out[1].form = strings.ToLower(f)
		}
	}
	return out
}

func titleCase(s string) string {
	r, n := utf8.DecodeRuneInString(s)
	return string(unicode.ToTitle(r)) + s[n:]
}

// joinWords writes words as a text: no space before closing marks, after opening ones, and inside a pair of quotation
// marks.
func joinWords(s []treeWord) string {
	var b strings.Builder
	glue, inside := true, false
	for _, w := range s {
		space := !glue
		glue = false
		switch w.form {
		case ".", ",", ";", ":", "?", "!", ")", "]", "}":
			space = false
		case "(", "[", "{":
			glue = true
		case `"`:
			if inside {
				space = false
			} else {
				glue = true
			}
			inside = !inside
		}
		if space {
			b.WriteByte(' ')
		}
		b.WriteString(w.form)
	}
	return b.String()
}
