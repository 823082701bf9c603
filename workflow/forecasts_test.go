package workflow

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"ravn/run"
)

// TestForecastsAgainstTheEnd: evaluations every 10 of 100 steps; forecasts from 30 on, which say less and less. The end
// is 0.05. At 10 and 25 % the first forecast is that of step 30, at 50 % that of step 50.
func TestForecastsAgainstTheEnd(t *testing.T) {
	path := filepath.Join(t.TempDir(), "events.jsonl")
	w, err := run.OpenEvents(path, 0)
	if err != nil {
		t.Fatal(err)
	}
	for step := 10; step <= 100; step += 10 {
		fields := []any{"group", "en", "change", float64(step) * 0.0005, "low", 0.0, "high", 1.0, "documents", 3}
		switch {
		case step >= 50:
			fields = append(fields, "forecast", 0.07, "forecast_low", 0.06, "forecast_high", 0.08)
		case step >= 30:
			fields = append(fields, "forecast", 0.1, "forecast_low", -0.1, "forecast_high", 0.3)
		}
		if err := w.Write("guard", step, fields...); err != nil {
			t.Fatal(err)
		}
	}
	w.Close()
	events, err := run.ReadEvents(path)
	if err != nil {
		t.Fatal(err)
	}
	rec := ForecastRecord{Runs: 2, Forecast: append(counted("a", 100, events), counted("b", 100, events)...), Left: []string{"c: why"}}
	rec.sum()
	want := []ForecastRow{
		{Group: "en", Share: 0.1, Steps: 30, Runs: 2, Held: 2},
		{Group: "en", Share: 0.25, Steps: 30, Runs: 2, Held: 2},
		{Group: "en", Share: 0.5, Steps: 50, Runs: 2, Held: 0, Narrow: 2},
	}
	if diff := cmp.Diff(rec.Rows, want); diff != "" {
		t.Error(diff)
	}
	var out strings.Builder
	rec.Write(&out)
	for _, line := range []string{"| English | 50 % | 50 | 2 | 0 | 2 |", "left out: c: why"} {
		if !strings.Contains(out.String(), line) {
			t.Errorf("the table lacks %q:\n%s", line, out.String())
		}
	}
	if got := counted("d", 200, events); len(got) != 0 { // the end is not there
		t.Errorf("forecasts of an unfinished run are counted: %+v", got)
	}
	if _, err := Forecasts([]string{t.TempDir()}); err == nil || !strings.Contains(err.Error(), "is no run folder and holds none") {
		t.Errorf("an empty folder: %v", err)
	}
}
