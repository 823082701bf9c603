package tokenizer

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"ravn/internal/sampledata"
)

// danish returns the documents of the Danish sample, in the order of their names.
func danish(t testing.TB) []string {
	t.Helper()
	var texts []string
	err := filepath.WalkDir(filepath.Join(sampledata.Dir(t), "gigaword-sample", "sections"), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.Contains(d.Name(), "_") || strings.HasSuffix(d.Name(), ".jsonl") {
			return err
		}
		b, err := os.ReadFile(path)
		texts = append(texts, string(b))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return texts
}

// trainedOn trains a vocabulary as large as one text allows.
func trainedOn(t testing.TB, text string) *Tokenizer {
	t.Helper()
	o := DefaultTrainOptions()
	o.CharacterCoverage = 1
	for size := 420; size > 270; size-- {
		o.VocabSize = size
		tok, err := Train(context.Background(), slices.Values([]string{text}), o)
		if err == nil {
			return tok
		}
	}
	t.Fatal("no vocabulary fits")
	return nil
}

func train(t *testing.T, o TrainOptions, texts ...string) *Tokenizer {
	t.Helper()
	tok, err := Train(context.Background(), slices.Values(texts), o)
	if err != nil {
		t.Fatal(err)
	}
	return tok
}

// Worked out by hand. The chunks of "ab ab abc", "\nab" are " ab" 2, " abc" 1, "ab" 1: pairs ab 4, " a" 3, bc 1. ab is
// the first merge. Then " ab" 3, then "abc" of " abc" by (" ab", "c"), which is one longer.
func TestTrainByHand(t *testing.T) {
	o := DefaultTrainOptions()
	o.CharacterCoverage, o.WhitespacePieces, o.VocabSize = 1, false, 3+256+4+3
	tok := train(t, o, "ab ab abc", "\nab")
	var got []string
	for id := int32(259); id < int32(tok.Size()); id++ {
		got = append(got, tok.Piece(id))
	}
	// Characters: a 4, b 4, space 3, c 1; of equal counts the lower code point first.
	want := []string{"ab", "▁ab", "▁abc", "a", "b", "▁", "c"}
	if !slices.Equal(got, want) {
		t.Errorf("pieces %q, want %q", got, want)
	}
	for id := int32(259); id < int32(tok.Size()); id++ {
		if got, want := tok.Score(id), float32(259-id); got != want {
			t.Errorf("score of %d is %g, want %g", id, got, want)
		}
	}
	for i, want := range []string{"<unk>", "<s>", "</s>", "<0x00>", "<0x01>"} {
		if got := tok.Piece(int32(i)); got != want {
			t.Errorf("piece %d is %q, want %q", i, got, want)
		}
	}
}

func TestTrainKeepsWordsApart(t *testing.T) {
	o := DefaultTrainOptions()
	o.CharacterCoverage = 1
	o.VocabSize = 259 + 15 + 7 + 3 // hu, hus, ▁hus
	text := strings.Repeat("hus, hus, 1999 1999 hus\thus\nhus ", 50)
	tok := train(t, o, text)
	for id := int32(259); id < int32(tok.Size()); id++ {
		p := tok.Piece(id)
		inner := strings.TrimLeft(p, spaceMark)
		switch {
		case strings.Contains(inner, spaceMark):
			t.Errorf("piece %q crosses words", p)
		case len(inner) > 1 && strings.ContainsAny(inner, "0123456789"):
			t.Errorf("piece %q has more than one digit", p)
		case strings.Contains(inner, ",") && inner != ",":
			t.Errorf("piece %q mixes letters and punctuation", p)
		case strings.ContainsAny(inner, "\t\n"):
			t.Errorf("piece %q holds a control character", p)
		}
	}
	if got, want := spell(tok, tok.Encode(nil, "hus 19\thus")), "▁hus ▁ 1 9 <0x09> hus"; got != want {
		t.Errorf("pieces %q, want %q", got, want)
	}
}

func TestTrainDependsOnCountsAlone(t *testing.T) {
	texts := []string{"den gamle mand", "manden og havet", "havet og den gamle mand", "og så videre og så videre"}
	o := DefaultTrainOptions()
	o.VocabSize, o.CharacterCoverage = 259+15+14+20, 1
	a := train(t, o, texts...)
	slices.Reverse(texts)
	b := train(t, o, texts...)
	if !bytes.Equal(a.source, b.source) {
		t.Error("the order of the texts changed the model")
	}
	if a.Hash() != b.Hash() || len(a.Hash()) != 64 {
		t.Errorf("hashes %s and %s", a.Hash(), b.Hash())
	}
}

func TestTrainOptionsMatter(t *testing.T) {
	text := strings.Repeat("aa bb 12 12 12, cc ", 30) + "æ"
	base := DefaultTrainOptions()
	base.CharacterCoverage, base.VocabSize, base.WhitespacePieces = 1, 259+8+5, false
	has := func(o TrainOptions, piece string) bool {
		_, ok := train(t, o, text).ID(piece)
		return ok
	}
	if has(base, "12") || has(base, "▁12") {
		t.Error("SplitDigits is on but 12 is a piece")
	}
	joined := base
	joined.SplitDigits = false
	if !has(joined, "12") && !has(joined, "▁12") {
		t.Error("SplitDigits is off but 12 is no piece")
	}
	mixed := joined
	mixed.SplitScripts = false
	mixed.VocabSize = 259 + 8 + 9 // before ▁12, come ▁1 ▁12, and two each for aa, bb, cc: as common, and shorter
	if !has(mixed, "12,") && !has(mixed, "▁12,") {
		t.Error("SplitScripts is off but 12, is no piece")
	}
	few := base
	few.CharacterCoverage = 0.99
	if has(few, "æ") || !has(base, "æ") {
		t.Error("æ is one of 571 characters: a piece with coverage 1, not with 0.99")
	}
	runs := base
	runs.WhitespacePieces, runs.VocabSize = true, base.VocabSize+15
	for n := 2; n <= 16; n++ {
		if !has(runs, strings.Repeat(spaceMark, n)) {
			t.Errorf("no piece of %d spaces", n)
		}
	}
	special := base
	special.Pad, special.Control, special.UserDefined = true, []string{"<|im_start|>"}, []string{"aa b"}
	special.VocabSize -= 1
	tok := train(t, special, text)
	if tok.Pad() != 3 || tok.Kind(4) != Control || tok.Kind(5) != UserDefined {
		t.Errorf("pad %d, kinds of 4 and 5 are %d and %d, want 3, %d, %d", tok.Pad(), tok.Kind(4), tok.Kind(5), Control, UserDefined)
	}
	if tok.BOS() != 1 || tok.EOS() != 2 || tok.Unknown() != 0 {
		t.Errorf("BOS, EOS, unknown = %d, %d, %d, want 1, 2, 0", tok.BOS(), tok.EOS(), tok.Unknown())
	}
}

// The reference loads what Train makes and gives the same ids.
func TestTrainedModelMatchesReference(t *testing.T) {
	needReference(t)
	var texts []string
	size := 0
	for _, s := range danish(t) {
		if len(s) < 20000 && size < 400000 {
			texts = append(texts, s)
			size += len(s)
		}
	}
	for name, change := range map[string]func(*TrainOptions){
		"as it is":      func(*TrainOptions) {},
		"no runs":       func(o *TrainOptions) { o.WhitespacePieces = false },
		"mixed":         func(o *TrainOptions) { o.SplitScripts, o.SplitDigits = false, false },
		"special":       func(o *TrainOptions) { o.Pad, o.Control = true, []string{"<ctl>"} },
		"user-defined":  func(o *TrainOptions) { o.UserDefined = []string{"<sep>", "hus", "og det", "\u2581man"} },
		"low coverage":  func(o *TrainOptions) { o.CharacterCoverage = 0.9 },
		"short pieces":  func(o *TrainOptions) { o.MaxPieceChars = 4 },
		"full coverage": func(o *TrainOptions) { o.CharacterCoverage = 1 },
	} {
		t.Run(strings.ReplaceAll(name, " ", "_"), func(t *testing.T) {
			o := DefaultTrainOptions()
			o.VocabSize = 2000
			change(&o)
			tok := train(t, o, texts...)
			if tok.Size() != o.VocabSize {
				t.Errorf("size %d, want %d", tok.Size(), o.VocabSize)
			}
			matchReference(t, tok.source, append(hardTexts(t), texts[:5]...), [][]int32{{0}, {1, 2, 3}, {300, 0, 301}})
		})
	}
}

func TestTrainErrors(t *testing.T) {
	canceled, cancel := context.WithCancel(context.Background())
	cancel()
	for _, x := range []struct {
		name   string
		change func(*TrainOptions)
		ctx    context.Context
		want   string
	}{
		{"no size", func(o *TrainOptions) { o.VocabSize = 0 }, nil, "VocabSize is 0, must be from 1 to"},
		{"coverage", func(o *TrainOptions) { o.CharacterCoverage = 1.5 }, nil, "CharacterCoverage is 1.5, must be above 0 and at most 1"},
		{"short", func(o *TrainOptions) { o.MaxPieceChars = 1 }, nil, "MaxPieceChars is 1, must be from 2 to 256"},
		{"twice", func(o *TrainOptions) { o.Control = []string{"<s>"} }, nil, `piece "<s>" occurs twice`},
		{"byte", func(o *TrainOptions) { o.UserDefined = []string{"<0x41>"} }, nil, `piece "<0x41>" occurs twice`},
		{"empty", func(o *TrainOptions) { o.UserDefined = []string{""} }, nil, `piece "" must be UTF-8 of 1 to 4096 bytes`},
		{"too small", func(o *TrainOptions) { o.VocabSize = 270 }, nil, "VocabSize 270 is too small: 277 pieces are needed before the first merge (raise it"},
		{"too large", func(o *TrainOptions) { o.VocabSize = 9999 }, nil, "VocabSize 9999 is too large for these texts: no pair is left after 280 pieces (lower it to that)"},
		{"spaces", func(o *TrainOptions) { o.UserDefined = []string{" \u2581"} }, nil, `is spaces alone (WhitespacePieces makes pieces of those)`},
		{"marked twice", func(o *TrainOptions) { o.UserDefined = []string{"a b", "a\u2581b"} }, nil, `occurs twice`},
		{"canceled", func(*TrainOptions) {}, canceled, "context canceled"},
	} {
		t.Run(strings.ReplaceAll(x.name, " ", "_"), func(t *testing.T) {
			o := DefaultTrainOptions()
			o.CharacterCoverage = 1
			x.change(&o)
			ctx := x.ctx
			if ctx == nil {
				ctx = context.Background()
			}
			_, err := Train(ctx, slices.Values([]string{"ab ab b"}), o)
			if err == nil || !strings.Contains(err.Error(), x.want) || !strings.HasPrefix(err.Error(), "tokenizer: train: ") {
				t.Errorf("error %v, want %q", err, x.want)
			}
			if x.ctx != nil && !errors.Is(err, context.Canceled) {
				t.Errorf("%v is not context.Canceled", err)
			}
		})
	}
}
