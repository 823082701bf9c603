// Package corpus reads text as documents, section by section: the Danish Gigaword layout, JSON lines in dolma's form and
// others, Parquet, web archives, plain text folders.
//
// A section is one source with one licence statement; its documents are read one at a time, so that a corpus may be
// larger than memory. Every record that cannot be read is named with file, line and advice. What files say about
// licences is kept as claims with the place where each was read; contradicting claims are never merged.
package corpus

import (
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
)

// Document is one text with what its source says about it.
type Document struct {
	ID       string
	Section  string
	Text     string            // UTF-8; line ends and leading white space as in the source, without byte order mark
	License  string            // "" when nothing states one; normalised by LicenseName
	Language string            // "da", "nb", "en"; "" when nothing states one
	Source   string            // the record's own source field, or the section's name
	URI      string            // where the text is from
	Added    string            // YYYY-MM-DD on which it came into the corpus, or ""
	Created  string            // when it was written: "YYYY-MM-DD", or "YYYY-MM-DD, YYYY-MM-DD" for a span
	Title    string            //
	Author   string            //
	Claims   []string          // every licence statement that covers it, as "where: what"
	Meta     map[string]string // all other fields; values that are not strings as JSON
	Notes    []string          // what was odd but allowed: no metadata, a date in no known form, repaired bytes
	File     string            // where it was read
	Line     int               // line in File, from 1; 0 when the file is the document
}

// Section is one source. Role is for the caller: what the section is used for ("train", "replay").
type Section struct {
	Name        string
	License     string   // normalised, "" when nothing states one for the whole section
	LicenseText string   // the LICENSE file or the option, as read
	Language    string   //
	Role        string   //
	Claims      []string // licence statements for the whole section, as "where: what"
	Format      string   // "gigaword", "jsonl", "parquet", "warc" or "text"
	Path        string   // folder or file
	SizeBytes   int64    // bytes on disk, to show progress

	maxErrors int
	repair    bool
	maxBytes  int64
	files     []file // the documents' files, or the one file of records
	metadata  string // <section>.jsonl, or ""

	mu    sync.Mutex
	notes []string
}

// file is one file of a section.
type file struct {
	path, id string
	size     int64
	groups   []int  // of Parquet: row groups, nil for all
	source   string // of Parquet: only the rows of this source, "" for all
}

// Corpus is a folder of sections, or one.
type Corpus struct {
	Path     string
	Sections []*Section
	Notes    []string // what was passed over
}

// OpenOptions says how to read. The zero value finds out the format and takes what the files say.
type OpenOptions struct {
	Format    string // auto (""), gigaword, jsonl, parquet, warc, text
	Section   string // name of the section; "" takes the folder's or file's name. Only for a corpus of one section
	Language  string // for documents that do not state one; "" means "da" for the Gigaword layout and unknown elsewhere
	License   string // for documents that do not state one
	MaxErrors int    // unreadable records that are passed over in a section; 0: any is an error
	Repair    bool   // read bytes that are not UTF-8 as Windows-1252 instead of refusing the document
	MaxBytes  int64  // longest line or document accepted; 0: 1 GiB
}

// DefaultMaxBytes is the longest line or document that is read when OpenOptions does not say.
const DefaultMaxBytes = 1 << 30

// Open finds the sections of a folder or file. Documents are read later, by Section.Documents.
func Open(path string, o OpenOptions) (*Corpus, error) {
	if o.MaxErrors < 0 {
		return nil, fmt.Errorf("corpus: MaxErrors is %d (use 0 or more)", o.MaxErrors)
	}
	if o.MaxBytes == 0 {
		o.MaxBytes = DefaultMaxBytes
	}
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("corpus: %w", err)
	}
	format := o.Format
	if format == "" || format == "auto" {
		if format, err = detect(path, info); err != nil {
			return nil, err
		}
	}
	c := &Corpus{Path: path}
	switch format {
	case "gigaword":
		c.Sections, c.Notes, err = openGigaword(path, info)
	case "jsonl":
		c.Sections, err = openJSONL(path, info, o.Section)
	case "text":
		c.Sections, err = openText(path, info)
	case "parquet":
		c.Sections, err = openParquet(path, info, o.Section)
	case "warc":
		c.Sections, err = openWARC(path, info)
	default:
		err = fmt.Errorf("corpus: %s: format %q is not known (use auto, gigaword, jsonl, parquet, warc or text)", path, o.Format)
	}
	if err != nil {
		return nil, err
	}
	if len(c.Sections) == 0 {
		return nil, fmt.Errorf("corpus: %s: no sections of format %s\n        (expected %s)", path, format, expected[format])
	}
	if o.Section != "" {
		if len(c.Sections) > 1 {
			return nil, fmt.Errorf("corpus: %s: has %d sections, so they cannot all be called %q (leave the name out, or open one section)",
				path, len(c.Sections), o.Section)
		}
		c.Sections[0].Name = o.Section
	}
	seen := map[string]string{}
	for _, s := range c.Sections {
		if was, ok := seen[s.Name]; ok {
			return nil, fmt.Errorf("corpus: %s and %s: both are section %q (open them apart, each with a name)", was, s.Path, s.Name)
		}
		seen[s.Name] = s.Path
		s.maxErrors, s.repair, s.maxBytes = o.MaxErrors, o.Repair, o.MaxBytes
		s.option(o)
	}
	return c, nil
}

// expected describes each format's layout for error messages.
var expected = map[string]string{
	"gigaword": "SECTION/SECTION_ID files, each folder with SECTION.jsonl and LICENSE",
	"jsonl":    "files *.jsonl, *.jsonl.gz or *.jsonl.zst",
	"parquet":  "files *.parquet with a column text",
	"warc":     "files *.warc, *.wet, plain or .gz",
	"text":     "files *.txt, one document a file",
}

// option adds what the caller states to what the files state.
func (s *Section) option(o OpenOptions) {
	if o.Language != "" {
		s.Language = o.Language
	}
	if o.License == "" {
		return
	}
	s.Claims = append(s.Claims, "option: "+o.License)
	if s.License == "" {
		s.License, s.LicenseText = LicenseName(o.License), o.License
	}
}

// Find returns the section of that name.
func (c *Corpus) Find(name string) (*Section, bool) {
	for _, s := range c.Sections {
		if s.Name == name {
			return s, true
		}
	}
	return nil, false
}

// detect says which format a path has.
func detect(path string, info os.FileInfo) (string, error) {
	if !info.IsDir() {
		switch {
		case isJSONL(path):
			return "jsonl", nil
		case isParquet(path):
			return "parquet", nil
		case isWARC(path):
			return "warc", nil
		case strings.HasSuffix(path, ".txt"):
			return "text", nil
		}
		return "", fmt.Errorf("corpus: %s: not a corpus file (expected .jsonl, .parquet, .warc, .wet or .txt, the first and third also as .gz or .zst; or say the format)", path)
	}
	root := gigawordRoot(path)
	dirs, _, err := sectionFolders(root)
	if err != nil {
		return "", err
	}
	if len(dirs) > 0 {
		return "gigaword", nil
	}
	for _, x := range []struct {
		format string
		is     func(path string) bool
	}{{"parquet", isParquet}, {"jsonl", isJSONL}, {"warc", isWARC}, {"text", func(p string) bool { return strings.HasSuffix(p, ".txt") }}} {
		files, err := listFiles(root, x.is)
		if err != nil {
			return "", err
		}
		if len(files) > 0 {
			return x.format, nil
		}
	}
	return "", fmt.Errorf("corpus: %s: nothing to read here\n        (expected sektioner/ or sections/ with %s; or %s; or %s; or %s; or %s)",
		path, expected["gigaword"], expected["parquet"], expected["jsonl"], expected["warc"], expected["text"])
}

// listFiles returns the files below dir that is accepts, sorted by path; hidden ones are left out.
func listFiles(dir string, is func(string) bool) ([]file, error) {
	var out []file
	root := filepath.Clean(dir) + string(filepath.Separator) // the separator follows a link to a folder
	err := filepath.WalkDir(root, func(p string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if p != root && strings.HasPrefix(d.Name(), ".") {
			if d.IsDir() {
				return filepath.SkipDir
			}
			return nil
		}
		if d.IsDir() || !is(p) {
			return nil
		}
		info, err := os.Stat(p)
		if err != nil {
			return err
		}
		if info.Mode().IsRegular() {
			out = append(out, file{path: p, size: info.Size()})
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("corpus: %w", err)
	}
	slices.SortFunc(out, func(a, b file) int { return strings.Compare(a.path, b.path) })
	return out, nil
}

// Documents reads the section from its beginning, one document at a time, in the order of file names or lines.
//
// A record that cannot be read ends the stream with a *Problems error, which names this and up to 19 later ones of the
// section; with MaxErrors n, up to n of them are passed over and kept in Problems of the Check. Any other error, such as
// a file that is cut off, ends the stream at once.
func (s *Section) Documents() iter.Seq2[*Document, error] {
	return func(yield func(*Document, error) bool) {
		check := s.NewCheck()
		for r, err := range s.Records() {
			var d *Document
			if err == nil {
				d, err = r.Document()
			}
			ok, err := check.Accept(d, err)
			if err != nil {
				yield(nil, err)
				return
			}
			if ok && !yield(d, nil) {
				return
			}
		}
		if err := check.Finish(); err != nil {
			yield(nil, err)
		}
	}
}

// Record is a document that was found but not read yet: a file, or a line. Reading it is safe beside reading others.
type Record struct {
	SizeBytes int64 // bytes it takes in memory at least
	read      func() (*Document, error)
}

// Document reads the record.
func (r *Record) Document() (*Document, error) { return r.read() }

// Records finds the section's documents in order without reading them, for callers that read several at a time. They
// hand what Record.Document returns, in the same order, to a Check.
func (s *Section) Records() iter.Seq2[*Record, error] {
	switch s.Format {
	case "gigaword":
		return s.gigawordRecords
	case "jsonl":
		return s.jsonlRecords
	case "parquet":
		return s.parquetRecords
	case "warc":
		return s.warcRecords
	}
	return s.textRecords
}

// maxNotes is how many notes a section keeps.
const maxNotes = 1000

// note keeps an oddity once: a section may be read several times.
func (s *Section) note(text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.notes) < maxNotes && !slices.Contains(s.notes, text) {
		s.notes = append(s.notes, text)
	}
}

// Notes returns what was odd but allowed in the section as a whole, such as metadata without a file; up to 1,000 of them.
func (s *Section) Notes() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.notes)
}

// newDocument starts a document with what its section states.
func (s *Section) newDocument() *Document {
	return &Document{
		Section: s.Name, Source: s.Name, License: s.License, Language: s.Language,
		Claims: slices.Clone(s.Claims),
	}
}

// Compressed says whether SizeBytes is of compressed files.
func (s *Section) Compressed() bool {
	for _, f := range s.files {
		if ext := filepath.Ext(f.path); ext == ".gz" || ext == ".zst" {
			return true
		}
	}
	return false
}
