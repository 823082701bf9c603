// Package pipeline takes the documents of a corpus through stages that keep, change or drop them, and writes what was
// kept, what was removed, and a ledger that says why, with every score behind it.
//
// Every document that comes in is counted once: kept for training, kept out for validation, or removed by a stage with a
// reason. The result depends on the documents, the stages and the seed alone, not on the number of workers, nor on whether
// the work was broken off and taken up again.
package pipeline

import (
	"context"

	"ravn/corpus"
)

// Verdict is what a stage says about a document. A kept document may carry a reason too: then it is marked.
type Verdict struct {
	Keep   bool
	Stage  string // filled in by Build when empty
	Reason string // stable slug: "too_short", "exact_duplicate", "contaminated"
	Detail string // for people, with the numbers that decided
}

// Keep is the verdict on a document that a stage has nothing to say about.
var Keep = Verdict{Keep: true}

// Drop makes the verdict that removes a document.
func Drop(reason, detail string) Verdict { return Verdict{Reason: reason, Detail: detail} }

// Mark makes the verdict that keeps a document with a remark.
func Mark(reason, detail string) Verdict { return Verdict{Keep: true, Reason: reason, Detail: detail} }

// Stage is a step of the way. It is one of Judge, Examiner and Comparer as well.
//
// Judges and examiners look at a document alone. All of them see every document, in the order of Options.Stages, also
// documents that an earlier one drops, so that the ledger holds all scores; the first to drop it gives the reason.
// Comparers follow, in their order, and see the documents that are left.
type Stage interface{ Name() string }

// Judge is the plainest stage. It is called for many documents at a time, in no order, and may change d.Text; its answer
// depends on the document alone.
type Judge interface {
	Stage
	Judge(d *corpus.Document) Verdict
}

// Examiner is a stage that measures. It is called as a Judge is; x shares words and lines between stages.
type Examiner interface {
	Stage
	Scores() []string // names of what x.Score sets, in order
	Examine(x *Doc) Verdict
}

// Noter is an Examiner that adds up over documents. Note is called in document order for documents that no other stage
// dropped, with what Examine attached.
type Noter interface {
	Examiner
	Note(m *Member, attached []byte)
}

// Comparer is a stage that compares documents with each other. Prepare is called as Examine is and may attach what is to
// be compared; Begin comes when all is prepared; Collect gets what was attached, in document order, of documents that are
// left; Resolve finds the answer; Decide tells it, in document order, perhaps more than once. It is for one Build.
type Comparer interface {
	Stage
	Prepare(x *Doc)
	Begin(a *Access) error
	Collect(m *Member, attached []byte) error
	Resolve(ctx context.Context) error
	Decide(m *Member) Decision
}

// Decision is what a Comparer says about a document.
type Decision struct {
	Verdict
	Cluster     int64 // number of the first document of its cluster; -1 when it has none
	ClusterSize int64
	Edit        func(text string) (string, Verdict) // nil, or the change to be made to the text
}

// Member is what a document is known by after it was examined.
type Member struct {
	Number       int64 // in reading order over all sections, from 0
	ID           string
	Section      string
	License      string
	Language     string
	Bytes, Words int64
}

// Name is SECTION/ID.
func (m *Member) Name() string { return m.Section + "/" + m.ID }

// Access lets a Comparer work on disk and look documents up.
type Access struct {
	Dir         string // for temporary files
	MemoryBytes int64  // that the comparer may use, roughly
	NumDocs     int64  // documents in all; numbers are below it
	Text        func(number int64) (string, error)
	Name        func(number int64) (string, error) // SECTION/ID
}

// Overlapper is a Stage that compared the documents with benchmarks. Build puts the report into the summary.
type Overlapper interface {
	Report() []BenchmarkOverlap
}

// Counter is a Stage that counts what it changed. Build puts the counts into the summary, by what was changed. The scores
// of that name, added up over all documents, are the counts.
type Counter interface {
	Examiner
	Counted() []string // some of Scores
}
