package model_test

import (
	"fmt"
	"log"

	"ravn/model"
)

// What Mistral-7B costs, before anything of it is downloaded.
func Example() {
	c, err := model.ParseConfig([]byte(`{"model_type": "mistral", "vocab_size": 32000, "hidden_size": 4096,
		"intermediate_size": 14336, "num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 8}`))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%d parameters, %.1f GFLOP a token in rows of 4096\n", c.NumParams(), c.TrainFLOPs(4096)/1e9)
	// Output:
	// 7241732096 parameters, 45.9 GFLOP a token in rows of 4096
}
