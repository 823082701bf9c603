package workflow

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"ravn/corpus"
	"ravn/internal/atomicfile"
	"ravn/internal/progress"
	"ravn/pipeline"
	"ravn/run"
	"ravn/shard"
	"ravn/tokenizer"
	"ravn/train"
)

// tokenizer reads the recipe's tokenizer, extends it where that is asked for, or trains one on the kept text.
func (f *Flow) tokenizer(ctx context.Context) error {
	in, err := hashed("recipe", f.Recipe.Tokenizer)
	if err != nil {
		return err
	}
	if f.Recipe.Tokenizer.Model != "" {
		if err := f.hashInto(in, f.Recipe.Tokenizer.Model); err != nil {
			return err
		}
	}
	if f.Recipe.Tokenizer.Model == "" || f.Recipe.Tokenizer.Extend > 0 {
		in = inputs(in, f.Folder.Outputs("corpus"))
	}
	return f.once("tokenizer", in, []string{"tokenizer"}, func(*run.StageRun) (string, error) {
		tok, err := f.makeTokenizer(ctx)
		if err != nil {
			return "", err
		}
		tmp, err := atomicfile.TempDir(f.Folder.TokenizerDir())
		if err != nil {
			return "", err
		}
		defer os.RemoveAll(tmp)
		for name, data := range tok.Files() {
			if err := os.WriteFile(filepath.Join(tmp, name), data, 0o644); err != nil {
				return "", fmt.Errorf("workflow: %w", err)
			}
		}
		said := fmt.Sprintf("%d pieces", tok.Size())
		if f.Recipe.Tokenizer.Extend > 0 {
			e, err := f.compareFertility(tok)
			if err != nil {
				return "", err
			}
			if err := writeJSON(filepath.Join(tmp, extensionName), e); err != nil {
				return "", err
			}
			said = e.String()
		}
		return said, atomicfile.ReplaceDir(tmp, f.Folder.TokenizerDir())
	})
}

func (f *Flow) makeTokenizer(ctx context.Context) (*tokenizer.Tokenizer, error) {
	if f.Recipe.Tokenizer.Model != "" {
		path, err := f.Recipe.Path(f.Recipe.Tokenizer.Model)
		if err != nil {
			return nil, err
		}
		tok, err := tokenizer.Load(path)
		if n := f.Recipe.Tokenizer.Extend; n > 0 && err == nil {
			return f.extendTokenizer(ctx, tok, n)
		}
		return tok, err
	}
	sections, err := f.sections()
	if err != nil {
		return nil, err
	}
	var failed error
	o := tokenizer.DefaultTrainOptions()
	o.VocabSize = f.Recipe.Tokenizer.Train
	tok, err := tokenizer.Train(ctx, textsOf(sections, &failed), o)
	if failed != nil {
		return nil, failed
	}
	return tok, err
}

// textsOf are the texts of sections; an error ends them and is left in failed.
func textsOf(sections []shard.SectionInput, failed *error) iter.Seq[string] {
	return func(yield func(string) bool) {
		for _, s := range sections {
			for d, err := range s.Documents {
				if err != nil {
					*failed = err
					return
				}
				if !yield(d.Text) {
					return
				}
			}
		}
	}
}

// sections are the kept sections of the corpus stage, ready to be read.
func (f *Flow) sections() ([]shard.SectionInput, error) {
	sum, err := pipeline.ReadSummary(filepath.Join(f.Folder.CorpusDir(), "summary.json"))
	if err != nil {
		return nil, err
	}
	var all []shard.SectionInput
	for _, s := range sum.Sections {
		if s.Kept.Documents == 0 {
			continue
		}
		docs, err := f.documents("sections", s.Name)
		if err != nil {
			return nil, err
		}
		source, err := run.HashFile(filepath.Join(f.Folder.CorpusDir(), "sections", s.Name+".jsonl.zst"))
		if err != nil {
			return nil, err
		}
		all = append(all, shard.SectionInput{Name: s.Name, License: s.License, Language: s.Language, Role: s.Role, Source: source, Documents: docs})
	}
	if len(all) == 0 {
		return nil, errors.New("workflow: no document was kept, so there is nothing to train on (see corpus/summary.json for the reasons of removal)")
	}
	return all, nil
}

// documents reads one section of the corpus stage's output; part is "sections", "heldout" or "removed".
func (f *Flow) documents(part, section string) (iter.Seq2[*corpus.Document, error], error) {
	c, err := corpus.Open(filepath.Join(f.Folder.CorpusDir(), part, section+".jsonl.zst"), corpus.OpenOptions{Format: "jsonl", Section: section})
	if err != nil {
		return nil, err
	}
	list, err := f.removals()
	if err != nil || list == nil || len(list.Entries) == 0 || part == "removed" {
		return c.Sections[0].Documents(), err
	}
	return func(yield func(*corpus.Document, error) bool) {
		for d, err := range c.Sections[0].Documents() {
			if err == nil {
				err = stillThere(list, section, d)
			}
			if !yield(d, err) || err != nil {
				return
			}
		}
	}, nil
}

// shards turns kept text into tokens on disk and writes the tokens of each document into the ledger.
func (f *Flow) shards(ctx context.Context) error {
	in := inputs(f.Folder.Outputs("corpus"), f.Folder.Outputs("tokenizer"), map[string]string{"separators": f.Recipe.Data.Separators})
	return f.once("shards", in, []string{"shards", "corpus/documents.parquet"}, func(*run.StageRun) (string, error) {
		tok, err := tokenizer.Load(f.Folder.TokenizerDir())
		if err != nil {
			return "", err
		}
		sections, err := f.sections()
		if err != nil {
			return "", err
		}
		info, err := shard.Write(ctx, f.Folder.ShardsDir(), sections, shard.WriterOptions{
			Tokenizer: tok, Separators: f.Recipe.Data.Separators, Workers: f.Threads, Progress: f.Progress,
		})
		if err != nil {
			return "", err
		}
		if err := pipeline.CountTokens(ctx, f.Folder.CorpusDir(), func(text string) int { return len(tok.EncodeText(nil, text)) }); err != nil {
			return "", err
		}
		return fmt.Sprintf("%s tokens in %d sections", progress.Count(info.Tokens()), len(info.Sections)), nil
	})
}

// The training phases of a run. The base's is there when the recipe trains one.
const (
	basePhase      = "base"
	continuedPhase = "continued"
)

// order is the batches of a phase as far as is known: with the replay that the guard of a continued phase has raised, and
// without what was passed over for loss spikes.
func (f *Flow) order(set *shard.Set, phase string) (*shard.Staged, error) {
	p, dir := f.Recipe.Train, ""
	if f.Folder != nil {
		dir = f.Folder.Dir
	}
	if phase == basePhase {
		p = *f.Recipe.Base.Phase
		dir = filepath.Join(dir, "base")
	}
	var c train.Changes
	if f.Folder != nil && (p.Guard != nil || p.Spikes != nil) {
		o, err := train.ReadOutcome(dir, p.Steps)
		if err != nil {
			return nil, err
		}
		c = o.Changes()
	}
	return f.changedOrder(set, phase, c)
}

// changedOrder is the batches of a phase, with more replay behind steps and without what was passed over. Where the
// base is trained here, the continued phase reads on behind what the base has read of each section: replay is more text
// of the base's kind, not the same rows again.
func (f *Flow) changedOrder(set *shard.Set, phase string, c train.Changes) (*shard.Staged, error) {
	p, skip := f.Recipe.Train, map[string]int64(nil)
	switch base := f.Recipe.Base.Phase; {
	case phase == basePhase:
		p = *base
	case base != nil:
		before, err := f.order(set, basePhase)
		if err != nil {
			return nil, err
		}
		skip = before.RowsRead()
	}
	steps, err := p.StageSteps()
	if err != nil {
		return nil, fmt.Errorf("workflow: %s: %w", f.Recipe.File(), err)
	}
	var stages []shard.Stage
	for i, shares := range p.Mixtures() {
		m, err := mixture(set.Sections(), shares, p.Temperature)
		if err != nil {
			return nil, fmt.Errorf("workflow: %s: %w", f.Recipe.File(), err)
		}
		stages = append(stages, shard.Stage{Steps: steps[i], Mixture: m})
	}
	if g := p.Guard; g != nil && g.OnBreach == "raise_replay" && !mixesReplay(set.Sections(), stages) {
		return nil, fmt.Errorf("workflow: %s: train: guard: on_breach raise_replay has nothing to raise: no stage mixes a section of role replay (add {section: \"role:replay\", share: …} to the mixture, or choose stop, warn or decay)", f.Recipe.File())
	}
	for _, step := range c.Raised {
		if stages, err = raiseReplay(set.Sections(), stages, step, p.Guard.ReplayFactor); err != nil {
			return nil, fmt.Errorf("workflow: %w", err)
		}
	}
	for i, passed := range c.Passed {
		if c.Superseded(i) {
			continue
		}
		before, err := f.changedOrder(set, phase, c.Before(i))
		if err != nil {
			return nil, err
		}
		if stages, err = passOver(stages, passed, before); err != nil {
			return nil, err
		}
	}
	caps := map[string]float64{}
	for _, name := range sortedKeys(p.MaxEpochs) {
		m, err := mixture(set.Sections(), []shard.Share{{Section: name, Share: 1}}, 1)
		if err != nil {
			return nil, fmt.Errorf("workflow: %s: max_epochs: %w", f.Recipe.File(), err)
		}
		for _, s := range m {
			caps[s.Section] = p.MaxEpochs[name]
		}
	}
	order, err := shard.NewStaged(set, shard.OrderOptions{
		Seed: f.Recipe.Seed, Rows: p.RowsPerStep, T: f.Recipe.Data.SeqTokens, Steps: p.Steps, AcrossDocuments: f.Recipe.Data.AcrossDocs, Skip: skip,
	}, stages, caps)
	if err != nil {
		field := map[string]string{basePhase: "base.train", continuedPhase: "train"}[phase]
		return nil, fmt.Errorf("workflow: %s: %s: %w", f.Recipe.File(), field, err)
	}
	return order, nil
}

// passOver begins a new stage at the first of the batches that are passed over, which reads on behind the last of them,
// as these lie in the order before.
func passOver(stages []shard.Stage, passed train.Passed, before *shard.Staged) ([]shard.Stage, error) {
	rows, err := before.RowsTo(passed.Last)
	if err != nil {
		return nil, fmt.Errorf("workflow: batches passed over: %w", err)
	}
	stages, at := shard.Begin(stages, passed.First)
	if at == len(stages) {
		return nil, fmt.Errorf("workflow: batches passed over: the phase ends before step %d (outcome.json belongs to another recipe)", passed.First)
	}
	why := fmt.Sprintf("passed over after a loss spike at step %d: the batches of steps %d to %d", passed.Last, passed.First, passed.Last)
	if stages[at].Why != "" {
		why = stages[at].Why + "; " + why
	}
	stages[at].From, stages[at].Why = rows, why
	return stages, nil
}

// mostReplay is the share of replay beyond which it is not raised.
const mostReplay = 0.75

// mixesReplay reports whether any stage reads text of role replay.
func mixesReplay(sections []shard.SectionInfo, stages []shard.Stage) bool {
	return slices.ContainsFunc(stages, func(st shard.Stage) bool {
		return slices.ContainsFunc(st.Mixture, func(m shard.Share) bool {
			return m.Share > 0 && slices.ContainsFunc(sections, func(s shard.SectionInfo) bool { return s.Name == m.Section && s.Role == "replay" })
		})
	})
}

// raiseReplay begins a new stage behind a step, in which replay's share is multiplied by factor, as in all stages after it.
func raiseReplay(sections []shard.SectionInfo, stages []shard.Stage, after int, factor float64) ([]shard.Stage, error) {
	replay := map[string]bool{}
	for _, s := range sections {
		replay[s.Name] = s.Role == "replay"
	}
	var out []shard.Stage
	first := 1
	for _, st := range stages {
		last := first + st.Steps - 1
		if last > after {
			if before := after - first + 1; before > 0 {
				out = append(out, shard.Stage{Steps: before, Mixture: st.Mixture, Why: st.Why})
				st.Steps -= before
			}
			sum, share := 0.0, 0.0
			for _, m := range st.Mixture {
				if sum += m.Share; replay[m.Section] {
					share += m.Share
				}
			}
			share /= sum
			raised := min(share*factor, mostReplay)
			if first <= after+1 && (share == 0 || raised <= share) {
				return nil, fmt.Errorf("replay has a share of %.0f %% at step %d; it is raised from more than nothing to at most %.0f %%", 100*share, after+1, 100*mostReplay)
			}
			if raised > share && share > 0 {
				mixed := make([]shard.Share, len(st.Mixture))
				for i, m := range st.Mixture {
					f := (1 - raised) / (1 - share)
					if replay[m.Section] {
						f = raised / share
					}
					mixed[i] = shard.Share{Section: m.Section, Share: m.Share * f}
				}
				st.Mixture, st.Why = mixed, fmt.Sprintf("the guard raised replay behind step %d to %.0f %%", after, 100*raised)
			}
		}
		out = append(out, st)
		first = last + 1
	}
	return out, nil
}

// mixture replaces "role:NAME" and "language:CODE" by the sections they stand for, shared out by tokens. An empty
// mixture is all target sections. With a temperature T above 1 the languages of a group get shares by tokens^(1/T), as
// in Arivazhagan et al. 2019, arXiv 1907.05019.
func mixture(sections []shard.SectionInfo, shares []shard.Share, temperature float64) ([]shard.Share, error) {
	if len(shares) == 0 {
		shares = []shard.Share{{Section: "role:target", Share: 1}}
	}
	sum := map[string]float64{}
	for _, s := range shares {
		kind, value, grouped := strings.Cut(s.Section, ":")
		if !grouped {
			sum[s.Section] += s.Share
			continue
		}
		var members []shard.SectionInfo
		languages := map[string]float64{}
		for _, x := range sections {
			if kind == "role" && x.Role == value || kind == "language" && x.Language == value {
				members = append(members, x)
				languages[x.Language] += float64(x.Tokens)
			}
		}
		if len(members) == 0 {
			return nil, fmt.Errorf("mixture: no section has %s %q", kind, value)
		}
		total, weight := 0.0, map[string]float64{} // of a token of each language
		for _, code := range sortedKeys(languages) {
			weight[code] = 1
			if temperature > 1 && languages[code] > 0 {
				weight[code] = math.Pow(languages[code], 1/temperature-1)
			}
			total += languages[code] * weight[code]
		}
		for _, x := range members {
			sum[x.Name] += s.Share * (float64(x.Tokens) * weight[x.Language]) / total
		}
	}
	var out []shard.Share
	for _, name := range sortedKeys(sum) {
		if sum[name] > 0 { // a section whose documents were all removed has none
			out = append(out, shard.Share{Section: name, Share: sum[name]})
		}
	}
	return out, nil
}
