package train

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"ravn/checkpoint"
	"ravn/internal/atomicfile"
	"ravn/model"
	"ravn/weights"
)

// emaKey is where a checkpoint says the hash of the mean that belongs to it.
const emaKey = "ema"

// EMADir is the Hugging Face folder of the running mean of the weights after a step.
func EMADir(dir string, step int) string { return filepath.Join(dir, "ema", checkpoint.Name(step)) }

// average takes the weights of a step into the running mean.
func (l *loop) average() {
	if l.ema == nil {
		return
	}
	d := float32(l.Options.EMA)
	for i, w := range l.Engine.State().Params {
		l.ema[i] = d*l.ema[i] + (1-d)*w
	}
}

func (l *loop) writeEMA(step int) (hash string, err error) {
	dir := EMADir(l.Dir, step)
	tmp, err := atomicfile.TempDir(dir)
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(tmp)
	w := &model.Weights{Config: l.Engine.Config(), Params: l.ema}
	if err := weights.WriteFolder(tmp, w, weights.SaveOptions{DType: model.F32, Files: l.Files}); err != nil {
		return "", err
	}
	return w.Hash(), atomicfile.ReplaceDir(tmp, dir)
}

func (l *loop) readEMA(meta checkpoint.Meta) error {
	dir := EMADir(l.Dir, meta.Step)
	w, err := weights.Load(dir)
	if err != nil {
		return fmt.Errorf("train: the running mean of the checkpoint: %w", err)
	}
	if w.Hash() != meta.Extra[emaKey] {
		return fmt.Errorf("train: %s is not the mean that belongs to the checkpoint of step %d (restore it, or remove that checkpoint to go on from an earlier one)", dir, meta.Step)
	}
	l.ema = w.Params
	return nil
}

// pruneBeside removes what lies in folder for checkpoints that are gone.
func (l *loop) pruneBeside(folder string) error {
	entries, err := os.ReadDir(filepath.Join(l.Dir, folder))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("train: %w", err)
	}
	var errs []error
	for _, e := range entries {
		_, err := os.Stat(filepath.Join(Root(l.Dir), e.Name()))
		if errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, os.RemoveAll(filepath.Join(l.Dir, folder, e.Name())))
		}
	}
	return errors.Join(errs...)
}
