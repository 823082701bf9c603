package train

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"time"

	"ravn/adapter"
	"ravn/model"
)

// Options say how a model is trained on an order of batches.
type Options struct {
	Steps           int      `yaml:"steps" json:"steps"`                                 // optimizer updates
	RowsPerStep     int      `yaml:"rows_per_step" json:"rows_per_step"`                 // rows of seq_tokens in one update
	MicroRows       int      `yaml:"micro_rows,omitempty" json:"micro_rows"`             // rows computed at once, on each device where there are several; the rest is accumulated (default: all)
	Schedule        Schedule `yaml:"schedule" json:"schedule"`                           // learning rate
	Beta1           float64  `yaml:"beta1,omitempty" json:"beta1"`                       // AdamW, 0.9
	Beta2           float64  `yaml:"beta2,omitempty" json:"beta2"`                       // AdamW, 0.95
	Eps             float64  `yaml:"eps,omitempty" json:"eps"`                           // AdamW, 1e-8
	WeightDecay     float64  `yaml:"weight_decay,omitempty" json:"weight_decay"`         // decoupled, times the rate; not on norms; 0.1
	ClipNorm        float64  `yaml:"clip_norm,omitempty" json:"clip_norm"`               // global norm above which gradients are scaled down; 1
	Precision       string   `yaml:"precision,omitempty" json:"precision,omitempty"`     // of matrix products: fp32, or bf16 with weights, gradients and moments still fp32; fp32
	Moments         string   `yaml:"moments,omitempty" json:"moments,omitempty"`         // of AdamW, as they are kept: fp32, or bf16 for half their memory, with engine xla and beta2 up to 0.99; fp32
	Recompute       string   `yaml:"recompute,omitempty" json:"recompute,omitempty"`     // what the way back computes again rather than keeps: none, or block for the same bits in less memory and a third more time; none
	ValidateEvery   int      `yaml:"validate_every,omitempty" json:"validate_every"`     // steps between held-out losses; also at step 0 and the end
	CheckpointEvery int      `yaml:"checkpoint_every,omitempty" json:"checkpoint_every"` // steps between checkpoints; also at the end
	KeepCheckpoints int      `yaml:"keep_checkpoints,omitempty" json:"keep_checkpoints"` // newest kept; 2

	Freeze  []string         `yaml:"freeze,omitempty" json:"freeze,omitempty"`   // parameters that stay as they are, by name, with * and [0-3] as in file names: "model.embed_tokens.*", "model.layers.[0-3].*"
	Only    []string         `yaml:"only,omitempty" json:"only,omitempty"`       // instead: those that are trained, all others stay
	First   *First           `yaml:"first,omitempty" json:"first,omitempty"`     // a beginning in which fewer are trained, such as the embeddings of a new vocabulary
	Adapter *adapter.Options `yaml:"adapter,omitempty" json:"adapter,omitempty"` // trains low-rank adapters and nothing else; without it, the weights themselves
	ZLoss   float64          `yaml:"z_loss,omitempty" json:"z_loss,omitempty"`   // weight of log²Z of the logits in what is minimised, against their drift; 1e-4 where it is used; 0 is without
	EMA     float64          `yaml:"ema,omitempty" json:"ema,omitempty"`         // decay of a running mean of the weights, such as 0.999, kept beside each checkpoint in ema/; 0 keeps none

	CheckpointMinutes float64  `yaml:"checkpoint_minutes,omitempty" json:"checkpoint_minutes,omitempty"` // also a checkpoint after so many minutes without one; 0 is never
	KeepEvery         int      `yaml:"keep_every,omitempty" json:"keep_every,omitempty"`                 // checkpoints at multiples of so many steps are kept for good; 0 keeps none
	TimeLimit         string   `yaml:"time_limit,omitempty" json:"time_limit,omitempty"`                 // such as 55m or 11h30m: a call stops before it with a checkpoint, and the next one goes on
	OnNaN             string   `yaml:"on_nan,omitempty" json:"on_nan"`                                   // "stop" (default), or "skip": leave out the update of a batch whose loss or gradient is no number, three in succession at most
	Spikes            *Spikes  `yaml:"spikes,omitempty" json:"spikes,omitempty"`                         // what a loss spike is and what is done about it; without it none is looked for
	Samples           *Samples `yaml:"samples,omitempty" json:"samples,omitempty"`                       // beginnings that the model continues at every validation, for people to read
	Guard             *Guard   `yaml:"guard,omitempty" json:"guard,omitempty"`                           // what of the base may not be lost; without it nothing is watched
}

// Samples are beginnings of texts, continued with the likeliest tokens.
type Samples struct {
	Prompts []Prompt `yaml:"prompts" json:"prompts"`         // in the target and base languages
	Tokens  int      `yaml:"tokens,omitempty" json:"tokens"` // of each continuation; default 32
}

// Prompt is the beginning of a text.
type Prompt struct {
	Language string `yaml:"language" json:"language"` // code, for people
	Text     string `yaml:"text" json:"text"`         // its first words
}

// DefaultOptions are AdamW's customary numbers; Steps, RowsPerStep and the peak rate are for the recipe to say.
func DefaultOptions() Options {
	return Options{
		Beta1: 0.9, Beta2: 0.95, Eps: 1e-8, WeightDecay: 0.1, ClipNorm: 1, KeepCheckpoints: 2,
		Precision: "fp32", Recompute: "none", OnNaN: "stop",
		Schedule: Schedule{Kind: "cosine", FloorShare: 0.1},
	}
}

// Fill completes o: what depends on other fields and was left at zero.
func (o *Options) Fill() {
	o.Schedule.Fill(o.Steps)
	if o.MicroRows == 0 {
		o.MicroRows = o.RowsPerStep
	}
	if o.ValidateEvery == 0 {
		o.ValidateEvery = max(1, o.Steps/10)
	}
	if o.CheckpointEvery == 0 {
		o.CheckpointEvery = max(1, o.Steps/5)
	}
	if o.OnNaN == "" {
		o.OnNaN = "stop"
	}
	if o.Adapter != nil {
		o.Adapter.Fill()
	}
	if o.Samples != nil && o.Samples.Tokens == 0 {
		o.Samples.Tokens = 32
	}
	if o.Spikes != nil {
		o.Spikes.fill()
	}
	if o.Guard != nil {
		o.Guard.fill(o)
	}
}

// Deciding is o without what has no say in the numbers: when checkpoints are
// written, which are kept, when a call ends, and what is computed twice for want of memory.
func (o Options) Deciding() Options {
	if o.Guard == nil && !o.rewinds() { // a guard names the last scheduled checkpoint within limits, a rewind goes back to one
		o.CheckpointEvery = 0
	}
	o.KeepCheckpoints, o.CheckpointMinutes, o.KeepEvery, o.TimeLimit, o.Recompute = 0, 0, 0, "", ""
	return o
}

// First is the beginning of a phase, in which fewer parameters are trained: the embeddings of a new vocabulary before all else.
type First struct {
	Steps int      `yaml:"steps" json:"steps"` // of the beginning
	Only  []string `yaml:"only" json:"only"`   // those that are trained in it, as in only: "model.embed_tokens.*", "lm_head.*"
}

// Frozen says which parameters of c stay as they are in all of the phase, or nil when all are trained. A pattern that fits
// nothing is an error.
func (o Options) Frozen(c *model.Config) (func(name string) bool, error) {
	return frozen(c, "freeze or only", o.Freeze, o.Only)
}

// FrozenAt says which parameters of c stay as they are in a step; nil when all are trained.
func (o Options) FrozenAt(c *model.Config, step int) (func(name string) bool, error) {
	always, err := o.Frozen(c)
	if o.First == nil || step > o.First.Steps || err != nil {
		return always, err
	}
	first, err := frozen(c, "first.only", nil, o.First.Only)
	if err != nil || always == nil {
		return first, err
	}
	both := func(name string) bool { return always(name) || first(name) }
	if !slices.ContainsFunc(c.Layout(), func(p model.Param) bool { return !both(p.Name) }) {
		return nil, errors.New("train: first.only leaves nothing to train beside freeze and only")
	}
	return both, nil
}

func frozen(c *model.Config, field string, freeze, only []string) (func(name string) bool, error) {
	patterns := slices.Concat(freeze, only)
	if len(patterns) == 0 {
		return nil, nil
	}
	used, frozen, trained := map[string]bool{}, map[string]bool{}, 0
	for _, p := range c.Layout() {
		hit := false
		for _, pattern := range patterns {
			if ok, err := path.Match(pattern, p.Name); err != nil {
				return nil, fmt.Errorf("train: %s: pattern %q: %w", field, pattern, err)
			} else if ok {
				hit, used[pattern] = true, true
			}
		}
		if frozen[p.Name] = hit == (len(freeze) > 0); !frozen[p.Name] {
			trained++
		}
	}
	for _, pattern := range patterns {
		if !used[pattern] {
			return nil, fmt.Errorf("train: %s: no parameter is named like %q (names are those of the safetensors file, such as %s)", field, pattern, c.Layout()[len(c.Layout())/2].Name)
		}
	}
	if trained == 0 {
		return nil, errors.New("train: freeze leaves nothing to train")
	}
	return func(name string) bool { return frozen[name] }, nil
}

// timeLimit is TimeLimit as a duration; 0 has none.
func (o Options) timeLimit() (time.Duration, error) {
	if o.TimeLimit == "" {
		return 0, nil
	}
	d, err := time.ParseDuration(o.TimeLimit)
	if err == nil && d <= 0 {
		err = errors.New("it is not positive")
	}
	if err != nil {
		return 0, fmt.Errorf("time_limit %q: %w (write it as 55m or 11h30m)", o.TimeLimit, err)
	}
	return d, nil
}

// Validate reports everything about o that cannot be followed.
func (o Options) Validate() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if o.Steps <= 0 {
		bad("steps %d must be positive", o.Steps)
	}
	if o.RowsPerStep <= 0 {
		bad("rows_per_step %d must be positive", o.RowsPerStep)
	}
	if o.MicroRows < 0 || o.MicroRows > o.RowsPerStep {
		bad("micro_rows %d must lie in [1, rows_per_step=%d]", o.MicroRows, o.RowsPerStep)
	}
	if o.Beta1 < 0 || o.Beta1 >= 1 || o.Beta2 < 0 || o.Beta2 >= 1 {
		bad("beta1 %g and beta2 %g must lie in [0, 1)", o.Beta1, o.Beta2)
	}
	if o.Eps <= 0 {
		bad("eps %g must be positive", o.Eps)
	}
	if o.WeightDecay < 0 {
		bad("weight_decay %g is negative", o.WeightDecay)
	}
	if o.ClipNorm <= 0 {
		bad("clip_norm %g must be positive", o.ClipNorm)
	}
	if _, ok := precisions[o.Precision]; !ok {
		bad("precision %q must be fp32 or bf16", o.Precision)
	}
	if o.Moments != "" && o.Moments != "fp32" && o.Moments != "bf16" {
		bad("moments %q must be fp32 or bf16", o.Moments)
	}
	if o.Moments == "bf16" && o.Beta2 > 0.99 {
		bad("moments bf16 with beta2 %g: a step changes a second moment by less than bf16 can tell, so it would stand still (beta2 up to 0.99, or moments fp32)", o.Beta2)
	}
	if o.Recompute != "none" && o.Recompute != "block" {
		bad("recompute %q must be none or block", o.Recompute)
	}
	if o.ValidateEvery < 0 || o.CheckpointEvery < 0 || o.KeepCheckpoints < 1 {
		bad("validate_every %d and checkpoint_every %d must not be negative, keep_checkpoints %d at least 1", o.ValidateEvery, o.CheckpointEvery, o.KeepCheckpoints)
	}
	if len(o.Freeze) > 0 && len(o.Only) > 0 {
		bad("freeze and only say the same thing in two ways; give one of them")
	}
	if f := o.First; f != nil {
		if f.Steps < 1 || f.Steps >= o.Steps || len(f.Only) == 0 {
			bad("first needs steps in [1, steps=%d), not %d, and in only what is trained in them", o.Steps, f.Steps)
		}
		for _, pattern := range f.Only {
			if _, err := path.Match(pattern, ""); err != nil {
				bad("first.only: %q is no pattern: %v", pattern, err)
			}
		}
	}
	for _, pattern := range slices.Concat(o.Freeze, o.Only) {
		if _, err := path.Match(pattern, ""); err != nil {
			bad("freeze or only: %q is no pattern: %v", pattern, err)
		}
	}
	if o.Adapter != nil {
		if err := o.Adapter.Validate(); err != nil {
			errs = append(errs, err)
		}
		if len(o.Freeze)+len(o.Only) > 0 || o.First != nil {
			bad("adapter trains nothing but itself, so freeze, only and first have no say (targets and modules_to_save choose)")
		}
	}
	if o.ZLoss < 0 || o.EMA < 0 || o.EMA >= 1 {
		bad("z_loss %g must not be negative, and ema %g lie in [0, 1)", o.ZLoss, o.EMA)
	}
	if o.CheckpointMinutes < 0 || o.KeepEvery < 0 {
		bad("checkpoint_minutes %g and keep_every %d must not be negative", o.CheckpointMinutes, o.KeepEvery)
	}
	if _, err := o.timeLimit(); err != nil {
		errs = append(errs, err)
	}
	if o.OnNaN != "stop" && o.OnNaN != "skip" {
		bad("on_nan %q is unknown (stop, skip)", o.OnNaN)
	}
	if s := o.Samples; s != nil && (len(s.Prompts) == 0 || s.Tokens < 1) {
		bad("samples needs prompts, and a positive number of tokens, not %d", s.Tokens)
	}
	if o.Spikes != nil {
		if err := o.Spikes.Validate(); err != nil {
			errs = append(errs, err)
		}
	}
	if o.Guard != nil {
		if err := o.Guard.Validate(); err != nil {
			errs = append(errs, err)
		}
	}
	if err := o.Schedule.Validate(o.Steps); err != nil {
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

var precisions = map[string]model.DType{"fp32": model.F32, "bf16": model.BF16}

// DType is the number format that Precision names.
func (o Options) DType() model.DType { return precisions[o.Precision] }
