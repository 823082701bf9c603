package shard

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"ravn/corpus"
	"ravn/internal/atomicfile"
	"ravn/internal/progress"
)

// WriterOptions say how documents become tokens.
type WriterOptions struct {
	Tokenizer  Encoder
	Separators string // BOSEOS (default), EOS or None
	Workers    int    // goroutines that encode; 0: GOMAXPROCS. The files do not depend on it
	Progress   *progress.Reporter
}

// SectionInput is one section to be written.
type SectionInput struct {
	Name     string
	License  string // of documents that name none
	Language string // of documents that name none
	Role     string // "target", "replay", ...: for tables; it changes nothing here
	Source   string // hash of what Documents reads; a section of the same hash and options is kept, not done again. "": always done
	// Documents gives the section's documents, always in the same order. The first error ends the work.
	Documents iter.Seq2[*corpus.Document, error]
}

// commitTokens is how much work is done between two notes of what is finished, so that a killed Write can be gone on
// with. Tests make it less.
var commitTokens int64 = 32 << 20

// Write tokenises sections into dir. What an earlier Write left there is kept where it is still right, and replaced or
// removed where it is not. Until all is done shards.json says that it is not complete, and Open refuses the folder.
func Write(ctx context.Context, dir string, sections []SectionInput, o WriterOptions) (*Info, error) {
	w, err := newWriter(dir, sections, o)
	if err != nil {
		return nil, err
	}
	if w.keep(); w.unchanged() {
		w.info = *w.was
		return w.was, w.tidy()
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("shard: %w", err)
	}
	if err := w.commit(false); err != nil {
		return nil, err
	}
	w.task = o.Progress.Start("tokenise", 0, "tokens")
	since := int64(0)
	for i, s := range sections {
		if w.done[i] != nil {
			continue
		}
		w.task.Note(s.Name)
		d, err := w.section(ctx, s)
		if err != nil {
			return nil, errors.Join(err, w.commit(false)) // finished sections are kept
		}
		w.done[i] = d
		if since += d.info.Tokens; since >= commitTokens {
			since = 0
			if err := w.commit(false); err != nil {
				return nil, err
			}
		}
	}
	w.task.Note("")
	w.task.Done()
	w.removeOld()
	if err := w.commit(true); err != nil {
		return nil, err
	}
	return &w.info, nil
}

// writer is the state of one Write.
type writer struct {
	dir      string
	options  WriterOptions
	sections []SectionInput
	code     byte
	info     Info
	was      *Info      // of an earlier Write, or nil
	done     []*written // by section; nil: still to do
	part     int        // number of the next table that is not complete
	task     *progress.Task
}

// written is a section that is on disk.
type written struct {
	info SectionInfo
	rows []DocumentRow
}

func newWriter(dir string, sections []SectionInput, o WriterOptions) (*writer, error) {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf("shard: "+format, args...)) }
	if o.Separators == "" {
		o.Separators = BOSEOS
	}
	w := &writer{dir: dir, options: o, sections: sections, done: make([]*written, len(sections))}
	if o.Tokenizer == nil {
		return nil, errors.New("shard: no tokenizer")
	}
	t := o.Tokenizer
	w.info = Info{Format: infoFormat, Tokenizer: t.Hash(), VocabSize: t.Size(), Separators: o.Separators, BOS: t.BOS(), EOS: t.EOS(), DType: "int32"}
	w.code = codeInt32
	if t.Size() < smallVocab {
		w.code, w.info.DType = codeUint16, "uint16"
	}
	switch o.Separators {
	case BOSEOS, EOS, None:
	default:
		bad("separators %q; there are %s, %s and %s", o.Separators, BOSEOS, EOS, None)
	}
	if o.Separators == BOSEOS && t.BOS() < 0 {
		bad("separators %s: the tokenizer has no BOS\n\t(take %s, or %s)", BOSEOS, EOS, None)
	}
	if o.Separators != None && t.EOS() < 0 {
		bad("separators %s: the tokenizer has no EOS\n\t(take %s)", o.Separators, None)
	}
	if len(sections) == 0 {
		bad("no sections to write")
	}
	names := map[string]string{}
	for _, s := range sections {
		if err := CheckName(s.Name); err != nil {
			bad("%w", err)
		}
		folded := strings.ToLower(s.Name)
		if other, twice := names[folded]; twice {
			bad("sections %q and %q would have files of one name", other, s.Name)
		}
		names[folded] = s.Name
		if s.Documents == nil {
			bad("section %q has no documents to read", s.Name)
		}
	}
	return w, errors.Join(errs...)
}

// keep takes over the sections that an earlier Write made from the same things and that still are as it left them.
func (w *writer) keep() {
	was, err := ReadInfo(w.dir)
	if err != nil {
		return // nothing there, or nothing that can be trusted
	}
	w.was = was
	if _, err := fmt.Sscanf(was.Spans.Name, partPrefix+"%d.parquet", &w.part); err == nil {
		w.part++
	}
	if was.Tokenizer != w.info.Tokenizer || was.VocabSize != w.info.VocabSize || was.Separators != w.info.Separators ||
		was.BOS != w.info.BOS || was.EOS != w.info.EOS {
		return
	}
	var rows []DocumentRow // read when first needed
	for i, s := range w.sections {
		old := was.Section(s.Name)
		if old == nil || s.Source == "" || old.Source != s.Source || old.License != s.License || old.Language != s.Language || old.Role != s.Role {
			continue
		}
		if verifyFile(w.dir, old.Bin) != nil || verifyFile(w.dir, old.Idx) != nil {
			continue
		}
		if rows == nil {
			if verifyFile(w.dir, was.Spans) != nil {
				return
			}
			data, err := os.ReadFile(filepath.Join(w.dir, was.Spans.Name))
			if err == nil {
				rows, err = readDocumentRows(data, was.Documents())
			}
			if err != nil {
				return
			}
		}
		from := slices.IndexFunc(rows, func(r DocumentRow) bool { return r.Section == s.Name })
		if old.Documents == 0 {
			w.done[i] = &written{info: *old}
		} else if from >= 0 && int64(len(rows)-from) >= old.Documents {
			w.done[i] = &written{*old, rows[from : int64(from)+old.Documents]}
		}
	}
}

// unchanged tells whether the folder holds just what is asked for.
func (w *writer) unchanged() bool {
	if w.was == nil || !w.was.Complete || len(w.was.Sections) != len(w.sections) {
		return false
	}
	for i, s := range w.sections {
		if w.done[i] == nil || w.was.Sections[i].Name != s.Name {
			return false
		}
	}
	return true
}

// commit writes the table of documents and, last, shards.json for the sections that are done. Until all are, the table
// has a name of its own for each contents, so that shards.json never speaks of a table that has been replaced: a kill
// between the two leaves the ones before.
func (w *writer) commit(complete bool) error {
	w.info.Complete, w.info.Sections = complete, []SectionInfo{}
	var rows []DocumentRow
	for _, d := range w.done {
		if d != nil {
			w.info.Sections = append(w.info.Sections, d.info)
			rows = append(rows, d.rows...)
		}
	}
	name := spansName
	if !complete {
		name = fmt.Sprintf("%s%d.parquet", partPrefix, w.part)
		w.part++
	}
	f, err := createHashed(filepath.Join(w.dir, name))
	if err != nil {
		return err
	}
	defer f.abort()
	if err := writeDocumentRows(f, rows); err != nil {
		return err
	}
	if w.info.Spans, err = f.commit(); err != nil {
		return err
	}
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(&w.info); err != nil {
		return fmt.Errorf("shard: %s: %w", infoName, err)
	}
	if err := atomicfile.WriteFile(filepath.Join(w.dir, infoName), buf.Bytes()); err != nil {
		return fmt.Errorf("shard: %w", err)
	}
	return w.tidy()
}

// tidy removes the tables that shards.json no longer speaks of, and what killed writers have left of our own files.
func (w *writer) tidy() error {
	entries, err := os.ReadDir(w.dir)
	if err != nil {
		return fmt.Errorf("shard: %w", err)
	}
	ours := map[string]bool{infoName: true, spansName: true}
	for _, s := range w.sections {
		ours[s.Name+".bin"], ours[s.Name+".idx"] = true, true
	}
	for _, e := range entries {
		name := e.Name()
		final, _, temporary := strings.Cut(strings.TrimPrefix(name, "."), ".tmp") // as package atomicfile names them
		temporary = temporary && name[0] == '.' && (ours[final] || strings.HasPrefix(final, partPrefix))
		if temporary || strings.HasPrefix(name, partPrefix) && name != w.info.Spans.Name {
			if err := os.Remove(filepath.Join(w.dir, name)); err != nil {
				return fmt.Errorf("shard: %w", err)
			}
		}
	}
	return nil
}

// removeOld removes the files of sections that are no longer asked for. It is no harm when one stays.
func (w *writer) removeOld() {
	if w.was == nil {
		return
	}
	for _, s := range w.was.Sections {
		if !slices.ContainsFunc(w.sections, func(in SectionInput) bool { return in.Name == s.Name }) {
			os.Remove(filepath.Join(w.dir, s.Bin.Name))
			os.Remove(filepath.Join(w.dir, s.Idx.Name))
		}
	}
}

// section writes one section's .bin and .idx.
func (w *writer) section(ctx context.Context, s SectionInput) (*written, error) {
	d := &written{info: SectionInfo{Name: s.Name, License: s.License, Language: s.Language, Role: s.Role, Source: s.Source}}
	bin, err := createHashed(filepath.Join(w.dir, s.Name+".bin"))
	if err != nil {
		return nil, err
	}
	defer bin.abort()
	var lengths []int32
	err = w.encode(ctx, s, func(c *chunk) error {
		if _, err := bin.Write(c.tokens); err != nil {
			return err
		}
		for i := range c.rows {
			r := &c.rows[i]
			if r.Tokens == 0 {
				d.info.Empty++
				continue
			}
			r.Number, r.FirstToken = d.info.Documents, d.info.Tokens
			lengths = append(lengths, int32(r.Tokens))
			d.rows = append(d.rows, *r)
			d.info.Documents++
			d.info.Tokens += r.Tokens
			d.info.TextBytes += r.TextBytes
			w.task.Add(r.Tokens)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("shard: section %q: %w", s.Name, err)
	}
	if d.info.Bin, err = bin.commit(); err != nil {
		return nil, err
	}
	idx, err := createHashed(filepath.Join(w.dir, s.Name+".idx"))
	if err != nil {
		return nil, err
	}
	defer idx.abort()
	if _, err := idx.Write(appendIndex(nil, w.code, lengths)); err != nil {
		return nil, fmt.Errorf("shard: %w", err)
	}
	if d.info.Idx, err = idx.commit(); err != nil {
		return nil, err
	}
	return d, nil
}

// hashedFile is a file that is written once, atomically, and hashed on the way.
type hashedFile struct {
	file *atomicfile.File
	buf  *bufio.Writer
	sum  hash.Hash
	info FileInfo
}

func createHashed(path string) (*hashedFile, error) {
	file, err := atomicfile.Create(path)
	if err != nil {
		return nil, fmt.Errorf("shard: %w", err)
	}
	f := &hashedFile{file: file, sum: sha256.New(), info: FileInfo{Name: filepath.Base(path)}}
	f.buf = bufio.NewWriterSize(io.MultiWriter(file, f.sum), 1<<20)
	return f, nil
}

func (f *hashedFile) Write(p []byte) (int, error) {
	f.info.Bytes += int64(len(p))
	return f.buf.Write(p)
}

func (f *hashedFile) commit() (FileInfo, error) {
	err := f.buf.Flush()
	if err == nil {
		err = f.file.Commit()
	}
	if err != nil {
		return FileInfo{}, fmt.Errorf("shard: %s: %w", f.info.Name, err)
	}
	f.info.SHA256 = hex.EncodeToString(f.sum.Sum(nil))
	return f.info, nil
}

func (f *hashedFile) abort() { f.file.Abort() }

// verifyFile compares a file with what was written.
func verifyFile(dir string, want FileInfo) error {
	f, err := os.Open(filepath.Join(dir, want.Name))
	if err != nil {
		return fmt.Errorf("shard: %w", err)
	}
	defer f.Close()
	h := sha256.New()
	n, err := io.Copy(h, f)
	if err != nil {
		return fmt.Errorf("shard: %w", err)
	}
	path := filepath.Join(dir, want.Name)
	if n != want.Bytes {
		return fmt.Errorf("shard: %s holds %d bytes, %s says %d\n\t(make the shards again)", path, n, infoName, want.Bytes)
	}
	if got := hex.EncodeToString(h.Sum(nil)); got != want.SHA256 {
		return fmt.Errorf("shard: %s has SHA-256 %s, %s says %s\n\t(make the shards again)", path, got, infoName, want.SHA256)
	}
	return nil
}
