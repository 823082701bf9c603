package serve

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"time"

	"ravn/sampler"
)

const (
	maxRivals  = 20
	maxStops   = 16
	maxStopLen = 1024 // bytes
	maxBiases  = 1024
	maxList    = 1 << 16 // prompts or messages, before they are looked at
)

// settings are the fields that both kinds of completion have.
type settings struct {
	Model       string   `json:"model"`
	N           *int     `json:"n"`
	Temperature *float64 `json:"temperature"`
	TopP        *float64 `json:"top_p"`
	TopK        *int     `json:"top_k"` // not OpenAI's; vLLM's and llama.cpp's
	Seed        *int64   `json:"seed"`
	Stop        stops    `json:"stop"`
	Presence    float64  `json:"presence_penalty"`
	Frequency   float64  `json:"frequency_penalty"`
	Bias        biases   `json:"logit_bias"`
	Stream      bool     `json:"stream"`
	StreamOpts  *struct {
		Usage bool `json:"include_usage"`
	} `json:"stream_options"`
	Format *struct {
		Type string `json:"type"`
	} `json:"response_format"`
	IgnoreEOS bool `json:"ignore_eos"` // vLLM's: for measurements
}

// stops is a string or a list of strings.
type stops []string

func (t *stops) UnmarshalJSON(data []byte) (err error) {
	if data[0] == '"' {
		*t = make(stops, 1)
		return json.Unmarshal(data, &(*t)[0])
	}
	*t, err = elements[string](data, maxStops, "stop")
	return err
}

// biases are added to the logits of tokens, named by their ids.
type biases map[string]float64

func (b *biases) UnmarshalJSON(data []byte) error {
	if commas := bytes.Count(data, []byte{','}); commas >= maxBiases {
		return bad("logit_bias", "", "logit_bias has %d tokens, at most %d are taken.", commas+1, maxBiases)
	}
	return json.Unmarshal(data, (*map[string]float64)(b))
}

// check reports what cannot be done, and returns how many answers are wanted of each prompt.
func (q *settings) check(s *Server) (n int, err error) {
	if err := s.known(q.Model); err != nil {
		return 0, err
	}
	n = 1
	if q.N != nil {
		n = *q.N
	}
	switch {
	case n < 1 || n > s.o.Queue:
		return 0, bad("n", "", "n is %d, must lie between 1 and %d.", n, s.o.Queue)
	case q.Temperature != nil && (*q.Temperature < 0 || *q.Temperature > 100):
		return 0, bad("temperature", "", "temperature is %g, must lie between 0 and 100.", *q.Temperature)
	case q.TopP != nil && (*q.TopP <= 0 || *q.TopP > 1):
		return 0, bad("top_p", "", "top_p is %g, must lie above 0 and at most be 1.", *q.TopP)
	case q.TopK != nil && *q.TopK < -1:
		return 0, bad("top_k", "", "top_k is %d, must be positive, or 0 for all tokens.", *q.TopK)
	case slices.ContainsFunc(q.Stop, func(x string) bool { return x == "" || len(x) > maxStopLen }):
		return 0, bad("stop", "", "A stop string must have between 1 and %d bytes.", maxStopLen)
	case math.Abs(q.Presence) > 2:
		return 0, bad("presence_penalty", "", "presence_penalty is %g, must lie between -2 and 2.", q.Presence)
	case math.Abs(q.Frequency) > 2:
		return 0, bad("frequency_penalty", "", "frequency_penalty is %g, must lie between -2 and 2.", q.Frequency)
	case q.Format != nil && q.Format.Type != "" && q.Format.Type != "text":
		return 0, bad("response_format", "", "response_format %q is not supported, only text.", q.Format.Type)
	}
	return n, nil
}

// byToken are the biases of a vocabulary.
func (b biases) byToken(vocab int) (map[int32]float32, error) {
	out := map[int32]float32{}
	for k, v := range b {
		id, err := strconv.Atoi(k)
		if err != nil || id < 0 || id >= vocab {
			return nil, bad("logit_bias", "", "logit_bias: %.40q is no token of the vocabulary of %d.", k, vocab)
		}
		if math.Abs(v) > 100 {
			return nil, bad("logit_bias", "", "logit_bias of token %d is %g, must lie between -100 and 100.", id, v)
		}
		out[int32(id)] = float32(v)
	}
	return out, nil
}

// job is a request at work.
type job struct {
	settings
	id       string
	created  int64
	list     []*sequence
	box      *mailbox
	logProbs bool
	top      int
}

// sequences makes one for each prompt and answer. maxTokens is what the client asks for, -1 for what the context leaves.
func (s *Server) sequences(ctx context.Context, q *settings, prompts [][]int32, maxTokens int, echo, logProbs bool, top int) (*job, error) {
	n, err := q.check(s)
	if err != nil {
		return nil, err
	}
	bias, err := q.Bias.byToken(s.engine.Config().VocabSize)
	if err != nil {
		return nil, err
	}
	switch {
	case len(prompts)*n > s.o.Queue:
		return nil, bad("n", "", "The request asks for %d texts, at most %d are taken at once.", len(prompts)*n, s.o.Queue)
	case maxTokens < -1:
		return nil, bad("max_tokens", "", "max_tokens is %d, must not be negative.", maxTokens)
	case maxTokens > s.o.MaxTokens:
		return nil, bad("max_tokens", "", "max_tokens is %d, this server writes at most %d.", maxTokens, s.o.MaxTokens)
	case top < 0 || top > maxRivals:
		return nil, bad("logprobs", "", "%d likeliest tokens are asked for, at most %d are told.", top, maxRivals)
	}
	j := &job{settings: *q, id: fmt.Sprintf("%d", s.requests.Add(1)), created: time.Now().Unix(), box: newMailbox(), logProbs: logProbs, top: top}
	seed := rand.Uint64()
	if q.Seed != nil {
		seed = uint64(*q.Seed)
	}
	for i, p := range prompts {
		room := s.o.ContextTokens - len(p)
		if maxTokens == 0 {
			room++ // the last token is scored, but nothing is asked of what follows it
		}
		write := maxTokens
		if write < 0 {
			write = min(room, s.o.MaxTokens)
			if write == 0 {
				room = -1
			}
		}
		switch {
		case len(p) == 0:
			return nil, bad("prompt", "", "Prompt %d is empty, and the tokenizer has no BOS to begin with.", i)
		case room < write || room < 0:
			return nil, bad("prompt", "context_length_exceeded", "This model's context is %d tokens; prompt %d has %d and %d are to be written.", s.o.ContextTokens, i, len(p), max(write, 0))
		}
		for k := range n {
			o := sampler.Options{Temperature: 1, Seed: seed + uint64(len(j.list)-i*n)}
			if q.Temperature != nil {
				o.Temperature = *q.Temperature
			}
			if q.TopP != nil {
				o.TopP = *q.TopP
			}
			if q.TopK != nil {
				o.TopK = max(*q.TopK, 0)
			}
			pick, err := sampler.New(o)
			if err != nil {
				return nil, bad("", "", "%v", err)
			}
			x := &sequence{
				ctx: ctx, index: i*n + k, prompt: p, maxTokens: write, echo: echo, logProbs: logProbs, top: top, pick: pick, bias: bias,
				presence: float32(q.Presence), frequency: float32(q.Frequency), ignoreEOS: q.IgnoreEOS,
				stops: sampler.Stops{Strings: q.Stop}, decoder: s.tok.NewDecoder(), box: j.box, submitted: time.Now(),
			}
			if q.Presence != 0 || q.Frequency != 0 {
				x.seen = map[int32]int{}
			}
			for _, id := range p { // the decoder has to know what went before to place the first space
				x.decoder.Next(id)
			}
			j.list = append(j.list, x)
		}
	}
	return j, nil
}

// run computes j and hands each event to f, until all sequences have ended.
func (s *Server) run(ctx context.Context, j *job, f func(e event) error) error {
	if s.closing.Load() {
		return errClosing
	}
	if err := s.work.submit(j.list); err != nil {
		return err
	}
	for left := len(j.list); left > 0; {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-j.box.ready:
		}
		for _, e := range j.box.take() {
			if e.err != nil {
				return e.err
			}
			if e.finish != "" {
				left--
			}
			if err := f(e); err != nil {
				return err
			}
		}
	}
	return nil
}

// usage counts tokens as OpenAI does.
type usage struct {
	Prompt     int           `json:"prompt_tokens"`
	Completion int           `json:"completion_tokens"`
	Total      int           `json:"total_tokens"`
	Details    *usageDetails `json:"prompt_tokens_details,omitempty"`
}

type usageDetails struct {
	Cached int `json:"cached_tokens"`
}

// usage of a job that has ended: prompts once each, whatever n is.
func (j *job) usage(prompts int) *usage {
	u := &usage{}
	for i, q := range j.list {
		if i%(len(j.list)/prompts) == 0 {
			u.Prompt += len(q.prompt)
		}
		u.Completion += q.written
	}
	u.Total = u.Prompt + u.Completion
	return u
}

// answer runs j and answers with parts as they come, or with the whole at the end.
func (s *Server) answer(w http.ResponseWriter, r *http.Request, j *job, f format) {
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	for _, q := range j.list {
		q.ctx = ctx
	}
	if !j.Stream {
		err := s.run(ctx, j, func(e event) error { f.add(e); return nil })
		if errors.Is(err, context.Canceled) {
			err = fault(499, "server_error", "", "cancelled", "The request was cancelled.")
			if s.closing.Load() {
				err = errClosing
			}
		}
		if err != nil {
			s.fail(w, err)
			return
		}
		s.reply(w, http.StatusOK, f.whole())
		return
	}
	var out *stream
	err := s.run(ctx, j, func(e event) error {
		if out == nil {
			out = s.stream(w)
		}
		for _, part := range f.parts(e) {
			if err := out.send(part); err != nil {
				return err
			}
		}
		return nil
	})
	switch {
	case err != nil && out == nil:
		s.fail(w, err)
		return
	case errors.Is(err, context.Canceled) && !s.closing.Load():
		return
	case err != nil:
		if errors.Is(err, context.Canceled) {
			err = errClosing
		}
		out.send(map[string]*apiError{"error": asAPI(err)})
		return
	}
	if j.StreamOpts != nil && j.StreamOpts.Usage {
		if out.send(f.usagePart()) != nil {
			return
		}
	}
	out.line([]byte("[DONE]"))
}

// format writes the events of a job as one of the kinds of answer.
type format interface {
	add(e event)
	whole() any
	parts(e event) []any
	usagePart() any
}
