package shard

import (
	"fmt"
	"testing"
)

func benchSet(b *testing.B) *Set {
	dir := b.TempDir()
	writeSet(b, dir, []SectionInput{
		{Name: "adl", Documents: documents(randomDocuments(1, "adl", 40, 400_000)...)},
		{Name: "wiki", Documents: documents(randomDocuments(2, "wiki", 20_000, 800)...)},
	}, WriterOptions{})
	return openSet(b, dir)
}

func BenchmarkBatch(b *testing.B) {
	set := benchSet(b)
	for _, first := range []int{1, 1_000_000} {
		b.Run(fmt.Sprint("from step ", first), func(b *testing.B) {
			o, err := NewOrder(set, OrderOptions{Mixture: []Share{{"adl", 0.6}, {"wiki", 0.4}}, Seed: 1, Rows: 64, T: 512})
			if err != nil {
				b.Fatal(err)
			}
			step := first
			for b.Loop() {
				if _, err := o.Batch(step); err != nil {
					b.Fatal(err)
				}
				step++
			}
			b.ReportMetric(float64(64*512*b.N)/b.Elapsed().Seconds()/1e6, "Mtokens/s")
		})
	}
}

// The first batch of a section of half a million documents, as many as Danish Gigaword has: it orders them.
func BenchmarkFirstBatch(b *testing.B) {
	dir := b.TempDir()
	writeSet(b, dir, []SectionInput{{Name: "dagw", Documents: documents(randomDocuments(1, "dagw", 500_000, 20)...)}}, WriterOptions{})
	set := openSet(b, dir)
	step := 1
	for b.Loop() {
		o, err := NewOrder(set, OrderOptions{Mixture: []Share{{"dagw", 1}}, Seed: uint64(step), Rows: 8, T: 512})
		if err != nil {
			b.Fatal(err)
		}
		if _, err := o.Batch(1_000_000); err != nil {
			b.Fatal(err)
		}
		step++
	}
}

func BenchmarkSpans(b *testing.B) {
	set := benchSet(b)
	o, err := NewOrder(set, OrderOptions{Mixture: []Share{{"adl", 0.6}, {"wiki", 0.4}}, Seed: 1, Rows: 64, T: 512})
	if err != nil {
		b.Fatal(err)
	}
	for step := 1; b.Loop(); step++ {
		if _, err := o.Spans(step); err != nil {
			b.Fatal(err)
		}
	}
}

// A mixture without a small common denominator: the longest table there is.
func BenchmarkInterleave(b *testing.B) {
	weights := fractions([]float64{3.14159265, 2.71828182, 1.41421356, 1.61803398, 0.57721566, 0.1})
	for b.Loop() {
		newInterleave(weights)
	}
}

// Writing with a tokenizer that costs nothing: what the rest costs.
func BenchmarkWrite(b *testing.B) {
	docs := randomDocuments(2, "wiki", 20_000, 800)
	bytes := 0
	for _, d := range docs {
		bytes += len(d.Text)
	}
	b.SetBytes(int64(bytes))
	for b.Loop() {
		writeSet(b, b.TempDir(), []SectionInput{{Name: "wiki", Documents: documents(docs...)}}, WriterOptions{})
	}
}
