// Package train is the loop that continues (or begins) the training of a model: batches in, checkpoints and events out.
//
// A run is a pure function of its recipe, its shards and its first weights. Events carry no clock, so a run that was
// killed and resumed ends with the same bytes as one that was not; what depends on the machine goes to timings.jsonl.
package train

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"time"

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
	State() model.State
	SetState(s model.State) error
}

// Source gives the batch of any step, the first being 1, and says which documents are in it. Sources with the same
// Hash give the same batches.
type Source interface {
	Hash() string
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
	From       string            // checkpoint to branch off from, its weights, moments and step; "" begins at step 0
	Files      map[string][]byte // tokenizer files, put into every checkpoint
	Progress   *progress.Reporter
}

// Result is what a finished job ended with.
type Result struct {
	Steps      int        `json:"steps"`
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

// Interrupted says that the job was stopped on request, after a checkpoint.
type Interrupted struct {
	Step, Steps int
	Checkpoint  string
}

func (i *Interrupted) Error() string {
	return fmt.Sprintf("train: stopped at step %d of %d; checkpoint %s (run the same command again to go on)", i.Step, i.Steps, i.Checkpoint)
}

// orderKey is where a checkpoint says which order its batches came from.
const orderKey = "order"

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
	start := time.Now()
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
	defer events.Close()
	timings, err := run.OpenEvents(filepath.Join(j.Dir, "timings.jsonl"), run.KeepAll)
	if err != nil {
		return nil, err
	}
	defer timings.Close()

	l := &loop{Job: j, events: events, timings: timings, tokens: meta.Tokens}
	res := &Result{Steps: j.Options.Steps, ResumedAt: at}
	if at == 0 {
		if err := l.validate(0); err != nil {
			return nil, err
		}
		if at, err = l.branch(); err != nil {
			return nil, err
		}
	}
	tokensBefore := l.tokens
	task := j.Progress.Start("train "+j.Name, int64(j.Options.Steps-at), "steps")
	for step := at + 1; step <= j.Options.Steps; step++ {
		if ctx.Err() != nil {
			return nil, l.interrupt(step-1, at)
		}
		if err := l.step(step); err != nil {
			return nil, err
		}
		task.Note(fmt.Sprintf("loss %.3f", l.loss))
		task.Add(1)
	}
	task.Done()
	res.Checkpoint, res.Loss = StepDir(j.Dir, j.Options.Steps), l.loss
	res.Seconds = time.Since(start).Seconds()
	res.TokensPerS = float64(l.tokens-tokensBefore) / max(res.Seconds, 1e-9)
	if err := timings.Write("train", j.Options.Steps, "seconds", res.Seconds, "tokens_per_second", res.TokensPerS); err != nil {
		return nil, err
	}
	return res, j.fillResult(res)
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
			if e.Step == j.Options.Steps {
				res.Last = append(res.Last, m)
			}
		case "step":
			if e.Step == j.Options.Steps {
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
		return 0, meta, fmt.Errorf("train: %s was written under another recipe (hash %.12s, this one is %.12s) (undo the change, or choose another --out folder)", dir, meta.RecipeHash, j.RecipeHash)
	}
	if was := meta.Extra[orderKey]; was != j.Source.Hash() {
		return 0, meta, fmt.Errorf("train: %s was trained on other batches (order %.12s, this one is %.12s): the shards, the mixture or the seed have changed (undo the change, or choose another --out folder)", dir, was, j.Source.Hash())
	}
	if cfg.NumParams() != j.Engine.Config().NumParams() {
		return 0, meta, fmt.Errorf("train: %s holds %d parameters, the engine %d", dir, cfg.NumParams(), j.Engine.Config().NumParams())
	}
	if err := j.Engine.SetState(state); err != nil {
		return 0, meta, fmt.Errorf("train: %s: %w", dir, err)
	}
	return meta.Step, meta, nil
}

// branch goes on from the checkpoint of another run, as for a decay from a stable phase, and returns its step.
func (l *loop) branch() (int, error) {
	if l.From == "" {
		return 0, nil
	}
	cfg, state, meta, err := checkpoint.Load(l.From)
	if err != nil {
		return 0, err
	}
	if meta.Step >= l.Options.Steps {
		return 0, fmt.Errorf("train: %s stands at step %d, so a run of %d steps from it has nothing to do (raise train.steps)", l.From, meta.Step, l.Options.Steps)
	}
	if n := l.Engine.Config().NumParams(); cfg.NumParams() != n {
		return 0, fmt.Errorf("train: %s holds %d parameters, the base %d", l.From, cfg.NumParams(), n)
	}
	if err := l.Engine.SetState(state); err != nil {
		return 0, fmt.Errorf("train: %s: %w", l.From, err)
	}
	if was := meta.Extra[orderKey]; was != l.Source.Hash() {
		return 0, fmt.Errorf("train: %s was trained on other batches (order %.12s, this one is %.12s), so what this run has read could not be told (use the data, mixture and seed of that run)", l.From, was, l.Source.Hash())
	}
	l.tokens = meta.Tokens
	if err := l.events.Write("branch", meta.Step, "recipe_hash", meta.RecipeHash); err != nil {
		return 0, err
	}
	return meta.Step, l.validate(meta.Step)
}

// loop is the changing part of a running job.
type loop struct {
	*Job
	events  *run.Events
	timings *run.Events
	tokens  int64
	loss    float64
}

func (l *loop) step(step int) error {
	o := l.Options
	began := time.Now()
	batch, err := l.Source.Batch(step)
	if err != nil {
		return fmt.Errorf("train: step %d: %w", step, err)
	}
	targets := batch.NumTargets()
	if targets == 0 {
		return fmt.Errorf("train: step %d: no token of the batch has a target (every document is one token long?)", step)
	}
	sum := 0.0
	for _, micro := range Split(batch, o.MicroRows) {
		nll, err := l.Engine.Accumulate(micro, 1/float32(targets))
		if err != nil {
			return fmt.Errorf("train: step %d: %w", step, err)
		}
		sum += nll
	}
	l.loss = sum / float64(targets)
	norm := l.Engine.GradNorm()
	if math.IsNaN(l.loss) || math.IsInf(l.loss, 0) || math.IsNaN(norm) || math.IsInf(norm, 0) {
		return l.diverged(step, norm)
	}
	scale := 1.0
	if norm > o.ClipNorm {
		scale = o.ClipNorm / norm
	}
	lr := o.Schedule.LR(step, o.Steps)
	err = l.Engine.Update(model.Update{Step: step, LR: lr, Beta1: o.Beta1, Beta2: o.Beta2, Eps: o.Eps, WeightDecay: o.WeightDecay, GradScale: scale})
	if err != nil {
		return fmt.Errorf("train: step %d: %w", step, err)
	}
	l.tokens += int64(batch.B * batch.T)
	if err := l.events.Write("step", step, "loss", l.loss, "lr", lr, "grad_norm", norm, "targets", targets, "tokens", l.tokens); err != nil {
		return err
	}
	if err := l.timings.Write("step", step, "seconds", time.Since(began).Seconds()); err != nil {
		return err
	}
	if step%o.ValidateEvery == 0 || step == o.Steps {
		if err := l.validate(step); err != nil {
			return err
		}
	}
	if step%o.CheckpointEvery == 0 || step == o.Steps {
		return l.save(step)
	}
	return nil
}

func (l *loop) diverged(step int, norm float64) error {
	d := &Diverged{Step: step, Loss: l.loss, GradNorm: norm}
	spans, err := l.Source.Spans(step)
	if err != nil {
		return errors.Join(d, err)
	}
	seen := map[string]bool{}
	for _, s := range spans {
		if name := s.Section + "/" + s.Document; !seen[name] {
			seen[name] = true
			d.Documents = append(d.Documents, name)
		}
	}
	sort.Strings(d.Documents)
	return d
}

func (l *loop) validate(step int) error {
	if l.Heldout == nil {
		return nil
	}
	ms, err := l.Heldout.Measure(l.Engine)
	if err != nil {
		return fmt.Errorf("train: held-out loss at step %d: %w", step, err)
	}
	for _, m := range ms {
		err := l.events.Write("valid", step, "language", m.Language, "source", m.Source, "nll", m.NLL, "tokens", m.Tokens,
			"bytes", m.Bytes, "documents", m.Documents, "loss", m.Loss(), "bpb", m.BPB())
		if err != nil {
			return err
		}
	}
	return nil
}

func (l *loop) save(step int) error {
	if err := l.events.Sync(); err != nil {
		return err
	}
	began := time.Now()
	meta := checkpoint.Meta{Step: step, Tokens: l.tokens, RecipeHash: l.RecipeHash, EventsBytes: l.events.Size(), Stage: l.Name, Extra: map[string]string{orderKey: l.Source.Hash()}}
	if err := checkpoint.Save(StepDir(l.Dir, step), l.Engine.Config(), l.Engine.State(), meta, l.Files); err != nil {
		return err
	}
	if err := checkpoint.Prune(Root(l.Dir), l.Options.KeepCheckpoints); err != nil {
		return err
	}
	return l.timings.Write("checkpoint", step, "seconds", time.Since(began).Seconds())
}

// interrupt leaves a checkpoint at the last finished step, unless one is there.
func (l *loop) interrupt(step, resumed int) error {
	if step == 0 {
		return fmt.Errorf("train: stopped before the first step: %w", context.Canceled)
	}
	if step != resumed && step%l.Options.CheckpointEvery != 0 {
		if err := l.save(step); err != nil {
			return err
		}
	}
	return &Interrupted{Step: step, Steps: l.Options.Steps, Checkpoint: StepDir(l.Dir, step)}
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
