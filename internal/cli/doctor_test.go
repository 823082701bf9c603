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
	for _, x := range []struct {
		cards, asked  string
		plugins       []string
		state, advice string
		linked        bool
	}{
		{"", "", nil, "note", "runs on the processor", false},
		{"/dev/nvidia0", "", nil, "note", "ravn pull-plugin cuda", true},
		{"/dev/nvidia0", "", nil, "note", "-tags xla", false},
		{"/dev/nvidia0", "", []string{"/lib/pjrt_c_api_cuda_plugin.so"}, "note", "-tags xla", false},
		{"/dev/nvidia0", "", []string{"/lib/pjrt_c_api_cuda_plugin.so"}, "ok", "--engine xla", true},
		{"", library, nil, "note", "-tags xla", false},
		{"", library, nil, "ok", "--engine xla", true},
		{"", library + ".gone", nil, "problem", "no such file", true},
		{"", "cuda", []string{"/lib/pjrt_c_api_cuda_plugin.so"}, "ok", "--engine xla", true},
		{"", "cuda", nil, "problem", "pull-plugin cuda", true},
	} {
		f := lookGPU(x.cards, x.asked, x.plugins, x.linked)
		if f.State != x.state || !strings.Contains(f.Advice, x.advice) {
			t.Errorf("%+v: %+v, want %s and %q", x, f, x.state, x.advice)
		}
	}
}
