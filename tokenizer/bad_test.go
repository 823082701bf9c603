package tokenizer

import (
	"bytes"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
)

// smallModel is a model of a few pieces without byte fallback, to be spoiled.
func smallModel(pieces ...piece) []byte {
	var out []byte
	for _, q := range append([]piece{{"<unk>", 0, Unknown}, {"<s>", 0, Control}}, pieces...) {
		b := appendFloat(appendBytes(nil, 1, q.text), 2, q.score)
		out = appendBytes(out, 1, string(appendVarint(b, 3, uint64(q.kind))))
	}
	return append(out, spec(2, appendVarint(nil, 3, typeBPE))...)
}

func TestBadModels(t *testing.T) {
	good := smallModel(piece{"a", 0, Normal})
	if _, err := ReadModel(good); err != nil {
		t.Fatal(err)
	}
	plus := func(b ...byte) []byte { return append(slices.Clone(good), b...) }
	trainer := func(b []byte) []byte { return append(slices.Clone(good), spec(2, b)...) }
	charsmap := func(b string) []byte { return append(slices.Clone(good), spec(3, appendBytes(nil, 2, b))...) }
	for _, x := range []struct {
		name string
		data []byte
		want string
	}{
		{"empty", nil, "the file is empty"},
		{"text", []byte("hello, this is no model"), "byte 3: field 13 has wire type 4 (cut short, or not a SentencePiece model?)"},
		{"cut", good[:len(good)-1], "bytes, 1 are left (cut short, or not a SentencePiece model?)"},
		{"cut in a piece", good[:5], "byte 2: field 1 has"},
		{"endless number", plus(0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff), "a number does not end"},
		{"huge length", plus(0x0a, 0xff, 0xff, 0xff, 0xff, 0x0f), "field 1 has 4294967295 bytes, 0 are left"},
		{"largest length", plus(0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01), "field 1 has 18446744073709551615 bytes, 0 are left"},
		{"field 0", plus(0x02, 0x00), "field number 0 is outside 1 to 536870911"},
		{"group", plus(0x0b), "field 1 has wire type 3"},
		{"short float", plus(0x0a, 0x03, 0x15, 0x00, 0x00), "piece 3: byte"},
		{"piece as number", plus(0x08, 0x01), "a piece has wire type 0, not 2"},
		{"score as number", plus(0x0a, 0x05, 0x0a, 0x01, 'b', 0x10, 0x01), "its score has wire type 0, not 5"},
		{"empty piece", smallModel(piece{"", 0, Normal}), "piece 2 is empty"},
		{"not UTF-8", smallModel(piece{"\xff", 0, Normal}), `piece 2, "\xff", is not UTF-8`},
		{"NaN", smallModel(piece{"a", float32(math.NaN()), Normal}), `piece 2, "a", has score NaN, which cannot be ordered`},
		{"infinite", smallModel(piece{"a", float32(math.Inf(1)), Normal}), `has score +Inf`},
		{"type 7", smallModel(piece{"a", 0, 7}), "piece 2: type 7 is not one of 1 to 6"},
		{"twice", smallModel(piece{"a", 0, Normal}, piece{"a", 1, Normal}), `pieces 2 and 3 are both "a"`},
		{"control again", smallModel(piece{"<s>", 0, Normal}), `pieces 1 and 2 are both "<s>"`},
		{"two unknowns", smallModel(piece{"?", 0, Unknown}), "pieces 0 and 2 both have type UNKNOWN"},
		{"no unknown", append(spec(1, appendBytes(nil, 1, "a")), spec(2, appendVarint(nil, 3, 2))...), "no piece has type UNKNOWN"},
		{"byte without fallback", smallModel(piece{"<0x41>", 0, Byte}), "has type BYTE although byte_fallback is off"},
		{"bad byte", smallModel(piece{"<0x4g>", 0, Byte}), `piece 2, "<0x4g>", has type BYTE but is not <0x00> to <0xFF>`},
		{"bytes missing", trainer(appendBool(nil, 35, true)), "byte_fallback is on but 256 of the 256 byte pieces are missing"},
		{"unigram", trainer(appendVarint(nil, 3, 1)), "the model type is unigram (only BPE is supported; train with --model_type=bpe)"},
		{"no type", smallModel()[:len(smallModel())-4], "the model type is unigram"},
		{"type 99", trainer(appendVarint(nil, 3, 99)), "the model type is number 99"},
		{"long piece", smallModel(piece{strings.Repeat("a", 5000), 0, Normal}), "piece 2 has 5000 bytes (limit 4096)"},
		{"short map", charsmap("abc"), "precompiled_charsmap has 3 bytes, its header alone has 4"},
		{"map cut", charsmap("\xff\xff\xff\xffabcd"), "precompiled_charsmap: a trie of 4294967295 bytes, 4 are left"},
		{"map odd", charsmap("\x03\x00\x00\x00abcd"), "a trie of 3 bytes is not a whole number of units"},
		{"map open", charsmap("\x04\x00\x00\x00abcdx"), "precompiled_charsmap: the last string does not end"},
		{"map not UTF-8", charsmap("\x04\x00\x00\x00abcd\xff\x00"), "precompiled_charsmap: the strings are not UTF-8"},
		{"denormalizer", append(slices.Clone(good), spec(5, appendBytes(nil, 2, "x"))...), "denormalizer_spec holds a character map"},
	} {
		t.Run(strings.ReplaceAll(x.name, " ", "_"), func(t *testing.T) {
			_, err := ReadModel(x.data)
			if err == nil {
				t.Fatal("no error")
			}
			if !strings.HasPrefix(err.Error(), "tokenizer: model: ") {
				t.Errorf("error %q does not say where it is from", err)
			}
			if !strings.Contains(err.Error(), x.want) {
				t.Errorf("error %q, want %q", err, x.want)
			}
		})
	}
}

func TestBadJSON(t *testing.T) {
	file := handJSON(t)
	level := byteJSON(gpt2Pre, "h u")
	for _, x := range []struct {
		name    string
		file    []byte
		changes map[string]any
		want    string
	}{
		{"empty", []byte(""), nil, "unexpected end of JSON input"},
		{"not JSON", []byte("{\n\n\"a\": x}"), nil, "line 3: invalid character 'x'"},
		{"wrong type", []byte("{\"model\":\n{\"vocab\": 7}}"), nil, "line 2: model.vocab is a number"},
		{"Unigram", file, map[string]any{"model.type": "Unigram"}, `model.type is "Unigram" (only "BPE" is supported)`},
		{"no vocab", file, map[string]any{"model.vocab": value("{}")}, "model.vocab is empty"},
		{"dropout", file, map[string]any{"model.dropout": 0.1}, "model.dropout is 0.1: the same text would get different ids"},
		{"prefix", file, map[string]any{"model.continuing_subword_prefix": "##"}, `continuing_subword_prefix "##"`},
		{"merge of three", file, map[string]any{"model.merges": value(`["a b c"]`)}, `merge "a b c" is not two pieces`},
		{"merge list of three", file, map[string]any{"model.merges": value(`[["a","b","c"]]`)}, "has 3 parts, must have 2"},
		{"merge of one", file, map[string]any{"model.merges": value(`["ab"]`)}, `merge "ab" is not two pieces`},
		{"merge to nowhere", file, map[string]any{"model.merges": value(`["a b","a d"]`)}, `merge 1, "a" and "d": they and "ad" must all be in model.vocab`},
		{"large id", file, map[string]any{"added_tokens": value(`[{"id":4000000000,"content":"q"}]`)}, `piece "q" has id 4000000000, outside 0 to`},
		{"negative id", file, map[string]any{"added_tokens": value(`[{"id":-1,"content":"q"}]`)}, `piece "q" has id -1, outside 0 to`},
		{"same id", file, map[string]any{"added_tokens": value(`[{"id":259,"content":"zz"}]`)}, `pieces "ab" and "zz" both have id 259`},
		{"other id", file, map[string]any{"added_tokens": value(`[{"id":300,"content":"ab"}]`)}, `added token "ab" has id 300, in model.vocab it has 259`},
		{"empty added", file, map[string]any{"added_tokens": value(`[{"id":300,"content":""}]`)}, "added token 300 is empty"},
		{"unk not there", file, map[string]any{"model.unk_token": "nix"}, `model.unk_token "nix" is not in the vocabulary`},
		{"no way out", file, map[string]any{"model.unk_token": nil, "model.byte_fallback": false}, "neither byte_fallback nor unk_token"},
		{
			"bytes missing", file,
			map[string]any{"model.vocab": value(`{"<unk>":0,"a":1}`), "model.merges": value(`[]`), "added_tokens": nil},
			"model.byte_fallback is on but 256 of the 256 byte pieces are missing",
		},
		{"ignore_merges", file, map[string]any{"model.ignore_merges": true}, "ignore_merges is only supported for byte-level models"},
		{"no spaces", file, map[string]any{"normalizer": nil}, "neither normalizer nor pre_tokenizer says what becomes of spaces"},
		{"lowercase", file, map[string]any{"normalizer": value(`{"type":"Lowercase"}`)}, `normalizer 0: "Lowercase" is not supported`},
		{"prepend", file, map[string]any{"normalizer": value(`{"type":"Prepend","prepend":"_"}`)}, `Prepend "_" is not supported`},
		{"replace", file, map[string]any{"normalizer": value(`{"type":"Replace","pattern":{"Regex":" +"},"content":"▁"}`)}, `only Replace of " " by U+2581`},
		{"whitespace", file, map[string]any{"pre_tokenizer": value(`{"type":"Whitespace"}`)}, `pre_tokenizer 0: "Whitespace" is not supported`},
		{"metaspace", file, map[string]any{"normalizer": nil, "pre_tokenizer": value(`{"type":"Metaspace","replacement":"_"}`)}, `Metaspace with replacement "_"`},
		{
			"scheme", file,
			map[string]any{"normalizer": nil, "pre_tokenizer": value(`{"type":"Metaspace","replacement":"▁","prepend_scheme":"last"}`)},
			`prepend_scheme "last" is not one of always, first, never`,
		},
		{"no decoder", file, map[string]any{"decoder": nil}, "decoder is missing"},
		{"decoder", file, map[string]any{"decoder": value(`{"type":"WordPiece"}`)}, `decoder 0: "WordPiece" is not supported`},
		{"strip", file, map[string]any{"decoder": value(`{"type":"Strip","content":"x","start":1,"stop":0}`)}, `decoder 0: Strip of "x", 1 at the start`},
		{"no ByteFallback", file, map[string]any{"decoder": value(`{"type":"Fuse"}`)}, "decoder has no ByteFallback"},
		{"mixed", file, map[string]any{"decoder": value(`{"type":"ByteLevel"}`), "model.byte_fallback": false}, "only one is byte-level"},
		{"pattern", level, map[string]any{"pre_tokenizer": value(patternPre(`\w+`))}, `Split pattern "\\w+" is unknown (those of GPT-2, cl100k, Llama 3 and Qwen 2 are supported)`},
		{
			"behavior", level,
			map[string]any{"pre_tokenizer": value(strings.Replace(patternPre(llama3Pattern), "Isolated", "MergedWithNext", 1))},
			`Split with behavior "MergedWithNext"`,
		},
		{"not last", level, map[string]any{"pre_tokenizer": value(`{"type":"Sequence","pretokenizers":[` + gpt2Pre + `,{"type":"Digits"}]}`)}, "ByteLevel must come last"},
		{
			"late prefix", level,
			map[string]any{"pre_tokenizer": value(`{"type":"Sequence","pretokenizers":[{"type":"Digits"},{"type":"ByteLevel"}]}`)},
			"ByteLevel with add_prefix_space after other pre-tokenizers",
		},
		{"no ByteLevel", level, map[string]any{"pre_tokenizer": value(`{"type":"Digits"}`)}, "is not byte-level (ByteLevel must come last)"},
		{
			"deep", level,
			map[string]any{"normalizer": value(strings.Repeat(`{"type":"Sequence","normalizers":[`, 20) + strings.Repeat(`]}`, 20))},
			"sequences are nested more than 16 deep",
		},
		{
			"flags", file,
			map[string]any{"added_tokens": value(`[{"id":300,"content":"q","normalized":true,"lstrip":true}]`)},
			`added token "q": single_word, lstrip and rstrip of a normalized token`,
		},
	} {
		t.Run(strings.ReplaceAll(x.name, " ", "_"), func(t *testing.T) {
			data := x.file
			if x.changes != nil {
				data = edited(t, x.file, x.changes)
			}
			_, err := ReadJSON(data)
			if err == nil {
				t.Fatal("no error")
			}
			if !strings.HasPrefix(err.Error(), "tokenizer: tokenizer.json: ") || !strings.Contains(err.Error(), x.want) {
				t.Errorf("error %q, want %q", err, x.want)
			}
		})
	}
}

// handJSON is a tokenizer.json of handModel's pieces.
func handJSON(t testing.TB) []byte {
	t.Helper()
	pieces := append(slices.Clone(handModel(t).pieces), piece{"x", -12, Normal}, piece{"y", -13, Normal})
	o := DefaultTrainOptions()
	tok, err := ReadModel(writeModel(pieces, &o))
	if err != nil {
		t.Fatal(err)
	}
	return tok.Files()["tokenizer.json"]
}

// A length that the file does not have must not become memory.
func TestHugeLengthsAskForNoMemory(t *testing.T) {
	data := append(smallModel(), 0x0a, 0xff, 0xff, 0xff, 0xff, 0x0f)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	if _, err := ReadModel(data); err == nil {
		t.Error("no error")
	}
	runtime.ReadMemStats(&after)
	if n := after.TotalAlloc - before.TotalAlloc; n > 1<<20 {
		t.Errorf("%d bytes were asked for", n)
	}
}

func TestLoad(t *testing.T) {
	dir := t.TempDir()
	write := func(name string, data []byte) string {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	hand := handModel(t)
	model := write("any.model", hand.source)
	file := write("any.json", append([]byte("\n "), handJSON(t)...))
	write("both/tokenizer.model", hand.source)
	write("both/tokenizer.json", []byte("kept as it is"))
	write("both/tokenizer_config.json", []byte(`{"pad_token": "</s>", "chat_template": "x"}`))
	write("json/tokenizer.json", handJSON(t))
	write("json/tokenizer_config.json", []byte(`{"bos_token": {"content": "</s>"}, "eos_token": "<s>", "pad_token": null}`))
	write("bad/tokenizer.model", []byte("x"))
	write("badconfig/tokenizer.model", hand.source)
	write("badconfig/tokenizer_config.json", []byte("{"))
	for _, x := range []struct {
		path     string
		fromJSON bool
		pad, bos int32
	}{{model, false, -1, 1}, {file, true, -1, 1}, {filepath.Join(dir, "both"), false, 2, 1}, {filepath.Join(dir, "json"), true, -1, 2}} {
		tok, err := Load(x.path)
		if err != nil {
			t.Errorf("%s: %v", x.path, err)
			continue
		}
		if tok.fromJSON != x.fromJSON || tok.Pad() != x.pad || tok.BOS() != x.bos {
			t.Errorf("%s: from JSON %t, pad %d, BOS %d, want %t, %d, %d", x.path, tok.fromJSON, tok.Pad(), tok.BOS(), x.fromJSON, x.pad, x.bos)
		}
		if got := spell(tok, tok.Encode(nil, "abc")); got != "▁ abc" {
			t.Errorf("%s: abc is %s", x.path, got)
		}
	}
	both, err := Load(filepath.Join(dir, "both"))
	if err != nil {
		t.Fatal(err)
	}
	if got := string(both.Files()["tokenizer.json"]); got != "kept as it is" {
		t.Errorf("the folder's tokenizer.json became %q", got)
	}
	if got := string(both.Files()["tokenizer_config.json"]); !strings.Contains(got, "chat_template") {
		t.Errorf("the folder's tokenizer_config.json became %q", got)
	}
	for path, want := range map[string]string{
		"nothing":   "nothing: no such file or directory",
		".":         "no tokenizer.model and no tokenizer.json in this folder",
		"bad":       "tokenizer.model: byte",
		"badconfig": "tokenizer_config.json: line 1: unexpected end of JSON input",
	} {
		_, err := Load(filepath.Join(dir, path))
		if err == nil || !strings.HasPrefix(err.Error(), "tokenizer: ") || !strings.Contains(err.Error(), want) {
			t.Errorf("Load(%s): %v, want %q", path, err, want)
		}
	}
}

func TestAccessorsOutside(t *testing.T) {
	tok := handModel(t)
	for _, id := range []int32{-1, int32(tok.Size()), math.MaxInt32, math.MinInt32} {
		if tok.Piece(id) != "" || tok.Kind(id) != 0 || tok.Score(id) != 0 {
			t.Errorf("id %d: piece %q, kind %d, score %g", id, tok.Piece(id), tok.Kind(id), tok.Score(id))
		}
		if got := tok.Decode([]int32{id}); got != " ⁇ " {
			t.Errorf("Decode(%d) = %q, want unk_surface", id, got)
		}
	}
	if _, ok := tok.ID("nix"); ok {
		t.Error("nix has an id")
	}
}

func FuzzReadModel(f *testing.F) {
	f.Add(smallModel(piece{"a", 0, Normal}, piece{"ab", 1, Normal}))
	f.Add(smallModel(piece{"ab", 0, UserDefined}, piece{"bc", 1, Unused}, piece{"\u2581", 2, Normal}))
	f.Add(append(smallModel(piece{"b", 0, Normal}), spec(3, appendBytes(nil, 2, "\x08\x00\x00\x00\x00\x04\x00\x00abcdx\x00"))...))
	f.Add(handModel(f).source)
	f.Fuzz(func(t *testing.T, data []byte) {
		tok, err := ReadModel(data)
		if err != nil {
			return
		}
		for _, text := range []string{"", "ab abc  a\u2581b\xff", string(data[:min(len(data), 300)])} {
			got, want := tok.Encode(nil, text), tok.encodeReference(nil, text)
			if !slices.Equal(got, want) {
				t.Fatalf("%q: fast %v, plain %v", text, got, want)
			}
			for _, id := range got {
				if id < 0 || int(id) >= tok.Size() {
					t.Fatalf("%q has id %d of %d", text, id, tok.Size())
				}
			}
			tok.Decode(got)
		}
		tok.Files()
	})
}

func FuzzReadJSON(f *testing.F) {
	f.Add(byteJSON(gpt2Pre, "h u"))
	f.Add(byteJSON(patternPre(llama3Pattern), "h u", "hu s"))
	f.Add(handJSON(f))
	f.Add([]byte(`{"normalizer":{"type":"Replace","pattern":{"String":" "},"content":"▁"},"decoder":{"type":"Fuse"},
		"added_tokens":[{"id":4,"content":"<s>","lstrip":true,"rstrip":true,"single_word":true}],
		"model":{"type":"BPE","unk_token":"?","fuse_unk":true,"vocab":{"?":0,"a":1,"▁":2,"▁a":3},"merges":["▁ a"]}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		tok, err := ReadJSON(data)
		if err != nil {
			return
		}
		for _, text := range []string{"", "huse  hus\n\n a<s> 1234\u2581b\xff", string(data[:min(len(data), 300)])} {
			ids := tok.Encode(nil, text)
			if again := tok.Encode(nil, text); !slices.Equal(ids, again) {
				t.Fatalf("%q: %v, and from the cache %v", text, ids, again)
			}
			for _, id := range ids {
				if id < 0 || int(id) >= tok.Size() {
					t.Fatalf("%q has id %d of %d", text, id, tok.Size())
				}
			}
			tok.Decode(ids)
		}
		if !bytes.Equal(tok.Files()["tokenizer.json"], data) {
			t.Fatal("Files does not return the file that was read")
		}
	})
}
