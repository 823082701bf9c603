package tokenizer

import (
	"encoding/binary"
	"fmt"
	"math"
)

// wire walks the fields of one protobuf message. at counts from the start of the file, for messages.
type wire struct {
	b    []byte
	base int // where b starts in the file
	at   int
}

// The wire types that a SentencePiece model uses, and the ones a reader has to step over.
const (
	wireVarint  = 0
	wireFixed64 = 1
	wireBytes   = 2
	wireFixed32 = 5
)

// field is one field: number, wire type, and its value as a number or as bytes.
type field struct {
	num   int
	typ   int
	val   uint64
	bytes []byte
	where int // first byte of the value in the file
}

func (w *wire) more() bool { return w.at < len(w.b) }

func (w *wire) errorf(format string, args ...any) error {
	return fmt.Errorf("byte %d: %s (cut short, or not a SentencePiece model?)", w.base+w.at, fmt.Sprintf(format, args...))
}

func (w *wire) next() (field, error) {
	key, err := w.varint()
	if err != nil {
		return field{}, err
	}
	if key>>3 == 0 || key>>3 > 1<<29-1 {
		return field{}, w.errorf("field number %d is outside 1 to 536870911", key>>3)
	}
	f := field{num: int(key >> 3), typ: int(key & 7)}
	switch f.typ {
	case wireVarint:
		f.where = w.base + w.at
		f.val, err = w.varint()
		return f, err
	case wireFixed64, wireFixed32:
		n := 8
		if f.typ == wireFixed32 {
			n = 4
		}
		if len(w.b)-w.at < n {
			return field{}, w.errorf("field %d needs %d bytes, %d are left", f.num, n, len(w.b)-w.at)
		}
		f.where = w.base + w.at
		if n == 4 {
			f.val = uint64(binary.LittleEndian.Uint32(w.b[w.at:]))
		} else {
			f.val = binary.LittleEndian.Uint64(w.b[w.at:])
		}
		w.at += n
		return f, nil
	case wireBytes:
		n, err := w.varint()
		if err != nil {
			return field{}, err
		}
		if n > uint64(len(w.b)-w.at) {
			return field{}, w.errorf("field %d has %d bytes, %d are left", f.num, n, len(w.b)-w.at)
		}
		f.where = w.base + w.at
		f.bytes = w.b[w.at : w.at+int(n)]
		w.at += int(n)
		return f, nil
	}
	return field{}, w.errorf("field %d has wire type %d", f.num, f.typ)
}

func (w *wire) varint() (uint64, error) {
	v, n := binary.Uvarint(w.b[w.at:])
	if n <= 0 {
		return 0, w.errorf("a number does not end")
	}
	w.at += n
	return v, nil
}

// want reports a field that has another wire type than it should.
func (f *field) want(typ int, name string) error {
	if f.typ != typ {
		return fmt.Errorf("byte %d: %s has wire type %d, not %d (not a SentencePiece model?)", f.where, name, f.typ, typ)
	}
	return nil
}

func (f *field) float() float32 { return math.Float32frombits(uint32(f.val)) }

// The writing side: dst first, the field appended.

func appendVarint(dst []byte, num int, v uint64) []byte {
	return binary.AppendUvarint(binary.AppendUvarint(dst, uint64(num)<<3|wireVarint), v)
}

func appendBool(dst []byte, num int, v bool) []byte {
	if v {
		return appendVarint(dst, num, 1)
	}
	return appendVarint(dst, num, 0)
}

func appendFloat(dst []byte, num int, v float32) []byte {
	dst = binary.AppendUvarint(dst, uint64(num)<<3|wireFixed32)
	return binary.LittleEndian.AppendUint32(dst, math.Float32bits(v))
}

func appendBytes(dst []byte, num int, v string) []byte {
	dst = binary.AppendUvarint(dst, uint64(num)<<3|wireBytes)
	return append(binary.AppendUvarint(dst, uint64(len(v))), v...)
}
