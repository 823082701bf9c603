package tokenizer

import (
	"encoding/binary"
	"math/bits"
	"slices"
	"strings"
	"unicode/utf8"
)

// Encode appends the ids of text to dst, without BOS and EOS.
//
// Bytes that are not UTF-8 count as U+FFFD each. In a SentencePiece model a U+2581 in the text cannot be told from a
// space, as in the reference. Where a tokenizer.json has added tokens, their strings in the text become their ids, as
// in Hugging Face's tokenizers.
func (t *Tokenizer) Encode(dst []int32, text string) []int32 { return t.encode(dst, text, t.added) }

// EncodeText is Encode for text that is data, such as a document to train on: what spells a special token is text like
// any other, so that a page about "</s>" does not end there. A SentencePiece model knows no other way.
func (t *Tokenizer) EncodeText(dst []int32, text string) []int32 {
	return t.encode(dst, text, t.ordinary)
}

func (t *Tokenizer) encode(dst []int32, text string, added *addedTokens) []int32 {
	if text == "" {
		return dst
	}
	if t.plain {
		return t.encodeReference(dst, text)
	}
	e := t.encoders.Get().(*encoder)
	start := len(dst)
	if added == nil {
		dst = e.section(dst, text, true)
	} else {
		dst = e.sections(dst, text, added)
	}
	if t.bpe.fuse {
		dst = fuseUnknown(dst, start, t.bpe.unknown)
	}
	e.rest()
	t.encoders.Put(e)
	return dst
}

// fuseUnknown makes one of neighbouring unknown ids.
func fuseUnknown(dst []int32, start int, unknown int32) []int32 {
	out := start
	for i := start; i < len(dst); i++ {
		if dst[i] == unknown && out > start && dst[out-1] == unknown {
			continue
		}
		dst[out] = dst[i]
		out++
	}
	return dst[:out]
}

// encoder is the working space of one Encode call; a pool keeps it, with the words it knows, for the next.
type encoder struct {
	t     *Tokenizer
	buf   []byte // normalised text, with padding behind it so that words can be loaded eight bytes at a time
	merge merger
	cache cache
	taken *matcher // what this call takes whole, in the inner form
}

const (
	padding    = 32
	blockBytes = 64 << 10 // text is normalised in blocks of about this size
	keepBytes  = 4 << 20  // larger buffers are given back
)

func newEncoder(t *Tokenizer) *encoder { return &encoder{t: t, cache: newCache(), taken: t.taken} }

// rest drops the space that an unusual text needed.
func (e *encoder) rest() {
	if cap(e.buf) > keepBytes {
		e.buf = nil
	}
	if cap(e.merge.syms) > keepBytes/16 {
		e.merge = merger{}
	}
}

// section encodes a text that holds no added tokens. first says that it is the start of the whole text.
func (e *encoder) section(dst []int32, text string, first bool) []int32 {
	t := e.t
	if t.split != nil {
		return e.byteSection(dst, text, first)
	}
	text = t.norm.compose(text)
	prefix := t.wantsPrefix(text, first)
	if e.taken != nil || !t.norm.plain() {
		if t.norm.plain() {
			e.load(text, prefix)
		} else {
			e.buf = t.norm.append(e.buf[:0], text)
		}
		return e.whole(dst, e.pad(), e.taken)
	}
	for text != "" {
		cut := len(text)
		if t.bpe.cutSpace && cut > blockBytes {
			cut = cutBlock(text)
		}
		e.load(text[:cut], prefix)
		dst = e.words(dst, e.pad())
		text, prefix = text[cut:], false
	}
	return dst
}

// wantsPrefix decides whether a section gets a space in front.
func (t *Tokenizer) wantsPrefix(text string, first bool) bool {
	switch t.prefix {
	case prefixAlways:
		return true
	case prefixFirst:
		if !first {
			return false
		}
		fallthrough
	case prefixMissing:
		return text[0] != ' ' && !(t.split == nil && strings.HasPrefix(text, spaceMark))
	}
	return false
}

// cutBlock returns a length near blockBytes after which a run of spaces begins, or the length of text.
func cutBlock(text string) int {
	for size := blockBytes; size < len(text); size *= 2 {
		for at := size; at > size/2; at-- {
			// 0x81 ends U+2581, which counts as a space; other characters that end in it lose nothing by waiting.
			if text[at] == ' ' && text[at-1] != ' ' && text[at-1] != 0x81 {
				return at
			}
		}
	}
	return len(text)
}

// load puts the normal form of a block into the buffer: the common case of normalizer.append.
func (e *encoder) load(text string, prefix bool) {
	e.buf = e.buf[:0]
	if prefix {
		e.buf = append(e.buf, ' ')
	}
	if !utf8.ValidString(text) {
		for _, r := range text {
			if r == 0x2581 {
				r = ' '
			}
			e.buf = utf8.AppendRune(e.buf, r)
		}
		return
	}
	for {
		at := strings.Index(text, spaceMark)
		if at < 0 {
			e.buf = append(e.buf, text...)
			return
		}
		e.buf = append(append(e.buf, text[:at]...), ' ')
		text = text[at+len(spaceMark):]
	}
}

// pad returns the buffer, with padding zeros behind it.
func (e *encoder) pad() []byte {
	n := len(e.buf)
	e.buf = slices.Grow(e.buf, padding)
	clear(e.buf[n : n+padding])
	return e.buf[: n : n+padding]
}

// whole encodes b, in which members of m are taken whole.
func (e *encoder) whole(dst []int32, b []byte, m *matcher) []int32 {
	if m == nil {
		return e.words(dst, b)
	}
	text := string(b)
	for at := 0; at < len(text); {
		start, end, id := m.find(text[at:])
		dst = e.words(dst, b[at:at+start])
		if id < 0 {
			break
		}
		dst = append(dst, id)
		at += end
	}
	return dst
}

const (
	ones  = 0x0101010101010101
	highs = 0x8080808080808080
)

// zeroBytes sets the high bit of zero bytes of x. The lowest bit set is right; higher ones may be false.
func zeroBytes(x uint64) uint64 { return (x - ones) &^ x & highs }

// keyMask[n] keeps the first n bytes of a word of 8.
var keyMask = [9]uint64{0, 1<<8 - 1, 1<<16 - 1, 1<<24 - 1, 1<<32 - 1, 1<<40 - 1, 1<<48 - 1, 1<<56 - 1, 1<<64 - 1}

// words cuts b into words, a run of spaces with what follows it, and encodes each. b has padding behind it.
func (e *encoder) words(dst []int32, b []byte) []int32 {
	m := &e.t.bpe
	if !m.cutSpace {
		return e.chunk(dst, b)
	}
	full := b[:len(b)+padding]
	newline := uint64('\n') * ones
	if !m.cutNewline {
		newline = ' ' * ones
	}
	for at := 0; at < len(b); {
		c := b[at]
		if c == '\n' && m.cutNewline {
			dst = e.single(dst, '\n')
			at++
			continue
		}
		if c == ' ' && full[at+1] == ' ' && !m.singleSpace {
			end := endOfSpaces(b, at)
			end += wordBytes(full, end, newline)
			end = min(end, len(b))
			dst = e.word(dst, full, at, end-at)
			at = end
			continue
		}
		n := min(wordBytes(full, at, newline), len(b)-at)
		dst = e.word(dst, full, at, n)
		at += n
	}
	return dst
}

func endOfSpaces(b []byte, at int) int {
	for at < len(b) && b[at] == ' ' {
		at++
	}
	return at - 1
}

// wordBytes counts the bytes up to the next space or newline after the one at at. It may pass the end of the text by
// at most the padding.
func wordBytes(full []byte, at int, newline uint64) int {
	if at+8 > len(full) {
		return len(full) - at
	}
	k := binary.LittleEndian.Uint64(full[at:])
	hit := zeroBytes(k^' '*ones|0xff) | zeroBytes(k^newline|0xff)
	for n := 0; ; {
		if hit != 0 {
			return n + bits.TrailingZeros64(hit)/8
		}
		n += 8
		if at+n+8 > len(full) {
			return len(full) - at
		}
		k = binary.LittleEndian.Uint64(full[at+n:])
		hit = zeroBytes(k^' '*ones) | zeroBytes(k^newline)
	}
}

// word encodes full[at:at+n], by the cache if it is short enough.
func (e *encoder) word(dst []int32, full []byte, at, n int) []int32 {
	if n > maxKey {
		return e.chunk(dst, full[at:at+n])
	}
	key := loadKey(full[at:], n)
	hash := key.hash()
	if x := e.cache.find(hash, &key); x != nil {
		if cap(dst)-len(dst) < maxIDs {
			dst = slices.Grow(dst, max(maxIDs, cap(dst)/4))
		}
		*(*[maxIDs]int32)(dst[len(dst) : len(dst)+maxIDs]) = x.ids
		return dst[:len(dst)+int(x.num)]
	}
	start := len(dst)
	dst = e.chunk(dst, full[at:at+n])
	e.cache.put(hash, &key, dst[start:])
	return dst
}

// chunk encodes b without the cache: it cuts b where no merge reaches across and merges each part.
func (e *encoder) chunk(dst []int32, b []byte) []int32 {
	m := &e.t.bpe
	if m.byteLevel {
		return e.byteWord(dst, b)
	}
	e.merge.syms = e.merge.syms[:0]
	last := rune(-1)
	for i := 0; i < len(b); {
		r, n := rune(b[i]), 1
		if r >= utf8.RuneSelf {
			r, n = utf8.DecodeRune(b[i:])
		}
		i += n
		if last >= 0 && (!m.mayJoin(last, r) || m.singleSpace && r == ' ') {
			dst = e.flush(dst)
		}
		last = r
		if sym := m.chars.get(r); sym >= 0 {
			e.merge.syms = append(e.merge.syms, sym)
			continue
		}
		e.merge.syms = m.appendFallback(e.merge.syms, r)
	}
	return e.flush(dst)
}

// flush merges and emits the symbols that have been gathered.
func (e *encoder) flush(dst []int32) []int32 {
	m := &e.t.bpe
	for _, sym := range e.merge.merge(m) {
		if sym < m.size {
			dst = append(dst, sym)
			continue
		}
		dst = m.appendFallback(dst, m.virtual[sym-m.size])
	}
	e.merge.syms = e.merge.syms[:0]
	return dst
}

// single encodes a character that never merges.
func (e *encoder) single(dst []int32, r rune) []int32 {
	m := &e.t.bpe
	if sym := m.chars.get(r); sym >= 0 && sym < m.size {
		return append(dst, sym)
	}
	return m.appendFallback(dst, r)
}

// appendFallback appends the ids of a character that has no piece: its bytes, or the unknown id.
func (m *bpe) appendFallback(dst []int32, r rune) []int32 {
	if !m.fallback {
		return append(dst, m.unknown)
	}
	var b [utf8.UTFMax]byte
	for _, c := range b[:utf8.EncodeRune(b[:], r)] {
		dst = append(dst, m.bytes[c])
	}
	return dst
}
