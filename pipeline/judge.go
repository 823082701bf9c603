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

// prepare does what depends on the document alone: reading, counting, Prepare of the stages that have it, the hash.
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
	j.work = make([]prepared, len(b.o.Stages))
	plain := false // a stage before may change the text when it judges
	for i, s := range b.o.Stages {
		p, ok := s.(Preparer)
		if !ok {
			plain = true
			continue
		}
		before := d.Text
		work, drop := p.Prepare(d)
		if plain && d.Text != before { // too early
			d.Text = before
			break
		}
		j.work[i] = prepared{work, true}
		if drop {
			break
		}
	}
	j.hash()
}

// prepared is what a Preparer made of a document.
type prepared struct {
	work any
	done bool
}

// judge asks stage i, which prepared the document unless an earlier stage changed the text since.
func (j *job) judge(s Stage, i int) Verdict {
	if w := j.work[i]; w.done && !j.changed {
		return s.(Preparer).JudgePrepared(j.doc, w.work)
	}
	before := j.doc.Text
	v := s.Judge(j.doc)
	if before != j.doc.Text {
		j.changed = true
		j.hash()
	}
	return v
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
		v := j.judge(s, i)
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

// blanks says of a byte: 0 no white space, 1 white space, 2 the first byte of a character that may be.
var blanks = [256]uint8{'\t': 1, '\n': 1, '\v': 1, '\f': 1, '\r': 1, ' ': 1, 0xC2: 2, 0xE1: 2, 0xE2: 2, 0xE3: 2}

// Words counts what stands between white space, as strings.Fields cuts it.
func Words(s string) int {
	n, before := 0, uint8(1)
	for i := 0; i < len(s); i++ {
		now := blanks[s[i]]
		if now == 2 {
			r, size := utf8.DecodeRuneInString(s[i:])
			i += size - 1
			now = 0
			if unicode.IsSpace(r) {
				now = 1
			}
		}
		n += int(before &^ now)
		before = now
	}
	return n
}
