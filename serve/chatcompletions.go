package serve

import (
	"encoding/json"
	"math"
	"net/http"

	"ravn/tokenizer"
)

// chatRequest is the body of /v1/chat/completions.
type chatRequest struct {
	settings
	Messages            messages        `json:"messages"`
	MaxTokens           *int            `json:"max_tokens"`
	MaxCompletionTokens *int            `json:"max_completion_tokens"`
	LogProbs            bool            `json:"logprobs"`
	TopLogProbs         *int            `json:"top_logprobs"`
	Tools               json.RawMessage `json:"tools"`
	Functions           json.RawMessage `json:"functions"`
}

func (s *Server) chatCompletions(w http.ResponseWriter, r *http.Request) {
	var q chatRequest
	if err := s.decode(w, r, &q); err != nil {
		s.fail(w, err)
		return
	}
	j, err := s.chatJob(r, &q)
	if err != nil {
		s.fail(w, err)
		return
	}
	s.answer(w, r, j, &chat{s: s, j: j, choices: make([]chatChoice, len(j.list)), begun: make([]bool, len(j.list))})
}

func (s *Server) chatJob(r *http.Request, q *chatRequest) (*job, error) {
	if some(q.Tools) || some(q.Functions) {
		return nil, bad("tools", "", "Tools are not supported.")
	}
	if err := s.known(q.Model); err != nil {
		return nil, err
	}
	ids, err := s.conversation(q.Messages)
	if err != nil {
		return nil, err
	}
	write, top := -1, 0
	for _, x := range []*int{q.MaxTokens, q.MaxCompletionTokens} {
		if x != nil {
			write = *x
			if write < 1 {
				return nil, bad("max_completion_tokens", "", "%d tokens are asked for, at least 1 is written.", write)
			}
		}
	}
	if q.TopLogProbs != nil {
		if top = *q.TopLogProbs; top > 0 && !q.LogProbs {
			return nil, bad("top_logprobs", "", "top_logprobs needs logprobs to be true.")
		}
	}
	return s.sequences(r.Context(), &q.settings, [][]int32{ids}, write, false, q.LogProbs, top)
}

// some reports whether a list is there and has members.
func some(list json.RawMessage) bool {
	s := string(list)
	return s != "" && s != "null" && s != "[]"
}

type chatToken struct {
	Token   string      `json:"token"`
	LogProb float64     `json:"logprob"`
	Bytes   []int       `json:"bytes"`
	Top     []chatToken `json:"top_logprobs,omitempty"`
}

type chatLogProbs struct {
	Content []chatToken `json:"content"`
}

type chatText struct {
	Role    string  `json:"role,omitempty"`
	Content *string `json:"content,omitempty"`
}

type chatChoice struct {
	Index    int           `json:"index"`
	Message  *chatText     `json:"message,omitempty"`
	Delta    *chatText     `json:"delta,omitempty"`
	LogProbs *chatLogProbs `json:"logprobs"`
	Finish   *string       `json:"finish_reason"`
}

type chatReply struct {
	ID      string       `json:"id"`
	Object  string       `json:"object"`
	Created int64        `json:"created"`
	Model   string       `json:"model"`
	Choices []chatChoice `json:"choices"`
	Usage   *usage       `json:"usage,omitempty"`
}

// chat gathers the events of /v1/chat/completions.
type chat struct {
	s       *Server
	j       *job
	choices []chatChoice
	begun   []bool
}

func (c *chat) logProbs(e event) *chatLogProbs {
	if !c.j.logProbs {
		return nil
	}
	l := &chatLogProbs{Content: []chatToken{}}
	for _, t := range e.tokens {
		token := c.token(t.id, t.logProb)
		for _, r := range t.top {
			token.Top = append(token.Top, c.token(r.id, r.logProb))
		}
		l.Content = append(l.Content, token)
	}
	return l
}

func (c *chat) token(id int32, logProb float64) chatToken {
	if math.IsInf(logProb, -1) {
		logProb = -9999 // OpenAI's for "never"; JSON has no infinity
	}
	t := chatToken{Token: spelling(c.s.tok, id), LogProb: logProb, Bytes: []int{}}
	for _, b := range []byte(c.s.tok.Surface(id)) {
		t.Bytes = append(t.Bytes, int(b))
	}
	return t
}

func (c *chat) add(e event) {
	to := &c.choices[e.index]
	to.Index = e.index
	if to.Message == nil {
		to.Message = &chatText{Role: "assistant", Content: new(string)}
	}
	*to.Message.Content += e.text
	if e.finish != "" {
		to.Finish = &e.finish
	}
	if l := c.logProbs(e); l != nil {
		if to.LogProbs != nil {
			l.Content = append(to.LogProbs.Content, l.Content...)
		}
		to.LogProbs = l
	}
}

func (c *chat) reply(object string, choices []chatChoice) chatReply {
	return chatReply{ID: "chatcmpl-" + c.j.id, Object: object, Created: c.j.created, Model: c.s.o.Name, Choices: choices}
}

func (c *chat) whole() any {
	r := c.reply("chat.completion", c.choices)
	r.Usage = c.j.usage(1)
	return r
}

func (c *chat) parts(e event) (out []any) {
	add := func(choice chatChoice) {
		choice.Index = e.index
		out = append(out, c.reply("chat.completion.chunk", []chatChoice{choice}))
	}
	if !c.begun[e.index] {
		c.begun[e.index] = true
		add(chatChoice{Delta: &chatText{Role: "assistant", Content: new(string)}})
	}
	if e.text != "" || len(e.tokens) > 0 {
		add(chatChoice{Delta: &chatText{Content: &e.text}, LogProbs: c.logProbs(e)})
	}
	if e.finish != "" {
		add(chatChoice{Delta: &chatText{}, Finish: &e.finish})
	}
	return out
}

func (c *chat) usagePart() any {
	r := c.reply("chat.completion.chunk", []chatChoice{})
	r.Usage = c.j.usage(1)
	return r
}

// speller says what each token adds to a text that is told token by token.
type speller struct {
	tok *tokenizer.Tokenizer
	dec *tokenizer.Decoder
}

// spell is the text of the next token: as the decoder has it, so that a text does not begin with the space that encoding
// put there; a control token by its name; bytes that are no whole character as OpenAI spells them.
func (s *speller) spell(id int32) string {
	text := s.dec.Next(id)
	if one := spelling(s.tok, id); s.tok.Surface(id) == "" || one != s.tok.Surface(id) {
		return one
	}
	return text
}

// spelling is the text of a token inside a text.
func spelling(tok *tokenizer.Tokenizer, id int32) string {
	s := tok.Surface(id)
	if s == "" {
		return tok.Piece(id)
	}
	return bytesOrText(s)
}
