package serve

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"unicode/utf8"
)

// completionRequest is the body of /v1/completions.
type completionRequest struct {
	settings
	Prompt    prompts `json:"prompt"`
	MaxTokens *int    `json:"max_tokens"`
	Echo      bool    `json:"echo"`
	LogProbs  *int    `json:"logprobs"`
	BestOf    *int    `json:"best_of"`
	Suffix    *string `json:"suffix"`
}

// prompts is a string, a list of strings, a list of ids, or a list of lists of ids.
type prompts struct {
	texts []string
	ids   [][]int32
}

func (p *prompts) UnmarshalJSON(data []byte) (err error) {
	p.texts, p.ids = nil, nil
	list := bytes.TrimLeft(bytes.TrimPrefix(data, []byte{'['}), " \t\r\n")
	switch {
	case string(data) == "null" || data[0] == '[' && list[0] == ']':
		return nil
	case data[0] == '"':
		p.texts = make([]string, 1)
		return json.Unmarshal(data, &p.texts[0])
	case data[0] == '[' && list[0] == '"':
		p.texts, err = elements[string](data, maxList, "prompt")
	case data[0] == '[' && list[0] == '[':
		p.ids, err = elements[[]int32](data, maxList, "prompt")
	default:
		p.ids = make([][]int32, 1)
		err = json.Unmarshal(data, &p.ids[0])
	}
	var many *apiError
	if err != nil && !errors.As(err, &many) {
		return bad("prompt", "", "prompt must be a string, a list of strings, or token ids.")
	}
	return err
}

// encoded are the prompts in tokens.
func (s *Server) encoded(p prompts) ([][]int32, error) {
	if n := len(p.texts) + len(p.ids); n > s.o.Queue {
		return nil, bad("prompt", "", "The request has %d prompts, at most %d are taken at once.", n, s.o.Queue)
	}
	for i, ids := range p.ids {
		for _, id := range ids {
			if id < 0 || int(id) >= s.engine.Config().VocabSize {
				return nil, bad("prompt", "", "Prompt %d: token %d is outside the vocabulary of %d.", i, id, s.engine.Config().VocabSize)
			}
		}
	}
	out := p.ids
	for i, t := range p.texts {
		if err := s.fits(i, t); err != nil {
			return nil, err
		}
		out = append(out, s.encode(t))
	}
	if len(out) == 0 {
		return nil, bad("prompt", "", "There is no prompt.")
	}
	return out, nil
}

// fits refuses texts that are far too long before they are cut into tokens: no token stands for more bytes than the
// longest piece, and a tokenizer's normalisation takes no three quarters of a text away, unless there is nothing in it.
func (s *Server) fits(i int, text string) error {
	if most := 4 * s.o.ContextTokens * s.longest; len(text) > most {
		return bad("prompt", "context_length_exceeded", "This model's context is %d tokens; prompt %d has %d bytes, more than four times what they can spell.", s.o.ContextTokens, i, len(text))
	}
	return nil
}

func (s *Server) completions(w http.ResponseWriter, r *http.Request) {
	var q completionRequest
	if err := s.decode(w, r, &q); err != nil {
		s.fail(w, err)
		return
	}
	j, err := s.completionJob(r, &q)
	if err != nil {
		s.fail(w, err)
		return
	}
	s.answer(w, r, j, s.newCompletion(j, &q))
}

func (s *Server) completionJob(r *http.Request, q *completionRequest) (*job, error) {
	switch {
	case q.Suffix != nil && *q.Suffix != "":
		return nil, bad("suffix", "", "suffix is not supported.")
	case q.BestOf != nil && *q.BestOf > 1 && (q.N == nil || *q.N != *q.BestOf):
		return nil, bad("best_of", "", "best_of is not supported.")
	}
	ids, err := s.encoded(q.Prompt)
	if err != nil {
		return nil, err
	}
	write, top := 16, 0
	if q.MaxTokens != nil {
		write = *q.MaxTokens
		if write < 0 {
			return nil, bad("max_tokens", "", "max_tokens is %d, must not be negative.", write)
		}
	}
	if q.LogProbs != nil {
		top = *q.LogProbs
	}
	return s.sequences(r.Context(), &q.settings, ids, write, q.Echo, q.LogProbs != nil, top)
}

// completionLogProbs is OpenAI's older form. Offsets count characters.
type completionLogProbs struct {
	Tokens   []string             `json:"tokens"`
	LogProbs []*float64           `json:"token_logprobs"`
	Top      []map[string]float64 `json:"top_logprobs"`
	Offsets  []int                `json:"text_offset"`
}

type completionChoice struct {
	Text     string              `json:"text"`
	Index    int                 `json:"index"`
	LogProbs *completionLogProbs `json:"logprobs"`
	Finish   *string             `json:"finish_reason"`
}

type completionReply struct {
	ID      string             `json:"id"`
	Object  string             `json:"object"`
	Created int64              `json:"created"`
	Model   string             `json:"model"`
	Choices []completionChoice `json:"choices"`
	Usage   *usage             `json:"usage,omitempty"`
}

// completion gathers the events of /v1/completions.
type completion struct {
	s       *Server
	j       *job
	prompts int
	choices []completionChoice
	speller []speller
	offset  []int
	begun   []bool
}

func (s *Server) newCompletion(j *job, q *completionRequest) *completion {
	c := &completion{s: s, j: j, prompts: max(1, len(q.Prompt.texts)+len(q.Prompt.ids))}
	for i, x := range j.list {
		c.choices = append(c.choices, completionChoice{Index: i})
		sp := speller{tok: s.tok, dec: s.tok.NewDecoder()}
		if !x.scored() {
			for _, id := range x.prompt {
				sp.spell(id)
			}
		}
		c.speller = append(c.speller, sp)
	}
	c.offset, c.begun = make([]int, len(j.list)), make([]bool, len(j.list))
	return c
}

// part is what an event adds to its choice.
func (c *completion) part(e event) completionChoice {
	p := completionChoice{Index: e.index, Text: e.text}
	if q := c.j.list[e.index]; q.echo && !c.begun[e.index] {
		c.begun[e.index] = true
		p.Text = c.s.tok.Decode(q.prompt) + p.Text
		if !q.scored() {
			c.offset[e.index] = utf8.RuneCountInString(p.Text)
		}
	}
	if c.j.logProbs {
		p.LogProbs = c.logProbs(e)
	}
	if e.finish != "" {
		p.Finish = &e.finish
	}
	return p
}

func (c *completion) logProbs(e event) *completionLogProbs {
	l := &completionLogProbs{Tokens: []string{}, LogProbs: []*float64{}, Offsets: []int{}}
	for _, t := range e.tokens {
		text := c.speller[e.index].spell(t.id)
		l.Tokens = append(l.Tokens, text)
		l.Offsets = append(l.Offsets, c.offset[e.index])
		if c.s.tok.Surface(t.id) != "" && utf8.ValidString(c.s.tok.Surface(t.id)) {
			c.offset[e.index] += utf8.RuneCountInString(text)
		}
		if math.IsNaN(t.logProb) {
			l.LogProbs = append(l.LogProbs, nil)
		} else {
			l.LogProbs = append(l.LogProbs, &t.logProb)
		}
		if c.j.top > 0 {
			var rivals map[string]float64
			if t.top != nil {
				rivals = map[string]float64{text: t.logProb}
				for _, r := range t.top {
					rivals[spelling(c.s.tok, r.id)] = r.logProb
				}
			}
			l.Top = append(l.Top, rivals)
		}
	}
	return l
}

func (c *completion) add(e event) {
	p, to := c.part(e), &c.choices[e.index]
	to.Text += p.Text
	if p.Finish != nil {
		to.Finish = p.Finish
	}
	if l := p.LogProbs; l != nil {
		if to.LogProbs == nil {
			to.LogProbs = l
			return
		}
		to.LogProbs.Tokens = append(to.LogProbs.Tokens, l.Tokens...)
		to.LogProbs.LogProbs = append(to.LogProbs.LogProbs, l.LogProbs...)
		to.LogProbs.Top = append(to.LogProbs.Top, l.Top...)
		to.LogProbs.Offsets = append(to.LogProbs.Offsets, l.Offsets...)
	}
}

func (c *completion) reply(choices []completionChoice) completionReply {
	return completionReply{ID: "cmpl-" + c.j.id, Object: "text_completion", Created: c.j.created, Model: c.s.o.Name, Choices: choices}
}

func (c *completion) whole() any {
	r := c.reply(c.choices)
	r.Usage = c.j.usage(c.prompts)
	return r
}

func (c *completion) parts(e event) []any {
	return []any{c.reply([]completionChoice{c.part(e)})}
}

func (c *completion) usagePart() any {
	r := c.reply([]completionChoice{})
	r.Usage = c.j.usage(c.prompts)
	return r
}

// bytesOrText spells what is not UTF-8 as OpenAI does: bytes:\xc3.
func bytesOrText(s string) string {
	if utf8.ValidString(s) {
		return s
	}
	out := "bytes:"
	for _, b := range []byte(s) {
		out += fmt.Sprintf("\\x%02x", b)
	}
	return out
}
