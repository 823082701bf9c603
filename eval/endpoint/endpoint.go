// Package endpoint evaluates models behind OpenAI's HTTP interface: OpenAI itself, Azure, vLLM, llama.cpp, ollama, ravn serve.
//
// What an endpoint can do is found out by asking: one that scores given text (echo with log-probabilities) is asked as a
// local model is, and gives a local model's numbers; one that tells its likeliest tokens is read by the first token of
// its answer; from any other the answer's text is read. Keys come from the environment and go nowhere but into the
// header of a request.
package endpoint

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"

	"ravn/eval"
)

// DefaultURL is OpenAI's own endpoint, the only one that OPENAI_API_KEY is sent to without being told.
const DefaultURL = "https://api.openai.com/v1"

// Options say where and how to ask.
type Options struct {
	Model       string        // as the endpoint calls it
	BaseURL     string        // up to and including /v1; "" is DefaultURL
	KeyVariable string        // environment variable that holds the key; "" is OPENAI_API_KEY for DefaultURL, and none elsewhere
	APIVersion  string        // Azure's: sent as ?api-version=, and the key as Api-Key; BaseURL is …/openai/deployments/NAME
	API         string        // "auto" (also ""), "completions" or "chat"
	Concurrency int           // requests at a time; 0: 8
	Retries     int           // after the first attempt; 0: 8, -1: none
	Timeout     time.Duration // of one attempt; 0: 10 minutes
	Price       Price         // of a million tokens
	MaxCost     float64       // stop when more than this has been spent; 0: no limit
}

// Price is in some currency for a million tokens.
type Price struct {
	Input  float64 `yaml:"input"`
	Output float64 `yaml:"output"`
}

// Cost of so many tokens.
func (p Price) Cost(input, output int64) float64 {
	return (float64(input)*p.Input + float64(output)*p.Output) / 1e6
}

// CostError says that an evaluation would cost, or has cost, more than was allowed.
type CostError struct {
	Cost, Max float64
	Estimate  bool // before the first call
}

func (e *CostError) Error() string {
	if e.Estimate {
		return fmt.Sprintf("eval: the evaluation would cost about %.4g, allowed are %.4g (--max-cost); no prompt was asked", e.Cost, e.Max)
	}
	return fmt.Sprintf("eval: %.4g have been spent, allowed are %.4g (--max-cost); what was answered is kept", e.Cost, e.Max)
}

// Model is an endpoint as eval.Model.
type Model struct {
	o           Options
	key         string
	info        eval.Info
	completions openai.CompletionService
	chat        openai.ChatCompletionService
	raw         []option.RequestOption
	gate        *gate

	useChat  bool
	echo     bool // completions score given text
	top      int  // likeliest tokens that the endpoint tells, 0 none
	tokenize bool // /tokenize is there
	bos      bool // the tokens of every text begin with BOS

	mu      sync.Mutex
	counts  map[string]int // tokens of texts
	dropped map[string]bool
	input   int64
	output  int64
}

// Open asks the endpoint what it can do, with one or a few requests of a token each.
func Open(ctx context.Context, o Options) (*Model, error) {
	m, err := newModel(o)
	if err != nil {
		return nil, err
	}
	m.describe(ctx)
	if err := m.probe(ctx); err != nil {
		return nil, err
	}
	m.info.NoScores = !m.echo && m.top == 0
	return m, nil
}

func newModel(o Options) (*Model, error) {
	if o.Model == "" {
		return nil, errors.New("eval: no model is named (openai:NAME)")
	}
	if o.BaseURL == "" {
		o.BaseURL = DefaultURL
	}
	u, err := url.Parse(o.BaseURL)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return nil, errors.New("eval: the base URL must look like https://host/v1")
	}
	if u.User != nil || u.RawQuery != "" {
		return nil, errors.New("eval: the base URL holds a user, a password or a query\n\t(keys are read from the environment, so that they end in no record: --key-env NAME)")
	}
	variable := o.KeyVariable
	if variable == "" && strings.TrimRight(o.BaseURL, "/") == DefaultURL {
		variable = "OPENAI_API_KEY"
	}
	key := ""
	if variable != "" {
		if key = strings.TrimSpace(os.Getenv(variable)); key == "" {
			return nil, fmt.Errorf("eval: %s is not in the environment; %s asks for a key", variable, u.Host)
		}
	}
	if o.Concurrency <= 0 {
		o.Concurrency = 8
	}
	switch {
	case o.Retries == 0:
		o.Retries = 8
	case o.Retries < 0:
		o.Retries = 0
	}
	if o.Timeout == 0 {
		o.Timeout = 10 * time.Minute
	}
	m := &Model{
		o: o, key: key, gate: newGate(o.Concurrency), counts: map[string]int{}, dropped: map[string]bool{},
		info: eval.Info{Name: o.Model, Params: -1, MaxTokens: -1, VocabSize: -1, Generative: true, Kind: "endpoint"},
	}
	m.raw = []option.RequestOption{
		option.WithHTTPClient(&http.Client{Transport: http.DefaultTransport}), option.WithBaseURL(o.BaseURL), option.WithMaxRetries(o.Retries),
		option.WithRequestTimeout(o.Timeout), option.WithMiddleware(m.gate.pass),
	}
	switch {
	case o.APIVersion != "":
		m.raw = append(m.raw, option.WithQuery("api-version", o.APIVersion), option.WithHeader("Api-Key", key))
	case key != "":
		m.raw = append(m.raw, option.WithHeader("Authorization", "Bearer "+key))
	}
	m.completions, m.chat = openai.NewCompletionService(m.raw...), openai.NewChatCompletionService(m.raw...)
	return m, nil
}

// Info describes the model as far as the endpoint tells.
func (m *Model) Info() eval.Info { return m.info }

// Spent is how many tokens were asked and written so far, and what they cost.
func (m *Model) Spent() (input, output int64, cost float64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.input, m.output, m.o.Price.Cost(m.input, m.output)
}

// How says in words how the endpoint is asked.
func (m *Model) How() string {
	switch {
	case m.echo:
		return "completions, given text is scored"
	case m.useChat && m.top > 0:
		return fmt.Sprintf("chat, labels by the first token among the %d likeliest", m.top)
	case m.useChat:
		return "chat, labels by what is written"
	case m.top > 0:
		return fmt.Sprintf("completions, labels by the first token among the %d likeliest", m.top)
	}
	return "completions, labels by what is written"
}

// Scores says whether the endpoint scores given text.
func (m *Model) Scores() bool { return m.echo }

// spend counts what a call has used, and stops when it is too much.
func (m *Model) spend(input, output int64) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.input += input
	m.output += output
	if cost := m.o.Price.Cost(m.input, m.output); m.o.MaxCost > 0 && cost > m.o.MaxCost {
		return &CostError{Cost: cost, Max: m.o.MaxCost}
	}
	return nil
}

// refused is an error of the endpoint in words that are fit to be shown: its message without the key, should it repeat it.
func (m *Model) refused(what string, err error) error {
	var e *openai.Error
	if !errors.As(err, &e) {
		var cost *CostError
		if errors.As(err, &cost) || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
			return err
		}
		return fmt.Errorf("eval: %s: %s: %s", m.o.Model, what, m.clean(err.Error()))
	}
	advice := ""
	switch e.StatusCode {
	case http.StatusUnauthorized, http.StatusForbidden:
		advice = "\n\t(the key was not accepted: --key-env names the variable that holds it)"
	case http.StatusNotFound:
		advice = "\n\t(is the base URL right, up to /v1, and the model's name?)"
	case http.StatusTooManyRequests:
		advice = "\n\t(after several tries; lower --concurrency, or go on later: what was answered is kept)"
	}
	return fmt.Errorf("eval: %s: %s: %d %s%s", m.o.Model, what, e.StatusCode, m.clean(e.Message), advice)
}

// clean takes the key out of a text, and shortens it.
func (m *Model) clean(s string) string {
	if m.key != "" {
		s = strings.ReplaceAll(s, m.key, "[key]")
	}
	if len(s) > 500 {
		s = strings.ToValidUTF8(s[:500], "") + "…"
	}
	return s
}
