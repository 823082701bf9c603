package tokenizer

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"unicode/utf8"
)

// companionNames are the files that belong to a tokenizer beside the one that was read.
var companionNames = []string{"tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "chat_template.jinja"}

// loadCompanions reads the other tokenizer files of a folder, and from them which ids are special where the tokenizer
// itself does not say.
func (t *Tokenizer) loadCompanions(dir, main string) error {
	t.companions = map[string][]byte{}
	for _, name := range companionNames {
		path := filepath.Join(dir, name)
		if _, err := os.Stat(path); name == main || errors.Is(err, fs.ErrNotExist) {
			continue
		}
		data, err := readFile(path)
		if err != nil {
			return err
		}
		t.companions[name] = data
	}
	for _, name := range []string{"tokenizer_config.json", "special_tokens_map.json"} {
		data, ok := t.companions[name]
		if !ok {
			continue
		}
		var tokens struct {
			BOS tokenName `json:"bos_token"`
			EOS tokenName `json:"eos_token"`
			Pad tokenName `json:"pad_token"`
		}
		if err := unmarshalJSON(data, &tokens); err != nil {
			return fmt.Errorf("%s: %w", filepath.Join(dir, name), err)
		}
		for _, x := range []struct {
			id   *int32
			name tokenName
		}{{&t.bos, tokens.BOS}, {&t.eos, tokens.EOS}, {&t.pad, tokens.Pad}} {
			if at, ok := t.ids[string(x.name)]; ok && (t.fromJSON || *x.id < 0) {
				*x.id = at
			}
		}
	}
	return nil
}

// tokenName is written "<s>" or {"content": "<s>", …}.
type tokenName string

func (n *tokenName) UnmarshalJSON(data []byte) error {
	if data[0] == '{' {
		var long struct {
			Content string `json:"content"`
		}
		err := json.Unmarshal(data, &long)
		*n = tokenName(long.Content)
		return err
	}
	return json.Unmarshal(data, (*string)(n))
}

// Files returns what belongs in a Hugging Face folder, by file name: the file this tokenizer was read from as it was,
// tokenizer_config.json and special_tokens_map.json, those of the folder it came from if it came from one. A
// tokenizer.json is derived from a model where it gives the same ids: not for one with another normalisation than the
// identity, or with user-defined or unused pieces.
func (t *Tokenizer) Files() map[string][]byte {
	files := map[string][]byte{
		"tokenizer_config.json":   t.configJSON(t.bos >= 0, false),
		"special_tokens_map.json": t.specialJSON(),
	}
	if t.fromJSON {
		files["tokenizer.json"] = slices.Clone(t.source)
	} else {
		files["tokenizer.model"] = slices.Clone(t.source)
		if t.expressible() {
			files["tokenizer.json"] = t.writeJSON()
		}
	}
	for name, data := range t.companions {
		files[name] = slices.Clone(data)
	}
	return files
}

// expressible reports whether a tokenizer.json can say what the model does.
func (t *Tokenizer) expressible() bool {
	return t.norm.plain() && t.taken == nil && !t.plain && len(t.bpe.virtual) == 0
}

// specialIDs lists the ids that tokenizer.json and tokenizer_config.json call added and special.
func (t *Tokenizer) specialIDs() []int32 {
	var ids []int32
	for id, q := range t.pieces {
		if (q.kind == Control || q.kind == Unknown) && q.text != "" {
			ids = append(ids, int32(id))
		}
	}
	return ids
}

// object is a JSON object whose members keep their order.
type object []member

type member struct {
	name  string
	value any
}

// MarshalJSON writes the members in order, and characters as themselves.
func (o object) MarshalJSON() ([]byte, error) {
	var b bytes.Buffer
	b.WriteByte('{')
	for i, m := range o {
		if i > 0 {
			b.WriteByte(',')
		}
		name, err := marshal(m.name)
		if err != nil {
			return nil, err
		}
		value, err := marshal(m.value)
		if err != nil {
			return nil, err
		}
		b.Write(name)
		b.WriteByte(':')
		b.Write(value)
	}
	b.WriteByte('}')
	return b.Bytes(), nil
}

func marshal(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	err := enc.Encode(v)
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), err
}

// document writes a file as Hugging Face lays it out. What is written here are strings, numbers and lists of them.
func document(v any) []byte {
	data, err := marshal(v)
	if err != nil {
		panic("tokenizer: " + err.Error())
	}
	var b bytes.Buffer
	if err := json.Indent(&b, data, "", "  "); err != nil {
		panic("tokenizer: " + err.Error())
	}
	b.WriteByte('\n')
	return b.Bytes()
}

func (t *Tokenizer) addedObject(id int32, withID bool) object {
	var o object
	if withID {
		o = object{{"id", id}}
	}
	return append(o, object{
		{"content", t.pieces[id].text},
		{"single_word", false},
		{"lstrip", false},
		{"rstrip", false},
		{"normalized", false},
		{"special", true},
	}...)
}

// writeJSON derives a tokenizer.json. Every way to cut a piece in two is a merge: first by the score of the piece,
// then the longer left half, the longer right half, and the lower ids first.
func (t *Tokenizer) writeJSON() []byte {
	var added []object
	for _, id := range t.specialIDs() {
		added = append(added, t.addedObject(id, true))
	}
	vocab := make(object, len(t.pieces))
	for id, q := range t.pieces {
		vocab[id] = member{q.text, id}
	}
	var norms, decoders []object
	if t.norm.dummyPrefix {
		norms = append(norms, object{{"type", "Prepend"}, {"prepend", spaceMark}})
	}
	norms = append(norms, object{{"type", "Replace"}, {"pattern", object{{"String", " "}}}, {"content", spaceMark}})
	decoders = append(decoders, object{{"type", "Replace"}, {"pattern", object{{"String", spaceMark}}}, {"content", " "}})
	if t.bpe.fallback {
		decoders = append(decoders, object{{"type", "ByteFallback"}})
	}
	decoders = append(decoders, object{{"type", "Fuse"}})
	if t.norm.dummyPrefix {
		decoders = append(decoders, object{{"type", "Strip"}, {"content", " "}, {"start", 1}, {"stop", 0}})
	}
	return document(object{
		{"version", "1.0"},
		{"truncation", nil},
		{"padding", nil},
		{"added_tokens", added},
		{"normalizer", object{{"type", "Sequence"}, {"normalizers", norms}}},
		{"pre_tokenizer", nil},
		{"post_processor", t.template()},
		{"decoder", object{{"type", "Sequence"}, {"decoders", decoders}}},
		{"model", object{
			{"type", "BPE"},
			{"dropout", nil},
			{"unk_token", t.Piece(t.unk)},
			{"continuing_subword_prefix", nil},
			{"end_of_word_suffix", nil},
			{"fuse_unk", true},
			{"byte_fallback", t.bpe.fallback},
			{"ignore_merges", false},
			{"vocab", vocab},
			{"merges", t.mergeLines()},
		}},
	})
}

// template is the post-processor that puts BOS in front.
func (t *Tokenizer) template() any {
	if t.bos < 0 {
		return nil
	}
	name := t.Piece(t.bos)
	bos := func(typ int) object { return object{{"SpecialToken", object{{"id", name}, {"type_id", typ}}}} }
	seq := func(id string, typ int) object { return object{{"Sequence", object{{"id", id}, {"type_id", typ}}}} }
	return object{
		{"type", "TemplateProcessing"},
		{"single", []object{bos(0), seq("A", 0)}},
		{"pair", []object{bos(0), seq("A", 0), bos(1), seq("B", 1)}},
		{"special_tokens", object{{name, object{{"id", name}, {"ids", []int32{t.bos}}, {"tokens", []string{name}}}}}},
	}
}

func (t *Tokenizer) mergeLines() []string {
	merges := t.modelMerges(t.inner())
	chars := func(sym int32) int { return utf8.RuneCountInString(t.pieces[sym].text) }
	slices.SortFunc(merges, func(a, b merge) int {
		return cmp.Or(
			cmp.Compare(a.rank, b.rank),
			cmp.Compare(chars(b.left), chars(a.left)), cmp.Compare(chars(b.right), chars(a.right)),
			cmp.Compare(a.sym, b.sym), cmp.Compare(a.left, b.left),
		)
	})
	lines := make([]string, len(merges))
	for i, m := range merges {
		lines[i] = t.pieces[m.left].text + " " + t.pieces[m.right].text
	}
	return lines
}

// configJSON is a tokenizer_config.json: Llama's class for a SentencePiece model, the plain fast class for others.
func (t *Tokenizer) configJSON(addBOS, addEOS bool) []byte {
	added := map[string]object{}
	for _, id := range t.specialIDs() {
		added[strconv.Itoa(int(id))] = t.addedObject(id, false)
	}
	o := object{
		{"add_bos_token", addBOS},
		{"add_eos_token", addEOS},
		{"added_tokens_decoder", added},
		{"clean_up_tokenization_spaces", false},
		{"model_max_length", json.Number("1000000000000000019884624838656")},
	}
	if t.fromJSON {
		o = append(o, member{"tokenizer_class", "PreTrainedTokenizerFast"})
	} else {
		o = append(o, object{
			{"legacy", true},
			{"sp_model_kwargs", object{}},
			{"spaces_between_special_tokens", false},
			{"tokenizer_class", "LlamaTokenizer"},
			{"use_default_system_prompt", false},
		}...)
	}
	if t.chat != "" {
		o = append(o, member{"chat_template", t.chat})
	}
	for name, id := range t.roles() {
		o = append(o, member{name, t.nameOrNull(id)})
	}
	slices.SortFunc(o, func(a, b member) int { return cmp.Compare(a.name, b.name) })
	return document(o)
}

// specialJSON is a special_tokens_map.json.
func (t *Tokenizer) specialJSON() []byte {
	o := object{}
	roles := t.roles()
	for _, name := range slices.Sorted(maps.Keys(roles)) {
		if id := roles[name]; id >= 0 {
			o = append(o, member{name, object{
				{"content", t.Piece(id)}, {"lstrip", false}, {"normalized", false}, {"rstrip", false}, {"single_word", false},
			}})
		}
	}
	return document(o)
}

func (t *Tokenizer) roles() map[string]int32 {
	return map[string]int32{"bos_token": t.bos, "eos_token": t.eos, "unk_token": t.unk, "pad_token": t.pad}
}

func (t *Tokenizer) nameOrNull(id int32) any {
	if id < 0 {
		return nil
	}
	return t.Piece(id)
}
