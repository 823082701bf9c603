package shard

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"

	"github.com/cespare/xxhash/v2"

	"ravn/internal/atomicfile"
)

// Names says of every document of a set which section, id and licence it has: what spans.parquet says too, in a form
// that is read in a few milliseconds, so that questions about a run of half a million documents are answered at once.
//
//	8 bytes  "RAVNDOC1"
//	32       SHA-256 of the spans.parquet that it was made from
//	uint64   N documents          uint64  bytes of all ids
//	uint32   S section names      uint32  L licences
//	S + L times: uint32 length, bytes
//	N times uint32: end of the id among all ids
//	N times uint16: section       N times uint16: licence
//	all ids, without gaps
//	uint64   xxHash64 of everything before
//
// All numbers are little-endian.
type Names struct {
	sections, licenses []string
	ends               []uint32
	section, license   []uint16
	ids                []byte
	sizeBytes          int64
}

const (
	namesMagic  = "RAVNDOC1"
	namesHeader = 8 + 32 + 8 + 8 + 4 + 4
)

// describer tells what a document is called, by its place in the table of documents.
type describer interface {
	describe(row int) (section, id, license string)
}

type rowTable []DocumentRow

func (t rowTable) describe(row int) (section, id, license string) {
	return t[row].Section, t[row].ID, t[row].License
}

func (n *Names) describe(row int) (section, id, license string) {
	return n.Section(row), n.ID(row), n.License(row)
}

// Len is the number of documents; they are numbered as the rows of Set.Documents.
func (n *Names) Len() int { return len(n.ends) }

// ID is a document's id.
func (n *Names) ID(row int) string { return string(n.idBytes(row)) }

func (n *Names) idBytes(row int) []byte {
	from := uint32(0)
	if row > 0 {
		from = n.ends[row-1]
	}
	return n.ids[from:n.ends[row]]
}

// Section is a document's section.
func (n *Names) Section(row int) string { return n.sections[n.section[row]] }

// License is a document's licence as its source states it.
func (n *Names) License(row int) string { return n.licenses[n.license[row]] }

// SizeBytes is the size of the file.
func (n *Names) SizeBytes() int64 { return n.sizeBytes }

// Find lists the documents with an id, of one section or, with "", of any.
func (n *Names) Find(section, id string) []int {
	var rows []int
	want := []byte(id)
	for row := range n.ends {
		if bytes.Equal(n.idBytes(row), want) && (section == "" || n.Section(row) == section) {
			rows = append(rows, row)
		}
	}
	return rows
}

// Names reads the names from path, or makes the file when it is not there or belongs to other shards.
// It holds nothing that the shards do not.
func (s *Set) Names(path string) (*Names, error) {
	data, err := os.ReadFile(path)
	if err == nil {
		if n, err := parseNames(data, s.info.Spans.SHA256, s.info.Documents()); err == nil {
			return n, nil
		}
	} else if !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("shard: %w", err)
	}
	rows, err := s.readRows()
	if err != nil {
		return nil, err
	}
	data, err = marshalNames(rows, s.info.Spans.SHA256)
	if err != nil {
		return nil, fmt.Errorf("shard: %s: %w", path, err)
	}
	if os.MkdirAll(filepath.Dir(path), 0o755) == nil {
		_ = atomicfile.WriteFile(path, data) // in a folder that cannot be written to, it is made anew each time
	}
	return parseNames(data, s.info.Spans.SHA256, s.info.Documents())
}

// marshalNames writes the file.
func marshalNames(rows []DocumentRow, spans string) ([]byte, error) {
	sum, err := hex.DecodeString(spans)
	if err != nil || len(sum) != 32 {
		return nil, fmt.Errorf("the SHA-256 of %s, %q, is none", spansName, spans)
	}
	number := func(of map[string]uint16, list *[]string, s string) (uint16, error) {
		if i, ok := of[s]; ok {
			return i, nil
		}
		if len(*list) > math.MaxUint16 {
			return 0, errors.New("more than 65,536 sections or licences")
		}
		of[s] = uint16(len(*list))
		*list = append(*list, s)
		return of[s], nil
	}
	var sections, licenses []string
	ofSection, ofLicense := map[string]uint16{}, map[string]uint16{}
	section, license := make([]uint16, len(rows)), make([]uint16, len(rows))
	size := int64(0)
	for i := range rows {
		if section[i], err = number(ofSection, &sections, rows[i].Section); err != nil {
			return nil, err
		}
		if license[i], err = number(ofLicense, &licenses, rows[i].License); err != nil {
			return nil, err
		}
		size += int64(len(rows[i].ID))
	}
	if size > math.MaxUint32 {
		return nil, errors.New("the ids have more than 4 GiB")
	}
	le := binary.LittleEndian
	b := append([]byte(namesMagic), sum...)
	b = le.AppendUint64(b, uint64(len(rows)))
	b = le.AppendUint64(b, uint64(size))
	b = le.AppendUint32(b, uint32(len(sections)))
	b = le.AppendUint32(b, uint32(len(licenses)))
	for _, s := range append(sections, licenses...) {
		b = append(le.AppendUint32(b, uint32(len(s))), s...)
	}
	end := uint32(0)
	for i := range rows {
		end += uint32(len(rows[i].ID))
		b = le.AppendUint32(b, end)
	}
	for _, list := range [][]uint16{section, license} {
		for _, x := range list {
			b = le.AppendUint16(b, x)
		}
	}
	for i := range rows {
		b = append(b, rows[i].ID...)
	}
	return le.AppendUint64(b, xxhash.Sum64(b)), nil
}

// parseNames reads the file, made from the named spans.parquet with the given number of documents.
func parseNames(data []byte, spans string, documents int64) (*Names, error) {
	le := binary.LittleEndian
	if len(data) < namesHeader+8 || string(data[:8]) != namesMagic {
		return nil, errors.New("not a file of names")
	}
	body := data[:len(data)-8]
	if xxhash.Sum64(body) != le.Uint64(data[len(body):]) {
		return nil, errors.New("damaged")
	}
	if hex.EncodeToString(data[8:40]) != spans {
		return nil, errors.New("made from other shards")
	}
	n, idBytes := le.Uint64(data[40:]), le.Uint64(data[48:])
	numSections, numLicenses := int(le.Uint32(data[56:])), int(le.Uint32(data[60:]))
	if n != uint64(documents) || n > uint64(len(body))/8 || idBytes > uint64(len(body)) || numSections > len(body)/4 || numLicenses > len(body)/4 {
		return nil, fmt.Errorf("%d documents in %d bytes", n, len(body))
	}
	names := &Names{ends: make([]uint32, n), section: make([]uint16, n), license: make([]uint16, n), sizeBytes: int64(len(data))}
	rest := body[namesHeader:]
	for i := range numSections + numLicenses {
		if len(rest) < 4 || uint64(le.Uint32(rest)) > uint64(len(rest)-4) {
			return nil, errors.New("a name reaches beyond the end")
		}
		s := string(rest[4:][:le.Uint32(rest)])
		rest = rest[4+len(s):]
		if i < numSections {
			names.sections = append(names.sections, s)
		} else {
			names.licenses = append(names.licenses, s)
		}
	}
	if uint64(len(rest)) != 8*n+idBytes {
		return nil, fmt.Errorf("%d bytes left for %d documents with ids of %d bytes", len(rest), n, idBytes)
	}
	last := uint32(0)
	for i := range names.ends {
		names.ends[i] = le.Uint32(rest[4*i:])
		if names.ends[i] < last || uint64(names.ends[i]) > idBytes {
			return nil, fmt.Errorf("the id of document %d ends at %d", i, names.ends[i])
		}
		last = names.ends[i]
	}
	for k, list := range []struct {
		dst  []uint16
		most int
	}{{names.section, numSections}, {names.license, numLicenses}} {
		at := rest[4*n+2*n*uint64(k):]
		for i := range list.dst {
			if list.dst[i] = le.Uint16(at[2*i:]); int(list.dst[i]) >= list.most {
				return nil, fmt.Errorf("document %d has section or licence %d of %d", i, list.dst[i], list.most)
			}
		}
	}
	names.ids = rest[8*n:]
	return names, nil
}
