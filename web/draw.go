package web

import (
	"fmt"
	"math"
	"strings"
)

// fileStyle is what a drawing needs when it stands alone: the page's own colours, dark where the reader's screen is, on a
// ground of its own so that it is legible wherever it is put.
const fileStyle = `<style>svg{--card:#fff;--ink:#1d2126;--soft:#5b636d;--rule:#dcd8cf;--s0:#1f5fa8;--s1:#b4500f;--s2:#11704a;--s3:#8a2f86;--s4:#6a5a16;--s5:#4a5663;font-family:sans-serif}` +
	`@media(prefers-color-scheme:dark){svg{--card:#1b1f25;--ink:#e8e6e1;--soft:#a3abb5;--rule:#343a43;--s0:#86b8f5;--s1:#f5a35f;--s2:#5fd0a0;--s3:#e08fdc;--s4:#e2c65a;--s5:#b4bec9}}` +
	`.ground{fill:var(--card)}text{fill:var(--ink);font-size:14px}.tick{fill:var(--soft)}.grid{stroke:var(--rule)}.axis{stroke:var(--soft)}.lead{stroke:var(--soft);stroke-width:.7}.whisker{stroke:var(--soft);stroke-width:1.2}` +
	`.label{paint-order:stroke;stroke:var(--card);stroke-width:3px;stroke-linejoin:round}` +
	`.line{fill:none;stroke-width:1.8}.line.c0{stroke:var(--s0)}.line.c1{stroke:var(--s1);stroke-dasharray:8 3}.line.c2{stroke:var(--s2);stroke-dasharray:2 3}.line.c3{stroke:var(--s3);stroke-dasharray:9 3 2 3}.line.c4{stroke:var(--s4);stroke-dasharray:4 4}.line.c5{stroke:var(--s5);stroke-dasharray:1 4}` +
	`.band{stroke:none;opacity:.18}.m0{fill:var(--s0)}.m1{fill:var(--s1)}.m2{fill:var(--s2)}.m3{fill:var(--s3)}.m4{fill:var(--s4)}.m5{fill:var(--s5)}` +
	`.dot.c0{fill:var(--s0)}.dot.c1{fill:var(--s1)}.dot.c2{fill:var(--s2)}.dot.c3{fill:var(--s3)}.dot.c4{fill:var(--s4)}.dot.c5{fill:var(--s5)}</style><rect class="ground" width="100%" height="100%"/>`

// standalone makes an SVG element a file of its own.
func standalone(svg string) []byte {
	svg = strings.Replace(svg, `<svg `, `<svg xmlns="http://www.w3.org/2000/svg" width="960" `, 1)
	return []byte(strings.Replace(svg, `<title`, fileStyle+`<title`, 1) + "\n")
}

// File is the drawing as an SVG file of its own.
func (c Chart) File() []byte { return standalone(string(c.SVG("chart"))) }

// Text draws the chart with letters, width columns and height lines large: a mark for each series, the first ones over
// the later. It is for terminals; the numbers at the axes are those of the drawing.
func (c Chart) Text(width, height int) string {
	if c.points() == 0 {
		return c.Title + ": nothing to draw\n"
	}
	low, high, last := math.Inf(1), math.Inf(-1), max(c.Steps, 1)
	for _, s := range c.Series {
		if sum, ok := s.Summary(); ok {
			low, high = min(low, sum.Low.Value), max(high, sum.High.Value)
			last = max(last, sum.Last.Step)
		}
	}
	if high == low {
		low, high = low-math.Abs(low)/2, high+math.Abs(high)/2+1e-12
	}
	grid := make([][]rune, height)
	for i := range grid {
		grid[i] = []rune(strings.Repeat(" ", width))
	}
	marks := []rune("*o+x#%")
	for k := len(c.Series) - 1; k >= 0; k-- {
		for _, p := range c.Series[k].Points {
			if finite(p.Value) {
				x := int(math.Round(float64(p.Step) / float64(last) * float64(width-1)))
				y := int(math.Round((high - p.Value) / (high - low) * float64(height-1)))
				grid[y][min(max(x, 0), width-1)] = marks[k%len(marks)]
			}
		}
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s (%s)\n", c.Title, c.Unit)
	for y, line := range grid {
		label := ""
		switch y {
		case 0:
			label = fmt.Sprintf("%.3g", high)
		case height - 1:
			label = fmt.Sprintf("%.3g", low)
		case (height - 1) / 2:
			label = fmt.Sprintf("%.3g", high-(high-low)*float64(y)/float64(height-1))
		}
		fmt.Fprintf(&b, "%10s │%s\n", label, strings.TrimRight(string(line), " "))
	}
	end := fmt.Sprint(last)
	fmt.Fprintf(&b, "%10s └%s\n%11s 0%*s steps\n", "", strings.Repeat("─", width), "", width-1, end)
	if len(c.Series) > 1 {
		for k, s := range c.Series {
			fmt.Fprintf(&b, "%12c %s\n", marks[k%len(marks)], s.Name)
		}
	}
	return b.String()
}
