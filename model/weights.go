package model

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math"
	"slices"
)

// DType names a number format as safetensors does.
type DType string

// The number formats that weights come in. Those after BF16 are GGUF's: each row is cut into blocks that share a scale
// (docs/design/gguf.md draws them).
const (
	F32  DType = "F32"
	F16  DType = "F16"
	BF16 DType = "BF16"
	Q8_0 DType = "Q8_0" // 32 numbers: a scale in F16, a signed byte each
	Q4_0 DType = "Q4_0" // 32 numbers: a scale in F16, four bits each
	Q4_K DType = "Q4_K" // 256 numbers, in eight groups with scale and minimum of six bits
	Q6_K DType = "Q6_K" // 256 numbers, in sixteen groups with a scale of eight bits
)

// Block is the smallest piece of a row that a format can hold: the number of its elements, and its bytes. Both are 0
// for an unknown format.
func (d DType) Block() (elements, bytes int) {
	switch d {
	case Q8_0:
		return 32, 34
	case Q4_0:
		return 32, 18
	case Q4_K:
		return 256, 144
	case Q6_K:
		return 256, 210
	}
	if size := d.Size(); size > 0 {
		return 1, size
	}
	return 0, 0
}

// RowBytes is the size of a row of n elements, 0 when the format is unknown or has no whole number of blocks in it.
func (d DType) RowBytes(n int) int {
	elements, bytes := d.Block()
	if elements == 0 || n%elements != 0 {
		return 0
	}
	return n / elements * bytes
}

// Size is the number of bytes of one element, 0 for a format that is unknown or has blocks.
func (d DType) Size() int {
	switch d {
	case F32:
		return 4
	case F16, BF16:
		return 2
	}
	return 0
}

// Tensor is a named tensor in its stored form: little-endian, row-major; in a format with blocks, row after row of
// blocks. Data may be mapped from a file.
type Tensor struct {
	Name  string
	DType DType
	Shape []int
	Data  []byte
}

// NumElements is the product of the shape.
func (t *Tensor) NumElements() int {
	n := 1
	for _, s := range t.Shape {
		n *= s
	}
	return n
}

// Weights is a decoder with its numbers: the flat vector in the order of Config.Layout.
type Weights struct {
	Config *Config
	Params []float32
}

// Tensor returns the slice of w that belongs to the named parameter.
func (w *Weights) Tensor(name string) ([]float32, error) {
	for _, p := range w.Config.Layout() {
		if p.Name == name {
			return w.Params[p.Offset : p.Offset+p.Size], nil
		}
	}
	return nil, fmt.Errorf("model: no parameter %q", name)
}

// Hash is the hex SHA-256 of names, shapes and numbers: equal for equal weights, whatever file they came from.
func (w *Weights) Hash() string {
	h := sha256.New()
	buf := make([]byte, 0, 1<<16)
	for _, p := range w.Config.Layout() {
		fmt.Fprintf(h, "%s %d\n", p.Name, p.Shape)
		for chunk := range slices.Chunk(w.Params[p.Offset:p.Offset+p.Size], cap(buf)/4) {
			buf = buf[:0]
			for _, x := range chunk {
				buf = binary.LittleEndian.AppendUint32(buf, math.Float32bits(x))
			}
			h.Write(buf)
		}
	}
	return hex.EncodeToString(h.Sum(nil))
}
