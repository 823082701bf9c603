package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"ravn/corpus"
	"ravn/tokenizer"
	"ravn/workflow"
)

// CorpusExportCmd writes a corpus in another form.
type CorpusExportCmd struct {
	Source    string `arg:"" type:"existingpath" help:"Corpus folder or file in any form that is read, or a run folder: its kept sections."`
	Out       string `required:"" help:"Folder to write. dolma: NAME/documents/NAME.jsonl.zst; dynaword: data/NAME/NAME.parquet."`
	Form      string `enum:"dolma,dynaword" default:"dolma" help:"dolma or dynaword."`
	Format    string `default:"auto" help:"Form of the source: auto, gigaword, jsonl, parquet, warc, text."`
	Section   string `help:"Name of the section, for a source of one."`
	License   string `help:"For documents that state none."`
	Language  string `help:"For documents that state none."`
	Tokenizer string `help:"For the column token_count of dynaword; of a run, its own is the default."`
	MaxErrors int    `help:"Unreadable records that are passed over in each section; they are listed."`
	Repair    bool   `help:"Read bytes that are not UTF-8 as Windows-1252."`
}

// Help is shown under --help.
func (c *CorpusExportCmd) Help() string {
	return `Every record is checked; those that cannot be read are named with file and line, and more of them than --max-errors end the command with 1.
What may be passed on is for ravn rights check to say.

Examples:
  ravn corpus export runs/quickstart --out export --form dynaword
  ravn corpus export dynaword/data/wiki/wiki.parquet --out export`
}

// Run reads and writes.
func (c *CorpusExportCmd) Run(ctx context.Context, s *Streams) error {
	source := c.Source
	if workflow.IsRun(source) {
		if c.Tokenizer == "" {
			c.Tokenizer = filepath.Join(source, "tokenizer")
		}
		source = filepath.Join(source, "corpus", "sections")
	}
	var tok *tokenizer.Tokenizer
	if c.Form == "dynaword" {
		if c.Tokenizer == "" {
			return usageError{errors.New("corpus export: dynaword has a column token_count: give --tokenizer")}
		}
		var err error
		if tok, err = tokenizer.Load(c.Tokenizer); err != nil {
			return err
		}
	}
	in, err := corpus.Open(source, corpus.OpenOptions{Format: c.Format, Section: c.Section, License: c.License, Language: c.Language, MaxErrors: c.MaxErrors, Repair: c.Repair})
	if err != nil {
		return err
	}
	for _, section := range in.Sections {
		if err := c.export(ctx, s, section, tok); err != nil {
			return err
		}
	}
	return nil
}

// sink is a file of either form.
type sink interface {
	Commit() error
	Abort() error
}

func (c *CorpusExportCmd) export(ctx context.Context, s *Streams, section *corpus.Section, tok *tokenizer.Tokenizer) error {
	path := filepath.Join(c.Out, section.Name, "documents", section.Name+".jsonl.zst")
	if tok != nil {
		path = filepath.Join(c.Out, "data", section.Name, section.Name+".parquet")
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	var out sink
	var write func(d *corpus.Document) error
	if tok != nil {
		w, err := corpus.CreateParquet(path)
		if err != nil {
			return err
		}
		out, write = w, func(d *corpus.Document) error { return w.Write(d, len(tok.EncodeText(nil, d.Text))) }
	} else {
		w, err := corpus.CreateJSONL(path)
		if err != nil {
			return err
		}
		out, write = w, w.Write
	}
	defer out.Abort()
	check := section.NewCheck()
	documents := 0
	for r, err := range section.Records() {
		if err := ctx.Err(); err != nil {
			return err
		}
		var d *corpus.Document
		if err == nil {
			d, err = r.Document()
		}
		use, err := check.Accept(d, err)
		if err != nil {
			return err
		}
		if !use {
			continue
		}
		documents++
		if err := write(d); err != nil {
			return err
		}
	}
	if err := check.Finish(); err != nil {
		return err
	}
	if err := out.Commit(); err != nil {
		return err
	}
	for _, p := range check.Problems() {
		fmt.Fprintln(s.Err, p)
	}
	_, err := fmt.Fprintf(s.Out, "%s: %d documents, %d passed over\n", path, documents, len(check.Problems()))
	return err
}
