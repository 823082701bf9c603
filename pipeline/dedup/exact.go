package dedup

import (
	"crypto/sha256"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// Fingerprint is a 128-bit hash of the normalised text.
func Fingerprint(text string) [16]byte {
	h := sha256.New()
	var buf [1 << 14]byte
	n := 0
	blank, any := false, false // a space is due; something was written
	if needsNFC(text) {
		text = norm.NFC.String(text)
	}
	for i := 0; i < len(text); {
		if n > len(buf)-2*utf8.UTFMax {
			h.Write(buf[:n])
			n = 0
		}
		c := text[i]
		if c < utf8.RuneSelf {
			i++
			l := lower[c]
			if l == 0 {
				blank = true
				continue
			}
			if blank && any {
				buf[n] = ' '
				n++
			}
			blank, any = false, true
			buf[n] = l
			n++
			continue
		}
		r, size := rune(0), 2
		if c == 0xC3 && i+1 < len(text) { // À to ÿ, most of what is not ASCII in Danish
			r = 0xC0 | rune(text[i+1]&0x3F)
		} else if r, size = utf8.DecodeRuneInString(text[i:]); unicode.IsSpace(r) {
			i += size
			blank = true
			continue
		}
		i += size
		if blank && any {
			buf[n] = ' '
			n++
		}
		blank, any = false, true
		n += utf8.EncodeRune(buf[n:], unicode.ToLower(r))
	}
	h.Write(buf[:n])
	return [16]byte(h.Sum(nil)[:16])
}

// lower maps ASCII to lower case and white space to 0. NUL is mapped to 1, a character that texts do not hold either.
var lower = func() (t [utf8.RuneSelf]byte) {
	for c := range t {
		t[c] = byte(unicode.ToLower(rune(c)))
		if unicode.IsSpace(rune(c)) {
			t[c] = 0
		}
	}
	t[0] = 1
	return t
}()

// needsNFC says whether text may not be in NFC. No character below U+0300 needs to be looked at, and of U+2000 to U+203F,
// dashes and quotes, only two spaces.
func needsNFC(text string) bool {
	for i := range len(text) {
		if text[i] >= 0xCC && !(text[i] == 0xE2 && i+1 < len(text) && text[i+1] == 0x80) {
			return !norm.NFC.IsNormalString(text)
		}
	}
	return false
}
