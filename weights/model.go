package weights

import (
	"errors"
	"os"
	"path/filepath"
	"strings"

	"ravn/model"
	"ravn/tokenizer"
)

// Model is an open model on disk: a *Folder or a *GGUF.
type Model interface {
	Config() *model.Config
	Tensors() []model.Tensor // in the order of Config.Layout and with its names and rows, as stored
	Notes() []string         // what was ignored
	Float32() (*model.Weights, error)
	Close() error
}

// IsGGUF reports whether path is a GGUF file by its name or its first bytes.
func IsGGUF(path string) bool {
	if strings.EqualFold(filepath.Ext(path), ".gguf") {
		return true
	}
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	defer f.Close()
	var magic [4]byte
	n, _ := f.ReadAt(magic[:], 0)
	return string(magic[:n]) == ggufMagic
}

// Open opens a Hugging Face folder or a GGUF file. Nothing is read but the headers.
func Open(path string) (Model, error) {
	if IsGGUF(path) {
		g, err := OpenGGUF(path)
		if err != nil {
			return nil, err
		}
		return g, nil
	}
	f, err := OpenFolder(path)
	if err != nil {
		return nil, err
	}
	return f, nil
}

// Load reads the model at path, a Hugging Face folder or a GGUF file, to memory, as float32.
func Load(path string) (*model.Weights, error) {
	m, err := Open(path)
	if err != nil {
		return nil, err
	}
	w, err := m.Float32()
	return w, errors.Join(err, m.Close())
}

// LoadTokenizer reads the tokenizer of the model at path, a Hugging Face folder or a GGUF file.
func LoadTokenizer(path string) (*tokenizer.Tokenizer, error) {
	if !IsGGUF(path) {
		return tokenizer.Load(path)
	}
	g, err := OpenGGUF(path)
	if err != nil {
		return nil, err
	}
	tok, err := g.Tokenizer()
	return tok, errors.Join(err, g.Close())
}
