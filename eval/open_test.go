package eval

import (
	"math"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"ravn/engine/cpu"
	"ravn/model"
	"ravn/tokenizer"
	"ravn/weights"
)

var sentences = []string{
	"Ræven løb over marken og ind i skoven.", "Der er en by i Jylland, som hedder Aarhus.",
	"Hun skrev et brev til sin søster om sommeren.", "Følgende er sætninger og om de er grammatisk korrekte.",
	"Sætning: Grammatisk korrekt: ja nej", "Vi skal købe mælk, brød og æbler i dag.",
}

// tinyModel is a folder with an untrained decoder and a tokenizer of 400 pieces.
func tinyModel(t *testing.T) string {
	t.Helper()
	o := tokenizer.DefaultTrainOptions()
	o.VocabSize = 400
	tok, err := tokenizer.Train(t.Context(), slices.Values(sentences), o)
	if err != nil {
		t.Fatal(err)
	}
	c, err := model.ParseConfig([]byte(`{"model_type": "mistral", "architectures": ["MistralForCausalLM"], "vocab_size": 400,
		"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
		"max_position_embeddings": 128, "rms_norm_eps": 1e-5, "initializer_range": 0.3}`))
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "tiny")
	if err := weights.SaveFolder(dir, model.Init(c, 7), weights.SaveOptions{Files: tok.Files()}); err != nil {
		t.Fatal(err)
	}
	return dir
}

func open(t *testing.T, dir string, o LocalOptions) *Local {
	t.Helper()
	l, err := OpenLocal(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

type answers struct {
	Scores [][]ChoiceScore
	Texts  []Generation
	Losses []TextLoss
}

func ask(t *testing.T, m Model, order []int) answers {
	t.Helper()
	shots := "Følgende er sætninger.\n\nSætning: Vi skal købe mælk.\nGrammatisk korrekt: ja\n\n"
	var choices []ChoicePrompt
	var generate []GeneratePrompt
	var texts []string
	for _, i := range order {
		p := shots + "Sætning: " + sentences[i] + "\nGrammatisk korrekt:"
		choices = append(choices, ChoicePrompt{Prompt: p, Choices: []string{" ja", " nej", " skoven og"}})
		generate = append(generate, GeneratePrompt{Prompt: p, MaxTokens: 8, Stop: []string{"\n\n"}})
		texts = append(texts, strings.Repeat(sentences[i]+" ", 1+5*i))
	}
	var a, back answers
	var err error
	if a.Scores, err = m.ChoiceScores(t.Context(), choices); err != nil {
		t.Fatal(err)
	}
	if a.Texts, err = m.Generate(t.Context(), generate); err != nil {
		t.Fatal(err)
	}
	if a.Losses, err = m.TextLoss(t.Context(), texts); err != nil {
		t.Fatal(err)
	}
	back = answers{make([][]ChoiceScore, len(order)), make([]Generation, len(order)), make([]TextLoss, len(order))}
	for at, i := range order {
		back.Scores[i], back.Texts[i], back.Losses[i] = a.Scores[at], a.Texts[at], a.Losses[at]
	}
	return back
}

// Promise: threads and the order of prompts do not matter, bit for bit, on the real engine.
func TestLocalAnswersAreTheSameInAnyOrder(t *testing.T) {
	dir := tinyModel(t)
	want := ask(t, open(t, dir, LocalOptions{Threads: 1}), []int{0, 1, 2, 3, 4, 5})
	for _, threads := range []int{1, 2, 5} {
		got := ask(t, open(t, dir, LocalOptions{Threads: threads}), []int{5, 2, 0, 4, 1, 3})
		if d := cmp.Diff(got, want); d != "" {
			t.Errorf("%d threads, another order:\n%s", threads, d)
		}
	}
	m := open(t, dir, LocalOptions{Threads: 2})
	ask(t, m, []int{3, 4, 5, 0, 1, 2})
	if d := cmp.Diff(ask(t, m, []int{0, 1, 2, 3, 4, 5}), want); d != "" {
		t.Errorf("after other questions:\n%s", d)
	}
}

// A GGUF file of the same numbers answers with the same bits, has the same hash, and is read in its own order of rows.
func TestLocalReadsGGUF(t *testing.T) {
	dir := tinyModel(t)
	file := filepath.Join(t.TempDir(), "tiny.gguf")
	if _, err := weights.Convert(t.Context(), file, dir, weights.ConvertOptions{}); err != nil {
		t.Fatal(err)
	}
	order := []int{0, 1, 2, 3, 4, 5}
	folder, gguf := open(t, dir, LocalOptions{Threads: 2}), open(t, file, LocalOptions{Threads: 2})
	if d := cmp.Diff(ask(t, gguf, order), ask(t, folder, order)); d != "" {
		t.Errorf("answers differ:\n%s", d)
	}
	if folder.Info().Hash != gguf.Info().Hash {
		t.Errorf("hashes %s and %s", folder.Info().Hash, gguf.Info().Hash)
	}
}

func TestModelThatDoesNotFitIsRefused(t *testing.T) {
	m, err := weights.Open(tinyModel(t))
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	var size int64
	for _, x := range m.Tensors() {
		size += int64(len(x.Data))
	}
	keys := cpu.SessionBytes(m.Config(), cpu.Options{}, 128)
	if err := fits(m.Config(), cpu.Options{}, m.Tensors(), "tiny", size+keys); err != nil {
		t.Errorf("exactly enough memory: %v", err)
	}
	if err := fits(m.Config(), cpu.Options{}, m.Tensors(), "tiny", 0); err != nil {
		t.Errorf("unknown memory: %v", err)
	}
	for memory, want := range map[int64]string{
		size + keys - 1: "this machine has 0.0 GB, so it does not fit (ravn convert tiny tiny-q8_0.gguf --dtype q8_0 makes a file of 0.0 GB that does)",
		size/5 + keys:   "--dtype q4_0 makes",
		1000:            "(use a machine with more memory)",
	} {
		if err := fits(m.Config(), cpu.Options{}, m.Tensors(), "tiny", memory); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%d bytes: %v, want %s", memory, err, want)
		}
	}
}

// The reading copy of the decoder is the judge of the fast one. Both reckon in float32; sums run in another order, so
// log-probabilities agree to about 1e-5 of their size.
func TestLocalAgreesWithTheReadingCopy(t *testing.T) {
	dir := tinyModel(t)
	all := []int{0, 1, 2, 3, 4, 5}
	slow := ask(t, open(t, dir, LocalOptions{Engine: "ref"}), all)
	close := cmp.Comparer(func(a, b float64) bool { return math.Abs(a-b) <= 1e-4*(1+math.Abs(a)) })
	for _, engine := range []string{"cpu", "xla"} {
		l := open(t, dir, LocalOptions{Engine: engine})
		if d := cmp.Diff(ask(t, l, all), slow, close); d != "" {
			t.Errorf("(-%s +ref):\n%s", engine, d)
		}
		if kind := l.Info().Kind; (kind == "local") != (engine == "cpu") {
			t.Errorf("%s: kind %q, and answers of one engine must not be taken for another's", engine, kind)
		}
	}
}

func TestOpenLocal(t *testing.T) {
	dir := tinyModel(t)
	l := open(t, dir, LocalOptions{})
	i := l.Info()
	if i.Name != "tiny" || i.MaxTokens != 128 || i.VocabSize != 400 || len(i.Hash) != 64 || !i.Generative {
		t.Errorf("info %+v", i)
	}
	if got, want := i.Params, int64(2*400*32+2*(32*32*2+16*32*2+3*64*32+2*32)+32); got != want {
		t.Errorf("%d parameters, by hand %d", got, want)
	}
	if _, err := OpenLocal(dir, LocalOptions{Engine: "gpu"}); err == nil || !strings.Contains(err.Error(), `engine "gpu" is not known`) {
		t.Errorf("engine gpu: %v", err)
	}
	if _, err := OpenLocal(t.TempDir(), LocalOptions{}); err == nil {
		t.Error("an empty folder was opened")
	}
}
