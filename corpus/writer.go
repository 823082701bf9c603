package corpus

import (
	"bufio"
	"fmt"
	"io"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"ravn/internal/atomicfile"
)

// Writer writes documents as JSON lines. The file gets its name when Commit succeeds.
type Writer struct {
	path string
	file *atomicfile.File
	buf  *bufio.Writer
	z    io.WriteCloser // compressor, or nil
	top  io.Writer
	line []byte
}

// CreateJSONL starts a file of records; .gz and .zst in its name compress. The same documents give the same bytes.
func CreateJSONL(path string) (*Writer, error) {
	if !isJSONL(path) {
		return nil, fmt.Errorf("corpus: %s: not a name for JSON lines (end it in .jsonl, .jsonl.gz or .jsonl.zst)", path)
	}
	f, err := atomicfile.Create(path)
	if err != nil {
		return nil, fmt.Errorf("corpus: %w", err)
	}
	w := &Writer{path: path, file: f, buf: bufio.NewWriterSize(f, 1<<18)}
	w.top = w.buf
	switch filepath.Ext(path) {
	case ".gz":
		w.z, err = gzip.NewWriterLevel(w.buf, gzip.DefaultCompression)
	case ".zst":
		w.z, err = zstd.NewWriter(w.buf, zstd.WithEncoderConcurrency(1))
	}
	if err != nil {
		f.Abort()
		return nil, fmt.Errorf("corpus: %s: %w", path, err)
	}
	if w.z != nil {
		w.top = w.z
	}
	return w, nil
}

// Write adds a document.
func (w *Writer) Write(d *Document) error {
	w.line = AppendJSON(w.line[:0], d)
	_, err := w.top.Write(w.line)
	if cap(w.line) > 64<<20 {
		w.line = nil
	}
	if err != nil {
		return fmt.Errorf("corpus: %s: %w", w.path, err)
	}
	return nil
}

// Commit finishes the file and gives it its name.
func (w *Writer) Commit() error {
	var err error
	if w.z != nil {
		err = w.z.Close()
	}
	if err == nil {
		err = w.buf.Flush()
	}
	if err != nil {
		w.file.Abort()
		return fmt.Errorf("corpus: %s: %w", w.path, err)
	}
	return w.file.Commit()
}

// Abort throws the file away. After Commit it does nothing.
func (w *Writer) Abort() error { return w.file.Abort() }

// AppendJSON appends the document as one line. Fields come in a fixed order and are left out when empty, but for id,
// text, source and license.
func AppendJSON(b []byte, d *Document) []byte {
	field := func(name, s string, always bool) {
		if s == "" && !always {
			return
		}
		if b[len(b)-1] != '{' {
			b = append(b, ',')
		}
		b = appendString(b, name)
		b = append(b, ':')
		b = appendString(b, s)
	}
	b = append(b, '{')
	field("id", d.ID, true)
	field("text", d.Text, true)
	field("source", d.Source, true)
	field("license", d.License, true)
	field("language", d.Language, false)
	field("added", d.Added, false)
	field("created", d.Created, false)
	field("uri", d.URI, false)
	field("title", d.Title, false)
	field("author", d.Author, false)
	if len(d.Claims) > 0 {
		b = append(b, `,"claims":`...)
		for i, c := range d.Claims {
			b = append(b, "[,"[min(i, 1)])
			b = appendString(b, c)
		}
		b = append(b, ']')
	}
	if len(d.Meta) > 0 {
		b = append(b, `,"metadata":{`...)
		for _, k := range slices.Sorted(maps.Keys(d.Meta)) {
			field(k, d.Meta[k], true)
		}
		b = append(b, '}')
	}
	return append(b, "}\n"...)
}

// appendString appends a JSON string. Text is UTF-8 already; only what JSON demands is escaped.
func appendString(b []byte, s string) []byte {
	const hex = "0123456789abcdef"
	b = append(b, '"')
	start := 0
	for i := range len(s) {
		c := s[i]
		if c >= 0x20 && c != '"' && c != '\\' {
			continue
		}
		b = append(b, s[start:i]...)
		start = i + 1
		if j := strings.IndexByte("\"\\\n\r\t", c); j >= 0 {
			b = append(b, '\\', `"\nrt`[j])
			continue
		}
		b = append(b, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
	}
	b = append(b, s[start:]...)
	return append(b, '"')
}
