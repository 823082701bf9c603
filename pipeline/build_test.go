package pipeline_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"ravn/corpus"
	"ravn/pipeline"
	"ravn/pipeline/decontam"
	"ravn/pipeline/dedup"
	"ravn/pipeline/filter"
)

// writeTree writes files below dir.
func writeTree(t testing.TB, dir string, files map[string]string) {
	t.Helper()
	for name, text := range files {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// openAll opens paths below dir.
func openAll(t testing.TB, dir string, o corpus.OpenOptions, paths ...string) []*corpus.Corpus {
	t.Helper()
	var out []*corpus.Corpus
	for _, p := range paths {
		c, err := corpus.Open(filepath.Join(dir, p), o)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, c)
	}
	return out
}

// small is a corpus of two sections with a document for every reason.
var small = map[string]string{
	"g/sektioner/avis/avis_1":     "Byrådet har besluttet at bygge en ny bro over åen ved det gamle bryggeri.\n",
	"g/sektioner/avis/avis_2":     " \n\t\n",
	"g/sektioner/avis/avis_3":     "For kort.",
	"g/sektioner/avis/avis_4":     "BYRÅDET har besluttet  at bygge en ny bro over åen\nved det gamle bryggeri.",
	"g/sektioner/avis/avis_5":     "Ifølge bogen sagde manden: \"Katten sad længe på taget og så efter\nmånen\", og så gik han hjem.",
	"g/sektioner/avis/LICENSE":    "CC0 1.0 Universal",
	"g/sektioner/avis/avis.jsonl": `{"doc_id": "avis_1", "uri": "https://example.org/1"}`,
	"j/wiki.jsonl":                `{"id":"w1","text":"Bornholm er en ø i Østersøen med mange klipper.","license":"CC-BY-SA-4.0"}` + "\n" + `{"id":"w2","text":"byrådet har besluttet at bygge en ny bro over åen ved det gamle bryggeri.","license":"CC0-1.0"}` + "\n" + `{"id":"w3","text":"Endnu en helt almindelig artikel om en by.","license":"CC0-1.0"}`,
	"b/test.jsonl":                `{"text":"Katten sad længe på taget og så efter månen."}` + "\n" + `{"text":"Hunden sov hele dagen under det store bord."}`,
}

// stages are those that small has a document for.
func stages(t testing.TB, action string) []pipeline.Stage {
	t.Helper()
	d, err := decontam.New([]decontam.Benchmark{{Name: "prøve", Texts: []string{"Katten sad længe på taget og så efter månen.", "Hunden sov hele dagen under det store bord."}}},
		decontam.Options{Action: action})
	if err != nil {
		t.Fatal(err)
	}
	return []pipeline.Stage{filter.New(filter.Options{MinChars: 20}), dedup.NewExact(dedup.Options{}), d}
}

func TestEveryRemovalHasAReason(t *testing.T) {
	dir := t.TempDir()
	writeTree(t, dir, small)
	out := filepath.Join(dir, "out")
	s, err := pipeline.Build(context.Background(), openAll(t, dir, corpus.OpenOptions{}, "g", "j"), pipeline.Options{
		Out: out, Stages: stages(t, ""), Tokens: func(s string) int { return len(s) / 3 },
	})
	if err != nil {
		t.Fatal(err)
	}
	rows, err := pipeline.ReadLedger(filepath.Join(out, "documents.parquet"))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for i, r := range rows {
		if r.Number != int64(i) || r.Bytes == 0 || r.Tokens != r.Bytes/3 || len(r.SHA256) != 64 {
			t.Errorf("row %d: %+v", i, r)
		}
		got = append(got, strings.Join([]string{r.Section, r.ID, r.License, r.Verdict, r.Split, r.Stage, r.Reason, r.Detail}, "|"))
	}
	want := []string{
		"avis|avis_1|CC0-1.0|keep|train|||",
		"avis|avis_2|CC0-1.0|drop||filter|empty|no text, 4 bytes of white space",
		"avis|avis_3|CC0-1.0|drop||filter|too_short|9 characters, at least 20 wanted",
		"avis|avis_4|CC0-1.0|drop||dedup|exact_duplicate|same text as avis/avis_1",
		`avis|avis_5|CC0-1.0|drop||decontam|contaminated|holds 1 texts of prøve, 1 of them word for word, the first: item 0, "Katten sad længe på taget og så efter månen."`,
		"wiki|w1|CC-BY-SA-4.0|keep|train|||",
		"wiki|w2|CC0-1.0|drop||dedup|exact_duplicate|same text as avis/avis_1",
		"wiki|w3|CC0-1.0|keep|train|||",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("ledger (-want +got)\n%s", diff)
	}
	text := small["g/sektioner/avis/avis_1"]
	sum := sha256.Sum256([]byte(text))
	first := pipeline.Row{
		ID: "avis_1", Section: "avis", Language: "da", License: "CC0-1.0", Bytes: int64(len(text)), Words: 14, SHA256: hex.EncodeToString(sum[:]),
		Verdict: "keep", Split: "train", Tokens: int64(len(text) / 3), File: filepath.Join(dir, "g", "sektioner", "avis", "avis_1"), URI: "https://example.org/1",
		Claims: []string{"LICENSE file: CC0 1.0 Universal"}, Notes: []string{},
		ClusterSize: 3, Scores: []float32{0, 0, 0}, // of decontam
	}
	if diff := cmp.Diff(first, rows[0]); diff != "" {
		t.Errorf("first row (-want +got)\n%s", diff)
	}
	if r := rows[5]; r.Line != 1 || r.Language != "" || len(r.Claims) != 1 || r.Claims[0] != "jsonl license field: CC-BY-SA-4.0" {
		t.Errorf("%+v", r)
	}

	a, w := s.Sections[0], s.Sections[1]
	if a.In.Documents != 5 || a.Kept.Documents != 1 || a.Removed.Documents != 4 || w.In.Documents != 3 || w.Kept.Documents != 2 || s.Total.Kept.Documents != 3 || s.Total.Reasons["exact_duplicate"].Documents != 2 {
		t.Errorf("counts %+v", s)
	}
	if got := w.Licenses; len(got) != 2 || got["CC-BY-SA-4.0"].Documents != 1 || got["CC0-1.0"].Documents != 1 {
		t.Errorf("licences of what was kept: %v", got)
	}
	overlap := []pipeline.BenchmarkOverlap{{
		Name: "prøve", Action: "drop", Items: 2, Checked: 2, Hit: 1, Whole: 1, Sections: map[string]pipeline.SectionOverlap{"avis": {Items: 1, Documents: 1}},
		Documents: []string{"avis/avis_5"}, Found: []pipeline.ItemHit{{Item: 0, Whole: true, NumDocuments: 1, Documents: []string{"avis/avis_5"}}},
	}}
	if diff := cmp.Diff(overlap, s.Benchmarks); diff != "" {
		t.Errorf("benchmarks (-want +got)\n%s", diff)
	}
	read, err := pipeline.ReadSummary(filepath.Join(out, "summary.json"))
	if err != nil {
		t.Fatal(err)
	}
	if read.Total.In != s.Total.In || !cmp.Equal(read.Benchmarks, s.Benchmarks) {
		t.Errorf("summary.json says %+v", read)
	}

	// What was written opens again as a corpus, and what was removed carries the reason.
	c, err := corpus.Open(out, corpus.OpenOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Sections) != 2 || c.Sections[0].Name != "avis" {
		t.Fatalf("%+v", c.Sections)
	}
	for d, err := range c.Sections[0].Documents() {
		if err != nil {
			t.Fatal(err)
		}
		if d.ID != "avis_1" || d.Text != text || d.License != "CC0-1.0" || !cmp.Equal(d.Claims, first.Claims) {
			t.Errorf("%+v", d)
		}
	}
	removed, err := corpus.Open(filepath.Join(out, "removed", "avis.jsonl.zst"), corpus.OpenOptions{})
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for d, err := range removed.Sections[0].Documents() {
		if err != nil {
			t.Fatal(err)
		}
		if n++; n == 2 && (d.ID != "avis_3" || d.Meta["removed_reason"] != "too_short" || d.Meta["removed_detail"] != "9 characters, at least 20 wanted") {
			t.Errorf("%+v", d)
		}
	}
	if n != 4 {
		t.Errorf("%d removed documents, want 4", n)
	}
}

func TestMarkKeepsAndSays(t *testing.T) {
	dir := t.TempDir()
	writeTree(t, dir, small)
	s, err := pipeline.Build(context.Background(), openAll(t, dir, corpus.OpenOptions{}, "g"), pipeline.Options{Out: filepath.Join(dir, "out"), Stages: stages(t, "mark")})
	if err != nil {
		t.Fatal(err)
	}
	if a := s.Sections[0]; a.Kept.Documents != 2 || a.Marks["contaminated"].Documents != 1 || s.Benchmarks[0].Action != "mark" {
		t.Errorf("%+v", s)
	}
	rows, err := pipeline.ReadLedger(filepath.Join(dir, "out", "documents.parquet"))
	if err != nil {
		t.Fatal(err)
	}
	if r := rows[4]; r.Verdict != "keep" || r.Split != "train" || r.Stage != "decontam" || r.Reason != "contaminated" {
		t.Errorf("%+v", r)
	}
}

// manyFiles is a corpus of three sections and 600 documents of uneven length, some of them the same.
func manyFiles() map[string]string {
	files := map[string]string{}
	var lines strings.Builder
	for i := range 300 {
		text := strings.Repeat(fmt.Sprintf("Sætning nummer %d handler om vejret på øen. ", i%250), 1+i*i%97)
		files[fmt.Sprintf("g/a/a_%04d", i)] = text
		if i%2 == 0 {
			files[fmt.Sprintf("g/b/b_%04d", i)] = text + "Og lidt til."
		}
		fmt.Fprintf(&lines, "{\"id\":\"%d\",\"text\":\"%s\"}\n", i, strings.ToUpper(text))
	}
	files["j/c.jsonl"] = lines.String()
	return files
}

func TestWorkersDoNotMatter(t *testing.T) {
	dir := t.TempDir()
	writeTree(t, dir, manyFiles())
	var want string
	for _, workers := range []int{1, 2, 7} {
		out := filepath.Join(dir, fmt.Sprint("out", workers))
		_, err := pipeline.Build(context.Background(), openAll(t, dir, corpus.OpenOptions{}, "g", "j"), pipeline.Options{
			Out: out, Workers: workers, HeldoutShare: 0.1, Seed: 3,
			Stages: append([]pipeline.Stage{shout{}}, stages(t, "")...), Tokens: pipeline.Words,
		})
		if err != nil {
			t.Fatal(err)
		}
		got := hashTree(t, out)
		if want == "" {
			want = got
			if n := strings.Count(got, "\n"); n != 3+2+1+1+1+1 { // sections, heldout (all of c is the same as a), removed, ledger, summary, decontamination
				t.Errorf("%d files:\n%s", n, got)
			}
		}
		if got != want {
			t.Errorf("%d workers:\n%s\nand with one:\n%s", workers, got, want)
		}
	}
}

// A build that is stopped goes on behind the shards it has, with any number of workers, and ends with the same bytes; what a
// kill leaves half written is not taken for whole.
func TestStoppedBuildGoesOn(t *testing.T) {
	dir := t.TempDir()
	files := manyFiles()
	files["j/c.jsonl"] += "{\"id\":\"7\",\"text\":\"igen\"}\n{\"id\":\"uden\"}\n" // an id twice, a line without text
	writeTree(t, dir, files)
	open := func() []*corpus.Corpus { return openAll(t, dir, corpus.OpenOptions{MaxErrors: 5}, "g", "j") }
	build := func(ctx context.Context, out, key string, workers int, more ...pipeline.Stage) (*pipeline.Summary, error) {
		near, err := dedup.Preset("ravn")
		if err != nil {
			t.Fatal(err)
		}
		return pipeline.Build(ctx, open(), pipeline.Options{
			Out: filepath.Join(dir, out), Workers: workers, HeldoutShare: 0.1, Seed: 3, Key: key, ShardBytes: 1 << 16, MemoryBytes: 16 << 20,
			Stages: append(more, filter.New(filter.Options{MinChars: 20}), dedup.New(dedup.Options{Near: &near}), stages(t, "")[2]),
		})
	}
	nop := stageFunc(func(*corpus.Document) pipeline.Verdict { return pipeline.Keep })
	if _, err := build(context.Background(), "whole", "", 3, nop); err != nil {
		t.Fatal(err)
	}
	want := hashTree(t, filepath.Join(dir, "whole"))
	for at, workers := range map[int32]int{150: 1, 400: 2, 740: 7} {
		out := fmt.Sprint("out", at)
		ctx, cancel := context.WithCancel(context.Background())
		var n atomic.Int32
		stop := stageFunc(func(*corpus.Document) pipeline.Verdict {
			if n.Add(1) == at {
				cancel()
			}
			return pipeline.Keep
		})
		if _, err := build(ctx, out, "k", workers, stop); !errors.Is(err, context.Canceled) {
			t.Fatalf("stopped at %d: %v", at, err)
		}
		work := filepath.Join(dir, out+".work")
		shards, _ := filepath.Glob(filepath.Join(work, "*.facts"))
		if len(shards) == 0 {
			t.Fatalf("stopped at %d: no shard was kept", at)
		}
		if at == 400 { // cut the last shard's texts short
			if err := os.Truncate(strings.TrimSuffix(shards[len(shards)-1], "facts")+"text", 5); err != nil {
				t.Fatal(err)
			}
		}
		var again atomic.Int32
		count := stageFunc(func(*corpus.Document) pipeline.Verdict { again.Add(1); return pipeline.Keep })
		s, err := build(context.Background(), out, "k", 8-workers, count)
		if err != nil {
			t.Fatal(err)
		}
		if k := again.Load(); k >= 751 {
			t.Errorf("stopped at %d: %d documents were examined again, that is all", at, k)
		}
		if got := hashTree(t, filepath.Join(dir, out)); got != want {
			t.Errorf("stopped at %d:\n%s\nand without a stop:\n%s", at, got, want)
		}
		if c := s.Sections[2]; c.Unreadable != 2 || len(c.Problems) != 2 {
			t.Errorf("stopped at %d: %d unreadable records, want 2: %v", at, c.Unreadable, c.Problems)
		}
		if _, err := os.Stat(work); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s is still there", work)
		}
	}

	// Another key takes nothing over.
	ctx, cancel := context.WithCancel(context.Background())
	stop := stageFunc(func(d *corpus.Document) pipeline.Verdict {
		if d.Section == "b" {
			cancel()
		}
		return pipeline.Keep
	})
	if _, err := build(ctx, "other", "k", 2, stop); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	var again atomic.Int32
	count := stageFunc(func(*corpus.Document) pipeline.Verdict { again.Add(1); return pipeline.Keep })
	if _, err := build(context.Background(), "other", "k2", 2, count); err != nil {
		t.Fatal(err)
	}
	if again.Load() != 751 { // all of a, b and c but the line without text
		t.Errorf("%d documents examined under another key, want 751", again.Load())
	}
}

// A shard that was damaged is named, and not written into the corpus.
func TestDamagedShardIsNamed(t *testing.T) {
	dir := t.TempDir()
	writeTree(t, dir, small)
	spoil := stageFunc(func(*corpus.Document) pipeline.Verdict { return pipeline.Keep })
	_, err := pipeline.Build(context.Background(), openAll(t, dir, corpus.OpenOptions{}, "g"), pipeline.Options{
		Out: filepath.Join(dir, "out"), Key: "k", Stages: []pipeline.Stage{spoil, &spoiler{dir: filepath.Join(dir, "out.work")}},
	})
	if err == nil || !strings.Contains(err.Error(), "shard-000000.text: damaged (remove") {
		t.Errorf("got %v", err)
	}
}

// spoiler changes a byte on disk between the passes.
type spoiler struct{ dir string }

func (*spoiler) Name() string                           { return "spoiler" }
func (*spoiler) Prepare(*pipeline.Doc)                  {}
func (*spoiler) Begin(*pipeline.Access) error           { return nil }
func (*spoiler) Collect(*pipeline.Member, []byte) error { return nil }
func (*spoiler) Decide(*pipeline.Member) pipeline.Decision {
	return pipeline.Decision{Verdict: pipeline.Keep, Cluster: -1}
}

func (s *spoiler) Resolve(context.Context) error {
	f, err := os.OpenFile(filepath.Join(s.dir, "shard-000000.text"), os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = f.WriteAt([]byte("x"), 40)
	return err
}

// shout is a stage without Prepare that changes some texts.
type shout struct{}

func (shout) Name() string { return "shout" }

func (shout) Judge(d *corpus.Document) pipeline.Verdict {
	if strings.HasSuffix(d.ID, "7") {
		d.Text = strings.ToUpper(d.Text) + "!"
	}
	return pipeline.Keep
}

// hashTree lists the files below dir with their hashes.
func hashTree(t testing.TB, dir string) string {
	t.Helper()
	var b strings.Builder
	err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(p)
		rel, _ := filepath.Rel(dir, p)
		fmt.Fprintf(&b, "%s %x\n", filepath.ToSlash(rel), sha256.Sum256(data))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestHeldout(t *testing.T) {
	dir := t.TempDir()
	writeTree(t, dir, manyFiles())
	build := func(name string, seed uint64, corpora ...string) map[string]string {
		s, err := pipeline.Build(context.Background(), openAll(t, dir, corpus.OpenOptions{}, corpora...), pipeline.Options{
			Out: filepath.Join(dir, name), HeldoutShare: 0.1, Seed: seed, Stages: []pipeline.Stage{dedup.NewExact(dedup.Options{})},
		})
		if err != nil {
			t.Fatal(err)
		}
		rows, err := pipeline.ReadLedger(filepath.Join(dir, name, "documents.parquet"))
		if err != nil {
			t.Fatal(err)
		}
		splits := map[string]string{}
		texts := map[[16]byte]string{}
		for part, split := range map[string]string{"sections": "train", "heldout": "heldout"} {
			for _, c := range openAll(t, dir, corpus.OpenOptions{}, name+"/"+part) {
				for _, sec := range c.Sections {
					for d, err := range sec.Documents() {
						if err != nil {
							t.Fatal(err)
						}
						splits[d.Section+"/"+d.ID] = split
						key := dedup.Fingerprint(d.Text)
						if was, ok := texts[key]; ok {
							t.Errorf("the text of %s is also in %s", d.ID, was)
						}
						texts[key] = d.ID
					}
				}
			}
		}
		for _, r := range rows {
			if splits[r.Section+"/"+r.ID] != r.Split {
				t.Errorf("ledger says %q of %s, it is in %q", r.Split, r.ID, splits[r.Section+"/"+r.ID])
			}
		}
		// 450 texts are kept, all of a and b: 45 expected, three standard deviations of a binomial are 19.
		if name == "both" {
			if n := s.Total.Heldout.Documents; n < 26 || n > 64 {
				t.Errorf("%d of %d documents held out", n, s.Total.Heldout.Documents+s.Total.Kept.Documents)
			}
		}
		return splits
	}
	both := build("both", 3, "g", "j")
	one := build("one", 3, "g")
	other := build("other", 4, "g")
	differ := 0
	for k, split := range one {
		if both[k] != split {
			t.Errorf("%s is %s alone and %s in company", k, split, both[k])
		}
		if other[k] != split {
			differ++
		}
	}
	if differ == 0 {
		t.Error("another seed chose the same documents")
	}
}

func TestCancelLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	writeTree(t, dir, manyFiles())
	ctx, cancel := context.WithCancel(context.Background())
	var n atomic.Int32
	stop := stageFunc(func(*corpus.Document) pipeline.Verdict {
		if n.Add(1) == 100 {
			cancel()
		}
		return pipeline.Keep
	})
	_, err := pipeline.Build(ctx, openAll(t, dir, corpus.OpenOptions{}, "g"), pipeline.Options{Out: filepath.Join(dir, "out"), Stages: []pipeline.Stage{stop}})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want it cancelled", err)
	}
	entries, _ := os.ReadDir(dir)
	for _, e := range entries {
		if e.Name() != "g" && e.Name() != "j" {
			t.Errorf("left behind: %s", e.Name())
		}
	}
}

type stageFunc func(*corpus.Document) pipeline.Verdict

func (stageFunc) Name() string { return "test" }

func (f stageFunc) Judge(d *corpus.Document) pipeline.Verdict { return f(d) }

func TestBuildReplacesOnlyItsOwn(t *testing.T) {
	dir := t.TempDir()
	writeTree(t, dir, small)
	o := pipeline.Options{Out: filepath.Join(dir, "out")}
	for range 2 {
		if _, err := pipeline.Build(context.Background(), openAll(t, dir, corpus.OpenOptions{}, "g"), o); err != nil {
			t.Fatal(err)
		}
	}
	writeTree(t, dir, map[string]string{"out/noter.txt": "vigtigt"})
	_, err := pipeline.Build(context.Background(), openAll(t, dir, corpus.OpenOptions{}, "g"), o)
	if want := "out/noter.txt: holds something that no build wrote"; err == nil || !strings.Contains(filepath.ToSlash(err.Error()), want) {
		t.Errorf("got %v, want %q", err, want)
	}
	if _, err := os.Stat(filepath.Join(dir, "out", "noter.txt")); err != nil {
		t.Error(err)
	}
}

func TestBuildRefuses(t *testing.T) {
	dir := t.TempDir()
	writeTree(t, dir, small)
	writeTree(t, dir, map[string]string{
		"bad/x.jsonl": "{\"id\":\"1\",\"text\":\"a\"}\n{\"id\":\"1\",\"text\":\"b\"}\n{\"id\":\"2\"}\n", "odd/to ord.jsonl": "{}",
		"cut/y.jsonl.gz": "\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff\x4a",
	})
	g := func() []*corpus.Corpus { return openAll(t, dir, corpus.OpenOptions{}, "g") }
	out := filepath.Join(dir, "out")
	for _, tt := range []struct {
		name string
		c    []*corpus.Corpus
		o    pipeline.Options
		want []string
	}{
		{"no folder", g(), pipeline.Options{}, []string{"no output folder (set Out)"}},
		{"share", g(), pipeline.Options{Out: out, HeldoutShare: 0.9}, []string{"HeldoutShare is 0.9 (use 0 to 0.5)"}},
		{"stage twice", g(), pipeline.Options{Out: out, Stages: []pipeline.Stage{shout{}, shout{}}}, []string{`stage "shout" is there twice`}},
		{"nothing", nil, pipeline.Options{Out: out}, []string{"no sections to build from"}},
		{"section twice", append(g(), g()...), pipeline.Options{Out: out}, []string{`section "avis" is in `}},
		{"section name", openAll(t, dir, corpus.OpenOptions{}, "odd"), pipeline.Options{Out: out}, []string{`section name "to ord" cannot be a file name`}},
		{"bad records, all told", openAll(t, dir, corpus.OpenOptions{}, "bad"), pipeline.Options{Out: out}, []string{`x.jsonl:2: id "1" was already used`, `x.jsonl:3: no "text"`}},
		{"cut off", openAll(t, dir, corpus.OpenOptions{}, "cut"), pipeline.Options{Out: out}, []string{"y.jsonl.gz: cut off after line 0"}},
	} {
		_, err := pipeline.Build(context.Background(), tt.c, tt.o)
		for _, want := range tt.want {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: got %v, want %q", tt.name, err, want)
			}
		}
		if _, err := os.Stat(out); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: left %s", tt.name, out)
		}
	}

	// Bad records that are allowed are told, and the rest is counted.
	s, err := pipeline.Build(context.Background(), openAll(t, dir, corpus.OpenOptions{MaxErrors: 2}, "bad"), pipeline.Options{Out: out, HeldoutShare: 0.1})
	if err != nil {
		t.Fatal(err)
	}
	if x := s.Sections[0]; x.Unreadable != 2 || len(x.Problems) != 2 || x.In.Documents != 1 {
		t.Errorf("%+v", x)
	}
	want := []string{"section x: 2 unreadable records were passed over", "no dedup stage: a held-out text may also be in the training part", "a share of 0.1 of 1 documents held out is none"}
	if diff := cmp.Diff(want, s.Warnings); diff != "" {
		t.Error(diff)
	}
}

func TestReadersRefuse(t *testing.T) {
	dir := t.TempDir()
	writeTree(t, dir, small)
	out := filepath.Join(dir, "out")
	if _, err := pipeline.Build(context.Background(), openAll(t, dir, corpus.OpenOptions{}, "g"), pipeline.Options{Out: out}); err != nil {
		t.Fatal(err)
	}
	ledger, err := os.ReadFile(filepath.Join(out, "documents.parquet"))
	if err != nil {
		t.Fatal(err)
	}
	summary, err := os.ReadFile(filepath.Join(out, "summary.json"))
	if err != nil {
		t.Fatal(err)
	}
	writeTree(t, dir, map[string]string{
		"cut.parquet": string(ledger[:len(ledger)/2]), "text.parquet": "ikke en tabel",
		"kept.json": strings.Replace(string(summary), `"documents": 5`, `"documents": 6`, 1), "field.json": `{"stages": [], "ny": 1}`,
	})
	for name, want := range map[string]string{
		"cut.parquet": "not a whole Parquet file", "text.parquet": "not a whole Parquet file", "none.parquet": "no such file",
		"kept.json": "section avis: the licences of what was kept and what was removed add up to {Documents:6", "field.json": `unknown field "ny"`,
	} {
		var err error
		if filepath.Ext(name) == ".json" {
			_, err = pipeline.ReadSummary(filepath.Join(dir, name))
		} else {
			_, err = pipeline.ReadLedger(filepath.Join(dir, name))
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", name, err, want)
		}
	}
}

func TestWords(t *testing.T) {
	for _, s := range []string{"", " ", "a", " a b ", "a\u00a0b\u2003c\u3000d\u0085e", "æ\u2028ø å", "ét-ord", "\u200b", "…", "a\vb\fc", "\xff a"} {
		if got, want := pipeline.Words(s), len(strings.Fields(s)); got != want {
			t.Errorf("%q: %d words, strings.Fields finds %d", s, got, want)
		}
	}
}

func FuzzWords(f *testing.F) {
	f.Add("Rødgrød\u00a0med fløde\u2009!")
	f.Fuzz(func(t *testing.T, s string) {
		if got, want := pipeline.Words(s), len(strings.Fields(s)); got != want {
			t.Errorf("%q: %d words, strings.Fields finds %d", s, got, want)
		}
	})
}
