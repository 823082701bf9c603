package task

import (
	"bufio"
	"cmp"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/klauspost/compress/zstd"
)

// maxRowErrors is how many bad rows of a file are reported.
const maxRowErrors = 10

// rowFields are the fields of rows that Spec.Columns may name.
var rowFields = []string{"id", "text", "label", "options", "tokens", "labels", "context", "question", "answers", "target_text", "source", "language"}

// parseRow reads an object; columns say what its fields are called where that is not their name here.
func parseRow(data []byte, columns map[string]string) (Row, error) {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(data, &fields); err != nil {
		return Row{}, err
	}
	var r Row
	var errs []error
	text := func(name string, dst *string) {
		raw := fields[cmp.Or(columns[name], name)]
		switch {
		case raw == nil || string(raw) == "null":
		case raw[0] == '"':
			errs = append(errs, json.Unmarshal(raw, dst))
		case raw[0] == '{' || raw[0] == '[':
			errs = append(errs, fmt.Errorf("%s is no text", cmp.Or(columns[name], name)))
		default: // a number or a truth value
			*dst = string(raw)
		}
	}
	list := func(name string, dst *[]string) {
		raw := fields[cmp.Or(columns[name], name)]
		switch {
		case raw == nil || string(raw) == "null":
		case raw[0] == '[':
			if err := json.Unmarshal(raw, dst); err != nil {
				errs = append(errs, fmt.Errorf("%s: %w", cmp.Or(columns[name], name), err))
			}
		case raw[0] == '{': // SQuAD's answers
			var squad struct{ Text []string }
			if err := json.Unmarshal(raw, &squad); err != nil {
				errs = append(errs, fmt.Errorf("%s: %w", cmp.Or(columns[name], name), err))
			}
			*dst = squad.Text
		default:
			var one string
			text(name, &one)
			*dst = []string{one}
		}
	}
	for name, dst := range map[string]*string{
		"id": &r.ID, "text": &r.Text, "label": &r.Label, "context": &r.Context, "question": &r.Question,
		"target_text": &r.Target, "source": &r.Source, "language": &r.Language,
	} {
		text(name, dst)
	}
	for name, dst := range map[string]*[]string{"options": &r.Options, "tokens": &r.Tokens, "labels": &r.Tags, "answers": &r.Answers} {
		list(name, dst)
	}
	return r, errors.Join(errs...)
}

func readRows(path string, s *Spec) ([]Row, error) {
	var rows []Row
	var errs []error
	each := eachLine
	if strings.HasSuffix(path, ".parquet") {
		each = eachParquetRow
	}
	err := each(path, func(line int, data []byte) error {
		r, err := parseRow(data, s.Columns)
		if err == nil {
			err = s.check(&r)
		}
		if err == nil {
			rows = append(rows, r)
			return nil
		}
		errs = append(errs, fmt.Errorf("task: %s:%d: %w", path, line, err))
		if len(errs) == maxRowErrors {
			return errors.New("too many bad rows, the rest is not read")
		}
		return nil
	})
	if err != nil {
		errs = append(errs, fmt.Errorf("task: %s: %w", path, err))
	}
	return rows, errors.Join(errs...)
}

// eachLine calls f with each line of a file that is not empty; .gz and .zst are decompressed.
func eachLine(path string, f func(line int, data []byte) error) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	var r io.Reader = file
	switch {
	case strings.HasSuffix(path, ".gz"):
		if r, err = gzip.NewReader(file); err != nil {
			return err
		}
	case strings.HasSuffix(path, ".zst"):
		z, err := zstd.NewReader(file)
		if err != nil {
			return err
		}
		defer z.Close()
		r = z
	}
	b := bufio.NewReaderSize(r, 1<<16)
	for line := 1; ; line++ {
		data, err := b.ReadBytes('\n')
		if len(strings.TrimSpace(string(data))) > 0 {
			if e := f(line, data); e != nil {
				return e
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}
