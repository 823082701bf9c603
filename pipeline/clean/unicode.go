// Package clean mends and masks texts: characters that were read in the wrong encoding, and what names a person.
package clean

import (
	"html"
	"regexp"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"

	"ravn/pipeline"
)

// Unicode repairs characters, after the example of ftfy but for the letters and signs that Nordic text is made of, and
// only where what stands there cannot be meant:
//
//   - UTF-8 that was read as Windows-1252 or Latin-1, once or several times: "Ã¦" is æ, "â€œ" a quotation mark;
//   - C1 control characters that are Windows-1252's quotes and dashes;
//   - HTML entities, in texts without a "<";
//   - line ends of other systems, control and invisible formatting characters;
//   - Unicode NFC.
//
// Quotes and ligatures stay as they are.
type Unicode struct{}

// Name is "unicode".
func (Unicode) Name() string { return "unicode" }

// Scores count the characters changed by kind; replacement counts U+FFFD, which nothing can mend.
func (Unicode) Scores() []string {
	return []string{"mojibake", "entities", "controls", "line_breaks", "nfc", "replacement"}
}

// Counted are all of them but the last.
func (u Unicode) Counted() []string { return u.Scores()[:5] }

// Examine repairs the text.
func (Unicode) Examine(x *pipeline.Doc) pipeline.Verdict {
	text, n := Repair(x.Text)
	x.Text = text
	for i, v := range []int{n.Mojibake, n.Entities, n.Controls, n.LineBreaks, n.NFC, n.Replacement} {
		x.Score(i, float64(v))
	}
	return pipeline.Keep
}

// Repairs counts what Repair changed.
type Repairs struct {
	Mojibake, Entities, Controls, LineBreaks int // characters
	NFC                                      int // 1 when the text was not in NFC
	Replacement                              int // U+FFFD in the text as it is now
}

// suspicious says of a byte: 1 look closer when no other condition is met, 2 may begin mojibake (as the second byte of
// the UTF-8 of Â, Ã, Ä, Å, â, ï, ð), 3 an entity, 4 not of Latin-1.
var suspicious = func() (t [256]uint8) {
	for c := range 0x20 {
		if c != '\t' && c != '\n' {
			t[c] = 1
		}
	}
	t[0x7F], t['&'] = 1, 3
	t[0xC2], t[0xC3] = 5, 2
	for c := 0xC4; c < 256; c++ {
		t[c] = 4
	}
	return t
}()

// clean says whether there is nothing to repair, quickly: most texts need no more.
func clean(s string) bool {
	for i := 0; i < len(s); i++ {
		switch suspicious[s[i]] {
		case 0:
		case 1:
			return false
		case 2: // À to ÿ
			if i+2 >= len(s) || s[i+2] < utf8.RuneSelf {
				continue
			}
			switch s[i+1] {
			case 0x82, 0x83, 0x84, 0x85, 0xA2, 0xAF, 0xB0:
				return false
			}
		case 3:
			if i+2 < len(s) && (s[i+1] == '#' || s[i+1] >= 'A' && s[i+1] <= 'Z' || s[i+1] >= 'a' && s[i+1] <= 'z') {
				return false
			}
		case 4:
			if s[i] == 0xE2 && i+2 < len(s) && s[i+1] == 0x80 && (s[i+2] >= 0x90 && s[i+2] <= 0xA7 || s[i+2] == 0xB0) {
				i += 2 // dashes, quotes, the ellipsis
				continue
			}
			return false
		case 5: // U+0080 to U+00BF
			if i+1 < len(s) && s[i+1] < 0xA0 {
				return false
			}
		}
	}
	return true
}

// Repair returns the repaired text, the same string when nothing was wrong.
func Repair(s string) (string, Repairs) {
	var n Repairs
	if clean(s) {
		return s, n
	}
	if strings.IndexByte(s, '&') >= 0 && strings.IndexByte(s, '<') < 0 {
		s = entity.ReplaceAllStringFunc(s, func(e string) string {
			r := html.UnescapeString(e)
			if r != e {
				n.Entities++
			}
			return r
		})
	}
	for range 4 {
		t, k := unmix(s)
		if k == 0 {
			break
		}
		n.Mojibake += k
		s = t
	}
	s = n.controls(s)
	if !norm.NFC.IsNormalString(s) {
		s = norm.NFC.String(s)
		n.NFC = 1
	}
	n.Replacement = strings.Count(s, "\uFFFD")
	return s, n
}

var entity = regexp.MustCompile(`&(#[0-9]{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,30});`)

// fromByte are the characters that Windows-1252 has for bytes 0x80 to 0x9F; 0 where it has none.
var fromByte = [32]rune{
	'€', 0, '‚', 'ƒ', '„', '…', '†', '‡', 'ˆ', '‰', 'Š', '‹', 'Œ', 0, 'Ž', 0,
	0, '‘', '’', '“', '”', '•', '–', '—', '˜', '™', 'š', '›', 'œ', 0, 'ž', 'Ÿ',
}

var toByte = func() map[rune]byte {
	m := map[rune]byte{}
	for i, r := range fromByte {
		if r != 0 {
			m[r] = byte(0x80 + i)
		}
	}
	return m
}()

// byteOf is the byte that was read as r, in Windows-1252 or Latin-1; 0 when it was none above 0x7F.
func byteOf(r rune) byte {
	if r >= 0x80 && r < 0x100 {
		return byte(r)
	}
	return toByte[r]
}

// unmix turns sequences of characters that are the bytes of one UTF-8 character into that character. It returns how many
// it made.
func unmix(s string) (string, int) {
	type found struct{ from, to int }
	var sure, maybe []found
	var made []rune
	all := map[int]rune{}
	for i := 0; i < len(s); {
		r, size := utf8.DecodeRuneInString(s[i:])
		lead := byte(0)
		if r >= 0xC2 && r <= 0xF4 {
			lead = byte(r)
		}
		if lead == 0 {
			i += size
			continue
		}
		want := 2
		if lead >= 0xE0 {
			want = 3
		}
		if lead >= 0xF0 {
			want = 4
		}
		var b [4]byte
		b[0] = lead
		k, end := 1, i+size
		for k < want && end < len(s) {
			r, n := utf8.DecodeRuneInString(s[end:])
			c := byteOf(r)
			if c < 0x80 || c > 0xBF {
				break
			}
			b[k] = c
			k++
			end += n
		}
		v, n := utf8.DecodeRune(b[:k])
		if k < want || v == utf8.RuneError && n == 1 {
			i += size
			continue
		}
		switch {
		case lead == 0xC3, lead == 0xC2 && v >= 0xA0, lead == 0xE2 && (b[1] == 0x80 || b[1] == 0x82 || b[1] == 0x84), lead == 0xEF, lead == 0xF0:
			sure = append(sure, found{i, end})
			all[i] = v
		case lead != 0xC2: // "SÅ»" may be meant, unless the text is full of the other kind
			maybe = append(maybe, found{i, end})
			all[i] = v
		}
		i += size
		if _, ok := all[i-size]; ok {
			i = end
		}
	}
	if len(sure) == 0 {
		return s, 0
	}
	use := sure
	if len(sure) >= 3 {
		use = append(use, maybe...)
	}
	take := map[int]int{}
	for _, f := range use {
		take[f.from] = f.to
	}
	var b strings.Builder
	b.Grow(len(s))
	for i := 0; i < len(s); {
		if end, ok := take[i]; ok {
			b.WriteRune(all[i])
			made = append(made, all[i])
			i = end
			continue
		}
		_, size := utf8.DecodeRuneInString(s[i:])
		b.WriteString(s[i : i+size])
		i += size
	}
	return b.String(), len(made)
}

// controls removes or replaces characters that are no text.
func (n *Repairs) controls(s string) string {
	var b strings.Builder
	start := 0
	replace := func(from, to int, with string) {
		if b.Cap() == 0 {
			b.Grow(len(s))
		}
		b.WriteString(s[start:from])
		b.WriteString(with)
		start = to
	}
	for i, r := range s {
		size := utf8.RuneLen(r)
		switch {
		case r == '\r':
			n.LineBreaks++
			if i+1 < len(s) && s[i+1] == '\n' {
				replace(i, i+1, "")
			} else {
				replace(i, i+1, "\n")
			}
		case r == 0x2028, r == 0x2029, r == 0x85:
			n.LineBreaks++
			replace(i, i+size, "\n")
		case r >= 0x80 && r < 0xA0 && fromByte[r-0x80] != 0:
			n.Mojibake++
			replace(i, i+size, string(fromByte[r-0x80]))
		case r < 0x20 && r != '\t' && r != '\n', r >= 0x7F && r < 0xA0, r == 0xFEFF, r >= 0x206A && r <= 0x206F, r >= 0xFFF9 && r <= 0xFFFB,
			r == 0x200B, r == 0x2060, r >= 0x202A && r <= 0x202E, r >= 0x2066 && r <= 0x2069:
			n.Controls++
			replace(i, i+size, "")
		}
	}
	if b.Cap() == 0 && start == 0 {
		return s
	}
	b.WriteString(s[start:])
	return b.String()
}
