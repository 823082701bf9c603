// Package langid tells languages apart: Danish, Bokmål, Nynorsk, Swedish, Faroese, Icelandic, English and German with the
// model that is built in, others with one that is trained on the user's own text.
//
// The model is a linear one over words and runs of 2 to 4 letters: each has a weight for every language, their sum
// over the root of their number decides. Joulin et al. 2016 (fastText) without the middle layer; weights are hashed and kept in a byte each.
package langid

import (
	"bytes"
	_ "embed"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math"
	"os"
	"slices"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"

	"github.com/klauspost/compress/zstd"
)

// maxLanguages is how many languages a model may tell apart: their weights share a machine word.
const maxLanguages = 8

// Model tells languages apart. It is safe for concurrent use.
type Model struct {
	languages []string
	scale     float64  // of a weight's byte
	weights   []uint64 // by hash of a feature: a byte for each language, plus 128
}

// Languages are the codes, sorted.
func (m *Model) Languages() []string { return slices.Clone(m.languages) }

// Guess is a language with the probability that the model gives it.
type Guess struct {
	Language string
	P        float64
}

// sharpness turns sums into logarithms of probabilities.
const sharpness = 0.25

// Limits of what is read of a long text: windows spread over it evenly.
const (
	longBytes   = 6144
	numWindows  = 8
	windowBytes = 640
)

// Identify returns the most probable language, with its probability. A text without letters has none.
func (m *Model) Identify(text string) Guess {
	p, ok := m.Probabilities(text)
	if !ok {
		return Guess{}
	}
	best := 0
	for i, v := range p {
		if v > p[best] {
			best = i
		}
	}
	return Guess{m.languages[best], p[best]}
}

// Probabilities are those of all Languages. It says whether there was anything to go by.
func (m *Model) Probabilities(text string) ([]float64, bool) {
	var sum [maxLanguages]float64
	n := 0
	if len(text) <= longBytes {
		n = m.add(&sum, text)
	} else {
		step := (len(text) - windowBytes) / (numWindows - 1)
		for i := range numWindows {
			n += m.add(&sum, window(text, i*step))
		}
	}
	if n == 0 {
		return nil, false
	}
	p := make([]float64, len(m.languages))
	for i := range p {
		p[i] = sum[i] * m.scale / math.Sqrt(float64(n)) * sharpness
	}
	softmax(p)
	return p, true
}

func softmax(p []float64) {
	top, total := slices.Max(p), 0.0
	for i, v := range p {
		p[i] = math.Exp(v - top)
		total += p[i]
	}
	for i := range p {
		p[i] /= total
	}
}

// window is a piece of text that begins and ends between characters.
func window(text string, from int) string {
	for from < len(text) && !utf8.RuneStart(text[from]) {
		from++
	}
	to := min(from+windowBytes, len(text))
	for to < len(text) && !utf8.RuneStart(text[to]) {
		to++
	}
	return text[from:to]
}

// add adds up the weights of a text's features and returns their number. Even and odd bytes are added four at a time; sums
// of 256 bytes fit into 16 bits.
func (m *Model) add(sum *[maxLanguages]float64, text string) int {
	const odd = 0x00FF00FF00FF00FF
	var even, other uint64
	mask := uint64(len(m.weights) - 1)
	pending, n := 0, 0
	flush := func() {
		for i := range 4 {
			sum[2*i] += float64(even >> (16 * i) & 0xFFFF)
			sum[2*i+1] += float64(other >> (16 * i) & 0xFFFF)
		}
		even, other = 0, 0
		n += pending
		pending = 0
	}
	features(text, func(h uint64) {
		w := m.weights[h&mask]
		even += w & odd
		other += w >> 8 & odd
		if pending++; pending == 256 {
			flush()
		}
	})
	flush()
	for i := range sum {
		sum[i] -= 128 * float64(n)
	}
	return n
}

// maxWord is the longest word that is looked at, in characters.
const maxWord = 32

// wholeWeight is how many runs a whole word counts for: "ikkje" says more than its parts.
const wholeWeight = 4

// features calls f with the hash of every word of text, in lower case, and of every run of 2 to 4 characters in it, the
// borders of the word being characters too.
func features(text string, f func(h uint64)) {
	var word [maxWord + 2]uint32
	for i := 0; i < len(text); {
		r, size := rune(text[i]), 1
		if r >= utf8.RuneSelf {
			r, size = utf8.DecodeRuneInString(text[i:])
		}
		i += size
		if !letter(r) {
			continue
		}
		n := 1
		word[0] = '<'
		for {
			if n <= maxWord {
				word[n] = uint32(lower(r))
				n++
			}
			if i >= len(text) {
				break
			}
			if r, size = rune(text[i]), 1; r >= utf8.RuneSelf {
				r, size = utf8.DecodeRuneInString(text[i:])
			}
			if !letter(r) {
				break
			}
			i += size
		}
		word[n] = '>'
		n++
		whole := uint64(14695981039346656037)
		for k := range n {
			h := uint64(word[k]) * 0x9e3779b97f4a7c15
			whole = (whole ^ uint64(word[k])) * 1099511628211
			for l := 2; l <= 4 && k+l <= n; l++ {
				h = (h ^ uint64(word[k+l-1])) * 0xff51afd7ed558ccd
				f(h>>40 ^ h>>17 + uint64(l))
			}
		}
		whole ^= whole >> 32
		for range wholeWeight {
			f(whole)
		}
	}
}

func letter(r rune) bool {
	if r < utf8.RuneSelf {
		return r|0x20 >= 'a' && r|0x20 <= 'z'
	}
	return unicode.IsLetter(r)
}

func lower(r rune) rune {
	if r < utf8.RuneSelf {
		return r | 0x20
	}
	return unicode.ToLower(r)
}

//go:embed model.langid
var builtin []byte

var loadBuiltin = sync.OnceValues(func() (*Model, error) { return Read(bytes.NewReader(builtin)) })

// Builtin is the model for da, de, en, fo, is, nb, nn and sv. docs/design/langid.md says what it was trained on.
func Builtin() (*Model, error) { return loadBuiltin() }

const magic = "ravnlid1"

// Write writes the model: magic; number of languages; their codes, each behind its length; the bits of a hash; the scale as
// 64-bit float; the weights; then CRC-32 (IEEE) of all that. Little-endian, the whole compressed with zstd.
func (m *Model) Write(w io.Writer) error {
	b := []byte(magic)
	b = append(b, byte(len(m.languages)))
	for _, l := range m.languages {
		b = append(b, byte(len(l)))
		b = append(b, l...)
	}
	bits := byte(0)
	for 1<<bits < len(m.weights) {
		bits++
	}
	b = append(b, bits)
	b = binary.LittleEndian.AppendUint64(b, math.Float64bits(m.scale))
	for _, v := range m.weights {
		b = binary.LittleEndian.AppendUint64(b, v)
	}
	b = binary.LittleEndian.AppendUint32(b, crc32.ChecksumIEEE(b))
	z, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedBestCompression), zstd.WithEncoderConcurrency(1))
	if err != nil {
		return fmt.Errorf("langid: %w", err)
	}
	_, err = w.Write(z.EncodeAll(b, nil))
	return err
}

var errModel = errors.New("langid: not a whole model (train it again)")

// Read reads a model.
func Read(r io.Reader) (*Model, error) {
	z, err := zstd.NewReader(io.LimitReader(r, 64<<20), zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(64<<20))
	if err != nil {
		return nil, fmt.Errorf("langid: %w", err)
	}
	defer z.Close()
	b, err := io.ReadAll(io.LimitReader(z, 64<<20))
	if err != nil || len(b) < len(magic)+1+1+8+4 || string(b[:len(magic)]) != magic || crc32.ChecksumIEEE(b[:len(b)-4]) != binary.LittleEndian.Uint32(b[len(b)-4:]) {
		return nil, errModel
	}
	b = b[len(magic) : len(b)-4]
	m := &Model{}
	n := int(b[0])
	b = b[1:]
	if n < 2 || n > maxLanguages {
		return nil, errModel
	}
	for range n {
		if len(b) < 1 || len(b) < 1+int(b[0]) {
			return nil, errModel
		}
		m.languages = append(m.languages, string(b[1:1+b[0]]))
		b = b[1+b[0]:]
	}
	if len(b) < 9 || b[0] > 22 || len(b) != 9+8<<b[0] {
		return nil, errModel
	}
	m.scale = math.Float64frombits(binary.LittleEndian.Uint64(b[1:]))
	m.weights = make([]uint64, 1<<b[0])
	for i := range m.weights {
		m.weights[i] = binary.LittleEndian.Uint64(b[9+8*i:])
	}
	if !(m.scale > 0) || math.IsInf(m.scale, 0) || !slices.IsSorted(m.languages) {
		return nil, errModel
	}
	return m, nil
}

// Load reads a model's file.
func Load(path string) (*Model, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("langid: %w", err)
	}
	defer f.Close()
	m, err := Read(f)
	if err != nil {
		return nil, fmt.Errorf("langid: %s: %s", path, strings.TrimPrefix(err.Error(), "langid: "))
	}
	return m, nil
}
