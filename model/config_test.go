package model

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// mistral is the config.json of mistralai/Mistral-7B-v0.1, as published.
const mistral = `{
  "architectures": ["MistralForCausalLM"], "bos_token_id": 1, "eos_token_id": 2, "hidden_act": "silu",
  "hidden_size": 4096, "initializer_range": 0.02, "intermediate_size": 14336, "max_position_embeddings": 32768,
  "model_type": "mistral", "num_attention_heads": 32, "num_hidden_layers": 32, "num_key_value_heads": 8,
  "rms_norm_eps": 1e-05, "rope_theta": 10000.0, "sliding_window": 4096, "tie_word_embeddings": false,
  "torch_dtype": "bfloat16", "transformers_version": "4.34.0.dev0", "use_cache": true, "vocab_size": 32000
}`

const tinyLlama = `{
  "architectures": ["LlamaForCausalLM"], "bos_token_id": 1, "eos_token_id": 2, "hidden_act": "silu",
  "hidden_size": 2048, "initializer_range": 0.02, "intermediate_size": 5632, "max_position_embeddings": 2048,
  "model_type": "llama", "num_attention_heads": 32, "num_hidden_layers": 22, "num_key_value_heads": 4,
  "pretraining_tp": 1, "rms_norm_eps": 1e-05, "rope_scaling": null, "tie_word_embeddings": false,
  "torch_dtype": "float32", "vocab_size": 32000
}`

func parse(t *testing.T, s string) *Config {
	t.Helper()
	c, err := ParseConfig([]byte(s))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestParameterCounts(t *testing.T) {
	// The counts that the model cards state.
	if got, want := parse(t, mistral).NumParams(), 7_241_732_096; got != want {
		t.Errorf("Mistral-7B has %d parameters, want %d", got, want)
	}
	if got, want := parse(t, tinyLlama).NumParams(), 1_100_048_384; got != want {
		t.Errorf("TinyLlama has %d parameters, want %d", got, want)
	}
}

func TestEncodeReturnsWhatWasRead(t *testing.T) {
	for name, text := range map[string]string{"mistral": mistral, "llama": tinyLlama} {
		out, err := parse(t, text).Encode()
		if err != nil {
			t.Fatal(err)
		}
		var want, got map[string]any
		if err := json.Unmarshal([]byte(text), &want); err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(out, &got); err != nil {
			t.Fatal(err)
		}
		if name == "llama" {
			want["rope_theta"] = 10000.0 // the default, written out
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("%s (-read +written):\n%s", name, d)
		}
		again, err := parse(t, string(out)).Encode()
		if err != nil || string(again) != string(out) {
			t.Errorf("%s: written a second time differs: %v\n%s", name, err, cmp.Diff(string(out), string(again)))
		}
	}
	out, _ := parse(t, mistral).Encode()
	for _, want := range []string{"\"rope_theta\": 10000.0,\n", "\"rms_norm_eps\": 1e-05,\n", "\"architectures\": [\n    \"MistralForCausalLM\"\n  ],"} {
		if !strings.Contains(string(out), want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
}

func TestEncodeFields(t *testing.T) {
	const head = `"vocab_size":8,"hidden_size":8,"intermediate_size":8,"num_hidden_layers":1,"num_attention_heads":2,"num_key_value_heads":1`
	tests := []struct {
		name, in     string
		has, lacks   string
		theta        float64
		window, head int
	}{
		{"no sliding window in mistral is null", `"model_type":"mistral","sliding_window":null`, `"sliding_window":null`, `"head_dim"`, 10000, 0, 4},
		{"mistral without the field has 4096", `"model_type":"mistral"`, `"sliding_window":4096`, `null`, 10000, 4096, 4},
		{"llama has no such field", `"model_type":"llama"`, `"llama"`, `"sliding_window"`, 10000, 0, 4},
		{"given head_dim is kept", `"head_dim":4`, `"head_dim":4`, `null`, 10000, 0, 4},
		{"other head_dim", `"head_dim":6`, `"head_dim":6`, `null`, 10000, 0, 6},
		{"null head_dim", `"head_dim":null`, `"vocab_size":8`, `"head_dim"`, 10000, 0, 4},
		{"theta of transformers 5", `"rope_parameters":{"rope_theta":500000.0,"rope_type":"default"}`, `"rope_theta":500000.0`, `rope_parameters`, 500000, 0, 4},
		{"rope_scaling of kind default", `"rope_scaling":{"type":"default"}`, `"rope_scaling":{"type":"default"}`, `null`, 10000, 0, 4},
		{"dtype of transformers 5", `"dtype":"bfloat16"`, `"torch_dtype":"bfloat16"`, `"dtype"`, 10000, 0, 4},
		{"unknown keys", `"my_key":{"a":[1,2]}`, `"my_key":{"a":[1,2]}`, `null`, 10000, 0, 4},
		{"several ends", `"eos_token_id":[5,6]`, `"eos_token_id":[5,6]`, `null`, 10000, 0, 4},
		{"no begin", `"bos_token_id":null`, `"bos_token_id":null`, `"head_dim"`, 10000, 0, 4},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := parse(t, "{"+head+","+tt.in+"}")
			out, err := json.Marshal(c)
			if err != nil {
				t.Fatal(err)
			}
			if !strings.Contains(string(out), tt.has) || strings.Contains(string(out), tt.lacks) {
				t.Errorf("want %s and not %s in %s", tt.has, tt.lacks, out)
			}
			if c.RopeTheta != tt.theta || c.SlidingWindow != tt.window || c.HeadDim != tt.head {
				t.Errorf("theta %g window %d head %d, want %g %d %d", c.RopeTheta, c.SlidingWindow, c.HeadDim, tt.theta, tt.window, tt.head)
			}
		})
	}
}

func TestConfigRefused(t *testing.T) {
	const head = `"vocab_size":8,"hidden_size":8,"intermediate_size":8,"num_hidden_layers":1,"num_attention_heads":2,"num_key_value_heads":1`
	tests := []struct{ name, in, want string }{
		{"llama 3 scaling", `"rope_scaling":{"rope_type":"llama3","factor":8.0}`, `rope_scaling asks for "llama3"`},
		{"linear scaling, old spelling", `"rope_scaling":{"type":"linear","factor":2.0}`, `rope_scaling asks for "linear"`},
		{"yarn in rope_parameters", `"rope_parameters":{"rope_theta":1e4,"rope_type":"yarn"}`, `rope_parameters asks for "yarn"`},
		{"partial rotary", `"rope_parameters":{"rope_theta":1e4,"partial_rotary_factor":0.5}`, "partial_rotary_factor of 0.5"},
		{"scaling that is no object", `"rope_scaling":3`, "rope_scaling asks for an unknown form"},
		{"attention bias", `"attention_bias":true`, "attention_bias is true"},
		{"mlp bias", `"mlp_bias":true`, "mlp_bias is true"},
		{"other family", `"model_type":"gemma"`, `model_type "gemma" is not supported`},
		{"quantised", `"quantization_config":{"bits":4}`, "quantization_config is set"},
		{"activation", `"hidden_act":"gelu"`, `hidden_act "gelu" is not supported`},
		{"odd head", `"head_dim":3`, "head_dim 3 is odd"},
		{"groups", `"num_key_value_heads":3`, "num_attention_heads 2 is not a multiple of num_key_value_heads 3"},
		{"negative width", `"hidden_size":-4`, "hidden_size is -4, must be positive"},
		{"huge", `"vocab_size":4000000000000`, "more than ravn can count"},
		{"text for a number", `"vocab_size":"many"`, `field "vocab_size"`},
		{"no end", `"eos_token_id":[]`, `field "eos_token_id": want a number or a list`},
		{"several at once", `"mlp_bias":true,"hidden_act":"relu"`, "hidden_act \"relu\" is not supported (only silu)\nmlp_bias is true"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := ParseConfig([]byte("{" + head + "," + tt.in + "}"))
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got error %v, want one with %q", err, tt.want)
			}
		})
	}
	if _, err := ParseConfig([]byte("null")); err == nil {
		t.Error("null was read as a configuration")
	}
	c := parse(t, "{"+head+`,"model_type":"llama"}`)
	c.SlidingWindow = 4
	if _, err := c.Encode(); err == nil || !strings.Contains(err.Error(), "no sliding_window") {
		t.Errorf("llama with a window: %v", err)
	}
}

func TestGenerationConfig(t *testing.T) {
	got, err := parse(t, mistral).GenerationConfig()
	if err != nil {
		t.Fatal(err)
	}
	want := `{
  "_from_model_config": true,
  "bos_token_id": 1,
  "eos_token_id": 2,
  "transformers_version": "4.34.0.dev0"
}
`
	if d := cmp.Diff(want, string(got)); d != "" {
		t.Error(d)
	}
}

func FuzzParseConfig(f *testing.F) {
	f.Add([]byte(mistral))
	f.Add([]byte(tinyLlama))
	f.Add([]byte(`{"rope_scaling":{"type":1},"eos_token_id":[1]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := ParseConfig(data)
		if err != nil {
			return
		}
		if c.NumHiddenLayers < 100 && c.NumParams() <= 0 {
			t.Errorf("%d parameters", c.NumParams())
		}
		if _, err := c.Encode(); err != nil && !strings.Contains(err.Error(), "sliding_window") {
			t.Error(err)
		}
	})
}
