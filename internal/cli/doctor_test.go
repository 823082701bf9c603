package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestDoctorLooksForAnAccelerator(t *testing.T) {
	library := filepath.Join(t.TempDir(), "plugin.so")
	if err := os.WriteFile(library, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	const installed, jax = "/lib/pjrt_c_api_cuda_plugin.so", "/venv/lib/python3.12/site-packages/jax_plugins/xla_cuda13/xla_cuda_plugin.so"
	const old = "/dev/nvidia0 (NVIDIA UNIX x86_64 Kernel Module 550.54.15 Tue Mar 5 22:23:56 UTC 2024)"
	for _, x := range []struct {
		cards, asked    string
		plugins         []string
		state, advice   string
		linked, libcuda bool
	}{
		{"", "", nil, "note", "runs on the processor", false, false},
		{"/dev/nvidia0", "", nil, "note", "ravn pull-plugin cuda", true, true},
		{"/dev/nvidia0", "", nil, "note", "-tags xla", false, true},
		{"/dev/nvidia0", "", []string{installed}, "note", "-tags xla", false, true},
		{"/dev/nvidia0", "", []string{installed}, "ok", "--engine xla", true, true},
		{"/dev/nvidia0", "cuda", []string{jax}, "ok", "--engine xla", true, true},
		{"/dev/nvidia0", "", []string{installed}, "problem", "libcuda.so.1", true, false},
		{old, "", nil, "note", "pull-plugin cuda12", true, true},
		{old, "", []string{installed}, "ok", "driver 550 is too old for CUDA 13", true, true},
		{"", library, nil, "problem", "no library", true, false},
		{"", library + ".gone", nil, "problem", "no such file", true, false},
		{"", "cuda", []string{installed}, "ok", "--engine xla", true, false},
		{"", "cuda", nil, "problem", "pull-plugin cuda", true, false},
	} {
		f := lookGPU(x.cards, x.asked, x.plugins, x.linked, x.libcuda)
		if f.State != x.state || !strings.Contains(f.Advice, x.advice) {
			t.Errorf("%+v: %+v, want %s and %q", x, f, x.state, x.advice)
		}
	}
}
