package weights

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/bits"
	"os"
	"slices"
	"unicode/utf8"

	"ravn/model"
)

// The layout of a GGUF file is drawn in docs/design/gguf.md.

const (
	ggufMagic     = "GGUF"
	ggufAlignment = 32 // when the file does not say
)

// ggufTypes are the number formats that are read, by their number in a file.
var ggufTypes = map[uint32]model.DType{0: model.F32, 1: model.F16, 2: model.Q4_0, 8: model.Q8_0, 12: model.Q4_K, 14: model.Q6_K, 30: model.BF16}

// ggufOther names the formats that are not.
var ggufOther = map[uint32]string{
	3: "Q4_1", 6: "Q5_0", 7: "Q5_1", 9: "Q8_1", 10: "Q2_K", 11: "Q3_K", 13: "Q5_K", 15: "Q8_K", 16: "IQ2_XXS", 17: "IQ2_XS", 18: "IQ3_XXS",
	19: "IQ1_S", 20: "IQ4_NL", 21: "IQ3_S", 22: "IQ2_S", 23: "IQ4_XS", 24: "I8", 25: "I16", 26: "I32", 27: "I64", 28: "F64", 29: "IQ1_M", 34: "TQ1_0", 35: "TQ2_0", 39: "MXFP4",
}

// The types of values.
const (
	kindUint8 = iota
	kindInt8
	kindUint16
	kindInt16
	kindUint32
	kindInt32
	kindFloat32
	kindBool
	kindString
	kindArray
	kindUint64
	kindInt64
	kindFloat64
)

// kindSize is the size of a value, for strings and arrays the least one.
var kindSize = [...]uint64{1, 1, 2, 2, 4, 4, 4, 1, 8, 12, 8, 8, 8}

// pair is one line of a file's metadata. Its value is a uint8, int8, … float64, bool or string, or a slice of one of them.
type pair struct {
	key   string
	value any
}

// container is the content of a GGUF file, before anybody asks what it means.
type container struct {
	pairs   []pair
	byKey   map[string]any
	tensors []model.Tensor // under GGUF's names, by place in the file; shapes are rows first
	index   map[string]int
}

// openContainer maps a file and checks its table of contents against its length.
func openContainer(path string) (c *container, unmap func() error, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, nil, fmt.Errorf("weights: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, nil, fmt.Errorf("weights: %w", err)
	}
	if !info.Mode().IsRegular() {
		return nil, nil, fmt.Errorf("weights: %s: not a regular file", path)
	}
	data, unmap, err := mapFile(f, info.Size())
	if err != nil {
		return nil, nil, fmt.Errorf("weights: %s: %w", path, err)
	}
	if c, err = parseContainer(data); err != nil {
		return nil, nil, errors.Join(fmt.Errorf("weights: %s: %w", path, err), unmap())
	}
	return c, unmap, nil
}

// parseContainer reads the bytes of a GGUF file. Every count is compared with the bytes that are left for it before
// memory is asked for.
func parseContainer(data []byte) (*container, error) {
	if len(data) < 24 || string(data[:4]) != ggufMagic {
		return nil, errors.New("not a GGUF file (it does not begin with GGUF, a version and two counts)")
	}
	r := &binaryReader{data: data, at: 4}
	switch version := r.uint32(); {
	case bits.ReverseBytes32(version) == 2 || bits.ReverseBytes32(version) == 3:
		return nil, errors.New("a GGUF file of a big-endian machine (convert the model again on a little-endian one)")
	case version != 2 && version != 3:
		return nil, fmt.Errorf("GGUF version %d; versions 2 and 3 are read (convert the model again with a newer program)", version)
	}
	numTensors, numPairs := r.uint64(), r.uint64()
	c := &container{byKey: map[string]any{}, index: map[string]int{}}
	if err := r.pairs(c, numPairs); err != nil {
		return nil, err
	}
	places, err := r.tensors(c, numTensors)
	if err != nil {
		return nil, err
	}
	return c, c.place(data, r.at, places)
}

// binaryReader walks a table of contents. After a failure everything it reads is zero.
type binaryReader struct {
	data []byte
	at   int
	err  error
}

func (r *binaryReader) left() uint64 { return uint64(len(r.data) - r.at) }

func (r *binaryReader) take(n uint64) []byte {
	if r.err == nil && n > r.left() {
		r.err = fmt.Errorf("byte %d: %d bytes are wanted, the file has %d more (cut off?)", r.at, n, r.left())
	}
	if r.err != nil {
		return nil
	}
	b := r.data[r.at : r.at+int(n)]
	r.at += int(n)
	return b
}

func (r *binaryReader) uint32() uint32 {
	if b := r.take(4); b != nil {
		return binary.LittleEndian.Uint32(b)
	}
	return 0
}

func (r *binaryReader) uint64() uint64 {
	if b := r.take(8); b != nil {
		return binary.LittleEndian.Uint64(b)
	}
	return 0
}

func (r *binaryReader) text() string { return string(r.take(r.uint64())) }

// pairs reads the metadata.
func (r *binaryReader) pairs(c *container, n uint64) error {
	const least = 8 + 4 + 1 // an empty key, a type, a byte
	if n > r.left()/least {
		return fmt.Errorf("the file claims %d metadata entries, its %d bytes cannot hold them", n, len(r.data))
	}
	for i := range n {
		key := r.text()
		v := r.value(r.uint32())
		switch _, twice := c.byKey[key]; {
		case r.err != nil && key != "":
			return fmt.Errorf("metadata entry %d, %q: %w", i, shorten(key), r.err)
		case r.err != nil:
			return fmt.Errorf("metadata entry %d: %w", i, r.err)
		case key == "" || !utf8.ValidString(key):
			return fmt.Errorf("metadata entry %d has the key %q", i, shorten(key))
		case twice:
			return fmt.Errorf("metadata key %q occurs twice", key)
		}
		c.byKey[key] = v
		c.pairs = append(c.pairs, pair{key, v})
	}
	return nil
}

func (r *binaryReader) value(kind uint32) any {
	switch kind {
	case kindString:
		return r.text()
	case kindArray:
		return r.array()
	}
	if kind >= uint32(len(kindSize)) {
		if r.err == nil {
			r.err = fmt.Errorf("byte %d: values of type %d are unknown", r.at, kind)
		}
		return nil
	}
	return number(kind, r.take(kindSize[kind]))
}

// number decodes one value; nil bytes are what is left of a failed read.
func number(kind uint32, b []byte) any {
	if b == nil {
		return nil
	}
	switch kind {
	case kindUint8:
		return b[0]
	case kindInt8:
		return int8(b[0])
	case kindBool:
		return b[0] != 0
	case kindUint16:
		return binary.LittleEndian.Uint16(b)
	case kindInt16:
		return int16(binary.LittleEndian.Uint16(b))
	case kindUint32:
		return binary.LittleEndian.Uint32(b)
	case kindInt32:
		return int32(binary.LittleEndian.Uint32(b))
	case kindFloat32:
		return math.Float32frombits(binary.LittleEndian.Uint32(b))
	case kindUint64:
		return binary.LittleEndian.Uint64(b)
	case kindInt64:
		return int64(binary.LittleEndian.Uint64(b))
	}
	return math.Float64frombits(binary.LittleEndian.Uint64(b))
}

func (r *binaryReader) array() any {
	kind, n := r.uint32(), r.uint64()
	switch {
	case r.err != nil:
		return nil
	case kind == kindArray || kind >= uint32(len(kindSize)):
		r.err = fmt.Errorf("byte %d: arrays of type %d are not read", r.at, kind)
		return nil
	case n > r.left()/kindSize[kind]:
		r.err = fmt.Errorf("byte %d: an array of %d values, the file has %d more bytes (cut off?)", r.at, n, r.left())
		return nil
	}
	switch kind {
	case kindString:
		list := make([]string, n)
		for i := range list {
			if list[i] = r.text(); r.err != nil {
				return nil
			}
		}
		return list
	case kindUint8:
		return slices.Clone(r.take(n))
	case kindInt8:
		return numbers[int8](r, kind, n)
	case kindBool:
		return numbers[bool](r, kind, n)
	case kindUint16:
		return numbers[uint16](r, kind, n)
	case kindInt16:
		return numbers[int16](r, kind, n)
	case kindUint32:
		return numbers[uint32](r, kind, n)
	case kindInt32:
		return numbers[int32](r, kind, n)
	case kindFloat32:
		return numbers[float32](r, kind, n)
	case kindUint64:
		return numbers[uint64](r, kind, n)
	case kindInt64:
		return numbers[int64](r, kind, n)
	}
	return numbers[float64](r, kind, n)
}

func numbers[T any](r *binaryReader, kind uint32, n uint64) []T {
	size := kindSize[kind]
	b := r.take(n * size)
	list := make([]T, n)
	for i := range list {
		list[i] = number(kind, b[uint64(i)*size:]).(T)
	}
	return list
}

// ggufMaxDims is the most dimensions that a tensor of the format has.
const ggufMaxDims = 4

// tensors reads the table of tensors and where each begins, counted from the start of the data.
func (r *binaryReader) tensors(c *container, n uint64) (places []uint64, err error) {
	const least = 8 + 1 + 4 + 8 + 4 + 8 // a name of one letter, one dimension, type and place
	if n > r.left()/least {
		return nil, fmt.Errorf("the file claims %d tensors, its %d bytes cannot hold their names", n, len(r.data))
	}
	places = make([]uint64, n)
	c.tensors = make([]model.Tensor, n)
	for i := range c.tensors {
		t := &c.tensors[i]
		if err := r.tensor(t); err != nil {
			return nil, fmt.Errorf("tensor %d, %q: %w", i, shorten(t.Name), err)
		}
		if _, twice := c.index[t.Name]; twice {
			return nil, fmt.Errorf("two tensors are called %q", t.Name)
		}
		c.index[t.Name] = i
		places[i] = r.uint64()
	}
	return places, r.err
}

func (r *binaryReader) tensor(t *model.Tensor) error {
	t.Name = r.text()
	dims := r.uint32()
	if r.err == nil && (dims == 0 || dims > ggufMaxDims) {
		return fmt.Errorf("%d dimensions, it must have 1 to %d", dims, ggufMaxDims)
	}
	t.Shape = make([]int, dims%(ggufMaxDims+1))
	total := uint64(1)
	for i := range t.Shape {
		d := r.uint64()
		over, product := bits.Mul64(total, d)
		if r.err == nil && (d == 0 || over != 0 || product > 1<<48) {
			return fmt.Errorf("dimension %d is %d: more elements than can be, or none", i, d)
		}
		total = product
		t.Shape[len(t.Shape)-1-i] = int(d) // the file has the fastest first
	}
	kind := r.uint32()
	if r.err != nil {
		return r.err
	}
	var known bool
	if t.DType, known = ggufTypes[kind]; !known {
		return fmt.Errorf("its numbers are %s, which is not read (F32, F16, BF16, Q8_0, Q4_0, Q4_K and Q6_K are)", cmp.Or(ggufOther[kind], fmt.Sprintf("of the unknown type %d", kind)))
	}
	if row := t.Shape[len(t.Shape)-1]; t.DType.RowBytes(row) == 0 {
		n, _ := t.DType.Block()
		return fmt.Errorf("rows of %d numbers are not whole blocks of %s, which have %d", row, t.DType, n)
	}
	return nil
}

// tensorBytes is the size of a tensor that was checked.
func tensorBytes(t *model.Tensor) int {
	row := t.Shape[len(t.Shape)-1]
	return t.NumElements() / row * t.DType.RowBytes(row)
}

// place gives each tensor its bytes. The data begin at the next multiple of the alignment after the table of contents.
func (c *container) place(data []byte, end int, places []uint64) error {
	align := uint64(ggufAlignment)
	if v, ok := c.byKey["general.alignment"]; ok {
		a, isNumber := v.(uint32)
		if !isNumber || a == 0 || a&(a-1) != 0 || a > 1<<20 {
			return fmt.Errorf("general.alignment is %v, it must be a power of two (uint32)", v)
		}
		align = uint64(a)
	}
	start := (uint64(end) + align - 1) &^ (align - 1)
	if start > uint64(len(data)) {
		if len(c.tensors) > 0 {
			return fmt.Errorf("the table of contents ends at byte %d, where the file ends (cut off?)", end)
		}
		start = uint64(len(data))
	}
	body := data[start:]
	order := make([]int, len(c.tensors))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int { return cmp.Or(cmp.Compare(places[a], places[b]), cmp.Compare(a, b)) })
	at, last := uint64(0), ""
	for _, i := range order {
		t, from, size := &c.tensors[i], places[i], uint64(tensorBytes(&c.tensors[i]))
		switch {
		case from%align != 0:
			return fmt.Errorf("tensor %q begins at byte %d of the data, not at a multiple of %d", t.Name, from, align)
		case from < at:
			return fmt.Errorf("tensors %q and %q overlap: one ends at %d, the other begins at %d", last, t.Name, at, from)
		case from > uint64(len(body)) || size > uint64(len(body))-from:
			return fmt.Errorf("tensor %q takes bytes %d to %d of the data, the file has %d (cut off?)", t.Name, from, from+size, len(body))
		}
		t.Data = body[from : from+size : from+size]
		at, last = from+size, t.Name
	}
	return nil
}

func shorten(s string) string {
	if len(s) > 60 {
		return s[:60] + "…"
	}
	return s
}
