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
	MemoryBytes  int64                 // for texts on their way and for sorting; 0: DefaultMemoryBytes. Does not change the result
	ShardBytes   int64                 // of text that is lost at most when the Build is killed; 0: 64 MiB. Does not change the result
	// Key says what is built from what: a Build that finds Out.work of the same key goes on behind what is there. It is
	// for the caller to put everything into it that the result depends on. Empty: nothing is left behind, nothing taken up.
	Key      string
	Progress *progress.Reporter // nil is quiet
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
	if o.MemoryBytes < 0 || o.MemoryBytes > 0 && o.MemoryBytes < 16<<20 {
		errs = append(errs, fmt.Errorf("pipeline: MemoryBytes is %d (use at least 16 MiB, %d; 0 is %d)", o.MemoryBytes, 16<<20, DefaultMemoryBytes))
	}
	if o.ShardBytes < 0 {
		errs = append(errs, fmt.Errorf("pipeline: ShardBytes is %d (0 is 64 MiB)", o.ShardBytes))
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

// DefaultMemoryBytes is what a Build may use for texts on their way and for sorting, when Options do not say.
const DefaultMemoryBytes = 1 << 30

// Limits of a shard: a killed Build loses one at most.
const (
	defaultShardBytes = 64 << 20
	shardDocs         = 1 << 14
)

// job is one record on its way: found in order, examined in any order, written in order.
type job struct {
	section int
	record  *corpus.Record
	err     error
	kind    int8
	size    int64
	ready   chan struct{} // closed when examined

	doc   *corpus.Document
	facts *facts
	line  []byte
}

// Kinds of jobs.
const (
	jobRecord     int8 = iota
	jobDone            // a document of a shard that a killed Build left: facts and id are there
	jobStartShard      //
	jobEndShard        //
	jobEndSection      //
)

// builder is the state of one Build.
type builder struct {
	o        Options
	sections []*corpus.Section
	sum      []SectionSummary
	warnings []string
	task     *progress.Task
	memory   *semaphore.Weighted
	inFlight int64 // bytes that memory bounds

	stages    []bound
	scores    []string
	comparers []int // places in stages
	work      *work
	docs      int64 // examined
	resumed   int   // shards taken over
}

// Build takes the documents of all corpora through the stages and writes
//
//	Out/sections/NAME.jsonl.zst   documents kept for training
//	Out/heldout/NAME.jsonl.zst    documents kept out, where there are any
//	Out/removed/NAME.jsonl.zst    removed documents with the reason in their metadata, where there are any
//	Out/documents.parquet         the ledger: one Row a document
//	Out/summary.json              the Summary
//	Out/decontamination.json      its Benchmarks alone, where there are any
//
// The folder appears whole or not at all. Sections are read in order, documents within them too. First every document is
// read and examined, Workers at a time, into shards in the folder Out.work; then the comparers work on what was
// noted; then everything is written. Memory does not grow with the text, and with the number of documents only by what
// Memory says. A Build that was killed goes on where it stopped when Key is the same.
func Build(ctx context.Context, corpora []*corpus.Corpus, o Options) (*Summary, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	if o.Workers <= 0 {
		o.Workers = runtime.GOMAXPROCS(0)
	}
	if o.MemoryBytes == 0 {
		o.MemoryBytes = DefaultMemoryBytes
	}
	if o.ShardBytes == 0 {
		o.ShardBytes = defaultShardBytes
	}
	inFlight := o.MemoryBytes / 4
	b := &builder{o: o, memory: semaphore.NewWeighted(inFlight), inFlight: inFlight}
	if err := b.bind(); err != nil {
		return nil, err
	}
	if err := b.addSections(corpora); err != nil {
		return nil, err
	}
	if err := checkOut(o.Out); err != nil {
		return nil, err
	}
	s, err := b.build(ctx)
	if b.work != nil && (err == nil || o.Key == "") {
		err = errors.Join(err, b.work.remove())
	}
	if err != nil {
		if errors.Is(err, context.Canceled) {
			if o.Key != "" {
				return nil, fmt.Errorf("pipeline: stopped; %d examined documents lie in %s, and the same build goes on behind them: %w", b.docs, b.work.dir, err)
			}
			return nil, fmt.Errorf("pipeline: stopped, nothing was written: %w", err)
		}
		return nil, err
	}
	b.task.Done()
	return s, nil
}

// build does the three passes.
func (b *builder) build(ctx context.Context) (*Summary, error) {
	var err error
	if b.work, err = openWork(b.o.Out, b.o.Key); err != nil {
		return nil, err
	}
	b.start()
	if err := b.run(ctx); err != nil {
		return nil, err
	}
	if err := b.compare(ctx); err != nil {
		return nil, err
	}
	tmp, err := atomicfile.TempDir(b.o.Out)
	if err != nil {
		return nil, fmt.Errorf("pipeline: %w", err)
	}
	defer os.RemoveAll(tmp)
	s, err := b.write(ctx, tmp)
	if err != nil {
		return nil, err
	}
	if err := atomicfile.ReplaceDir(tmp, b.o.Out); err != nil {
		return nil, fmt.Errorf("pipeline: %w", err)
	}
	return s, nil
}

// addSections lists the sections of all corpora; names become file names and may come once.
func (b *builder) addSections(corpora []*corpus.Corpus) error {
	seen := map[string]string{}
	for _, c := range corpora {
		for _, s := range c.Sections {
			if was, ok := seen[s.Name]; ok {
				return fmt.Errorf("pipeline: section %q is in %s and in %s\n        (give one of them another name: section: in the recipe)", s.Name, was, c.Path)
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
		return fmt.Errorf("pipeline: section name %q cannot be a file name\n        (name it with section: in the recipe, or --section; of letters, digits and . _ - +)", name)
	}
	return nil
}

// ours are the names that Build writes.
var ours = map[string]bool{"sections": true, "heldout": true, "removed": true, "documents.parquet": true, "summary.json": true, "decontamination.json": true}

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

// run moves the records from the readers to the shards.
func (b *builder) run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	ordered := make(chan *job, 4*b.o.Workers+64)
	unordered := make(chan *job, 4*b.o.Workers+64)
	g.Go(func() error {
		defer close(ordered)
		defer close(unordered)
		return b.read(ctx, ordered, unordered)
	})
	for range b.o.Workers {
		g.Go(func() error {
			x := &Doc{}
			for j := range unordered {
				if ctx.Err() != nil {
					return ctx.Err()
				}
				b.examine(x, j)
				close(j.ready)
			}
			return nil
		})
	}
	g.Go(func() error { return b.keep(ctx, ordered) })
	return g.Wait()
}

// read finds the records, cuts them into shards, and hands each on twice: to be examined, and in order. Records of
// shards that a killed Build left are only counted.
func (b *builder) read(ctx context.Context, ordered, unordered chan<- *job) error {
	send := func(to chan<- *job, j *job) error {
		select {
		case to <- j:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	closed := make(chan struct{})
	close(closed)
	number := 0
	var first int64 // documents in the shards that were taken over
	whole := b.o.Key != ""
	for i, s := range b.sections {
		var size int64
		n := 0 // records in the shard, when open
		open := false
		var done []facts
		end := func() error {
			open = false
			if done != nil && n != len(done) {
				return fmt.Errorf("pipeline: %s: its %d records are not the %d of section %s that were read now\n        (the source has changed; remove the folder and build again)", b.work.dir, len(done), n, s.Name)
			}
			return send(ordered, &job{kind: jobEndShard, section: i, ready: closed})
		}
		for r, err := range s.Records() {
			if open && (size >= b.o.ShardBytes || n >= shardDocs) {
				if err := end(); err != nil {
					return err
				}
			}
			if !open {
				open, size, n, done = true, 0, 0, nil
				j := &job{kind: jobStartShard, section: i, ready: closed}
				var old *shard
				if whole {
					if old, done = b.work.find(number, i, first); old == nil {
						whole = false // shards are written in order, so none follows
					} else {
						first += int64(old.docs())
						b.work.shards = append(b.work.shards, old)
						b.resumed++
					}
				}
				number++
				if old == nil {
					if err := send(ordered, j); err != nil {
						return err
					}
				}
			}
			j := &job{section: i, record: r, err: err, ready: make(chan struct{})}
			if done != nil && n < len(done) && !done[n].again {
				f := &done[n]
				j.kind, j.facts, j.ready = jobDone, f, closed
				j.doc = &corpus.Document{ID: f.member.ID, File: f.file, Line: int(f.line)}
				j.record = nil
			}
			n++
			if r != nil {
				size += r.SizeBytes
			}
			if j.record != nil {
				j.size = min(3*r.SizeBytes+4096, b.inFlight)
				if err := b.memory.Acquire(ctx, j.size); err != nil {
					return err
				}
				if err := send(unordered, j); err != nil {
					return err
				}
			} else if j.kind == jobRecord {
				close(j.ready)
			}
			if err := send(ordered, j); err != nil {
				return err
			}
		}
		if open {
			if err := end(); err != nil {
				return err
			}
		}
		if err := send(ordered, &job{kind: jobEndSection, section: i, ready: closed}); err != nil {
			return err
		}
	}
	return nil
}

// keep takes the examined records in order through the section's check into shards.
func (b *builder) keep(ctx context.Context, ordered <-chan *job) error {
	var check *corpus.Check
	var w *shardWriter // nil while shards are taken over
	defer func() {
		if w != nil {
			w.text.Abort()
		}
	}()
	number := 0
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
		var err error
		switch j.kind {
		case jobStartShard:
			if w, err = b.work.create(number, j.section, b.docs); err != nil {
				return err
			}
		case jobEndShard:
			number++
			if w == nil {
				continue
			}
			done, err := w.commit()
			if err != nil {
				return err
			}
			w = nil
			b.work.shards = append(b.work.shards, done)
		case jobEndSection:
			if err := check.Finish(); err != nil {
				return err
			}
			b.endSection(j.section, check)
			check = nil
		default:
			use, err := check.Accept(j.doc, j.err)
			if err != nil {
				return err
			}
			if use {
				b.docs++
				b.task.Add(j.facts.member.Bytes)
			}
			if w != nil {
				f := j.facts
				if !use {
					f = &facts{again: true}
				}
				if err := w.add(f, j.line); err != nil {
					return err
				}
			}
			b.memory.Release(j.size)
			j.doc, j.line = nil, nil
		}
	}
	return ctx.Err()
}
