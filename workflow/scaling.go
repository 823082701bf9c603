package workflow

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"ravn/internal/progress"
	"ravn/run"
	"ravn/stats"
	"ravn/train"
	"ravn/web"
	"ravn/weights"
)

// Scaling is how what a recipe does goes with the size of its base: one series of a sweep, runs that differ in their base
// and their seed alone.
type Scaling struct {
	Series     string         `json:"series"`
	Seeds      int            `json:"seeds"`      // that every size has
	Parameters []int64        `json:"parameters"` // of the bases, ascending
	Languages  []ScaledChange `json:"languages"`
	Target     ScaledChange   `json:"target"` // mean over the target languages
	Retained   ScaledChange   `json:"retained"`
}

// ScaledChange is one language's, or one side's, part of a Scaling. Changes are relative, of bits per byte against the run's own
// base. Slope is what a change gains in points (1 is 100 %) for ten times the parameters: least squares of the change on
// log10 of the parameters. The exponents are slopes of log bits per byte on log parameters, so bits per byte go as
// parameters to that power; a side has none.
//
// Intervals: documents are resampled, the same ones at every size; what seeds differ in beyond that is added as Student's
// t (stats.BootstrapCrossed). That the bases of a size would differ, too, is not in them.
type ScaledChange struct {
	Name         string          `json:"name"`
	Changes      []ScaledPoint   `json:"changes"` // one a size
	Fit          []ScaledPoint   `json:"fit"`     // the line, from the smallest to the largest size
	Slope        stats.Estimate  `json:"slope"`
	BaseBits     []float64       `json:"base_bits_per_byte,omitempty"` // one a size
	EndBits      []float64       `json:"end_bits_per_byte,omitempty"`  // likewise, mean over seeds
	BaseExponent *stats.Estimate `json:"base_exponent,omitempty"`
	EndExponent  *stats.Estimate `json:"end_exponent,omitempty"`
}

// ScaledPoint is a change at a number of parameters.
type ScaledPoint struct {
	Parameters float64        `json:"parameters"`
	Change     stats.Estimate `json:"change"`
}

// baseParameters is the size of the model that the run in dir started from, rows for new pieces included.
func baseParameters(dir string) (int64, error) {
	folder, err := run.Open(dir)
	if err != nil {
		return 0, err
	}
	b, err := ReadBase(folder)
	if err != nil {
		return 0, err
	}
	path := b.Path
	if b.Start != "" {
		path = b.Start
	}
	w, err := weights.OpenFolder(path)
	if err != nil {
		return 0, err
	}
	defer w.Close()
	return int64(w.Config().NumParams()), nil
}

// scale puts the runs of each series together by size and seed. Runs without scores are left out; seeds that a size lacks,
// too; a series of one size is an error, because nothing can be said of it.
func (r *SweepResult) scale() error {
	var order []string
	series := map[string][]SweptRun{}
	for _, x := range r.Runs {
		if x.Series == "" || len(x.scores) == 0 {
			continue
		}
		if series[x.Series] == nil {
			order = append(order, x.Series)
		}
		series[x.Series] = append(series[x.Series], x)
	}
	for _, name := range order {
		s, err := scaleSeries(name, series[name])
		if err != nil {
			return fmt.Errorf("workflow: sweep %s: %w", r.Name, err)
		}
		r.Scaling = append(r.Scaling, s)
	}
	return nil
}

func scaleSeries(name string, runs []SweptRun) (Scaling, error) {
	at := map[int64]map[string]SweptRun{}
	for _, x := range runs {
		seed := fmt.Sprint(x.Set["seed"])
		if at[x.Parameters] == nil {
			at[x.Parameters] = map[string]SweptRun{}
		}
		if other, twice := at[x.Parameters][seed]; twice {
			return Scaling{}, fmt.Errorf("runs %s and %s of series %s have bases of the same size, %s parameters, and the same seed", other.Name, x.Name, name, progress.Count(x.Parameters))
		}
		at[x.Parameters][seed] = x
	}
	s := Scaling{Series: name, Parameters: slices.Sorted(maps.Keys(at))}
	if len(s.Parameters) < 2 {
		return s, fmt.Errorf("all runs of series %s have bases of %s parameters; a series takes two sizes at least", name, progress.Count(s.Parameters[0]))
	}
	var grid [][]SweptRun // (seeds, sizes)
	for _, seed := range slices.Sorted(maps.Keys(at[s.Parameters[0]])) {
		var row []SweptRun
		for _, n := range s.Parameters {
			if x, ok := at[n][seed]; ok {
				row = append(row, x)
			}
		}
		if len(row) == len(s.Parameters) {
			grid = append(grid, row)
		}
	}
	if s.Seeds = len(grid); s.Seeds == 0 {
		return s, fmt.Errorf("series %s has no seed that was run at all of its %d sizes", name, len(s.Parameters))
	}
	languages := map[string]bool{}
	for _, d := range grid[0][0].scores {
		languages[d.Language] = true
	}
	for _, language := range slices.Sorted(maps.Keys(languages)) {
		if c := scaleLanguage(language, s.Parameters, grid); len(c.Changes) > 0 {
			s.Languages = append(s.Languages, c)
		}
	}
	s.Target, s.Retained = ScaledChange{Name: "target"}, ScaledChange{Name: "retained"}
	recipe := grid[0][0].recipe
	both := func(of func(c ScaledChange) stats.Estimate) (target, retained stats.Estimate) {
		var gs []GroupChange
		for _, c := range s.Languages {
			gs = append(gs, GroupChange{Group: c.Name, Change: of(c)})
		}
		return sides(recipe, gs)
	}
	s.Target.Slope, s.Retained.Slope = both(func(c ScaledChange) stats.Estimate { return c.Slope })
	points := func(of func(c ScaledChange) []ScaledPoint) (target, retained []ScaledPoint) {
		if len(s.Languages) == 0 {
			return nil, nil
		}
		for i, p := range of(s.Languages[0]) {
			t, k := both(func(c ScaledChange) stats.Estimate { return of(c)[i].Change })
			target, retained = append(target, ScaledPoint{p.Parameters, t}), append(retained, ScaledPoint{p.Parameters, k})
		}
		return target, retained
	}
	s.Target.Changes, s.Retained.Changes = points(func(c ScaledChange) []ScaledPoint { return c.Changes })
	s.Target.Fit, s.Retained.Fit = points(func(c ScaledChange) []ScaledPoint { return c.Fit })
	return s, nil
}

// scaleLanguage fits one language; grid is (seeds, sizes). Documents that a run lacks are left out everywhere.
func scaleLanguage(language string, parameters []int64, grid [][]SweptRun) ScaledChange {
	all := grid[0][0].scores
	cols := [][]float64{} // of a document: for each seed and size its nats at the end and under the base, then for the seed its bytes
	for _, row := range grid {
		for _, x := range row {
			cols = append(cols,
				matched(x.scores, all, lastScore),
				matched(x.scores, all, func(d train.Scored) float64 { return d.Base }))
		}
		cols = append(cols, matched(all, all, func(d train.Scored) float64 { return float64(d.Bytes) }))
	}
	table := stats.Crossed{Sums: stats.Sums{Dims: len(cols)}, Draws: len(grid)}
	for i, d := range all {
		unit := make([]float64, len(cols))
		for k := range cols {
			unit[k] = cols[k][i]
		}
		if d.Language == language && !slices.ContainsFunc(unit, math.IsNaN) {
			table.Data = append(table.Data, unit...)
		}
	}
	c := ScaledChange{Name: language}
	if table.Units() == 0 {
		return c
	}
	sizes := len(parameters)
	x := make([]float64, sizes)
	for i, n := range parameters {
		x[i] = math.Log10(float64(n))
	}
	estimate := func(f func(sums []float64) float64) stats.Estimate {
		return stats.BootstrapCrossed(table, f, stats.BootstrapOptions{})
	}
	y := make([]float64, sizes)
	line := func(sums []float64, of func(last, base, bytes float64) float64) (intercept, slope float64) {
		for i := range y {
			y[i] = of(sums[2*i], sums[2*i+1], sums[2*sizes])
		}
		return stats.Line(x, y)
	}
	change := func(last, base, _ float64) float64 { return last/base - 1 }
	for i, n := range parameters {
		c.Changes = append(c.Changes, ScaledPoint{float64(n), estimate(func(sums []float64) float64 { return change(sums[2*i], sums[2*i+1], 0) })})
	}
	c.Slope = estimate(func(sums []float64) float64 { _, b := line(sums, change); return b })
	const points = 9
	for k := range points {
		at := x[0] + (x[sizes-1]-x[0])*float64(k)/(points-1)
		c.Fit = append(c.Fit, ScaledPoint{math.Pow(10, at), estimate(func(sums []float64) float64 { a, b := line(sums, change); return a + b*at })})
	}
	power := func(of func(last, base float64) float64) *stats.Estimate {
		e := estimate(func(sums []float64) float64 {
			_, b := line(sums, func(last, base, bytes float64) float64 { return math.Log10(of(last, base) / bytes) })
			return b
		})
		return &e
	}
	c.BaseExponent = power(func(_, base float64) float64 { return base })
	c.EndExponent = power(func(last, _ float64) float64 { return last })
	for i := range parameters {
		bits := func(at int) float64 {
			var nats, bytes float64
			for unit := 0; unit < len(table.Data); unit += table.Dims {
				for seed := range grid {
					nats += table.Data[unit+seed*(2*sizes+1)+at]
					bytes += table.Data[unit+seed*(2*sizes+1)+2*sizes]
				}
			}
			return nats / bytes / math.Ln2
		}
		c.BaseBits, c.EndBits = append(c.BaseBits, bits(2*i+1)), append(c.EndBits, bits(2*i))
	}
	return c
}

// scalingPlots are the two drawings against parameters: what the target gains and what the retained languages lose.
func (r *SweepResult) scalingPlots() []web.Scatter {
	draw := func(title, y string, of func(s Scaling) ScaledChange) web.Scatter {
		p := web.Scatter{Title: title, X: "parameters of the base", Y: y, LogX: true, Note: "lines: fits in the logarithm; bands: 95 %, over documents and seeds"}
		for _, s := range r.Scaling {
			g, c := web.ScatterGroup{Name: s.Series}, of(s)
			at := func(x ScaledPoint) web.ScatterPoint {
				return web.ScatterPoint{X: stats.Estimate{Value: x.Parameters, Low: math.NaN(), High: math.NaN()}, Y: x.Change.Scale(100)}
			}
			for _, x := range c.Changes {
				g.Points = append(g.Points, at(x))
			}
			for _, x := range c.Fit {
				g.Fit = append(g.Fit, at(x))
			}
			p.Groups = append(p.Groups, g)
		}
		return p
	}
	return []web.Scatter{
		draw(r.Name+": target, against the size of the base", "target: change of bits per byte, % (better below)", func(s Scaling) ScaledChange { return s.Target }),
		draw(r.Name+": retained, against the size of the base", "retained: change of bits per byte, % (better below)", func(s Scaling) ScaledChange { return s.Retained }),
	}
}

// Missed counts the sizes whose own interval the line does not pass through: with one or more the changes do not go straight.
func (c ScaledChange) Missed() (n int) {
	first, last := c.Fit[0], c.Fit[len(c.Fit)-1]
	for _, p := range c.Changes {
		at := math.Log(p.Parameters/first.Parameters) / math.Log(last.Parameters/first.Parameters)
		if v := first.Change.Value + at*(last.Change.Value-first.Change.Value); v < p.Change.Low || v > p.Change.High {
			n++
		}
	}
	return n
}

// scalingTable is a line for each series and language.
func (r *SweepResult) scalingTable() web.Table {
	t := web.Table{
		Caption: "Against the size of the base: change at each size, mean over seeds, and what ten times the parameters add to it in points, with 95 % intervals over documents and seeds (one base a size: how much another would differ is not in them); exponents of a power of the parameters that bits per byte go with",
		Head:    []string{"series", "language", "change by size", "for ten times the parameters", "sizes that the line misses", "bits per byte of the bases", "at the end", "exponent, bases", "exponent, end"},
	}
	verdict := func(e stats.Estimate) string {
		if e.Resolved() {
			return ""
		}
		return " ~"
	}
	for _, s := range r.Scaling {
		for _, c := range s.Languages {
			var changes, base, end []string
			for i, p := range c.Changes {
				changes = append(changes, fmt.Sprintf("%s %+.2f %% [%+.2f, %+.2f]", progress.Count(s.Parameters[i]), 100*p.Change.Value, 100*p.Change.Low, 100*p.Change.High))
				base, end = append(base, fmt.Sprintf("%.3f", c.BaseBits[i])), append(end, fmt.Sprintf("%.3f", c.EndBits[i]))
			}
			exponent := func(e *stats.Estimate) string {
				return fmt.Sprintf("%+.3f [%+.3f, %+.3f]%s", e.Value, e.Low, e.High, verdict(*e))
			}
			t.Rows = append(t.Rows, []string{
				s.Series, c.Name, strings.Join(changes, ", "), fmt.Sprintf("%+.2f [%+.2f, %+.2f]%s", 100*c.Slope.Value, 100*c.Slope.Low, 100*c.Slope.High, verdict(c.Slope)), fmt.Sprintf("%d of %d", c.Missed(), len(c.Changes)),
				strings.Join(base, ", "), strings.Join(end, ", "), exponent(c.BaseExponent), exponent(c.EndExponent),
			})
		}
	}
	return t
}
