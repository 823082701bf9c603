package workflow

import (
	"fmt"
	"io"
	"math"
	"path/filepath"
	"slices"
	"sort"
	"strconv"
	"strings"

	"ravn/checkpoint"
	"ravn/rights"
	"ravn/run"
	"ravn/train"
)

// Selection names documents of a run by what they are part of. One field is set.
type Selection struct {
	Source    string // section, or source of the register
	License   string // as stated or, with a register, as decided
	Agreement string // id in the register
}

// UsageTrace is what a phase read of the documents of a selection.
type UsageTrace struct {
	What      string        `json:"what"`
	Documents int           `json:"documents"`      // in the shards
	Read      int           `json:"documents_read"` // of these
	Tokens    int64         `json:"tokens"`         // read, repeats counted
	Share     float64       `json:"share"`          // of the phase's tokens
	Steps     int           `json:"steps"`          // that read any of it
	Of        int           `json:"of_steps"`
	First     int           `json:"first_step"` // 0: none
	Last      int           `json:"last_step"`
	Seen      []int         `json:"checkpoints_that_saw_it"`
	Clean     []int         `json:"checkpoints_before"`
	Sections  []TracedShare `json:"sections"`
	Licenses  []TracedShare `json:"licenses"`
	Examples  []string      `json:"examples"` // documents with the most tokens read
}

// DifferenceTrace is what was read between two checkpoints.
type DifferenceTrace struct {
	From      int           `json:"from"` // steps up to here are in both
	To        int           `json:"to"`
	Tokens    int64         `json:"tokens"`
	Documents int           `json:"documents"`
	New       int           `json:"documents_not_seen_before"`
	Sections  []TracedShare `json:"sections"`
	Licenses  []TracedShare `json:"licenses"`
	Examples  []string      `json:"examples"` // documents with the most tokens read
}

// SpikeTrace is a step whose loss stands out, with what it read.
type SpikeTrace struct {
	Step      int           `json:"step"`
	Loss      float64       `json:"loss"`
	Expected  float64       `json:"expected"` // median of the steps before
	Sections  []TracedShare `json:"sections"`
	Documents []string      `json:"documents"` // most tokens first
}

// checkpoints parts the phase's checkpoints on disk into those at or after a step and those before; 0 is never.
func (t *Trace) checkpoints(first int) (seen, clean []int, err error) {
	root := train.Root(t.flow.Folder.Dir)
	if t.phase == basePhase {
		root = train.Root(t.flow.Folder.Path("base"))
	}
	dirs, err := checkpoint.List(root)
	if err != nil {
		return nil, nil, err
	}
	for _, dir := range dirs {
		step, err := strconv.Atoi(strings.TrimPrefix(filepath.Base(dir), "step-"))
		if err != nil {
			continue
		}
		if first > 0 && step >= first {
			seen = append(seen, step)
		} else {
			clean = append(clean, step)
		}
	}
	return seen, clean, nil
}

// effective gives the licence and the agreement that count for a document: the register's word where there is one.
func (t *Trace) effective() (func(row int) (license, agreement string), error) {
	reg, err := t.flow.register()
	if err != nil {
		return nil, err
	}
	type key struct{ section, license string }
	type value struct{ license, agreement string }
	known := map[key]value{}
	day := t.flow.policy().Date
	return func(row int) (string, string) {
		k := key{t.names.Section(row), t.names.License(row)}
		v, ok := known[k]
		if !ok {
			v.license, _ = rights.Normalize(k.license)
			if reg != nil {
				switch terms := reg.Terms(k.section, k.license, nil, day); {
				case terms.Agreement != nil:
					v = value{terms.Agreement.License().ID, terms.Agreement.ID}
				case terms.License != "":
					v.license = terms.License
				}
			}
			if id, ok := strings.CutPrefix(v.license, "LicenseRef-Agreement-"); ok {
				v.agreement = id
			}
			known[k] = v
		}
		return v.license, v.agreement
	}, nil
}

// choose says for each document whether it belongs to the selection.
func (t *Trace) choose(s Selection) (what string, in func(row int) bool, err error) {
	counts, err := t.effective()
	if err != nil {
		return "", nil, err
	}
	switch {
	case s.Source != "":
		sections := []string{s.Source}
		if reg, err := t.flow.register(); err == nil && reg != nil {
			for _, x := range reg.Sources {
				if x.Source == s.Source {
					sections = append(sections, x.Sections...)
				}
			}
		}
		return "source " + s.Source, func(row int) bool { return slices.Contains(sections, t.names.Section(row)) }, nil
	case s.Agreement != "":
		return "agreement " + s.Agreement, func(row int) bool { _, a := counts(row); return a == s.Agreement }, nil
	}
	want, _ := rights.Normalize(s.License)
	return "licence " + want, func(row int) bool {
		id, _ := counts(row)
		stated, _ := rights.Normalize(t.names.License(row))
		return id == want || stated == want
	}, nil
}

// Usage answers what a phase read of a selection.
func (t *Trace) Usage(s Selection) (*UsageTrace, error) {
	what, in, err := t.choose(s)
	if err != nil {
		return nil, err
	}
	u := &UsageTrace{What: what, Of: t.steps}
	chosen := make([]bool, t.names.Len())
	for row := range chosen {
		if in(row) {
			chosen[row] = true
			u.Documents++
		}
	}
	if u.Documents == 0 {
		return nil, fmt.Errorf("workflow: no document of %s is in the shards of this run (sections and licences: ravn corpus stats %s)", what, t.flow.Folder.Dir)
	}
	tokens, total := make([]int64, t.names.Len()), int64(0)
	err = t.order.Walk(1, t.steps, func(step, document, n int) {
		total += int64(n)
		if !chosen[document] {
			return
		}
		tokens[document] += int64(n)
		if u.Last != step {
			u.Steps++
		}
		if u.First == 0 {
			u.First = step
		}
		u.Last = step
	})
	if err != nil {
		return nil, err
	}
	if u.Sections, u.Licenses, u.Examples, u.Read, u.Tokens, err = t.sum(tokens); err != nil {
		return nil, err
	}
	if total > 0 {
		u.Share = float64(u.Tokens) / float64(total)
	}
	u.Seen, u.Clean, err = t.checkpoints(u.First)
	return u, err
}

// sum adds up tokens by document.
func (t *Trace) sum(tokens []int64) (sections, licenses []TracedShare, examples []string, documents int, total int64, err error) {
	counts, err := t.effective()
	if err != nil {
		return nil, nil, nil, 0, 0, err
	}
	bySection, byLicense := map[string]int{}, map[string]int{}
	var rows []int
	for row, n := range tokens {
		if n == 0 {
			continue
		}
		rows = append(rows, row)
		total += n
		bySection[t.names.Section(row)] += int(n)
		id, _ := counts(row)
		byLicense[id] += int(n)
	}
	sort.SliceStable(rows, func(i, k int) bool { return tokens[rows[i]] > tokens[rows[k]] })
	for _, row := range rows[:min(10, len(rows))] {
		examples = append(examples, t.names.Section(row)+"/"+t.names.ID(row))
	}
	return shares(bySection, int(total)), shares(byLicense, int(total)), examples, len(rows), total, nil
}

// Difference answers what was read after checkpoint from, up to checkpoint to.
func (t *Trace) Difference(from, to int) (*DifferenceTrace, error) {
	if from < 0 || to <= from || to > t.steps {
		return nil, fmt.Errorf("workflow: from step %d to step %d: give 0 <= from < to <= %d", from, to, t.steps)
	}
	before, err := t.order.Seen(1, from)
	if err != nil {
		return nil, err
	}
	tokens, err := t.order.Seen(from+1, to)
	if err != nil {
		return nil, err
	}
	d := &DifferenceTrace{From: from, To: to}
	for row, n := range tokens {
		if n > 0 && before[row] == 0 {
			d.New++
		}
	}
	d.Sections, d.Licenses, d.Examples, d.Documents, d.Tokens, err = t.sum(tokens)
	return d, err
}

// spikeWindow is how many steps before a step its loss is compared with.
const spikeWindow = 20

// Spikes finds the steps whose loss lies more than five median deviations, and at least 0.1 nats, above the median of
// the twenty steps before; worst first, ten at most.
func (t *Trace) Spikes() ([]SpikeTrace, error) {
	path := t.flow.Folder.Path("events.jsonl")
	if t.phase == basePhase {
		path = t.flow.Folder.Path("base", "events.jsonl")
	}
	events, err := run.ReadEvents(path)
	if err != nil {
		return nil, err
	}
	spikes := []SpikeTrace{}
	var window []float64
	for _, e := range events {
		loss, ok := e.Float("loss")
		if e.Kind != "train" || !ok {
			continue
		}
		if len(window) == spikeWindow {
			middle := median(window)
			var off []float64
			for _, x := range window {
				off = append(off, math.Abs(x-middle))
			}
			if !(loss-middle <= max(5*1.4826*median(off), 0.1)) { // 1.4826 turns it into a standard deviation
				spikes = append(spikes, SpikeTrace{Step: e.Step, Loss: loss, Expected: middle})
			}
			window = window[1:]
		}
		window = append(window, loss)
	}
	sort.SliceStable(spikes, func(i, k int) bool { return spikes[i].Loss-spikes[i].Expected > spikes[k].Loss-spikes[k].Expected })
	spikes = spikes[:min(10, len(spikes))]
	for i := range spikes {
		tokens, err := t.order.Seen(spikes[i].Step, spikes[i].Step)
		if err != nil {
			return nil, err
		}
		if spikes[i].Sections, _, spikes[i].Documents, _, _, err = t.sum(tokens); err != nil {
			return nil, err
		}
	}
	return spikes, nil
}

func median(list []float64) float64 {
	s := slices.Clone(list)
	slices.Sort(s)
	return (s[(len(s)-1)/2] + s[len(s)/2]) / 2
}

func writeCheckpoints(w io.Writer, seen, clean []int) {
	line := func(what string, steps []int) {
		if len(steps) > 0 {
			fmt.Fprintf(w, "%s: %s\n", what, strings.Trim(fmt.Sprint(steps), "[]"))
		}
	}
	line("checkpoints that saw it", seen)
	line("checkpoints that did not", clean)
}

func writeShares(w io.Writer, title string, rows []TracedShare) {
	fmt.Fprintf(w, "\n%s\n", title)
	for _, x := range rows {
		fmt.Fprintf(w, "  %-36s %9d  %5.1f %%\n", orUnknown(x.Name), x.Tokens, 100*x.Share)
	}
}

func writeExamples(w io.Writer, title string, documents []string) {
	fmt.Fprintf(w, "\n%s\n", title)
	for _, d := range documents {
		fmt.Fprintf(w, "  %s\n", d)
	}
}

// Write prints the answer for people.
func (u *UsageTrace) Write(w io.Writer) {
	fmt.Fprintf(w, "%s: %d documents, %d of them read: %d tokens, %.1f %% of the phase, in %d of %d steps", u.What, u.Documents, u.Read, u.Tokens, 100*u.Share, u.Steps, u.Of)
	if u.First > 0 {
		fmt.Fprintf(w, ", first at step %d, last at step %d", u.First, u.Last)
	}
	fmt.Fprintln(w)
	writeCheckpoints(w, u.Seen, u.Clean)
	if u.Read > 0 {
		writeShares(w, "sections", u.Sections)
		writeShares(w, "licences", u.Licenses)
		writeExamples(w, "most tokens", u.Examples)
	}
}

// Write prints the answer for people.
func (d *DifferenceTrace) Write(w io.Writer) {
	fmt.Fprintf(w, "after step %d, up to step %d: %d tokens of %d documents, %d of them not seen before\n", d.From, d.To, d.Tokens, d.Documents, d.New)
	writeShares(w, "sections", d.Sections)
	writeShares(w, "licences", d.Licenses)
	writeExamples(w, "most tokens", d.Examples)
}

// WriteSpikes prints spikes for people.
func WriteSpikes(w io.Writer, spikes []SpikeTrace) {
	if len(spikes) == 0 {
		fmt.Fprintf(w, "no step's loss stands out against the %d before it\n", spikeWindow)
	}
	for _, s := range spikes {
		fmt.Fprintf(w, "step %d: loss %.3f where %.3f was expected\n", s.Step, s.Loss, s.Expected)
		for _, x := range s.Sections {
			fmt.Fprintf(w, "  %-36s %9d  %5.1f %%\n", x.Name, x.Tokens, 100*x.Share)
		}
		fmt.Fprintf(w, "  documents: %s\n", strings.Join(s.Documents, ", "))
	}
}
