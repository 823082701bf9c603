package shard

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"sort"

	"ravn/model"
)

// Stage is a part of a run with a mixture of its own.
type Stage struct {
	Steps   int // of the stage
	Mixture []Share
	Why     string           // "" as asked for, else why it was made
	From    map[string]int64 // rows of each section behind which it reads on; nil: where the stages before it left off
}

// Part is a stage as it came out: where it lies, what it mixes and why it was made.
type Part struct {
	First   int     `json:"first"` // step
	Last    int     `json:"last"`
	Mixture []Share `json:"mixture"`
	Why     string  `json:"why,omitempty"` // "" as the recipe says
}

// Staged is an order whose mixture changes at certain steps. Each stage is an Order of its own that reads on in every
// section where the stages before it left off, so all of it is a function of the step.
type Staged struct {
	set    *Set
	parts  []Part
	orders []*Order
}

// NewStaged makes the order of a run in stages; o.Mixture is not used, and o.Steps is the sum of the stages' steps.
//
// maxEpochs caps how often sections are read, o.Skip included. At the first step that would read beyond a cap a new stage
// begins: the section leaves the mixture, and its share goes to the others of its role, or to all where there are none.
func NewStaged(s *Set, o OrderOptions, stages []Stage, maxEpochs map[string]float64) (*Staged, error) {
	if len(stages) == 0 {
		return nil, errors.New("shard: an order takes at least one stage")
	}
	var errs []error
	limits := map[string]int64{} // rows
	for _, name := range slices.Sorted(maps.Keys(maxEpochs)) {
		sec, most := s.sections[name], maxEpochs[name]
		if sec == nil || !(most > 0) {
			errs = append(errs, fmt.Errorf("max_epochs: section %q at most %g times: want one of %s, and a positive number", name, most, s.names()))
			continue
		}
		limits[name] = int64(math.Min(math.Floor(most*float64(sec.info.Tokens)/float64(max(o.T, 1))), math.MaxInt64/4))
	}
	steps := 0
	for i, st := range stages {
		if st.Steps < 1 {
			errs = append(errs, fmt.Errorf("shard: stage %d has %d steps; each takes at least one", i+1, st.Steps))
		}
		steps += st.Steps
	}
	if steps != o.Steps {
		errs = append(errs, fmt.Errorf("shard: the stages have %d steps together, the run %d", steps, o.Steps))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	v := &Staged{set: s}
	first, skip := 1, o.Skip
	spent := map[string]bool{}
	for _, st := range stages {
		if st.From != nil {
			skip = st.From
		}
		for left := st.Steps; left > 0; {
			mixture := v.without(st.Mixture, spent)
			if len(mixture) == 0 {
				return nil, fmt.Errorf("max_epochs: at step %d every section of the mixture has been read as often as it may be (raise the caps, take fewer steps, or add text)", first)
			}
			part := o
			part.Mixture, part.Skip, part.Steps = mixture, skip, left
			order, err := NewOrder(s, part)
			if err != nil {
				return nil, err
			}
			n, full := order.stepsWithin(limits)
			why := st.Why
			if len(spent) > 0 && len(mixture) < len(st.Mixture) {
				why = fmt.Sprintf("read as often as max_epochs allows: %v", slices.Sorted(maps.Keys(spent)))
			}
			if n < left {
				for _, name := range full {
					spent[name] = true
				}
				if n == 0 {
					continue
				}
				part.Steps = n
				if order, err = NewOrder(s, part); err != nil {
					return nil, err
				}
			}
			v.parts = append(v.parts, Part{First: first, Last: first + part.Steps - 1, Mixture: order.options.Mixture, Why: why})
			v.orders = append(v.orders, order)
			first, left, skip = first+part.Steps, left-part.Steps, order.RowsRead()
		}
	}
	return v, nil
}

// without takes spent sections out of a mixture and gives their shares to the others of their role, or to all.
func (v *Staged) without(mixture []Share, spent map[string]bool) []Share {
	role := func(name string) string {
		if sec := v.set.sections[name]; sec != nil {
			return sec.info.Role
		}
		return ""
	}
	free, kept := map[string]float64{}, map[string]float64{} // shares by role
	var out []Share
	for _, m := range mixture {
		if spent[m.Section] {
			free[role(m.Section)] += m.Share
			continue
		}
		kept[role(m.Section)] += m.Share
		out = append(out, m)
	}
	for i := range out {
		if r := role(out[i].Section); free[r] > 0 {
			out[i].Share *= (kept[r] + free[r]) / kept[r]
		}
	}
	return out // shares are relative, so what no role takes up goes to all
}

// stepsWithin is how many steps of the run read no section beyond its limit, and which sections the next one would.
func (o *Order) stepsWithin(limits map[string]int64) (steps int, full []string) {
	counts := make([]int64, len(o.streams))
	over := func(step int) (names []string) {
		o.interleave.counts(counts, int64(step)*int64(o.options.Rows))
		for i, st := range o.streams {
			if limit, ok := limits[st.section.info.Name]; ok && o.skip[i]+counts[i] > limit {
				names = append(names, st.section.info.Name)
			}
		}
		return names
	}
	n := sort.Search(o.options.Steps, func(i int) bool { return len(over(i+1)) > 0 })
	if n == o.options.Steps {
		return n, nil
	}
	return n, over(n + 1)
}

// Parts are the stages as they came out, in order.
func (v *Staged) Parts() []Part { return v.parts }

// at is the stage of a step and the step within it.
func (v *Staged) at(step int) (stage, within int, err error) {
	last := v.parts[len(v.parts)-1].Last
	if step < 1 || step > last {
		return 0, 0, fmt.Errorf("shard: no step %d; there are 1 to %d", step, last)
	}
	stage = sort.Search(len(v.parts), func(i int) bool { return v.parts[i].Last >= step })
	return stage, step - v.parts[stage].First + 1, nil
}

// HashTo covers all that decides the batches up to a step: that of the order alone within the first stage, and all
// stages begun from then on.
func (v *Staged) HashTo(step int) string {
	if len(v.parts) == 1 || step <= v.parts[0].Last {
		return v.orders[0].Hash()
	}
	h := sha256.New()
	for i, p := range v.parts {
		if p.First <= step {
			fmt.Fprintf(h, "from step %d %s\n", p.First, v.orders[i].Hash())
		}
	}
	return hex.EncodeToString(h.Sum(nil))
}

// Batch is what a step reads, as Order.Batch.
func (v *Staged) Batch(step int) (*model.Batch, error) {
	i, within, err := v.at(step)
	if err != nil {
		return nil, err
	}
	return v.orders[i].Batch(within)
}

// Spans lists what a step reads, as Order.Spans.
func (v *Staged) Spans(step int) ([]Span, error) {
	i, within, err := v.at(step)
	if err != nil {
		return nil, err
	}
	return v.orders[i].Spans(within)
}

// SpansNamed lists what a step reads, as Order.SpansNamed.
func (v *Staged) SpansNamed(step int, n *Names) ([]Span, error) {
	i, within, err := v.at(step)
	if err != nil {
		return nil, err
	}
	return v.orders[i].SpansNamed(within, n)
}

// StepsOf lists every sight of a document in the run, as Order.StepsOf.
func (v *Staged) StepsOf(section, document string) ([]Sighting, error) {
	return v.stepsOf(func(o *Order) ([]Sighting, error) { return o.StepsOf(section, document) })
}

// StepsOfNamed lists every sight of a document in the run, as Order.StepsOfNamed.
func (v *Staged) StepsOfNamed(section, document string, n *Names) ([]Sighting, error) {
	return v.stepsOf(func(o *Order) ([]Sighting, error) { return o.StepsOfNamed(section, document, n) })
}

func (v *Staged) stepsOf(ask func(o *Order) ([]Sighting, error)) ([]Sighting, error) {
	var all []Sighting
	for i, o := range v.orders {
		seen, err := ask(o)
		if err != nil {
			return nil, err
		}
		for _, s := range seen {
			s.Step += v.parts[i].First - 1
			all = append(all, s)
		}
	}
	return all, nil
}

// Seen counts how many tokens of each document the steps from first to last read, as Order.Seen.
func (v *Staged) Seen(first, last int) ([]int64, error) {
	seen := make([]int64, v.set.info.Documents())
	err := v.Walk(first, last, func(_, document, tokens int) { seen[document] += int64(tokens) })
	return seen, err
}

// Walk calls f for every piece of a document that the steps from first to last read, as Order.Walk.
func (v *Staged) Walk(first, last int, f func(step, document, tokens int)) error {
	for i, p := range v.parts {
		before := p.First - 1
		err := v.orders[i].Walk(max(first, p.First)-before, min(last, p.Last)-before, func(step, document, tokens int) { f(before+step, document, tokens) })
		if err != nil {
			return err
		}
	}
	return nil
}

// RowsRead says how many rows of each section are read when the run is over, skipped ones included.
func (v *Staged) RowsRead() map[string]int64 { return v.orders[len(v.orders)-1].RowsRead() }

// RowsTo says how many rows of each section are read when a step is over, skipped ones included.
func (v *Staged) RowsTo(step int) (map[string]int64, error) {
	i, within, err := v.at(step)
	if err != nil {
		return nil, err
	}
	return v.orders[i].rowsTo(within), nil
}

// Begin makes a stage begin at a step, and gives the stages with the index of that one. What is behind a cut reads on
// where the part before it left off.
func Begin(stages []Stage, step int) ([]Stage, int) {
	first := 1
	for i, st := range stages {
		if step == first {
			return stages, i
		}
		if before := step - first; before < st.Steps {
			rest := st
			rest.Steps, rest.From = st.Steps-before, nil
			st.Steps = before
			return slices.Concat(stages[:i], []Stage{st, rest}, stages[i+1:]), i + 1
		}
		first += st.Steps
	}
	return stages, len(stages)
}
