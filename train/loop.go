package train

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"ravn/adapter"
	"ravn/checkpoint"
	"ravn/internal/atomicfile"
	"ravn/model"
	"ravn/run"
)

// loop is the changing part of a running job.
type loop struct {
	*Job
	events  *run.Events
	timings *run.Events
	tokens  int64
	loss    float64
	saved   int       // step of the newest checkpoint
	savedAt time.Time // when it was written
	skipped int       // updates left out in succession, for want of a number
	watch   *watch

	timed              int           // steps of this call
	stepTime, idleTime time.Duration // of all but the first: their time, and that in which the devices had nothing to do

	ema     []float32 // running mean of the weights; nil without
	rewinds []Rewind  // so far

	// The guard's part.
	state    guardState
	base     []float64 // nats of each held-out document under the base
	baseHash string    // SHA-256 of the file that holds them
	groups   map[string][]int
	history  map[string][]curvePoint // relative changes of each group so far
	judged   []Judged
	judgedAt int
	asked    []Judged // what each task said last

	taskHashes string // of the base's answers
}

// mostSkipped is how many updates in succession may be left out for want of a number.
const mostSkipped = 3

// begin makes the loop what it was at the checkpoint of meta, or starts it; at becomes the step to go on from.
func (l *loop) begin(at *int, meta checkpoint.Meta) error {
	l.watch = newWatch(l.Options.Spikes)
	l.state, l.judged, l.judgedAt, l.skipped = guardState{}, nil, 0, 0
	l.asked = nil
	l.history = map[string][]curvePoint{}
	if l.Heldout != nil {
		l.groups = l.Heldout.groups()
	}
	if *at > 0 {
		return l.recall(meta)
	}
	if l.Options.EMA > 0 {
		l.ema = slices.Clone(l.Engine.State().Params)
	}
	if err := l.measureBase(); err != nil {
		return err
	}
	if err := l.askBase(); err != nil {
		return err
	}
	if err := l.sample(0); err != nil {
		return err
	}
	step, err := l.branch()
	if err != nil {
		return err
	}
	*at, l.saved = step, 0
	return l.writeOutcome(false)
}

// recall rebuilds from the events and the checkpoint what the loop knew.
func (l *loop) recall(meta checkpoint.Meta) error {
	evs, err := run.ReadEvents(filepath.Join(l.Dir, "events.jsonl"))
	if err != nil {
		return err
	}
	for _, e := range evs {
		switch e.Kind {
		case "step":
			loss, _ := e.Float("loss")
			norm, _ := e.Float("grad_norm")
			if number(loss, norm) {
				l.watch.see(loss, norm)
			}
			if l.skipped++; number(loss, norm) {
				l.skipped = 0
			}
		case "guard":
			l.remember(e)
		case "guard_task":
			l.rememberTask(e)
		}
	}
	l.judged = append(l.judged, l.asked...)
	if l.Options.EMA > 0 {
		if err := l.readEMA(meta); err != nil {
			return err
		}
	}
	if l.Heldout != nil {
		if err := l.readBase(meta.Extra[guardBaseKey]); err != nil {
			return err
		}
	}
	if err := l.recallBase(meta.Extra[tasksKey]); err != nil {
		return err
	}
	if l.state, l.rewinds, err = l.remembered(meta); err != nil {
		return err
	}
	return l.writeOutcome(false)
}

// remembered is what a checkpoint says of the guard and of spikes that the run went back for.
func (j *Job) remembered(meta checkpoint.Meta) (s guardState, rewinds []Rewind, err error) {
	if text := meta.Extra[guardKey]; j.Options.Guard != nil && text != "" {
		err = json.Unmarshal([]byte(text), &s)
	}
	if text := meta.Extra[rewindsKey]; j.Options.rewinds() && text != "" {
		err = errors.Join(err, json.Unmarshal([]byte(text), &rewinds))
	}
	if err != nil {
		return s, nil, fmt.Errorf("train: %s: state.json: %w", StepDir(j.Dir, meta.Step), err)
	}
	return s, rewinds, nil
}

func number(xs ...float64) bool {
	return !slices.ContainsFunc(xs, func(x float64) bool { return math.IsNaN(x) || math.IsInf(x, 0) })
}

// end is the last step: the planned one, or where a decay of the guard's ends.
func (l *loop) end() int {
	if l.state.Decay > 0 {
		return min(l.Options.Steps, l.state.Decay+l.Options.Guard.DecaySteps)
	}
	return l.Options.Steps
}

// lr is the learning rate of a step.
func (l *loop) lr(step int) float64 {
	s, steps := l.Options.Schedule, l.Options.Steps
	from := l.state.Decay
	if from == 0 || step <= from {
		return s.LR(step, steps)
	}
	top := s.LR(from, steps)
	return decayed("linear", top, min(top, s.PeakLR*s.FloorShare), step-from, l.end()-from)
}

func (l *loop) step(step int) error {
	o := l.Options
	if o.First != nil {
		if err := l.freeze(step); err != nil {
			return err
		}
	}
	began, idle := l.now(), l.idle()
	batch, err := l.Source.Batch(step)
	if err != nil {
		return fmt.Errorf("train: step %d: %w", step, err)
	}
	read := l.now().Sub(began)
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
	skip, err := l.inspect(step, norm)
	if err != nil {
		return err
	}
	lr := l.lr(step)
	l.tokens += int64(batch.B * batch.T)
	fields := []any{"loss", l.loss, "lr", lr, "grad_norm", norm, "targets", targets, "tokens", l.tokens}
	if skip {
		l.Engine.DropGradients()
		fields = append(fields, "skipped", true)
	} else {
		scale := 1.0
		if norm > o.ClipNorm {
			scale = o.ClipNorm / norm
		}
		err = l.Engine.Update(model.Update{Step: step, LR: lr, Beta1: o.Beta1, Beta2: o.Beta2, Eps: o.Eps, WeightDecay: o.WeightDecay, GradScale: scale})
		if err != nil {
			return fmt.Errorf("train: step %d: %w", step, err)
		}
		l.average()
	}
	if err := l.events.Write("step", step, fields...); err != nil {
		return err
	}
	if err := l.time(step, l.now().Sub(began), read, l.idle()-idle); err != nil {
		return err
	}
	if step%o.ValidateEvery == 0 || step == l.end() {
		if err := l.sample(step); err != nil {
			return err
		}
	}
	if step%o.ValidateEvery == 0 || step == l.end() || o.Guard != nil && step%o.Guard.Every == 0 {
		if err := l.measure(step); err != nil {
			return err
		}
	}
	overdue := o.CheckpointMinutes > 0 && l.now().Sub(l.savedAt).Minutes() >= o.CheckpointMinutes
	if step%o.CheckpointEvery == 0 || step == l.end() || overdue || l.state.Stopped > 0 || o.KeepEvery > 0 && step%o.KeepEvery == 0 {
		if err := l.save(step); err != nil {
			return err
		}
	}
	if l.state.Stopped > 0 {
		return l.breached(step)
	}
	return nil
}

// idler is an engine that knows for how long its devices have had nothing to do.
type idler interface{ Idle() time.Duration }

func (l *loop) idle() time.Duration {
	if e, ok := l.Engine.(idler); ok {
		return e.Idle()
	}
	return 0
}

// time writes what a step took: of it the reading of its batch, and, for an engine of devices, the time in which they had
// nothing to do. The sums leave out a call's first step, which compiles.
func (l *loop) time(step int, all, read, idle time.Duration) error {
	fields := []any{"seconds", all.Seconds(), "data_seconds", read.Seconds()}
	if _, ok := l.Engine.(idler); ok {
		fields = append(fields, "idle_seconds", idle.Seconds())
	}
	if l.timed > 0 {
		l.stepTime, l.idleTime = l.stepTime+all, l.idleTime+idle
	}
	l.timed++
	return l.timings.Write("step", step, fields...)
}

// idleShare is the share of the time of steps in which an engine's devices had nothing to do, if that is known.
func (l *loop) idleShare() (share float64, known bool) {
	if _, ok := l.Engine.(idler); !ok || l.stepTime <= 0 {
		return 0, false
	}
	return float64(l.idleTime) / float64(l.stepTime), true
}

// inspect looks at the loss and the gradient before they change the weights. skip leaves the update out.
func (l *loop) inspect(step int, norm float64) (skip bool, err error) {
	if !number(l.loss, norm) {
		names, err := l.documents(step)
		if l.Options.OnNaN != "skip" || l.skipped >= mostSkipped || err != nil {
			return false, errors.Join(&Diverged{Step: step, Loss: l.loss, GradNorm: norm, Documents: names}, err)
		}
		l.skipped++
		return true, l.events.Write("nan", step, "loss", l.loss, "grad_norm", norm, "action", "skip", "documents", names)
	}
	l.skipped = 0
	zLoss, zNorm, spike := l.watch.see(l.loss, norm)
	if !spike {
		return false, nil
	}
	names, err := l.documents(step)
	if err != nil {
		return false, err
	}
	if l.Options.rewinds() {
		return false, &spiked{Spike{Step: step, Loss: l.loss, ZLoss: zLoss, GradNorm: norm, ZNorm: zNorm, Documents: names}}
	}
	skip = l.Options.Spikes.Action == "skip"
	l.Progress.Logf("train: step %d: spike: loss %.3f (%.1f standard deviations above the last %d steps), gradient norm %.3g (%.1f); %s; documents: %s",
		step, l.loss, zLoss, len(l.watch.losses.values), norm, zNorm, l.Options.Spikes.Action, strings.Join(names[:min(5, len(names))], ", "))
	return skip, l.events.Write("spike", step, "loss", l.loss, "z_loss", zLoss, "grad_norm", norm, "z_norm", zNorm, "action", l.Options.Spikes.Action, "documents", names)
}

// documents are the names of what a step reads, "section/id", sorted.
func (l *loop) documents(step int) ([]string, error) {
	spans, err := l.Source.Spans(step)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, s := range spans {
		names = append(names, s.Section+"/"+s.Document)
	}
	slices.Sort(names)
	return slices.Compact(names), nil
}

// measure writes the held-out losses of a step, and asks the guard.
func (l *loop) measure(step int) error {
	if l.Heldout == nil {
		return nil
	}
	nll, err := l.Heldout.Score(l.Engine)
	if err != nil {
		return fmt.Errorf("train: held-out loss at step %d: %w", step, err)
	}
	if err := l.writeValid(step, nll); err != nil {
		return err
	}
	if err := l.writeScores(step, nll); err != nil {
		return err
	}
	g := l.Options.Guard
	if g == nil || step%g.Every != 0 && step != l.end() {
		return nil
	}
	return l.judge(step, nll)
}

// sample writes what the model makes of the recipe's prompts.
func (l *loop) sample(step int) error {
	s := l.Options.Samples
	if s == nil || l.Job.Write == nil {
		return nil
	}
	for _, p := range s.Prompts {
		text, err := l.Job.Write(p.Text, s.Tokens)
		if err != nil {
			return fmt.Errorf("train: sample at step %d: %w", step, err)
		}
		if err := l.events.Write("sample", step, "language", p.Language, "prompt", p.Text, "text", text); err != nil {
			return err
		}
	}
	return nil
}

func (l *loop) writeValid(step int, nll []float64) error {
	for _, m := range l.Heldout.Sum(nll) {
		err := l.events.Write("valid", step, "language", m.Language, "source", m.Source, "nll", m.NLL, "tokens", m.Tokens,
			"bytes", m.Bytes, "documents", m.Documents, "loss", m.Loss(), "bpb", m.BPB())
		if err != nil {
			return err
		}
	}
	return nil
}

// measureBase scores the held-out text before the first step, and keeps the scores to compare with.
func (l *loop) measureBase() error {
	if l.Heldout == nil {
		return nil
	}
	nll, err := l.Heldout.Score(l.Engine)
	if err != nil {
		return fmt.Errorf("train: held-out loss of the base: %w", err)
	}
	if err := l.writeValid(0, nll); err != nil {
		return err
	}
	l.base = nll
	if err := l.writeBase(); err != nil {
		return err
	}
	return l.writeScores(0, nll)
}

// baseName is the file that holds the base's loss on every held-out document: float64s, little endian, in their order.
const baseName = "base-scores.bin"

func (l *loop) writeBase() error {
	data := make([]byte, 0, 8*len(l.base))
	for _, x := range l.base {
		data = binary.LittleEndian.AppendUint64(data, math.Float64bits(x))
	}
	sum := sha256.Sum256(data)
	l.baseHash = hex.EncodeToString(sum[:])
	return atomicfile.WriteFile(filepath.Join(l.Dir, baseName), data)
}

func (l *loop) readBase(want string) error {
	path := filepath.Join(l.Dir, baseName)
	data, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("train: %w", err)
	}
	sum := sha256.Sum256(data)
	if l.baseHash = hex.EncodeToString(sum[:]); err != nil || l.baseHash != want || len(data) != 8*len(l.Heldout.texts) {
		return fmt.Errorf("train: %s is missing or not what the checkpoint was made with, so nothing can be compared with the base (restore it, or remove the checkpoints to begin anew)", path)
	}
	l.base = make([]float64, len(data)/8)
	for i := range l.base {
		l.base[i] = math.Float64frombits(binary.LittleEndian.Uint64(data[8*i:]))
	}
	return nil
}

// save writes a checkpoint and removes those that need not be kept.
func (l *loop) save(step int) error {
	if step == l.saved {
		return nil
	}
	if err := l.events.Sync(); err != nil {
		return err
	}
	began := l.now()
	extra := map[string]string{orderKey: l.Source.HashTo(step), rateKey: strconv.FormatFloat(l.lr(step), 'g', -1, 64)}
	if l.Recipe != "" {
		extra[recipeKey] = l.Recipe
	}
	if l.BaseHash != "" {
		extra[baseKey] = l.BaseHash
	}
	if l.Heldout != nil {
		extra[guardBaseKey] = l.baseHash
	}
	if l.Options.Guard != nil {
		extra[guardKey] = l.state.text()
		if l.taskHashes != "" {
			extra[tasksKey] = l.taskHashes
		}
	}
	if len(l.rewinds) > 0 {
		text, err := json.Marshal(l.rewinds)
		if err != nil {
			return fmt.Errorf("train: %w", err)
		}
		extra[rewindsKey] = string(text)
	}
	if l.ema != nil {
		hash, err := l.writeEMA(step)
		if err != nil {
			return err
		}
		extra[emaKey] = hash
	}
	if a, ok := l.Engine.(*adapter.Engine); ok {
		hash, err := a.Write(AdapterDir(l.Dir, step))
		if err != nil {
			return err
		}
		extra[adapterKey] = hash
	}
	meta := checkpoint.Meta{Step: step, Tokens: l.tokens, RecipeHash: l.RecipeHash, EventsBytes: l.events.Size(), Stage: l.Name, Extra: extra}
	write := l.Job.Save
	if write == nil {
		write = checkpoint.Save
	}
	if err := write(StepDir(l.Dir, step), l.Engine.Config(), l.Engine.State(), meta, l.Files); err != nil {
		return err
	}
	l.saved, l.savedAt = step, l.now()
	if err := l.prune(); err != nil {
		return err
	}
	if err := l.writeOutcome(false); err != nil {
		return err
	}
	return l.timings.Write("checkpoint", step, "seconds", l.now().Sub(began).Seconds())
}

// prune removes all checkpoints but the newest, the milestones, and the last within the guard's limits.
func (l *loop) prune() error {
	var protect []string
	if l.state.Within > 0 {
		protect = append(protect, checkpoint.Name(l.state.Within))
	}
	if every := l.Options.KeepEvery; every > 0 {
		for step := every; step <= l.end(); step += every {
			protect = append(protect, checkpoint.Name(step))
		}
	}
	if every := l.Options.CheckpointEvery; l.Options.rewinds() {
		for step := l.Options.rewindTo(l.saved + 1); step <= l.saved; step += every {
			protect = append(protect, checkpoint.Name(step))
		}
	}
	if err := checkpoint.Prune(Root(l.Dir), l.Options.KeepCheckpoints, protect...); err != nil {
		return err
	}
	return errors.Join(l.pruneBeside("ema"), l.pruneBeside("adapter"))
}

// interrupt leaves a checkpoint at the last finished step, unless one is there.
func (l *loop) interrupt(step int) error {
	if step == 0 {
		return fmt.Errorf("train: stopped before the first step: %w", context.Canceled)
	}
	if err := l.save(step); err != nil {
		return err
	}
	return &Interrupted{Step: step, Steps: l.end(), Checkpoint: StepDir(l.Dir, step)}
}

// paused turns "no space left" into a message that says what is safe; other errors it leaves.
func (l *loop) paused(step int, err error) error {
	if !errors.Is(err, syscall.ENOSPC) {
		return err
	}
	p := &Paused{Step: step, Err: err}
	if l.saved > 0 {
		p.Checkpoint = StepDir(l.Dir, l.saved)
	}
	return p
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
	if err := l.take(l.From, state, meta); err != nil {
		return 0, err
	}
	if was, is := meta.Extra[orderKey], l.Source.HashTo(meta.Step); was != is {
		return 0, fmt.Errorf("train: %s was trained on other batches (order %.12s, this one is %.12s), so what this run has read could not be told (use the data, mixture and seed of that run up to its step %d)", l.From, was, is, meta.Step)
	}
	if was := meta.Extra[baseKey]; was != l.BaseHash {
		return 0, fmt.Errorf("train: %s was continued from another base (%.12s, this one is %.12s)", l.From, was, l.BaseHash)
	}
	l.tokens = meta.Tokens
	if err := l.events.Write("branch", meta.Step, "recipe_hash", meta.RecipeHash); err != nil {
		return 0, err
	}
	return meta.Step, l.measure(meta.Step)
}
