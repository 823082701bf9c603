package endpoint

import (
	"math"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"

	"ravn/eval"
	"ravn/eval/task"
	"ravn/internal/builtin"
	"ravn/model"
	"ravn/serve"
	"ravn/tokenizer"
	"ravn/weights"
)

const chatML = `{% for m in messages %}{{ bos_token + m.role + '\n' + m.content + eos_token + '\n' }}{% endfor %}{{ bos_token + 'assistant\n' }}`

// served is a tiny untrained model on the built-in material, as a folder and behind ravn serve.
func served(t *testing.T, o serve.Options) (dir, url string, material string) {
	t.Helper()
	material = t.TempDir()
	if err := builtin.Extract(material); err != nil {
		t.Fatal(err)
	}
	d, err := task.LoadDataset(filepath.Join(material, "eval", "mini-scala-da"))
	if err != nil {
		t.Fatal(err)
	}
	var texts []string
	for _, r := range d.Train {
		texts = append(texts, r.Text+" Grammatisk korrekt: ja nej Sætning: Følgende er sætninger")
	}
	to := tokenizer.DefaultTrainOptions()
	to.VocabSize = 500
	tok, err := tokenizer.Train(t.Context(), slices.Values(texts), to)
	if err != nil {
		t.Fatal(err)
	}
	c, err := model.ParseConfig([]byte(`{"model_type": "llama", "architectures": ["LlamaForCausalLM"], "vocab_size": 500,
		"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 1,
		"max_position_embeddings": 512, "rms_norm_eps": 1e-5, "initializer_range": 0.3}`))
	if err != nil {
		t.Fatal(err)
	}
	files := tok.Files()
	files["chat_template.jinja"] = []byte(chatML)
	dir = filepath.Join(t.TempDir(), "lille")
	if err := weights.SaveFolder(dir, model.Init(c, 11), weights.SaveOptions{Files: files}); err != nil {
		t.Fatal(err)
	}
	s, err := serve.Open(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	h := httptest.NewServer(s.Handler())
	t.Cleanup(func() {
		h.CloseClientConnections()
		h.Close()
		s.Close()
	})
	return dir, h.URL + "/v1", material
}

// Promise: evaluating a folder and evaluating `ravn serve` of it give the same records. Bits per byte are summed in
// float32 a token by the local model and told in float64 by the server, so they agree to seven digits.
func TestServedRecordsAreTheFolders(t *testing.T) {
	t.Setenv("SERVE_KEY", secret)
	dir, url, material := served(t, serve.Options{APIKey: secret})
	local, err := eval.OpenLocal(dir, eval.LocalOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer local.Close()
	remote, err := Open(t.Context(), Options{Model: "lille", BaseURL: url, KeyVariable: "SERVE_KEY"})
	if err != nil {
		t.Fatal(err)
	}
	if !remote.echo || !remote.tokenize {
		t.Fatalf("asked as %q, /tokenize %v", remote.How(), remote.tokenize)
	}
	want, got := local.Info(), remote.Info()
	want.Kind, want.Grammars = got.Kind, got.Grammars
	if d := cmp.Diff(got, want); d != "" {
		t.Errorf("info (-served +local):\n%s", d)
	}
	const name = "mini-scala-da"
	out := t.TempDir()
	for _, mode := range []string{eval.ModeRavn, eval.ModeScandEval2024} {
		d, err := task.LoadDataset(filepath.Join(material, "eval", name))
		if err != nil {
			t.Fatal(err)
		}
		o := task.Options{Iterations: 2, Limit: 24, Mode: mode}
		a, err := task.Evaluate(t.Context(), local, d, o)
		if err != nil {
			t.Fatal(err)
		}
		b, err := task.Evaluate(t.Context(), remote, d, o)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(b, a); d != "" {
			t.Errorf("%s, mode %s (-served +local):\n%s", name, mode, d)
		}
		if err := eval.AppendRecords(filepath.Join(out, "r.jsonl"), b.Record); err != nil {
			t.Fatal(err)
		}
		if err := eval.WritePredictions(filepath.Join(out, name+".jsonl"), b.Predictions); err != nil {
			t.Fatal(err)
		}
	}
	noSecrets(t, out)

	texts := []string{"Ræven løb over marken.", strings.Repeat("Der er en by, som hedder Aarhus. ", 90), ""}
	a, err := local.TextLoss(t.Context(), texts)
	if err != nil {
		t.Fatal(err)
	}
	b, err := remote.TextLoss(t.Context(), texts)
	if err != nil {
		t.Fatal(err)
	}
	near := cmp.Comparer(func(x, y float64) bool { return math.Abs(x-y) <= 1e-6*(1+math.Abs(x)) })
	if d := cmp.Diff(b, a, near); d != "" {
		t.Errorf("loss (-served +local):\n%s", d)
	}
	if local.CountTokens(texts[1]) != remote.CountTokens(texts[1]) {
		t.Error("tokens are counted otherwise")
	}
	long := strings.Repeat("Der er en by, som hedder Aarhus. ", 90) + "Er det rigtigt?" // longer than the context: cut on the left
	prompts := []eval.GeneratePrompt{
		{Prompt: "Sætning: Der er en by.\nGrammatisk korrekt:", MaxTokens: 20, Stop: []string{"\n\n"}},
		{Prompt: long, MaxTokens: 20, Stop: []string{"\n\n"}},
	}
	ga, err := local.Generate(t.Context(), prompts)
	if err != nil {
		t.Fatal(err)
	}
	gb, err := remote.Generate(t.Context(), prompts)
	if err != nil {
		t.Fatal(err)
	}
	for i := range gb {
		gb[i].Text = strings.TrimPrefix(gb[i].Text, " ") // the local model decodes the answer alone and loses its first space
	}
	if gb[1].Truncated == 0 {
		t.Error("the long prompt was not cut")
	}
	if d := cmp.Diff(gb, ga); d != "" {
		t.Errorf("text (-served +local):\n%s", d)
	}
	choices := []eval.ChoicePrompt{
		{Prompt: long, Choices: []string{" ja", " nej, det er en skov"}, Ranks: true},
		{Prompt: long, Choices: []string{"", "ja"}, Ranks: true},
		{Prompt: "Er det rigtigt?", Choices: []string{" ja", " nej"}, Ranks: true},
		{Prompt: "Der er en b", Choices: []string{"y", "ro", " "}, Ranks: true},
	}
	ca, err := local.ChoiceScores(t.Context(), choices)
	if err != nil {
		t.Fatal(err)
	}
	cb, err := remote.ChoiceScores(t.Context(), choices)
	if err != nil {
		t.Fatal(err)
	}
	for _, list := range ca {
		for i := range list {
			list[i].FirstRank = min(list[i].FirstRank, 21) // servers tell the twenty likeliest
		}
	}
	if d := cmp.Diff(cb, ca); d != "" || ca[0][0].Truncated == 0 {
		t.Errorf("scores (-served +local), %d tokens cut:\n%s", ca[0][0].Truncated, d)
	}
}

// The official client understands every answer of ravn serve.
func TestOfficialClient(t *testing.T) {
	_, url, _ := served(t, serve.Options{})
	opts := []option.RequestOption{option.WithBaseURL(url), option.WithAPIKey("unused"), option.WithMaxRetries(0)}
	client := openai.NewClient(opts...)
	ctx := t.Context()

	models, err := client.Models.List(ctx)
	if err != nil || len(models.Data) != 1 || models.Data[0].ID != "lille" {
		t.Fatalf("models %+v, %v", models, err)
	}
	if one, err := client.Models.Get(ctx, "lille"); err != nil || one.OwnedBy != "ravn" {
		t.Errorf("model %+v, %v", one, err)
	}

	talk := openai.ChatCompletionNewParams{
		Model: "lille", Seed: openai.Int(3), MaxCompletionTokens: openai.Int(30), Logprobs: openai.Bool(true), TopLogprobs: openai.Int(3), N: openai.Int(2),
		Messages:      []openai.ChatCompletionMessageParamUnion{openai.SystemMessage("Svar kort."), openai.UserMessage("Hvad hedder byen?")},
		StreamOptions: openai.ChatCompletionStreamOptionsParam{IncludeUsage: openai.Bool(true)},
	}
	stream := client.Chat.Completions.NewStreaming(ctx, talk)
	var acc openai.ChatCompletionAccumulator
	for stream.Next() {
		if !acc.AddChunk(stream.Current()) {
			t.Fatalf("the accumulator refuses %s", stream.Current().RawJSON())
		}
	}
	if err := stream.Err(); err != nil {
		t.Fatal(err)
	}
	talk.StreamOptions = openai.ChatCompletionStreamOptionsParam{}
	whole, err := client.Chat.Completions.New(ctx, talk)
	if err != nil {
		t.Fatal(err)
	}
	if len(whole.Choices) != 2 || len(acc.Choices) != 2 {
		t.Fatalf("%d and %d choices", len(whole.Choices), len(acc.Choices))
	}
	for i, c := range whole.Choices {
		if acc.Choices[i].Message.Content != c.Message.Content || acc.Choices[i].FinishReason != c.FinishReason || c.Message.Role != "assistant" {
			t.Errorf("choice %d streamed %q (%s), whole %q (%s)", i, acc.Choices[i].Message.Content, acc.Choices[i].FinishReason, c.Message.Content, c.FinishReason)
		}
		if len(c.Logprobs.Content) == 0 || len(c.Logprobs.Content[0].TopLogprobs) != 3 {
			t.Errorf("choice %d: log-probabilities %+v", i, c.Logprobs)
		}
	}
	if acc.Usage.TotalTokens != whole.Usage.TotalTokens || whole.Usage.PromptTokens == 0 {
		t.Errorf("usage %d and %d", acc.Usage.TotalTokens, whole.Usage.TotalTokens)
	}

	c := openai.CompletionNewParams{
		Model: "lille", Prompt: openai.CompletionNewParamsPromptUnion{OfArrayOfStrings: []string{"Der er", "Hun skrev"}},
		MaxTokens: openai.Int(12), Temperature: openai.Float(0), Logprobs: openai.Int(2), Echo: openai.Bool(true),
	}
	text, err := client.Completions.New(ctx, c)
	if err != nil {
		t.Fatal(err)
	}
	if len(text.Choices) != 2 || !strings.HasPrefix(text.Choices[1].Text, "Hun skrev") || len(text.Choices[0].Logprobs.Tokens) < 13 {
		t.Errorf("completions %+v", text.Choices)
	}
	parts := client.Completions.NewStreaming(ctx, c)
	streamed := make([]string, 2)
	for parts.Next() {
		for _, x := range parts.Current().Choices {
			streamed[x.Index] += x.Text
		}
	}
	if err := parts.Err(); err != nil || streamed[0] != text.Choices[0].Text || streamed[1] != text.Choices[1].Text {
		t.Errorf("streamed %q, %v, whole %q and %q", streamed, err, text.Choices[0].Text, text.Choices[1].Text)
	}

	c.MaxTokens = openai.Int(100_000)
	_, err = client.Completions.New(ctx, c)
	if e, ok := err.(*openai.Error); !ok || e.StatusCode != 400 || e.Param != "max_tokens" || e.Type != "invalid_request_error" {
		t.Errorf("too many tokens: %#v", err)
	}
	_, err = client.Completions.New(ctx, openai.CompletionNewParams{Model: "gpt-4"})
	if e, ok := err.(*openai.Error); !ok || e.StatusCode != 404 && e.StatusCode != 400 {
		t.Errorf("another model: %#v", err)
	}
}
