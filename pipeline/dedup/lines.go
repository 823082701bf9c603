package dedup

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/cespare/xxhash/v2"

	"ravn/internal/extsort"
	"ravn/pipeline"
)

// Reasons of verdicts on documents with lines that stood in others.
const (
	RepeatedLines  = "repeated_lines"  // a mark: some were taken out
	MostlyRepeated = "mostly_repeated" // too little was left
)

// LineOptions say which lines are taken out.
type LineOptions struct {
	Paragraphs bool     // compare what stands between empty lines instead of lines
	MinChars   int      // shorter ones stay; headings and refrains are no copies
	Except     []string // sections that are neither changed nor compared with: clauses of law carry meaning each time
	MinWords   int      // a document with fewer left is dropped
}

// Validate checks the options.
func (o LineOptions) Validate() error {
	if o.MinChars < 0 || o.MinWords < 0 {
		return fmt.Errorf("dedup: MinChars %d and MinWords %d must not be negative", o.MinChars, o.MinWords)
	}
	return nil
}

// NewLines returns the stage that takes out of a document every line, or paragraph, that an earlier document has. White
// space at the ends of a line does not count. Repetitions within a document stay: they are the filters' business.
func NewLines(o LineOptions) pipeline.Stage { return &lines{o: o} }

type lines struct {
	o    LineOptions
	all  *extsort.Sorter
	dir  string
	mem  int64
	file *os.File // what goes: document and line, sorted
	in   *bufio.Reader
	next [2]uint32 // read and not used
	done bool
	last int64
}

func (s *lines) Name() string { return "dedup-lines" }

// units calls f with the place of every line or paragraph.
func (s *lines) units(text string, f func(from, to int)) {
	for at := 0; at < len(text); {
		end := -1
		if s.o.Paragraphs {
			if i := strings.Index(text[at:], "\n\n"); i >= 0 {
				end = at + i + 2
				for end < len(text) && text[end] == '\n' {
					end++
				}
			}
		} else if i := strings.IndexByte(text[at:], '\n'); i >= 0 {
			end = at + i + 1
		}
		if end < 0 {
			end = len(text)
		}
		f(at, end)
		at = end
	}
}

// Prepare attaches a hash of every unit, 0 for those that stay.
func (s *lines) Prepare(x *pipeline.Doc) {
	if slices.Contains(s.o.Except, x.Section) {
		return
	}
	var b []byte
	s.units(x.Text, func(from, to int) {
		body := strings.TrimSpace(x.Text[from:to])
		h := uint64(0)
		if body != "" && utf8.RuneCountInString(body) >= s.o.MinChars {
			h = xxhash.Sum64String(body) | 1
		}
		b = binary.LittleEndian.AppendUint64(b, h)
	})
	x.Attach(b)
}

// Begin opens what is collected.
func (s *lines) Begin(a *pipeline.Access) error {
	s.dir, s.mem = a.Dir, a.MemoryBytes
	s.all = extsort.New(a.Dir, a.MemoryBytes/2)
	return nil
}

// Collect takes a document's hashes.
func (s *lines) Collect(m *pipeline.Member, attached []byte) error {
	for i := 0; i+8 <= len(attached); i += 8 {
		if h := binary.LittleEndian.Uint64(attached[i:]); h != 0 {
			if err := s.all.Add(extsort.Record{Key: h, High: uint32(m.Number), Low: uint32(i / 8)}); err != nil {
				return err
			}
		}
	}
	return nil
}

// Resolve finds what goes and sorts it by document.
func (s *lines) Resolve(ctx context.Context) error {
	defer s.all.Close()
	gone := extsort.New(s.dir, s.mem/2)
	defer gone.Close()
	var first extsort.Record
	for r, err := range s.all.Sorted(ctx) {
		if err != nil {
			return err
		}
		if r.Key != first.Key {
			first = r
			continue
		}
		if r.High == first.High {
			continue
		}
		if err := gone.Add(extsort.Record{Key: uint64(r.High)<<32 | uint64(r.Low)}); err != nil {
			return err
		}
	}
	f, err := os.CreateTemp(s.dir, "lines-*")
	if err != nil {
		return fmt.Errorf("dedup: %w", err)
	}
	s.file = f
	w := bufio.NewWriterSize(f, 1<<18)
	var b [8]byte
	for r, err := range gone.Sorted(ctx) {
		if err != nil {
			return err
		}
		binary.LittleEndian.PutUint64(b[:], r.Key)
		if _, err := w.Write(b[:]); err != nil {
			return fmt.Errorf("dedup: %w (is the disk full?)", err)
		}
	}
	if err := w.Flush(); err != nil {
		return fmt.Errorf("dedup: %w (is the disk full?)", err)
	}
	s.last = -1
	return s.rewind()
}

func (s *lines) rewind() error {
	if _, err := s.file.Seek(0, io.SeekStart); err != nil {
		return fmt.Errorf("dedup: %w", err)
	}
	s.in = bufio.NewReaderSize(s.file, 1<<18)
	return s.read()
}

// read takes the next document and line off the file.
func (s *lines) read() error {
	var b [8]byte
	_, err := io.ReadFull(s.in, b[:])
	s.done = errors.Is(err, io.EOF)
	if err != nil && !s.done {
		return fmt.Errorf("dedup: %w", err)
	}
	k := binary.LittleEndian.Uint64(b[:])
	s.next = [2]uint32{uint32(k >> 32), uint32(k)}
	return nil
}

// Decide says which lines of the document go.
func (s *lines) Decide(m *pipeline.Member) pipeline.Decision {
	d := pipeline.Decision{Verdict: pipeline.Keep, Cluster: -1}
	fail := func(err error) pipeline.Decision {
		d.Verdict = pipeline.Drop("unreadable", err.Error())
		return d
	}
	if m.Number <= s.last {
		if err := s.rewind(); err != nil {
			return fail(err)
		}
	}
	s.last = m.Number
	var gone []uint32
	for !s.done && int64(s.next[0]) <= m.Number {
		if int64(s.next[0]) == m.Number {
			gone = append(gone, s.next[1])
		}
		if err := s.read(); err != nil {
			return fail(err)
		}
	}
	if len(gone) > 0 {
		d.Edit = func(text string) (string, pipeline.Verdict) { return s.take(text, gone) }
	}
	return d
}

// take removes units by their places.
func (s *lines) take(text string, gone []uint32) (string, pipeline.Verdict) {
	var b strings.Builder
	b.Grow(len(text))
	n, k := uint32(0), 0
	s.units(text, func(from, to int) {
		if k < len(gone) && gone[k] == n {
			k++
		} else {
			b.WriteString(text[from:to])
		}
		n++
	})
	what := "lines"
	if s.o.Paragraphs {
		what = "paragraphs"
	}
	left := b.String()
	said := fmt.Sprintf("%d of %d %s stand in earlier documents, %d of %d bytes", len(gone), n, what, len(text)-len(left), len(text))
	if words := pipeline.Words(left); words < s.o.MinWords || words == 0 {
		return text, pipeline.Drop(MostlyRepeated, fmt.Sprintf("%s; %d words are left, at least %d wanted", said, words, max(1, s.o.MinWords)))
	}
	return left, pipeline.Mark(RepeatedLines, said)
}
