package tokenizer

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"unicode/utf8"
)

// readModel makes a tokenizer of a SentencePiece model.
func readModel(data []byte) (*Tokenizer, error) {
	p, err := parseProto(data)
	if err != nil {
		return nil, err
	}
	if err := p.check(); err != nil {
		return nil, err
	}
	t := &Tokenizer{pieces: p.pieces, source: slices.Clone(data), unkSurface: p.unkSurface}
	t.ids = make(map[string]int32, len(t.pieces))
	for id, q := range t.pieces {
		if len(q.text) > maxPieceBytes {
			return nil, fmt.Errorf("piece %d has %d bytes (limit %d)", id, len(q.text), maxPieceBytes)
		}
		t.ids[q.text] = int32(id)
		if q.kind == Unknown {
			t.unk = int32(id)
		}
	}
	t.bos, t.eos, t.pad = t.control(p.bosPiece), t.control(p.eosPiece), t.control(p.padPiece)

	t.norm = normalizer{dummyPrefix: p.addDummyPrefix, removeExtra: p.removeExtraSpace, escape: p.escapeSpace, suffix: p.whitespaceAsSuffix}
	if len(p.charsmap) > 0 {
		if t.norm.charsmap, err = parseCharsmap(p.charsmap); err != nil {
			return nil, err
		}
	}
	if p.addDummyPrefix && !p.whitespaceAsSuffix {
		t.prefix = prefixAlways
	}
	t.compileModel(p.byteFallback)
	t.decoding = decoding{stripPiece: p.addDummyPrefix || p.removeExtraSpace, stripAll: p.removeExtraSpace}
	t.makeSurfaces()
	t.inner = sync.OnceValue(t.innerPieces)
	t.encoders.New = func() any { return newEncoder(t) }
	return t, nil
}

// control returns the id of a control piece, -1 when there is none of that name.
func (t *Tokenizer) control(name string) int32 {
	if id, ok := t.ids[name]; ok && t.pieces[id].kind == Control {
		return id
	}
	return -1
}

// compileModel fills t.bpe and the matchers from the pieces.
//
// SentencePiece merges the two neighbours whose concatenation is the piece with the highest score. So every way to
// cut a piece into two symbols is a line of the merge table, and equal scores are equal ranks.
func (t *Tokenizer) compileModel(fallback bool) {
	m := &t.bpe
	m.size, m.unknown, m.fallback, m.fuse = int32(len(t.pieces)), t.unk, fallback, !fallback
	inner := make(map[string]int32, len(t.pieces)) // pieces that text can become
	whole, taken := map[string]int32{}, map[string]int32{}
	for id, q := range t.pieces {
		switch q.kind {
		case Byte:
			b, _ := byteOf(q.text)
			m.bytes[b] = int32(id)
			continue
		case Unknown, Control:
			continue
		case Unused:
			t.plain = true
		case UserDefined:
			whole[q.text] = int32(id)
		}
		if t.norm.escape && strings.Contains(q.text, " ") {
			continue // no normalised text holds a space
		}
		s := t.norm.inner(q.text)
		inner[s] = int32(id)
		if q.kind == UserDefined {
			taken[s] = int32(id)
		}
	}
	t.norm.whole, t.taken = newMatcher(whole), newMatcher(taken)
	m.setChars(inner)
	merges := t.modelMerges(inner)
	m.setMerges(merges)
	m.setJoins(merges, func(sym int32) string {
		if sym >= m.size {
			return string(m.virtual[sym-m.size])
		}
		return t.norm.inner(t.pieces[sym].text)
	})
}

// setChars gives every character of the pieces a symbol.
func (m *bpe) setChars(inner map[string]int32) {
	var loose []rune
	for s := range inner {
		for _, r := range s {
			if m.chars.get(r) >= 0 {
				continue
			}
			id, ok := inner[string(r)]
			if !ok {
				id = 0 // numbered below, in order
				loose = append(loose, r)
			}
			m.chars.set(r, id)
		}
	}
	slices.Sort(loose)
	for i, r := range loose {
		m.chars.set(r, m.size+int32(i))
	}
	m.virtual = loose
}

// modelMerges lists every way to cut a piece in two, ranked by the score of the piece.
func (t *Tokenizer) modelMerges(inner map[string]int32) []merge {
	scores := make([]float32, len(t.pieces))
	for id, q := range t.pieces {
		scores[id] = q.score
	}
	slices.SortFunc(scores, func(a, b float32) int {
		switch {
		case a > b:
			return -1
		case a < b:
			return 1
		}
		return 0
	})
	scores = slices.Compact(scores)
	rankOf := make(map[float32]uint32, len(scores))
	for i, s := range scores {
		rankOf[s] = uint32(i)
	}
	symbol := func(s string) int32 {
		if id, ok := inner[s]; ok {
			return id
		}
		if r, n := utf8.DecodeRuneInString(s); n == len(s) {
			return t.bpe.chars.get(r)
		}
		return -1
	}
	var merges []merge
	for id, q := range t.pieces {
		s := t.norm.inner(q.text)
		if at, ok := inner[s]; !ok || at != int32(id) {
			continue
		}
		for cut := range s {
			if cut == 0 {
				continue
			}
			left, right := symbol(s[:cut]), symbol(s[cut:])
			if left >= 0 && right >= 0 {
				merges = append(merges, merge{left, right, rankOf[q.score], int32(id)})
			}
		}
	}
	return merges
}
