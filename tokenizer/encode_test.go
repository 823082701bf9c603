package tokenizer

import (
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"unicode/utf8"
)

// handModel is a vocabulary small enough to encode with by hand: letters a to e, "ab" -1, "bc" -2, "abc" -3, "cd" -1,
// and with spaces "▁a" -4 and "▁▁" -5. Equal scores are on purpose.
func handModel(t testing.TB) *Tokenizer {
	t.Helper()
	pieces := metaPieces(&TrainOptions{})
	pieces = append(pieces, []piece{
		{"ab", -1, Normal},
		{"cd", -1, Normal},
		{"bc", -2, Normal},
		{"abc", -3, Normal},
		{"\u2581a", -4, Normal},
		{"\u2581\u2581", -5, Normal},
		{"\u2581", -6, Normal},
		{"a", -7, Normal},
		{"b", -8, Normal},
		{"c", -9, Normal},
		{"d", -10, Normal},
		{"xy", -11, Normal},
	}...)
	o := DefaultTrainOptions()
	tok, err := ReadModel(writeModel(pieces, &o))
	if err != nil {
		t.Fatal(err)
	}
	return tok
}

func spell(tok *Tokenizer, ids []int32) string {
	var s []string
	for _, id := range ids {
		s = append(s, tok.Piece(id))
	}
	return strings.Join(s, " ")
}

// Worked out by hand.
func TestEncodeByHand(t *testing.T) {
	tok := handModel(t)
	for _, x := range []struct{ text, want string }{
		{"", ""},
		{"a", "▁a"},
		{" a", "▁ ▁a"},    // ▁a comes before ▁▁
		{"  b", "▁▁ ▁ b"}, // three marks: leftmost pair first
		{"b", "▁ b"},
		{"bab", "▁ b ab"},
		{"abc", "▁ abc"},    // ab, then abc; ▁a never gets its turn
		{"abcd", "▁ ab cd"}, // ab and cd are equal: the leftmost, then cd before abc
		{"bcd", "▁ b cd"},
		{"bbc", "▁ b bc"},
		{"a b", "▁a ▁ b"},
		{"x", "▁ <0x78>"},
		{"xy", "▁ xy"}, // x and y are no pieces, together they are
		{"xyx", "▁ xy <0x78>"},
		{"é", "▁ <0xC3> <0xA9>"},
		{"\n", "▁ <0x0A>"},
		{"a\na", "▁a <0x0A> a"},
		{"\xff", "▁ <0xEF> <0xBF> <0xBD>"},
		{"<s>", "▁ <0x3C> <0x73> <0x3E>"},
	} {
		for range 2 { // the second time from the cache
			if got := spell(tok, tok.Encode(nil, x.text)); got != x.want {
				t.Errorf("Encode(%q) = %s, want %s", x.text, got, x.want)
			}
		}
		if got := spell(tok, tok.encodeReference(nil, x.text)); got != x.want {
			t.Errorf("encodeReference(%q) = %s, want %s", x.text, got, x.want)
		}
	}
}

func TestEncodeAppends(t *testing.T) {
	tok := handModel(t)
	a, _ := tok.ID("\u2581a")
	got := tok.Encode([]int32{7, 8}, "a")
	if want := []int32{7, 8, a}; !slices.Equal(got, want) {
		t.Errorf("Encode([7 8], a) = %v, want %v", got, want)
	}
	// Room behind dst that belongs to somebody else is only written where ids are appended.
	back := make([]int32, 4, 64)
	tok.Encode(back[:2], "a")
	if back[3] != 0 {
		t.Errorf("one id was appended at 2, but 3 became %d", back[3])
	}
}

// randomText draws words from a Zipf-like set, with spaces, numbers, other scripts and rubbish between.
func randomText(r *rand.Rand, size int) string {
	letters := []rune("eeeeenrrdtaisgloomkvfupbhjyæøåcw")
	var b strings.Builder
	for b.Len() < size {
		switch r.IntN(20) {
		case 0:
			b.WriteString(strings.Repeat(" ", 1+r.IntN(20)))
		case 1:
			b.WriteString([]string{"\n", "\n\n", "\t", "\r\n", "\u00a0", "\u2581", ". ", ", ", "(", "\x00"}[r.IntN(10)])
		case 2:
			b.WriteRune(rune(r.IntN(0x2000)))
		case 3:
			b.WriteByte(byte(r.IntN(256)))
		case 4:
			for range r.IntN(5) {
				b.WriteByte(byte('0' + r.IntN(10)))
			}
		default:
			if r.IntN(4) > 0 {
				b.WriteByte(' ')
			}
			for range 1 + r.IntN(3+r.IntN(30)) {
				b.WriteRune(letters[r.IntN(1+r.IntN(len(letters)))])
			}
		}
	}
	return b.String()
}

func TestEncodeIsReferenceOnRandomText(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for name, tok := range map[string]*Tokenizer{"hand": handModel(t), "mistral": mistral(t)} {
		for i := range 100 {
			text := randomText(r, r.IntN(3000))
			got, want := tok.Encode(nil, text), tok.encodeReference(nil, text)
			if !slices.Equal(got, want) {
				t.Fatalf("%s: text %d, %q\nfast  %v\nplain %v", name, i, text, got, want)
			}
		}
	}
}

// Texts longer than a block are cut, with runs of spaces and marks around every cut.
func TestEncodeBlocks(t *testing.T) {
	tok := mistral(t)
	r := rand.New(rand.NewPCG(3, 4))
	for i := range 4 {
		var b strings.Builder
		for b.Len() < 3*blockBytes {
			if i%2 == 0 {
				b.WriteString("   \u2581 hus\u2581")
			} else {
				b.WriteString(randomText(r, 500))
			}
			b.WriteString(strings.Repeat("x", r.IntN(5)))
		}
		text := b.String()
		if got, want := tok.Encode(nil, text), tok.encodeReference(nil, text); !slices.Equal(got, want) {
			t.Fatalf("text %d: %d ids, want %d", i, len(got), len(want))
		}
	}
	solid := strings.Repeat("æ", 2*blockBytes)
	if got := tok.Decode(tok.Encode(nil, solid)); got != solid {
		t.Error("a long text without spaces does not come back")
	}
}

// longWords are words without a space, of about n bytes.
var longWords = map[string]func(n int) string{
	"one letter": func(n int) string { return strings.Repeat("a", n) },
	"letters": func(n int) string {
		r := rand.New(rand.NewPCG(5, 6))
		b := make([]byte, n)
		for i := range b {
			b[i] = "etaoinsh"[r.IntN(8)]
		}
		return string(b)
	},
	"spaces": func(n int) string { return strings.Repeat(" ", n) },
	"marks":  func(n int) string { return strings.Repeat("=", n) },
	"digits": func(n int) string { return strings.Repeat("1234567890", n/10) },
	"bytes":  func(n int) string { return strings.Repeat("\U00012345", n/4) },
}

func TestEncodeLongWords(t *testing.T) {
	tok := mistral(t)
	for name, make := range longWords {
		text := make(20000)
		if got, want := tok.Encode(nil, text), tok.encodeReference(nil, text); !slices.Equal(got, want) {
			t.Errorf("%s: %d ids, want %d", name, len(got), len(want))
		}
		text = make(1 << 19)
		if got := tok.Decode(tok.Encode(nil, text)); got != text {
			t.Errorf("%s: does not come back", name)
		}
	}
}

// Many goroutines and one tokenizer: the same ids, whatever the caches hold.
func TestEncodeConcurrently(t *testing.T) {
	tok := mistral(t)
	r := rand.New(rand.NewPCG(7, 8))
	texts := make([]string, 64)
	want := make([][]int32, len(texts))
	for i := range texts {
		texts[i] = randomText(r, 2000)
		want[i] = tok.encodeReference(nil, texts[i])
	}
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for i := range 4 * len(texts) {
				k := (i*7 + g) % len(texts)
				if !slices.Equal(tok.Encode(nil, texts[k]), want[k]) {
					t.Errorf("goroutine %d: text %d has other ids", g, k)
				}
			}
		})
	}
	wg.Wait()
}

// A cache that must throw words away still answers right.
func TestCacheEviction(t *testing.T) {
	tok := mistral(t)
	e := newEncoder(tok)
	var b strings.Builder
	words := make([]string, 3*lastCache)
	for i := range words {
		b.Reset()
		for n := i; n > 0; n /= 26 {
			b.WriteByte(byte('a' + n%26))
		}
		words[i] = " " + b.String()
	}
	for range 2 {
		for i, w := range words[1:] {
			e.buf = append(e.buf[:0], w...)
			got := e.words(nil, e.pad())
			if i%1009 == 0 {
				if want := tok.encodeReference(nil, w[1:]); !slices.Equal(got, want) {
					t.Fatalf("%q = %v, want %v", w, got, want)
				}
			}
		}
	}
	if n := len(e.cache.entries); n != lastCache {
		t.Errorf("the cache has %d entries, want %d", n, lastCache)
	}
}

func TestEncodeDoesNotAllocate(t *testing.T) {
	tok := mistral(t)
	text := strings.Repeat("Det var en mørk og stormfuld aften, og hunden gøede. ", 20)
	// Encode keeps its encoders in a sync.Pool, which forgets some on purpose under the race detector; so one is held here.
	e := newEncoder(tok)
	ids := e.section(nil, text, true)
	if want := tok.Encode(nil, text); !slices.Equal(ids, want) {
		t.Fatalf("section %v, Encode %v", ids, want)
	}
	if n := testing.AllocsPerRun(50, func() { ids = e.section(ids[:0], text, true) }); n > 0 {
		t.Errorf("%g allocations for a text seen before, want 0", n)
	}
}

func FuzzEncode(f *testing.F) {
	for _, s := range []string{"", " ", "a", "Rødgrød med fløde", "  to  mellemrum ", "\u2581", "\xff\xfe", "1234", "a\n\nb\t", "\U0001F600\u200d", "abcd abc"} {
		f.Add(s)
	}
	hand := handModel(f)
	tokens := []*Tokenizer{hand, trainedOn(f, "Der var engang en mand, der boede i en lille by. Manden havde en hund, og hunden hed Bob. 123 abc")}
	derived, err := ReadJSON(tokens[1].Files()["tokenizer.json"])
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, text string) {
		for i, tok := range tokens {
			got, want := tok.Encode(nil, text), tok.encodeReference(nil, text)
			if !slices.Equal(got, want) {
				t.Fatalf("model %d, %q: fast %v, plain %v", i, text, got, want)
			}
			if utf8.ValidString(text) && !strings.Contains(text, spaceMark) {
				if back := tok.Decode(got); back != text {
					t.Fatalf("model %d: %q comes back as %q", i, text, back)
				}
			}
		}
		if got, want := derived.EncodeText(nil, text), tokens[1].Encode(nil, text); !slices.Equal(got, want) {
			t.Fatalf("%q: tokenizer.json %v, model %v", text, got, want)
		}
	})
}
