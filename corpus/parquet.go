package corpus

import (
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/format"
)

// Parquet is read in all forms that Danish corpora had on Hugging Face, whatever their columns are called:
//
//	data/NAME/NAME.parquet  id, text, source, added, created, token_count         Danish Dynaword now
//	data/NAME/NAME.parquet  … license, domain, metadata{source-pretty}            its first restructuring
//	NAME/*.parquet          … metadata{domain, license, source-pretty}            danish-gigaword-2
//	data/train-*.parquet    text, source, doc_id, LICENSE, uri, date_built        partial-danish-gigaword: many sections
//
// A row becomes a record as a line of JSON does, by the same rules. Row groups are unpacked beside each other.

// isParquet says whether a file is Parquet, by its name.
func isParquet(path string) bool { return strings.HasSuffix(path, ".parquet") }

// part is the end of the name of one file of several.
var partName = regexp.MustCompile(`^(train|test|validation|part|data)?-?\d+(-of-\d+)?$`)

// parquetSection is the section that a file belongs to by its place: its folder's, where the folder is named as the
// file or the file is one of several, else its own.
func parquetSection(root, path string) string {
	dir, name := filepath.Dir(path), strings.TrimSuffix(filepath.Base(path), ".parquet")
	folder := sectionName(dir)
	own := regexp.MustCompile(`-\d+-of-\d+$`).ReplaceAllString(name, "")
	if filepath.Clean(dir) == filepath.Clean(root) || folder == "data" {
		if partName.MatchString(name) || own == "train" {
			if folder == "data" && filepath.Clean(dir) != filepath.Clean(root) {
				return sectionName(filepath.Dir(dir))
			}
			return folder
		}
		return own
	}
	return folder
}

// openParquet makes sections of the *.parquet files below a folder, or of one file: by their places, and where the rows
// of a section name several sources, one of each source.
func openParquet(path string, info os.FileInfo, name string) ([]*Section, error) {
	files := []file{{path: path, size: info.Size()}}
	root := filepath.Dir(path)
	if info.IsDir() {
		root = path
		var err error
		if files, err = listFiles(path, isParquet); err != nil {
			return nil, err
		}
	}
	var out []*Section
	at := map[string]*Section{}
	for _, f := range files {
		section := name
		if section == "" {
			section = parquetSection(root, f.path)
		}
		s := at[section]
		if s == nil {
			s = &Section{Name: section, Format: "parquet", Path: filepath.Dir(f.path)}
			if err := s.readLicense(s.Path); err != nil {
				return nil, err
			}
			at[section] = s
			out = append(out, s)
		}
		s.files = append(s.files, f)
		s.SizeBytes += f.size
	}
	if name != "" {
		return out, nil
	}
	var all []*Section
	for _, s := range out {
		parts, err := s.bySource()
		if err != nil {
			return nil, err
		}
		all = append(all, parts...)
	}
	return all, nil
}

// maxSources is how many sources one section is parted into.
const maxSources = 1000

// bySource parts a section whose rows name more than one source. Each part knows the row groups that hold it.
func (s *Section) bySource() ([]*Section, error) {
	var names []string
	holds := map[string][]file{}
	for _, f := range s.files {
		p, err := openParquetFile(f.path)
		if err != nil {
			return nil, err
		}
		err = p.sources(func(group int, sources []string) error {
			for _, name := range sources {
				if holds[name] == nil {
					if names = append(names, name); len(names) > maxSources {
						return fmt.Errorf("corpus: %s: more than %d sources (give the section a name to keep it whole)", f.path, maxSources)
					}
				}
				g := f
				g.groups, g.source = []int{group}, name
				if list := holds[name]; len(list) > 0 && list[len(list)-1].path == f.path {
					list[len(list)-1].groups = append(list[len(list)-1].groups, group)
				} else {
					holds[name] = append(list, g)
				}
			}
			return nil
		})
		p.Close()
		if err != nil {
			return nil, err
		}
	}
	if len(names) < 2 {
		return []*Section{s}, nil
	}
	slices.Sort(names)
	var out []*Section
	for _, name := range names {
		part := &Section{Name: name, License: s.License, LicenseText: s.LicenseText, Claims: s.Claims, Format: s.Format, Path: s.Path, files: holds[name]}
		part.SizeBytes = s.SizeBytes / int64(len(names))
		out = append(out, part)
	}
	return out, nil
}

// parquetFile is an open file that was looked over.
type parquetFile struct {
	*parquet.File
	file    *os.File
	path    string
	columns []parquetColumn
}

// parquetColumn is a leaf: where its values go in the record.
type parquetColumn struct {
	key, inner string // "metadata", "license"
	list       bool
	node       parquet.Node
}

// openParquetFile looks a file over and opens it. What the library panics on is a damaged file.
func openParquetFile(path string) (p *parquetFile, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("corpus: %w", err)
	}
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("corpus: %s: damaged: %v", path, r)
		}
		if err != nil {
			f.Close()
		}
	}()
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("corpus: %w", err)
	}
	if err := CheckParquet(f, info.Size()); err != nil {
		return nil, fmt.Errorf("corpus: %s: %w\n        (fetch it again; it is not whole)", path, err)
	}
	pf, err := parquet.OpenFile(f, info.Size())
	if err != nil {
		return nil, fmt.Errorf("corpus: %s: %w", path, err)
	}
	p = &parquetFile{File: pf, file: f, path: path}
	hasText := false
	for _, column := range pf.Schema().Columns() {
		leaf, _ := pf.Schema().Lookup(column...)
		c := parquetColumn{key: column[0], node: leaf.Node, list: leaf.MaxRepetitionLevel > 0}
		if len(column) > 1 && !c.list {
			c.inner = strings.Join(column[1:], ".")
		}
		hasText = hasText || c.key == "text" && !c.list
		p.columns = append(p.columns, c)
	}
	if !hasText {
		return nil, fmt.Errorf("corpus: %s: no column %q (it has: %s)", path, "text", columnNames(p.columns))
	}
	return p, nil
}

func columnNames(list []parquetColumn) string {
	var names []string
	for _, c := range list {
		names = append(names, strings.TrimSuffix(c.key+"."+c.inner, "."))
	}
	return strings.Join(names, ", ")
}

func (p *parquetFile) Close() error { return p.file.Close() }

// sources calls f for each row group with the values of the column source, in order of first sight; a file without the
// column has the one source "".
func (p *parquetFile) sources(f func(group int, sources []string) error) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("corpus: %s: damaged: %v", p.path, r)
		}
	}()
	at := slices.IndexFunc(p.columns, func(c parquetColumn) bool { return c.key == "source" && c.inner == "" && !c.list })
	if at < 0 {
		return f(0, []string{""})
	}
	buf := make([]parquet.Value, 1024)
	for i, g := range p.RowGroups() {
		var list []string
		seen := map[string]bool{}
		pages := g.ColumnChunks()[at].Pages()
		for {
			pg, err := pages.ReadPage()
			if err != nil {
				if errors.Is(err, io.EOF) {
					break
				}
				pages.Close()
				return fmt.Errorf("corpus: %s: row group %d: %w", p.path, i, err)
			}
			values := pg.Values()
			for {
				n, err := values.ReadValues(buf)
				for _, v := range buf[:n] {
					if s := string(v.ByteArray()); !seen[s] && len(list) <= maxSources {
						seen[s] = true
						list = append(list, s)
					}
				}
				if err != nil || n == 0 {
					break
				}
			}
			parquet.Release(pg)
		}
		pages.Close()
		if err := f(i, list); err != nil {
			return err
		}
	}
	return nil
}

// rowBatch is how many rows are unpacked at a time, and batchesAhead how many batches of a row group may wait.
const (
	rowBatch     = 64
	batchesAhead = 2
	groupsAhead  = 3 // row groups that are unpacked beside each other
)

// batch is some rows of a row group as lines of JSON.
type batch struct {
	lines [][]byte
	rows  []int64 // their numbers in the file, from 1
	err   error
}

// parquetRecords yields the rows of the section's files. Row groups are unpacked beside each other, a few ahead, and
// handed on in order.
func (s *Section) parquetRecords(yield func(*Record, error) bool) {
	for _, f := range s.files {
		if !s.parquetFileRecords(f, yield) {
			return
		}
	}
}

func (s *Section) parquetFileRecords(f file, yield func(*Record, error) bool) bool {
	p, err := openParquetFile(f.path)
	if err != nil {
		yield(nil, err)
		return false
	}
	groups := f.groups
	if groups == nil {
		for i := range p.RowGroups() {
			groups = append(groups, i)
		}
	}
	done := make(chan struct{})
	queue := make(chan chan batch, groupsAhead)
	finished := make(chan struct{})
	go func() { // starts row groups in order, as many as the queue holds
		defer close(finished)
		defer close(queue)
		var running []chan struct{}
		for _, g := range groups {
			out, end := make(chan batch, batchesAhead), make(chan struct{})
			running = append(running, end)
			select {
			case queue <- out:
			case <-done:
				for _, r := range running[:len(running)-1] {
					<-r
				}
				return
			}
			go func() {
				defer close(end)
				defer close(out)
				p.unpack(g, f.source, out, done)
			}()
		}
		for _, r := range running {
			<-r
		}
	}()
	defer p.Close()
	defer func() { <-finished }()
	defer close(done)
	for out := range queue {
		for b := range out {
			if b.err != nil {
				yield(nil, b.err)
				return false
			}
			for i, line := range b.lines {
				row := int(b.rows[i])
				r := &Record{SizeBytes: 2 * int64(len(line)), read: func() (*Document, error) { return s.parse("parquet", f.path, row, line) }}
				if !yield(r, nil) {
					return false
				}
			}
		}
	}
	return true
}

// unpack sends the rows of a row group, of one source where that is asked for.
func (p *parquetFile) unpack(group int, source string, out chan<- batch, done <-chan struct{}) {
	send := func(b batch) bool {
		select {
		case out <- b:
			return true
		case <-done:
			return false
		}
	}
	defer func() {
		if r := recover(); r != nil {
			send(batch{err: fmt.Errorf("corpus: %s: row group %d is damaged: %v", p.path, group, r)})
		}
	}()
	first := int64(1)
	for _, g := range p.RowGroups()[:group] {
		first += g.NumRows()
	}
	want := p.RowGroups()[group].NumRows()
	rows := p.RowGroups()[group].Rows()
	defer rows.Close()
	at := slices.IndexFunc(p.columns, func(c parquetColumn) bool { return c.key == "source" && c.inner == "" })
	buf := make([]parquet.Row, rowBatch)
	read := int64(0)
	for {
		n, err := rows.ReadRows(buf)
		b := batch{}
		for i, row := range buf[:n] {
			if source != "" && at >= 0 && !p.is(row, at, source) {
				continue
			}
			b.lines = append(b.lines, p.line(row))
			b.rows = append(b.rows, first+read+int64(i))
		}
		read += int64(n)
		if len(b.lines) > 0 && !send(b) {
			return
		}
		switch {
		case errors.Is(err, io.EOF) && read == want:
			return
		case errors.Is(err, io.EOF) || err == nil && n == 0:
			send(batch{err: fmt.Errorf("corpus: %s: row group %d ends after %d of %d rows", p.path, group, read, want)})
			return
		case err != nil:
			send(batch{err: fmt.Errorf("corpus: %s: row %d: %w", p.path, first+read, err)})
			return
		}
	}
}

func (p *parquetFile) is(row parquet.Row, column int, source string) bool {
	for _, v := range row {
		if v.Column() == column {
			return string(v.ByteArray()) == source
		}
	}
	return false
}

// line writes a row as a line of JSON, columns in their order. Nested columns become one object, repeated ones a list.
func (p *parquetFile) line(row parquet.Row) []byte {
	b := []byte{'{'}
	open := "" // the object that is being written
	shut := func() {
		if open != "" {
			b = append(b, '}')
			open = ""
		}
	}
	comma := func() {
		if last := b[len(b)-1]; last != '{' && last != '[' {
			b = append(b, ',')
		}
	}
	for i := 0; i < len(row); {
		column := row[i].Column()
		end := i + 1
		for end < len(row) && row[end].Column() == column {
			end++
		}
		c := p.columns[column]
		values := row[i:end]
		i = end
		if len(values) == 1 && values[0].IsNull() {
			continue
		}
		if c.inner == "" || open != c.key {
			shut()
		}
		comma()
		switch {
		case c.list:
			b = append(append(appendString(b, c.key), ':'), '[')
			for _, v := range values {
				if !v.IsNull() {
					comma()
					b = appendParquet(b, c.node, v)
				}
			}
			b = append(b, ']')
			continue
		case c.inner != "" && open == "":
			b = append(append(appendString(b, c.key), ':'), '{')
			open = c.key
			b = append(appendString(b, c.inner), ':')
		case c.inner != "":
			b = append(appendString(b, c.inner), ':')
		default:
			b = append(appendString(b, c.key), ':')
		}
		b = appendParquet(b, c.node, values[0])
	}
	shut()
	return append(b, '}')
}

// appendParquet writes one value as JSON.
func appendParquet(b []byte, node parquet.Node, v parquet.Value) []byte {
	var logical any
	if l := node.Type().LogicalType(); l != nil {
		logical = l.Value
	}
	switch v.Kind() {
	case parquet.Boolean:
		return strconv.AppendBool(b, v.Boolean())
	case parquet.Int32:
		if _, ok := logical.(*format.DateType); ok {
			return appendString(b, time.Unix(int64(v.Int32())*86400, 0).UTC().Format(time.DateOnly))
		}
		return strconv.AppendInt(b, int64(v.Int32()), 10)
	case parquet.Int64:
		if stamp, ok := logical.(*format.TimestampType); ok && stamp.Unit.Value != nil {
			unit := int64(stamp.Unit.Value.Duration())
			each := int64(time.Second) / unit
			return appendString(b, time.Unix(v.Int64()/each, v.Int64()%each*unit).UTC().Format(time.RFC3339))
		}
		return strconv.AppendInt(b, v.Int64(), 10)
	case parquet.Float:
		return appendNumber(b, float64(v.Float()), 32)
	case parquet.Double:
		return appendNumber(b, v.Double(), 64)
	case parquet.ByteArray, parquet.FixedLenByteArray:
		if _, text := logical.(*format.StringType); !text && !printable(v.ByteArray()) {
			return appendString(b, base64.StdEncoding.EncodeToString(v.ByteArray()))
		}
		return appendString(b, string(v.ByteArray()))
	}
	return append(b, "null"...)
}

func appendNumber(b []byte, x float64, bits int) []byte {
	if x-x != 0 { // JSON has no NaN or infinity
		return append(b, "null"...)
	}
	return strconv.AppendFloat(b, x, 'g', -1, bits)
}

// printable says whether bytes without a declared type are text.
func printable(b []byte) bool {
	for _, c := range b {
		if c < 0x20 && c != '\n' && c != '\t' && c != '\r' {
			return false
		}
	}
	return true
}
