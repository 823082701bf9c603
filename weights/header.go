package weights

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/bits"
	"slices"
	"strconv"
	"unicode/utf8"

	"ravn/model"
)

// dtypeSize is the size in bytes of an element of every number format that a safetensors file may hold.
var dtypeSize = map[model.DType]uint64{
	"BOOL": 1, "U8": 1, "I8": 1, "F8_E5M2": 1, "F8_E4M3": 1, "I16": 2, "U16": 2, "F16": 2, "BF16": 2,
	"I32": 4, "U32": 4, "F32": 4, "F64": 8, "I64": 8, "U64": 8,
}

// maxRank bounds the number of dimensions of a tensor.
const maxRank = 16

type header struct {
	entries  []entry
	metadata map[string]string
}

type entry struct {
	name       string
	dtype      model.DType
	shape      []int
	begin, end uint64
}

// parseHeader reads the JSON of a header. It goes token by token, because a map would hide names that occur twice.
func parseHeader(text []byte) (*header, error) {
	if len(text) == 0 || text[0] != '{' {
		return nil, errors.New("does not begin with {")
	}
	if !utf8.Valid(text) {
		return nil, errors.New("is not UTF-8")
	}
	r := reader{json.NewDecoder(bytes.NewReader(text))}
	r.d.UseNumber()
	h := &header{}
	seen := map[string]bool{}
	err := r.object(func(name string) error {
		if seen[name] {
			return fmt.Errorf("the name %q occurs twice", name)
		}
		seen[name] = true
		if name == "__metadata__" {
			return h.readMetadata(&r)
		}
		e, err := r.entry(name)
		if err != nil {
			return fmt.Errorf("tensor %q: %w", name, err)
		}
		h.entries = append(h.entries, e)
		return nil
	})
	if err != nil {
		return nil, err
	}
	if _, err := r.d.Token(); err != io.EOF {
		return nil, errors.New("has more after its closing }")
	}
	return h, nil
}

func (h *header) readMetadata(r *reader) error {
	h.metadata = map[string]string{}
	err := r.object(func(key string) error {
		if _, ok := h.metadata[key]; ok {
			return fmt.Errorf("the key %q occurs twice", key)
		}
		v, err := r.text()
		h.metadata[key] = v
		return err
	})
	if err != nil {
		return fmt.Errorf("__metadata__: %w", err)
	}
	return nil
}

// reader reads what a header may hold, and refuses all else.
type reader struct{ d *json.Decoder }

func (r *reader) delim(want json.Delim) error {
	t, err := r.d.Token()
	if err != nil {
		return unexpectedEnd(err)
	}
	if t != want {
		return fmt.Errorf("want %q, have %s", want.String(), show(t))
	}
	return nil
}

// object calls member for each member of an object; member reads the value.
func (r *reader) object(member func(name string) error) error {
	if err := r.delim('{'); err != nil {
		return err
	}
	for r.d.More() {
		name, err := r.text()
		if err != nil {
			return err
		}
		if err := member(name); err != nil {
			return err
		}
	}
	return r.delim('}')
}

func (r *reader) text() (string, error) {
	t, err := r.d.Token()
	if err != nil {
		return "", unexpectedEnd(err)
	}
	s, ok := t.(string)
	if !ok {
		return "", fmt.Errorf("want a string, have %s", show(t))
	}
	return s, nil
}

// numbers reads an array of at most limit non-negative integers.
func (r *reader) numbers(limit int) ([]uint64, error) {
	if err := r.delim('['); err != nil {
		return nil, err
	}
	var ns []uint64
	for r.d.More() {
		t, err := r.d.Token()
		if err != nil {
			return nil, unexpectedEnd(err)
		}
		text, ok := t.(json.Number)
		if !ok {
			return nil, fmt.Errorf("want a whole number, have %s", show(t))
		}
		n, err := strconv.ParseUint(text.String(), 10, 63)
		if err != nil {
			return nil, fmt.Errorf("want a whole number from 0 to 2^63-1, have %s", show(t))
		}
		if len(ns) == limit {
			return nil, fmt.Errorf("has more than %d numbers", limit)
		}
		ns = append(ns, n)
	}
	return ns, r.delim(']')
}

// entry reads the description of one tensor and checks its size against its shape.
func (r *reader) entry(name string) (entry, error) {
	e := entry{name: name}
	var shape, offsets []uint64
	seen := map[string]bool{}
	err := r.object(func(field string) error {
		if seen[field] {
			return fmt.Errorf("the field %q occurs twice", field)
		}
		seen[field] = true
		var err error
		switch field {
		case "dtype":
			var s string
			s, err = r.text()
			e.dtype = model.DType(s)
		case "shape":
			shape, err = r.numbers(maxRank)
		case "data_offsets":
			offsets, err = r.numbers(2)
		default:
			return fmt.Errorf("unknown field %q", field)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", field, err)
		}
		return nil
	})
	if err != nil {
		return e, err
	}
	for _, field := range []string{"dtype", "shape", "data_offsets"} {
		if !seen[field] {
			return e, fmt.Errorf("has no %s", field)
		}
	}
	return e, e.check(shape, offsets)
}

func (e *entry) check(shape, offsets []uint64) error {
	size, ok := dtypeSize[e.dtype]
	if !ok {
		return fmt.Errorf("unknown dtype %q", e.dtype)
	}
	if len(offsets) != 2 || offsets[0] > offsets[1] {
		return fmt.Errorf("data_offsets %d are not a begin and an end", offsets)
	}
	e.shape = make([]int, len(shape))
	for i, n := range shape {
		e.shape[i] = int(n)
		over, product := bits.Mul64(size, n)
		if over != 0 || product > 1<<62 {
			return fmt.Errorf("shape %d has more bytes than can be counted", shape)
		}
		size = product
	}
	e.begin, e.end = offsets[0], offsets[1]
	if e.end-e.begin != size {
		return fmt.Errorf("data_offsets %d hold %d bytes, shape %d of %s needs %d", offsets, e.end-e.begin, shape, e.dtype, size)
	}
	return nil
}

// place sorts the tensors by offset and checks that they fill a body of n bytes exactly.
func (h *header) place(n uint64) error {
	slices.SortStableFunc(h.entries, func(a, b entry) int {
		return cmp.Or(cmp.Compare(a.begin, b.begin), cmp.Compare(a.end, b.end))
	})
	var at uint64
	last := "the header"
	for _, e := range h.entries {
		switch {
		case e.begin < at:
			return fmt.Errorf("tensors %q and %q overlap: one ends at %d, the other begins at %d", last, e.name, at, e.begin)
		case e.begin > at:
			return fmt.Errorf("a hole of %d bytes lies between %s and tensor %q", e.begin-at, last, e.name)
		}
		at, last = e.end, e.name
	}
	switch {
	case at > n:
		return fmt.Errorf("the tensors take %d bytes, the file has %d for them (cut off?)", at, n)
	case at < n:
		return fmt.Errorf("%d bytes follow the last tensor", n-at)
	}
	return nil
}

func show(t json.Token) string {
	s := fmt.Sprint(t)
	if v, ok := t.(string); ok {
		s = strconv.Quote(v)
	}
	if len(s) > 60 {
		s = s[:60] + "…"
	}
	return s
}

func unexpectedEnd(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}
