package web

import (
	"fmt"
	"html/template"
	"math"
	"strings"
)

// The drawing area of a chart in user units; CSS scales it.
const (
	chartWidth, chartHeight = 640.0, 260.0
	left, right             = 64.0, 120.0
	top, bottom             = 30.0, 38.0
)

// chart draws curves over steps. The title element and the table behind it say the same in words.
func chart(title, unit string, steps int, series []Series) template.HTML {
	low, high, last := math.Inf(1), math.Inf(-1), steps
	points := 0
	for _, s := range series {
		for _, p := range s.Points {
			if math.IsNaN(p.Value) || math.IsInf(p.Value, 0) {
				continue
			}
			low, high, last = math.Min(low, p.Value), math.Max(high, p.Value), max(last, p.Step)
			points++
		}
	}
	if points == 0 {
		return template.HTML(`<p class="missing">` + template.HTMLEscapeString(title) + `: nothing measured yet.</p>`)
	}
	ticks := niceTicks(low, high, 4)
	low, high = math.Min(low, ticks[0]), math.Max(high, ticks[len(ticks)-1])
	x := func(step int) float64 {
		return left + (chartWidth-left-right)*float64(step)/float64(max(last, 1))
	}
	y := func(v float64) float64 { return top + (chartHeight-top-bottom)*(high-v)/(high-low) }

	var b strings.Builder
	esc := template.HTMLEscapeString
	fmt.Fprintf(&b, `<figure><svg viewBox="0 0 %g %g" role="img" aria-label="%s"><title>%s</title>`, chartWidth, chartHeight, esc(inWords(title, unit, series)), esc(title))
	fmt.Fprintf(&b, `<text class="title" x="%g" y="16">%s</text>`, left, esc(title+", "+unit))
	for _, t := range ticks {
		fmt.Fprintf(&b, `<line class="grid" x1="%g" x2="%g" y1="%.1f" y2="%.1f"/><text class="tick" x="%g" y="%.1f" text-anchor="end">%s</text>`,
			left, chartWidth-right, y(t), y(t), left-6, y(t)+4, tickText(t))
	}
	for _, t := range niceTicks(0, float64(last), 5) {
		if t <= float64(last) && t == math.Trunc(t) {
			fmt.Fprintf(&b, `<text class="tick" x="%.1f" y="%g" text-anchor="middle">%g</text>`, x(int(t)), chartHeight-bottom+16, t)
		}
	}
	fmt.Fprintf(&b, `<text class="tick" x="%g" y="%g" text-anchor="middle">step</text>`, (left+chartWidth-right)/2, chartHeight-6)
	labels := labelPlaces(series, y)
	for i, s := range series {
		b.WriteString(curve(s, i, x, y))
		if n := len(s.Points); n > 0 && len(series) > 1 {
			fmt.Fprintf(&b, `<text class="name c%d" x="%g" y="%.1f">%s</text>`, i%6, chartWidth-right+8, labels[i]+4, esc(s.Name))
		}
	}
	b.WriteString(`</svg></figure>`)
	return template.HTML(b.String())
}

// curve draws one series, thinned to about 400 points; a gap where a value is no number.
func curve(s Series, i int, x func(int) float64, y func(float64) float64) string {
	var path strings.Builder
	stride := max(1, len(s.Points)/400)
	pen := "M"
	for k, p := range s.Points {
		if k%stride != 0 && k != len(s.Points)-1 {
			continue
		}
		if math.IsNaN(p.Value) || math.IsInf(p.Value, 0) {
			pen = "M"
			continue
		}
		fmt.Fprintf(&path, "%s%.1f %.1f", pen, x(p.Step), y(p.Value))
		pen = "L"
	}
	out := fmt.Sprintf(`<path class="line c%d" d="%s"/>`, i%6, path.String())
	if len(s.Points) <= 30 {
		for _, p := range s.Points {
			out += fmt.Sprintf(`<circle class="dot c%d" cx="%.1f" cy="%.1f" r="2.5"><title>%s, step %d: %.4g</title></circle>`,
				i%6, x(p.Step), y(p.Value), template.HTMLEscapeString(s.Name), p.Step, p.Value)
		}
	}
	return out
}

// labelPlaces are the heights of the names at the right: at their curves' ends, moved apart where they would touch.
func labelPlaces(series []Series, y func(float64) float64) []float64 {
	const gap = 14
	places := make([]float64, len(series))
	order := make([]int, 0, len(series))
	for i, s := range series {
		if len(s.Points) > 0 {
			places[i] = y(s.Points[len(s.Points)-1].Value)
			order = append(order, i)
		}
	}
	for a := 1; a < len(order); a++ {
		for k := a; k > 0 && places[order[k]] < places[order[k-1]]; k-- {
			order[k], order[k-1] = order[k-1], order[k]
		}
	}
	for k := 1; k < len(order); k++ {
		places[order[k]] = math.Max(places[order[k]], places[order[k-1]]+gap)
	}
	return places
}

// inWords is the text alternative of a chart.
func inWords(title, unit string, series []Series) string {
	var parts []string
	for _, s := range series {
		if n := len(s.Points); n > 0 {
			parts = append(parts, fmt.Sprintf("%s from %.4g at step %d to %.4g at step %d", s.Name, s.Points[0].Value, s.Points[0].Step, s.Points[n-1].Value, s.Points[n-1].Step))
		}
	}
	return fmt.Sprintf("%s, in %s: %s", title, unit, strings.Join(parts, "; "))
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

func tickText(v float64) string {
	if v == 0 {
		return "0"
	}
	return fmt.Sprintf("%.4g", v)
}
