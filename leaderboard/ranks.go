package leaderboard

import (
	"math"
	"slices"
	"strings"

	"ravn/internal/nprand"
	"ravn/stats"
)

// RankScores place a model among those of the table that have every data set; 1 is the best there is.
type RankScores struct {
	Spring2024 float64 `json:"spring_2024"` // EuroEval's from April 2024: standard deviations behind, where a test tells models apart
	Autumn2026 float64 `json:"autumn_2026"` // EuroEval's from August 2026: standard deviations behind the best
	Low        float64 `json:"low"`         // of Autumn2026, from 100 resamples of data sets within tasks and of raw scores
	High       float64 `json:"high"`
}

// rankReplicates and rankSeed are EuroEval's.
const (
	rankReplicates = 100
	rankSeed       = 42
)

// rankScores needs the raw scores of at least two models that have every data set.
func (t *Table) rankScores() {
	var rows []*Row
	for i := range t.Rows {
		if t.Rows[i].complete(t.Sets) {
			rows = append(rows, &t.Rows[i])
		}
	}
	if len(rows) < 2 || len(t.Sets) == 0 {
		return
	}
	raw := make([][][]float64, len(t.Sets)) // by data set, then model
	spring, autumn := make([][]float64, len(t.Sets)), make([][]float64, len(t.Sets))
	for k, set := range t.Sets {
		for _, r := range rows {
			raw[k] = append(raw[k], r.rawOf(set.Name))
		}
		spring[k], autumn[k] = stats.RankScores2024(raw[k]), stats.RankScores2026(raw[k], raw[k])
	}
	every := make([]int, len(t.Sets))
	for i := range every {
		every[i] = i
	}
	for m, r := range rows {
		at := func(of [][]float64) float64 {
			return t.meanByTask(every, func(k int) float64 { return of[k][m] })
		}
		r.Ranks = &RankScores{Spring2024: at(spring), Autumn2026: at(autumn)}
	}
	t.rankIntervals(rows, raw)
}

// rankIntervals resamples data sets within each task, over the languages of the table, and each model's raw scores.
func (t *Table) rankIntervals(rows []*Row, raw [][][]float64) {
	byTask := map[string][]int{}
	var tasks []string
	for k, s := range t.Sets {
		if byTask[s.Task] == nil {
			tasks = append(tasks, s.Task)
		}
		byTask[s.Task] = append(byTask[s.Task], k)
	}
	g := nprand.NewGenerator(rankSeed)
	replicates := make([][]float64, len(rows))
	for range rankReplicates {
		var drawn []int
		for _, task := range tasks {
			sets := byTask[task]
			for _, i := range g.Integers(len(sets), len(sets)) {
				drawn = append(drawn, sets[i])
			}
		}
		scores := make([][]float64, len(t.Sets))
		for k := range t.Sets {
			resampled := make([][]float64, len(rows))
			for m := range rows {
				x := raw[k][m]
				for _, i := range g.Integers(len(x), len(x)) {
					resampled[m] = append(resampled[m], x[i])
				}
			}
			scores[k] = stats.RankScores2026(resampled, raw[k])
		}
		for m := range rows {
			replicates[m] = append(replicates[m], t.meanByTask(drawn, func(k int) float64 { return scores[k][m] }))
		}
	}
	for m, r := range rows {
		slices.Sort(replicates[m])
		r.Ranks.Low, r.Ranks.High = stats.Quantile(replicates[m], 0.025), stats.Quantile(replicates[m], 0.975)
	}
}

// meanByTask averages data sets to tasks of a language, those to languages, and those to one number.
func (t *Table) meanByTask(sets []int, value func(k int) float64) float64 {
	sum, n := map[string]float64{}, map[string]float64{}
	var keys []string
	for _, k := range sets {
		key := t.Sets[k].Language + "\x00" + t.Sets[k].Task
		if n[key] == 0 {
			keys = append(keys, key)
		}
		sum[key] += value(k)
		n[key]++
	}
	perLanguage, tasks := map[string]float64{}, map[string]float64{}
	var order []string
	for _, key := range keys {
		language, _, _ := strings.Cut(key, "\x00")
		if tasks[language] == 0 {
			order = append(order, language)
		}
		perLanguage[language] += sum[key] / n[key]
		tasks[language]++
	}
	var total float64
	for _, language := range order {
		total += perLanguage[language] / tasks[language]
	}
	return total / float64(len(order))
}

// complete reports whether a row has raw scores of every data set.
func (r *Row) complete(sets []Set) bool {
	return !slices.ContainsFunc(sets, func(s Set) bool {
		raw := r.rawOf(s.Name)
		return len(raw) < 2 || slices.ContainsFunc(raw, math.IsNaN)
	})
}

func (r *Row) rawOf(set string) []float64 {
	for _, s := range r.Scores {
		if s.Name == set {
			return s.raw
		}
	}
	return nil
}
