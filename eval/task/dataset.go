// Package task knows the benchmark tasks: how a data set's rows become prompts, how answers are read and scored, and
// how two models are compared on the same items.
//
// A data set is a small YAML description (datasets/) and its rows, from JSONL or Parquet. In mode scandeval-2024 the
// chosen examples, bootstrap samples and prompts are byte for byte those of ScandEval 9.1.2.
package task

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"
)

// Names of tasks, as in records.
const (
	Acceptability = "linguistic-acceptability"
	Sentiment     = "sentiment-classification"
	Entities      = "named-entity-recognition"
	Questions     = "question-answering"
	Comprehension = "reading-comprehension"
	Summaries     = "summarization"
	Knowledge     = "knowledge"
	CommonSense   = "common-sense-reasoning"
	TextChoice    = "multiple-choice-reading-comprehension"
	WordInContext = "word-in-context"
	ErrorSpans    = "grammatical-error-detection"
	BitsPerByte   = "bits-per-byte"
)

// Label is an answer: what the data call it and the word that stands for it in prompts.
type Label struct {
	ID   string `yaml:"id"`
	Word string `yaml:"word"`
}

// Spec describes a data set: what is asked and in which words. A folder may bring its own as dataset.yaml.
type Spec struct {
	Name        string            `yaml:"name"`
	Task        string            `yaml:"task"`         // one of the names of tasks
	Languages   []string          `yaml:"languages"`    // codes: da, nb, nn, sv, en
	Source      string            `yaml:"source"`       // where the rows are from: an address, or hub:OWNER/NAME
	License     string            `yaml:"license"`      // of the rows; "unknown", or "none" where the source states none
	Benchmark   []string          `yaml:"benchmark"`    // lists it belongs to: scandeval-2024, euroeval
	StandsFor   string            `yaml:"stands_for"`   // the ScandEval data set whose place these rows take
	Synthetic   bool              `yaml:"synthetic"`    // made up; every table says so
	Note        string            `yaml:"note"`         //
	Rows        RowCounts         `yaml:"rows"`         // that are to be expected; 0 unknown
	Splits      map[string]string `yaml:"splits"`       // train, val, test: what the files are called
	Columns     map[string]string `yaml:"columns"`      // our fields: what the file calls them
	Prefix      string            `yaml:"prefix"`       // first paragraph of every prompt
	Template    string            `yaml:"template"`     // an example: {text}, {question}, and {label} or {target_text} for the answer
	Labels      []Label           `yaml:"labels"`       // in the order that examples go round; entities: the order of JSON keys
	ChoicesWord string            `yaml:"choices_word"` // multiple choice: the word above the options, where they are a column of their own
	Shots       int               `yaml:"shots"`        // examples in a prompt
	MaxTokens   int               `yaml:"max_tokens"`   // of an answer
}

// RowCounts are the rows of each split.
type RowCounts struct {
	Train int `yaml:"train"`
	Val   int `yaml:"val"`
	Test  int `yaml:"test"`
}

//go:embed datasets
var builtinYAML embed.FS

var builtin = func() map[string]Spec {
	files, err := builtinYAML.ReadDir("datasets")
	if err != nil {
		panic("task: " + err.Error())
	}
	m := make(map[string]Spec, len(files))
	for _, f := range files {
		data, err := builtinYAML.ReadFile("datasets/" + f.Name())
		if err != nil {
			panic("task: " + err.Error())
		}
		s, err := parseSpec(data, f.Name())
		if err != nil {
			panic(err)
		}
		m[s.Name] = s
	}
	return m
}()

func parseSpec(data []byte, where string) (Spec, error) {
	var s Spec
	if err := yaml.NewDecoder(bytes.NewReader(data), yaml.Strict()).Decode(&s); err != nil {
		return s, fmt.Errorf("task: %s: %w", where, err)
	}
	if err := s.Validate(); err != nil {
		return s, fmt.Errorf("%w (%s)", err, where)
	}
	return s, nil
}

// LookupSpec returns the description of a data set known by name.
func LookupSpec(name string) (Spec, bool) {
	s, ok := builtin[name]
	return s, ok
}

// SpecNames lists the data sets known by name, sorted.
func SpecNames() []string {
	names := make([]string, 0, len(builtin))
	for name := range builtin {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// Validate reports everything that is wrong with a description.
func (s *Spec) Validate() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if s.Name == "" {
		bad("no name")
	}
	if len(s.Languages) == 0 {
		bad("no languages")
	}
	if s.Task == BitsPerByte {
		return wrapSpec(s.Name, errs)
	}
	k, ok := kinds[s.Task]
	if !ok {
		bad("task %q is not known (known: %s)", s.Task, strings.Join(taskNames(), ", "))
		return wrapSpec(s.Name, errs)
	}
	for _, field := range k.fields() {
		if strings.Count(s.Template, field) != 1 {
			bad("template %q needs %s once", s.Template, field)
		}
	}
	if answer := " " + k.fields()[len(k.fields())-1]; !strings.HasSuffix(s.Template, answer) {
		bad("template %q does not end in %q", s.Template, answer)
	}
	for name := range s.Splits {
		if name != "train" && name != "val" && name != "test" {
			bad("splits: %q is none of train, val, test", name)
		}
	}
	for name := range s.Columns {
		if !slices.Contains(rowFields, name) {
			bad("columns: %q is none of %s", name, strings.Join(rowFields, ", "))
		}
	}
	if s.Shots < 0 || s.MaxTokens < 1 {
		bad("shots %d and max_tokens %d must be at least 0 and 1", s.Shots, s.MaxTokens)
	}
	if want := k.labels(); want > len(s.Labels) {
		bad("%d labels, task %s needs %d", len(s.Labels), s.Task, want)
	}
	seen := map[string]bool{}
	for _, l := range s.Labels {
		if l.ID == "" || l.Word == "" || seen[l.ID] || seen["word "+l.Word] {
			bad("label %q with word %q is empty or comes twice", l.ID, l.Word)
		}
		seen[l.ID], seen["word "+l.Word] = true, true
	}
	return wrapSpec(s.Name, errs)
}

func wrapSpec(name string, errs []error) error {
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("task: data set %q: %w", name, err)
	}
	return nil
}

func taskNames() []string {
	names := []string{BitsPerByte}
	for n := range kinds {
		names = append(names, n)
	}
	slices.Sort(names)
	return names
}

// Row is one item. Which fields it has depends on the task.
type Row struct {
	ID       string
	Text     string
	Label    string   // an ID of Spec.Labels
	Options  []string // multiple choice: the answers to choose from, in the order of Spec.Labels
	Target   string   // summaries
	Tokens   []string // entities
	Tags     []string // entities: IOB2, one a token
	Context  string   // questions
	Question string
	Answers  []string // questions: accepted answers, the first one is shown in examples
	Source   string   // texts: where it is from; results are given by source
	Language string   // texts
}

// Dataset is a description with its rows.
type Dataset struct {
	Spec
	Train, Val, Test []Row
}

// New makes a data set of rows at hand, and checks every one.
func New(s Spec, train, val, test []Row) (*Dataset, error) {
	d := &Dataset{Spec: s, Train: train, Val: val, Test: test}
	if err := s.Validate(); err != nil {
		return nil, err
	}
	var errs []error
	for _, part := range d.parts() {
		for i := range *part.rows {
			if err := s.check(&(*part.rows)[i]); err != nil {
				errs = append(errs, fmt.Errorf("task: data set %q: %s row %d: %w", s.Name, part.name, i, err))
			}
		}
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	return d, d.checkParts()
}

type part struct {
	name string
	rows *[]Row
}

func (d *Dataset) parts() []part {
	return []part{{"train", &d.Train}, {"val", &d.Val}, {"test", &d.Test}}
}

func (d *Dataset) checkParts() error {
	if len(d.Test) == 0 {
		return fmt.Errorf("task: data set %q has no test rows", d.Name)
	}
	if d.Shots > 0 && len(d.Train) < d.Shots {
		return fmt.Errorf("task: data set %q: %d examples a prompt, the train split has %d rows (lower shots)", d.Name, d.Shots, len(d.Train))
	}
	return nil
}

func (s *Spec) check(r *Row) error {
	if s.Task == BitsPerByte {
		return checkText(r)
	}
	return kinds[s.Task].check(s, r)
}

// Split returns the rows of "test" or "val".
func (d *Dataset) Split(name string) ([]Row, error) {
	switch name {
	case "test", "":
		return d.Test, nil
	case "val":
		if len(d.Val) == 0 {
			return nil, fmt.Errorf("task: data set %q has no val split", d.Name)
		}
		return d.Val, nil
	}
	return nil, fmt.Errorf("task: data set %q: split %q is not known (test or val)", d.Name, name)
}

// Hash identifies what is asked: description and rows.
func (d *Dataset) Hash() string {
	s := d.Spec
	s.Source, s.License, s.Benchmark, s.Note, s.Rows, s.Splits, s.Columns = "", "", nil, "", RowCounts{}, nil, nil
	h := sha256.New()
	enc := json.NewEncoder(h)
	enc.Encode(s)
	for _, p := range d.parts() {
		enc.Encode(*p.rows)
	}
	return hex.EncodeToString(h.Sum(nil))
}

// LoadDataset reads a folder with a file for each of train, val and test: JSON lines, also .gz and .zst, or Parquet, in
// the folder or in its folder data, as the Hugging Face hub has them. val may be missing, and train where no examples
// are shown. The description is dataset.yaml in the folder, or the one known by the folder's name. All bad rows are
// reported, up to ten a file.
func LoadDataset(dir string) (*Dataset, error) {
	spec, err := FolderSpec(dir)
	if err != nil {
		return nil, err
	}
	return LoadRows(dir, spec)
}

// LoadRows reads the rows of a folder under a description at hand.
func LoadRows(dir string, spec Spec) (*Dataset, error) {
	d := &Dataset{Spec: spec}
	var errs []error
	for _, p := range d.parts() {
		path, err := splitFile(dir, cmp.Or(spec.Splits[p.name], p.name))
		if errors.Is(err, os.ErrNotExist) && (p.name == "val" || p.name == "train" && spec.Shots == 0) {
			continue
		}
		if err == nil {
			*p.rows, err = readRows(path, &d.Spec)
		}
		if err != nil {
			errs = append(errs, err)
		}
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	return d, d.checkParts()
}

// Remarks says what the rows of d would make a score suffer from.
func (d *Dataset) Remarks() []string {
	var out []string
	add := func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }
	for i, want := range []int{d.Rows.Train, d.Rows.Val, d.Rows.Test} {
		if p := d.parts()[i]; want > 0 && len(*p.rows) != want {
			add("%d %s rows, the description says %d", len(*p.rows), p.name, want)
		}
	}
	key := func(r *Row) string {
		return strings.Join([]string{r.Text, r.Context, r.Question, strings.Join(r.Tokens, " ")}, "\x00")
	}
	shown := map[string]bool{}
	for i := range d.Train {
		shown[key(&d.Train[i])] = true
	}
	seen, labels := map[string]bool{}, map[string]bool{}
	repeated, leaked := 0, 0
	for i := range d.Test {
		k := key(&d.Test[i])
		if seen[k] {
			repeated++
		}
		if shown[k] {
			leaked++
		}
		seen[k], labels[d.Test[i].Label] = true, true
	}
	if repeated > 0 {
		add("%d test rows are repeated", repeated)
	}
	if leaked > 0 {
		add("%d test rows are also among the examples", leaked)
	}
	if _, named := kinds[d.Task].(entities); !named && d.Task != BitsPerByte {
		for _, l := range d.Labels {
			if !labels[l.ID] {
				add("no test row has the label %q", l.ID)
			}
		}
	}
	if d.License == "" || d.License == "unknown" || d.License == "none" {
		add("its licence is %s: look at the source (%s) before you pass rows on", cmp.Or(d.License, "unknown"), cmp.Or(d.Source, "not stated"))
	}
	return out
}

// splitFile finds the file of a split.
func splitFile(dir, split string) (string, error) {
	for _, pattern := range []string{
		split + ".jsonl", split + ".jsonl.gz", split + ".jsonl.zst", split + ".parquet",
		filepath.Join("data", split+"-*.parquet"), filepath.Join("data", split+".parquet"), filepath.Join("data", split+".jsonl"),
	} {
		found, err := filepath.Glob(filepath.Join(escapeGlob(dir), pattern))
		if err != nil {
			return "", fmt.Errorf("task: %s: %w", dir, err)
		}
		switch {
		case len(found) == 1:
			return found[0], nil
		case len(found) > 1:
			return "", fmt.Errorf("task: %s: %d files of split %s (%s, …); put them into one", dir, len(found), split, found[0])
		}
	}
	return "", fmt.Errorf("task: %s: no %s.jsonl and no %s.parquet: %w", dir, split, split, os.ErrNotExist)
}

func escapeGlob(dir string) string {
	return strings.NewReplacer(`\`, `\\`, "*", `\*`, "?", `\?`, "[", `\[`).Replace(dir)
}

// FolderSpec is the description of the data set in a folder.
func FolderSpec(dir string) (Spec, error) {
	path := filepath.Join(dir, "dataset.yaml")
	data, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		name := filepath.Base(filepath.Clean(dir))
		if s, ok := builtin[name]; ok {
			return s, nil
		}
		return Spec{}, fmt.Errorf("task: %s: data set %q is not known\n\t(known: %s; or describe it in %s)", dir, name, strings.Join(SpecNames(), ", "), path)
	}
	if err != nil {
		return Spec{}, fmt.Errorf("task: %w", err)
	}
	return parseSpec(data, path)
}
