package weights

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"math"
	"strings"

	"ravn/internal/atomicfile"
	"ravn/model"
	"ravn/tokenizer"
)

// fileTypes are the numbers of general.file_type, by the format that most of a file is in.
var fileTypes = map[model.DType]uint32{model.F32: 0, model.F16: 1, model.Q4_0: 2, model.Q8_0: 7, model.Q4_K: 15, model.Q6_K: 18, model.BF16: 32}

// ggufSources writes a GGUF file of pairs and tensors under GGUF's names. It appears whole or not at all.
func ggufSources(path string, pairs []pair, ts []source) error {
	f, err := atomicfile.Create(path)
	if err != nil {
		return fmt.Errorf("weights: %w", err)
	}
	defer f.Abort()
	w := &countingWriter{w: bufio.NewWriterSize(f, 1<<20)}
	head := append([]byte(ggufMagic), 3, 0, 0, 0)
	head = binary.LittleEndian.AppendUint64(head, uint64(len(ts)))
	head = binary.LittleEndian.AppendUint64(head, uint64(len(pairs)))
	for _, p := range pairs {
		head = appendValue(appendText(head, p.key), p.value, true)
	}
	var at uint64
	for _, t := range ts {
		head = appendText(head, t.name)
		head = binary.LittleEndian.AppendUint32(head, uint32(len(t.shape)))
		for i := range t.shape {
			head = binary.LittleEndian.AppendUint64(head, uint64(t.shape[len(t.shape)-1-i]))
		}
		head = binary.LittleEndian.AppendUint32(head, ggufNumber(t.dtype))
		head = binary.LittleEndian.AppendUint64(head, at)
		at += (t.bytes + ggufAlignment - 1) &^ (ggufAlignment - 1)
	}
	w.Write(head) // an error stays in w
	w.align()
	for _, t := range ts {
		from := w.n
		if err := t.write(w); err != nil {
			return fmt.Errorf("weights: %s: tensor %q: %w", path, t.name, err)
		}
		if wrote := uint64(w.n - from); wrote != t.bytes {
			panic(fmt.Sprintf("weights: tensor %q has %d bytes, %d were announced", t.name, wrote, t.bytes))
		}
		w.align()
	}
	if err := w.w.Flush(); err != nil {
		return fmt.Errorf("weights: %s: %w", path, err)
	}
	if err := f.Commit(); err != nil {
		return fmt.Errorf("weights: %w", err)
	}
	return nil
}

// countingWriter knows how much went through it.
type countingWriter struct {
	w *bufio.Writer
	n int64
}

func (w *countingWriter) Write(p []byte) (int, error) {
	n, err := w.w.Write(p)
	w.n += int64(n)
	return n, err
}

// align fills up with zeros to the next multiple of the alignment.
func (w *countingWriter) align() {
	w.Write(make([]byte, -w.n&(ggufAlignment-1)))
}

func ggufNumber(d model.DType) uint32 {
	for n, t := range ggufTypes {
		if t == d {
			return n
		}
	}
	panic(fmt.Sprintf("weights: %q has no number in GGUF", d))
}

func appendText(b []byte, s string) []byte {
	return append(binary.LittleEndian.AppendUint64(b, uint64(len(s))), s...)
}

// appendValue writes a value, after its type where that is wanted.
func appendValue(b []byte, v any, typed bool) []byte {
	kind := func(k uint32) {
		if typed {
			b = binary.LittleEndian.AppendUint32(b, k)
		}
	}
	switch v := v.(type) {
	case uint8:
		kind(kindUint8)
		return append(b, v)
	case int8:
		kind(kindInt8)
		return append(b, byte(v))
	case uint16:
		kind(kindUint16)
		return binary.LittleEndian.AppendUint16(b, v)
	case int16:
		kind(kindInt16)
		return binary.LittleEndian.AppendUint16(b, uint16(v))
	case uint32:
		kind(kindUint32)
		return binary.LittleEndian.AppendUint32(b, v)
	case int32:
		kind(kindInt32)
		return binary.LittleEndian.AppendUint32(b, uint32(v))
	case float32:
		kind(kindFloat32)
		return binary.LittleEndian.AppendUint32(b, math.Float32bits(v))
	case bool:
		kind(kindBool)
		if v {
			return append(b, 1)
		}
		return append(b, 0)
	case string:
		kind(kindString)
		return appendText(b, v)
	case uint64:
		kind(kindUint64)
		return binary.LittleEndian.AppendUint64(b, v)
	case int64:
		kind(kindInt64)
		return binary.LittleEndian.AppendUint64(b, uint64(v))
	case float64:
		kind(kindFloat64)
		return binary.LittleEndian.AppendUint64(b, math.Float64bits(v))
	case []uint8:
		return appendList(b, kindUint8, v)
	case []int8:
		return appendList(b, kindInt8, v)
	case []uint16:
		return appendList(b, kindUint16, v)
	case []int16:
		return appendList(b, kindInt16, v)
	case []uint32:
		return appendList(b, kindUint32, v)
	case []int32:
		return appendList(b, kindInt32, v)
	case []float32:
		return appendList(b, kindFloat32, v)
	case []bool:
		return appendList(b, kindBool, v)
	case []string:
		return appendList(b, kindString, v)
	case []uint64:
		return appendList(b, kindUint64, v)
	case []int64:
		return appendList(b, kindInt64, v)
	case []float64:
		return appendList(b, kindFloat64, v)
	}
	panic(fmt.Sprintf("weights: metadata of type %T", v))
}

func appendList[T any](b []byte, kind uint32, list []T) []byte {
	b = binary.LittleEndian.AppendUint32(b, kindArray)
	b = binary.LittleEndian.AppendUint32(b, kind)
	b = binary.LittleEndian.AppendUint64(b, uint64(len(list)))
	for _, v := range list {
		b = appendValue(b, v, false)
	}
	return b
}

// modelPairs are the metadata of a decoder whose tensors are mostly in the format d.
func modelPairs(c *model.Config, d model.DType, about *About) ([]pair, error) {
	config, err := c.Encode()
	if err != nil {
		return nil, err
	}
	pairs := []pair{{"general.architecture", "llama"}, {"general.type", "model"}}
	for _, p := range []pair{{"general.name", about.Name}, {"general.license", about.License}, {"general.description", about.Description}} {
		if p.value != "" {
			pairs = append(pairs, p)
		}
	}
	if len(about.Languages) > 0 {
		pairs = append(pairs, pair{"general.languages", about.Languages})
	}
	if about.Base != "" {
		pairs = append(pairs, pair{"general.base_model.count", uint32(1)}, pair{"general.base_model.0.name", about.Base})
	}
	number := func(key string, n int) { pairs = append(pairs, pair{key, uint32(n)}) }
	pairs = append(pairs, pair{"general.file_type", fileTypes[d]}, pair{"general.quantization_version", uint32(2)})
	number("llama.vocab_size", c.VocabSize)
	number("llama.context_length", c.MaxPositionEmbeddings)
	number("llama.embedding_length", c.HiddenSize)
	number("llama.block_count", c.NumHiddenLayers)
	number("llama.feed_forward_length", c.IntermediateSize)
	number("llama.attention.head_count", c.NumAttentionHeads)
	number("llama.attention.head_count_kv", c.NumKeyValueHeads)
	number("llama.attention.key_length", c.HeadDim)
	number("llama.attention.value_length", c.HeadDim)
	if c.SlidingWindow > 0 {
		number("llama.attention.sliding_window", c.SlidingWindow)
	}
	pairs = append(pairs, pair{"llama.attention.layer_norm_rms_epsilon", float32(c.RMSNormEps)}, pair{"llama.rope.freq_base", float32(c.RopeTheta)})
	number("llama.rope.dimension_count", c.HeadDim)
	return append(pairs, pair{configKey, string(config)}), nil
}

// About is what a GGUF file says about the model beside its numbers. Empty fields are left out.
type About struct {
	Name, Description, License, Base string
	Languages                        []string // codes
}

// tokenizerPairs are the metadata of a tokenizer for a model of vocab ids. Ids beyond the tokenizer's get pieces [PADn],
// because programs take the number of pieces for the number of rows.
func tokenizerPairs(t *tokenizer.Tokenizer, vocab int) ([]pair, error) {
	v, err := t.Vocabulary()
	if err != nil {
		return nil, err
	}
	if len(v.Pieces) > vocab {
		return nil, fmt.Errorf("the tokenizer has %d pieces, the model %d (it belongs to another model)", len(v.Pieces), vocab)
	}
	kinds := make([]int32, vocab)
	for id := range kinds {
		if id < len(v.Kinds) {
			kinds[id] = int32(v.Kinds[id])
			continue
		}
		kinds[id] = int32(tokenizer.Unused)
		v.Pieces = append(v.Pieces, padding(id))
		if v.Scores != nil {
			v.Scores = append(v.Scores, 0)
		}
	}
	kind := "llama"
	if v.Scores == nil {
		kind = "gpt2"
	}
	pairs := []pair{{keyTokenizer, kind}, {keyPre, v.Pre}, {keyTokens, v.Pieces}}
	if v.Scores != nil {
		pairs = append(pairs, pair{keyScores, v.Scores})
	}
	pairs = append(pairs, pair{keyKinds, kinds})
	if v.Merges != nil {
		pairs = append(pairs, pair{keyMerges, v.Merges})
	}
	for _, x := range []struct {
		key string
		id  int32
	}{{keyBOS, v.BOS}, {keyEOS, v.EOS}, {keyUnknown, v.Unknown}, {keyPad, v.Pad}} {
		if x.id >= 0 {
			pairs = append(pairs, pair{x.key, uint32(x.id)})
		}
	}
	pairs = append(pairs, pair{keyAddBOS, v.AddBOS}, pair{keyAddEOS, v.AddEOS}, pair{keyPrefix, v.SpacePrefix})
	if v.ChatTemplate != "" {
		pairs = append(pairs, pair{keyChat, v.ChatTemplate})
	}
	return pairs, nil
}

// padding is the piece of an id that the tokenizer does not have.
func padding(id int) string { return fmt.Sprintf("[PAD%d]", id) }

// withoutPadding cuts the pieces that tokenizerPairs has added off the end.
func withoutPadding(v *tokenizer.Vocabulary) {
	n := len(v.Pieces)
	for n > 0 && v.Kinds[n-1] == tokenizer.Unused && strings.EqualFold(v.Pieces[n-1], padding(n-1)) {
		n--
	}
	v.Pieces, v.Kinds = v.Pieces[:n], v.Kinds[:n]
	if len(v.Scores) > n {
		v.Scores = v.Scores[:n]
	}
}
