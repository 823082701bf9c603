package pipeline

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"

	"github.com/cespare/xxhash/v2"

	"ravn/corpus"
)

// bound is a stage with what it can do and where its scores lie.
type bound struct {
	Stage
	judge    Judge
	examiner Examiner
	noter    Noter
	comparer Comparer
	counter  Counter
	base     int // of its scores
}

// bind finds out what each stage can do.
func (b *builder) bind() error {
	for i, s := range b.o.Stages {
		x := bound{Stage: s, base: len(b.scores)}
		x.comparer, _ = s.(Comparer)
		x.examiner, _ = s.(Examiner)
		x.noter, _ = s.(Noter)
		x.counter, _ = s.(Counter)
		if x.comparer == nil && x.examiner == nil {
			x.judge, _ = s.(Judge)
		}
		switch {
		case x.comparer == nil && x.examiner == nil && x.judge == nil:
			return fmt.Errorf("pipeline: stage %q is neither Judge, Examiner nor Comparer", s.Name())
		case x.comparer != nil:
			b.comparers = append(b.comparers, i)
		}
		if x.examiner != nil {
			for _, name := range x.examiner.Scores() {
				b.scores = append(b.scores, s.Name()+"."+name)
			}
		}
		b.stages = append(b.stages, x)
	}
	return nil
}

// examine does what depends on the document alone: reading, counting, the stages but for comparing, the hash, the line
// that will be written.
func (b *builder) examine(x *Doc, j *job) {
	if j.doc, j.err = j.record.Document(); j.err != nil {
		return
	}
	j.record = nil
	d := j.doc
	x.start(d, len(b.stages), len(b.scores))
	f := &facts{}
	f.member.Bytes, f.member.Words = int64(len(d.Text)), int64(Words(d.Text))
	if b.o.Tokens != nil {
		f.tokens = int64(b.o.Tokens(d.Text))
	}
	f.verdict = Keep
	for i := range b.stages {
		s := &b.stages[i]
		x.stage, x.base = i, s.base
		v := Keep
		switch {
		case s.comparer != nil:
			s.comparer.Prepare(x)
		case s.examiner != nil:
			v = s.examiner.Examine(x)
		default:
			v = s.judge.Judge(d)
		}
		f.verdict = first(f.verdict, v, s.Name())
	}
	f.of(d)
	f.detected, f.scores, f.attached = x.Detected, x.scores, x.attached
	x.Detected = ""
	h := sha256.New()
	io.WriteString(h, d.Text)
	h.Sum(f.sha[:0])
	j.line = corpus.AppendJSON(make([]byte, 0, len(d.Text)+len(d.Text)/32+512), d)
	f.length = int64(len(j.line))
	j.facts = f
	d.Text = ""
}

// first joins a verdict with those before it: the first drop counts, else the first mark.
func first(was, v Verdict, stage string) Verdict {
	if !was.Keep || v.Keep && (v.Reason == "" || was.Reason != "") {
		return was
	}
	if !v.Keep && v.Reason == "" {
		v.Reason = stage
	}
	if v.Stage == "" {
		v.Stage = stage
	}
	return v
}

// eachDocument calls f for the documents of all shards, in order.
func (b *builder) eachDocument(ctx context.Context, f func(s *shard, m *Member, x *facts) error) error {
	var x facts
	for _, s := range b.work.shards {
		if err := ctx.Err(); err != nil {
			return err
		}
		file, err := s.readFacts()
		if err != nil {
			return err
		}
		number := s.first
		for _, raw := range file.list {
			if err := x.decode(raw); err != nil {
				return fmt.Errorf("pipeline: %s: %w", s.path("facts"), err)
			}
			if x.again {
				continue
			}
			x.member.Section, x.member.Number = b.sections[s.section].Name, number
			number++
			if err := f(s, &x.member, &x); err != nil {
				return err
			}
		}
	}
	return nil
}

// compare runs the comparers one after the other, each on what is left.
func (b *builder) compare(ctx context.Context) error {
	if len(b.comparers) == 0 {
		return nil
	}
	dir := filepath.Join(b.work.dir, "sort")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("pipeline: %w", err)
	}
	a := &Access{Dir: dir, MemoryBytes: b.o.MemoryBytes / 2, NumDocs: b.docs, Text: b.work.text, Name: func(n int64) (string, error) {
		section, id, err := b.work.id(n)
		if err != nil {
			return "", err
		}
		return b.sections[section].Name + "/" + id, nil
	}}
	for n, i := range b.comparers {
		c := b.stages[i].comparer
		if err := c.Begin(a); err != nil {
			return err
		}
		err := b.eachDocument(ctx, func(_ *shard, m *Member, x *facts) error {
			if !x.verdict.Keep {
				return nil
			}
			for _, before := range b.comparers[:n] {
				if !b.stages[before].comparer.Decide(m).Keep {
					return nil
				}
			}
			return c.Collect(m, x.attached[i])
		})
		if err != nil {
			return err
		}
		if err := c.Resolve(ctx); err != nil {
			return err
		}
	}
	return nil
}

// decision is the end of a document's way.
type decision struct {
	verdict Verdict
	cluster int64
	size    int64
	edits   []func(string) (string, Verdict)
	names   []string // of the stages that edit
}

// decide asks the comparers and the noters.
func (b *builder) decide(m *Member, x *facts) decision {
	d := decision{verdict: x.verdict, cluster: -1}
	if x.verdict.Keep {
		for _, i := range b.comparers {
			c := b.stages[i].comparer.Decide(m)
			if c.Cluster >= 0 && c.ClusterSize > 1 {
				d.cluster, d.size = c.Cluster, c.ClusterSize
			}
			d.verdict = first(d.verdict, c.Verdict, b.stages[i].Name())
			if !d.verdict.Keep {
				break
			}
			if c.Edit != nil {
				d.edits = append(d.edits, c.Edit)
				d.names = append(d.names, b.stages[i].Name())
			}
		}
	}
	for i := range b.stages {
		if n := b.stages[i].noter; n != nil && (d.verdict.Keep || d.verdict.Stage == n.Name()) {
			n.Note(m, x.attached[i])
		}
	}
	return d
}

// heldout chooses a document by a hash of seed, section and id: the choice does not depend on the other documents.
func heldout(seed uint64, share float64, d *Member) bool {
	if share == 0 {
		return false
	}
	key := binary.LittleEndian.AppendUint64(nil, seed)
	key = append(key, d.Section...)
	key = append(key, 0)
	key = append(key, d.ID...)
	return float64(xxhash.Sum64(key)>>11)/(1<<53) < share
}

// endSection notes what the check of a whole section found.
func (b *builder) endSection(i int, check *corpus.Check) {
	s, sum := b.sections[i], &b.sum[i]
	problems := check.Problems()
	sum.Unreadable = len(problems)
	for _, p := range problems[:min(len(problems), 100)] {
		sum.Problems = append(sum.Problems, p.Error())
	}
	sum.Notes = s.Notes()
	if sum.Unreadable > 0 {
		b.warnings = append(b.warnings, fmt.Sprintf("section %s: %d unreadable records were passed over", s.Name, sum.Unreadable))
	}
}

// count adds a document to its section's summary.
func (b *builder) count(section int, m *Member, x *facts, v Verdict, split string) {
	sum := &b.sum[section]
	c := Count{Documents: 1, Bytes: m.Bytes, Words: m.Words, Tokens: x.tokens}
	sum.In.Add(c)
	for i := range b.stages {
		if t := b.stages[i].counter; t != nil {
			for k, name := range t.Scores() {
				for _, wanted := range t.Counted() {
					if v := x.scores[b.stages[i].base+k]; name == wanted && v > 0 {
						if sum.Changes == nil {
							sum.Changes = map[string]int64{}
						}
						sum.Changes[t.Name()+"."+name] += int64(v)
					}
				}
			}
		}
	}
	if !v.Keep {
		sum.Removed.Add(c)
		addTo(sum.Reasons, v.Reason, c)
		return
	}
	if v.Reason != "" {
		addTo(sum.Marks, v.Reason, c)
	}
	addTo(sum.Licenses, m.License, c)
	if x.detected != "" {
		if sum.Detected == nil {
			sum.Detected = map[string]Count{}
		}
		addTo(sum.Detected, x.detected, c)
	}
	bin := 0
	if m.Words > 0 {
		bin = int(math.Log2(float64(m.Words))) + 1
	}
	for len(sum.Lengths) <= bin {
		sum.Lengths = append(sum.Lengths, 0)
	}
	sum.Lengths[bin]++
	if split == SplitHeldout {
		sum.Heldout.Add(c)
	} else {
		sum.Kept.Add(c)
	}
}
