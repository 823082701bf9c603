package workflow

import (
	"testing"

	"ravn/train"
)

// A source that is all of its language's text gets no line of its own in the report, unless it has a limit of its own.
func TestGuardTableRepeatsNoLanguage(t *testing.T) {
	limit := 0.01
	judged := func(group string, documents int, limit *float64) train.Judged {
		return train.Judged{Group: group, Change: train.Change{Documents: documents}, Limit: limit}
	}
	all := []train.Judged{
		judged("da", 9, nil), judged("da/adl", 5, nil), judged("da/wiki", 4, nil),
		judged("en", 7, &limit), judged("en/pleias", 7, nil), judged("sv", 3, nil), judged("sv/law", 3, &limit),
	}
	for _, j := range all {
		if got, want := repeats(j, all), j.Group == "en/pleias"; got != want {
			t.Errorf("%s: repeats %v, want %v", j.Group, got, want)
		}
	}
}
