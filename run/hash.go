package run

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"
)

// HashFile is the SHA-256 of a file's contents, in hex.
func HashFile(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", fmt.Errorf("run: hash: %w", err)
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.CopyBuffer(h, struct{ io.Reader }{f}, make([]byte, 1<<20)); err != nil {
		return "", fmt.Errorf("run: hash: %w", err)
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// HashTree is the SHA-256, in hex, of a list of a folder's files: a line `HASH  PATH` each, sorted by path. That is
//
//	(cd DIR && find -L * -type f -not -path '*/.*' | LC_ALL=C sort | xargs -d '\n' sha256sum) | sha256sum
//
// Names that start with a dot are left out (temporary files have such names), as are empty folders. Links to files
// count as the files; links to folders are refused.
func HashTree(dir string) (string, error) {
	files, err := listTree(dir)
	if err != nil {
		return "", err
	}
	hashes := make([]string, len(files))
	var g errgroup.Group
	g.SetLimit(runtime.GOMAXPROCS(0))
	for i, f := range files {
		g.Go(func() (err error) {
			hashes[i], err = HashFile(filepath.Join(dir, filepath.FromSlash(f.path)))
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return "", err
	}
	h := sha256.New()
	for i, f := range files {
		fmt.Fprintf(h, "%s  %s\n", hashes[i], f.path)
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

type treeFile struct {
	path string // with slashes, within the folder
	info fs.FileInfo
}

// listTree lists the files that HashTree covers, sorted by path.
func listTree(dir string) ([]treeFile, error) {
	root, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return nil, fmt.Errorf("run: hash: %w", err)
	}
	var files []treeFile
	err = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case path == root:
			if !d.IsDir() {
				return fmt.Errorf("%s is not a folder", dir)
			}
			return nil
		case d.Name()[0] == '.':
			if d.IsDir() {
				return filepath.SkipDir
			}
			return nil
		case d.IsDir():
			return nil
		}
		info, err := os.Stat(path)
		if err != nil {
			return err
		}
		if !info.Mode().IsRegular() {
			return fmt.Errorf("%s is not a regular file", path)
		}
		rel, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		if strings.ContainsAny(rel, "\n\r\\") && filepath.Separator == '/' {
			return fmt.Errorf("%q has a line break or backslash in its name", path)
		}
		files = append(files, treeFile{filepath.ToSlash(rel), info})
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("run: hash: %w", err)
	}
	slices.SortFunc(files, func(a, b treeFile) int { return strings.Compare(a.path, b.path) })
	return files, nil
}

func hashPath(path string) (string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return "", err
	}
	if info.IsDir() {
		return HashTree(path)
	}
	return HashFile(path)
}

// stampOf is a short text that changes when a file, or a file in a folder, gets another size or modification time.
func stampOf(path string) (string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return "", err
	}
	if !info.IsDir() {
		return fmt.Sprintf("%d@%d", info.Size(), info.ModTime().UnixNano()), nil
	}
	files, err := listTree(path)
	if err != nil {
		return "", err
	}
	h := sha256.New()
	for _, f := range files {
		fmt.Fprintf(h, "%d@%d %s\n", f.info.Size(), f.info.ModTime().UnixNano(), f.path)
	}
	return fmt.Sprintf("%d:%x", len(files), h.Sum(nil)[:8]), nil
}
