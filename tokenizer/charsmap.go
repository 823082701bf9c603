package tokenizer

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"unicode/utf8"
)

// charsmap is the precompiled normalisation of a SentencePiece model (nmt_nfkc and its like):
//
//	u32 n, little-endian        bytes of the trie, a multiple of 4
//	n/4 × u32                   a double-array trie (Darts-clone): byte strings to offsets
//	strings, NUL-terminated     what they become
type charsmap struct {
	units []uint32
	text  []byte
}

// parseCharsmap checks the sizes; the trie itself is checked while it is walked.
func parseCharsmap(data []byte) (*charsmap, error) {
	if len(data) < 4 {
		return nil, fmt.Errorf("precompiled_charsmap has %d bytes, its header alone has 4", len(data))
	}
	n := binary.LittleEndian.Uint32(data)
	data = data[4:]
	if uint64(n) > uint64(len(data)) {
		return nil, fmt.Errorf("precompiled_charsmap: a trie of %d bytes, %d are left", n, len(data))
	}
	if n%4 != 0 || n == 0 {
		return nil, fmt.Errorf("precompiled_charsmap: a trie of %d bytes is not a whole number of units", n)
	}
	c := &charsmap{units: make([]uint32, n/4), text: data[n:]}
	for i := range c.units {
		c.units[i] = binary.LittleEndian.Uint32(data[4*i:])
	}
	if len(c.text) > 0 && c.text[len(c.text)-1] != 0 {
		return nil, errors.New("precompiled_charsmap: the last string does not end")
	}
	if !utf8.Valid(c.text) {
		return nil, errors.New("precompiled_charsmap: the strings are not UTF-8")
	}
	return c, nil
}

// offset is where the children of a unit are, relative to it.
func offset(unit uint32) uint32 { return unit >> 10 << (unit & (1 << 9) >> 6) }

// longest returns what the longest mapped prefix of s becomes, and its length; 0 when nothing is mapped.
func (c *charsmap) longest(s string) (string, int) {
	used, value := 0, uint32(0)
	at := offset(c.units[0])
	for i := 0; i < len(s); i++ {
		at ^= uint32(s[i])
		if at >= uint32(len(c.units)) {
			break
		}
		unit := c.units[at]
		if unit&(1<<31|0xff) != uint32(s[i]) {
			break
		}
		at ^= offset(unit)
		if unit>>8&1 == 1 && at < uint32(len(c.units)) {
			used, value = i+1, c.units[at]&(1<<31-1)
		}
	}
	if used == 0 || value > uint32(len(c.text)) {
		return "", 0
	}
	rest := c.text[value:]
	if end := bytes.IndexByte(rest, 0); end >= 0 {
		rest = rest[:end]
	}
	if !utf8.Valid(rest) {
		return "", 0
	}
	return string(rest), used
}
