package workflow

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"ravn/adapter"
	"ravn/run"
	"ravn/tokenizer"
	"ravn/weights"
)

// MergeAdapter puts the adapter in a folder of PEFT's format into the base it was made for, and writes the result as a
// Hugging Face folder with merge.json beside it.
func MergeAdapter(base, dir, out string) error {
	if exists(out) {
		return fmt.Errorf("workflow: %s is there already (choose another --out)", out)
	}
	w, err := weights.Load(base)
	if err != nil {
		return err
	}
	a, err := adapter.Load(dir, w.Config)
	if err != nil {
		return err
	}
	record := struct {
		Method  string            `json:"method"`
		Adapter adapter.Options   `json:"adapter"`
		Inputs  map[string]string `json:"inputs"` // the base's folder to the hash of its weights, the adapter's to that of its files
		Version string            `json:"version"`
	}{a.Options().Kind, a.Options(), map[string]string{filepath.Base(base): w.Hash()}, run.Version()}
	if record.Inputs["adapter"], err = run.HashTree(dir); err != nil {
		return err
	}
	if err := a.Merge(w); err != nil {
		return err
	}
	files := map[string][]byte{}
	if tok, err := tokenizer.Load(base); err == nil {
		files = tok.Files()
	} else if !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return writeFolder(out, w, files, record)
}
