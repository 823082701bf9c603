package release

import (
	"fmt"
	"math"

	"ravn/rights"
)

// smallModel is the number of parameters below which a model is called small: few-shot answers are not to be expected.
const smallModel = 1_000_000_000

// worseThanBase begins the limitations that stand at the head of the card too.
const worseThanBase = "Worse than its base on "

// limitations are what the measurements say against the model, worst first, and what nobody looked at.
func limitations(o *Options, d *rights.Decision) []string {
	var worse, chance, open, list []string
	for i := range o.Results {
		r := &o.Results[i]
		what := fmt.Sprintf("%s (%s)", r.Label, r.Metric)
		if r.better() < 0 {
			worse = append(worse, fmt.Sprintf(worseThanBase+"%s: %s.", what, change(r)))
		}
		if r.Chance != nil && r.Result.N > 0 && !(r.Result.Low > *r.Chance) {
			chance = append(chance, fmt.Sprintf("%s: %s is not better than guessing (%.3g) beyond the interval.", what, r.Result, *r.Chance))
		}
		if r.Difference.N > 0 && !r.Difference.Resolved() {
			text := fmt.Sprintf("Not told apart from its base on %s: %s.", what, r.Difference.Difference())
			if x := r.Difference.Detectable(); x > 0 && !math.IsNaN(x) {
				text += fmt.Sprintf(" A difference below %.2g would mostly not have been seen.", x)
			}
			open = append(open, text)
		}
	}
	list = append(append(append(list, worse...), chance...), open...)
	for _, c := range o.Contamination {
		if c.Hit > 0 && c.Action != "drop" {
			list = append(list, fmt.Sprintf("%d of %d items of %s were in the training text; its score there says less.", c.Hit, c.Items, c.Dataset))
		}
	}
	if len(o.Results) == 0 {
		list = append(list, "Nothing was measured, so nothing is known about how good it is.")
	}
	if n := o.Training.Parameters; n > 0 && n < smallModel {
		list = append(list, fmt.Sprintf("A small model (%s parameters): it continues text and knows little.", number(n)))
	}
	list = append(list, "Not tuned to follow instructions or to refuse anything. It repeats the views and errors of its text, and makes things up.")
	if d.License == "LicenseRef-Research-Only" {
		list = append(list, "For use within the research project only; the weights may not be passed on.")
	}
	return append(list, o.Limitations...)
}

// change says how a result differs from its base: absolute, and relative where the base is above zero.
func change(r *Result) string {
	text := r.Difference.Difference()
	if b := r.Base.Value; r.Base.N > 0 && b > 0 && r.Metric == "bpb" {
		e := r.Difference.Scale(100 / b)
		text = fmt.Sprintf("%+.1f %% [%+.1f, %+.1f], %s", e.Value, e.Low, e.High, text)
	}
	return text
}
