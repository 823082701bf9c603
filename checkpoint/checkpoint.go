// Package checkpoint saves and loads a model in training: a Hugging Face folder with the optimizer's state beside it.
//
//	step-000400/
//	  config.json, generation_config.json, model.safetensors (or shards and their index), tokenizer files
//	  optimizer.safetensors   F32; "m.NAME" and "v.NAME" for each parameter NAME; absent when there are no moments
//	  state.json              format, meta, and size and SHA-256 of every other file; written last
//
// Weights are the F32 master weights, so what is loaded is bit for bit what was saved. A folder is filled under a
// temporary name that starts with a dot, synced, and renamed: one that has its name is whole.
package checkpoint

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"ravn/internal/atomicfile"
	"ravn/model"
	"ravn/weights"
)

const (
	stateName     = "state.json"
	optimizerName = "optimizer.safetensors"
	format        = "ravn-checkpoint-1"
)

// Meta says where training stood.
type Meta struct {
	Step        int               `json:"step"`         // updates done
	Tokens      int64             `json:"tokens"`       // tokens read
	RecipeHash  string            `json:"recipe_hash"`  // of the resolved recipe
	EventsBytes int64             `json:"events_bytes"` // size of events.jsonl at this point
	Stage       string            `json:"stage"`
	Extra       map[string]string `json:"extra,omitempty"`
}

// stateFile is state.json.
type stateFile struct {
	Format string            `json:"format"`
	Meta   Meta              `json:"meta"`
	Files  map[string]digest `json:"files"` // all files but state.json
}

type digest struct {
	Bytes  int64  `json:"bytes"`
	SHA256 string `json:"sha256"`
}

// Name is the folder name of the checkpoint after a step: "step-000400".
func Name(step int) string { return fmt.Sprintf("step-%06d", step) }

// Save writes a checkpoint to dir, which appears whole or not at all; one of that name is replaced. Files are further
// ones for the folder by name, such as the tokenizer's. Moments of s may be nil.
func Save(dir string, cfg *model.Config, s model.State, meta Meta, files map[string][]byte) (err error) {
	n := cfg.NumParams()
	if len(s.Params) != n || (s.M != nil && len(s.M) != n) || (s.V != nil && len(s.V) != n) || (s.M == nil) != (s.V == nil) {
		return fmt.Errorf("checkpoint: %s: %d parameters with moments of %d and %d for a decoder of %d", dir, len(s.Params), len(s.M), len(s.V), n)
	}
	for _, name := range []string{stateName, optimizerName} {
		if _, ok := files[name]; ok {
			return fmt.Errorf("checkpoint: %s: file %q is written from the state and cannot be given", dir, name)
		}
	}
	tmp, err := atomicfile.TempDir(dir)
	if err != nil {
		return fmt.Errorf("checkpoint: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.RemoveAll(tmp))
		}
	}()
	w := &model.Weights{Config: cfg, Params: s.Params}
	if err := weights.WriteFolder(tmp, w, weights.SaveOptions{DType: model.F32, Files: files}); err != nil {
		return fmt.Errorf("checkpoint: %w", err)
	}
	if s.M != nil {
		if err := writeOptimizer(filepath.Join(tmp, optimizerName), cfg, s); err != nil {
			return err
		}
	}
	if err := writeState(tmp, meta); err != nil {
		return err
	}
	if err := atomicfile.ReplaceDir(tmp, dir); err != nil {
		return fmt.Errorf("checkpoint: %w", err)
	}
	return nil
}

func writeOptimizer(path string, cfg *model.Config, s model.State) error {
	var ts []weights.Floats
	for _, p := range cfg.Layout() {
		ts = append(ts,
			weights.Floats{Name: "m." + p.Name, DType: model.F32, Shape: p.Shape, Data: s.M[p.Offset : p.Offset+p.Size]},
			weights.Floats{Name: "v." + p.Name, DType: model.F32, Shape: p.Shape, Data: s.V[p.Offset : p.Offset+p.Size]})
	}
	if err := weights.WriteFloats(path, ts, map[string]string{"format": "pt", "optimizer": "adamw"}); err != nil {
		return fmt.Errorf("checkpoint: %w", err)
	}
	return nil
}

// writeState hashes what the folder holds and writes state.json.
func writeState(dir string, meta Meta) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("checkpoint: %w", err)
	}
	st := stateFile{Format: format, Meta: meta, Files: map[string]digest{}}
	for _, e := range entries {
		d, err := digestFile(filepath.Join(dir, e.Name()))
		if err != nil {
			return err
		}
		st.Files[e.Name()] = d
	}
	text, err := json.MarshalIndent(st, "", "  ")
	if err != nil {
		return fmt.Errorf("checkpoint: %w", err)
	}
	if err := atomicfile.WriteFile(filepath.Join(dir, stateName), append(text, '\n')); err != nil {
		return fmt.Errorf("checkpoint: %w", err)
	}
	return nil
}

// Load reads a checkpoint and checks every file against the size and hash in state.json; all that differ are named.
func Load(dir string) (*model.Config, model.State, Meta, error) {
	c, s, meta, err := load(dir)
	if err != nil {
		return nil, model.State{}, Meta{}, err
	}
	return c, s, meta, nil
}

func load(dir string) (c *model.Config, s model.State, meta Meta, err error) {
	st, err := readState(dir)
	if err != nil {
		return nil, s, meta, err
	}
	if err := st.verify(dir); err != nil {
		return nil, s, meta, err
	}
	w, err := weights.Load(dir)
	if err != nil {
		return nil, s, meta, fmt.Errorf("checkpoint: %w", err)
	}
	s.Params = w.Params
	if _, ok := st.Files[optimizerName]; ok {
		if s.M, s.V, err = readOptimizer(filepath.Join(dir, optimizerName), w.Config); err != nil {
			return nil, s, meta, err
		}
	}
	return w.Config, s, st.Meta, nil
}

// ReadMeta says where the training of a checkpoint stood. It reads state.json and looks at no other file.
func ReadMeta(dir string) (Meta, error) {
	st, err := readState(dir)
	if err != nil {
		return Meta{}, err
	}
	return st.Meta, nil
}

func readState(dir string) (*stateFile, error) {
	path := filepath.Join(dir, stateName)
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("checkpoint: %w", err)
	}
	st := &stateFile{}
	if err := json.Unmarshal(text, st); err != nil {
		return nil, fmt.Errorf("checkpoint: %s: %w", path, err)
	}
	if st.Format != format {
		return nil, fmt.Errorf("checkpoint: %s: format is %q, this version of ravn reads %q", path, st.Format, format)
	}
	if st.Meta.Step < 0 || st.Meta.EventsBytes < 0 || st.Meta.Tokens < 0 {
		return nil, fmt.Errorf("checkpoint: %s: step %d, %d tokens and %d bytes of events cannot be negative", path, st.Meta.Step, st.Meta.Tokens, st.Meta.EventsBytes)
	}
	return st, nil
}

// verify compares the files in dir with their sizes and hashes.
func (st *stateFile) verify(dir string) error {
	var problems []error
	for _, name := range slices.Sorted(maps.Keys(st.Files)) {
		path, want := filepath.Join(dir, name), st.Files[name]
		if name != filepath.Base(name) || strings.ContainsAny(name, `/\`) {
			problems = append(problems, fmt.Errorf("checkpoint: %s: file name %q leads out of the folder", filepath.Join(dir, stateName), name))
			continue
		}
		got, err := digestFile(path)
		switch {
		case err != nil:
			problems = append(problems, err)
		case got.Bytes != want.Bytes:
			problems = append(problems, fmt.Errorf("checkpoint: %s: has %d bytes, was saved with %d", path, got.Bytes, want.Bytes))
		case got.SHA256 != want.SHA256:
			problems = append(problems, fmt.Errorf("checkpoint: %s: SHA-256 is %.12s…, was saved with %.12s… (the file has changed since)", path, got.SHA256, want.SHA256))
		}
	}
	// Weights that state.json does not know would be read without having been checked.
	for _, name := range []string{"config.json", "model.safetensors", "model.safetensors.index.json"} {
		_, listed := st.Files[name]
		if _, err := os.Lstat(filepath.Join(dir, name)); err == nil && !listed {
			problems = append(problems, fmt.Errorf("checkpoint: %s: is not among the files of %s", filepath.Join(dir, name), stateName))
		}
	}
	return errors.Join(problems...)
}

func readOptimizer(path string, c *model.Config) (m, v []float32, err error) {
	f, err := weights.OpenSafetensors(path)
	if err != nil {
		return nil, nil, fmt.Errorf("checkpoint: %w", err)
	}
	defer f.Close()
	read := func(dst []float32, p model.Param, kind string) error {
		t, ok := f.Tensor(kind + p.Name)
		if !ok || t.DType != model.F32 || !slices.Equal(t.Shape, p.Shape) {
			return fmt.Errorf("checkpoint: %s: want tensor %q of F32 %d, have %s %d", path, kind+p.Name, p.Shape, t.DType, t.Shape)
		}
		return weights.ToF32(dst[p.Offset:p.Offset+p.Size], t)
	}
	n := c.NumParams()
	if got := len(f.Tensors()); got != 2*len(c.Layout()) {
		return nil, nil, fmt.Errorf("checkpoint: %s: %d tensors, want 2 for each of %d parameters", path, got, len(c.Layout()))
	}
	m, v = make([]float32, n), make([]float32, n)
	var errs []error
	for _, p := range c.Layout() {
		errs = append(errs, read(m, p, "m."), read(v, p, "v."))
	}
	return m, v, errors.Join(errs...)
}
