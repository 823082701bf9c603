package workflow

import (
	"path/filepath"
	"slices"
	"testing"

	"ravn/run"
	"ravn/train"
	"ravn/web"
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

// TestWhatTheGuardSaidLast: of events whose last evaluation is newer than the last checkpoint the page has that evaluation, and of
// each data set what it said when it was asked last.
func TestWhatTheGuardSaidLast(t *testing.T) {
	path := filepath.Join(t.TempDir(), "events.jsonl")
	events, err := run.OpenEvents(path, 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range []struct {
		kind   string
		step   int
		fields []any
	}{
		{"guard", 10, []any{"group", "en", "change", 0.01, "low", 0.0, "high", 0.02, "documents", 7, "limit", 0.05, "state", "within"}},
		{"guard_task", 10, []any{"dataset", "scala-da", "lost", 0.02, "low", 0.0, "high", 0.04, "items", 64, "limit", 0.05, "state", "within"}},
		{"guard", 20, []any{"group", "en", "change", 0.08, "low", 0.06, "high", 0.1, "documents", 7, "limit", 0.05, "state", "beyond", "forecast", 0.3, "forecast_low", 0.2, "forecast_high", 0.4}},
		{"guard", 20, []any{"group", "da", "change", -0.2, "low", -0.3, "high", -0.1, "documents", 9}},
	} {
		if err := events.Write(e.kind, e.step, e.fields...); err != nil {
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
	step, got := judgedSince(all, 10)
	if step != 20 || len(got) != 3 {
		t.Fatalf("step %d: %+v", step, got)
	}
	en, da, task := got[0], got[1], got[2]
	if en.Group != "en" || en.Change != (train.Change{Value: 0.08, Low: 0.06, High: 0.1, Documents: 7}) || *en.Limit != 0.05 || en.State != train.Beyond || *en.Forecast != (train.Forecast{Value: 0.3, Low: 0.2, High: 0.4}) {
		t.Errorf("English: %+v", en)
	}
	if da.Group != "da" || da.Limit != nil || da.Forecast != nil || !task.Task || task.AskedAt != 10 || task.Change.Documents != 64 {
		t.Errorf("Danish %+v, the data set %+v", da, task)
	}
	if step, _ := judgedSince(all, 20); step != 0 {
		t.Errorf("nothing is newer than step 20, but step %d is given", step)
	}
	p := web.Phase{Guard: &web.Guard{Stopped: true, Rows: []web.GuardRow{{Group: "English", Value: 0.08, Low: 0.06, High: 0.1, Limit: en.Limit, State: train.Beyond}}, Actions: guardActions(train.Outcome{Stopped: 20, JudgedAt: 20})}}
	want := []string{"Stopped by the guard: English, +8.00 % [+6.00, +10.00] against the base where +5.00 % is the limit.", "No checkpoint of the run was found within all limits."}
	if said := breaches(p); !slices.Equal(said, want) {
		t.Errorf("a stopped run says %q", said)
	}
}
