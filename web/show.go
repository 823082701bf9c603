package web

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"ravn/stats"
)

// Charts are the drawings of a phase, those without a point left out.
func (p Phase) Charts() []Chart {
	list := []Chart{
		{Title: p.Name + ": held-out text", Unit: "bits per byte", Steps: p.Steps, Series: p.Bits, Note: "Lower is better. A line that rises is a language being lost."},
		{Title: p.Name + ": held-out text against the base", Unit: "change of bits per byte, %", Steps: p.Steps, Series: p.Change, Limits: p.Limits, Note: "Relative to the base, paired by document, with 95 % intervals; below 0 is better. Dashed lines are the guard's limits, brackets at the right edge the forecast of the end."},
		{Title: p.Name + ": data sets that the guard asks", Unit: "change of the score, points", Steps: p.Steps, Series: p.Tasks, Limits: p.TaskLimits, Note: "Against the base, paired by item, with 95 % intervals; above 0 is better. Dashed lines are the guard's limits."},
		{Title: p.Name + ": training loss", Unit: "nats per token", Steps: p.Steps, Series: []Series{{Name: "loss", Points: p.Loss}}},
		{Title: p.Name + ": learning rate", Unit: "rate", Steps: p.Steps, Series: []Series{{Name: "learning rate", Points: p.LR}}},
		{Title: p.Name + ": gradient norm", Unit: "norm", Steps: p.Steps, Series: []Series{{Name: "gradient norm", Points: p.GradNorm}}},
		{Title: p.Name + ": speed", Unit: "tokens/s", Steps: p.Steps, Series: []Series{{Name: "speed", Points: p.Speed}}, Note: p.SpeedNote},
	}
	return slices.DeleteFunc(list, func(c Chart) bool { return c.points() == 0 })
}

// Miscounted names the sections whose counts do not add up.
func (r *Report) Miscounted() (names []string) {
	reasons := map[string]int64{}
	for _, x := range r.Reasons {
		reasons[x.Section] += x.Documents
	}
	for _, c := range r.Corpus {
		if c.In != c.Kept+c.Heldout+c.Removed || reasons[c.Section] != c.Removed {
			names = append(names, c.Section)
		}
	}
	return names
}

// Total adds the sections up.
func (r *Report) Total() (t CorpusRow) {
	for _, c := range r.Corpus {
		t.In, t.Kept, t.Heldout, t.Removed = t.In+c.In, t.Kept+c.Kept, t.Heldout+c.Heldout, t.Removed+c.Removed
		t.Bytes, t.Tokens = t.Bytes+c.Bytes, t.Tokens+c.Tokens
	}
	return t
}

// ReasonsOf is why documents of a section were removed, in one line.
func (r *Report) ReasonsOf(section string) string {
	var parts []string
	for _, x := range r.Reasons {
		if x.Section == section {
			parts = append(parts, x.Reason+" "+count(x.Documents))
		}
	}
	return strings.Join(parts, ", ")
}

// Class is the verdict of a change as a style: "~" is no name for one.
func (c ChangeRow) Class() string {
	switch c.Verdict {
	case "better", "worse":
		return c.Verdict
	}
	return "open"
}

// Symbol stands beside the verdict, so that colour is not all that tells them apart.
func (c ChangeRow) Symbol() string {
	return map[string]string{"better": "▲", "worse": "▼"}[c.Class()]
}

// Words are the verdict in words.
func (c ChangeRow) Words() string {
	switch {
	case c.Verdict == "~":
		return "~ not told apart"
	case c.Symbol() == "":
		return c.Verdict
	}
	return c.Symbol() + " " + c.Verdict
}

// Arrow says which way is better.
func (c ChangeRow) Arrow() string {
	if c.lower() {
		return "↓"
	}
	return "↑"
}

func (c ChangeRow) lower() bool { return c.LowerBetter || c.Metric == "bpb" }

// main reports whether a change is about a whole data set or a language, and not a part of one.
func (c ChangeRow) main() bool { return c.Group == "" || strings.HasPrefix(c.Group, "language=") }

// What names a change: the data set and its part.
func (c ChangeRow) What() string {
	_, part, ok := strings.Cut(c.Group, "=")
	if !ok {
		part = c.Group
	}
	return strings.TrimSpace(c.Dataset + " " + part)
}

// Share is a section's part of a step.
type Share struct {
	Section, Licenses string
	Tokens            int
	Share             float64
}

// Shares of the sections in what the trace shows, in order of appearance.
func (t *Trace) Shares() []Share {
	var list []Share
	at := map[[2]string]int{}
	total := 0
	for _, s := range t.Spans {
		key := [2]string{s.Section, s.Licenses}
		if _, ok := at[key]; !ok {
			at[key] = len(list)
			list = append(list, Share{Section: s.Section, Licenses: s.Licenses})
		}
		list[at[key]].Tokens += s.Len
		total += s.Len
	}
	for i := range list {
		list[i].Share = float64(list[i].Tokens) / float64(max(1, total))
	}
	return list
}

// count writes a whole number with thin spaces between thousands.
func count(n int64) string {
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "\u202f" + s[i:]
	}
	return s
}

func number(x float64) string {
	if math.IsNaN(x) {
		return "–"
	}
	return fmt.Sprintf("%.3f", x)
}

// estimate writes a score with interval and n, a dash where nothing was measured.
func estimate(e stats.Estimate) string {
	if e.N == 0 {
		return "–"
	}
	return e.String()
}

func difference(e stats.Estimate) string {
	if e.N == 0 {
		return "–"
	}
	return e.Difference()
}

func seconds(s float64) string {
	switch {
	case s <= 0 || math.IsNaN(s):
		return "–"
	case s < 60:
		return fmt.Sprintf("%.1f s", s)
	case s < 3600:
		return fmt.Sprintf("%d min %02d s", int(s)/60, int(s)%60)
	}
	return fmt.Sprintf("%d h %02d min", int(s)/3600, int(s)/60%60)
}

// barWidth is part of all in percent.
func barWidth(part, all int64) string {
	if all <= 0 {
		return "0"
	}
	return fmt.Sprintf("%.1f", 100*float64(part)/float64(all))
}
