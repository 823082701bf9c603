package tokenizer

import (
	"math"
	"math/bits"
	"unicode/utf8"
)

// bpe is the compiled form of a vocabulary: symbols, and which two neighbours become which symbol, in what order.
//
// A symbol is the id of a piece, or, from size up, a character that only occurs inside longer pieces.
type bpe struct {
	size  int32 // number of ids
	slots []slot
	shift uint

	byteLevel bool
	chars     charTable  // character to symbol, when not byte-level
	bytes     [256]int32 // byte to symbol (byte-level) or to id (byte fallback); -1 where there is none
	fallback  bool       // characters without a piece become bytes
	unknown   int32      // id for what nothing else can say, -1 when there is none
	fuse      bool       // neighbouring unknowns become one

	virtual []rune           // the characters of the symbols from size up
	whole   map[string]int32 // byte-level, ignore_merges: a word that is a piece is that piece

	// joins holds a bit for each pair of characters that a merge may bring together, by hash: where it is clear, the
	// text can be cut and both sides encoded on their own with the same result.
	joins       []uint64
	cutSpace    bool // cutting before every run of spaces is exact
	cutNewline  bool // cutting before and after every newline is exact
	singleSpace bool // every space starts a word, as with the Metaspace pre-tokenizer
}

// slot is one entry of the open-addressed merge table: key 0 is free.
type slot struct {
	key  uint64
	rank uint32 // lower merges first; of equal ones the leftmost
	sym  int32
}

// merge is one line of the merge table before it is built.
type merge struct {
	left, right int32
	rank        uint32
	sym         int32
}

const (
	noRank   = math.MaxUint32
	joinBits = 18
	mix      = 0x9E3779B97F4A7C15
)

func pairKey(left, right int32) uint64 { return uint64(uint32(left)+1)<<32 | uint64(uint32(right)) }

// setMerges builds the table. Where a pair occurs twice the last one counts.
func (m *bpe) setMerges(merges []merge) {
	n := bits.Len(uint(2*len(merges) + 1))
	m.slots = make([]slot, 1<<n)
	m.shift = uint(64 - n)
	for _, x := range merges {
		key := pairKey(x.left, x.right)
		at := key * mix >> m.shift
		for m.slots[at].key != 0 && m.slots[at].key != key {
			at = (at + 1) & uint64(len(m.slots)-1)
		}
		m.slots[at] = slot{key: key, rank: x.rank, sym: x.sym}
	}
}

// pair returns rank and symbol of two neighbours, noRank when they do not merge.
func (m *bpe) pair(left, right int32) (rank uint32, sym int32) {
	key := pairKey(left, right)
	for at := key * mix >> m.shift; ; at = (at + 1) & uint64(len(m.slots)-1) {
		s := &m.slots[at]
		if s.key == key {
			return s.rank, s.sym
		}
		if s.key == 0 {
			return noRank, 0
		}
	}
}

func joinBit(a, b rune) (word, bit uint64) {
	h := (uint64(a)<<32 | uint64(b)) * mix >> (64 - joinBits)
	return h / 64, 1 << (h % 64)
}

// mayJoin reports whether some merge can bring a and b together.
func (m *bpe) mayJoin(a, b rune) bool {
	word, bit := joinBit(a, b)
	return m.joins[word]&bit != 0
}

// setJoins computes the exact cuts from the merges; text gives the characters of a symbol.
func (m *bpe) setJoins(merges []merge, text func(sym int32) string) {
	m.joins = make([]uint64, 1<<joinBits/64)
	m.cutSpace, m.cutNewline = true, true
	for _, x := range merges {
		a, _ := utf8.DecodeLastRuneInString(text(x.left))
		b, _ := utf8.DecodeRuneInString(text(x.right))
		word, bit := joinBit(a, b)
		m.joins[word] |= bit
		if b == ' ' && a != ' ' {
			m.cutSpace = false
		}
		if a == '\n' || b == '\n' {
			m.cutNewline = false
		}
	}
}

// neverCut switches all cuts off.
func (m *bpe) neverCut() {
	m.cutSpace, m.cutNewline = false, false
	for i := range m.joins {
		m.joins[i] = ^uint64(0)
	}
}

// charTable maps characters to symbols, page by page; absent ones are -1.
type charTable struct {
	pages [0x1100]*[256]int32
}

func (c *charTable) set(r rune, sym int32) {
	p := c.pages[r>>8]
	if p == nil {
		p = new([256]int32)
		for i := range p {
			p[i] = -1
		}
		c.pages[r>>8] = p
	}
	p[r&255] = sym
}

func (c *charTable) get(r rune) int32 {
	if p := c.pages[uint32(r)>>8]; p != nil {
		return p[r&255]
	}
	return -1
}

// shortRun is the number of symbols up to which looking through all pairs beats a heap.
const shortRun = 40

// merger holds the space that merging needs, to be used again and again.
type merger struct {
	syms  []int32
	ranks []uint32
	next  []int32 // symbols that pairs become; in the long form, links to the right
	prev  []int32
	into  []int32
	heap  []uint64
}

// merge merges g.syms until no pair of neighbours merges, and returns what is left of it.
func (g *merger) merge(m *bpe) []int32 {
	if len(g.syms) <= shortRun {
		return g.mergeShort(m)
	}
	return g.mergeLong(m)
}

// mergeShort looks for the best pair in all pairs, again and again.
func (g *merger) mergeShort(m *bpe) []int32 {
	syms := g.syms
	if len(syms) < 2 {
		return syms
	}
	var rankBuf [shortRun]uint32
	var intoBuf [shortRun]int32
	ranks, into := rankBuf[:len(syms)-1], intoBuf[:len(syms)-1]
	for i := range ranks {
		ranks[i], into[i] = m.pair(syms[i], syms[i+1])
	}
	for len(ranks) > 0 {
		best, at := uint32(noRank), -1
		for i, r := range ranks {
			if r < best {
				best, at = r, i
			}
		}
		if at < 0 {
			break
		}
		syms[at] = into[at]
		copy(syms[at+1:], syms[at+2:])
		syms = syms[:len(syms)-1]
		copy(ranks[at:], ranks[at+1:])
		copy(into[at:], into[at+1:])
		ranks, into = ranks[:len(ranks)-1], into[:len(into)-1]
		if at > 0 {
			ranks[at-1], into[at-1] = m.pair(syms[at-1], syms[at])
		}
		if at < len(ranks) {
			ranks[at], into[at] = m.pair(syms[at], syms[at+1])
		}
	}
	return syms
}

// mergeLong keeps the pairs in a heap by rank, then place, and the symbols in a linked list: n log n for any text.
// An entry of the heap counts only while the pair at its place still has its rank.
func (g *merger) mergeLong(m *bpe) []int32 {
	n := len(g.syms)
	g.ranks, g.next, g.prev, g.into = grow(g.ranks, n), grow(g.next, n), grow(g.prev, n), grow(g.into, n)
	syms, ranks, next, prev, into := g.syms, g.ranks, g.next, g.prev, g.into
	heap := g.heap[:0]
	for i := range syms {
		next[i], prev[i] = int32(i+1), int32(i-1)
		ranks[i] = noRank
		if i+1 < n {
			if ranks[i], into[i] = m.pair(syms[i], syms[i+1]); ranks[i] != noRank {
				heap = append(heap, uint64(ranks[i])<<32|uint64(i))
			}
		}
	}
	next[n-1] = -1
	for i := len(heap)/4 + 1; i >= 0; i-- {
		siftDown(heap, i)
	}
	refresh := func(i int32) {
		ranks[i] = noRank
		if j := next[i]; j >= 0 {
			if ranks[i], into[i] = m.pair(syms[i], syms[j]); ranks[i] != noRank {
				heap = append(heap, uint64(ranks[i])<<32|uint64(i))
				siftUp(heap, len(heap)-1)
			}
		}
	}
	for len(heap) > 0 {
		top := heap[0]
		last := len(heap) - 1
		heap[0] = heap[last]
		heap = heap[:last]
		siftDown(heap, 0)
		i := int32(uint32(top))
		if ranks[i] == noRank || ranks[i] != uint32(top>>32) {
			continue
		}
		j := next[i]
		syms[i] = into[i]
		ranks[j] = noRank
		next[i] = next[j]
		if next[i] >= 0 {
			prev[next[i]] = i
		}
		if prev[i] >= 0 {
			refresh(prev[i])
		}
		refresh(i)
	}
	g.heap = heap[:0]
	out := 0
	for i := int32(0); i >= 0; i = next[i] {
		syms[out] = syms[i]
		out++
	}
	return syms[:out]
}

func grow[T any](s []T, n int) []T {
	if cap(s) < n {
		return make([]T, n+n/4)
	}
	return s[:n]
}

// A four-way heap, smallest first.

func siftUp(h []uint64, i int) {
	v := h[i]
	for i > 0 {
		up := (i - 1) / 4
		if h[up] <= v {
			break
		}
		h[i] = h[up]
		i = up
	}
	h[i] = v
}

func siftDown(h []uint64, i int) {
	if i >= len(h) {
		return
	}
	v := h[i]
	for {
		first := 4*i + 1
		if first >= len(h) {
			break
		}
		least := first
		for c := first + 1; c < min(first+4, len(h)); c++ {
			if h[c] < h[least] {
				least = c
			}
		}
		if h[least] >= v {
			break
		}
		h[i] = h[least]
		i = least
	}
	h[i] = v
}
