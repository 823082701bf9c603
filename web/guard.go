package web

import (
	"fmt"
	"html/template"
	"slices"
	"strings"
)

// Guard is what a phase's guard has watched.
type Guard struct {
	Rows    []GuardRow
	Actions []string // what it did, a sentence each
	Stopped bool
}

// GuardRow is one group of held-out text at the last evaluation; numbers are relative changes against the base.
type GuardRow struct {
	Group            string
	Value, Low, High float64
	Documents        int      // or items, of a task
	Points           bool     // the numbers are points of a task's score that were lost
	Limit            *float64 // nil: watched, without limit
	State            string   // "within", "above", "warned", "beyond", "" without limit
	Forecast         *Band    // of the end; nil while too little is known, or at the end
	Expected         float64  // middle of Forecast
}

// Change writes the change with its interval.
func (g GuardRow) Change() string {
	if g.Points { // what was lost is written as a change of the score, as everywhere
		return fmt.Sprintf("%+.2f [%+.2f, %+.2f] points", -100*g.Value, -100*g.High, -100*g.Low)
	}
	return fmt.Sprintf("%+.2f %% [%+.2f, %+.2f]", 100*g.Value, 100*g.Low, 100*g.High)
}

// LimitText writes the limit.
func (g GuardRow) LimitText() string {
	if g.Limit == nil {
		return "none"
	}
	if g.Points {
		return fmt.Sprintf("%+.2f points", -100**g.Limit)
	}
	return fmt.Sprintf("%+.2f %%", 100**g.Limit)
}

// ForecastText writes where the run is expected to end.
func (g GuardRow) ForecastText() string {
	if g.Forecast == nil {
		return "–"
	}
	return fmt.Sprintf("%+.2f %% [%+.2f, %+.2f]", 100*g.Expected, 100*g.Forecast.Low, 100*g.Forecast.High)
}

// Class and Words are the state as a style and in words, a sign first so that colour is not all that tells them apart.
func (g GuardRow) Class() string {
	return map[string]string{"within": "better", "above": "open", "warned": "open", "beyond": "worse"}[g.State]
}

// Words are the state in words.
func (g GuardRow) Words() string {
	return map[string]string{"within": "▲ within", "above": "~ above, not told apart", "warned": "▽ above the limit", "beyond": "▼ beyond the limit", "": "watched"}[g.State]
}

// MixPart is a stretch of steps with one mixture.
type MixPart struct {
	First, Last int
	Sections    []MixShare
	Why         string
}

// MixShare is a section's share of the rows.
type MixShare struct {
	Section string
	Share   float64 // of 1
}

// Mixture draws what is read over the steps, stacked.
type Mixture []MixPart

// styles gives each section its colour, in order of appearance.
func (m Mixture) styles() map[string]int {
	style := map[string]int{}
	for _, p := range m {
		for _, s := range p.Sections {
			if _, ok := style[s.Section]; !ok {
				style[s.Section] = len(style) % numStyles
			}
		}
	}
	return style
}

// Key is a name with its colour.
type Key struct {
	Name  string
	Style int
}

// Keys are all sections, in order of appearance, for screens that are too narrow to have them beside the drawing.
func (m Mixture) Keys() (keys []Key) {
	style := m.styles()
	for _, p := range m {
		for _, s := range p.Sections {
			if k := (Key{s.Section, style[s.Section]}); !slices.Contains(keys, k) {
				keys = append(keys, k)
			}
		}
	}
	return keys
}

// Ended are the sections that the last part does not read: no name stands beside them.
func (m Mixture) Ended() (keys []Key) {
	style := m.styles()
	is := func(section string) func(MixShare) bool {
		return func(s MixShare) bool { return s.Section == section }
	}
	for i, p := range m {
		for _, s := range p.Sections {
			known := slices.ContainsFunc(m[:i], func(b MixPart) bool { return slices.ContainsFunc(b.Sections, is(s.Section)) })
			if !known && !slices.ContainsFunc(m[len(m)-1].Sections, is(s.Section)) {
				keys = append(keys, Key{s.Section, style[s.Section]})
			}
		}
	}
	return keys
}

// SVG draws it. Sections keep their style from part to part; their names stand at the right, at their last place.
func (m Mixture) SVG(id string) template.HTML {
	if len(m) == 0 {
		return `<p class="missing">No mixture yet.</p>`
	}
	const height = 220.0
	var names []Series
	for _, s := range m[len(m)-1].Sections {
		names = append(names, Series{Name: s.Section})
	}
	right := nameRoom(names)
	last := float64(m[len(m)-1].Last)
	x := scale{0, last, left, chartWidth - right, 0}
	y := scale{0, 1, height - bottom, top, 0}
	style := m.styles()
	var words []string
	for _, p := range m {
		var parts []string
		for _, s := range p.Sections {
			parts = append(parts, fmt.Sprintf("%s %.1f %%", s.Section, 100*s.Share))
		}
		words = append(words, fmt.Sprintf("steps %d to %d: %s", p.First, p.Last, strings.Join(parts, ", ")))
	}
	var b strings.Builder
	openSVG(&b, id, "Mixture over the steps", strings.Join(words, "; "), chartWidth, height)
	places := map[string]float64{}
	for _, p := range m {
		from, low := x.at(float64(p.First-1)), 0.0
		for _, s := range p.Sections {
			fmt.Fprintf(&b, `<rect class="mix m%d" x="%.1f" width="%.1f" y="%.1f" height="%.1f"><title>%s, steps %d to %d: %.1f %%</title></rect>`,
				style[s.Section], from, max(x.at(float64(p.Last))-from, 0.5), y.at(low+s.Share), y.at(low)-y.at(low+s.Share), esc(s.Section), p.First, p.Last, 100*s.Share)
			places[s.Section] = low + s.Share/2
			low += s.Share
		}
	}
	for i, s := range names {
		names[i].Points = []Point{{Step: int(last), Value: places[s.Name]}}
	}
	labels := labelPlaces(names, y)
	for i, s := range names {
		fmt.Fprintf(&b, `<line class="lead" x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f"/><text class="name" x="%.1f" y="%.1f">%s</text>`,
			chartWidth-right, y.at(s.Points[0].Value), chartWidth-right+10, labels[i], chartWidth-right+14, labels[i]+4, esc(clip(s.Name, maxName)))
	}
	xt := niceTicks(0, last, 5)
	for _, t := range xt {
		if t <= last {
			fmt.Fprintf(&b, `<text class="tick" x="%.1f" y="%g" text-anchor="middle">%s</text>`, x.at(t), height-bottom+18, tickText(t, xt))
		}
	}
	for _, t := range []float64{0, 0.5, 1} {
		fmt.Fprintf(&b, `<text class="tick" x="%g" y="%.1f" text-anchor="end">%.0f %%</text>`, left-8, y.at(t)+4, 100*t)
	}
	fmt.Fprintf(&b, `<text class="tick" x="%g" y="%g" text-anchor="middle">step</text></svg>`, (left+chartWidth-right)/2, height-6)
	return template.HTML(b.String())
}

// Sample is what the model wrote at a step.
type Sample struct {
	Step                   int
	Language, Prompt, Text string
}
