package corpus

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// gigawordRoot returns the folder that holds the sections: path/dagw/sektioner, path/sektioner, path/sections or path.
func gigawordRoot(path string) string {
	for _, sub := range []string{"sektioner", "sections", "dagw/sektioner", "dagw/sections"} {
		if info, err := os.Stat(filepath.Join(path, sub)); err == nil && info.IsDir() {
			return filepath.Join(path, sub)
		}
	}
	return path
}

// sectionFolders returns root itself when it is a section in Gigaword layout, else those of its folders that are, and the
// others.
func sectionFolders(root string) (dirs, others []string, err error) {
	is, err := isSection(root, false)
	if err != nil {
		return nil, nil, err
	}
	if is {
		return []string{root}, nil, nil
	}
	base := filepath.Base(root)
	told := base == "sektioner" || base == "sections" // its folders are sections, the Twitter ones with plain names
	entries, err := os.ReadDir(root)
	if err != nil {
		return nil, nil, fmt.Errorf("corpus: %w", err)
	}
	for _, e := range entries {
		dir := filepath.Join(root, e.Name())
		info, err := os.Stat(dir) // follows links
		if err != nil || !info.IsDir() || strings.HasPrefix(e.Name(), ".") {
			continue
		}
		if is, err = isSection(dir, told); err != nil {
			return nil, nil, err
		}
		if is {
			dirs = append(dirs, dir)
		} else {
			others = append(others, dir)
		}
	}
	return dirs, others, nil
}

// sectionName is the name that a folder gives its section.
func sectionName(dir string) string {
	abs, err := filepath.Abs(dir)
	if err != nil {
		abs = dir
	}
	return filepath.Base(abs)
}

// isSection says whether a folder NAME holds, itself or one level deeper, files called NAME_…, or a NAME.jsonl of
// metadata though the documents are gone. When told that it is one, files without extension are enough.
func isSection(dir string, told bool) (bool, error) {
	name := sectionName(dir)
	root := filepath.Clean(dir) + string(filepath.Separator)
	found, budget := false, 10000
	err := filepath.WalkDir(root, func(p string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if budget--; budget < 0 || found {
			return filepath.SkipAll
		}
		if d.IsDir() {
			if deep := strings.Count(strings.TrimPrefix(p, root), string(filepath.Separator)); deep > 0 || p != root && d.Name()[0] == '.' {
				return filepath.SkipDir
			}
			return nil
		}
		found = isDocumentName(d.Name(), name) || told && !isSide(d.Name()) && filepath.Ext(p) == ""
		return nil
	})
	if err != nil {
		return false, fmt.Errorf("corpus: %w", err)
	}
	return found || isMetadata(filepath.Join(dir, name+".jsonl")), nil
}

// isMetadata says whether the first line of a file is a metadata record: with doc_id, without text.
func isMetadata(path string) bool {
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	defer f.Close()
	l := newLines(f, 1<<20)
	id, text := false, false
	if !l.next() || scanObject(l.text, true, func(key string, _ value) error {
		id = id || key == "doc_id"
		text = text || key == "text"
		return nil
	}) != nil {
		return false
	}
	return id && !text
}

// isSide says whether a file beside the documents is one of the kinds that the format describes.
func isSide(base string) bool {
	up := strings.ToUpper(base)
	for _, p := range []string{"LICENSE", "LICENCE", "README", "SOURCE", "COPYING", "NOTICE"} {
		if strings.HasPrefix(up, p) {
			return true
		}
	}
	switch strings.ToLower(filepath.Ext(base)) {
	case ".json", ".jsonl", ".md", ".sha256":
		return true
	}
	return strings.HasPrefix(base, ".")
}

// isDocumentName says whether a file of a section is one of its documents. An id may hold dots.
func isDocumentName(base, section string) bool {
	return strings.HasPrefix(base, section+"_") && len(base) > len(section)+1 && !isSideExt(base)
}

func isSideExt(base string) bool {
	switch strings.ToLower(filepath.Ext(base)) {
	case ".json", ".jsonl", ".md", ".sha256", ".gz", ".zst":
		return true
	}
	return false
}

// openGigaword lists the sections in path.
func openGigaword(path string, info os.FileInfo) (out []*Section, notes []string, err error) {
	if !info.IsDir() {
		return nil, nil, fmt.Errorf("corpus: %s: is a file, the Gigaword layout is a folder (use jsonl or text)", path)
	}
	dirs, others, err := sectionFolders(gigawordRoot(path))
	if err != nil {
		return nil, nil, err
	}
	for _, dir := range others {
		notes = append(notes, fmt.Sprintf("%s: no files %s_…: passed over", dir, sectionName(dir)))
	}
	for _, dir := range dirs {
		s := &Section{Name: sectionName(dir), Language: "da", Format: "gigaword", Path: dir}
		if err := s.scanFolder(); err != nil {
			return nil, nil, err
		}
		out = append(out, s)
	}
	return out, notes, nil
}

// scanFolder lists the documents and reads what the side files say about the licence.
func (s *Section) scanFolder() error {
	if err := s.readLicense(s.Path); err != nil {
		return err
	}
	if p := filepath.Join(s.Path, s.Name+".jsonl"); isFile(p) {
		s.metadata = p
	} else {
		s.note(fmt.Sprintf("%s: no %s.jsonl: documents have no metadata", s.Path, s.Name))
	}
	files, err := listFiles(s.Path, func(string) bool { return true })
	if err != nil {
		return err
	}
	for _, f := range files {
		rel, err := filepath.Rel(s.Path, f.path)
		if err != nil {
			return fmt.Errorf("corpus: %w", err)
		}
		base := filepath.Base(rel)
		switch sub := filepath.Dir(rel); {
		case isDocumentName(base, s.Name):
			f.id = base
		case isSide(base):
			continue
		case sub != ".": // the Twitter sections have a folder more, and plain names in it
			f.id = s.Name + "_" + strings.ReplaceAll(filepath.ToSlash(rel), "/", "_")
			s.note(fmt.Sprintf("%s: not named %s_…: called %s", f.path, s.Name, f.id))
		default:
			f.id = "" // a problem, told when the section is read
		}
		s.files = append(s.files, f)
		s.SizeBytes += f.size
	}
	return nil
}

func isFile(p string) bool {
	info, err := os.Stat(p)
	return err == nil && info.Mode().IsRegular()
}

// span is the place of a metadata record in its file.
type span struct {
	off  int64
	size int32
	line int32
}

// gigawordRecords yields the documents in the order of their paths. The metadata file is indexed first, so that only
// the places of its records are in memory.
func (s *Section) gigawordRecords(yield func(*Record, error) bool) {
	var meta *os.File
	index := map[string]span{}
	if s.metadata != "" {
		var err error
		if meta, err = os.Open(s.metadata); err != nil {
			yield(nil, fmt.Errorf("corpus: %w", err))
			return
		}
		defer meta.Close()
		if !s.indexMetadata(meta, index, yield) {
			return
		}
	}
	for _, f := range s.files {
		if f.id == "" {
			if !yield(nil, s.problem(f.path, 0, -1, fmt.Sprintf("is neither a document (%s_…) nor a known side file", s.Name),
				"rename it, or move it out of the section")) {
				return
			}
			continue
		}
		if f.size > s.maxBytes {
			if !yield(nil, s.tooLong(f)) {
				return
			}
			continue
		}
		at, has := index[f.id]
		var record []byte
		if has {
			record = make([]byte, at.size)
			if _, err := meta.ReadAt(record, at.off); err != nil {
				yield(nil, fmt.Errorf("corpus: %s:%d: %w (the file changed while it was read)", s.metadata, at.line, err))
				return
			}
		}
		r := &Record{SizeBytes: f.size, read: func() (*Document, error) { return s.readDocument(f, record, int(at.line)) }}
		if !yield(r, nil) {
			return
		}
	}
}

// indexMetadata fills index and yields the lines that cannot be used.
func (s *Section) indexMetadata(meta io.Reader, index map[string]span, yield func(*Record, error) bool) bool {
	files := make(map[string]bool, len(s.files))
	for _, f := range s.files {
		files[f.id] = true
	}
	lines := newLines(meta, s.maxBytes)
	bad := func(line int, off int, what, advice string) bool {
		return yield(nil, s.problem(s.metadata, line, int64(off), what, advice))
	}
	for lines.next() {
		if len(bytes.TrimSpace(lines.text)) == 0 {
			continue
		}
		var id string
		seen := false
		err := scanObject(lines.text, s.repair, func(key string, v value) error {
			if key == "doc_id" || key == "id" && !seen {
				var err error
				if id, err = v.str(); err != nil {
					return err
				}
				seen = true
			}
			return nil
		})
		was, dup := index[id]
		switch {
		case err != nil:
			what, off := describe(err)
			if !bad(lines.number, off, what, "mend the line; each is one JSON object in UTF-8") {
				return false
			}
		case id == "":
			if !bad(lines.number, -1, "no doc_id", `add "doc_id", the name of the document's file`) {
				return false
			}
		case dup:
			if !bad(lines.number, -1, fmt.Sprintf("doc_id %q was already described in line %d", id, was.line), "remove one of the lines") {
				return false
			}
		default:
			if !files[id] {
				s.note(fmt.Sprintf("%s:%d: no file for doc_id %q", s.metadata, lines.number, id))
			}
			index[id] = span{lines.off, int32(len(lines.text)), int32(lines.number)}
		}
	}
	if err := lines.err; err != nil {
		yield(nil, lineError(s.metadata, lines, err))
		return false
	}
	return true
}

// readDocument reads one file; record is its metadata, or nil.
func (s *Section) readDocument(f file, record []byte, line int) (*Document, error) {
	data, err := readWhole(f)
	if err != nil {
		return nil, err
	}
	d := s.newDocument()
	d.ID, d.File = f.id, f.path
	if d.Text, err = s.decode(d, data, 0); err != nil {
		return nil, err
	}
	if record == nil {
		if s.metadata != "" {
			d.Notes = append(d.Notes, "no metadata record")
		}
		return d, nil
	}
	in := fields{d: d, where: "metadata"}
	err = scanObject(record, s.repair, func(key string, v value) error {
		if key == "doc_id" || key == "id" || key == "text" {
			return nil
		}
		return in.set(key, v)
	})
	if err == nil {
		err = in.finish()
	}
	if err != nil {
		what, off := describe(err)
		return nil, s.problem(s.metadata, line, int64(off), what, "mend the field")
	}
	return d, nil
}

// readWhole reads a file of the size it had when the section was opened.
func readWhole(f file) ([]byte, error) {
	in, err := os.Open(f.path)
	if err != nil {
		return nil, fmt.Errorf("corpus: %w", err)
	}
	defer in.Close()
	data := make([]byte, f.size)
	if _, err := io.ReadFull(in, data); err != nil {
		if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) {
			err = errors.New("shorter than when the section was opened (do not change a corpus while it is read)")
		}
		return nil, fmt.Errorf("corpus: %s: %w", f.path, err)
	}
	return data, nil
}

func (s *Section) problem(path string, line int, off int64, what, advice string) *Problem {
	return &Problem{File: path, Line: line, Offset: off, What: what, Advice: advice}
}
