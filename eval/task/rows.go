package task

import (
	"bufio"
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

// rowJSON is a line of a data set or of a file of texts. Other fields are left alone.
type rowJSON struct {
	ID       string   `json:"id"`
	Text     string   `json:"text"`
	Label    string   `json:"label"`
	Tokens   []string `json:"tokens"`
	Labels   []string `json:"labels"`
	Context  string   `json:"context"`
	Question string   `json:"question"`
	Answers  struct {
		Text []string `json:"text"`
	} `json:"answers"`
	Source   string `json:"source"`
	Language string `json:"language"`
}

func (j *rowJSON) row() Row {
	return Row{
		ID: j.ID, Text: j.Text, Label: j.Label, Tokens: j.Tokens, Tags: j.Labels, Context: j.Context,
		Question: j.Question, Answers: j.Answers.Text, Source: j.Source, Language: j.Language,
	}
}

func readRows(path string, s *Spec) ([]Row, error) {
	var rows []Row
	var errs []error
	err := eachLine(path, func(line int, data []byte) error {
		var j rowJSON
		err := json.Unmarshal(data, &j)
		r := j.row()
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
