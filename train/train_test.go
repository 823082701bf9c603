package train

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"ravn/engine/cpu"
	"ravn/model"
	"ravn/run"
	"ravn/shard"
)

func tinyConfig() *model.Config {
	return &model.Config{
		Architectures: []string{"LlamaForCausalLM"}, ModelType: "llama", VocabSize: 40, HiddenSize: 16, IntermediateSize: 24,
		NumHiddenLayers: 2, NumAttentionHeads: 2, NumKeyValueHeads: 1, HeadDim: 8, HiddenAct: "silu",
		MaxPositionEmbeddings: 16, RMSNormEps: 1e-5, RopeTheta: 10000, InitializerRange: 0.05, BOSTokenID: 1, EOSTokenID: 2, TorchDtype: "float32",
	}
}

// pattern is a source whose batches follow from the step alone; poisoned steps hold a token that makes the test's
// engine return a loss that is no number.
type pattern struct{ rows, t int }

func (p pattern) HashTo(int) string { return fmt.Sprintf("%d rows of %d", p.rows, p.t) }

func (p pattern) Batch(step int) (*model.Batch, error) {
	b := &model.Batch{B: p.rows, T: p.t}
	for r := range p.rows {
		for i := range p.t {
			x := int32(3 + (step*7+r*5+i*i)%30)
			b.Tokens = append(b.Tokens, x)
			target := int32(3 + (int(x)*3)%30)
			if i < 3*r { // rows differ in what they score, as packed documents do
				target = -1
			}
			b.Targets = append(b.Targets, target)
		}
	}
	return b, nil
}

func (p pattern) Spans(step int) ([]shard.Span, error) {
	return []shard.Span{
		{Row: 0, Len: p.t, Section: "adl", Document: fmt.Sprintf("adl_%d", step)},
		{Row: 1, Len: p.t, Section: "ft", Document: "ft_1"},
		{Row: 1, Len: p.t, Section: "ft", Document: "ft_1"},
	}, nil
}

func tinyOptions() Options {
	o := DefaultOptions()
	o.Steps, o.RowsPerStep, o.MicroRows = 12, 4, 2
	o.Schedule = Schedule{Kind: "cosine", PeakLR: 3e-3, WarmupSteps: 2, FloorShare: 0.1}
	o.ValidateEvery, o.CheckpointEvery, o.KeepCheckpoints = 4, 5, 9
	return o
}

func newJob(t *testing.T, dir string, source Source, o Options) *Job {
	t.Helper()
	engine, err := cpu.New(model.Init(tinyConfig(), 5), cpu.Options{Threads: 2, MaxTokens: 4 * 16, MaxRow: 16})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { engine.Close() })
	texts := []Text{
		{Language: "da", Source: "adl", ID: "a", Tokens: []int32{1, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23}, Bytes: 60},
		{Language: "da", Source: "ft", ID: "b", Tokens: []int32{1, 9, 9, 4}, Bytes: 9},
		{Language: "en", Source: "pep", ID: "c", Tokens: []int32{1, 30, 31, 32, 33}, Bytes: 12},
	}
	heldout, err := NewHeldout(texts, 2, 16)
	if err != nil {
		t.Fatal(err)
	}
	return &Job{Name: "continued", Dir: dir, Options: o, Engine: engine, Source: source, Heldout: heldout, RecipeHash: "abc"}
}

func files(t *testing.T, dir string, names ...string) map[string][]byte {
	t.Helper()
	out := map[string][]byte{}
	for _, name := range names {
		data, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		out[name] = data
	}
	return out
}

// cancelAfter stops the context once the given number of batches has been read.
type cancelAfter struct {
	Source
	left   int
	cancel func()
}

func (c *cancelAfter) Batch(step int) (*model.Batch, error) {
	if c.left--; c.left == 0 {
		c.cancel()
	}
	return c.Source.Batch(step)
}

func TestInterruptedAndResumedEqualsUninterrupted(t *testing.T) {
	names := []string{"events.jsonl", "checkpoints/step-000012/model.safetensors", "checkpoints/step-000012/optimizer.safetensors", "checkpoints/step-000012/state.json"}
	whole := t.TempDir()
	res, err := newJob(t, whole, pattern{4, 16}, tinyOptions()).Run(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	if len(res.First) != 5 || len(res.Last) != 5 { // da, da/adl, da/ft, en, en/pep
		t.Fatalf("held-out losses: %d before, %d after, want 5 each", len(res.First), len(res.Last))
	}
	want := files(t, whole, names...)
	for _, after := range []int{1, 3, 5, 7, 11} {
		dir := t.TempDir()
		ctx, cancel := context.WithCancel(context.Background())
		_, err := newJob(t, dir, &cancelAfter{pattern{4, 16}, after, cancel}, tinyOptions()).Run(ctx)
		var stopped *Interrupted
		if !errors.As(err, &stopped) || stopped.Step != after {
			t.Fatalf("stopped after batch %d: %v", after, err)
		}
		// What a kill leaves behind the checkpoint has to disappear.
		f, err := os.OpenFile(filepath.Join(dir, "events.jsonl"), os.O_APPEND|os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprint(f, "{\"event\":\"step\",\"step\":99,\"loss\":1}\n{\"event\":\"ste")
		f.Close()
		res, err := newJob(t, dir, pattern{4, 16}, tinyOptions()).Run(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		if res.ResumedAt != after {
			t.Errorf("resumed at %d, want %d", res.ResumedAt, after)
		}
		for name, got := range files(t, dir, names...) {
			if !bytes.Equal(got, want[name]) {
				t.Errorf("stopped after %d: %s differs from the uninterrupted run's", after, name)
			}
		}
	}
}

func TestMicroBatchesAddUpToTheWholeBatch(t *testing.T) {
	losses := func(micro int) (out []float64, norm float64) {
		o := tinyOptions()
		o.MicroRows = micro
		dir := t.TempDir()
		if _, err := newJob(t, dir, pattern{4, 16}, o).Run(context.Background()); err != nil {
			t.Fatal(err)
		}
		evs, err := run.ReadEvents(filepath.Join(dir, "events.jsonl"))
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range evs {
			if e.Kind == "step" {
				x, _ := e.Float("loss")
				out = append(out, x)
				if e.Step == 1 {
					norm, _ = e.Float("grad_norm")
				}
			}
		}
		return out, norm
	}
	whole, wholeNorm := losses(4)
	parts, partsNorm := losses(1)
	// Clipping and AdamW hide a wrong scale of the gradients from the losses, so their norm is compared too.
	if math.Abs(partsNorm/wholeNorm-1) > 1e-4 {
		t.Errorf("gradient norm of the first step: %.7f in one batch, %.7f in four", wholeNorm, partsNorm)
	}
	for i := range whole {
		// Gradients are the same sums in another order: fp32 rounding, grown over a few steps.
		if math.Abs(whole[i]-parts[i]) > 1e-4 {
			t.Errorf("step %d: loss %.7f in one batch, %.7f in four", i+1, whole[i], parts[i])
		}
	}
	if whole[len(whole)-1] >= whole[0] {
		t.Errorf("loss did not fall: %.4f to %.4f", whole[0], whole[len(whole)-1])
	}
}

// poisoned returns NaN as the loss of one step.
type poisoned struct {
	Engine
	at, calls int
}

func (p *poisoned) Accumulate(b *model.Batch, scale float32) (float64, error) {
	nll, err := p.Engine.Accumulate(b, scale)
	if p.calls++; p.calls == p.at {
		nll = math.NaN()
	}
	return nll, err
}

func TestNaNStopsAndNamesTheDocuments(t *testing.T) {
	o := tinyOptions()
	o.MicroRows = 4
	j := newJob(t, t.TempDir(), pattern{4, 16}, o)
	j.Engine = &poisoned{Engine: j.Engine, at: 7}
	_, err := j.Run(context.Background())
	var d *Diverged
	if !errors.As(err, &d) {
		t.Fatalf("got %v, want a divergence", err)
	}
	if d.Step != 7 || strings.Join(d.Documents, " ") != "adl/adl_7 ft/ft_1" {
		t.Errorf("step %d, documents %v", d.Step, d.Documents)
	}
	if _, err := os.Stat(StepDir(j.Dir, 5)); err != nil {
		t.Errorf("the checkpoint before it is gone: %v", err)
	}
}

// TestDecayFromAStablePhase: a decay that branches off a long run ends where the short run with that decay ends.
func TestDecayFromAStablePhase(t *testing.T) {
	trunk, o := t.TempDir(), tinyOptions()
	o.Schedule = Schedule{Kind: "wsd", PeakLR: 3e-3, WarmupSteps: 2, Decay: "1-sqrt", DecaySteps: 4}
	if _, err := newJob(t, trunk, pattern{4, 16}, o).Run(context.Background()); err != nil {
		t.Fatal(err)
	}
	o.Steps, o.Schedule.DecaySteps = 8, 3
	name := "checkpoints/step-000008/"
	whole, branch := t.TempDir(), t.TempDir()
	if _, err := newJob(t, whole, pattern{4, 16}, o).Run(context.Background()); err != nil {
		t.Fatal(err)
	}
	j := newJob(t, branch, pattern{4, 16}, o)
	j.From = StepDir(trunk, 5)
	if _, err := j.Run(context.Background()); err != nil {
		t.Fatal(err)
	}
	want := files(t, whole, name+"model.safetensors", name+"optimizer.safetensors")
	for file, got := range files(t, branch, name+"model.safetensors", name+"optimizer.safetensors") {
		if !bytes.Equal(got, want[file]) {
			t.Errorf("%s of the branch differs from the whole run's", file)
		}
	}
	j = newJob(t, t.TempDir(), pattern{4, 16}, o)
	j.From = StepDir(trunk, 10)
	if _, err := j.Run(context.Background()); err == nil || !strings.Contains(err.Error(), "nothing to do") {
		t.Errorf("a branch from beyond the end: %v", err)
	}
}

func TestOtherOrderIsRefused(t *testing.T) {
	dir := t.TempDir()
	if _, err := newJob(t, dir, pattern{4, 16}, tinyOptions()).Run(context.Background()); err != nil {
		t.Fatal(err)
	}
	_, err := newJob(t, dir, pattern{4, 15}, tinyOptions()).Run(context.Background())
	if err == nil || !strings.Contains(err.Error(), `was trained on other batches (order 4 rows of 1`) {
		t.Errorf("a checkpoint of another order: %v", err)
	}
}

func TestOtherRecipeIsRefused(t *testing.T) {
	dir := t.TempDir()
	if _, err := newJob(t, dir, pattern{4, 16}, tinyOptions()).Run(context.Background()); err != nil {
		t.Fatal(err)
	}
	j := newJob(t, dir, pattern{4, 16}, tinyOptions())
	j.RecipeHash = "xyz"
	_, err := j.Run(context.Background())
	if err == nil || !strings.Contains(err.Error(), "another recipe") {
		t.Fatalf("got %v", err)
	}
}

func TestHeldoutScoresEveryTokenOnce(t *testing.T) {
	j := newJob(t, t.TempDir(), pattern{4, 16}, tinyOptions())
	scores, err := j.Heldout.Score(j.Engine)
	if err != nil {
		t.Fatal(err)
	}
	ms := j.Heldout.Sum(scores)
	want := map[string]int64{"da/": 22, "da/adl": 19, "da/ft": 3, "en/": 4, "en/pep": 4}
	for _, m := range ms {
		if m.Tokens != want[m.Language+"/"+m.Source] {
			t.Errorf("%s/%s: %d tokens scored, want %d", m.Language, m.Source, m.Tokens, want[m.Language+"/"+m.Source])
		}
	}
	// "b" alone in a batch must get the loss that it gets packed with others.
	alone := &model.Batch{B: 1, T: 3, Tokens: []int32{1, 9, 9}, Targets: []int32{9, 9, 4}}
	nll := make([]float32, 3)
	if err := j.Engine.Loss(nll, alone); err != nil {
		t.Fatal(err)
	}
	for _, m := range ms {
		if m.Source == "ft" && math.Abs(m.NLL-float64(nll[0]+nll[1]+nll[2])) > 1e-6 {
			t.Errorf("packed %.7f, alone %.7f", m.NLL, nll[0]+nll[1]+nll[2])
		}
	}
}

func TestBadOptionsAreAllNamed(t *testing.T) {
	o := Options{Steps: 0, RowsPerStep: -1, MicroRows: 5, Beta1: 1, Eps: 0, WeightDecay: -1, ClipNorm: 0, Schedule: Schedule{Kind: "step", PeakLR: 3, WarmupSteps: -1, FloorShare: 2}}
	err := o.Validate()
	for _, want := range []string{"steps 0", "rows_per_step -1", "micro_rows 5", "beta1 1", "eps 0", "weight_decay -1", "clip_norm 0", `kind "step"`, "peak_lr 3", "warmup_steps -1", "floor_share 2", "keep_checkpoints 0"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error lacks %q:\n%v", want, err)
		}
	}
}
