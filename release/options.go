// Package release turns a checkpoint into a folder that may be published: the gate, the model card, who is to be
// thanked, what went in, and checksums.
//
// The folder is a Hugging Face model repository. It is written whole or not at all: when the gate says no, or a text
// file holds what looks like a secret, Build returns a *Refused and writes nothing. Everything that the card says about
// the model is computed from the measurements; a language that got worse is named.
package release

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"path"
	"slices"
	"strings"

	"ravn/model"
	"ravn/rights"
	"ravn/stats"
)

// Options are what a release is made from.
type Options struct {
	Checkpoint string // Hugging Face folder: config.json, *.safetensors, tokenizer files; optimizer and state stay behind
	Out        string // the release folder; an older one is replaced
	Name       string // of the model, as in the card's title
	Note       string // a sentence about what it is
	Version    string // of ravn
	Small      bool   // made of small or synthetic material; the card says so at the top

	Uses   []rights.Use // everything the model was made from, the base model among it
	Policy rights.Policy

	Sources  []Source         // what is known about the sections beyond their licences
	Provider Provider         // who publishes
	URL      string           // of the model's page, where there is one
	Removed  map[string]int64 // documents that were removed before training, by reason

	Languages     []string // codes of what it was trained on, most first: da, en
	Base          Base
	Training      Training
	Guard         *Guard // nil: nothing was watched during training
	Results       []Result
	Contamination []Contamination
	Limitations   []string          // beyond those that are computed
	Datasets      []string          // Hugging Face ids of the data, where they have one
	Files         map[string][]byte // further small files of the release, by name
	GGUF          []model.DType     // number formats of GGUF files to be written beside the folder's weights
}

// Base is the model that was continued.
type Base struct {
	Name    string `json:"name,omitempty"`
	License string `json:"license,omitempty"`
	Hash    string `json:"hash,omitempty"`         // SHA-256 of its weights
	Here    bool   `json:"trained_here,omitempty"` // trained in the same run, not fetched: the card then names no hub model
}

// Guard is the record of what was watched during training.
type Guard struct {
	Rows    []Guarded `json:"rows"`
	Actions []string  `json:"actions,omitempty"` // what the guard did, a sentence each
}

// Guarded is one group of held-out text at the last evaluation.
type Guarded struct {
	Group     string   `json:"group"`  // language, or language/source
	Change    float64  `json:"change"` // of bits per byte, relative to the base, paired by document
	Low       float64  `json:"low"`    // 95 %
	High      float64  `json:"high"`
	Documents int      `json:"documents"`       // or items, of a task
	Task      bool     `json:"task,omitempty"`  // Group is a data set; Change and Limit are what its score has lost, 0.01 being a point, paired by item
	Limit     *float64 `json:"limit,omitempty"` // nil: watched, without limit
	State     string   `json:"state,omitempty"` // "within", "above", "warned", "beyond"
}

// Training is what happened. Zero means not known and is printed so.
type Training struct {
	Parameters  int64   `json:"parameters"`
	Steps       int     `json:"steps"`
	Tokens      int64   `json:"tokens"`
	SeqTokens   int     `json:"sequence_tokens,omitempty"`
	BatchTokens int     `json:"batch_tokens,omitempty"`
	Schedule    string  `json:"schedule,omitempty"`
	PeakLR      float64 `json:"peak_lr,omitempty"`
	Seed        uint64  `json:"seed"`
	Hardware    string  `json:"hardware,omitempty"`
	Hours       float64 `json:"hours,omitempty"`
	KWh         float64 `json:"kwh,omitempty"`        // estimate
	EnergyHow   string  `json:"energy_how,omitempty"` // how KWh was found
	RecipeHash  string  `json:"recipe_hash,omitempty"`
}

// Result is one measurement of base and result on the same items. An estimate with N = 0 is missing.
type Result struct {
	Label       string         `json:"label"`   // "Danish held-out text"
	Dataset     string         `json:"dataset"` // "mini-scala-da"
	Task        string         `json:"task"`    // "linguistic-acceptability", "bits-per-byte"
	Language    string         `json:"language"`
	Metric      string         `json:"metric"` // "mcc", "bpb"
	LowerBetter bool           `json:"lower_better,omitempty"`
	Base        stats.Estimate `json:"base"`
	Result      stats.Estimate `json:"result"`
	Difference  stats.Estimate `json:"difference"`       // result - base, paired
	Chance      *float64       `json:"chance,omitempty"` // what guessing gets, where that is known
	Small       bool           `json:"small,omitempty"`  // small or synthetic
}

// better is +1 when the result is better than its base beyond the interval, -1 when it is worse, 0 when not told apart.
func (r *Result) better() int {
	if r.Difference.N == 0 || !r.Difference.Resolved() {
		return 0
	}
	if (r.Difference.Value < 0) == r.LowerBetter {
		return 1
	}
	return -1
}

// Contamination is what of a benchmark was found in the training text.
type Contamination struct {
	Dataset string `json:"dataset"`
	Items   int    `json:"items"` // that were looked for
	Hit     int    `json:"hit"`
	Action  string `json:"action"` // "drop": the documents were removed; "mark": they were trained on
}

// Result of Build is called Folder: what was written.
type Folder struct {
	Dir         string
	License     string
	Decision    rights.Decision
	Limitations []string
	Open        []string // what a person has to fill in before it is published
	Files       []string // names in SHA256SUMS
}

// Refused is the error of a release that may not be. Nothing was written.
type Refused struct {
	Decision rights.Decision
	Secrets  []string // "file:line: what it looks like"; the gate had said yes
	Removed  []string // removal requests whose documents the model has read
}

func (r *Refused) Error() string {
	var b strings.Builder
	b.WriteString("release: refused: ")
	if len(r.Removed) > 0 {
		b.WriteString("what has to go by the list of removals was used:")
		for _, s := range r.Removed {
			b.WriteString("\n\t" + s)
		}
		b.WriteString("\n\t(build and train again with the list, or go back to a checkpoint that did not see it)")
		return b.String()
	}
	if len(r.Secrets) > 0 {
		b.WriteString("what looks like secrets or personal paths would be published:")
		for _, s := range r.Secrets {
			b.WriteString("\n\t" + s)
		}
		return b.String()
	}
	b.WriteString(r.Decision.Why)
	for _, f := range r.Decision.Findings {
		if f.Verdict == rights.Allowed {
			continue
		}
		fmt.Fprintf(&b, "\n\t%s %s (%s): %s; %d documents, %.1f %% of the tokens", f.Verdict, f.Section, cmp.Or(f.License, "unknown"), f.Reason, f.Documents, 100*f.Share)
		if len(f.Examples) > 0 {
			b.WriteString(", such as " + strings.Join(f.Examples[:min(3, len(f.Examples))], ", "))
		}
	}
	b.WriteString("\n\t(leave the sections out, or record a decision about them)")
	return b.String()
}

// Validate reports everything that is missing.
func (o *Options) Validate() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf("release: "+format, args...)) }
	if o.Checkpoint == "" || o.Out == "" || o.Name == "" {
		bad("checkpoint %q, out %q and name %q are needed", o.Checkpoint, o.Out, o.Name)
	}
	if strings.ContainsAny(o.Name, "\n\r") {
		bad("the name %q has a line break", o.Name)
	}
	if err := rights.CheckDate(o.Policy.Date); err != nil || o.Policy.Date == "" {
		bad("the day of the release, %q, is needed as YYYY-MM-DD", o.Policy.Date)
	}
	if len(o.Languages) == 0 {
		bad("no languages")
	}
	for _, r := range o.Results {
		if r.Label == "" || r.Metric == "" {
			bad("a result has no label or metric: %+v", r)
		}
		if r.Difference.N > 0 && math.IsNaN(r.Difference.Value) {
			bad("%s: the difference of %d items is not a number", r.Label, r.Difference.N)
		}
	}
	for name := range o.Files {
		if strings.ContainsAny(name, `/\`) || strings.HasPrefix(name, ".") || reserved[name] {
			bad("further file %q: not a plain name, or one that the release writes itself", name)
		}
	}
	for i, d := range o.GGUF {
		if !slices.Contains([]model.DType{model.F32, model.F16, model.BF16, model.Q8_0, model.Q4_0}, d) || slices.Contains(o.GGUF[:i], d) {
			bad("GGUF in %q: not one of F32, F16, BF16, Q8_0, Q4_0, or twice", d)
		}
	}
	return errors.Join(errs...)
}

// pageURL is the model's page: as the options say it, or on the hub where its name has an owner; else nothing is known.
func (o *Options) pageURL() string {
	if o.URL == "" && strings.Contains(o.Name, "/") {
		return "https://huggingface.co/" + o.Name
	}
	return o.URL
}

// ggufName is the name of the GGUF file in a number format: that of the model and of the format, as is the custom.
func (o *Options) ggufName(d model.DType) string {
	return path.Base(o.Name) + "-" + strings.ToLower(string(d)) + ".gguf"
}

var reserved = map[string]bool{
	"README.md": true, "ATTRIBUTION.md": true, "DATA.json": true, "DATA.md": true, "LICENSE": true, "SHA256SUMS": true, "config.json": true,
	"spdx.json": true, "croissant.json": true, "TRAINING-CONTENT.md": true, "TRAINING-CONTENT.json": true,
}
