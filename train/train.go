// Package train is the loop that continues (or begins) the training of a model: batches in, checkpoints and events out.
//
// A run is a pure function of its recipe, its shards and its first weights. Events carry no clock, so a run that was
// killed and resumed ends with the same bytes as one that was not; what depends on the machine goes to timings.jsonl.
package train

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"ravn/adapter"
	"ravn/checkpoint"
	"ravn/internal/progress"
	"ravn/model"
	"ravn/run"
	"ravn/shard"
)

// Engine is what the loop asks of something that trains a model. Gradients add up over Accumulate until Update.
type Engine interface {
	Config() *model.Config
	Accumulate(b *model.Batch, scale float32) (nll float64, err error)
	GradNorm() float64
	Update(u model.Update) error
	Loss(nll []float32, b *model.Batch) error
	DropGradients() // forgets what Accumulate has added up
	State() model.State
	SetState(s model.State) error
}

// Source gives the batch of any step, the first being 1, and says which documents are in it. Sources with the same
// HashTo of a step give the same batches up to it.
type Source interface {
	HashTo(step int) string
	Batch(step int) (*model.Batch, error)
	Spans(step int) ([]shard.Span, error)
}

// Job is one training phase in one folder.
type Job struct {
	Name       string // "base" or "continued", for people
	Dir        string // checkpoints/, events.jsonl and timings.jsonl go here
	Options    Options
	Engine     Engine
	Source     Source
	Heldout    *Heldout          // nil measures nothing
	RecipeHash string            // of everything that decides the numbers; a checkpoint of another is refused
	Recipe     string            // the same as text, resolved, so that a refusal can say what differs
	BaseHash   string            // of the base's weights; a branch has to have the same base
	From       string            // checkpoint to branch off from, its weights, moments and step; "" begins at step 0
	Files      map[string][]byte // tokenizer files, put into every checkpoint
	Progress   *progress.Reporter

	// Reorder is the source as changes have it; nil where the order cannot be changed.
	Reorder func(c Changes) (Source, error)
	Tasks   []Task // one for each of the guard's
	// First is the weights before the first step, for a rewind to the beginning; needed where spikes are rewound.
	First func() (model.State, error)
	// Write continues a prompt with so many of the likeliest tokens; nil where the engine cannot.
	Write func(prompt string, tokens int) (string, error)
	// Save writes a checkpoint; nil is checkpoint.Save.
	Save func(dir string, cfg *model.Config, s model.State, meta checkpoint.Meta, files map[string][]byte) error
	Now  func() time.Time // nil is time.Now; only limits of time and timings.jsonl ask it
	// Peak is what the machine's processor was measured to do at most in these products, FLOP/s; 0 is not known. It is kept in
	// timings.jsonl, for the share that training reaches.
	Peak float64
}

// Result is what a finished job ended with.
type Result struct {
	Steps      int        `json:"steps"`       // fewer than planned where the guard ended the run early
	Checkpoint string     `json:"checkpoint"`  // folder of the last step
	Loss       float64    `json:"loss"`        // of the last step, nats per token
	First      []Measured `json:"first"`       // held-out losses before the first step
	Last       []Measured `json:"last"`        // held-out losses after the last step
	ResumedAt  int        `json:"resumed_at"`  // the step of the checkpoint that was taken up; 0 when none
	Seconds    float64    `json:"seconds"`     // of this call
	TokensPerS float64    `json:"tokens_rate"` // of this call, validation and checkpoints included
}

// Diverged says that the loss or the gradient is no longer a number.
type Diverged struct {
	Step      int
	Loss      float64
	GradNorm  float64
	Documents []string // "section/id" of the batch
}

func (d *Diverged) Error() string {
	return fmt.Sprintf("train: step %d: loss %g, gradient norm %g: the run has diverged and was stopped before the update; documents of this batch: %s (lower peak_lr, lengthen the warm-up, or look at these documents; the last checkpoint is sound)",
		d.Step, d.Loss, d.GradNorm, strings.Join(d.Documents, ", "))
}

// Interrupted says that the job was stopped on request or for its time limit, after a checkpoint.
type Interrupted struct {
	Step, Steps int
	Checkpoint  string
	Limit       string // the time limit that was reached; "" when it was stopped on request
}

func (i *Interrupted) Error() string {
	why := ""
	if i.Limit != "" {
		why = " for time_limit " + i.Limit
	}
	return fmt.Sprintf("train: stopped%s at step %d of %d; checkpoint %s (run the same command again to go on)", why, i.Step, i.Steps, i.Checkpoint)
}

// Paused says that the disk is full. Everything up to Checkpoint is whole.
type Paused struct {
	Step       int
	Checkpoint string // the newest; "" when there is none yet
	Err        error
}

func (p *Paused) Error() string {
	from := "there is no checkpoint yet, so it begins anew"
	if p.Checkpoint != "" {
		from = "it goes on from " + p.Checkpoint + ", which is whole"
	}
	return fmt.Sprintf("train: step %d: the disk is full, so the run is paused: %v (make room and run the same command again; %s)", p.Step, p.Err, from)
}

func (p *Paused) Unwrap() error { return p.Err }

// Extra keys of a checkpoint: the order its batches came from, the recipe as text, the base, the rate of its last step.
const (
	rateKey   = "rate"
	orderKey  = "order"
	recipeKey = "recipe"
	baseKey   = "base"
)

// RecipeOf is the recipe, as text, that a checkpoint was trained by; "" when it does not say.
func RecipeOf(meta checkpoint.Meta) string { return meta.Extra[recipeKey] }

// RateOf is the learning rate of the last step of the checkpoint in dir; false where that is no checkpoint, or one of an
// earlier version, which does not say.
func RateOf(dir string) (float64, bool) {
	meta, err := checkpoint.ReadMeta(dir)
	if err != nil {
		return 0, false
	}
	rate, err := strconv.ParseFloat(meta.Extra[rateKey], 64)
	return rate, err == nil
}

// OrderOf is the hash of the order that a checkpoint's batches came from.
func OrderOf(meta checkpoint.Meta) string { return meta.Extra[orderKey] }

// Leavings are the names of all that a job leaves in its folder.
func Leavings() []string {
	return []string{"checkpoints", "events.jsonl", "timings.jsonl", "ema", "adapter", outcomeName, scoresName, baseName, tasksDir, "order.json"}
}

// Root is the folder that holds the checkpoints of a job in dir.
func Root(dir string) string { return filepath.Join(dir, "checkpoints") }

// StepDir is the folder of one checkpoint.
func StepDir(dir string, step int) string {
	return filepath.Join(Root(dir), fmt.Sprintf("step-%06d", step))
}

// Run trains from the newest checkpoint in j.Dir, or from the weights that the engine holds, to the last step.
func (j *Job) Run(ctx context.Context) (*Result, error) {
	if err := j.Options.Validate(); err != nil {
		return nil, fmt.Errorf("train: %w", err)
	}
	limit, err := j.Options.timeLimit()
	if err != nil {
		return nil, fmt.Errorf("train: %w", err)
	}
	if j.Options.Guard != nil {
		if err := j.Options.Guard.check(j.Heldout); err != nil {
			return nil, err
		}
		if len(j.Tasks) != len(j.Options.Guard.Tasks) {
			return nil, fmt.Errorf("train: guard.tasks: %d are to be asked, %d can be", len(j.Options.Guard.Tasks), len(j.Tasks))
		}
	}
	if _, ok := j.Engine.(*adapter.Engine); ok != (j.Options.Adapter != nil) {
		return nil, errors.New("train: adapter: the engine has to be one of package adapter where the options name an adapter, and only there")
	}
	if j.Options.rewinds() && (j.First == nil || j.Reorder == nil) {
		return nil, errors.New("train: spikes.action rewind: this job has no first weights to go back to, or its order cannot be changed (use skip)")
	}
	if err := j.freeze(1); err != nil {
		return nil, err
	}
	start := j.now()
	at, meta, err := j.resume()
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(j.Dir, 0o755); err != nil {
		return nil, fmt.Errorf("train: %w", err)
	}
	events, err := run.OpenEvents(filepath.Join(j.Dir, "events.jsonl"), meta.EventsBytes)
	if err != nil {
		return nil, err
	}
	l := &loop{Job: j, events: events, tokens: meta.Tokens, saved: at, savedAt: start}
	defer func() { l.events.Close() }()
	timings, err := run.OpenEvents(filepath.Join(j.Dir, "timings.jsonl"), run.KeepAll)
	if err != nil {
		return nil, err
	}
	defer timings.Close()

	l.timings = timings
	if j.Peak > 0 {
		if err := timings.Write("peak", at, "flops", j.Peak); err != nil {
			return nil, err
		}
	}
	res := &Result{ResumedAt: at}
	if err := l.begin(&at, meta); err != nil {
		return nil, l.paused(at, err)
	}
	if l.state.Stopped > 0 {
		return nil, l.breached(l.state.Stopped)
	}
	tokensBefore := l.tokens
	task := j.Progress.Start("train "+j.Name, int64(l.end()-at), "steps")
	slowest := time.Duration(0)
	for step := at + 1; step <= l.end(); step++ {
		began := j.now()
		outOfTime := limit > 0 && began.Add(2*slowest).Sub(start) > limit && step > at+1
		if ctx.Err() != nil || outOfTime {
			err := l.interrupt(step - 1)
			var stopped *Interrupted
			if outOfTime && errors.As(err, &stopped) {
				stopped.Limit = j.Options.TimeLimit
			}
			return nil, l.paused(step-1, err)
		}
		err := l.step(step)
		var s *spiked
		if errors.As(err, &s) {
			step, err = l.rewind(s.Spike)
		}
		if err != nil {
			return nil, l.paused(step, err)
		}
		slowest = max(slowest, j.now().Sub(began)) // of a step with all that belongs to it: evaluation, checkpoint
		task.Note(fmt.Sprintf("loss %.3f", l.loss))
		task.Add(1)
	}
	task.Done()
	if err := l.writeOutcome(true); err != nil {
		return nil, l.paused(l.end(), err)
	}
	res.Steps, res.Loss = l.end(), l.loss
	res.Checkpoint = StepDir(j.Dir, res.Steps)
	res.Seconds = j.now().Sub(start).Seconds()
	res.TokensPerS = float64(l.tokens-tokensBefore) / max(res.Seconds, 1e-9)
	fields := []any{"seconds", res.Seconds, "tokens_per_second", res.TokensPerS}
	if share, known := l.idleShare(); known {
		fields = append(fields, "idle_share", share)
		j.Progress.Logf("train %s: the devices had nothing to do for %.2f %% of the time of steps", j.Name, 100*share)
	}
	if err := timings.Write("train", res.Steps, fields...); err != nil {
		return nil, err
	}
	return res, j.fillResult(res)
}

// freeze tells the engine which parameters stay as they are in a step.
func (j *Job) freeze(step int) error {
	frozen, err := j.Options.FrozenAt(j.Engine.Config(), step)
	if err != nil || frozen == nil && j.Options.First == nil {
		return err
	}
	e, ok := j.Engine.(interface {
		Freeze(frozen func(name string) bool)
	})
	if !ok {
		return errors.New("train: freeze, only and first: this engine trains everything")
	}
	if frozen == nil {
		frozen = func(string) bool { return false }
	}
	e.Freeze(frozen)
	return nil
}

func (j *Job) now() time.Time {
	if j.Now != nil {
		return j.Now()
	}
	return time.Now()
}

// fillResult reads first and last held-out losses, and the last loss, from the events: they may be an earlier call's.
func (j *Job) fillResult(res *Result) error {
	evs, err := run.ReadEvents(filepath.Join(j.Dir, "events.jsonl"))
	if err != nil {
		return err
	}
	for _, e := range evs {
		switch e.Kind {
		case "valid":
			m := measured(e)
			if e.Step == 0 {
				res.First = append(res.First, m)
			}
			if e.Step == res.Steps {
				res.Last = append(res.Last, m)
			}
		case "step":
			if e.Step == res.Steps {
				res.Loss, _ = e.Float("loss")
			}
		}
	}
	return nil
}

// measured reads a "valid" event.
func measured(e run.Event) Measured {
	var m Measured
	m.Language, _ = e.Text("language")
	m.Source, _ = e.Text("source")
	m.NLL, _ = e.Float("nll")
	m.Tokens, _ = e.Int("tokens")
	m.Bytes, _ = e.Int("bytes")
	documents, _ := e.Int("documents")
	m.Documents = int(documents)
	return m
}

// resume loads the newest checkpoint into the engine and returns its step.
func (j *Job) resume() (int, checkpoint.Meta, error) {
	dir, _, err := checkpoint.Latest(Root(j.Dir))
	if errors.Is(err, os.ErrNotExist) {
		return 0, checkpoint.Meta{}, nil
	}
	if err != nil {
		return 0, checkpoint.Meta{}, err
	}
	cfg, state, meta, err := checkpoint.Load(dir)
	if err != nil {
		return 0, meta, err
	}
	if meta.RecipeHash != j.RecipeHash {
		text := ""
		if was := meta.Extra[recipeKey]; was != "" && j.Recipe != "" {
			text = "\n\t" + strings.Join(Differences(was, j.Recipe), "\n\t") + "\n\t"
		}
		return 0, meta, fmt.Errorf("train: %s was written under another recipe (hash %.12s, this one is %.12s) %s(undo the change, or choose another --out folder)", dir, meta.RecipeHash, j.RecipeHash, text)
	}
	s, rewinds, err := j.remembered(meta)
	if err != nil {
		return 0, meta, err
	}
	if err := j.reorder(Changes{Raised: s.Raised, Passed: passed(rewinds)}); err != nil {
		return 0, meta, err
	}
	if was, is := meta.Extra[orderKey], j.Source.HashTo(meta.Step); was != is {
		return 0, meta, fmt.Errorf("train: %s was trained on other batches (order %.12s, this one is %.12s): the shards, the mixture or the seed have changed (undo the change, or choose another --out folder)", dir, was, is)
	}
	if cfg.NumParams() != j.Engine.Config().NumParams() {
		return 0, meta, fmt.Errorf("train: %s holds %d parameters, the engine %d", dir, cfg.NumParams(), j.Engine.Config().NumParams())
	}
	return meta.Step, meta, j.take(dir, state, meta)
}

// Split cuts a batch into batches of at most rows rows, sharing its memory.
func Split(b *model.Batch, rows int) []*model.Batch {
	if rows <= 0 || rows >= b.B {
		return []*model.Batch{b}
	}
	cut := func(x []int32, lo, hi int) []int32 {
		if x == nil {
			return nil
		}
		return x[lo*b.T : hi*b.T]
	}
	var parts []*model.Batch
	for lo := 0; lo < b.B; lo += rows {
		hi := min(lo+rows, b.B)
		parts = append(parts, &model.Batch{
			B: hi - lo, T: b.T, Tokens: cut(b.Tokens, lo, hi), Targets: cut(b.Targets, lo, hi),
			Positions: cut(b.Positions, lo, hi), Segments: cut(b.Segments, lo, hi),
		})
	}
	return parts
}
