package train

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"ravn/adapter"
	"ravn/engine/cpu"
	"ravn/model"
	"ravn/weights"
)

// adapted is newJob with an adapter on its engine.
func adapted(t *testing.T, dir string, source Source, o Options, threads int) *Job {
	t.Helper()
	o.Fill()
	j := newJob(t, dir, source, o)
	w := model.Init(tinyConfig(), 5)
	carrier, err := cpu.New(w, cpu.Options{Threads: threads, MaxTokens: 4 * 16, MaxRow: 16, NoMoments: true})
	if err != nil {
		t.Fatal(err)
	}
	e, err := adapter.NewEngine(carrier, w, *o.Adapter, 3, "tiny", threads)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() })
	j.Engine = e
	return j
}

func adapterOptions(kind string) Options {
	o := tinyOptions()
	o.Adapter = &adapter.Options{Kind: kind, Rank: 2, Alpha: 4, ModulesToSave: []string{"embed_tokens"}}
	o.EMA, o.KeepCheckpoints, o.Schedule.PeakLR = 0.5, 1, 0.05
	return o
}

// TestAdapterResumedEqualsUninterrupted stops runs with adapters half way and goes on with another number of
// threads: all that a run leaves is the same, byte for byte.
func TestAdapterResumedEqualsUninterrupted(t *testing.T) {
	for _, kind := range []string{"lora", "dora"} {
		o := adapterOptions(kind)
		whole, cut := t.TempDir(), t.TempDir()
		if _, err := adapted(t, whole, pattern{4, 16}, o, 1).Run(context.Background()); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(context.Background())
		adapted(t, cut, &cancelAfter{pattern{4, 16}, 7, cancel}, o, 2).Run(ctx)
		res, err := adapted(t, cut, pattern{4, 16}, o, 3).Run(context.Background())
		if err != nil || res.ResumedAt != 7 {
			t.Fatalf("resumed at %+v, want 7: %v", res, err)
		}
		names := []string{
			"events.jsonl", "checkpoints/step-000012/model.safetensors", "checkpoints/step-000012/state.json", "ema/step-000012/model.safetensors",
			"adapter/step-000012/adapter_model.safetensors", "adapter/step-000012/adapter_config.json", "adapter/step-000012/optimizer.safetensors",
		}
		x, y := files(t, whole, names...), files(t, cut, names...)
		for _, name := range names {
			if !bytes.Equal(x[name], y[name]) {
				t.Errorf("%s: %s differs after interruptions", kind, name)
			}
		}
		if left, err := os.ReadDir(filepath.Join(cut, "adapter")); err != nil || len(left) != 1 {
			t.Errorf("%s: adapters that are kept: %v, %v", kind, left, err)
		}
		if _, err := os.Stat(filepath.Join(cut, "checkpoints/step-000012/optimizer.safetensors")); err == nil {
			t.Errorf("%s: the checkpoint has moments of weights that were not trained", kind)
		}
		// The checkpoint is the base with its adapter.
		w, err := weights.Load(StepDir(cut, 12))
		if err != nil {
			t.Fatal(err)
		}
		merged := model.Init(tinyConfig(), 5)
		ad, err := adapter.Load(AdapterDir(cut, 12), merged.Config)
		if err != nil {
			t.Fatal(err)
		}
		if err := ad.Merge(merged); err != nil {
			t.Fatal(err)
		}
		if merged.Hash() != w.Hash() || w.Hash() == model.Init(tinyConfig(), 5).Hash() {
			t.Errorf("%s: the checkpoint is not the base with its adapter", kind)
		}
		if res.Loss >= 3.2 { // ln 40 = 3.69 at first
			t.Errorf("%s: the loss ends at %.3f: nothing was learnt", kind, res.Loss)
		}
	}
}

func TestAdapterAndItsCheckpointsBelongTogether(t *testing.T) {
	refused := func(err error, want string) {
		t.Helper()
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
	o := adapterOptions("lora")
	_, err := newJob(t, t.TempDir(), pattern{4, 16}, o).Run(context.Background())
	refused(err, "the engine has to be one of package adapter")

	dir := t.TempDir()
	if _, err := adapted(t, dir, pattern{4, 16}, o, 1).Run(context.Background()); err != nil {
		t.Fatal(err)
	}
	plain := tinyOptions()
	plain.Steps = 20
	j := newJob(t, t.TempDir(), pattern{4, 16}, plain)
	j.From = StepDir(dir, 12)
	_, err = j.Run(context.Background())
	refused(err, "is of a run with an adapter, and this one has none")

	// A branch takes the adapter, its moments and the step along.
	o.Steps = 14
	branch := t.TempDir()
	j = adapted(t, branch, pattern{4, 16}, o, 1)
	j.From = StepDir(dir, 12)
	if _, err := j.Run(context.Background()); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(AdapterDir(branch, 14)); err != nil {
		t.Error(err)
	}

	path := filepath.Join(AdapterDir(dir, 12), "adapter_model.safetensors")
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	data[len(data)-1] ^= 1
	if err := os.WriteFile(path, data, 0o644); err != nil {
		t.Fatal(err)
	}
	o.Steps = 12
	_, err = adapted(t, dir, pattern{4, 16}, o, 1).Run(context.Background())
	refused(err, "is not what was written with the checkpoint")
}
