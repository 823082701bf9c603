package model

import (
	"slices"
	"strings"
	"testing"
)

// TestExtendAgainstHandReckonedRows: 4 ids of width 4 become 7, by rows that are 0, 1, 2, 3 everywhere in the embedding and
// ten times that in the head.
func TestExtendAgainstHandReckonedRows(t *testing.T) {
	for _, tied := range []bool{false, true} {
		c := &Config{
			Architectures: []string{"LlamaForCausalLM"}, ModelType: "llama", VocabSize: 4, HiddenSize: 4, IntermediateSize: 4, NumHiddenLayers: 1,
			NumAttentionHeads: 1, NumKeyValueHeads: 1, HeadDim: 4, HiddenAct: "silu", MaxPositionEmbeddings: 8, RMSNormEps: 1e-5, RopeTheta: 10000, TieWordEmbeddings: tied,
		}
		w := Init(c, 3)
		fill := map[string]float32{"model.embed_tokens.weight": 1, "lm_head.weight": 10}
		for name, f := range fill {
			if rows, err := w.Tensor(name); err == nil {
				for i := range rows {
					rows[i] = f * float32(i/4)
				}
			}
		}
		got, err := Extend(w, 4, []Blend{{IDs: []int32{1, 2}}, {IDs: []int32{3, 3, 0, 2}}, {IDs: []int32{3, 1}, Weights: []float64{0.75, 0.25}}})
		if err != nil {
			t.Fatal(err)
		}
		if got.Config.VocabSize != 7 || c.VocabSize != 4 {
			t.Errorf("%d ids of %d", got.Config.VocabSize, c.VocabSize)
		}
		for _, p := range got.Config.Layout() {
			is, err := got.Tensor(p.Name)
			if err != nil {
				t.Fatal(err)
			}
			was, err := w.Tensor(p.Name)
			if err != nil {
				t.Fatal(err)
			}
			want := was
			if f := fill[p.Name]; f > 0 {
				want = slices.Concat(was, slices.Repeat([]float32{f * 1.5}, 4), slices.Repeat([]float32{f * 2}, 4), slices.Repeat([]float32{f * 2.5}, 4))
			}
			if !slices.Equal(is, want) {
				t.Errorf("tied %t: %s is %v, want %v", tied, p.Name, is, want)
			}
		}
	}
	w := Init(&Config{VocabSize: 4, HiddenSize: 4, IntermediateSize: 4, NumHiddenLayers: 1, NumAttentionHeads: 1, NumKeyValueHeads: 1, HeadDim: 4, HiddenAct: "silu", MaxPositionEmbeddings: 8, RMSNormEps: 1e-5, RopeTheta: 10000, ModelType: "llama", Architectures: []string{"LlamaForCausalLM"}}, 3)
	for want, call := range map[string]func() (*Weights, error){
		"new id 4 is made of [4]":  func() (*Weights, error) { return Extend(w, 4, []Blend{{IDs: []int32{4}}}) },
		"new id 4 is made of []":   func() (*Weights, error) { return Extend(w, 4, []Blend{{}}) },
		"has 2 weights for 1 rows": func() (*Weights, error) { return Extend(w, 4, []Blend{{[]int32{1}, []float64{0.5, 0.5}}}) },
		"the model has 4":          func() (*Weights, error) { return Extend(w, 5, []Blend{{IDs: []int32{1}}}) },
	} {
		if _, err := call(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}
