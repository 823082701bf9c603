package decontam

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// LoadTexts reads the texts of a benchmark's folder: those of test.jsonl, line by line, then those of val.jsonl where there
// is one. So text i < number of test lines belongs to test line i+1. Of each record it takes "text", or else "tokens"
// joined by spaces, and adds "context", "question" and "target_text" as lines of their own.
func LoadTexts(dir string) ([]string, error) {
	test, err := LoadSplit(filepath.Join(dir, "test.jsonl"))
	if err != nil {
		return nil, err
	}
	val, err := LoadSplit(filepath.Join(dir, "val.jsonl"))
	if errors.Is(err, fs.ErrNotExist) {
		return test, nil
	}
	return append(test, val...), err
}

// LoadBenchmark reads a benchmark's folder and names it after the folder.
func LoadBenchmark(dir string) (Benchmark, error) {
	texts, err := LoadTexts(dir)
	if err != nil {
		return Benchmark{}, err
	}
	abs, err := filepath.Abs(dir)
	if err != nil {
		return Benchmark{}, fmt.Errorf("decontam: %w", err)
	}
	return Benchmark{Name: filepath.Base(abs), Texts: texts}, nil
}

// record holds the fields that benchmarks keep text in.
type record struct {
	Text       *string  `json:"text"`
	Tokens     []string `json:"tokens"`
	Context    string   `json:"context"`
	Question   string   `json:"question"`
	TargetText string   `json:"target_text"`
}

// LoadSplit reads the texts of one file.
func LoadSplit(path string) ([]string, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("decontam: %w", err)
	}
	var out []string
	number := 0
	for line := range bytes.Lines(data) {
		number++
		if len(bytes.TrimSpace(line)) == 0 {
			continue
		}
		var r record
		if err := json.Unmarshal(line, &r); err != nil {
			return nil, fmt.Errorf("decontam: %s:%d: %w\n        (each line is one JSON object)", path, number, err)
		}
		var parts []string
		if r.Text != nil {
			parts = append(parts, *r.Text)
		} else if len(r.Tokens) > 0 {
			parts = append(parts, strings.Join(r.Tokens, " "))
		}
		for _, p := range []string{r.Context, r.Question, r.TargetText} {
			if p != "" {
				parts = append(parts, p)
			}
		}
		if len(parts) == 0 {
			return nil, fmt.Errorf("decontam: %s:%d: no text\n        (expected one of text, tokens, context, question, target_text)", path, number)
		}
		out = append(out, strings.Join(parts, "\n"))
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("decontam: %s: no records", path)
	}
	return out, nil
}
