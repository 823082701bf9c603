package tokenizer

import (
	"cmp"
	"container/heap"
	"context"
	"maps"
	"slices"
	"unicode/utf8"
)

// trainer finds merges: the commonest pair of neighbours becomes a symbol, again and again. Counts of pairs are kept
// up to date, so a merge costs what it changes.
type trainer struct {
	maxChars int
	text     []string // of each symbol
	chars    []int    // length of each symbol
	symbol   map[string]int32

	words  [][]int32
	counts []int64 // of each word

	pairs []pairCount
	at    map[uint64]int32 // pair to its place in pairs
	queue pairQueue
	grown []int32 // pairs whose counts have risen since the last merge
}

// pairCount is how often two symbols are neighbours, and in which words: at least in those, some may be out of date.
type pairCount struct {
	left, right int32
	count       int64
	words       []int32
	rising      bool
}

func newTrainer(chars []rune, maxChars int) *trainer {
	tr := &trainer{maxChars: maxChars, symbol: map[string]int32{}, at: map[uint64]int32{}}
	tr.queue.tr = tr
	for _, c := range chars {
		tr.newSymbol(string(c))
	}
	return tr
}

func (tr *trainer) newSymbol(s string) int32 {
	sym := int32(len(tr.text))
	tr.text, tr.chars = append(tr.text, s), append(tr.chars, utf8.RuneCountInString(s))
	tr.symbol[s] = sym
	return sym
}

// symbolOf is the symbol that spells s, -1 when there is none.
func (tr *trainer) symbolOf(s string) int32 {
	if sym, ok := tr.symbol[s]; ok {
		return sym
	}
	return -1
}

// addWords cuts the words into characters.
func (tr *trainer) addWords(words map[string]int64) {
	tr.addCut(words, func(w string) (syms []int32) {
		for _, r := range w {
			syms = append(syms, tr.symbol[string(r)])
		}
		return syms
	})
}

// addCut takes words of two characters and more in as cut divides them, in sorted order so that the same words make the
// same trainer.
func (tr *trainer) addCut(words map[string]int64, cut func(word string) []int32) {
	for _, w := range slices.Sorted(maps.Keys(words)) {
		if utf8.RuneCountInString(w) < 2 {
			continue
		}
		syms := cut(w)
		i := int32(len(tr.words))
		tr.words, tr.counts = append(tr.words, syms), append(tr.counts, words[w])
		for k := 1; k < len(syms); k++ {
			tr.change(syms[k-1], syms[k], words[w], i)
		}
	}
	tr.offerGrown()
}

// change adds n to the count of a pair, for its place in a word.
func (tr *trainer) change(left, right int32, n int64, word int32) {
	key := pairKey(left, right)
	i, ok := tr.at[key]
	if !ok {
		i = int32(len(tr.pairs))
		tr.pairs = append(tr.pairs, pairCount{left: left, right: right})
		tr.at[key] = i
	}
	p := &tr.pairs[i]
	p.count += n
	if n < 0 {
		return
	}
	if last := len(p.words) - 1; last < 0 || p.words[last] != word {
		p.words = append(p.words, word)
	}
	if !p.rising {
		p.rising = true
		tr.grown = append(tr.grown, i)
	}
}

// offerGrown puts the pairs whose counts have risen into the queue. Others are in it already, with a count that is
// put right when they come up.
func (tr *trainer) offerGrown() {
	for _, i := range tr.grown {
		p := &tr.pairs[i]
		p.rising = false
		if p.count > 0 && tr.chars[p.left]+tr.chars[p.right] <= tr.maxChars {
			heap.Push(&tr.queue, queued{p.count, i})
		}
	}
	tr.grown = tr.grown[:0]
}

// run returns the first n merged pieces, fewer when no pair is left.
func (tr *trainer) run(ctx context.Context, n int) ([]string, error) {
	var merged []string
	for len(merged) < n && tr.queue.Len() > 0 {
		if len(merged)%64 == 0 && ctx.Err() != nil {
			return nil, ctx.Err()
		}
		top := heap.Pop(&tr.queue).(queued)
		p := &tr.pairs[top.pair]
		if p.count != top.count {
			if p.count > 0 && p.count < top.count {
				heap.Push(&tr.queue, queued{p.count, top.pair})
			}
			continue
		}
		s := tr.text[p.left] + tr.text[p.right]
		sym, known := tr.symbol[s]
		if !known {
			sym = tr.newSymbol(s)
			merged = append(merged, s)
		}
		tr.mergeAll(s, sym)
		tr.offerGrown()
	}
	return merged, nil
}

// mergeAll merges all neighbours that spell s, however they divide it: so does the encoder.
func (tr *trainer) mergeAll(s string, sym int32) {
	for cut := range s {
		left, ok := tr.symbol[s[:cut]]
		if !ok {
			continue
		}
		right, ok := tr.symbol[s[cut:]]
		if !ok {
			continue
		}
		if i, ok := tr.at[pairKey(left, right)]; ok && tr.pairs[i].count > 0 {
			words := tr.pairs[i].words
			tr.pairs[i].words = nil
			for _, w := range words {
				tr.mergeWord(w, left, right, sym)
			}
		}
	}
}

// mergeWord merges a pair in one word, from the left.
func (tr *trainer) mergeWord(word, left, right, sym int32) {
	w, n := tr.words[word], tr.counts[word]
	out := 0
	for i := 0; i < len(w); i++ {
		if w[i] != left || i+1 == len(w) || w[i+1] != right {
			w[out] = w[i]
			out++
			continue
		}
		tr.change(left, right, -n, word)
		if out > 0 {
			tr.change(w[out-1], left, -n, word)
			tr.change(w[out-1], sym, n, word)
		}
		if i+2 < len(w) {
			tr.change(right, w[i+2], -n, word)
			tr.change(sym, w[i+2], n, word)
		}
		w[out] = sym
		out++
		i++
	}
	tr.words[word] = w[:out]
}

// pairQueue gives the commonest pair first; of equal ones the shorter, then the one whose text sorts first, then the
// one with the shorter left half. So no two pairs are equal, and the order of the texts does not matter.
type pairQueue struct {
	tr   *trainer
	list []queued
}

type queued struct {
	count int64
	pair  int32
}

func (q *pairQueue) Len() int { return len(q.list) }
func (q *pairQueue) Less(i, j int) bool {
	a, b := q.list[i], q.list[j]
	if a.count != b.count {
		return a.count > b.count
	}
	return q.tr.compare(&q.tr.pairs[a.pair], &q.tr.pairs[b.pair]) < 0
}
func (q *pairQueue) Swap(i, j int) { q.list[i], q.list[j] = q.list[j], q.list[i] }
func (q *pairQueue) Push(x any)    { q.list = append(q.list, x.(queued)) }
func (q *pairQueue) Pop() any {
	last := len(q.list) - 1
	x := q.list[last]
	q.list = q.list[:last]
	return x
}

func (tr *trainer) compare(a, b *pairCount) int {
	return cmp.Or(
		cmp.Compare(tr.chars[a.left]+tr.chars[a.right], tr.chars[b.left]+tr.chars[b.right]),
		compareJoined(tr.text[a.left], tr.text[a.right], tr.text[b.left], tr.text[b.right]),
		cmp.Compare(tr.chars[a.left], tr.chars[b.left]),
	)
}

// compareJoined compares a+b with c+d without joining them.
func compareJoined(a, b, c, d string) int {
	if len(a) > len(c) {
		return -compareJoined(c, d, a, b)
	}
	return cmp.Or(
		cmp.Compare(a, c[:len(a)]),
		cmp.Compare(b[:min(len(b), len(c)-len(a))], c[len(a):]),
		cmp.Compare(b[min(len(b), len(c)-len(a)):], d),
	)
}
