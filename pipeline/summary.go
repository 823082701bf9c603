package pipeline

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
)

// Count is an amount of text. Bytes and words are of the text as read.
type Count struct {
	Documents int64 `json:"documents"`
	Bytes     int64 `json:"bytes"`
	Words     int64 `json:"words"`
	Tokens    int64 `json:"tokens"`
}

// Add adds another amount.
func (c *Count) Add(o Count) {
	c.Documents += o.Documents
	c.Bytes += o.Bytes
	c.Words += o.Words
	c.Tokens += o.Tokens
}

// SectionSummary is what became of a section.
type SectionSummary struct {
	Name     string           `json:"name"`
	License  string           `json:"license"`  // the section's; documents may state others, see Licenses
	Licenses map[string]Count `json:"licenses"` // kept and held-out documents by their own licence
	Language string           `json:"language"`
	Role     string           `json:"role,omitempty"`
	Claims   []string         `json:"claims,omitempty"` // licence statements for the whole section
	In       Count            `json:"in"`
	Kept     Count            `json:"kept"`    // for training
	Heldout  Count            `json:"heldout"` // for validation
	Removed  Count            `json:"removed"`
	Reasons  map[string]Count `json:"reasons"`         // removed documents by reason
	Marks    map[string]Count `json:"marks,omitempty"` // kept documents that carry a reason

	Detected map[string]Count `json:"detected,omitempty"` // kept and held-out documents by the language that was found
	Lengths  []int64          `json:"lengths,omitempty"`  // kept and held-out documents by words: [0] none, [i] 2^(i-1) to 2^i - 1
	Changes  map[string]int64 `json:"changes,omitempty"`  // what was changed in the texts, by STAGE.KIND
	Clusters Clusters         `json:"clusters"`           // of near copies, among the documents that were compared

	Unreadable int      `json:"unreadable,omitempty"` // records passed over because MaxErrors allowed it; not in In
	Problems   []string `json:"problems,omitempty"`   // the first of them
	Notes      []string `json:"notes,omitempty"`
}

// Clusters counts documents that are near copies of others.
type Clusters struct {
	Clusters  int64 `json:"clusters"`  // that begin in the section
	Documents int64 `json:"documents"` // in one of two or more, kept or not
}

// BenchmarkOverlap says what of a benchmark was found in the documents.
type BenchmarkOverlap struct {
	Name     string                    `json:"name"`
	Action   string                    `json:"action"`   // drop: the documents were removed; mark: they are in the training text
	Items    int                       `json:"items"`    // texts of the benchmark
	Checked  int                       `json:"checked"`  // of them long enough to be looked for
	Hit      int                       `json:"hit"`      // of them found: whole, or by n-grams
	Whole    int                       `json:"whole"`    // of Hit, those with a passage found word for word
	NGrams   int                       `json:"ngrams"`   // different n-grams of the items found, in the document that has most of each
	Sections map[string]SectionOverlap `json:"sections"` // by section with hits

	Documents []string  `json:"documents"` // SECTION/ID, in order
	Found     []ItemHit `json:"found"`     // by item, in order
}

// SectionOverlap counts a benchmark's hits in one section.
type SectionOverlap struct {
	Items     int `json:"items"`
	Documents int `json:"documents"`
}

// ItemHit says where an item of a benchmark was found.
type ItemHit struct {
	Item         int      `json:"item"` // its place in the benchmark, from 0
	Whole        bool     `json:"whole"`
	NGrams       int      `json:"ngrams"` // of the item, different ones, in the document that has most
	NumDocuments int      `json:"num_documents"`
	Documents    []string `json:"documents"` // the first few, SECTION/ID
}

// Summary is what Build did.
type Summary struct {
	Stages       []string           `json:"stages"`
	Scores       []string           `json:"scores,omitempty"` // names of the ledger's column of scores, in order
	Seed         uint64             `json:"seed"`
	HeldoutShare float64            `json:"heldout_share"`
	Sections     []SectionSummary   `json:"sections"`
	Total        SectionSummary     `json:"total"`
	Benchmarks   []BenchmarkOverlap `json:"benchmarks,omitempty"`
	Warnings     []string           `json:"warnings,omitempty"`
}

// summary adds up and checks.
func (b *builder) summary() (*Summary, error) {
	s := &Summary{Scores: b.scores, Seed: b.o.Seed, HeldoutShare: b.o.HeldoutShare, Sections: b.sum, Total: newSectionSummary("total"), Warnings: b.warnings}
	dedups := false
	for _, st := range b.o.Stages {
		s.Stages = append(s.Stages, st.Name())
		dedups = dedups || strings.HasPrefix(st.Name(), "dedup")
		if o, ok := st.(Overlapper); ok {
			s.Benchmarks = append(s.Benchmarks, o.Report()...)
		}
	}
	for i := range s.Sections {
		x := &s.Sections[i]
		switch {
		case x.In.Documents == 0:
			s.Warnings = append(s.Warnings, fmt.Sprintf("section %s has no documents", x.Name))
		case x.Kept.Documents == 0:
			s.Warnings = append(s.Warnings, fmt.Sprintf("section %s: none of %d documents was kept for training", x.Name, x.In.Documents))
		}
		s.Total.add(x)
	}
	if b.o.HeldoutShare > 0 && !dedups {
		s.Warnings = append(s.Warnings, "no dedup stage: a held-out text may also be in the training part")
	}
	if b.o.HeldoutShare > 0 && s.Total.Heldout.Documents == 0 {
		s.Warnings = append(s.Warnings, fmt.Sprintf("a share of %v of %d documents held out is none", b.o.HeldoutShare, s.Total.In.Documents))
	}
	return s, s.Check()
}

// Check says whether the counts add up: in = kept + held out + removed, and removed = the sum over reasons, in every
// section and in total.
func (s *Summary) Check() error {
	var errs []error
	total := newSectionSummary("total")
	for i := range s.Sections {
		errs = append(errs, s.Sections[i].check())
		total.add(&s.Sections[i])
	}
	errs = append(errs, s.Total.check())
	if total.In != s.Total.In || total.Kept != s.Total.Kept || total.Heldout != s.Total.Heldout || total.Removed != s.Total.Removed {
		errs = append(errs, fmt.Errorf("pipeline: the sections add up to %+v, the total says %+v", total.In, s.Total.In))
	}
	return errors.Join(errs...)
}

func newSectionSummary(name string) SectionSummary {
	return SectionSummary{Name: name, Licenses: map[string]Count{}, Reasons: map[string]Count{}, Marks: map[string]Count{}}
}

func (s *SectionSummary) check() error {
	sum := s.Kept
	sum.Add(s.Heldout)
	sum.Add(s.Removed)
	var reasons, licenses Count
	for _, c := range s.Reasons {
		reasons.Add(c)
	}
	for _, c := range s.Licenses {
		licenses.Add(c)
	}
	var errs []error
	if sum != s.In {
		errs = append(errs, fmt.Errorf("pipeline: section %s: %+v came in, but kept, held out and removed are %+v", s.Name, s.In, sum))
	}
	if reasons != s.Removed {
		errs = append(errs, fmt.Errorf("pipeline: section %s: %+v removed, but the reasons add up to %+v", s.Name, s.Removed, reasons))
	}
	licenses.Add(s.Removed)
	if licenses != s.In {
		errs = append(errs, fmt.Errorf("pipeline: section %s: the licences of what was kept and what was removed add up to %+v, not to %+v", s.Name, licenses, s.In))
	}
	return errors.Join(errs...)
}

// add adds the counts of another section.
func (s *SectionSummary) add(o *SectionSummary) {
	s.In.Add(o.In)
	s.Kept.Add(o.Kept)
	s.Heldout.Add(o.Heldout)
	s.Removed.Add(o.Removed)
	for _, m := range []struct{ dst, src map[string]Count }{{s.Licenses, o.Licenses}, {s.Reasons, o.Reasons}, {s.Marks, o.Marks}} {
		for _, k := range slices.Sorted(maps.Keys(m.src)) {
			addTo(m.dst, k, m.src[k])
		}
	}
	for k, n := range o.Changes {
		if s.Changes == nil {
			s.Changes = map[string]int64{}
		}
		s.Changes[k] += n
	}
	for _, k := range slices.Sorted(maps.Keys(o.Detected)) {
		if s.Detected == nil {
			s.Detected = map[string]Count{}
		}
		addTo(s.Detected, k, o.Detected[k])
	}
	for i, n := range o.Lengths {
		if i == len(s.Lengths) {
			s.Lengths = append(s.Lengths, 0)
		}
		s.Lengths[i] += n
	}
	s.Clusters.Clusters += o.Clusters.Clusters
	s.Clusters.Documents += o.Clusters.Documents
	s.Unreadable += o.Unreadable
}

func addTo(m map[string]Count, key string, c Count) {
	sum := m[key]
	sum.Add(c)
	m[key] = sum
}

// ReadSummary reads summary.json and checks that its counts add up.
func ReadSummary(path string) (*Summary, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("pipeline: %w", err)
	}
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	s := &Summary{}
	if err := d.Decode(s); err != nil {
		return nil, fmt.Errorf("pipeline: %s: %w\n        (not a summary of this version; build the corpus again)", path, err)
	}
	if err := s.Check(); err != nil {
		return nil, fmt.Errorf("pipeline: %s: %w", path, err)
	}
	return s, nil
}

func marshal(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(v); err != nil {
		return nil, fmt.Errorf("pipeline: summary: %w", err)
	}
	return b.Bytes(), nil
}
