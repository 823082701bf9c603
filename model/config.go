// Package model is the decoder as data: its configuration, its table of parameters, its batches and what it costs.
//
// One family is meant: RMSNorm, rotary positions, grouped-query attention with an optional sliding window, SwiGLU,
// tied or untied embeddings (Llama and Mistral). Arithmetic is elsewhere, in the engines.
package model

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
)

// Config holds the numbers of a decoder under the names of Hugging Face's config.json.
// Fields that ravn does not know are kept in Extra and written back.
type Config struct {
	Architectures         []string
	ModelType             string  // "mistral" or "llama"
	VocabSize             int     // V
	HiddenSize            int     // C
	IntermediateSize      int     // F, width of the SwiGLU layer
	NumHiddenLayers       int     // L
	NumAttentionHeads     int     // H
	NumKeyValueHeads      int     // K; H is a multiple of it
	HeadDim               int     // D; HiddenSize/NumAttentionHeads when the file has none
	HeadDimGiven          bool    // the file says head_dim although it follows from the widths; kept for writing back
	HiddenAct             string  // "silu"
	MaxPositionEmbeddings int     // tokens
	RMSNormEps            float64 // added to the mean square
	RopeTheta             float64 // base of the rotary angles
	SlidingWindow         int     // a query sees this many newest keys, itself included; 0 sees all (null in the file)
	TieWordEmbeddings     bool    // the output head is the embedding
	InitializerRange      float64 // standard deviation of initial weights
	BOSTokenID            int     // -1 when there is none
	EOSTokenID            int     // -1 when there is none
	TorchDtype            string  // "float32", "bfloat16", "float16"
	Extra                 map[string]json.RawMessage
}

// Validate reports everything about c that an engine could not work with.
func (c *Config) Validate() error {
	var errs []error
	positive := func(name string, v int) {
		if v <= 0 {
			errs = append(errs, fmt.Errorf("%s is %d, must be positive", name, v))
		}
	}
	positive("vocab_size", c.VocabSize)
	positive("hidden_size", c.HiddenSize)
	positive("intermediate_size", c.IntermediateSize)
	positive("num_hidden_layers", c.NumHiddenLayers)
	positive("num_attention_heads", c.NumAttentionHeads)
	positive("num_key_value_heads", c.NumKeyValueHeads)
	positive("head_dim", c.HeadDim)
	positive("max_position_embeddings", c.MaxPositionEmbeddings)
	if c.NumKeyValueHeads > 0 && c.NumAttentionHeads%c.NumKeyValueHeads != 0 {
		errs = append(errs, fmt.Errorf("num_attention_heads %d is not a multiple of num_key_value_heads %d", c.NumAttentionHeads, c.NumKeyValueHeads))
	}
	if c.HeadDim%2 != 0 {
		errs = append(errs, fmt.Errorf("head_dim %d is odd, rotary positions need pairs", c.HeadDim))
	}
	if c.HiddenAct != "silu" {
		errs = append(errs, fmt.Errorf("hidden_act %q is not supported (only silu)", c.HiddenAct))
	}
	if c.RMSNormEps <= 0 || c.RopeTheta <= 0 {
		errs = append(errs, fmt.Errorf("rms_norm_eps %g and rope_theta %g must be positive", c.RMSNormEps, c.RopeTheta))
	}
	if c.SlidingWindow < 0 {
		errs = append(errs, fmt.Errorf("sliding_window %d is negative", c.SlidingWindow))
	}
	if c.InitializerRange < 0 {
		errs = append(errs, fmt.Errorf("initializer_range %g is negative", c.InitializerRange))
	}
	if len(errs) == 0 {
		errs = append(errs, c.checkSize()...)
	}
	errs = append(errs, c.unsupported()...)
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("model: config: %w", err)
	}
	return nil
}

// maxParams bounds the table of parameters: 2^40 elements are 4 TiB in fp32, so no sum or byte count overflows.
const maxParams = 1 << 40

// checkSize finds configurations whose sizes are absurd, before any of them is multiplied in integers.
func (c *Config) checkSize() []error {
	f := func(n int) float64 { return float64(n) }
	wide := (f(c.NumAttentionHeads) + 2*f(c.NumKeyValueHeads)) * f(c.HeadDim)
	layer := f(c.HiddenSize) * (2*wide + 3*f(c.IntermediateSize) + 2)
	total := 2*f(c.VocabSize)*f(c.HiddenSize) + f(c.NumHiddenLayers)*layer
	if total > maxParams || c.NumHiddenLayers > 1<<16 || c.MaxPositionEmbeddings > math.MaxInt32 {
		return []error{fmt.Errorf("about %.3g parameters in %d layers over %d positions are more than ravn can count",
			total, c.NumHiddenLayers, c.MaxPositionEmbeddings)}
	}
	return nil
}

// Param is one named tensor of a decoder: its Hugging Face name, its shape (rows first) and its place in the flat
// vector of all parameters.
type Param struct {
	Name   string
	Shape  []int // [out, in] for matrices, [C] for norms
	Offset int   // first element in the flat vector
	Size   int   // number of elements
	Decay  bool  // weight decay applies (matrices and embeddings; not norms)
}

// Layout is the table of parameters of c in the one order that every engine, checkpoint and optimizer state uses:
// embedding, blocks from first to last (input norm, q, k, v, o, post-attention norm, gate, up, down), final norm, head
// (absent when tied). Offsets are in elements and without gaps.
func (c *Config) Layout() []Param {
	var ps []Param
	at := 0
	add := func(name string, decay bool, shape ...int) {
		size := 1
		for _, s := range shape {
			size *= s
		}
		ps = append(ps, Param{Name: name, Shape: shape, Offset: at, Size: size, Decay: decay})
		at += size
	}
	C, F, D := c.HiddenSize, c.IntermediateSize, c.HeadDim
	qw, kw := c.NumAttentionHeads*D, c.NumKeyValueHeads*D
	add("model.embed_tokens.weight", true, c.VocabSize, C)
	for l := range c.NumHiddenLayers {
		p := fmt.Sprintf("model.layers.%d.", l)
		add(p+"input_layernorm.weight", false, C)
		add(p+"self_attn.q_proj.weight", true, qw, C)
		add(p+"self_attn.k_proj.weight", true, kw, C)
		add(p+"self_attn.v_proj.weight", true, kw, C)
		add(p+"self_attn.o_proj.weight", true, C, qw)
		add(p+"post_attention_layernorm.weight", false, C)
		add(p+"mlp.gate_proj.weight", true, F, C)
		add(p+"mlp.up_proj.weight", true, F, C)
		add(p+"mlp.down_proj.weight", true, C, F)
	}
	add("model.norm.weight", false, C)
	if !c.TieWordEmbeddings {
		add("lm_head.weight", true, c.VocabSize, C)
	}
	return ps
}

// NumParams is the number of elements of the flat parameter vector.
func (c *Config) NumParams() int {
	ps := c.Layout()
	last := ps[len(ps)-1]
	return last.Offset + last.Size
}
