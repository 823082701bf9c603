package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"time"

	"ravn/engine/cpu"
	"ravn/internal/builtin"
	"ravn/internal/progress"
	"ravn/kernel"
	"ravn/model"
	"ravn/run"
	"ravn/tokenizer"
	"ravn/weights"
)

// BenchCmd measures this machine.
type BenchCmd struct {
	What    string  `arg:"" optional:"" enum:"all,kernels,tokenizer,train,generate,xla,parity" default:"all" help:"all (of the processor), kernels, tokenizer, train or generate; or, on GPUs, xla, training steps, or parity, whether they compute what engine/ref does."`
	Threads int     `help:"Threads; 0 uses all processors."`
	Seconds float64 `default:"0.6" help:"Time for one measurement; each is taken at least three times."`
	Size    string  `enum:"tiny,small,full" default:"small" help:"small takes about 20 s; full measures TinyLlama's shape and a decoder of 56M parameters; tiny only shows the form."`
	JSON    bool    `name:"json" help:"As JSON."`

	xlaFlags `embed:""`
}

// Help is shown under --help.
func (c *BenchCmd) Help() string {
	return `Products are given in GFLOP/s with their share of what the processor can do at most, found with loops over registers alone, at the
level that RAVN_CPU chooses; what reads weights once, in GB/s with its share of the memory's speed, found by reading 256 MB.
Weights are random. Run it on a machine that does nothing else. With xla it times training steps on the devices of the PJRT plug-in
(or on GoMLX's plain backend, where --shape toy is the size), bench/pytorch/gpu.py the same in PyTorch. With --json a line comes
whatever happens, with what was measured until then and the error. With parity, small decoders go through losses, gradients and ten
steps on the plug-in and in engine/ref in float64; it fails when they differ by more than their roundings.

Example:
  ravn bench kernels --threads 2
  ravn bench parity
  ravn bench xla --shape 7b --json`
}

// benchReport is what the command prints.
type benchReport struct {
	Version  string        `json:"version"`
	CPU      string        `json:"cpu"`
	Features string        `json:"features"`
	Level    string        `json:"level"`
	Threads  int           `json:"threads"`
	Size     string        `json:"size"`
	Peaks    benchPeaks    `json:"peaks"`
	Results  []benchFigure `json:"results"`
	Memory   int64         `json:"peak_memory_bytes,omitempty"`
}

// benchPeaks are what shares are taken of; 0 where the level has no such instruction.
type benchPeaks struct {
	F32  float64 `json:"fp32_gflops"`
	BF16 float64 `json:"bf16_gflops"`
	Int8 float64 `json:"int8_gops"`
	Read float64 `json:"read_gbps"`
}

// benchFigure is one measurement: the median of Runs and the best.
type benchFigure struct {
	Group  string  `json:"group"`
	Name   string  `json:"name"`
	Unit   string  `json:"unit"`
	Median float64 `json:"median"`
	Best   float64 `json:"best"`
	Runs   int     `json:"runs"`
	Share  float64 `json:"share,omitempty"` // of the peak, median
	Of     string  `json:"of,omitempty"`    // which
}

// bench is one run of the command.
type bench struct {
	ctx    context.Context
	c      *BenchCmd
	d      time.Duration
	size   benchSize
	report benchReport
}

// benchSize are the numbers that --size stands for.
type benchSize struct {
	readBytes     int
	product       int // of a square matrix product
	train         *model.Config
	rows, T       int
	layers, width int // of the model that generates
	ffn, vocab    int
	prompt        int
}

func benchDecoder(V, C, L, H, K, F int) *model.Config {
	return &model.Config{
		ModelType: "llama", VocabSize: V, HiddenSize: C, IntermediateSize: F, NumHiddenLayers: L, NumAttentionHeads: H, NumKeyValueHeads: K, HeadDim: C / H,
		HiddenAct: "silu", MaxPositionEmbeddings: 2048, RMSNormEps: 1e-5, RopeTheta: 10000, InitializerRange: 0.02, BOSTokenID: 1, EOSTokenID: 2,
	}
}

var benchSizes = map[string]benchSize{
	"tiny":  {1 << 20, 64, benchDecoder(256, 64, 1, 2, 1, 128), 2, 32, 1, 64, 128, 256, 8},
	"small": {256 << 20, 1024, benchDecoder(4096, 256, 6, 8, 4, 704), 8, 256, 3, 2048, 5632, 32000, 256},
	"full":  {256 << 20, 2048, benchDecoder(32000, 512, 8, 8, 4, 1408), 4, 512, 22, 2048, 5632, 32000, 512},
}

// Run measures and prints.
func (c *BenchCmd) Run(ctx context.Context, s *Streams) error {
	if !(c.Seconds > 0 && c.Seconds < 3600) || c.Threads < 0 {
		return usageError{fmt.Errorf("bench: --seconds %g and --threads %d must be positive", c.Seconds, c.Threads)}
	}
	switch c.What {
	case "xla":
		return c.benchXLA(ctx, s)
	case "parity":
		return c.benchParity(ctx, s)
	}
	b := &bench{ctx: ctx, c: c, d: time.Duration(c.Seconds * float64(time.Second)), size: benchSizes[c.Size]}
	b.report = benchReport{Version: run.Version(), CPU: run.ThisMachine().CPU, Features: kernel.CPU(), Level: kernel.Level(), Threads: c.Threads, Size: c.Size}
	if c.Threads == 0 {
		b.report.Threads = runtime.GOMAXPROCS(0)
	}
	b.peaks()
	for _, part := range []struct {
		name string
		do   func() error
	}{{"kernels", b.kernels}, {"tokenizer", b.tokenizer}, {"train", b.train}, {"generate", b.generate}} {
		if c.What != "all" && c.What != part.name {
			continue
		}
		s.Progress().Logf("bench: %s", part.name)
		if err := part.do(); err != nil {
			return fmt.Errorf("bench: %s: %w", part.name, err)
		}
	}
	b.report.Memory, _ = peakMemory()
	if c.JSON {
		return s.JSON(b.report)
	}
	b.report.print(s)
	return nil
}

func (r *benchReport) print(s *Streams) {
	fmt.Fprintf(s.Out, "%s, %s, %d threads\n", r.CPU, r.Level, r.Threads)
	fmt.Fprintf(s.Out, "at most: %.0f GFLOP/s fp32", r.Peaks.F32)
	if r.Peaks.BF16 > 0 {
		fmt.Fprintf(s.Out, ", %.0f bf16", r.Peaks.BF16)
	}
	if r.Peaks.Int8 > 0 {
		fmt.Fprintf(s.Out, ", %.0f GOP/s int8", r.Peaks.Int8)
	}
	fmt.Fprintf(s.Out, ", %.1f GB/s read\n", r.Peaks.Read)
	for _, f := range r.Results {
		fmt.Fprintf(s.Out, "%-10s %-40s %9s %-8s best %-9s", f.Group, f.Name, figure(f.Median), f.Unit, figure(f.Best))
		if f.Of != "" {
			fmt.Fprintf(s.Out, " %3.0f %% of %s", 100*f.Share, f.Of)
		}
		fmt.Fprintln(s.Out)
	}
	if r.Memory > 0 {
		fmt.Fprintf(s.Out, "memory: at most %s bytes\n", progress.Count(r.Memory))
	}
}

// figure writes a number with three digits or more.
func figure(x float64) string {
	switch {
	case x >= 100:
		return fmt.Sprintf("%.0f", x)
	case x >= 10:
		return fmt.Sprintf("%.1f", x)
	}
	return fmt.Sprintf("%.2f", x)
}

// peaks finds what shares are taken of.
func (b *bench) peaks() {
	p := kernel.MeasurePeaks(b.report.Threads, b.d)
	data := make([]byte, b.size.readBytes)
	for i := range data { // pages that were never written are one page
		data[i] = byte(i)
	}
	b.report.Peaks = benchPeaks{p.F32 / 1e9, p.BF16 / 1e9, p.Int8 / 1e9, kernel.MeasureRead(b.report.Threads, data, b.d) / 1e9}
}

// peak is the one with that name, 0 for another.
func (b *bench) peak(of string) float64 {
	switch of {
	case "fp32":
		return b.report.Peaks.F32
	case "bf16":
		return b.report.Peaks.BF16
	case "int8":
		return b.report.Peaks.Int8
	case "read":
		return b.report.Peaks.Read
	}
	return 0
}

// peakOf is the peak for products with weights of a format at this level, where one is known.
func (b *bench) peakOf(d model.DType) string {
	switch {
	case d == model.BF16 && b.report.Peaks.BF16 > 0:
		return "bf16"
	case d.Size() == 0 && b.report.Peaks.Int8 > 0:
		return "int8"
	case d.Size() == 0:
		return ""
	}
	return "fp32"
}

// time runs f until the time is up, three times at least, and returns its rates: amount in each run, by seconds.
func (b *bench) time(amount float64, f func() error) ([]float64, error) {
	if err := f(); err != nil { // warm
		return nil, err
	}
	var rates []float64
	for start := time.Now(); len(rates) < 3 || time.Since(start) < b.d; {
		if err := b.ctx.Err(); err != nil {
			return nil, err
		}
		at := time.Now()
		if err := f(); err != nil {
			return nil, err
		}
		rates = append(rates, amount/max(time.Since(at).Seconds(), 1e-9))
	}
	slices.Sort(rates)
	return rates, nil
}

// add takes a measurement: amount of unit is done by each call of f; of names a peak in units of perUnit for each unit.
func (b *bench) add(group, name, unit string, amount float64, of string, perUnit float64, f func() error) error {
	rates, err := b.time(amount, f)
	if err != nil {
		return err
	}
	r := benchFigure{Group: group, Name: name, Unit: unit, Median: rates[len(rates)/2], Best: rates[len(rates)-1], Runs: len(rates)}
	if p := b.peak(of); p > 0 {
		r.Of, r.Share = of, r.Median*perUnit/p
	}
	b.report.Results = append(b.report.Results, r)
	return nil
}

// kernels measures products: square ones, and those of stored weights with many rows and with one.
func (b *bench) kernels() error {
	p := kernel.NewPool(b.c.Threads)
	defer p.Close()
	n := b.size.product
	x, y, z := randomFloats(1, n*n), randomFloats(2, n*n), make([]float32, n*n)
	flops := 2e-9 * float64(n) * float64(n) * float64(n)
	if err := b.add("kernels", fmt.Sprintf("product of %d³, fp32", n), "GFLOP/s", flops, "fp32", 1, func() error {
		kernel.MatMul(p, z, n, kernel.Mat{Data: x, Stride: n}, kernel.Mat{Data: y, Stride: n, Trans: true}, n, n, n, false)
		return nil
	}); err != nil {
		return err
	}
	half := func(v []float32) kernel.Half {
		h := make([]uint16, len(v))
		kernel.RoundBF16(h, v)
		return kernel.Half{BF16: h, Stride: n}
	}
	hx, hy := half(x), half(y)
	hy.Trans = true
	if err := b.add("kernels", fmt.Sprintf("product of %d³, bf16", n), "GFLOP/s", flops, b.peakOf(model.BF16), 1, func() error {
		kernel.MatMulBF16(p, z, n, hx, hy, n, n, n, false)
		return nil
	}); err != nil {
		return err
	}
	for _, d := range []model.DType{model.BF16, model.F16, model.Q8_0, model.Q4_0} {
		if err := b.stored(p, d); err != nil {
			return err
		}
	}
	return nil
}

// benchFormats are the kernel's names for number formats.
var benchFormats = map[model.DType]kernel.Format{model.F16: kernel.FormatF16, model.BF16: kernel.FormatBF16, model.Q8_0: kernel.FormatQ8, model.Q4_0: kernel.FormatQ4}

// stored measures products with weights as they lie in a file: prompts compute, single tokens read.
func (b *bench) stored(p *kernel.Pool, d model.DType) error {
	in := b.size.width
	for _, s := range []struct{ rows, out int }{{b.size.prompt, b.size.ffn}, {1, 2 * b.size.vocab}} {
		w := &kernel.Weight{Format: benchFormats[d], Data: pattern(d, s.out*in), Out: s.out, In: in}
		x, c := randomFloats(3, s.rows*in), make([]float32, s.rows*s.out)
		var input kernel.Input
		f := func() error {
			input.Set(p, w.Format, x, s.rows, in)
			kernel.Multiply(p, &input, kernel.Product{W: w, C: c, Stride: s.out})
			return nil
		}
		var err error
		if s.rows > 1 {
			err = b.add("kernels", fmt.Sprintf("%d rows × %s (%d, %d)", s.rows, d, s.out, in), "GFLOP/s", 2e-9*float64(s.rows)*float64(s.out)*float64(in), b.peakOf(d), 1, f)
		} else {
			err = b.add("kernels", fmt.Sprintf("1 row × %s (%d, %d)", d, s.out, in), "GB/s", float64(len(w.Data))/1e9, "read", 1, f)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func randomFloats(seed uint64, n int) []float32 {
	r := rand.New(rand.NewPCG(seed, 0))
	x := make([]float32, n)
	for i := range x {
		x[i] = r.Float32() - 0.5
	}
	return x
}

// pattern is n numbers in a format: a piece of random ones, over and over.
func pattern(d model.DType, n int) []byte {
	const piece = 1 << 14
	x := randomFloats(4, piece)
	for i := range x {
		x[i] *= 0.05
	}
	one := make([]byte, d.RowBytes(piece))
	weights.FromF32(one, x, d)
	out := make([]byte, d.RowBytes(n))
	for at := 0; at < len(out); at += copy(out[at:], one) {
	}
	return out
}

// tokenizer measures encoding and decoding of the built-in texts with a vocabulary trained on them.
func (b *bench) tokenizer() error {
	text, err := builtinText()
	if err != nil {
		return err
	}
	o := tokenizer.DefaultTrainOptions()
	o.VocabSize = 2000
	if b.c.Size == "tiny" {
		text, o.VocabSize = text[:min(len(text), 1<<14)], 500
	}
	tok, err := tokenizer.Train(b.ctx, slices.Values([]string{text}), o)
	if err != nil {
		return err
	}
	var ids []int32
	mb := float64(len(text)) / 1e6
	name := fmt.Sprintf("%s bytes of built-in text", progress.Count(int64(len(text))))
	if err := b.add("tokenizer", "encode "+name, "MB/s", mb, "", 0, func() error { ids = tok.Encode(ids[:0], text); return nil }); err != nil {
		return err
	}
	return b.add("tokenizer", "decode "+name, "MB/s", mb, "", 0, func() error { tok.Decode(ids); return nil })
}

// builtinText is the Danish and English corpus of quickstart.
func builtinText() (string, error) {
	var all strings.Builder
	err := fs.WalkDir(builtin.FS(), "corpus", func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() || !strings.HasSuffix(path, ".jsonl") {
			return err
		}
		data, err := fs.ReadFile(builtin.FS(), path)
		if err != nil {
			return err
		}
		for line := range strings.Lines(string(data)) {
			var d struct{ Text string }
			if err := json.Unmarshal([]byte(line), &d); err == nil {
				all.WriteString(d.Text + "\n")
			}
		}
		return nil
	})
	return all.String(), err
}

// train measures steps: forward, backward, norm, AdamW.
func (b *bench) train() error {
	c := b.size.train
	data := &model.Batch{B: b.size.rows, T: b.size.T}
	r := rand.New(rand.NewPCG(1, 1))
	for range data.B * data.T {
		data.Tokens = append(data.Tokens, r.Int32N(int32(c.VocabSize)))
		data.Targets = append(data.Targets, r.Int32N(int32(c.VocabSize)))
	}
	for _, d := range []model.DType{model.F32, model.BF16} {
		o := cpu.Options{Threads: b.c.Threads, MaxTokens: data.B * data.T, MaxRow: data.T, Precision: d}
		e, err := cpu.New(model.Init(c, 1), o)
		if err != nil {
			return err
		}
		u := model.Update{LR: 1e-4, Beta1: 0.9, Beta2: 0.95, Eps: 1e-8, WeightDecay: 0.1, GradScale: 1}
		tokens := float64(len(data.Tokens))
		name := fmt.Sprintf("step of %s parameters, %d × %d, %s", progress.Count(int64(c.NumParams())), data.B, data.T, d)
		err = b.add("train", name, "tokens/s", tokens, b.peakOf(d), c.TrainFLOPs(data.T)/1e9, func() error {
			if _, err := e.Accumulate(data, 1/float32(tokens)); err != nil {
				return err
			}
			e.GradNorm()
			u.Step++
			return e.Update(u)
		})
		if err := e.Close(); err != nil {
			return err
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// generate measures a prompt and decoding from weights as they lie in a file.
func (b *bench) generate() error {
	z := &b.size
	heads := max(2, z.width/64)
	c := benchDecoder(z.vocab, z.width, z.layers, heads, max(1, heads/8), z.ffn)
	for _, d := range []model.DType{model.BF16, model.Q8_0, model.Q4_0} {
		e, read, err := b.openRandom(c, d)
		if err != nil {
			return err
		}
		err = b.sessions(e, c, d, read)
		if err := e.Close(); err != nil {
			return err
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// openRandom makes an engine over random weights; read is the bytes that one token reads.
func (b *bench) openRandom(c *model.Config, d model.DType) (e *cpu.Engine, read float64, err error) {
	var ts []model.Tensor
	for i, p := range c.Layout() {
		t := model.Tensor{Name: p.Name, DType: d, Shape: p.Shape}
		if len(p.Shape) == 1 {
			t.DType = model.F32
		}
		t.Data = pattern(t.DType, p.Size)
		if i > 0 {
			read += float64(len(t.Data))
		}
		ts = append(ts, t)
	}
	e, err = cpu.Open(c, ts, cpu.Options{Threads: b.c.Threads})
	return e, read, err
}

// promptFLOPs is the cost of a token of a prompt of n, of which only the last has its logits computed.
func promptFLOPs(c *model.Config, n int) float64 {
	head := 2 * float64(c.VocabSize) * float64(c.HiddenSize)
	return c.ForwardFLOPs(n) - head*float64(n-1)/float64(n)
}

func (b *bench) sessions(e *cpu.Engine, c *model.Config, d model.DType, read float64) error {
	const decoded = 8
	z := &b.size
	s, err := e.NewSession(z.prompt + decoded)
	if err != nil {
		return err
	}
	s.UseThreads(true)
	ids := make([]int32, z.prompt)
	for i := range ids {
		ids[i] = int32(i * 7919 % c.VocabSize)
	}
	logits := make([]float32, c.VocabSize)
	name := fmt.Sprintf("%s, %s parameters", d, progress.Count(int64(c.NumParams())))
	if err := b.add("generate", fmt.Sprintf("prompt of %d, %s", z.prompt, name), "tokens/s", float64(z.prompt), b.peakOf(d), promptFLOPs(c, z.prompt)/1e9, func() error {
		s.Truncate(0)
		return s.Append(ids, logits, len(ids)-1)
	}); err != nil {
		return err
	}
	return b.add("generate", "decode, "+name, "tokens/s", decoded, "read", read/1e9, func() error {
		s.Truncate(0)
		for i := range decoded {
			if err := s.Append(ids[i:i+1], logits, 0); err != nil {
				return err
			}
		}
		return nil
	})
}
