// Package recipe reads what a run is asked to do: strict YAML to checked options, every default filled in.
//
// Paths in a recipe are relative to the recipe's own folder. In paths ${NAME} and ${NAME:-default} stand for
// environment variables, so that a recipe can say where data lies without naming a machine.
package recipe

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"

	"ravn/shard"
	"ravn/train"
)

// Recipe is one run, from sources to release.
type Recipe struct {
	Name      string    `yaml:"name"`               // letters, digits, dash, dot, underscore; also the run folder's name
	Note      string    `yaml:"note,omitempty"`     // one line for people, shown in the report and the card
	Seed      uint64    `yaml:"seed"`               // of everything random
	Register  string    `yaml:"rights,omitempty"`   // folder of the register of sources, claims and agreements; without one, what the data state about themselves counts
	Removals  string    `yaml:"removals,omitempty"` // list of documents that may not be used, made by ravn corpus remove; a file that is not there is empty
	Data      Data      `yaml:"data"`
	Tokenizer Tokenizer `yaml:"tokenizer"`
	Base      Base      `yaml:"base"`
	Train     Phase     `yaml:"train"` // the continued training
	Eval      Eval      `yaml:"eval"`
	Release   Release   `yaml:"release"`

	path   string // of the file, for errors and relative paths
	dir    string
	source []byte // the file, for errors
}

// Data says which text goes in and what is done to it.
type Data struct {
	Sources       []Source        `yaml:"sources"`
	Rights        string          `yaml:"rights"`        // "drop" removes text whose licence does not allow the release's purpose; "keep" leaves it to the release gate
	HeldoutShare  float64         `yaml:"heldout_share"` // of documents set aside, chosen by document
	Heldout       []Heldout       `yaml:"heldout,omitempty"`
	MinCharacters int             `yaml:"min_characters"`           // shorter documents are removed
	MinWords      int             `yaml:"min_words"`                // those with fewer words too
	MaxCharacters int             `yaml:"max_characters,omitempty"` // longer ones too; 0 has no limit
	Dedup         bool            `yaml:"dedup"`                    // exact duplicates on normalised text
	Decontaminate Decontamination `yaml:"decontaminate"`
	SeqTokens     int             `yaml:"seq_tokens"`       // T, tokens of a training row
	Separators    string          `yaml:"separators"`       // "bos_eos", "eos" or "none" (the 2024 run)
	AcrossDocs    bool            `yaml:"across_documents"` // attention and targets cross documents in a row (the 2024 run)
	Cleaning      `yaml:",inline"`
}

// Source is a folder or file of documents.
type Source struct {
	Path      string   `yaml:"path"`                 // folder or file
	Format    string   `yaml:"format"`               // "auto", "gigaword", "jsonl", "parquet", "warc", "text"
	Section   string   `yaml:"section,omitempty"`    // name for what has none
	Sections  []string `yaml:"sections,omitempty"`   // only these sections of a corpus; default all
	Exclude   []string `yaml:"exclude,omitempty"`    // all but these
	Language  string   `yaml:"language,omitempty"`   // code, for documents that say none
	License   string   `yaml:"license,omitempty"`    // for documents that say none
	Role      string   `yaml:"role"`                 // "target", "replay", or "anneal" for what is kept for the end
	MaxErrors int      `yaml:"max_errors,omitempty"` // unreadable records that are passed over in each section; they are listed with file and line
	Repair    bool     `yaml:"repair,omitempty"`     // read bytes that are not UTF-8 as Windows-1252
}

// Heldout is text that no step trains on and on which losses are measured.
type Heldout struct {
	Path     string `yaml:"path"`     // folder or file
	Language string `yaml:"language"` // code
	// What is measured during training, to keep that short; the final evaluation reads every document up to
	// eval.heldout_bytes. 0 has no limit.
	MaxBytes     int `yaml:"max_bytes,omitempty"`     // of each document
	MaxDocuments int `yaml:"max_documents,omitempty"` // of each source, the first ones
}

// Decontamination removes or marks training text that overlaps evaluation data.
type Decontamination struct {
	Against []string `yaml:"against,omitempty"` // names of data sets under eval.data
	Action  string   `yaml:"action"`            // "drop" or "mark"
}

// Tokenizer is either read or trained on the kept text.
type Tokenizer struct {
	Model  string `yaml:"model,omitempty"`  // .model, tokenizer.json or a folder
	Train  int    `yaml:"train,omitempty"`  // number of pieces to train
	Extend int    `yaml:"extend,omitempty"` // pieces learnt from the target text and added to model, which is base.model where it is left out; their embeddings begin as init says
	Init   string `yaml:"init,omitempty"`   // of extend: "mean" (default) of the old pieces that spell the new one, or "overlap": a mean of the old pieces whose letters are most alike, weighed by likeness
}

// Base is the model that training starts from: a folder, or one trained here first.
type Base struct {
	Model   string `yaml:"model,omitempty"`   // Hugging Face folder
	License string `yaml:"license,omitempty"` // of that folder; unknown licences hold a release
	Name    string `yaml:"name,omitempty"`    // for the card
	Config  *Shape `yaml:"config,omitempty"`  // of a new decoder; beside model, the shape that the folder has to have, so that plan works without it
	Phase   *Phase `yaml:"train,omitempty"`   // how the new decoder is trained before it is continued
}

// Shape is a new decoder; what is left out follows from the rest.
type Shape struct {
	HiddenSize       int     `yaml:"hidden_size"`                       // C
	IntermediateSize int     `yaml:"intermediate_size"`                 // width inside the feed-forward block
	Layers           int     `yaml:"num_hidden_layers"`                 // L
	Heads            int     `yaml:"num_attention_heads"`               // H
	KeyValueHeads    int     `yaml:"num_key_value_heads"`               // K; default H
	MaxPositions     int     `yaml:"max_position_embeddings,omitempty"` // default data.seq_tokens
	RopeTheta        float64 `yaml:"rope_theta,omitempty"`              // base of the rotary positions; default 10000
	SlidingWindow    int     `yaml:"sliding_window,omitempty"`          // tokens that attention looks back; default all
	VocabSize        int     `yaml:"vocab_size,omitempty"`              // default: the tokenizer's
	Tied             bool    `yaml:"tie_word_embeddings,omitempty"`     // output and input share one matrix
}

// Phase is one training phase: what is mixed, and how it is trained.
type Phase struct {
	From          string             `yaml:"from,omitempty"`        // checkpoint of another run to branch off from, its moments and step too: a decay from a stable phase
	Mixture       []shard.Share      `yaml:"mixture,omitempty"`     // sections, or "role:replay", "language:en" for all such by their tokens; empty takes all target sections by their tokens
	Stages        []Stage            `yaml:"stages,omitempty"`      // instead of mixture: parts of the phase with mixtures of their own, in order
	MaxEpochs     map[string]float64 `yaml:"max_epochs,omitempty"`  // section, or group as in mixture → how often it is read at most, the base's training here included; then its share goes to the others of its role
	Temperature   float64            `yaml:"temperature,omitempty"` // of languages within a group: shares by tokens^(1/temperature); 1, the default, is by tokens, more lifts small languages
	train.Options `yaml:",inline"`
}

// Stage is a part of a phase with its own mixture. Its length is steps or share; the last stage may leave both out and
// takes the rest.
type Stage struct {
	Steps   int           `yaml:"steps,omitempty"` // of the stage
	Share   float64       `yaml:"share,omitempty"` // instead: of the phase's steps
	Mixture []shard.Share `yaml:"mixture"`         // as the phase's
}

// StageSteps are the lengths of the phase's stages, which add up to its steps. A phase without stages is one.
func (p Phase) StageSteps() ([]int, error) {
	if len(p.Stages) == 0 {
		return []int{p.Steps}, nil
	}
	left := p.Steps
	var steps []int
	for i, s := range p.Stages {
		n := s.Steps
		switch {
		case s.Steps != 0 && s.Share != 0:
			return nil, fmt.Errorf("stages[%d] has steps and a share; give one of them", i)
		case s.Share != 0:
			n = int(math.Round(s.Share * float64(p.Steps)))
		case s.Steps == 0 && i == len(p.Stages)-1:
			n = left
		}
		if n < 1 || n > left {
			return nil, fmt.Errorf("stages[%d] has %d steps, with %d of %d left", i, n, left, p.Steps)
		}
		left -= n
		steps = append(steps, n)
	}
	if left != 0 {
		return nil, fmt.Errorf("stages end %d steps before the phase does (the last one may leave out steps and share)", left)
	}
	return steps, nil
}

// Mixtures are the mixtures of the phase's stages.
func (p Phase) Mixtures() [][]shard.Share {
	if len(p.Stages) == 0 {
		return [][]shard.Share{p.Mixture}
	}
	var all [][]shard.Share
	for _, s := range p.Stages {
		all = append(all, s.Mixture)
	}
	return all
}

// Unordered is the phase without what decides the order of batches, which a checkpoint knows on its own.
func (p Phase) Unordered() Phase {
	p.Mixture, p.Stages, p.MaxEpochs, p.Temperature = nil, nil, nil, 0
	return p
}

// HeldoutName is the data set that the held-out text makes.
const HeldoutName = "heldout"

// Eval says how base and result are measured.
type Eval struct {
	Data       string   `yaml:"data,omitempty"`     // folder of data sets
	Datasets   []string `yaml:"datasets,omitempty"` // their names in that folder
	Mode       string   `yaml:"mode"`               // "ravn" or "scandeval-2024"
	Iterations int      `yaml:"iterations"`         // bootstrap iterations, 10 in the field
	Limit      int      `yaml:"limit,omitempty"`    // test items of a data set at most; recorded
	// Limits of single data sets, in place of Limit: those that are answered by writing text cost most. That of
	// "heldout" is of each source; without one all its documents are read.
	Limits       map[string]int `yaml:"limits,omitempty"`
	HeldoutBytes int            `yaml:"heldout_bytes"` // of one held-out document at most
}

// Release says what may be published and under which policy.
type Release struct {
	Purpose    string `yaml:"purpose"`              // "release" or "research"
	ShareAlike string `yaml:"share_alike"`          // "allow" or "refuse"
	ModelName  string `yaml:"model_name,omitempty"` // on the card; default the recipe's name
	Provider   string `yaml:"provider,omitempty"`   // who publishes the model, for the documents of the release
	Contact    string `yaml:"contact,omitempty"`    // address of the provider
	URL        string `yaml:"url,omitempty"`        // page of the model; default its page on the hub, where the name has an owner

	GGUF []string `yaml:"gguf,omitempty"` // number formats of GGUF files beside the folder: f32, f16, bf16, q8_0, q4_0
}

// Default is a recipe with every default; a file is read over it.
func Default() Recipe {
	return Recipe{
		Seed: 17,
		Data: Data{
			Rights: "keep", HeldoutShare: 0.01, MinCharacters: 20, MinWords: 3, Dedup: true,
			Decontaminate: Decontamination{Action: "drop"}, SeqTokens: 512, Separators: "bos_eos",
			Cleaning: Cleaning{MemoryMB: 1024},
		},
		Train:   Phase{Options: train.DefaultOptions()},
		Eval:    Eval{Mode: "ravn", Iterations: 10, HeldoutBytes: 100_000},
		Release: Release{Purpose: "release", ShareAlike: "allow"},
	}
}

// Load reads and checks a recipe file.
func Load(path string) (*Recipe, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("recipe: %w", err)
	}
	return Parse(data, path)
}

// UnmarshalYAML reads a phase over the default options.
func (p *Phase) UnmarshalYAML(unmarshal func(any) error) error {
	type plain Phase
	v := plain{Options: train.DefaultOptions()}
	if err := unmarshal(&v); err != nil {
		return err
	}
	*p = Phase(v)
	return nil
}

// Parse reads and checks a recipe; path is where it came from.
func Parse(data []byte, path string) (*Recipe, error) {
	r := Default()
	if err := decode(data, &r, yaml.Strict()); err != nil {
		return nil, fmt.Errorf("recipe: %s", yamlError(path, err))
	}
	r.path, r.source = path, data
	dir, err := filepath.Abs(filepath.Dir(path))
	if err != nil {
		return nil, fmt.Errorf("recipe: %w", err)
	}
	r.dir = dir
	r.fill()
	if err := r.Validate(); err != nil {
		return nil, err
	}
	return &r, nil
}

// decode reads YAML. The library panics on some input that is not meant for it, such as a tag in front of a
// list that is none; that is bad input like any other.
func decode(data []byte, to any, options ...yaml.DecodeOption) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("the YAML cannot be read: %v (recipes use plain keys, lists and values, without tags or anchors)", p)
		}
	}()
	return yaml.UnmarshalWithOptions(data, to, options...)
}

var (
	mistyped = regexp.MustCompile(`^(?:cannot unmarshal (.+) into Go (?:struct field \S+ of type|value of type)|(\S+) was used where) (\S+)`)
	excerpt  = regexp.MustCompile(`(?m)^> *[0-9]+ \|(.*)$`) // the line that an error of the library's is about
)

// wordsFor is a type of Go's in the words of docs/recipe.md.
func wordsFor(t string) string {
	switch {
	case t == "string":
		return "text"
	case t == "bool":
		return "true or false"
	case strings.HasPrefix(t, "float"):
		return "a number"
	case strings.HasPrefix(t, "uint"):
		return "a whole number from 0 on"
	case t == "int", t == "int64":
		return "a whole number"
	case strings.HasPrefix(t, "[]"), t == "slice", t == "sequence":
		return "a list"
	case strings.HasPrefix(t, "map"), t == "struct", strings.Contains(t, "."):
		return "a mapping {name: value}"
	}
	return t
}

var position = regexp.MustCompile(`^\[(\d+):(\d+)\] `)

// yamlError turns the library's "[line:column] what" and its excerpt into "file:line: what".
func yamlError(path string, err error) string {
	text := yaml.FormatError(err, false, false)
	where := path
	if m := position.FindStringSubmatch(text); m != nil {
		where = path + ":" + m[1]
		text = text[len(m[0]):]
	}
	what, _, _ := strings.Cut(text, "\n")
	if m := mistyped.FindStringSubmatch(what); m != nil {
		what = fmt.Sprintf("%s where %s belongs (see docs/recipe.md for the fields)", wordsFor(m[1]+m[2]), wordsFor(m[3]))
		if at := excerpt.FindStringSubmatch(text + "\n" + yaml.FormatError(err, false, true)); at != nil {
			what += ": " + strings.TrimSpace(at[1])
		}
	}
	switch {
	case strings.Contains(what, "unknown field"):
		what += " (see docs/recipe.md for the fields)"
	case strings.Contains(what, "duplicate"), strings.Contains(what, "already defined"):
		what += " (keep one of them)"
	}
	return where + ": " + what
}

func (r *Recipe) fill() {
	for i := range r.Data.Sources {
		s := &r.Data.Sources[i]
		if s.Format == "" {
			s.Format = "auto"
		}
		if s.Role == "" {
			s.Role = "target"
		}
	}
	if t := &r.Tokenizer; t.Extend > 0 && t.Model == "" && t.Train == 0 {
		t.Model = r.Base.Model
	}
	r.Train.Fill()
	if r.Base.Phase != nil {
		r.Base.Phase.Fill()
	}
	if s := &r.Train.Schedule; s.StartAtBase && r.Base.Phase != nil {
		s.StartLR = r.Base.Phase.Schedule.LR(r.Base.Phase.Steps, r.Base.Phase.Steps)
	} else if s.StartAtBase && s.StartLR == 0 && r.Base.Model != "" { // a resolved recipe has it
		if path, err := r.Path(r.Base.Model); err == nil {
			s.StartLR, _ = train.RateOf(path)
		}
	}
	if s := r.Base.Config; s != nil {
		if s.KeyValueHeads == 0 {
			s.KeyValueHeads = s.Heads
		}
		if s.MaxPositions == 0 {
			s.MaxPositions = r.Data.SeqTokens
		}
		if s.RopeTheta == 0 {
			s.RopeTheta = 10000
		}
	}
	if r.Release.ModelName == "" {
		r.Release.ModelName = r.Name
	}
}

var nameForm = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]*$`)

// Validate reports every problem of r, not only the first.
func (r *Recipe) Validate() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	oneOf := func(field, v string, allowed ...string) {
		for _, a := range allowed {
			if v == a {
				return
			}
		}
		bad("%s %q is unknown (%s)", field, v, strings.Join(allowed, ", "))
	}
	r.checkWhole(bad)
	if !nameForm.MatchString(r.Name) {
		bad("name %q must be letters, digits, dot, dash, underscore", r.Name)
	}
	if len(r.Data.Sources) == 0 {
		bad("data.sources is empty (add at least one folder or file of documents)")
	}
	for i, s := range r.Data.Sources {
		at := fmt.Sprintf("data.sources[%d]", i)
		if s.Path == "" {
			bad("%s has no path", at)
		}
		oneOf(at+".format", s.Format, "auto", "gigaword", "jsonl", "parquet", "warc", "text")
		if s.MaxErrors < 0 {
			bad("%s.max_errors %d must not be negative", at, s.MaxErrors)
		}
		oneOf(at+".role", s.Role, "target", "replay", "anneal")
	}
	oneOf("data.rights", r.Data.Rights, "drop", "keep")
	oneOf("data.separators", r.Data.Separators, "bos_eos", "eos", "none")
	r.Data.Cleaning.validate(bad)
	oneOf("data.decontaminate.action", r.Data.Decontaminate.Action, "drop", "mark")
	if r.Data.HeldoutShare < 0 || r.Data.HeldoutShare >= 1 {
		bad("data.heldout_share %g must lie in [0, 1)", r.Data.HeldoutShare)
	}
	if r.Data.SeqTokens < 2 {
		bad("data.seq_tokens %d must be at least 2", r.Data.SeqTokens)
	}
	if r.Data.MinCharacters < 0 || r.Data.MinWords < 0 || r.Data.MaxCharacters < 0 {
		bad("data.min_characters, min_words and max_characters must not be negative")
	}
	for i, h := range r.Data.Heldout {
		if h.Path == "" || h.Language == "" {
			bad("data.heldout[%d] needs path and language", i)
		}
	}
	if (r.Tokenizer.Model == "") == (r.Tokenizer.Train == 0) {
		bad("tokenizer needs either model (a file or folder) or train (a number of pieces)")
	}
	if r.Tokenizer.Train != 0 && r.Tokenizer.Train < 300 {
		bad("tokenizer.train %d is too small: 256 bytes and the control pieces come first (at least 300)", r.Tokenizer.Train)
	}
	if r.Tokenizer.Extend != 0 && (r.Tokenizer.Extend < 0 || r.Tokenizer.Train != 0 || r.Base.Model == "") {
		bad("tokenizer.extend %d must be positive and is for a base.model with its tokenizer (a new one is made as large as wanted with tokenizer.train)", r.Tokenizer.Extend)
	}
	if r.Tokenizer.Extend > 0 {
		oneOf("tokenizer.init", cmp.Or(r.Tokenizer.Init, "mean"), "mean", "overlap")
	} else if r.Tokenizer.Init != "" {
		bad("tokenizer.init %q is for tokenizer.extend, which is not given", r.Tokenizer.Init)
	}
	if r.Base.Model == "" && r.Base.Config == nil {
		bad("base needs model (a Hugging Face folder) or config (a new decoder)")
	}
	if r.Base.Model == "" && r.Base.Config != nil && r.Base.Phase == nil {
		bad("base.config needs base.train: a new decoder has to be trained before it can be continued")
	}
	if r.Base.Model != "" && r.Base.Phase != nil {
		bad("base.train is for a new decoder; base.model is taken as it is")
	}
	if p := r.Base.Phase; p != nil {
		if p.From != "" || p.Schedule.StartAtBase || p.Guard != nil || p.Adapter != nil {
			bad("base.train: from, guard, adapter and schedule.start_at_base are for the continued training")
		}
		r.checkPhase("base.train", *p, bad)
	}
	r.checkPhase("train", r.Train, bad)
	if a := r.Train.Adapter; a != nil && r.Tokenizer.Extend > 0 && !slices.Contains(a.ModulesToSave, "embed_tokens") {
		bad("%strain.adapter: tokenizer.extend adds rows to the embedding, which no adapter trains (add embed_tokens to modules_to_save, and lm_head unless the two are tied)", r.line("train.adapter"))
	}
	if s := r.Train.Schedule; s.StartAtBase && r.Base.Phase == nil && s.StartLR == 0 {
		bad("%strain.schedule.start_at_base: the base is not trained here, and its folder is no checkpoint of ravn's that says its last rate (give start_lr)", r.line("train.schedule.start_at_base"))
	}
	if g := r.Train.Guard; g != nil {
		for _, t := range g.Tasks {
			if !slices.Contains(r.Eval.Datasets, t.Dataset) {
				bad("%strain.guard.tasks: %q has to be one of eval.datasets (%s)", r.line("train.guard"), t.Dataset, strings.Join(r.Eval.Datasets, ", "))
			}
		}
	}
	oneOf("eval.mode", r.Eval.Mode, "ravn", "scandeval-2024")
	if r.Eval.Iterations < 1 || r.Eval.Limit < 0 || r.Eval.HeldoutBytes < 1 {
		bad("eval.iterations and eval.heldout_bytes must be positive, eval.limit not negative")
	}
	for name, n := range r.Eval.Limits {
		if n < 0 || name != HeldoutName && !slices.Contains(r.Eval.Datasets, name) {
			bad("eval.limits: %s: %d must not be negative, and %s has to be one of eval.datasets, or %s", name, n, name, HeldoutName)
		}
	}
	if len(r.Eval.Datasets)+len(r.Data.Decontaminate.Against) > 0 && r.Eval.Data == "" {
		bad("eval.data (the folder of data sets) is needed for eval.datasets and data.decontaminate.against")
	}
	oneOf("release.purpose", r.Release.Purpose, "release", "research")
	oneOf("release.share_alike", r.Release.ShareAlike, "allow", "refuse")
	for i, d := range r.Release.GGUF {
		oneOf("release.gguf", d, "f32", "f16", "bf16", "q8_0", "q4_0")
		if slices.Contains(r.Release.GGUF[:i], d) {
			bad("release.gguf names %s twice", d)
		}
	}
	if len(errs) > 0 {
		return fmt.Errorf("recipe: %s: %w", r.path, errors.Join(errs...))
	}
	return nil
}

func (r *Recipe) checkPhase(name string, p Phase, bad func(string, ...any)) {
	for k, mixture := range p.Mixtures() {
		at := name
		if len(p.Stages) > 0 {
			at = fmt.Sprintf("%s.stages[%d]", name, k)
			if len(mixture) == 0 {
				bad("%s.mixture is empty", at)
			}
		}
		for i, s := range mixture {
			if s.Section == "" || !(s.Share > 0) {
				bad("%s%s.mixture[%d] needs a section and a positive share", r.line(fmt.Sprintf("%s.mixture[%d]", at, i)), at, i)
			}
			r.checkGroup(fmt.Sprintf("%s.mixture[%d]", at, i), s.Section, bad)
		}
	}
	if len(p.Stages) > 0 && len(p.Mixture) > 0 {
		bad("%s has a mixture and stages; give one of them", name)
	}
	if _, err := p.StageSteps(); err != nil && p.Steps > 0 {
		bad("%s.%v", name, err)
	}
	if p.Temperature != 0 && p.Temperature < 1 {
		bad("%s.temperature %g must be at least 1", name, p.Temperature)
	}
	for _, section := range slices.Sorted(maps.Keys(p.MaxEpochs)) {
		if most := p.MaxEpochs[section]; section == "" || !(most > 0) {
			bad("%s%s.max_epochs: %s: %g must be positive", r.line(name+".max_epochs"), name, section, most)
		}
		r.checkGroup(name+".max_epochs", section, bad)
	}
	if g := p.Guard; g != nil {
		r.checkGuard(name+".guard", g, bad)
	}
	if err := p.Options.Validate(); err != nil {
		for _, line := range strings.Split(err.Error(), "\n") {
			bad("%s%s.%s", r.line(name+"."+fieldOf.FindString(line)), name, line)
		}
	}
}

// checkGroup reports a group of sections, "role:NAME" or "language:CODE", that no text of the recipe can be in. Names of
// sections, and languages that documents say themselves, are known only when the text has been read.
func (r *Recipe) checkGroup(at, group string, bad func(string, ...any)) {
	kind, value, grouped := strings.Cut(group, ":")
	switch {
	case !grouped:
	case kind != "role" && kind != "language":
		bad("%s%s: %q is no group (role:NAME and language:CODE are)", r.line(at), at, group)
	case kind == "role" && !slices.ContainsFunc(r.Data.Sources, func(s Source) bool { return s.Role == value }):
		bad("%s%s: %q stands for no text: no source has the role %q (roles are target, replay and anneal, given under data.sources)", r.line(at), at, group, value)
	}
}

// checkGuard reports limits on languages that no held-out text of the recipe is in, and replay that is not there to be raised.
func (r *Recipe) checkGuard(at string, g *train.Guard, bad func(string, ...any)) {
	var languages []string
	for _, h := range r.Data.Heldout {
		languages = append(languages, h.Language)
	}
	slices.Sort(languages)
	languages = slices.Compact(languages)
	for _, group := range slices.Sorted(maps.Keys(g.Retain)) {
		language, _, _ := strings.Cut(group, "/")
		if len(languages) > 0 && !slices.Contains(languages, language) {
			bad("%s%s.retain: %s is not measured: data.heldout has text in %s (add some in %s, or leave the limit out)", r.line(at+".retain"), at, group, strings.Join(languages, ", "), language)
		}
	}
	if g.OnBreach == "raise_replay" && !slices.ContainsFunc(r.Data.Sources, func(s Source) bool { return s.Role == "replay" }) {
		bad("%s%s.on_breach: raise_replay needs a source with the role replay, and a share of it in the mixture", r.line(at+".on_breach"), at)
	}
}

// checkWhole reports fractions where whole numbers belong: the YAML library would cut 4.5 to 4.
func (r *Recipe) checkWhole(bad func(string, ...any)) {
	var raw any
	if decode(r.source, &raw) == nil {
		fractions(raw, reflect.TypeOf(*r), "", func(path string, x float64) {
			bad("%s%s: %g where a whole number belongs", r.line(path), path, x)
		})
	}
}

func fractions(v any, t reflect.Type, path string, found func(path string, x float64)) {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch v := v.(type) {
	case float64:
		if k := t.Kind(); k >= reflect.Int && k <= reflect.Uint64 && v != math.Trunc(v) {
			found(path, v)
		}
	case []any:
		if t.Kind() == reflect.Slice {
			for i, x := range v {
				fractions(x, t.Elem(), fmt.Sprintf("%s[%d]", path, i), found)
			}
		}
	case map[string]any:
		for _, name := range slices.Sorted(maps.Keys(v)) {
			at := strings.TrimPrefix(path+"."+name, ".")
			if t.Kind() == reflect.Map {
				fractions(v[name], t.Elem(), at, found)
			} else if of := fieldType(t, name); of != nil {
				fractions(v[name], of, at, found)
			}
		}
	}
}

// fieldType is the type of the field that YAML calls name; nil where there is none.
func fieldType(t reflect.Type, name string) reflect.Type {
	if t.Kind() != reflect.Struct {
		return nil
	}
	for i := range t.NumField() {
		f := t.Field(i)
		tag, rest, _ := strings.Cut(f.Tag.Get("yaml"), ",")
		if strings.Contains(rest, "inline") {
			if of := fieldType(f.Type, name); of != nil {
				return of
			}
		} else if tag == name {
			return f.Type
		}
	}
	return nil
}

// fieldOf finds the path of the field that a message begins with: "adapter.rank".
var fieldOf = regexp.MustCompile(`^[a-z0-9_.]*[a-z0-9_]`)

// line says where the recipe's file has the field at path, or the nearest of those that hold it: "line 7: "; "" where it
// has none of them.
func (r *Recipe) line(path string) string {
	for path != "" {
		p, err := yaml.PathString("$." + path)
		if err == nil {
			if node, err := p.ReadNode(bytes.NewReader(r.source)); err == nil && node.GetToken() != nil {
				return fmt.Sprintf("line %d: ", node.GetToken().Position.Line)
			}
		}
		path = path[:max(0, strings.LastIndexByte(path, '.'))]
	}
	return ""
}

var variable = regexp.MustCompile(`\$\{([A-Za-z_][A-Za-z0-9_]*)(:-([^}]*))?\}`)

// Path resolves a path of the recipe: variables first, then relative to the recipe's folder.
func (r *Recipe) Path(p string) (string, error) {
	var missing []string
	p = variable.ReplaceAllStringFunc(p, func(m string) string {
		parts := variable.FindStringSubmatch(m)
		if v := os.Getenv(parts[1]); v != "" {
			return v
		}
		if parts[2] == "" {
			missing = append(missing, parts[1])
		}
		return parts[3]
	})
	if len(missing) > 0 {
		return "", fmt.Errorf("recipe: %s: environment variable %s is not set (it says where the recipe's data lies)", r.path, strings.Join(missing, ", "))
	}
	if !filepath.IsAbs(p) {
		p = filepath.Join(r.dir, p)
	}
	return filepath.Clean(p), nil
}

// Dataset is the folder of an evaluation data set.
func (r *Recipe) Dataset(name string) (string, error) {
	dir, err := r.Path(r.Eval.Data)
	return filepath.Join(dir, name), err
}

// Resolved is the recipe as YAML with every default filled in. Paths stay as they were written.
func (r *Recipe) Resolved() ([]byte, error) {
	out, err := yaml.MarshalWithOptions(r, yaml.Indent(2))
	if err != nil {
		return nil, fmt.Errorf("recipe: %w", err)
	}
	return out, nil
}

// Deciding is the phase without what has no say in the numbers.
func (p Phase) Deciding() Phase {
	p.Options = p.Options.Deciding()
	return p
}

// Deciding is the part of the recipe that decides what the training of the base does, or what continuing it does, as YAML.
func (r *Recipe) Deciding(continued bool) (string, error) {
	part := struct {
		Seed      uint64    `yaml:"seed"`
		Data      Data      `yaml:"data"`
		Tokenizer Tokenizer `yaml:"tokenizer"`
		Base      Base      `yaml:"base"`
		Train     *Phase    `yaml:"train,omitempty"`
	}{r.Seed, r.Data, r.Tokenizer, r.Base, nil}
	if p := part.Base.Phase; p != nil {
		d := p.Deciding()
		part.Base.Phase = &d
	}
	if continued {
		d := r.Train.Deciding()
		part.Train = &d
	}
	out, err := yaml.MarshalWithOptions(part, yaml.Indent(2))
	if err != nil {
		return "", fmt.Errorf("recipe: %w", err)
	}
	return string(out), nil
}

// Hash is of any part of a recipe: the SHA-256 of its YAML, in hex.
func Hash(part any) (string, error) {
	out, err := yaml.Marshal(part)
	if err != nil {
		return "", fmt.Errorf("recipe: %w", err)
	}
	sum := sha256.Sum256(out)
	return hex.EncodeToString(sum[:]), nil
}

// File is the path the recipe was read from.
func (r *Recipe) File() string { return r.path }
