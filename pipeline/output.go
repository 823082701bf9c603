package pipeline

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"github.com/cespare/xxhash/v2"
	"github.com/klauspost/compress/zstd"
	"golang.org/x/sync/errgroup"

	"ravn/corpus"
	"ravn/internal/atomicfile"
)

// write takes the last decisions and writes the result into tmp.
func (b *builder) write(ctx context.Context, tmp string) (*Summary, error) {
	if err := os.MkdirAll(filepath.Join(tmp, "sections"), 0o755); err != nil {
		return nil, fmt.Errorf("pipeline: %w", err)
	}
	l, err := createLedger(filepath.Join(tmp, "documents.parquet"))
	if err != nil {
		return nil, err
	}
	defer l.file.Abort() // does nothing after commit
	out, err := newOutput(tmp, b.o.Workers)
	if err != nil {
		return nil, err
	}
	g, ctx := errgroup.WithContext(ctx)
	out.start(ctx, g)
	g.Go(func() error {
		defer close(out.queue)
		defer close(out.jobs)
		return b.writeAll(ctx, out, l)
	})
	if err := g.Wait(); err != nil {
		out.abort()
		return nil, err
	}
	if err := l.commit(); err != nil {
		return nil, err
	}
	s, err := b.summary()
	if err != nil {
		return nil, err
	}
	if len(s.Benchmarks) > 0 {
		data, err := marshal(s.Benchmarks)
		if err != nil {
			return nil, err
		}
		if err := atomicfile.WriteFile(filepath.Join(tmp, "decontamination.json"), data); err != nil {
			return nil, err
		}
	}
	data, err := marshal(s)
	if err != nil {
		return nil, err
	}
	return s, atomicfile.WriteFile(filepath.Join(tmp, "summary.json"), data)
}

// writeAll reads the shards again, texts beside facts.
func (b *builder) writeAll(ctx context.Context, out *output, l *ledger) error {
	var text *textReader
	defer func() {
		if text != nil {
			text.f.Close()
		}
	}()
	at := 0 // section being written
	endSections := func(to int) error {
		for ; at < to; at++ {
			if err := out.endSection(ctx, b.sections[at].Name); err != nil {
				return err
			}
		}
		return nil
	}
	err := b.eachDocument(ctx, func(s *shard, m *Member, x *facts) error {
		if err := endSections(s.section); err != nil {
			return err
		}
		if text == nil || text.s != s {
			if text != nil {
				if err := text.close(); err != nil {
					return err
				}
			}
			var err error
			if text, err = openTexts(s); err != nil {
				return err
			}
		}
		line, err := text.next(x.length)
		if err != nil {
			return err
		}
		return b.writeDocument(ctx, out, l, s.section, m, x, line)
	})
	if err != nil {
		return err
	}
	if text != nil {
		if err := text.close(); err != nil {
			return err
		}
		text = nil
	}
	return endSections(len(b.sections))
}

func (b *builder) writeDocument(ctx context.Context, out *output, l *ledger, section int, m *Member, x *facts, line []byte) error {
	d := b.decide(m, x)
	v := d.verdict
	for i, edit := range d.edits {
		if !v.Keep {
			break
		}
		changed, after, err := editLine(line, edit)
		if err != nil {
			return fmt.Errorf("pipeline: document %s: %w", m.Name(), err)
		}
		line = changed.line
		x.sha = changed.sha
		v = first(v, after, d.names[i])
	}
	split, folder := "", "sections"
	row := Row{
		Number: m.Number, ID: m.ID, Section: m.Section, Language: m.Language, License: m.License,
		Bytes: m.Bytes, Words: m.Words, SHA256: hex.EncodeToString(x.sha[:]), Verdict: VerdictKeep,
		Stage: v.Stage, Reason: v.Reason, Detail: v.Detail, Tokens: x.tokens, File: x.file, Line: x.line,
		URI: x.uri, Added: x.added, Created: x.created, Claims: x.claims, Notes: x.notes, Detected: x.detected,
		Cluster: d.cluster, ClusterSize: d.size, Scores: x.scores,
	}
	switch {
	case !v.Keep:
		folder, row.Verdict = "removed", VerdictDrop
		line = addMeta(line, x.meta, map[string]string{"removed_stage": v.Stage, "removed_reason": v.Reason, "removed_detail": v.Detail})
	case heldout(b.o.Seed, b.o.HeldoutShare, m):
		split, folder = SplitHeldout, "heldout"
	default:
		split = SplitTrain
	}
	row.Split = split
	b.count(section, m, x, v, split)
	if d.cluster >= 0 {
		b.sum[section].Clusters.Documents++
		if d.cluster == m.Number {
			b.sum[section].Clusters.Clusters++
		}
	}
	if err := l.add(row); err != nil {
		return err
	}
	return out.add(ctx, folder, m.Section, line)
}

// edited is a line with another text.
type edited struct {
	line []byte
	sha  [32]byte
}

// editLine changes the text in a document's line.
func editLine(line []byte, edit func(string) (string, Verdict)) (edited, Verdict, error) {
	const head = `,"text":`
	at := bytes.Index(line, []byte(head))
	if at < 0 {
		return edited{}, Keep, fmt.Errorf("its line has no text")
	}
	at += len(head)
	dec := json.NewDecoder(bytes.NewReader(line[at:]))
	var text string
	if err := dec.Decode(&text); err != nil {
		return edited{}, Keep, err
	}
	end := at + int(dec.InputOffset())
	text, v := edit(text)
	const before, after = `{"id":"","text":`, `,"source":"","license":""}` + "\n"
	quoted := corpus.AppendJSON(nil, &corpus.Document{Text: text})
	quoted = quoted[len(before) : len(quoted)-len(after)]
	return edited{slices.Concat(line[:at], quoted, line[end:]), sha256.Sum256([]byte(text))}, v, nil
}

// addMeta adds metadata to a document's line.
func addMeta(line []byte, has bool, meta map[string]string) []byte {
	const before = `{"id":"","text":"","source":"","license":""`
	more := corpus.AppendJSON(nil, &corpus.Document{Meta: meta})[len(before):] // ,"metadata":{…}}\n
	if !has {
		return append(slices.Clone(line[:len(line)-len("}\n")]), more...)
	}
	inner := more[len(`,"metadata":{`):]
	return append(append(slices.Clone(line[:len(line)-len("}}\n")]), ','), inner...)
}

// textReader reads a shard's lines and verifies them.
type textReader struct {
	s    *shard
	f    *os.File
	in   *bufio.Reader
	sum  *xxhash.Digest
	want uint64
}

func openTexts(s *shard) (*textReader, error) {
	facts, err := s.readFacts()
	if err != nil {
		return nil, err
	}
	f, err := os.Open(s.path("text"))
	if err != nil {
		return nil, fmt.Errorf("pipeline: %w", err)
	}
	t := &textReader{s: s, f: f, sum: xxhash.New(), want: facts.textSum}
	t.in = bufio.NewReaderSize(io.TeeReader(f, t.sum), 1<<20)
	return t, nil
}

func (t *textReader) next(n int64) ([]byte, error) {
	line := make([]byte, n)
	if _, err := io.ReadFull(t.in, line); err != nil {
		return nil, fmt.Errorf("pipeline: %s: %w", t.s.path("text"), err)
	}
	return line, nil
}

// close says whether what was read is what was written.
func (t *textReader) close() error {
	_, err := io.Copy(io.Discard, t.in)
	t.f.Close()
	if err == nil && t.sum.Sum64() != t.want {
		err = errFacts
	}
	if err != nil {
		return fmt.Errorf("pipeline: %s: %w (remove %s and build again)", t.s.path("text"), err, t.s.dir)
	}
	return nil
}

// frameBytes is how much text goes into one frame of a file. Frames are compressed beside each other and read as one
// stream; where a frame begins a reader may begin too.
const frameBytes = 4 << 20

// output writes the sections' files: lines are gathered into frames, frames are compressed by several goroutines and
// written in order by one.
type output struct {
	dir   string
	enc   *zstd.Encoder
	files map[string]*outFile // open, by folder
	queue chan *frame
	jobs  chan *frame
}

// outFile is a file that is being filled.
type outFile struct {
	file *atomicfile.File
	buf  []byte
}

// frame is a piece of work for the compressor and the writer.
type frame struct {
	file  *atomicfile.File
	raw   []byte
	out   []byte
	end   bool // the file ends behind it
	ready chan struct{}
}

func newOutput(dir string, workers int) (*output, error) {
	enc, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(workers), zstd.WithZeroFrames(true), zstd.WithEncoderLevel(zstd.SpeedFastest))
	if err != nil {
		return nil, fmt.Errorf("pipeline: %w", err)
	}
	return &output{dir: dir, enc: enc, files: map[string]*outFile{}, queue: make(chan *frame, 2*workers), jobs: make(chan *frame, 2*workers)}, nil
}

// start begins to compress and to write.
func (o *output) start(ctx context.Context, g *errgroup.Group) {
	for range cap(o.queue) / 2 {
		g.Go(func() error {
			for f := range o.jobs {
				f.out = o.enc.EncodeAll(f.raw, make([]byte, 0, len(f.raw)/2))
				f.raw = nil
				close(f.ready)
			}
			return nil
		})
	}
	g.Go(func() error {
		for f := range o.queue {
			select {
			case <-f.ready:
			case <-ctx.Done():
				return ctx.Err()
			}
			if _, err := f.file.Write(f.out); err != nil {
				return fmt.Errorf("pipeline: %w (is the disk full?)", err)
			}
			if f.end {
				if err := f.file.Commit(); err != nil {
					return fmt.Errorf("pipeline: %w", err)
				}
			}
		}
		return nil
	})
}

// add writes a line to a section's file in a folder.
func (o *output) add(ctx context.Context, folder, section string, line []byte) error {
	f, err := o.file(folder, section)
	if err != nil {
		return err
	}
	f.buf = append(f.buf, line...)
	if len(f.buf) < frameBytes {
		return nil
	}
	return o.send(ctx, f, false)
}

func (o *output) file(folder, section string) (*outFile, error) {
	if f := o.files[folder]; f != nil {
		return f, nil
	}
	file, err := atomicfile.Create(filepath.Join(o.dir, folder, section+".jsonl.zst"))
	if err != nil {
		return nil, fmt.Errorf("pipeline: %w", err)
	}
	f := &outFile{file: file}
	o.files[folder] = f
	return f, nil
}

// send hands the gathered lines on as a frame.
func (o *output) send(ctx context.Context, f *outFile, end bool) error {
	x := &frame{file: f.file, raw: f.buf, end: end, ready: make(chan struct{})}
	f.buf = nil
	for _, to := range []chan *frame{o.jobs, o.queue} {
		select {
		case to <- x:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// endSection finishes the files of a section. Its file in sections/ is written even when no document was kept, so that
// the section is found with nothing in it and not missed.
func (o *output) endSection(ctx context.Context, section string) error {
	if _, err := o.file("sections", section); err != nil {
		return err
	}
	for _, folder := range slices.Sorted(maps.Keys(o.files)) {
		if err := o.send(ctx, o.files[folder], true); err != nil {
			return err
		}
		delete(o.files, folder)
	}
	return nil
}

func (o *output) abort() {
	for _, f := range o.files {
		f.file.Abort()
	}
}
