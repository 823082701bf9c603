package shard

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
)

// Span is a part of a document in a row of a step.
type Span struct {
	Row, At, Len int // row of the step, first token in it, tokens
	Section      string
	Document     string // its id
	License      string
	Number       int64 // of the document within the section
	DocStart     int64 // first token within the document, separators included
	Epoch        int   // pass over the section, 0 for the first
}

// Sighting is a Span with its step.
type Sighting struct {
	Step int
	Span
}

// Spans lists what a step reads, row by row: every token of the batch lies in exactly one span.
func (o *Order) Spans(step int) ([]Span, error) {
	rows, err := o.set.readRows()
	if err != nil {
		return nil, err
	}
	return o.spans(step, rowTable(rows))
}

// SpansNamed is Spans with the documents called as n has them.
func (o *Order) SpansNamed(step int, n *Names) ([]Span, error) { return o.spans(step, n) }

func (o *Order) spans(step int, table describer) ([]Span, error) {
	var spans []Span
	var ps []piece
	err := o.visit(step, func(row int, st *stream, at int64) error {
		ps = st.pieces(ps[:0], at)
		for _, p := range ps {
			spans = append(spans, span(row, st, p, table))
		}
		return nil
	})
	return spans, err
}

func span(row int, st *stream, p piece, table describer) Span {
	section, id, license := table.describe(st.section.firstRow + int(p.number))
	return Span{
		Row: row, At: p.at, Len: p.n, Section: section, Document: id, License: license,
		Number: int64(p.number), DocStart: p.from, Epoch: int(p.epoch),
	}
}

// StepsOf lists every sight of a document in the run, by step and row. An empty section means any. A document that is
// in the shards but was not read gives an empty list; one that is not there is an error.
func (o *Order) StepsOf(section, document string) ([]Sighting, error) {
	rows, err := o.set.readRows()
	if err != nil {
		return nil, err
	}
	var places []int
	for i := range rows {
		if rows[i].ID == document && (section == "" || rows[i].Section == section) {
			places = append(places, i)
		}
	}
	if len(places) == 0 {
		return nil, o.noDocument(section, document)
	}
	return o.stepsOf(places, rowTable(rows))
}

// StepsOfNamed is StepsOf with the documents called as n has them.
func (o *Order) StepsOfNamed(section, document string, n *Names) ([]Sighting, error) {
	places := n.Find(section, document)
	if len(places) == 0 {
		return nil, o.noDocument(section, document)
	}
	return o.stepsOf(places, n)
}

func (o *Order) noDocument(section, document string) error {
	where := ""
	if section != "" {
		where = fmt.Sprintf(" in section %q", section)
	}
	return fmt.Errorf("shard: no document %q%s in %s\n\t(ids are in the column id of %s)", document, where, o.set.dir, spansName)
}

// stepsOf lists every sight of the documents at the given places of the table.
func (o *Order) stepsOf(places []int, table describer) ([]Sighting, error) {
	if o.options.Steps == 0 {
		return nil, errors.New("shard: a run without end has no list of steps for a document")
	}
	var seen []Sighting
	for _, at := range places {
		for s, st := range o.streams {
			if number := at - st.section.firstRow; number >= 0 && number < len(st.section.lengths) {
				seen = o.sightings(seen, s, int32(number), table)
			}
		}
	}
	slices.SortStableFunc(seen, func(a, b Sighting) int {
		return cmp.Or(cmp.Compare(a.Step, b.Step), cmp.Compare(a.Row, b.Row), cmp.Compare(a.At, b.At))
	})
	return seen, nil
}

// sightings appends where the run reads a document of stream s: from its place in each epoch to the rows on which that
// place lies, to when these rows are read.
func (o *Order) sightings(dst []Sighting, s int, number int32, table describer) []Sighting {
	st := o.streams[s]
	first := o.skip[s] // of the rows that are read: [first, end)
	end := first + o.total()[s]
	// They lie in these blocks, so the epochs that can be seen do.
	low := first / st.block * st.block * st.rowLen
	high := (end + st.block - 1) / st.block * st.block * st.rowLen
	for e := low / st.tokens; e*st.tokens < high; e++ {
		ep := st.epoch(e)
		place := ep.documents.inverse()[number]
		from, to := e*st.tokens+ep.starts[place], e*st.tokens+ep.starts[place+1]
		for row := from / st.rowLen; row*st.rowLen < min(to, high); row++ {
			j := st.reads(row)
			if j < first || j >= end {
				continue
			}
			global := o.interleave.find(s, j-first)
			a, b := max(from, row*st.rowLen), min(to, (row+1)*st.rowLen)
			p := piece{int(a - row*st.rowLen), int(b - a), number, a - from, e}
			dst = append(dst, Sighting{
				Step: int(global/int64(o.options.Rows)) + 1,
				Span: span(int(global%int64(o.options.Rows)), st, p, table),
			})
		}
	}
	return dst
}

// Seen counts how many tokens of each document the steps from first to last read, in the order of Set.Documents.
func (o *Order) Seen(first, last int) ([]int64, error) {
	seen := make([]int64, o.set.info.Documents())
	err := o.Walk(first, last, func(_, document, tokens int) { seen[document] += int64(tokens) })
	return seen, err
}

// Walk calls f for every piece of a document that the steps from first to last read, step by step and row by row.
// Documents are numbered as the rows of Set.Documents.
func (o *Order) Walk(first, last int, f func(step, document, tokens int)) error {
	var ps []piece
	for step := first; step <= last; step++ {
		err := o.visit(step, func(_ int, st *stream, at int64) error {
			ps = st.pieces(ps[:0], at)
			for _, p := range ps {
				f(step, st.section.firstRow+int(p.number), p.n)
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}
