package shard

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/parquet-go/parquet-go"
)

// DocumentRow is one row of spans.parquet: a document and its place in SECTION.bin.
type DocumentRow struct {
	Section    string `parquet:"section,dict,zstd"`
	Number     int64  `parquet:"number,delta,zstd"` // within the section, from 0
	ID         string `parquet:"id,zstd"`
	License    string `parquet:"license,dict,zstd"`
	Language   string `parquet:"language,dict,zstd"`
	Role       string `parquet:"role,dict,zstd"`
	Source     string `parquet:"source,dict,zstd"`
	FirstToken int64  `parquet:"first_token,delta,zstd"` // within SECTION.bin
	Tokens     int64  `parquet:"tokens,delta,zstd"`      // separators included
	TextBytes  int64  `parquet:"text_bytes,delta,zstd"`
	TextSHA256 string `parquet:"text_sha256,zstd"` // hex
}

// rowsPerGroup keeps groups, and so the file's bytes, the same however the rows were come by.
const rowsPerGroup = 1 << 16

func writeDocumentRows(w io.Writer, rows []DocumentRow) error {
	pw := parquet.NewGenericWriter[DocumentRow](w,
		parquet.MaxRowsPerRowGroup(rowsPerGroup),
		parquet.CreatedBy("ravn", "", ""))
	for len(rows) > 0 {
		n := min(len(rows), 4096)
		if _, err := pw.Write(rows[:n]); err != nil {
			return fmt.Errorf("shard: %s: %w", spansName, err)
		}
		rows = rows[n:]
	}
	if err := pw.Close(); err != nil {
		return fmt.Errorf("shard: %s: %w", spansName, err)
	}
	return nil
}

// readDocumentRows reads spans.parquet. The reader may panic on a damaged file; that is an error here.
func readDocumentRows(data []byte, want int64) (rows []DocumentRow, err error) {
	defer func() {
		if p := recover(); p != nil {
			rows, err = nil, fmt.Errorf("damaged: %v", p)
		}
	}()
	file, err := parquet.OpenFile(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		return nil, err
	}
	if n := file.NumRows(); n != want {
		return nil, fmt.Errorf("%d rows, shards.json names %d documents", n, want)
	}
	r := parquet.NewGenericReader[DocumentRow](file)
	defer r.Close()
	buf := make([]DocumentRow, 1024)
	for {
		n, err := r.Read(buf)
		rows = append(rows, buf[:n]...)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
		if n == 0 {
			return nil, io.ErrNoProgress
		}
	}
	if int64(len(rows)) != want {
		return nil, fmt.Errorf("%d rows, shards.json names %d documents", len(rows), want)
	}
	return rows, nil
}
