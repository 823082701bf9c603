package shard

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math/bits"
	"slices"
	"sync"
)

// stream is a section without end: its documents in one order, then all of them in another, and so on, cut into rows
// of T tokens. Pass e is its epoch e, from 0.
//
// Neighbouring rows are often of one document, and a batch of neighbours would be a batch of one book. So rows are read in
// blocks as long as an epoch (rounded up to whole rows), each block in an order of its own: the first block reads every
// token of the first epoch once.
type stream struct {
	section *section
	seed    uint64
	tokens  int64 // of one epoch
	rowLen  int64 // T
	block   int64 // rows in a block

	mu     sync.Mutex
	epochs cache[*epoch]
	blocks cache[*permutation]
}

// epoch is one pass over a section's documents.
type epoch struct {
	documents *permutation
	starts    []int64 // first token of each place, and the number of tokens at the end
	shift     int     // tokens of 1<<shift share an entry of hints
	hints     []int32 // the place that holds the first token of each such stretch
}

// place is the place that holds a token of the epoch.
func (ep *epoch) place(token int64) int {
	at := int(ep.hints[token>>ep.shift])
	for ep.starts[at+1] <= token {
		at++
	}
	return at
}

// hint makes the hints: about as many as there are places, so that few steps remain.
func (ep *epoch) hint() {
	tokens, places := ep.starts[len(ep.starts)-1], int64(len(ep.starts)-1)
	for tokens>>ep.shift > places {
		ep.shift++
	}
	ep.hints = make([]int32, tokens>>ep.shift+1)
	at := 0
	for i := range ep.hints {
		for at+1 < int(places) && ep.starts[at+1] <= int64(i)<<ep.shift {
			at++
		}
		ep.hints[i] = int32(at)
	}
}

func newStream(sec *section, seed uint64, rowLen int) *stream {
	st := &stream{section: sec, seed: seed, tokens: sec.info.Tokens, rowLen: int64(rowLen)}
	st.block = (st.tokens + st.rowLen - 1) / st.rowLen
	return st
}

// epoch returns pass e. Making it takes time in the number of documents; the newest few are kept.
func (st *stream) epoch(e int64) *epoch {
	st.mu.Lock()
	defer st.mu.Unlock()
	return st.epochs.get(e, func() *epoch {
		p := newPermutation(orderKey("documents", st.seed, st.section.info.Name, e), len(st.section.lengths))
		ep := &epoch{documents: p, starts: make([]int64, len(p.at)+1)}
		for place, d := range p.at {
			ep.starts[place+1] = ep.starts[place] + int64(st.section.lengths[d])
		}
		ep.hint()
		return ep
	})
}

func (st *stream) blockOrder(b int64) *permutation {
	st.mu.Lock()
	defer st.mu.Unlock()
	return st.blocks.get(b, func() *permutation {
		return newPermutation(orderKey("rows", st.seed, st.section.info.Name, b), int(st.block))
	})
}

// row is the place in the stream of the j-th row that is read: tokens [row*T, (row+1)*T).
func (st *stream) row(j int64) int64 {
	b := j / st.block
	return b*st.block + int64(st.blockOrder(b).at[j%st.block])
}

// reads is the inverse of row: when the given row of the stream is read.
func (st *stream) reads(row int64) int64 {
	b := row / st.block
	return b*st.block + int64(st.blockOrder(b).inverse()[row%st.block])
}

// piece is the part of one document that lies in one row.
type piece struct {
	at, n  int   // in the row
	number int32 // of the document
	from   int64 // token within the document
	epoch  int64
}

// pieces appends what row lies on, in order.
func (st *stream) pieces(dst []piece, row int64) []piece {
	pos := row * st.rowLen
	e, rest := pos/st.tokens, pos%st.tokens
	ep := st.epoch(e)
	place := ep.place(rest)
	for at := int64(0); at < st.rowLen; {
		n := min(st.rowLen-at, ep.starts[place+1]-rest)
		dst = append(dst, piece{int(at), int(n), ep.documents.at[place], rest - ep.starts[place], e})
		at, rest, place = at+n, rest+n, place+1
		if rest == st.tokens && at < st.rowLen {
			e, rest, place = e+1, 0, 0
			ep = st.epoch(e)
		}
	}
	return dst
}

// tokenAt is one token of the stream.
func (st *stream) tokenAt(pos int64) (int32, error) {
	ep, rest := st.epoch(pos/st.tokens), pos%st.tokens
	place := ep.place(rest)
	var t [1]int32
	err := st.section.read(t[:], st.section.firsts[ep.documents.at[place]]+rest-ep.starts[place])
	return t[0], err
}

// permutation is an order of the numbers 0..n-1.
type permutation struct {
	at   []int32
	once sync.Once
	inv  []int32
}

// newPermutation sorts the numbers by a hash of key and number. The hash is the finaliser of splitmix64 (Steele, Lea &
// Flood 2014) over key[0] + number times the golden ratio, once more with key[1]; being a bijection, it has no ties.
func newPermutation(key [2]uint64, n int) *permutation {
	all := make([]hashed, n)
	for i := range all {
		all[i] = hashed{mix(mix(key[0]+uint64(i)*0x9e3779b97f4a7c15) ^ key[1]), int32(i)}
	}
	sortHashed(all)
	p := &permutation{at: make([]int32, n)}
	for i, h := range all {
		p.at[i] = h.number
	}
	return p
}

// hashed is a number on its way to its place.
type hashed struct {
	hash   uint64
	number int32
}

// radixFrom is the length from which sorting by digits is faster than by comparison.
const radixFrom = 2048

// sortHashed sorts by hash. Hashes are spread evenly, so one pass by the leading bits leaves buckets of some eight.
func sortHashed(all []hashed) {
	less := func(a, b hashed) int {
		if a.hash < b.hash {
			return -1
		}
		return 1
	}
	if len(all) < radixFrom {
		slices.SortFunc(all, less)
		return
	}
	shift := 64 - (bits.Len(uint(len(all))) - 3)
	starts := make([]int32, 1<<(64-shift)+1)
	for _, h := range all {
		starts[h.hash>>shift+1]++
	}
	for i := 1; i < len(starts); i++ {
		starts[i] += starts[i-1]
	}
	from := slices.Clone(all)
	next := slices.Clone(starts)
	for _, h := range from {
		i := h.hash >> shift
		all[next[i]] = h
		next[i]++
	}
	for i := range len(starts) - 1 {
		bucket := all[starts[i]:starts[i+1]]
		for j := 1; j < len(bucket); j++ { // by insertion: they are short
			h, k := bucket[j], j
			for ; k > 0 && bucket[k-1].hash > h.hash; k-- {
				bucket[k] = bucket[k-1]
			}
			bucket[k] = h
		}
	}
}

func mix(z uint64) uint64 {
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// inverse says for each number at which place it stands.
func (p *permutation) inverse() []int32 {
	p.once.Do(func() {
		p.inv = make([]int32, len(p.at))
		for place, n := range p.at {
			p.inv[n] = int32(place)
		}
	})
	return p.inv
}

// orderKey is the key of one permutation: what it orders, of which section, in which round.
func orderKey(what string, seed uint64, section string, round int64) [2]uint64 {
	sum := sha256.Sum256(fmt.Appendf(nil, "ravn order 1\x00%s\x00%d\x00%s\x00%d", what, seed, section, round))
	return [2]uint64{binary.LittleEndian.Uint64(sum[:]), binary.LittleEndian.Uint64(sum[8:])}
}

// cache keeps the newest few values that were made.
type cache[V any] struct {
	keys   [4]int64
	values [4]V
	filled int
	next   int
}

func (c *cache[V]) get(key int64, make func() V) V {
	for i := range c.filled {
		if c.keys[i] == key {
			return c.values[i]
		}
	}
	v := make()
	c.keys[c.next], c.values[c.next] = key, v
	c.filled = max(c.filled, c.next+1)
	c.next = (c.next + 1) % len(c.keys)
	return v
}
