package pipeline

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"ravn/corpus"
)

// CountTokens writes the number of tokens of every document into the ledger in dir, a folder that Build has made. It is
// for tokenizers that are trained on what Build kept; Options.Tokens counts with one that is there before.
func CountTokens(ctx context.Context, dir string, count func(text string) int) error {
	tokens := map[string]int64{}
	for _, part := range []string{"sections", "heldout", "removed"} {
		entries, err := os.ReadDir(filepath.Join(dir, part))
		if err != nil && !os.IsNotExist(err) {
			return fmt.Errorf("pipeline: %w", err)
		}
		for _, e := range entries {
			section, ok := strings.CutSuffix(e.Name(), ".jsonl.zst")
			if !ok {
				continue
			}
			c, err := corpus.Open(filepath.Join(dir, part, e.Name()), corpus.OpenOptions{Format: "jsonl", Section: section})
			if err != nil {
				return err
			}
			for d, err := range c.Sections[0].Documents() {
				if err != nil {
					return err
				}
				if err := ctx.Err(); err != nil {
					return err
				}
				tokens[section+"/"+d.ID] = int64(count(d.Text))
			}
		}
	}
	path := filepath.Join(dir, "documents.parquet")
	rows, err := ReadLedger(path)
	if err != nil {
		return err
	}
	l, err := createLedger(path)
	if err != nil {
		return err
	}
	defer l.file.Abort() // does nothing after commit
	for _, r := range rows {
		r.Tokens = tokens[r.Section+"/"+r.ID]
		if err := l.add(r); err != nil {
			return err
		}
	}
	return l.commit()
}
