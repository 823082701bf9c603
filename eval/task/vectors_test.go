package task

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"ravn/eval"
	"ravn/internal/sampledata"
)

// load reads a file of known answers of the sample data into v.
func load(t *testing.T, name string, v any) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(sampledata.Dir(t), "eval", name))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, v); err != nil {
		t.Fatal(err)
	}
}

func hexSum(s string) string {
	h := sha256.Sum256([]byte(s))
	return hex.EncodeToString(h[:])
}

// Promise: in mode scandeval-2024 the chosen examples, the bootstrap samples and every prompt are byte for byte those
// of ScandEval 9.1.2, for ten iterations of each data set.
func TestPromptsAreScandEvals(t *testing.T) {
	var v struct {
		Datasets map[string]struct {
			Iterations []struct {
				Iteration int
				Shots     []int  `json:"few_shot_train_rows"`
				Rows      []int  `json:"test_rows_first5"`
				Distinct  int    `json:"distinct_prompts"`
				First     string `json:"sha256_prompt_0"`
				All       string `json:"sha256_all_prompts_joined_by_nul"`
			}
			Prompt string `json:"prompt_iteration_0_sample_0"`
		}
	}
	load(t, "prompt_vectors.json", &v)
	checked := 0
	for _, name := range []string{"scala-da", "scala-nb", "scala-nn", "scala-sv", "norec", "lcc-sentiment", "danplus", "norne-nb", "norne-nn", "norquad", "norsumm-nb", "norsumm-nn"} {
		vectors, ok := v.Datasets[name]
		if !ok || len(vectors.Iterations) != 10 {
			t.Errorf("no vectors of ten iterations for %s", name)
			continue
		}
		d, err := LoadDataset(filepath.Join(sampledata.Dir(t), "eval", name))
		if err != nil {
			t.Fatal(err)
		}
		o := Options{Mode: eval.ModeScandEval2024}
		for _, it := range vectors.Iterations {
			prompts, shots, err := Prompts(d, it.Iteration, o)
			if err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(shots, it.Shots) {
				t.Errorf("%s, iteration %d: examples are rows %v, want %v", name, it.Iteration, shots, it.Shots)
				continue
			}
			if rows := samples(len(d.Test), o)[it.Iteration][:5]; !slices.Equal(rows, it.Rows) {
				t.Errorf("%s, iteration %d: sample begins %v, want %v", name, it.Iteration, rows, it.Rows)
			}
			if it.Iteration == 0 {
				if diff := cmp.Diff(prompts[0], vectors.Prompt); diff != "" {
					t.Errorf("%s: first prompt (-got +want):\n%s", name, diff)
				}
			}
			if hexSum(prompts[0]) != it.First || hexSum(strings.Join(prompts, "\x00")) != it.All {
				t.Errorf("%s, iteration %d: the prompts are not ScandEval's", name, it.Iteration)
			}
			slices.Sort(prompts)
			if n := len(slices.Compact(prompts)); n != it.Distinct {
				t.Errorf("%s, iteration %d: %d distinct prompts, want %d", name, it.Iteration, n, it.Distinct)
			}
			checked++
		}
	}
	if checked != 120 {
		t.Errorf("%d iterations agree so far as to be compared, want 120", checked)
	}
}

type metricVectors struct {
	Classification struct {
		Cases []struct {
			Name       string
			True, Pred []int
			MCC        float64
			MacroF1    float64 `json:"macro_f1"`
			Accuracy   float64
		}
	}
	Edit struct {
		Cases []struct {
			Output     string
			Candidates []string
			Distances  []int
			Label      string
		}
	} `json:"label_by_edit_distance"`
	NER struct {
		Cases []struct {
			Name        string
			True, Pred  [][]string
			HasMisc     bool    `json:"has_misc"`
			ScandEval   float64 `json:"scandeval_micro_f1"`
			ScandEvalNo float64 `json:"scandeval_micro_f1_no_misc"`
			Strict      float64 `json:"strict_conll_micro_f1"`
			StrictNo    float64 `json:"strict_conll_micro_f1_no_misc"`
			Chunks      [][]any `json:"scandeval_chunks_true"`
		}
	}
	AnswerText struct {
		Cases []struct {
			Tokens, Labels []string
			Text           string
		}
	} `json:"ner_answer_text"`
	OutputTags struct {
		Cases []struct {
			Tokens []string
			Parsed json.RawMessage
			Tags   []string
		}
	} `json:"ner_output_to_tags"`
	Normalise struct {
		Cases []struct{ In, Out string }
	} `json:"qa_normalise"`
	QA struct {
		Cases []struct {
			Gold, Pred string
			Exact, F1  float64
		}
	}
	QADataset struct {
		Items []struct {
			ID         string
			Answers    []string
			Prediction string
		}
		Exact, F1 float64
		Counted   float64 `json:"if_repeats_counted_exact"`
	} `json:"qa_dataset"`
	Rouge struct {
		Cases []struct {
			Reference, Prediction string
			Tokens                []string `json:"reference_tokens"`
			F1                    float64  `json:"rouge_l_f1"`
		}
	} `json:"rouge_l"`
	ChrF struct {
		Cases []struct {
			Reference, Prediction string
			Three                 float64 `json:"chrf3pp"`
			Four                  float64 `json:"chrf4pp"`
		}
	} `json:"chrf_pp"`
	Bits []struct {
		LogProbs []float64 `json:"logprobs_natural"`
		Answer   string
		BPC      float64
	} `json:"bits_per_character"`
}

func near(t *testing.T, what string, got, want float64) {
	t.Helper()
	if !(math.Abs(got-want) < 1e-9) {
		t.Errorf("%s: got %v, want %v", what, got, want)
	}
}

func TestClassificationMetrics(t *testing.T) {
	var v metricVectors
	load(t, "metric_vectors.json", &v)
	if len(v.Classification.Cases) < 11 {
		t.Fatalf("%d cases", len(v.Classification.Cases))
	}
	for _, c := range v.Classification.Cases {
		n := 1 + max(slices.Max(c.True), slices.Max(c.Pred))
		confusion := make([]float64, n*n)
		for i := range c.True {
			confusion[c.True[i]*n+c.Pred[i]]++
		}
		near(t, c.Name+": mcc", mcc(confusion, n), c.MCC)
		near(t, c.Name+": macro-F1", macroF1(confusion, n), c.MacroF1)
		near(t, c.Name+": accuracy", accuracy(confusion, n), c.Accuracy)
	}
}

func TestClosestLabel(t *testing.T) {
	var v metricVectors
	load(t, "metric_vectors.json", &v)
	for _, c := range v.Edit.Cases {
		var labels []Label
		for i, w := range c.Candidates {
			labels = append(labels, Label{ID: w, Word: w})
			if got := editDistance(strings.ToLower(strip(c.Output)), w); got != c.Distances[i] {
				t.Errorf("%q to %q: distance %d, want %d", c.Output, w, got, c.Distances[i])
			}
		}
		if got := labels[closestLabel(labels, c.Output)].ID; got != c.Label {
			t.Errorf("%q: label %q, want %q", c.Output, got, c.Label)
		}
	}
}

// knownTag is what ScandEval does to tags that the task does not know.
func knownTag(tag string, hasMisc bool) string {
	tag = strings.ToLower(tag)
	switch {
	case slices.Contains([]string{"o", "b-loc", "i-loc", "b-org", "i-org", "b-per", "i-per"}, tag):
		return tag
	case hasMisc:
		return tag[:2] + "misc"
	}
	return "o"
}

func TestEntityMetrics(t *testing.T) {
	var v metricVectors
	load(t, "metric_vectors.json", &v)
	if len(v.NER.Cases) < 12 {
		t.Fatalf("%d cases", len(v.NER.Cases))
	}
	for _, c := range v.NER.Cases {
		var gold, pred, goldNo, predNo [][]string
		sums := make([]float64, 6)
		for i := range c.True {
			g, p := lowerAll(c.True[i]), slices.Clone(c.Pred[i])
			for j := range p {
				p[j] = knownTag(p[j], c.HasMisc)
			}
			gold, pred = append(gold, g), append(pred, p)
			goldNo, predNo = append(goldNo, withoutMisc(g)), append(predNo, withoutMisc(p))
			for j, n := range append(chunkCounts(g, p), chunkCounts(withoutMisc(g), withoutMisc(p))...) {
				sums[j] += n
			}
		}
		near(t, c.Name+": ScandEval F1", seqevalF1(gold, pred), c.ScandEval)
		near(t, c.Name+": ScandEval F1 without MISC", seqevalF1(goldNo, predNo), c.ScandEvalNo)
		ms := entities{}.metrics(&Spec{Task: Entities}, quirks{LowerCaseTags: true})
		near(t, c.Name+": strict F1", ms[0].value(sums), c.Strict)
		near(t, c.Name+": strict F1 without MISC", ms[1].value(sums), c.StrictNo)
		got := chunkSet(gold)
		if c.Name == "nothing to find, nothing predicted" { // only runs of o: no chunk ends
			continue
		}
		for _, w := range c.Chunks {
			if want := (chunk{w[0].(string), int(w[1].(float64)), int(w[2].(float64))}); !got[want] {
				t.Errorf("%s: chunk %v is missing", c.Name, want)
			}
		}
		if len(got) != len(c.Chunks) {
			t.Errorf("%s: %d chunks, want %d", c.Name, len(got), len(c.Chunks))
		}
	}
}

func TestEntityAnswers(t *testing.T) {
	var v metricVectors
	load(t, "metric_vectors.json", &v)
	dansk, _ := LookupSpec("dansk")
	for _, c := range v.AnswerText.Cases {
		if got := entityAnswer(&dansk, &Row{Tokens: c.Tokens, Tags: c.Labels}); got != c.Text {
			t.Errorf("got %s, want %s", got, c.Text)
		}
	}
	for _, c := range v.OutputTags.Cases {
		lists, _ := readEntities(string(c.Parsed))
		if got := tagsBySubstring(&dansk, c.Tokens, lists); !slices.Equal(got, c.Tags) {
			t.Errorf("%s on %q: got %v, want %v", c.Parsed, c.Tokens, got, c.Tags)
		}
	}
}

func TestQuestionMetrics(t *testing.T) {
	var v metricVectors
	load(t, "metric_vectors.json", &v)
	for _, c := range v.Normalise.Cases {
		if got := normalizeAnswer(c.In); got != c.Out {
			t.Errorf("%q: normalised to %q, want %q", c.In, got, c.Out)
		}
	}
	for _, c := range v.QA.Cases {
		exact, f1 := squad(c.Pred, []string{c.Gold})
		near(t, c.Gold+" / "+c.Pred+": exact", exact, c.Exact)
		near(t, c.Gold+" / "+c.Pred+": F1", f1, c.F1)
	}
	var items []*asked
	for _, it := range v.QADataset.Items {
		exact, f1 := squad(it.Prediction, it.Answers)
		items = append(items, &asked{row: &Row{ID: it.ID}, verdict: judgement{counts: []float64{exact, f1, 1}}})
	}
	got := map[string]eval.Score{}
	questions{}.sequenceScores(got, items, quirks{IDsOnce: true})
	near(t, "data set, exact", float64(got["em"]), v.QADataset.Exact)
	near(t, "data set, F1", float64(got["f1"]), v.QADataset.F1)
	var sums [3]float64
	for _, it := range items {
		for i, v := range it.verdict.counts {
			sums[i] += v
		}
	}
	near(t, "data set, repeats counted", questions{}.metrics(nil, quirks{})[0].value(sums[:]), v.QADataset.Counted)
}

func TestSummaryMetrics(t *testing.T) {
	var v metricVectors
	load(t, "metric_vectors.json", &v)
	if len(v.Rouge.Cases) < 6 || len(v.ChrF.Cases) < 6 || len(v.Bits) < 3 {
		t.Fatalf("%d, %d and %d cases", len(v.Rouge.Cases), len(v.ChrF.Cases), len(v.Bits))
	}
	for _, c := range v.Rouge.Cases {
		if got := asciiWords(c.Reference); !slices.Equal(got, c.Tokens) && len(got)+len(c.Tokens) > 0 {
			t.Errorf("words of %q: %q, want %q", c.Reference, got, c.Tokens)
		}
		near(t, c.Prediction+": ROUGE-L", rougeL(asciiWords(c.Prediction), asciiWords(c.Reference)), c.F1)
	}
	for _, c := range v.ChrF.Cases {
		near(t, c.Prediction+": chrF3++", chrF(c.Prediction, c.Reference, 3), c.Three)
		near(t, c.Prediction+": chrF4++", chrF(c.Prediction, c.Reference, 4), c.Four)
	}
	for _, c := range v.Bits {
		near(t, c.Answer+": bits per character", bitsPerCharacterOf(c.LogProbs, utf8.RuneCountInString(c.Answer)), c.BPC)
	}
}
