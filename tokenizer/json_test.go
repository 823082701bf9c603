package tokenizer

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
)

// edited returns a tokenizer.json with members replaced, by path.
func edited(t testing.TB, file []byte, changes map[string]any) []byte {
	t.Helper()
	var doc map[string]any
	if err := json.Unmarshal(file, &doc); err != nil {
		t.Fatal(err)
	}
	for path, value := range changes {
		at := doc
		names := strings.Split(path, ".")
		for _, name := range names[:len(names)-1] {
			at = at[name].(map[string]any)
		}
		at[names[len(names)-1]] = value
	}
	out, err := json.Marshal(doc)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func readEdited(t testing.TB, file []byte, changes map[string]any) *Tokenizer {
	t.Helper()
	tok, err := ReadJSON(edited(t, file, changes))
	if err != nil {
		t.Fatal(err)
	}
	return tok
}

// value parses JSON for edited.
func value(s string) any {
	var v any
	if err := json.Unmarshal([]byte(s), &v); err != nil {
		panic(err)
	}
	return v
}

// The tokenizer.json derived from Mistral's model gives the ids of the reference, where no special token is spelled.
func TestMistralJSONMatchesVectors(t *testing.T) {
	file := mistral(t).Files()["tokenizer.json"]
	var doc struct {
		Model struct {
			Vocab  map[string]int `json:"vocab"`
			Merges []string       `json:"merges"`
		} `json:"model"`
	}
	if err := json.Unmarshal(file, &doc); err != nil {
		t.Fatal(err)
	}
	// The published file has 58,980 merges; the first is that of the piece with the highest score.
	if len(doc.Model.Merges) != 58980 || len(doc.Model.Vocab) != 32000 || doc.Model.Merges[0] != "▁ t" {
		t.Errorf("%d merges, %d pieces, first merge %q", len(doc.Model.Merges), len(doc.Model.Vocab), doc.Model.Merges[0])
	}
	tok, err := ReadJSON(file)
	if err != nil {
		t.Fatal(err)
	}
	pairs := make([]any, len(doc.Model.Merges))
	for i, m := range doc.Model.Merges {
		left, right, _ := strings.Cut(m, " ")
		pairs[i] = []string{left, right}
	}
	paired := readEdited(t, file, map[string]any{"model.merges": pairs})
	seen := 0
	for _, v := range vectors(t, "mistral_vectors.jsonl") {
		if strings.Contains(v.Text, "<s>") || strings.Contains(v.Text, "</s>") || strings.Contains(v.Text, "<unk>") {
			continue
		}
		seen++
		for name, tok := range map[string]*Tokenizer{"strings": tok, "pairs": paired} {
			if got := tok.Encode(nil, v.Text); !slices.Equal(got, v.IDs) {
				t.Errorf("merges as %s: %.80q = %v, want %v", name, v.Text, got, v.IDs)
			}
		}
		if got := tok.Decode(v.IDs); got != v.Decoded {
			t.Errorf("Decode(%v) = %q, want %q", v.IDs, got, v.Decoded)
		}
	}
	if seen < 780 {
		t.Errorf("only %d rows without special tokens", seen)
	}
	if tok.BOS() != 1 || tok.EOS() != 2 || tok.Unknown() != 0 || tok.Pad() != -1 || tok.Size() != 32000 {
		t.Errorf("BOS %d, EOS %d, unknown %d, pad %d, size %d", tok.BOS(), tok.EOS(), tok.Unknown(), tok.Pad(), tok.Size())
	}
}

// Worked out by hand from the vocabulary of handModel, and from what the published code of tokenizers does with
// special tokens and with the space in front of sections.
func TestJSONByHand(t *testing.T) {
	model := handModel(t)
	// x and y alone are no pieces, so a tokenizer.json cannot build "xy"; make them pieces.
	pieces := append(slices.Clone(model.pieces), piece{"x", -12, Normal}, piece{"y", -13, Normal}, piece{"\n", -14, Normal})
	o := DefaultTrainOptions()
	whole, err := ReadModel(writeModel(pieces, &o))
	if err != nil {
		t.Fatal(err)
	}
	file := whole.Files()["tokenizer.json"]
	metaspace := func(scheme string, split bool) map[string]any {
		return map[string]any{
			"normalizer":    nil,
			"pre_tokenizer": value(fmt.Sprintf(`{"type":"Metaspace","replacement":"▁","prepend_scheme":%q,"split":%t}`, scheme, split)),
			"decoder":       value(`{"type":"Sequence","decoders":[{"type":"Replace","pattern":{"String":"▁"},"content":" "},{"type":"ByteFallback"},{"type":"Fuse"},{"type":"Strip","content":" ","start":1,"stop":0}]}`),
		}
	}
	added := func(flags string) any {
		return value(`[{"id":0,"content":"<unk>","special":true},{"id":1,"content":"<s>","special":true},{"id":2,"content":"</s>","special":true},
			{"id":259,"content":"ab"` + flags + `}]`)
	}
	for _, x := range []struct {
		name       string
		changes    map[string]any
		text, want string
		decoded    string
	}{
		{"legacy", nil, "abc d", "▁ abc ▁ d", "abc d"},
		{"a special token", nil, "a<s>a", "▁a <s> ▁a", "a a"},
		{"spaces around it", nil, "a <s> a", "▁a ▁ <s> ▁ ▁a", "a   a"},
		{"special alone", nil, "<s></s>", "<s> </s>", ""},
		{"unknown spelled", nil, "<unk>a", "<unk> ▁a", "a"},
		{"bytes", nil, "é", "▁ <0xC3> <0xA9>", "é"},
		{"Metaspace first", metaspace("first", false), "a<s>a", "▁a <s> a", "aa"},
		{"Metaspace first, special first", metaspace("first", false), "<s>a", "<s> a", "a"},
		{"Metaspace always", metaspace("always", false), "a<s>a", "▁a <s> ▁a", "a a"},
		{"Metaspace always, space there", metaspace("always", false), " a", "▁a", "a"},
		{"Metaspace never", metaspace("never", false), "a a", "a ▁a", "a a"},
		{"Metaspace whole", metaspace("never", false), "a   b", "a ▁▁ ▁ b", "a   b"},
		{"Metaspace split", metaspace("never", true), "a   b", "a ▁ ▁ ▁ b", "a   b"},
		{"Metaspace split marks", metaspace("never", true), "a \u2581b", "a ▁ ▁ b", "a  b"},
		{"added", map[string]any{"added_tokens": added("")}, "aabc", "▁a ab ▁ c", "aab c"},
		{"added single word", map[string]any{"added_tokens": added(`,"single_word":true`)}, "ab abc", "ab ▁▁ abc", "ab  abc"},
		{"added lstrip", map[string]any{"added_tokens": added(`,"lstrip":true`)}, "a  ab", "▁a ab", "aab"},
		{"added rstrip", map[string]any{"added_tokens": added(`,"rstrip":true`)}, "ab  ab c", "ab ab ▁ c", "abab c"},
		{"added normalized", map[string]any{"added_tokens": added(`,"normalized":true`)}, "ab abab", "ab ab ab", "ababab"},
		{"newline is a piece", nil, "a\nb", "▁a \n b", "a\nb"},
		{
			"NFC",
			map[string]any{"normalizer": value(`{"type":"Sequence","normalizers":[{"type":"NFC"},{"type":"Replace","pattern":{"String":" "},"content":"▁"}]}`)},
			"e\u0301", "<0xC3> <0xA9>", "é",
		},
	} {
		t.Run(strings.ReplaceAll(x.name, " ", "_"), func(t *testing.T) {
			tok := readEdited(t, file, x.changes)
			ids := tok.Encode(nil, x.text)
			if got := spell(tok, ids); got != x.want {
				t.Errorf("Encode(%q) = %s, want %s", x.text, got, x.want)
			}
			if got := tok.Decode(ids); got != x.decoded {
				t.Errorf("Decode(%s) = %q, want %q", x.want, got, x.decoded)
			}
		})
	}
}

// TestEncodeTextKeepsSpecialStrings holds text that is data to what a SentencePiece model of the same pieces makes of it.
func TestEncodeTextKeepsSpecialStrings(t *testing.T) {
	hand := trainedOn(t, "Mærket </s> slutter en linje, og <s> begynder den. Ællinger og <unk> i teksten.")
	derived, err := ReadJSON(hand.Files()["tokenizer.json"])
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"a</s>b", "<s>", "Mærket </s> slutter", "<unk> og <s></s>", "ingen", ""} {
		want := hand.Encode(nil, text)
		if got := derived.EncodeText(nil, text); !slices.Equal(got, want) {
			t.Errorf("EncodeText(%q) = %v, want %v", text, got, want)
		}
		if got := hand.EncodeText(nil, text); !slices.Equal(got, want) {
			t.Errorf("model: EncodeText(%q) = %v, want %v", text, got, want)
		}
		if got := derived.Decode(derived.EncodeText(nil, text)); got != text {
			t.Errorf("%q comes back as %q", text, got)
		}
	}
	if got := derived.Encode(nil, "a</s>b"); !slices.Contains(got, derived.EOS()) {
		t.Errorf("Encode lost the special token: %v", got)
	}
}

// Without byte fallback, what has no piece is <unk>; neighbours are one if fuse_unk says so.
func TestJSONUnknown(t *testing.T) {
	file := []byte(`{"added_tokens":[],"normalizer":{"type":"Replace","pattern":{"String":" "},"content":"▁"},"pre_tokenizer":null,
		"decoder":{"type":"Sequence","decoders":[{"type":"Replace","pattern":{"String":"▁"},"content":" "},{"type":"Fuse"}]},
		"model":{"type":"BPE","unk_token":"?","fuse_unk":true,"vocab":{"?":0,"a":1,"▁":2,"▁a":3},"merges":["▁ a"]}}`)
	for fuse, want := range map[bool]string{true: "a ? ▁ ? ▁a ?", false: "a ? ? ▁ ? ▁a ? ? ?"} {
		tok := readEdited(t, file, map[string]any{"model.fuse_unk": fuse})
		if got := spell(tok, tok.Encode(nil, "axx x axxx")); got != want {
			t.Errorf("fuse_unk %t: %s, want %s", fuse, got, want)
		}
	}
	tok := readEdited(t, file, nil)
	if got := tok.Decode([]int32{3, 0, 99}); got != " a??" {
		t.Errorf("Decode = %q, want \" a??\"", got)
	}
}

// byteJSON is a byte-level tokenizer.json: all bytes, some merges, and one special token.
func byteJSON(pre string, merges ...string) []byte {
	vocab := map[string]int{}
	for b := range 256 {
		vocab[string(byteAlphabet[b])] = b
	}
	for _, m := range merges {
		vocab[strings.ReplaceAll(m, " ", "")] = len(vocab)
	}
	file, err := json.Marshal(map[string]any{
		"added_tokens":   []any{map[string]any{"id": len(vocab), "content": "<|endoftext|>", "special": true}},
		"normalizer":     nil,
		"pre_tokenizer":  value(pre),
		"post_processor": nil,
		"decoder":        value(`{"type":"ByteLevel"}`),
		"model":          map[string]any{"type": "BPE", "vocab": vocab, "merges": merges},
	})
	if err != nil {
		panic(err)
	}
	return file
}

const gpt2Pre = `{"type":"ByteLevel","add_prefix_space":false,"trim_offsets":true,"use_regex":true}`

func patternPre(pattern string) string {
	p, _ := json.Marshal(pattern)
	return `{"type":"Sequence","pretokenizers":[{"type":"Split","pattern":{"Regex":` + string(p) +
		`},"behavior":"Isolated","invert":false},{"type":"ByteLevel","add_prefix_space":false,"use_regex":false}]}`
}

// Worked out by hand: Ġ spells a space, Ã¦ the two bytes of æ.
func TestByteLevelByHand(t *testing.T) {
	merges := []string{"h u", "hu s", "Ġ hus", "Ã ¦", "Ġ Ġ", "1 2", "12 3", "Ċ Ċ"}
	for _, x := range []struct {
		name, pre, text, want string
		changes               map[string]any
	}{
		{"words", gpt2Pre, "hus hus", "hus Ġhus", nil},
		{"bytes", gpt2Pre, "æ", "Ã¦", nil},
		{"runs of spaces", gpt2Pre, "hus   hus", "hus ĠĠ Ġhus", nil},
		{"digits", gpt2Pre, "1234", "123 4", nil},
		{"lines", gpt2Pre, "a\n\nb", "a Ċ Ċ b", nil},
		{"special", gpt2Pre, "a<|endoftext|>b", "a <|endoftext|> b", nil},
		{"prefix", `{"type":"ByteLevel"}`, "hus", "Ġhus", nil},
		{"prefix there", `{"type":"ByteLevel"}`, " hus", "Ġhus", nil},
		{"prefix of sections", `{"type":"ByteLevel"}`, "hus<|endoftext|>hus", "Ġhus <|endoftext|> Ġhus", nil},
		{"broken", gpt2Pre, "\xff", "ï ¿ ½", nil},
		{"Llama 3", patternPre(llama3Pattern), "hus 1234\n\nhus", "hus Ġ 123 4 ĊĊ hus", nil},
		{"no regex", `{"type":"ByteLevel","add_prefix_space":false,"use_regex":false}`, "hus hus\n\n", "hus Ġhus ĊĊ", nil},
		{
			"single digits", `{"type":"Sequence","pretokenizers":[{"type":"Digits","individual_digits":true},{"type":"ByteLevel","add_prefix_space":false}]}`,
			"hus 123", "hus Ġ 1 2 3", nil,
		},
		{
			"runs of digits", `{"type":"Sequence","pretokenizers":[{"type":"Digits"},{"type":"ByteLevel","add_prefix_space":false}]}`,
			"hus 123", "hus Ġ 123", nil,
		},
		{"merges decide", gpt2Pre, "huse", "hus e", nil},
		{"NFC", gpt2Pre, "A\u030a", "Ã ħ", map[string]any{"normalizer": map[string]any{"type": "NFC"}}},
	} {
		t.Run(strings.ReplaceAll(x.name, " ", "_"), func(t *testing.T) {
			tok := readEdited(t, byteJSON(x.pre, merges...), x.changes)
			for range 2 {
				if got := spell(tok, tok.Encode(nil, x.text)); got != x.want {
					t.Errorf("Encode(%q) = %s, want %s", x.text, got, x.want)
				}
			}
		})
	}
}

// With ignore_merges a word that is a piece is taken whole, even if no merges lead to it.
func TestIgnoreMerges(t *testing.T) {
	file := byteJSON(gpt2Pre, "h u", "hu s")
	vocab := map[string]any{"model.vocab": nil}
	var doc struct {
		Model struct {
			Vocab map[string]int `json:"vocab"`
		} `json:"model"`
	}
	if err := json.Unmarshal(file, &doc); err != nil {
		t.Fatal(err)
	}
	doc.Model.Vocab["huset"] = 300
	vocab["model.vocab"] = doc.Model.Vocab
	for ignore, want := range map[bool]string{false: "hus e t", true: "huset"} {
		vocab["model.ignore_merges"] = ignore
		tok := readEdited(t, file, vocab)
		if got := spell(tok, tok.Encode(nil, "huset")); got != want {
			t.Errorf("ignore_merges %t: %s, want %s", ignore, got, want)
		}
	}
}

// Worked out by hand from the expressions.
func TestSplitPatterns(t *testing.T) {
	for _, x := range []struct {
		pattern, text, want string
	}{
		{"gpt2", "Hello world", "Hello| world"},
		{"gpt2", "it's IT'S we'll", "it|'s| IT|'|S| we|'ll"},
		{"gpt2", "a  b", "a| | b"},
		{"gpt2", "a\n\nb", "a|\n|\n|b"},
		{"gpt2", "x   ", "x|   "},
		{"gpt2", "abc123!?", "abc|123|!?"},
		{"gpt2", " 12½ (x)", " 12½| (|x|)"},
		{"gpt2", "a\t b", "a|\t| b"},
		{"gpt2", "a \tb", "a| |\t|b"},
		{"gpt2", "smørrebrød på dansk", "smørrebrød| på| dansk"},
		{"gpt2", "e\u0301", "e|\u0301"},
		{"gpt2", "a\u00a0 b", "a|\u00a0| b"},
		{"llama3", "it'S we'LL 'sø 'hej", "it|'S| we|'LL| '|sø| '|hej"},
		{"llama3", "x'hej", "x|'hej"},
		{"llama3", "'sø", "'s|ø"},
		{"llama3", "1234567", "123|456|7"},
		{"llama3", "12 345", "12| |345"},
		{"llama3", "a\n\nb", "a|\n\n|b"},
		{"llama3", "a \n b", "a| \n| b"},
		{"llama3", "a\r\n\tb", "a|\r\n|\tb"},
		{"llama3", " (hej)!\n\n", " (|hej|)!\n\n"},
		{"llama3", "(hej", "(hej"},
		{"llama3", "\thej", "\thej"},
		{"llama3", "a   b", "a|  | b"},
		{"llama3", "a   1", "a|  | |1"},
		{"llama3", "a  ", "a|  "},
		{"llama3", "a\n  \n  b", "a|\n  \n| | b"},
		{"llama3", "3'8", "3|'|8"},
		{"qwen2", "1234 a", "1|2|3|4| a"},
		{"digit", "a12b3", "a|1|2|b|3"},
		{"digits", "a12b3", "a|12|b|3"},
	} {
		split := map[string]splitter{"gpt2": splitGPT2, "llama3": splitLlama3, "qwen2": splitQwen2, "digit": splitDigit, "digits": splitDigits}[x.pattern]
		var words []string
		for b := []byte(x.text); len(b) > 0; {
			n := split(b)
			words = append(words, string(b[:n]))
			b = b[n:]
		}
		if got := strings.Join(words, "|"); got != x.want {
			t.Errorf("%s: %q is split %q, want %q", x.pattern, x.text, got, x.want)
		}
	}
}

func TestSpecialNames(t *testing.T) {
	file := byteJSON(gpt2Pre, "h u")
	tok := readEdited(t, file, nil)
	if end := int32(257); tok.BOS() != end || tok.EOS() != end || tok.Pad() != -1 || tok.Unknown() != -1 {
		t.Errorf("BOS %d, EOS %d, pad %d, unknown %d, want 257, 257, -1, -1", tok.BOS(), tok.EOS(), tok.Pad(), tok.Unknown())
	}
	tok = readEdited(t, file, map[string]any{
		"added_tokens": value(`[{"id":300,"content":"[first]","special":true},{"id":301,"content":"[last]","special":true},{"id":302,"content":"<pad>","special":true}]`),
		"post_processor": value(`{"type":"Sequence","processors":[{"type":"ByteLevel"},{"type":"TemplateProcessing",
			"single":[{"SpecialToken":{"id":"[first]","type_id":0}},{"Sequence":{"id":"A","type_id":0}},{"SpecialToken":{"id":"[last]","type_id":0}}]}]}`),
	})
	if tok.BOS() != 300 || tok.EOS() != 301 || tok.Pad() != 302 || tok.Size() != 303 {
		t.Errorf("BOS %d, EOS %d, pad %d, size %d, want 300, 301, 302, 303", tok.BOS(), tok.EOS(), tok.Pad(), tok.Size())
	}
	if tok.Piece(299) != "" || tok.Decode([]int32{299, 'h' - '!' + 33}) != "h" {
		t.Errorf("id 299 is a hole: piece %q, text %q", tok.Piece(299), tok.Decode([]int32{299, 104}))
	}
	tok = readEdited(t, file, map[string]any{
		"added_tokens":   value(`[{"id":300,"content":"[cls]","special":true},{"id":301,"content":"[sep]","special":true}]`),
		"post_processor": value(`{"type":"RobertaProcessing","sep":["[sep]",301],"cls":["[cls]",300]}`),
	})
	if tok.BOS() != 300 || tok.EOS() != 301 {
		t.Errorf("BOS %d, EOS %d, want 300, 301", tok.BOS(), tok.EOS())
	}
}
