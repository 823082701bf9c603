package eval

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"regexp"
	"slices"
	"strings"

	"ravn/internal/atomicfile"
	"ravn/stats"
)

// Modes of evaluation.
const (
	// ModeRavn asks every item once under a few draws of examples, reads whole labels, and gives intervals over items.
	ModeRavn = "ravn"
	// ModeScandEval2024 is ScandEval 9.1.2 of January 2024 with greedy decoding: ten bootstrap samples, each with its
	// own examples, first tokens of labels, prompts cut on the left, seqeval on lower-case tags.
	ModeScandEval2024 = "scandeval-2024"
)

// Score is a float64 that is null in JSON when it is NaN.
type Score float64

// MarshalJSON writes NaN as null.
func (s Score) MarshalJSON() ([]byte, error) {
	if math.IsNaN(float64(s)) || math.IsInf(float64(s), 0) {
		return []byte("null"), nil
	}
	return json.Marshal(float64(s))
}

// UnmarshalJSON reads null as NaN.
func (s *Score) UnmarshalJSON(data []byte) error {
	if string(data) == "null" {
		*s = Score(math.NaN())
		return nil
	}
	return json.Unmarshal(data, (*float64)(s))
}

// Record is the result of one model on one data set: the fields of ScandEval and EuroEval under their names, and
// under "ravn" what is needed to say where the number came from.
type Record struct {
	Dataset            string      `json:"dataset"`
	Task               string      `json:"task"`
	DatasetLanguages   []string    `json:"dataset_languages"`
	Model              string      `json:"model"`
	Results            Results     `json:"results"`
	NumModelParameters int64       `json:"num_model_parameters"` // -1 unknown
	MaxSequenceLength  int         `json:"max_sequence_length"`  // -1 unknown
	VocabularySize     int         `json:"vocabulary_size"`      // -1 unknown
	Generative         bool        `json:"generative"`
	FewShot            bool        `json:"few_shot"`
	ValidationSplit    bool        `json:"validation_split"`
	ScandEvalVersion   string      `json:"scandeval_version,omitempty"` // of the program that made the record, where it was ScandEval
	EuroEvalVersion    string      `json:"euroeval_version,omitempty"`
	GenerativeType     string      `json:"generative_type,omitempty"` // base, instruction_tuned, reasoning
	Merge              bool        `json:"merge,omitempty"`           // of other models
	License            string      `json:"license,omitempty"`         // of the model
	Failed             int         `json:"num_failed_instances,omitempty"`
	Ravn               *Provenance `json:"ravn,omitempty"` // absent in records of other programs
}

// Results are the scores of each iteration and their summary. Raw values are 0 to 1 (MCC from -1), those of question
// answering and bits per byte as they are; totals are in percent. Names in Total are test_METRIC and test_METRIC_se,
// the latter holding 1.96 standard errors, as ScandEval has it.
type Results struct {
	Raw   RawResults       `json:"raw"`
	Total map[string]Score `json:"total"`
}

// RawResults holds one object of metrics an iteration. EuroEval from version 13 on writes the bare list.
type RawResults struct {
	Test []map[string]Score `json:"test"`
}

// UnmarshalJSON reads both forms.
func (r *RawResults) UnmarshalJSON(data []byte) error {
	if bytes.HasPrefix(bytes.TrimSpace(data), []byte("[")) {
		return json.Unmarshal(data, &r.Test)
	}
	type plain RawResults
	return json.Unmarshal(data, (*plain)(r))
}

// Provenance says how a record came about.
type Provenance struct {
	Version     string   `json:"version,omitempty"` // of ravn
	Mode        string   `json:"mode"`
	Quirks      []string `json:"quirks,omitempty"` // of ScandEval that were copied
	Primary     string   `json:"primary"`          // the metric that counts on the leaderboard
	LowerBetter bool     `json:"lower_better,omitempty"`
	ModelHash   string   `json:"model_hash,omitempty"`
	DataHash    string   `json:"data_hash"`            // of the rows, not of the files
	PromptsHash string   `json:"prompts_hash"`         // of every prompt in order
	StandsFor   string   `json:"stands_for,omitempty"` // the ScandEval data set that this one replaces
	DataLicense string   `json:"data_license,omitempty"`
	Small       bool     `json:"small,omitempty"`   // small or synthetic material
	Items       int      `json:"items"`             // rows asked
	RowsInSplit int      `json:"rows_in_split"`     // rows there are
	Limit       int      `json:"limit,omitempty"`   // 0: all rows
	Iterations  int      `json:"iterations"`        // draws of examples
	Prompts     int      `json:"prompts"`           // distinct prompts that were run
	Grammar     string   `json:"grammar,omitempty"` // that answers were kept to
	Shots       ShotUse  `json:"shots"`
	Answers     Answers  `json:"answers"`

	Base          *Base                     `json:"base,omitempty"`          // the model it was compared with; nil: none
	EarlyStop     *EarlyStop                `json:"early_stop,omitempty"`    // nil: all draws were asked
	Contamination *Contamination            `json:"contamination,omitempty"` // nil: not checked
	Estimates     map[string]stats.Estimate `json:"estimates"`               // by metric, "METRIC/clean" or "METRIC/source=NAME"
	Predictions   string                    `json:"predictions,omitempty"`   // file with the answer to each item
	Warnings      []string                  `json:"warnings,omitempty"`
}

// Base is the model that a model was continued from, with which it was compared on the same items.
type Base struct {
	Model       string                    `json:"model"`
	ModelHash   string                    `json:"model_hash,omitempty"`
	Differences map[string]stats.Estimate `json:"differences"` // this model minus base, paired; named as Estimates are
}

// Difference is that of a metric; nil where there is none.
func (b *Base) Difference(metric string) *stats.Estimate {
	if b == nil {
		return nil
	}
	if d, ok := b.Differences[metric]; ok {
		return &d
	}
	return nil
}

// EarlyStop says that an evaluation ended when a comparison was resolved.
type EarlyStop struct {
	Draws   int     `json:"draws"`
	Of      int     `json:"of"`
	Against string  `json:"against"` // the model compared with
	Level   float64 `json:"level"`   // of each look
}

// ShotUse says how many examples the prompts carried.
type ShotUse struct {
	Asked     int     `json:"asked"`
	Least     int     `json:"least"`
	Mean      float64 `json:"mean"`
	Shortened int     `json:"shortened,omitempty"` // prompts that lost examples to fit the context
	Truncated int     `json:"truncated,omitempty"` // prompts that were cut on the left to fit the context
}

// Answers counts what a loss of form shows first in.
type Answers struct {
	Unreadable int            `json:"unreadable,omitempty"` // outputs that could not be parsed
	Empty      int            `json:"empty,omitempty"`
	Labels     map[string]int `json:"labels,omitempty"` // how often each label was chosen
}

// Contamination says how many of the asked items were found in the training text.
type Contamination struct {
	Against string `json:"against"` // what was compared: corpus and method
	Items   int    `json:"items"`
	Hit     int    `json:"hit"`
}

// Share is the part of the items that was hit.
func (c *Contamination) Share() float64 {
	if c == nil || c.Items == 0 {
		return 0
	}
	return float64(c.Hit) / float64(c.Items)
}

// AppendRecords adds records to a JSONL file, one a line. The file is replaced whole, so a program that dies leaves
// the old one.
func AppendRecords(path string, records ...Record) error {
	old, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("eval: %w", err)
	}
	if len(old) > 0 && old[len(old)-1] != '\n' {
		old = append(old, '\n')
	}
	buf := bytes.NewBuffer(old)
	enc := json.NewEncoder(buf)
	enc.SetEscapeHTML(false)
	for _, r := range records {
		if err := enc.Encode(r); err != nil {
			return fmt.Errorf("eval: record of %s on %s: %w", r.Model, r.Dataset, err)
		}
	}
	return atomicfile.WriteFile(path, buf.Bytes())
}

// PutRecord adds a record to a JSONL file in the place of the one of the same model, data set and way of asking, if it is
// there: an evaluation that is repeated, or goes on, leaves one record.
func PutRecord(path string, r Record) error {
	old, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("eval: %w", err)
	}
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	put := false
	for line := range bytes.Lines(old) {
		have, err := parseRecord(bytes.TrimSpace(line))
		if err != nil || have.asked() != r.asked() { // not ours to judge
			buf.Write(bytes.TrimRight(line, "\n"))
			buf.WriteByte('\n')
			continue
		}
		if put {
			continue
		}
		put = true
		if err := enc.Encode(r); err != nil {
			return fmt.Errorf("eval: record of %s on %s: %w", r.Model, r.Dataset, err)
		}
	}
	if !put {
		if err := enc.Encode(r); err != nil {
			return fmt.Errorf("eval: record of %s on %s: %w", r.Model, r.Dataset, err)
		}
	}
	return atomicfile.WriteFile(path, buf.Bytes())
}

// asked tells apart who was asked what, and how.
func (r *Record) asked() string {
	if r.Ravn == nil {
		return "" // of another program
	}
	p := r.Ravn
	return fmt.Sprintf("%q %q %q %q %q %v %v %v %d", r.Model, p.ModelHash, r.Dataset, p.Mode, p.Primary, p.Quirks, r.FewShot, r.ValidationSplit, p.Limit)
}

// bareNaN is Python's way to write a missing number.
var bareNaN = regexp.MustCompile(`([:\[,]\s*)(?:NaN|-?Infinity)\b`)

// ReadRecords reads a JSONL file of records, of ravn, ScandEval from version 9 on or EuroEval, old and new. All lines
// that cannot be read are reported.
func ReadRecords(path string) ([]Record, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("eval: %w", err)
	}
	var records []Record
	var errs []error
	for i, line := range bytes.Split(data, []byte("\n")) {
		line = bytes.TrimSpace(line)
		if len(line) == 0 {
			continue
		}
		r, err := parseRecord(line)
		if err != nil {
			errs = append(errs, fmt.Errorf("eval: %s:%d: %w", path, i+1, err))
			continue
		}
		records = append(records, r)
	}
	return records, errors.Join(errs...)
}

// Version is that of the program that made the record, "" unknown.
func (r *Record) Version() string {
	if r.Ravn != nil {
		return r.Ravn.Version
	}
	return cmp.Or(r.EuroEvalVersion, r.ScandEvalVersion)
}

// readSuffix sets flags that records of early versions wrote behind the model's name: "NAME (few-shot, val)".
func (r *Record) readSuffix() {
	name, marks, ok := strings.Cut(strings.TrimSuffix(r.Model, ")"), " (")
	if !ok || !strings.HasSuffix(r.Model, ")") {
		return
	}
	for _, mark := range strings.Split(marks, ",") {
		switch strings.TrimSpace(mark) {
		case "few-shot":
			r.FewShot, r.Generative = true, true
		case "zero-shot":
			r.FewShot, r.Generative = false, true
		case "val":
			r.ValidationSplit = true
		default:
			return
		}
	}
	r.Model = name
}

func parseRecord(line []byte) (Record, error) {
	if bytes.Contains(line, []byte(`"evaluation_results"`)) && bytes.Contains(line, []byte(`"schema_version"`)) {
		return parseEveryEval(line)
	}
	r := Record{FewShot: true, NumModelParameters: -1, MaxSequenceLength: -1, VocabularySize: -1}
	err := json.Unmarshal(line, &r)
	if err != nil {
		r = Record{FewShot: true, NumModelParameters: -1, MaxSequenceLength: -1, VocabularySize: -1}
		if e := json.Unmarshal(bareNaN.ReplaceAll(line, []byte("${1}null")), &r); e != nil {
			return r, fmt.Errorf("%w (not a record, or cut off; remove the line and evaluate again)", err)
		}
	}
	r.readSuffix()
	return r, r.complete()
}

// complete reports what a record cannot be without.
func (r *Record) complete() error {
	var missing []string
	for _, f := range []struct {
		name  string
		empty bool
	}{
		{"dataset", r.Dataset == ""},
		{"task", r.Task == ""},
		{"model", r.Model == ""},
		{"dataset_languages", len(r.DatasetLanguages) == 0},
		{"results.total", len(r.Results.Total) == 0},
	} {
		if f.empty {
			missing = append(missing, f.name)
		}
	}
	if len(missing) > 0 {
		return fmt.Errorf("no %s (not an evaluation record)", missing)
	}
	return nil
}

// Metrics returns the names of the metrics of r, sorted.
func (r *Record) Metrics() []string {
	var names []string
	for k := range r.Results.Total {
		if name, ok := strings.CutPrefix(k, "test_"); ok && !strings.HasSuffix(name, "_se") {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}
