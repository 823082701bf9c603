package web

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"math"
	"slices"
	"strings"
	"testing"

	"ravn/stats"
)

// crowded are ten rows as a study has them: a few far off, most of them close together.
func crowded() Scatter {
	at := func(name string, x, y float64) ScatterPoint {
		return ScatterPoint{name, stats.Estimate{Value: x, Low: x - 0.3, High: x + 0.2}, stats.Estimate{Value: y, Low: y - 0.4, High: y + 0.5}}
	}
	return Scatter{
		Title: "part 2 <&>", X: "target: change of bits per byte against the base, % (better to the left)", Y: "retained: change, % (better below)", Note: "mean of 3 seeds; whiskers: lowest and highest seed",
		Groups: []ScatterGroup{
			{Name: "on the front: nothing beats it on both sides", Points: []ScatterPoint{at("rewarm", -36, 41), at("rewarm-25", -34.9, 2.1), at("replay-50", -22, 0.6), at("merge-0.25", -12, 0.4)}},
			{Name: "others", Points: []ScatterPoint{
				at("january", -24, 9), at("masks", -24.4, 8.5), at("replay-1", -24.2, 6.1), at("replay-5", -24, 3.1), at("replay-25", -23.4, 1.4), at("wsd-25", -34.7, 2.3), at("extend-25", -34.6, 2.6),
			}},
		},
	}
}

// TestNamesCoverNothing: no two names of the crowded drawing overlap, none covers a point, all lie in the drawing.
func TestNamesCoverNothing(t *testing.T) {
	s := crowded()
	area := box{left, scatterTop, chartWidth - scatterRight, scatterHeight - scatterBottom}
	x, y := scale{-40, 0, area.x0, area.x1, 0}, scale{0, 50, area.y1, area.y0, 0}
	places := placeNames(s.Groups, x, y, area)
	var all []box
	for i, g := range s.Groups {
		for k, p := range g.Points {
			b, ok := places[[2]int{i, k}]
			if !ok || b.overlap(area) < 0.999*(b.x1-b.x0)*(b.y1-b.y0) {
				t.Errorf("%s: its name lies at %+v, outside", p.Name, b)
			}
			for _, other := range all {
				if b.overlap(other) > 0 {
					t.Errorf("%s: its name covers another", p.Name)
				}
			}
			for _, g := range s.Groups {
				for _, q := range g.Points {
					px, py := x.at(q.X.Value), y.at(q.Y.Value)
					if b.overlap(box{px - 3, py - 3, px + 3, py + 3}) > 0 {
						t.Errorf("the name of %s covers the point of %s", p.Name, q.Name)
					}
				}
			}
			all = append(all, b)
		}
	}
}

func TestScatterFile(t *testing.T) {
	file := crowded().File()
	d := xml.NewDecoder(bytes.NewReader(file))
	for {
		if _, err := d.Token(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatalf("the file is not XML: %v", err)
		}
	}
	for _, want := range []string{"part 2 &lt;&amp;&gt;", "rewarm-25: -34.9 [-35.2, -34.7] and 2.1 [1.7, 2.6]", "prefers-color-scheme:dark", "lowest and highest seed", `class="ground"`} {
		if !strings.Contains(string(file), want) {
			t.Errorf("the file lacks %q", want)
		}
	}
	none := Scatter{Title: "x", Groups: []ScatterGroup{{Points: []ScatterPoint{{"a", stats.Estimate{Value: math.NaN()}, stats.Estimate{}}}}}}
	if got := string(none.SVG("a")); !strings.Contains(got, "nothing measured yet") {
		t.Errorf("a drawing of nothing: %s", got)
	}
}

// TestBentAxis: one row far off makes the axis logarithmic, with places as asinh has them by hand, and zero is left out of
// the other axis when it is farther away than the points are from each other.
func TestBentAxis(t *testing.T) {
	at := func(x, y float64) ScatterPoint {
		return ScatterPoint{"p", stats.Estimate{Value: x, Low: x, High: x}, stats.Estimate{Value: y, Low: y, High: y}}
	}
	even, far := []ScatterPoint{at(1, 2), at(2, 3), at(3, 9)}, []ScatterPoint{at(-45, 64), at(-44, 5), at(-36, 3), at(-34, 0.3), at(-35, 2)}
	if got := bendOf(even); got != 0 {
		t.Errorf("an even drawing is bent at %g", got)
	}
	if got := bendOf(far); got != 1 { // the middle is 3, a half of it 1.5, the power of ten below it 1
		t.Fatalf("bent at %g, want 1", got)
	}
	if got, want := bentTicks(-2, 64, 1), []float64{-3, -1, 0, 1, 3, 10, 30, 100}; !slices.EqualFunc(got, want, func(a, b float64) bool { return math.Abs(a-b) < 1e-9 }) {
		t.Errorf("ticks %v, want %v", got, want)
	}
	s := scale{-1, 1, 0, 100, 1}
	if a, b := s.at(0), s.at(0.5); math.Abs(a-50) > 1e-9 || math.Abs(b-(50+50*math.Asinh(0.5)/math.Asinh(1))) > 1e-9 {
		t.Errorf("zero at %g, a half at %g", a, b)
	}
	x := func(p ScatterPoint) stats.Estimate { return p.X }
	if got := reach(far, x); got != [2]float64{-45, -34} {
		t.Errorf("x reaches %v, want -45 to -34", got)
	}
	if got := reach(even, x); got != [2]float64{0, 3} {
		t.Errorf("x reaches %v, want 0 to 3", got)
	}
	if svg := string(Scatter{Y: "lost, %", Groups: []ScatterGroup{{Points: far}}}.SVG("a")); !strings.Contains(svg, "lost, %; log beyond 1<") {
		t.Error("the drawing does not say that it is bent")
	}
}
