package workflow

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"sync"

	"ravn/corpus"
	"ravn/internal/progress"
	"ravn/pipeline"
	"ravn/pipeline/clean"
	"ravn/pipeline/decontam"
	"ravn/pipeline/dedup"
	"ravn/pipeline/filter"
	"ravn/pipeline/langid"
	"ravn/recipe"
	"ravn/rights"
	"ravn/rights/register"
	"ravn/run"
)

// corpus reads the sources, judges every document and writes what is kept, what is held out, what is removed, and why.
func (f *Flow) corpus(ctx context.Context) error {
	in, err := f.corpusInputs()
	if err != nil {
		return err
	}
	outputs := []string{"corpus/summary.json", "corpus/sections"}
	return f.once("corpus", in, outputs, func(*run.StageRun) (string, error) {
		if err := f.keepRegister(); err != nil {
			return "", err
		}
		if err := f.keepRemovals(); err != nil {
			return "", err
		}
		sources, err := f.openSources()
		if err != nil {
			return "", err
		}
		stages, err := f.judges()
		if err != nil {
			return "", err
		}
		sum, err := pipeline.Build(ctx, sources, pipeline.Options{
			Out: f.Folder.CorpusDir(), Stages: stages, HeldoutShare: f.Recipe.Data.HeldoutShare, Seed: f.Recipe.Seed,
			Workers: f.Threads, Progress: f.Progress, Key: buildKey(in),
			MemoryBytes: int64(f.Recipe.Data.MemoryMB) << 20,
		})
		if err != nil {
			return "", err
		}
		return describeCorpus(sum), nil
	})
}

// buildVersion changes when the same inputs give another corpus, so that shards of an older build are not taken over.
const buildVersion = "2"

// buildKey is one line for all inputs.
func buildKey(in map[string]string) string {
	h := sha256.New()
	fmt.Fprintln(h, buildVersion)
	for _, k := range sortedKeys(in) {
		fmt.Fprintf(h, "%q %q\n", k, in[k])
	}
	return hex.EncodeToString(h.Sum(nil))
}

// corpusInputs hashes what the corpus is made of: the recipe's words and the files' contents.
func (f *Flow) corpusInputs() (map[string]string, error) {
	d := f.Recipe.Data
	in, err := hashed("recipe", []any{d.Sources, d.Rights, d.HeldoutShare, d.MinCharacters, d.MinWords, d.MaxCharacters, d.Dedup, d.Decontaminate, d.Cleaned(), f.Recipe.Release.Purpose, f.Recipe.Release.ShareAlike, f.Recipe.Seed})
	if err != nil {
		return nil, err
	}
	list, err := f.removals()
	if err != nil {
		return nil, err
	}
	if list != nil && len(list.Entries) > 0 {
		in["removals"] = list.Hash()
	}
	if d.Rights == "drop" {
		rights, err := f.rightsInput()
		if err != nil {
			return nil, err
		}
		in = inputs(in, rights)
	}
	if d.Language.Model != "" {
		if err := f.hashInto(in, d.Language.Model); err != nil {
			return nil, err
		}
	}
	for _, path := range append(slices.Clone(d.Addresses.Lists), d.Addresses.Signals) {
		if path == "" {
			continue
		}
		if err := f.hashInto(in, path); err != nil {
			return nil, err
		}
	}
	for _, s := range d.Sources {
		if err := f.hashInto(in, s.Path); err != nil {
			return nil, err
		}
	}
	return in, f.hashDatasets(in, d.Decontaminate.Against)
}

// hashDatasets adds the hashes of evaluation data sets.
func (f *Flow) hashDatasets(in map[string]string, names []string) error {
	for _, name := range names {
		dir, err := f.Recipe.Dataset(name)
		if err != nil {
			return err
		}
		if in["eval/"+name], err = hashPath(dir); err != nil {
			return err
		}
	}
	return nil
}

// hashInto adds the hash of a path of the recipe under the name it has there.
func (f *Flow) hashInto(in map[string]string, path string) error {
	full, err := f.Recipe.Path(path)
	if err != nil {
		return err
	}
	h, err := hashPath(full)
	if err != nil {
		return err
	}
	in[path] = h
	return nil
}

// openSources opens the recipe's sources as corpora, with the sections it asks for.
func (f *Flow) openSources() ([]*corpus.Corpus, error) {
	var all []*corpus.Corpus
	for _, s := range f.Recipe.Data.Sources {
		path, err := f.Recipe.Path(s.Path)
		if err != nil {
			return nil, err
		}
		c, err := corpus.Open(path, corpus.OpenOptions{Format: s.Format, Section: s.Section, Language: s.Language, License: s.License, MaxErrors: s.MaxErrors, Repair: s.Repair})
		if err != nil {
			return nil, err
		}
		if err := choose(c, s); err != nil {
			return nil, err
		}
		for _, section := range c.Sections {
			section.Role = s.Role
		}
		all = append(all, c)
	}
	return all, nil
}

// choose keeps the sections of c that s names and leaves out those that it excludes.
func choose(c *corpus.Corpus, s recipe.Source) error {
	var have []string
	for _, section := range c.Sections {
		have = append(have, section.Name)
	}
	for _, name := range s.Sections {
		if !slices.Contains(have, name) {
			return fmt.Errorf("workflow: %s has no section %q (it has %v)", s.Path, name, have)
		}
	}
	c.Sections = slices.DeleteFunc(c.Sections, func(x *corpus.Section) bool {
		return len(s.Sections) > 0 && !slices.Contains(s.Sections, x.Name) || slices.Contains(s.Exclude, x.Name)
	})
	return nil
}

// judges are the stages a document passes, in order.
func (f *Flow) judges() ([]pipeline.Stage, error) {
	d := f.Recipe.Data
	var stages []pipeline.Stage
	list, err := f.removals()
	if err != nil {
		return nil, err
	}
	if list != nil && len(list.Entries) > 0 {
		stages = append(stages, removalStage{list})
	}
	if d.Rights == "drop" {
		reg, err := f.register()
		if err != nil {
			return nil, err
		}
		stages = append(stages, &rightsStage{policy: f.policy(), register: reg, seen: map[string]pipeline.Verdict{}})
	}
	if a := d.Addresses; len(a.Lists) > 0 || a.Signals != "" {
		s, err := f.addressStage()
		if err != nil {
			return nil, err
		}
		stages = append(stages, s)
	}
	if d.Unicode {
		stages = append(stages, clean.Unicode{})
	}
	stages = append(stages, filter.New(filter.Options{MinChars: d.MinCharacters, MinWords: d.MinWords, MaxChars: d.MaxCharacters}))
	quality, err := filter.NewQuality(d.Filters...)
	if err != nil {
		return nil, err
	}
	stages = append(stages, quality)
	language, err := f.languageStage()
	if err != nil {
		return nil, err
	}
	stages = append(stages, language)
	pii, err := clean.NewPII(clean.PIIOptions{Mask: d.PII.Mask, Modulus11: d.PII.Modulus11})
	if err != nil {
		return nil, err
	}
	stages = append(stages, pii)
	if d.Dedup || d.Near.Preset != "" {
		o, err := d.Near.Options()
		if err != nil {
			return nil, err
		}
		stages = append(stages, dedup.New(o))
	}
	if d.Lines.Unit != "" {
		stages = append(stages, dedup.NewLines(d.Lines.Options()))
	}
	if len(d.Decontaminate.Against) == 0 {
		return stages, nil
	}
	var benchmarks []decontam.Benchmark
	for _, name := range d.Decontaminate.Against {
		dir, err := f.Recipe.Dataset(name)
		if err != nil {
			return nil, err
		}
		b, err := decontam.LoadBenchmark(dir)
		if err != nil {
			return nil, err
		}
		benchmarks = append(benchmarks, b)
	}
	stage, err := decontam.New(benchmarks, decontam.Options{Action: d.Decontaminate.Action})
	if err != nil {
		return nil, err
	}
	return append(stages, stage), nil
}

// addressStage removes what is from where no text is taken.
func (f *Flow) addressStage() (pipeline.Stage, error) {
	a := f.Recipe.Data.Addresses
	o := filter.AddressOptions{Agents: a.Agents, Mark: a.Action == "mark"}
	for _, name := range a.Lists {
		path, err := f.Recipe.Path(name)
		if err != nil {
			return nil, err
		}
		o.Lists = append(o.Lists, path)
	}
	if a.Signals != "" {
		var err error
		if o.Signals, err = f.Recipe.Path(a.Signals); err != nil {
			return nil, err
		}
	}
	return filter.NewAddresses(o)
}

// languageStage tells each document its language.
func (f *Flow) languageStage() (pipeline.Stage, error) {
	l := f.Recipe.Data.Language
	m, err := langid.Builtin()
	if l.Model != "" {
		path, err := f.Recipe.Path(l.Model)
		if err != nil {
			return nil, err
		}
		if m, err = langid.Load(path); err != nil {
			return nil, err
		}
	}
	if err != nil {
		return nil, err
	}
	return langid.NewStage(m, langid.Options{Keep: l.Keep, MinScore: l.MinScore, Except: l.Except, Mark: l.Action == "mark"})
}

// rightsStage removes documents whose licence does not allow what the recipe wants to do with the result.
type rightsStage struct {
	policy   rights.Policy
	register *register.Register // nil where none is kept
	mu       sync.Mutex
	seen     map[string]pipeline.Verdict // by section, licence and claims
}

func (*rightsStage) Name() string { return "rights" }

func (s *rightsStage) Judge(d *corpus.Document) pipeline.Verdict {
	key := fmt.Sprint(d.Section, "\x00", d.License, d.Claims)
	s.mu.Lock()
	defer s.mu.Unlock()
	if v, ok := s.seen[key]; ok {
		return v
	}
	v := pipeline.Verdict{Keep: true}
	uses := []rights.Use{{Section: d.Section, License: d.License, Claims: d.Claims, Documents: 1, Bytes: int64(len(d.Text)), Tokens: 1}}
	if s.register != nil {
		uses = s.register.Apply(uses, s.policy.Date)
	}
	decision := rights.Gate(uses, s.policy)
	if !decision.Allowed {
		why := "its licence does not allow a release"
		for _, x := range decision.Findings {
			if x.Reason != "" {
				why = x.Reason
			}
		}
		v = pipeline.Verdict{Stage: s.Name(), Reason: "license_forbids", Detail: why}
	}
	s.seen[key] = v
	return v
}

func describeCorpus(s *pipeline.Summary) string {
	t := s.Total
	text := fmt.Sprintf("%d documents in (%s bytes) = %d kept + %d held out + %d removed", t.In.Documents, progress.Count(t.In.Bytes), t.Kept.Documents, t.Heldout.Documents, t.Removed.Documents)
	for _, reason := range sortedKeys(t.Reasons) {
		text += fmt.Sprintf(", %s %d", reason, t.Reasons[reason].Documents)
	}
	for _, b := range s.Benchmarks {
		if b.Hit > 0 {
			text += fmt.Sprintf("; %s: %d of %d items found in %d documents", b.Name, b.Hit, b.Items, len(b.Documents))
		}
	}
	return text
}
