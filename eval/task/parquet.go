package task

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/parquet-go/parquet-go"
)

// eachParquetRow calls f with each row of a Parquet file as a JSON object. Rows are counted from 1, as lines are.
func eachParquetRow(path string, f func(row int, data []byte) error) (err error) {
	defer func() { // the library panics on some broken files
		if r := recover(); r != nil {
			err = fmt.Errorf("not a Parquet file that can be read: %v", r)
		}
	}()
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return err
	}
	open, err := parquet.OpenFile(file, info.Size())
	if err != nil {
		return err
	}
	r := parquet.NewGenericReader[any](open)
	defer r.Close()
	rows := make([]any, 64)
	for at := 0; ; {
		n, err := r.Read(rows)
		for _, row := range rows[:n] {
			at++
			data, err := json.Marshal(plainValue(row))
			if err != nil {
				return fmt.Errorf("row %d: %w", at, err)
			}
			if err := f(at, data); err != nil {
				return err
			}
		}
		clear(rows)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// plainValue takes Parquet's wrapping off lists: {"list": [{"element": x}]} is [x].
func plainValue(v any) any {
	switch v := v.(type) {
	case map[string]any:
		if list, ok := v["list"]; ok && len(v) == 1 {
			return plainValue(list)
		}
		for _, name := range []string{"element", "item"} {
			if e, ok := v[name]; ok && len(v) == 1 {
				return plainValue(e)
			}
		}
		out := make(map[string]any, len(v))
		for k, e := range v {
			out[k] = plainValue(e)
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i, e := range v {
			out[i] = plainValue(e)
		}
		return out
	case []byte:
		return string(v)
	}
	return v
}
