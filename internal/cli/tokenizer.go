package cli

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"unicode/utf8"

	"ravn/corpus"
	"ravn/internal/atomicfile"
	"ravn/tokenizer"
)

// TokenizerCmd groups what is done with tokenizers.
type TokenizerCmd struct {
	Train  TokenizerTrainCmd  `cmd:"" help:"Train a vocabulary on documents."`
	Encode TokenizerEncodeCmd `cmd:"" help:"Text to ids, line by line."`
	Decode TokenizerDecodeCmd `cmd:"" help:"Ids to text, line by line."`
	Stats  TokenizerStatsCmd  `cmd:"" help:"Tokens per word and bytes per token, by language and section."`
}

// TokenizerTrainCmd trains a vocabulary.
type TokenizerTrainCmd struct {
	Text     []string `arg:"" help:"Folders or files of documents."`
	Size     int      `default:"8192" help:"Number of pieces."`
	Out      string   `required:"" help:"Folder to write tokenizer.model, tokenizer.json and their configuration to."`
	Coverage float64  `default:"0.9995" help:"Share of characters that get a piece of their own; the rest is spelled in bytes."`
	JSON     bool     `name:"json" help:"Print the result as JSON."`
}

// Help is shown under --help.
func (c *TokenizerTrainCmd) Help() string {
	return "Example:\n  ravn tokenizer train corpus/ --size 8192 --out tokenizer/"
}

// Run trains and writes.
func (c *TokenizerTrainCmd) Run(ctx context.Context, s *Streams) error {
	if c.Size < 300 {
		return usageError{fmt.Errorf("tokenizer: --size %d is too small: 256 bytes and the control pieces come first (at least 300)", c.Size)}
	}
	var failed error
	documents, size := 0, int64(0)
	texts := func(yield func(string) bool) {
		failed = eachDocument(c.Text, func(d *corpus.Document) bool {
			documents++
			size += int64(len(d.Text))
			return yield(d.Text)
		})
	}
	o := tokenizer.DefaultTrainOptions()
	o.VocabSize, o.CharacterCoverage = c.Size, c.Coverage
	tok, err := tokenizer.Train(ctx, texts, o)
	if err = errors.Join(failed, err); err != nil {
		return err
	}
	if err := os.MkdirAll(c.Out, 0o755); err != nil {
		return err
	}
	for name, data := range tok.Files() {
		if err := atomicfile.WriteFile(filepath.Join(c.Out, name), data); err != nil {
			return err
		}
	}
	if c.JSON {
		return s.JSON(map[string]any{"pieces": tok.Size(), "documents": documents, "bytes": size, "out": c.Out, "hash": tok.Hash()})
	}
	_, err = fmt.Fprintf(s.Out, "%d pieces from %d documents (%d bytes), written to %s\n", tok.Size(), documents, size, c.Out)
	return err
}

// eachDocument visits the documents of corpora until f says no.
func eachDocument(paths []string, f func(d *corpus.Document) bool) error {
	for _, path := range paths {
		c, err := corpus.Open(path, corpus.OpenOptions{})
		if err != nil {
			return err
		}
		for _, section := range c.Sections {
			for d, err := range section.Documents() {
				if err != nil {
					return err
				}
				if !f(d) {
					return nil
				}
			}
		}
	}
	return nil
}

// TokenizerEncodeCmd turns text into ids.
type TokenizerEncodeCmd struct {
	Model string `required:"" help:"A .model, a tokenizer.json, or a folder with one."`
	BOS   bool   `name:"bos" help:"Put BOS in front."`
	EOS   bool   `name:"eos" help:"Put EOS behind."`
	JSON  bool   `name:"json" help:"Read lines {\"text\": …}, write lines {\"ids\": […], \"pieces\": […]}."`
}

// Help is shown under --help.
func (c *TokenizerEncodeCmd) Help() string {
	return "Example:\n  echo 'Ravnen fløj.' | ravn tokenizer encode --model tokenizer/"
}

// Run reads lines from stdin.
func (c *TokenizerEncodeCmd) Run(s *Streams) error {
	tok, err := tokenizer.Load(c.Model)
	if err != nil {
		return err
	}
	out := bufio.NewWriter(s.Out)
	defer out.Flush()
	enc := json.NewEncoder(out)
	enc.SetEscapeHTML(false)
	var ids []int32
	return eachLine(s.In, func(n int, line []byte) error {
		text := string(line)
		if c.JSON {
			var q struct {
				Text *string `json:"text"`
			}
			if err := json.Unmarshal(line, &q); err != nil {
				return fmt.Errorf("tokenizer: line %d: %w (one JSON object a line is wanted)", n, err)
			}
			if q.Text == nil {
				return fmt.Errorf("tokenizer: line %d has no \"text\"", n)
			}
			text = *q.Text
		}
		ids = ids[:0]
		if c.BOS && tok.BOS() >= 0 {
			ids = append(ids, tok.BOS())
		}
		ids = tok.Encode(ids, text)
		if c.EOS && tok.EOS() >= 0 {
			ids = append(ids, tok.EOS())
		}
		if !c.JSON {
			_, err := fmt.Fprintln(out, strings.Trim(fmt.Sprint(ids), "[]"))
			return err
		}
		pieces := make([]string, len(ids))
		for i, id := range ids {
			pieces[i] = tok.Piece(id)
		}
		return enc.Encode(map[string]any{"ids": append([]int32{}, ids...), "pieces": pieces})
	})
}

// TokenizerDecodeCmd turns ids into text.
type TokenizerDecodeCmd struct {
	Model string `required:"" help:"A .model, a tokenizer.json, or a folder with one."`
	JSON  bool   `name:"json" help:"Read lines {\"ids\": […]}, write lines {\"text\": …}."`
}

// Help is shown under --help.
func (c *TokenizerDecodeCmd) Help() string {
	return "Example:\n  echo '22557 1526' | ravn tokenizer decode --model tokenizer.model"
}

// Run reads lines from stdin.
func (c *TokenizerDecodeCmd) Run(s *Streams) error {
	tok, err := tokenizer.Load(c.Model)
	if err != nil {
		return err
	}
	out := bufio.NewWriter(s.Out)
	defer out.Flush()
	enc := json.NewEncoder(out)
	enc.SetEscapeHTML(false)
	return eachLine(s.In, func(n int, line []byte) error {
		var q struct {
			IDs []int32 `json:"ids"`
		}
		data := line
		if !c.JSON {
			data = []byte(`{"ids":[` + strings.Join(strings.Fields(string(line)), ",") + `]}`)
		}
		if err := json.Unmarshal(data, &q); err != nil {
			return fmt.Errorf("tokenizer: line %d: %w (ids are whole numbers)", n, err)
		}
		for _, id := range q.IDs {
			if id < 0 || int(id) >= tok.Size() {
				return fmt.Errorf("tokenizer: line %d: id %d is outside the vocabulary of %d", n, id, tok.Size())
			}
		}
		text := tok.Decode(q.IDs)
		if c.JSON {
			return enc.Encode(map[string]string{"text": text})
		}
		_, err := fmt.Fprintln(out, text)
		return err
	})
}

// TokenizerStatsCmd measures fertility.
type TokenizerStatsCmd struct {
	Text  []string `arg:"" help:"Folders or files of documents."`
	Model string   `required:"" help:"A .model, a tokenizer.json, or a folder with one."`
	JSON  bool     `name:"json" help:"As JSON."`
}

// Help is shown under --help.
func (c *TokenizerStatsCmd) Help() string {
	return "Example:\n  ravn tokenizer stats corpus/ --model tokenizer/"
}

type fertility struct {
	Language      string  `json:"language"`
	Section       string  `json:"section"`
	Documents     int     `json:"documents"`
	Bytes         int64   `json:"bytes"`
	Characters    int64   `json:"characters"`
	Words         int64   `json:"words"` // between white space
	Tokens        int64   `json:"tokens"`
	TokensPerWord float64 `json:"tokens_per_word"`
	BytesPerToken float64 `json:"bytes_per_token"`
}

// Run counts.
func (c *TokenizerStatsCmd) Run(s *Streams) error {
	tok, err := tokenizer.Load(c.Model)
	if err != nil {
		return err
	}
	sums := map[[2]string]*fertility{}
	var ids []int32
	err = eachDocument(c.Text, func(d *corpus.Document) bool {
		ids = tok.Encode(ids[:0], d.Text)
		language := d.Language
		if language == "" {
			language = "unknown"
		}
		for _, key := range [][2]string{{language, ""}, {language, d.Section}} {
			f := sums[key]
			if f == nil {
				f = &fertility{Language: key[0], Section: key[1]}
				sums[key] = f
			}
			f.Documents++
			f.Bytes += int64(len(d.Text))
			f.Characters += int64(utf8.RuneCountInString(d.Text))
			f.Words += int64(len(strings.Fields(d.Text)))
			f.Tokens += int64(len(ids))
		}
		return true
	})
	if err != nil {
		return err
	}
	var rows []*fertility
	for _, f := range sums {
		f.TokensPerWord = float64(f.Tokens) / float64(max(f.Words, 1))
		f.BytesPerToken = float64(f.Bytes) / float64(max(f.Tokens, 1))
		rows = append(rows, f)
	}
	sort.Slice(rows, func(i, k int) bool {
		if rows[i].Language != rows[k].Language {
			return rows[i].Language < rows[k].Language
		}
		return rows[i].Section < rows[k].Section
	})
	if c.JSON {
		return s.JSON(rows)
	}
	fmt.Fprintf(s.Out, "%-9s %-20s %9s %12s %12s %12s %12s %12s\n", "language", "section", "documents", "bytes", "words", "tokens", "tokens/word", "bytes/token")
	for _, f := range rows {
		section := f.Section
		if section == "" {
			section = "all"
		}
		fmt.Fprintf(s.Out, "%-9s %-20s %9d %12d %12d %12d %12.3f %12.3f\n", f.Language, section, f.Documents, f.Bytes, f.Words, f.Tokens, f.TokensPerWord, f.BytesPerToken)
	}
	return nil
}
