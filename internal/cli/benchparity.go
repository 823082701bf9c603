package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"strings"
	"time"

	"ravn/engine/ref"
	"ravn/engine/xla"
	"ravn/model"
	"ravn/run"
)

// parityReport is how far engine/xla is from engine/ref in float64 on one decoder; one line of JSON.
type parityReport struct {
	Program   string  `json:"program"`
	Device    string  `json:"device,omitempty"`
	Devices   int     `json:"devices,omitempty"`
	Parity    string  `json:"parity"` // which decoder
	Precision string  `json:"precision"`
	Loss      float64 `json:"loss_off"`      // of itself
	Gradient  float64 `json:"gradient_off"`  // root mean square of the worst tensor, of its own
	Tensor    string  `json:"worst_tensor"`  // which that is
	TenSteps  float64 `json:"ten_steps_off"` // of the loss, the worst of ten steps
	Limit     float64 `json:"limit"`         // of all three
	OK        bool    `json:"ok"`
	Seconds   float64 `json:"seconds"` // with compilation
	Error     string  `json:"error,omitempty"`
}

// parityCase is a decoder, how its products are rounded, and how long rows are. Attention goes in blocks of 16.
type parityCase struct {
	name   string
	change func(c *model.Config)
	packed bool // several documents in a row
	bf16   bool
}

var parityCases = []parityCase{
	{"heads of their own", func(c *model.Config) { c.NumKeyValueHeads = 4 }, false, false},
	{"shared heads, documents and window", func(c *model.Config) { c.SlidingWindow = 20 }, true, false},
	{"one key head, tied", func(c *model.Config) { c.NumKeyValueHeads, c.TieWordEmbeddings = 1, true }, true, false},
	{"shared heads, documents and window", func(c *model.Config) { c.SlidingWindow = 20 }, true, true},
}

// limit is how far losses and gradients may be off. In float32, sums of a few hundred terms lose 1e-6 to 1e-5, which ten steps of
// AdamW magnify; CUDA may take TF32, with 11 bits, for some of them. bfloat16 has 8 bits, and a gradient goes through two blocks.
func (x parityCase) limit(device string) float64 {
	switch {
	case x.bf16:
		return 0.1
	case strings.Contains(strings.ToLower(device), "cuda"):
		return 5e-3
	}
	return 1e-4
}

// benchParity compares engine/xla with engine/ref on decoders that differ in what is easily got wrong, and prints as it goes.
func (c *BenchCmd) benchParity(ctx context.Context, s *Streams) error {
	if c.Devices < 0 {
		return usageError{fmt.Errorf("bench: parity: --devices %d must not be negative", c.Devices)}
	}
	if cards := nvidiaCards(); len(cards) > 0 && os.Getenv("RAVN_PJRT") != "none" && (xla.Plugin() == "" || !xla.Linked()) {
		return fmt.Errorf("bench: parity: there is a %s, and plain Go would be compared rather than it (ravn doctor says what is missing; RAVN_PJRT=none compares plain Go)", cards[0].name)
	}
	var failed []string
	for _, x := range parityCases {
		if err := ctx.Err(); err != nil {
			return err
		}
		began := time.Now()
		r := &parityReport{Program: "ravn " + run.Version(), Parity: x.name, Precision: map[bool]string{false: "fp32", true: "bf16"}[x.bf16]}
		err := x.compare(r, c.Devices)
		r.Seconds = time.Since(began).Seconds()
		if err != nil {
			r.Error = err.Error()
		}
		if c.JSON {
			err = errors.Join(err, json.NewEncoder(s.Out).Encode(r))
		} else if err == nil {
			fmt.Fprintf(s.Out, "%-8s %s, %s on %s: loss off by %.2g, gradients by %.2g (%s), losses of ten steps by %.2g; limit %.2g\n",
				map[bool]string{true: "ok", false: "problem"}[r.OK], x.name, r.Precision, r.Device, r.Loss, r.Gradient, r.Tensor, r.TenSteps, r.Limit)
		}
		if err != nil {
			return fmt.Errorf("bench: parity: %s: %w", x.name, err)
		}
		if !r.OK {
			failed = append(failed, x.name+" in "+r.Precision)
		}
	}
	if len(failed) > 0 {
		return fmt.Errorf("bench: parity: the device does not compute what engine/ref does: %s", strings.Join(failed, "; "))
	}
	return nil
}

func (x parityCase) compare(r *parityReport, devices int) error {
	cfg := benchDecoder(128, 32, 2, 4, 2, 64)
	x.change(cfg)
	w := model.Init(cfg, 11)
	e, err := xla.New(w, xla.Options{Devices: devices, BF16: x.bf16, Queries: 16, LogitRows: 32, Grow: true})
	if err != nil {
		return err
	}
	defer e.Close()
	exact, err := ref.New[float64](w)
	if err != nil {
		return err
	}
	r.Device, r.Devices, r.Limit = e.Device(), e.Devices(), x.limit(xla.DefaultBackend())
	for step := 1; step <= 10; step++ {
		b := parityBatch(cfg, uint64(step), e.Devices(), x.packed)
		scale := 1 / float32(b.NumTargets())
		got, err := e.Accumulate(b, scale)
		if err != nil {
			return err
		}
		want, err := exact.Accumulate(b, scale)
		if err != nil {
			return err
		}
		off := math.Abs(got/want - 1)
		if step == 1 {
			r.Loss = off
			r.worst(cfg, e.Grads(), exact.Grads())
		}
		r.TenSteps = max(r.TenSteps, off)
		u := model.Update{Step: step, LR: 3e-3, Beta1: 0.9, Beta2: 0.95, Eps: 1e-8, WeightDecay: 0.1, GradScale: min(1, 1/exact.GradNorm())}
		if err := errors.Join(e.Update(u), exact.Update(u)); err != nil {
			return err
		}
	}
	r.OK = r.Loss <= r.Limit && r.Gradient <= r.Limit && r.TenSteps <= r.Limit // false for what is no number
	return nil
}

// worst finds the tensor whose gradient is off most.
func (r *parityReport) worst(cfg *model.Config, got []float32, want []float64) {
	if len(got) != len(want) {
		r.Gradient = math.MaxFloat64
		return
	}
	for _, p := range cfg.Layout() {
		var off, all float64
		for i := p.Offset; i < p.Offset+p.Size; i++ {
			d := float64(got[i]) - want[i]
			off, all = off+d*d, all+want[i]*want[i]
		}
		if d := math.Sqrt(off / all); !(d <= r.Gradient) {
			r.Gradient, r.Tensor = d, p.Name
		}
	}
	if math.IsNaN(r.Gradient) || math.IsInf(r.Gradient, 0) {
		r.Gradient = math.MaxFloat64 // which JSON can hold
	}
}

// parityBatch is two rows of 40 tokens for each device, three blocks of attention of which the last is not full.
func parityBatch(cfg *model.Config, seed uint64, devices int, packed bool) *model.Batch {
	rng := rand.New(rand.NewPCG(seed, 9))
	b := &model.Batch{B: 2 * devices, T: 40}
	for range b.B {
		segment, position := int32(0), int32(0)
		for i := range b.T {
			if packed && i > 0 && rng.IntN(10) == 0 {
				segment, position = segment+1, 0
			}
			target := int32(rng.IntN(cfg.VocabSize))
			if rng.IntN(5) == 0 {
				target = -1
			}
			b.Tokens, b.Targets = append(b.Tokens, int32(rng.IntN(cfg.VocabSize))), append(b.Targets, target)
			b.Positions, b.Segments = append(b.Positions, position), append(b.Segments, segment)
			position++
		}
	}
	if !packed {
		b.Positions, b.Segments = nil, nil
	}
	return b
}
