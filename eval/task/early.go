package task

import (
	"context"
	"fmt"

	"ravn/eval"
)

// firstLook is the number of draws after which a comparison is looked at first: with fewer nothing is known of how much
// draws differ.
const firstLook = 5

// EvaluateUntilResolved asks m draw by draw and stops as soon as its difference from base, in the metric that counts, is
// told apart from 0. Because it looks several times, each look is held to 5 % divided by the number of looks. The record
// says that it was stopped, and where; its score rests on fewer draws than others'. Mode ravn only.
func EvaluateUntilResolved(ctx context.Context, m eval.Model, d *Dataset, base *Result, o Options) (*Result, error) {
	of := o.iterations()
	if o.compatible() || d.Task == BitsPerByte || of <= firstLook {
		return Evaluate(ctx, m, d, o)
	}
	m = eval.Remember(m)
	looks := of - firstLook + 1
	b := o.Bootstrap
	b.Level = 1 - 0.05/float64(looks)
	for n := firstLook; ; n++ {
		o.Iterations = n
		r, err := Evaluate(ctx, m, d, o)
		if err != nil || n == of {
			return r, err
		}
		cs, err := Compare(base.FirstDraws(n), r, b)
		if err != nil {
			return nil, err
		}
		if !cs[0].Difference.Resolved() {
			continue
		}
		p := r.Record.Ravn
		p.EarlyStop = &eval.EarlyStop{Draws: n, Of: of, Against: base.Record.Model, Level: b.Level}
		p.Warnings = append(p.Warnings, fmt.Sprintf("asked under %d of %d draws of examples only: the difference from %s was resolved at %.2f %% (stopping early was asked for)", n, of, base.Record.Model, 100*b.Level))
		return r, nil
	}
}

// FirstDraws is a result as far as its first n draws go, to be compared with one that has no more.
func (r *Result) FirstDraws(n int) *Result {
	if r.Record.Ravn == nil || r.Record.Ravn.Iterations <= n {
		return r
	}
	out := &Result{Record: r.Record}
	p := *r.Record.Ravn
	p.Iterations, p.PromptsHash = n, "" // of all draws
	out.Record.Ravn = &p
	for _, x := range r.Predictions {
		if x.Draw < n {
			out.Predictions = append(out.Predictions, x)
		}
	}
	return out
}
