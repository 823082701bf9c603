package workflow

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"ravn/eval/task"
	"ravn/internal/builtin"
	"ravn/pipeline"
	"ravn/recipe"
)

// A recipe that marks overlap and refuses an address: the ledger says why the document went, and the items that were found
// in the training text are those that an evaluation is told of.
func TestCorpusTellsWhatWasFound(t *testing.T) {
	dir := t.TempDir()
	if err := builtin.Extract(dir); err != nil {
		t.Fatal(err)
	}
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("corpus/da/da-net.jsonl", `{"id":"net_1","uri":"https://www.svindel.dk/vind","license":"CC0-1.0","text":"`+strings.Repeat("Du har vundet en rejse til Bornholm, hvis du ringer i dag. ", 8)+`"}`+"\n")
	write("blokeret.txt", "svindel.dk\n")
	text := strings.Replace(string(quickstartRecipe), "  dedup: true", "  addresses: {lists: [blokeret.txt]}\n  dedup: true", 1)
	text = strings.Replace(text, "action: drop}", "action: mark}", 1)
	r, err := recipe.Parse([]byte(text), filepath.Join(dir, "quickstart.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	run := filepath.Join(dir, "run")
	f, err := Open(r, run, Options{Until: "corpus", Threads: 2})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := f.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	rows, err := pipeline.ReadLedger(filepath.Join(run, "corpus", "documents.parquet"))
	if err != nil {
		t.Fatal(err)
	}
	reasons := map[string]string{}
	for _, x := range rows {
		reasons[x.ID] = x.Verdict + " " + x.Reason
	}
	if reasons["net_1"] != "drop blocked_address" || reasons["da-samfund_plantet-oeveark"] != "keep contaminated" || reasons["da-natur_ugler"] != "keep " {
		t.Errorf("ledger: %v", reasons)
	}

	d, err := task.LoadDataset(filepath.Join(dir, "eval", "mini-scala-da"))
	if err != nil {
		t.Fatal(err)
	}
	seen, against := SeenItems(run, d)
	sheet := ""
	for _, x := range rows {
		if x.ID == "da-samfund_plantet-oeveark" {
			sheet = x.Detail
		}
	}
	if len(seen) == 0 || len(seen) >= len(d.Test) || against == "" || !strings.Contains(sheet, "mini-scala-da") {
		t.Errorf("%d of %d items are told of (%s); the sheet: %s", len(seen), len(d.Test), against, sheet)
	}
	in, err := f.corpusInputs()
	if err != nil || in["blokeret.txt"] == "" {
		t.Errorf("the list is no input: %v, %v", in, err)
	}
}
