package run

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"time"
)

// StageRun is a stage that was begun.
type StageRun struct {
	Reason      string // why it must run, or that it need not
	Interrupted bool   // the same stage with the same inputs was begun before and broken off: what it left may be gone on with

	folder  *Folder
	name    string
	started time.Time
	done    bool
}

// Stage begins a stage, unless it was done from the same inputs and its outputs are still there and the same: then
// fresh is false and there is nothing to do. Inputs are names to hashes or to options written out, everything that the
// outputs depend on.
func (f *Folder) Stage(name string, inputs map[string]string) (s *StageRun, fresh bool, err error) {
	if name == "" {
		return nil, false, errors.New("run: a stage needs a name")
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.lock == nil {
		return nil, false, fmt.Errorf("run: stage %q: %s is open for reading", name, f.Dir)
	}
	s = &StageRun{folder: f, name: name, started: time.Now()}
	r := f.manifest.Stage(name)
	if r == nil {
		f.manifest.Stages = append(f.manifest.Stages, StageRecord{Name: name})
		r = &f.manifest.Stages[len(f.manifest.Stages)-1]
		s.Reason = "it has not run"
	} else {
		s.Reason, err = f.stale(r, inputs)
		if err != nil {
			return nil, false, fmt.Errorf("run: stage %q: %w", name, err)
		}
		s.Interrupted = !r.Done() && maps.Equal(r.Inputs, inputs)
		if s.Reason == "" {
			s.Reason, s.done = "nothing has changed", true
			r.Skipped++
			return s, false, f.save()
		}
	}
	*r = StageRecord{Name: name, Inputs: maps.Clone(inputs), Started: s.started.UTC().Truncate(time.Second)}
	if v := Version(); v != f.manifest.Version {
		r.Version = v
	}
	if m := ThisMachine(); m != f.manifest.Machine {
		r.Machine = &m
	}
	return s, true, f.save()
}

// stale says why a recorded stage must run again, or nothing. Stamps that differ are brought up to date when the
// contents turn out to be the same.
func (f *Folder) stale(r *StageRecord, inputs map[string]string) (string, error) {
	if why := difference(r.Inputs, inputs); why != "" {
		return why, nil
	}
	if !r.Done() {
		return "it was broken off", nil
	}
	for _, path := range slices.Sorted(maps.Keys(r.Outputs)) {
		full := f.Path(filepath.FromSlash(path))
		stamp, err := stampOf(full)
		if errors.Is(err, fs.ErrNotExist) {
			return fmt.Sprintf("its output %s is missing", path), nil
		}
		if err != nil {
			return "", err
		}
		if stamp == r.Stamps[path] {
			continue
		}
		hash, err := hashPath(full)
		if err != nil {
			return "", err
		}
		if hash != r.Outputs[path] {
			return fmt.Sprintf("its output %s has changed", path), nil
		}
		if r.Stamps == nil {
			r.Stamps = map[string]string{}
		}
		r.Stamps[path] = stamp
	}
	return "", nil
}

// difference names the first input that is not as it was.
func difference(was, is map[string]string) string {
	for _, name := range slices.Sorted(maps.Keys(is)) {
		switch old, ok := was[name]; {
		case !ok:
			return fmt.Sprintf("input %s is new", name)
		case old != is[name]:
			return fmt.Sprintf("input %s has changed", name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(was)) {
		if _, ok := is[name]; !ok {
			return fmt.Sprintf("input %s is gone", name)
		}
	}
	return ""
}

// Finish ends the stage with its outputs, files or folders named by their paths within the run folder. They must be
// there; their hashes are recorded.
func (s *StageRun) Finish(outputs ...string) error {
	f := s.folder
	f.mu.Lock()
	defer f.mu.Unlock()
	if s.done {
		return fmt.Errorf("run: stage %q was ended before", s.name)
	}
	hashes, stamps := map[string]string{}, map[string]string{}
	var errs []error
	for _, path := range outputs {
		path = filepath.ToSlash(filepath.Clean(path))
		if !filepath.IsLocal(filepath.FromSlash(path)) || path == "." {
			errs = append(errs, fmt.Errorf("run: stage %q: output %q is not a path within %s", s.name, path, f.Dir))
			continue
		}
		full := f.Path(filepath.FromSlash(path))
		stamp, err := stampOf(full) // before the contents: a change in between shows up as a stamp that differs
		if err == nil {
			stamps[path] = stamp
			hashes[path], err = hashPath(full)
		}
		switch {
		case errors.Is(err, fs.ErrNotExist):
			errs = append(errs, fmt.Errorf("run: stage %q ended without its output %s", s.name, path))
		case err != nil:
			errs = append(errs, fmt.Errorf("run: stage %q: %w", s.name, err))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	r := f.manifest.Stage(s.name)
	r.Outputs, r.Stamps = hashes, stamps
	r.Ended = time.Now().UTC().Truncate(time.Second)
	r.Seconds = time.Since(s.started).Round(time.Millisecond).Seconds()
	s.done = true
	return f.save()
}

// Outputs returns the hashes of what a stage wrote, for use as inputs of the next; nil when it is not done.
func (f *Folder) Outputs(stage string) map[string]string {
	f.mu.Lock()
	defer f.mu.Unlock()
	r := f.manifest.Stage(stage)
	if r == nil || !r.Done() {
		return nil
	}
	return maps.Clone(r.Outputs)
}
