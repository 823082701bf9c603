// Package web makes pages from run folders: self-contained HTML with charts drawn as SVG in Go.
//
// A page loads nothing from elsewhere, follows the reader's choice of light or dark, says in words what each chart shows,
// and is made from plain values, so that it can also be made of a run that is empty, running or stopped.
package web

import (
	"bytes"
	_ "embed"
	"fmt"
	"html/template"

	"ravn/stats"
)

// Report is what the page of a run shows. Empty parts are said to be missing.
type Report struct {
	Name     string
	Note     string
	State    string   // "finished", "running, stage train", ...
	Facts    []Fact   // what there is to know in one line each: parameters, tokens, seed
	Warnings []string // shown at the top
	Small    bool     // small or synthetic material: said beside every number
	Verdict  []string // the outcome in sentences
	Version  string
	Machine  string
	Phases   []Phase
	Corpus   []CorpusRow
	Reasons  []ReasonRow
	Overlaps []string // benchmark text found in the training text
	Rights   *Rights
	Scores   []ScoreRow
	Changes  []ChangeRow
	Trace    *Trace
	Stages   []Stage
	Files    []File
	Live     bool // served while the run goes on: the page asks for changes
}

// Fact is a name with a value.
type Fact struct{ Name, Value string }

// Stage is a part of the run's work.
type Stage struct {
	Name    string
	State   string // "done", "not changed", "begun"
	Seconds float64
}

// Phase is one training phase.
type Phase struct {
	Name  string
	Steps int // planned
	Loss  []Point
	LR    []Point
	Bits  []Series // bits per byte on held-out text, a series a language

	GradNorm   []Point
	Tasks      []Series // data sets that the guard asks: change of the score against the base, in points, with bands
	TaskLimits []Limit  // of Tasks, in points
	Speed      []Point  // tokens a second
	SpeedNote  string   // the median, and what share of the processor's peak it is
	Change     []Series // of held-out text against the base, in %, with bands; ends are forecasts
	Limits     []Limit  // of the guard, in %
	Guard      *Guard   // nil: nothing is watched
	Mixture    Mixture
	Samples    []Sample
	Notes      []string // spikes, breaches: what happened on the way
}

// Limit is a line that a chart's curves should stay below.
type Limit struct {
	Name  string
	Value float64
}

// Band is an interval.
type Band struct{ Low, High float64 }

// Point is a value at a step.
type Point struct {
	Step  int
	Value float64
}

// Series is a named curve.
type Series struct {
	Name   string
	Points []Point
	Bands  []Band // empty, or the interval of each point
	End    *Band  // interval of what is expected at the last planned step
	Middle float64
}

// CorpusRow is a section's counts. In = Kept + Heldout + Removed.
type CorpusRow struct {
	Section, License, Language, Role string
	In, Kept, Heldout, Removed       int64 // documents
	Bytes, Tokens                    int64 // kept
}

// ReasonRow counts removed documents.
type ReasonRow struct {
	Section, Reason string
	Documents       int64
}

// Rights is the gate's decision.
type Rights struct {
	Allowed  bool
	License  string
	Why      string
	Findings []RightsRow
	Credits  []string // who is to be named
	Warnings []string
}

// RightsRow is the finding on one section.
type RightsRow struct {
	Section, License, Class, Verdict, Reason string
	Tokens                                   int64
	Share                                    float64
	Examples                                 []string
}

// ScoreRow is one model on one data set.
type ScoreRow struct {
	Dataset, Metric, Model string
	Estimate               stats.Estimate
	Warnings               []string
}

// ChangeRow is the paired difference of result and base.
type ChangeRow struct {
	Dataset, Group, Metric string
	Base, Result           float64
	Difference             stats.Estimate
	Verdict                string // "better", "worse", "~"
	LowerBetter            bool   // bits per byte always are
}

// Trace is what one step read.
type Trace struct {
	Step  int
	Spans []TraceSpan
}

// TraceSpan is a piece of a document.
type TraceSpan struct {
	Row, At, Len                int
	Section, Document, Licenses string
}

// File is a file of the run folder, relative to the report.
type File struct{ Path, What string }

//go:embed report.html
var reportHTML string

//go:embed report.css
var reportCSS string

var reportTemplate = template.Must(template.New("report").Funcs(template.FuncMap{
	"css":        func() template.CSS { return template.CSS(reportCSS) },
	"count":      count,
	"percent":    func(x float64) string { return fmt.Sprintf("%.1f %%", 100*x) },
	"number":     number,
	"estimate":   estimate,
	"difference": difference,
	"seconds":    seconds,
	"style":      func(i int) int { return i % numStyles },
	"barWidth":   barWidth,
}).Parse(reportHTML))

// HTML makes the page.
func (r *Report) HTML() ([]byte, error) {
	var buf bytes.Buffer
	if err := reportTemplate.Execute(&buf, r); err != nil {
		return nil, fmt.Errorf("web: report of %s: %w", r.Name, err)
	}
	return buf.Bytes(), nil
}
