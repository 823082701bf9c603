package task

import (
	"fmt"
	"slices"
	"strings"
)

// quirks are the peculiarities of ScandEval 9.1.2 that mode scandeval-2024 copies and mode ravn does not have. Each can be
// repaired by name (Options.Repair), and a record lists those that were in force. Decoding is greedy in both modes:
// ScandEval sampled at temperature 1 until version 9.2 by mistake, which nobody can repeat.
type quirks struct {
	TrailingSpace  bool // prompts of entities and questions end in a space
	CachedRepeats  bool // a repeated row's label outside the ten likeliest tokens counts as certain
	FirstToken     bool // only the first token of a label is compared
	LowerCaseTags  bool // seqeval reads tags in lower case, so that runs of "o" are chunks
	SubstringSpans bool // every token that contains a word of an entity is taken for it
	IDsOnce        bool // questions that share an id, and repeats in a sample, count once
	RougeLetters   bool // ROUGE knows only a to z
	PlainSummaries bool // totals of summaries are not in percent, ROUGE-L stands first
}

// quirkNames in the order of records.
var quirkNames = []string{
	"trailing-space", "cached-repeats", "first-token", "lower-case-tags", "substring-spans", "ids-once", "rouge-letters", "plain-summaries",
}

func (q *quirks) fields() []*bool {
	return []*bool{
		&q.TrailingSpace, &q.CachedRepeats, &q.FirstToken, &q.LowerCaseTags, &q.SubstringSpans, &q.IDsOnce, &q.RougeLetters, &q.PlainSummaries,
	}
}

// names lists the quirks in force.
func (q quirks) names() []string {
	var out []string
	for i, f := range q.fields() {
		if *f {
			out = append(out, quirkNames[i])
		}
	}
	return out
}

// quirksOf reads a record's list.
func quirksOf(names []string) quirks {
	var q quirks
	for i, f := range q.fields() {
		*f = slices.Contains(names, quirkNames[i])
	}
	return q
}

// Quirks lists the peculiarities of mode scandeval-2024 that can be repaired.
func Quirks() []string { return slices.Clone(quirkNames) }

// quirks in force under the options.
func (o *Options) quirks() quirks {
	var q quirks
	for i, f := range q.fields() {
		*f = o.compatible() && !slices.Contains(o.Repair, quirkNames[i])
	}
	return q
}

func (o *Options) checkRepair() error {
	for _, name := range o.Repair {
		if !slices.Contains(quirkNames, name) {
			return fmt.Errorf("repair: %q is none of %s", name, strings.Join(quirkNames, ", "))
		}
	}
	if len(o.Repair) > 0 && !o.compatible() {
		return fmt.Errorf("repair is for mode scandeval-2024; mode ravn has none of its quirks")
	}
	return nil
}
