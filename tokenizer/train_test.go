package tokenizer

import (
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"ravn/internal/sampledata"
)

// danish returns the documents of the Danish sample, in the order of their names.
func danish(t testing.TB) []string {
	t.Helper()
	var texts []string
	err := filepath.WalkDir(filepath.Join(sampledata.Dir(t), "gigaword-sample", "sections"), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.Contains(d.Name(), "_") || strings.HasSuffix(d.Name(), ".jsonl") {
			return err
		}
		b, err := os.ReadFile(path)
		texts = append(texts, string(b))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return texts
}

func TestTrainBig(t *testing.T) {
	texts := danish(t)
	start := time.Now()
	tok, err := Train(context.Background(), func(yield func(string) bool) {
		for _, s := range texts {
			if !yield(s) {
				return
			}
		}
	}, DefaultTrainOptions())
	if err != nil {
		t.Fatal(err)
	}
	n, ids := 0, 0
	t.Log(time.Since(start))
	start = time.Now()
	for _, s := range texts {
		n += len(s)
		ids += len(tok.Encode(nil, s))
	}
	t.Log(n, float64(n)/float64(ids), time.Since(start))
}
