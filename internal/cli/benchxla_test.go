package cli

import (
	"bytes"
	"encoding/json"
	"io"
	"math"
	"slices"
	"strings"
	"testing"

	"ravn/engine/xla"
	"ravn/model"
)

// TestBenchXLA runs the benchmark of GPUs at toy size on GoMLX's plain backend, as two virtual devices, and holds its figures to
// each other. The loss of one batch goes down, since each step is one of AdamW on it.
func TestBenchXLA(t *testing.T) {
	t.Setenv("RAVN_PJRT", "none")
	out := mustRavn(t, "bench", "xla", "--shape", "toy", "--devices", "2", "--rows", "2", "--tokens", "8", "--steps", "2", "--peak", "0.001", "--fp32", "--json")
	out = out[strings.Index(out, "{"):] // behind the progress
	var r xlaReport
	if err := json.Unmarshal([]byte(out), &r); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if strings.Count(out, "\n") != 1 || r.Devices != 2 || r.Tokens != 8 || r.Rows != 2 || r.Layers != 2 || r.Precision != "fp32" || r.Steps != 2 {
		t.Errorf("%s", out)
	}
	if rate := 2 * 2 * 8 / r.StepTime; math.Abs(r.TokensRate/rate-1) > 1e-9 || r.BestStep > r.StepTime || r.FirstStep <= 0 {
		t.Errorf("%g tokens/s at %g s a step", r.TokensRate, r.StepTime)
	}
	// 6·N + 12·L·H·D·A of the shape: N = 2·(2·32·32 + 2·32·16 + 3·32·64 + 2·32) + 32 + 256·32 parameters that multiply, A = 4.5.
	const flops = 6*(2*(2*32*32+2*32*16+3*32*64+2*32)+32+256*32) + 12*2*4*8*4.5
	if want := r.TokensRate * flops / 2 / 1e12; math.Abs(r.TFLOPS/want-1) > 1e-9 || math.Abs(r.Share*0.001/r.TFLOPS-1) > 1e-9 {
		t.Errorf("%g TFLOP/s and a share of %g, want %g", r.TFLOPS, r.Share, want)
	}
	if !(r.LastLoss < r.FirstLoss) || r.IdleShare < 0 || r.IdleShare > 1 || r.Memory <= 0 || r.Planned <= 0 {
		t.Errorf("%s", out)
	}
	text := mustRavn(t, "bench", "xla", "--shape", "toy", "--tokens", "4", "--layers", "1", "--steps", "1")
	for _, want := range []string{"1 × 1 rows of 4 tokens", "--peak", "idle", "planned on each device"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
}

func TestNVIDIACards(t *testing.T) {
	cards := readCards("NVIDIA H200, 143771, 4321\nNVIDIA H100 PCIe, 81559, 0\n[N/A], [N/A], [N/A]\nGB10, [N/A], 4\n")
	if want := []card{{"NVIDIA H200", 143771 << 20, 4321 << 20}, {"NVIDIA H100 PCIe", 81559 << 20, 0}}; !slices.Equal(cards, want) {
		t.Errorf("%v, want %v", cards, want)
	}
	for card, want := range map[string]float64{"NVIDIA H200": 989, "NVIDIA H100 PCIe": 756, "NVIDIA H100 80GB HBM3": 989, "Tesla T4": 0} {
		if got := peakOf(card); got != want {
			t.Errorf("%s: %g TFLOP/s, want %g", card, got, want)
		}
	}
}

// TestBenchXLAKeepsWhatItHas: a line of JSON comes whatever happens, with the error and what was measured.
func TestBenchXLAKeepsWhatItHas(t *testing.T) {
	t.Setenv("RAVN_PJRT", "none")
	for _, x := range []struct {
		args  string
		want  string
		steps int
	}{
		{"--shape 7b", "pull-plugin cuda", 0},
		{"--shape toy --steps 500 --limit 0.01", "", 1}, // over after the first that is timed
	} {
		cmd := ravn(append([]string{"bench", "xla", "--json"}, strings.Fields(x.args)...)...)
		var out bytes.Buffer
		cmd.Stdout = &out
		err := cmd.Run()
		var r xlaReport
		if bad := json.Unmarshal(out.Bytes(), &r); bad != nil {
			t.Fatalf("%s: %v: %s", x.args, bad, out.String())
		}
		if (err != nil) != (x.want != "") || !strings.Contains(r.Error, x.want) || r.Steps != x.steps {
			t.Errorf("%s: %v, %+v", x.args, err, r)
		}
	}
}

// TestBenchFits reckons on cards that a driver could show. Of Mistral's shape 32 layers have room on an H200 and fewer on an H100, as
// docs/design/xla.md has it; without --fit that is an error.
func TestBenchFits(t *testing.T) {
	h100, h200 := []card{{"NVIDIA H100 80GB HBM3", 81559 << 20, 0}}, []card{{"NVIDIA H200", 143771 << 20, 0}}
	p := (&Streams{Err: io.Discard}).Progress()
	o := xla.Options{BF16: true}
	for _, x := range []struct {
		name   string
		cards  []card
		fit    bool
		layers int
	}{{"H200", h200, false, 32}, {"H200, fit", h200, true, 32}, {"H100, fit", h100, true, 20}, {"H100", h100, false, 0}} {
		c := &BenchCmd{xlaFlags: xlaFlags{Shape: "7b", Rows: 1, Devices: 1, Fit: x.fit, Layers: 0}}
		cfg, _, err := c.decoder(p, o, x.cards)
		if x.layers == 0 {
			if err == nil || !strings.Contains(err.Error(), "--fit") {
				t.Errorf("%s: %v", x.name, err)
			}
			continue
		}
		if err != nil || cfg.NumHiddenLayers != x.layers {
			t.Errorf("%s: %v, %d layers, want %d", x.name, err, cfg.NumHiddenLayers, x.layers)
		}
	}
}

// TestLikeBlocks: all of a decoder has weights, those of a block in every block.
func TestLikeBlocks(t *testing.T) {
	cfg := xlaShapes()["toy"].c
	cfg.NumHiddenLayers = 3
	w := likeBlocks(cfg)
	at := map[string][]float32{}
	for _, p := range cfg.Layout() {
		at[p.Name] = w.Params[p.Offset : p.Offset+p.Size]
		if at[p.Name][p.Size-1] == 0 {
			t.Errorf("%s has no weights", p.Name)
		}
	}
	for name, x := range at {
		if rest, ok := strings.CutPrefix(name, "model.layers.0."); ok && (!slices.Equal(x, at["model.layers.1."+rest]) || !slices.Equal(x, at["model.layers.2."+rest])) {
			t.Errorf("%s differs between blocks", rest)
		}
	}
	if p := model.Init(cfg, 1); !slices.Equal(at["lm_head.weight"], p.Params[len(p.Params)-len(at["lm_head.weight"]):]) {
		t.Error("the head is not where it belongs")
	}
}

// TestBenchParity holds the backend in plain Go, as two virtual devices, to engine/ref on all decoders.
func TestBenchParity(t *testing.T) {
	t.Setenv("RAVN_PJRT", "none")
	cmd := ravn("bench", "parity", "--devices", "2", "--json")
	var out bytes.Buffer
	cmd.Stdout = &out
	if err := cmd.Run(); err != nil {
		t.Fatalf("%v: %s", err, out.String())
	}
	lines := 0
	for line := range strings.Lines(out.String()) {
		var r parityReport
		if err := json.Unmarshal([]byte(line), &r); err != nil || !r.OK || r.Devices != 2 || r.Tensor == "" || !(r.Loss <= r.Limit) {
			t.Errorf("%v: %s", err, line)
		}
		lines++
	}
	if lines != len(parityCases) {
		t.Errorf("%d lines, want %d", lines, len(parityCases))
	}
}

// TestPullPluginRefuses: what cannot be fetched says so before anything is asked of a network.
func TestPullPluginRefuses(t *testing.T) {
	cmd := ravn("pull-plugin", "cpu", "--version", "3", "--to", t.TempDir())
	out, err := cmd.Stderr, cmd.Run()
	if text := out.(interface{ String() string }).String(); err == nil || !strings.Contains(text, "leave out --version") || !strings.Contains(text, "RAVN_PJRT") {
		t.Errorf("%v: %s", err, text)
	}
}
