// Package pipeline takes the documents of a corpus through stages that keep or drop them, and writes what was kept, what
// was removed, and a ledger that says why.
//
// Every document that comes in is counted once: kept for training, kept out for validation, or removed by a stage with a
// reason. The result depends on the documents, the stages and the seed alone, not on the number of workers.
package pipeline

import "ravn/corpus"

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

// Stage judges documents. Judge is called from one goroutine at a time, in document order, for the documents that the
// stages before it kept. It may change d.Text. A Stage with memory, such as one that finds duplicates, is for one Build.
type Stage interface {
	Name() string
	Judge(d *corpus.Document) Verdict
}

// Preparer is a Stage whose costly part depends on the document alone. Prepare is called for many documents at a time, in
// no order, and may change d.Text; what it returns goes to JudgePrepared, which is called as Judge is. When drop is true
// the verdict will be to remove the document whatever came before, and later stages need not prepare it.
// Judge(d) must be the same as JudgePrepared(d, work) after Prepare(d).
type Preparer interface {
	Stage
	Prepare(d *corpus.Document) (work any, drop bool)
	JudgePrepared(d *corpus.Document, work any) Verdict
}

// Overlapper is a Stage that compared the documents with benchmarks. Build puts the report into the summary.
type Overlapper interface {
	Report() []BenchmarkOverlap
}
