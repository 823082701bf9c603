package tokenizer

import (
	"math/rand/v2"
	"strings"
	"testing"
)

func TestDecodeStream(t *testing.T) {
	tok := mistral(t)
	id := func(piece string) int32 {
		id, ok := tok.ID(piece)
		if !ok {
			t.Fatalf("no piece %q", piece)
		}
		return id
	}
	d := tok.NewDecoder()
	for i, x := range []struct {
		piece, want string
	}{
		{"<s>", ""},
		{"▁Hello", "Hello"},
		{"▁world", " world"},
		{"<0xC3>", ""},
		{"<0xA6>", "æ"},
		{"<0xF0>", ""},
		{"<0x9F>", ""},
		{"<0x98>", ""},
		{"<0x80>", "😀"},
		{"<0xF0>", ""},
		{"<0x9F>", ""},
		{"<0xC3>", "\uFFFD\uFFFD"},
		{"a", "\uFFFDa"},
		{"<0xFF>", "\uFFFD"},
		{"<unk>", " ⁇ "},
		{"<0xE2>", ""},
	} {
		if got := d.Next(id(x.piece)); got != x.want {
			t.Errorf("step %d: Next(%s) = %q, want %q", i, x.piece, got, x.want)
		}
	}
	if got := d.Flush(); got != "\uFFFD" {
		t.Errorf("Flush() = %q, want one U+FFFD", got)
	}
	if got := d.Next(id("▁Hello")); got != "Hello" {
		t.Errorf("after Flush a text starts again: Next = %q, want Hello", got)
	}
}

// Whatever the ids: the stream's pieces together are what Decode returns.
func TestStreamIsDecode(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	hand := handModel(t)
	derived, err := ReadJSON(hand.Files()["tokenizer.json"])
	if err != nil {
		t.Skip(err)
	}
	bytes := readEdited(t, byteJSON(gpt2Pre, "h u"), nil)
	for name, tok := range map[string]*Tokenizer{"mistral": mistral(t), "hand": hand, "json": derived, "bytes": bytes} {
		for range 2000 {
			ids := make([]int32, r.IntN(12))
			for i := range ids {
				ids[i] = int32(r.IntN(min(tok.Size(), 300)+2) - 1)
				if r.IntN(3) == 0 {
					ids[i] = int32(r.IntN(tok.Size()))
				}
			}
			var b strings.Builder
			d := tok.NewDecoder()
			for _, id := range ids {
				b.WriteString(d.Next(id))
			}
			b.WriteString(d.Flush())
			if got, want := b.String(), tok.Decode(ids); got != want {
				t.Fatalf("%s: %v streams as %q, decodes as %q", name, ids, got, want)
			}
		}
	}
}

// A byte-level decoder makes one U+FFFD of the broken start of a character, as Rust's from_utf8_lossy does; these are
// the examples of its documentation and of Unicode 15, section 3.9, table 3-8.
func TestByteLevelDecode(t *testing.T) {
	tok := readEdited(t, byteJSON(gpt2Pre, "h u"), nil)
	for _, x := range []struct{ bytes, want string }{
		{"hus \xc3\xa6", "hus æ"},
		{"Hello \xf0\x90\x80World", "Hello \uFFFDWorld"},
		{"\x61\xf1\x80\x80\xe1\x80\xc2\x62\x80\x63\x80\xbf\x64", "a\uFFFD\uFFFD\uFFFDb\uFFFDc\uFFFD\uFFFDd"},
		{"\xff\xfe", "\uFFFD\uFFFD"},
		{"\xe2\x96", "\uFFFD"},
	} {
		var ids []int32
		for _, c := range []byte(x.bytes) {
			ids = append(ids, tok.bpe.bytes[c])
		}
		if got := tok.Decode(ids); got != x.want {
			t.Errorf("%q decodes as %q, want %q", x.bytes, got, x.want)
		}
	}
	// A special token between two bytes of a character leaves no trace.
	if got := tok.Decode([]int32{tok.bpe.bytes[0xC3], tok.EOS(), tok.bpe.bytes[0xA6]}); got != "æ" {
		t.Errorf("æ with a special token inside decodes as %q", got)
	}
}

func TestMetaspaceDecode(t *testing.T) {
	file := handModel(t)
	pieces := append([]piece(nil), file.pieces...)
	pieces = append(pieces, piece{"x", -12, Normal}, piece{"y", -13, Normal})
	o := DefaultTrainOptions()
	whole, err := ReadModel(writeModel(pieces, &o))
	if err != nil {
		t.Fatal(err)
	}
	tok := readEdited(t, whole.Files()["tokenizer.json"], map[string]any{
		"normalizer":    nil,
		"pre_tokenizer": value(`{"type":"Metaspace","replacement":"▁","prepend_scheme":"always"}`),
		"decoder":       value(`{"type":"Sequence","decoders":[{"type":"ByteFallback"},{"type":"Metaspace","replacement":"▁","prepend_scheme":"always"}]}`),
	})
	two, _ := tok.ID("▁▁")
	a, _ := tok.ID("▁a")
	for want, ids := range map[string][]int32{"a": {a}, "a a": {a, a}, " a": {two, a}, "a  ": {a, two}, "a a ": {1, a, a, 2, tok.ids["▁"]}} {
		if got := tok.Decode(ids); got != want {
			t.Errorf("Decode(%v) = %q, want %q", ids, got, want)
		}
	}
}
