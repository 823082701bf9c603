package web

import (
	"fmt"
	"html/template"
	"math"
	"sort"
	"strings"
	"unicode/utf8"

	"ravn/stats"
)

// Scatter draws one measure against another, each point with the intervals of both: what is gained against what is lost.
type Scatter struct {
	Title, X, Y string // names of the axes, with units
	Note        string // a line below, such as what the whiskers are
	LogX        bool   // the axis of X is logarithmic; all values must be positive
	Groups      []ScatterGroup
}

// ScatterGroup is points that belong together. Joined, a line goes from each to the next; Fit is a curve of its own, with the
// intervals of its Y as a band.
type ScatterGroup struct {
	Name   string
	Joined bool
	Points []ScatterPoint
	Fit    []ScatterPoint
}

// ScatterPoint is a point with its name, if it has one.
type ScatterPoint struct {
	Name string
	X, Y stats.Estimate
}

const (
	scatterHeight = 440.0
	scatterTop    = 34.0 // room for the groups' names
	scatterBottom = 66.0
	scatterRight  = 24.0
	letter        = 7.7 // width of a letter of a point's name, about
	maxPointName  = 28
)

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
	bend, yName := bendOf(points), s.Y
	xt, yt := niceTicks(xs[0], xs[1], 6), niceTicks(ys[0], ys[1], 5)
	xBend, xText := 0.0, tickText
	if s.LogX {
		xBend, xt, xText = logarithmic, logTicks(points), func(v float64, _ []float64) string { return sizeText(int64(v)) }
	}
	if bend > 0 {
		yt = bentTicks(ys[0], ys[1], bend)
		yName += fmt.Sprintf("; log beyond %g", bend)
	}
	area := box{left, scatterTop, chartWidth - scatterRight, scatterHeight - scatterBottom}
	x := scale{xt[0], xt[len(xt)-1], area.x0, area.x1, xBend}
	y := scale{yt[0], yt[len(yt)-1], area.y1, area.y0, bend}
	var b strings.Builder
	openSVG(&b, id, s.Title, s.words(), chartWidth, scatterHeight)
	for _, t := range yt {
		fmt.Fprintf(&b, `<line class="grid" x1="%g" x2="%g" y1="%.1f" y2="%.1f"/><text class="tick" x="%g" y="%.1f" text-anchor="end">%s</text>`, area.x0, area.x1, y.at(t), y.at(t), area.x0-8, y.at(t)+4, tickText(t, yt))
	}
	for _, t := range xt {
		fmt.Fprintf(&b, `<line class="grid" x1="%.1f" x2="%.1f" y1="%g" y2="%g"/><text class="tick" x="%.1f" y="%g" text-anchor="middle">%s</text>`, x.at(t), x.at(t), area.y0, area.y1, x.at(t), area.y1+18, xText(t, xt))
	}
	if x.low <= 0 && x.high >= 0 {
		fmt.Fprintf(&b, `<line class="axis" x1="%.1f" x2="%.1f" y1="%g" y2="%g"/>`, x.at(0), x.at(0), area.y0, area.y1)
	}
	if y.low <= 0 && y.high >= 0 {
		fmt.Fprintf(&b, `<line class="axis" x1="%g" x2="%g" y1="%.1f" y2="%.1f"/>`, area.x0, area.x1, y.at(0), y.at(0))
	}
	fmt.Fprintf(&b, `<text class="tick" x="%g" y="%g" text-anchor="middle">%s</text>`, (area.x0+area.x1)/2, area.y1+38, esc(s.X))
	fmt.Fprintf(&b, `<text class="tick" transform="translate(15 %g) rotate(-90)" text-anchor="middle">%s</text>`, (area.y0+area.y1)/2, esc(yName))
	if s.Note != "" {
		fmt.Fprintf(&b, `<text class="tick" x="%g" y="%g" text-anchor="middle">%s</text>`, chartWidth/2, scatterHeight-8, esc(s.Note))
	}
	at := area.x0
	for i, g := range s.Groups {
		if g.Name != "" {
			fmt.Fprintf(&b, `<circle class="dot c%d" cx="%.1f" cy="%g" r="4.5"/><text class="name" x="%.1f" y="%g">%s</text>`, i%numStyles, at+5, scatterTop-16, at+14, scatterTop-11.0, esc(g.Name))
			at += 34 + 7.5*float64(utf8.RuneCountInString(g.Name))
		}
	}
	for i, g := range s.Groups {
		drawFit(&b, g, i, x, y)
	}
	labels := placeNames(s.Groups, x, y, area)
	for i, g := range s.Groups {
		drawGroup(&b, g, i, x, y, labels)
	}
	b.WriteString(`</svg>`)
	return template.HTML(b.String())
}

// box is a rectangle from its upper left to its lower right corner.
type box struct{ x0, y0, x1, y1 float64 }

// overlap is the area that two boxes share.
func (a box) overlap(b box) float64 {
	return max(0, min(a.x1, b.x1)-max(a.x0, b.x0)) * max(0, min(a.y1, b.y1)-max(a.y0, b.y0))
}

// placeNames finds for every point a place of its name where it covers no other name, point or whisker, near the point;
// where there is none, the place that covers the least. Keys are group and point.
func placeNames(groups []ScatterGroup, x, y scale, area box) map[[2]int]box {
	type named struct {
		key    [2]int
		px, py float64
		width  float64
	}
	var all []named
	var taken []box
	for i, g := range groups {
		for k, p := range g.Points {
			px, py := x.at(p.X.Value), y.at(p.Y.Value)
			if !finite(px) || !finite(py) {
				continue
			}
			if p.Name != "" {
				all = append(all, named{[2]int{i, k}, px, py, letter * float64(utf8.RuneCountInString(clip(p.Name, maxPointName)))})
			}
			taken = append(taken, box{px - 6, py - 6, px + 6, py + 6})
			if finite(p.X.Low) && finite(p.X.High) {
				taken = append(taken, box{x.at(p.X.Low), py - 1.5, x.at(p.X.High), py + 1.5})
			}
			if finite(p.Y.Low) && finite(p.Y.High) {
				taken = append(taken, box{px - 1.5, y.at(p.Y.High), px + 1.5, y.at(p.Y.Low)})
			}
		}
	}
	sort.SliceStable(all, func(i, k int) bool { return all[i].py < all[k].py })
	places := map[[2]int]box{}
	for _, n := range all {
		best, least := box{}, math.Inf(1)
		for _, far := range []float64{9, 18, 30, 44, 60, 80, 104} {
			for turn := range 16 {
				sin, cos := math.Sincos(2 * math.Pi * (float64(turn) - 1) / 16)
				cx, cy := n.px+far*cos, n.py+far*sin
				b := box{cx, cy - 7, cx + n.width, cy + 7}
				switch {
				case math.Abs(cos) < 0.5:
					b.x0, b.x1 = cx-n.width/2, cx+n.width/2
				case cos < 0:
					b.x0, b.x1 = cx-n.width, cx
				}
				cost := 0.4 * far
				for _, t := range taken {
					cost += b.overlap(t)
				}
				cost += 5 * ((b.x1-b.x0)*(b.y1-b.y0) - b.overlap(area)) // beyond the edge
				if cost < least {
					best, least = b, cost
				}
			}
		}
		places[n.key] = best
		taken = append(taken, best)
	}
	return places
}

func drawGroup(b *strings.Builder, g ScatterGroup, i int, x, y scale, labels map[[2]int]box) {
	var path strings.Builder
	pen := "M"
	for k, p := range g.Points {
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
		fmt.Fprintf(b, `<circle class="dot c%d" cx="%.1f" cy="%.1f" r="3.8"><title>%s</title></circle>`, i%numStyles, px, py, esc(strings.TrimSpace(fmt.Sprintf("%s %s: %s and %s", g.Name, p.Name, interval(p.X), interval(p.Y)))))
		l, ok := labels[[2]int{i, k}]
		if !ok {
			continue
		}
		nx, ny := min(max(px, l.x0), l.x1), min(max(py, l.y0+2), l.y1-2) // of the name's box, what is nearest to the point
		if math.Hypot(nx-px, ny-py) > 12 {
			fmt.Fprintf(b, `<line class="lead" x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f"/>`, px, py, nx, ny)
		}
		fmt.Fprintf(b, `<text class="name label" x="%.1f" y="%.1f" text-anchor="middle">%s</text>`, (l.x0+l.x1)/2, l.y1-3, esc(clip(p.Name, maxPointName)))
	}
	if g.Joined {
		fmt.Fprintf(b, `<path class="line c%d" d="%s"/>`, i%numStyles, path.String())
	}
}

// drawFit draws a group's curve and the band of its intervals, cut where they leave the drawing.
func drawFit(b *strings.Builder, g ScatterGroup, i int, x, y scale) {
	if len(g.Fit) < 2 {
		return
	}
	var line, up, down []string
	for _, p := range g.Fit {
		at := func(v float64) string {
			return fmt.Sprintf("%.1f %.1f", x.at(p.X.Value), y.at(min(max(v, y.low), y.high)))
		}
		line = append(line, at(p.Y.Value))
		if finite(p.Y.Low) && finite(p.Y.High) {
			up, down = append(up, at(p.Y.High)), append([]string{at(p.Y.Low)}, down...)
		}
	}
	if len(up) > 1 {
		fmt.Fprintf(b, `<path class="band m%d" d="M%s L%s Z"/>`, i%numStyles, strings.Join(up, " L"), strings.Join(down, " L"))
	}
	fmt.Fprintf(b, `<path class="line c%d" d="M%s"/>`, i%numStyles, strings.Join(line, " L"))
}

// interval is an estimate in a few digits.
func interval(e stats.Estimate) string {
	if !finite(e.Low) || !finite(e.High) {
		return fmt.Sprintf("%.3g", e.Value)
	}
	return fmt.Sprintf("%.3g [%.3g, %.3g]", e.Value, e.Low, e.High)
}

// bendOf is where the axis of Y turns logarithmic: at a half of the middle distance from zero, when the farthest point lies
// more than ten times as far as the middle one, so that a single bad row does not press all others together; else 0.
func bendOf(points []ScatterPoint) float64 {
	var far []float64
	for _, p := range points {
		far = append(far, math.Abs(p.Y.Value))
	}
	sort.Float64s(far)
	middle := far[len(far)/2]
	if middle == 0 || far[len(far)-1] <= 10*middle {
		return 0
	}
	return math.Pow(10, math.Floor(math.Log10(middle/2)+1e-9))
}

// logTicks are ones, twos and fives of each power of ten, from the last at or below the points to the first at or above.
func logTicks(points []ScatterPoint) []float64 {
	low, high := math.Inf(1), 0.0
	for _, p := range points {
		low, high = min(low, p.X.Value), max(high, p.X.Value)
	}
	var ticks []float64
	for e := math.Floor(math.Log10(low)); ; e++ {
		for _, m := range []float64{1, 2, 5} {
			v := m * math.Pow(10, e)
			if v <= low {
				ticks = ticks[:0]
			}
			if ticks = append(ticks, v); v >= high {
				return ticks
			}
		}
	}
}

// bentTicks are zero and ones and threes of each power of ten from bend on, as far as they are needed, and one beyond.
func bentTicks(low, high, bend float64) []float64 {
	up := func(limit float64) []float64 {
		var ticks []float64
		for v, three := bend, false; limit > 0; three = !three {
			ticks = append(ticks, v)
			if v >= limit {
				break
			}
			if v *= 3; three {
				v *= 10.0 / 9
			}
		}
		return ticks
	}
	ticks := append([]float64{0}, up(high)...)
	for _, v := range up(-low) {
		ticks = append([]float64{-v}, ticks...)
	}
	return ticks
}

// reach is the lowest and highest value, intervals and zero among them; without zero when it lies farther from the values
// than these lie apart, so that points far from it are not pressed together.
func reach(points []ScatterPoint, of func(ScatterPoint) stats.Estimate) [2]float64 {
	r := [2]float64{math.Inf(1), math.Inf(-1)}
	for _, p := range points {
		e := of(p)
		for _, v := range []float64{e.Value, e.Low, e.High} {
			if finite(v) {
				r = [2]float64{math.Min(r[0], v), math.Max(r[1], v)}
			}
		}
	}
	if spread := r[1] - r[0]; spread > 0 && (r[0] > spread || r[1] < -spread) {
		return r
	}
	return [2]float64{math.Min(r[0], 0), math.Max(r[1], 0)}
}

func (s Scatter) words() string {
	var parts []string
	for _, g := range s.Groups {
		for _, p := range g.Points {
			parts = append(parts, strings.TrimSpace(fmt.Sprintf("%s %s: %s and %s", g.Name, p.Name, interval(p.X), interval(p.Y))))
		}
	}
	return fmt.Sprintf("%s: %s and %s: %s", s.Title, s.X, s.Y, strings.Join(parts, "; "))
}

// File is the drawing as an SVG file of its own.
func (s Scatter) File() []byte { return standalone(string(s.SVG("scatter"))) }

// Stacked are drawings one below the other in one SVG file.
func Stacked(title string, drawings ...Scatter) []byte {
	var b, words strings.Builder
	for i, d := range drawings {
		fmt.Fprintf(&words, "%s. ", d.words())
		svg := string(d.SVG(fmt.Sprintf("panel%d", i)))
		fmt.Fprintf(&b, `<g transform="translate(0 %g)">%s</g>`, scatterHeight*float64(i), strings.Replace(svg, `<svg `, fmt.Sprintf(`<svg width="%g" height="%g" `, chartWidth, scatterHeight), 1))
	}
	var out strings.Builder
	openSVG(&out, "stacked", title, words.String(), chartWidth, scatterHeight*float64(len(drawings)))
	return standalone(out.String() + b.String() + `</svg>`)
}
