package pipeline_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"ravn/corpus"
	"ravn/corpus/synth"
	"ravn/internal/builtin"
	"ravn/pipeline"
	"ravn/pipeline/clean"
	"ravn/pipeline/decontam"
	"ravn/pipeline/dedup"
	"ravn/pipeline/filter"
	"ravn/pipeline/langid"
)

// allStages are all stages of the way, with rules that let most text pass, and one benchmark of the given folder.
func allStages(t testing.TB, benchmarks ...string) []pipeline.Stage {
	t.Helper()
	must := func(s pipeline.Stage, err error) pipeline.Stage {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	near, err := dedup.Preset("ravn")
	if err != nil {
		t.Fatal(err)
	}
	m, err := langid.Builtin()
	if err != nil {
		t.Fatal(err)
	}
	var against []decontam.Benchmark
	for _, dir := range benchmarks {
		b, err := decontam.LoadBenchmark(dir)
		if err != nil {
			t.Fatal(err)
		}
		against = append(against, b)
	}
	quality := filter.Spec{
		Preset: "fineweb2-da", Set: map[string]float64{"min_alpha_words_ratio": 0.5, "dup_line_frac": 0.6, "min_doc_words": 20},
		Off: []string{"max_doc_words", "new_line_ratio", "line_punct_thr"},
	}
	return []pipeline.Stage{
		clean.Unicode{},
		filter.New(filter.Options{MinChars: 50, MinWords: 10}),
		must(filter.NewQuality(quality)),
		must(langid.NewStage(m, langid.Options{Keep: []string{"da"}, MinScore: 0.3, Except: []string{"copies"}})),
		must(clean.NewPII(clean.PIIOptions{Mask: []string{"email", "ip", "cpr", "phone", "iban"}})),
		dedup.New(dedup.Options{Near: &near}),
		dedup.NewLines(dedup.LineOptions{Paragraphs: true, MinChars: 80, MinWords: 10, Except: []string{"da-arkiv"}}),
		must(decontam.New(against, decontam.Options{})),
	}
}

// synthetic makes a corpus of the built-in texts, about size bytes, and returns its pairs of copies.
func synthetic(t testing.TB, dir string, size int64) []synth.Pair {
	t.Helper()
	if err := builtin.Extract(filepath.Join(dir, "material")); err != nil {
		t.Fatal(err)
	}
	source := openAll(t, dir, corpus.OpenOptions{}, "material/corpus/da")[0]
	o := synth.DefaultOptions(size)
	o.Exact, o.Near = 0.05, 0.1
	made, err := synth.Write(context.Background(), source, filepath.Join(dir, "synth"), o)
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(filepath.Join(dir, "synth", "truth.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var pairs []synth.Pair
	for s := bufio.NewScanner(f); s.Scan(); {
		var p synth.Pair
		if err := json.Unmarshal(s.Bytes(), &p); err != nil {
			t.Fatal(err)
		}
		pairs = append(pairs, p)
	}
	if int64(len(pairs)) != made.Exact+made.Near || made.Bytes < size {
		t.Fatalf("%d pairs, made %+v", len(pairs), made)
	}
	const planted = "da-fortaellinger/da-fortaellinger_" // the built-in texts hold a copy
	return append(pairs, synth.Pair{A: planted + "noeglen.0", B: planted + "plantet-dublet.0", Kind: synth.Exact})
}

func buildSynthetic(dir, out, key string, workers int, stages ...pipeline.Stage) (*pipeline.Summary, error) {
	c, err := corpus.Open(filepath.Join(dir, "synth", "text"), corpus.OpenOptions{})
	if err != nil {
		return nil, err
	}
	return pipeline.Build(context.Background(), []*corpus.Corpus{c}, pipeline.Options{
		Out: filepath.Join(dir, out), Workers: workers, HeldoutShare: 0.05, Seed: 17, Stages: stages,
		Key: key, ShardBytes: 1 << 16, MemoryBytes: 16 << 20,
	})
}

// All stages on a corpus whose copies are known: the copies are found, counts add up, and neither the number of workers nor
// a kill changes a byte of the result.
func TestAllStages(t *testing.T) {
	dir := t.TempDir()
	const size = 1_000_000
	pairs := synthetic(t, dir, size)
	benchmark := filepath.Join(dir, "material", "eval", "mini-scala-da")
	want := ""
	for _, workers := range []int{1, 2, 7} {
		out := fmt.Sprint("out", workers)
		s, err := buildSynthetic(dir, out, "", workers, allStages(t, benchmark)...)
		if err != nil {
			t.Fatal(err)
		}
		got := hashTree(t, filepath.Join(dir, out))
		if want == "" {
			want = got
			checkSynthetic(t, filepath.Join(dir, out), s, pairs)
		}
		if got != want {
			t.Errorf("%d workers:\n%s\nand with one:\n%s", workers, got, want)
		}
	}

	// A process that is killed leaves shards, and the next one goes on behind them.
	cmd := exec.Command(os.Args[0], "-test.run=^TestKilledChild$")
	cmd.Env = append(os.Environ(), "RAVN_KILLED_BUILD="+dir, "RAVN_KILLED_AT=900")
	if out, err := cmd.CombinedOutput(); err == nil {
		t.Fatalf("the child was not killed:\n%s", out)
	}
	left, err := filepath.Glob(filepath.Join(dir, "killed.work", "*.facts"))
	if err != nil || len(left) == 0 {
		t.Fatalf("the killed build left no shard (%v)", err)
	}
	var again atomic.Int32
	count := stageFunc(func(*corpus.Document) pipeline.Verdict { again.Add(1); return pipeline.Keep })
	s, err := buildSynthetic(dir, "killed", "k", 2, append([]pipeline.Stage{count}, allStages(t, benchmark)...)...)
	if err != nil {
		t.Fatal(err)
	}
	if n := int64(again.Load()); n == 0 || n >= s.Total.In.Documents {
		t.Errorf("%d of %d documents were examined after the kill", n, s.Total.In.Documents)
	}
	if _, err := buildSynthetic(dir, "whole", "", 3, append([]pipeline.Stage{count}, allStages(t, benchmark)...)...); err != nil {
		t.Fatal(err)
	}
	if got, want := hashTree(t, filepath.Join(dir, "killed")), hashTree(t, filepath.Join(dir, "whole")); got != want {
		t.Errorf("killed and gone on with:\n%s\nin one go:\n%s", got, want)
	}
}

// TestKilledChild is the process that TestAllStages kills.
func TestKilledChild(t *testing.T) {
	dir := os.Getenv("RAVN_KILLED_BUILD")
	if dir == "" {
		t.Skip("TestAllStages runs it")
	}
	at, err := strconv.Atoi(os.Getenv("RAVN_KILLED_AT"))
	if err != nil {
		t.Fatal(err)
	}
	var n atomic.Int32
	kill := stageFunc(func(*corpus.Document) pipeline.Verdict {
		if int(n.Add(1)) == at {
			p, _ := os.FindProcess(os.Getpid())
			p.Kill()
			select {}
		}
		return pipeline.Keep
	})
	benchmark := filepath.Join(dir, "material", "eval", "mini-scala-da")
	if _, err := buildSynthetic(dir, "killed", "k", 2, append([]pipeline.Stage{kill}, allStages(t, benchmark)...)...); err != nil {
		t.Fatal(err)
	}
}

// checkSynthetic compares a result with what the corpus was made to hold.
func checkSynthetic(t *testing.T, out string, s *pipeline.Summary, pairs []synth.Pair) {
	t.Helper()
	rows, err := pipeline.ReadLedger(filepath.Join(out, "documents.parquet"))
	if err != nil {
		t.Fatal(err)
	}
	at := map[string]pipeline.Row{}
	var in, kept, heldout, removed pipeline.Count
	reasons := map[string]int64{}
	for _, r := range rows {
		at[r.Section+"/"+r.ID] = r
		c := pipeline.Count{Documents: 1, Bytes: r.Bytes, Words: r.Words, Tokens: r.Tokens}
		in.Add(c)
		switch {
		case r.Verdict == pipeline.VerdictDrop:
			removed.Add(c)
			reasons[r.Reason]++
		case r.Split == pipeline.SplitHeldout:
			heldout.Add(c)
		default:
			kept.Add(c)
		}
		if r.Verdict == pipeline.VerdictDrop && (r.Stage == "" || r.Reason == "" || r.Detail == "") || len(r.Scores) != len(s.Scores) {
			t.Errorf("%s: removed without a reason, or %d of %d scores: %+v", r.ID, len(r.Scores), len(s.Scores), r)
		}
	}
	sum := kept
	sum.Add(heldout)
	sum.Add(removed)
	if in != sum || in != s.Total.In || kept != s.Total.Kept || heldout != s.Total.Heldout || removed != s.Total.Removed || kept.Documents == 0 || heldout.Documents == 0 {
		t.Errorf("the ledger adds up to %+v in, %+v kept, %+v held out, %+v removed, the summary says %+v", in, kept, heldout, removed, s.Total)
	}
	for reason, n := range reasons {
		if s.Total.Reasons[reason].Documents != n {
			t.Errorf("%s: %d in the ledger, %d in the summary", reason, n, s.Total.Reasons[reason].Documents)
		}
	}
	for _, reason := range []string{dedup.ExactDuplicate, dedup.NearDuplicate, decontam.Contaminated} {
		if reasons[reason] == 0 {
			t.Errorf("nothing was removed as %s: %v", reason, reasons)
		}
	}

	// Pairs in which both came as far as the comparison are found; of near ones those from the threshold on.
	near, _ := dedup.Preset("ravn")
	texts := map[string]string{}
	c, err := corpus.Open(filepath.Join(filepath.Dir(out), "synth", "text"), corpus.OpenOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, section := range c.Sections {
		for d, err := range section.Documents() {
			if err != nil {
				t.Fatal(err)
			}
			texts[section.Name+"/"+d.ID] = d.Text
		}
	}
	partner := map[string]bool{}
	found := 0
	for _, p := range pairs {
		a, b := at[p.A], at[p.B]
		partner[p.A], partner[p.B] = true, true
		compared := func(r pipeline.Row) bool { return r.Stage == "" || strings.HasPrefix(r.Stage, "de") }
		if !compared(a) || !compared(b) {
			continue
		}
		same := a.Cluster >= 0 && a.Cluster == b.Cluster
		similar := near.Similarity(texts[p.A], texts[p.B]) // of the texts as read: masked numbers move it a little
		if p.Kind == synth.Exact && !same || same != (similar >= near.Threshold) && math.Abs(similar-near.Threshold) > 0.02 {
			t.Errorf("%+v: found %v, similarity %.3f", p, same, similar)
		}
		if same {
			found++
		}
	}
	if found < len(pairs)/4 {
		t.Errorf("only %d of %d pairs were found: the test does not test", found, len(pairs))
	}
	for name, r := range at {
		if !partner[name] && r.Cluster >= 0 {
			t.Errorf("%s has no copy, and is in cluster %d of %d", name, r.Cluster, r.ClusterSize)
		}
	}
}

// BenchmarkStages measures what each stage does with a document, on the Danish sample.
func BenchmarkStages(b *testing.B) {
	var docs []*corpus.Document
	size := int64(0)
	for _, s := range openSample(b)[0].Sections {
		for d, err := range s.Documents() {
			if err != nil {
				b.Fatal(err)
			}
			docs = append(docs, d)
			size += int64(len(d.Text))
		}
	}
	eval := filepath.Join(os.Getenv("RAVN_DATA"), "eval")
	stages := allStages(b, filepath.Join(eval, "scala-da"), filepath.Join(eval, "danplus"), filepath.Join(eval, "lcc-sentiment"))
	run := func(name string, cut bool, f func(x *pipeline.Doc)) {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(size)
			for b.Loop() {
				for _, d := range docs {
					one := *d
					x := pipeline.NewDoc(&one)
					if cut {
						b.StopTimer()
						x.Tokens()
						x.Lines()
						b.StartTimer()
					}
					f(x)
				}
			}
		})
	}
	run("cut", false, func(x *pipeline.Doc) { x.Tokens(); x.Lines() })
	for _, s := range stages {
		switch s := s.(type) {
		case pipeline.Comparer:
			run(s.Name(), true, s.Prepare)
		case pipeline.Examiner:
			run(s.Name(), true, func(x *pipeline.Doc) { s.Examine(x) })
		case pipeline.Judge:
			run(s.Name(), true, func(x *pipeline.Doc) { s.Judge(x.Document) })
		}
	}
	run("write", false, func(x *pipeline.Doc) { corpus.AppendJSON(nil, x.Document) })
}
