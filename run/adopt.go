package run

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strings"
)

// Adopt takes finished stages over from another run folder, as far as this one has not begun them: their records and
// outputs, large files as hard links where the file system has them. Whether they fit is found out as always, when the
// stage compares its inputs. It stops at the first stage that the other folder has not finished.
func (f *Folder) Adopt(from *Folder, stages ...string) error {
	theirs := from.Manifest()
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, name := range stages {
		rec := theirs.Stage(name)
		if rec == nil || !rec.Done() || f.manifest.Stage(name) != nil {
			break
		}
		for path := range rec.Outputs {
			local := filepath.FromSlash(path)
			if !filepath.IsLocal(local) {
				return fmt.Errorf("run: %s: stage %q has an output outside the folder: %s", from.ManifestFile(), name, path)
			}
			if err := adoptPath(from.Path(local), f.Path(local)); err != nil {
				return fmt.Errorf("run: adopt %s: %w", path, err)
			}
		}
		mine := *rec
		mine.Inputs, mine.Outputs, mine.Stamps = maps.Clone(rec.Inputs), maps.Clone(rec.Outputs), nil
		f.manifest.Stages = append(f.manifest.Stages, mine)
	}
	return f.save()
}

func adoptPath(from, to string) error {
	return filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		target := filepath.Join(to, rel)
		if d.IsDir() {
			return os.MkdirAll(target, 0o755)
		}
		if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
			return err
		}
		// Events are cut and written on in place, so they have to be a copy; all else is replaced whole.
		if !strings.HasSuffix(path, ".jsonl") {
			if err := os.Link(path, target); err == nil || errors.Is(err, fs.ErrExist) {
				return nil
			}
		}
		return copyFile(path, target)
	})
}

func copyFile(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.Create(to)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}
