package corpus

import (
	"fmt"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/compress/zstd"

	"ravn/internal/atomicfile"
)

// DynawordRow is a row of a Danish Dynaword file, with its columns in their order.
type DynawordRow struct {
	ID         string `parquet:"id"`
	Text       string `parquet:"text"`
	Source     string `parquet:"source,dict"`
	Added      string `parquet:"added,dict"`   // YYYY-MM-DD
	Created    string `parquet:"created,dict"` // "YYYY-MM-DD, YYYY-MM-DD"
	TokenCount int64  `parquet:"token_count"`
}

// groupBytes is how much text a row group holds, so that neither writer nor reader needs much memory.
const groupBytes = 32 << 20

// ParquetWriter writes documents as Danish Dynaword has them. The file gets its name when Commit succeeds.
type ParquetWriter struct {
	path  string
	file  *atomicfile.File
	w     *parquet.GenericWriter[DynawordRow]
	bytes int
}

// CreateParquet starts a file. The same documents give the same bytes.
func CreateParquet(path string) (*ParquetWriter, error) {
	f, err := atomicfile.Create(path)
	if err != nil {
		return nil, fmt.Errorf("corpus: %w", err)
	}
	w := parquet.NewGenericWriter[DynawordRow](f, parquet.Compression(&zstd.Codec{}), parquet.CreatedBy("ravn", "1", ""))
	return &ParquetWriter{path: path, file: f, w: w}, nil
}

// Write adds a document. Source is the section; a date that is not known is left empty.
func (w *ParquetWriter) Write(d *Document, tokens int) error {
	r := DynawordRow{ID: d.ID, Text: d.Text, Source: d.Section, Added: d.Added, Created: d.Created, TokenCount: int64(tokens)}
	if r.Created != "" && len(r.Created) == len("2006-01-02") {
		r.Created += ", " + r.Created // a span there, always
	}
	_, err := w.w.Write([]DynawordRow{r})
	if w.bytes += len(d.Text); err == nil && w.bytes >= groupBytes {
		w.bytes = 0
		err = w.w.Flush()
	}
	if err != nil {
		return fmt.Errorf("corpus: %s: %w", w.path, err)
	}
	return nil
}

// Commit finishes the file and gives it its name.
func (w *ParquetWriter) Commit() error {
	if err := w.w.Close(); err != nil {
		w.file.Abort()
		return fmt.Errorf("corpus: %s: %w", w.path, err)
	}
	return w.file.Commit()
}

// Abort throws the file away. After Commit it does nothing.
func (w *ParquetWriter) Abort() error { return w.file.Abort() }
