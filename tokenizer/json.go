package tokenizer

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"unicode/utf8"
)

// jsonFile is the part of a tokenizer.json that decides which ids a text gets.
type jsonFile struct {
	AddedTokens   []jsonAdded     `json:"added_tokens"`
	Normalizer    json.RawMessage `json:"normalizer"`
	PreTokenizer  json.RawMessage `json:"pre_tokenizer"`
	PostProcessor json.RawMessage `json:"post_processor"`
	Decoder       json.RawMessage `json:"decoder"`
	Model         jsonModel       `json:"model"`
}

type jsonAdded struct {
	ID         int64  `json:"id"`
	Content    string `json:"content"`
	SingleWord bool   `json:"single_word"`
	LStrip     bool   `json:"lstrip"`
	RStrip     bool   `json:"rstrip"`
	Normalized bool   `json:"normalized"`
	Special    bool   `json:"special"`
}

type jsonModel struct {
	Type         string           `json:"type"`
	Dropout      float64          `json:"dropout"`
	UnkToken     *string          `json:"unk_token"`
	Prefix       string           `json:"continuing_subword_prefix"`
	Suffix       string           `json:"end_of_word_suffix"`
	FuseUnk      bool             `json:"fuse_unk"`
	ByteFallback bool             `json:"byte_fallback"`
	IgnoreMerges bool             `json:"ignore_merges"`
	Vocab        map[string]int64 `json:"vocab"`
	Merges       []jsonMerge      `json:"merges"`
}

// jsonMerge is a pair of pieces, written "a b" or ["a", "b"].
type jsonMerge [2]string

func (m *jsonMerge) UnmarshalJSON(data []byte) error {
	if data[0] == '[' {
		var parts []string
		if err := json.Unmarshal(data, &parts); err != nil {
			return err
		}
		if len(parts) != 2 {
			return fmt.Errorf("merge %s has %d parts, must have 2", data, len(parts))
		}
		*m = jsonMerge(parts)
		return nil
	}
	var s string
	if err := json.Unmarshal(data, &s); err != nil {
		return err
	}
	left, right, ok := strings.Cut(s, " ")
	if !ok || left == "" || right == "" || strings.Contains(right, " ") {
		return fmt.Errorf("merge %q is not two pieces with a space between", s)
	}
	*m = jsonMerge{left, right}
	return nil
}

// readJSON makes a tokenizer of a tokenizer.json.
func readJSON(data []byte) (*Tokenizer, error) {
	var f jsonFile
	if err := unmarshalJSON(data, &f); err != nil {
		return nil, err
	}
	if err := f.Model.check(); err != nil {
		return nil, err
	}
	t := &Tokenizer{source: slices.Clone(data), fromJSON: true, bos: -1, eos: -1, unk: -1, pad: -1}
	if err := t.setVocab(&f); err != nil {
		return nil, err
	}
	p, err := f.pipeline()
	if err != nil {
		return nil, err
	}
	t.prefix, t.split, t.bpe.singleSpace = p.prefix, p.split, p.singleSpace
	t.norm = normalizer{escape: p.marks, dummyPrefix: p.prefix == prefixAlways, nfc: p.nfc}
	if err := t.compileJSON(&f, p); err != nil {
		return nil, err
	}
	if t.decoding, err = f.decoding(); err != nil {
		return nil, err
	}
	if t.decoding.byteLevel != (t.split != nil) {
		return nil, errors.New("of pre_tokenizer and decoder only one is byte-level")
	}
	if err := t.setAdded(f.AddedTokens, p); err != nil {
		return nil, err
	}
	t.findSpecial(f.PostProcessor)
	t.makeSurfaces()
	t.inner = sync.OnceValue(t.innerPieces)
	t.encoders.New = func() any { return newEncoder(t) }
	return t, nil
}

// unmarshalJSON decodes data, and names the place of what is wrong with it by line.
func unmarshalJSON(data []byte, v any) error {
	err := json.Unmarshal(data, v)
	var syntax *json.SyntaxError
	var typ *json.UnmarshalTypeError
	switch {
	case errors.As(err, &syntax):
		return fmt.Errorf("line %d: %w", lineOf(data, syntax.Offset), err)
	case errors.As(err, &typ):
		return fmt.Errorf("line %d: %s is a %s", lineOf(data, typ.Offset), typ.Field, typ.Value)
	}
	return err
}

func lineOf(data []byte, offset int64) int {
	return 1 + bytes.Count(data[:min(int(offset), len(data))], []byte{'\n'})
}

func (m *jsonModel) check() error {
	switch {
	case m.Type != "BPE" && (m.Type != "" || len(m.Merges) == 0):
		return fmt.Errorf("model.type is %q (only \"BPE\" is supported)", m.Type)
	case len(m.Vocab) == 0:
		return errors.New("model.vocab is empty")
	case m.Dropout > 0:
		return fmt.Errorf("model.dropout is %g: the same text would get different ids (set it to null)", m.Dropout)
	case m.Prefix != "" || m.Suffix != "":
		return fmt.Errorf("continuing_subword_prefix %q and end_of_word_suffix %q are not supported", m.Prefix, m.Suffix)
	}
	return nil
}

// setVocab makes the pieces of model.vocab and added_tokens. Ids may have holes, but few.
func (t *Tokenizer) setVocab(f *jsonFile) error {
	limit := int64(min(maxPieces, 2*(len(f.Model.Vocab)+len(f.AddedTokens))+1024))
	size := int64(0)
	ids := make(map[string]int32, len(f.Model.Vocab)+len(f.AddedTokens))
	note := func(s string, id int64) error {
		if id < 0 || id >= limit {
			return fmt.Errorf("piece %q has id %d, outside 0 to %d", s, id, limit-1)
		}
		if len(s) > maxPieceBytes {
			return fmt.Errorf("piece %d has %d bytes (limit %d)", id, len(s), maxPieceBytes)
		}
		ids[s] = int32(id)
		size = max(size, id+1)
		return nil
	}
	for s, id := range f.Model.Vocab {
		if err := note(s, id); err != nil {
			return err
		}
	}
	for _, a := range f.AddedTokens {
		if a.Content == "" {
			return fmt.Errorf("added token %d is empty", a.ID)
		}
		if id, ok := f.Model.Vocab[a.Content]; ok && id != a.ID {
			return fmt.Errorf("added token %q has id %d, in model.vocab it has %d", a.Content, a.ID, id)
		}
		if err := note(a.Content, a.ID); err != nil {
			return err
		}
	}
	t.ids, t.pieces = ids, make([]piece, size)
	for s, id := range ids {
		if was := t.pieces[id]; was.kind != 0 {
			a, b := min(was.text, s), max(was.text, s)
			return fmt.Errorf("pieces %q and %q both have id %d", a, b, id)
		}
		t.pieces[id] = piece{text: s, kind: Normal}
		if _, isByte := byteOf(s); isByte && f.Model.ByteFallback {
			t.pieces[id].kind = Byte
		}
	}
	for i := range t.pieces {
		if t.pieces[i].kind == 0 {
			t.pieces[i].kind = Control // a hole: no text becomes it, and it becomes no text
		}
	}
	for _, a := range f.AddedTokens {
		t.pieces[a.ID].kind = UserDefined
		if a.Special {
			t.pieces[a.ID].kind = Control
		}
	}
	return t.setUnknown(&f.Model)
}

// setUnknown finds the unknown piece. One that is also special decodes to nothing, another to its name.
func (t *Tokenizer) setUnknown(m *jsonModel) error {
	if m.UnkToken == nil || *m.UnkToken == "" {
		return nil
	}
	id, ok := t.ids[*m.UnkToken]
	if !ok {
		return fmt.Errorf("model.unk_token %q is not in the vocabulary", *m.UnkToken)
	}
	t.unk = id
	if t.pieces[id].kind != Control {
		t.unkSurface = *m.UnkToken
	}
	t.pieces[id].kind = Unknown
	return nil
}

// compileJSON fills t.bpe.
func (t *Tokenizer) compileJSON(f *jsonFile, p *pipeline) error {
	m := &t.bpe
	m.size, m.unknown = int32(len(t.pieces)), t.unk
	m.byteLevel = t.split != nil
	m.fuse = f.Model.FuseUnk && !m.byteLevel && t.unk >= 0
	for i := range m.bytes {
		m.bytes[i] = -1
	}
	if m.byteLevel {
		t.compileBytes(&f.Model)
	} else if err := t.compileChars(&f.Model); err != nil {
		return err
	}
	merges, bytesMerge, err := t.jsonMerges(&f.Model)
	if err != nil {
		return err
	}
	m.setMerges(merges)
	m.setJoins(merges, func(sym int32) string { return t.norm.inner(t.pieces[sym].text) })
	if bytesMerge {
		m.neverCut()
	}
	if p.singleSpace {
		m.cutSpace = true
	}
	return nil
}

// compileBytes gives the bytes their symbols.
func (t *Tokenizer) compileBytes(jm *jsonModel) {
	for b := range 256 {
		if id, ok := jm.Vocab[string(byteAlphabet[b])]; ok {
			t.bpe.bytes[b] = int32(id)
		}
	}
	if jm.IgnoreMerges {
		t.bpe.whole = make(map[string]int32, len(jm.Vocab))
		for s, id := range jm.Vocab {
			t.bpe.whole[spelledBytes(s)] = int32(id)
		}
	}
}

// compileChars gives the characters their symbols.
func (t *Tokenizer) compileChars(jm *jsonModel) error {
	m := &t.bpe
	m.fallback = jm.ByteFallback
	missing := 256
	for s, id := range jm.Vocab {
		if b, ok := byteOf(s); ok {
			m.bytes[b] = int32(id)
			missing--
		}
		inner := t.norm.inner(s)
		if t.norm.escape && strings.Contains(s, " ") {
			continue
		}
		if r, n := utf8.DecodeRuneInString(inner); n == len(inner) && n > 0 {
			m.chars.set(r, int32(id))
		}
	}
	switch {
	case m.fallback && missing > 0:
		return fmt.Errorf("model.byte_fallback is on but %d of the 256 byte pieces are missing", missing)
	case !m.fallback && t.unk < 0:
		return errors.New("model has neither byte_fallback nor unk_token: some text would have no ids")
	case jm.IgnoreMerges:
		return errors.New("model.ignore_merges is only supported for byte-level models")
	}
	return nil
}

// jsonMerges looks the merges up. bytesMerge says that some are of byte pieces.
func (t *Tokenizer) jsonMerges(jm *jsonModel) (merges []merge, bytesMerge bool, err error) {
	merges = make([]merge, len(jm.Merges))
	for i, x := range jm.Merges {
		left, ok1 := jm.Vocab[x[0]]
		right, ok2 := jm.Vocab[x[1]]
		into, ok3 := jm.Vocab[x[0]+x[1]]
		if !ok1 || !ok2 || !ok3 {
			return nil, false, fmt.Errorf("merge %d, %q and %q: they and %q must all be in model.vocab", i, x[0], x[1], x[0]+x[1])
		}
		merges[i] = merge{int32(left), int32(right), uint32(i), int32(into)}
		bytesMerge = bytesMerge || t.pieces[left].kind == Byte || t.pieces[right].kind == Byte
	}
	return merges, bytesMerge, nil
}
