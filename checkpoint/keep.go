package checkpoint

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// List returns the folders of finished checkpoints in root, oldest step first. Folders under temporary names and those
// without a state.json are left out; a root that is not there has none.
func List(root string) ([]string, error) {
	entries, err := os.ReadDir(root)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("checkpoint: %w", err)
	}
	type found struct {
		step int
		dir  string
	}
	var fs []found
	for _, e := range entries {
		step, ok := stepOf(e.Name())
		dir := filepath.Join(root, e.Name())
		if !ok || !e.IsDir() {
			continue
		}
		if _, err := os.Stat(filepath.Join(dir, stateName)); err != nil {
			continue
		}
		fs = append(fs, found{step, dir})
	}
	slices.SortFunc(fs, func(a, b found) int { return a.step - b.step })
	dirs := make([]string, len(fs))
	for i, f := range fs {
		dirs[i] = f.dir
	}
	return dirs, nil
}

// stepOf reads the step in a folder name.
func stepOf(name string) (int, bool) {
	digits, ok := strings.CutPrefix(name, "step-")
	if !ok {
		return 0, false
	}
	step, err := strconv.Atoi(digits)
	return step, err == nil && step >= 0 && Name(step) == name
}

// Latest finds the newest finished checkpoint in root; the error is os.ErrNotExist when there is none. Its files are
// not hashed, that is for Load.
func Latest(root string) (dir string, meta Meta, err error) {
	dirs, err := List(root)
	if err != nil {
		return "", Meta{}, err
	}
	if len(dirs) == 0 {
		return "", Meta{}, fmt.Errorf("checkpoint: %s: no checkpoint: %w", root, os.ErrNotExist)
	}
	dir = dirs[len(dirs)-1]
	st, err := readState(dir)
	if err != nil {
		return "", Meta{}, err
	}
	if want := filepath.Base(dir); Name(st.Meta.Step) != want {
		return "", Meta{}, fmt.Errorf("checkpoint: %s: %s says step %d", dir, stateName, st.Meta.Step)
	}
	return dir, st.Meta, nil
}

// Prune removes all but the newest keep checkpoints of root, and what interrupted saves left under temporary names.
// Those named in protect, by folder or by path, stay. No checkpoint may be written to root meanwhile.
func Prune(root string, keep int, protect ...string) error {
	if keep < 1 {
		return fmt.Errorf("checkpoint: %s: cannot keep %d checkpoints (keep at least the newest)", root, keep)
	}
	dirs, err := List(root)
	if err != nil {
		return err
	}
	var errs []error
	for _, dir := range dirs[:max(0, len(dirs)-keep)] {
		if !slices.ContainsFunc(protect, func(p string) bool { return filepath.Base(p) == filepath.Base(dir) }) {
			errs = append(errs, remove(dir))
		}
	}
	entries, err := os.ReadDir(root)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		errs = append(errs, fmt.Errorf("checkpoint: %w", err))
	}
	for _, e := range entries {
		name := e.Name()
		if strings.HasPrefix(name, ".step-") && (strings.Contains(name, ".tmp") || strings.Contains(name, ".old")) {
			errs = append(errs, os.RemoveAll(filepath.Join(root, name)))
		}
	}
	return errors.Join(errs...)
}

// RemoveAfter removes the checkpoints of root that stand behind a step.
func RemoveAfter(root string, step int) error {
	dirs, err := List(root)
	for _, dir := range dirs {
		if at, _ := stepOf(filepath.Base(dir)); at > step {
			err = errors.Join(err, remove(dir))
		}
	}
	return err
}

// remove takes the name from a checkpoint before its files, so that half of one is never found.
func remove(dir string) error {
	gone := filepath.Join(filepath.Dir(dir), "."+filepath.Base(dir)+".old")
	if err := os.RemoveAll(gone); err != nil {
		return fmt.Errorf("checkpoint: %w", err)
	}
	if err := os.Rename(dir, gone); err != nil {
		return fmt.Errorf("checkpoint: %w", err)
	}
	if err := os.RemoveAll(gone); err != nil {
		return fmt.Errorf("checkpoint: %w", err)
	}
	return nil
}

func digestFile(path string) (digest, error) {
	f, err := os.Open(path)
	if err != nil {
		return digest{}, fmt.Errorf("checkpoint: %w", err)
	}
	defer f.Close()
	h := sha256.New()
	n, err := io.CopyBuffer(h, f, make([]byte, 1<<20))
	if err != nil {
		return digest{}, fmt.Errorf("checkpoint: %w", err)
	}
	return digest{n, hex.EncodeToString(h.Sum(nil))}, nil
}
