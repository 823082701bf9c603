package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"

	"ravn/merge"
	"ravn/workflow"
)

// MergeCmd makes one model of several.
type MergeCmd struct {
	Models  []string  `arg:"" optional:"" help:"Model folders; with --sweep one run folder."`
	Adapter string    `help:"Instead of merging models: put the adapter in this folder (PEFT's adapter_config.json and adapter_model.safetensors) into the one model given." placeholder:"DIR"`
	Base    string    `help:"Base model's folder, for task, ties, dare and dare_ties." placeholder:"DIR"`
	Method  string    `default:"linear" help:"linear, slerp, task, ties, dare or dare_ties."`
	Weight  []float64 `help:"Weights, one a model (slerp: two, the second from 0 to 1)." placeholder:"W,..."`
	Density float64   `help:"Share of each difference that ties and dare keep." default:"0.5"`
	Lambda  float64   `help:"What the merged difference is multiplied with." default:"1"`
	Seed    uint64    `help:"Of dare." default:"17"`
	Config  string    `help:"Instead of the flags: a mergekit YAML (merge_method, base_model, models with weight and density; paths relative to it)." type:"existingfile" placeholder:"FILE"`
	Out     string    `help:"Folder for the merged model." placeholder:"DIR"`
	Sweep   []float64 `help:"Merge the run's result into its base with each of these weights, and measure: 0 is the base, 1 the result (of ties and dare: with the --density of its difference that they keep)." placeholder:"W,..."`
	Recipe  string    `help:"With --sweep: the recipe of the run, where it has moved since." type:"existingfile" placeholder:"FILE"`
	Threads int       `help:"Threads; 0 uses all processors. Does not change any result."`
	JSON    bool      `name:"json" help:"As JSON."`
}

// Help is shown under --help.
func (c *MergeCmd) Help() string {
	return `A merge costs no training. Averaging the last checkpoints takes noise out; merging a result back into its base gives up
some of what was gained for some of what was lost, and --sweep draws how much.

Examples:
  ravn merge runs/a/checkpoints/step-000280 runs/a/checkpoints/step-000300 --out runs/a-average
  ravn merge tuned --base base --method task --lambda 0.6 --out merged
  ravn merge base --adapter runs/lora/adapter/step-000300 --out merged
  ravn merge runs/sample-da --sweep 0,0.25,0.5,0.75,1`
}

// Run merges, or sweeps.
func (c *MergeCmd) Run(ctx context.Context, s *Streams) error {
	o := merge.Options{Method: c.Method, Weights: c.Weight, Density: c.Density, Lambda: c.Lambda, Seed: c.Seed}
	if !slices.Contains(merge.Methods, c.Method) {
		return usageError{fmt.Errorf("merge: no method %q (there are: %s)", c.Method, strings.Join(merge.Methods, ", "))}
	}
	if len(c.Sweep) > 0 {
		if len(c.Models) != 1 || !workflow.IsRun(c.Models[0]) || c.Out != "" || c.Config != "" {
			return usageError{errors.New("merge: --sweep takes one run folder, and neither --out nor --config")}
		}
		sweep, err := workflow.SweepMerge(ctx, c.Models[0], c.Recipe, o, c.Sweep, workflow.Options{Threads: c.Threads, Progress: s.Progress()})
		if err != nil {
			return err
		}
		if c.JSON {
			return s.JSON(sweep)
		}
		sweep.Write(s.Out)
		return nil
	}
	if c.Adapter != "" {
		if len(c.Models) != 1 || c.Out == "" || c.Config != "" || c.Base != "" || c.Method != "linear" || len(c.Weight) > 0 {
			return usageError{errors.New("merge: --adapter takes one model, the adapter's base, and --out; nothing else has a say")}
		}
		if err := workflow.MergeAdapter(c.Models[0], c.Adapter, c.Out); err != nil {
			return err
		}
		if c.JSON {
			return s.JSON(map[string]any{"out": c.Out, "adapter": c.Adapter})
		}
		fmt.Fprintf(s.Out, "%s with %s in %s\n", c.Models[0], c.Adapter, c.Out)
		return nil
	}
	base, models := c.Base, c.Models
	if c.Config != "" {
		var err error
		if base, models, o, err = readMergekit(c.Config, o); err != nil {
			return usageError{err}
		}
	}
	if len(models) == 0 || c.Out == "" {
		return usageError{errors.New("merge: give the models and --out (ravn merge --help has examples)")}
	}
	if err := workflow.MergeModels(base, models, c.Out, o); err != nil {
		return err
	}
	if c.JSON {
		return s.JSON(map[string]any{"out": c.Out, "method": o.Method})
	}
	fmt.Fprintf(s.Out, "%s of %d models in %s\n", o.Method, len(models), c.Out)
	return nil
}

// readMergekit reads the part of mergekit's YAML that ravn follows; anything else in it is an error.
func readMergekit(path string, o merge.Options) (base string, models []string, _ merge.Options, err error) {
	type parameters struct {
		Weight  *float64 `yaml:"weight"`
		Density *float64 `yaml:"density"`
		T       *float64 `yaml:"t"`
		Lambda  *float64 `yaml:"lambda"`
	}
	var y struct {
		Method string `yaml:"merge_method"`
		Base   string `yaml:"base_model"`
		Models []struct {
			Model      string     `yaml:"model"`
			Parameters parameters `yaml:"parameters"`
		} `yaml:"models"`
		Parameters parameters `yaml:"parameters"`
		DType      string     `yaml:"dtype"`
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return "", nil, o, fmt.Errorf("merge: %w", err)
	}
	if err := yaml.UnmarshalWithOptions(data, &y, yaml.Strict()); err != nil {
		return "", nil, o, fmt.Errorf("merge: %s: %s", path, yaml.FormatError(err, false, false))
	}
	at := func(p string) string {
		if p == "" || filepath.IsAbs(p) {
			return p
		}
		return filepath.Join(filepath.Dir(path), p)
	}
	o.Weights = nil
	if o.Method = y.Method; o.Method == "task_arithmetic" {
		o.Method = "task"
	}
	if y.Parameters.Density != nil {
		o.Density = *y.Parameters.Density
	}
	if y.Parameters.Lambda != nil {
		o.Lambda = *y.Parameters.Lambda
	}
	for _, m := range y.Models {
		if at(m.Model) == at(y.Base) && o.Method != "linear" && o.Method != "slerp" {
			continue // mergekit lists the base among the models, without parameters
		}
		weight := 1.0
		if m.Parameters.Weight != nil {
			weight = *m.Parameters.Weight
		}
		if m.Parameters.Density != nil {
			if len(models) > 0 && o.Density != *m.Parameters.Density {
				return "", nil, o, fmt.Errorf("merge: %s: models with densities of their own are not followed", path)
			}
			o.Density = *m.Parameters.Density
		}
		models, o.Weights = append(models, at(m.Model)), append(o.Weights, weight)
	}
	if o.Method == "slerp" && y.Parameters.T != nil {
		o.Weights = []float64{1 - *y.Parameters.T, *y.Parameters.T}
	}
	return at(y.Base), models, o, nil
}
