package tokenizer

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// addedTokens are the strings that Hugging Face looks for in a text before anything else: first those that are
// compared with the text as it is, then, in what is left, those that are compared with the normalised text.
type addedTokens struct {
	raw, normal, taken *matcher
	rules              map[int32]jsonAdded
}

// setAdded keeps the added tokens for Encode, and those that are not special for EncodeText.
func (t *Tokenizer) setAdded(list []jsonAdded, p *pipeline) (err error) {
	if len(list) == 0 {
		return nil
	}
	if t.added, err = newAdded(list, p); err != nil {
		return err
	}
	ordinary := slices.DeleteFunc(slices.Clone(list), func(a jsonAdded) bool { return a.Special })
	t.ordinary, err = newAdded(ordinary, p)
	return err
}

// newAdded sorts added tokens by when they are looked for.
func newAdded(list []jsonAdded, p *pipeline) (*addedTokens, error) {
	raw, normal, taken := map[string]int32{}, map[string]int32{}, map[string]int32{}
	rules := make(map[int32]jsonAdded, len(list))
	for _, a := range list {
		id := int32(a.ID)
		rules[id] = a
		switch {
		case !a.Normalized:
			raw[a.Content] = id
		case !p.prepend:
			normal[a.Content] = id
		case a.SingleWord || a.LStrip || a.RStrip:
			return nil, fmt.Errorf("added token %q: single_word, lstrip and rstrip of a normalized token are not supported", a.Content)
		default:
			taken[" "+strings.ReplaceAll(a.Content, spaceMark, " ")] = id
		}
	}
	return &addedTokens{raw: newMatcher(raw), normal: newMatcher(normal), taken: newMatcher(taken), rules: rules}, nil
}

// sections encodes a text that may hold added tokens.
func (e *encoder) sections(dst []int32, text string, a *addedTokens) []int32 {
	e.taken = a.taken
	return a.cut(dst, text, a.raw, func(dst []int32, at int, s string) []int32 {
		return a.cut(dst, s, a.normal, func(dst []int32, in int, s string) []int32 {
			return e.section(dst, s, at+in == 0)
		})
	})
}

// cut appends the ids of the members of m in text, and what rest makes of the stretches between them; at is where
// in text a stretch begins.
func (a *addedTokens) cut(dst []int32, text string, m *matcher, rest func(dst []int32, at int, s string) []int32) []int32 {
	if m == nil {
		return rest(dst, 0, text)
	}
	done := 0
	for from := 0; from < len(text); {
		at, end, id := m.find(text[from:])
		if id < 0 {
			break
		}
		at, end = from+at, from+end
		from = end
		rule := a.rules[id]
		if rule.SingleWord && (endsInWord(text[:at]) || startsWithWord(text[end:])) {
			continue
		}
		if rule.LStrip {
			at = max(done, len(strings.TrimRightFunc(text[:at], unicode.IsSpace)))
		}
		if rule.RStrip {
			end = len(text) - len(strings.TrimLeftFunc(text[end:], unicode.IsSpace))
			from = end
		}
		if done < at {
			dst = rest(dst, done, text[done:at])
		}
		dst = append(dst, id)
		done = end
	}
	if done < len(text) {
		dst = rest(dst, done, text[done:])
	}
	return dst
}

func endsInWord(s string) bool {
	r, n := utf8.DecodeLastRuneInString(s)
	return n > 0 && isWord(r)
}

func startsWithWord(s string) bool {
	r, n := utf8.DecodeRuneInString(s)
	return n > 0 && isWord(r)
}

// isWord is \w of Unicode's regular expressions.
func isWord(r rune) bool {
	return unicode.In(r, unicode.L, unicode.M, unicode.Nd, unicode.Nl, unicode.Pc, unicode.Join_Control, unicode.Other_Alphabetic)
}

// Names of special tokens that say what they are for. The post-processor, and the folder's tokenizer_config.json,
// come first.
var (
	bosNames = []string{"<s>", "<|begin_of_text|>", "<bos>", "<|startoftext|>", "<|endoftext|>"}
	eosNames = []string{"</s>", "<|end_of_text|>", "<eos>", "<|endoftext|>", "<|im_end|>"}
	padNames = []string{"<pad>", "[PAD]", "<|pad|>", "<|finetune_right_pad_id|>"}
)

// findSpecial finds BOS, EOS and padding. post is the post_processor; what it does not say goes by name.
func (t *Tokenizer) findSpecial(post json.RawMessage) {
	list, err := steps(post, "post_processor")
	if err != nil {
		list = nil // Encode adds no BOS or EOS; a template of another kind says nothing
	}
	for _, s := range list {
		before := true
		for _, part := range s.Single {
			switch {
			case part.Sequence != nil:
				before = false
			case part.SpecialToken == nil:
			case before:
				t.setSpecial(&t.bos, part.SpecialToken.ID)
			default:
				t.setSpecial(&t.eos, part.SpecialToken.ID)
			}
		}
		t.setSpecial(&t.bos, firstString(s.Cls))
		t.setSpecial(&t.eos, firstString(s.Sep))
	}
	for _, x := range []struct {
		id    *int32
		names []string
	}{{&t.bos, bosNames}, {&t.eos, eosNames}, {&t.pad, padNames}} {
		for _, name := range x.names {
			t.setSpecial(x.id, name)
		}
	}
}

// setSpecial sets *id to the piece called name if it has not been found yet and the piece is special.
func (t *Tokenizer) setSpecial(id *int32, name string) {
	if at, ok := t.ids[name]; ok && *id < 0 && t.pieces[at].kind == Control {
		*id = at
	}
}

// firstString returns the string of ["<s>", 0].
func firstString(raw json.RawMessage) string {
	var pair []any
	if json.Unmarshal(raw, &pair) != nil || len(pair) == 0 {
		return ""
	}
	s, _ := pair[0].(string)
	return s
}
