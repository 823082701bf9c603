package weights

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"sync"

	"ravn/model"
	"ravn/tokenizer"
)

// GGUF is an open GGUF file of a decoder, mapped from the disk.
type GGUF struct {
	path    string
	c       *container
	unmap   func() error
	config  *model.Config
	stored  []model.Tensor
	notes   []string
	ordered func() []model.Tensor
}

// configKey holds the text of config.json, for what GGUF has no key for. Where both speak, GGUF's own keys count.
const configKey = "ravn.config"

// ggufNames are GGUF's names for the tensors outside the blocks and for the parts of a block.
var (
	ggufNames = map[string]string{"model.embed_tokens.weight": "token_embd.weight", "model.norm.weight": "output_norm.weight", "lm_head.weight": "output.weight"}
	ggufParts = map[string]string{
		"input_layernorm.weight": "attn_norm.weight", "self_attn.q_proj.weight": "attn_q.weight", "self_attn.k_proj.weight": "attn_k.weight",
		"self_attn.v_proj.weight": "attn_v.weight", "self_attn.o_proj.weight": "attn_output.weight", "post_attention_layernorm.weight": "ffn_norm.weight",
		"mlp.gate_proj.weight": "ffn_gate.weight", "mlp.up_proj.weight": "ffn_up.weight", "mlp.down_proj.weight": "ffn_down.weight",
	}
)

// ggufName is GGUF's name for a parameter.
func ggufName(name string) string {
	if rest, ok := strings.CutPrefix(name, "model.layers."); ok {
		layer, part, _ := strings.Cut(rest, ".")
		return "blk." + layer + "." + ggufParts[part]
	}
	return ggufNames[name]
}

// OpenGGUF opens a GGUF file of the architecture llama, which Llama and Mistral models come in. Every tensor that its
// metadata ask for must be there with its shape, and no other ones; nothing is read but the table of contents.
func OpenGGUF(path string) (*GGUF, error) {
	c, unmap, err := openContainer(path)
	if err != nil {
		return nil, err
	}
	g := &GGUF{path: path, c: c, unmap: unmap}
	if err := g.read(); err != nil {
		return nil, errors.Join(fmt.Errorf("weights: %s: %w", path, err), unmap())
	}
	g.ordered = sync.OnceValue(g.reorder)
	return g, nil
}

func (g *GGUF) read() error {
	arch, _ := g.c.byKey["general.architecture"].(string)
	if arch != "llama" {
		return fmt.Errorf("general.architecture is %q; only llama is read, which Llama and Mistral models come in", arch)
	}
	k := &keys{c: g.c}
	var err error
	if g.config, err = k.config(); err != nil {
		return err
	}
	return g.match()
}

// keys reads metadata and remembers what was wrong.
type keys struct {
	c    *container
	errs []error
}

func (k *keys) fail(key string, want string) {
	k.errs = append(k.errs, fmt.Errorf("metadata key %q is %.60s, want %s", key, fmt.Sprint(k.c.byKey[key]), want))
}

// whole reads an integer of any width; absent gives ok false.
func (k *keys) whole(key string) (n int, ok bool) {
	v, there := k.c.byKey[key]
	if !there {
		return 0, false
	}
	switch v := v.(type) {
	case uint8:
		n = int(v)
	case int8:
		n = int(v)
	case uint16:
		n = int(v)
	case int16:
		n = int(v)
	case uint32:
		n = int(v)
	case int32:
		n = int(v)
	case uint64:
		n = int(min(v, math.MaxInt32))
	case int64:
		n = int(v)
	case []int32, []uint32:
		k.fail(key, "one number for all layers")
		return 0, false
	default:
		k.fail(key, "a whole number")
		return 0, false
	}
	if n > math.MaxInt32 || n < -1 {
		k.fail(key, "a number from 0 to 2^31-1")
		return 0, false
	}
	return n, true
}

// set puts an integer in *to if the file has it.
func (k *keys) set(to *int, key string, needed bool) {
	n, ok := k.whole(key)
	if ok {
		*to = n
	} else if _, there := k.c.byKey[key]; needed && !there {
		k.errs = append(k.errs, fmt.Errorf("metadata key %q is missing", key))
	}
}

// setFloat puts a float32 in *to as the shortest decimal that means it, unless *to already is one that rounds to it.
func (k *keys) setFloat(to *float64, key string) {
	v, there := k.c.byKey[key]
	f, ok := v.(float32)
	switch {
	case !there:
	case !ok:
		k.fail(key, "a float32")
	case float32(*to) != f:
		*to, _ = strconv.ParseFloat(strconv.FormatFloat(float64(f), 'g', -1, 32), 64)
	}
}

func (k *keys) text(key string) string {
	v, there := k.c.byKey[key]
	s, ok := v.(string)
	if there && !ok {
		k.fail(key, "text")
	}
	return s
}

// flag reads a switch; absent is what it is by default.
func (k *keys) flag(key string, byDefault bool) bool {
	v, there := k.c.byKey[key]
	b, ok := v.(bool)
	switch {
	case !there:
		return byDefault
	case !ok:
		k.fail(key, "true or false")
	}
	return b
}

// config makes the configuration of GGUF's keys, and of ravn.config where the file has it.
func (k *keys) config() (*model.Config, error) {
	c := &model.Config{
		ModelType: "llama", Architectures: []string{"LlamaForCausalLM"}, HiddenAct: "silu", RMSNormEps: 1e-6, RopeTheta: 10000,
		InitializerRange: 0.02, BOSTokenID: 1, EOSTokenID: 2,
	}
	if text := k.text(configKey); text != "" {
		kept, err := model.ParseConfig([]byte(text))
		if err != nil {
			return nil, fmt.Errorf("metadata key %q: %w", configKey, err)
		}
		c = kept
	}
	if t, ok := k.c.index["token_embd.weight"]; ok {
		c.VocabSize = k.c.tensors[t].Shape[0]
	}
	k.set(&c.VocabSize, "llama.vocab_size", false)
	k.set(&c.HiddenSize, "llama.embedding_length", true)
	k.set(&c.IntermediateSize, "llama.feed_forward_length", true)
	k.set(&c.NumHiddenLayers, "llama.block_count", true)
	k.set(&c.NumAttentionHeads, "llama.attention.head_count", true)
	k.set(&c.MaxPositionEmbeddings, "llama.context_length", true)
	c.NumKeyValueHeads = c.NumAttentionHeads
	k.set(&c.NumKeyValueHeads, "llama.attention.head_count_kv", false)
	c.HeadDim = c.HiddenSize / max(c.NumAttentionHeads, 1)
	k.set(&c.HeadDim, "llama.attention.key_length", false)
	k.setFloat(&c.RMSNormEps, "llama.attention.layer_norm_rms_epsilon")
	k.setFloat(&c.RopeTheta, "llama.rope.freq_base")
	k.set(&c.SlidingWindow, "llama.attention.sliding_window", false)
	if c.SlidingWindow > 0 && c.ModelType == "llama" {
		c.ModelType, c.Architectures = "mistral", []string{"MistralForCausalLM"}
	}
	k.set(&c.BOSTokenID, "tokenizer.ggml.bos_token_id", false)
	k.set(&c.EOSTokenID, "tokenizer.ggml.eos_token_id", false)
	_, head := k.c.index["output.weight"]
	c.TieWordEmbeddings = !head
	if n := len(k.c.tensors); c.NumHiddenLayers > n {
		k.errs = append(k.errs, fmt.Errorf("llama.block_count is %d, the file has only %d tensors", c.NumHiddenLayers, n))
	}
	k.refuse(c)
	if err := errors.Join(k.errs...); err != nil {
		return nil, err
	}
	return c, c.Validate()
}

// refuse finds what the file asks for and no engine of ravn computes.
func (k *keys) refuse(c *model.Config) {
	bad := func(format string, args ...any) { k.errs = append(k.errs, fmt.Errorf(format, args...)) }
	if n, ok := k.whole("llama.attention.value_length"); ok && n != c.HeadDim {
		bad("llama.attention.value_length is %d, key_length %d; heads of one width are supported", n, c.HeadDim)
	}
	if n, ok := k.whole("llama.rope.dimension_count"); ok && n != c.HeadDim {
		bad("llama.rope.dimension_count is %d of %d; only whole heads are rotated", n, c.HeadDim)
	}
	if n, ok := k.whole("llama.expert_count"); ok && n > 0 {
		bad("llama.expert_count is %d; mixtures of experts are not supported", n)
	}
	if s := k.text("llama.rope.scaling.type"); s != "" && s != "none" {
		bad("llama.rope.scaling.type is %q; only plain rotary positions are supported", s)
	}
	for _, key := range []string{"llama.rope.scale_linear", "llama.rope.scaling.factor"} {
		if f, ok := k.c.byKey[key].(float32); ok && f != 1 && f != 0 {
			bad("%s is %g; only plain rotary positions are supported", key, f)
		}
	}
	if _, ok := k.c.index["rope_freqs.weight"]; ok {
		bad("the file has rope_freqs.weight, rotary frequencies of its own; only plain rotary positions are supported")
	}
}

// match puts the tensors of the file in the order of the layout and lists what does not fit.
func (g *GGUF) match() error {
	var problems []error
	left := maps.Clone(g.c.index)
	for _, p := range g.config.Layout() {
		name := ggufName(p.Name)
		i, ok := left[name]
		delete(left, name)
		if !ok {
			problems = append(problems, fmt.Errorf("tensor %q is missing", name))
			continue
		}
		t := g.c.tensors[i]
		if !slices.Equal(t.Shape, p.Shape) {
			problems = append(problems, fmt.Errorf("tensor %q has shape %d, the metadata say %d", name, t.Shape, p.Shape))
			continue
		}
		t.Name = p.Name
		g.stored = append(g.stored, t)
	}
	for _, name := range slices.Sorted(maps.Keys(left)) {
		if strings.HasSuffix(name, ".attn_rot_embd") || strings.HasSuffix(name, ".attn_rot_embd.weight") {
			g.notes = append(g.notes, fmt.Sprintf("tensor %q is ignored; the angles follow from rope.freq_base", name))
			continue
		}
		problems = append(problems, fmt.Errorf("tensor %q is unexpected", name))
	}
	if len(problems) > 12 {
		problems = append(problems[:12], fmt.Errorf("and %d more", len(problems)-12))
	}
	if err := errors.Join(problems...); err != nil {
		return fmt.Errorf("the tensors are not those of its metadata:\n%w", err)
	}
	return nil
}

// Config is the configuration that the metadata describe.
func (g *GGUF) Config() *model.Config { return g.config }

// Notes tell what was ignored.
func (g *GGUF) Notes() []string { return g.notes }

// Stored are the parameters in the order of Config.Layout, all of them views of the file. The rows of q_proj and k_proj
// stand in the file's order: the two halves of a head are interleaved, so that rotary pairs are neighbours (2i, 2i+1)
// rather than (i, i+D/2).
func (g *GGUF) Stored() []model.Tensor { return g.stored }

// Tensors are the parameters in the order of Config.Layout, rows as Hugging Face has them. All but q_proj and k_proj
// are views of the file; those two are copies, made when they are first asked for.
func (g *GGUF) Tensors() []model.Tensor { return g.ordered() }

func (g *GGUF) reorder() []model.Tensor {
	ts := slices.Clone(g.stored)
	for i := range ts {
		if heads := rotated(g.config, ts[i].Name); heads > 0 {
			data := make([]byte, len(ts[i].Data))
			row := len(data) / ts[i].Shape[0]
			for r := range ts[i].Shape[0] {
				from := interleaved(r, heads, ts[i].Shape[0])
				copy(data[r*row:(r+1)*row], ts[i].Data[from*row:])
			}
			ts[i].Data = data
		}
	}
	return ts
}

// rotated is the number of heads of a tensor whose rows GGUF interleaves, 0 for the others.
func rotated(c *model.Config, name string) int {
	switch {
	case strings.HasSuffix(name, ".q_proj.weight"):
		return c.NumAttentionHeads
	case strings.HasSuffix(name, ".k_proj.weight"):
		return c.NumKeyValueHeads
	}
	return 0
}

// interleaved is where GGUF has row r of Hugging Face's order: row j of the first half of a head of D rows is row 2j, row
// j of the second half is row 2j+1.
func interleaved(r, heads, rows int) int {
	d := rows / heads
	head, at := r/d, r%d
	return head*d + at%(d/2)*2 + at/(d/2)
}

// Float32 copies all parameters to one flat vector, formats with blocks widened.
func (g *GGUF) Float32() (*model.Weights, error) {
	if g.stored == nil {
		return nil, fmt.Errorf("weights: %s is closed", g.path)
	}
	return widen(g.config, g.Tensors())
}

// Close gives the mapping back. Data of the tensors must not be touched after it.
func (g *GGUF) Close() error {
	if g.unmap == nil {
		return nil
	}
	err := g.unmap()
	g.unmap, g.c, g.stored, g.ordered = nil, nil, nil, func() []model.Tensor { return nil }
	if err != nil {
		return fmt.Errorf("weights: %s: %w", g.path, err)
	}
	return nil
}

// Tokenizer makes the tokenizer that the metadata describe.
func (g *GGUF) Tokenizer() (*tokenizer.Tokenizer, error) {
	if g.c == nil {
		return nil, fmt.Errorf("weights: %s is closed", g.path)
	}
	k := &keys{c: g.c}
	v, err := k.vocabulary()
	if err != nil {
		return nil, fmt.Errorf("weights: %s: %w", g.path, err)
	}
	if len(v.Pieces) > g.config.VocabSize {
		return nil, fmt.Errorf("weights: %s: the tokenizer has %d pieces, the model %d", g.path, len(v.Pieces), g.config.VocabSize)
	}
	t, err := tokenizer.FromVocabulary(v)
	if err != nil {
		return nil, fmt.Errorf("weights: %s: %w", g.path, err)
	}
	return t, nil
}

// The metadata keys of the tokenizer.
const (
	keyTokenizer = "tokenizer.ggml.model"
	keyPre       = "tokenizer.ggml.pre"
	keyTokens    = "tokenizer.ggml.tokens"
	keyScores    = "tokenizer.ggml.scores"
	keyKinds     = "tokenizer.ggml.token_type"
	keyMerges    = "tokenizer.ggml.merges"
	keyBOS       = "tokenizer.ggml.bos_token_id"
	keyEOS       = "tokenizer.ggml.eos_token_id"
	keyUnknown   = "tokenizer.ggml.unknown_token_id"
	keyPad       = "tokenizer.ggml.padding_token_id"
	keyAddBOS    = "tokenizer.ggml.add_bos_token"
	keyAddEOS    = "tokenizer.ggml.add_eos_token"
	keyPrefix    = "tokenizer.ggml.add_space_prefix"
	keyChat      = "tokenizer.chat_template"
)

func (k *keys) vocabulary() (*tokenizer.Vocabulary, error) {
	kind := k.text(keyTokenizer)
	if kind == "" {
		return nil, errors.New("the file has no tokenizer (metadata key tokenizer.ggml.model)")
	}
	v := &tokenizer.Vocabulary{Pre: k.text(keyPre), BOS: -1, EOS: -1, Unknown: -1, Pad: -1, ChatTemplate: k.text(keyChat)}
	v.Pieces, _ = k.c.byKey[keyTokens].([]string)
	if len(v.Pieces) == 0 {
		k.fail(keyTokens, "a list of texts")
	}
	kinds, ok := k.c.byKey[keyKinds].([]int32)
	if !ok && k.c.byKey[keyKinds] != nil {
		k.fail(keyKinds, "a list of int32")
	}
	v.Kinds = make([]tokenizer.Kind, len(v.Pieces))
	for i := range v.Kinds {
		v.Kinds[i] = tokenizer.Normal
		if i < len(kinds) && kinds[i] >= 0 && kinds[i] < 256 {
			v.Kinds[i] = tokenizer.Kind(kinds[i])
		}
	}
	switch kind {
	case "llama":
		v.BOS, v.EOS, v.Unknown = 1, 2, 0
		v.Pre, v.AddBOS, v.SpacePrefix = "default", true, true
		if v.Scores, ok = k.c.byKey[keyScores].([]float32); !ok {
			k.fail(keyScores, "a list of float32")
		}
		if k.flag("tokenizer.ggml.remove_extra_whitespaces", false) {
			k.fail("tokenizer.ggml.remove_extra_whitespaces", "false (such a tokenizer is not read from GGUF)")
		}
	case "gpt2":
		if v.Merges, ok = k.c.byKey[keyMerges].([]string); !ok {
			k.fail(keyMerges, "a list of texts")
		}
		v.AddBOS = v.Pre == "llama-bpe"
	default:
		k.fail(keyTokenizer, "llama or gpt2")
	}
	for _, x := range []struct {
		to  *int32
		key string
	}{{&v.BOS, keyBOS}, {&v.EOS, keyEOS}, {&v.Unknown, keyUnknown}, {&v.Pad, keyPad}} {
		if n, ok := k.whole(x.key); ok {
			*x.to = int32(n)
		}
	}
	withoutPadding(v)
	v.AddBOS, v.AddEOS = k.flag(keyAddBOS, v.AddBOS), k.flag(keyAddEOS, false)
	v.SpacePrefix = k.flag(keyPrefix, v.SpacePrefix)
	return v, errors.Join(k.errs...)
}
