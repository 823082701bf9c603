package shard

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
)

// Set is a folder of shards, mapped into memory. It may be used from several goroutines until Close.
type Set struct {
	dir      string
	info     *Info
	sections map[string]*section

	readRows func() ([]DocumentRow, error) // reads spans.parquet once
}

// section is one section's tokens.
type section struct {
	info     *SectionInfo
	set      *Set
	bin, idx []byte  // mapped
	wide     bool    // int32, not uint16
	lengths  []int32 // of each document, in tokens
	firsts   []int64 // first token of each document
	firstRow int     // of its documents in spans.parquet
}

// Open maps the shards in dir. It checks that the files have their recorded sizes and that the indices lie within
// them; Verify compares the contents.
func Open(dir string) (*Set, error) {
	info, err := ReadInfo(dir)
	if err != nil {
		return nil, err
	}
	if !info.Complete {
		return nil, fmt.Errorf("shard: %s: writing the shards was broken off\n\t(run the stage again; finished sections are kept)", dir)
	}
	s := &Set{dir: dir, info: info, sections: map[string]*section{}}
	s.readRows = sync.OnceValues(s.loadRows)
	var errs []error
	row := 0
	for i := range info.Sections {
		in := &info.Sections[i]
		sec, err := s.openSection(in)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		sec.firstRow = row
		row += len(sec.lengths)
		s.sections[in.Name] = sec
	}
	if err := errors.Join(errs...); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

func (s *Set) openSection(in *SectionInfo) (*section, error) {
	bin, err := s.mapFile(in.Bin)
	if err != nil {
		return nil, err
	}
	idx, err := s.mapFile(in.Idx)
	if err != nil {
		unmap(bin)
		return nil, err
	}
	sec := &section{info: in, set: s, bin: bin, idx: idx}
	if err := sec.parse(); err != nil {
		sec.close()
		return nil, fmt.Errorf("shard: %s: %w\n\t(make the shards again)", filepath.Join(s.dir, in.Idx.Name), err)
	}
	return sec, nil
}

// parse reads the index and holds it against shards.json.
func (sec *section) parse() error {
	x, err := parseIndex(sec.idx, int64(len(sec.bin)))
	if err != nil {
		return err
	}
	in := sec.info
	switch documents := len(x.documents) - 1; {
	case x.tokenBytes() != sec.set.info.tokenBytes():
		return fmt.Errorf("tokens of %d bytes, %s says %s", x.tokenBytes(), infoName, sec.set.info.DType)
	case documents != len(x.lengths):
		return fmt.Errorf("%d documents in %d sequences; here a document is one sequence", documents, len(x.lengths))
	case int64(documents) != in.Documents:
		return fmt.Errorf("%d documents, %s says %d", documents, infoName, in.Documents)
	}
	sec.wide = x.code == codeInt32
	sec.lengths, sec.firsts = x.lengths, x.offsets
	at := int64(0)
	for i, n := range sec.lengths {
		sec.firsts[i] /= x.tokenBytes()
		if sec.firsts[i] != at {
			return fmt.Errorf("document %d begins at token %d, the one before it ends at %d", i, sec.firsts[i], at)
		}
		if n == 0 {
			return fmt.Errorf("document %d has no tokens", i)
		}
		at += int64(n)
	}
	if at != in.Tokens {
		return fmt.Errorf("%d tokens, %s says %d", at, infoName, in.Tokens)
	}
	return nil
}

func (s *Set) mapFile(want FileInfo) ([]byte, error) {
	path := filepath.Join(s.dir, want.Name)
	data, err := mapFile(path)
	if err != nil {
		return nil, fmt.Errorf("shard: %w\n\t(make the shards again)", err)
	}
	if int64(len(data)) != want.Bytes {
		unmap(data)
		return nil, fmt.Errorf("shard: %s holds %d bytes, %s says %d\n\t(make the shards again)", path, len(data), infoName, want.Bytes)
	}
	return data, nil
}

// Info is what shards.json says. It must not be changed.
func (s *Set) Info() *Info { return s.info }

// Sections lists the sections, in the order they were written.
func (s *Set) Sections() []SectionInfo { return s.info.Sections }

// Verify reads every file and compares it with its recorded SHA-256; it reports all that differ.
func (s *Set) Verify() error {
	var errs []error
	for _, in := range s.info.Sections {
		sec := s.sections[in.Name]
		if sec == nil {
			return fmt.Errorf("shard: %s is closed", s.dir)
		}
		for _, f := range []struct {
			data []byte
			want FileInfo
		}{{sec.bin, in.Bin}, {sec.idx, in.Idx}} {
			sum := sha256.Sum256(f.data)
			if got := hex.EncodeToString(sum[:]); got != f.want.SHA256 {
				errs = append(errs, fmt.Errorf("shard: %s has SHA-256 %s, %s says %s\n\t(make the shards again)",
					filepath.Join(s.dir, f.want.Name), got, infoName, f.want.SHA256))
			}
		}
	}
	return errors.Join(append(errs, verifyFile(s.dir, s.info.Spans))...)
}

// Documents is the table of documents: all of the first section, then all of the second. It must not be changed.
func (s *Set) Documents() ([]DocumentRow, error) { return s.readRows() }

func (s *Set) loadRows() ([]DocumentRow, error) {
	path := filepath.Join(s.dir, spansName)
	fail := func(err error) ([]DocumentRow, error) {
		return nil, fmt.Errorf("shard: %s: %w\n\t(make the shards again)", path, err)
	}
	// Before anything is parsed: the Parquet reader does not promise to come back from a damaged file.
	if err := verifyFile(s.dir, s.info.Spans); err != nil {
		return nil, err
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return fail(err)
	}
	rows, err := readDocumentRows(data, s.info.Documents())
	if err != nil {
		return fail(err)
	}
	at := 0
	for _, in := range s.info.Sections {
		sec := s.sections[in.Name]
		for i := range sec.lengths {
			r := &rows[at]
			if r.Section != in.Name || r.Number != int64(i) || r.FirstToken != sec.firsts[i] || r.Tokens != int64(sec.lengths[i]) {
				return fail(fmt.Errorf("row %d says section %q, document %d, %d tokens from %d; the index says section %q, document %d, %d tokens from %d",
					at, r.Section, r.Number, r.Tokens, r.FirstToken, in.Name, i, sec.lengths[i], sec.firsts[i]))
			}
			at++
		}
	}
	return rows, nil
}

// Tokens appends the tokens of a document to dst.
func (s *Set) Tokens(dst []int32, section string, number int64) ([]int32, error) {
	sec := s.sections[section]
	if sec == nil {
		return nil, fmt.Errorf("shard: no section %q; there are: %s", section, s.names())
	}
	if number < 0 || number >= int64(len(sec.lengths)) {
		return nil, fmt.Errorf("shard: section %q has no document %d; there are %d", section, number, len(sec.lengths))
	}
	n := len(dst)
	dst = append(dst, make([]int32, sec.lengths[number])...)
	if err := sec.read(dst[n:], sec.firsts[number]); err != nil {
		return nil, err
	}
	return dst, nil
}

// read fills dst with the tokens from the given one on.
func (sec *section) read(dst []int32, from int64) error {
	v := sec.set.info.VocabSize
	bad := -1
	if sec.wide {
		src := sec.bin[4*from:][:4*len(dst)]
		for i := range dst {
			p := src[4*i:][:4]
			t := int32(uint32(p[0]) | uint32(p[1])<<8 | uint32(p[2])<<16 | uint32(p[3])<<24)
			if uint(uint32(t)) >= uint(v) {
				bad = i
			}
			dst[i] = t
		}
	} else {
		src := sec.bin[2*from:][:2*len(dst)]
		for i := range dst {
			p := src[2*i:][:2]
			t := int32(uint32(p[0]) | uint32(p[1])<<8)
			if int(t) >= v {
				bad = i
			}
			dst[i] = t
		}
	}
	if bad >= 0 {
		return fmt.Errorf("shard: %s: token %d is %d, the vocabulary has %d\n\t(make the shards again)",
			filepath.Join(sec.set.dir, sec.info.Bin.Name), from+int64(bad), dst[bad], v)
	}
	return nil
}

func (s *Set) names() string {
	names := ""
	for i, in := range s.info.Sections {
		if i > 0 {
			names += ", "
		}
		names += in.Name
	}
	return names
}

// Close unmaps the files.
func (s *Set) Close() error {
	var errs []error
	for name, sec := range s.sections {
		errs = append(errs, sec.close())
		delete(s.sections, name)
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("shard: %w", err)
	}
	return nil
}

func (sec *section) close() error {
	err := errors.Join(unmap(sec.bin), unmap(sec.idx))
	sec.bin, sec.idx = nil, nil
	return err
}
