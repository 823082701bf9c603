package web

import (
	"fmt"
	"html/template"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"
)

// The drawing area of a chart in user units; CSS scales it.
const (
	chartWidth, chartHeight = 640.0, 280.0
	left                    = 78.0
	top, bottom             = 12.0, 46.0
	maxPoints               = 400 // of a line; a longer one is thinned to the lowest and highest of each stretch
	numStyles               = 6   // colours and dashes of lines in the style sheet
)

// Chart is a drawing of curves over steps.
type Chart struct {
	Title, Unit string
	Steps       int // planned: the axis reaches so far
	Series      []Series
	Limits      []Limit
	Note        string
}

// Keys are the names of curves with their colours, for screens that are too narrow to have them beside the curves.
func (c Chart) Keys() (keys []Key) {
	for i, s := range c.Series {
		if _, ok := s.Summary(); ok && len(c.Series) > 1 {
			keys = append(keys, Key{s.Name, i % numStyles})
		}
	}
	return keys
}

func finite(v float64) bool { return !math.IsNaN(v) && !math.IsInf(v, 0) }

// points counts what can be drawn.
func (c Chart) points() (n int) {
	for _, s := range c.Series {
		if sum, ok := s.Summary(); ok {
			n += sum.N
		}
	}
	return n
}

// scale maps values to places.
type scale struct {
	low, high, from, to float64
	bend                float64 // 0: straight; logarithmic; else straight near zero and logarithmic beyond values of about bend, on both sides
}

// logarithmic is the bend of a scale that is so all the way; its values must be positive.
const logarithmic = -1

func (s scale) at(v float64) float64 {
	low, high := s.low, s.high
	switch {
	case s.bend == logarithmic:
		v, low, high = math.Log(v), math.Log(low), math.Log(high)
	case s.bend > 0:
		v, low, high = math.Asinh(v/s.bend), math.Asinh(low/s.bend), math.Asinh(high/s.bend)
	}
	return s.from + (v-low)/(high-low)*(s.to-s.from)
}

// SVG draws the chart, or says that there is nothing to draw. Its title and description say the same in words.
func (c Chart) SVG(id string) template.HTML {
	if c.points() == 0 {
		return template.HTML(`<p class="missing">` + esc(c.Title) + `: nothing measured yet.</p>`)
	}
	low, high, last := math.Inf(1), math.Inf(-1), max(c.Steps, 1)
	for _, s := range c.Series {
		for _, p := range s.Points {
			if finite(p.Value) {
				low, high, last = min(low, p.Value), max(high, p.Value), max(last, p.Step)
			}
		}
	}
	for _, l := range c.Limits {
		low, high = min(low, l.Value), max(high, l.Value)
	}
	if span := high - low; span > 0 { // bands may reach as far again as the curves do; a wilder one is cut at the edge
		from, to := low, high
		for _, s := range c.Series {
			bands := s.Bands
			if s.End != nil {
				bands = append(bands[:len(bands):len(bands)], *s.End)
			}
			for _, b := range bands {
				if finite(b.Low) && finite(b.High) {
					low, high = max(min(low, b.Low), from-span), min(max(high, b.High), to+span)
				}
			}
		}
	}
	yt, xt := niceTicks(low, high, 4), niceTicks(0, float64(last), 5)
	right := 20.0
	if len(c.Series) > 1 {
		right = nameRoom(c.Series)
	}
	x := scale{0, float64(last), left, chartWidth - right, 0}
	y := scale{min(low, yt[0]), max(high, yt[len(yt)-1]), chartHeight - bottom, top, 0}

	var b strings.Builder
	openSVG(&b, id, c.Title, c.words(), chartWidth, chartHeight)
	for _, t := range yt {
		fmt.Fprintf(&b, `<line class="grid" x1="%g" x2="%g" y1="%.1f" y2="%.1f"/><text class="tick" x="%g" y="%.1f" text-anchor="end">%s</text>`,
			left, chartWidth-right, y.at(t), y.at(t), left-8, y.at(t)+4, tickText(t, yt))
	}
	for _, t := range xt {
		if t <= float64(last) && t == math.Trunc(t) {
			at, anchor := x.at(t), "middle"
			if at > chartWidth-22 { // a long number would be cut
				at, anchor = chartWidth-2, "end"
			}
			fmt.Fprintf(&b, `<text class="tick" x="%.1f" y="%g" text-anchor="%s">%s</text>`, at, chartHeight-bottom+18, anchor, tickText(t, xt))
		}
	}
	fmt.Fprintf(&b, `<line class="axis" x1="%g" x2="%g" y1="%g" y2="%g"/>`, left, chartWidth-right, chartHeight-bottom, chartHeight-bottom)
	fmt.Fprintf(&b, `<text class="tick" x="%g" y="%g" text-anchor="middle">step</text>`, (left+chartWidth-right)/2, chartHeight-6)
	fmt.Fprintf(&b, `<text class="tick axis-name" transform="translate(15 %g) rotate(-90)" text-anchor="middle">%s</text>`, (top+chartHeight-bottom)/2, esc(c.Unit))
	for _, l := range c.Limits {
		fmt.Fprintf(&b, `<line class="limit" x1="%g" x2="%g" y1="%.1f" y2="%.1f"><title>limit of %s: %.3g</title></line>`, left, chartWidth-right, y.at(l.Value), y.at(l.Value), esc(l.Name), l.Value)
	}
	labels := labelPlaces(c.Series, y)
	for i, s := range c.Series {
		drawBand(&b, s, i, x, y)
		drawLine(&b, s, i, x, y)
		if sum, ok := s.Summary(); ok && len(c.Series) > 1 {
			fmt.Fprintf(&b, `<line class="lead" x1="%.1f" y1="%.1f" x2="%g" y2="%.1f"/><text class="name" x="%g" y="%.1f">%s</text>`,
				x.at(float64(sum.Last.Step)), y.at(sum.Last.Value), chartWidth-right+10, labels[i], chartWidth-right+14, labels[i]+4, esc(clip(s.Name, maxName)))
		}
	}
	b.WriteString(`</svg>`)
	return template.HTML(b.String())
}

// drawBand draws the intervals of a series, and the bracket of its forecast at the right edge.
func drawBand(b *strings.Builder, s Series, i int, x, y scale) {
	cut := func(v float64) float64 { return y.at(min(max(v, y.low), y.high)) }
	if len(s.Bands) == len(s.Points) && len(s.Bands) > 1 {
		var up, down []string
		for k, p := range s.Points {
			if finite(s.Bands[k].Low) && finite(s.Bands[k].High) {
				up = append(up, fmt.Sprintf("%.1f %.1f", x.at(float64(p.Step)), cut(s.Bands[k].High)))
				down = append([]string{fmt.Sprintf("%.1f %.1f", x.at(float64(p.Step)), cut(s.Bands[k].Low))}, down...)
			}
		}
		if len(up) > 1 {
			fmt.Fprintf(b, `<path class="band m%d" d="M%s L%s Z"/>`, i%numStyles, strings.Join(up, " L"), strings.Join(down, " L"))
		}
	}
	if sum, ok := s.Summary(); ok && s.End != nil {
		at := x.to - 4*float64(i+1)
		fmt.Fprintf(b, `<path class="line ahead c%d" d="M%.1f %.1f L%.1f %.1f"/><line class="ahead c%d" x1="%.1f" x2="%.1f" y1="%.1f" y2="%.1f"><title>%s is expected to end at %.3g [%.3g, %.3g]</title></line>`,
			i%numStyles, x.at(float64(sum.Last.Step)), y.at(sum.Last.Value), at, cut(s.Middle), i%numStyles, at, at, cut(s.End.Low), cut(s.End.High), esc(s.Name), s.Middle, s.End.Low, s.End.High)
	}
}

// drawLine draws one series; a gap where a value is no number. Few points get dots, which say their values.
func drawLine(b *strings.Builder, s Series, i int, x, y scale) {
	points := thin(s.Points)
	var path strings.Builder
	pen := "M"
	for _, p := range points {
		if !finite(p.Value) {
			pen = "M"
			continue
		}
		fmt.Fprintf(&path, "%s%.1f %.1f", pen, x.at(float64(p.Step)), y.at(p.Value))
		pen = "L"
	}
	fmt.Fprintf(b, `<path class="line c%d" d="%s"/>`, i%numStyles, path.String())
	if len(points) > 30 {
		return
	}
	for _, p := range points {
		if finite(p.Value) {
			fmt.Fprintf(b, `<circle class="dot c%d" cx="%.1f" cy="%.1f" r="2.8"><title>%s, step %d: %.4g</title></circle>`,
				i%numStyles, x.at(float64(p.Step)), y.at(p.Value), esc(s.Name), p.Step, p.Value)
		}
	}
}

// thin keeps first and last, and the lowest and highest point of each stretch between, so that spikes stay visible.
func thin(points []Point) []Point {
	if len(points) <= maxPoints {
		return points
	}
	out := []Point{points[0]}
	n := maxPoints/2 - 1
	for i := range n {
		part := points[i*len(points)/n : (i+1)*len(points)/n]
		low, high := -1, -1
		for k, p := range part {
			if !finite(p.Value) {
				continue
			}
			if low < 0 || p.Value < part[low].Value {
				low = k
			}
			if high < 0 || p.Value > part[high].Value {
				high = k
			}
		}
		if low < 0 {
			out = append(out, part[0]) // all of it a gap
			continue
		}
		out = append(out, part[min(low, high)], part[max(low, high)])
	}
	return append(out, points[len(points)-1])
}

// maxName is how many letters of a curve's name are written beside it.
const maxName = 20

// nameRoom is the room at the right that the names of curves need, in the widest letters that a page is likely to have.
func nameRoom(series []Series) float64 {
	longest := 0
	for _, s := range series {
		longest = max(longest, utf8.RuneCountInString(clip(s.Name, maxName)))
	}
	return 20 + 8.6*float64(longest)
}

// labelPlaces are the heights of the names at the right: at their curves' ends, moved apart where they would touch.
func labelPlaces(series []Series, y scale) []float64 {
	const gap = 14
	places := make([]float64, len(series))
	order := make([]int, 0, len(series))
	for i, s := range series {
		if sum, ok := s.Summary(); ok {
			places[i] = y.at(sum.Last.Value)
			order = append(order, i)
		}
	}
	for a := 1; a < len(order); a++ {
		for k := a; k > 0 && places[order[k]] < places[order[k-1]]; k-- {
			order[k], order[k-1] = order[k-1], order[k]
		}
	}
	for k := 1; k < len(order); k++ {
		places[order[k]] = max(places[order[k]], places[order[k-1]]+gap)
	}
	if n := len(order); n > 0 { // what was pushed below the axis goes up again, and pushes the others
		if over := places[order[n-1]] - y.from; over > 0 {
			places[order[n-1]] -= over
			for k := n - 2; k >= 0; k-- {
				places[order[k]] = min(places[order[k]], places[order[k+1]]-gap)
			}
		}
	}
	return places
}

// words is the text alternative of a chart.
func (c Chart) words() string {
	var parts []string
	for _, s := range c.Series {
		if sum, ok := s.Summary(); ok {
			parts = append(parts, fmt.Sprintf("%s from %.4g at step %d to %.4g at step %d", s.Name, sum.First.Value, sum.First.Step, sum.Last.Value, sum.Last.Step))
		}
	}
	for _, l := range c.Limits {
		parts = append(parts, fmt.Sprintf("limit of %s %.3g", l.Name, l.Value))
	}
	return fmt.Sprintf("%s, in %s: %s", c.Title, c.Unit, strings.Join(parts, "; "))
}

// Summary is a line in five numbers.
type Summary struct {
	N                      int
	First, Last, Low, High Point
}

// Summary of the points that are numbers. ok is false without any.
func (s Series) Summary() (sum Summary, ok bool) {
	for _, p := range s.Points {
		if !finite(p.Value) {
			continue
		}
		if sum.N == 0 {
			sum.First, sum.Low, sum.High = p, p, p
		}
		if p.Value < sum.Low.Value {
			sum.Low = p
		}
		if p.Value > sum.High.Value {
			sum.High = p
		}
		sum.Last = p
		sum.N++
	}
	return sum, sum.N > 0
}

// Numbers are the cells of a line in the table below its chart: points, first, last, lowest, highest.
func (s Series) Numbers() []string {
	sum, ok := s.Summary()
	if !ok {
		return []string{"0", "–", "–", "–", "–"}
	}
	cells := []string{fmt.Sprint(sum.N)}
	for _, p := range []Point{sum.First, sum.Last, sum.Low, sum.High} {
		cells = append(cells, fmt.Sprintf("%.4g at %d", p.Value, p.Step))
	}
	return cells
}

// niceTicks are about n round numbers that cover low to high.
func niceTicks(low, high float64, n int) []float64 {
	if high <= low {
		pad := math.Max(math.Abs(low)*0.1, 1e-9)
		low, high = low-pad, high+pad
	}
	raw := (high - low) / float64(n)
	unit := math.Pow(10, math.Floor(math.Log10(raw)))
	step := unit
	for _, m := range []float64{1, 2, 5, 10} {
		if step = m * unit; step >= raw {
			break
		}
	}
	var ticks []float64
	first := math.Floor(low/step + 1e-9)
	for k := first; ; k++ {
		ticks = append(ticks, k*step)
		if k*step >= high-1e-9*step {
			return ticks
		}
	}
}

// tickText writes a tick with the decimals that tell it from its neighbours.
func tickText(v float64, ticks []float64) string {
	step := 0.0
	if len(ticks) > 1 {
		step = ticks[1] - ticks[0]
	}
	a := math.Abs(v)
	switch {
	case a < step*1e-6:
		return "0"
	case a >= 1e6 || a < 1e-3:
		return strings.Replace(strconv.FormatFloat(v, 'g', 3, 64), "e-0", "e-", 1)
	}
	digits := 0
	if step > 0 {
		digits = max(0, int(math.Ceil(-math.Log10(step)-1e-9)))
	}
	return strconv.FormatFloat(v, 'f', digits, 64)
}

// openSVG begins a drawing with its title and text alternative.
func openSVG(b *strings.Builder, id, title, words string, w, h float64) {
	fmt.Fprintf(b, `<svg viewBox="0 0 %g %g" role="img" aria-labelledby="%[3]s-t %[3]s-d"><title id="%[3]s-t">%[4]s</title><desc id="%[3]s-d">%[5]s</desc>`, w, h, esc(id), esc(title), esc(words))
}

func esc(s string) string { return template.HTMLEscapeString(s) }

func clip(s string, n int) string {
	if r := []rune(s); len(r) > n {
		return string(r[:n-1]) + "…"
	}
	return s
}
