package stats

import (
	"math"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
)

// world is a made-up benchmark of two balanced classes: an item has a difficulty, a draw of examples leans to one label
// and is good or bad as a whole, and each answer has luck of its own. What is asked is a sample of items and draws, so
// the truth is the mean over all of both.
type world struct {
	items, draws int
	skill        float64 // of the model
	lean, luck   float64 // deviation of draws: towards a label, and as a whole
	item         float64 // deviation of items; that of single answers is 1
}

// sample asks the world: counts (items, draws*4) of a 2×2 confusion. other is a second model with more skill on the same
// items and draws, nil where there is none.
func (w world) sample(r *rand.Rand, more float64) (c, other Crossed) {
	c = Crossed{Sums{4 * w.draws, make([]float64, w.items*4*w.draws)}, w.draws}
	other = Crossed{Sums{4 * w.draws, make([]float64, w.items*4*w.draws)}, w.draws}
	lean, luck := make([]float64, w.draws), make([]float64, w.draws)
	for d := range lean {
		lean[d], luck[d] = w.lean*r.NormFloat64(), w.luck*r.NormFloat64()
	}
	for i := range w.items {
		class, hard := r.IntN(2), w.item*r.NormFloat64()
		for d := range w.draws {
			at := i*c.Dims + d*4
			for k, m := range []Crossed{c, other} {
				z := w.skill + float64(k)*more + hard + luck[d] + lean[d]*float64(2*class-1) + r.NormFloat64()
				answer := class
				if z < 0 {
					answer = 1 - class
				}
				m.Data[at+class*2+answer] = 1
			}
		}
	}
	return c, other
}

func accuracyOf(s []float64) float64 { return (s[0] + s[3]) / (s[0] + s[1] + s[2] + s[3]) }

func mccOf(s []float64) float64 {
	a, b, c, d := s[0], s[1], s[2], s[3]
	den := (a + b) * (c + d) * (a + c) * (b + d)
	if den == 0 {
		return 0
	}
	return (a*d - b*c) / math.Sqrt(den)
}

// truth is the mean over draws of f of the expected confusion, by a grid over the two normal deviations of draws.
func (w world) truth(f func([]float64) float64, skill float64) float64 {
	sd := math.Sqrt(1 + w.item*w.item)
	var sum, weight float64
	const steps = 60
	for i := -steps; i <= steps; i++ {
		for j := -steps; j <= steps; j++ {
			x, y := 4*float64(i)/steps, 4*float64(j)/steps
			p := math.Exp(-(x*x + y*y) / 2)
			one := normalCDF((skill + w.luck*y + w.lean*x) / sd)
			zero := normalCDF((skill + w.luck*y - w.lean*x) / sd)
			sum += p * f([]float64{zero, 1 - zero, 1 - one, one})
			weight += p
		}
	}
	return sum / weight
}

// scandEval is what ScandEval does: ten bootstrap samples of the items, each under its own draw; mean and 1.96 s/√10.
func (w world) scandEval(r *rand.Rand, c Crossed, f func([]float64) float64) Estimate {
	var x []float64
	for d := range c.Draws {
		sums := make([]float64, 4)
		for range w.items {
			i := r.IntN(w.items)
			for k := range 4 {
				sums[k] += c.Data[i*c.Dims+d*4+k]
			}
		}
		x = append(x, f(sums))
	}
	m, radius := MeanRadius(x)
	return Estimate{Value: m, Low: m - radius, High: m + radius}
}

// entityWorld is a benchmark of entities: most sentences have none, some several, and some are hard for every model.
type entityWorld struct {
	items, draws int
	skill        float64
	luck, item   float64 // deviation of draws, and of sentences; that of single entities is 1
}

// sample asks it: counts (items, draws*3) of entities found, entities named, entities there are.
func (w entityWorld) sample(r *rand.Rand, items, draws int) Crossed {
	c := Crossed{Sums{3 * draws, make([]float64, items*3*draws)}, draws}
	luck := make([]float64, draws)
	for d := range luck {
		luck[d] = w.luck * r.NormFloat64()
	}
	for i := range items {
		n, hard := max(0, r.IntN(6)-2), w.item*r.NormFloat64()
		for d := range draws {
			row := c.Data[i*c.Dims+3*d:][:3]
			row[2] = float64(n)
			for range n {
				if w.skill+luck[d]+hard+r.NormFloat64() > 0 {
					row[0]++
					row[1]++
				}
			}
			if w.skill+luck[d]+hard+r.NormFloat64() < -0.8 { // names what is none
				row[1]++
			}
		}
	}
	return c
}

func spanF1(s []float64) float64 {
	if s[1]+s[2] == 0 {
		return 0
	}
	return 2 * s[0] / (s[1] + s[2])
}

// truth is the mean over many draws of many sentences.
func (w entityWorld) truth() float64 {
	c := w.sample(rand.New(rand.NewPCG(4, 2)), 4000, 400)
	total, sum := make([]float64, c.Dims), 0.0
	for i, v := range c.Data {
		total[i%c.Dims] += v
	}
	for d := range c.Draws {
		sum += spanF1(total[3*d:][:3])
	}
	return sum / float64(c.Draws)
}

// coverage is how often an interval holds the truth, in percent.
func coverage(trials int, seed uint64, trial func(r *rand.Rand, k uint64) (e Estimate, truth float64)) float64 {
	r := rand.New(rand.NewPCG(seed, 20240111))
	hit := 0
	for k := range trials {
		if e, truth := trial(r, uint64(k)); e.Low <= truth && truth <= e.High {
			hit++
		}
	}
	return 100 * float64(hit) / float64(trials)
}

type coverageCase struct {
	name       string
	compatible bool // ScandEval's radius: shown, not held to anything
	trial      func(r *rand.Rand, k uint64) (Estimate, float64)
}

// coverageCases are the intervals that records, comparisons and the leaderboard print.
func coverageCases(resamples int) []coverageCase {
	var cases []coverageCase
	add := func(name string, w world, f func([]float64) float64) {
		truth := w.truth(f, w.skill)
		cases = append(cases, coverageCase{name, false, func(r *rand.Rand, k uint64) (Estimate, float64) {
			c, _ := w.sample(r, 0)
			return BootstrapCrossed(c, f, BootstrapOptions{Resamples: resamples, Seed: k}), truth
		}})
		if w.draws == 10 {
			cases = append(cases, coverageCase{name + ", ScandEval's radius", true, func(r *rand.Rand, _ uint64) (Estimate, float64) {
				c, _ := w.sample(r, 0)
				return w.scandEval(r, c, f), truth
			}})
		}
	}
	for _, v := range []struct {
		name       string
		lean, luck float64
	}{{"draws alike", 0, 0}, {"draws differ", 0.15, 0.05}, {"draws differ much", 0.5, 0.2}} {
		add("accuracy, 512 items, 10 draws, "+v.name, world{512, 10, 0.4, v.lean, v.luck, 1}, accuracyOf)
		add("MCC, 512 items, 10 draws, "+v.name, world{512, 10, 0.4, v.lean, v.luck, 1}, mccOf)
		add("MCC, 512 items, 5 draws, "+v.name, world{512, 5, 0.4, v.lean, v.luck, 1}, mccOf)
		add("MCC, 64 items, 10 draws, "+v.name, world{64, 10, 0.4, v.lean, v.luck, 1}, mccOf)
		w := world{512, 10, 0.3, v.lean, v.luck, 1}
		more := w.truth(mccOf, w.skill+0.1) - w.truth(mccOf, w.skill)
		cases = append(cases, coverageCase{"paired difference of MCC, 512 items, 10 draws, " + v.name, false, func(r *rand.Rand, k uint64) (Estimate, float64) {
			a, b := w.sample(r, 0.1)
			return PairedCrossed(b, a, mccOf, BootstrapOptions{Resamples: resamples, Seed: k}), more
		}})
	}
	add("exact answers, 5 % of them right, 512 items, 10 draws", world{512, 10, -2.3, 0, 0.1, 1}, accuracyOf)
	add("MCC, 24 items, 5 draws", world{24, 5, 0.4, 0.15, 0.05, 1}, mccOf)
	spans := entityWorld{400, 10, 0.2, 0.1, 0.8}
	f1 := spans.truth()
	cases = append(cases, coverageCase{"micro-F1 of entities, 400 sentences, 10 draws", false, func(r *rand.Rand, k uint64) (Estimate, float64) {
		return BootstrapCrossed(spans.sample(r, spans.items, spans.draws), spanF1, BootstrapOptions{Resamples: resamples, Seed: k}), f1
	}})
	three := world{256, 10, 0.3, 0.15, 0.05, 1}
	threeMore := three.truth(mccOf, three.skill+0.1) - three.truth(mccOf, three.skill)
	cases = append(cases, coverageCase{"mean paired difference of 3 data sets (a task), MCC, 256 items, 10 draws", false, func(r *rand.Rand, k uint64) (Estimate, float64) {
		var es []Estimate
		for range 3 {
			a, b := three.sample(r, 0.1)
			es = append(es, PairedCrossed(b, a, mccOf, BootstrapOptions{Resamples: resamples, Seed: k}))
		}
		return MeanOf(es), threeMore
	}})
	small := world{200, 5, 0.4, 0.15, 0.05, 1}
	truth := small.truth(mccOf, small.skill)
	cases = append(cases, coverageCase{"mean of 8 data sets (a language), MCC, 200 items, 5 draws", false, func(r *rand.Rand, k uint64) (Estimate, float64) {
		var es []Estimate
		for range 8 {
			c, _ := small.sample(r, 0)
			es = append(es, BootstrapCrossed(c, mccOf, BootstrapOptions{Resamples: resamples, Seed: k}))
		}
		return MeanOf(es), truth
	}})
	return cases
}

// coverageTable runs the cases and checks what claims 95 %.
func coverageTable(t *testing.T, trials, resamples int, low, high float64) {
	cases := coverageCases(resamples)
	shares := make([]float64, len(cases))
	var next atomic.Int64
	var wg sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for i := int(next.Add(1)) - 1; i < len(cases); i = int(next.Add(1)) - 1 {
				shares[i] = coverage(trials, uint64(i), cases[i].trial)
			}
		})
	}
	wg.Wait()
	for i, c := range cases {
		share := shares[i]
		t.Logf("| %s | %.1f |", c.name, share)
		if !c.compatible && (share < low || share > high) {
			t.Errorf("%s: a 95 %% interval covers %.1f %%, want %.0f to %.0f", c.name, share, low, high)
		}
	}
	t.Logf("%d trials, %d resamples: the standard error of a share is %.1f points", trials, resamples, 100*math.Sqrt(0.95*0.05/float64(trials)))
}

// Promise, the short form; the long one is behind -tags slow. With 120 trials three standard errors are 6 points.
func TestCoverageOfPrintedIntervals(t *testing.T) {
	if testing.Short() {
		t.Skip("simulates")
	}
	coverageTable(t, 120, 200, 88, 100)
}
