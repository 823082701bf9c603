package train

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"ravn/adapter"
	"ravn/checkpoint"
	"ravn/engine/cpu"
	"ravn/model"
	"ravn/shard"
)

// passing is a pattern that reads on behind what was passed over. Its batch of a step is the pattern's of another step, so
// that a batch is known by its first token.
type passing struct {
	pattern
	passed []Passed
}

// read is the pattern's step that a step reads.
func (p passing) read(step int) int {
	at := step
	for i, x := range p.passed {
		if x.First <= step && !(Changes{Passed: p.passed}).Superseded(i) {
			at = passing{passed: p.passed[:i]}.read(x.Last) + step - x.First + 1
		}
	}
	return at
}

func (p passing) HashTo(step int) string {
	return fmt.Sprintf("%s %d", p.pattern.HashTo(step), p.read(step))
}

func (p passing) Batch(step int) (*model.Batch, error) { return p.pattern.Batch(p.read(step)) }

func (p passing) Spans(step int) ([]shard.Span, error) { return p.pattern.Spans(p.read(step)) }

// spoiling is an engine whose loss is tenfold, and whose update is bad, on the batches of the given pattern's steps.
type spoiling struct {
	Engine
	steps []int
}

func (s spoiling) Accumulate(b *model.Batch, scale float32) (float64, error) {
	nll, err := s.Engine.Accumulate(b, scale)
	for _, step := range s.steps {
		if b.Tokens[0] == int32(3+(step*7)%30) {
			nll *= 10
		}
	}
	return nll, err
}

func (s spoiling) Freeze(frozen func(string) bool) { s.Engine.(*cpu.Engine).Freeze(frozen) }

// spoiledCarrier is spoiling below an adapter.
type spoiledCarrier struct {
	adapter.Carrier
	steps []int
}

func (s spoiledCarrier) Accumulate(b *model.Batch, scale float32) (float64, error) {
	return spoiling{s.Carrier.(*cpu.Engine), s.steps}.Accumulate(b, scale)
}

// rewinding is a job that goes back for the batches of the pattern's steps in poison. left cancels after so many batches.
func rewinding(t *testing.T, dir string, poison []int, left int, cancel func(), set func(o *Options)) *Job {
	t.Helper()
	o := tinyOptions()
	o.Steps, o.MicroRows = 18, 4
	o.Spikes = &Spikes{Window: 8, Action: "rewind", Back: 2}
	if set != nil {
		set(&o)
	}
	o.Fill()
	j := newJob(t, dir, nil, o)
	if j.Options.Guard != nil {
		j.Options.Guard.Retain = map[string]float64{"da": 10}
	}
	count := &cancelAfter{nil, left, cancel}
	source := func(c Changes) (Source, error) {
		next := &cancelAfter{passing{pattern{4, 16}, c.Passed}, count.left, cancel}
		count = next
		return next, nil
	}
	j.Source, _ = source(Changes{})
	j.Reorder = source
	j.First = func() (model.State, error) { return model.State{Params: model.Init(tinyConfig(), 5).Params}, nil }
	if o.Adapter == nil {
		j.Engine = spoiling{j.Engine, poison}
		return j
	}
	w := model.Init(tinyConfig(), 5)
	carrier, err := cpu.New(w, cpu.Options{Threads: 1, MaxTokens: 4 * 16, MaxRow: 16, NoMoments: true})
	if err != nil {
		t.Fatal(err)
	}
	e, err := adapter.NewEngine(spoiledCarrier{carrier, poison}, w, *o.Adapter, 3, "tiny", 1)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() })
	j.Engine = e
	return j
}

// TestRewind: spikes at steps known beforehand. The end has to have the weights of a run that never saw what was passed
// over, and whatever happens on the way, it is the same bytes.
func TestRewind(t *testing.T) {
	lora := func(o *Options) {
		o.Adapter = &adapter.Options{Kind: "dora", Rank: 2, Alpha: 4, ModulesToSave: []string{"embed_tokens"}}
	}
	for name, c := range map[string]struct {
		poison  []int // steps of the pattern
		rewinds []Rewind
		set     func(o *Options)
	}{
		// Checkpoints at 5, 10 and 15. The batches of steps 9, 10 and 11 are passed over, and the run stands before 9 again.
		"one": {poison: []int{11}, rewinds: []Rewind{{Spike{Step: 11}, 5, Passed{9, 11}}}},
		// Step 9 reads what was 12, step 10 then is 13 and spikes again.
		"two in succession": {poison: []int{11, 13}, rewinds: []Rewind{{Spike{Step: 11}, 5, Passed{9, 11}}, {Spike{Step: 10}, 5, Passed{8, 10}}}},
		// The second lies behind another checkpoint: step 16 reads what was 19.
		"two apart":                   {poison: []int{11, 19}, rewinds: []Rewind{{Spike{Step: 11}, 5, Passed{9, 11}}, {Spike{Step: 16}, 10, Passed{14, 16}}}},
		"to the beginning":            {poison: []int{7}, rewinds: []Rewind{{Spike{Step: 7}, 0, Passed{5, 7}}}},
		"with a mean of the weights":  {poison: []int{11}, rewinds: []Rewind{{Spike{Step: 11}, 5, Passed{9, 11}}}, set: func(o *Options) { o.EMA = 0.9 }},
		"with a guard":                {poison: []int{11}, rewinds: []Rewind{{Spike{Step: 11}, 5, Passed{9, 11}}}, set: func(o *Options) { o.Guard = &Guard{OnBreach: "warn"} }},
		"with an adapter":             {poison: []int{11}, rewinds: []Rewind{{Spike{Step: 11}, 5, Passed{9, 11}}}, set: lora},
		"an adapter to the beginning": {poison: []int{7}, rewinds: []Rewind{{Spike{Step: 7}, 0, Passed{5, 7}}}, set: lora},
		"with one checkpoint kept":    {poison: []int{13}, rewinds: []Rewind{{Spike{Step: 13}, 10, Passed{11, 13}}}, set: func(o *Options) { o.KeepCheckpoints = 1 }},
	} {
		t.Run(name, func(t *testing.T) {
			whole := t.TempDir()
			if _, err := rewinding(t, whole, c.poison, 0, nil, c.set).Run(context.Background()); err != nil {
				t.Fatal(err)
			}
			out, err := ReadOutcome(whole, 18)
			if err != nil {
				t.Fatal(err)
			}
			for i, r := range out.Rewinds {
				if i >= len(c.rewinds) || r.Step != c.rewinds[i].Step || r.To != c.rewinds[i].To || r.Passed != c.rewinds[i].Passed || !(r.ZLoss > 6) || len(r.Documents) != 2 {
					t.Fatalf("rewinds %+v, want %+v", out.Rewinds, c.rewinds)
				}
			}
			if len(out.Rewinds) != len(c.rewinds) || len(kinds(t, whole, "rewind")) != len(c.rewinds) || len(kinds(t, whole, "step")) != 18 {
				t.Fatalf("%d rewinds, %d events of them, %d of steps; want %d, %d and 18", len(out.Rewinds), len(kinds(t, whole, "rewind")), len(kinds(t, whole, "step")), len(c.rewinds), len(c.rewinds))
			}
			clean := t.TempDir()
			j := rewinding(t, clean, nil, 0, nil, c.set)
			j.Source = passing{pattern{4, 16}, passed(c.rewinds)}
			if _, err := j.Run(context.Background()); err != nil {
				t.Fatal(err)
			}
			end := "checkpoints/step-000018/"
			if name := end + "model.safetensors"; !bytes.Equal(files(t, whole, name)[name], files(t, clean, name)[name]) {
				t.Error("the weights are not those of a run that never saw these batches")
			}
			all := []string{"events.jsonl", "outcome.json", "scores.jsonl", end + "model.safetensors", end + "state.json"}
			if j.Options.Adapter == nil {
				all = append(all, end+"optimizer.safetensors")
			} else {
				all = append(all, "adapter/step-000018/adapter_model.safetensors", "adapter/step-000018/optimizer.safetensors")
			}
			if j.Options.EMA > 0 {
				all = append(all, "ema/step-000018/model.safetensors")
			}
			want := files(t, whole, all...)
			for _, after := range []int{9, 14} { // batches that are read before the stop, those that are read twice included
				dir := t.TempDir()
				ctx, cancel := context.WithCancel(context.Background())
				_, err := rewinding(t, dir, c.poison, after, cancel, c.set).Run(ctx)
				cancel()
				var stopped *Interrupted
				if !errors.As(err, &stopped) {
					t.Fatalf("stopped after %d: %v", after, err)
				}
				if _, err := rewinding(t, dir, c.poison, 0, nil, c.set).Run(context.Background()); err != nil {
					t.Fatalf("stopped after %d: %v", after, err)
				}
				for file, got := range files(t, dir, all...) {
					if !bytes.Equal(got, want[file]) {
						t.Errorf("stopped after %d: %s differs from the uninterrupted run's", after, file)
					}
				}
			}
		})
	}
}

// TestRewindSurvivesAKill: nothing of a rewind is on disk but what the last checkpoint knows. A kill anywhere behind it,
// played by removing all newer checkpoints and spoiling the end of the events, changes no byte.
func TestRewindSurvivesAKill(t *testing.T) {
	whole := t.TempDir()
	if _, err := rewinding(t, whole, []int{11, 13}, 0, nil, nil).Run(context.Background()); err != nil {
		t.Fatal(err)
	}
	all := []string{"events.jsonl", "outcome.json", "checkpoints/step-000018/model.safetensors", "checkpoints/step-000018/state.json"}
	want := files(t, whole, all...)
	for _, last := range []int{0, 5, 10, 15} {
		dir := t.TempDir()
		if err := os.CopyFS(dir, os.DirFS(whole)); err != nil {
			t.Fatal(err)
		}
		if err := checkpoint.RemoveAfter(Root(dir), last); err != nil {
			t.Fatal(err)
		}
		if _, err := rewinding(t, dir, []int{11, 13}, 0, nil, nil).Run(context.Background()); err != nil {
			t.Fatalf("from step %d: %v", last, err)
		}
		for file, got := range files(t, dir, all...) {
			if !bytes.Equal(got, want[file]) {
				t.Errorf("from step %d: %s differs", last, file)
			}
		}
	}
}

func TestRewindsAreBounded(t *testing.T) {
	dir := t.TempDir()
	_, err := rewinding(t, dir, []int{11, 13, 15}, 0, nil, func(o *Options) { o.Spikes.Most = 2 }).Run(context.Background())
	var u *Unstable
	if !errors.As(err, &u) || len(u.Rewinds) != 2 || u.Documents[0] != "adl/adl_15" || !strings.Contains(err.Error(), "after 2 rewinds (step 11, loss ") {
		t.Fatalf("the third spike of two that may be rewound: %v", err)
	}
	if _, meta, err := checkpoint.Latest(Root(dir)); err != nil || meta.Step != 5 {
		t.Errorf("the checkpoint that is left: %+v, %v", meta, err)
	}
	j := rewinding(t, t.TempDir(), nil, 0, nil, nil)
	if j.First = nil; true {
		if _, err := j.Run(context.Background()); err == nil || !strings.Contains(err.Error(), "use skip") {
			t.Errorf("without first weights: %v", err)
		}
	}
	for want, s := range map[string]Spikes{
		`"undo" is unknown`:       {Window: 8, Z: 6, Action: "undo"},
		"belong to action rewind": {Window: 8, Z: 6, Action: "skip", Back: 2},
		"are positive there":      {Window: 8, Z: 6, Action: "rewind", Back: -1, Most: 1},
	} {
		if err := s.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}

// TestChangesBeforeARewind: what a rewind found, reckoned by hand.
func TestChangesBeforeARewind(t *testing.T) {
	c := Changes{Raised: []int{4, 8, 20}, Passed: []Passed{{3, 4}, {9, 11}, {9, 12}, {14, 16}}}
	for i, want := range []Changes{
		{nil, nil}, {[]int{4, 8}, c.Passed[:1]}, {[]int{4, 8}, c.Passed[:2]}, {[]int{4, 8}, c.Passed[:3]},
	} {
		if got := c.Before(i); !slices.Equal(got.Raised, want.Raised) || !slices.Equal(got.Passed, want.Passed) {
			t.Errorf("before rewind %d: %+v, want %+v", i, got, want)
		}
		if got, want := c.Superseded(i), i == 1; got != want {
			t.Errorf("rewind %d superseded: %v, want %v", i, got, want)
		}
	}
}
