// Package run keeps the run folder: which stages were done, from what, with what result, on which machine, and what
// was measured on the way.
//
// A stage names the hashes of its inputs when it begins and its outputs when it ends. It is skipped the next time when
// the inputs are the same and the outputs still are what they were. Measurements go to events.jsonl, which repeats byte
// for byte when a run is repeated or resumed; rates and seconds go to timings.jsonl, which makes no such promise.
package run

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// Folder is a run folder, open for writing (Create) or for reading (Open).
type Folder struct {
	Dir   string
	Notes []string // what a person should know about how the folder was opened

	mu       sync.Mutex
	manifest Manifest
	lock     *lock // nil when open for reading
}

// Create opens dir for writing, making it when it is missing, and locks it against other processes until Close.
// A folder of an earlier run is gone on with. A folder that holds other things is refused.
func Create(dir string) (*Folder, error) {
	if err := checkOurs(dir); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("run: %w", err)
	}
	f := &Folder{Dir: dir}
	l, note, err := acquire(filepath.Join(dir, lockName))
	if err != nil {
		return nil, err
	}
	f.lock = l
	if note != "" {
		f.Notes = append(f.Notes, note)
	}
	m, err := ReadManifest(f.ManifestFile())
	switch {
	case err == nil:
		f.manifest = *m
	case errors.Is(err, fs.ErrNotExist):
		f.manifest = Manifest{
			Format: manifestFormat, Name: filepath.Base(absolute(dir)), Version: Version(),
			Created: time.Now().UTC().Truncate(time.Second), Machine: ThisMachine(),
		}
		err = f.save()
		if err != nil {
			l.release()
			return nil, err
		}
	default:
		l.release()
		return nil, err
	}
	return f, nil
}

// Open opens a run folder for reading. It takes no lock: a run may go on meanwhile.
func Open(dir string) (*Folder, error) {
	f := &Folder{Dir: dir}
	m, err := ReadManifest(f.ManifestFile())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("run: %s is not a run folder: %w\n\t(a run folder holds manifest.json; was the path meant to be one of its parents or children?)", dir, err)
	}
	if err != nil {
		return nil, err
	}
	f.manifest = *m
	return f, nil
}

// Close gives the lock back.
func (f *Folder) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	l := f.lock
	f.lock = nil
	return l.release()
}

// checkOurs refuses a folder with things in it that no run has put there.
func checkOurs(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("run: %w", err)
	}
	stranger := ""
	for _, e := range entries {
		switch {
		case e.Name() == manifestName:
			return nil
		case e.Name()[0] != '.' && stranger == "":
			stranger = e.Name()
		}
	}
	if stranger != "" {
		return fmt.Errorf("run: %s holds %q and no manifest.json, so it is not a run folder\n\t(name a new folder, or an empty one)", dir, stranger)
	}
	return nil
}

func absolute(dir string) string {
	if abs, err := filepath.Abs(dir); err == nil {
		return abs
	}
	return dir
}

// Path joins names to the folder.
func (f *Folder) Path(names ...string) string {
	return filepath.Join(append([]string{f.Dir}, names...)...)
}

// The places in a run folder.
func (f *Folder) ManifestFile() string   { return f.Path(manifestName) }
func (f *Folder) RecipeFile() string     { return f.Path("recipe.yaml") }
func (f *Folder) CorpusDir() string      { return f.Path("corpus") }
func (f *Folder) TokenizerDir() string   { return f.Path("tokenizer") }
func (f *Folder) ShardsDir() string      { return f.Path("shards") }
func (f *Folder) CheckpointsDir() string { return f.Path("checkpoints") }
func (f *Folder) EventsFile() string     { return f.Path("events.jsonl") }
func (f *Folder) TimingsFile() string    { return f.Path("timings.jsonl") }
func (f *Folder) TensorBoardDir() string { return f.Path("tb") }
func (f *Folder) RecordsFile() string    { return f.Path("records.jsonl") }
func (f *Folder) ReportDir() string      { return f.Path("report") }
func (f *Folder) ReleaseDir() string     { return f.Path("release") }
