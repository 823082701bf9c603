package pipeline

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"io"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/cespare/xxhash/v2"

	"ravn/corpus"
)

// prepare does what depends on the document alone: reading, counting, the leading Preparers, the hash.
func (b *builder) prepare(j *job) {
	if j.doc, j.err = j.record.Document(); j.err != nil {
		return
	}
	j.record = nil
	d := j.doc
	j.bytes, j.words = int64(len(d.Text)), int64(Words(d.Text))
	if b.o.Tokens != nil {
		j.tokens = int64(b.o.Tokens(d.Text))
	}
	for _, s := range b.o.Stages {
		p, ok := s.(Preparer)
		if !ok {
			break // its Judge may change the text, so that later stages cannot prepare yet
		}
		work, drop := p.Prepare(d)
		j.work = append(j.work, work)
		if drop {
			break
		}
	}
	j.hash()
}

// hash sums the text as it is now.
func (j *job) hash() {
	h := sha256.New()
	io.WriteString(h, j.doc.Text)
	h.Sum(j.sha[:0])
}

// decide takes a document through the stages and the split, and counts it.
func (b *builder) decide(j *job) {
	d, sum := j.doc, &b.sum[j.section]
	count := Count{Documents: 1, Bytes: j.bytes, Words: j.words, Tokens: j.tokens}
	sum.In.Add(count)
	j.verdict = Keep
	for i, s := range b.o.Stages {
		var v Verdict
		if i < len(j.work) {
			v = s.(Preparer).JudgePrepared(d, j.work[i])
		} else {
			before := d.Text
			v = s.Judge(d)
			if before != d.Text {
				j.hash()
			}
		}
		if v.Stage == "" && v.Reason != "" {
			v.Stage = s.Name()
		}
		if !v.Keep {
			if v.Reason == "" {
				v.Stage, v.Reason = s.Name(), s.Name()
			}
			j.verdict = v
			sum.Removed.Add(count)
			addTo(sum.Reasons, v.Reason, count)
			j.work = nil
			return
		}
		if v.Reason != "" && j.verdict.Reason == "" {
			j.verdict = v
		}
	}
	j.work = nil
	if j.verdict.Reason != "" {
		addTo(sum.Marks, j.verdict.Reason, count)
	}
	addTo(sum.Licenses, d.License, count)
	if heldout(b.o.Seed, b.o.HeldoutShare, d) {
		j.split = SplitHeldout
		sum.Heldout.Add(count)
		return
	}
	j.split = SplitTrain
	sum.Kept.Add(count)
}

// heldout chooses a document by a hash of seed, section and id: the choice does not depend on the other documents.
func heldout(seed uint64, share float64, d *corpus.Document) bool {
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
	switch {
	case sum.In.Documents == 0:
		b.warnings = append(b.warnings, fmt.Sprintf("section %s has no documents", s.Name))
	case sum.Kept.Documents == 0:
		b.warnings = append(b.warnings, fmt.Sprintf("section %s: none of %d documents was kept for training", s.Name, sum.In.Documents))
	}
	if sum.Unreadable > 0 {
		b.warnings = append(b.warnings, fmt.Sprintf("section %s: %d unreadable records were passed over", s.Name, sum.Unreadable))
	}
}

// summary adds up and checks.
func (b *builder) summary() (*Summary, error) {
	s := &Summary{Seed: b.o.Seed, HeldoutShare: b.o.HeldoutShare, Sections: b.sum, Total: newSectionSummary("total"), Warnings: b.warnings}
	dedups := false
	for _, st := range b.o.Stages {
		s.Stages = append(s.Stages, st.Name())
		dedups = dedups || strings.HasPrefix(st.Name(), "dedup")
		if o, ok := st.(Overlapper); ok {
			s.Benchmarks = append(s.Benchmarks, o.Report()...)
		}
	}
	for i := range s.Sections {
		s.Total.add(&s.Sections[i])
	}
	if b.o.HeldoutShare > 0 && !dedups {
		s.Warnings = append(s.Warnings, "no dedup stage: a held-out text may also be in the training part")
	}
	if b.o.HeldoutShare > 0 && s.Total.Heldout.Documents == 0 {
		s.Warnings = append(s.Warnings, fmt.Sprintf("a share of %v of %d documents held out is none", b.o.HeldoutShare, s.Total.In.Documents))
	}
	return s, s.Check()
}

// Words counts what stands between white space, as strings.Fields cuts it.
func Words(s string) int {
	n, in := 0, false
	for i := 0; i < len(s); {
		c := s[i]
		if c < utf8.RuneSelf {
			blank := c == ' ' || c >= '\t' && c <= '\r'
			if !blank && !in {
				n++
			}
			in = !blank
			i++
			continue
		}
		r, size := utf8.DecodeRuneInString(s[i:])
		blank := unicode.IsSpace(r)
		if !blank && !in {
			n++
		}
		in = !blank
		i += size
	}
	return n
}
