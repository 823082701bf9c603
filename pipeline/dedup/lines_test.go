package dedup_test

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"ravn/corpus"
	"ravn/internal/atomicfile"
	"ravn/pipeline"
	"ravn/pipeline/dedup"
)

func TestLinesAreTakenOut(t *testing.T) {
	dir := t.TempDir()
	menu := "Forside – Nyheder – Sport – Kultur – Kontakt os her"
	files := map[string]string{
		"avis.jsonl": fmt.Sprintf("{\"id\":\"1\",\"text\":%q}\n{\"id\":\"2\",\"text\":%q}\n{\"id\":\"3\",\"text\":%q}\n",
			menu+"\nByrådet vedtog budgettet i aftes.\nJa.\n"+menu+"\n", "  "+menu+"\nJa.\nEn ny bro åbner i morgen ved havnen.\n", menu+"\nKun dette."),
		"lov.jsonl": fmt.Sprintf("{\"id\":\"1\",\"text\":%q}\n", menu+"\nLoven træder i kraft straks."),
	}
	for name, text := range files {
		if err := atomicfile.WriteFile(filepath.Join(dir, "in", name), []byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	c, err := corpus.Open(filepath.Join(dir, "in"), corpus.OpenOptions{})
	if err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(dir, "out")
	s, err := pipeline.Build(context.Background(), []*corpus.Corpus{c}, pipeline.Options{Out: out, Stages: []pipeline.Stage{
		dedup.NewLines(dedup.LineOptions{MinChars: 10, Except: []string{"lov"}, MinWords: 3}), dedup.NewExact(dedup.Options{}),
	}})
	if err != nil {
		t.Fatal(err)
	}
	if x := s.Sections[0]; x.Kept.Documents != 2 || x.Marks[dedup.RepeatedLines].Documents != 1 || x.Reasons[dedup.MostlyRepeated].Documents != 1 {
		t.Errorf("%+v", x)
	}
	rows, err := pipeline.ReadLedger(filepath.Join(out, "documents.parquet"))
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"", "1 of 3 lines stand in earlier documents, 62 of 104 bytes", "1 of 2 lines stand in earlier documents, 60 of 70 bytes; 2 words are left, at least 3 wanted", ""}
	for i, r := range rows {
		if r.Detail != want[i] {
			t.Errorf("%s/%s: %q, want %q", r.Section, r.ID, r.Detail, want[i])
		}
	}
	got := map[string]string{}
	kept, err := corpus.Open(out, corpus.OpenOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, section := range kept.Sections {
		for d, err := range section.Documents() {
			if err != nil {
				t.Fatal(err)
			}
			got[section.Name+d.ID] = d.Text
		}
	}
	if got["avis1"] != menu+"\nByrådet vedtog budgettet i aftes.\nJa.\n"+menu+"\n" || got["avis2"] != "Ja.\nEn ny bro åbner i morgen ved havnen.\n" || !strings.HasPrefix(got["lov1"], menu) {
		t.Errorf("%q", got)
	}
}

func TestParagraphsAreTakenOut(t *testing.T) {
	para := "Dette er et afsnit.\nDet har to linjer."
	docs := []string{"Først.\n\n" + para + "\n\nSidst.", "Andet.\n\n\n" + para + "\n\n\nSlut på det.", "Dette er et afsnit.\n\nDet har to linjer."}
	s := dedup.NewLines(dedup.LineOptions{Paragraphs: true}).(pipeline.Comparer)
	if err := s.Begin(&pipeline.Access{Dir: t.TempDir(), MemoryBytes: 1, NumDocs: 3}); err != nil {
		t.Fatal(err)
	}
	for i, text := range docs {
		x := pipeline.NewDoc(&corpus.Document{Text: text})
		s.Prepare(x)
		if err := s.Collect(&pipeline.Member{Number: int64(i)}, x.Attached()); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Resolve(context.Background()); err != nil {
		t.Fatal(err)
	}
	for range 2 { // decisions may be asked for again
		for i, want := range []string{docs[0], "Andet.\n\n\nSlut på det.", docs[2]} {
			got := docs[i]
			if d := s.Decide(&pipeline.Member{Number: int64(i)}); d.Edit != nil {
				got, _ = d.Edit(got)
			}
			if got != want {
				t.Errorf("document %d: %q, want %q", i, got, want)
			}
		}
	}
}
