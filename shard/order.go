package shard

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"ravn/model"
)

// Share is a section's part of the rows. Shares are relative: 3 and 2 are 0.6 and 0.4.
type Share struct {
	Section string  // name, or in a recipe a group: "role:replay", "language:en"
	Share   float64 // part of the rows, positive; shares need not sum to 1
}

// OrderOptions decide what each step reads.
type OrderOptions struct {
	Mixture []Share // the order of its entries does not matter
	Seed    uint64
	Rows    int // rows of a step (B)
	T       int // tokens of a row
	Steps   int // of the run; 0: without end. It bounds Batch and decides nothing
	// AcrossDocuments lets attention and targets run on from one document into the next, as was usual in 2024: one
	// segment a row, and the target of every token is the next one of the stream.
	AcrossDocuments bool
	// Skip is how many rows of each section earlier phases have read, as RowsRead tells; reading goes on behind them.
	Skip map[string]int64
}

// Order says what each step reads: a pure function of its options and the shards. It may be used from several
// goroutines, as long as the Set is open.
type Order struct {
	set        *Set
	options    OrderOptions
	streams    []*stream // of the mixture's sections, by name
	skip       []int64   // rows of each that were read before
	interleave *interleave
	hash       string
}

// NewOrder makes the order of a run. It reports all that is wrong with the options.
func NewOrder(s *Set, o OrderOptions) (*Order, error) {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if o.Rows <= 0 || o.T <= 0 {
		bad("shard: %d rows of %d tokens; both must be positive", o.Rows, o.T)
	}
	if o.Steps < 0 {
		bad("shard: %d steps; give 0 for a run without end", o.Steps)
	}
	if int64(o.Steps) > math.MaxInt64/4/int64(max(o.Rows, 1))/int64(max(o.T, 1)) {
		bad("shard: %d steps of %d rows of %d tokens are beyond counting", o.Steps, o.Rows, o.T)
	}
	if len(o.Mixture) == 0 {
		bad("mixture: no sections; there are: %s", s.names())
	}
	if len(o.Mixture) > math.MaxUint16 {
		bad("mixture: %d sections; %d are the most", len(o.Mixture), math.MaxUint16)
	}
	mixture := slices.Clone(o.Mixture)
	slices.SortStableFunc(mixture, func(a, b Share) int { return strings.Compare(a.Section, b.Section) })
	sum := 0.0
	for i, m := range mixture {
		sec := s.sections[m.Section]
		switch {
		case sec == nil:
			bad("mixture: no section %q; there are: %s", m.Section, s.names())
		case i > 0 && mixture[i-1].Section == m.Section:
			bad("mixture: section %q stands there twice", m.Section)
		case sec.info.Tokens == 0:
			bad("mixture: section %q has no tokens\n\t(take it out of the mixture; were all its documents removed?)", m.Section)
		case sec.info.Tokens/int64(max(o.T, 1)) >= math.MaxInt32:
			bad("mixture: section %q has %d tokens, too many for rows of %d\n\t(split the section)", m.Section, sec.info.Tokens, o.T)
		}
		if !(m.Share > 0) || math.IsInf(m.Share, 0) {
			bad("mixture: section %q has share %g; shares must be positive", m.Section, m.Share)
		}
		sum += m.Share
	}
	if math.IsInf(sum, 0) {
		bad("mixture: the sum of shares is too large")
	}
	for _, name := range slices.Sorted(maps.Keys(o.Skip)) {
		if n := o.Skip[name]; n < 0 || n > math.MaxInt64/4/int64(max(o.T, 1)) {
			bad("shard: section %q has %d rows to skip", name, n)
		}
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	o.Mixture = mixture
	r := &Order{set: s, options: o}
	shares := make([]float64, len(mixture))
	for i, m := range mixture {
		r.streams = append(r.streams, newStream(s.sections[m.Section], o.Seed, o.T))
		r.skip = append(r.skip, o.Skip[m.Section])
		shares[i] = m.Share
	}
	r.interleave = newInterleave(fractions(shares))
	r.hash = r.computeHash()
	return r, nil
}

// computeHash covers everything that decides a batch, and nothing else.
func (o *Order) computeHash() string {
	h := sha256.New()
	p := &o.options
	fmt.Fprintf(h, "ravn order 1\nseed %d\nrows %d\ntokens %d\nacross documents %t\nvocabulary %d\n", p.Seed, p.Rows, p.T, p.AcrossDocuments, o.set.info.VocabSize)
	for i, st := range o.streams {
		in := st.section.info
		fmt.Fprintf(h, "section %q %d %s %s\n", in.Name, o.interleave.weights[i], in.Bin.SHA256, in.Idx.SHA256)
		if o.skip[i] > 0 {
			fmt.Fprintf(h, "from row %d\n", o.skip[i])
		}
	}
	return hex.EncodeToString(h.Sum(nil))
}

// Hash is a hash of all that decides the order: seed, sizes, mixture and shards. The number of steps is not part of
// it, so a longer run begins as the shorter one did.
func (o *Order) Hash() string { return o.hash }

// firstRow checks a step and returns the number of its first row among all rows.
func (o *Order) firstRow(step int) (int64, error) {
	p := &o.options
	if step < 1 || p.Steps > 0 && step > p.Steps {
		if p.Steps > 0 {
			return 0, fmt.Errorf("shard: no step %d; there are 1 to %d", step, p.Steps)
		}
		return 0, fmt.Errorf("shard: no step %d; steps begin with 1", step)
	}
	if int64(step) > math.MaxInt64/4/int64(p.Rows)/int64(p.T) {
		return 0, fmt.Errorf("shard: step %d is beyond counting", step)
	}
	return int64(step-1) * int64(p.Rows), nil
}

// visit calls f for each row of a step with its stream and its place there.
func (o *Order) visit(step int, f func(row int, st *stream, at int64) error) error {
	first, err := o.firstRow(step)
	if err != nil {
		return err
	}
	counts := make([]int64, len(o.streams))
	o.interleave.counts(counts, first)
	for r := range o.options.Rows {
		s := o.interleave.section(first + int64(r))
		st := o.streams[s]
		if err := f(r, st, st.row(o.skip[s]+counts[s])); err != nil {
			return err
		}
		counts[s]++
	}
	return nil
}

// Batch is what a step reads; steps begin with 1. It takes time in the number of its rows, whatever the step; the
// first batch of an epoch also orders the section's documents.
//
// A document's first token is nobody's target, unless AcrossDocuments; its last token has none. A row that begins within
// a document counts positions from 0.
func (o *Order) Batch(step int) (*model.Batch, error) {
	B, T := o.options.Rows, o.options.T
	back := make([]int32, 4*B*T)
	b := &model.Batch{
		B: B, T: T,
		Tokens: back[: B*T : B*T], Targets: back[B*T : 2*B*T : 2*B*T], Positions: back[2*B*T : 3*B*T : 3*B*T], Segments: back[3*B*T:],
	}
	var ps []piece
	err := o.visit(step, func(row int, st *stream, at int64) (err error) {
		from, to := row*T, (row+1)*T
		ps = st.pieces(ps[:0], at)
		for _, p := range ps {
			if err := st.section.read(b.Tokens[from+p.at:][:p.n], st.section.firsts[p.number]+p.from); err != nil {
				return err
			}
		}
		copy(b.Targets[from:to], b.Tokens[from+1:to])
		last := ps[len(ps)-1]
		if o.options.AcrossDocuments {
			for i := range T {
				b.Positions[from+i] = int32(i)
			}
			b.Targets[to-1], err = st.tokenAt((at + 1) * int64(T))
			return err
		}
		for segment, p := range ps {
			for i := range p.n {
				b.Positions[from+p.at+i], b.Segments[from+p.at+i] = int32(i), int32(segment)
			}
			b.Targets[from+p.at+p.n-1] = -1
		}
		if end := last.from + int64(last.n); end < int64(st.section.lengths[last.number]) {
			return st.section.read(b.Targets[to-1:to], st.section.firsts[last.number]+end)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return b, nil
}

// Epochs says how often each section of the mixture is read in the whole run, 1 being once.
func (o *Order) Epochs() map[string]float64 {
	counts := o.total()
	epochs := map[string]float64{}
	for i, st := range o.streams {
		epochs[st.section.info.Name] = float64(counts[i]) * float64(st.rowLen) / float64(st.tokens)
	}
	return epochs
}

// RowsRead says how many rows of each section are read when the run is over, skipped ones included: the Skip of a run
// that comes after with rows of the same length.
func (o *Order) RowsRead() map[string]int64 {
	return o.rowsTo(o.options.Steps)
}

func (o *Order) rowsTo(step int) map[string]int64 {
	read := maps.Clone(o.options.Skip)
	if read == nil {
		read = map[string]int64{}
	}
	counts := make([]int64, len(o.streams))
	o.interleave.counts(counts, int64(step)*int64(o.options.Rows))
	for i, n := range counts {
		read[o.streams[i].section.info.Name] += n
	}
	return read
}

// total is the number of rows of each section in the whole run.
func (o *Order) total() []int64 {
	counts := make([]int64, len(o.streams))
	o.interleave.counts(counts, int64(o.options.Steps)*int64(o.options.Rows))
	return counts
}
