package adapter

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"ravn/internal/atomicfile"
	"ravn/model"
	"ravn/weights"
)

// The files of an adapter's folder: the first two as PEFT names them, the third with the moments of an adapter in training.
const (
	configName    = "adapter_config.json"
	modelName     = "adapter_model.safetensors"
	optimizerName = "optimizer.safetensors"
)

// peftConfig is adapter_config.json as far as it says anything here; PEFT has defaults for the rest.
type peftConfig struct {
	Base          string         `json:"base_model_name_or_path"`
	Bias          string         `json:"bias"`
	FanInFanOut   bool           `json:"fan_in_fan_out"`
	Inference     bool           `json:"inference_mode"`
	InitWeights   any            `json:"init_lora_weights"`
	Alpha         float64        `json:"lora_alpha"`
	Dropout       float64        `json:"lora_dropout"`
	ModulesToSave []string       `json:"modules_to_save"`
	Type          string         `json:"peft_type"`
	Rank          int            `json:"r"`
	Targets       any            `json:"target_modules"` // names, or a regular expression, which is not read
	Task          string         `json:"task_type"`
	DoRA          bool           `json:"use_dora"`
	RSLoRA        bool           `json:"use_rslora"`
	Layers        any            `json:"layers_to_transform,omitempty"`
	Ranks         map[string]any `json:"rank_pattern,omitempty"`
	Alphas        map[string]any `json:"alpha_pattern,omitempty"`
}

// tensor is a stretch of the vector with the name and shape that PEFT gives it.
type tensor struct {
	name  string
	shape []int
	at    int
}

func (t tensor) size() int {
	n := 1
	for _, s := range t.shape {
		n *= s
	}
	return n
}

// tensors lists the adapter's tensors by their names in PEFT's files.
func (l *layout) tensors() []tensor {
	const prefix = "base_model.model."
	var ts []tensor
	for _, t := range l.targets {
		name := prefix + strings.TrimSuffix(t.Name, ".weight")
		ts = append(ts, tensor{name + ".lora_A.weight", []int{l.o.Rank, t.in}, t.a}, tensor{name + ".lora_B.weight", []int{t.out, l.o.Rank}, t.b})
		if t.m >= 0 {
			ts = append(ts, tensor{name + ".lora_magnitude_vector", []int{t.out}, t.m})
		}
	}
	for _, t := range l.whole {
		ts = append(ts, tensor{prefix + t.Name, t.Shape, t.at})
	}
	return ts
}

// write puts vectors into a safetensors file, each tensor's name behind the vector's prefix.
func (l *layout) write(path string, vectors map[string][]float32) error {
	var fs []weights.Floats
	for _, t := range l.tensors() {
		for _, prefix := range []string{"", "m.", "v."} {
			if x := vectors[prefix]; x != nil {
				fs = append(fs, weights.Floats{Name: prefix + t.name, DType: model.F32, Shape: t.shape, Data: x[t.at : t.at+t.size()]})
			}
		}
	}
	return weights.WriteFloats(path, fs, map[string]string{"format": "pt"})
}

// read fills vectors from a safetensors file, which must hold these tensors and no others.
func (l *layout) read(path string, vectors map[string][]float32) error {
	f, err := weights.OpenSafetensors(path)
	if err != nil {
		return fmt.Errorf("adapter: %w", err)
	}
	defer f.Close()
	var errs []error
	known := map[string]bool{}
	for _, t := range l.tensors() {
		for prefix, x := range vectors {
			known[prefix+t.name] = true
			got, ok := f.Tensor(prefix + t.name)
			switch {
			case !ok:
				errs = append(errs, fmt.Errorf("adapter: %s: tensor %q is missing", path, prefix+t.name))
			case !slices.Equal(got.Shape, t.shape):
				errs = append(errs, fmt.Errorf("adapter: %s: tensor %q has shape %d, the base and r ask for %d", path, prefix+t.name, got.Shape, t.shape))
			default:
				errs = append(errs, weights.ToF32(x[t.at:t.at+t.size()], got))
			}
		}
	}
	for _, t := range f.Tensors() {
		if !known[t.Name] {
			errs = append(errs, fmt.Errorf("adapter: %s: tensor %q is unexpected", path, t.Name))
		}
	}
	return errors.Join(errs...)
}

// Write writes the adapter and its moments to dir, which appears whole or not at all, and returns their hash.
func (e *Engine) Write(dir string) (hash string, err error) {
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return "", fmt.Errorf("adapter: %w", err)
	}
	tmp, err := atomicfile.TempDir(dir)
	if err != nil {
		return "", fmt.Errorf("adapter: %w", err)
	}
	defer os.RemoveAll(tmp)
	a := e.adapter
	text, err := json.MarshalIndent(peftConfig{
		Base: e.name, Bias: "none", Inference: true, InitWeights: true, Alpha: a.o.Alpha, ModulesToSave: a.o.ModulesToSave,
		Type: "LORA", Rank: a.o.Rank, Targets: a.o.Targets, Task: "CAUSAL_LM", DoRA: a.o.dora(),
	}, "", "  ")
	if err != nil {
		return "", fmt.Errorf("adapter: %w", err)
	}
	err = errors.Join(
		atomicfile.WriteFile(filepath.Join(tmp, configName), append(text, '\n')),
		a.write(filepath.Join(tmp, modelName), map[string][]float32{"": a.params}),
		a.write(filepath.Join(tmp, optimizerName), map[string][]float32{"m.": e.m, "v.": e.v}))
	if err != nil {
		return "", err
	}
	if hash, err = hashFiles(tmp); err != nil {
		return "", err
	}
	return hash, atomicfile.ReplaceDir(tmp, dir)
}

// hashFiles is the SHA-256 of the files of an adapter's folder, in hex.
func hashFiles(dir string) (string, error) {
	h := sha256.New()
	for _, name := range []string{configName, modelName, optimizerName} {
		f, err := os.Open(filepath.Join(dir, name))
		if err != nil {
			return "", fmt.Errorf("adapter: %w", err)
		}
		n, err := io.Copy(h, f)
		f.Close()
		if err != nil {
			return "", fmt.Errorf("adapter: %s: %w", filepath.Join(dir, name), err)
		}
		fmt.Fprintf(h, "\n%s %d\n", name, n)
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// Read takes up the adapter and the moments that Write left in dir, and gives the carrier the weights that follow. hash is
// what Write returned.
func (e *Engine) Read(dir, hash string) error {
	got, err := hashFiles(dir)
	if err != nil {
		return err
	}
	if got != hash {
		return fmt.Errorf("adapter: %s is not what was written with the checkpoint (SHA-256 %.12s…, was %.12s…)", dir, got, hash)
	}
	saved, err := readOptions(dir)
	if err != nil {
		return err
	}
	if !sameAdapter(saved, e.adapter.o) {
		return fmt.Errorf("adapter: %s holds another kind of adapter (%s; this run's is %s)", dir, saved, e.adapter.o)
	}
	if err := e.adapter.read(filepath.Join(dir, modelName), map[string][]float32{"": e.adapter.params}); err != nil {
		return err
	}
	if err := e.adapter.read(filepath.Join(dir, optimizerName), map[string][]float32{"m.": e.m, "v.": e.v}); err != nil {
		return err
	}
	return e.give()
}

func sameAdapter(a, b Options) bool {
	set := func(x []string) []string { return slices.Sorted(slices.Values(x)) }
	return a.Kind == b.Kind && a.Rank == b.Rank && a.Alpha == b.Alpha && slices.Equal(set(a.Targets), set(b.Targets)) && slices.Equal(set(a.ModulesToSave), set(b.ModulesToSave))
}

// String tells the options in one line: "lora, rank 16, alpha 32, on q_proj v_proj".
func (o Options) String() string {
	s := fmt.Sprintf("%s, rank %d, alpha %g, on %s", o.Kind, o.Rank, o.Alpha, strings.Join(o.Targets, " "))
	if len(o.ModulesToSave) > 0 {
		s += ", with " + strings.Join(o.ModulesToSave, " ") + " whole"
	}
	return s
}

// readOptions reads adapter_config.json. What it asks for and is not done here is an error.
func readOptions(dir string) (Options, error) {
	path := filepath.Join(dir, configName)
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		err = fmt.Errorf("%w (an adapter's folder has %s and %s)", err, configName, modelName)
	}
	if err != nil {
		return Options{}, fmt.Errorf("adapter: %w", err)
	}
	c := peftConfig{Bias: "none", Type: "LORA"}
	if err := json.Unmarshal(data, &c); err != nil {
		return Options{}, fmt.Errorf("adapter: %s: %w", path, err)
	}
	o := Options{Kind: "lora", Rank: c.Rank, Alpha: c.Alpha, ModulesToSave: c.ModulesToSave}
	if c.DoRA {
		o.Kind = "dora"
	}
	var errs []error
	refuse := func(when bool, what string) {
		if when {
			errs = append(errs, fmt.Errorf("adapter: %s: %s", path, what))
		}
	}
	refuse(c.Type != "LORA", fmt.Sprintf("peft_type %q is not read (only LORA)", c.Type))
	refuse(c.Bias != "none", fmt.Sprintf("bias %q is not read (only none)", c.Bias))
	refuse(c.FanInFanOut, "fan_in_fan_out is not read")
	refuse(c.RSLoRA, "use_rslora is not read")
	layers, some := c.Layers.([]any)
	refuse(some && len(layers) > 0 || !some && c.Layers != nil, "layers_to_transform is not read: an adapter is on every layer")
	refuse(len(c.Ranks)+len(c.Alphas) > 0, "rank_pattern and alpha_pattern are not read")
	switch names := c.Targets.(type) {
	case []any:
		for _, x := range names {
			name, _ := x.(string)
			o.Targets = append(o.Targets, name[strings.LastIndexByte(name, '.')+1:])
		}
	case string:
		refuse(names != "all-linear", fmt.Sprintf("target_modules %q is a pattern; only names, or all-linear, are read", names))
		o.Targets = slices.Clone(Targets)
	default:
		refuse(true, "no target_modules")
	}
	if len(errs) == 0 {
		if err := o.Validate(); err != nil {
			errs = append(errs, fmt.Errorf("adapter: %s: %w", path, err))
		}
	}
	return o, errors.Join(errs...)
}

// Load reads an adapter of PEFT's format for a decoder of c.
func Load(dir string, c *model.Config) (*Adapter, error) {
	o, err := readOptions(dir)
	if err != nil {
		return nil, err
	}
	l, err := newLayout(c, &o)
	if err != nil {
		return nil, fmt.Errorf("adapter: %s: %w", filepath.Join(dir, configName), err)
	}
	a := &Adapter{l, make([]float32, l.size)}
	return a, a.read(filepath.Join(dir, modelName), map[string][]float32{"": a.params})
}
