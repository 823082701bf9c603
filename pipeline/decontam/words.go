package decontam

import (
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// classes says what a character below U+0180 is: 0 ends a word, anything else is the lower-case letter or digit itself.
var classes = func() (t [0x180]uint16) {
	for r := range rune(len(t)) {
		if isWord(r) {
			t[r] = uint16(unicode.ToLower(r))
		}
	}
	return t
}()

func isWord(r rune) bool { return unicode.IsLetter(r) || unicode.IsNumber(r) || unicode.IsMark(r) }

const (
	offset64 = 0xcbf29ce484222325
	prime64  = 0x100000001b3
)

// hashWords appends a 64-bit hash of every word of text to dst. A word is a run of letters, digits and marks; case,
// punctuation and underscores do not count, text is taken in NFC.
func hashWords(dst []uint64, text string) []uint64 {
	if needsNFC(text) {
		text = norm.NFC.String(text)
	}
	h, in := uint64(offset64), false
	for i := 0; i < len(text); {
		var c uint64
		if b := text[i]; b < utf8.RuneSelf {
			c = uint64(classes[b])
			i++
		} else if b == 0xC3 && i+1 < len(text) { // À to ÿ
			c = uint64(classes[0xC0|text[i+1]&0x3F])
			i += 2
		} else {
			r, size := utf8.DecodeRuneInString(text[i:])
			i += size
			if int(r) < len(classes) {
				c = uint64(classes[r])
			} else if isWord(r) {
				c = uint64(unicode.ToLower(r))
			}
		}
		if c != 0 {
			h = (h ^ c) * prime64
			in = true
			continue
		}
		if in {
			dst = append(dst, mix(h))
			h, in = offset64, false
		}
	}
	if in {
		dst = append(dst, mix(h))
	}
	return dst
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
