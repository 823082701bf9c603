package workflow

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"ravn/engine/cpu"
	"ravn/internal/atomicfile"
	"ravn/merge"
	"ravn/model"
	"ravn/recipe"
	"ravn/run"
	"ravn/stats"
	"ravn/tokenizer"
	"ravn/train"
	"ravn/web"
	"ravn/weights"
)

// MergeModels merges model folders and writes the result as a Hugging Face folder with merge.json beside it, which says
// from what and how. base "" has none.
func MergeModels(base string, models []string, out string, o merge.Options) error {
	if exists(out) {
		return fmt.Errorf("workflow: %s is there already (choose another --out)", out)
	}
	record := struct {
		Method  string            `json:"method"`
		Weights []float64         `json:"weights,omitempty"`
		Density float64           `json:"density,omitempty"`
		Lambda  float64           `json:"lambda,omitempty"`
		Seed    uint64            `json:"seed,omitempty"`
		Inputs  map[string]string `json:"inputs"` // name of the folder to the hash of its weights
		Version string            `json:"version"`
	}{o.Method, o.Weights, o.Density, o.Lambda, o.Seed, map[string]string{}, run.Version()}
	var ws []*model.Weights
	load := func(path string) (*model.Weights, error) {
		w, err := weights.Load(path)
		if err == nil {
			record.Inputs[filepath.Base(path)] = w.Hash()
		}
		return w, err
	}
	for _, path := range models {
		w, err := load(path)
		if err != nil {
			return err
		}
		ws = append(ws, w)
	}
	var b *model.Weights
	if base != "" {
		var err error
		if b, err = load(base); err != nil {
			return err
		}
	}
	w, err := merge.Merge(b, ws, o)
	if err != nil {
		return err
	}
	files := map[string][]byte{}
	if tok, err := tokenizer.Load(models[0]); err == nil {
		files = tok.Files()
	} else if !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return writeFolder(out, w, files, record)
}

// writeFolder writes a model folder with merge.json, whole or not at all.
func writeFolder(out string, w *model.Weights, files map[string][]byte, record any) error {
	tmp, err := atomicfile.TempDir(out)
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	if err := weights.WriteFolder(tmp, w, weights.SaveOptions{DType: model.F32, Files: files}); err != nil {
		return err
	}
	if err := writeJSON(filepath.Join(tmp, "merge.json"), record); err != nil {
		return err
	}
	return atomicfile.ReplaceDir(tmp, out)
}

// MergeSweep is what a run's result becomes on the way back to its base.
type MergeSweep struct {
	Method string            `json:"method"`
	Points []MergePoint      `json:"points"`
	Best   *float64          `json:"best,omitempty"` // the weight with the largest gain on the target within all limits; nil where there is none
	Notes  []string          `json:"notes,omitempty"`
	Roles  map[string]string `json:"roles"` // language → "target" where it is one
}

// MergePoint is one weight of the sweep.
type MergePoint struct {
	Weight float64        `json:"weight"` // 0 is the base, 1 the result
	Judged []train.Judged `json:"judged"` // changes against the base, paired by document
}

// SweepMerge merges the base and the result of a run with each of the weights and scores the run's held-out text, the
// limits being those of the recipe's guard. It leaves merge/sweep.json and merge/sweep.svg in the run folder. recipeFile
// is the recipe as it was given to the run, since paths of held-out text are relative to it; "" is the one that the
// folder names, or its own copy.
func SweepMerge(ctx context.Context, dir, recipeFile string, o merge.Options, at []float64, options Options) (*MergeSweep, error) {
	folder, err := run.Open(dir)
	if err != nil {
		return nil, err
	}
	if recipeFile == "" {
		recipeFile = folder.AskedRecipe()
	}
	r, err := recipe.Load(recipeFile)
	if err != nil {
		return nil, err
	}
	f := &Flow{Recipe: r, Folder: folder, Options: options}
	tok, err := tokenizer.Load(folder.TokenizerDir())
	if err != nil {
		return nil, err
	}
	p, t := r.Train, r.Data.SeqTokens
	heldout, err := f.heldout(tok, p.MicroRows, t)
	if err != nil {
		return nil, err
	}
	if heldout == nil {
		return nil, fmt.Errorf("workflow: %s has no held-out text to compare on", dir)
	}
	base, result, err := f.ends()
	if err != nil {
		return nil, err
	}
	guard := train.Guard{Retain: map[string]float64{}}
	if p.Guard != nil {
		guard = *p.Guard
	}
	sweep := &MergeSweep{Method: o.Method, Roles: f.languageRoles()}
	task := f.Progress.Start("merge", int64(len(at))+1, "models")
	score := func(w *model.Weights) ([]float64, error) {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		defer task.Add(1)
		engine, err := cpu.New(w, cpu.Options{Threads: f.Threads, MaxTokens: p.MicroRows * t, MaxRow: t, Inference: true})
		if err != nil {
			return nil, err
		}
		defer engine.Close()
		return heldout.Score(engine)
	}
	was, err := score(&model.Weights{Config: base.Config, Params: slices.Clone(base.Params)})
	if err != nil {
		return nil, err
	}
	for _, weight := range slices.Sorted(slices.Values(at)) {
		one, models := o, []*model.Weights{result}
		one.Lambda = weight
		switch o.Method {
		case "linear":
			one.Weights, models = []float64{1 - weight, weight}, []*model.Weights{base, result}
		case "slerp":
			one.Weights, models = []float64{1 - weight, weight}, []*model.Weights{base, result}
		default:
			if weight == 0 { // Options take 0 for 1
				one.Lambda, one.Weights = 1, []float64{0}
			}
		}
		w, err := merge.Merge(base, models, one)
		if err != nil {
			return nil, err
		}
		now, err := score(w)
		if err != nil {
			return nil, err
		}
		sweep.Points = append(sweep.Points, MergePoint{Weight: weight, Judged: heldout.Against(was, now, &guard)})
	}
	task.Done()
	sweep.choose()
	if err := os.MkdirAll(folder.Path("merge"), 0o755); err != nil {
		return nil, fmt.Errorf("workflow: %w", err)
	}
	if err := writeJSON(folder.Path("merge", "sweep.json"), sweep); err != nil {
		return nil, err
	}
	return sweep, atomicfile.WriteFile(folder.Path("merge", "sweep.svg"), sweep.plot().File())
}

// ends are the weights that the continued training began and ended with.
func (f *Flow) ends() (base, result *model.Weights, err error) {
	b, err := ReadBase(f.Folder)
	if err != nil {
		return nil, nil, err
	}
	if base, err = weights.Load(b.start()); err != nil {
		return nil, nil, err
	}
	dir, err := f.resultDir()
	if err != nil {
		return nil, nil, err
	}
	result, err = weights.Load(dir)
	return base, result, err
}

// languageRoles says which languages the recipe trains towards.
func (f *Flow) languageRoles() map[string]string {
	roles := map[string]string{}
	for _, s := range f.Recipe.Data.Sources {
		if s.Role != "replay" && s.Language != "" {
			roles[s.Language] = "target"
		}
	}
	return roles
}

func (s *MergeSweep) target(j train.Judged) bool { return s.Roles[j.Group] == "target" }

// gain is the mean fall of the target languages' bits per byte, in relative terms.
func (s *MergeSweep) gain(p MergePoint) float64 {
	sum, n := 0.0, 0
	for _, j := range p.Judged {
		if s.target(j) {
			sum, n = sum-j.Change.Value, n+1
		}
	}
	return sum / float64(max(n, 1))
}

func (s *MergeSweep) choose() {
	limits := false
	best := 0.0
	for _, p := range s.Points {
		within := true
		for _, j := range p.Judged {
			if j.Limit != nil {
				limits = true
				within = within && j.State == train.Within
			}
		}
		if g := s.gain(p); within && g > best {
			best = g
			weight := p.Weight
			s.Best = &weight
		}
	}
	if !limits {
		s.Best = nil
		s.Notes = append(s.Notes, "the recipe's guard sets no limits, so no weight is recommended")
	} else if s.Best == nil {
		s.Notes = append(s.Notes, "no weight gains on the target within all limits")
	}
	s.Notes = append(s.Notes, "a weight chosen on this text is best judged on other text: the evaluation's")
}

// plot draws what the target gains against what each other language loses.
func (s *MergeSweep) plot() web.Scatter {
	plot := web.Scatter{Title: "base and result merged: target against retention", X: "target: change of bits per byte, %", Y: "others: change of bits per byte, %"}
	groups := map[string]*web.ScatterGroup{}
	for _, p := range s.Points {
		var x stats.Estimate
		for _, j := range p.Judged {
			if s.target(j) {
				x = percentOf(j)
			}
		}
		for _, j := range p.Judged {
			if s.target(j) || strings.Contains(j.Group, "/") {
				continue
			}
			if groups[j.Group] == nil {
				groups[j.Group] = &web.ScatterGroup{Name: languageName(j.Group), Joined: true}
			}
			groups[j.Group].Points = append(groups[j.Group].Points, web.ScatterPoint{Name: fmt.Sprintf("%g", p.Weight), X: x, Y: percentOf(j)})
		}
	}
	for _, name := range slices.Sorted(maps.Keys(groups)) {
		plot.Groups = append(plot.Groups, *groups[name])
	}
	return plot
}

func percentOf(j train.Judged) stats.Estimate {
	return stats.Estimate{Value: 100 * j.Change.Value, Low: 100 * j.Change.Low, High: 100 * j.Change.High, N: j.Change.Documents, Level: 0.95, Method: "paired percentile bootstrap over documents"}
}

// Write prints the sweep for people.
func (s *MergeSweep) Write(w io.Writer) {
	fmt.Fprintf(w, "%s: change of bits per byte against the base, paired by document, 95 %% interval; lower is better\n\n%-8s", s.Method, "weight")
	if len(s.Points) == 0 {
		return
	}
	width := 28
	if slices.ContainsFunc(s.Points[0].Judged, func(j train.Judged) bool { return j.Limit != nil }) {
		width = 36 // for how it stands to its limit
	}
	for _, j := range s.Points[0].Judged {
		if !strings.Contains(j.Group, "/") {
			fmt.Fprintf(w, "  %-*s", width, languageName(j.Group))
		}
	}
	fmt.Fprintln(w)
	for _, p := range s.Points {
		fmt.Fprintf(w, "%-8g", p.Weight)
		for _, j := range p.Judged {
			if !strings.Contains(j.Group, "/") {
				mark := ""
				if j.Limit != nil && j.State != train.Within {
					mark = " " + j.State
				}
				fmt.Fprintf(w, "  %-*s", width, fmt.Sprintf("%+.2f %% [%+.2f, %+.2f]%s", 100*j.Change.Value, 100*j.Change.Low, 100*j.Change.High, mark))
			}
		}
		fmt.Fprintln(w)
	}
	if s.Best != nil {
		fmt.Fprintf(w, "\nlargest gain within all limits: weight %g\n", *s.Best)
	}
	for _, n := range s.Notes {
		fmt.Fprintf(w, "note: %s\n", n)
	}
}
