package train

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"ravn/adapter"
	"ravn/checkpoint"
	"ravn/model"
	"ravn/run"
)

// Changes are what happened on the way that changes what later steps read.
type Changes struct {
	Raised []int    // steps behind which replay was raised
	Passed []Passed // batches that a rewind has passed over, in the order of the rewinds
}

// Passed says that from step First on the run reads what would have come after step Last, as the order was then.
type Passed struct {
	First int `json:"first"`
	Last  int `json:"last"`
}

// Before are the changes that a rewind found: the rewinds before it, and the replay raised before it passes over anything.
func (c Changes) Before(rewind int) Changes {
	first := c.Passed[rewind].First
	raised := slices.DeleteFunc(slices.Clone(c.Raised), func(step int) bool { return step >= first })
	return Changes{Raised: raised, Passed: c.Passed[:rewind]}
}

// Superseded tells whether a later rewind went back behind what this one passed over, so that its own beginning is no more.
func (c Changes) Superseded(rewind int) bool {
	return slices.ContainsFunc(c.Passed[rewind+1:], func(p Passed) bool { return p.First <= c.Passed[rewind].First })
}

// Rewind is a loss spike that the run went back for.
type Rewind struct {
	Spike
	To int `json:"to"` // step of the checkpoint that it went back to; 0 is the beginning
	Passed
}

// Spike is a step whose loss or gradient norm stood out, found before the update.
type Spike struct {
	Step      int      `json:"step"`
	Loss      float64  `json:"loss"`
	ZLoss     float64  `json:"z_loss"` // standard deviations above the mean of the window
	GradNorm  float64  `json:"grad_norm"`
	ZNorm     float64  `json:"z_norm"`
	Documents []string `json:"documents"` // "section/id" of its batch
}

// spiked asks the loop to go back for a spike.
type spiked struct{ Spike }

func (s *spiked) Error() string { return fmt.Sprintf("train: step %d: loss spike", s.Step) }

// Unstable says that a run has gone back as often as it may, and a spike came again.
type Unstable struct {
	Spike
	Rewinds []Rewind
}

func (u *Unstable) Error() string {
	var before []string
	for _, r := range u.Rewinds {
		before = append(before, fmt.Sprintf("step %d, loss %.3f", r.Step, r.Loss))
	}
	return fmt.Sprintf("train: step %d: loss %.3f is a spike again, after %d rewinds (%s), which is as many as spikes.most allows; documents of this batch: %s (it is not a batch or two: lower peak_lr, lengthen the warm-up, or look at these documents; the last checkpoint is sound)",
		u.Step, u.Loss, len(u.Rewinds), strings.Join(before, "; "), strings.Join(u.Documents, ", "))
}

// rewindsKey is where a checkpoint lists the rewinds before it.
const rewindsKey = "rewinds"

func (o *Options) rewinds() bool { return o.Spikes != nil && o.Spikes.Action == "rewind" }

// rewindTo is the step of the scheduled checkpoint that a spike goes back to: the last one before the batches that are
// passed over. Others do not count, so that an interruption, which leaves one too, changes nothing.
func (o *Options) rewindTo(step int) int {
	return max(0, step-o.Spikes.Back-1) / o.CheckpointEvery * o.CheckpointEvery
}

func passed(rewinds []Rewind) []Passed {
	var out []Passed
	for _, r := range rewinds {
		out = append(out, r.Passed)
	}
	return out
}

// reorder makes the source what changes make of it.
func (j *Job) reorder(c Changes) error {
	if len(c.Raised) == 0 && len(c.Passed) == 0 {
		return nil
	}
	if j.Reorder == nil {
		return errors.New("this order cannot be changed")
	}
	source, err := j.Reorder(c)
	if err == nil {
		j.Source = source
	}
	return err
}

// rewind goes back to the last scheduled checkpoint before the batches that led to a spike, and returns its step. All
// that the run knew then it knows again; only the rewinds themselves are remembered. A run that is killed before its next
// checkpoint finds the same spikes again and ends with the same bytes.
func (l *loop) rewind(s Spike) (int, error) {
	o := l.Options.Spikes
	if len(l.rewinds) >= o.Most {
		return s.Step, &Unstable{Spike: s, Rewinds: l.rewinds}
	}
	to := l.Options.rewindTo(s.Step)
	if _, err := os.Stat(StepDir(l.Dir, to)); to > 0 && errors.Is(err, os.ErrNotExist) { // before the run branched off
		to = 0
	}
	rewinds := append(l.rewinds, Rewind{s, to, Passed{max(1, s.Step-o.Back), s.Step}})
	l.Progress.Logf("train: step %d: spike: loss %.3f (%.1f standard deviations above the last %d steps), gradient norm %.3g (%.1f); rewind %d of at most %d, back to step %d; the batches of steps %d to %d are passed over; documents: %s",
		s.Step, s.Loss, s.ZLoss, len(l.watch.losses.values), s.GradNorm, s.ZNorm, len(rewinds), o.Most, to, max(1, s.Step-o.Back), s.Step, strings.Join(s.Documents[:min(5, len(s.Documents))], ", "))
	if err := checkpoint.RemoveAfter(Root(l.Dir), to); err != nil {
		return s.Step, err
	}
	at, known, err := l.goBack(to)
	if err != nil {
		return s.Step, err
	}
	for _, r := range rewinds[known:] {
		err := l.events.Write("rewind", at, "from", r.Step, "loss", r.Loss, "z_loss", r.ZLoss, "grad_norm", r.GradNorm, "z_norm", r.ZNorm,
			"first", r.First, "last", r.Last, "documents", r.Documents)
		if err != nil {
			return s.Step, err
		}
	}
	l.rewinds = rewinds
	if err := l.reorder(Changes{Raised: l.state.Raised, Passed: passed(rewinds)}); err != nil {
		return s.Step, fmt.Errorf("train: step %d: going back for a spike: %w", s.Step, err)
	}
	return at, l.writeOutcome(false)
}

// goBack makes the loop what it was at the checkpoint of a step, or at the beginning; known is how many rewinds were
// known then.
func (l *loop) goBack(to int) (at, known int, err error) {
	var state model.State
	var meta checkpoint.Meta
	a, adapted := l.Engine.(*adapter.Engine)
	switch {
	case to > 0:
		if _, state, meta, err = checkpoint.Load(StepDir(l.Dir, to)); err == nil {
			err = l.take(StepDir(l.Dir, to), state, meta)
		}
	case adapted:
		err = a.Restart()
	default:
		if state, err = l.First(); err == nil {
			err = l.Engine.SetState(state)
		}
	}
	if err == nil {
		err = l.events.Close()
	}
	if err != nil {
		return 0, 0, err
	}
	events, err := run.OpenEvents(filepath.Join(l.Dir, "events.jsonl"), meta.EventsBytes)
	if err != nil {
		return 0, 0, err
	}
	l.events, l.tokens, l.saved, l.rewinds = events, meta.Tokens, to, nil
	at = to
	err = l.begin(&at, meta)
	return at, len(l.rewinds), err
}
