package pipeline

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"github.com/cespare/xxhash/v2"

	"ravn/internal/atomicfile"
)

// work is the folder in which a Build keeps what it has done: examined documents, shard by shard. A shard is there whole
// or not at all, so a Build that was killed goes on behind the last one.
//
//	shard-000000.text    the documents' lines as they will be written
//	shard-000000.facts   what is known of each record
type work struct {
	dir    string
	shards []*shard
}

// shard is a run of records of one section.
type shard struct {
	dir     string
	number  int
	section int
	records int     // read, usable or not
	first   int64   // number of its first document
	offsets []int64 // of documents in the file of texts, and its size
}

func (s *shard) path(kind string) string {
	return filepath.Join(s.dir, fmt.Sprintf("shard-%06d.%s", s.number, kind))
}

func (s *shard) docs() int { return len(s.offsets) - 1 }

const factsMagic = "ravnfct1"

// openWork makes the folder, or takes the one that a Build of the same key left. Without a key it is a new one that
// nobody finds again.
func openWork(out, key string) (*work, error) {
	if key == "" {
		dir, err := atomicfile.TempDir(out + ".work")
		if err != nil {
			return nil, fmt.Errorf("pipeline: %w", err)
		}
		return &work{dir: dir}, nil
	}
	dir := out + ".work"
	name := filepath.Join(dir, "key")
	if was, err := os.ReadFile(name); err == nil && string(was) == key {
		return &work{dir: dir}, nil
	}
	if err := os.RemoveAll(dir); err != nil {
		return nil, fmt.Errorf("pipeline: %w", err)
	}
	if err := atomicfile.WriteFile(name, []byte(key)); err != nil {
		return nil, fmt.Errorf("pipeline: %w", err)
	}
	return &work{dir: dir}, nil
}

// shardWriter writes one shard.
type shardWriter struct {
	s     *shard
	text  *atomicfile.File
	buf   *bufio.Writer
	sum   *xxhash.Digest
	facts []byte
	one   []byte
}

func (w *work) create(number, section int, first int64) (*shardWriter, error) {
	s := &shard{dir: w.dir, number: number, section: section, first: first, offsets: []int64{0}}
	f, err := atomicfile.Create(s.path("text"))
	if err != nil {
		return nil, fmt.Errorf("pipeline: %w", err)
	}
	out := &shardWriter{s: s, text: f, sum: xxhash.New()}
	out.buf = bufio.NewWriterSize(io.MultiWriter(f, out.sum), 1<<20)
	out.facts = append(out.facts, factsMagic...)
	out.facts = binary.LittleEndian.AppendUint32(out.facts, uint32(section))
	return out, nil
}

// add takes the next record.
func (w *shardWriter) add(f *facts, line []byte) error {
	w.s.records++
	w.one = f.encode(w.one[:0])
	w.facts = binary.AppendUvarint(w.facts, uint64(len(w.one)))
	w.facts = append(w.facts, w.one...)
	if f.again {
		return nil
	}
	w.s.offsets = append(w.s.offsets, w.s.offsets[w.s.docs()]+int64(len(line)))
	if _, err := w.buf.Write(line); err != nil {
		return fmt.Errorf("pipeline: %s: %w (is the disk full?)", w.s.path("text"), err)
	}
	return nil
}

// commit finishes both files, the facts last.
func (w *shardWriter) commit() (*shard, error) {
	if err := w.buf.Flush(); err != nil {
		return nil, fmt.Errorf("pipeline: %s: %w (is the disk full?)", w.s.path("text"), err)
	}
	if err := w.text.Commit(); err != nil {
		return nil, fmt.Errorf("pipeline: %w", err)
	}
	b := w.facts
	b = append(b, 0) // an empty record ends the list
	b = binary.LittleEndian.AppendUint64(b, w.sum.Sum64())
	b = binary.LittleEndian.AppendUint64(b, uint64(w.s.offsets[w.s.docs()]))
	b = binary.LittleEndian.AppendUint64(b, xxhash.Sum64(b))
	if err := atomicfile.WriteFile(w.s.path("facts"), b); err != nil {
		return nil, fmt.Errorf("pipeline: %w", err)
	}
	return w.s, nil
}

// factFile is a shard's facts in memory.
type factFile struct {
	list    [][]byte
	section int
	textSum uint64
	textLen int64
}

// readFacts reads and verifies a shard's facts.
func (s *shard) readFacts() (*factFile, error) {
	b, err := os.ReadFile(s.path("facts"))
	if err != nil {
		return nil, fmt.Errorf("pipeline: %w", err)
	}
	bad := fmt.Errorf("pipeline: %s: %w (remove %s and build again)", s.path("facts"), errFacts, s.dir)
	if len(b) < len(factsMagic)+4+1+24 || string(b[:len(factsMagic)]) != factsMagic || xxhash.Sum64(b[:len(b)-8]) != binary.LittleEndian.Uint64(b[len(b)-8:]) {
		return nil, bad
	}
	f := &factFile{section: int(binary.LittleEndian.Uint32(b[len(factsMagic):]))}
	f.textSum = binary.LittleEndian.Uint64(b[len(b)-24:])
	f.textLen = int64(binary.LittleEndian.Uint64(b[len(b)-16:]))
	r := factReader{b: b[len(factsMagic)+4 : len(b)-24]}
	for {
		n := r.uint()
		if n == 0 {
			break
		}
		f.list = append(f.list, r.bytes(n))
	}
	if r.err != nil || len(r.b) > 0 {
		return nil, bad
	}
	return f, nil
}

// find opens shard number as a killed Build left it; nil when it is not there or not whole.
func (w *work) find(number, section int, first int64) (*shard, []facts) {
	s := &shard{dir: w.dir, number: number, section: section, first: first, offsets: []int64{0}}
	f, err := s.readFacts()
	if err != nil || f.section != section {
		return nil, nil
	}
	if info, err := os.Stat(s.path("text")); err != nil || info.Size() != f.textLen {
		return nil, nil
	}
	all := make([]facts, len(f.list))
	for i, b := range f.list {
		if all[i].decode(b) != nil {
			return nil, nil
		}
		s.records++
		if !all[i].again {
			s.offsets = append(s.offsets, s.offsets[s.docs()]+all[i].length)
		}
	}
	if s.offsets[s.docs()] != f.textLen {
		return nil, nil
	}
	return s, all
}

// locate finds the shard of a document and its place there.
func (w *work) locate(number int64) (*shard, int, error) {
	i, ok := slices.BinarySearchFunc(w.shards, number, func(s *shard, n int64) int {
		if s.first == n {
			return 0
		}
		return int(max(-1, min(1, s.first-n)))
	})
	if !ok {
		i--
	}
	for i+1 < len(w.shards) && w.shards[i].docs() == 0 { // shards without documents share a number
		i++
	}
	if i < 0 || number-w.shards[i].first >= int64(w.shards[i].docs()) {
		return nil, 0, fmt.Errorf("pipeline: no document %d", number)
	}
	return w.shards[i], int(number - w.shards[i].first), nil
}

// record reads a document's line, or its first bytes.
func (w *work) record(number int64, limit int64) (*shard, []byte, error) {
	s, i, err := w.locate(number)
	if err != nil {
		return nil, nil, err
	}
	f, err := os.Open(s.path("text"))
	if err != nil {
		return nil, nil, fmt.Errorf("pipeline: %w", err)
	}
	defer f.Close()
	line := make([]byte, min(limit, s.offsets[i+1]-s.offsets[i]))
	if _, err := f.ReadAt(line, s.offsets[i]); err != nil {
		return nil, nil, fmt.Errorf("pipeline: %s: %w", s.path("text"), err)
	}
	return s, line, nil
}

// text reads a document's text.
func (w *work) text(number int64) (string, error) {
	s, line, err := w.record(number, 1<<62)
	if err != nil {
		return "", err
	}
	var d struct {
		Text string `json:"text"`
	}
	if err := json.Unmarshal(line, &d); err != nil {
		return "", fmt.Errorf("pipeline: %s: document %d: %w", s.path("text"), number, err)
	}
	return d.Text, nil
}

// id reads a document's id, which its line begins with.
func (w *work) id(number int64) (section int, id string, err error) {
	for limit := int64(512); ; limit *= 64 {
		s, line, err := w.record(number, limit)
		if err != nil {
			return 0, "", err
		}
		if head, _, ok := bytes.Cut(line, []byte(`,"text":`)); ok {
			var d struct {
				ID string `json:"id"`
			}
			if err := json.Unmarshal(append(slices.Clone(head), '}'), &d); err != nil {
				return 0, "", fmt.Errorf("pipeline: %s: document %d: %w", s.path("text"), number, err)
			}
			return s.section, d.ID, nil
		}
		if int64(len(line)) < limit {
			return 0, "", fmt.Errorf("pipeline: %s: document %d has no text", s.path("text"), number)
		}
	}
}

// remove deletes the folder.
func (w *work) remove() error {
	if err := os.RemoveAll(w.dir); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("pipeline: %w", err)
	}
	return nil
}
