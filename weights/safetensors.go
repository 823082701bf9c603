// Package weights reads and writes models on disk: safetensors files, Hugging Face model folders and GGUF files.
//
// A safetensors file is, in this order:
//
//	8 bytes            n, the length of the header, little-endian, at most 100 MB
//	n bytes            JSON object {"name": {"dtype": "F32", "shape": [rows, cols], "data_offsets": [begin, end]}, …},
//	                   perhaps with "__metadata__": {"key": "text", …}; may end in spaces; begins with {
//	the rest           the tensors, little-endian, row-major; offsets count from here and leave no hole
//
// A file is mapped, not read: opening one costs the header. What the header says is checked against the length of the
// file before anything is allocated for it.
package weights

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"

	"ravn/model"
)

// maxHeader is the limit of the format's reference implementation.
const maxHeader = 100_000_000

// File is an open safetensors file. Its tensors are views of the mapped file and die with Close.
type File struct {
	path     string
	data     []byte // the whole file
	unmap    func() error
	tensors  []model.Tensor // by place in the file
	index    map[string]int
	metadata map[string]string
}

// OpenSafetensors maps a file and checks its header: names, number formats, shapes, offsets without holes or overlaps,
// and the length of the file.
func OpenSafetensors(path string) (*File, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("weights: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("weights: %w", err)
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("weights: %s: not a regular file", path)
	}
	data, unmap, err := mapFile(f, info.Size())
	if err != nil {
		return nil, fmt.Errorf("weights: %s: %w", path, err)
	}
	st, err := parse(path, data)
	if err != nil {
		return nil, errors.Join(err, unmap())
	}
	st.unmap = unmap
	return st, nil
}

// parse checks the bytes of a safetensors file.
func parse(path string, data []byte) (*File, error) {
	fail := func(format string, args ...any) (*File, error) {
		return nil, fmt.Errorf("weights: %s: %w", path, fmt.Errorf(format, args...))
	}
	if len(data) < 8 {
		return fail("the file has %d bytes; a safetensors file begins with 8 for the length of its header", len(data))
	}
	n := binary.LittleEndian.Uint64(data)
	if n > maxHeader {
		return fail("the header would have %d bytes, the limit is %d (is this a safetensors file?)", n, maxHeader)
	}
	if n > uint64(len(data)-8) {
		return fail("the header would have %d bytes, the file has %d after its first 8 (cut off?)", n, len(data)-8)
	}
	h, err := parseHeader(data[8 : 8+n])
	if err != nil {
		return fail("header: %w", err)
	}
	body := data[8+n:]
	if err := h.place(uint64(len(body))); err != nil {
		return fail("%w", err)
	}
	st := &File{path: path, data: data, metadata: h.metadata, index: make(map[string]int, len(h.entries))}
	st.tensors = make([]model.Tensor, len(h.entries))
	for i, e := range h.entries {
		st.tensors[i] = model.Tensor{Name: e.name, DType: e.dtype, Shape: e.shape, Data: body[e.begin:e.end:e.end]}
		st.index[e.name] = i
	}
	return st, nil
}

// Tensors are all tensors in the order of the file.
func (f *File) Tensors() []model.Tensor { return f.tensors }

// Tensor finds a tensor by name.
func (f *File) Tensor(name string) (model.Tensor, bool) {
	i, ok := f.index[name]
	if !ok {
		return model.Tensor{}, false
	}
	return f.tensors[i], true
}

// Metadata is the text kept in the header, nil when there is none.
func (f *File) Metadata() map[string]string { return f.metadata }

// Close gives the mapping back. Data of the file's tensors must not be touched after it.
func (f *File) Close() error {
	if f.unmap == nil {
		return nil
	}
	err := f.unmap()
	f.unmap, f.data, f.tensors, f.index = nil, nil, nil, nil
	if err != nil {
		return fmt.Errorf("weights: %s: %w", f.path, err)
	}
	return nil
}
