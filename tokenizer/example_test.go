package tokenizer_test

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"ravn/tokenizer"
)

const text = `Der var engang en konge, og kongen havde en have. I haven stod et træ, og i træet sad en ravn.
Ravnen så på kongen, og kongen så på ravnen.`

// tiny is a vocabulary of one sentence.
func tiny() *tokenizer.Tokenizer {
	o := tokenizer.DefaultTrainOptions()
	o.VocabSize, o.CharacterCoverage, o.WhitespacePieces = 310, 1, false
	tok, err := tokenizer.Train(context.Background(), slices.Values([]string{text}), o)
	if err != nil {
		panic(err)
	}
	return tok
}

func ExampleTrain() {
	tok := tiny()
	fmt.Println(tok.Size(), "pieces, the first merges:")
	for id := int32(259); id < 265; id++ {
		fmt.Println(id, tok.Piece(id))
	}
	// Output:
	// 310 pieces, the first merges:
	// 259 en
	// 260 av
	// 261 ng
	// 262 ▁k
	// 263 ▁s
	// 264 ▁en
}

func ExampleTokenizer_Encode() {
	tok := tiny()
	ids := tok.Encode(nil, "en ravn 🐦")
	var pieces []string
	for _, id := range ids {
		pieces = append(pieces, tok.Piece(id))
	}
	fmt.Println(strings.Join(pieces, " "))
	fmt.Println(tok.Decode(ids))
	// Output:
	// ▁en ▁ravn ▁ <0xF0> <0x9F> <0x90> <0xA6>
	// en ravn 🐦
}

func ExampleDecoder() {
	tok := tiny()
	d := tok.NewDecoder()
	for _, id := range tok.Encode(nil, "en ravn 🐦!") {
		fmt.Printf("%q ", d.Next(id))
	}
	fmt.Printf("%q\n", d.Flush())
	// Output:
	// "en" " ravn" " " "" "" "" "🐦" "!" ""
}

func ExampleTokenizer_Files() {
	files := tiny().Files()
	names := make([]string, 0, len(files))
	for name := range files {
		names = append(names, name)
	}
	slices.Sort(names)
	fmt.Println(strings.Join(names, "\n"))
	// Output:
	// special_tokens_map.json
	// tokenizer.json
	// tokenizer.model
	// tokenizer_config.json
}
