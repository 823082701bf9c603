package workflow

import (
	"cmp"
	"fmt"

	"ravn/engine/cpu"
	"ravn/engine/xla"
	"ravn/model"
	"ravn/recipe"
	"ravn/train"
)

// Engines are the names of the engines that train, the default first.
var Engines = []string{"cpu", "xla"}

// trainer is an engine with the memory that it holds.
type trainer interface {
	train.Engine
	Close() error
}

// engine makes the engine that trains w as p says, in rows of t tokens. Checkpoints do not depend on which one it is,
// so a run may begin on one and go on on another; their roundings differ.
func (f *Flow) engine(w *model.Weights, p recipe.Phase, t int) (trainer, error) {
	switch name := cmp.Or(f.Engine, Engines[0]); name {
	case "cpu":
		if p.Moments == "bf16" {
			return nil, fmt.Errorf("workflow: %s: train.moments: engine cpu keeps them in fp32 (use --engine xla, or leave it out)", f.Recipe.File())
		}
		if f.Devices > 1 {
			return nil, fmt.Errorf("workflow: %d devices: engine cpu has threads instead (use --engine xla, or leave out --devices)", f.Devices)
		}
		return cpu.New(w, engineOptions(p, t, f.Threads))
	case "xla":
		return xla.New(w, xlaOptions(p, f.Devices))
	default:
		return nil, fmt.Errorf("workflow: no engine %q (there are: %v)", name, Engines)
	}
}

// engineOptions is what phase p asks of the engine, on rows of t tokens.
func engineOptions(p recipe.Phase, t, threads int) cpu.Options {
	return cpu.Options{
		Threads: threads, MaxTokens: p.MicroRows * t, MaxRow: t, Precision: p.DType(), Recompute: p.Recompute == "block",
		ZLoss: float32(p.ZLoss),
	}
}

// xlaOptions is what phase p asks of the engine for accelerators, which computes blocks again by construction.
func xlaOptions(p recipe.Phase, devices int) xla.Options {
	return xla.Options{Devices: devices, BF16: p.DType() == model.BF16, ZLoss: p.ZLoss, BF16Moments: p.Moments == "bf16"}
}
