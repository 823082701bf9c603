// Package dedup finds documents whose text was there before: word for word, nearly, or line by line.
//
// Copies are found in two steps that need no more memory than they are given: every document leaves a fingerprint and a
// MinHash signature, and these are sorted on disk. The result does not depend on the number of workers.
package dedup

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"slices"

	"ravn/internal/extsort"
	"ravn/pipeline"
)

// Reasons of verdicts.
const (
	ExactDuplicate = "exact_duplicate"
	NearDuplicate  = "near_duplicate"
)

// Rules for the document of a cluster that is kept.
const (
	KeepFirst    = "first"    // in document order
	KeepLongest  = "longest"  // in bytes; of equal ones the first
	KeepPriority = "priority" // of the section that Priority names first; sections that it does not name come last
)

// Options of deduplication.
type Options struct {
	Verbatim bool     // compare texts byte by byte for exact copies; false (default): compare them normalised
	Near     *MinHash // nil: exact copies alone
	Keep     string   // "" is KeepFirst
	Priority []string // sections, for KeepPriority
	Mark     bool     // near copies are kept and marked; exact ones go all the same
	// Copies says how many documents of a cluster are kept by its size: the entry of the greatest size that it reaches
	// counts, below all of them one is kept. Exact copies go all the same. Text that stood in many places was good enough
	// for many; FineWeb-2 (Penedo et al. 2025) brings some of it back by the size of its cluster.
	Copies map[int]int
}

// Validate checks the options.
func (o Options) Validate() error {
	var errs []error
	if !slices.Contains([]string{"", KeepFirst, KeepLongest, KeepPriority}, o.Keep) {
		errs = append(errs, fmt.Errorf("dedup: keep %q is not known (use first, longest or priority)", o.Keep))
	}
	if (o.Keep == KeepPriority) != (len(o.Priority) > 0) {
		errs = append(errs, fmt.Errorf("dedup: keep priority and a list of sections belong together"))
	}
	if o.Near != nil {
		errs = append(errs, o.Near.Validate())
	}
	for size, n := range o.Copies {
		if size < 2 || n < 1 || n > size {
			errs = append(errs, fmt.Errorf("dedup: of clusters of %d documents %d are to be kept (use sizes from 2 on, and 1 to the size)", size, n))
		}
	}
	if len(o.Copies) > 0 && o.Near == nil {
		errs = append(errs, fmt.Errorf("dedup: copies by cluster size need near copies to be looked for"))
	}
	return errors.Join(errs...)
}

// New returns the stage.
//
// Exact copies have the same normalised text: Unicode NFC, lower case, every run of white space one space, none at the
// ends, compared by 96 bits of its SHA-256. Near copies are found as Options.Near says. All copies of each other make a
// cluster, of which one document is kept. 12 to 20 bytes of memory a document.
func New(o Options) pipeline.Stage { return &stage{o: o} }

// NewExact returns the stage for exact copies alone.
func NewExact(o Options) pipeline.Stage {
	o.Near = nil
	return New(o)
}

type stage struct {
	o Options
	a *pipeline.Access

	exact *extsort.Sorter
	bands *extsort.Sorter
	sigs  *os.File // signatures, by document

	exactOf  []uint32        // by document: the first with its text
	root     []uint32        // by document: union-find, roots are the first of their cluster
	keeper   []uint32        // by root
	size     []uint32        // by root
	back     map[uint32]bool // documents that are kept beside the keeper
	weight   []uint32        // by document, what Keep compares; the greater is kept
	lastName string          // of document lastNum
	lastNum  uint32
}

func (s *stage) Name() string { return "dedup" }

const fingerprintBytes = 16

// Prepare computes fingerprint and signature.
func (s *stage) Prepare(x *pipeline.Doc) {
	var fp [16]byte
	if s.o.Verbatim {
		sum := sha256.Sum256([]byte(x.Text))
		fp = [16]byte(sum[:16])
	} else {
		fp = Fingerprint(x.Text)
	}
	if s.o.Near == nil {
		x.Attach(fp[:])
		return
	}
	b := make([]byte, fingerprintBytes, fingerprintBytes+s.o.Near.signatureBytes())
	copy(b, fp[:])
	x.Attach(s.o.Near.appendSignature(b, x.Tokens()))
}

// Begin opens what is collected.
func (s *stage) Begin(a *pipeline.Access) error {
	s.a = a
	if a.NumDocs >= 1<<32 {
		return fmt.Errorf("dedup: %d documents are more than 2^32 (deduplicate parts of the corpus)", a.NumDocs)
	}
	s.exact = extsort.New(a.Dir, a.MemoryBytes/4)
	if s.o.Keep == KeepLongest || s.o.Keep == KeepPriority {
		s.weight = make([]uint32, a.NumDocs)
	}
	if s.o.Near == nil {
		return nil
	}
	s.bands = extsort.New(a.Dir, a.MemoryBytes/2)
	f, err := os.CreateTemp(a.Dir, "signatures-*")
	if err != nil {
		return fmt.Errorf("dedup: %w", err)
	}
	s.sigs = f
	return nil
}

// Collect takes what Prepare attached.
func (s *stage) Collect(m *pipeline.Member, attached []byte) error {
	number := uint32(m.Number)
	fp := attached[:fingerprintBytes]
	if err := s.exact.Add(extsort.Record{Key: binary.LittleEndian.Uint64(fp), High: number, Low: binary.LittleEndian.Uint32(fp[8:])}); err != nil {
		return err
	}
	switch s.o.Keep {
	case KeepLongest:
		s.weight[number] = uint32(min(m.Bytes, 1<<32-1))
	case KeepPriority:
		at := slices.Index(s.o.Priority, m.Section)
		if at >= 0 {
			s.weight[number] = uint32(len(s.o.Priority) - at)
		}
	}
	if s.o.Near == nil {
		return nil
	}
	sig := attached[fingerprintBytes:]
	for i, key := range s.o.Near.bandKeys(sig) {
		if err := s.bands.Add(extsort.Record{Key: key, High: number, Low: uint32(i)}); err != nil {
			return err
		}
	}
	if _, err := s.sigs.WriteAt(sig, m.Number*int64(len(sig))); err != nil {
		return fmt.Errorf("dedup: %w (is the disk full?)", err)
	}
	return nil
}

// Resolve finds the clusters.
func (s *stage) Resolve(ctx context.Context) error {
	n := s.a.NumDocs
	s.exactOf, s.root = make([]uint32, n), make([]uint32, n)
	for i := range s.root {
		s.exactOf[i], s.root[i] = uint32(i), uint32(i)
	}
	if err := s.resolveExact(ctx); err != nil {
		return err
	}
	if s.o.Near != nil {
		if err := s.resolveNear(ctx); err != nil {
			return err
		}
	}
	s.keeper, s.size = make([]uint32, n), make([]uint32, n)
	for i := range s.root {
		r := s.find(uint32(i))
		if s.size[r]++; s.size[r] == 1 || s.weight != nil && s.weight[i] > s.weight[s.keeper[r]] {
			s.keeper[r] = uint32(i)
		}
	}
	s.bringBack()
	return nil
}

// bringBack chooses, in document order, what is kept of large clusters beside the keeper.
func (s *stage) bringBack() {
	s.back = map[uint32]bool{}
	if len(s.o.Copies) == 0 {
		return
	}
	chosen := map[uint32]int{} // by root
	for i := range uint32(len(s.root)) {
		r := s.find(i)
		k := s.keeper[r]
		if s.size[r] < 2 || i == k || s.exactOf[i] != i || s.exactOf[k] == i {
			continue
		}
		if chosen[r]+1 < s.copies(int(s.size[r])) {
			chosen[r]++
			s.back[i] = true
		}
	}
}

// copies is how many documents of a cluster are kept.
func (s *stage) copies(size int) int {
	best, n := 0, 1
	for from, k := range s.o.Copies {
		if from <= size && from > best {
			best, n = from, k
		}
	}
	return n
}

func (s *stage) resolveExact(ctx context.Context) error {
	defer s.exact.Close()
	var run []extsort.Record // of the same key
	flush := func() {
		for i, x := range run {
			for _, y := range run[:i] {
				if x.Low == y.Low {
					s.exactOf[x.High] = s.exactOf[y.High]
					s.join(x.High, y.High)
					break
				}
			}
		}
		run = run[:0]
	}
	for r, err := range s.exact.Sorted(ctx) {
		if err != nil {
			return err
		}
		if len(run) > 0 && run[0].Key != r.Key {
			flush()
		}
		if len(run) < 16 { // more only when keys collide; then the first sixteen are looked at
			run = append(run, r)
			continue
		}
		for _, y := range run {
			if r.Low == y.Low {
				s.exactOf[r.High] = s.exactOf[y.High]
				s.join(r.High, y.High)
				break
			}
		}
	}
	flush()
	return nil
}

// find is the first document of the cluster so far.
func (s *stage) find(i uint32) uint32 {
	for s.root[i] != i {
		s.root[i] = s.root[s.root[i]]
		i = s.root[i]
	}
	return i
}

// join makes one cluster of two.
func (s *stage) join(a, b uint32) {
	a, b = s.find(a), s.find(b)
	s.root[max(a, b)] = min(a, b)
}

// Decide says which of a cluster is kept.
func (s *stage) Decide(m *pipeline.Member) pipeline.Decision {
	number := uint32(m.Number)
	r := s.find(number)
	d := pipeline.Decision{Verdict: pipeline.Keep, Cluster: -1}
	if s.size[r] < 2 {
		return d
	}
	d.Cluster, d.ClusterSize = int64(r), int64(s.size[r])
	k := s.keeper[r]
	if k == number || s.back[number] {
		return d
	}
	if s.exactOf[k] == s.exactOf[number] {
		d.Verdict = pipeline.Drop(ExactDuplicate, "same text as "+s.name(k))
		return d
	}
	said := fmt.Sprintf("near copy of %s, of which it shares about %.2f of all runs of %d words (limit %.2f; cluster of %d documents)",
		s.name(k), s.estimate(number, k), s.o.Near.Words, s.o.Near.Threshold, s.size[r])
	d.Verdict = pipeline.Drop(NearDuplicate, said)
	if s.o.Mark {
		d.Verdict = pipeline.Mark(NearDuplicate, said)
	}
	return d
}

// name is SECTION/ID of a document.
func (s *stage) name(number uint32) string {
	if s.lastName == "" || s.lastNum != number {
		name, err := s.a.Name(int64(number))
		if err != nil {
			return fmt.Sprintf("document %d", number)
		}
		s.lastName, s.lastNum = name, number
	}
	return s.lastName
}
