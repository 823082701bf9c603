package workflow

import (
	_ "embed"
	"fmt"
	"path/filepath"

	"ravn/internal/atomicfile"
	"ravn/internal/builtin"
	"ravn/recipe"
	"ravn/run"
)

//go:embed quickstart.yaml
var quickstartRecipe []byte

// Quickstart lays the built-in texts and their recipe into dir/material and opens a flow on them in dir.
func Quickstart(dir string, o Options) (*Flow, error) {
	folder, err := run.Create(dir) // makes the folder a run folder before anything is put into it
	if err != nil {
		return nil, err
	}
	if err := folder.Close(); err != nil {
		return nil, err
	}
	material := filepath.Join(dir, "material")
	if err := builtin.Extract(material); err != nil {
		return nil, err
	}
	path := filepath.Join(material, "quickstart.yaml")
	if err := atomicfile.WriteFile(path, quickstartRecipe); err != nil {
		return nil, err
	}
	r, err := recipe.Load(path)
	if err != nil {
		return nil, fmt.Errorf("workflow: the built-in recipe: %w", err)
	}
	return Open(r, dir, o)
}
