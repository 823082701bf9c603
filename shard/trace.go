package shard

import (
	"cmp"
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
	var spans []Span
	var ps []piece
	err = o.visit(step, func(row int, st *stream, at int64) error {
		ps = st.pieces(ps[:0], at)
		for _, p := range ps {
			spans = append(spans, span(row, st, p, rows))
		}
		return nil
	})
	return spans, err
}

func span(row int, st *stream, p piece, rows []DocumentRow) Span {
	d := &rows[st.section.firstRow+int(p.number)]
	return Span{
		Row: row, At: p.at, Len: p.n, Section: d.Section, Document: d.ID, License: d.License,
		Number: d.Number, DocStart: p.from, Epoch: int(p.epoch),
	}
}

// StepsOf lists every sight of a document in the run, by step and row. An empty section means any. A document that is
// in the shards but was not read gives an empty list; one that is not there is an error.
func (o *Order) StepsOf(section, document string) ([]Sighting, error) {
	if o.options.Steps == 0 {
		return nil, fmt.Errorf("shard: a run without end has no list of steps for document %q", document)
	}
	rows, err := o.set.readRows()
	if err != nil {
		return nil, err
	}
	found := false
	var seen []Sighting
	for i := range rows {
		if rows[i].ID != document || section != "" && rows[i].Section != section {
			continue
		}
		found = true
		for s, st := range o.streams {
			if st.section.info.Name == rows[i].Section {
				seen = o.sightings(seen, s, int32(rows[i].Number), rows)
			}
		}
	}
	if !found {
		where := ""
		if section != "" {
			where = fmt.Sprintf(" in section %q", section)
		}
		return nil, fmt.Errorf("shard: no document %q%s in %s\n\t(ids are in the column id of %s)", document, where, o.set.dir, spansName)
	}
	slices.SortStableFunc(seen, func(a, b Sighting) int {
		return cmp.Or(cmp.Compare(a.Step, b.Step), cmp.Compare(a.Row, b.Row), cmp.Compare(a.At, b.At))
	})
	return seen, nil
}

// sightings appends where the run reads a document of stream s: from its place in each epoch to the rows on which that
// place lies, to when these rows are read.
func (o *Order) sightings(dst []Sighting, s int, number int32, rows []DocumentRow) []Sighting {
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
				Span: span(int(global%int64(o.options.Rows)), st, p, rows),
			})
		}
	}
	return dst
}

// Seen counts how many tokens of each document the steps from first to last read, in the order of Set.Documents.
func (o *Order) Seen(first, last int) ([]int64, error) {
	seen := make([]int64, o.set.info.Documents())
	var ps []piece
	for step := first; step <= last; step++ {
		err := o.visit(step, func(_ int, st *stream, at int64) error {
			ps = st.pieces(ps[:0], at)
			for _, p := range ps {
				seen[st.section.firstRow+int(p.number)] += int64(p.n)
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return seen, nil
}
