package cli

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"ravn/merge"
)

// TestMergekitFile reads the recipe of munin-neuralbeagle-7b as the project published it, in our words: DARE-TIES of one
// model at density 0.53 and weight 0.6, the base listed without parameters.
func TestMergekitFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "m.yaml")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("merge_method: dare_ties\nbase_model: munin\nmodels:\n  - model: munin\n  - model: beagle\n    parameters: {density: 0.53, weight: 0.6}\ndtype: bfloat16\n")
	base, models, o, err := readMergekit(path, merge.Options{Lambda: 1})
	dir := filepath.Dir(path)
	if err != nil || base != filepath.Join(dir, "munin") || !slices.Equal(models, []string{filepath.Join(dir, "beagle")}) || o.Method != "dare_ties" || o.Density != 0.53 || !slices.Equal(o.Weights, []float64{0.6}) {
		t.Errorf("base %s, models %v, %+v, %v", base, models, o, err)
	}
	write("merge_method: slerp\nmodels: [{model: a}, {model: b}]\nparameters: {t: 0.25}\n")
	if _, models, o, err = readMergekit(path, merge.Options{}); err != nil || len(models) != 2 || !slices.Equal(o.Weights, []float64{0.75, 0.25}) {
		t.Errorf("slerp: %v, %+v, %v", models, o, err)
	}
	write("merge_method: slerp\nslices: []\n")
	if _, _, _, err = readMergekit(path, merge.Options{}); err == nil || !strings.Contains(err.Error(), "slices") {
		t.Errorf("what is not followed has to be said: %v", err)
	}
}
