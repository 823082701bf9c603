package pipeline

import (
	"encoding/hex"
	"fmt"
	"maps"
	"os"
	"path/filepath"

	"ravn/corpus"
	"ravn/internal/atomicfile"
)

// output writes the files of a Build into a temporary folder.
type output struct {
	dir      string
	sections []*corpus.Section
	at       int                       // section that is being written
	open     map[string]*corpus.Writer // its files by folder
	ledger   *ledger
}

func createOutput(dir string, sections []*corpus.Section) (*output, error) {
	if err := os.MkdirAll(filepath.Join(dir, "sections"), 0o755); err != nil {
		return nil, fmt.Errorf("pipeline: %w", err)
	}
	l, err := createLedger(filepath.Join(dir, "documents.parquet"))
	if err != nil {
		return nil, err
	}
	return &output{dir: dir, sections: sections, open: map[string]*corpus.Writer{}, ledger: l}, nil
}

// writer returns the file of the current section in a folder.
func (o *output) writer(folder string) (*corpus.Writer, error) {
	if w := o.open[folder]; w != nil {
		return w, nil
	}
	w, err := corpus.CreateJSONL(filepath.Join(o.dir, folder, o.sections[o.at].Name+".jsonl.zst"))
	if err != nil {
		return nil, fmt.Errorf("pipeline: %w", err)
	}
	o.open[folder] = w
	return w, nil
}

// add writes a judged document and its row.
func (o *output) add(j *job, number int64) error {
	d, v := j.doc, j.verdict
	row := Row{
		Number: number, ID: d.ID, Section: d.Section, Language: d.Language, License: d.License,
		Bytes: j.bytes, Words: j.words, SHA256: hex.EncodeToString(j.sha[:]), Verdict: VerdictKeep, Split: j.split,
		Stage: v.Stage, Reason: v.Reason, Detail: v.Detail, Tokens: j.tokens, File: d.File, Line: int64(d.Line),
		URI: d.URI, Added: d.Added, Created: d.Created, Claims: d.Claims, Notes: d.Notes,
	}
	folder := "sections"
	switch {
	case !v.Keep:
		folder, row.Verdict = "removed", VerdictDrop
		d.Meta = maps.Clone(d.Meta)
		if d.Meta == nil {
			d.Meta = map[string]string{}
		}
		d.Meta["removed_stage"], d.Meta["removed_reason"], d.Meta["removed_detail"] = v.Stage, v.Reason, v.Detail
	case j.split == SplitHeldout:
		folder = "heldout"
	}
	if err := o.ledger.add(row); err != nil {
		return err
	}
	w, err := o.writer(folder)
	if err != nil {
		return err
	}
	return w.Write(d)
}

// endSection finishes the files of a section. Its file in sections/ is written even when no document was kept, so that
// the section is found with nothing in it and not missed.
func (o *output) endSection() error {
	if _, err := o.writer("sections"); err != nil {
		return err
	}
	for folder, w := range o.open {
		if err := w.Commit(); err != nil {
			return fmt.Errorf("pipeline: %w", err)
		}
		delete(o.open, folder)
	}
	o.at++
	return nil
}

// commit finishes the ledger and writes the summary.
func (o *output) commit(s *Summary) error {
	if err := o.ledger.commit(); err != nil {
		return err
	}
	data, err := s.marshal()
	if err != nil {
		return err
	}
	return atomicfile.WriteFile(filepath.Join(o.dir, "summary.json"), data)
}

func (o *output) abort() {
	for _, w := range o.open {
		w.Abort()
	}
	o.ledger.file.Abort()
}
