package serve

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"ravn/internal/jinja"
	"ravn/tokenizer"
)

// chatTemplate finds and reads the template of a tokenizer's folder, or says why there is none.
func chatTemplate(tok *tokenizer.Tokenizer) (t *jinja.Template, why string) {
	files := tok.Files()
	source := string(files["chat_template.jinja"])
	if source == "" {
		var config struct {
			Template json.RawMessage `json:"chat_template"`
		}
		if err := json.Unmarshal(files["tokenizer_config.json"], &config); err != nil {
			return nil, fmt.Sprintf("tokenizer_config.json cannot be read: %v", err)
		}
		var named []struct{ Name, Template string }
		if json.Unmarshal(config.Template, &source) != nil && json.Unmarshal(config.Template, &named) == nil {
			for _, n := range named {
				if n.Name == "default" {
					source = n.Template
				}
			}
		}
	}
	if source == "" {
		return nil, "the model has no chat template (it is a base model; ask /v1/completions)"
	}
	t, err := jinja.Parse(source)
	if err != nil {
		return nil, fmt.Sprintf("the model's chat template is not supported: %v", err)
	}
	return t, ""
}

// message is one turn of a conversation.
type message struct {
	Role    string  `json:"role"`
	Content content `json:"content"`
	Name    string  `json:"name"`
}

// messages is a conversation.
type messages []message

func (m *messages) UnmarshalJSON(data []byte) (err error) {
	*m, err = elements[message](data, maxList, "messages")
	return err
}

// content is a string, or a list of parts that are all text.
type content string

func (c *content) UnmarshalJSON(data []byte) error {
	if len(data) > 0 && data[0] == '[' {
		parts, err := elements[struct{ Type, Text string }](data, maxList, "messages")
		if err != nil {
			return err
		}
		for _, p := range parts {
			if p.Type != "text" {
				return fmt.Errorf("part of type %q: only text is understood", p.Type)
			}
			*c += content(p.Text)
		}
		return nil
	}
	return json.Unmarshal(data, (*string)(c))
}

// conversation renders messages as the model's template has it, and encodes them.
func (s *Server) conversation(talk messages) ([]int32, error) {
	if s.template == nil {
		return nil, bad("messages", "no_chat_template", "/v1/chat/completions cannot be used: %s.", s.noChat)
	}
	if len(talk) == 0 {
		return nil, bad("messages", "", "There are no messages.")
	}
	list := make([]any, len(talk))
	for i, m := range talk {
		role := m.Role
		switch role {
		case "developer":
			role = "system"
		case "system", "user", "assistant":
		default:
			return nil, bad("messages", "", "Message %d has the role %q; system, user and assistant are understood.", i, m.Role)
		}
		list[i] = map[string]any{"role": role, "content": string(m.Content)}
	}
	name := func(id int32) string {
		if id < 0 {
			return ""
		}
		return s.tok.Piece(id)
	}
	text, err := s.template.Render(map[string]any{
		"messages": list, "add_generation_prompt": true, "bos_token": name(s.tok.BOS()), "eos_token": name(s.tok.EOS()),
		"tools": nil, "documents": nil,
	})
	var raised *jinja.RaisedError
	if errors.As(err, &raised) {
		return nil, bad("messages", "", "The model's chat template refuses these messages: %s", raised.Message)
	}
	if err != nil {
		return nil, bad("messages", "", "The model's chat template cannot write these messages: %v", err)
	}
	if err := s.fits(0, text); err != nil {
		return nil, err
	}
	return s.encodeTemplate(text), nil
}

// encodeTemplate encodes a text in which the names of control tokens stand for them. Tokenizers from a tokenizer.json do
// so themselves; a SentencePiece model does not.
func (s *Server) encodeTemplate(text string) []int32 {
	if _, sentencePiece := s.tok.Files()["tokenizer.model"]; !sentencePiece {
		return s.tok.Encode(nil, text)
	}
	var names []string
	var marks []int32
	for _, id := range []int32{s.tok.BOS(), s.tok.EOS()} {
		if name := s.tok.Piece(id); name != "" {
			names, marks = append(names, name), append(marks, id)
		}
	}
	next := make([]int, len(names)) // where each name comes next; looked for again only when it has been passed
	var ids []int32
	for at := 0; at < len(text); {
		end, which := len(text), -1
		for i, name := range names {
			if next[i] < at || at == 0 {
				next[i] = len(text)
				if k := strings.Index(text[at:], name); k >= 0 {
					next[i] = at + k
				}
			}
			if next[i] < end {
				end, which = next[i], i
			}
		}
		ids = s.tok.Encode(ids, text[at:end])
		at = end
		if which >= 0 {
			ids = append(ids, marks[which])
			at += len(names[which])
		}
	}
	return ids
}
