package filter

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"ravn/pipeline"
)

// WhatIf says what presets would drop, reckoned from the scores in a ledger; no text is read. Documents that another
// stage dropped are among In, and among Kept when the presets keep them: the question is what the presets alone do. Now
// counts what was kept in fact.
type WhatIf struct {
	Presets  []Spec          `json:"presets"`
	Sections []WhatIfSection `json:"sections"`
	Total    WhatIfSection   `json:"total"`
	Warnings []string        `json:"warnings,omitempty"`
}

// WhatIfSection is the answer for one section.
type WhatIfSection struct {
	Name    string                    `json:"name"`
	In      pipeline.Count            `json:"in"`
	Now     pipeline.Count            `json:"now"` // kept by the build as it was
	Kept    pipeline.Count            `json:"kept"`
	Dropped pipeline.Count            `json:"dropped"`
	Lost    pipeline.Count            `json:"lost"`    // kept by the build, dropped by the presets
	Reasons map[string]pipeline.Count `json:"reasons"` // of Dropped, by the first rule that drops
	Rules   map[string]int64          `json:"rules"`   // documents that each rule would drop, whatever the others do
}

// NewWhatIf asks the ledger. names are the names of its scores.
func NewWhatIf(rows []pipeline.Row, names []string, specs ...Spec) (*WhatIf, error) {
	at := slices.Index(names, "quality."+Scores[0])
	if at < 0 || len(names) < at+len(Scores) {
		return nil, errors.New("filter: the ledger has no quality scores (build the corpus again)")
	}
	for i, s := range Scores {
		if names[at+i] != "quality."+s {
			return nil, fmt.Errorf("filter: the ledger's score %d is %s, not quality.%s (build the corpus again)", at+i, names[at+i], s)
		}
	}
	out := &WhatIf{Presets: specs, Total: newWhatIfSection("total")}
	var sets []ruleSet
	for _, s := range specs {
		r, err := s.resolve()
		if err != nil {
			return nil, err
		}
		if r.lines != 0 {
			out.Warnings = append(out.Warnings, fmt.Sprintf("%s also takes lines out of texts; what later presets would say of the shorter texts is not known", s.Preset))
		}
		sets = append(sets, r)
	}
	for _, r := range rows {
		if len(out.Sections) == 0 || out.Sections[len(out.Sections)-1].Name != r.Section {
			out.Sections = append(out.Sections, newWhatIfSection(r.Section))
		}
		if len(r.Scores) < at+len(Scores) {
			return nil, fmt.Errorf("filter: document %s/%s has %d scores, not %d (build the corpus again)", r.Section, r.ID, len(r.Scores), len(names))
		}
		for _, s := range []*WhatIfSection{&out.Sections[len(out.Sections)-1], &out.Total} {
			s.add(&r, r.Scores[at:at+len(Scores)], sets)
		}
	}
	return out, nil
}

func newWhatIfSection(name string) WhatIfSection {
	return WhatIfSection{Name: name, Reasons: map[string]pipeline.Count{}, Rules: map[string]int64{}}
}

func (s *WhatIfSection) add(r *pipeline.Row, scores []float32, sets []ruleSet) {
	c := pipeline.Count{Documents: 1, Bytes: r.Bytes, Words: r.Words, Tokens: r.Tokens}
	s.In.Add(c)
	now := r.Verdict == pipeline.VerdictKeep
	if now {
		s.Now.Add(c)
	}
	dropped := false
	for _, set := range sets {
		if !set.covers(r.Section) {
			continue
		}
		for _, rule := range set.rules {
			if !rule.breaks(float64(scores[rule.score])) {
				continue
			}
			s.Rules[rule.Name]++
			if !dropped {
				dropped = true
				sum := s.Reasons[rule.Name]
				sum.Add(c)
				s.Reasons[rule.Name] = sum
			}
		}
	}
	if !dropped {
		s.Kept.Add(c)
		return
	}
	s.Dropped.Add(c)
	if now {
		s.Lost.Add(c)
	}
}

// ParseSpec reads "preset=fineweb2-da", with more fields after commas: "preset=fineweb2-da,top_2_gram=0.4,off=new_line_ratio,
// language=da,except=ft". A bare preset name will do.
func ParseSpec(text string) (Spec, error) {
	var s Spec
	for i, part := range strings.Split(text, ",") {
		key, value, ok := strings.Cut(strings.TrimSpace(part), "=")
		switch {
		case !ok && i == 0:
			s.Preset = key
		case !ok || value == "":
			return s, fmt.Errorf("filter: %q is not NAME=VALUE (for example preset=fineweb2-da,top_2_gram=0.4,off=new_line_ratio)", part)
		case key == "preset":
			s.Preset = value
		case key == "language":
			s.Language = value
		case key == "off":
			s.Off = append(s.Off, value)
		case key == "except":
			s.Except = append(s.Except, value)
		case key == "section":
			s.Sections = append(s.Sections, value)
		default:
			v, err := strconv.ParseFloat(value, 64)
			if err != nil {
				return s, fmt.Errorf("filter: %s: %q is not a number", key, value)
			}
			if s.Set == nil {
				s.Set = map[string]float64{}
			}
			s.Set[key] = v
		}
	}
	return s, s.Validate()
}
