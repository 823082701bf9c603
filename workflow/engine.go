package workflow

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"ravn/adapter"
	"ravn/engine/cpu"
	"ravn/engine/xla"
	"ravn/internal/progress"
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

// carrier is a trainer whose gradients can be read.
type carrier interface {
	trainer
	Grads() []float32
}

// engine makes the engine that trains w as p says, in rows of t tokens: the one that carries the weights, with the recipe's
// adapter on it.
func (f *Flow) engine(w *model.Weights, p recipe.Phase, t int) (trainer, error) {
	e, err := f.carrier(w, p, t)
	if err != nil || p.Adapter == nil {
		return e, err
	}
	base, err := ReadBase(f.Folder)
	if err != nil {
		return nil, errors.Join(err, e.Close())
	}
	if f.Recipe.Tokenizer.Extend > 0 && !w.Config.TieWordEmbeddings && !slices.Contains(p.Adapter.ModulesToSave, "lm_head") {
		return nil, errors.Join(fmt.Errorf("workflow: %s: train.adapter: tokenizer.extend gives the head new rows, which no adapter trains (add lm_head to modules_to_save)", f.Recipe.File()), e.Close())
	}
	a, err := adapter.NewEngine(e, w, *p.Adapter, f.Recipe.Seed, base.Name, f.Threads)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("workflow: %s: train.%w", f.Recipe.File(), err), e.Close())
	}
	return a, nil
}

// carrier makes the engine that holds w. Checkpoints do not depend on which one it is, so a run may begin on one and go on
// on another; their roundings differ.
func (f *Flow) carrier(w *model.Weights, p recipe.Phase, t int) (carrier, error) {
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
		e, err := xla.New(w, xlaOptions(p, f.Devices))
		if err != nil {
			return nil, err
		}
		f.Progress.Logf("engine xla: %s, devices that work as one: %d", e.Device(), e.Devices())
		if n := w.Config.NumParams(); !strings.HasPrefix(xla.DefaultBackend(), "xla:") && n > toyParams {
			f.Progress.Logf("engine xla: no PJRT plug-in is in use, and plain Go computes some 0.4 GFLOP/s, which is little for %s parameters (ravn doctor says what is missing)", progress.Count(int64(n)))
		}
		return e, nil
	default:
		return nil, fmt.Errorf("workflow: no engine %q (there are: %v)", name, Engines)
	}
}

// toyParams is what GoMLX's backend in plain Go trains in bearable time.
const toyParams = 1 << 20

// engineOptions is what phase p asks of the engine, on rows of t tokens.
func engineOptions(p recipe.Phase, t, threads int) cpu.Options {
	return cpu.Options{
		Threads: threads, MaxTokens: p.MicroRows * t, MaxRow: t, Precision: p.DType(), Recompute: p.Recompute == "block",
		ZLoss: float32(p.ZLoss), NoMoments: p.Adapter != nil,
	}
}

// xlaOptions is what phase p asks of the engine for accelerators, which computes blocks again by construction.
func xlaOptions(p recipe.Phase, devices int) xla.Options {
	return xla.Options{Devices: devices, BF16: p.DType() == model.BF16, ZLoss: p.ZLoss, BF16Moments: p.Moments == "bf16"}
}
