package tokenizer

import (
	"strings"
	"unicode/utf8"
)

// decoding says how pieces become text again.
type decoding struct {
	// SentencePiece
	stripPiece bool // a U+2581 at the very start of the text is dropped from its piece
	stripAll   bool // so is one from each piece as long as there is no text

	// Hugging Face
	skip      bool // special ids leave no trace at all, not even between the bytes of a character
	stripText int  // spaces dropped from the start of the text
	dropFirst bool // the first piece loses all its U+2581
	byteLevel bool // pieces spell bytes
}

// Surface returns what an id adds to a text that has begun: bytes that may be a part of a character. It is "" for control
// ids and ids that do not exist.
func (t *Tokenizer) Surface(id int32) string {
	if uint(id) >= uint(len(t.pieces)) {
		return ""
	}
	return t.surfaces[id]
}

const replacement = "\uFFFD"

// makeSurfaces computes what each id decodes to when it is not the first.
func (t *Tokenizer) makeSurfaces() {
	t.surfaces = make([]string, len(t.pieces))
	for id, q := range t.pieces {
		switch q.kind {
		case Control:
		case Unknown:
			t.surfaces[id] = t.unkSurface
		case Byte:
			b, _ := byteOf(q.text)
			t.surfaces[id] = string([]byte{b})
		default:
			switch {
			case t.decoding.byteLevel:
				t.surfaces[id] = spelledBytes(q.text)
			case q.kind == UserDefined && t.fromJSON:
				t.surfaces[id] = q.text
			default:
				t.surfaces[id] = strings.ReplaceAll(q.text, spaceMark, " ")
			}
		}
	}
}

// Decode returns the text of ids. Byte pieces are gathered into UTF-8, a byte that fits nowhere becomes U+FFFD;
// control ids become nothing, unknown ones and ids that do not exist the model's unk_surface, " ⁇ " by default.
func (t *Tokenizer) Decode(ids []int32) string {
	d := t.NewDecoder()
	dst := make([]byte, 0, 4*len(ids))
	for _, id := range ids {
		dst = d.append(dst, id)
	}
	return string(d.flush(dst))
}

// Decoder decodes ids one by one, as a model produces them. Its pieces together are what Decode returns.
type Decoder struct {
	t       *Tokenizer
	pending []byte // the start of a character
	started bool   // some text has been given out or is pending
	first   bool   // no id that counts has been seen
	atStart bool   // the next piece may lose a leading space
	lost    bool   // the last one did
	strip   int    // leading spaces of the text still to be dropped
}

// NewDecoder returns a Decoder at the start of a text.
func (t *Tokenizer) NewDecoder() *Decoder {
	return &Decoder{t: t, first: true, atStart: true, strip: t.decoding.stripText}
}

// Next returns the text that is certain once id is known: "" while bytes of a character are missing.
func (d *Decoder) Next(id int32) string { return string(d.append(nil, id)) }

// Flush returns what is left when no more ids come, and starts over.
func (d *Decoder) Flush() string {
	s := string(d.flush(nil))
	*d = *d.t.NewDecoder()
	return s
}

func (d *Decoder) append(dst []byte, id int32) []byte {
	t := d.t
	kind, surface := Unknown, t.unkSurface
	if uint(id) < uint(len(t.pieces)) {
		kind, surface = t.pieces[id].kind, t.surfaces[id]
	}
	if t.decoding.skip && (kind == Control || kind == Unknown && surface == "") {
		return dst
	}
	first := d.first
	d.first = false
	if kind == Byte || t.decoding.byteLevel {
		d.pending = append(d.pending, surface...)
		d.started = true
		return d.complete(dst)
	}
	dst = d.flush(dst)
	if kind == Normal || kind == UserDefined || kind == Unused {
		surface = d.atFirst(t.pieces[id].text, surface, first)
	} else if d.lost || d.started {
		d.atStart, d.lost = false, false
	}
	return d.emit(dst, surface)
}

// atFirst applies the rules about the space that encoding put in front of the text.
func (d *Decoder) atFirst(piece, surface string, first bool) string {
	how := &d.t.decoding
	if how.dropFirst && first {
		return strings.ReplaceAll(piece, spaceMark, "")
	}
	if d.lost || d.started {
		d.atStart = false
	}
	d.lost = false
	if how.stripPiece && d.atStart && strings.HasPrefix(piece, spaceMark) {
		d.lost = !how.stripAll
		return surface[1:]
	}
	return surface
}

// emit gives text out, less the spaces that the start of the text loses.
func (d *Decoder) emit(dst []byte, s string) []byte {
	for d.strip > 0 && s != "" {
		if s[0] != ' ' {
			d.strip = 0
			break
		}
		s = s[1:]
		d.strip--
	}
	d.started = d.started || s != ""
	return append(dst, s...)
}

// complete gives out the characters whose bytes are all there, and marks for bytes that cannot become one.
func (d *Decoder) complete(dst []byte) []byte {
	for len(d.pending) > 0 && utf8.FullRune(d.pending) {
		dst = d.one(dst)
	}
	return dst
}

// flush gives out everything that is pending.
func (d *Decoder) flush(dst []byte) []byte {
	for len(d.pending) > 0 {
		dst = d.one(dst)
	}
	return dst
}

// one gives out the first character that is pending.
func (d *Decoder) one(dst []byte) []byte {
	r, n := utf8.DecodeRune(d.pending)
	if r == utf8.RuneError && n == 1 {
		dst = d.emit(dst, replacement)
		if d.t.decoding.byteLevel {
			n = invalidPrefix(d.pending)
		}
	} else {
		dst = d.emit(dst, string(d.pending[:n]))
	}
	d.pending = d.pending[:copy(d.pending, d.pending[n:])]
	return dst
}

// invalidPrefix is the length of the start of a character at the start of b that does not go on as it should: Hugging
// Face's byte-level decoder makes one U+FFFD of it (Unicode 15, section 3.9, "maximal subparts").
func invalidPrefix(b []byte) int {
	n := 1
	for n < len(b) && n < 3 && !utf8.FullRune(b[:n+1]) {
		n++
	}
	return n
}
