package corpus

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// isWARC says whether a file is a web archive, by its name.
func isWARC(path string) bool { return warcStem(path) != filepath.Base(path) }

func warcStem(path string) string {
	base := filepath.Base(path)
	for _, ext := range []string{".warc.wet.gz", ".warc.wet", ".warc.gz", ".warc.zst", ".warc", ".wet.gz", ".wet.zst", ".wet"} {
		if s, ok := strings.CutSuffix(base, ext); ok && s != "" {
			return s
		}
	}
	return base
}

// openWARC makes one section of the web archives below a folder, or of one.
func openWARC(path string, info os.FileInfo) ([]*Section, error) {
	s := &Section{Name: sectionName(path), Format: "warc", Path: path}
	if !info.IsDir() {
		s.Name, s.files, s.SizeBytes = warcStem(path), []file{{path: path, size: info.Size()}}, info.Size()
		return []*Section{s}, nil
	}
	files, err := listFiles(path, isWARC)
	if err != nil || len(files) == 0 {
		return nil, err
	}
	if err := s.readLicense(path); err != nil {
		return nil, err
	}
	s.files = files
	for _, f := range files {
		s.SizeBytes += f.size
	}
	return []*Section{s}, nil
}

// maxWARCHead bounds the head of a record.
const maxWARCHead = 1 << 20

// warcRecords yields the text records of the section's archives: conversions (WET) and resources of type text/plain.
// Pages as they were fetched are passed over and counted in a note: taking text out of HTML is not done here.
//
// ISO 28500, https://iipc.github.io/warc-specifications/specifications/warc-format/warc-1.1/
func (s *Section) warcRecords(yield func(*Record, error) bool) {
	for _, f := range s.files {
		if !s.warcFile(f.path, yield) {
			return
		}
	}
}

func (s *Section) warcFile(path string, yield func(*Record, error) bool) bool {
	in, err := OpenCompressed(path)
	if err != nil {
		yield(nil, err)
		return false
	}
	defer in.Close()
	r := bufio.NewReaderSize(in, 1<<18)
	skipped := map[string]int{}
	for number := 1; ; number++ {
		head, err := warcHead(r)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			yield(nil, s.problem(path, number, -1, fmt.Sprintf("record %d: %v", number, err), "the archive is damaged or cut off from here on; fetch it again"))
			return false
		}
		size, err := strconv.ParseInt(head["content-length"], 10, 64)
		if err != nil || size < 0 {
			yield(nil, s.problem(path, number, -1, fmt.Sprintf("record %d: Content-Length %q", number, head["content-length"]), "the archive is damaged from here on; fetch it again"))
			return false
		}
		kind := head["warc-type"]
		mime, _, _ := strings.Cut(head["content-type"], ";")
		if !(kind == "conversion" || kind == "resource") || strings.TrimSpace(mime) != "text/plain" {
			skipped[strings.TrimSpace(kind+" "+mime)]++
			if _, err := io.CopyN(io.Discard, r, size); err != nil {
				yield(nil, s.problem(path, number, -1, fmt.Sprintf("record %d is cut off", number), "fetch the archive again"))
				return false
			}
			continue
		}
		if size > s.maxBytes {
			if _, err := io.CopyN(io.Discard, r, size); err != nil || !yield(nil, s.problem(path, number, -1, fmt.Sprintf("record %d: %d bytes, at most %d are read", number, size, s.maxBytes), "raise MaxBytes")) {
				return false
			}
			continue
		}
		var body bytes.Buffer // grows with what is there, not with what is said
		if n, err := io.CopyN(&body, r, size); err != nil {
			yield(nil, s.problem(path, number, -1, fmt.Sprintf("record %d is cut off after %d of %d bytes", number, n, size), "fetch the archive again"))
			return false
		}
		rec := &Record{SizeBytes: 2 * size, read: func() (*Document, error) { return s.warcDocument(path, number, head, body.Bytes()) }}
		if !yield(rec, nil) {
			return false
		}
	}
	var kinds []string
	for k := range skipped {
		kinds = append(kinds, k)
	}
	slices.Sort(kinds)
	for _, k := range kinds {
		s.note(fmt.Sprintf("%s: %d records of kind %q are not text and were passed over", path, skipped[k], k))
	}
	return true
}

// warcHead reads the head of the next record: names in small letters. io.EOF is a proper end.
func warcHead(r *bufio.Reader) (map[string]string, error) {
	line, err := warcLine(r)
	for err == nil && line == "" { // two empty lines stand between records
		line, err = warcLine(r)
	}
	if err != nil {
		return nil, err
	}
	if !strings.HasPrefix(line, "WARC/1.") && !strings.HasPrefix(line, "WARC/0.") {
		return nil, fmt.Errorf("begins with %q, not with WARC/1.0 or 1.1", clip(line, 40))
	}
	head := map[string]string{}
	last, total := "", 0
	for {
		line, err := warcLine(r)
		if err != nil {
			return nil, errors.New("its head is cut off")
		}
		if line == "" {
			return head, nil
		}
		if total += len(line); total > maxWARCHead {
			return nil, fmt.Errorf("its head is longer than %d bytes", maxWARCHead)
		}
		if (line[0] == ' ' || line[0] == '\t') && last != "" {
			head[last] += " " + strings.TrimSpace(line)
			continue
		}
		name, value, ok := strings.Cut(line, ":")
		if !ok {
			return nil, fmt.Errorf("line %q of its head has no colon", clip(line, 40))
		}
		last = strings.ToLower(strings.TrimSpace(name))
		head[last] = strings.TrimSpace(value)
	}
}

// warcLine reads a line without its end; of a line that is too long, an error.
func warcLine(r *bufio.Reader) (string, error) {
	line, err := r.ReadSlice('\n')
	if errors.Is(err, bufio.ErrBufferFull) {
		return "", errors.New("a line without end")
	}
	if err != nil {
		if len(line) > 0 && errors.Is(err, io.EOF) {
			return "", errors.New("the last line is cut off")
		}
		return "", err
	}
	return strings.TrimRight(string(line), "\r\n"), nil
}

// warcLanguages are the codes of ISO 639-2/3 that archives carry, for those that corpora here use.
var warcLanguages = map[string]string{"dan": "da", "nob": "nb", "nno": "nn", "nor": "no", "swe": "sv", "eng": "en", "deu": "de", "isl": "is", "fao": "fo"}

func (s *Section) warcDocument(path string, number int, head map[string]string, body []byte) (*Document, error) {
	d := s.newDocument()
	d.File, d.Line = path, number
	id := strings.Trim(head["warc-record-id"], "<>")
	d.ID = strings.TrimPrefix(id, "urn:uuid:")
	if d.ID == "" {
		return nil, s.problem(path, number, -1, fmt.Sprintf("record %d has no WARC-Record-ID", number), "each record needs one")
	}
	d.URI = strings.Trim(head["warc-target-uri"], "<>")
	if day, _, _ := strings.Cut(head["warc-date"], "T"); day != "" {
		if from, _, err := ParseDate(day); err == nil {
			d.Added = from
		}
	}
	first, _, _ := strings.Cut(head["warc-identified-content-language"], ",")
	if code := warcLanguages[strings.TrimSpace(first)]; code != "" {
		d.Language = code
	}
	text, err := s.decode(d, body, number)
	if err != nil {
		return nil, err
	}
	d.Text = text
	return d, nil
}
