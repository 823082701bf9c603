package weights_test

import (
	"fmt"
	"log"
	"os"
	"path/filepath"

	"ravn/model"
	"ravn/weights"
)

// A model folder is written from numbers in memory, and opened without reading them.
func Example() {
	root, err := os.MkdirTemp("", "weights")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(root)

	c, err := model.ParseConfig([]byte(`{"model_type": "llama", "vocab_size": 64, "hidden_size": 16,
		"intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}`))
	if err != nil {
		log.Fatal(err)
	}
	dir := filepath.Join(root, "tiny")
	if err := weights.SaveFolder(dir, model.Init(c, 17), weights.SaveOptions{DType: model.BF16}); err != nil {
		log.Fatal(err)
	}
	f, err := weights.OpenFolder(dir)
	if err != nil {
		log.Fatal(err)
	}
	defer f.Close()
	for _, t := range f.Tensors()[:3] {
		fmt.Println(t.Name, t.DType, t.Shape)
	}
	// Output:
	// model.embed_tokens.weight BF16 [64 16]
	// model.layers.0.input_layernorm.weight BF16 [16]
	// model.layers.0.self_attn.q_proj.weight BF16 [16 16]
}
