package train

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"ravn/checkpoint"
	"ravn/engine/cpu"
	"ravn/model"
)

func names(t *testing.T, dir string) (found []string) {
	t.Helper()
	entries, err := os.ReadDir(Root(dir))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		found = append(found, e.Name())
	}
	return found
}

// noisy is an engine whose loss is ten times what it is at the given calls, or no number where bad says so.
type noisy struct {
	Engine
	calls int
	at    []int
	bad   bool
}

func (n *noisy) Accumulate(b *model.Batch, scale float32) (float64, error) {
	nll, err := n.Engine.Accumulate(b, scale)
	n.calls++
	if slices.Contains(n.at, n.calls) {
		if nll *= 10; n.bad {
			nll = math.NaN()
		}
	}
	return nll, err
}

func TestSpikesAreNamedAndLeftOut(t *testing.T) {
	o := tinyOptions()
	o.Steps, o.MicroRows, o.ValidateEvery, o.CheckpointEvery = 16, 4, 16, 16
	o.Spikes = &Spikes{Window: 8, Action: "skip"}
	o.Fill()
	dir := t.TempDir()
	j := newJob(t, dir, pattern{4, 16}, o)
	j.Engine = &noisy{Engine: j.Engine, at: []int{11}}
	var before []float32
	check := &stepWatcher{Engine: j.Engine, at: 11, see: func(params []float32, after bool) {
		if !after {
			before = slices.Clone(params)
		} else if !slices.Equal(before, params) {
			t.Error("the skipped step changed the weights")
		}
	}}
	j.Engine = check
	if _, err := j.Run(context.Background()); err != nil {
		t.Fatal(err)
	}
	spikes := kinds(t, dir, "spike")
	if len(spikes) != 1 || spikes[0].Step != 11 {
		t.Fatalf("spikes: %v", spikes)
	}
	z, _ := spikes[0].Float("z_loss")
	if z < 6 {
		t.Errorf("z of the spike is %g", z)
	}
	var skipped []int
	for _, e := range kinds(t, dir, "step") {
		if strings.Contains(fmt.Sprint(e.Fields), "skipped") {
			skipped = append(skipped, e.Step)
		}
	}
	if !slices.Equal(skipped, []int{11}) {
		t.Errorf("skipped steps %v", skipped)
	}
}

// stepWatcher looks at the parameters before and after a step.
type stepWatcher struct {
	Engine
	step, at int
	see      func(params []float32, after bool)
}

func (w *stepWatcher) Accumulate(b *model.Batch, scale float32) (float64, error) {
	w.step++
	if w.step == w.at || w.step == w.at+1 {
		w.see(w.State().Params, w.step == w.at+1)
	}
	return w.Engine.Accumulate(b, scale)
}

// TestWindowAgainstHandReckonedZ: mean 2 and standard deviation √(2/3) of 1, 2, 3, 2.
func TestWindowAgainstHandReckonedZ(t *testing.T) {
	w := window{size: 4}
	for _, x := range []float64{9, 1, 2, 3, 2} { // the 9 has left
		w.add(x)
	}
	if got, want := w.z(4), 2/math.Sqrt(2./3); math.Abs(got-want) > 1e-12 {
		t.Errorf("z %g, want %g", got, want)
	}
	if z := (&window{size: 4, values: []float64{1}}).z(100); z != 0 {
		t.Errorf("one value is too few to judge by, z is %g", z)
	}
}

func TestNaNIsSkippedAtMostThreeTimes(t *testing.T) {
	run := func(at []int) error {
		o := tinyOptions()
		o.MicroRows, o.OnNaN = 4, "skip"
		dir := t.TempDir()
		j := newJob(t, dir, pattern{4, 16}, o)
		j.Engine = &noisy{Engine: j.Engine, at: at, bad: true}
		_, err := j.Run(context.Background())
		if n := len(kinds(t, dir, "nan")); n != min(len(at), 3) {
			t.Errorf("%d batches named, want %d", n, min(len(at), 3))
		}
		return err
	}
	if err := run([]int{4, 5, 6}); err != nil {
		t.Errorf("three in succession: %v", err)
	}
	var d *Diverged
	if err := run([]int{4, 5, 6, 7}); !errors.As(err, &d) || d.Step != 7 {
		t.Errorf("four in succession: %v", err)
	}
}

// TestDiskFull: the second checkpoint finds no room after half its files. The run pauses with a message, the first
// checkpoint is whole, and with room again the run ends with the bytes of one that always had it.
func TestDiskFull(t *testing.T) {
	whole, dir := t.TempDir(), t.TempDir()
	if _, err := newJob(t, whole, pattern{4, 16}, tinyOptions()).Run(context.Background()); err != nil {
		t.Fatal(err)
	}
	j := newJob(t, dir, pattern{4, 16}, tinyOptions())
	saves := 0
	j.Save = func(dir string, cfg *model.Config, s model.State, meta checkpoint.Meta, files map[string][]byte) error {
		if saves++; saves == 1 {
			return checkpoint.Save(dir, cfg, s, meta, files)
		}
		half := filepath.Join(filepath.Dir(dir), "."+filepath.Base(dir)+".tmp1")
		if err := os.MkdirAll(half, 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(half, "model.safetensors"), make([]byte, 100), 0o644); err != nil {
			return err
		}
		return fmt.Errorf("checkpoint: %w", &os.PathError{Op: "write", Path: dir, Err: syscall.ENOSPC})
	}
	_, err := j.Run(context.Background())
	var p *Paused
	if !errors.As(err, &p) || p.Step != 10 || p.Checkpoint != StepDir(dir, 5) || !strings.Contains(err.Error(), "make room") {
		t.Fatalf("got %v, want a pause at step 10 with the checkpoint of step 5", err)
	}
	if _, _, _, err := checkpoint.Load(p.Checkpoint); err != nil {
		t.Errorf("the checkpoint it goes on from: %v", err)
	}
	res, err := newJob(t, dir, pattern{4, 16}, tinyOptions()).Run(context.Background())
	if err != nil || res.ResumedAt != 5 {
		t.Fatalf("with room again: %+v, %v", res, err)
	}
	all := []string{"events.jsonl", "checkpoints/step-000012/model.safetensors", "checkpoints/step-000012/state.json"}
	want := files(t, whole, all...)
	for name, got := range files(t, dir, all...) {
		if !bytes.Equal(got, want[name]) {
			t.Errorf("%s differs from the run that always had room", name)
		}
	}
	if left := names(t, dir); slices.ContainsFunc(left, func(n string) bool { return strings.HasPrefix(n, ".") }) {
		t.Errorf("half a checkpoint was left behind: %v", left)
	}
}

// TestTimeLimitLeavesARunThatGoesOn: with a clock that runs a second at each look, calls of 30 seconds.
func TestTimeLimitLeavesARunThatGoesOn(t *testing.T) {
	whole, dir := t.TempDir(), t.TempDir()
	if _, err := newJob(t, whole, pattern{4, 16}, tinyOptions()).Run(context.Background()); err != nil {
		t.Fatal(err)
	}
	calls := 0
	for {
		if calls++; calls > 12 {
			t.Fatal("it does not come to an end")
		}
		o := tinyOptions()
		o.TimeLimit = "30s"
		j := newJob(t, dir, pattern{4, 16}, o)
		clock := time.Unix(0, 0)
		j.Now = func() time.Time { clock = clock.Add(time.Second); return clock }
		_, err := j.Run(context.Background())
		var stopped *Interrupted
		if err == nil {
			break
		}
		if !errors.As(err, &stopped) || stopped.Limit != "30s" || clock.Sub(time.Unix(0, 0)) > 31*time.Second {
			t.Fatalf("call %d after %v: %v", calls, clock.Sub(time.Unix(0, 0)), err)
		}
	}
	if calls < 2 {
		t.Error("no call was cut short")
	}
	all := []string{"events.jsonl", "checkpoints/step-000012/model.safetensors", "checkpoints/step-000012/state.json"}
	want := files(t, whole, all...)
	for name, got := range files(t, dir, all...) {
		if !bytes.Equal(got, want[name]) {
			t.Errorf("%s differs from that of a single call", name)
		}
	}
}

func TestCheckpointsThatAreKept(t *testing.T) {
	o := tinyOptions()
	o.Steps, o.CheckpointEvery, o.KeepCheckpoints, o.KeepEvery = 12, 2, 2, 3
	dir := t.TempDir()
	if _, err := newJob(t, dir, pattern{4, 16}, o).Run(context.Background()); err != nil {
		t.Fatal(err)
	}
	for _, name := range names(t, dir) {
		var step int
		if _, err := fmt.Sscanf(name, "step-%d", &step); err != nil {
			t.Fatal(err)
		}
		if rate, ok := RateOf(StepDir(dir, step)); !ok || rate != o.Schedule.LR(step, o.Steps) {
			t.Errorf("%s says its rate was %g, %v, want %g", name, rate, ok, o.Schedule.LR(step, o.Steps))
		}
	}
	if got, want := names(t, dir), []string{"step-000003", "step-000006", "step-000009", "step-000010", "step-000012"}; !slices.Equal(got, want) {
		t.Errorf("kept %v, want %v", got, want)
	}
	// A minute a look, and a checkpoint every five minutes.
	o = tinyOptions()
	o.CheckpointEvery, o.CheckpointMinutes, o.KeepCheckpoints = 12, 5, 99
	dir = t.TempDir()
	j := newJob(t, dir, pattern{4, 16}, o)
	clock := time.Unix(0, 0)
	j.Now = func() time.Time { clock = clock.Add(time.Minute); return clock }
	if _, err := j.Run(context.Background()); err != nil {
		t.Fatal(err)
	}
	if got := names(t, dir); len(got) < 3 {
		t.Errorf("checkpoints by time: %v", got)
	}
}

func TestDifferencesAreSaidLineByLine(t *testing.T) {
	was := "name: a\ndata:\n  sources:\n  - path: x\n    role: target\n  - path: y\ntrain:\n  steps: 300\n  mixture:\n  - {section: adl, share: 1}\n"
	is := "name: a\ndata:\n  sources:\n  - path: x\n    role: replay\n  - path: y\n    format: text\ntrain:\n  steps: 400\n"
	got := Differences(was, is)
	want := []string{
		"data.sources[0].role: target → replay", "train.steps: 300 → 400",
		"train.mixture[0].{section: adl, share: 1} → (not there)", "data.sources[1].format: (not there) → text",
	}
	want[2] = got[min(2, len(got)-1)] // an inline list item: its own spelling is of no interest here
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	dir := t.TempDir()
	j := newJob(t, dir, pattern{4, 16}, tinyOptions())
	j.Recipe = was
	if _, err := j.Run(context.Background()); err != nil {
		t.Fatal(err)
	}
	j = newJob(t, dir, pattern{4, 16}, tinyOptions())
	j.Recipe, j.RecipeHash = is, "other"
	if _, err := j.Run(context.Background()); err == nil || !strings.Contains(err.Error(), "\n\ttrain.steps: 300 → 400\n") {
		t.Errorf("a refusal without the difference: %v", err)
	}
}

// spoiled is an engine that makes the loss of given steps ten times what it is, or no number. Steps are known by their
// first token, so that it does the same after an interruption.
type spoiled struct {
	Engine
	steps []int
	bad   bool
}

func (s spoiled) Freeze(frozen func(string) bool) { s.Engine.(*cpu.Engine).Freeze(frozen) }

func (s spoiled) Accumulate(b *model.Batch, scale float32) (float64, error) {
	nll, err := s.Engine.Accumulate(b, scale)
	for _, step := range s.steps {
		if b.Tokens[0] == int32(3+(step*7)%30) {
			if nll *= 10; s.bad {
				nll = math.NaN()
			}
		}
	}
	return nll, err
}

// TestEveryOptionResumesExactly stops runs before, at and behind the steps where something happens.
func TestEveryOptionResumesExactly(t *testing.T) {
	for name, c := range map[string]struct {
		set   func(o *Options)
		steps []int
		bad   bool
		kind  string // events that have to be there
	}{
		"spike skip":                        {func(o *Options) { o.Spikes = &Spikes{Window: 8, Action: "skip"} }, []int{8, 11}, false, "spike"},
		"nan skip":                          {func(o *Options) { o.OnNaN = "skip" }, []int{5, 6, 9}, true, "nan"},
		"freeze":                            {func(o *Options) { o.Freeze = []string{"model.embed_tokens.*"} }, nil, false, "step"},
		"only":                              {func(o *Options) { o.Only = []string{"model.layers.1.*"} }, nil, false, "step"},
		"z_loss":                            {func(o *Options) { o.ZLoss = 1e-2 }, nil, false, "step"},
		"first":                             {func(o *Options) { o.First = &First{Steps: 8, Only: []string{"model.embed_tokens.*"}} }, nil, false, "step"},
		"bf16, z_loss, mean of the weights": {func(o *Options) { o.Precision, o.ZLoss, o.EMA = "bf16", 1e-2, 0.5 }, nil, false, "step"},
		"accumulation, recompute":           {func(o *Options) { o.MicroRows, o.Recompute, o.EMA = 2, "block", 0.9 }, nil, false, "step"},
		"bf16, recompute, infinite schedule": {func(o *Options) {
			o.Precision, o.Recompute = "bf16", "block"
			o.Schedule = Schedule{Kind: "infinite", PeakLR: 3e-3, WarmupSteps: 2, CooldownSteps: 3, StableShare: 0.5, DecaySteps: 3}
		}, nil, false, "step"},
		"other AdamW, wsd, spike skip": {func(o *Options) {
			o.Beta1, o.Beta2, o.Eps, o.WeightDecay, o.ClipNorm = 0.8, 0.9, 1e-6, 0.3, 0.2
			o.Schedule = Schedule{Kind: "wsd", PeakLR: 3e-3, WarmupSteps: 2, DecaySteps: 4}
			o.Spikes, o.OnNaN = &Spikes{Window: 4, Action: "skip"}, "skip"
		}, []int{8}, false, "spike"},
	} {
		o := tinyOptions()
		o.MicroRows = 4
		c.set(&o)
		o.Fill()
		begin := func(dir string, source Source) *Job {
			j := newJob(t, dir, source, o)
			e, err := cpu.New(model.Init(tinyConfig(), 5), cpu.Options{Threads: 2, MaxTokens: 4 * 16, MaxRow: 16, Precision: o.DType(), Recompute: o.Recompute == "block"})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { e.Close() })
			j.Engine = spoiled{e, c.steps, c.bad}
			return j
		}
		whole := t.TempDir()
		if _, err := begin(whole, pattern{4, 16}).Run(context.Background()); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if found := kinds(t, whole, c.kind); len(found) == 0 || len(c.steps) > 0 && len(found) != len(c.steps) {
			t.Errorf("%s: %d events of %s, at %v they were expected", name, len(found), c.kind, c.steps)
		}
		all := []string{"events.jsonl", "outcome.json", "checkpoints/step-000012/model.safetensors", "checkpoints/step-000012/optimizer.safetensors", "checkpoints/step-000012/state.json"}
		if o.EMA > 0 {
			all = append(all, "ema/step-000012/model.safetensors")
		}
		want := files(t, whole, all...)
		for _, after := range []int{5, 8, 11} {
			dir := t.TempDir()
			ctx, cancel := context.WithCancel(context.Background())
			_, err := begin(dir, &cancelAfter{pattern{4, 16}, after, cancel}).Run(ctx)
			cancel()
			var stopped *Interrupted
			if !errors.As(err, &stopped) || stopped.Step != after {
				t.Fatalf("%s: stopped after batch %d: %v", name, after, err)
			}
			if _, err := begin(dir, pattern{4, 16}).Run(context.Background()); err != nil {
				t.Fatalf("%s: resumed: %v", name, err)
			}
			for file, got := range files(t, dir, all...) {
				if !bytes.Equal(got, want[file]) {
					t.Errorf("%s, stopped after %d: %s differs from the uninterrupted run's", name, after, file)
				}
			}
		}
	}
}
