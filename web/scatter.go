package web

import (
	"fmt"
	"html/template"
	"math"
	"strings"

	"ravn/stats"
)

// Scatter draws one measure against another, each point with the intervals of both: what is gained against what is lost.
type Scatter struct {
	Title, X, Y string // names of the axes, with units
	Groups      []ScatterGroup
}

// ScatterGroup is points that belong together. Joined, a line goes from each to the next.
type ScatterGroup struct {
	Name   string
	Joined bool
	Points []ScatterPoint
}

// ScatterPoint is a point with its name.
type ScatterPoint struct {
	Name string
	X, Y stats.Estimate
}

// SVG draws it, or says that there is nothing to draw.
func (s Scatter) SVG(id string) template.HTML {
	var points []ScatterPoint
	for _, g := range s.Groups {
		for _, p := range g.Points {
			if finite(p.X.Value) && finite(p.Y.Value) {
				points = append(points, p)
			}
		}
	}
	if len(points) == 0 {
		return template.HTML(`<p class="missing">` + esc(s.Title) + `: nothing measured yet.</p>`)
	}
	xs, ys := reach(points, func(p ScatterPoint) stats.Estimate { return p.X }), reach(points, func(p ScatterPoint) stats.Estimate { return p.Y })
	xt, yt := niceTicks(xs[0], xs[1], 5), niceTicks(ys[0], ys[1], 4)
	const right = 118
	x := scale{xt[0], xt[len(xt)-1], left, chartWidth - right}
	y := scale{yt[0], yt[len(yt)-1], chartHeight - bottom, top}
	var b strings.Builder
	openSVG(&b, id, s.Title, s.words(), chartWidth, chartHeight)
	for _, t := range yt {
		fmt.Fprintf(&b, `<line class="grid" x1="%g" x2="%g" y1="%.1f" y2="%.1f"/><text class="tick" x="%g" y="%.1f" text-anchor="end">%s</text>`, left, chartWidth-right, y.at(t), y.at(t), left-8, y.at(t)+4, tickText(t, yt))
	}
	for _, t := range xt {
		fmt.Fprintf(&b, `<line class="grid" x1="%.1f" x2="%.1f" y1="%g" y2="%g"/><text class="tick" x="%.1f" y="%g" text-anchor="middle">%s</text>`, x.at(t), x.at(t), top, chartHeight-bottom, x.at(t), chartHeight-bottom+18, tickText(t, xt))
	}
	if x.low <= 0 && x.high >= 0 {
		fmt.Fprintf(&b, `<line class="axis" x1="%.1f" x2="%.1f" y1="%g" y2="%g"/>`, x.at(0), x.at(0), top, chartHeight-bottom)
	}
	if y.low <= 0 && y.high >= 0 {
		fmt.Fprintf(&b, `<line class="axis" x1="%g" x2="%g" y1="%.1f" y2="%.1f"/>`, left, chartWidth-right, y.at(0), y.at(0))
	}
	fmt.Fprintf(&b, `<text class="tick" x="%g" y="%g" text-anchor="middle">%s</text>`, (left+chartWidth-right)/2, chartHeight-6, esc(s.X))
	fmt.Fprintf(&b, `<text class="tick" transform="translate(15 %g) rotate(-90)" text-anchor="middle">%s</text>`, (top+chartHeight-bottom)/2, esc(s.Y))
	for i, g := range s.Groups {
		drawGroup(&b, g, i, x, y)
	}
	b.WriteString(`</svg>`)
	return template.HTML(b.String())
}

func drawGroup(b *strings.Builder, g ScatterGroup, i int, x, y scale) {
	var path strings.Builder
	pen := "M"
	for _, p := range g.Points {
		px, py := x.at(p.X.Value), y.at(p.Y.Value)
		if !finite(px) || !finite(py) {
			continue
		}
		fmt.Fprintf(&path, "%s%.1f %.1f", pen, px, py)
		pen = "L"
		if finite(p.X.Low) && finite(p.X.High) {
			fmt.Fprintf(b, `<line class="whisker" x1="%.1f" x2="%.1f" y1="%.1f" y2="%.1f"/>`, x.at(p.X.Low), x.at(p.X.High), py, py)
		}
		if finite(p.Y.Low) && finite(p.Y.High) {
			fmt.Fprintf(b, `<line class="whisker" x1="%.1f" x2="%.1f" y1="%.1f" y2="%.1f"/>`, px, px, y.at(p.Y.Low), y.at(p.Y.High))
		}
		fmt.Fprintf(b, `<circle class="dot c%d" cx="%.1f" cy="%.1f" r="4"><title>%s %s: %.3g, %.3g</title></circle><text class="tick" x="%.1f" y="%.1f">%s</text>`,
			i%numStyles, px, py, esc(g.Name), esc(p.Name), p.X.Value, p.Y.Value, px+6, py-6, esc(clip(p.Name, 14)))
	}
	if g.Joined {
		fmt.Fprintf(b, `<path class="line c%d" d="%s"/>`, i%numStyles, path.String())
	}
	if g.Name != "" {
		at := top + 14 + 20*float64(i)
		fmt.Fprintf(b, `<circle class="dot c%d" cx="%g" cy="%g" r="4"/><text class="name" x="%g" y="%g">%s</text>`, i%numStyles, chartWidth-106, at-4, chartWidth-96, at, esc(clip(g.Name, 13)))
	}
}

// reach is the lowest and highest value, intervals and zero among them.
func reach(points []ScatterPoint, of func(ScatterPoint) stats.Estimate) [2]float64 {
	r := [2]float64{0, 0}
	for _, p := range points {
		e := of(p)
		for _, v := range []float64{e.Value, e.Low, e.High} {
			if finite(v) {
				r = [2]float64{math.Min(r[0], v), math.Max(r[1], v)}
			}
		}
	}
	return r
}

func (s Scatter) words() string {
	var parts []string
	for _, g := range s.Groups {
		for _, p := range g.Points {
			parts = append(parts, strings.TrimSpace(fmt.Sprintf("%s %s: %.3g and %.3g", g.Name, p.Name, p.X.Value, p.Y.Value)))
		}
	}
	return fmt.Sprintf("%s: %s and %s: %s", s.Title, s.X, s.Y, strings.Join(parts, "; "))
}

// File is the drawing as an SVG file of its own.
func (s Scatter) File() []byte { return standalone(string(s.SVG("scatter"))) }
