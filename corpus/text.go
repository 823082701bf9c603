package corpus

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/encoding/charmap"
)

// openText makes one section of the *.txt files below a folder, or of one file.
func openText(path string, info os.FileInfo) ([]*Section, error) {
	s := &Section{Name: sectionName(path), Format: "text", Path: path}
	if !info.IsDir() {
		s.Name = strings.TrimSuffix(filepath.Base(path), ".txt")
		s.files, s.SizeBytes = []file{{path: path, id: s.Name, size: info.Size()}}, info.Size()
		return []*Section{s}, nil
	}
	files, err := listFiles(path, func(p string) bool { return strings.HasSuffix(p, ".txt") && !isSide(filepath.Base(p)) })
	if err != nil || len(files) == 0 {
		return nil, err
	}
	if err := s.readLicense(path); err != nil {
		return nil, err
	}
	for _, f := range files {
		rel, err := filepath.Rel(path, f.path)
		if err != nil {
			return nil, fmt.Errorf("corpus: %w", err)
		}
		f.id = strings.TrimSuffix(filepath.ToSlash(rel), ".txt")
		s.files = append(s.files, f)
		s.SizeBytes += f.size
	}
	return []*Section{s}, nil
}

// textRecords yields the files.
func (s *Section) textRecords(yield func(*Record, error) bool) {
	for _, f := range s.files {
		if f.size > s.maxBytes {
			if !yield(nil, s.tooLong(f)) {
				return
			}
			continue
		}
		r := &Record{SizeBytes: f.size, read: func() (*Document, error) { return s.readDocument(f, nil, 0) }}
		if !yield(r, nil) {
			return
		}
	}
}

// tooLong is the problem of a file that is longer than what is read.
func (s *Section) tooLong(f file) *Problem {
	return s.problem(f.path, 0, -1, fmt.Sprintf("%d bytes, at most %d are read", f.size, s.maxBytes), "split the document, or raise MaxBytes")
}

// decode checks that data is UTF-8 and takes off a byte order mark. With Repair, bytes that are not UTF-8 are read as
// Windows-1252, in which older Danish files are; what was done is noted in d.
func (s *Section) decode(d *Document, data []byte, line int) (string, error) {
	if bytes.HasPrefix(data, []byte("\xFF\xFE")) || bytes.HasPrefix(data, []byte("\xFE\xFF")) {
		return "", s.problem(d.File, line, 0, "starts like UTF-16", "convert it: iconv -f UTF-16 -t UTF-8")
	}
	if b, ok := bytes.CutPrefix(data, []byte("\xEF\xBB\xBF")); ok {
		data = b
		d.Notes = append(d.Notes, "byte order mark taken off")
	}
	if utf8.Valid(data) {
		return string(data), nil
	}
	var out strings.Builder
	out.Grow(len(data) + 64)
	first, bad := -1, 0
	for i := 0; i < len(data); {
		r, size := utf8.DecodeRune(data[i:])
		if r != utf8.RuneError || size > 1 {
			out.Write(data[i : i+size])
			i += size
			continue
		}
		if first < 0 {
			first = i
		}
		bad++
		out.WriteRune(charmap.Windows1252.DecodeByte(data[i]))
		i++
	}
	if !s.repair {
		return "", s.problem(d.File, line, int64(first), fmt.Sprintf("byte 0x%02X is not UTF-8, nor are %d more", data[first], bad-1),
			"convert it: iconv -f WINDOWS-1252 -t UTF-8; or read such bytes as Windows-1252: repair: true, --repair")
	}
	d.Notes = append(d.Notes, fmt.Sprintf("%d bytes that are not UTF-8 read as Windows-1252, the first at byte %d", bad, first))
	return out.String(), nil
}
