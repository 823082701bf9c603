package pipeline

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/compress/zstd"

	"ravn/corpus"
	"ravn/internal/atomicfile"
)

// Row is what the ledger says about one document.
type Row struct {
	Number   int64    `parquet:"number"`        // in reading order over all sections, from 0
	ID       string   `parquet:"id"`            //
	Section  string   `parquet:"section,dict"`  //
	Language string   `parquet:"language,dict"` //
	License  string   `parquet:"license,dict"`  //
	Bytes    int64    `parquet:"bytes"`         // of the text as read
	Words    int64    `parquet:"words"`         // between white space
	SHA256   string   `parquet:"sha256"`        // of the text as written, hex
	Verdict  string   `parquet:"verdict,dict"`  // keep, drop
	Split    string   `parquet:"split,dict"`    // train, heldout; empty for dropped documents
	Stage    string   `parquet:"stage,dict"`    // that dropped or marked it
	Reason   string   `parquet:"reason,dict"`   //
	Detail   string   `parquet:"detail"`        //
	Tokens   int64    `parquet:"tokens"`        // 0 when not counted
	File     string   `parquet:"file"`          //
	Line     int64    `parquet:"line"`          // 0 when the file is the document
	URI      string   `parquet:"uri"`           //
	Added    string   `parquet:"added"`         //
	Created  string   `parquet:"created"`       //
	Claims   []string `parquet:"claims,list"`   // licence statements, with where each was read
	Notes    []string `parquet:"notes,list"`    // what was odd but allowed
	Detected string   `parquet:"detected,dict"` // language that was found, where one was looked for

	Cluster     int64     `parquet:"cluster"`      // number of the first document of its cluster of copies, -1 for none
	ClusterSize int64     `parquet:"cluster_size"` // documents in it, 0 for none
	Scores      []float32 `parquet:"scores,list"`  // of all stages, also behind the one that dropped it; names in Summary.Scores
}

// Words of Row.Verdict and Row.Split.
const (
	VerdictKeep  = "keep"
	VerdictDrop  = "drop"
	SplitTrain   = "train"
	SplitHeldout = "heldout"
)

// ledgerRows is the size of a row group: what the writer holds in memory, and what a reader can skip.
const ledgerRows = 1 << 16

// ledger writes rows to a Parquet file.
type ledger struct {
	file *atomicfile.File
	w    *parquet.GenericWriter[Row]
	rows []Row
	in   int // in the current row group
}

func createLedger(path string) (*ledger, error) {
	f, err := atomicfile.Create(path)
	if err != nil {
		return nil, fmt.Errorf("pipeline: %w", err)
	}
	w := parquet.NewGenericWriter[Row](f, parquet.Compression(&zstd.Codec{}), parquet.CreatedBy("ravn", "1", ""))
	return &ledger{file: f, w: w}, nil
}

func (l *ledger) add(r Row) error {
	l.rows = append(l.rows, r)
	if len(l.rows) < 1024 {
		return nil
	}
	return l.flush()
}

func (l *ledger) flush() error {
	if _, err := l.w.Write(l.rows); err != nil {
		return fmt.Errorf("pipeline: ledger: %w", err)
	}
	l.in += len(l.rows)
	clear(l.rows)
	l.rows = l.rows[:0]
	if l.in < ledgerRows {
		return nil
	}
	l.in = 0
	if err := l.w.Flush(); err != nil {
		return fmt.Errorf("pipeline: ledger: %w", err)
	}
	return nil
}

func (l *ledger) commit() error {
	if err := l.flush(); err != nil {
		return err
	}
	if err := l.w.Close(); err != nil {
		return fmt.Errorf("pipeline: ledger: %w", err)
	}
	return l.file.Commit()
}

// ReadLedger reads documents.parquet.
func ReadLedger(path string) ([]Row, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("pipeline: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("pipeline: %w", err)
	}
	if err := corpus.CheckParquet(f, info.Size()); err != nil { // the library does not promise to come back from a damaged file
		return nil, fmt.Errorf("pipeline: %s: %w\n        (not a whole Parquet file; build the corpus again)", path, err)
	}
	p, err := parquet.OpenFile(f, info.Size())
	if err != nil {
		return nil, fmt.Errorf("pipeline: %s: %w\n        (not a whole Parquet file; build the corpus again)", path, err)
	}
	want := parquet.SchemaOf(Row{})
	for _, col := range want.Columns() {
		if _, ok := p.Schema().Lookup(col...); !ok {
			return nil, fmt.Errorf("pipeline: %s: no column %q\n        (not a ledger of this version; build the corpus again)", path, col[0])
		}
	}
	r := parquet.NewGenericReader[Row](p)
	defer r.Close()
	if r.NumRows() > info.Size()*64 {
		return nil, fmt.Errorf("pipeline: %s: claims %d rows in %d bytes", path, r.NumRows(), info.Size())
	}
	rows := make([]Row, r.NumRows())
	for n := 0; n < len(rows); {
		k, err := r.Read(rows[n:])
		if n += k; err != nil && (!errors.Is(err, io.EOF) || n < len(rows)) {
			return nil, fmt.Errorf("pipeline: %s: row %d of %d: %w", path, n, len(rows), err)
		}
	}
	return rows, nil
}
