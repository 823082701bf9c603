package tokenizer

import (
	"unicode"
	"unicode/utf8"
)

// splitter returns the length of the first word of b, which is not empty.
type splitter func(b []byte) int

// patterns holds the regular expressions that byte-level tokenizers are published with. Each is a function below,
// because the expressions look ahead and Go's do not.
var patterns = map[string]splitter{
	`'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`:                                                   splitGPT2,
	`(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`:          splitLlama3,
	`'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+`:                splitLlama3,
	`(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`:               splitQwen2,
	`(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+|[^\s\S]+`: splitLlama3,
}

// chain splits by each splitter in turn the words of the one before.
func chain(list []splitter) splitter {
	return func(b []byte) int {
		for _, split := range list {
			b = b[:split(b)]
		}
		return len(b)
	}
}

// class is what the patterns tell apart.
type class uint8

const (
	other  class = iota
	letter       // \p{L}
	number       // \p{N}
	space        // \s, but for the next
	line         // \r and \n
)

var asciiClass = func() (c [utf8.RuneSelf]class) {
	for r := range rune(utf8.RuneSelf) {
		c[r] = classOf(r)
	}
	return
}()

func classOf(r rune) class {
	switch {
	case r == '\r' || r == '\n':
		return line
	case unicode.IsSpace(r):
		return space
	case unicode.IsLetter(r):
		return letter
	case unicode.In(r, unicode.N):
		return number
	}
	return other
}

// classAt returns the class and length of the character at the start of b.
func classAt(b []byte) (class, int) {
	if b[0] < utf8.RuneSelf {
		return asciiClass[b[0]], 1
	}
	r, n := utf8.DecodeRune(b)
	return classOf(r), n
}

// run returns the end of the run of characters of class c from at, and how many there are, at most limit.
func run(b []byte, at int, c class, limit int) (end, count int) {
	for at < len(b) && count < limit {
		k, n := classAt(b[at:])
		if k != c {
			break
		}
		at += n
		count++
	}
	return at, count
}

const endless = 1 << 62

// splitGPT2 matches 's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+
func splitGPT2(b []byte) int {
	if n := contraction(b, false); n > 0 {
		return n
	}
	at := 0
	if b[0] == ' ' {
		at = 1
	}
	if at < len(b) {
		if c, _ := classAt(b[at:]); c != space && c != line {
			end, _ := run(b, at, c, endless)
			return end
		}
	}
	return spaces(b)
}

// splitLlama3 matches
// (?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+
//
// The expression of cl100k, with its possessive quantifiers and \s*[\r\n], matches the same.
func splitLlama3(b []byte) int { return splitNumbers(b, 3) }

// splitQwen2 is splitLlama3 with single digits.
func splitQwen2(b []byte) int { return splitNumbers(b, 1) }

func splitNumbers(b []byte, digits int) int {
	if n := contraction(b, true); n > 0 {
		return n
	}
	c, n := classAt(b)
	switch c {
	case letter:
		end, _ := run(b, n, letter, endless)
		return end
	case number:
		end, _ := run(b, 0, number, digits)
		return end
	case space, other:
		if end, count := run(b, n, letter, endless); count > 0 {
			return end
		}
	}
	at := 0
	if b[0] == ' ' {
		at = 1
	}
	if end, count := run(b, at, other, endless); count > 0 {
		end, _ = run(b, end, line, endless)
		return end
	}
	lastLine := 0
	for at := 0; at < len(b); {
		c, n := classAt(b[at:])
		if c != space && c != line {
			break
		}
		at += n
		if c == line {
			lastLine = at
		}
	}
	if lastLine > 0 {
		return lastLine
	}
	return spaces(b)
}

// spaces matches \s+(?!\S)|\s+ : a run of spaces, less the last one if something follows and one is left.
func spaces(b []byte) int {
	at, last := 0, 0
	for at < len(b) {
		c, n := classAt(b[at:])
		if c != space && c != line {
			break
		}
		last = at
		at += n
	}
	if at < len(b) && last > 0 {
		return last
	}
	return at
}

// contraction matches 's|'t|'re|'ve|'m|'ll|'d. Without regard to case, the long s, U+017F, is an s.
func contraction(b []byte, fold bool) int {
	if b[0] != '\'' || len(b) < 2 {
		return 0
	}
	lower := func(i int) byte {
		if i >= len(b) {
			return 0
		}
		if fold && b[i] >= 'A' && b[i] <= 'Z' {
			return b[i] + 'a' - 'A'
		}
		return b[i]
	}
	switch lower(1) {
	case 's', 't', 'm', 'd':
		return 2
	case 'r', 'v':
		if lower(2) == 'e' {
			return 3
		}
	case 'l':
		if lower(2) == 'l' {
			return 3
		}
	}
	if fold && len(b) >= 3 && b[1] == 0xC5 && b[2] == 0xBF {
		return 3
	}
	return 0
}

// splitDigit sets every digit apart.
func splitDigit(b []byte) int { return splitNumeric(b, 1) }

// splitDigits sets runs of digits apart.
func splitDigits(b []byte) int { return splitNumeric(b, endless) }

func splitNumeric(b []byte, limit int) int {
	if end, count := run(b, 0, number, limit); count > 0 {
		return end
	}
	at := 0
	for at < len(b) {
		c, n := classAt(b[at:])
		if c == number {
			break
		}
		at += n
	}
	return at
}

// byteAlphabet is GPT-2's way to spell bytes: those that print as themselves, the others from U+0100 up.
var byteAlphabet = func() (a [256]rune) {
	next := rune(256)
	for b := range rune(256) {
		if b >= '!' && b <= '~' || b >= 0xA1 && b <= 0xAC || b >= 0xAE {
			a[b] = b
		} else {
			a[b] = next
			next++
		}
	}
	return
}()

var alphabetByte = func() map[rune]byte {
	m := make(map[rune]byte, 256)
	for b, r := range byteAlphabet {
		m[r] = byte(b)
	}
	return m
}()

// spelledBytes returns the bytes that s spells; s itself when it is not spelled in the alphabet, as added tokens are.
func spelledBytes(s string) string {
	b := make([]byte, 0, len(s))
	for _, r := range s {
		c, ok := alphabetByte[r]
		if !ok {
			return s
		}
		b = append(b, c)
	}
	return string(b)
}

// byteSection encodes a text with a byte-level vocabulary.
func (e *encoder) byteSection(dst []int32, text string, first bool) []int32 {
	e.loadBytes(text, e.t.wantsPrefix(text, first))
	b := e.pad()
	full := b[:len(b)+padding]
	for at := 0; at < len(b); {
		n := e.t.split(b[at:])
		dst = e.word(dst, full, at, n)
		at += n
	}
	return dst
}

// loadBytes puts text into the buffer as it is, but for bytes that are not UTF-8.
func (e *encoder) loadBytes(text string, prefix bool) {
	text = e.t.norm.compose(text)
	e.buf = e.buf[:0]
	if prefix {
		e.buf = append(e.buf, ' ')
	}
	if utf8.ValidString(text) {
		e.buf = append(e.buf, text...)
		return
	}
	for _, r := range text {
		e.buf = utf8.AppendRune(e.buf, r)
	}
}

// byteWord encodes one word of a byte-level vocabulary.
func (e *encoder) byteWord(dst []int32, b []byte) []int32 {
	m := &e.t.bpe
	if m.whole != nil {
		if id, ok := m.whole[string(b)]; ok {
			return append(dst, id)
		}
	}
	e.merge.syms = e.merge.syms[:0]
	for _, c := range b {
		switch sym := m.bytes[c]; {
		case sym >= 0:
			e.merge.syms = append(e.merge.syms, sym)
		case m.unknown >= 0:
			e.merge.syms = append(e.merge.syms, m.unknown)
		}
	}
	return append(dst, e.merge.merge(m)...)
}
