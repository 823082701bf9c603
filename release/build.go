package release

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"ravn/internal/atomicfile"
	"ravn/rights"
	"ravn/weights"
)

// published are the files of a checkpoint that go into a release, beside the weights. Optimizer and state stay behind.
var published = []string{
	"config.json", "generation_config.json", "model.safetensors.index.json",
	"tokenizer.model", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json",
	"LICENSE", "LICENSE.txt", "NOTICE", "NOTICE.txt",
}

// Build asks the gate and writes the release folder. When the gate refuses, the error is a *Refused.
func Build(ctx context.Context, o Options) (*Folder, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	decision := rights.Gate(o.Uses, o.Policy)
	if !decision.Allowed {
		return nil, &Refused{Decision: decision}
	}
	names, err := checkpointFiles(o.Checkpoint)
	if err != nil {
		return nil, err
	}
	tmp, err := atomicfile.TempDir(o.Out)
	if err != nil {
		return nil, fmt.Errorf("release: %w", err)
	}
	defer os.RemoveAll(tmp)
	for _, name := range names {
		to := name
		if strings.HasPrefix(name, "LICENSE") { // of the base; the release has one of its own
			to = "BASE-" + name
		}
		if err := place(ctx, filepath.Join(o.Checkpoint, name), filepath.Join(tmp, to)); err != nil {
			return nil, fmt.Errorf("release: %w", err)
		}
	}
	out := &Folder{Dir: o.Out, License: decision.License, Decision: decision, Limitations: limitations(&o, &decision)}
	if err := writeGGUF(ctx, tmp, &o, out.License); err != nil {
		return nil, fmt.Errorf("release: %w", err)
	}
	if err := writeTexts(tmp, &o, out); err != nil {
		return nil, fmt.Errorf("release: %w", err)
	}
	if err := consistent(tmp); err != nil {
		return nil, err
	}
	if secrets, err := scan(tmp); err != nil {
		return nil, fmt.Errorf("release: %w", err)
	} else if len(secrets) > 0 {
		return nil, &Refused{Decision: decision, Secrets: secrets}
	}
	if out.Files, err = writeSums(ctx, tmp); err != nil {
		return nil, fmt.Errorf("release: %w", err)
	}
	return out, atomicfile.ReplaceDir(tmp, o.Out)
}

// writeGGUF writes the model once more for programs that read one file.
func writeGGUF(ctx context.Context, dir string, o *Options, license string) error {
	for _, d := range o.GGUF {
		about := weights.About{Name: o.Name, Description: o.Note, License: strings.ToLower(license), Languages: o.Languages}
		if !o.Base.Here {
			about.Base = o.Base.Name
		}
		if _, err := weights.Convert(ctx, filepath.Join(dir, o.ggufName(d)), o.Checkpoint, weights.ConvertOptions{DType: d, About: about}); err != nil {
			return err
		}
	}
	return nil
}

// checkpointFiles lists what is published of a checkpoint, and checks that it is a whole model.
func checkpointFiles(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("release: checkpoint: %w", err)
	}
	var names []string
	has := map[string]bool{}
	numWeights := 0
	for _, e := range entries {
		name := e.Name()
		shard := strings.HasPrefix(name, "model") && strings.HasSuffix(name, ".safetensors")
		if !e.Type().IsRegular() || !shard && !slices.Contains(published, name) {
			continue
		}
		if shard {
			numWeights++
		}
		has[name] = true
		names = append(names, name)
	}
	var errs []error
	if !has["config.json"] {
		errs = append(errs, fmt.Errorf("release: %s has no config.json", dir))
	}
	if numWeights == 0 {
		errs = append(errs, fmt.Errorf("release: %s has no model*.safetensors", dir))
	}
	if !has["tokenizer.model"] && !has["tokenizer.json"] {
		errs = append(errs, fmt.Errorf("release: %s has no tokenizer.model or tokenizer.json", dir))
	}
	if has["model.safetensors.index.json"] {
		errs = append(errs, checkIndex(dir, has))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, fmt.Errorf("%w\n\t(a checkpoint folder of a run is wanted)", err)
	}
	return names, nil
}

// maxIndexBytes bounds the index of a sharded model: a 7B model's has 30 kB.
const maxIndexBytes = 64 << 20

func checkIndex(dir string, has map[string]bool) error {
	path := filepath.Join(dir, "model.safetensors.index.json")
	if info, err := os.Stat(path); err != nil || info.Size() > maxIndexBytes {
		return fmt.Errorf("release: %s: unreadable or too large (%w)", path, err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("release: %w", err)
	}
	var index struct {
		WeightMap map[string]string `json:"weight_map"`
	}
	if err := json.Unmarshal(data, &index); err != nil {
		return fmt.Errorf("release: %s: %w", path, err)
	}
	var missing []string
	for _, file := range index.WeightMap {
		if !has[file] && !slices.Contains(missing, file) {
			missing = append(missing, file)
		}
	}
	if len(missing) > 0 {
		slices.Sort(missing)
		return fmt.Errorf("release: %s names files that are not there: %s", path, strings.Join(missing, ", "))
	}
	return nil
}

// place links weights, which nobody edits by hand, and copies everything else.
func place(ctx context.Context, from, to string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if strings.HasSuffix(from, ".safetensors") && os.Link(from, to) == nil {
		return nil
	}
	src, err := os.Open(from)
	if err != nil {
		return err
	}
	defer src.Close()
	dst, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	_, err = io.Copy(dst, src)
	return errors.Join(err, dst.Close())
}

// writeTexts writes what the release says about itself.
func writeTexts(dir string, o *Options, out *Folder) error {
	card, err := card(o, out)
	if err != nil {
		return err
	}
	data, err := dataSheet(o, out)
	if err != nil {
		return err
	}
	files := maps.Clone(o.Files)
	if files == nil {
		files = map[string][]byte{}
	}
	files["README.md"], files["DATA.json"], files["ATTRIBUTION.md"] = card, data, attribution(o, &out.Decision)
	files["LICENSE"], files["DATA.md"] = licenseText(o, out), dataTable(o, &out.Decision)
	summary := newTrainingContent(o, out)
	out.Open = summary.Open
	files["TRAINING-CONTENT.md"] = summary.markdown()
	for name, write := range map[string]func() ([]byte, error){
		"spdx.json": func() ([]byte, error) { return spdx(o, out) }, "croissant.json": func() ([]byte, error) { return croissant(o, out) },
		"TRAINING-CONTENT.json": func() ([]byte, error) { return writeJSON(summary) },
	} {
		if files[name], err = write(); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		path := filepath.Join(dir, name)
		if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
		if err := os.WriteFile(path, files[name], 0o644); err != nil {
			return err
		}
	}
	results, err := evalResults(o)
	if err != nil || results == nil {
		return err
	}
	if err := os.Mkdir(filepath.Join(dir, ".eval_results"), 0o755); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, ".eval_results", "ravn.yaml"), results, 0o644)
}

// dataSheet is DATA.json: what the release was made from and how that was judged, for programs.
func dataSheet(o *Options, out *Folder) ([]byte, error) {
	sheet := struct {
		Name          string          `json:"name"`
		Small         bool            `json:"small,omitempty"`
		Policy        rights.Policy   `json:"policy"`
		Decision      rights.Decision `json:"decision"`
		ByLicense     []licenseRow    `json:"by_license"`
		Base          Base            `json:"base"`
		Training      Training        `json:"training"`
		Results       []Result        `json:"results"`
		Contamination []Contamination `json:"contamination"`
		Limitations   []string        `json:"limitations"`
		Version       string          `json:"ravn_version,omitempty"`
		Sources       []Source        `json:"sources,omitempty"`
	}{o.Name, o.Small, o.Policy, out.Decision, byLicense(&out.Decision), o.Base, o.Training, o.Results, o.Contamination, out.Limitations, o.Version, o.Sources}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	err := enc.Encode(sheet)
	return b.Bytes(), err
}

func attribution(o *Options, d *rights.Decision) []byte {
	var b strings.Builder
	fmt.Fprintf(&b, "# Attribution\n\n%s was made from the work of others.\n", o.Name)
	if len(d.Attribution) == 0 {
		b.WriteString("\nNone of the sources asks to be named.\n")
	} else {
		b.WriteString("\nTo be named, with their licences:\n\n")
		for _, line := range d.Attribution {
			b.WriteString("- " + line + "\n")
		}
	}
	b.WriteString("\nAll sources:\n\n")
	seen := map[string]bool{}
	for _, f := range d.Findings {
		line := fmt.Sprintf("- %s: %s (%s)", f.Section, f.License, f.Class)
		for _, duty := range f.Duties {
			line += "; " + duty
		}
		if !seen[line] {
			b.WriteString(line + "\n")
		}
		seen[line] = true
	}
	return []byte(b.String())
}
