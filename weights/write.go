package weights

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"slices"

	"ravn/internal/atomicfile"
	"ravn/model"
)

// Floats is a tensor to be written in the number format DType, from numbers in memory.
type Floats struct {
	Name  string
	DType model.DType // F32, F16 or BF16
	Shape []int
	Data  []float32
}

// WriteSafetensors writes tensors in the order given; metadata may be nil. The file appears whole or not at all.
func WriteSafetensors(path string, ts []model.Tensor, metadata map[string]string) error {
	sources := make([]source, len(ts))
	for i, t := range ts {
		sources[i] = source{t.Name, t.DType, t.Shape, uint64(len(t.Data)), func(w io.Writer) error {
			_, err := w.Write(t.Data)
			return err
		}}
	}
	return writeSources(path, sources, metadata)
}

// WriteFloats is WriteSafetensors for numbers in memory, which are converted on the way, a little at a time.
func WriteFloats(path string, ts []Floats, metadata map[string]string) error {
	sources := make([]source, len(ts))
	for i, t := range ts {
		if t.DType.Size() == 0 {
			return fmt.Errorf("weights: %s: tensor %q cannot be written as %q (only F32, F16 and BF16)", path, t.Name, t.DType)
		}
		sources[i] = floatSource(t)
	}
	return writeSources(path, sources, metadata)
}

func floatSource(t Floats) source {
	size := t.DType.Size()
	return source{t.Name, t.DType, t.Shape, uint64(len(t.Data)) * uint64(size), func(w io.Writer) error {
		buf := make([]byte, 1<<18)
		for part := range slices.Chunk(t.Data, len(buf)/size) {
			out := buf[:len(part)*size]
			FromF32(out, part, t.DType)
			if _, err := w.Write(out); err != nil {
				return err
			}
		}
		return nil
	}}
}

// source is a tensor that can write its bytes.
type source struct {
	name  string
	dtype model.DType
	shape []int
	bytes uint64
	write func(io.Writer) error
}

func writeSources(path string, ts []source, metadata map[string]string) error {
	header, err := makeHeader(ts, metadata)
	if err != nil {
		return fmt.Errorf("weights: %s: %w", path, err)
	}
	f, err := atomicfile.Create(path)
	if err != nil {
		return fmt.Errorf("weights: %w", err)
	}
	defer f.Abort()
	w := bufio.NewWriterSize(f, 1<<20)
	w.Write(header) // an error stays in w
	for _, t := range ts {
		if err := t.write(w); err != nil {
			return fmt.Errorf("weights: %s: %w", path, err)
		}
	}
	if err := w.Flush(); err != nil {
		return fmt.Errorf("weights: %s: %w", path, err)
	}
	if err := f.Commit(); err != nil {
		return fmt.Errorf("weights: %w", err)
	}
	return nil
}

// makeHeader is the length and the JSON, filled up with spaces so that the tensors begin at a multiple of 64 bytes:
// mapped numbers are then aligned.
func makeHeader(ts []source, metadata map[string]string) ([]byte, error) {
	var b bytes.Buffer
	b.Write(make([]byte, 8))
	b.WriteByte('{')
	if metadata != nil {
		b.WriteString(`"__metadata__":`)
		b.Write(mustJSON(metadata)) // sorted by key
	}
	seen := map[string]bool{"__metadata__": true}
	var at uint64
	for _, t := range ts {
		if seen[t.name] {
			return nil, fmt.Errorf("two tensors are called %q", t.name)
		}
		seen[t.name] = true
		e := entry{dtype: t.dtype}
		shape := make([]uint64, len(t.shape))
		for i, n := range t.shape {
			if n < 0 {
				return nil, fmt.Errorf("tensor %q: shape %d", t.name, t.shape)
			}
			shape[i] = uint64(n)
		}
		if err := e.check(shape, []uint64{at, at + t.bytes}); err != nil {
			return nil, fmt.Errorf("tensor %q: %w", t.name, err)
		}
		if b.Len() > 9 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, `%s:{"dtype":%s,"shape":%s,"data_offsets":[%d,%d]}`, mustJSON(t.name), mustJSON(t.dtype), mustJSON(shape), e.begin, e.end)
		at = e.end
	}
	b.WriteByte('}')
	for b.Len()%64 != 0 {
		b.WriteByte(' ')
	}
	if b.Len()-8 > maxHeader {
		return nil, fmt.Errorf("the header would have %d bytes, the limit is %d", b.Len()-8, maxHeader)
	}
	binary.LittleEndian.PutUint64(b.Bytes(), uint64(b.Len()-8))
	return b.Bytes(), nil
}

func mustJSON(v any) []byte {
	data, err := json.Marshal(v)
	if err != nil {
		panic(err) // texts and numbers
	}
	return data
}
