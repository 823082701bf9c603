package pipeline

import (
	"encoding/binary"
	"errors"
	"math"

	"ravn/corpus"
)

// facts are what is known of a record once it was examined. They lie in a shard's file of facts, in reading order, so that
// documents are compared and judged without their texts.
type facts struct {
	again bool // no document: the record could not be read, or its id was taken. It is read again for the error

	member   Member // without Number and Section
	tokens   int64
	sha      [32]byte
	file     string
	line     int64
	uri      string
	added    string
	created  string
	detected string
	claims   []string
	notes    []string
	meta     bool // its line has metadata
	verdict  Verdict
	scores   []float32
	attached [][]byte // by stage
	length   int64    // of its line in the shard's file of texts
}

// encode appends the facts.
func (f *facts) encode(b []byte) []byte {
	if f.again {
		return append(b, 1)
	}
	b = append(b, 0)
	str := func(s string) {
		b = binary.AppendUvarint(b, uint64(len(s)))
		b = append(b, s...)
	}
	list := func(l []string) {
		b = binary.AppendUvarint(b, uint64(len(l)))
		for _, s := range l {
			str(s)
		}
	}
	m := &f.member
	for _, s := range []string{m.ID, m.License, m.Language, f.file, f.uri, f.added, f.created, f.detected, f.verdict.Stage, f.verdict.Reason, f.verdict.Detail} {
		str(s)
	}
	list(f.claims)
	list(f.notes)
	for _, n := range []int64{m.Bytes, m.Words, f.tokens, f.line, f.length} {
		b = binary.AppendUvarint(b, uint64(n))
	}
	b = append(b, f.sha[:]...)
	b = append(b, bit(f.meta)|bit(f.verdict.Keep)<<1)
	b = binary.AppendUvarint(b, uint64(len(f.scores)))
	for _, v := range f.scores {
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(v))
	}
	b = binary.AppendUvarint(b, uint64(len(f.attached)))
	for _, a := range f.attached {
		b = binary.AppendUvarint(b, uint64(len(a)))
		b = append(b, a...)
	}
	return b
}

func bit(b bool) byte {
	if b {
		return 1
	}
	return 0
}

var errFacts = errors.New("damaged")

// decode reads what encode wrote. What was attached stays part of b.
func (f *facts) decode(b []byte) error {
	r := factReader{b: b}
	if f.again = r.byte() == 1; f.again {
		return r.err
	}
	m := &f.member
	for _, s := range []*string{&m.ID, &m.License, &m.Language, &f.file, &f.uri, &f.added, &f.created, &f.detected, &f.verdict.Stage, &f.verdict.Reason, &f.verdict.Detail} {
		*s = string(r.bytes(r.uint()))
	}
	f.claims, f.notes = r.list(), r.list()
	for _, n := range []*int64{&m.Bytes, &m.Words, &f.tokens, &f.line, &f.length} {
		*n = int64(r.uint())
	}
	copy(f.sha[:], r.bytes(32))
	flags := r.byte()
	f.meta, f.verdict.Keep = flags&1 != 0, flags&2 != 0
	raw := r.bytes(4 * r.uint())
	f.scores = make([]float32, len(raw)/4)
	for i := range f.scores {
		f.scores[i] = math.Float32frombits(binary.LittleEndian.Uint32(raw[4*i:]))
	}
	n := r.uint()
	if n > uint64(len(b)) {
		return errFacts
	}
	f.attached = make([][]byte, n)
	for i := range f.attached {
		f.attached[i] = r.bytes(r.uint())
	}
	if r.err == nil && len(r.b) > 0 {
		r.err = errFacts
	}
	return r.err
}

// factReader takes values off b.
type factReader struct {
	b   []byte
	err error
}

func (r *factReader) uint() uint64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 {
		r.b, r.err = nil, errFacts
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *factReader) bytes(n uint64) []byte {
	if n > uint64(len(r.b)) {
		r.b, r.err = nil, errFacts
		return nil
	}
	out := r.b[:n:n]
	r.b = r.b[n:]
	return out
}

func (r *factReader) byte() byte {
	if b := r.bytes(1); b != nil {
		return b[0]
	}
	return 0
}

func (r *factReader) list() []string {
	n := r.uint()
	if n > uint64(len(r.b)) {
		r.err = errFacts
		return nil
	}
	out := make([]string, n)
	for i := range out {
		out[i] = string(r.bytes(r.uint()))
	}
	return out
}

// of fills in what the document says of itself.
func (f *facts) of(d *corpus.Document) {
	f.member.ID, f.member.License, f.member.Language = d.ID, d.License, d.Language
	f.file, f.line, f.uri, f.added, f.created = d.File, int64(d.Line), d.URI, d.Added, d.Created
	f.claims, f.notes, f.meta = d.Claims, d.Notes, len(d.Meta) > 0
}
