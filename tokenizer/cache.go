package tokenizer

import (
	"encoding/binary"
	"math/bits"
)

// cache remembers the ids of words, for one encoder: no locks. An entry is one cache line, a set is two entries;
// in a full set the newer entry takes the place of the older. Keys are compared in full.
type cache struct {
	entries []entry
	mask    uint64
	puts    int
}

const (
	maxKey     = 24      // bytes of the longest word that is kept
	maxIDs     = 9       // ids of the longest encoding that is kept
	firstCache = 1 << 10 // entries at the start
	lastCache  = 1 << 16 // and at most: 4 MiB for each encoder
)

// entry is a word and its ids: 64 bytes. size 0 is free.
type entry struct {
	a, b, c   uint64
	ids       [maxIDs]int32
	size, num uint8
}

func (x *entry) is(k *key) bool { return x.a == k.a && x.b == k.b && x.c == k.c && x.size == k.size }

// key is a word of up to 24 bytes, zeros behind it, and its length.
type key struct {
	a, b, c uint64
	size    uint8
}

// loadKey reads the first n bytes of b, which has at least maxKey bytes.
func loadKey(b []byte, n int) key {
	b = b[:maxKey]
	a := binary.LittleEndian.Uint64(b)
	if n <= 8 {
		return key{a: a & keyMask[n], size: uint8(n)}
	}
	m := binary.LittleEndian.Uint64(b[8:])
	if n <= 16 {
		return key{a: a, b: m & keyMask[n-8], size: uint8(n)}
	}
	return key{a: a, b: m, c: binary.LittleEndian.Uint64(b[16:]) & keyMask[n-16], size: uint8(n)}
}

func (k *key) hash() uint64 {
	hi, lo := bits.Mul64(k.a^0x9E3779B97F4A7C15, k.b^0xD6E8FEB86659FD93)
	hi, lo = bits.Mul64(hi^lo^k.c, uint64(k.size)^0xA0761D6478BD642F)
	return hi ^ lo
}

func newCache() cache { return cache{entries: make([]entry, firstCache), mask: firstCache - 1} }

// find returns the entry of a word, or nil.
func (c *cache) find(hash uint64, k *key) *entry {
	at := hash & c.mask &^ 1
	if x := &c.entries[at]; x.is(k) {
		return x
	}
	if x := &c.entries[at+1]; x.is(k) {
		return x
	}
	return nil
}

// put keeps the ids of a word, if they fit.
func (c *cache) put(hash uint64, k *key, ids []int32) {
	if len(ids) > maxIDs {
		return
	}
	c.puts++
	if c.puts > len(c.entries)/2 && len(c.entries) < lastCache {
		c.grow()
	}
	at := hash & c.mask &^ 1
	x := &c.entries[at]
	if x.size != 0 {
		c.entries[at+1] = *x
	}
	x.a, x.b, x.c, x.size, x.num = k.a, k.b, k.c, k.size, uint8(len(ids))
	copy(x.ids[:], ids)
}

// grow makes the table four times as large.
func (c *cache) grow() {
	old := c.entries
	c.entries = make([]entry, 4*len(old))
	c.mask = uint64(len(c.entries) - 1)
	for i := range old {
		x := &old[i]
		if x.size == 0 {
			continue
		}
		k := key{x.a, x.b, x.c, x.size}
		at := k.hash() & c.mask &^ 1
		if c.entries[at].size != 0 {
			at++
		}
		c.entries[at] = *x
	}
}
