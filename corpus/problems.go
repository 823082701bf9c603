package corpus

import (
	"fmt"
	"strings"
)

// Problem is one record that cannot be read, with where and what to do.
type Problem struct {
	File   string
	Line   int   // from 1; 0 when the file is the record
	Offset int64 // byte in the file or line, where known, else -1
	What   string
	Advice string
}

func (p *Problem) Error() string {
	where := p.File
	if p.Line > 0 {
		where = fmt.Sprintf("%s:%d", p.File, p.Line)
	}
	if p.Offset >= 0 {
		where += fmt.Sprintf(": byte %d", p.Offset)
	}
	return fmt.Sprintf("corpus: %s: %s\n        (%s)", where, p.What, p.Advice)
}

// Problems are the unreadable records that ended a section.
type Problems struct {
	Section string
	List    []*Problem // in the order they were met
	More    bool       // the section was not read to its end
}

// maxProblems is how many are collected before giving up when none is allowed.
const maxProblems = 20

func (p *Problems) Error() string {
	var b strings.Builder
	for i, q := range p.List {
		if i == maxProblems {
			fmt.Fprintf(&b, "\ncorpus: section %s: and %d more", p.Section, len(p.List)-i)
			break
		}
		if i > 0 {
			b.WriteByte('\n')
		}
		b.WriteString(q.Error())
	}
	if p.More {
		fmt.Fprintf(&b, "\ncorpus: section %s: stopped after %d unreadable records (there may be more; max_errors or --max-errors lets some pass)", p.Section, len(p.List))
	}
	return b.String()
}

// Check applies the rules of a section that need more than one record: ids are unique, and no more records are
// unreadable than MaxErrors allows.
type Check struct {
	s        *Section
	seen     map[string]place
	problems []*Problem
}

// place is where an id was first seen; file names are shared strings, so it is small.
type place struct {
	file string
	line int
}

// NewCheck starts the check of one pass over the section.
func (s *Section) NewCheck() *Check { return &Check{s: s, seen: map[string]place{}} }

// Accept takes the next document or the error that came in its place. It says whether to use the document, and returns
// an error when the section cannot be read on.
func (c *Check) Accept(d *Document, err error) (use bool, fatal error) {
	if err == nil {
		was, ok := c.seen[d.ID]
		if !ok {
			c.seen[d.ID] = place{d.File, d.Line}
			return len(c.problems) <= c.s.maxErrors, nil
		}
		err = &Problem{
			File: d.File, Line: d.Line, Offset: -1,
			What:   fmt.Sprintf("id %q was already used at %s", d.ID, was),
			Advice: "give every document of a section its own id, or remove one",
		}
	}
	p, ok := err.(*Problem)
	if !ok {
		return false, err
	}
	c.problems = append(c.problems, p)
	if n := len(c.problems); n > c.s.maxErrors && n >= maxProblems {
		return false, &Problems{Section: c.s.Name, List: c.problems, More: true}
	}
	return false, nil
}

// Finish ends the pass. It returns the problems when there were more than allowed.
func (c *Check) Finish() error {
	if len(c.problems) > c.s.maxErrors {
		return &Problems{Section: c.s.Name, List: c.problems}
	}
	return nil
}

// Problems returns the records that were passed over.
func (c *Check) Problems() []*Problem { return c.problems }

func (p place) String() string {
	if p.line == 0 {
		return p.file
	}
	return fmt.Sprintf("%s:%d", p.file, p.line)
}
