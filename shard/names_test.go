package shard

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"ravn/corpus"
)

// TestNames: with the index as with the table of documents.
func TestNames(t *testing.T) {
	dir := t.TempDir()
	writeSet(t, dir, three(), WriterOptions{})
	set := openSet(t, dir)
	path := filepath.Join(t.TempDir(), "trace", "documents.idx")
	names, err := set.Names(path)
	if err != nil {
		t.Fatal(err)
	}
	first, err := os.ReadFile(path)
	if err != nil || int64(len(first)) != names.SizeBytes() {
		t.Fatalf("%d bytes, %v; %d said", len(first), err, names.SizeBytes())
	}
	rows, err := set.Documents()
	if err != nil {
		t.Fatal(err)
	}
	if names.Len() != len(rows) {
		t.Fatalf("%d documents, want %d", names.Len(), len(rows))
	}
	for i, r := range rows {
		if names.ID(i) != r.ID || names.Section(i) != r.Section || names.License(i) != r.License {
			t.Fatalf("document %d is %s/%s under %s, want %s/%s under %s", i, names.Section(i), names.ID(i), names.License(i), r.Section, r.ID, r.License)
		}
		if got := names.Find(r.Section, r.ID); !slices.Contains(got, i) {
			t.Errorf("%s/%s is found at %v, not %d", r.Section, r.ID, got, i)
		}
	}
	o := newOrder(t, set, OrderOptions{Mixture: []Share{{"wiki", 0.5}, {"adl", 0.5}}, Seed: 4, Rows: 3, T: 21, Steps: 30})
	walked := map[int]map[int]int{}
	if err := o.Walk(1, 30, func(step, document, tokens int) {
		if walked[step] == nil {
			walked[step] = map[int]int{}
		}
		walked[step][document] += tokens
	}); err != nil {
		t.Fatal(err)
	}
	for step := 1; step <= 30; step++ {
		want, err := o.Spans(step)
		if err != nil {
			t.Fatal(err)
		}
		got, err := o.SpansNamed(step, names)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("spans of %d (-table +index):\n%s", step, diff)
		}
		sum := map[string]int{}
		for _, s := range want {
			sum[s.Section+"/"+s.Document] += s.Len
		}
		for document, n := range walked[step] {
			if id := names.Section(document) + "/" + names.ID(document); sum[id] != n {
				t.Errorf("step %d: %d tokens of %s walked, %d in the spans", step, n, id, sum[id])
			}
		}
		if len(sum) != len(walked[step]) {
			t.Errorf("step %d: %d documents walked, %d in the spans", step, len(walked[step]), len(sum))
		}
	}
	want, err := o.StepsOf("wiki", rows[slices.IndexFunc(rows, func(r DocumentRow) bool { return r.Section == "wiki" })].ID)
	if err != nil {
		t.Fatal(err)
	}
	got, err := o.StepsOfNamed("wiki", want[0].Document, names)
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("steps (-table +index), %v:\n%s", err, diff)
	}
}

// TestNamesAreMadeAgain: an index that is damaged, cut off, foreign or of other shards is not believed.
func TestNamesAreMadeAgain(t *testing.T) {
	dir, other := t.TempDir(), t.TempDir()
	writeSet(t, dir, three(), WriterOptions{})
	writeSet(t, other, three()[:1], WriterOptions{})
	set := openSet(t, dir)
	path := filepath.Join(t.TempDir(), "documents.idx")
	if _, err := set.Names(path); err != nil {
		t.Fatal(err)
	}
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	foreign := filepath.Join(t.TempDir(), "other.idx")
	if _, err := openSet(t, other).Names(foreign); err != nil {
		t.Fatal(err)
	}
	theirs, err := os.ReadFile(foreign)
	if err != nil {
		t.Fatal(err)
	}
	flipped := bytes.Clone(good)
	flipped[len(flipped)/2] ^= 1
	for what, data := range map[string][]byte{"damaged": flipped, "cut off": good[:len(good)-20], "foreign": []byte("hello"), "of other shards": theirs, "empty": nil} {
		if _, err := parseNames(data, set.info.Spans.SHA256, set.info.Documents()); err == nil {
			t.Errorf("%s: read", what)
		}
		if err := os.WriteFile(path, data, 0o644); err != nil {
			t.Fatal(err)
		}
		n, err := set.Names(path)
		if err != nil || int64(n.Len()) != set.info.Documents() {
			t.Errorf("%s: %v", what, err)
		}
		if now, err := os.ReadFile(path); err != nil || !bytes.Equal(now, good) {
			t.Errorf("%s: the index was not made again: %v", what, err)
		}
	}
}

func FuzzParseNames(f *testing.F) {
	rows := []DocumentRow{{Section: "a", ID: "a_1", License: "CC0-1.0"}, {Section: "b", ID: "b_1"}}
	spans := strings.Repeat("ab", 32)
	data, err := marshalNames(rows, spans)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Fuzz(func(t *testing.T, data []byte) {
		n, err := parseNames(data, spans, 2)
		if err != nil {
			return
		}
		for i := range n.Len() {
			_, _, _ = n.describe(i)
		}
	})
}

// BenchmarkQuestions asks about a run over 600,000 documents, as many as Danish Gigaword has that are not empty and
// some: rows and spans are as many as there, their tokens fewer.
func BenchmarkQuestions(b *testing.B) {
	const n = 600_000
	dir := b.TempDir()
	docs := func(yield func(*corpus.Document, error) bool) {
		for i := range n {
			text := fmt.Sprint(i*7919) + strings.Repeat("a", i%19)
			if !yield(&corpus.Document{ID: fmt.Sprintf("sec_%d", i), License: "CC0-1.0", Text: text}, nil) {
				return
			}
		}
	}
	writeSet(b, dir, []SectionInput{{Name: "sec", License: "CC0-1.0", Documents: docs}}, WriterOptions{})
	path := filepath.Join(b.TempDir(), "documents.idx")
	open := func() (*Set, *Names, *Order) {
		set, err := Open(dir)
		if err != nil {
			b.Fatal(err)
		}
		names, err := set.Names(path)
		if err != nil {
			b.Fatal(err)
		}
		steps := int(set.Info().Tokens() / 16 / 64)
		return set, names, newOrder(b, set, OrderOptions{Mixture: []Share{{"sec", 1}}, Seed: 1, Rows: 64, T: 16, Steps: steps})
	}
	set, names, _ := open()
	set.Close()
	b.Run("document", func(b *testing.B) {
		for b.Loop() {
			set, names, o := open()
			if _, err := o.StepsOfNamed("", "sec_300000", names); err != nil {
				b.Fatal(err)
			}
			set.Close()
		}
		b.ReportMetric(float64(names.SizeBytes())/1e6, "index-MB")
	})
	b.Run("license", func(b *testing.B) {
		for b.Loop() {
			set, _, o := open()
			if _, err := o.Seen(1, o.options.Steps); err != nil {
				b.Fatal(err)
			}
			set.Close()
			b.ReportMetric(float64(o.options.Steps*64), "rows")
		}
	})
	b.Run("step", func(b *testing.B) {
		for b.Loop() {
			set, names, o := open()
			if _, err := o.SpansNamed(o.options.Steps/2, names); err != nil {
				b.Fatal(err)
			}
			set.Close()
		}
	})
}

// TestSortHashed holds the sort by digits to that by comparison, at the lengths around its threshold.
func TestSortHashed(t *testing.T) {
	for _, n := range []int{0, 1, radixFrom - 1, radixFrom, radixFrom + 1, 5000, 70_000} {
		p := newPermutation([2]uint64{uint64(n), 9}, n)
		want := make([]hashed, n)
		for i := range want {
			want[i] = hashed{mix(mix(uint64(n)+uint64(i)*0x9e3779b97f4a7c15) ^ 9), int32(i)}
		}
		slices.SortFunc(want, func(a, b hashed) int { return byHash(a.hash, b.hash) })
		for i := range want {
			if p.at[i] != want[i].number {
				t.Fatalf("n = %d: place %d holds %d, want %d", n, i, p.at[i], want[i].number)
			}
		}
	}
}

func byHash(a, b uint64) int {
	if a < b {
		return -1
	}
	return 1
}
