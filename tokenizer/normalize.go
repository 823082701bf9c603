package tokenizer

import (
	"strings"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// spaceMark is U+2581, which stands for a space inside pieces.
const spaceMark = "\u2581"

// normalizer does to a text what SentencePiece does before it looks for pieces.
//
// Its output has its spaces as U+0020, whether they were spaces, U+2581 or a dummy prefix: with escape_whitespaces the
// reference cannot tell them apart either, and one byte is quicker to find than three. Pieces are kept in the same form.
type normalizer struct {
	dummyPrefix bool
	removeExtra bool
	escape      bool
	suffix      bool // the dummy is put at the end
	nfc         bool // Unicode's composed form
	charsmap    *charsmap
	whole       *matcher // user-defined pieces pass unchanged; as they are written in the file
}

// inner is the form of a piece or text inside this package.
func (n *normalizer) inner(s string) string {
	if n.escape {
		return strings.ReplaceAll(s, spaceMark, " ")
	}
	return s
}

// compose brings text to Unicode's composed form, if that is asked for.
func (n *normalizer) compose(text string) string {
	if n.nfc {
		return norm.NFC.String(text)
	}
	return text
}

// plain reports that normalising is copying.
func (n *normalizer) plain() bool {
	return !n.removeExtra && n.charsmap == nil && !n.suffix && n.escape
}

// append adds the normal form of text to dst.
func (n *normalizer) append(dst []byte, text string) []byte {
	if n.removeExtra {
		for text != "" {
			s, used := n.prefix(text)
			if s != " " {
				break
			}
			text = text[used:]
		}
	}
	if text == "" {
		return dst
	}
	start := len(dst)
	if n.dummyPrefix && !n.suffix {
		dst = append(dst, ' ')
	}
	afterSpace := n.removeExtra
	for text != "" {
		s, used := n.prefix(text)
		text = text[used:]
		if afterSpace {
			s = strings.TrimLeft(s, " ")
		}
		if s != "" {
			afterSpace = n.removeExtra && s[len(s)-1] == ' '
			dst = append(dst, n.inner(s)...)
		}
	}
	if n.removeExtra {
		for len(dst) > start && dst[len(dst)-1] == ' ' {
			dst = dst[:len(dst)-1]
		}
	}
	if n.dummyPrefix && n.suffix {
		dst = append(dst, ' ')
	}
	return dst
}

// prefix normalises the first unit of text and says how many bytes it took. A byte that is not UTF-8 becomes U+FFFD.
func (n *normalizer) prefix(text string) (string, int) {
	if n.whole != nil {
		if m := n.whole.prefix(text); m > 0 {
			return text[:m], m
		}
	}
	if n.charsmap != nil {
		if s, used := n.charsmap.longest(text); used > 0 {
			return s, used
		}
	}
	r, size := utf8.DecodeRuneInString(text)
	if r == utf8.RuneError && size == 1 {
		return "\uFFFD", 1
	}
	return text[:size], size
}

// matcher finds the longest of a set of strings at a place in a text.
type matcher struct {
	lengths [256][]int // by first byte: the lengths to try, longest first
	set     map[string]int32
}

// newMatcher returns nil for an empty set.
func newMatcher(set map[string]int32) *matcher {
	if len(set) == 0 {
		return nil
	}
	m := &matcher{set: set}
	for s := range set {
		ls := m.lengths[s[0]]
		at := 0
		for at < len(ls) && ls[at] > len(s) {
			at++
		}
		if at == len(ls) || ls[at] != len(s) {
			ls = append(ls[:at:at], append([]int{len(s)}, ls[at:]...)...)
		}
		m.lengths[s[0]] = ls
	}
	return m
}

// prefix returns the length of the longest member that text starts with, 0 when there is none.
func (m *matcher) prefix(text string) int {
	for _, l := range m.lengths[text[0]] {
		if l <= len(text) {
			if _, ok := m.set[text[:l]]; ok {
				return l
			}
		}
	}
	return 0
}

// find returns the leftmost, then longest, member in text, as text[at:end].
func (m *matcher) find(text string) (at, end int, id int32) {
	for at := 0; at < len(text); at++ {
		if len(m.lengths[text[at]]) == 0 {
			continue
		}
		if l := m.prefix(text[at:]); l > 0 {
			return at, at + l, m.set[text[at:at+l]]
		}
	}
	return len(text), len(text), -1
}
