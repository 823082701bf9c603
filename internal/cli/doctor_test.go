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
		plugin, state, advice string
		linked                bool
	}{
		{library, "note", "-tags xla", false},
		{library, "ok", "--engine xla", true},
		{library + ".gone", "problem", "no such file", true},
		{"cuda", "ok", "--engine xla", true},
	} {
		f := lookGPU(x.plugin, x.linked)
		if f.State != x.state || !strings.Contains(f.Advice, x.advice) {
			t.Errorf("%s, linked %t: %+v, want %s and %q", x.plugin, x.linked, f, x.state, x.advice)
		}
	}
}
