package kernel

import (
	"strings"
	"testing"
)

func TestChooseLevel(t *testing.T) {
	have := []*level{{name: "portable"}, {name: "avx2"}}
	for _, c := range []struct{ wish, want, err string }{
		{"", "avx2", ""},
		{"portable", "portable", ""},
		{"avx2", "avx2", ""},
		{"avx512", "portable", "kernel: RAVN_CPU=avx512 is not available on this processor or in this build (available here: portable, avx2;"},
		{"AVX2", "portable", "kernel: RAVN_CPU=AVX2 is not a level (available here: portable, avx2;"},
	} {
		got, err := choose(c.wish, have)
		if got.name != c.want {
			t.Errorf("RAVN_CPU=%q chose %s, want %s", c.wish, got.name, c.want)
		}
		if text := ""; err != nil || c.err != "" {
			if err != nil {
				text = err.Error()
			}
			if c.err == "" || !strings.HasPrefix(text, c.err) {
				t.Errorf("RAVN_CPU=%q: error %q, want %q", c.wish, text, c.err)
			}
		}
	}
}

func TestLevelIsOneOfLevels(t *testing.T) {
	if got := "," + strings.Join(Levels(), ",") + ","; !strings.Contains(got, ","+Level()+",") {
		t.Errorf("level %s is not among %s", Level(), got)
	}
	if err := Check(); err != nil {
		t.Error(err)
	}
	t.Logf("%s: %v, using %s", CPU(), Levels(), Level())
}
