package model

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// configFields binds the names in config.json to fields of c.
func (c *Config) configFields() map[string]any {
	return map[string]any{
		"architectures":           &c.Architectures,
		"model_type":              &c.ModelType,
		"vocab_size":              &c.VocabSize,
		"hidden_size":             &c.HiddenSize,
		"intermediate_size":       &c.IntermediateSize,
		"num_hidden_layers":       &c.NumHiddenLayers,
		"num_attention_heads":     &c.NumAttentionHeads,
		"num_key_value_heads":     &c.NumKeyValueHeads,
		"head_dim":                &c.HeadDim,
		"hidden_act":              &c.HiddenAct,
		"max_position_embeddings": &c.MaxPositionEmbeddings,
		"rms_norm_eps":            &c.RMSNormEps,
		"rope_theta":              &c.RopeTheta,
		"sliding_window":          &c.SlidingWindow,
		"tie_word_embeddings":     &c.TieWordEmbeddings,
		"initializer_range":       &c.InitializerRange,
		"bos_token_id":            &c.BOSTokenID,
		"eos_token_id":            &c.EOSTokenID,
		"torch_dtype":             &c.TorchDtype,
	}
}

// ParseConfig reads a config.json.
//
// Fields that are missing take the defaults of transformers for the model_type, which for "mistral" are a sliding
// window of 4096 and 8 key-value heads. transformers 5 spells rope_theta as rope_parameters and torch_dtype as dtype;
// both spellings are read, and the older one, which both versions read, is written.
func ParseConfig(data []byte) (*Config, error) {
	var raw map[string]json.RawMessage
	if err := json.Unmarshal(data, &raw); err != nil {
		return nil, fmt.Errorf("model: config: %w", err)
	}
	if raw == nil {
		return nil, fmt.Errorf("model: config: the file holds null, not an object")
	}
	c, err := defaultConfig(raw)
	if err != nil {
		return nil, err
	}
	if err := c.readSpellings(raw); err != nil {
		return nil, err
	}
	fields := c.configFields()
	for _, name := range slices.Sorted(maps.Keys(raw)) {
		dst, known := fields[name]
		if !known {
			c.Extra[name] = raw[name]
			continue
		}
		if isNull(raw[name]) {
			c.setNull(name)
			continue
		}
		if err := json.Unmarshal(raw[name], dst); err != nil {
			return nil, fmt.Errorf("model: config: field %q: %w", name, err)
		}
	}
	if c.NumKeyValueHeads == 0 {
		c.NumKeyValueHeads = c.NumAttentionHeads
	}
	c.HeadDimGiven = c.HeadDim != 0
	if c.HeadDim == 0 && c.NumAttentionHeads > 0 {
		c.HeadDim = c.HiddenSize / c.NumAttentionHeads
	}
	if err := c.Validate(); err != nil {
		return nil, err
	}
	return c, nil
}

// defaultConfig is what transformers assumes for the fields that a config.json of this model_type leaves out.
func defaultConfig(raw map[string]json.RawMessage) (*Config, error) {
	c := &Config{
		HiddenAct: "silu", MaxPositionEmbeddings: 2048, RMSNormEps: 1e-6, RopeTheta: 10000,
		InitializerRange: 0.02, BOSTokenID: 1, EOSTokenID: 2, Extra: map[string]json.RawMessage{},
	}
	kind := ""
	if r, ok := raw["model_type"]; ok {
		if err := json.Unmarshal(r, &kind); err != nil {
			return nil, fmt.Errorf("model: config: field %q: %w", "model_type", err)
		}
	}
	if kind == "mistral" {
		c.MaxPositionEmbeddings, c.NumKeyValueHeads, c.SlidingWindow = 131072, 8, 4096
	}
	return c, nil
}

// setNull applies a field that is null in the file.
func (c *Config) setNull(name string) {
	switch name {
	case "bos_token_id":
		c.BOSTokenID = -1
	case "eos_token_id":
		c.EOSTokenID = -1
	case "sliding_window":
		c.SlidingWindow = 0
	case "num_key_value_heads":
		c.NumKeyValueHeads = 0
	case "head_dim":
		c.HeadDim = 0
	}
}

// readSpellings turns the other spellings of known fields into the usual one and takes them out of raw.
func (c *Config) readSpellings(raw map[string]json.RawMessage) error {
	if r, ok := raw["dtype"]; ok && raw["torch_dtype"] == nil {
		raw["torch_dtype"] = r
		delete(raw, "dtype")
	}
	if r := raw["eos_token_id"]; len(r) > 0 && r[0] == '[' { // Llama 3: several; the first one ends a document
		var ids []int
		if err := json.Unmarshal(r, &ids); err != nil || len(ids) == 0 {
			return fmt.Errorf("model: config: field %q: want a number or a list of numbers, have %.80s", "eos_token_id", r)
		}
		c.EOSTokenID, c.Extra["eos_token_id"] = ids[0], r
		delete(raw, "eos_token_id")
	}
	if r, ok := raw["rope_parameters"]; ok && !isNull(r) {
		var rope map[string]json.RawMessage
		if err := json.Unmarshal(r, &rope); err != nil {
			return fmt.Errorf("model: config: field %q: %w", "rope_parameters", err)
		}
		if plainRope(r) == "" && rope["rope_theta"] != nil {
			raw["rope_theta"] = rope["rope_theta"]
			delete(raw, "rope_parameters")
		}
	}
	return nil
}

// plainRope returns "" when a rope_scaling or rope_parameters object asks for plain rotary positions, and otherwise
// what it asks for.
func plainRope(r json.RawMessage) string {
	if isNull(r) {
		return ""
	}
	var rope struct {
		Type     *string `json:"rope_type"`
		OldType  *string `json:"type"`
		Rotary   float64 `json:"partial_rotary_factor"`
		Factor   float64 `json:"factor"`
		PerLayer any     `json:"full_attention"`
	}
	rope.Rotary = 1
	if err := json.Unmarshal(r, &rope); err != nil {
		return "an unknown form"
	}
	kind := "default"
	if rope.OldType != nil {
		kind = *rope.OldType
	}
	if rope.Type != nil {
		kind = *rope.Type
	}
	switch {
	case kind != "default":
		return strconv.Quote(kind)
	case rope.Rotary != 1:
		return fmt.Sprintf("a partial_rotary_factor of %g", rope.Rotary)
	case rope.PerLayer != nil:
		return "different angles for different layers"
	case rope.Factor != 0 && rope.Factor != 1:
		return fmt.Sprintf("a factor of %g", rope.Factor)
	}
	return ""
}

// unsupported lists what the extra fields ask for and no engine of ravn computes. Ignoring such a field would give a
// model that runs and is wrong.
func (c *Config) unsupported() []error {
	var errs []error
	if c.ModelType != "" && c.ModelType != "mistral" && c.ModelType != "llama" {
		errs = append(errs, fmt.Errorf("model_type %q is not supported (only mistral and llama)", c.ModelType))
	}
	for _, name := range []string{"rope_scaling", "rope_parameters"} {
		if r, ok := c.Extra[name]; ok {
			if what := plainRope(r); what != "" {
				errs = append(errs, fmt.Errorf("%s asks for %s; only plain rotary positions are supported (rope_type default)", name, what))
			}
		}
	}
	for _, name := range []string{"attention_bias", "mlp_bias", "qkv_bias", "use_qk_norm"} {
		if r, ok := c.Extra[name]; ok && string(r) != "false" && !isNull(r) {
			errs = append(errs, fmt.Errorf("%s is %.80s; the layers of ravn's decoder have no such part", name, r))
		}
	}
	if r, ok := c.Extra["partial_rotary_factor"]; ok && !isNull(r) {
		if v, err := strconv.ParseFloat(string(r), 64); err != nil || v != 1 {
			errs = append(errs, fmt.Errorf("partial_rotary_factor is %.80s; only whole heads are rotated (1.0)", r))
		}
	}
	if r, ok := c.Extra["quantization_config"]; ok && !isNull(r) {
		errs = append(errs, fmt.Errorf("quantization_config is set; quantised weights are not read (take the F32, F16 or BF16 model)"))
	}
	if r, ok := c.Extra["layer_types"]; ok && strings.Contains(string(r), "full_attention") && strings.Contains(string(r), "sliding_attention") {
		errs = append(errs, fmt.Errorf("layer_types mixes full and sliding attention; one kind for all layers is supported"))
	}
	return errs
}

func isNull(r json.RawMessage) bool { return string(bytes.TrimSpace(r)) == "null" }

// UnmarshalJSON reads c as ParseConfig does.
func (c *Config) UnmarshalJSON(data []byte) error {
	p, err := ParseConfig(data)
	if err == nil {
		*c = *p
	}
	return err
}

// MarshalJSON writes c as the config.json that transformers loads, without indentation. Keys are sorted.
func (c Config) MarshalJSON() ([]byte, error) {
	if c.ModelType == "llama" && c.SlidingWindow > 0 {
		return nil, fmt.Errorf("model: config: transformers knows no sliding_window (here %d) for model_type llama (use mistral, or 0)", c.SlidingWindow)
	}
	out := make(map[string]json.RawMessage, len(c.Extra)+20)
	for name, r := range c.Extra {
		out[name] = r
	}
	for name, v := range c.configFields() {
		if r := c.field(name, v); r != nil {
			out[name] = r
		}
	}
	return json.Marshal(out) // sorts the keys
}

// field is the value of one field in config.json; nil leaves the field out (or as Extra has it).
func (c *Config) field(name string, v any) json.RawMessage {
	switch name {
	case "sliding_window":
		if c.SlidingWindow == 0 {
			if c.ModelType != "mistral" {
				return nil
			}
			return json.RawMessage("null") // without the field transformers would take 4096
		}
	case "head_dim":
		if !c.HeadDimGiven && c.HeadDim*c.NumAttentionHeads == c.HiddenSize {
			return nil
		}
	case "bos_token_id", "eos_token_id":
		if *v.(*int) < 0 {
			return json.RawMessage("null")
		}
		var several []int
		if json.Unmarshal(c.Extra[name], &several) == nil && len(several) > 0 && several[0] == *v.(*int) {
			return nil
		}
	}
	switch v := v.(type) {
	case *[]string:
		if len(*v) == 0 {
			return nil
		}
	case *string:
		if *v == "" {
			return nil
		}
	case *float64:
		return json.RawMessage(formatFloat(*v))
	}
	r, err := json.Marshal(v)
	if err != nil {
		panic(err) // the fields are numbers, strings and booleans
	}
	return r
}

// formatFloat writes a number that a reader with types takes for a float: 10000.0, 1e-05.
func formatFloat(v float64) string {
	s := strconv.FormatFloat(v, 'g', -1, 64)
	if !strings.ContainsAny(s, ".e") {
		s += ".0"
	}
	return s
}

// Encode writes c as the text of a config.json: sorted keys, two spaces of indentation, a newline at the end.
func (c *Config) Encode() ([]byte, error) {
	return indent(c)
}

// GenerationConfig is the text of the generation_config.json that goes with c.
func (c *Config) GenerationConfig() ([]byte, error) {
	g := map[string]any{"_from_model_config": true}
	set := func(name string, v *int) {
		if r := c.field(name, v); r == nil {
			g[name] = c.Extra[name]
		} else if *v >= 0 {
			g[name] = *v
		}
	}
	set("bos_token_id", &c.BOSTokenID)
	set("eos_token_id", &c.EOSTokenID)
	if v, ok := c.Extra["transformers_version"]; ok {
		g["transformers_version"] = v
	}
	return indent(g)
}

func indent(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(v); err != nil {
		return nil, fmt.Errorf("model: config: %w", err)
	}
	return b.Bytes(), nil
}
