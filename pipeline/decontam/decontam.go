// Package decontam finds training documents that hold texts of benchmarks, and drops or marks them.
//
// A model that has read a benchmark's sentences is not measured by it. A document counts as contaminated when a whole
// passage of a benchmark, a line of at least six words, stands in it word for word, case and punctuation aside; or when
// enough of a text's word n-grams do, which finds long texts that differ in places.
package decontam

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"

	"ravn/pipeline"
)

// Contaminated is the reason of the verdict.
const Contaminated = "contaminated"

// Actions on a contaminated document.
const (
	Drop = "drop"
	Mark = "mark"
)

// Benchmark is a named set of texts to look for. A text's lines are its passages.
type Benchmark struct {
	Name  string
	Texts []string
}

// Options of the search. The zero value means the defaults.
type Options struct {
	MinWords int    // shortest passage that is looked for as a whole; 0: 6
	NGram    int    // words in an n-gram; 0: 13
	MinHits  int    // different n-grams of one text in one document that count as found; 0: 8, a run of 20 words; -1: never
	Action   string // drop ("") or mark
}

// DefaultOptions are the options that the zero value means.
func DefaultOptions() Options { return Options{MinWords: 6, NGram: 13, MinHits: 8, Action: Drop} }

func (o Options) withDefaults() Options {
	d := DefaultOptions()
	if o.MinWords == 0 {
		o.MinWords = d.MinWords
	}
	if o.NGram == 0 {
		o.NGram = d.NGram
	}
	if o.MinHits == 0 {
		o.MinHits = d.MinHits
	}
	if o.Action == "" {
		o.Action = d.Action
	}
	return o
}

// Validate checks the options.
func (o Options) Validate() error {
	o = o.withDefaults()
	var errs []error
	if o.MinWords < 3 || o.MinWords > 50 {
		errs = append(errs, fmt.Errorf("decontam: MinWords is %d (use 3 to 50; 6 is usual)", o.MinWords))
	}
	if o.NGram < 3 || o.NGram > 50 {
		errs = append(errs, fmt.Errorf("decontam: NGram is %d (use 3 to 50; 8 or 13 are usual)", o.NGram))
	}
	if o.MinHits < -1 {
		errs = append(errs, fmt.Errorf("decontam: MinHits is %d (use 1 or more, or -1 for none)", o.MinHits))
	}
	if o.Action != Drop && o.Action != Mark {
		errs = append(errs, fmt.Errorf("decontam: action %q is not known (use drop or mark)", o.Action))
	}
	return errors.Join(errs...)
}

// passage is a line of a benchmark's text.
type passage struct {
	bench, item int32
	words       []uint64
}

// gram is the place of an n-gram in a benchmark's text.
type gram struct {
	bench, item int32
	at          int32 // passage and place, different for every n-gram of the item
}

// Stage looks for benchmarks in documents. It keeps what it found for Report, so it is for one Build.
type Stage struct {
	o          Options
	benchmarks []Benchmark
	checked    []int // items by benchmark that are long enough
	passages   []passage
	anchors    *index // first MinWords words of passages
	grams      []gram
	gramIndex  *index

	found [][]itemFound // by benchmark and item
	docs  [][]string    // by benchmark, SECTION/ID
	parts []map[string]*part
}

// itemFound is where an item was found.
type itemFound struct {
	whole     bool
	ngrams    int // most in one document
	documents int
	first     []string
}

// part is what was found in one section.
type part struct {
	items     map[int]bool
	documents int
}

// maxNamed is how many documents are named for an item.
const maxNamed = 10

// New prepares the search for all benchmarks. A benchmark without a text that is long enough is an error, since looking
// for it would find nothing whatever the documents hold.
func New(benchmarks []Benchmark, o Options) (*Stage, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	s := &Stage{o: o.withDefaults(), benchmarks: benchmarks}
	var anchors, grams []uint64
	names := map[string]bool{}
	for b, bm := range benchmarks {
		if bm.Name == "" || names[bm.Name] {
			return nil, fmt.Errorf("decontam: benchmark %d is called %q (give each a name of its own)", b, bm.Name)
		}
		names[bm.Name] = true
		checked := 0
		for i, text := range bm.Texts {
			n := len(s.passages)
			at := int32(0)
			for line := range strings.Lines(text) {
				words := cutWords(line)
				if len(words) >= s.o.MinWords {
					s.passages = append(s.passages, passage{int32(b), int32(i), words})
					anchors = append(anchors, windowHash(words[:s.o.MinWords]))
				}
				if s.o.MinHits > 0 {
					for k := range max(0, len(words)-s.o.NGram+1) {
						s.grams = append(s.grams, gram{int32(b), int32(i), at + int32(k)})
						grams = append(grams, windowHash(words[k:k+s.o.NGram]))
					}
				}
				at += int32(len(words))
			}
			if len(s.passages) > n {
				checked++
			}
		}
		if checked == 0 {
			return nil, fmt.Errorf("decontam: benchmark %s: none of %d texts has a line of %d words or more\n        (is it the right file and field?)", bm.Name, len(bm.Texts), s.o.MinWords)
		}
		s.checked = append(s.checked, checked)
		s.found = append(s.found, make([]itemFound, len(bm.Texts)))
		s.parts = append(s.parts, map[string]*part{})
	}
	s.docs = make([][]string, len(benchmarks))
	s.anchors, s.gramIndex = newIndex(anchors), newIndex(grams)
	return s, nil
}

// Name is "decontam".
func (s *Stage) Name() string { return "decontam" }

// Hit is an item found in a document.
type Hit struct {
	Benchmark, Item int  // places in New's list and in its Texts
	Whole           bool // a passage stands in the document word for word
	NGrams          int  // different n-grams of the text found
}

// Scores are the number of items found in a document and of different n-grams of theirs.
func (s *Stage) Scores() []string { return []string{"items", "whole", "ngrams"} }

// Examine searches the document, and attaches what it found for Note.
func (s *Stage) Examine(x *pipeline.Doc) pipeline.Verdict {
	hits := s.search(x.Tokens().Words)
	whole, grams := 0, 0
	var b []byte
	for _, h := range hits {
		if h.Whole {
			whole++
		}
		grams += h.NGrams
		b = binary.AppendUvarint(b, uint64(h.Benchmark))
		b = binary.AppendUvarint(b, uint64(h.Item))
		b = binary.AppendUvarint(b, uint64(h.NGrams)<<1|uint64(boolBit(h.Whole)))
	}
	x.Score(0, float64(len(hits)))
	x.Score(1, float64(whole))
	x.Score(2, float64(grams))
	x.Attach(b)
	return s.verdict(hits)
}

func boolBit(b bool) int {
	if b {
		return 1
	}
	return 0
}

// Search returns the items that text holds, by benchmark and item.
func (s *Stage) Search(text string) []Hit {
	var t pipeline.Tokens
	t.Cut(text)
	return s.search(t.Words)
}

func (s *Stage) search(words []uint64) []Hit {
	var hits map[[2]int32]*Hit
	at := func(bench, item int32) *Hit {
		k := [2]int32{bench, item}
		h := hits[k]
		if h == nil {
			if hits == nil {
				hits = map[[2]int32]*Hit{}
			}
			h = &Hit{Benchmark: int(bench), Item: int(item)}
			hits[k] = h
		}
		return h
	}
	s.searchWhole(words, func(p *passage) { at(p.bench, p.item).Whole = true })
	var seen map[gram]bool
	s.searchGrams(words, func(g gram) {
		if seen == nil {
			seen = map[gram]bool{}
		}
		if !seen[g] {
			seen[g] = true
			at(g.bench, g.item).NGrams++
		}
	})
	var out []Hit
	for _, h := range hits {
		if h.Whole || s.o.MinHits > 0 && h.NGrams >= s.o.MinHits {
			out = append(out, *h)
		}
	}
	slices.SortFunc(out, func(a, b Hit) int {
		return cmp.Or(a.Benchmark-b.Benchmark, a.Item-b.Item)
	})
	return out
}

// searchWhole calls f for each passage that stands in words.
func (s *Stage) searchWhole(words []uint64, f func(*passage)) {
	k := s.o.MinWords
	if len(words) < k {
		return
	}
	x, top := s.anchors, power(k)
	h := windowHash(words[:k-1])
	for i := k - 1; i < len(words); i++ {
		h = h*base + words[i]
		if i >= k {
			h -= words[i-k] * top
		}
		if !x.may(h) {
			continue
		}
		for e := x.find(h).head; e >= 0; e = x.next[e] {
			p := &s.passages[e]
			from := i - k + 1
			if len(p.words) <= len(words)-from && slices.Equal(p.words, words[from:from+len(p.words)]) {
				f(p)
			}
		}
	}
}

// searchGrams calls f for each n-gram of a benchmark that stands in words.
func (s *Stage) searchGrams(words []uint64, f func(gram)) {
	k := s.o.NGram
	if len(words) < k || len(s.grams) == 0 {
		return
	}
	x, top := s.gramIndex, power(k)
	h := windowHash(words[:k-1])
	for i := k - 1; i < len(words); i++ {
		h = h*base + words[i]
		if i >= k {
			h -= words[i-k] * top
		}
		if !x.may(h) {
			continue
		}
		for e := x.find(h).head; e >= 0; e = x.next[e] {
			f(s.grams[e])
		}
	}
}

// verdict says what was found.
func (s *Stage) verdict(hits []Hit) pipeline.Verdict {
	if len(hits) == 0 {
		return pipeline.Keep
	}
	var said []string
	for len(hits) > 0 {
		b := hits[0].Benchmark
		n, whole := 0, 0
		first := hits[0]
		for ; len(hits) > 0 && hits[0].Benchmark == b; hits = hits[1:] {
			n++
			whole += boolBit(hits[0].Whole)
		}
		said = append(said, fmt.Sprintf("%d texts of %s, %d of them word for word, the first: item %d, %q",
			n, s.benchmarks[b].Name, whole, first.Item, clip(s.benchmarks[b].Texts[first.Item], 60)))
	}
	detail := "holds " + strings.Join(said, "; ")
	if s.o.Action == Mark {
		return pipeline.Mark(Contaminated, detail)
	}
	return pipeline.Drop(Contaminated, detail)
}

// Note adds what Examine found to the report.
func (s *Stage) Note(m *pipeline.Member, attached []byte) {
	name := m.Name()
	last := -1
	var p *part
	for len(attached) > 0 {
		var v [3]uint64
		for i := range v {
			n := 0
			if v[i], n = binary.Uvarint(attached); n <= 0 {
				return
			}
			attached = attached[n:]
		}
		b, item := int(v[0]), int(v[1])
		if b != last {
			if p = s.parts[b][m.Section]; p == nil {
				p = &part{items: map[int]bool{}}
				s.parts[b][m.Section] = p
			}
			p.documents++
			s.docs[b] = append(s.docs[b], name)
			last = b
		}
		f := &s.found[b][item]
		f.documents++
		f.ngrams = max(f.ngrams, int(v[2]>>1))
		f.whole = f.whole || v[2]&1 != 0
		if len(f.first) < maxNamed {
			f.first = append(f.first, name)
		}
		p.items[item] = true
	}
}

// clip shortens a text for a detail.
func clip(s string, n int) string {
	r := []rune(strings.Join(strings.Fields(s), " "))
	if len(r) <= n {
		return string(r)
	}
	return string(r[:n]) + "…"
}

// Report says what was found of each benchmark in the documents judged so far.
func (s *Stage) Report() []pipeline.BenchmarkOverlap {
	var out []pipeline.BenchmarkOverlap
	for b, bm := range s.benchmarks {
		r := pipeline.BenchmarkOverlap{
			Name: bm.Name, Action: s.o.Action, Items: len(bm.Texts), Checked: s.checked[b],
			Sections: map[string]pipeline.SectionOverlap{}, Documents: s.docs[b],
		}
		for i, f := range s.found[b] {
			if f.documents == 0 {
				continue
			}
			r.Hit++
			r.NGrams += f.ngrams
			if f.whole {
				r.Whole++
			}
			r.Found = append(r.Found, pipeline.ItemHit{Item: i, Whole: f.whole, NGrams: f.ngrams, NumDocuments: f.documents, Documents: f.first})
		}
		for name, p := range s.parts[b] {
			r.Sections[name] = pipeline.SectionOverlap{Items: len(p.items), Documents: p.documents}
		}
		out = append(out, r)
	}
	return out
}
