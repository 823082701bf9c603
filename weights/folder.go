package weights

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"

	"ravn/model"
)

// The names in a Hugging Face model folder.
const (
	configName     = "config.json"
	generationName = "generation_config.json"
	singleName     = "model.safetensors"
	indexName      = "model.safetensors.index.json"
)

// maxJSON bounds config.json and the index. An index has some 100 bytes a tensor.
const maxJSON = 64 << 20

// Folder is an open Hugging Face model folder whose tensors are those of its configuration, mapped from the files.
type Folder struct {
	dir     string
	config  *model.Config
	files   []*File
	tensors []model.Tensor // in the order of Config.Layout
	notes   []string
}

// OpenFolder opens a folder with config.json and model.safetensors, or several files under model.safetensors.index.json.
// Every tensor that the configuration asks for must be there with its shape, and no other ones; all problems are
// reported together. Nothing is read but the headers.
func OpenFolder(dir string) (*Folder, error) {
	text, err := readSmall(filepath.Join(dir, configName))
	if err != nil {
		return nil, err
	}
	c, err := model.ParseConfig(text)
	if err != nil {
		return nil, fmt.Errorf("weights: %s: %w", filepath.Join(dir, configName), err)
	}
	f := &Folder{dir: dir, config: c}
	if err := f.open(); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

func (f *Folder) open() error {
	found := map[string]model.Tensor{}
	var problems []error
	var err error
	if exists(filepath.Join(f.dir, singleName)) {
		err = f.openFile(singleName, func(t model.Tensor) { found[t.Name] = t })
	} else if exists(filepath.Join(f.dir, indexName)) {
		problems, err = f.openShards(found)
	} else {
		err = noWeights(f.dir)
	}
	if err != nil {
		return err
	}
	problems = append(problems, f.match(found)...)
	if err := errors.Join(problems...); err != nil {
		return fmt.Errorf("weights: %s: the tensors are not those of its config.json:\n%w", f.dir, err)
	}
	return nil
}

// noWeights says what a folder without safetensors has instead.
func noWeights(dir string) error {
	advice := "(a model folder has model.safetensors, or model.safetensors.index.json with its files)"
	if names, err := filepath.Glob(filepath.Join(dir, "*.bin")); err == nil && len(names) > 0 {
		advice = "(pickled weights can run code and are not read; save the model as safetensors first)"
	}
	return fmt.Errorf("weights: %s: no %s here\n\t%s", dir, singleName, advice)
}

func (f *Folder) openFile(name string, each func(model.Tensor)) error {
	st, err := OpenSafetensors(filepath.Join(f.dir, name))
	if err != nil {
		return err
	}
	f.files = append(f.files, st)
	for _, t := range st.Tensors() {
		each(t)
	}
	return nil
}

// openShards opens the files that the index names, and compares what they hold with what it says.
func (f *Folder) openShards(found map[string]model.Tensor) (problems []error, err error) {
	path := filepath.Join(f.dir, indexName)
	text, err := readSmall(path)
	if err != nil {
		return nil, err
	}
	var index struct {
		Map map[string]string `json:"weight_map"`
	}
	if err := json.Unmarshal(text, &index); err != nil {
		return nil, fmt.Errorf("weights: %s: %w", path, err)
	}
	if len(index.Map) == 0 {
		return nil, fmt.Errorf("weights: %s: no weight_map", path)
	}
	names := slices.Compact(slices.Sorted(maps.Values(index.Map)))
	for _, name := range names {
		if name != filepath.Base(name) || !filepath.IsLocal(name) || strings.ContainsAny(name, `/\`) {
			return nil, fmt.Errorf("weights: %s: file name %q leads out of the folder", path, name)
		}
	}
	for _, name := range names {
		err := f.openFile(name, func(t model.Tensor) {
			switch place, listed := index.Map[t.Name]; {
			case !listed:
				f.notes = append(f.notes, fmt.Sprintf("%s: tensor %q is not in the index, ignored", name, t.Name))
			case place == name:
				found[t.Name] = t
			}
		})
		if err != nil {
			problems = append(problems, err)
		}
	}
	if len(problems) > 0 {
		return nil, errors.Join(problems...) // without its files every tensor would be missing
	}
	for _, name := range slices.Sorted(maps.Keys(index.Map)) {
		if _, ok := found[name]; !ok {
			problems = append(problems, fmt.Errorf("tensor %q is not in %s, where the index puts it", name, index.Map[name]))
			found[name] = model.Tensor{} // reported
		}
	}
	return problems, nil
}

// match puts the tensors found in the order of the layout and lists what does not fit.
func (f *Folder) match(found map[string]model.Tensor) (problems []error) {
	for _, p := range f.config.Layout() {
		t, ok := found[p.Name]
		delete(found, p.Name)
		switch {
		case !ok && p.Name == "lm_head.weight":
			problems = append(problems, fmt.Errorf("tensor %q is missing (if the head is the embedding, set tie_word_embeddings to true)", p.Name))
		case !ok:
			problems = append(problems, fmt.Errorf("tensor %q is missing", p.Name))
		case t.Name == "": // reported by openShards
		case !slices.Equal(t.Shape, p.Shape):
			problems = append(problems, fmt.Errorf("tensor %q has shape %d, the configuration says %d", p.Name, t.Shape, p.Shape))
		case t.DType.Size() == 0:
			problems = append(problems, fmt.Errorf("tensor %q is %s; only F32, F16 and BF16 are read", p.Name, t.DType))
		default:
			f.tensors = append(f.tensors, t)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(found)) {
		switch {
		case found[name].Name == "":
		case strings.HasSuffix(name, ".rotary_emb.inv_freq"):
			f.notes = append(f.notes, fmt.Sprintf("tensor %q is ignored; the angles follow from rope_theta", name))
		case name == "lm_head.weight":
			f.notes = append(f.notes, fmt.Sprintf("tensor %q is ignored; tie_word_embeddings makes the embedding the head", name))
		default:
			problems = append(problems, fmt.Errorf("tensor %q is unexpected", name))
		}
	}
	return problems
}

// Config is the configuration in config.json.
func (f *Folder) Config() *model.Config { return f.config }

// Tensors are the parameters in the order of Config.Layout, as stored.
func (f *Folder) Tensors() []model.Tensor { return f.tensors }

// Notes tell what was ignored.
func (f *Folder) Notes() []string { return f.notes }

// Close gives the mappings back. Data of the tensors must not be touched after it.
func (f *Folder) Close() error {
	var errs []error
	for _, st := range f.files {
		errs = append(errs, st.Close())
	}
	f.files, f.tensors = nil, nil
	return errors.Join(errs...)
}

// Float32 copies all parameters to one flat vector, F16 and BF16 widened exactly.
func (f *Folder) Float32() (*model.Weights, error) {
	if len(f.tensors) == 0 {
		return nil, fmt.Errorf("weights: %s is closed", f.dir)
	}
	return widen(f.config, f.tensors)
}

// widen turns the tensors of a layout into one vector of numbers.
func widen(c *model.Config, tensors []model.Tensor) (*model.Weights, error) {
	w := &model.Weights{Config: c, Params: make([]float32, c.NumParams())}
	layout := c.Layout()
	errs := make([]error, len(layout))
	var wg sync.WaitGroup
	slots := make(chan struct{}, runtime.GOMAXPROCS(0))
	for i, p := range layout {
		slots <- struct{}{}
		wg.Go(func() {
			errs[i] = ToF32(w.Params[p.Offset:p.Offset+p.Size], tensors[i])
			<-slots
		})
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return w, nil
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return !errors.Is(err, fs.ErrNotExist)
}

// readSmall reads a file that must be of a modest size.
func readSmall(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("weights: %w", err)
	}
	if info.Size() > maxJSON {
		return nil, fmt.Errorf("weights: %s: %d bytes, more than the %d that such a file may have", path, info.Size(), maxJSON)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("weights: %w", err)
	}
	return text, nil
}
