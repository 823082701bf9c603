package pipeline

import (
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// Kinds of tokens.
const (
	Word   = 1 << iota // a run of letters, digits and marks
	Letter             // a word with a letter
	Digits             // a word of digits alone
)

// Tokens are the words and symbols of a text, in order. A word is a run of letters, digits and marks; a symbol is anything
// else but white space, a run of the same symbol being one. Text is taken in Unicode NFC, the hash in lower case with
// accents kept.
type Tokens struct {
	Hash  []uint64
	Runes []uint16 // length in characters, 65535 at most
	Kind  []uint8
	Words []uint64 // the hashes of words alone
}

// Bits of classes above the lower-case character.
const (
	classWord   = 1 << 16
	classLetter = 1 << 17
	classDigit  = 1 << 18
	classBlank  = 1 << 19
)

// classes describe the characters below U+0180: the lower-case letter or digit and the bits above.
var classes = func() (t [0x180]uint32) {
	for r := range rune(len(t)) {
		t[r] = classOf(r)
	}
	return t
}()

func classOf(r rune) uint32 {
	c := uint32(unicode.ToLower(r)) & 0xFFFF
	switch {
	case unicode.IsLetter(r):
		return c | classWord | classLetter
	case unicode.IsDigit(r):
		return c | classWord | classDigit
	case unicode.IsNumber(r), unicode.IsMark(r):
		return c | classWord
	case unicode.IsSpace(r):
		return classBlank
	}
	return c
}

const (
	offset64 = 0xcbf29ce484222325
	prime64  = 0x100000001b3
)

// decode returns the class of the character at i and its size in bytes.
func decode(text string, i int) (uint32, int) {
	b := text[i]
	if b < utf8.RuneSelf {
		return classes[b], 1
	}
	if b == 0xC3 && i+1 < len(text) { // À to ÿ, most of what is not ASCII in Danish
		return classes[0xC0|text[i+1]&0x3F], 2
	}
	r, size := utf8.DecodeRuneInString(text[i:])
	if int(r) < len(classes) {
		return classes[r], size
	}
	c := classOf(r)
	if r > 0xFFFF { // outside the low bits: told apart all the same
		c ^= uint32(r>>16) << 8 & 0xFFFF
	}
	return c, size
}

// Cut makes t the tokens of text, keeping t's memory.
func (t *Tokens) Cut(text string) {
	if needsNFC(text) {
		text = norm.NFC.String(text)
	}
	hash, runes, kind, words := t.Hash[:0], t.Runes[:0], t.Kind[:0], t.Words[:0]
	for i := 0; i < len(text); {
		c, size := decode(text, i)
		if c&classBlank != 0 {
			i += size
			continue
		}
		n := 1
		if c&classWord == 0 { // a symbol and its repetitions
			from, end := i, i+size
			for end+size <= len(text) && text[end:end+size] == text[from:from+size] {
				end += size
				n++
			}
			i = end
			hash = append(hash, mix((offset64^uint64(c))*prime64^uint64(n)<<32))
			runes = append(runes, uint16(min(n, 0xFFFF)))
			kind = append(kind, 0)
			continue
		}
		h, any, digits := uint64(offset64), uint32(0), uint32(classDigit)
		n = 0
		for c&classWord != 0 {
			h = (h ^ uint64(c&0xFFFF)) * prime64
			any |= c
			digits &= c
			n++
			if i += size; i >= len(text) {
				break
			}
			if b := text[i]; b < utf8.RuneSelf {
				c, size = classes[b], 1
			} else {
				c, size = decode(text, i)
			}
		}
		h = mix(h)
		k := uint8(Word)
		if any&classLetter != 0 {
			k |= Letter
		}
		if digits != 0 {
			k |= Digits
		}
		hash = append(hash, h)
		runes = append(runes, uint16(min(n, 0xFFFF)))
		kind = append(kind, k)
		words = append(words, h)
	}
	t.Hash, t.Runes, t.Kind, t.Words = hash, runes, kind, words
}

// HashWord is the hash that Cut gives a single word.
func HashWord(word string) uint64 {
	var t Tokens
	t.Cut(word)
	if len(t.Words) != 1 || len(t.Hash) != 1 {
		panic("pipeline: not a single word: " + word)
	}
	return t.Words[0]
}

// mix spreads the bits of a word's hash, which FNV leaves uneven for short words.
func mix(h uint64) uint64 {
	h ^= h >> 32
	h *= 0x9e3779b97f4a7c15
	return h ^ h>>29
}

// needsNFC says whether text may not be in NFC. No character below U+0300 needs to be looked at, and of U+2000 to U+203F,
// dashes and quotes, none that is part of a word.
func needsNFC(text string) bool {
	for i := range len(text) {
		if text[i] >= 0xCC && !(text[i] == 0xE2 && i+1 < len(text) && text[i+1] == 0x80) {
			return !norm.NFC.IsNormalString(text)
		}
	}
	return false
}

// blanks says of a byte: 0 no white space, 1 white space, 2 the first byte of a character that may be.
var blanks = [256]uint8{'\t': 1, '\n': 1, '\v': 1, '\f': 1, '\r': 1, ' ': 1, 0xC2: 2, 0xE1: 2, 0xE2: 2, 0xE3: 2}

// Words counts what stands between white space, as strings.Fields cuts it.
func Words(s string) int {
	n, before := 0, uint8(1)
	for i := 0; i < len(s); i++ {
		now := blanks[s[i]]
		if now == 2 {
			r, size := utf8.DecodeRuneInString(s[i:])
			i += size - 1
			now = 0
			if unicode.IsSpace(r) {
				now = 1
			}
		}
		n += int(before &^ now)
		before = now
	}
	return n
}
