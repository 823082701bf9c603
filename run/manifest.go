package run

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"time"

	"ravn/internal/atomicfile"
)

const (
	manifestName   = "manifest.json"
	manifestFormat = 1
)

// Manifest is the contents of manifest.json.
type Manifest struct {
	Format  int           `json:"format"` // 1
	Name    string        `json:"name"`
	Version string        `json:"version"` // of ravn, when the folder was made
	Created time.Time     `json:"created"`
	Machine Machine       `json:"machine"`
	Seed    uint64        `json:"seed"`
	Recipe  string        `json:"recipe,omitempty"` // file that was asked for, relative to the run folder; paths in a recipe are relative to it
	Stages  []StageRecord `json:"stages"`           // in the order of their first run
}

// StageRecord is one stage as it last ran.
type StageRecord struct {
	Name    string            `json:"name"`
	Inputs  map[string]string `json:"inputs"`            // what was asked and from what: names to hashes
	Outputs map[string]string `json:"outputs,omitempty"` // paths within the folder to HashFile or HashTree
	Stamps  map[string]string `json:"stamps,omitempty"`  // the same paths to sizes and times, to see a change without reading all
	Started time.Time         `json:"started"`
	Ended   time.Time         `json:"ended,omitzero"` // zero: it is running, or was broken off
	Seconds float64           `json:"seconds,omitempty"`
	Skipped int               `json:"skipped,omitempty"` // how often it was skipped since
	Version string            `json:"version,omitempty"` // of ravn, where it is not the manifest's
	Machine *Machine          `json:"machine,omitempty"` // where it is not the manifest's
}

// Done tells whether the stage came to its end.
func (r *StageRecord) Done() bool { return !r.Ended.IsZero() }

// Stage returns the record of that name, or nil.
func (m *Manifest) Stage(name string) *StageRecord {
	for i := range m.Stages {
		if m.Stages[i].Name == name {
			return &m.Stages[i]
		}
	}
	return nil
}

// ReadManifest reads a manifest.json.
func ReadManifest(path string) (*Manifest, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("run: %w", err)
	}
	var m Manifest
	if err := json.Unmarshal(data, &m); err != nil {
		return nil, fmt.Errorf("run: %s:%d: %w\n\t(the file is written whole or not at all, so something else has changed it; restore it, or start a new folder)", path, jsonLine(data, err), err)
	}
	if m.Format != manifestFormat {
		return nil, fmt.Errorf("run: %s: manifest format %d, this ravn knows %d\n\t(use the ravn that wrote it: %q)", path, m.Format, manifestFormat, m.Version)
	}
	seen := map[string]bool{}
	for _, s := range m.Stages {
		if s.Name == "" || seen[s.Name] {
			return nil, fmt.Errorf("run: %s: stage %q has no name or stands there twice", path, s.Name)
		}
		seen[s.Name] = true
	}
	return &m, nil
}

// jsonLine is the line that a JSON error speaks of.
func jsonLine(data []byte, err error) int {
	at := len(data)
	var syntax *json.SyntaxError
	var mistyped *json.UnmarshalTypeError
	switch {
	case errors.As(err, &syntax):
		at = int(syntax.Offset)
	case errors.As(err, &mistyped):
		at = int(mistyped.Offset)
	}
	return 1 + bytes.Count(data[:min(at, len(data))], []byte("\n"))
}

// Manifest returns a copy of what manifest.json holds.
func (f *Folder) Manifest() *Manifest {
	f.mu.Lock()
	defer f.mu.Unlock()
	data, err := json.Marshal(f.manifest)
	var m Manifest
	if err == nil {
		err = json.Unmarshal(data, &m)
	}
	if err != nil {
		panic("run: manifest does not survive a copy: " + err.Error()) // only maps, strings, numbers, times
	}
	return &m
}

// Describe sets the name and the seed of the run, and the file that its recipe was read from.
func (f *Folder) Describe(name string, seed uint64, recipe string) error {
	if recipe != "" {
		if rel, err := filepath.Rel(absolute(f.Dir), absolute(recipe)); err == nil {
			recipe = filepath.ToSlash(rel)
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.manifest.Name == name && f.manifest.Seed == seed && f.manifest.Recipe == recipe {
		return nil
	}
	f.manifest.Name, f.manifest.Seed, f.manifest.Recipe = name, seed, recipe
	return f.save()
}

// AskedRecipe is the recipe file that the run was asked to follow, or the folder's own copy where that is not there.
func (f *Folder) AskedRecipe() string {
	f.mu.Lock()
	asked := f.manifest.Recipe
	f.mu.Unlock()
	path := filepath.FromSlash(asked)
	if asked == "" {
		return f.RecipeFile()
	}
	if !filepath.IsAbs(path) {
		path = f.Path(path)
	}
	if _, err := os.Stat(path); err != nil {
		return f.RecipeFile()
	}
	return path
}

func (f *Folder) save() error {
	if f.lock == nil {
		return fmt.Errorf("run: %s is open for reading", f.Dir)
	}
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(&f.manifest); err != nil {
		return fmt.Errorf("run: manifest: %w", err)
	}
	if err := atomicfile.WriteFile(f.ManifestFile(), buf.Bytes()); err != nil {
		return fmt.Errorf("run: %w", err)
	}
	return nil
}

// Version names the ravn that is running: a module version, or "devel+" with the commit it was built from.
func Version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	return versionOf(info)
}

func versionOf(info *debug.BuildInfo) string {
	settings := map[string]string{}
	for _, s := range info.Settings {
		settings[s.Key] = s.Value
	}
	v := info.Main.Version
	if v == "" || v == "(devel)" {
		v = "devel"
		if commit := settings["vcs.revision"]; commit != "" {
			v += "+" + commit[:min(12, len(commit))]
			if settings["vcs.modified"] == "true" {
				v += ".dirty"
			}
		}
	}
	return v
}
