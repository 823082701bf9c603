package pipeline_test

import (
	"context"
	"path/filepath"
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
	// What came in is the table of gigaword-sample/README.md.
	in := map[string]pipeline.Count{}
	for _, x := range s.Sections {
		in[x.Name] = x.In
	}
	want := map[string]pipeline.Count{
		"adl":               {Documents: 39, Words: 3274457, Bytes: 18995807},
		"botxt":             {Documents: 22, Words: 115441, Bytes: 609069},
		"depbank":           {Documents: 95, Words: 17656, Bytes: 110516},
		"ft":                {Documents: 37, Words: 2365985, Bytes: 13961130},
		"retsinformationdk": {Documents: 777, Words: 1975209, Bytes: 13996060},
		"wiki":              {Documents: 443, Words: 78382, Bytes: 499089},
	}
	if diff := cmp.Diff(want, in); diff != "" {
		t.Errorf("in (-want +got)\n%s", diff)
	}
	if want := (pipeline.Count{Documents: 1413, Words: 7827130, Bytes: 48171671}); s.Total.In != want {
		t.Errorf("total %+v, want %+v", s.Total.In, want)
	}

	// dedup-truth.json: no exact duplicates. Every document of the treebank but one (21 words) holds test sentences.
	if n := s.Total.Reasons[dedup.ExactDuplicate].Documents; n != 0 {
		t.Errorf("%d exact duplicates", n)
	}
	if d := s.Sections[2]; d.Removed.Documents != 94 || d.Reasons[decontam.Contaminated].Documents != 94 {
		t.Errorf("depbank: %+v", d)
	}

	// Whole sentences, counted by a regular expression and substring search in Python: of scala-da 209 correct and 21
	// corrupted in test, 31 and 2 in val; of danplus 376 in test, 48 in val. eval/README.md says 209, 376 and 0.
	for i, whole := range []int{209 + 21 + 31 + 2, 376 + 48, 0} {
		b := s.Benchmarks[i]
		if b.Whole != whole {
			t.Errorf("%s: %d items found word for word, want %d", b.Name, b.Whole, whole)
		}
		for _, f := range b.Found {
			if f.Whole && f.Documents[0][:8] != "depbank/" {
				t.Errorf("%s item %d is in %v", b.Name, f.Item, f.Documents)
			}
		}
	}

	rows, err := pipeline.ReadLedger(filepath.Join(out, "documents.parquet"))
	if err != nil {
		t.Fatal(err)
	}
	if len(rows) != 1413 || rows[1412].Number != 1412 || rows[1412].Section != "wiki" {
		t.Errorf("%d rows, the last %+v", len(rows), rows[len(rows)-1])
	}
	if _, err := pipeline.ReadSummary(filepath.Join(out, "summary.json")); err != nil {
		t.Error(err)
	}
}

// BenchmarkBuildOfTheSample is the whole way: length, exact copies and decontamination, and all stages.
func BenchmarkBuildOfTheSample(b *testing.B) {
	eval := filepath.Join(sampledata.Dir(b), "eval")
	for name, stages := range map[string]func() []pipeline.Stage{
		"few": func() []pipeline.Stage { return sampleStages(b) },
		"all": func() []pipeline.Stage {
			return allStages(b, filepath.Join(eval, "scala-da"), filepath.Join(eval, "danplus"), filepath.Join(eval, "lcc-sentiment"))
		},
	} {
		b.Run(name, func(b *testing.B) {
			for range b.N {
				b.StopTimer()
				out := filepath.Join(b.TempDir(), "corpus")
				c, st := openSample(b), stages()
				b.StartTimer()
				s, err := pipeline.Build(context.Background(), c, pipeline.Options{Out: out, Stages: st, HeldoutShare: 0.02, Seed: 17})
				if err != nil {
					b.Fatal(err)
				}
				b.SetBytes(s.Total.In.Bytes)
			}
		})
	}
}
