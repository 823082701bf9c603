package eval

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"ravn/stats"
)

// everyEval is a record in the schema "Every Eval Ever" 0.2, which EuroEval writes since its version 17, as far as it is
// read here. Further details are texts, whatever they hold.
type everyEval struct {
	ID    string `json:"evaluation_id"` // DATASET/MODEL/TIME; a model may hold slashes
	Model struct {
		Name    string         `json:"name"`
		ID      string         `json:"id"`
		Details map[string]any `json:"additional_details"`
	} `json:"model_info"`
	Library struct {
		Version string         `json:"version"`
		Details map[string]any `json:"additional_details"`
	} `json:"eval_library"`
	Results []struct {
		Name    string `json:"evaluation_name"`
		Dataset struct {
			Name string `json:"dataset_name"`
		} `json:"source_data"`
		Metric struct {
			Name string `json:"metric_name"`
		} `json:"metric_config"`
		Details struct {
			Score       Score `json:"score"`
			Uncertainty struct {
				Interval struct {
					Lower Score `json:"lower"`
					Upper Score `json:"upper"`
				} `json:"confidence_interval"`
			} `json:"uncertainty"`
		} `json:"score_details"`
	} `json:"evaluation_results"`
}

func parseEveryEval(line []byte) (Record, error) {
	r := Record{FewShot: true, Generative: true, NumModelParameters: -1, MaxSequenceLength: -1, VocabularySize: -1}
	var e everyEval
	if err := json.Unmarshal(line, &e); err != nil {
		if err2 := json.Unmarshal(bareNaN.ReplaceAll(line, []byte("${1}null")), &e); err2 != nil {
			return r, fmt.Errorf("%w (not a record of Every Eval Ever)", err)
		}
	}
	details := map[string]any{}
	for _, from := range []map[string]any{e.Model.Details, e.Library.Details} {
		for k, v := range from {
			details[k] = v
		}
	}
	text := func(name string) string {
		switch v := details[name].(type) {
		case nil:
			return ""
		case string:
			return v
		default:
			data, _ := json.Marshal(v)
			return string(data)
		}
	}
	truth := func(name string, otherwise bool) bool {
		if b, err := strconv.ParseBool(strings.ToLower(text(name))); err == nil {
			return b
		}
		return otherwise
	}
	number := func(name string) int64 {
		if f, err := strconv.ParseFloat(text(name), 64); err == nil {
			return int64(f)
		}
		return -1
	}
	parts := strings.Split(e.ID, "/")
	r.Dataset, r.Model = parts[0], e.Model.ID
	if r.Model == "" {
		r.Model = e.Model.Name
	}
	if r.Model == "" && len(parts) > 2 {
		r.Model = strings.Join(parts[1:len(parts)-1], "/")
	}
	r.Task, r.GenerativeType, r.EuroEvalVersion = text("task"), text("generative_type"), e.Library.Version
	r.NumModelParameters, r.MaxSequenceLength, r.VocabularySize = number("num_model_parameters"), int(number("max_sequence_length")), int(number("vocabulary_size"))
	r.FewShot, r.ValidationSplit, r.Generative, r.Merge = truth("few_shot", true), truth("validation_split", false), truth("generative", true), truth("merge", false)
	if n := number("num_failed_instances"); n > 0 {
		r.Failed = int(n)
	}
	for _, name := range []string{"dataset_languages", "languages"} {
		if len(r.DatasetLanguages) == 0 && text(name) != "" && json.Unmarshal([]byte(strings.ReplaceAll(text(name), "'", `"`)), &r.DatasetLanguages) != nil {
			for _, l := range strings.Split(text(name), ",") {
				r.DatasetLanguages = append(r.DatasetLanguages, strings.TrimSpace(l))
			}
		}
	}
	if raw := text("raw_results"); raw != "" {
		if err := json.Unmarshal([]byte(raw), &r.Results.Raw); err != nil {
			return r, fmt.Errorf("raw_results: %w", err)
		}
	}
	r.Results.Total = map[string]Score{}
	for _, x := range e.Results {
		name := x.Metric.Name
		if name == "" {
			name = x.Name
		}
		if i := strings.LastIndex(name, "/"); i >= 0 {
			name = name[i+1:]
		}
		name = "test_" + strings.TrimPrefix(name, "test_")
		r.Results.Total[name] = x.Details.Score
		r.Results.Total[name+"_se"] = (x.Details.Uncertainty.Interval.Upper - x.Details.Uncertainty.Interval.Lower) / 2
		if r.Dataset == "" {
			r.Dataset = x.Dataset.Name
		}
	}
	if len(r.Results.Total) == 0 && len(r.Results.Raw.Test) > 0 {
		for name := range r.Results.Raw.Test[0] {
			var values []float64
			for _, it := range r.Results.Raw.Test {
				values = append(values, float64(it[name]))
			}
			mean, radius := stats.MeanRadius(values)
			key := "test_" + strings.TrimPrefix(name, "test_")
			r.Results.Total[key], r.Results.Total[key+"_se"] = Score(mean), Score(radius)
		}
	}
	return r, r.complete()
}
