package pipeline

import (
	"math"
	"strings"

	"ravn/corpus"
)

// Doc is a document among the stages, with what they share: words and lines are cut once.
type Doc struct {
	*corpus.Document
	Detected string // language that a stage found

	scores   []float32
	attached [][]byte
	stage    int // that has it
	base     int // of its scores

	seen   string // the text that tokens and lines are of
	has    uint8  // hasTokens, hasLines
	tokens Tokens
	lines  []string
}

const (
	hasTokens = 1 << iota
	hasLines
)

// NewDoc wraps a document for a single stage, as tests and tools do.
func NewDoc(d *corpus.Document) *Doc { return &Doc{Document: d, attached: make([][]byte, 1)} }

// Score notes score i of the stage's list.
func (x *Doc) Score(i int, v float64) {
	k := x.base + i
	for len(x.scores) <= k {
		x.scores = append(x.scores, float32(math.NaN()))
	}
	x.scores[k] = float32(v)
}

// Scored returns score i of the stage's list, NaN when it was not noted.
func (x *Doc) Scored(i int) float64 {
	if x.base+i >= len(x.scores) {
		return math.NaN()
	}
	return float64(x.scores[x.base+i])
}

// Attach keeps bytes with the document, for the stage's later calls.
func (x *Doc) Attach(b []byte) { x.attached[x.stage] = b }

// Attached is what the stage attached.
func (x *Doc) Attached() []byte { return x.attached[x.stage] }

// Tokens cuts the text into words and symbols. Valid until the text changes.
func (x *Doc) Tokens() *Tokens {
	x.fresh()
	if x.has&hasTokens == 0 {
		x.tokens.Cut(x.Text)
		x.has |= hasTokens
	}
	return &x.tokens
}

// Lines are the text's lines, without their ends. Valid until the text changes.
func (x *Doc) Lines() []string {
	x.fresh()
	if x.has&hasLines == 0 {
		x.lines = x.lines[:0]
		for line := range strings.Lines(x.Text) {
			line = strings.TrimSuffix(line, "\n")
			x.lines = append(x.lines, strings.TrimSuffix(line, "\r"))
		}
		x.has |= hasLines
	}
	return x.lines
}

// fresh forgets what was cut from another text.
func (x *Doc) fresh() {
	if x.has != 0 && x.seen != x.Text { // the same string compares by its pointer
		x.has = 0
	}
	x.seen = x.Text
}

// start takes the next document, keeping memory.
func (x *Doc) start(d *corpus.Document, stages, scores int) {
	x.Document, x.has, x.seen = d, 0, ""
	if cap(x.tokens.Hash) > 1<<22 { // a giant document's; not kept
		x.tokens, x.lines = Tokens{}, nil
	}
	x.attached = make([][]byte, stages)
	x.scores = make([]float32, scores)
	for i := range x.scores {
		x.scores[i] = float32(math.NaN())
	}
}
