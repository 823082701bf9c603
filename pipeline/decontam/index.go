package decontam

// base is the multiplier of the rolling hash: a window of k word hashes w is the sum of w[i]·base^(k-1-i), modulo 2^64.
const base = 0x9ddfea08eb382d69

// windowHash is that sum for one window.
func windowHash(words []uint64) (h uint64) {
	for _, w := range words {
		h = h*base + w
	}
	return h
}

// power is base^k.
func power(k int) uint64 {
	p := uint64(1)
	for range k {
		p *= base
	}
	return p
}

// index finds the entries of a window hash: a bitmap that is asked first and fits the cache, then an open table of
// chains.
type index struct {
	bits  []uint64
	shift uint // of a hash to a bit number
	slots []slot
	next  []int32 // of an entry, the next with the same hash, or -1
}

type slot struct {
	hash uint64
	head int32 // entry, or -1
}

// newIndex makes the index of hashes; entry i has hash hashes[i].
func newIndex(hashes []uint64) *index {
	n := uint(4)
	for 1<<n < 2*len(hashes) {
		n++
	}
	x := &index{bits: make([]uint64, max(1, 1<<(n+3)/64)), shift: 64 - (n + 3), slots: make([]slot, 1<<n), next: make([]int32, len(hashes))}
	for i := range x.slots {
		x.slots[i].head = -1
	}
	for i := len(hashes) - 1; i >= 0; i-- { // backwards, so that chains run forwards
		h := hashes[i]
		bit := x.bit(h)
		x.bits[bit/64] |= 1 << (bit % 64)
		s := x.find(h)
		x.next[i] = s.head
		s.hash, s.head = h, int32(i)
	}
	return x
}

func (x *index) bit(h uint64) uint64 { return (h * 0x9e3779b97f4a7c15) >> x.shift }

// may says whether h may be in the index.
func (x *index) may(h uint64) bool {
	bit := x.bit(h)
	return x.bits[bit/64]&(1<<(bit%64)) != 0
}

// find returns the slot of h, or the free one where it belongs.
func (x *index) find(h uint64) *slot {
	mask := uint64(len(x.slots) - 1)
	for i := (h * 0x9e3779b97f4a7c15) >> 20 & mask; ; i = (i + 1) & mask {
		if s := &x.slots[i]; s.head < 0 || s.hash == h {
			return s
		}
	}
}
