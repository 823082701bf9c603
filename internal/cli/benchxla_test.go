package cli

import (
	"encoding/json"
	"math"
	"slices"
	"strings"
	"testing"
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

func TestDriverMemory(t *testing.T) {
	cards, used := readDriverMemory("NVIDIA H200, 4321\nNVIDIA H100 PCIe, 0\n[N/A], [N/A]\n")
	if !slices.Equal(cards, []string{"NVIDIA H200", "NVIDIA H100 PCIe"}) || !slices.Equal(used, []int64{4321 << 20, 0}) {
		t.Errorf("%q %v", cards, used)
	}
	for card, want := range map[string]float64{"NVIDIA H200": 989, "NVIDIA H100 PCIe": 756, "NVIDIA H100 80GB HBM3": 989, "Tesla T4": 0} {
		if got := peakOf(card); got != want {
			t.Errorf("%s: %g TFLOP/s, want %g", card, got, want)
		}
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
