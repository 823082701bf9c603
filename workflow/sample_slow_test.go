//go:build slow

package workflow

import (
	"encoding/binary"
	"fmt"
	"io"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/parquet-go/parquet-go"

	"ravn/internal/sampledata"
	"ravn/recipe"
	"ravn/rights/register"
	"ravn/rights/removal"
	"ravn/shard"
	"ravn/tokenizer"
)

// fewSteps is recipes/sample-da.yaml with six steps a phase, little to measure, near copies, a list of removals, and a
// register of its own in which adl is under an agreement.
func fewSteps(t *testing.T) *recipe.Recipe {
	t.Helper()
	t.Setenv("RAVN_DATA", sampledata.Dir(t))
	dir := t.TempDir()
	text, err := os.ReadFile(filepath.Join("..", "recipes", "sample-da.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	change := strings.NewReplacer(
		"steps: 300", "steps: 6", "checkpoint_every: 75", "checkpoint_every: 2\n    keep_checkpoints: 3", "warmup_steps: 30", "warmup_steps: 1", "warmup_steps: 20", "warmup_steps: 1",
		"validate_every: 100", "validate_every: 6", "validate_every: 60", "validate_every: 6", "max_documents: 8", "max_documents: 1",
		"datasets: [scala-da, danplus, lcc-sentiment, scala-nb, norec, norquad, scala-sv]", "datasets: [scala-da]", "iterations: 10", "iterations: 1", "limit: 512", "limit: 4",
		"{danplus: 64, norquad: 64, heldout: 100}", "{heldout: 1}", "heldout_bytes: 6000", "heldout_bytes: 1000", "dedup: true", "near: {preset: ravn}",
		"rights: rights/gigaword-sample", "rights: register\nremovals: removals.jsonl",
	)
	// The continued phase's options are indented by two, the base's by four.
	changed := strings.Replace(change.Replace(string(text)), "checkpoint_every: 2\n    keep_checkpoints: 3\n\neval", "checkpoint_every: 2\n  keep_checkpoints: 3\n\neval", 1)
	if err := os.CopyFS(filepath.Join(dir, "register"), os.DirFS(filepath.Join("..", "recipes", "rights", "gigaword-sample"))); err != nil {
		t.Fatal(err)
	}
	adl, err := os.ReadFile(filepath.Join(dir, "register", "sources", "adl.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{
		"agreement: kb-1\nkind: written\nparties: [library, us]\ndocument: {reference: folder 1}\npermits: {store: true, process: true, train: true, publish_weights: true, commercial: true}\n",
		string(adl) + "agreements: [kb-1]\ndecisions:\n  - {agreement: kb-1, by: anna, date: 2026-11-25, reason: a test}\n",
	} {
		if _, err := register.Add(filepath.Join(dir, "register"), []byte(text), "anna", "2026-11-25", "a test"); err != nil {
			t.Fatal(err)
		}
	}
	r, err := recipe.Parse([]byte(changed), filepath.Join(dir, "sample-da.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// piece is a part of a document in a row of a step, as brute force found it.
type piece struct {
	step, row, at, n int
	from             int64 // token of the document
	document         int   // row of spans.parquet
}

// readAll reads what a phase trained on, step by step: the batches that the engine gets, whose tokens are compared with
// the bytes of the .bin files at the places that spans.parquet names. Nothing of trace is asked.
func readAll(t *testing.T, run, phase string, steps int) (rows []shard.DocumentRow, pieces []piece) {
	t.Helper()
	rows, err := parquet.ReadFile[shard.DocumentRow](filepath.Join(run, "shards", "spans.parquet"))
	if err != nil {
		t.Fatal(err)
	}
	bins := map[string][]byte{}
	at := map[string]int{} // section/number → row
	for i, r := range rows {
		at[fmt.Sprintf("%s/%d", r.Section, r.Number)] = i
		if bins[r.Section] == nil {
			index, err := os.ReadFile(filepath.Join(run, "shards", r.Section+".idx"))
			if err != nil {
				t.Fatal(err)
			}
			if index[17] != 8 { // behind the magic word (9 bytes) and the version (8): Megatron's code of uint16
				t.Fatalf("%s: number format %d", r.Section, index[17])
			}
			if bins[r.Section], err = os.ReadFile(filepath.Join(run, "shards", r.Section+".bin")); err != nil {
				t.Fatal(err)
			}
		}
	}
	tr, err := OpenTrace(run, phase)
	if err != nil {
		t.Fatal(err)
	}
	defer tr.Close()
	for step := 1; step <= steps; step++ {
		b, err := tr.order.Batch(step)
		if err != nil {
			t.Fatal(err)
		}
		spans, err := tr.order.Spans(step)
		if err != nil {
			t.Fatal(err)
		}
		covered := 0
		for _, s := range spans {
			i, ok := at[fmt.Sprintf("%s/%d", s.Section, s.Number)]
			if !ok || s.Row*b.T+s.At != covered || rows[i].ID != s.Document {
				t.Fatalf("step %d: span %+v does not follow, or is of no document", step, s)
			}
			for k := range s.Len {
				place := 2 * (rows[i].FirstToken + s.DocStart + int64(k))
				if want := int32(binary.LittleEndian.Uint16(bins[s.Section][place:])); b.Tokens[covered+k] != want {
					t.Fatalf("step %d, row %d, token %d is %d, but %s has %d there", step, s.Row, s.At+k, b.Tokens[covered+k], s.Document, want)
				}
			}
			covered += s.Len
			pieces = append(pieces, piece{step, s.Row, s.At, s.Len, s.DocStart, i})
		}
		if covered != b.B*b.T {
			t.Fatalf("step %d: %d of %d tokens lie in spans", step, covered, b.B*b.T)
		}
	}
	return rows, pieces
}

// judged is what the register of fewSteps decides, written out by hand; licences of replay-en are by document.
var judged = map[string]string{
	"adl": "LicenseRef-Agreement-kb-1", "ft": "LicenseRef-Folketinget-Open-Data", "wiki": "CC-BY-SA-4.0", "botxt": "CC-BY-4.0",
	"retsinformationdk": "LicenseRef-DK-Ophavsretsloven-9", "depbank": "CC-BY-SA-4.0",
}

// TestTraceAndRemovalOfSampleDA runs recipes/sample-da.yaml to its release with few steps, asks every question of ravn
// trace and answers it again by brute force; then documents that were read have to go.
func TestTraceAndRemovalOfSampleDA(t *testing.T) {
	r := fewSteps(t)
	run := filepath.Join(t.TempDir(), "sample-da")
	walk := func() error {
		f, err := Open(r, run, Options{Threads: 2, Rights: RightsOptions{Date: "2026-11-25"}})
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		return f.Run(t.Context())
	}
	if err := walk(); err != nil {
		t.Fatal(err)
	}
	for _, phase := range []string{basePhase, continuedPhase} {
		compareTrace(t, run, phase)
	}

	// A document that the continued phase has read, one of the base's, and one that nobody reads.
	rows, pieces := readAll(t, run, continuedPhase, 6)
	seen := map[int]bool{}
	for _, p := range pieces {
		seen[p.document] = true
	}
	one := map[string]string{} // of each section
	for i, row := range rows {
		if _, ok := one[row.Section]; !ok && seen[i] == (row.Section != "wiki") {
			one[row.Section] = row.Section + "/" + row.ID
		}
	}
	names := []string{one["ft"], one["replay-en"], one["wiki"]}
	goes := map[string]bool{names[0]: true, names[1]: true, names[2]: true}
	if len(goes) != 3 {
		t.Fatalf("documents %v", names)
	}
	entries, err := Copies(run, names, true)
	if err != nil {
		t.Fatal(err)
	}
	list, err := removal.Open(filepath.Join(filepath.Dir(r.File()), "removals.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	for i := range entries {
		e := &entries[i]
		e.Request, e.Kind, e.By, e.Reason, e.Received = "2026-7", "erasure", "anna", "a test", "2026-11-20"
	}
	if _, err := list.Add(entries...); err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(list.Path)
	if err != nil {
		t.Fatal(err)
	}
	runs := runsOf(t, run, names) // of words, to look for afterwards
	for text := range runs {
		if strings.Contains(string(raw), text) {
			t.Fatalf("the list holds text: %q", text)
		}
	}

	report, err := CheckRemovals(run, list.Path)
	if err != nil {
		t.Fatal(err)
	}
	q := report.Requests[0]
	if report.Clean || !q.Release || q.Kept != 3 || q.Shards != 3 || q.Removed != 0 {
		t.Errorf("before: %+v", q)
	}
	for _, phase := range []string{basePhase, continuedPhase} {
		rows, pieces := readAll(t, run, phase, 6)
		tokens, total, first, last := 0, 0, 0, 0
		for _, p := range pieces {
			total += p.n
			if goes[rows[p.document].Section+"/"+rows[p.document].ID] {
				tokens += p.n
				last = p.step
				if first == 0 {
					first = p.step
				}
			}
		}
		got := q.Phases[phase]
		if tokens == 0 && got == nil {
			continue
		}
		want := &Reading{Tokens: int64(tokens), Share: float64(tokens) / float64(total), First: first, Last: last}
		for _, step := range []int{2, 4, 6} {
			if step >= first {
				want.Seen = append(want.Seen, step)
			} else {
				want.Clean = append(want.Clean, step)
			}
		}
		if got == nil || got.Tokens != want.Tokens || math.Abs(got.Share-want.Share) > 1e-12 || got.First != first || got.Last != last || !slices.Equal(got.Seen, want.Seen) || !slices.Equal(got.Clean, want.Clean) {
			t.Errorf("%s: the report says %+v, the batches %+v", phase, got, want)
		}
		t.Logf("%s read %d of %d tokens of what has to go, steps %d to %d; checkpoints that saw it %v, that did not %v", phase, tokens, total, first, last, want.Seen, want.Clean)
	}

	// Again, with the list: all of it is absent, by the report and by looking for its runs of words.
	if err := walk(); err != nil {
		t.Fatal(err)
	}
	if report, err = CheckRemovals(run, ""); err != nil {
		t.Fatal(err)
	}
	q = report.Requests[0]
	if !report.Clean || !report.ShardsMatch || q.Removed != 3 || q.Kept+q.Heldout+q.Shards != 0 || len(q.Phases) != 0 || q.Release {
		t.Errorf("after: %+v %+v", report, q)
	}
	for _, part := range []string{"sections", "heldout"} {
		files, err := filepath.Glob(filepath.Join(run, "corpus", part, "*.jsonl.zst"))
		if err != nil || len(files) == 0 {
			t.Fatalf("%s: %v %v", part, files, err)
		}
		for _, path := range files {
			lookFor(t, path, strings.Join(strings.Fields(string(unpack(t, path))), " "), runs)
		}
	}
	tok, err := tokenizer.Load(filepath.Join(run, "tokenizer"))
	if err != nil {
		t.Fatal(err)
	}
	for _, phase := range []string{basePhase, continuedPhase} {
		rows, pieces := readAll(t, run, phase, 6)
		for _, p := range pieces {
			if key := rows[p.document].Section + "/" + rows[p.document].ID; goes[key] {
				t.Errorf("%s, step %d reads %s", phase, p.step, key)
			}
		}
		tr, err := OpenTrace(run, phase)
		if err != nil {
			t.Fatal(err)
		}
		for step := 1; step <= 6; step++ {
			b, err := tr.order.Batch(step)
			if err != nil {
				t.Fatal(err)
			}
			for row := range b.B {
				lookFor(t, fmt.Sprintf("%s, step %d, row %d", phase, step, row), strings.Join(strings.Fields(tok.Decode(b.Tokens[row*b.T:(row+1)*b.T])), " "), runs)
			}
		}
		tr.Close()
		compareTrace(t, run, phase)
	}
}

// compareTrace asks everything about a phase.
func compareTrace(t *testing.T, run, phase string) {
	t.Helper()
	rows, pieces := readAll(t, run, phase, 6)
	tr, err := OpenTrace(run, phase)
	if err != nil {
		t.Fatal(err)
	}
	defer tr.Close()
	key := func(i int) string { return rows[i].Section + "/" + rows[i].ID }
	license := func(i int) string {
		if l, ok := judged[rows[i].Section]; ok {
			return l
		}
		return rows[i].License
	}
	total := 0
	bySection, byLicense := map[string]bool{}, map[string]bool{}
	for i := range rows {
		bySection[rows[i].Section] = true
		byLicense[license(i)] = true
		byLicense[rows[i].License] = true
	}
	for step := 1; step <= 6; step++ {
		got, err := tr.Step(step, false)
		if err != nil {
			t.Fatal(err)
		}
		k, sections := 0, map[string]int{}
		for _, p := range pieces {
			if p.step != step {
				continue
			}
			d := got.Documents[k]
			if d.Row != p.row || d.At != p.at || d.Len != p.n || d.DocStart != p.from || d.Section+"/"+d.Document != key(p.document) || d.License != rows[p.document].License {
				t.Fatalf("%s, step %d: trace says %+v, the batch %+v", phase, step, d, p)
			}
			sections[d.Section] += p.n
			total += p.n
			k++
		}
		if k != len(got.Documents) {
			t.Fatalf("%s, step %d: %d spans, %d in the batch", phase, step, len(got.Documents), k)
		}
		for _, s := range got.Sections {
			if sections[s.Name] != s.Tokens {
				t.Errorf("%s, step %d: %d tokens of %s, want %d", phase, step, s.Tokens, s.Name, sections[s.Name])
			}
		}
	}
	ask := func(s Selection, in func(i int) bool) {
		t.Helper()
		u, err := tr.Usage(s)
		if err != nil {
			t.Fatal(err)
		}
		there, tokens, steps, read, first, last := 0, 0, map[int]bool{}, map[int]bool{}, 0, 0
		for i := range rows {
			if in(i) {
				there++
			}
		}
		for _, p := range pieces {
			if in(p.document) {
				tokens += p.n
				steps[p.step], read[p.document] = true, true
				last = p.step
				if first == 0 {
					first = p.step
				}
			}
		}
		var saw, not []int
		for _, c := range []int{2, 4, 6} {
			if first > 0 && c >= first {
				saw = append(saw, c)
			} else {
				not = append(not, c)
			}
		}
		if u.Documents != there || u.Read != len(read) || u.Tokens != int64(tokens) || u.Steps != len(steps) || u.First != first || u.Last != last || math.Abs(u.Share-float64(tokens)/float64(total)) > 1e-12 ||
			!slices.Equal(u.Seen, saw) || !slices.Equal(u.Clean, not) {
			t.Errorf("%s, %+v: %+v; by the batches %d documents, %d read, %d tokens, steps %d, %d to %d, checkpoints %v %v", phase, s, u, there, len(read), tokens, len(steps), first, last, saw, not)
		}
	}
	for s := range bySection {
		ask(Selection{Source: s}, func(i int) bool { return rows[i].Section == s })
	}
	for l := range byLicense {
		ask(Selection{License: l}, func(i int) bool { return license(i) == l || rows[i].License == l })
	}
	ask(Selection{Agreement: "kb-1"}, func(i int) bool { return rows[i].Section == "adl" })

	for i := range rows {
		var want []shard.Sighting
		for _, p := range pieces {
			if p.document == i {
				want = append(want, shard.Sighting{Step: p.step, Span: shard.Span{Row: p.row, At: p.at, Len: p.n, Section: rows[i].Section, Document: rows[i].ID, License: rows[i].License, Number: rows[i].Number, DocStart: p.from}})
			}
		}
		got, err := tr.Document(key(i))
		if err != nil {
			t.Fatal(err)
		}
		for k := range got.Sightings {
			got.Sightings[k].Epoch = 0
		}
		if !slices.Equal(got.Sightings, want) {
			t.Errorf("%s, %s: %v, want %v", phase, key(i), got.Sightings, want)
		}
	}
	for _, c := range [][2]int{{0, 6}, {0, 2}, {2, 4}, {5, 6}} {
		d, err := tr.Difference(c[0], c[1])
		if err != nil {
			t.Fatal(err)
		}
		before, read, sections, tokens, fresh := map[int]bool{}, map[int]bool{}, map[string]int{}, 0, 0
		for _, p := range pieces {
			switch {
			case p.step <= c[0]:
				before[p.document] = true
			case p.step <= c[1]:
				read[p.document] = true
				tokens += p.n
				sections[rows[p.document].Section] += p.n
			}
		}
		for i := range read {
			if !before[i] {
				fresh++
			}
		}
		got := map[string]int{}
		for _, s := range d.Sections {
			got[s.Name] = s.Tokens
		}
		if d.Tokens != int64(tokens) || d.Documents != len(read) || d.New != fresh || !maps.Equal(got, sections) {
			t.Errorf("%s from %d to %d: %+v; by the batches %d tokens, %d documents, %d new, %v", phase, c[0], c[1], d, tokens, len(read), fresh, sections)
		}
	}
}

// unpack is the content of a .zst file.
func unpack(t *testing.T, path string) []byte {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := zstd.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	data, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// runsOf are runs of thirteen words of the documents, as JSON has them, that stand nowhere else in what was kept.
func runsOf(t *testing.T, run string, names []string) map[string]bool {
	t.Helper()
	runs := map[string]bool{}
	var others []string
	files, err := filepath.Glob(filepath.Join(run, "corpus", "*", "*.jsonl.zst"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range files {
		section := strings.TrimSuffix(filepath.Base(path), ".jsonl.zst")
		for line := range strings.Lines(string(unpack(t, path))) {
			goes := false
			for _, n := range names {
				s, id, _ := strings.Cut(n, "/")
				goes = goes || s == section && strings.Contains(line, `"id":"`+id+`"`)
			}
			_, text, ok := strings.Cut(line, `"text":"`)
			if !ok {
				t.Fatalf("%s: %.80q has no text", path, line)
			}
			words := strings.Fields(text)
			if !goes {
				others = append(others, strings.Join(strings.Fields(line), " "))
				continue
			}
			for i := 0; i+13 <= len(words) && i < 20*13; i += 13 {
				if x := strings.Join(words[i:i+13], " "); !strings.ContainsAny(x, `\"`) {
					runs[x] = true
				}
			}
		}
	}
	for x := range runs {
		for _, text := range others {
			if strings.Contains(text, x) {
				delete(runs, x)
				break
			}
		}
	}
	if len(runs) < 20 {
		t.Fatalf("%d runs of words to look for", len(runs))
	}
	return runs
}

func lookFor(t *testing.T, where, text string, runs map[string]bool) {
	t.Helper()
	for x := range runs {
		if strings.Contains(text, x) {
			t.Errorf("%s: %q is still there", where, x)
		}
	}
}
