package shard

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"math/big"
	"math/rand/v2"
	"os/exec"
	"slices"
	"sort"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"ravn/model"
)

func newOrder(t testing.TB, s *Set, o OrderOptions) *Order {
	t.Helper()
	r, err := NewOrder(s, o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func batch(t testing.TB, o *Order, step int) *model.Batch {
	t.Helper()
	b, err := o.Batch(step)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// A reference is the order as it is told, without arithmetic: streams written out token by token, rows put in a list,
// the interleave in fractions of whole numbers.
type reference struct {
	streams map[string][]seenToken // long enough for all rows
	rows    []referenceRow         // all rows of the run
	tokens  int                    // of a row
}

type seenToken struct {
	token  int32
	doc    string
	from   int64 // within the document
	length int64 // of the document
	epoch  int
}

type referenceRow struct {
	section string
	row     int
}

// shuffled orders numbers by hash, written apart from permutation.
func shuffled(what string, seed uint64, section string, round, n int) []int {
	sum := sha256.Sum256([]byte(strings.Join([]string{"ravn order 1", what, fmt.Sprint(seed), section, fmt.Sprint(round)}, "\x00")))
	a, b := binary.LittleEndian.Uint64(sum[0:8]), binary.LittleEndian.Uint64(sum[8:16])
	finish := func(z uint64) uint64 {
		z ^= z >> 30
		z *= 0xbf58476d1ce4e5b9
		z ^= z >> 27
		z *= 0x94d049bb133111eb
		z ^= z >> 31
		return z
	}
	hash := func(i int) uint64 { return finish(finish(a+uint64(i)*0x9e3779b97f4a7c15) ^ b) }
	list := make([]int, n)
	for i := range list {
		list[i] = i
	}
	sort.Slice(list, func(i, j int) bool { return hash(list[i]) < hash(list[j]) })
	return list
}

// chairmen is Tijdeman's rule in rational numbers. Sections go by name.
func chairmen(weights []int64, rows int) []int {
	total := int64(0)
	for _, w := range weights {
		total += w
	}
	k := int64(len(weights))
	counts := make([]int64, k)
	var list []int
	for n := int64(1); n <= int64(rows); n++ {
		best := 0
		var bestTime *big.Rat
		for s, w := range weights {
			if k == 1 {
				break
			}
			behind := new(big.Rat).Sub(big.NewRat(w*n, total), big.NewRat(counts[s], 1))
			if behind.Cmp(big.NewRat(1, 2*k-2)) < 0 {
				continue
			}
			left := new(big.Rat).Sub(big.NewRat(2*k-3, 2*k-2), behind)
			time := left.Mul(left, big.NewRat(total, w))
			if bestTime == nil || time.Cmp(bestTime) < 0 {
				best, bestTime = s, time
			}
		}
		counts[best]++
		list = append(list, best)
	}
	return list
}

func newReference(sections []SectionInput, weights map[string]int64, o OrderOptions) *reference {
	ref := &reference{streams: map[string][]seenToken{}, tokens: o.T}
	var names []string
	for name := range weights {
		names = append(names, name)
	}
	sort.Strings(names)
	var ws []int64
	for _, n := range names {
		ws = append(ws, weights[n])
	}
	rows := o.Rows * o.Steps
	lists := map[string][]int{}
	for _, s := range sections {
		if weights[s.Name] == 0 {
			continue
		}
		var docs []seenToken
		var texts [][]int32
		total := 0
		for d := range s.Documents {
			text := append(narrow.EncodeText([]int32{1}, d.Text), 2)
			docs = append(docs, seenToken{doc: d.ID, length: int64(len(text))})
			texts = append(texts, text)
			total += len(text)
		}
		block := (total + o.T - 1) / o.T
		for b := 0; b*block <= rows; b++ {
			for _, r := range shuffled("rows", o.Seed, s.Name, b, block) {
				lists[s.Name] = append(lists[s.Name], b*block+r)
			}
		}
		var stream []seenToken
		for e := 0; len(stream) < (rows+2*block+2)*o.T; e++ {
			for _, i := range shuffled("documents", o.Seed, s.Name, e, len(docs)) {
				for at, token := range texts[i] {
					stream = append(stream, seenToken{token, docs[i].doc, int64(at), docs[i].length, e})
				}
			}
		}
		ref.streams[s.Name] = stream
	}
	next := map[string]int{}
	for _, s := range chairmen(ws, rows) {
		name := names[s]
		ref.rows = append(ref.rows, referenceRow{name, lists[name][next[name]]})
		next[name]++
	}
	return ref
}

func (ref *reference) batch(o OrderOptions, step int) (*model.Batch, []Span) {
	b := &model.Batch{B: o.Rows, T: o.T}
	var spans []Span
	for r := range o.Rows {
		row := ref.rows[(step-1)*o.Rows+r]
		stream := ref.streams[row.section]
		segment, position := -1, 0
		for i := range o.T {
			at := row.row*o.T + i
			token := stream[at]
			if i == 0 || token.from == 0 {
				segment, position = segment+1, 0
				spans = append(spans, Span{Row: r, At: i, Section: row.section, Document: token.doc, DocStart: token.from, Epoch: token.epoch})
			}
			spans[len(spans)-1].Len++
			b.Tokens = append(b.Tokens, token.token)
			target := stream[at+1].token
			if o.AcrossDocuments {
				b.Targets, b.Positions, b.Segments = append(b.Targets, target), append(b.Positions, int32(i)), append(b.Segments, 0)
				continue
			}
			if token.from == token.length-1 {
				target = -1
			}
			b.Targets, b.Positions, b.Segments = append(b.Targets, target), append(b.Positions, int32(position)), append(b.Segments, int32(segment))
			position++
		}
	}
	return b, spans
}

var mixtures = []struct {
	name    string
	mixture []Share
	weights map[string]int64
}{
	{"one", []Share{{"wiki", 1}}, map[string]int64{"wiki": 1}},
	{"two", []Share{{"wiki", 0.6}, {"adl", 0.4}}, map[string]int64{"wiki": 3, "adl": 2}},
	{"three", []Share{{"wiki", 0.5}, {"tiny", 0.05}, {"adl", 0.45}}, map[string]int64{"wiki": 10, "adl": 9, "tiny": 1}},
}

// Batch and Spans against the reference, for rows shorter and longer than documents and than whole sections.
func TestOrderAgainstReference(t *testing.T) {
	dir := t.TempDir()
	writeSet(t, dir, three(), WriterOptions{Workers: 2})
	set := openSet(t, dir)
	for _, m := range mixtures {
		for _, T := range []int{1, 7, 64, 333} {
			for _, across := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s/T=%d/across=%v", m.name, T, across), func(t *testing.T) {
					o := OrderOptions{Mixture: m.mixture, Seed: uint64(17 + T), Rows: 5, T: T, Steps: 25, AcrossDocuments: across}
					ref := newReference(three(), m.weights, o)
					order := newOrder(t, set, o)
					for step := 1; step <= o.Steps; step++ {
						want, wantSpans := ref.batch(o, step)
						if diff := cmp.Diff(batch(t, order, step), want); diff != "" {
							t.Fatalf("batch %d (-got +want):\n%s", step, diff)
						}
						spans, err := order.Spans(step)
						if err != nil {
							t.Fatal(err)
						}
						for i := range spans { // these come from the table of documents, tested elsewhere
							spans[i].License, spans[i].Number = "", 0
						}
						if diff := cmp.Diff(spans, wantSpans); diff != "" {
							t.Fatalf("spans of %d (-got +want):\n%s", step, diff)
						}
					}
				})
			}
		}
	}
}

// A batch worked out by hand: one document of five tokens in rows of four. Rows of the stream are
//
//	row 0  BOS a b c      row 1  EOS BOS a b      row 2  c EOS BOS a      row 3  b c EOS BOS
//
// and blocks have two rows, so a step of four rows reads 0 and 1 in some order, then 2 and 3 in some order.
func TestBatchByHand(t *testing.T) {
	dir := t.TempDir()
	writeSet(t, dir, []SectionInput{{Name: "one", Documents: documents(doc("d", "abc"))}}, WriterOptions{})
	set := openSet(t, dir)
	a, b, c := int32('a')+3, int32('b')+3, int32('c')+3
	rows := []model.Batch{
		{Tokens: []int32{1, a, b, c}, Targets: []int32{a, b, c, 2}, Positions: []int32{0, 1, 2, 3}, Segments: []int32{0, 0, 0, 0}},
		{Tokens: []int32{2, 1, a, b}, Targets: []int32{-1, a, b, c}, Positions: []int32{0, 0, 1, 2}, Segments: []int32{0, 1, 1, 1}},
		{Tokens: []int32{c, 2, 1, a}, Targets: []int32{2, -1, a, b}, Positions: []int32{0, 1, 0, 1}, Segments: []int32{0, 0, 1, 1}},
		{Tokens: []int32{b, c, 2, 1}, Targets: []int32{c, 2, -1, a}, Positions: []int32{0, 1, 2, 0}, Segments: []int32{0, 0, 0, 1}},
	}
	across := [][]int32{{a, b, c, 2}, {1, a, b, c}, {2, 1, a, b}, {c, 2, 1, a}}
	for seed := range uint64(8) {
		for _, o := range []OrderOptions{
			{Mixture: []Share{{"one", 1}}, Seed: seed, Rows: 4, T: 4},
			{Mixture: []Share{{"one", 1}}, Seed: seed, Rows: 4, T: 4, AcrossDocuments: true},
		} {
			got := batch(t, newOrder(t, set, o), 1)
			seen := map[int]bool{}
			for r := range 4 {
				sl := func(x []int32) []int32 { return x[4*r : 4*r+4] }
				row := model.Batch{Tokens: sl(got.Tokens), Targets: sl(got.Targets), Positions: sl(got.Positions), Segments: sl(got.Segments)}
				for i, want := range rows {
					if o.AcrossDocuments {
						want.Targets, want.Positions, want.Segments = across[i], []int32{0, 1, 2, 3}, []int32{0, 0, 0, 0}
					}
					if cmp.Equal(row, want) && i/2 == r/2 {
						seen[i] = true
					}
				}
			}
			if len(seen) != 4 {
				t.Errorf("seed %d, across %v: rows found %v in %+v", seed, o.AcrossDocuments, seen, got)
			}
		}
	}
}

// Every token of a section's first epoch is read once in its first block of rows.
func TestFirstEpoch(t *testing.T) {
	dir := t.TempDir()
	writeSet(t, dir, three(), WriterOptions{})
	set := openSet(t, dir)
	o := OrderOptions{Mixture: []Share{{"wiki", 2}, {"adl", 1}}, Seed: 3, Rows: 4, T: 16}
	order := newOrder(t, set, o)
	type token struct {
		doc string
		at  int64
	}
	seen, rows := map[token]int{}, 0
	wiki := set.Info().Section("wiki")
	block := int(wiki.Tokens+15) / 16
	for step := 1; rows < block; step++ {
		spans, err := order.Spans(step)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range spans {
			if s.Section != "wiki" {
				continue
			}
			if s.At == 0 {
				rows++
			}
			if rows > block || s.Epoch > 0 {
				continue
			}
			for i := range s.Len {
				seen[token{s.Document, s.DocStart + int64(i)}]++
			}
		}
	}
	if int64(len(seen)) != wiki.Tokens {
		t.Errorf("%d tokens seen, the section has %d", len(seen), wiki.Tokens)
	}
	for k, n := range seen {
		if n != 1 {
			t.Errorf("token %v seen %d times", k, n)
		}
	}
}

// A book of one document fills a section; the rows of a step come from all over it.
func TestRowsAreSpread(t *testing.T) {
	dir := t.TempDir()
	writeSet(t, dir, []SectionInput{{Name: "book", Documents: documents(doc("b", strings.Repeat("a", 32000)))}}, WriterOptions{})
	order := newOrder(t, openSet(t, dir), OrderOptions{Mixture: []Share{{"book", 1}}, Rows: 8, T: 32})
	near, pairs := 0, 0
	for step := 1; step <= 100; step++ {
		spans, err := order.Spans(step)
		if err != nil {
			t.Fatal(err)
		}
		for i := range spans {
			for k := range i {
				pairs++
				if d := spans[i].DocStart - spans[k].DocStart; d >= -32 && d <= 32 {
					near++
				}
			}
		}
	}
	// Of pairs among 1,001 rows drawn at random two in a thousand are neighbours: about 6 of 2,800. In reading order it
	// would be 700.
	if near > 20 {
		t.Errorf("%d of %d pairs of rows in a step are neighbours", near, pairs)
	}
}

// The same batches from other objects, in another order, from several goroutines, by another order of the mixture.
func TestBatchIsAFunction(t *testing.T) {
	dir, again := t.TempDir(), t.TempDir()
	writeSet(t, dir, three(), WriterOptions{Workers: 1})
	writeSet(t, again, three(), WriterOptions{Workers: 3})
	o := OrderOptions{Mixture: []Share{{"wiki", 0.5}, {"tiny", 0.05}, {"adl", 0.45}}, Seed: 9, Rows: 6, T: 50, Steps: 1_000_000}
	first := newOrder(t, openSet(t, dir), o)
	var want []*model.Batch
	steps := []int{1, 2, 3, 50, 999_999, 1_000_000}
	for _, s := range steps {
		want = append(want, batch(t, first, s))
	}
	o.Mixture = []Share{{"adl", 9}, {"tiny", 1}, {"wiki", 10}}
	o.Steps = 0
	other := newOrder(t, openSet(t, again), o)
	if first.Hash() != other.Hash() {
		t.Error("the same order has two hashes")
	}
	var wg sync.WaitGroup
	for i := len(steps) - 1; i >= 0; i-- {
		wg.Go(func() {
			got, err := other.Batch(steps[i])
			if err != nil || !cmp.Equal(got, want[i]) {
				t.Errorf("step %d differs (%v)", steps[i], err)
			}
		})
	}
	wg.Wait()
}

func TestHash(t *testing.T) {
	dir := t.TempDir()
	writeSet(t, dir, three(), WriterOptions{})
	set := openSet(t, dir)
	base := OrderOptions{Mixture: []Share{{"wiki", 1}, {"adl", 1}}, Seed: 1, Rows: 2, T: 8, Steps: 10}
	hash := newOrder(t, set, base).Hash()
	for name, change := range map[string]func(*OrderOptions){
		"seed":    func(o *OrderOptions) { o.Seed = 2 },
		"rows":    func(o *OrderOptions) { o.Rows = 3 },
		"T":       func(o *OrderOptions) { o.T = 9 },
		"across":  func(o *OrderOptions) { o.AcrossDocuments = true },
		"share":   func(o *OrderOptions) { o.Mixture = []Share{{"wiki", 1}, {"adl", 1.1}} },
		"section": func(o *OrderOptions) { o.Mixture = []Share{{"wiki", 1}, {"tiny", 1}} },
	} {
		o := base
		change(&o)
		if newOrder(t, set, o).Hash() == hash {
			t.Errorf("%s does not change the hash", name)
		}
	}
	o := base
	o.Steps = 11
	if newOrder(t, set, o).Hash() != hash {
		t.Error("the number of steps changes the hash")
	}
	in := three()
	in[1].Documents = documents(append(randomDocuments(2, "adl", 5, 900), doc("adl_more", "x"))...)
	other := t.TempDir()
	writeSet(t, other, in, WriterOptions{})
	if newOrder(t, openSet(t, other), base).Hash() == hash {
		t.Error("a document more does not change the hash")
	}
}

// A section's own order does not depend on what it is mixed with.
func TestSectionsAreIndependent(t *testing.T) {
	dir := t.TempDir()
	writeSet(t, dir, three(), WriterOptions{})
	set := openSet(t, dir)
	rowsOf := func(mixture ...Share) (rows []int32) {
		o := newOrder(t, set, OrderOptions{Mixture: mixture, Seed: 4, Rows: 4, T: 16})
		for step := 1; len(rows) < 60*16; step++ {
			spans, err := o.Spans(step)
			if err != nil {
				t.Fatal(err)
			}
			b := batch(t, o, step)
			for _, s := range spans {
				if s.Section == "wiki" {
					rows = append(rows, b.Tokens[s.Row*16+s.At:][:s.Len]...)
				}
			}
		}
		return rows[:60*16]
	}
	if diff := cmp.Diff(rowsOf(Share{"wiki", 1}), rowsOf(Share{"adl", 3}, Share{"tiny", 1}, Share{"wiki", 2})); diff != "" {
		t.Errorf("alone and mixed:\n%s", diff)
	}
}

// After any number of rows each section has its share to within 1-1/(2K-2) rows, also far from the start.
func TestInterleave(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	cases := [][]float64{{1}, {0.6, 0.4}, {1, 1, 1}, {0.9, 0.05, 0.05}, {1.0 / 3, 2.0 / 3}, {math.Pi, math.E, 1, math.Sqrt2}, {1e-9, 1}, {1e6, 1, 1, 1}}
	for range 6 {
		shares := make([]float64, 2+r.IntN(12))
		for i := range shares {
			shares[i] = math.Exp(3 * r.NormFloat64())
		}
		cases = append(cases, shares)
	}
	for _, shares := range cases {
		v := newInterleave(fractions(shares))
		k := len(shares)
		bound := max(1, int64(2*k-3)) // over 2K-2
		if k == 1 {
			bound = 0
		}
		counts := make([]int64, k)
		for n := range v.period {
			counts[v.section(n)]++
			for s, w := range v.weights {
				if off := int64(2*max(k-1, 1)) * (counts[s]*v.period - w*(n+1)); off > bound*v.period || -off > bound*v.period {
					t.Fatalf("shares %v: after %d rows section %d has %d", shares, n+1, s, counts[s])
				}
			}
		}
		total := 0.0
		for _, s := range shares {
			total += s
		}
		for i, s := range shares {
			if off := math.Abs(float64(v.weights[i])/float64(v.period) - s/total); off > 1e-6 {
				t.Errorf("shares %v: weight %d is %d of %d, off by %g", shares, i, v.weights[i], v.period, off)
			}
		}
		// Random access agrees with counting.
		got := make([]int64, k)
		walked := make([]int64, k)
		start := 3 * v.period
		for s, w := range v.weights {
			walked[s] = 3 * w
		}
		for n := start; n < start+min(v.period, 10000); n++ {
			if n%97 == 0 || n < start+5 {
				if v.counts(got, n); !cmp.Equal(got, walked) {
					t.Fatalf("shares %v: counts before row %d are %v, want %v", shares, n, got, walked)
				}
			}
			s := v.section(n)
			if f := v.find(s, walked[s]); f != n {
				t.Fatalf("shares %v: row %d of section %d found at %d, want %d", shares, walked[s], s, f, n)
			}
			walked[s]++
		}
	}
}

func TestFractions(t *testing.T) {
	for _, c := range []struct {
		shares []float64
		want   []int64
	}{
		{[]float64{5}, []int64{1}},
		{[]float64{0.6, 0.4}, []int64{3, 2}},
		{[]float64{60, 40}, []int64{3, 2}},
		{[]float64{1.0 / 3, 1.0 / 3, 1.0 / 3}, []int64{1, 1, 1}},
		{[]float64{0.5, 0.3, 0.15, 0.05}, []int64{10, 6, 3, 1}},
		{[]float64{0.999999, 0.000001}, []int64{999999, 1}},
		{[]float64{1, 1e-13}, []int64{1<<20 - 1, 1}},
		{[]float64{0.123456789, 0.876543211}, []int64{129454, 919122}}, // 129453.83 and 919122.17 of 2^20
	} {
		if got := fractions(c.shares); !cmp.Equal(got, c.want) {
			t.Errorf("fractions(%v) = %v, want %v", c.shares, got, c.want)
		}
	}
}

// Two phases, the second with the first's rows skipped, read what one phase of both lengths reads; another mixture goes on
// in each section where the first left off.
func TestSkip(t *testing.T) {
	dir := t.TempDir()
	writeSet(t, dir, three(), WriterOptions{})
	set := openSet(t, dir)
	o := OrderOptions{Mixture: []Share{{"wiki", 0.6}, {"adl", 0.4}}, Seed: 8, Rows: 5, T: 20, Steps: 12}
	whole := newOrder(t, set, o)
	o.Steps = 7
	first := newOrder(t, set, o)
	if diff := cmp.Diff(first.RowsRead(), map[string]int64{"wiki": 21, "adl": 14}); diff != "" {
		t.Error(diff)
	}
	o.Skip, o.Steps = first.RowsRead(), 5
	second := newOrder(t, set, o)
	for step := 1; step <= 5; step++ {
		if diff := cmp.Diff(batch(t, second, step), batch(t, whole, 7+step)); diff != "" {
			t.Errorf("step %d of the second phase:\n%s", step, diff)
		}
	}
	if diff := cmp.Diff(second.RowsRead(), whole.RowsRead()); diff != "" {
		t.Error(diff)
	}
	if first.Hash() == second.Hash() {
		t.Error("skipped rows do not change the hash")
	}
	o.Mixture = []Share{{"wiki", 1}}
	alone := batch(t, newOrder(t, set, o), 1)
	// The wiki rows of steps 8 and 9 of the whole run are its rows 22 to 27; the phase of wiki alone begins with 22.
	spans, err := whole.Spans(8)
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(spans, func(s Span) bool { return s.Section == "wiki" })
	if diff := cmp.Diff(alone.Tokens[:20], batch(t, whole, 8).Tokens[spans[i].Row*20:][:20]); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(newOrder(t, set, o).RowsRead(), map[string]int64{"wiki": 21 + 25, "adl": 14}); diff != "" {
		t.Error(diff)
	}
	o.Skip = map[string]int64{"wiki": -1}
	_, err = NewOrder(set, o)
	check(t, err, `section "wiki" has -1 rows to skip`)
}

func TestEpochs(t *testing.T) {
	dir := t.TempDir()
	writeSet(t, dir, []SectionInput{
		{Name: "a", Documents: documents(doc("a", strings.Repeat("a", 98)))}, // 100 tokens
		{Name: "b", Documents: documents(doc("b", strings.Repeat("b", 48)))}, // 50 tokens
	}, WriterOptions{})
	o := newOrder(t, openSet(t, dir), OrderOptions{Mixture: []Share{{"a", 3}, {"b", 1}}, Rows: 4, T: 10, Steps: 5})
	// 20 rows: 15 of a are 150 tokens, 5 of b are 50.
	if diff := cmp.Diff(o.Epochs(), map[string]float64{"a": 1.5, "b": 1}); diff != "" {
		t.Error(diff)
	}
}

func TestOrderErrors(t *testing.T) {
	dir := t.TempDir()
	writeSet(t, dir, append(three(), SectionInput{Name: "empty", Documents: documents()}), WriterOptions{})
	set := openSet(t, dir)
	one := []Share{{"wiki", 1}}
	for _, c := range []struct {
		name string
		o    OrderOptions
		want []string
	}{
		{"no mixture", OrderOptions{Rows: 1, T: 1}, []string{"mixture: no sections; there are: wiki, adl, tiny, empty"}},
		{"unknown", OrderOptions{Mixture: []Share{{"xyz", 1}}, Rows: 1, T: 1}, []string{`mixture: no section "xyz"; there are: wiki, adl, tiny, empty`}},
		{"empty section", OrderOptions{Mixture: []Share{{"empty", 1}}, Rows: 1, T: 1}, []string{`section "empty" has no tokens`, "take it out of the mixture"}},
		{"zero", OrderOptions{Mixture: []Share{{"wiki", 0}}, Rows: 1, T: 1}, []string{`section "wiki" has share 0; shares must be positive`}},
		{"negative", OrderOptions{Mixture: []Share{{"wiki", -1}}, Rows: 1, T: 1}, []string{`section "wiki" has share -1`}},
		{"NaN", OrderOptions{Mixture: []Share{{"wiki", math.NaN()}}, Rows: 1, T: 1}, []string{"has share NaN"}},
		{"infinite", OrderOptions{Mixture: []Share{{"wiki", math.Inf(1)}}, Rows: 1, T: 1}, []string{"has share +Inf"}},
		{"infinite sum", OrderOptions{Mixture: []Share{{"wiki", math.MaxFloat64}, {"adl", math.MaxFloat64}}, Rows: 1, T: 1}, []string{"the sum of shares is too large"}},
		{"twice", OrderOptions{Mixture: []Share{{"wiki", 1}, {"adl", 1}, {"wiki", 1}}, Rows: 1, T: 1}, []string{`section "wiki" stands there twice`}},
		{"no rows", OrderOptions{Mixture: one, T: 1}, []string{"0 rows of 1 tokens; both must be positive"}},
		{"negative T", OrderOptions{Mixture: one, Rows: 1, T: -8}, []string{"1 rows of -8 tokens"}},
		{"negative steps", OrderOptions{Mixture: one, Rows: 1, T: 1, Steps: -1}, []string{"-1 steps"}},
		{"too many", OrderOptions{Mixture: one, Rows: 1 << 20, T: 1 << 20, Steps: 1 << 30}, []string{"beyond counting"}},
		{"several", OrderOptions{Mixture: []Share{{"xyz", 0}}}, []string{"0 rows", `no section "xyz"`, "has share 0"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := NewOrder(set, c.o)
			check(t, err, c.want...)
		})
	}
	o := newOrder(t, set, OrderOptions{Mixture: one, Rows: 1, T: 1, Steps: 10})
	_, err := o.Batch(11)
	check(t, err, "no step 11; there are 1 to 10")
	_, err = o.Spans(0)
	check(t, err, "no step 0; there are 1 to 10")
	o = newOrder(t, set, OrderOptions{Mixture: one, Rows: 1, T: 1})
	_, err = o.Batch(-1)
	check(t, err, "no step -1; steps begin with 1")
	_, err = o.Batch(math.MaxInt)
	check(t, err, "is beyond counting")
	_, err = o.StepsOf("", "wiki_0")
	check(t, err, "a run without end has no list of steps")
}

// A second implementation, in Python, that reads the files alone.
func TestPythonOrder(t *testing.T) {
	if err := exec.Command("/usr/bin/python3", "-c", "import numpy").Run(); err != nil {
		t.Skip("no /usr/bin/python3 with numpy")
	}
	dir := t.TempDir()
	writeSet(t, dir, three(), WriterOptions{})
	order := newOrder(t, openSet(t, dir), OrderOptions{Mixture: []Share{{"wiki", 0.5}, {"tiny", 0.05}, {"adl", 0.45}}, Seed: 17, Rows: 8, T: 40})
	for _, step := range []int{1, 2, 1000} {
		out, err := exec.Command("/usr/bin/python3", "testdata/order.py", dir, "17", "8", "40", fmt.Sprint(step), "adl=9", "tiny=1", "wiki=10").Output()
		if err != nil {
			t.Fatal(err)
		}
		var want [][]int32
		if err := json.Unmarshal(out, &want); err != nil {
			t.Fatal(err)
		}
		b := batch(t, order, step)
		for r := range want {
			if diff := cmp.Diff(b.Tokens[r*40:][:40], want[r]); diff != "" {
				t.Errorf("step %d row %d (-Go +Python):\n%s", step, r, diff)
			}
		}
	}
}
