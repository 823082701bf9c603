// Package dedup finds documents whose text was there before.
package dedup

import (
	"crypto/sha256"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"

	"ravn/corpus"
	"ravn/pipeline"
)

// ExactDuplicate is the reason of the verdict.
const ExactDuplicate = "exact_duplicate"

// Options of exact deduplication.
type Options struct {
	Verbatim bool // compare texts byte by byte; false (default): compare them normalised
}

// NewExact returns a stage that drops a document whose normalised text an earlier document had. The first one in
// document order is kept, over all sections of a Build.
//
// Normalised is: Unicode NFC, lower case, every run of white space one space, none at the ends. Texts are compared by the
// first 128 bits of the SHA-256 of that. About 100 bytes of memory a kept document.
func NewExact(o Options) pipeline.Stage { return &exact{o: o, first: map[key]string{}} }

type key [16]byte

type exact struct {
	o     Options
	first map[key]string // SECTION/ID of the first document with that text
}

func (e *exact) Name() string { return "dedup" }

// Prepare computes the fingerprint.
func (e *exact) Prepare(d *corpus.Document) (work any, drop bool) {
	if e.o.Verbatim {
		sum := sha256.Sum256([]byte(d.Text))
		return key(sum[:16]), false
	}
	return key(Fingerprint(d.Text)), false
}

func (e *exact) JudgePrepared(d *corpus.Document, work any) pipeline.Verdict {
	k := work.(key)
	if was, dup := e.first[k]; dup {
		return pipeline.Drop(ExactDuplicate, "same text as "+was)
	}
	e.first[k] = d.Section + "/" + d.ID
	return pipeline.Keep
}

func (e *exact) Judge(d *corpus.Document) pipeline.Verdict {
	work, _ := e.Prepare(d)
	return e.JudgePrepared(d, work)
}

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
