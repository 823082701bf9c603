package tokenizer

import (
	"container/heap"
	"strings"
	"unicode/utf8"
)

// encodeReference encodes with a SentencePiece model as the description of the algorithm reads: the whole text at
// once, strings looked up in a map, no cache and no cuts. The tests hold the fast encoder to it; models with Unused
// pieces, which are taken apart again by a rule that spans the whole text, always use it.
func (t *Tokenizer) encodeReference(dst []int32, text string) []int32 {
	r := t.newReference(string(t.norm.append(nil, text)))
	for r.agenda.Len() > 0 {
		p := heap.Pop(&r.agenda).(candidate)
		left, right := &r.symbols[p.left], &r.symbols[p.right]
		if left.text == "" || right.text == "" || len(left.text)+len(right.text) != p.size {
			continue // one of the two has merged since
		}
		left.text = r.text[left.at : left.at+p.size]
		right.text = ""
		left.next = right.next
		if right.next >= 0 {
			r.symbols[right.next].prev = p.left
		}
		r.offer(left.prev, p.left)
		r.offer(p.left, left.next)
	}
	start := len(dst)
	for i := 0; i >= 0 && len(r.symbols) > 0; i = r.symbols[i].next {
		dst = r.emit(dst, r.symbols[i].text)
	}
	if t.bpe.fuse {
		dst = fuseUnknown(dst, start, t.unk)
	}
	return dst
}

type reference struct {
	t       *Tokenizer
	text    string
	inner   map[string]int32
	symbols []symbol
	agenda  agenda
	splits  map[string][2]string // how an Unused piece was last put together
}

// symbol is a stretch of text that is one piece so far; "" when it has become part of its left neighbour.
type symbol struct {
	text       string
	at         int
	prev, next int
	frozen     bool // user-defined: never merges
}

// candidate is two neighbours that could merge. size tells whether they are still the same.
type candidate struct {
	score             float32
	left, right, size int
}

type agenda []candidate

func (a agenda) Len() int { return len(a) }
func (a agenda) Less(i, j int) bool {
	return a[i].score > a[j].score || a[i].score == a[j].score && a[i].left < a[j].left
}
func (a agenda) Swap(i, j int) { a[i], a[j] = a[j], a[i] }
func (a *agenda) Push(x any)   { *a = append(*a, x.(candidate)) }
func (a *agenda) Pop() any {
	last := len(*a) - 1
	x := (*a)[last]
	*a = (*a)[:last]
	return x
}

func (t *Tokenizer) newReference(text string) *reference {
	r := &reference{t: t, text: text, inner: t.inner(), splits: map[string][2]string{}}
	for at := 0; at < len(text); {
		n, frozen := 0, false
		if t.taken != nil {
			n = t.taken.prefix(text[at:])
			frozen = n > 0
		}
		if n == 0 {
			_, n = utf8.DecodeRuneInString(text[at:])
		}
		i := len(r.symbols)
		r.symbols = append(r.symbols, symbol{text: text[at : at+n], at: at, prev: i - 1, next: i + 1, frozen: frozen})
		at += n
	}
	if n := len(r.symbols); n > 0 {
		r.symbols[n-1].next = -1
	}
	for i := 1; i < len(r.symbols); i++ {
		r.offer(i-1, i)
	}
	return r
}

// offer puts two neighbours on the agenda if together they are a piece.
func (r *reference) offer(left, right int) {
	if left < 0 || right < 0 || r.symbols[left].frozen || r.symbols[right].frozen {
		return
	}
	a, b := &r.symbols[left], &r.symbols[right]
	size := len(a.text) + len(b.text)
	id, ok := r.inner[r.text[a.at:a.at+size]]
	if !ok {
		return
	}
	heap.Push(&r.agenda, candidate{r.t.pieces[id].score, left, right, size})
	if r.t.pieces[id].kind == Unused {
		r.splits[r.text[a.at:a.at+size]] = [2]string{a.text, b.text}
	}
}

func (r *reference) emit(dst []int32, s string) []int32 {
	id, ok := r.inner[s]
	if !ok {
		for _, c := range s {
			dst = r.t.bpe.appendFallback(dst, c)
		}
		return dst
	}
	if r.t.pieces[id].kind == Unused {
		if two, ok := r.splits[s]; ok {
			return r.emit(r.emit(dst, two[0]), two[1])
		}
	}
	return append(dst, id)
}

// innerPieces maps what text can become to ids.
func (t *Tokenizer) innerPieces() map[string]int32 {
	inner := make(map[string]int32, len(t.pieces))
	for id, q := range t.pieces {
		if q.kind != Normal && q.kind != UserDefined && q.kind != Unused || t.norm.escape && strings.Contains(q.text, " ") {
			continue
		}
		inner[t.norm.inner(q.text)] = int32(id)
	}
	return inner
}
