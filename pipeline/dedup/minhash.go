package dedup

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"sync"

	"ravn/internal/extsort"
	"ravn/pipeline"
)

// MinHash says how near copies are found: two documents are compared when, in one of Bands bands, all Rows values of
// their signatures agree. The share s of word runs that they have in common (Jaccard's) makes that happen with probability
// 1 - (1 - s^Rows)^Bands.
//
// Words are runs of letters, digits and marks in Unicode NFC and lower case; accents are kept, since å is no a. A
// signature is made by one permutation hashing (Li, Owen & Zhang 2012) with optimal densification (Shrivastava 2017): every
// word run is hashed once and falls into one of Bands·Rows bins, of which the least is kept; an empty bin takes the
// value of another. Its values agree with probability s, like those of as many permutations, at a hundredth of the work.
type MinHash struct {
	Words      int     // in a run
	Bands      int     //
	Rows       int     //
	Threshold  float64 // share of word runs from which two documents are near copies
	Verify     bool    // pairs that were found are compared: by signatures, and by their texts where these leave a doubt
	DigitsZero bool    // words of digits alone count as the same
}

// Presets are parameters that have been published, and our own.
//
// datatrove: huggingface/datatrove's defaults, but accents are kept. dfm: Danish Foundation Models, 13-grams, 128 values,
// threshold 0.8, for which datasketch chooses 9 bands of 13. redpajama-T: RedPajama-v2's bands over 128 values.
// ravn: enough bands to miss no pair from 0.8 on (one in 10^7), and verification.
var presets = map[string]MinHash{
	"ravn":          {Words: 13, Bands: 64, Rows: 5, Threshold: 0.8, Verify: true},
	"datatrove":     {Words: 5, Bands: 14, Rows: 8, Threshold: 0.72, DigitsZero: true},
	"dfm":           {Words: 13, Bands: 9, Rows: 13, Threshold: 0.8},
	"redpajama-0.7": {Words: 13, Bands: 14, Rows: 9, Threshold: 0.7},
	"redpajama-0.8": {Words: 13, Bands: 9, Rows: 13, Threshold: 0.8},
	"redpajama-0.9": {Words: 13, Bands: 5, Rows: 25, Threshold: 0.9},
	"redpajama-1.0": {Words: 13, Bands: 1, Rows: 128, Threshold: 1},
}

// Presets are the names, sorted.
func Presets() []string { return slices.Sorted(maps.Keys(presets)) }

// Preset returns a preset by name.
func Preset(name string) (MinHash, error) {
	p, ok := presets[name]
	if !ok {
		return p, fmt.Errorf("dedup: preset %q is not known (use one of %v)", name, Presets())
	}
	return p, nil
}

// Validate checks the parameters.
func (m *MinHash) Validate() error {
	var errs []error
	if m.Words < 1 || m.Words > 100 {
		errs = append(errs, fmt.Errorf("dedup: runs of %d words (use 1 to 100; 5 and 13 are usual)", m.Words))
	}
	if m.Bands < 1 || m.Rows < 1 || m.Bands > 4096 || m.Rows > 4096 || m.Bands*m.Rows > 4096 {
		errs = append(errs, fmt.Errorf("dedup: %d bands of %d values (use 1 or more of each, 4096 values at most)", m.Bands, m.Rows))
	}
	if !(m.Threshold > 0 && m.Threshold <= 1) {
		errs = append(errs, fmt.Errorf("dedup: threshold %v (use more than 0, at most 1)", m.Threshold))
	}
	return errors.Join(errs...)
}

// Found is the probability that documents which share s of their word runs are compared.
func (m *MinHash) Found(s float64) float64 {
	return 1 - math.Pow(1-math.Pow(s, float64(m.Rows)), float64(m.Bands))
}

func (m *MinHash) signatureBytes() int { return 4 * m.Bands * m.Rows }

// base is the multiplier of the rolling hash over words, modulo 2^64.
const base = 0x9ddfea08eb382d69

// zeroDigits stands for every word of digits.
const zeroDigits = 0x5bd1e9955bd1e995

// runs calls f with a hash of every run of words. A shorter text is one run.
func (m *MinHash) runs(t *pipeline.Tokens, f func(h uint64)) {
	words := t.Words
	if m.DigitsZero {
		words = make([]uint64, 0, len(t.Words))
		for i, k := range t.Kind {
			if k&pipeline.Word == 0 {
				continue
			}
			h := t.Hash[i]
			if k&pipeline.Digits != 0 {
				h = zeroDigits
			}
			words = append(words, h)
		}
	}
	k := m.Words
	if len(words) == 0 {
		return
	}
	top := uint64(1)
	for range k {
		top *= base
	}
	h := uint64(0)
	for i, w := range words {
		h = h*base + w
		if i >= k {
			h -= words[i-k] * top
		}
		if i >= k-1 {
			f(mix(h))
		}
	}
	if len(words) < k {
		f(mix(h))
	}
}

// mix is the finaliser of splitmix64 (Steele, Lea & Flood 2014).
func mix(h uint64) uint64 {
	h ^= h >> 30
	h *= 0xbf58476d1ce4e5b9
	h ^= h >> 27
	h *= 0x94d049bb133111eb
	return h ^ h>>31
}

var bins sync.Pool // *[]uint64

// appendSignature appends the signature, nothing but zeros for a text without words.
func (m *MinHash) appendSignature(b []byte, t *pipeline.Tokens) []byte {
	k := m.Bands * m.Rows
	p, _ := bins.Get().(*[]uint64)
	if p == nil {
		p = new([]uint64)
	}
	defer bins.Put(p)
	least := slices.Grow((*p)[:0], k)[:k]
	*p = least
	for i := range least {
		least[i] = math.MaxUint64
	}
	m.runs(t, func(h uint64) {
		bin := (h >> 32) * uint64(k) >> 32
		least[bin] = min(least[bin], h<<32|h>>32) // the bits that did not choose the bin come first
	})
	filled := 0
	for _, v := range least {
		if v != math.MaxUint64 {
			filled++
		}
	}
	if filled == 0 {
		return append(b, make([]byte, 4*k)...)
	}
	for i, v := range least {
		for n := uint64(1); v == math.MaxUint64; n++ {
			v = least[(mix(uint64(i)<<32|n)>>32)*uint64(k)>>32]
		}
		b = binary.LittleEndian.AppendUint32(b, uint32(v>>32))
	}
	return b
}

// bandKeys are the hashes of a signature's bands; none for a text without words.
func (m *MinHash) bandKeys(sig []byte) []uint64 {
	empty := true
	for _, c := range sig {
		empty = empty && c == 0
	}
	if empty {
		return nil
	}
	keys := make([]uint64, m.Bands)
	for i := range keys {
		h := mix(uint64(i) + 0x9e3779b97f4a7c15)
		for r := range m.Rows {
			h = mix(h ^ uint64(binary.LittleEndian.Uint32(sig[4*(i*m.Rows+r):])))
		}
		keys[i] = h
	}
	return keys
}

// similarity is the share of values that two signatures agree in.
func similarity(a, b []byte) float64 {
	same := 0
	for i := 0; i < len(a); i += 4 {
		if binary.LittleEndian.Uint32(a[i:]) == binary.LittleEndian.Uint32(b[i:]) {
			same++
		}
	}
	return float64(same) / float64(len(a)/4)
}

// Similarity is the share of word runs that two texts have in common: of all different ones, those that are in both.
func (m *MinHash) Similarity(a, b string) float64 {
	return jaccard(m.runSet(a), m.runSet(b))
}

func (m *MinHash) runSet(text string) []uint64 {
	var t pipeline.Tokens
	t.Cut(text)
	var set []uint64
	m.runs(&t, func(h uint64) { set = append(set, h) })
	slices.Sort(set)
	return slices.Compact(set)
}

func jaccard(a, b []uint64) float64 {
	if len(a)+len(b) == 0 {
		return 0
	}
	both := 0
	for i, j := 0, 0; i < len(a) && j < len(b); {
		switch {
		case a[i] < b[j]:
			i++
		case a[i] > b[j]:
			j++
		default:
			both++
			i++
			j++
		}
	}
	return float64(both) / float64(len(a)+len(b)-both)
}

// maxBack is how many documents before it, in a bucket, a document is compared with, beside the first one.
const maxBack = 4

// resolveNear joins near copies. Buckets are read in order of their keys; without verification every document in one joins
// the first. With it, pairs are gathered, and compared in order of documents.
func (s *stage) resolveNear(ctx context.Context) error {
	defer s.bands.Close()
	pairs := extsort.New(s.a.Dir, s.a.MemoryBytes/4)
	defer pairs.Close()
	var bucket []uint32
	key := uint64(0)
	for r, err := range s.bands.Sorted(ctx) {
		if err != nil {
			return err
		}
		if len(bucket) == 0 || r.Key != key {
			bucket, key = append(bucket[:0], r.High), r.Key
			continue
		}
		if !s.o.Near.Verify {
			s.join(bucket[0], r.High)
			continue
		}
		for _, was := range bucket {
			if s.find(was) == s.find(r.High) { // exact copies
				continue
			}
			if err := pairs.Add(extsort.Record{Key: uint64(was)<<32 | uint64(r.High)}); err != nil {
				return err
			}
		}
		if len(bucket) > maxBack {
			bucket = slices.Delete(bucket, 1, 2)
		}
		bucket = append(bucket, r.High)
	}
	v := verifier{s: s}
	last := uint64(math.MaxUint64)
	for r, err := range pairs.Sorted(ctx) {
		if err != nil {
			return err
		}
		if r.Key == last {
			continue
		}
		last = r.Key
		a, b := uint32(r.Key>>32), uint32(r.Key)
		if s.find(a) == s.find(b) {
			continue
		}
		same, err := v.near(a, b)
		if err != nil {
			return err
		}
		if same {
			s.join(a, b)
		}
	}
	return nil
}

// signature reads a document's signature.
func (s *stage) signature(number uint32, b []byte) ([]byte, error) {
	n := s.o.Near.signatureBytes()
	b = slices.Grow(b[:0], n)[:n]
	if _, err := s.sigs.ReadAt(b, int64(number)*int64(n)); err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("dedup: %w", err)
	}
	return b, nil
}

// estimate is the similarity of two documents by their signatures.
func (s *stage) estimate(a, b uint32) float64 {
	x, err := s.signature(a, nil)
	if err != nil {
		return math.NaN()
	}
	y, err := s.signature(b, nil)
	if err != nil {
		return math.NaN()
	}
	return similarity(x, y)
}

// verifier compares pairs that come sorted by their first document.
type verifier struct {
	s    *stage
	a, b []byte
	sigA uint32 // document whose signature a is, plus one
	set  []uint64
	of   uint32 // document whose runs set is of, plus one
}

// near says whether two documents are near copies. The standard deviation of an estimate from k values is below
// 1/(2·√k); four of them leave no doubt.
func (v *verifier) near(a, b uint32) (bool, error) {
	m := v.s.o.Near
	var err error
	if v.sigA != a+1 {
		if v.a, err = v.s.signature(a, v.a); err != nil {
			return false, err
		}
		v.sigA = a + 1
	}
	if v.b, err = v.s.signature(b, v.b); err != nil {
		return false, err
	}
	guess, doubt := similarity(v.a, v.b), 2/math.Sqrt(float64(m.Bands*m.Rows))
	if math.Abs(guess-m.Threshold) > doubt {
		return guess > m.Threshold, nil
	}
	if v.of != a+1 {
		text, err := v.s.a.Text(int64(a))
		if err != nil {
			return false, err
		}
		v.set, v.of = m.runSet(text), a+1
	}
	text, err := v.s.a.Text(int64(b))
	if err != nil {
		return false, err
	}
	return jaccard(v.set, m.runSet(text)) >= m.Threshold, nil
}
