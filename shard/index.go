package shard

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
)

// Megatron's codes of number formats; others exist and are not for tokens.
const (
	codeInt32  = 4
	codeUint16 = 8
)

const (
	indexMagic  = "MMIDIDX\x00\x00"
	indexHeader = len(indexMagic) + 8 + 1 + 8 + 8
)

// smallVocab is the first vocabulary size that Megatron stores as int32.
const smallVocab = 65500

// index is a parsed SECTION.idx. A document is one or more sequences.
type index struct {
	code      byte
	lengths   []int32 // of each sequence, in tokens
	offsets   []int64 // of each sequence in the .bin, in bytes
	documents []int64 // first sequence of each document, and the number of sequences
}

func (x *index) tokenBytes() int64 {
	if x.code == codeUint16 {
		return 2
	}
	return 4
}

// parseIndex reads an index for a .bin of binBytes. Counts are compared with len(data) before memory is asked for;
// sequences must lie in the .bin one behind the other.
func parseIndex(data []byte, binBytes int64) (*index, error) {
	if len(data) < indexHeader {
		return nil, fmt.Errorf("%d bytes are too few for an index", len(data))
	}
	if string(data[:len(indexMagic)]) != indexMagic {
		return nil, fmt.Errorf("begins with %q, a Megatron index begins with %q", data[:len(indexMagic)], indexMagic)
	}
	data = data[len(indexMagic):]
	if v := binary.LittleEndian.Uint64(data); v != 1 {
		return nil, fmt.Errorf("index version %d, only 1 is known", v)
	}
	x := &index{code: data[8]}
	if x.code != codeUint16 && x.code != codeInt32 {
		return nil, fmt.Errorf("number format %d; tokens are %d (uint16) or %d (int32)", x.code, codeUint16, codeInt32)
	}
	sequences, documents := binary.LittleEndian.Uint64(data[9:]), binary.LittleEndian.Uint64(data[17:])
	data = data[25:]
	if most := uint64(len(data)) / 8; sequences > most || documents > most || sequences*12+documents*8 != uint64(len(data)) {
		return nil, fmt.Errorf("%d sequences and %d document indices do not make %d bytes", sequences, documents, indexHeader+len(data))
	}
	x.lengths = make([]int32, sequences)
	for i := range x.lengths {
		x.lengths[i] = int32(binary.LittleEndian.Uint32(data[4*i:]))
	}
	data = data[4*sequences:]
	x.offsets = make([]int64, sequences)
	for i := range x.offsets {
		x.offsets[i] = int64(binary.LittleEndian.Uint64(data[8*i:]))
	}
	data = data[8*sequences:]
	x.documents = make([]int64, documents)
	for i := range x.documents {
		x.documents[i] = int64(binary.LittleEndian.Uint64(data[8*i:]))
	}
	return x, x.check(binBytes)
}

func (x *index) check(binBytes int64) error {
	size, at := x.tokenBytes(), int64(0)
	for i, n := range x.lengths {
		from := x.offsets[i]
		switch {
		case n < 0:
			return fmt.Errorf("sequence %d has %d tokens", i, n)
		case from < at:
			return fmt.Errorf("sequence %d begins at byte %d, before the end of the one before it at %d", i, from, at)
		case from%size != 0:
			return fmt.Errorf("sequence %d begins at byte %d, within a token of %d bytes", i, from, size)
		case from > binBytes || int64(n)*size > binBytes-from:
			return fmt.Errorf("sequence %d of %d tokens at byte %d ends behind the .bin of %d bytes", i, n, from, binBytes)
		}
		at = from + int64(n)*size
	}
	if len(x.documents) == 0 || x.documents[0] != 0 {
		return errors.New("document indices do not begin with 0")
	}
	for d := 1; d < len(x.documents); d++ {
		if x.documents[d] < x.documents[d-1] {
			return fmt.Errorf("document %d begins at sequence %d, before the one before it at %d", d, x.documents[d], x.documents[d-1])
		}
	}
	if last := x.documents[len(x.documents)-1]; last != int64(len(x.lengths)) {
		return fmt.Errorf("document indices end with %d, there are %d sequences", last, len(x.lengths))
	}
	return nil
}

// appendIndex writes the index of documents of these lengths, laid end to end, one sequence each.
func appendIndex(b []byte, code byte, lengths []int32) []byte {
	size := (&index{code: code}).tokenBytes()
	le := binary.LittleEndian
	b = append(b, indexMagic...)
	b = le.AppendUint64(b, 1)
	b = append(b, code)
	b = le.AppendUint64(b, uint64(len(lengths)))
	b = le.AppendUint64(b, uint64(len(lengths)+1))
	for _, n := range lengths {
		b = le.AppendUint32(b, uint32(n))
	}
	at := int64(0)
	for _, n := range lengths {
		b = le.AppendUint64(b, uint64(at))
		at += int64(n) * size
	}
	for i := range len(lengths) + 1 {
		b = le.AppendUint64(b, uint64(i))
	}
	return b
}

// appendTokens writes tokens in a number format; those that are no ids of a vocabulary of size v are an error.
func appendTokens(b []byte, code byte, tokens []int32, v int) ([]byte, error) {
	limit := uint32(min(v, math.MaxInt32))
	if code == codeUint16 {
		for _, t := range tokens {
			if uint32(t) >= limit {
				return nil, fmt.Errorf("the tokenizer gave id %d, its vocabulary has %d", t, v)
			}
			b = append(b, byte(t), byte(t>>8))
		}
		return b, nil
	}
	for _, t := range tokens {
		if uint32(t) >= limit {
			return nil, fmt.Errorf("the tokenizer gave id %d, its vocabulary has %d", t, v)
		}
		b = binary.LittleEndian.AppendUint32(b, uint32(t))
	}
	return b, nil
}
