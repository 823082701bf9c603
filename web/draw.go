package web

import (
	"fmt"
	"math"
	"strings"
)

// fileStyle is what a drawing needs when it stands alone: the page's own colours, light on light.
const fileStyle = `<style>svg{background:#fff;font-family:sans-serif}text{fill:#1d2126;font-size:14px}.tick{fill:#5b636d}.grid{stroke:#dcd8cf}.axis{stroke:#5b636d}.lead{stroke:#5b636d;stroke-width:.7}` +
	`.line{fill:none;stroke-width:1.8}.line.c0{stroke:#1f5fa8}.line.c1{stroke:#b4500f;stroke-dasharray:8 3}.line.c2{stroke:#11704a;stroke-dasharray:2 3}.line.c3{stroke:#8a2f86;stroke-dasharray:9 3 2 3}.line.c4{stroke:#6a5a16;stroke-dasharray:4 4}.line.c5{stroke:#4a5663;stroke-dasharray:1 4}` +
	`.dot.c0{fill:#1f5fa8}.dot.c1{fill:#b4500f}.dot.c2{fill:#11704a}.dot.c3{fill:#8a2f86}.dot.c4{fill:#6a5a16}.dot.c5{fill:#4a5663}.whisker{stroke:#5b636d}</style>`

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
