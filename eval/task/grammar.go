package task

import (
	"strings"
	"sync"
)

// maxListed is how many entities of one kind an answer may list, as in ScandEval from version 9.2 on.
const maxListed = 5

// jsonLists is the grammar of {"person": ["…"], "sted": []}: the words in their order, lists of at most maxListed strings
// without quotes, backslashes and control characters. A space may stand in front. It implements eval.Grammar.
type jsonLists struct {
	name  string
	next  [][256]int16 // -1: may not stand
	final int
}

var grammars sync.Map // by name

// listsOf returns the grammar for the words of a data set.
func listsOf(labels []Label) *jsonLists {
	words := make([]string, len(labels))
	for i, l := range labels {
		words[i] = l.Word
	}
	name := "json lists of " + strings.Join(words, ", ")
	if g, ok := grammars.Load(name); ok {
		return g.(*jsonLists)
	}
	g := &jsonLists{name: name}
	at := g.state()
	open := g.literal(at, "{")
	spaced := g.state()
	g.next[at][' '] = int16(spaced)
	g.next[spaced]['{'] = int16(open)
	at = open
	for i, w := range words {
		if i > 0 {
			at = g.literal(at, ", ")
		}
		var b strings.Builder
		pythonString(&b, w)
		at = g.list(g.literal(at, b.String()+": ["))
	}
	g.final = g.literal(at, "}")
	grammars.Store(name, g)
	return g
}

func (g *jsonLists) state() int {
	var row [256]int16
	for i := range row {
		row[i] = -1
	}
	g.next = append(g.next, row)
	return len(g.next) - 1
}

// literal adds the states of a fixed text.
func (g *jsonLists) literal(at int, text string) int {
	for i := range len(text) {
		to := g.state()
		g.next[at][text[i]] = int16(to)
		at = to
	}
	return at
}

// list adds what may stand between the brackets, and returns the state behind the closing one.
func (g *jsonLists) list(at int) int {
	end := g.state()
	g.next[at][']'] = int16(end)
	for i := range maxListed {
		if i > 0 {
			at = g.literal(at, ", ")
		}
		closed := g.text(g.literal(at, `"`))
		g.next[closed][']'] = int16(end)
		at = closed
	}
	return end
}

// text adds a string of at least one character and its closing quote.
func (g *jsonLists) text(first int) int {
	more := g.state()
	closed := g.state()
	g.next[more]['"'] = int16(closed)
	tails := []int{more, g.state(), g.state(), g.state()} // by bytes of a character still to come
	for k := 1; k < len(tails); k++ {
		for b := 0x80; b < 0xC0; b++ {
			g.next[tails[k]][b] = int16(tails[k-1])
		}
	}
	for _, from := range []int{first, more} {
		for b := 0x20; b < 0xF5; b++ {
			switch {
			case b == '"' || b == '\\' || b == 0x7f || b >= 0x80 && b < 0xC2:
			case b < 0x80:
				g.next[from][b] = int16(more)
			case b < 0xE0:
				g.next[from][b] = int16(tails[1])
			case b < 0xF0:
				g.next[from][b] = int16(tails[2])
			default:
				g.next[from][b] = int16(tails[3])
			}
		}
	}
	return closed
}

// Name tells grammars of different words apart.
func (g *jsonLists) Name() string { return g.name }

// Start is the state before anything is written.
func (g *jsonLists) Start() int { return 0 }

// Next moves on by one byte.
func (g *jsonLists) Next(state int, b byte) (int, bool) {
	to := g.next[state][b]
	return int(to), to >= 0
}

// Accepts reports whether the object is complete.
func (g *jsonLists) Accepts(state int) bool { return state == g.final }
