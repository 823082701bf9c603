package workflow

import (
	"fmt"
	"io"
	"path/filepath"
	"sort"
	"strings"

	"ravn/recipe"
	"ravn/run"
	"ravn/shard"
	"ravn/tokenizer"
	"ravn/train"
)

// Trace answers what a finished or running training phase reads at which step, from the recipe and the shards alone.
type Trace struct {
	flow  *Flow
	phase string
	set   *shard.Set
	order *shard.Staged
	names *shard.Names
	tok   *tokenizer.Tokenizer // read when a step's text is asked for
	steps int
}

// StepTrace is what one step read.
type StepTrace struct {
	Step      int           `json:"step"`
	Tokens    int           `json:"tokens"`
	Licenses  []TracedShare `json:"licenses"`
	Sections  []TracedShare `json:"sections"`
	Documents []TracedSpan  `json:"documents"`
}

// TracedShare is a part of a step's tokens.
type TracedShare struct {
	Name   string  `json:"name"`
	Tokens int     `json:"tokens"`
	Share  float64 `json:"share"`
}

// TracedSpan is a piece of one document in one row.
type TracedSpan struct {
	shard.Span
	IDs  []int32 `json:"ids,omitempty"`
	Text string  `json:"text,omitempty"`
}

// DocumentTrace is where one document was read.
type DocumentTrace struct {
	Document  string           `json:"document"`
	Steps     int              `json:"steps"` // of the phase
	Sightings []shard.Sighting `json:"sightings"`
	Seen      []int            `json:"checkpoints_that_saw_it"`
	Clean     []int            `json:"checkpoints_before"`
}

// OpenTrace opens a run folder; phase is "base" or "continued".
func OpenTrace(dir, phase string) (*Trace, error) {
	folder, err := run.Open(dir)
	if err != nil {
		return nil, err
	}
	r, err := recipe.Load(folder.RecipeFile())
	if err != nil {
		return nil, err
	}
	outcome, err := train.ReadOutcome(folder.Dir, r.Train.Steps)
	if err != nil {
		return nil, err
	}
	steps := outcome.Steps
	if phase == basePhase {
		if r.Base.Phase == nil {
			return nil, fmt.Errorf("workflow: the base of %s was not trained here", dir)
		}
		steps = r.Base.Phase.Steps
	}
	f := &Flow{Recipe: r, Folder: folder}
	set, err := shard.Open(folder.ShardsDir())
	if err != nil {
		return nil, err
	}
	order, err := f.order(set, phase)
	if err != nil {
		set.Close()
		return nil, err
	}
	names, err := set.Names(folder.Path("trace", "documents.idx"))
	if err != nil {
		set.Close()
		return nil, err
	}
	return &Trace{flow: f, phase: phase, set: set, order: order, names: names, steps: steps}, nil
}

// Close unmaps the shards.
func (t *Trace) Close() error { return t.set.Close() }

// Step lists the documents of a step, with their tokens where these are asked for.
func (t *Trace) Step(step int, tokens bool) (*StepTrace, error) {
	spans, err := t.order.SpansNamed(step, t.names)
	if err != nil {
		return nil, err
	}
	out := &StepTrace{Step: step}
	licenses, sections := map[string]int{}, map[string]int{}
	for _, s := range spans {
		out.Tokens += s.Len
		licenses[s.License] += s.Len
		sections[s.Section] += s.Len
		out.Documents = append(out.Documents, TracedSpan{Span: s})
	}
	out.Licenses, out.Sections = shares(licenses, out.Tokens), shares(sections, out.Tokens)
	if !tokens {
		return out, nil
	}
	b, err := t.order.Batch(step)
	if err != nil {
		return nil, err
	}
	if t.tok == nil {
		if t.tok, err = tokenizer.Load(t.flow.Folder.TokenizerDir()); err != nil {
			return nil, err
		}
	}
	for i := range out.Documents {
		d := &out.Documents[i]
		at := d.Row*b.T + d.At
		d.IDs = b.Tokens[at : at+d.Len]
		d.Text = t.tok.Decode(d.IDs)
	}
	return out, nil
}

func shares(tokens map[string]int, total int) []TracedShare {
	var out []TracedShare
	for _, name := range sortedKeys(tokens) {
		out = append(out, TracedShare{Name: name, Tokens: tokens[name], Share: float64(tokens[name]) / float64(total)})
	}
	sort.SliceStable(out, func(i, k int) bool { return out[i].Tokens > out[k].Tokens })
	return out
}

// Document lists where a document, "ID" or "SECTION/ID", was read.
func (t *Trace) Document(name string) (*DocumentTrace, error) {
	section, id, ok := strings.Cut(name, "/")
	if ok {
		if s, err := t.order.StepsOfNamed(section, id, t.names); err == nil {
			return t.sighted(name, s)
		}
	}
	s, err := t.order.StepsOfNamed("", name, t.names)
	if err != nil {
		return nil, err
	}
	return t.sighted(name, s)
}

func (t *Trace) sighted(name string, s []shard.Sighting) (*DocumentTrace, error) {
	d := &DocumentTrace{Document: name, Steps: t.steps, Sightings: s}
	first := 0
	if len(s) > 0 {
		first = s[0].Step
	}
	var err error
	d.Seen, d.Clean, err = t.checkpoints(first)
	return d, err
}

// Write prints a step for people.
func (s *StepTrace) Write(w io.Writer) {
	fmt.Fprintf(w, "step %d: %d tokens\n", s.Step, s.Tokens)
	for _, part := range []struct {
		title string
		rows  []TracedShare
	}{{"licences", s.Licenses}, {"sections", s.Sections}} {
		fmt.Fprintf(w, "\n%s\n", part.title)
		for _, x := range part.rows {
			fmt.Fprintf(w, "  %-36s %7d  %5.1f %%\n", orUnknown(x.Name), x.Tokens, 100*x.Share)
		}
	}
	fmt.Fprintf(w, "\n%-5s %-6s %-7s %-8s %s\n", "row", "at", "tokens", "from", "document")
	for _, d := range s.Documents {
		fmt.Fprintf(w, "%-5d %-6d %-7d %-8d %s (%s)\n", d.Row, d.At, d.Len, d.DocStart, filepath.ToSlash(filepath.Join(d.Section, d.Document)), orUnknown(d.License))
		if d.Text != "" {
			fmt.Fprintf(w, "      %q\n", d.Text)
		}
	}
}

// Write prints a document's sightings for people.
func (d *DocumentTrace) Write(w io.Writer) {
	if len(d.Sightings) == 0 {
		fmt.Fprintf(w, "%s: in the shards, but not read in these %d steps\n", d.Document, d.Steps)
		return
	}
	first, last := d.Sightings[0], d.Sightings[len(d.Sightings)-1]
	tokens := 0
	for _, s := range d.Sightings {
		tokens += s.Len
	}
	fmt.Fprintf(w, "%s: %d tokens read in %d places, first at step %d, last at step %d of %d\n", d.Document, tokens, len(d.Sightings), first.Step, last.Step, d.Steps)
	writeCheckpoints(w, d.Seen, d.Clean)
	for _, s := range d.Sightings {
		fmt.Fprintf(w, "  step %-6d row %-4d at %-5d %d tokens\n", s.Step, s.Row, s.At, s.Len)
	}
}

func orUnknown(s string) string {
	if s == "" {
		return "unknown"
	}
	return s
}
