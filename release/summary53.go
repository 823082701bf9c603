package release

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// trainingContent is the public summary that Article 53(1)(d) of Regulation (EU) 2024/1689 asks for, in the order of the
// Commission's template (C(2025) 8311). What only a person can say is marked with toFill.
type trainingContent struct {
	Provider     Provider         `json:"provider"`           // 1.1
	Model        string           `json:"model"`              // 1.2
	Dependencies []string         `json:"dependencies"`       // 1.2
	MarketDate   string           `json:"market_date"`        // 1.2
	License      string           `json:"license"`            // not asked for; holds the documents together
	TextSize     string           `json:"text_size"`          // 1.3, a range of the template
	Tokens       int64            `json:"tokens_read"`        // in training, repeats counted
	Bytes        int64            `json:"bytes"`              // of distinct text
	Content      []string         `json:"types_of_content"`   // 1.3
	Latest       string           `json:"latest_acquisition"` // 1.3
	Languages    []string         `json:"languages"`          // 1.3
	FLOPs        float64          `json:"training_flops"`     // 6·N·D, of the base too where it was trained here
	Parts        []contentPart    `json:"sources"`            // 2
	Reservations []string         `json:"reservations"`       // 3.1
	Removed      map[string]int64 `json:"removed_documents"`  // 3.2, by reason
	Open         []string         `json:"to_be_filled_in"`    // what a person has to add
	Disclaimer   string           `json:"note"`               //
}

// contentPart is a source in part 2.
type contentPart struct {
	Section   string `json:"section"`
	Part      string `json:"part"` // "2.1"
	Title     string `json:"title"`
	Origin    string `json:"origin,omitempty"`
	License   string `json:"license"`
	Content   string `json:"content,omitempty"`
	Language  string `json:"language,omitempty"`
	Period    string `json:"period,omitempty"`
	Documents int64  `json:"documents"`
	Bytes     int64  `json:"bytes"`
	Tokens    int64  `json:"tokens_read"`
}

// contentKinds are the headings of part 2 and the kinds of source that go there.
var contentKinds = []struct{ part, kind, title string }{
	{"2.1", "public", "Publicly available data sets"},
	{"2.2.1", "licensed", "Private data sets licensed by rights holders or their representatives"},
	{"2.2.2", "private", "Private data sets obtained from other third parties"},
	{"2.3", "crawled", "Data crawled and scraped from online sources"},
	{"2.4", "user", "User data"},
	{"2.5", "synthetic", "Synthetic data"},
	{"2.6", "other", "Other sources"},
}

// sizeRange is the template's range of text for a number of tokens.
func sizeRange(tokens int64) string {
	switch {
	case tokens < 1e9:
		return "less than 1 billion tokens"
	case tokens <= 10e12:
		return "1 billion to 10 trillion tokens"
	}
	return "more than 10 trillion tokens"
}

func newTrainingContent(o *Options, out *Folder) *trainingContent {
	t := &trainingContent{
		Provider: o.Provider, Model: o.Name, MarketDate: o.Policy.Date, License: out.License, Languages: o.Languages, Removed: o.Removed,
		Dependencies: []string{}, Content: []string{}, Reservations: []string{},
		Disclaimer: "Computed from the run's index and the register of rights. It is bookkeeping, not legal advice; whoever publishes the model answers for it.",
	}
	open := func(what string) { t.Open = append(t.Open, what) }
	if o.Provider.Name == "" || o.Provider.Contact == "" {
		open("1.1 name and contact of the provider (release.provider and release.contact in the recipe)")
	}
	if o.Base.Name != "" && !o.Base.Here {
		t.Dependencies = append(t.Dependencies, o.Base.Name)
		open("1.2 link to the summary of the base model " + o.Base.Name + ": this one covers only the text of the continued training")
	}
	for _, p := range o.parts(&out.Decision) {
		s := p.Source
		c := contentPart{Section: p.Section, Title: s.Title, Origin: s.Origin, License: p.License, Content: s.Content, Language: s.Language, Period: s.Period, Documents: p.Documents, Bytes: p.Bytes, Tokens: p.Tokens}
		for _, k := range contentKinds {
			if k.kind == cmp.Or(s.Kind, "other") {
				c.Part = k.part
			}
		}
		if s.Kind == "" {
			open("2 where " + p.Section + " comes from: no register says it, so it stands under 2.6")
		}
		t.Parts = append(t.Parts, c)
		t.Tokens += p.Tokens
		t.Bytes += p.Bytes
		if s.Content != "" && !slices.Contains(t.Content, s.Content) {
			t.Content = append(t.Content, s.Content)
		}
		t.Latest = max(t.Latest, s.Collected)
		t.Reservations = append(t.Reservations, s.Reservations...)
		switch s.Kind {
		case "crawled":
			open("2.3 crawler, its behaviour, the period, and the domains by size, for " + p.Section)
		case "synthetic":
			open("2.5 the models that wrote " + p.Section)
		}
	}
	t.TextSize = sizeRange(t.Tokens)
	tokens := o.Training.Tokens
	if o.Base.Here {
		tokens = max(tokens, t.Tokens)
	}
	t.FLOPs = 6 * float64(o.Training.Parameters) * float64(tokens)
	if t.Latest == "" {
		open("1.3 latest date of acquisition (collected in the register's sources)")
	}
	if o.pageURL() == "" {
		open("the address of the model's page, in croissant.json (release.url in the recipe)")
	}
	open("3.1 measures to respect reservations of rights from text and data mining, beyond the readings listed")
	open("3.2 measures against illegal content, beyond the removals listed")
	slices.Sort(t.Reservations)
	t.Reservations = slices.Compact(t.Reservations)
	return t
}

// markdown writes the summary for people.
func (t *trainingContent) markdown() []byte {
	var b strings.Builder
	line := func(name, value string) { fmt.Fprintf(&b, "| %s | %s |\n", name, cell(cmp.Or(value, "*"+toFill+"*"))) }
	fmt.Fprintf(&b, "# Public summary of training content: %s\n\nArticle 53(1)(d) of Regulation (EU) 2024/1689, in the order of the Commission's template. %s\n\n", t.Model, t.Disclaimer)
	b.WriteString("## 1. General information\n\n| | |\n|---|---|\n")
	line("1.1 provider", t.Provider.Name)
	line("1.1 contact", t.Provider.Contact)
	line("1.2 model", t.Model)
	line("1.2 depends on", cmp.Or(strings.Join(t.Dependencies, ", "), "no other model"))
	line("1.2 placed on the market", t.MarketDate)
	line("1.3 modality", "text")
	line("1.3 size", fmt.Sprintf("%s (%s tokens read in training, %s bytes of distinct text)", t.TextSize, number(t.Tokens), number(t.Bytes)))
	line("1.3 types of content", strings.Join(t.Content, ", "))
	line("1.3 latest acquisition", t.Latest)
	line("1.3 languages", strings.Join(t.Languages, ", "))
	line("training compute, 6·N·D", fmt.Sprintf("%.2g FLOPs; the Commission's guidelines take 1e23 as an indication of a general-purpose model", t.FLOPs))
	b.WriteString("\n## 2. Sources\n")
	for _, k := range contentKinds {
		fmt.Fprintf(&b, "\n### %s %s\n\n", k.part, k.title)
		var rows []contentPart
		for _, p := range t.Parts {
			if p.Part == k.part {
				rows = append(rows, p)
			}
		}
		if len(rows) == 0 {
			b.WriteString("None.\n")
			continue
		}
		b.WriteString("| source | what | language | written | licence | documents | tokens read |\n|---|---|---|---|---|---|---|\n")
		for _, p := range rows {
			name := p.Title
			if p.Origin != "" {
				name = link(p.Title, p.Origin)
			}
			fmt.Fprintf(&b, "| %s (%s) | %s | %s | %s | %s | %s | %s |\n", cell(name), cell(p.Section), cell(p.Content), p.Language, cell(p.Period), cell(p.License), number(p.Documents), number(p.Tokens))
		}
	}
	b.WriteString("\n## 3. Processing\n\n### 3.1 Reservations of rights from text and data mining\n\n")
	if len(t.Reservations) == 0 {
		b.WriteString("No reading of robots.txt, tdmrep.json or the like is in the register.\n")
	}
	for _, r := range t.Reservations {
		b.WriteString("- " + r + "\n")
	}
	b.WriteString("\n### 3.2 Removed before training\n\n")
	if len(t.Removed) == 0 {
		b.WriteString("Nothing.\n")
	}
	for _, reason := range slices.Sorted(maps.Keys(t.Removed)) {
		fmt.Fprintf(&b, "- %s: %s documents\n", reason, number(t.Removed[reason]))
	}
	b.WriteString("\n## Still to be filled in\n\n")
	for _, x := range t.Open {
		b.WriteString("- " + x + "\n")
	}
	return []byte(b.String())
}

// readSummary reads back the licence and the tokens by section and licence.
func readSummary(path string) (string, map[string]int64, error) {
	var t trainingContent
	if err := readJSON(path, &t); err != nil {
		return "", nil, err
	}
	tokens := map[string]int64{}
	for _, p := range t.Parts {
		tokens[p.Section+"\x00"+p.License] += p.Tokens
	}
	return t.License, tokens, nil
}
