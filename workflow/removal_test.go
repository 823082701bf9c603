package workflow

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"ravn/checkpoint"
	"ravn/internal/builtin"
	"ravn/pipeline"
	"ravn/recipe"
	"ravn/rights/removal"
)

// TestRemoval takes a document, of which a copy stands under another id, out of a run: before, the run has it and the
// report agrees with the spans of all steps; after building with the list neither it nor its copy is anywhere.
func TestRemoval(t *testing.T) {
	dir := t.TempDir()
	if err := builtin.Extract(dir); err != nil {
		t.Fatal(err)
	}
	natur := filepath.Join(dir, "corpus", "da", "da-natur.jsonl")
	data, err := os.ReadFile(natur)
	if err != nil {
		t.Fatal(err)
	}
	first, _, _ := strings.Cut(string(data), "\n")
	var owl map[string]any
	if err := json.Unmarshal([]byte(first), &owl); err != nil {
		t.Fatal(err)
	}
	owl["id"], owl["text"] = "da-kopi_1", strings.ToUpper(owl["text"].(string)) // letters of another size: the same text
	line, _ := json.Marshal(owl)
	if err := os.WriteFile(filepath.Join(dir, "corpus", "da", "da-kopi.jsonl"), append(line, '\n'), 0o644); err != nil {
		t.Fatal(err)
	}
	text := strings.Replace(string(quickstartRecipe), "name: quickstart\n", "name: quickstart\nremovals: removals.jsonl\n", 1)
	r, err := recipe.Parse([]byte(text), filepath.Join(dir, "quickstart.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	run := filepath.Join(dir, "run")
	build := func() {
		t.Helper()
		f, err := Open(r, run, Options{Until: "shards", Threads: 2})
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if err := f.Run(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	build()
	for _, step := range []int{1, 60, 120} {
		at := filepath.Join(run, "checkpoints", checkpoint.Name(step))
		if err := os.MkdirAll(at, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(at, "state.json"), []byte("{}"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	const id = "da-natur/da-natur_ugler"
	copies, err := Copies(run, []string{id}, false)
	if err != nil || len(copies) != 2 {
		t.Fatalf("%+v, %v", copies, err)
	}
	list, err := removal.Open(filepath.Join(dir, "removals.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	for i := range copies {
		e := &copies[i]
		e.Request, e.Kind, e.By, e.Reason, e.Received = "2026-7", "erasure", "anna", "a test", "2026-11-20"
	}
	if _, err := list.Add(copies...); err != nil {
		t.Fatal(err)
	}

	report, err := CheckRemovals(run, list.Path)
	if err != nil {
		t.Fatal(err)
	}
	tr, err := OpenTrace(run, continuedPhase)
	if err != nil {
		t.Fatal(err)
	}
	tokens, total, firstStep, lastStep := int64(0), int64(0), 0, 0
	for step := 1; step <= 120; step++ {
		spans, err := tr.order.Spans(step)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range spans {
			total += int64(s.Len)
			if s.Section+"/"+s.Document == id || s.Section == "da-kopi" {
				tokens += int64(s.Len)
				lastStep = step
				if firstStep == 0 {
					firstStep = step
				}
			}
		}
	}
	tr.Close()
	q := report.Requests[0]
	p := q.Phases[continuedPhase]
	if report.Clean || q.Kept+q.Otherwise != 2 || q.Kept < 1 || q.Shards != q.Kept || p == nil {
		t.Fatalf("%+v", q)
	}
	if p.Tokens != tokens || p.First != firstStep || p.Last != lastStep || p.Share != float64(tokens)/float64(total) || len(p.Seen)+len(p.Clean) != 3 {
		t.Errorf("%+v; by the spans %d of %d tokens, steps %d to %d", p, tokens, total, firstStep, lastStep)
	}

	for _, old := range []string{"checkpoints", "trace"} { // of the run that saw it
		if err := os.RemoveAll(filepath.Join(run, old)); err != nil {
			t.Fatal(err)
		}
	}
	build()
	report, err = CheckRemovals(run, "")
	if err != nil {
		t.Fatal(err)
	}
	q = report.Requests[0]
	if !report.Clean || !report.ShardsMatch || q.Removed != 2 || q.Kept+q.Heldout+q.Shards+q.Otherwise != 0 || len(q.Phases) != 0 {
		t.Errorf("after building with the list: %+v, %+v", report, q)
	}
	rows, err := pipeline.ReadLedger(filepath.Join(run, "corpus", "documents.parquet"))
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, row := range rows {
		if row.Reason == removedReason {
			n++
			if row.Verdict != pipeline.VerdictDrop || !strings.Contains(row.Detail, "request 2026-7 (erasure, received 2026-11-20)") || !slices.Contains([]string{"da-natur_ugler", "da-kopi_1"}, row.ID) {
				t.Errorf("%+v", row)
			}
		}
	}
	if n != 2 {
		t.Errorf("the ledger has %d removed on request", n)
	}
}

// TestRemovedTextDoesNotReachTheShards: a corpus that was built before the request is not packed.
func TestRemovedTextDoesNotReachTheShards(t *testing.T) {
	dir := t.TempDir()
	if err := builtin.Extract(dir); err != nil {
		t.Fatal(err)
	}
	text := strings.Replace(string(quickstartRecipe), "name: quickstart\n", "name: quickstart\nremovals: removals.jsonl\n", 1)
	r, err := recipe.Parse([]byte(text), filepath.Join(dir, "quickstart.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	f, err := Open(r, filepath.Join(dir, "run"), Options{Until: "corpus"})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := f.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	list, err := removal.Open(filepath.Join(dir, "removals.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := list.Add(removal.Entry{Request: "1", Kind: "copyright", Received: "2026-11-20", By: "anna", Reason: "a test", Selector: removal.ByID, Value: "da-natur/da-natur_ugler"}); err != nil {
		t.Fatal(err)
	}
	if err := f.tokenizer(t.Context()); err == nil || !strings.Contains(err.Error(), "da-natur/da-natur_ugler falls under removal request 1") {
		t.Errorf("the text is used: %v", err)
	}
}
