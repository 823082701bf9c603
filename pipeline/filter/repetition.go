package filter

import (
	"slices"
	"sync"

	"ravn/pipeline"
)

// repetition holds shares of characters: of all occurrences of the most frequent run of 2, 3 and 4 tokens (times is how
// often it occurs), and of runs of 5 to 10 tokens that occurred before.
type repetition struct {
	top   [5]int // characters, by n
	times [5]int // by n
	dup   [11]int
}

// base is the multiplier of the hash over tokens, modulo 2^64.
const base = 0x9ddfea08eb382d69

// repeats finds repeated runs of tokens. A run of n+1 tokens that occurs twice begins with a run of n that does, so each
// length looks only where the one below found something: ordinary text costs two looks a token for all nine lengths.
type repeats struct {
	slots []uint64 // tag above, seen and count below
	pos   []uint32 // where a run begins that may be repeated
	hash  []uint64 // of that run
	slot  []uint32 // that it fell into
	sum   []uint32 // characters of the tokens before one
}

var repeatsPool = sync.Pool{New: func() any { return new(repeats) }}

const seenBit = 1 << 31

// measure counts the repeated runs of t.
func measure(t *pipeline.Tokens) repetition {
	r := repeatsPool.Get().(*repeats)
	defer repeatsPool.Put(r)
	var out repetition
	n := len(t.Hash)
	r.sum = slices.Grow(r.sum[:0], n+1)[:n+1]
	r.sum[0] = 0
	for i, c := range t.Runes {
		r.sum[i+1] = r.sum[i] + uint32(c)
	}
	r.pos, r.hash = slices.Grow(r.pos[:0], n)[:0], slices.Grow(r.hash[:0], n)[:0]
	for i := range max(0, n-1) {
		r.pos = append(r.pos, uint32(i))
		r.hash = append(r.hash, t.Hash[i]*base+t.Hash[i+1])
	}
	for k := 2; k <= 10; k++ {
		r.count()
		switch {
		case k <= 4:
			out.top[k], out.times[k] = r.top(k, n)
		default:
			out.dup[k] = r.repeated(k)
		}
		r.narrow(t.Hash, k)
	}
	if cap(r.sum) > 1<<22 { // a giant document's; not kept
		*r = repeats{}
	}
	return out
}

// count puts the runs into slots.
func (r *repeats) count() {
	bits := uint(4)
	for 1<<bits < 2*len(r.hash) {
		bits++
	}
	r.slots = slices.Grow(r.slots[:0], 1<<bits)[:1<<bits]
	clear(r.slots)
	r.slot = slices.Grow(r.slot[:0], len(r.hash))[:len(r.hash)]
	mask, shift := uint64(1)<<bits-1, 64-bits
	for j, h := range r.hash {
		h ^= h >> 29
		h *= 0xbf58476d1ce4e5b9
		tag := h & 0xffffffff
		for i := h >> shift; ; i = (i + 1) & mask {
			s := r.slots[i]
			if s == 0 || s>>32 == tag {
				r.slots[i] = tag<<32 | s&0xffffffff + 1
				r.slot[j] = uint32(i)
				break
			}
		}
	}
}

// chars are those of the k tokens at p.
func (r *repeats) chars(p, k int) int { return int(r.sum[p+k] - r.sum[p]) }

// top is the most frequent run of k tokens, the first of equal ones: its characters, with spaces between, times its number.
func (r *repeats) top(k, n int) (chars, times int) {
	if n < k {
		return 0, 0
	}
	at := 0 // a run that occurs once, when none occurs twice
	times = 1
	for j, s := range r.slot {
		if c := int(r.slots[s] & 0xffffffff); c > times {
			times, at = c, int(r.pos[j])
		}
	}
	return (r.chars(at, k) + k - 1) * times, times
}

// repeated adds up the characters of runs of k that stood before, from left to right, none counted twice.
func (r *repeats) repeated(k int) int {
	sum, next := 0, 0
	for j, s := range r.slot {
		p := int(r.pos[j])
		switch {
		case p < next || r.slots[s]&(seenBit-1) < 2:
		case r.slots[s]&seenBit != 0:
			sum += r.chars(p, k)
			next = p + k
		default:
			r.slots[s] |= seenBit
		}
	}
	return sum
}

// narrow keeps the runs of k that occur more than once, with one token more.
func (r *repeats) narrow(tokens []uint64, k int) {
	m := 0
	for j, s := range r.slot {
		if p := r.pos[j]; r.slots[s]&(seenBit-1) >= 2 && int(p)+k < len(tokens) {
			r.pos[m], r.hash[m] = p, r.hash[j]*base+tokens[int(p)+k]
			m++
		}
	}
	r.pos, r.hash = r.pos[:m], r.hash[:m]
}
