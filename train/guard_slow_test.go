//go:build slow

package train

import (
	"math/rand/v2"
	"testing"
)

// TestFalseAlarmsLong counts 600 runs of each kind, at the limit of 1 % that recipes have, with 30 documents a language and
// with 8, and at a limit of nothing, where an unchanged model stands on its limit for the whole run. At most 5 % may be
// stopped. With 8 documents at a limit of nothing that is not kept: there the rate is only printed, for docs/design/guard.md.
func TestFalseAlarmsLong(t *testing.T) {
	const runs = 600
	rng := rand.New(rand.NewPCG(5, 6))
	for _, limit := range []float64{0.01, 0} {
		for _, documents := range []int{8, 30} {
			for _, memory := range []float64{0, 0.5, 0.9, 1} {
				stopped, _ := falseAlarms(rng, runs, documents, memory, limit)
				share := 100 * float64(stopped) / runs
				t.Logf("limit %.2f, %2d documents a language, memory %.1f: %d of %d runs stopped, %.1f %%", limit, documents, memory, stopped, runs, share)
				if share > 5 && (limit > 0 || documents == 30) {
					t.Errorf("%.1f %% of runs without a loss were stopped, 5 %% are allowed", share)
				}
			}
		}
	}
}
