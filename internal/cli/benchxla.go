package cli

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"time"

	"ravn/engine/xla"
	"ravn/internal/progress"
	"ravn/model"
	"ravn/run"
)

// xlaFlags say what "ravn bench xla" measures: training steps on GPUs, which bench/pytorch/gpu.py takes too.
type xlaFlags struct {
	Shape   string  `default:"160m" enum:"toy,160m,1b,7b" help:"Of the decoder for bench xla: toy, 160m, 1b (TinyLlama's) or 7b (Mistral's)."`
	Layers  int     `help:"For bench xla: blocks of the decoder; 0 is the shape's. Figures are of what ran."`
	Rows    int     `default:"1" help:"For bench xla: rows on each device."`
	Tokens  int     `help:"For bench xla: tokens of a row; 0 is the shape's."`
	Steps   int     `default:"10" help:"For bench xla: steps that are timed, after two that are not."`
	Devices int     `help:"For bench xla: devices of this host; 0 is all that the plug-in shows."`
	Fp32    bool    `name:"fp32" help:"For bench xla: products in float32 rather than bfloat16."`
	Peak    float64 `help:"For bench xla: TFLOP/s of a device in bfloat16 that the share is taken of; 0 is by the card's name."`
}

// xlaShape is a decoder and the length of its rows.
type xlaShape struct {
	c *model.Config
	T int
}

func xlaShapes() map[string]xlaShape {
	return map[string]xlaShape{
		"toy":  {benchDecoder(256, 32, 2, 4, 2, 64), 32},
		"160m": {benchDecoder(32000, 768, 12, 12, 12, 3072), 2048},
		"1b":   {benchDecoder(32000, 2048, 22, 32, 4, 5632), 2048},
		"7b":   {benchDecoder(32000, 4096, 32, 32, 8, 14336), 4096},
	}
}

// bf16Peaks are TFLOP/s of dense products in bfloat16 as the makers' data sheets have them, by a part of the card's name;
// the first that fits counts.
var bf16Peaks = []struct {
	name   string
	tflops float64
}{
	{"B200", 2250}, {"GH200", 989}, {"H200 NVL", 835}, {"H200", 989}, {"H100 NVL", 835}, {"H100 PCIe", 756}, {"H100", 989}, {"A100", 312}, {"L40S", 362}, {"RTX 4090", 165},
}

// peakOf is the peak of a card, 0 where it is not known.
func peakOf(card string) float64 {
	for _, p := range bf16Peaks {
		if strings.Contains(card, p.name) {
			return p.tflops
		}
	}
	return 0
}

// xlaReport is one line of JSON, with the names that gpu.py uses too.
type xlaReport struct {
	Program    string  `json:"program"`
	Device     string  `json:"device"`
	Card       string  `json:"card,omitempty"` // as the driver calls it
	Devices    int     `json:"devices"`
	Shape      string  `json:"shape"`
	Params     int     `json:"params"`
	Layers     int     `json:"layers"`
	Rows       int     `json:"rows"` // on each device
	Tokens     int     `json:"tokens"`
	Precision  string  `json:"precision"`
	Steps      int     `json:"steps"`
	FirstStep  float64 `json:"first_step_seconds"` // with compilation
	StepTime   float64 `json:"step_seconds"`       // median
	BestStep   float64 `json:"best_step_seconds"`
	TokensRate float64 `json:"tokens_per_second"`
	TFLOPS     float64 `json:"tflops_per_device"` // of the model, work that is done again not counted
	Peak       float64 `json:"peak_tflops,omitempty"`
	Share      float64 `json:"share_of_peak,omitempty"`
	IdleShare  float64 `json:"idle_share"` // of the time, in which no program was under way
	FirstLoss  float64 `json:"first_loss"`
	LastLoss   float64 `json:"last_loss"`
	Memory     int64   `json:"peak_memory_bytes,omitempty"` // of the fullest device
	MemoryBy   string  `json:"peak_memory_by,omitempty"`
	Planned    int64   `json:"planned_memory_bytes"` // as ravn plan reckons it
}

// benchXLA times training steps and prints the report.
func (c *BenchCmd) benchXLA(ctx context.Context, s *Streams) error {
	r, err := c.measureXLA(ctx, s.Progress())
	if err != nil {
		return fmt.Errorf("bench: xla: %w", err)
	}
	if c.JSON {
		return json.NewEncoder(s.Out).Encode(r) // a line, so that many runs make a file of lines
	}
	fmt.Fprintf(s.Out, "%s%s, %d devices\n", r.Device, strings.TrimRight(" ("+r.Card, "( ")+map[bool]string{true: ")"}[r.Card != ""], r.Devices)
	fmt.Fprintf(s.Out, "%s: %s parameters, %d × %d rows of %d tokens, products in %s, median of %d steps\n", r.Shape, progress.Count(int64(r.Params)), r.Devices, r.Rows, r.Tokens, r.Precision, r.Steps)
	fmt.Fprintf(s.Out, "step         %.4g s (best %.4g, first %.4g with compilation), %.0f tokens/s\n", r.StepTime, r.BestStep, r.FirstStep, r.TokensRate)
	if r.Peak > 0 {
		fmt.Fprintf(s.Out, "products     %.4g TFLOP/s a device, %.1f %% of %.0f\n", r.TFLOPS, 100*r.Share, r.Peak)
	} else {
		fmt.Fprintf(s.Out, "products     %.4g TFLOP/s a device; the device's peak is not known (--peak)\n", r.TFLOPS)
	}
	fmt.Fprintf(s.Out, "idle         %.2f %% of the time\n", 100*r.IdleShare)
	fmt.Fprintf(s.Out, "memory       %s planned on each device", progress.Count(r.Planned))
	if r.Memory > 0 {
		fmt.Fprintf(s.Out, ", %s at most (%s)", progress.Count(r.Memory), r.MemoryBy)
	}
	fmt.Fprintf(s.Out, "\nloss         %.3f to %.3f on one batch\n", r.FirstLoss, r.LastLoss)
	return nil
}

func (c *BenchCmd) measureXLA(ctx context.Context, p *progress.Reporter) (*xlaReport, error) {
	shape := xlaShapes()[c.Shape]
	cfg, T := shape.c, cmp.Or(c.Tokens, shape.T)
	cfg.NumHiddenLayers = cmp.Or(c.Layers, cfg.NumHiddenLayers)
	cfg.MaxPositionEmbeddings = max(cfg.MaxPositionEmbeddings, T)
	if c.Rows < 1 || c.Steps < 1 || c.Layers < 0 || c.Tokens < 0 || c.Devices < 0 || c.Peak < 0 {
		return nil, usageError{fmt.Errorf("--rows %d and --steps %d must be positive, --layers, --tokens, --devices and --peak not negative", c.Rows, c.Steps)}
	}
	p.Logf("bench: xla: %s random weights", progress.Count(int64(cfg.NumParams())))
	o := xla.Options{Devices: c.Devices, BF16: !c.Fp32, Grow: true}
	cards, before := driverMemory()
	e, err := xla.New(model.Init(cfg, 1), o)
	if err != nil {
		return nil, err
	}
	defer e.Close()
	r := &xlaReport{
		Program: "ravn " + run.Version(), Device: e.Device(), Devices: e.Devices(), Shape: c.Shape, Params: cfg.NumParams(), Layers: cfg.NumHiddenLayers,
		Rows: c.Rows, Tokens: T, Precision: "bf16", Steps: c.Steps, Planned: model.TotalBytes(xla.Memory(cfg, o, c.Rows, T, e.Devices())), Peak: c.Peak,
	}
	if c.Fp32 {
		r.Precision = "fp32"
	}
	b := randomBatch(cfg, c.Rows*e.Devices(), T)
	targets := b.NumTargets()
	step := func(n int) (float64, error) {
		nll, err := e.Accumulate(b, 1/float32(targets))
		if err != nil {
			return 0, err
		}
		norm := e.GradNorm() // waits for the devices, so that a step is from one such moment to the next
		return nll / float64(targets), e.Update(model.Update{Step: n, LR: 1e-4, Beta1: 0.9, Beta2: 0.95, Eps: 1e-8, WeightDecay: 0.1, GradScale: 1 / max(norm, 1)})
	}
	var seconds []float64
	var idle time.Duration
	began := time.Now()
	for n := 1; n <= c.Steps+2; n++ {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		loss, err := step(n)
		if err != nil {
			return nil, err
		}
		now := time.Now()
		switch n {
		case 1:
			r.FirstLoss, r.FirstStep = loss, now.Sub(began).Seconds()
		case 2:
			idle = e.Idle()
		default:
			seconds = append(seconds, now.Sub(began).Seconds())
			p.Logf("bench: xla: step %d: %.4g s, loss %.3f", n-2, seconds[len(seconds)-1], loss)
		}
		r.LastLoss, began = loss, now
	}
	idle = e.Idle() - idle
	total := 0.0
	for _, x := range seconds {
		total += x
	}
	slices.Sort(seconds)
	r.StepTime, r.BestStep = seconds[len(seconds)/2], seconds[0]
	r.TokensRate = float64(b.B*T) / r.StepTime
	r.TFLOPS = r.TokensRate * cfg.TrainFLOPs(T) / float64(r.Devices) / 1e12
	r.IdleShare = idle.Seconds() / total
	if names, after := driverMemory(); len(names) > 0 && xla.Linked() && strings.Contains(r.Device, "cuda") {
		r.Card, r.MemoryBy = names[0], "the driver's figure for what the allocator holds"
		for i := range min(len(after), len(before), r.Devices) {
			r.Memory = max(r.Memory, after[i]-before[i])
		}
		if r.Peak == 0 {
			r.Peak = peakOf(cards[0])
		}
	} else if bytes, ok := peakMemory(); ok {
		r.Memory, r.MemoryBy = bytes, "of this process, host and devices"
	}
	if r.Peak > 0 {
		r.Share = r.TFLOPS / r.Peak
	}
	return r, nil
}

// randomBatch is rows of random tokens, each of which has a target.
func randomBatch(c *model.Config, rows, T int) *model.Batch {
	rng := rand.New(rand.NewPCG(1, 1))
	b := &model.Batch{B: rows, T: T, Tokens: make([]int32, rows*T), Targets: make([]int32, rows*T)}
	for i := range b.Tokens {
		b.Tokens[i], b.Targets[i] = int32(rng.IntN(c.VocabSize)), int32(rng.IntN(c.VocabSize))
	}
	return b
}

// driverMemory asks NVIDIA's driver for its cards and the bytes in use on each; nothing where there is none.
func driverMemory() (cards []string, used []int64) {
	out, err := exec.Command("nvidia-smi", "--query-gpu=name,memory.used", "--format=csv,noheader,nounits").Output()
	if err != nil {
		return nil, nil
	}
	return readDriverMemory(string(out))
}

// readDriverMemory reads lines such as "NVIDIA H200, 4321", in MiB.
func readDriverMemory(text string) (cards []string, used []int64) {
	for line := range strings.Lines(text) {
		name, mib, ok := strings.Cut(line, ",")
		n, err := strconv.ParseInt(strings.TrimSpace(mib), 10, 64)
		if !ok || err != nil {
			continue
		}
		cards, used = append(cards, strings.TrimSpace(name)), append(used, n<<20)
	}
	return cards, used
}
