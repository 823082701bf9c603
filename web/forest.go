package web

import (
	"fmt"
	"html/template"
	"slices"
	"strings"
)

const (
	forestRow  = 28.0  // height of a row
	forestLeft = 216.0 // where the drawing begins; names stand before it
)

// Forest draws the differences of one metric, a row each, with their intervals around zero.
type Forest struct {
	Metric  string
	Lower   bool // lower is better
	Changes []ChangeRow
}

// Forests groups the changes of whole data sets and languages by metric, in order of appearance.
func (r *Report) Forests() []Forest {
	var list []Forest
	for _, c := range r.Changes {
		if !c.main() || c.Difference.N == 0 || !finite(c.Difference.Value+c.Difference.Low+c.Difference.High) {
			continue
		}
		at := slices.IndexFunc(list, func(f Forest) bool { return f.Metric == c.Metric && f.Lower == c.lower() })
		if at < 0 {
			at = len(list)
			list = append(list, Forest{Metric: c.Metric, Lower: c.lower()})
		}
		list[at].Changes = append(list[at].Changes, c)
	}
	return list
}

// Direction says which side is good.
func (f Forest) Direction() string {
	if f.Lower {
		return "left of 0 is better"
	}
	return "right of 0 is better"
}

// SVG draws the rows.
func (f Forest) SVG(id string) template.HTML {
	low, high := 0.0, 0.0
	var words []string
	for _, c := range f.Changes {
		low, high = min(low, c.Difference.Low), max(high, c.Difference.High)
		words = append(words, fmt.Sprintf("%s: %s, %s.", c.What(), c.Difference.Difference(), c.Words()))
	}
	ticks := niceTicks(low, high, 5)
	height := forestRow*float64(len(f.Changes)) + 50
	axis := height - 44
	x := scale{ticks[0], ticks[len(ticks)-1], forestLeft, chartWidth - 24, 0}
	var b strings.Builder
	openSVG(&b, id, "Differences in "+f.Metric+", result minus base", strings.Join(words, " "), chartWidth, height)
	for _, t := range ticks {
		fmt.Fprintf(&b, `<line class="grid" x1="%.1f" x2="%.1[1]f" y1="2" y2="%.1f"/><text class="tick" x="%.1[1]f" y="%.1[3]f" text-anchor="middle">%[4]s</text>`, x.at(t), axis, axis+16, tickText(t, ticks))
	}
	fmt.Fprintf(&b, `<line class="axis" x1="%.1f" x2="%.1[1]f" y1="2" y2="%.1f"/>`, x.at(0), axis)
	for i, c := range f.Changes {
		y, d := 2+forestRow*(float64(i)+0.5), c.Difference
		fmt.Fprintf(&b, `<text x="%g" y="%.1f" text-anchor="end">%s</text>`, forestLeft-12, y+4, esc(clip(c.What(), 26)))
		fmt.Fprintf(&b, `<g class="%s"><line class="interval" x1="%.1f" x2="%.1f" y1="%.1[4]f" y2="%.1[4]f"/>%[5]s</g>`, c.Class(), x.at(d.Low), x.at(d.High), y, mark(c.Class(), x.at(d.Value), y))
	}
	fmt.Fprintf(&b, `<text class="tick" x="%.1f" y="%.1f" text-anchor="middle">%s, result − base; %s</text></svg>`, (forestLeft+chartWidth-24)/2, height-5, esc(f.Metric), f.Direction())
	return template.HTML(b.String())
}

// mark is the point of a row: filled where the difference is resolved, hollow where it is not.
func mark(class string, x, y float64) string {
	if class == "open" {
		return fmt.Sprintf(`<circle class="hollow" cx="%.1f" cy="%.1f" r="4.5"/>`, x, y)
	}
	return fmt.Sprintf(`<circle class="point" cx="%.1f" cy="%.1f" r="5"/>`, x, y)
}
