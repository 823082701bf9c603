// Package synth makes a corpus of any size out of a small one, with copies that are known, to measure what grows with a
// corpus and to test what finds copies.
package synth

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"unicode"

	"github.com/cespare/xxhash/v2"

	"ravn/corpus"
)

// Options say how much is made.
type Options struct {
	Bytes int64   // of text at least; the documents that pass it are the last
	Exact float64 // share of documents that have an exact copy in the section Copies
	Near  float64 // share of documents that have a near copy there
	Seed  uint64  //
}

// DefaultOptions make size bytes in which one document in a hundred has an exact copy and two have near ones.
func DefaultOptions(size int64) Options {
	return Options{Bytes: size, Exact: 0.01, Near: 0.02, Seed: 17}
}

// Validate checks the options.
func (o Options) Validate() error {
	var errs []error
	if o.Bytes <= 0 {
		errs = append(errs, fmt.Errorf("synth: %d bytes (say how much text to make)", o.Bytes))
	}
	if !(o.Exact >= 0 && o.Near >= 0 && o.Exact+o.Near <= 0.5) {
		errs = append(errs, fmt.Errorf("synth: shares of copies %v and %v (use 0 to 0.5 together)", o.Exact, o.Near))
	}
	return errors.Join(errs...)
}

// Copies is the section of the copies.
const Copies = "copies"

// Kinds of pairs.
const (
	Exact = "exact" // the same text in capitals, with other white space: the same when normalised
	Near  = "near"  // one word in NearStride is another
)

// NearStride is one more than the words between two that a near copy changes. With runs of 13 words that leaves a share
// of 0.88 in common.
const NearStride = 200

// Pair is a document and its copy, as SECTION/ID.
type Pair struct {
	A    string `json:"a"`
	B    string `json:"b"`
	Kind string `json:"kind"`
}

// Made says what was written.
type Made struct {
	Documents int64 `json:"documents"`
	Bytes     int64 `json:"bytes"`
	Rounds    int   `json:"rounds"` // through the source, the last one perhaps not to its end
	Exact     int64 `json:"exact_copies"`
	Near      int64 `json:"near_copies"`
}

// Write makes dir/text/SECTION.jsonl and dir/truth.jsonl, one Pair a line, from the documents of c. The first round are these
// documents as they are. In each further one every third plain word, by chance, is another one of the same document, so
// that the text stays of its kind and language, and runs of 13 words of two rounds have next to nothing in common. The
// result depends on source and options alone.
func Write(ctx context.Context, c *corpus.Corpus, dir string, o Options) (*Made, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	if entries, err := os.ReadDir(dir); err == nil && len(entries) > 0 {
		return nil, fmt.Errorf("synth: %s is not empty (name a new folder)", dir)
	}
	w := writer{o: o, made: &Made{}, files: map[string]*corpus.Writer{}, dir: filepath.Join(dir, "text")}
	defer w.abort()
	if err := os.MkdirAll(w.dir, 0o755); err != nil {
		return nil, fmt.Errorf("synth: %w", err)
	}
	f, err := os.Create(filepath.Join(dir, "truth.jsonl"))
	if err != nil {
		return nil, fmt.Errorf("synth: %w", err)
	}
	defer f.Close()
	w.truth = bufio.NewWriter(f)
	for before := int64(-1); w.made.Bytes < o.Bytes; w.made.Rounds++ {
		if w.made.Bytes == before {
			return nil, fmt.Errorf("synth: %s holds no text to make more of", c.Path)
		}
		before = w.made.Bytes
		if err := w.round(ctx, c); err != nil {
			return nil, err
		}
	}
	if err := w.truth.Flush(); err != nil {
		return nil, fmt.Errorf("synth: %w (is the disk full?)", err)
	}
	return w.made, w.commit()
}

type writer struct {
	o     Options
	dir   string
	files map[string]*corpus.Writer
	truth *bufio.Writer
	made  *Made
}

// round writes the source's documents once.
func (w *writer) round(ctx context.Context, c *corpus.Corpus) error {
	for _, s := range c.Sections {
		if s.Name == Copies {
			return fmt.Errorf("synth: a section of %s is called %s (give it another name)", c.Path, Copies)
		}
		for d, err := range s.Documents() {
			if err != nil {
				return err
			}
			if err := ctx.Err(); err != nil {
				return err
			}
			if err := w.document(d); err != nil {
				return err
			}
			if w.made.Bytes >= w.o.Bytes {
				return nil
			}
		}
	}
	return nil
}

// document writes one document of the round, and its copy where it has one.
func (w *writer) document(d *corpus.Document) error {
	if strings.TrimSpace(d.Text) == "" {
		return nil
	}
	id := fmt.Sprintf("%s.%d", d.ID, w.made.Rounds)
	r := rand.New(rand.NewPCG(w.o.Seed, xxhash.Sum64String(d.Section+"/"+id)))
	out := &corpus.Document{ID: id, Section: d.Section, Text: d.Text, License: d.License, Language: d.Language}
	if w.made.Rounds > 0 {
		out.Text = varied(d.Text, r, 3)
	}
	if err := w.write(out); err != nil {
		return err
	}
	p := Pair{A: d.Section + "/" + id}
	twin := *out
	twin.Section = Copies
	switch u := r.Float64(); {
	case u < w.o.Exact:
		p.Kind = Exact
		twin.ID, twin.Text = id+".exact", "  "+strings.ToUpper(strings.ReplaceAll(out.Text, " ", "  "))
		w.made.Exact++
	case u < w.o.Exact+w.o.Near:
		p.Kind = Near
		twin.ID, twin.Text = id+".near", nearly(out.Text)
		w.made.Near++
	default:
		return nil
	}
	p.B = Copies + "/" + twin.ID
	line, err := json.Marshal(p)
	if err != nil {
		return fmt.Errorf("synth: %w", err)
	}
	if _, err := w.truth.Write(append(line, '\n')); err != nil {
		return fmt.Errorf("synth: %w (is the disk full?)", err)
	}
	return w.write(&twin)
}

func (w *writer) write(d *corpus.Document) error {
	f := w.files[d.Section]
	if f == nil {
		var err error
		if f, err = corpus.CreateJSONL(filepath.Join(w.dir, d.Section+".jsonl")); err != nil {
			return err
		}
		w.files[d.Section] = f
	}
	w.made.Documents++
	w.made.Bytes += int64(len(d.Text))
	return f.Write(d)
}

func (w *writer) commit() error {
	var errs []error
	for name, f := range w.files {
		errs = append(errs, f.Commit())
		delete(w.files, name)
	}
	return errors.Join(errs...)
}

func (w *writer) abort() {
	for _, f := range w.files {
		f.Abort()
	}
}

// span is a word between white space.
type span struct {
	from, to int
	plain    bool // letters alone
}

func words(text string) []span {
	var out []span
	in := false
	for i, r := range text {
		switch {
		case unicode.IsSpace(r):
			in = false
		case !in:
			in = true
			out = append(out, span{i, 0, true})
			fallthrough
		default:
			s := &out[len(out)-1]
			s.to = i + len(string(r))
			s.plain = s.plain && unicode.IsLetter(r)
		}
	}
	return out
}

// varied replaces every n-th plain word, by chance, with another plain word of the text.
func varied(text string, r *rand.Rand, n int) string {
	all := words(text)
	var plain []span
	for _, s := range all {
		if s.plain {
			plain = append(plain, s)
		}
	}
	var b strings.Builder
	b.Grow(len(text) + len(text)/16)
	at := 0
	for _, s := range all {
		if s.plain && r.IntN(n) == 0 {
			other := plain[r.IntN(len(plain))]
			b.WriteString(text[at:s.from])
			b.WriteString(text[other.from:other.to])
			at = s.to
		}
	}
	b.WriteString(text[at:])
	return b.String()
}

// nearly changes one word in NearStride.
func nearly(text string) string {
	var b strings.Builder
	at := 0
	for i, s := range words(text) {
		if i%NearStride == NearStride/2 {
			b.WriteString(text[at:s.from])
			fmt.Fprintf(&b, "rettelse%d", i)
			at = s.to
		}
	}
	b.WriteString(text[at:])
	return b.String()
}
