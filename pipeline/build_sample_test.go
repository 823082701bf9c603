package pipeline_test

import (
	"context"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"ravn/corpus"
	"ravn/internal/sampledata"
	"ravn/pipeline"
	"ravn/pipeline/decontam"
	"ravn/pipeline/dedup"
	"ravn/pipeline/filter"
)

// sampleStages are filter, dedup and decontamination against three of the evaluation sets.
func sampleStages(t testing.TB) []pipeline.Stage {
	t.Helper()
	dir := filepath.Join(sampledata.Dir(t), "eval")
	var benchmarks []decontam.Benchmark
	for _, name := range []string{"scala-da", "danplus", "lcc-sentiment"} {
		b, err := decontam.LoadBenchmark(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		benchmarks = append(benchmarks, b)
	}
	d, err := decontam.New(benchmarks, decontam.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return []pipeline.Stage{filter.New(filter.Options{MinChars: 20, MinWords: 3}), dedup.NewExact(dedup.Options{}), d}
}

func openSample(t testing.TB) []*corpus.Corpus {
	t.Helper()
	c, err := corpus.Open(filepath.Join(sampledata.Dir(t), "gigaword-sample"), corpus.OpenOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return []*corpus.Corpus{c}
}

func TestBuildOfTheSample(t *testing.T) {
	out := filepath.Join(t.TempDir(), "corpus")
	s, err := pipeline.Build(context.Background(), openSample(t), pipeline.Options{Out: out, Stages: sampleStages(t), HeldoutShare: 0.02, Seed: 17})
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range s.Sections {
		t.Logf("%-18s in %v kept %v heldout %v removed %v %v", x.Name, x.In, x.Kept, x.Heldout, x.Removed, x.Reasons)
	}
	for _, b := range s.Benchmarks {
		t.Logf("%s items %d checked %d hit %d whole %d %v docs %d", b.Name, b.Items, b.Checked, b.Hit, b.Whole, b.Sections, len(b.Documents))
		for _, f := range b.Found {
			if !strings.HasPrefix(f.Documents[0], "depbank") {
				t.Log(b.Name, f)
			}
		}
	}
	t.Log(s.Warnings)
	got, err := pipeline.ReadSummary(filepath.Join(out, "summary.json"))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(s.Sections[0].Kept, got.Sections[0].Kept); diff != "" {
		t.Error(diff)
	}
}

func BenchmarkBuildOfTheSample(b *testing.B) {
	for range b.N {
		b.StopTimer()
		out := filepath.Join(b.TempDir(), "corpus")
		c, st := openSample(b), sampleStages(b)
		b.StartTimer()
		s, err := pipeline.Build(context.Background(), c, pipeline.Options{Out: out, Stages: st, HeldoutShare: 0.02, Seed: 17})
		if err != nil {
			b.Fatal(err)
		}
		b.SetBytes(s.Total.In.Bytes)
	}
}
