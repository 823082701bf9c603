package endpoint

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/openai/openai-go/v3"
)

// describe reads what /v1/models tells: vLLM's max_model_len, llama.cpp's meta, ravn's hash. Endpoints need not tell.
func (m *Model) describe(ctx context.Context) {
	var list struct {
		Data []struct {
			ID          string `json:"id"`
			MaxModelLen int    `json:"max_model_len"`
			Meta        struct {
				Params  int64  `json:"n_params"`
				Vocab   int    `json:"n_vocab"`
				Context int    `json:"n_ctx_train"`
				Hash    string `json:"hash"`
			} `json:"meta"`
		} `json:"data"`
	}
	if m.call(ctx, http.MethodGet, m.o.BaseURL, "models", nil, &list) != nil {
		return
	}
	for _, d := range list.Data {
		if d.ID != m.o.Model && len(list.Data) > 1 {
			continue
		}
		set(&m.info.MaxTokens, d.MaxModelLen, d.Meta.Context)
		set(&m.info.VocabSize, d.Meta.Vocab)
		if d.Meta.Params > 0 {
			m.info.Params = d.Meta.Params
		}
		m.info.Hash = d.Meta.Hash
	}
}

// set takes the first positive value.
func set(to *int, values ...int) {
	for _, v := range values {
		if v > 0 {
			*to = v
			return
		}
	}
}

// call sends a request that the client library has no method for.
func (m *Model) call(ctx context.Context, method, base, path string, body, out any) error {
	u, err := url.JoinPath(base, path)
	if err != nil {
		return err
	}
	var data []byte
	if body != nil {
		if data, err = json.Marshal(body); err != nil {
			return err
		}
	}
	r, err := http.NewRequestWithContext(ctx, method, u, bytes.NewReader(data))
	if err != nil {
		return err
	}
	r.Header.Set("Content-Type", "application/json")
	switch {
	case m.o.APIVersion != "":
		r.URL.RawQuery = url.Values{"api-version": {m.o.APIVersion}}.Encode()
		r.Header.Set("Api-Key", m.key)
	case m.key != "":
		r.Header.Set("Authorization", "Bearer "+m.key)
	}
	res, err := m.gate.pass(r, (&http.Client{Timeout: m.o.Timeout, CheckRedirect: noRedirect}).Do)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	data, err = io.ReadAll(io.LimitReader(res.Body, 64<<20))
	if err != nil {
		return err
	}
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", path, res.Status)
	}
	return json.Unmarshal(data, out)
}

// noRedirect keeps keys from being carried elsewhere.
func noRedirect(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

// probe finds out what the endpoint can do.
func (m *Model) probe(ctx context.Context) error {
	if m.o.API != "chat" {
		err := m.probeCompletions(ctx)
		if err == nil || m.o.API == "completions" || fatal(err) {
			if err != nil {
				return m.refused("probing /completions", err)
			}
			return nil
		}
	}
	if err := m.probeChat(ctx); err != nil {
		return m.refused("probing /chat/completions", err)
	}
	return nil
}

// fatal errors are about the key, the network or the context, not about what is asked.
func fatal(err error) bool {
	var e *openai.Error
	if !errors.As(err, &e) {
		return true
	}
	return e.StatusCode == http.StatusUnauthorized || e.StatusCode == http.StatusForbidden || e.StatusCode == http.StatusTooManyRequests || e.StatusCode >= 500
}

func (m *Model) probeCompletions(ctx context.Context) error {
	p := openai.CompletionNewParams{
		Model: openai.CompletionNewParamsModel(m.o.Model), MaxTokens: openai.Int(0), Echo: openai.Bool(true), Logprobs: openai.Int(0),
		Prompt: openai.CompletionNewParamsPromptUnion{OfArrayOfStrings: []string{"one two"}},
	}
	res, err := m.completions.New(ctx, p)
	if err == nil && len(res.Choices) == 1 && res.Choices[0].Text == "one two" && len(res.Choices[0].Logprobs.TokenLogprobs) > 1 &&
		len(res.Choices[0].Logprobs.Tokens) == len(res.Choices[0].Logprobs.TokenLogprobs) {
		m.echo = true
		var t struct {
			Tokens []int64 `json:"tokens"`
		}
		m.tokenize = m.tokens(ctx, "one two", &t.Tokens) == nil && len(t.Tokens) == len(res.Choices[0].Logprobs.Tokens)
		if m.tokenize {
			var empty []int64
			m.bos = m.tokens(ctx, "", &empty) == nil && len(empty) == 1 && empty[0] == t.Tokens[0]
		}
		return m.spend(res.Usage.PromptTokens, res.Usage.CompletionTokens)
	}
	if err != nil && fatal(err) {
		return err
	}
	p.MaxTokens, p.Echo, p.Logprobs = openai.Int(1), openai.Bool(false), openai.Int(5)
	res, err = m.completions.New(ctx, p)
	if err != nil {
		return err
	}
	if len(res.Choices) == 1 && len(res.Choices[0].Logprobs.TopLogprobs) > 0 {
		m.top = 5
	}
	return m.spend(res.Usage.PromptTokens, res.Usage.CompletionTokens)
}

func (m *Model) probeChat(ctx context.Context) error {
	m.useChat = true
	m.top = 20
	res, err := m.ask(ctx, prompt{text: "one two"}, 8, nil)
	if err != nil {
		return err
	}
	if len(res.top) == 0 {
		m.top = 0
	}
	return nil
}

// tokens asks /tokenize, which vLLM has beside /v1.
func (m *Model) tokens(ctx context.Context, text string, ids *[]int64) error {
	u, err := url.Parse(m.o.BaseURL)
	if err != nil {
		return err
	}
	u.Path = strings.TrimSuffix(strings.TrimRight(u.Path, "/"), "/v1")
	var out struct {
		Tokens []int64 `json:"tokens"`
	}
	if err := m.call(ctx, http.MethodPost, u.String(), "tokenize", map[string]string{"model": m.o.Model, "prompt": text}, &out); err != nil {
		return err
	}
	*ids = out.Tokens
	return nil
}
