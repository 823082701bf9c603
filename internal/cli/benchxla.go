package cli

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
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
	Fit     bool    `help:"For bench xla: fewer layers where the plan is more than the card's memory."`
	Limit   float64 `help:"For bench xla: seconds after which no further step begins once one was timed; 0 is none."`
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
	Steps      int     `json:"steps"`              // that were timed
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
	Error      string  `json:"error,omitempty"`      // why there are fewer steps than asked for, or none
}

// benchXLA times training steps and prints the report; what was measured before an error too, and with --json the error.
func (c *BenchCmd) benchXLA(ctx context.Context, s *Streams) error {
	if c.Rows < 1 || c.Steps < 1 || c.Layers < 0 || c.Tokens < 0 || c.Devices < 0 || c.Peak < 0 || c.Limit < 0 {
		return usageError{fmt.Errorf("bench: xla: --rows %d and --steps %d must be positive, --layers, --tokens, --devices, --peak and --limit not negative", c.Rows, c.Steps)}
	}
	r := &xlaReport{Program: "ravn " + run.Version(), Shape: c.Shape, Rows: c.Rows, Precision: "bf16", Peak: c.Peak}
	if c.Fp32 {
		r.Precision = "fp32"
	}
	err := c.measureXLA(ctx, s.Progress(), r)
	if err != nil {
		err = fmt.Errorf("bench: xla: %w", err)
		r.Error = err.Error()
	}
	if c.JSON {
		return errors.Join(json.NewEncoder(s.Out).Encode(r), err) // a line, so that many runs make a file of lines
	}
	if r.Steps > 0 {
		r.write(s.Out)
	}
	return err
}

func (r *xlaReport) write(w io.Writer) {
	fmt.Fprintf(w, "%s%s, %d devices\n", r.Device, strings.TrimRight(" ("+r.Card, "( ")+map[bool]string{true: ")"}[r.Card != ""], r.Devices)
	fmt.Fprintf(w, "%s: %s parameters, %d × %d rows of %d tokens, products in %s, median of %d steps\n", r.Shape, progress.Count(int64(r.Params)), r.Devices, r.Rows, r.Tokens, r.Precision, r.Steps)
	fmt.Fprintf(w, "step         %.4g s (best %.4g, first %.4g with compilation), %.0f tokens/s\n", r.StepTime, r.BestStep, r.FirstStep, r.TokensRate)
	if r.Peak > 0 {
		fmt.Fprintf(w, "products     %.4g TFLOP/s a device, %.1f %% of %.0f\n", r.TFLOPS, 100*r.Share, r.Peak)
	} else {
		fmt.Fprintf(w, "products     %.4g TFLOP/s a device; the device's peak is not known (--peak)\n", r.TFLOPS)
	}
	fmt.Fprintf(w, "idle         %.2f %% of the time\n", 100*r.IdleShare)
	fmt.Fprintf(w, "memory       %s planned on each device", progress.Count(r.Planned))
	if r.Memory > 0 {
		fmt.Fprintf(w, ", %s at most (%s)", progress.Count(r.Memory), r.MemoryBy)
	}
	fmt.Fprintf(w, "\nloss         %.3f to %.3f on one batch\n", r.FirstLoss, r.LastLoss)
}

// cardShare is the part of a card's memory that is there for the plan: CUDA's plug-in is asked for 95 %.
const cardShare = 0.95

// decoder is the shape that is measured: with --fit, of as many layers as the plan puts into the card's memory.
func (c *BenchCmd) decoder(p *progress.Reporter, o xla.Options, cards []card) (*model.Config, int, error) {
	shape := xlaShapes()[c.Shape]
	cfg, T := shape.c, cmp.Or(c.Tokens, shape.T)
	cfg.NumHiddenLayers = cmp.Or(c.Layers, cfg.NumHiddenLayers)
	cfg.MaxPositionEmbeddings = max(cfg.MaxPositionEmbeddings, T)
	devices := max(c.Devices, 1)
	if c.Devices == 0 {
		devices = max(len(cards), 1)
	}
	need := func() int64 { return model.TotalBytes(xla.Memory(cfg, o, c.Rows, T, devices)) }
	if len(cards) > 0 {
		room := int64(cardShare * float64(cards[0].total))
		full := cfg.NumHiddenLayers
		for c.Fit && cfg.NumHiddenLayers > 1 && need() > room {
			cfg.NumHiddenLayers--
		}
		if bytes := need(); bytes > room {
			return nil, 0, fmt.Errorf("the plan is %s bytes on each device, a %s has %s (fewer --layers or --tokens, or --fit for as many layers as there is room for)", progress.Count(bytes), cards[0].name, progress.Count(cards[0].total))
		}
		if cfg.NumHiddenLayers < full {
			p.Logf("bench: xla: %d of %d layers have room on a %s", cfg.NumHiddenLayers, full, cards[0].name)
		}
	}
	return cfg, T, nil
}

func (c *BenchCmd) measureXLA(ctx context.Context, p *progress.Reporter, r *xlaReport) error {
	start := time.Now()
	if c.Shape != "toy" && xla.Plugin() == "" {
		return fmt.Errorf("no PJRT plug-in was found, and plain Go would take hours for shape %s (ravn doctor says what is there, ravn pull-plugin cuda fetches one; --shape toy runs anywhere)", c.Shape)
	}
	if c.Shape != "toy" && !xla.Linked() {
		return fmt.Errorf("this build cannot load the plug-in %s, and plain Go would take hours for shape %s (build with CGO_ENABLED=1 go build -tags xla ./cmd/ravn)", xla.Plugin(), c.Shape)
	}
	o := xla.Options{Devices: c.Devices, BF16: !c.Fp32, Grow: true}
	before := nvidiaCards()
	cfg, T, err := c.decoder(p, o, before)
	if err != nil {
		return err
	}
	if host := run.ThisMachine().MemoryBytes; host > 0 && 4*int64(cfg.NumParams()) > host {
		return fmt.Errorf("the weights are made on the host first and take %s bytes of its %s (fewer --layers)", progress.Count(4*int64(cfg.NumParams())), progress.Count(host))
	}
	r.Params, r.Layers, r.Tokens = cfg.NumParams(), cfg.NumHiddenLayers, T
	if file := xla.Plugin(); filepath.IsAbs(file) { // before the weights are made, which takes longer
		if err := xla.IsPlugin(file); err != nil {
			return fmt.Errorf("%w (RAVN_PJRT; ravn doctor says which plug-ins are there)", err)
		}
	}
	p.Logf("bench: xla: %s random weights", progress.Count(int64(r.Params)))
	e, err := xla.New(likeBlocks(cfg), o)
	if err != nil {
		return err
	}
	defer e.Close()
	r.Device, r.Devices, r.Planned = e.Device(), e.Devices(), model.TotalBytes(xla.Memory(cfg, o, c.Rows, T, e.Devices()))
	p.Logf("bench: xla: weights on %s after %.1f s", r.Device, time.Since(start).Seconds())
	b := randomBatch(cfg, c.Rows*e.Devices(), T)
	targets := b.NumTargets()
	step := func(n int) (float64, error) {
		nll, err := e.Accumulate(b, 1/float32(targets))
		if err != nil {
			return 0, err
		}
		norm := e.GradNorm()
		return nll / float64(targets), e.Update(model.Update{Step: n, LR: 1e-4, Beta1: 0.9, Beta2: 0.95, Eps: 1e-8, WeightDecay: 0.1, GradScale: 1 / max(norm, 1)})
	}
	var seconds []float64
	var idle, idleEnd time.Duration
	began := time.Now()
	for n := 1; n <= c.Steps+2; n++ {
		if err = ctx.Err(); err != nil {
			break
		}
		if c.Limit > 0 && time.Since(start).Seconds() > c.Limit && len(seconds) > 0 {
			p.Logf("bench: xla: %g s are over", c.Limit)
			break
		}
		var loss float64
		if loss, err = step(n); err != nil {
			break
		}
		now, waited := time.Now(), e.Idle()
		switch n {
		case 1:
			r.FirstLoss, r.FirstStep = loss, now.Sub(began).Seconds()
			p.Logf("bench: xla: the first step took %.4g s, with compilation", r.FirstStep)
		case 2:
			idle = waited
		default:
			idleEnd = waited // what is done behind the last step is no step's
			seconds = append(seconds, now.Sub(began).Seconds())
			p.Logf("bench: xla: step %d: %.4g s, loss %.3f", n-2, seconds[len(seconds)-1], loss)
		}
		r.LastLoss, began = loss, now
	}
	r.remember(e, before)
	if len(seconds) > 0 {
		r.reckon(seconds, idleEnd-idle, cfg)
	}
	return err
}

// likeBlocks are random weights whose blocks are all alike: a device takes as long for them, and they are made sooner.
func likeBlocks(cfg *model.Config) *model.Weights {
	one := *cfg
	one.NumHiddenLayers = 1
	first := model.Init(&one, 1)
	if cfg.NumHiddenLayers == 1 {
		return first
	}
	w := &model.Weights{Config: cfg, Params: make([]float32, cfg.NumParams())}
	from, block := one.Layout()[1].Offset, (cfg.NumParams()-one.NumParams())/(cfg.NumHiddenLayers-1)
	copy(w.Params, first.Params[:from])
	copy(w.Params[from+cfg.NumHiddenLayers*block:], first.Params[from+block:])
	var wg sync.WaitGroup
	for l := range cfg.NumHiddenLayers {
		wg.Go(func() { copy(w.Params[from+l*block:], first.Params[from:from+block]) })
	}
	wg.Wait()
	return w
}

// reckon fills in what follows from the times of steps.
func (r *xlaReport) reckon(seconds []float64, idle time.Duration, cfg *model.Config) {
	total := 0.0
	for _, x := range seconds {
		total += x
	}
	slices.Sort(seconds)
	r.Steps, r.StepTime, r.BestStep = len(seconds), seconds[len(seconds)/2], seconds[0]
	r.TokensRate = float64(r.Rows*r.Devices*r.Tokens) / r.StepTime
	r.TFLOPS = r.TokensRate * cfg.TrainFLOPs(r.Tokens) / float64(r.Devices) / 1e12
	r.IdleShare = idle.Seconds() / total
	if r.Peak > 0 {
		r.Share = r.TFLOPS / r.Peak
	}
}

// remember notes the card, its peak and the memory that the engine has taken.
func (r *xlaReport) remember(e *xla.Engine, before []card) {
	if after := nvidiaCards(); len(after) > 0 && xla.Linked() && strings.Contains(strings.ToLower(xla.Plugin()), "cuda") {
		r.Card, r.MemoryBy = after[0].name, "the driver's figure for what the allocator holds"
		for i := range min(len(after), len(before), e.Devices()) {
			r.Memory = max(r.Memory, after[i].used-before[i].used)
		}
		r.Peak = cmp.Or(r.Peak, peakOf(r.Card))
	} else if bytes, ok := peakMemory(); ok {
		r.Memory, r.MemoryBy = bytes, "of this process, host and devices"
	}
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

// card is what NVIDIA's driver says of a GPU, in bytes.
type card struct {
	name        string
	total, used int64
}

// nvidiaCards asks NVIDIA's driver for its cards; nothing where there is none.
func nvidiaCards() []card {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second) // a driver in trouble does not answer
	defer cancel()
	out, err := exec.CommandContext(ctx, "nvidia-smi", "--query-gpu=name,memory.total,memory.used", "--format=csv,noheader,nounits").Output()
	if err != nil {
		return nil
	}
	return readCards(string(out))
}

// readCards reads lines such as "NVIDIA H200, 143771, 4321", in MiB.
func readCards(text string) (cards []card) {
	for line := range strings.Lines(text) {
		fields := strings.Split(line, ",")
		if len(fields) != 3 {
			continue
		}
		total, err := strconv.ParseInt(strings.TrimSpace(fields[1]), 10, 64)
		used, err2 := strconv.ParseInt(strings.TrimSpace(fields[2]), 10, 64)
		if err == nil && err2 == nil {
			cards = append(cards, card{strings.TrimSpace(fields[0]), total << 20, used << 20})
		}
	}
	return cards
}
