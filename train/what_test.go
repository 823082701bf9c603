package train

import (
	"bytes"
	"context"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"ravn/checkpoint"
	"ravn/model"
	"ravn/weights"
)

// TestFrozenParametersStay trains with patterns and compares every tensor with the first weights, bit by bit.
func TestFrozenParametersStay(t *testing.T) {
	first := model.Init(tinyConfig(), 5)
	for name, c := range map[string]struct {
		set    func(o *Options)
		frozen func(name string) bool
	}{
		"freeze": {func(o *Options) { o.Freeze = []string{"model.embed_tokens.*", "model.layers.[0-0].*"} }, func(n string) bool {
			return strings.Contains(n, "embed_tokens") || strings.Contains(n, "layers.0.")
		}},
		"only": {func(o *Options) { o.Only = []string{"model.layers.1.mlp.*"} }, func(n string) bool { return !strings.Contains(n, "layers.1.mlp") }},
	} {
		o := tinyOptions()
		c.set(&o)
		dir := t.TempDir()
		if _, err := newJob(t, dir, pattern{4, 16}, o).Run(context.Background()); err != nil {
			t.Fatal(err)
		}
		last, err := weights.Load(StepDir(dir, 12))
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range first.Config.Layout() {
			a, b := first.Params[p.Offset:p.Offset+p.Size], last.Params[p.Offset:p.Offset+p.Size]
			if same := slices.Equal(a, b); same != c.frozen(p.Name) {
				t.Errorf("%s: %s is as it was: %v, want %v", name, p.Name, same, c.frozen(p.Name))
			}
		}
	}
	for want, o := range map[string]Options{
		`no parameter is named like "head"`: {Freeze: []string{"head"}}, "leaves nothing to train": {Freeze: []string{"*"}},
	} {
		if _, err := o.Frozen(tinyConfig()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}

// TestFirstOnly: up to the end of the beginning the other tensors are the first weights, bit by bit, and behind it they
// learn. A run that is stopped before, at and behind that end, and goes on, ends with the same bytes; before the end
// it is a run with only.
func TestFirstOnly(t *testing.T) {
	o := tinyOptions()
	o.CheckpointEvery, o.KeepCheckpoints = 1, 99
	o.Freeze = []string{"model.layers.0.input_layernorm.*"}
	o.First = &First{Steps: 5, Only: []string{"model.embed_tokens.*", "lm_head.*"}}
	begin := func(dir string, o Options) *Job { return newJob(t, dir, pattern{4, 16}, o) }
	whole := t.TempDir()
	if _, err := begin(whole, o).Run(context.Background()); err != nil {
		t.Fatal(err)
	}
	first := model.Init(tinyConfig(), 5)
	for step, trained := range map[int]func(name string) bool{
		5:  func(n string) bool { return strings.Contains(n, "embed_tokens") || strings.Contains(n, "lm_head") },
		12: func(n string) bool { return n != "model.layers.0.input_layernorm.weight" },
	} {
		got, err := weights.Load(StepDir(whole, step))
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range first.Config.Layout() {
			a, b := first.Params[p.Offset:p.Offset+p.Size], got.Params[p.Offset:p.Offset+p.Size]
			if same := slices.Equal(a, b); same == trained(p.Name) {
				t.Errorf("step %d: %s is as it was: %v", step, p.Name, same)
			}
		}
	}
	only, dir := o, t.TempDir()
	only.Freeze, only.First, only.Only = nil, nil, o.First.Only
	if _, err := begin(dir, only).Run(context.Background()); err != nil {
		t.Fatal(err)
	}
	name := "checkpoints/step-000005/model.safetensors"
	if !bytes.Equal(files(t, dir, name)[name], files(t, whole, name)[name]) {
		t.Error("the beginning is not what only makes of it")
	}
	all := []string{"events.jsonl", "checkpoints/step-000012/model.safetensors", "checkpoints/step-000012/optimizer.safetensors"}
	want := files(t, whole, all...)
	for _, after := range []int{4, 5, 6} {
		dir := t.TempDir()
		ctx, cancel := context.WithCancel(context.Background())
		j := begin(dir, o)
		j.Source = &cancelAfter{j.Source, after, cancel}
		if _, err := j.Run(ctx); err == nil {
			t.Fatalf("was not stopped after %d", after)
		}
		if _, err := begin(dir, o).Run(context.Background()); err != nil {
			t.Fatal(err)
		}
		for file, got := range files(t, dir, all...) {
			if !bytes.Equal(got, want[file]) {
				t.Errorf("stopped after %d: %s differs from the uninterrupted run's", after, file)
			}
		}
	}
	o.First = &First{Steps: 5, Only: []string{"lm_haed.*"}}
	if _, err := begin(t.TempDir(), o).Run(context.Background()); err == nil || !strings.Contains(err.Error(), `first.only: no parameter is named like "lm_haed.*"`) {
		t.Errorf("got %v", err)
	}
}

// TestRunningMean reckons the mean again from the weights of every step, and resumes to the same bytes.
func TestRunningMean(t *testing.T) {
	o := tinyOptions()
	o.EMA, o.CheckpointEvery, o.KeepCheckpoints = 0.75, 1, 99
	whole := t.TempDir()
	if _, err := newJob(t, whole, pattern{4, 16}, o).Run(context.Background()); err != nil {
		t.Fatal(err)
	}
	mean := model.Init(tinyConfig(), 5).Params
	for step := 1; step <= o.Steps; step++ {
		_, s, _, err := checkpoint.Load(StepDir(whole, step))
		if err != nil {
			t.Fatal(err)
		}
		for i, w := range s.Params {
			mean[i] = 0.75*mean[i] + 0.25*w
		}
	}
	got, err := weights.Load(EMADir(whole, 12))
	if err != nil {
		t.Fatal(err)
	}
	for i := range mean {
		if math.Abs(float64(mean[i]-got.Params[i])) > 1e-6 {
			t.Fatalf("parameter %d: mean %g, want %g", i, got.Params[i], mean[i])
		}
	}
	o.KeepCheckpoints = 1
	dir := t.TempDir()
	ctx, cancel := context.WithCancel(context.Background())
	newJob(t, dir, &cancelAfter{pattern{4, 16}, 7, cancel}, o).Run(ctx)
	if _, err := newJob(t, dir, pattern{4, 16}, o).Run(context.Background()); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"ema/step-000012/model.safetensors", "checkpoints/step-000012/state.json"} {
		a, b := files(t, whole, name), files(t, dir, name)
		if !bytes.Equal(a[name], b[name]) {
			t.Errorf("%s differs after an interruption", name)
		}
	}
	if left, err := os.ReadDir(filepath.Join(dir, "ema")); err != nil || len(left) != 1 {
		t.Errorf("means that are kept: %v, %v", left, err)
	}
}
