package tokenizer

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"unicode/utf8"
)

// Vocabulary is a tokenizer as a GGUF file carries it: lists by id, and a few switches. There are two kinds: with Scores
// it is SentencePiece's BPE with byte fallback and identity normalisation (GGUF's model "llama"); with Merges it is
// byte-level BPE (GGUF's "gpt2"), and Pre names the way in which text is cut into words.
type Vocabulary struct {
	Pieces []string
	Kinds  []Kind
	Scores []float32 // nil for byte-level BPE
	Merges []string  // "left right", first merged first; nil with Scores
	Pre    string    // "default" with Scores; else one of "gpt-2", "llama-bpe", "qwen2", "smollm"

	BOS, EOS, Unknown, Pad int32 // -1 where there is none
	SpacePrefix            bool  // a space is put before the text
	AddBOS, AddEOS         bool  // what callers put around a text
	ChatTemplate           string
}

// preTokenizers says how each Pre cuts text into words, as a tokenizer.json does.
var preTokenizers = map[string][]object{
	"gpt-2":     {byteLevelStep(true)},
	"llama-bpe": {splitStep(llama3Pattern), byteLevelStep(false)},
	"qwen2":     {splitStep(qwen2Pattern), byteLevelStep(false)},
	"smollm":    {{{"type", "Digits"}, {"individual_digits", true}}, byteLevelStep(true)},
}

const (
	llama3Pattern = `(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`
	qwen2Pattern  = `(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`
)

func splitStep(pattern string) object {
	return object{{"type", "Split"}, {"pattern", object{{"Regex", pattern}}}, {"behavior", "Isolated"}, {"invert", false}}
}

func byteLevelStep(useRegex bool) object {
	return object{{"type", "ByteLevel"}, {"add_prefix_space", false}, {"trim_offsets", true}, {"use_regex", useRegex}}
}

// Vocabulary returns the lists that say everything about t, or an error when GGUF's two kinds cannot: programs that read
// such a file would give other ids.
func (t *Tokenizer) Vocabulary() (*Vocabulary, error) {
	v := &Vocabulary{
		Pieces: make([]string, len(t.pieces)), Kinds: make([]Kind, len(t.pieces)), Pre: "default",
		BOS: t.bos, EOS: t.eos, Unknown: t.unk, Pad: t.pad, ChatTemplate: t.ChatTemplate(),
	}
	for id, q := range t.pieces {
		v.Pieces[id], v.Kinds[id] = q.text, q.kind
		if q.text == "" { // a hole in a tokenizer.json
			v.Pieces[id], v.Kinds[id] = fmt.Sprintf("[PAD%d]", id), Unused
		}
	}
	v.AddBOS, v.AddEOS = t.around()
	var err error
	switch {
	case t.bpe.byteLevel:
		err = t.byteVocabulary(v)
	case t.fromJSON:
		err = t.charVocabulary(v)
	default:
		err = t.modelVocabulary(v)
	}
	if err != nil {
		return nil, fmt.Errorf("tokenizer: as lists of pieces: %w", err)
	}
	return v, nil
}

// around says whether callers put BOS before a text and EOS after it: what tokenizer_config.json says, else what the
// post-processor does, else BOS where there is one.
func (t *Tokenizer) around() (bos, eos bool) {
	bos = t.bos >= 0
	if t.fromJSON {
		var f jsonFile
		if json.Unmarshal(t.source, &f) == nil {
			bos, eos = templateEnds(f.PostProcessor)
		}
	}
	var said struct {
		BOS *bool `json:"add_bos_token"`
		EOS *bool `json:"add_eos_token"`
	}
	if data, ok := t.companions["tokenizer_config.json"]; ok && json.Unmarshal(data, &said) == nil {
		if said.BOS != nil {
			bos = *said.BOS
		}
		if said.EOS != nil {
			eos = *said.EOS
		}
	}
	return bos && t.bos >= 0, eos && t.eos >= 0
}

// templateEnds reports whether a post_processor puts special tokens before and after a text.
func templateEnds(post json.RawMessage) (before, after bool) {
	list, err := steps(post, "post_processor")
	if err != nil {
		return false, false
	}
	for _, s := range list {
		text := false
		for _, part := range s.Single {
			text = text || part.Sequence != nil
			before = before || part.SpecialToken != nil && !text
			after = after || part.SpecialToken != nil && text
		}
	}
	return before, after
}

// ChatTemplate is the Jinja template that the tokenizer's files hold for conversations, "" when there is none. Of several
// it is the one called default.
func (t *Tokenizer) ChatTemplate() string {
	if text, ok := t.companions["chat_template.jinja"]; ok {
		return string(text)
	}
	var config struct {
		Template json.RawMessage `json:"chat_template"`
	}
	if json.Unmarshal(t.companions["tokenizer_config.json"], &config) != nil || len(config.Template) == 0 {
		return t.chat
	}
	var text string
	if json.Unmarshal(config.Template, &text) == nil {
		return text
	}
	var several []struct{ Name, Template string }
	if json.Unmarshal(config.Template, &several) == nil {
		for _, s := range several {
			if s.Name == "default" {
				return s.Template
			}
		}
	}
	return t.chat
}

// modelVocabulary fills in what a SentencePiece model says.
func (t *Tokenizer) modelVocabulary(v *Vocabulary) error {
	switch {
	case !t.norm.plain():
		return errors.New("the model normalises text (only the identity with escaped spaces can be said)")
	case !t.bpe.fallback:
		return errors.New("the model has no byte fallback")
	case t.plain:
		return errors.New("the model has unused pieces, which are taken apart after merging")
	}
	v.SpacePrefix = t.norm.dummyPrefix
	v.Scores = make([]float32, len(t.pieces))
	for id, q := range t.pieces {
		v.Scores[id] = q.score
	}
	return nil
}

// charVocabulary finds scores for a tokenizer.json over characters: minus the place of the merges that make a piece. That
// is possible when all merges that make a piece stand together and none is left out, as in files that were made from a
// SentencePiece model.
func (t *Tokenizer) charVocabulary(v *Vocabulary) error {
	switch {
	case t.norm.nfc || t.prefix == prefixMissing:
		return errors.New("the tokenizer.json normalises text, or puts a space only before text that has none (this cannot be said)")
	case !t.bpe.fallback:
		return errors.New("the tokenizer.json has no byte fallback")
	}
	var f jsonFile
	if err := unmarshalJSON(t.source, &f); err != nil {
		return err
	}
	v.SpacePrefix = t.prefix != prefixNever
	v.Scores = make([]float32, len(t.pieces))
	ways := make(map[int32]int, len(f.Model.Merges))
	last, rank := int32(-1), 0
	for i, m := range f.Model.Merges {
		into := t.ids[m[0]+m[1]]
		if into != last {
			if ways[into] > 0 {
				return fmt.Errorf("merge %d makes %q, and so do merges far before it: no score could say that order", i, m[0]+m[1])
			}
			last, rank = into, rank+1
		}
		ways[into]++
		v.Scores[into] = -float32(rank)
	}
	for id, q := range t.pieces {
		if q.kind != Normal || utf8.RuneCountInString(q.text) < 2 {
			continue
		}
		if n := t.cuts(q.text); n != ways[int32(id)] {
			return fmt.Errorf("%q can be put together in %d ways, merges name %d: a score would allow all", q.text, n, ways[int32(id)])
		}
	}
	return nil
}

// cuts counts the ways to cut s into two pieces.
func (t *Tokenizer) cuts(s string) int {
	n := 0
	for at := range s {
		_, left := t.ids[s[:at]]
		_, right := t.ids[s[at:]]
		if at > 0 && left && right {
			n++
		}
	}
	return n
}

// byteVocabulary fills in merges and the way of cutting words.
func (t *Tokenizer) byteVocabulary(v *Vocabulary) error {
	var f jsonFile
	if err := unmarshalJSON(t.source, &f); err != nil {
		return err
	}
	if t.prefix != prefixNever {
		return errors.New("the tokenizer.json puts a space before the text (this cannot be said of byte-level pieces)")
	}
	have, err := steps(f.PreTokenizer, "pre_tokenizer")
	if err != nil {
		return err
	}
	v.Pre = ""
	for name, want := range preTokenizers {
		if sameSteps(have, want) {
			v.Pre = name
		}
	}
	switch {
	case v.Pre == "":
		return errors.New("text is cut into words in a way that has no name among gpt-2, llama-bpe, qwen2 and smollm")
	case (v.Pre == "llama-bpe") != f.Model.IgnoreMerges:
		return fmt.Errorf("words are cut as by %s, but ignore_merges is %t", v.Pre, f.Model.IgnoreMerges)
	case t.norm.nfc && v.Pre != "qwen2":
		return fmt.Errorf("text is brought to NFC, which programs do not do for %s", v.Pre)
	}
	v.Merges = make([]string, len(f.Model.Merges))
	for i, m := range f.Model.Merges {
		v.Merges[i] = m[0] + " " + m[1]
	}
	return nil
}

// sameSteps compares pre-tokenizers by what they do.
func sameSteps(have []step, want []object) bool {
	if len(have) != len(want) {
		return false
	}
	for i, w := range want {
		data, err := marshal(w)
		if err != nil {
			return false
		}
		var s step
		if json.Unmarshal(data, &s) != nil || s.Type != have[i].Type || s.Individual != have[i].Individual ||
			(s.UseRegex == nil || *s.UseRegex) != (have[i].UseRegex == nil || *have[i].UseRegex) {
			return false
		}
		if s.Pattern.Regex != nil && (have[i].Pattern.Regex == nil || *s.Pattern.Regex != *have[i].Pattern.Regex) {
			return false
		}
	}
	return true
}

// FromVocabulary makes a tokenizer of such lists. Its Files are a tokenizer.model or a tokenizer.json made from them.
func FromVocabulary(v *Vocabulary) (*Tokenizer, error) {
	t, err := fromVocabulary(v)
	if err != nil {
		return nil, fmt.Errorf("tokenizer: from lists of pieces: %w", err)
	}
	return t, nil
}

func fromVocabulary(v *Vocabulary) (*Tokenizer, error) {
	n := len(v.Pieces)
	for _, id := range []int32{v.BOS, v.EOS, v.Unknown, v.Pad} {
		if id < -1 || int(id) >= n {
			return nil, fmt.Errorf("special id %d is outside the %d pieces", id, n)
		}
	}
	if n == 0 || n > maxPieces || len(v.Kinds) != n || v.Scores != nil && len(v.Scores) != n {
		return nil, fmt.Errorf("%d pieces, %d kinds and %d scores do not go together (at most %d)", n, len(v.Kinds), len(v.Scores), maxPieces)
	}
	for id, k := range v.Kinds {
		if k < Normal || k > Byte {
			return nil, fmt.Errorf("piece %d, %q, has kind %d, which is not one of 1 to 6", id, v.Pieces[id], k)
		}
	}
	var t *Tokenizer
	var err error
	if v.Scores != nil {
		t, err = readModel(v.model())
	} else {
		var data []byte
		if data, err = v.json(); err == nil {
			t, err = readJSON(data)
		}
	}
	if err != nil {
		return nil, err
	}
	t.bos, t.eos, t.pad = v.BOS, v.EOS, v.Pad
	t.chat = v.ChatTemplate
	t.companions = map[string][]byte{}
	t.companions["tokenizer_config.json"] = t.configJSON(v.AddBOS, v.AddEOS)
	return t, nil
}

// model is the text of a tokenizer.model.
func (v *Vocabulary) model() []byte {
	pieces := make([]piece, len(v.Pieces))
	fallback := false
	for id, s := range v.Pieces {
		pieces[id] = piece{s, v.Scores[id], v.Kinds[id]}
		fallback = fallback || v.Kinds[id] == Byte
	}
	var tr []byte
	tr = appendVarint(tr, 3, typeBPE)
	tr = appendVarint(tr, 4, uint64(len(pieces)))
	tr = appendBool(tr, 35, fallback)
	for _, x := range []struct {
		num, name int
		id        int32
	}{{40, 45, v.Unknown}, {41, 46, v.BOS}, {42, 47, v.EOS}, {43, 48, v.Pad}} {
		if x.id < 0 {
			tr = appendVarint(tr, x.num, math.MaxUint64) // -1
			continue
		}
		tr = appendVarint(tr, x.num, uint64(x.id))
		tr = appendBytes(tr, x.name, v.Pieces[x.id])
	}
	return joinModel(pieces, tr, v.SpacePrefix)
}

// json is the text of a tokenizer.json.
func (v *Vocabulary) json() ([]byte, error) {
	pre, ok := preTokenizers[v.Pre]
	if !ok {
		return nil, fmt.Errorf("text is cut into words as by %q, which is not known (gpt-2, llama-bpe, qwen2 and smollm are)", v.Pre)
	}
	vocab := make(object, 0, len(v.Pieces))
	var added []object
	for id, s := range v.Pieces {
		if k := v.Kinds[id]; k == Control || k == UserDefined {
			added = append(added, object{
				{"id", id}, {"content", s}, {"single_word", false}, {"lstrip", false}, {"rstrip", false}, {"normalized", false}, {"special", k == Control},
			})
		} else if k != Unused {
			vocab = append(vocab, member{s, id})
		}
	}
	var norm, unknown any
	if v.Pre == "qwen2" {
		norm = object{{"type", "NFC"}}
	}
	if v.Unknown >= 0 {
		unknown = v.Pieces[v.Unknown]
	}
	return document(object{
		{"version", "1.0"},
		{"truncation", nil},
		{"padding", nil},
		{"added_tokens", added},
		{"normalizer", norm},
		{"pre_tokenizer", object{{"type", "Sequence"}, {"pretokenizers", pre}}},
		{"post_processor", v.template()},
		{"decoder", byteLevelStep(true)},
		{"model", object{
			{"type", "BPE"},
			{"dropout", nil},
			{"unk_token", unknown},
			{"continuing_subword_prefix", nil},
			{"end_of_word_suffix", nil},
			{"fuse_unk", false},
			{"byte_fallback", false},
			{"ignore_merges", v.Pre == "llama-bpe"},
			{"vocab", vocab},
			{"merges", v.Merges},
		}},
	}), nil
}

func (v *Vocabulary) template() any {
	if !v.AddBOS || v.BOS < 0 {
		return byteLevelStep(true)
	}
	t := &Tokenizer{bos: v.BOS, pieces: make([]piece, v.BOS+1)}
	t.pieces[v.BOS].text = v.Pieces[v.BOS]
	return t.template()
}
