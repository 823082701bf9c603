package tokenizer

import (
	"encoding/json"
	"errors"
	"fmt"
)

// pipeline is what normalizer and pre_tokenizer of a tokenizer.json come to.
type pipeline struct {
	marks       bool // spaces become U+2581
	nfc         bool // text is brought to Unicode's composed form
	prefix      prefixRule
	prepend     bool     // by the normalizer, so added tokens that are normalized get the space as well
	singleSpace bool     // every space starts a word
	split       splitter // byte-level, when not nil
}

// step is one normalizer, pre-tokenizer, decoder or post-processor: the fields of all kinds together.
type step struct {
	Type          string          `json:"type"`
	Normalizers   []step          `json:"normalizers"`
	PreTokenizers []step          `json:"pretokenizers"`
	Decoders      []step          `json:"decoders"`
	Processors    []step          `json:"processors"`
	Pattern       pattern         `json:"pattern"`
	Content       string          `json:"content"`
	Prepend       string          `json:"prepend"`
	Replacement   string          `json:"replacement"`
	PrependScheme *string         `json:"prepend_scheme"`
	PrefixSpace   *bool           `json:"add_prefix_space"`
	Split         *bool           `json:"split"`
	UseRegex      *bool           `json:"use_regex"`
	Behavior      string          `json:"behavior"`
	Invert        bool            `json:"invert"`
	Individual    bool            `json:"individual_digits"`
	Start         int             `json:"start"`
	Stop          int             `json:"stop"`
	Single        []templatePart  `json:"single"`
	Cls           json.RawMessage `json:"cls"`
	Sep           json.RawMessage `json:"sep"`
}

type pattern struct {
	String *string
	Regex  *string
}

type templatePart struct {
	SpecialToken *struct {
		ID string `json:"id"`
	}
	Sequence *struct{}
}

// steps reads one component as a list: a Sequence is its members, null is none.
func steps(raw json.RawMessage, name string) ([]step, error) {
	if len(raw) == 0 {
		return nil, nil
	}
	var one *step
	if err := json.Unmarshal(raw, &one); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	if one == nil {
		return nil, nil
	}
	return flatten(*one, nil, 0)
}

const maxNested = 16

func flatten(s step, list []step, depth int) ([]step, error) {
	if s.Type != "Sequence" {
		return append(list, s), nil
	}
	if depth == maxNested {
		return nil, fmt.Errorf("sequences are nested more than %d deep", maxNested)
	}
	for _, members := range [][]step{s.Normalizers, s.PreTokenizers, s.Decoders, s.Processors} {
		for _, m := range members {
			var err error
			if list, err = flatten(m, list, depth+1); err != nil {
				return nil, err
			}
		}
	}
	return list, nil
}

// pipeline reads normalizer and pre_tokenizer.
func (f *jsonFile) pipeline() (*pipeline, error) {
	p := &pipeline{}
	norms, err := steps(f.Normalizer, "normalizer")
	if err != nil {
		return nil, err
	}
	for i, s := range norms {
		if err := p.normalizer(&s); err != nil {
			return nil, fmt.Errorf("normalizer %d: %w", i, err)
		}
	}
	pres, err := steps(f.PreTokenizer, "pre_tokenizer")
	if err != nil {
		return nil, err
	}
	var splits []splitter
	for i, s := range pres {
		split, err := p.preTokenizer(&s, i, len(pres))
		if err != nil {
			return nil, fmt.Errorf("pre_tokenizer %d: %w", i, err)
		}
		if split != nil {
			splits = append(splits, split)
		}
	}
	byteLevel := len(pres) > 0 && pres[len(pres)-1].Type == "ByteLevel"
	switch {
	case byteLevel && (p.marks || p.prepend):
		return nil, errors.New("a byte-level pre_tokenizer after a normalizer that marks spaces is not supported")
	case byteLevel:
		p.split = chain(splits)
	case len(splits) > 0:
		return nil, errors.New("pre_tokenizer splits by a pattern but is not byte-level (ByteLevel must come last)")
	case !p.marks:
		return nil, errors.New("neither normalizer nor pre_tokenizer says what becomes of spaces (Replace, Metaspace or ByteLevel expected)")
	}
	return p, nil
}

func (p *pipeline) normalizer(s *step) error {
	switch s.Type {
	case "NFC":
		if p.marks || p.prepend {
			return errors.New("NFC after other normalizers is not supported")
		}
		p.nfc = true
	case "Prepend":
		if s.Prepend != spaceMark || p.marks {
			return fmt.Errorf("step Prepend %q is not supported (only U+2581, before Replace)", s.Prepend)
		}
		p.prepend, p.prefix = true, prefixAlways
	case "Replace":
		if s.Pattern.String == nil || *s.Pattern.String != " " || s.Content != spaceMark {
			return errors.New("only Replace of \" \" by U+2581 is supported")
		}
		p.marks = true
	default:
		return fmt.Errorf("%q is not supported (Prepend, Replace and NFC are)", s.Type)
	}
	return nil
}

// preTokenizer reads member i of n; the splitter it returns is for byte-level text.
func (p *pipeline) preTokenizer(s *step, i, n int) (splitter, error) {
	switch s.Type {
	case "Metaspace":
		return nil, p.metaspace(s, n)
	case "ByteLevel":
		if i != n-1 {
			return nil, errors.New("ByteLevel must come last")
		}
		if s.PrefixSpace == nil || *s.PrefixSpace {
			if n > 1 {
				return nil, errors.New("ByteLevel with add_prefix_space after other pre-tokenizers is not supported")
			}
			p.prefix = prefixMissing
		}
		if s.UseRegex == nil || *s.UseRegex {
			return splitGPT2, nil
		}
		return nil, nil
	case "Digits":
		if s.Individual {
			return splitDigit, nil
		}
		return splitDigits, nil
	case "Split":
		if p.marks && s.Pattern.String != nil && *s.Pattern.String == " " {
			return nil, nil // there is no space left to split at
		}
		if s.Pattern.Regex == nil {
			return nil, errors.New("step Split by a fixed string is not supported")
		}
		split := patterns[*s.Pattern.Regex]
		if split == nil {
			return nil, fmt.Errorf("step Split pattern %q is unknown (those of GPT-2, cl100k, Llama 3 and Qwen 2 are supported)", *s.Pattern.Regex)
		}
		// All known patterns match everything, so what is between the matches, and inversion, change nothing.
		if s.Behavior != "Isolated" && s.Behavior != "Removed" || s.Behavior == "Removed" != s.Invert {
			return nil, fmt.Errorf("step Split with behavior %q and invert %t is not supported", s.Behavior, s.Invert)
		}
		return split, nil
	}
	return nil, fmt.Errorf("%q is not supported (Metaspace, ByteLevel, Split and Digits are)", s.Type)
}

func (p *pipeline) metaspace(s *step, n int) error {
	if s.Replacement != spaceMark || n > 1 || p.prepend {
		return fmt.Errorf("step Metaspace with replacement %q beside other steps is not supported (only U+2581, alone)", s.Replacement)
	}
	p.marks = true
	p.singleSpace = s.Split == nil || *s.Split
	scheme := "always"
	if s.PrependScheme != nil {
		scheme = *s.PrependScheme
	} else if s.PrefixSpace != nil && !*s.PrefixSpace {
		scheme = "never"
	}
	switch scheme {
	case "always":
		p.prefix = prefixMissing
	case "first":
		p.prefix = prefixFirst
	case "never":
		p.prefix = prefixNever
	default:
		return fmt.Errorf("step Metaspace prepend_scheme %q is not one of always, first, never", scheme)
	}
	return nil
}

// decoding reads decoder.
func (f *jsonFile) decoding() (decoding, error) {
	d := decoding{skip: true}
	list, err := steps(f.Decoder, "decoder")
	if err != nil {
		return d, err
	}
	if len(list) == 0 {
		return d, errors.New("decoder is missing")
	}
	fallback := false
	for i, s := range list {
		switch s.Type {
		case "ByteLevel":
			d.byteLevel = true
		case "ByteFallback":
			fallback = true
		case "Fuse":
		case "Metaspace":
			d.dropFirst = s.PrependScheme != nil && *s.PrependScheme != "never" ||
				s.PrependScheme == nil && (s.PrefixSpace == nil || *s.PrefixSpace)
		case "Replace":
			if s.Pattern.String == nil || *s.Pattern.String != spaceMark || s.Content != " " {
				return d, fmt.Errorf("decoder %d: only Replace of U+2581 by \" \" is supported", i)
			}
		case "Strip":
			if s.Content != " " || s.Stop != 0 || s.Start < 0 {
				return d, fmt.Errorf("decoder %d: Strip of %q, %d at the start and %d at the end is not supported (only spaces at the start)",
					i, s.Content, s.Start, s.Stop)
			}
			d.stripText = s.Start
		default:
			return d, fmt.Errorf("decoder %d: %q is not supported", i, s.Type)
		}
	}
	if f.Model.ByteFallback && !fallback {
		return d, errors.New("model.byte_fallback is on but decoder has no ByteFallback")
	}
	if d.byteLevel && len(list) > 1 {
		return d, errors.New("decoder: ByteLevel beside other steps is not supported")
	}
	return d, nil
}
