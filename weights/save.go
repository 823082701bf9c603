package weights

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"ravn/internal/atomicfile"
	"ravn/model"
)

// DefaultShardBytes is the size at which weights are cut in several files, as transformers 4 does.
const DefaultShardBytes = 5_000_000_000

// SaveOptions say how a model folder is written.
type SaveOptions struct {
	DType      model.DType       // of the tensors; "" is F32
	ShardBytes int64             // largest size of one file of weights, a larger tensor gets its own; 0 is DefaultShardBytes
	Files      map[string][]byte // further files by name: the tokenizer's
}

// SaveFolder writes a model folder as transformers loads it: config.json, generation_config.json, model.safetensors or
// its shards with their index, and the given files. The folder appears whole or not at all; one of that name is
// replaced.
func SaveFolder(dir string, w *model.Weights, o SaveOptions) (err error) {
	tmp, err := atomicfile.TempDir(dir)
	if err != nil {
		return fmt.Errorf("weights: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.RemoveAll(tmp))
		}
	}()
	if err := WriteFolder(tmp, w, o); err != nil {
		return err
	}
	if err := atomicfile.ReplaceDir(tmp, dir); err != nil {
		return fmt.Errorf("weights: %w", err)
	}
	return nil
}

// WriteFolder writes the files of SaveFolder to a folder that exists, for those who add more before it gets its name.
func WriteFolder(dir string, w *model.Weights, o SaveOptions) error {
	if o.DType == "" {
		o.DType = model.F32
	}
	if n := w.Config.NumParams(); len(w.Params) != n {
		return fmt.Errorf("weights: %s: %d numbers for %d parameters", dir, len(w.Params), n)
	}
	return writeFolder(dir, w.Config, o, func(p model.Param) source {
		return floatSource(Floats{p.Name, o.DType, p.Shape, w.Params[p.Offset : p.Offset+p.Size]})
	})
}

// writeFolder writes a model whose parameters come from source, in the format o.DType.
func writeFolder(dir string, c *model.Config, o SaveOptions, from func(model.Param) source) error {
	if o.ShardBytes == 0 {
		o.ShardBytes = DefaultShardBytes
	}
	if o.DType.Size() == 0 || o.ShardBytes < 0 {
		return fmt.Errorf("weights: %s: cannot save as %q in files of %d bytes", dir, o.DType, o.ShardBytes)
	}
	files, err := configFiles(c, o.DType)
	if err != nil {
		return fmt.Errorf("weights: %s: %w", dir, err)
	}
	for name, data := range o.Files {
		if name != filepath.Base(name) || strings.HasPrefix(name, ".") || strings.ContainsAny(name, `/\`) {
			return fmt.Errorf("weights: %s: file name %q leads out of the folder", dir, name)
		}
		if files[name] != nil || strings.HasSuffix(name, ".safetensors") || name == indexName {
			return fmt.Errorf("weights: %s: file %q is written from the model and cannot be given", dir, name)
		}
		files[name] = data
	}
	shards := cut(c.Layout(), o)
	if len(shards) > 1 {
		files[indexName] = index(shards, o.DType)
	}
	for i, s := range shards {
		sources := make([]source, len(s))
		for j, p := range s {
			sources[j] = from(p)
		}
		if err := writeSources(filepath.Join(dir, shardName(i, len(shards))), sources, map[string]string{"format": "pt"}); err != nil {
			return err
		}
	}
	for name, data := range files {
		if err := atomicfile.WriteFile(filepath.Join(dir, name), data); err != nil {
			return fmt.Errorf("weights: %w", err)
		}
	}
	return nil
}

// configFiles are config.json and generation_config.json; what transformers needs to find its class is filled in.
func configFiles(cfg *model.Config, d model.DType) (map[string][]byte, error) {
	c := *cfg
	c.TorchDtype = map[model.DType]string{model.F32: "float32", model.F16: "float16", model.BF16: "bfloat16"}[d]
	if c.ModelType == "" {
		c.ModelType = "llama"
		if c.SlidingWindow > 0 {
			c.ModelType = "mistral"
		}
	}
	if len(c.Architectures) == 0 {
		c.Architectures = []string{map[string]string{"llama": "LlamaForCausalLM", "mistral": "MistralForCausalLM"}[c.ModelType]}
	}
	config, err := c.Encode()
	if err != nil {
		return nil, err
	}
	generation, err := c.GenerationConfig()
	if err != nil {
		return nil, err
	}
	return map[string][]byte{configName: config, generationName: generation}, nil
}

// cut divides the layout in shards of at most o.ShardBytes, in order.
func cut(layout []model.Param, o SaveOptions) [][]model.Param {
	var shards [][]model.Param
	var room int64
	for _, p := range layout {
		n := int64(p.Size) * int64(o.DType.Size())
		if n > room || shards == nil {
			shards, room = append(shards, nil), o.ShardBytes
		}
		last := &shards[len(shards)-1]
		*last = append(*last, p)
		room -= n
	}
	return shards
}

func shardName(i, n int) string {
	if n == 1 {
		return singleName
	}
	return fmt.Sprintf("model-%05d-of-%05d.safetensors", i+1, n)
}

// index is the text of model.safetensors.index.json.
func index(shards [][]model.Param, d model.DType) []byte {
	var total int64
	where := map[string]string{}
	for i, s := range shards {
		for _, p := range s {
			where[p.Name] = shardName(i, len(shards))
			total += int64(p.Size) * int64(d.Size())
		}
	}
	text, err := json.MarshalIndent(map[string]any{
		"metadata":   map[string]int64{"total_size": total},
		"weight_map": where,
	}, "", "  ")
	if err != nil {
		panic(err) // names and a number
	}
	return slices.Concat(text, []byte("\n"))
}
