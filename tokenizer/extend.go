package tokenizer

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Extend learns n further pieces from texts and appends them to a SentencePiece model: merging goes on, with the words of
// the texts cut as t cuts them. Pieces are as DefaultTrainOptions makes them: within a word, single digits, no mixed
// scripts.
//
// The new pieces have lower scores than all others, so nothing new is merged before every old merge is done. A text whose
// ids are all old ones has the ids that t gives it.
func (t *Tokenizer) Extend(ctx context.Context, texts iter.Seq[string], n int) (*Tokenizer, error) {
	out, err := t.extend(ctx, texts, n)
	if err != nil {
		return nil, fmt.Errorf("tokenizer: extend: %w", err)
	}
	return out, nil
}

func (t *Tokenizer) extend(ctx context.Context, texts iter.Seq[string], n int) (*Tokenizer, error) {
	switch {
	case n < 1 || len(t.pieces)+n > maxPieces:
		return nil, fmt.Errorf("%d pieces cannot be added to %d (the sum is at most %d)", n, len(t.pieces), maxPieces)
	case t.fromJSON:
		return nil, errors.New("this tokenizer is a tokenizer.json; only SentencePiece models are extended")
	case !t.norm.plain() || t.plain:
		return nil, errors.New("the model normalises text or has unused pieces, and such models are not extended")
	}
	if err := t.noIDsBehind(); err != nil {
		return nil, err
	}
	chunks, err := countChunks(ctx, texts, t.taken)
	if err != nil {
		return nil, err
	}
	o := DefaultTrainOptions()
	tr := newTrainer(t.singleChars(), o.MaxPieceChars)
	for _, q := range t.pieces {
		if s := t.norm.inner(q.text); q.kind == Normal && tr.symbolOf(s) < 0 {
			tr.newSymbol(s)
		}
	}
	tr.addCut(splitChunks(chunks, t.singleChars(), &o), func(word string) []int32 {
		ids := t.spell(word)
		for i, id := range ids {
			ids[i] = tr.symbolOf(t.norm.inner(t.pieces[id].text))
		}
		return ids
	})
	merged, err := tr.run(ctx, n)
	if err != nil {
		return nil, err
	}
	merged = slices.DeleteFunc(merged, func(s string) bool { _, old := t.ids[marked(s)]; return old })
	if len(merged) < n {
		return nil, fmt.Errorf("only %d pieces can be learnt from these texts, %d were asked for (lower that, or give more text)", len(merged), n)
	}
	score := float32(0)
	for _, q := range t.pieces {
		score = min(score, q.score)
	}
	var added []piece
	for _, s := range merged {
		score = min(score-1, math.Nextafter32(score, float32(math.Inf(-1)))) // Mistral has pieces at -1e9, where floats are 64 apart
		added = append(added, piece{marked(s), score, Normal})
	}
	model, err := appendPieces(t.source, added)
	if err != nil {
		return nil, err
	}
	out, err := readModel(model)
	if err != nil {
		return nil, err
	}
	out.bos, out.eos, out.pad, out.chat = t.bos, t.eos, t.pad, t.chat
	out.companions = maps.Clone(t.companions)
	delete(out.companions, "tokenizer.json") // says the old vocabulary; Files derives a new one
	return out, nil
}

// noIDsBehind refuses a tokenizer whose other files give ids behind the model's, where the new pieces would stand.
func (t *Tokenizer) noIDsBehind() error {
	var ids []int
	var list map[string]int
	if data, ok := t.companions["added_tokens.json"]; ok {
		if err := json.Unmarshal(data, &list); err != nil {
			return fmt.Errorf("added_tokens.json: %w", err)
		}
		ids = slices.Collect(maps.Values(list))
	}
	var config struct {
		Added map[string]json.RawMessage `json:"added_tokens_decoder"`
	}
	if data, ok := t.companions["tokenizer_config.json"]; ok {
		if err := json.Unmarshal(data, &config); err != nil {
			return fmt.Errorf("tokenizer_config.json: %w", err)
		}
		for name := range config.Added {
			id, err := strconv.Atoi(name)
			if err != nil {
				return fmt.Errorf("tokenizer_config.json: added_tokens_decoder: id %q is no number", name)
			}
			ids = append(ids, id)
		}
	}
	for _, id := range ids {
		if id >= len(t.pieces) {
			return fmt.Errorf("its files add a token with id %d behind the model's %d pieces, where new pieces would stand (such tokenizers are not extended)", id, len(t.pieces))
		}
	}
	return nil
}

// singleChars are the characters that have a piece of their own.
func (t *Tokenizer) singleChars() []rune {
	var chars []rune
	for _, q := range t.pieces {
		s := t.norm.inner(q.text)
		if r, n := utf8.DecodeRuneInString(s); q.kind == Normal && n == len(s) {
			chars = append(chars, r)
		}
	}
	return chars
}

// spell merges a word whose characters all have pieces, in the inner form and with nothing put in front.
func (t *Tokenizer) spell(word string) []int32 {
	var g merger
	for _, r := range word {
		g.syms = append(g.syms, t.bpe.chars.get(r))
	}
	return g.merge(&t.bpe)
}

// Spell returns the ids that t spells a piece of another tokenizer with: no space is put in front, as Encode would, and
// characters without a piece are bytes, or the unknown id.
func (t *Tokenizer) Spell(piece string) []int32 {
	s := t.norm.inner(piece)
	var ids []int32
	for s != "" {
		n := strings.IndexFunc(s, func(r rune) bool { sym := t.bpe.chars.get(r); return sym < 0 || sym >= t.bpe.size })
		if n < 0 {
			n = len(s)
		}
		ids = append(ids, t.spell(s[:n])...)
		if s = s[n:]; s == "" {
			break
		}
		_, size := utf8.DecodeRuneInString(s)
		if t.bpe.fallback {
			for _, b := range []byte(s[:size]) {
				ids = append(ids, t.bpe.bytes[b])
			}
		} else {
			ids = append(ids, t.unk)
		}
		s = s[size:]
	}
	return ids
}

// appendPieces puts pieces behind those of a model file and leaves the rest as it is, but for the number of pieces that
// trainer_spec names, and for samples of the old encoding that the reference would check the new model with.
func appendPieces(source []byte, added []piece) ([]byte, error) {
	const (
		pieceField, trainerField, selfTestField = 1, 2, 4
		vocabSize                               = 4 // in trainer_spec
	)
	type part struct {
		field
		raw []byte
	}
	var parts []part
	last, total := -1, len(added)
	for w := (wire{b: source}); w.more(); {
		at := w.at
		f, err := w.next()
		if err != nil {
			return nil, err
		}
		if f.num == pieceField {
			last = len(parts)
			total++
		}
		parts = append(parts, part{f, source[at:w.at]})
	}
	var out []byte
	for i, p := range parts {
		switch p.num {
		case trainerField: // of a number that occurs twice the last counts
			out = appendBytes(out, trainerField, string(appendVarint(slices.Clone(p.bytes), vocabSize, uint64(total))))
		case selfTestField:
		default:
			out = append(out, p.raw...)
		}
		if i == last {
			for _, q := range added {
				out = appendPiece(out, q)
			}
		}
	}
	return out, nil
}
