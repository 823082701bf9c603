package train

import (
	"fmt"
	"path/filepath"

	"ravn/adapter"
	"ravn/checkpoint"
	"ravn/model"
)

// adapterKey is where a checkpoint says the hash of the adapter that belongs to it.
const adapterKey = "adapter"

// AdapterDir is the folder of the adapter of a checkpoint, as PEFT reads it. It lies beside the checkpoints and not in them:
// where transformers finds an adapter_config.json it loads the base that it names, and not the weights beside it.
func AdapterDir(dir string, step int) string {
	return filepath.Join(dir, "adapter", checkpoint.Name(step))
}

// take makes the engine what it was at the checkpoint in dir.
func (j *Job) take(dir string, state model.State, meta checkpoint.Meta) error {
	a, adapted := j.Engine.(*adapter.Engine)
	hash := meta.Extra[adapterKey]
	if adapted != (hash != "") {
		return fmt.Errorf("train: %s is of a run with an adapter, and this one has none, or the other way round (give train.adapter as that run had it)", dir)
	}
	var err error
	if adapted {
		err = a.Read(AdapterDir(filepath.Dir(filepath.Dir(dir)), meta.Step), hash)
	} else {
		err = j.Engine.SetState(state)
	}
	if err != nil {
		return fmt.Errorf("train: %s: %w", dir, err)
	}
	return nil
}
