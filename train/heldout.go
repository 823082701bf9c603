package train

import (
	"fmt"
	"math"
	"sort"

	"ravn/model"
)

// Text is one held-out document, tokenised; Tokens begins with BOS where the tokenizer has one.
type Text struct {
	Language, Source, ID string
	Tokens               []int32
	Bytes                int // of the text in UTF-8
}

// Measured is the loss on the held-out documents of one language and source.
type Measured struct {
	Language  string  `json:"language"`
	Source    string  `json:"source"` // "" sums all sources of the language
	NLL       float64 `json:"nll"`    // nats, summed over tokens
	Tokens    int64   `json:"tokens"` // scored
	Bytes     int64   `json:"bytes"`
	Documents int     `json:"documents"`
}

// Loss is nats per token.
func (m Measured) Loss() float64 { return m.NLL / float64(m.Tokens) }

// BPB is bits per byte of text, which compares across tokenizers.
func (m Measured) BPB() float64 { return m.NLL / math.Ln2 / float64(m.Bytes) }

// Heldout is held-out text cut into windows and packed into rows, ready to be scored again and again.
//
// Each document is cut into windows of T tokens that are scored without what went before: quick and the same at every
// step, but a little worse than a score with more context, which package eval gives.
type Heldout struct {
	texts   []Text
	batches []*model.Batch
	owners  [][]int32 // text number of every target
}

// NewHeldout packs texts into batches of rows rows of t tokens.
func NewHeldout(texts []Text, rows, t int) (*Heldout, error) {
	h := &Heldout{texts: texts}
	var b *model.Batch
	var owner []int32
	row, at, segment := rows, 0, int32(0)
	for n, text := range texts {
		if len(text.Tokens) < 2 {
			return nil, fmt.Errorf("train: held-out document %s of %s has fewer than two tokens", text.ID, text.Language)
		}
		for lo := 0; lo+1 < len(text.Tokens); lo += t {
			size := min(t, len(text.Tokens)-1-lo)
			if b == nil || at+size > t {
				row, at, segment = row+1, 0, 0
			}
			if row >= rows {
				b, owner = emptyBatch(rows, t)
				h.batches, h.owners = append(h.batches, b), append(h.owners, owner)
				row = 0
			}
			for i := range size {
				p := row*t + at + i
				b.Tokens[p], b.Targets[p] = text.Tokens[lo+i], text.Tokens[lo+i+1]
				b.Positions[p], b.Segments[p], owner[p] = int32(i), segment, int32(n)
			}
			at += size
			segment++
			for p := row*t + at; p < (row+1)*t; p++ { // what stays empty is a segment of its own, without targets
				b.Segments[p], b.Positions[p] = segment, int32(p-row*t-at)
			}
		}
	}
	return h, nil
}

func emptyBatch(rows, t int) (*model.Batch, []int32) {
	b := &model.Batch{
		B: rows, T: t, Tokens: make([]int32, rows*t), Targets: make([]int32, rows*t),
		Positions: make([]int32, rows*t), Segments: make([]int32, rows*t),
	}
	owner := make([]int32, rows*t)
	for i := range b.Targets {
		b.Targets[i], owner[i] = -1, -1
		b.Positions[i] = int32(i % t)
	}
	return b, owner
}

// Score is the loss of every document in nats, in their order.
func (h *Heldout) Score(e Engine) ([]float64, error) {
	nll := make([]float64, len(h.texts))
	var out []float32
	for i, b := range h.batches {
		if len(out) < b.B*b.T {
			out = make([]float32, b.B*b.T)
		}
		if err := e.Loss(out[:b.B*b.T], b); err != nil {
			return nil, err
		}
		for p, n := range h.owners[i] {
			if n >= 0 {
				nll[n] += float64(out[p])
			}
		}
	}
	return nll, nil
}

// Sum adds the scores of documents by language and source, and by language.
func (h *Heldout) Sum(nll []float64) []Measured {
	sums := map[[2]string]*Measured{}
	for n, t := range h.texts {
		for _, key := range [][2]string{{t.Language, ""}, {t.Language, t.Source}} {
			m := sums[key]
			if m == nil {
				m = &Measured{Language: key[0], Source: key[1]}
				sums[key] = m
			}
			m.NLL, m.Tokens, m.Bytes, m.Documents = m.NLL+nll[n], m.Tokens+int64(len(t.Tokens)-1), m.Bytes+int64(t.Bytes), m.Documents+1
			if t.Source == "" {
				break
			}
		}
	}
	var all []Measured
	for _, m := range sums {
		all = append(all, *m)
	}
	sort.Slice(all, func(i, k int) bool {
		if all[i].Language != all[k].Language {
			return all[i].Language < all[k].Language
		}
		return all[i].Source < all[k].Source
	})
	return all
}
