package corpus

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
)

// attributeFile is a file of dolma attributes beside a file of documents: attributes/TAGGER/X.jsonl.gz belongs to
// documents/X.jsonl.gz and has a line for each of its lines, {"id": …, "attributes": {"NAME": [[start, end, score], …]}}.
type attributeFile struct {
	path  string
	in    io.ReadCloser
	lines *lines
}

// attributeLine is one line of it.
type attributeLine struct {
	path   string
	number int
	text   []byte
}

// openAttributes opens the attribute files of a file of documents, by tagger.
func openAttributes(path string, maxBytes int64) ([]*attributeFile, error) {
	dir, name := filepath.Split(path)
	if filepath.Base(dir) != "documents" {
		return nil, nil
	}
	found, err := filepath.Glob(filepath.Join(filepath.Dir(filepath.Clean(dir)), "attributes", "*", stem(name)+".json*"))
	if err != nil {
		return nil, fmt.Errorf("corpus: %w", err)
	}
	slices.Sort(found)
	var out []*attributeFile
	for _, p := range found {
		in, err := OpenCompressed(p)
		if err != nil {
			closeAttributes(out)
			return nil, err
		}
		out = append(out, &attributeFile{p, in, newLines(in, maxBytes)})
	}
	return out, nil
}

func closeAttributes(list []*attributeFile) {
	for _, a := range list {
		a.in.Close()
	}
}

// next reads the line of the next document.
func (a *attributeFile) next() (attributeLine, error) {
	for a.lines.next() {
		if len(bytes.TrimSpace(a.lines.text)) > 0 {
			return attributeLine{a.path, a.lines.number, bytes.Clone(a.lines.text)}, nil
		}
	}
	if a.lines.err != nil {
		return attributeLine{}, lineError(a.path, a.lines, a.lines.err)
	}
	return attributeLine{}, fmt.Errorf("corpus: %s: ends before its documents do\n        (run the tagger again; attributes and documents go line by line)", a.path)
}

// addTo adds the attributes to a document's metadata, as JSON under attributes.NAME. The ids must agree.
func (l attributeLine) addTo(s *Section, d *Document) error {
	id := ""
	var object value
	err := scanObject(l.text, s.repair, func(key string, v value) (err error) {
		switch key {
		case "id":
			id, err = v.str()
		case "attributes":
			object = v
		}
		return err
	})
	if err == nil && id != d.ID {
		err = fmt.Errorf("the attributes are of %q, the document is %q", id, d.ID)
	}
	if err == nil && object.raw != nil && object.kind() == "object" {
		err = scanObject(object.raw, s.repair, func(key string, v value) error {
			if d.Meta == nil {
				d.Meta = map[string]string{}
			}
			d.Meta["attributes."+key] = string(v.raw)
			return nil
		})
	}
	var fe *fieldError
	if errors.As(err, &fe) || err != nil {
		return s.problem(l.path, l.number, -1, err.Error(), "run the tagger again; attributes and documents go line by line")
	}
	return nil
}
