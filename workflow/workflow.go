// Package workflow walks a recipe from its sources to its release, stage by stage, in one run folder.
//
// corpus → tokenizer → shards → base → train → eval → leaderboard → release → report. Each stage names the hashes of
// what it reads; a stage whose inputs and outputs are as they were is skipped, and one that was broken off goes on or
// begins anew, as its kind allows.
package workflow

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"time"

	"ravn/internal/atomicfile"
	"ravn/internal/progress"
	"ravn/recipe"
	"ravn/run"
	"ravn/train"
)

// Options are how to work, not what to work on: none of them changes a result but Engine, and that only by rounding.
type Options struct {
	Threads  int    // 0 uses all processors
	Engine   string // that trains, one of Engines; "" is the first
	Devices  int    // of the host, that engine xla trains on together; 0 is all
	Progress *progress.Reporter
	Until    string // name of the last stage to run; "" runs all
	Resume   bool   // refuse to begin training anew where the recipe has changed
	Rights   RightsOptions
}

// Flow is a recipe at work in a run folder.
type Flow struct {
	Recipe *recipe.Recipe
	Folder *run.Folder
	Options
	Notes []string // what a person should know at the end, in order
}

// stage is one step of the way. Its function asks the folder whether there is anything to do.
type stage struct {
	name string
	do   func(ctx context.Context) error
}

// Stages are the names of the steps, in order.
func Stages() []string {
	var f Flow
	var names []string
	for _, s := range f.stages() {
		names = append(names, s.name)
	}
	return names
}

func (f *Flow) stages() []stage {
	return []stage{
		{"corpus", f.corpus},
		{"tokenizer", f.tokenizer},
		{"shards", f.shards},
		{"base", f.base},
		{"train", f.train},
		{"eval", f.eval},
		{"leaderboard", f.leaderboard},
		{"release", f.release},
		{"report", f.report},
	}
}

// Open takes a folder for a recipe. The resolved recipe is written into it.
func Open(r *recipe.Recipe, dir string, o Options) (*Flow, error) {
	folder, err := run.Create(dir)
	if err != nil {
		return nil, err
	}
	f := &Flow{Recipe: r, Folder: folder, Options: o}
	if err := folder.Describe(r.Name, r.Seed, r.File()); err != nil {
		folder.Close()
		return nil, err
	}
	text, err := r.Resolved()
	if err == nil {
		err = atomicfile.WriteFile(folder.RecipeFile(), text)
	}
	if err != nil {
		folder.Close()
		return nil, err
	}
	for _, n := range folder.Notes {
		o.Progress.Logf("%s", n)
	}
	return f, nil
}

// Close gives the folder back.
func (f *Flow) Close() error { return f.Folder.Close() }

// Run walks all stages, or those up to Until.
//
// Neither a release that the gate refuses nor a run that the guard stops keeps the report from being written; the refusal
// is returned at the end.
func (f *Flow) Run(ctx context.Context) error {
	var refused error
	for _, s := range f.stages() {
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("workflow: stopped before stage %s: %w (run the same command again to go on)", s.name, err)
		}
		err := s.do(ctx)
		if err != nil && s.name == "release" && IsRefusal(err) {
			refused = err
			err = nil
		}
		var breached *train.Breached
		if errors.As(err, &breached) {
			return errors.Join(err, f.report(ctx))
		}
		if errors.Is(err, context.Canceled) && ctx.Err() != nil {
			return fmt.Errorf("workflow: stopped in stage %s: %w (run the same command again to go on)", s.name, err)
		}
		if err != nil {
			return err
		}
		if s.name == f.Until {
			break
		}
	}
	return refused
}

// once runs work unless the stage was done from the same inputs. The line it logs says what was done and where it is.
func (f *Flow) once(name string, inputs map[string]string, outputs []string, work func(s *run.StageRun) (string, error)) error {
	s, fresh, err := f.Folder.Stage(name, inputs)
	if err != nil {
		return err
	}
	if !fresh {
		f.Progress.Logf("%-12s unchanged, skipped", name)
		return nil
	}
	start := time.Now()
	said, err := work(s)
	if err != nil {
		return err
	}
	if err := s.Finish(outputs...); err != nil {
		return err
	}
	f.Progress.Logf("%-12s %s (%s)  %s", name, said, progress.Duration(time.Since(start)), f.Folder.Path(filepath.FromSlash(strings.TrimSuffix(outputs[0], "/"))))
	return nil
}

// inputs joins maps of inputs; later ones win.
func inputs(parts ...map[string]string) map[string]string {
	all := map[string]string{}
	for _, p := range parts {
		for k, v := range p {
			all[k] = v
		}
	}
	return all
}

// hashed is the input "name" with the hash of a part of the recipe.
func hashed(name string, part any) (map[string]string, error) {
	h, err := recipe.Hash(part)
	if err != nil {
		return nil, err
	}
	return map[string]string{name: h}, nil
}

// hashPath is the hash of a file or a folder's contents.
func hashPath(path string) (string, error) {
	info, err := os.Stat(path)
	if errors.Is(err, os.ErrNotExist) {
		return "", fmt.Errorf("workflow: %s does not exist (a path in the recipe is relative to the recipe's folder)", path)
	}
	if err != nil {
		return "", fmt.Errorf("workflow: %w", err)
	}
	if info.IsDir() {
		return run.HashTree(path)
	}
	return run.HashFile(path)
}

// sortedKeys are the keys of m in order.
func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	return keys
}
