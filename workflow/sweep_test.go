package workflow

import (
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"ravn/recipe"
	"ravn/stats"
	"ravn/train"
)

const sweptRecipe = `
name: x
data: {sources: [{path: text, section: a}], heldout_share: 0.1}
tokenizer: {train: 500}
base: {config: {hidden_size: 8, intermediate_size: 8, num_hidden_layers: 1, num_attention_heads: 1}, train: {steps: 2, rows_per_step: 4, schedule: {peak_lr: 0.001}}}
train: {steps: 2, rows_per_step: 4, schedule: {peak_lr: 0.001}, mixture: [{section: a, share: 1}]}
`

func readSweep(t *testing.T, text string) (*SweepFile, error) {
	t.Helper()
	dir := t.TempDir()
	for name, data := range map[string]string{"r.yaml": sweptRecipe, "s.yaml": text} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(data), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return ReadSweep(filepath.Join(dir, "s.yaml"))
}

func TestSweepExpandsListAndGrid(t *testing.T) {
	s, err := readSweep(t, `
name: s
recipe: r.yaml
set: {train.steps: 7}
runs: [{name: a, set: {train.mixture: null}}, {name: b, set: {data.separators: none}}]
grid: {seed: [1, 2], train.schedule.peak_lr: [0.001, 0.002]}
`)
	if err != nil {
		t.Fatal(err)
	}
	runs, err := s.expand()
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, r := range runs {
		names = append(names, r.name)
		if r.recipe.Train.Steps != 7 || r.recipe.Name != r.name {
			t.Errorf("%s: %d steps, name %s", r.name, r.recipe.Train.Steps, r.recipe.Name)
		}
	}
	want := []string{
		"a_seed-1_peak_lr-0.001", "a_seed-1_peak_lr-0.002", "a_seed-2_peak_lr-0.001", "a_seed-2_peak_lr-0.002",
		"b_seed-1_peak_lr-0.001", "b_seed-1_peak_lr-0.002", "b_seed-2_peak_lr-0.001", "b_seed-2_peak_lr-0.002",
	}
	if !slices.Equal(names, want) {
		t.Errorf("runs %v", names)
	}
	if r := runs[7].recipe; r.Seed != 2 || r.Train.Schedule.PeakLR != 0.002 || r.Data.Separators != "none" || len(r.Train.Mixture) != 1 {
		t.Errorf("the last run: seed %d, rate %g, separators %s", r.Seed, r.Train.Schedule.PeakLR, r.Data.Separators)
	}
	if len(runs[0].recipe.Train.Mixture) != 0 {
		t.Error("null does not take the mixture away")
	}
}

func TestBadSweeps(t *testing.T) {
	for text, want := range map[string]string{
		"name: s\nrecipe: r.yaml":                                                        "nothing to sweep over",
		"name: s\nrecipe: r.yaml\ngrid: {seed: []}":                                      "seed has no values",
		"name: s\nrecipe: r.yaml\nuntil: dinner\ngrid: {seed: [1]}":                      `no stage "dinner"`,
		"name: s\nrecipe: r.yaml\ngrid: {seed: [1]}\nshape: 3":                           "shape",
		"name: s\nrecipe: r.yaml\ngrid: {train.stepps: [1]}":                             `unknown field "stepps"`,
		"name: s\nrecipe: r.yaml\ngrid: {seed.x: [1]}":                                   "",
		"name: s\nrecipe: r.yaml\nruns: [{name: a, set: {seed: 1}}]\ngrid: {seed: [1]}":  "set in run a and in the grid",
		"name: s\nrecipe: r.yaml\nruns: [{set: {seed: 1}}]":                              "runs[0] has no name",
		"name: s\nrecipe: r.yaml\nruns: [{name: a, set: {}}, {name: a, set: {seed: 4}}]": "two runs are called a",
	} {
		s, err := readSweep(t, text)
		if err == nil {
			_, err = s.expand()
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want %q", text, err, want)
		}
	}
}

// TestFront: of three runs the one that is beaten on both sides is not on the front.
func TestFront(t *testing.T) {
	at := func(target, retained float64) SweptRun {
		return SweptRun{Target: stats.Estimate{Value: target}, Retained: stats.Estimate{Value: retained}}
	}
	r := SweepResult{Runs: []SweptRun{at(-0.3, 0.02), at(-0.2, 0.0), at(-0.1, 0.01)}}
	r.front()
	if !r.Runs[0].Front || !r.Runs[1].Front || r.Runs[2].Front {
		t.Errorf("front: %v %v %v", r.Runs[0].Front, r.Runs[1].Front, r.Runs[2].Front)
	}
}

// TestStudyExpands reads every sweep of docs/experiments and counts its runs, so that the study stays one command a part.
func TestStudyExpands(t *testing.T) {
	files, err := filepath.Glob("../docs/experiments/*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]int{}
	for _, path := range files {
		if filepath.Base(path) == "base.yaml" {
			continue
		}
		s, err := ReadSweep(path)
		if err != nil {
			t.Error(err)
			continue
		}
		runs, err := s.expand()
		if err != nil {
			t.Error(err)
		}
		got[s.Name] = len(runs)
	}
	want := map[string]int{"small": 5, "part1": 12, "part1-scratch": 2, "part2": 33, "part3": 6, "part4": 18, "part4-bases": 2, "part5": 18}
	if !maps.Equal(got, want) {
		t.Errorf("runs %v, want %v", got, want)
	}
}

// TestRetained: without a guard Norwegian, which gains with Danish, does not hide what English loses.
func TestRetained(t *testing.T) {
	groups := []GroupChange{
		{Group: "da", Change: stats.Estimate{Value: -0.3}}, {Group: "en", Change: stats.Estimate{Value: 0.1}}, {Group: "nb", Change: stats.Estimate{Value: -0.2}},
	}
	sources := []recipe.Source{{Language: "da", Role: "target"}, {Language: "en", Role: "replay"}}
	for name, c := range map[string]struct {
		sources []recipe.Source
		guard   *train.Guard
		want    float64
	}{
		"the language of replay":        {sources, nil, 0.1},
		"what the guard names":          {sources, &train.Guard{Retain: map[string]float64{"nb": 0.01}}, -0.2},
		"no replay: all but the target": {sources[:1], nil, -0.05},
	} {
		r := &recipe.Recipe{Data: recipe.Data{Sources: c.sources}}
		r.Train.Guard = c.guard
		target, kept := sides(r, groups)
		if math.Abs(kept.Value-c.want) > 1e-12 || target.Value != -0.3 {
			t.Errorf("%s: target %g, retained %g, want %g", name, target.Value, kept.Value, c.want)
		}
	}
}

// TestOverSeeds: three seeds, of which one is not resolved, by hand.
func TestOverSeeds(t *testing.T) {
	e := func(v, low, high float64) stats.Estimate { return stats.Estimate{Value: v, Low: low, High: high} }
	o := overSeeds([]stats.Estimate{e(-0.03, -0.04, -0.02), e(-0.06, -0.07, -0.05), e(0, -0.01, 0.01)})
	if want := (OverSeeds{Mean: -0.03, Low: -0.06, High: 0, Better: 2}); o != want || o.verdict(3) != "~" {
		t.Errorf("got %+v, %s", o, o.verdict(3))
	}
	o = overSeeds([]stats.Estimate{e(0.03, 0.02, 0.04), e(0.01, 0.001, 0.02)})
	if o.Worse != 2 || o.verdict(2) != "worse" {
		t.Errorf("got %+v, %s", o, o.verdict(2))
	}
}

// TestRowsOverSeeds: two rows of two seeds. Danish is the target; every document of row b has a tenth fewer bits in
// Danish and twice as many in English as in row a under the same seed.
func TestRowsOverSeeds(t *testing.T) {
	s, err := readSweep(t, "name: s\nrecipe: r.yaml\nset: {data.sources: [{path: text, section: a, language: da, role: target}]}\nruns: [{name: a}, {name: b}]\ngrid: {seed: [1, 2]}")
	if err != nil {
		t.Fatal(err)
	}
	runs, err := s.expand()
	if err != nil {
		t.Fatal(err)
	}
	r := SweepResult{Name: "s"}
	for i, c := range runs {
		x := SweptRun{Name: c.name, Row: c.row, Set: c.set, recipe: c.recipe}
		for k, id := range []string{"x", "y", "z"} {
			da, en := 100+float64(10*k)+float64(i%2), 200+float64(10*k)
			if i >= 2 {
				da, en = 0.9*da, 2*en
			}
			x.scores = append(x.scores, train.Scored{Language: "da", ID: id, Bytes: 100, Base: 200 + float64(20*k), Last: da}, train.Scored{Language: "en", ID: id, Bytes: 100, Base: 200 + float64(10*k), Last: en})
		}
		own := make([]float64, len(x.scores))
		for k, d := range x.scores {
			own[k] = d.Base
		}
		x.Target, x.Retained = sides(c.recipe, groupChanges(x.scores, own))
		r.Runs = append(r.Runs, x)
	}
	r.front()
	r.seeds()
	if len(r.Seeds) != 2 || r.Seeds[0].Name != "a" || r.Seeds[1].Name != "b" || r.Seeds[1].Against != "a" || r.Seeds[0].TargetAgainst != nil {
		t.Fatalf("rows %+v", r.Seeds)
	}
	near := func(name string, got, want float64) {
		if math.Abs(got-want) > 1e-12 {
			t.Errorf("%s: %g, want %g", name, got, want)
		}
	}
	a, b := r.Seeds[0], r.Seeds[1]
	// Row a, Danish: (100+110+120)/(200+220+240) − 1 = −1/2 under seed 1, 333/660 − 1 under seed 2.
	near("a, Danish, lowest", a.Target.Low, -0.5)
	near("a, Danish, highest", a.Target.High, 333./660-1)
	near("a, English", a.Retained.Mean, 0)
	near("b against a, Danish", b.TargetAgainst.Mean, -0.1)
	near("b against a, English", b.RetainedAgainst.Mean, 1)
	if b.TargetAgainst.Better != 2 || b.RetainedAgainst.Worse != 2 {
		t.Errorf("b against a: %+v, %+v", b.TargetAgainst, b.RetainedAgainst)
	}
	var md strings.Builder
	r.Markdown(&md)
	for _, want := range []string{"| b | 2 | -54.80 % [-55.00, -54.59] better | +100.00 % [+100.00, +100.00] worse | -10.00 % [-10.00, -10.00] better | +100.00 % [+100.00, +100.00] worse |", "| a | 2 | -49.77 %"} {
		if !strings.Contains(md.String(), want) {
			t.Errorf("the table lacks %q:\n%s", want, md.String())
		}
	}
	if svg := string(r.plot().SVG("x")); !strings.Contains(svg, "mean of 2 seeds; whiskers: lowest and highest seed") || strings.Count(svg, "<circle") != 4 { // two rows, two keys
		t.Errorf("the drawing: %s", svg)
	}
}
