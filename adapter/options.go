package adapter

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"ravn/model"
)

// Options say which matrices get an adapter and of what kind. Names are those of PEFT.
type Options struct {
	Kind    string   `yaml:"kind" json:"kind"`                 // lora: W = W0 + (alpha/rank)·B·A, or dora: the rows of that, scaled to lengths that are trained too
	Rank    int      `yaml:"rank,omitempty" json:"rank"`       // of B·A; 16
	Alpha   float64  `yaml:"alpha,omitempty" json:"alpha"`     // B·A counts alpha/rank times; twice the rank
	Targets []string `yaml:"targets,omitempty" json:"targets"` // q_proj, k_proj, v_proj, o_proj, gate_proj, up_proj, down_proj, in every layer; all of them
	// Trained whole beside the adapter, as an extended vocabulary needs: embed_tokens, lm_head.
	ModulesToSave []string `yaml:"modules_to_save,omitempty" json:"modules_to_save,omitempty"`
}

// Targets are the matrices that an adapter can be put on, as PEFT calls them.
var Targets = []string{"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"}

// Whole are the modules that can be trained whole beside an adapter.
var Whole = []string{"embed_tokens", "lm_head"}

// UnmarshalYAML reads options over the defaults.
func (o *Options) UnmarshalYAML(unmarshal func(any) error) error {
	type plain Options
	v := plain{Kind: "lora", Rank: 16}
	if err := unmarshal(&v); err != nil {
		return err
	}
	*o = Options(v)
	return nil
}

// Fill completes o: alpha and targets where they were left out.
func (o *Options) Fill() {
	o.Alpha = cmp.Or(o.Alpha, 2*float64(max(o.Rank, 1)))
	if len(o.Targets) == 0 {
		o.Targets = slices.Clone(Targets)
	}
}

// Validate reports everything about o that cannot be followed.
func (o *Options) Validate() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf("adapter."+format, args...)) }
	if o.Kind != "lora" && o.Kind != "dora" {
		bad("kind %q is unknown (lora, dora)", o.Kind)
	}
	if o.Rank <= 0 {
		bad("rank %d must be positive", o.Rank)
	}
	if !(o.Alpha > 0) || o.Alpha > 1e6 {
		bad("alpha %g must lie in (0, 1e6]", o.Alpha)
	}
	names := func(field string, given, known []string) {
		for i, name := range given {
			if !slices.Contains(known, name) {
				bad("%s: no module is called %q (%s)", field, name, strings.Join(known, ", "))
			}
			if slices.Contains(given[:i], name) {
				bad("%s names %s twice", field, name)
			}
		}
	}
	names("targets", o.Targets, Targets)
	names("modules_to_save", o.ModulesToSave, Whole)
	return errors.Join(errs...)
}

// dora says whether the rows' lengths are trained.
func (o *Options) dora() bool { return o.Kind == "dora" }

// scale is what B·A is multiplied by.
func (o *Options) scale() float32 { return float32(o.Alpha / float64(o.Rank)) }

// Cost counts what an adapter of these options trains in a decoder of c, and the bytes that it holds beside the engine that
// carries it. What an engine needs for whole weights it still needs, but for the moments.
func (o *Options) Cost(c *model.Config) (trained int, memory []model.MemoryPart, err error) {
	l, err := newLayout(c, o)
	if err != nil {
		return 0, nil, err
	}
	scratch, formula := l.rows*o.Rank, "4·F·r"
	if o.dora() {
		scratch, formula = scratch+l.largest, "4·F·(r+C), of the largest target"
	}
	return l.size, []model.MemoryPart{
		{Name: "base's targets", Bytes: 4 * int64(l.based), Formula: "4·N of the targets"},
		{Name: "adapter", Bytes: 16 * int64(l.size), Formula: "16·n: numbers, gradients, two moments"},
		{Name: "product", Bytes: 4 * int64(scratch), Formula: formula},
	}, nil
}
