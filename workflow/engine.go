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
		return cpu.New(w, engineOptions(p, t, f.Threads))
	case "xla": // computes blocks again by construction
		if p.ZLoss != 0 {
			return nil, fmt.Errorf("workflow: %s: train.z_loss: engine xla has none (use engine cpu, or leave it out)", f.Recipe.File())
		}
		return xla.New(w, xla.Options{BF16: p.DType() == model.BF16})
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
