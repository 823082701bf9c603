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
	parts := c.Memory(model.MemoryPlan{B: 1, T: 4096, DType: model.BF16, Recompute: true})
	for _, p := range parts {
		fmt.Printf("%-15s %6.2f GiB  %s\n", p.Name, float64(p.Bytes)/(1<<30), p.Formula)
	}
	fmt.Printf("%-15s %6.2f GiB\n", "together", float64(model.TotalBytes(parts))/(1<<30))
	// Output:
	// 7241732096 parameters, 45.9 GFLOP a token in rows of 4096
	// weights          13.49 GiB  N
	// gradients        13.49 GiB  N
	// master weights   26.98 GiB  N, F32
	// moments          53.96 GiB  2·N, F32
	// activations       1.53 GiB  B·T·(L·C + 4·C+2·H·D+2·K·D+3·F)
	// logits            0.49 GiB  B·T·V, F32
	// together        109.93 GiB
}
