package cli

import (
	"context"
	"fmt"
	"os"
	"strings"

	"github.com/goccy/go-yaml"

	"ravn/eval/endpoint"
	"ravn/eval/task"
)

// endpointFlags say how models behind OpenAI's interface are asked.
type endpointFlags struct {
	BaseURL     string  `name:"base-url" help:"Endpoint of openai:NAME, up to /v1: OpenAI's own, vLLM, llama.cpp, ollama, ravn serve; with --api-version Azure's .../openai/deployments/NAME."`
	KeyEnv      string  `name:"key-env" help:"Environment variable that holds the endpoint's key; OPENAI_API_KEY for OpenAI's own, none for others."`
	APIVersion  string  `name:"api-version" help:"Azure's api-version; the key is then sent as Azure wants it."`
	API         string  `name:"api" enum:"auto,completions,chat" default:"auto" help:"auto asks what the endpoint can do; or completions, or chat."`
	Concurrency int     `default:"8" help:"Requests to an endpoint at a time."`
	Prices      string  `type:"existingfile" help:"YAML of prices of a million tokens: NAME: {input: 2.5, output: 10}."`
	MaxCost     float64 `name:"max-cost" help:"Stop an endpoint's evaluation before, or when, it costs more than this, in the currency of --prices."`
}

// open asks what the endpoint can do, and refuses an evaluation that is too dear.
func (f *endpointFlags) open(ctx context.Context, s *Streams, name string, sets []*task.Dataset, o task.Options) (*endpoint.Model, error) {
	price, known, err := f.price(name)
	if err != nil {
		return nil, err
	}
	if f.MaxCost > 0 && !known {
		return nil, usageError{fmt.Errorf("eval: --max-cost needs the price of %q in --prices", name)}
	}
	m, err := endpoint.Open(ctx, endpoint.Options{
		Model: name, BaseURL: f.BaseURL, KeyVariable: f.KeyEnv, APIVersion: f.APIVersion, API: f.API, Concurrency: f.Concurrency, Price: price, MaxCost: f.MaxCost,
	})
	if err != nil {
		return nil, err
	}
	p := s.Progress()
	p.Logf("eval: %s: %s", name, m.How())
	calls, input, output, err := estimate(m, sets, o)
	if err != nil {
		return nil, err
	}
	if !known {
		p.Logf("eval: %s: about %d prompts, %d tokens to send, at most %d written (no price given, --prices)", name, calls, input, output)
		return m, nil
	}
	cost := price.Cost(input, output)
	p.Logf("eval: %s: about %d prompts, %d tokens to send, at most %d written: about %.4g", name, calls, input, output, cost)
	if f.MaxCost > 0 && cost > f.MaxCost {
		return nil, &endpoint.CostError{Cost: cost, Max: f.MaxCost, Estimate: true}
	}
	return m, nil
}

func (f *endpointFlags) price(name string) (endpoint.Price, bool, error) {
	if f.Prices == "" {
		return endpoint.Price{}, false, nil
	}
	data, err := os.ReadFile(f.Prices)
	if err != nil {
		return endpoint.Price{}, false, err
	}
	var table map[string]endpoint.Price
	if err := yaml.UnmarshalWithOptions(data, &table, yaml.Strict()); err != nil {
		return endpoint.Price{}, false, usageError{fmt.Errorf("eval: %s: %w", f.Prices, err)}
	}
	p, ok := table[name]
	if p.Input < 0 || p.Output < 0 {
		return p, false, usageError{fmt.Errorf("eval: %s: %s: a price is negative", f.Prices, name)}
	}
	return p, ok, nil
}

// estimate counts what the data sets will ask: distinct prompts, a token taken for three bytes.
func estimate(m *endpoint.Model, sets []*task.Dataset, o task.Options) (calls int, input, output int64, err error) {
	for _, d := range sets {
		if d.Task == task.BitsPerByte {
			rows, err := d.Split(o.Split)
			if err != nil {
				return 0, 0, 0, err
			}
			for _, r := range rows {
				calls++
				input += int64(len(r.Text)/3 + 2)
			}
			continue
		}
		seen := map[string]bool{}
		times, written := int64(1), int64(d.MaxTokens)
		if m.Scores() && len(d.Labels) > 0 {
			times, written = int64(len(d.Labels)+1), 0 // the prompt alone, and before each label
		}
		for i := range o.Iterations {
			prompts, _, err := task.Prompts(d, i, o)
			if err != nil {
				return 0, 0, 0, err
			}
			for _, p := range prompts {
				if seen[p] {
					continue
				}
				seen[p] = true
				calls++
				input += times * int64(len(p)/3+2)
				output += written
			}
		}
	}
	return calls, input, output, nil
}

// endpointName is NAME of openai:NAME.
func endpointName(model string) (string, bool) { return strings.CutPrefix(model, "openai:") }
