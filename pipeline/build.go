package pipeline

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"unicode"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sync/semaphore"

	"ravn/corpus"
	"ravn/internal/atomicfile"
	"ravn/internal/progress"
)

// Options says what to do with a corpus and where to write. Out and nothing else is needed.
type Options struct {
	Out          string                // folder to make; an earlier result there is replaced
	Stages       []Stage               // in order; none keeps everything
	HeldoutShare float64               // of the documents, kept out of training: 0 (default) to 0.5
	Seed         uint64                // of the choice of held-out documents
	Tokens       func(text string) int // counts tokens, safe for concurrent use; nil leaves them 0
	Workers      int                   // documents worked on at a time; 0: GOMAXPROCS. Does not change the result
	Progress     *progress.Reporter    // nil is quiet
}

// Validate checks the options.
func (o *Options) Validate() error {
	var errs []error
	if o.Out == "" {
		errs = append(errs, errors.New("pipeline: no output folder (set Out)"))
	}
	if !(o.HeldoutShare >= 0 && o.HeldoutShare <= 0.5) {
		errs = append(errs, fmt.Errorf("pipeline: HeldoutShare is %v (use 0 to 0.5)", o.HeldoutShare))
	}
	seen := map[string]bool{}
	for i, s := range o.Stages {
		if s == nil {
			errs = append(errs, fmt.Errorf("pipeline: stage %d is nil", i))
			continue
		}
		if seen[s.Name()] {
			errs = append(errs, fmt.Errorf("pipeline: stage %q is there twice (name each once)", s.Name()))
		}
		seen[s.Name()] = true
	}
	return errors.Join(errs...)
}

// memoryBytes bounds the text of documents that are read but not written yet.
const memoryBytes = 256 << 20

// job is one document on its way: read in order, prepared in any order, judged and written in order.
type job struct {
	section int
	record  *corpus.Record
	err     error
	end     bool // the section ends here; no document
	size    int64
	ready   chan struct{} // closed when prepared

	doc     *corpus.Document
	work    []prepared // by stage
	changed bool       // a stage changed the text after others had prepared it
	bytes   int64
	words   int64
	tokens  int64
	sha     [32]byte
	verdict Verdict
	split   string
}

// builder is the state of one Build.
type builder struct {
	o        Options
	sections []*corpus.Section
	sum      []SectionSummary
	warnings []string
	number   int64
	out      *output
	task     *progress.Task
	memory   *semaphore.Weighted
}

// Build takes the documents of all corpora through the stages and writes
//
//	Out/sections/NAME.jsonl.zst   documents kept for training
//	Out/heldout/NAME.jsonl.zst    documents kept out, where there are any
//	Out/removed/NAME.jsonl.zst    removed documents with the reason in their metadata, where there are any
//	Out/documents.parquet         the ledger: one Row a document
//	Out/summary.json              the Summary
//
// The folder appears whole or not at all. Sections are read in order, documents within them too, and stages see them in
// that order; preparing is done for Workers documents at a time.
func Build(ctx context.Context, corpora []*corpus.Corpus, o Options) (*Summary, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	if o.Workers <= 0 {
		o.Workers = runtime.GOMAXPROCS(0)
	}
	b := &builder{o: o, memory: semaphore.NewWeighted(memoryBytes)}
	if err := b.addSections(corpora); err != nil {
		return nil, err
	}
	if err := checkOut(o.Out); err != nil {
		return nil, err
	}
	tmp, err := atomicfile.TempDir(o.Out)
	if err != nil {
		return nil, fmt.Errorf("pipeline: %w", err)
	}
	defer os.RemoveAll(tmp)
	if b.out, err = createOutput(tmp, b.sections); err != nil {
		return nil, err
	}
	defer b.out.abort()
	b.start()
	if err := b.run(ctx); err != nil {
		return nil, err
	}
	s, err := b.summary()
	if err != nil {
		return nil, err
	}
	if err := b.out.commit(s); err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("pipeline: %w", err)
	}
	if err := atomicfile.ReplaceDir(tmp, o.Out); err != nil {
		return nil, fmt.Errorf("pipeline: %w", err)
	}
	b.task.Done()
	return s, nil
}

// addSections lists the sections of all corpora; names become file names and may come once.
func (b *builder) addSections(corpora []*corpus.Corpus) error {
	seen := map[string]string{}
	for _, c := range corpora {
		for _, s := range c.Sections {
			if was, ok := seen[s.Name]; ok {
				return fmt.Errorf("pipeline: section %q is in %s and in %s\n        (give one another name when opening it)", s.Name, was, c.Path)
			}
			seen[s.Name] = c.Path
			if err := checkName(s.Name); err != nil {
				return err
			}
			b.sections = append(b.sections, s)
			sum := newSectionSummary(s.Name)
			sum.License, sum.Language, sum.Role, sum.Claims = s.License, s.Language, s.Role, s.Claims
			b.sum = append(b.sum, sum)
		}
	}
	if len(b.sections) == 0 {
		return errors.New("pipeline: no sections to build from (open a corpus first)")
	}
	return nil
}

// checkName says whether a section's name can be a file's name.
func checkName(name string) error {
	ok := name != "" && name[0] != '.' && len(name) <= 200
	for _, r := range name {
		ok = ok && (unicode.IsLetter(r) || unicode.IsDigit(r) || strings.ContainsRune("._-+", r))
	}
	if !ok {
		return fmt.Errorf("pipeline: section name %q cannot be a file name\n        (use letters, digits and . _ - + when opening it)", name)
	}
	return nil
}

// ours are the names that Build writes.
var ours = map[string]bool{"sections": true, "heldout": true, "removed": true, "documents.parquet": true, "summary.json": true}

// checkOut refuses a folder that holds something else, which replacing it would lose.
func checkOut(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("pipeline: %w", err)
	}
	for _, e := range entries {
		if !ours[e.Name()] {
			return fmt.Errorf("pipeline: %s: holds something that no build wrote\n        (it would be lost; build into a folder of its own)", filepath.Join(dir, e.Name()))
		}
	}
	return nil
}

func (b *builder) start() {
	total := int64(0)
	for _, s := range b.sections {
		if s.Compressed() {
			total = 0
			break
		}
		total += s.SizeBytes
	}
	b.task = b.o.Progress.Start("corpus", total, "bytes")
}

// run moves the documents from the readers to the files.
func (b *builder) run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	ordered := make(chan *job, 4*b.o.Workers+64)
	unordered := make(chan *job, 4*b.o.Workers+64)
	judged := make(chan *job, 64)
	g.Go(func() error {
		defer close(ordered)
		defer close(unordered)
		return b.read(ctx, ordered, unordered)
	})
	for range b.o.Workers {
		g.Go(func() error {
			for j := range unordered {
				if ctx.Err() != nil {
					return ctx.Err()
				}
				b.prepare(j)
				close(j.ready)
			}
			return nil
		})
	}
	g.Go(func() error {
		defer close(judged)
		return b.judge(ctx, ordered, judged)
	})
	g.Go(func() error { return b.write(ctx, judged) })
	err := g.Wait()
	if err != nil && errors.Is(err, context.Canceled) {
		return fmt.Errorf("pipeline: stopped, nothing was written: %w", err)
	}
	return err
}

// read finds the documents and hands each on twice: to be prepared, and in order.
func (b *builder) read(ctx context.Context, ordered, unordered chan<- *job) error {
	send := func(to chan<- *job, j *job) error {
		select {
		case to <- j:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	for i, s := range b.sections {
		for r, err := range s.Records() {
			j := &job{section: i, record: r, err: err, ready: make(chan struct{})}
			if r != nil {
				j.size = min(r.SizeBytes+1024, memoryBytes)
				if err := b.memory.Acquire(ctx, j.size); err != nil {
					return err
				}
				if err := send(unordered, j); err != nil {
					return err
				}
			} else {
				close(j.ready)
			}
			if err := send(ordered, j); err != nil {
				return err
			}
		}
		j := &job{section: i, end: true, ready: make(chan struct{})}
		close(j.ready)
		if err := send(ordered, j); err != nil {
			return err
		}
	}
	return nil
}

// judge takes the documents in order through the section's check, the stages and the split.
func (b *builder) judge(ctx context.Context, ordered <-chan *job, judged chan<- *job) error {
	var check *corpus.Check
	for j := range ordered {
		select {
		case <-j.ready:
		case <-ctx.Done():
			return ctx.Err()
		}
		s := b.sections[j.section]
		if check == nil {
			check = s.NewCheck()
		}
		if j.end {
			if err := check.Finish(); err != nil {
				return err
			}
			b.endSection(j.section, check)
			check = nil
		} else {
			use, err := check.Accept(j.doc, j.err)
			if err != nil {
				return err
			}
			if !use {
				b.memory.Release(j.size)
				continue
			}
			b.decide(j)
		}
		select {
		case judged <- j:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// write writes the judged documents.
func (b *builder) write(ctx context.Context, judged <-chan *job) error {
	for j := range judged {
		if err := ctx.Err(); err != nil {
			return err
		}
		if j.end {
			if err := b.out.endSection(); err != nil {
				return err
			}
			continue
		}
		if err := b.out.add(j, b.number); err != nil {
			return err
		}
		b.number++
		b.task.Add(j.bytes)
		b.memory.Release(j.size)
	}
	return ctx.Err()
}
