package workflow

import (
	"context"
	"fmt"
	"slices"
	"testing"

	"ravn/corpus"
	"ravn/recipe"
	"ravn/shard"
	"ravn/tokenizer"
)

// TestContinuedPhaseReadsOn holds the second phase to text that the first has not read, as long as there is any.
func TestContinuedPhaseReadsOn(t *testing.T) {
	var texts []string
	for i := range 400 {
		texts = append(texts, fmt.Sprintf("The raven number %d flew over the harbour and came back with news of the ice.", i))
	}
	o := tokenizer.DefaultTrainOptions()
	o.VocabSize = 340
	tok, err := tokenizer.Train(context.Background(), slices.Values(texts), o)
	if err != nil {
		t.Fatal(err)
	}
	var docs []*corpus.Document
	for i, text := range texts {
		docs = append(docs, &corpus.Document{ID: fmt.Sprintf("en_%d", i), Text: text, License: "CC0-1.0"})
	}
	dir := t.TempDir()
	in := []shard.SectionInput{{Name: "en", Role: "replay", Language: "en", Documents: func(yield func(*corpus.Document, error) bool) {
		for _, d := range docs {
			if !yield(d, nil) {
				return
			}
		}
	}}}
	if _, err := shard.Write(context.Background(), dir, in, shard.WriterOptions{Tokenizer: tok, Separators: "bos_eos"}); err != nil {
		t.Fatal(err)
	}
	set, err := shard.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer set.Close()
	base, r := recipe.Default().Train, recipe.Default()
	base.Steps, base.RowsPerStep, base.Mixture = 3, 4, []shard.Share{{Section: "en", Share: 1}}
	r.Train, r.Data.SeqTokens = base, 32
	r.Train.Steps, r.Base.Phase = 5, &base
	f := &Flow{Recipe: &r}
	type place struct {
		document string
		at       int64
	}
	read := map[place]string{}
	for phase, steps := range map[string]int{basePhase: 3, continuedPhase: 5} {
		o, err := f.order(set, phase)
		if err != nil {
			t.Fatal(err)
		}
		for step := 1; step <= steps; step++ {
			spans, err := o.Spans(step)
			if err != nil {
				t.Fatal(err)
			}
			for _, s := range spans {
				if s.Epoch != 0 {
					t.Fatalf("%s reads the section a second time; the test wants more text", phase)
				}
				for i := range s.Len {
					at := place{s.Document, s.DocStart + int64(i)}
					if was, ok := read[at]; ok {
						t.Fatalf("%s step %d reads %v, which %s has read", phase, step, at, was)
					}
					read[at] = phase
				}
			}
		}
	}
	if got, want := len(read), (3+5)*4*32; got != want {
		t.Errorf("%d tokens read, want %d", got, want)
	}
}
