package corpus

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"unicode/utf8"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// isJSONL says whether a file is one of records, by its name.
func isJSONL(path string) bool { return stem(path) != filepath.Base(path) }

// stem is the name without .jsonl, .jsonl.gz, .jsonl.zst; .json.gz and .json.zst are dolma's names for the same.
func stem(path string) string {
	base := filepath.Base(path)
	for _, ext := range []string{".jsonl", ".jsonl.gz", ".jsonl.zst", ".json.gz", ".json.zst"} {
		if s, ok := strings.CutSuffix(base, ext); ok && s != "" {
			return s
		}
	}
	return base
}

// openJSONL makes a section of each file; files in a folder called documents are one section, named by the folder above,
// and all files are one when the caller gives it a name.
func openJSONL(path string, info os.FileInfo, name string) ([]*Section, error) {
	if !info.IsDir() {
		s := &Section{Name: stem(path), Format: "jsonl", Path: path, SizeBytes: info.Size(), files: []file{{path: path, size: info.Size()}}}
		return []*Section{s}, nil
	}
	root := gigawordRoot(path)
	files, err := listFiles(root, isJSONL)
	if err != nil {
		return nil, err
	}
	var out []*Section
	at := map[string]*Section{}
	for _, f := range files {
		dir := filepath.Dir(f.path)
		section, key, home := stem(f.path), f.path, dir
		switch {
		case name != "":
			section, key, home = name, "", root
		case filepath.Base(dir) == "attributes", filepath.Base(filepath.Dir(dir)) == "attributes":
			continue
		case filepath.Base(dir) == "documents":
			section, key, home = sectionName(filepath.Dir(dir)), dir, filepath.Dir(dir)
		}
		s := at[key]
		if s == nil {
			s = &Section{Name: section, Format: "jsonl", Path: home}
			if key == f.path {
				s.Path = f.path
			}
			if err := s.readLicense(home); err != nil {
				return nil, err
			}
			at[key] = s
			out = append(out, s)
		}
		s.files = append(s.files, f)
		s.SizeBytes += f.size
	}
	return out, nil
}

// jsonlRecords yields the lines of the section's files.
func (s *Section) jsonlRecords(yield func(*Record, error) bool) {
	for _, f := range s.files {
		if !s.fileRecords(f.path, yield) {
			return
		}
	}
}

// fileRecords yields one file's lines and says whether to go on.
func (s *Section) fileRecords(path string, yield func(*Record, error) bool) bool {
	in, err := OpenCompressed(path)
	if err != nil {
		yield(nil, err)
		return false
	}
	defer in.Close()
	side, err := openAttributes(path, s.maxBytes)
	if err != nil {
		yield(nil, err)
		return false
	}
	if len(side) == 0 {
		return s.lineRecords(path, in, yield)
	}
	defer closeAttributes(side)
	return s.lineRecords(path, in, func(r *Record, err error) bool {
		if r == nil || err != nil {
			return yield(r, err)
		}
		var lines []attributeLine
		for _, a := range side {
			l, err := a.next()
			if err != nil {
				yield(nil, err)
				return false
			}
			lines = append(lines, l)
		}
		read := r.read
		r.read = func() (*Document, error) {
			d, err := read()
			for _, l := range lines {
				if err != nil {
					return nil, err
				}
				err = l.addTo(s, d)
			}
			return d, err
		}
		return yield(r, nil)
	})
}

// lineRecords yields the lines of in, which is the file at path.
func (s *Section) lineRecords(path string, in io.Reader, yield func(*Record, error) bool) bool {
	lines := newLines(in, s.maxBytes)
	for lines.next() {
		if len(bytes.TrimSpace(lines.text)) == 0 {
			continue
		}
		line, number := bytes.Clone(lines.text), lines.number
		r := &Record{SizeBytes: 2 * int64(len(line)), read: func() (*Document, error) { return s.parse("jsonl", path, number, line) }}
		if !yield(r, nil) {
			return false
		}
	}
	if lines.err != nil {
		yield(nil, lineError(path, lines, lines.err))
		return false
	}
	return true
}

// parse reads one line, or a row as one; where is the kind of file, for claims.
func (s *Section) parse(where, path string, number int, line []byte) (*Document, error) {
	d := s.newDocument()
	d.File, d.Line = path, number
	if !utf8.Valid(line) {
		text, err := s.decode(d, line, number)
		if err != nil {
			return nil, err
		}
		line = []byte(text)
	}
	in := fields{d: d, where: where}
	hasText := false
	err := scanObject(line, s.repair, func(key string, v value) (err error) {
		switch {
		case key == "text":
			d.Text, err = v.str()
			hasText = true
			return err
		case key == "id", key == "doc_id" && d.ID == "":
			return in.setID(v)
		}
		return in.set(key, v)
	})
	if err == nil {
		err = in.finish()
	}
	var fe *fieldError
	switch {
	case errors.As(err, &fe):
		return nil, s.problem(path, number, -1, fe.Error(), "mend the field")
	case err != nil:
		what, off := describe(err)
		return nil, s.problem(path, number, int64(off), what, "mend the line; each is one JSON object in UTF-8")
	case !hasText:
		return nil, s.problem(path, number, -1, `no "text"`, `add "text", or remove the line`)
	case d.ID == "":
		return nil, s.problem(path, number, -1, `no "id"`, `add "id", different in every line: jq -c '.id = (input_line_number | tostring)'`)
	}
	return d, nil
}

// lines reads lines of any length up to a limit.
type lines struct {
	in     *bufio.Reader
	max    int64
	text   []byte // the line without its end; valid until next
	number int    // of text, from 1
	off    int64  // of text in the stream
	end    int64
	err    error
}

func newLines(r io.Reader, limit int64) *lines {
	return &lines{in: bufio.NewReaderSize(r, 1<<18), max: limit}
}

var errLineTooLong = errors.New("the line is too long")

// next reads a line and says whether there was one; the reason why not is in err, nil at the end.
func (l *lines) next() bool {
	l.text, l.off = l.text[:0], l.end
	for {
		part, err := l.in.ReadSlice('\n')
		l.text = append(l.text, part...)
		l.end += int64(len(part))
		if int64(len(l.text)) > l.max {
			l.number++
			l.err = errLineTooLong
			return false
		}
		switch {
		case err == nil:
			l.text = l.text[:len(l.text)-1]
		case errors.Is(err, bufio.ErrBufferFull):
			continue
		case !errors.Is(err, io.EOF):
			l.err = err
			return false
		case len(l.text) == 0:
			return false
		}
		l.number++
		if l.number == 1 {
			if b, ok := bytes.CutPrefix(l.text, []byte("\xEF\xBB\xBF")); ok {
				l.off, l.text = l.off+3, b
			}
		}
		return true
	}
}

// lineError says where reading a file of lines stopped.
func lineError(path string, l *lines, err error) error {
	switch {
	case errors.Is(err, errLineTooLong):
		return fmt.Errorf("corpus: %s:%d: the line is longer than %d bytes\n        (split it, or raise MaxBytes)", path, l.number, l.max)
	case errors.Is(err, io.ErrUnexpectedEOF):
		return fmt.Errorf("corpus: %s: cut off after line %d: %w\n        (fetch or write the file again)", path, l.number, err)
	}
	return fmt.Errorf("corpus: %s: damaged after line %d: %w\n        (fetch or write the file again)", path, l.number, err)
}

// OpenCompressed opens a file for reading and undoes .gz or .zst.
func OpenCompressed(path string) (io.ReadCloser, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("corpus: %w", err)
	}
	switch filepath.Ext(path) {
	case ".gz":
		z, err := gzip.NewReader(f)
		if err != nil {
			f.Close()
			return nil, fmt.Errorf("corpus: %s: %w\n        (is it gzip? rename it when it is not)", path, err)
		}
		return &stack{z, z.Close, f}, nil
	case ".zst":
		z, err := zstd.NewReader(f, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(1<<28))
		if err != nil {
			f.Close()
			return nil, fmt.Errorf("corpus: %s: %w", path, err)
		}
		return &stack{z, func() error { z.Close(); return nil }, f}, nil
	}
	return f, nil
}

// stack closes a decompressor and the file below it.
type stack struct {
	io.Reader
	closeTop func() error
	f        *os.File
}

func (s *stack) Close() error { return errors.Join(s.closeTop(), s.f.Close()) }
