//go:build ignore

// Logits writes what engine/ref in float64 computes of a model, for transformers.py:
//
//	go run bench/pytorch/logits.go FOLDER OUT
//	go run bench/pytorch/logits.go mistral OUT
//
// The second makes a small Mistral with shared heads and a window of 20 tokens in OUT/model first, in BF16, with random weights.
// OUT/ids.json has four rows of ids, OUT/logits.f32 the logits of all their tokens, (4, T, V) in float32. With a tokenizer in FOLDER
// the first rows are Danish and English text and OUT/texts.json has it; the others are random.
package main

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"log"
	"math/rand/v2"
	"os"
	"path/filepath"

	"ravn/engine/ref"
	"ravn/model"
	"ravn/weights"
)

var texts = []string{
	"Ravnen fløj over marken, og børnene råbte: »Se, den har noget i næbbet!« Æblet faldt i 1894.",
	"The raven flew over the field; 3,5 % of it was ploughed – or so they said.\n\tNobody had counted.",
}

func main() {
	log.SetFlags(0)
	if len(os.Args) != 3 {
		log.Fatal("usage: logits FOLDER OUT")
	}
	folder, out := os.Args[1], os.Args[2]
	if folder == "mistral" {
		folder = filepath.Join(out, "model")
		c := &model.Config{
			Architectures: []string{"MistralForCausalLM"}, ModelType: "mistral", VocabSize: 512, HiddenSize: 64, IntermediateSize: 128, NumHiddenLayers: 3,
			NumAttentionHeads: 4, NumKeyValueHeads: 2, HeadDim: 16, HiddenAct: "silu", MaxPositionEmbeddings: 128, RMSNormEps: 1e-5, RopeTheta: 10000,
			SlidingWindow: 20, InitializerRange: 0.2, BOSTokenID: 1, EOSTokenID: 2, TorchDtype: "bfloat16",
		}
		check(weights.SaveFolder(folder, model.Init(c, 1), weights.SaveOptions{DType: model.BF16}))
	}
	w, err := weights.Load(folder)
	check(err)
	e, err := ref.New[float64](w)
	check(err)
	T := min(64, w.Config.MaxPositionEmbeddings)
	rows := make([][]int32, 4)
	if tok, err := weights.LoadTokenizer(folder); err == nil {
		for i, text := range texts {
			ids := append([]int32{int32(w.Config.BOSTokenID)}, tok.Encode(nil, text)...)
			rows[i] = ids[:min(T, len(ids))]
		}
		write(filepath.Join(out, "texts.json"), texts)
	}
	r := rand.New(rand.NewPCG(1, 1))
	for i := range rows {
		for len(rows[i]) < T {
			rows[i] = append(rows[i], r.Int32N(int32(w.Config.VocabSize)))
		}
	}
	var all bytes.Buffer
	for _, ids := range rows {
		logits, err := e.Logits(ids)
		check(err)
		for _, x := range logits {
			check(binary.Write(&all, binary.LittleEndian, float32(x)))
		}
	}
	write(filepath.Join(out, "ids.json"), rows)
	check(os.WriteFile(filepath.Join(out, "logits.f32"), all.Bytes(), 0o644))
}

func write(file string, v any) {
	text, err := json.Marshal(v)
	check(err)
	check(os.WriteFile(file, text, 0o644))
}

func check(err error) {
	if err != nil {
		log.Fatal("logits: ", err)
	}
}
