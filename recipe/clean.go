package recipe

import (
	"cmp"
	"reflect"
	"strings"

	"ravn/pipeline/clean"
	"ravn/pipeline/dedup"
	"ravn/pipeline/filter"
)

// Cleaning says which stages documents pass, and with what parameters.
type Cleaning struct {
	Filters   Filters   `yaml:"filters,omitempty"`   // presets of rules on scores, one or a list; each document's scores are kept whether there are any or not
	Unicode   bool      `yaml:"unicode"`             // mend characters that were read in the wrong encoding, control characters, line ends; Unicode NFC
	PII       PII       `yaml:"pii,omitempty"`       // personal data of fixed form; counted in any case
	Language  Language  `yaml:"language,omitempty"`  // what language each document is in; found out in any case
	Near      Near      `yaml:"near,omitempty"`      // near copies, beside the exact ones that dedup removes
	Lines     Lines     `yaml:"lines,omitempty"`     // lines or paragraphs that stood in earlier documents
	Addresses Addresses `yaml:"addresses,omitempty"` // documents that go because of where they are from
	MemoryMB  int       `yaml:"memory_mb"`           // that the corpus stage may use for texts on their way and for sorting; does not change the result
}

// PII says which personal data is masked.
type PII struct {
	Mask      []string `yaml:"mask,omitempty"`      // kinds: email, ip, cpr, phone, iban
	Modulus11 bool     `yaml:"modulus11,omitempty"` // only Danish person numbers with the check digit in use until 2007
}

// Language says in which languages documents are kept.
type Language struct {
	Model    string   `yaml:"model,omitempty"`     // file made by ravn corpus langid train; the built-in model when left out
	Keep     []string `yaml:"keep,omitempty"`      // codes; all when left out
	MinScore float64  `yaml:"min_score,omitempty"` // probability from which a language counts as found; 0.3 is FineWeb-2's for Danish, of another model
	Except   []string `yaml:"except,omitempty"`    // sections that are kept whatever they are in
	Action   string   `yaml:"action,omitempty"`    // drop (default), mark
}

// Addresses says from where no text is taken. Documents without an address pass.
type Addresses struct {
	Lists   []string `yaml:"lists,omitempty"`   // files of hosts and addresses, one a line; everything below them goes
	Signals string   `yaml:"signals,omitempty"` // folder of snapshots, HOST/robots.txt, ai.txt, tdmrep.json, headers.txt: what reserves mining or training goes, whenever it was fetched
	Agents  []string `yaml:"agents,omitempty"`  // crawlers whose exclusion in robots.txt counts; those that gather text for training when left out
	Action  string   `yaml:"action,omitempty"`  // drop (default), mark
}

// Near says which documents are near copies and which of them is kept. Without a preset none is looked for.
type Near struct {
	Preset    string      `yaml:"preset,omitempty"`    // ravn, datatrove, dfm, redpajama-0.7, redpajama-0.8, redpajama-0.9, redpajama-1.0
	Words     int         `yaml:"words,omitempty"`     // in a run; 0 is the preset's
	Bands     int         `yaml:"bands,omitempty"`     // of the signature; 0 is the preset's
	Rows      int         `yaml:"rows,omitempty"`      // values in a band; 0 is the preset's
	Threshold float64     `yaml:"threshold,omitempty"` // share of word runs in common; 0 is the preset's
	Verify    *bool       `yaml:"verify,omitempty"`    // compare the pairs that were found; the preset's when left out
	Keep      string      `yaml:"keep,omitempty"`      // first (default), longest, priority
	Priority  []string    `yaml:"priority,omitempty"`  // sections, the dearest first
	Copies    map[int]int `yaml:"copies,omitempty"`    // of clusters with at least so many documents → so many are kept; one of all others
	Action    string      `yaml:"action,omitempty"`    // drop (default), mark
}

// Lines says what is taken out of documents because earlier ones have it. Without a unit nothing is.
type Lines struct {
	Unit          string   `yaml:"unit,omitempty"`           // line, paragraph
	MinCharacters int      `yaml:"min_characters,omitempty"` // shorter ones stay
	Except        []string `yaml:"except,omitempty"`         // sections that are neither changed nor compared with, such as law
	MinWords      int      `yaml:"min_words,omitempty"`      // a document with fewer words left is removed
}

// Options are those of the stage.
func (l *Lines) Options() dedup.LineOptions {
	return dedup.LineOptions{Paragraphs: l.Unit == "paragraph", MinChars: l.MinCharacters, Except: l.Except, MinWords: l.MinWords}
}

// MinHash are the parameters, nil without a preset.
func (n *Near) MinHash() (*dedup.MinHash, error) {
	if n.Preset == "" {
		return nil, nil
	}
	m, err := dedup.Preset(n.Preset)
	if err != nil {
		return nil, err
	}
	m.Words, m.Bands, m.Rows, m.Threshold = cmp.Or(n.Words, m.Words), cmp.Or(n.Bands, m.Bands), cmp.Or(n.Rows, m.Rows), cmp.Or(n.Threshold, m.Threshold)
	if n.Verify != nil {
		m.Verify = *n.Verify
	}
	return &m, nil
}

// Options are those of the stage.
func (n *Near) Options() (dedup.Options, error) {
	m, err := n.MinHash()
	return dedup.Options{Near: m, Keep: n.Keep, Priority: n.Priority, Mark: n.Action == "mark", Copies: n.Copies}, err
}

// Filters are presets; a recipe may give a single one without a list.
type Filters []filter.Spec

// UnmarshalYAML reads one preset or a list.
func (f *Filters) UnmarshalYAML(unmarshal func(any) error) error {
	var list []filter.Spec
	err := unmarshal(&list)
	if err == nil {
		*f = list
		return nil
	}
	var one filter.Spec
	if unmarshal(&one) != nil {
		return err
	}
	*f = Filters{one}
	return nil
}

func (c *Cleaning) validate(bad func(string, ...any)) {
	for i, s := range c.Filters {
		if err := s.Validate(); err != nil {
			for _, line := range strings.Split(err.Error(), "\n") {
				bad("data.filters[%d]: %s", i, strings.TrimPrefix(line, "filter: "))
			}
		}
	}
	if err := (clean.PIIOptions{Mask: c.PII.Mask}).Validate(); err != nil {
		bad("data.pii.mask: %s", strings.TrimPrefix(err.Error(), "clean: "))
	}
	if o, err := c.Near.Options(); err != nil {
		bad("data.near: %s", strings.TrimPrefix(err.Error(), "dedup: "))
	} else if err := o.Validate(); err != nil {
		bad("data.near: %s", strings.TrimPrefix(err.Error(), "dedup: "))
	} else if o.Near == nil && !reflect.ValueOf(c.Near).IsZero() {
		bad("data.near has no preset (use one of %v)", dedup.Presets())
	}
	if u := c.Lines.Unit; u != "line" && u != "paragraph" && !reflect.ValueOf(c.Lines).IsZero() {
		bad("data.lines.unit %q is unknown (line, paragraph)", u)
	}
	if err := c.Lines.Options().Validate(); err != nil {
		bad("data.lines: %s", strings.TrimPrefix(err.Error(), "dedup: "))
	}
	if a := c.Language.Action; a != "" && a != "drop" && a != "mark" {
		bad("data.language.action %q is unknown (drop, mark)", a)
	}
	if s := c.Language.MinScore; !(s >= 0 && s < 1) {
		bad("data.language.min_score %g must lie in [0, 1)", s)
	}
	if a := c.Addresses.Action; a != "" && a != "drop" && a != "mark" {
		bad("data.addresses.action %q is unknown (drop, mark)", a)
	}
	if a := c.Near.Action; a != "" && a != "drop" && a != "mark" {
		bad("data.near.action %q is unknown (drop, mark)", a)
	}
	if c.MemoryMB < 64 {
		bad("data.memory_mb %d is too little (at least 64)", c.MemoryMB)
	}
}

// Cleaned is what the corpus depends on: everything but how much memory is used.
func (c Cleaning) Cleaned() Cleaning {
	c.MemoryMB = 0
	return c
}
