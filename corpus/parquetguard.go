package corpus

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// Parquet from elsewhere is looked over before the library reads it: the library trusts sizes and counts, and on damaged
// ones it may ask for any amount of memory or not come back. The footer and every page header are walked with a reader
// of our own for Thrift's compact protocol; offsets must lie in the file, pages must follow each other and their values
// must add up to what their chunk says.
//
// https://parquet.apache.org/docs/file-format/, https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md

const (
	maxFooter   = 256 << 20
	maxPage     = 1 << 30 // bytes of a page, compressed or not
	maxHeader   = 1 << 16 // of a page header
	maxRowGroup = 1 << 31 // rows
	maxDepth    = 32
)

// CheckParquet walks a Parquet file of the given size, for readers of other packages too.
func CheckParquet(r io.ReaderAt, size int64) error {
	if size < 12 {
		return fmt.Errorf("%d bytes are too few for Parquet", size)
	}
	var head [4]byte
	var tail [8]byte
	if _, err := r.ReadAt(head[:], 0); err != nil {
		return err
	}
	if _, err := r.ReadAt(tail[:], size-8); err != nil {
		return err
	}
	if string(head[:]) != "PAR1" || string(tail[4:]) != "PAR1" {
		return errors.New("it does not begin and end as Parquet does: cut off, or something else")
	}
	n := int64(binary.LittleEndian.Uint32(tail[:]))
	if n > size-12 || n > maxFooter {
		return fmt.Errorf("the footer is said to have %d bytes, the file has %d", n, size)
	}
	footer := make([]byte, n)
	if _, err := r.ReadAt(footer, size-8-n); err != nil {
		return err
	}
	f, err := parseFooter(footer)
	if err != nil {
		return fmt.Errorf("footer: %w", err)
	}
	rows := int64(0)
	for i, g := range f.groups {
		if g.rows < 0 || g.rows > maxRowGroup {
			return fmt.Errorf("row group %d is said to have %d rows", i, g.rows)
		}
		rows += g.rows
		for k, c := range g.chunks {
			if err := c.check(r, size-8-n); err != nil {
				return fmt.Errorf("row group %d, column %d: %w", i, k, err)
			}
		}
	}
	if rows != f.rows {
		return fmt.Errorf("%d rows in the groups, %d in the footer", rows, f.rows)
	}
	return nil
}

type footer struct {
	rows   int64
	groups []rowGroup
}

type rowGroup struct {
	rows   int64
	chunks []chunk
}

type chunk struct{ values, compressed, data, dictionary int64 }

// check walks the pages of a chunk; end is where the footer begins.
func (c chunk) check(r io.ReaderAt, end int64) error {
	at := c.data
	if c.dictionary > 0 && c.dictionary < at {
		at = c.dictionary
	}
	if at < 4 || c.compressed < 0 || c.compressed > end-at {
		return fmt.Errorf("its pages are said to lie at %d to %d of %d bytes", at, at+c.compressed, end)
	}
	stop, values := at+c.compressed, int64(0)
	buf := make([]byte, 4096)
	for at < stop {
		p, n, err := pageAt(r, at, stop, buf)
		if err != nil {
			return fmt.Errorf("page at %d: %w", at, err)
		}
		switch {
		case p.compressed < 0 || p.compressed > maxPage || p.uncompressed < 0 || p.uncompressed > maxPage:
			return fmt.Errorf("page at %d is said to have %d bytes, %d when unpacked", at, p.compressed, p.uncompressed)
		case p.compressed > stop-at-n:
			return fmt.Errorf("page at %d reaches beyond its chunk", at)
		case p.values < 0 || p.values > c.values-values && p.data:
			return fmt.Errorf("page at %d is said to have %d values, its chunk %d", at, p.values, c.values)
		}
		if p.data {
			values += p.values
		}
		at += n + p.compressed
	}
	if values != c.values {
		return fmt.Errorf("%d values in its pages, %d in the footer", values, c.values)
	}
	return nil
}

type page struct {
	compressed, uncompressed, values int64
	data                             bool // not a dictionary or index
}

// pageAt reads a page header and says how long it is.
func pageAt(r io.ReaderAt, at, stop int64, buf []byte) (page, int64, error) {
	for {
		n := min(int64(len(buf)), stop-at)
		if _, err := r.ReadAt(buf[:n], at); err != nil && !errors.Is(err, io.EOF) {
			return page{}, 0, err
		}
		t := &thrift{b: buf[:n]}
		var p page
		t.fields(func(id int, kind byte) bool {
			switch {
			case id == 1:
				if typ := t.int(kind); typ == 0 || typ == 3 {
					p.data = true
				}
			case id == 2:
				p.uncompressed = t.int(kind)
			case id == 3:
				p.compressed = t.int(kind)
			case id == 5 || id == 7 || id == 8:
				t.fields(func(id int, kind byte) bool {
					if id == 1 {
						p.values = t.int(kind)
						return true
					}
					return false
				})
			default:
				return false
			}
			return true
		})
		switch {
		case t.err == nil:
			return p, int64(t.at), nil
		case errors.Is(t.err, errShort) && n == int64(len(buf)) && len(buf) < maxHeader:
			buf = make([]byte, 4*len(buf)) // statistics may be long
		default:
			return page{}, 0, t.err
		}
	}
}

func parseFooter(b []byte) (*footer, error) {
	t := &thrift{b: b}
	f := &footer{}
	t.fields(func(id int, kind byte) bool {
		switch id {
		case 3:
			f.rows = t.int(kind)
		case 4:
			t.list(kind, func() { f.groups = append(f.groups, t.group()) })
		default:
			return false
		}
		return true
	})
	return f, t.err
}

func (t *thrift) group() (g rowGroup) {
	t.fields(func(id int, kind byte) bool {
		switch id {
		case 1:
			t.list(kind, func() { g.chunks = append(g.chunks, t.chunk()) })
		case 3:
			g.rows = t.int(kind)
		default:
			return false
		}
		return true
	})
	return g
}

func (t *thrift) chunk() (c chunk) {
	t.fields(func(id int, _ byte) bool {
		if id != 3 {
			return false
		}
		t.fields(func(id int, kind byte) bool {
			switch id {
			case 5:
				c.values = t.int(kind)
			case 7:
				c.compressed = t.int(kind)
			case 9:
				c.data = t.int(kind)
			case 11:
				c.dictionary = t.int(kind)
			default:
				return false
			}
			return true
		})
		return true
	})
	return c
}

// thrift reads the compact protocol. After an error everything reads as zero and nothing moves.
type thrift struct {
	b     []byte
	at    int
	depth int
	err   error
}

var errShort = errors.New("cut off")

func (t *thrift) fail(err error) {
	if t.err == nil {
		t.err = err
	}
}

func (t *thrift) byte() byte {
	if t.err != nil || t.at >= len(t.b) {
		t.fail(errShort)
		return 0
	}
	t.at++
	return t.b[t.at-1]
}

func (t *thrift) uvarint() uint64 {
	if t.err != nil {
		return 0
	}
	v, n := binary.Uvarint(t.b[t.at:])
	if n <= 0 {
		if n < 0 || len(t.b)-t.at >= binary.MaxVarintLen64 {
			t.fail(errors.New("a number of more than 64 bits"))
		}
		t.fail(errShort)
		return 0
	}
	t.at += n
	return v
}

func (t *thrift) varint() int64 {
	v := t.uvarint()
	return int64(v>>1) ^ -int64(v&1)
}

// int reads a number of a kind of field.
func (t *thrift) int(kind byte) int64 {
	switch kind {
	case 3:
		return int64(int8(t.byte()))
	case 4, 5, 6:
		return t.varint()
	}
	t.fail(fmt.Errorf("a field of kind %d where a number belongs", kind))
	return 0
}

// fields calls f for each field of a struct; what f does not read is passed over.
func (t *thrift) fields(f func(id int, kind byte) bool) {
	if t.depth++; t.depth > maxDepth {
		t.fail(errors.New("nested too deep"))
	}
	defer func() { t.depth-- }()
	id := 0
	for t.err == nil {
		head := t.byte()
		if t.err != nil || head == 0 {
			return
		}
		if delta := int(head >> 4); delta > 0 {
			id += delta
		} else {
			id = int(t.varint())
		}
		if kind := head & 15; !f(id, kind) {
			t.skip(kind)
		}
	}
}

// list calls f for each element.
func (t *thrift) list(kind byte, f func()) {
	if kind != 9 && kind != 10 {
		t.fail(fmt.Errorf("a field of kind %d where a list belongs", kind))
		return
	}
	head := t.byte()
	n := uint64(head >> 4)
	if n == 15 {
		n = t.uvarint()
	}
	if n > uint64(len(t.b)-t.at) {
		t.fail(fmt.Errorf("a list of %d in %d bytes", n, len(t.b)-t.at))
	}
	for i := uint64(0); i < n && t.err == nil; i++ {
		f()
	}
}

func (t *thrift) skip(kind byte) {
	if t.depth++; t.depth > maxDepth {
		t.fail(errors.New("nested too deep"))
	}
	defer func() { t.depth-- }()
	if t.err != nil {
		return
	}
	switch kind {
	case 1, 2: // true and false are in the head
	case 3:
		t.byte()
	case 4, 5, 6:
		t.uvarint()
	case 7:
		t.jump(8)
	case 8:
		t.jump(t.uvarint())
	case 9, 10:
		element := byte(0)
		if t.at < len(t.b) {
			element = t.b[t.at] & 15
		}
		if element == 1 {
			element = 3 // in a list a truth value takes a byte
		}
		t.list(kind, func() { t.skip(element) })
	case 11:
		n := t.uvarint()
		if n == 0 {
			return
		}
		if n > uint64(len(t.b)-t.at) {
			t.fail(fmt.Errorf("a map of %d in %d bytes", n, len(t.b)-t.at))
		}
		kinds := t.byte()
		for i := uint64(0); i < n && t.err == nil; i++ {
			t.skip(kinds >> 4)
			t.skip(kinds & 15)
		}
	case 12:
		t.fields(func(int, byte) bool { return false })
	default:
		t.fail(fmt.Errorf("a field of unknown kind %d", kind))
	}
}

func (t *thrift) jump(n uint64) {
	if n > uint64(len(t.b)-t.at) {
		t.fail(errShort)
		return
	}
	t.at += int(n)
}
