// Package builtin holds the text that `ravn quickstart` works on: a small corpus, held-out text and small benchmarks.
//
// Everything in it was written for ravn. SOURCE.md, beside this file, lists the sections, their licence fields and the
// planted cases (a duplicate, an empty document, a short one, a contaminated one).
package builtin

import (
	"embed"
	"fmt"
	"io/fs"
	"path"
	"path/filepath"

	"ravn/internal/atomicfile"
)

//go:embed SOURCE.md corpus heldout eval
var files embed.FS

// FS returns the material as a file system:
//
//	corpus/LANGUAGE/SECTION.jsonl   documents: id, text, source, license, language, title
//	heldout/LANGUAGE.jsonl          documents of da, en, nb and sv that no section holds
//	eval/NAME/{train,test}.jsonl    benchmark rows, and SOURCE.md
func FS() fs.FS { return files }

// Extract writes the material into dir, file by file, over files of the same names.
func Extract(dir string) error {
	err := fs.WalkDir(files, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := files.ReadFile(name)
		if err != nil {
			return err
		}
		return atomicfile.WriteFile(filepath.Join(dir, filepath.FromSlash(path.Clean(name))), data)
	})
	if err != nil {
		return fmt.Errorf("builtin: %s: %w", dir, err)
	}
	return nil
}
