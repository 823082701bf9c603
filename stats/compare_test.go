package stats

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"ravn/internal/nprand"
	"ravn/internal/sampledata"
)

// By hand: 0.01·4, then 0.02·3, 0.03·2 held at the one before, 0.04·1 likewise.
func TestHolm(t *testing.T) {
	got := Holm([]float64{0.04, 0.01, math.NaN(), 0.03, 0.02})
	for i, want := range []float64{0.06, 0.04, math.NaN(), 0.06, 0.06} {
		if math.Abs(got[i]-want) > 1e-12 || math.IsNaN(got[i]) != math.IsNaN(want) {
			t.Errorf("adjusted %v", got)
			break
		}
	}
	if got := Holm([]float64{0.9, 0.8}); got[0] != 1 || got[1] != 1 {
		t.Errorf("more than 1: %v", got)
	}
}

// Known answers of scipy and EuroEval's rules, by way of the vectors.
func TestRankScores(t *testing.T) {
	data, err := os.ReadFile(filepath.Join(sampledata.Dir(t), "eval", "metric_vectors.json"))
	if err != nil {
		t.Fatal(err)
	}
	var v struct {
		Ranks struct {
			Scores  map[string][]float64
			January struct {
				P float64 `json:"ttest_rel_A_B_p"`
			} `json:"january_14_2024"`
			April struct {
				Tests []struct {
					Better, Worse string
					P             float64 `json:"welch_one_sided_p"`
				}
				Rank map[string]float64 `json:"rank_score"`
			} `json:"april_2025"`
			August struct {
				Rank map[string]float64            `json:"rank_score"`
				Raw  map[string]map[string]float64 `json:"bootstrap_100_default_rng_42_models_in_order_A_to_E"`
			} `json:"august_2026"`
		}
	}
	if err := json.Unmarshal(data, &v); err != nil {
		t.Fatal(err)
	}
	names := []string{"A", "B", "C", "D", "E"}
	var scores [][]float64
	for _, n := range names {
		scores = append(scores, v.Ranks.Scores[n])
	}
	near(t, "paired t-test", PairedT(scores[0], scores[1]), v.Ranks.January.P, 1e-9)
	for _, c := range v.Ranks.April.Tests {
		near(t, "Welch "+c.Better+c.Worse, WelchGreater(v.Ranks.Scores[c.Better], v.Ranks.Scores[c.Worse]), c.P, 1e-9)
	}
	old, now := RankScores2024(scores), RankScores2026(scores, scores)
	for i, n := range names {
		near(t, "rank score of 2024, "+n, old[i], v.Ranks.April.Rank[n], 1e-9)
		near(t, "rank score of 2026, "+n, now[i], v.Ranks.August.Rank[n], 1e-9)
	}
	// Intervals of 2026: 100 replicates of numpy's generator for each model in order.
	g := nprand.NewGenerator(42)
	replicates := make([][]float64, len(names))
	for i, x := range scores {
		for range 100 {
			var y []float64
			for _, k := range g.Integers(len(x), len(x)) {
				y = append(y, x[k])
			}
			replicates[i] = append(replicates[i], RankScores2026([][]float64{y}, scores)[0])
		}
	}
	for i, n := range names {
		slices.Sort(replicates[i])
		want := v.Ranks.August.Raw[n]
		near(t, n+", median", Quantile(replicates[i], 0.5), want["score"], 1e-6)
		near(t, n+", lower", Quantile(replicates[i], 0.025), want["ci_lower"], 1e-6)
		near(t, n+", upper", Quantile(replicates[i], 0.975), want["ci_upper"], 1e-6)
	}
}
