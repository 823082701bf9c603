// Package atomicfile writes files and folders that appear whole or not at all.
//
// Everything is written beside its final name under a temporary one that starts with a dot, synced, renamed, and the
// folder synced. What a killed program leaves behind is never taken for finished.
package atomicfile

import (
	"fmt"
	"os"
	"path/filepath"
)

// File is a file being written under a temporary name.
type File struct {
	f     *os.File
	final string
	done  bool
}

// Create starts a file that will be called path when Commit succeeds. The folder is made when it is missing.
func Create(path string) (*File, error) {
	dir, base := filepath.Split(path)
	if dir == "" {
		dir = "."
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("atomicfile: %w", err)
	}
	f, err := os.CreateTemp(dir, "."+base+".tmp*")
	if err != nil {
		return nil, fmt.Errorf("atomicfile: %w", err)
	}
	return &File{f: f, final: path}, nil
}

// Write writes to the temporary file.
func (f *File) Write(p []byte) (int, error) { return f.f.Write(p) }

// WriteAt writes at a place in the temporary file.
func (f *File) WriteAt(p []byte, off int64) (int, error) { return f.f.WriteAt(p, off) }

// Commit syncs the file and gives it its name.
func (f *File) Commit() error {
	if f.done {
		return nil
	}
	f.done = true
	err := f.f.Chmod(0o644)
	if e := f.f.Sync(); err == nil {
		err = e
	}
	if e := f.f.Close(); err == nil {
		err = e
	}
	if err == nil {
		err = os.Rename(f.f.Name(), f.final)
	}
	if err != nil {
		os.Remove(f.f.Name())
		return fmt.Errorf("atomicfile: %s: %w", f.final, err)
	}
	return SyncDir(filepath.Dir(f.final))
}

// Abort throws the temporary file away. After Commit it does nothing, so it can be deferred.
func (f *File) Abort() error {
	if f.done {
		return nil
	}
	f.done = true
	f.f.Close()
	return os.Remove(f.f.Name())
}

// WriteFile writes data to path, whole or not at all.
func WriteFile(path string, data []byte) error {
	f, err := Create(path)
	if err != nil {
		return err
	}
	defer f.Abort()
	if _, err := f.Write(data); err != nil {
		return fmt.Errorf("atomicfile: %s: %w", path, err)
	}
	return f.Commit()
}

// TempDir makes an empty folder beside final, to be filled and handed to ReplaceDir.
func TempDir(final string) (string, error) {
	dir, base := filepath.Split(filepath.Clean(final))
	if dir == "" {
		dir = "."
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", fmt.Errorf("atomicfile: %w", err)
	}
	tmp, err := os.MkdirTemp(dir, "."+base+".tmp")
	if err != nil {
		return "", fmt.Errorf("atomicfile: %w", err)
	}
	return tmp, os.Chmod(tmp, 0o755)
}

// ReplaceDir syncs the files in tmp and gives the folder its final name. A folder of that name is moved aside first
// and removed after: a crash between the two leaves either the old or the new one, or only the old under a dotted name.
func ReplaceDir(tmp, final string) error {
	err := filepath.WalkDir(tmp, func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return syncPath(path)
	})
	if err != nil {
		return fmt.Errorf("atomicfile: %s: %w", final, err)
	}
	old := ""
	if _, err := os.Lstat(final); err == nil {
		old, err = os.MkdirTemp(filepath.Dir(final), "."+filepath.Base(final)+".old")
		if err != nil {
			return fmt.Errorf("atomicfile: %w", err)
		}
		if err := os.Rename(final, filepath.Join(old, "was")); err != nil {
			return fmt.Errorf("atomicfile: %w", err)
		}
	}
	if err := os.Rename(tmp, final); err != nil {
		if old != "" {
			os.Rename(filepath.Join(old, "was"), final)
		}
		return fmt.Errorf("atomicfile: %w", err)
	}
	if old != "" {
		os.RemoveAll(old)
	}
	return SyncDir(filepath.Dir(final))
}

// SyncDir makes the names in a folder durable.
func SyncDir(dir string) error {
	if err := syncPath(dir); err != nil {
		return fmt.Errorf("atomicfile: %w", err)
	}
	return nil
}

func syncPath(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Sync()
}
