package workflow

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"ravn/recipe"
	"ravn/run"
	"ravn/web"
)

// Live is the page of a run folder that may be empty, going on, stopped or finished.
func Live(dir string) *web.Live {
	w := &watch{dir: dir}
	return &web.Live{Dir: dir, Page: w.page, Stamp: w.stamp}
}

// watch reads a run folder again and again.
type watch struct {
	dir  string
	slow web.Report // what takes long to read: rights and trace
	of   string     // the stamp of what slow was read from
}

// watched are the files that the page is made from.
var watched = []string{
	"recipe.yaml", "manifest.json", "corpus/summary.json", "order.json", "base/events.jsonl", "events.jsonl", "outcome.json",
	"scores.jsonl", "comparison.json", "records.jsonl", "leaderboard.md", "release/README.md",
}

func (w *watch) stamp() string { return w.stampOf(watched) }

func (w *watch) stampOf(files []string) string {
	var b strings.Builder
	pid, _, _ := run.Writer(w.dir)
	fmt.Fprint(&b, pid)
	for _, name := range files {
		if info, err := os.Stat(filepath.Join(w.dir, filepath.FromSlash(name))); err == nil {
			fmt.Fprintf(&b, " %d:%d", info.Size(), info.ModTime().UnixNano())
		} else {
			b.WriteString(" -")
		}
	}
	return b.String()
}

// page reads what is there. What cannot be read just now, as while a stage writes it, is said and left out.
func (w *watch) page() (*web.Report, error) {
	name := filepath.Base(w.dir)
	if abs, err := filepath.Abs(w.dir); err == nil {
		name = filepath.Base(abs)
	}
	folder, err := run.Open(w.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return &web.Report{Name: name, State: "the folder is empty; the page fills when a run begins in it", Version: run.Version()}, nil
	}
	if err != nil {
		return nil, err
	}
	m := folder.Manifest()
	r := &web.Report{Name: name, State: "the run has begun", Version: m.Version}
	rec, err := recipe.Load(folder.RecipeFile())
	if errors.Is(err, fs.ErrNotExist) {
		return r, nil
	}
	if err != nil {
		return nil, err
	}
	f := &Flow{Recipe: rec, Folder: folder}
	r = f.head()
	fill := func(what string, to *web.Report, f func(*web.Report) error) {
		if err := f(to); err != nil && !errors.Is(err, fs.ErrNotExist) {
			r.Warnings = append(r.Warnings, fmt.Sprintf("%s cannot be read now: %v", what, err))
		}
	}
	fill("The plan", r, f.pageFacts)
	fill("The corpus", r, f.pageCorpus)
	fill("The training", r, f.pagePhases)
	fill("The scores", r, f.pageScores)
	if s := m.Stage("shards"); s != nil && s.Done() {
		if of := w.stampOf([]string{"manifest.json", "recipe.yaml", "outcome.json"}); of != w.of {
			w.slow, w.of = web.Report{}, of
			fill("The rights", &w.slow, f.pageRights)
			fill("The trace", &w.slow, f.pageTrace)
		}
		r.Rights, r.Trace = w.slow.Rights, w.slow.Trace
	}
	f.pageFiles(r)
	f.liveState(r, m)
	return r, nil
}

// liveState says whether the run goes on, and how far it is.
func (f *Flow) liveState(r *web.Report, m *run.Manifest) {
	_, since, writing := run.Writer(f.Folder.Dir)
	stage := "the first"
	for i := range m.Stages {
		if stage = m.Stages[i].Name; !m.Stages[i].Done() {
			break
		}
	}
	if !writing {
		if strings.HasPrefix(r.State, "not finished") || strings.HasPrefix(r.State, "done up to") {
			r.State = fmt.Sprintf("stopped; %s. The same command goes on with it.", r.State)
		}
		return
	}
	r.State = fmt.Sprintf("running since %s UTC, stage %s", since.UTC().Format("2006-01-02 15:04"), stage)
	if n := len(r.Phases); n > 0 && (stage == "train" || stage == "base") {
		if p := r.Phases[n-1]; len(p.Loss) > 0 {
			r.State += fmt.Sprintf(", step %d of %d", p.Loss[len(p.Loss)-1].Step, p.Steps)
		}
	}
}
