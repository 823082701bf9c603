package eval

import (
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"ravn/stats"
)

func TestRecordsRoundTrip(t *testing.T) {
	path := filepath.Join(t.TempDir(), "records.jsonl")
	a := Record{
		Dataset: "scala-da", Task: "linguistic-acceptability", DatasetLanguages: []string{"da"}, Model: "a/b",
		Results: Results{
			Raw:   RawResults{[]map[string]Score{{"mcc": 0.25}}},
			Total: map[string]Score{"test_mcc": 25, "test_mcc_se": Score(math.NaN())},
		},
		NumModelParameters: 5, MaxSequenceLength: 512, VocabularySize: 99, Generative: true, FewShot: true,
		Ravn: &Provenance{Mode: ModeRavn, Primary: "mcc", Estimates: map[string]stats.Estimate{"mcc": {Value: 25, Low: 20, High: 30, Level: 0.95, N: 8}}},
	}
	b := a
	b.Model = "c <d> & é"
	if err := AppendRecords(path, a); err != nil {
		t.Fatal(err)
	}
	if err := AppendRecords(path, b); err != nil {
		t.Fatal(err)
	}
	got, err := ReadRecords(path)
	if err != nil {
		t.Fatal(err)
	}
	if !math.IsNaN(float64(got[0].Results.Total["test_mcc_se"])) {
		t.Errorf("the radius of one score came back as %v, want NaN", got[0].Results.Total["test_mcc_se"])
	}
	for i, want := range []Record{a, b} {
		if d := cmp.Diff(got[i], want, cmp.Comparer(func(a, b Score) bool {
			return a == b || math.IsNaN(float64(a)) && math.IsNaN(float64(b))
		})); d != "" {
			t.Errorf("record %d (-got +want):\n%s", i, d)
		}
	}
	if m := got[0].Metrics(); !cmp.Equal(m, []string{"mcc"}) {
		t.Errorf("metrics %q", m)
	}
}

// A record as ScandEval 9.1.2 writes it (empty first line, NaN radius), one with the bare list of later versions.
func TestForeignRecords(t *testing.T) {
	path := filepath.Join(t.TempDir(), "scandeval_benchmark_results.jsonl")
	text := "\n" + `{"dataset": "norec", "task": "sentiment-classification", "dataset_languages": ["nb", "nn"], "model": "m", "results": {"raw": {"test": [{"mcc": 0.4, "macro_f1": 0.5}]}, "total": {"test_mcc": 40.0, "test_mcc_se": NaN}}, "num_model_parameters": 7, "max_sequence_length": 10, "vocabulary_size": 3, "few_shot": false, "validation_split": true}` + "\n" +
		`{"dataset": "norec", "task": "sentiment-classification", "dataset_languages": ["nb"], "model": "m", "results": {"raw": [{"mcc": 0.4}], "total": {"test_mcc": 40.0}}}`
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	rs, err := ReadRecords(path)
	if err != nil {
		t.Fatal(err)
	}
	if len(rs) != 2 || rs[0].FewShot || !rs[0].ValidationSplit || rs[0].Results.Raw.Test[0]["macro_f1"] != 0.5 {
		t.Errorf("first record: %+v", rs[0])
	}
	if !rs[1].FewShot || rs[1].VocabularySize != -1 || rs[1].Results.Raw.Test[0]["mcc"] != 0.4 {
		t.Errorf("second record: %+v", rs[1])
	}
}

func TestBadRecordsAreAllReported(t *testing.T) {
	path := filepath.Join(t.TempDir(), "r.jsonl")
	if err := os.WriteFile(path, []byte("{\"dataset\": \"x\"}\n\n{\"dataset\": \"x\", \"ta"), 0o644); err != nil {
		t.Fatal(err)
	}
	_, err := ReadRecords(path)
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{"r.jsonl:1: no [task model dataset_languages results.total]", "r.jsonl:3: ", "cut off"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("error %q does not hold %q", err, want)
		}
	}
}

func TestPredictionsRoundTrip(t *testing.T) {
	path := filepath.Join(t.TempDir(), "p.jsonl")
	want := []Prediction{
		{Draw: 1, Row: 7, Times: 2, Gold: "ja", Answer: "nej", Scores: []float64{-0.1, -2.25}, Counts: []float64{0, 1, 0, 0}, Seen: true},
		{Row: 8, Times: 1, Output: "{\"person\": [\"Åse\"]}\n", Counts: []float64{0.1234567890123456, 3}},
	}
	if err := WritePredictions(path, want); err != nil {
		t.Fatal(err)
	}
	got, err := ReadPredictions(path)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(got, want); d != "" {
		t.Error(d)
	}
}
