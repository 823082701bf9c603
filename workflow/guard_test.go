package workflow

import (
	"path/filepath"
	"slices"
	"testing"

	"ravn/run"
	"ravn/train"
)

// The card says breaches that were only to be told, too.
func TestWarnedBreachesAreOnTheCard(t *testing.T) {
	path := filepath.Join(t.TempDir(), "events.jsonl")
	events, err := run.OpenEvents(path, 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, fields := range [][]any{
		{"group", "en", "change", 0.025, "low", 0.02, "high", 0.03125, "limit", 0.01, "action", "warn"},
		{"group", "nb", "change", 0.025, "low", 0.02, "high", 0.03125, "limit", 0.01, "action", "none"},
		{"group", "scala-da", "change", 0.125, "low", 0.0625, "high", 0.25, "limit", 0.05, "action", "warn", "unit", "points"},
	} {
		if err := events.Write("breach", 8, fields...); err != nil {
			t.Fatal(err)
		}
	}
	if err := events.Close(); err != nil {
		t.Fatal(err)
	}
	all, err := run.ReadEvents(path)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"The limit on en was exceeded at step 8: +2.50 [+2.00, +3.12] %, limit 1.00; the recipe had the run go on.",
		"The limit on scala-da was exceeded at step 8: +12.50 [+6.25, +25.00] points, limit 5.00; the recipe had the run go on.",
	}
	if got := warnedOf(all); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

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
