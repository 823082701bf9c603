package tokenizer

import (
	"context"
	"math"
	"slices"
	"testing"
)

// TestSparsemax against its definition, by hand: of 0.5, 0.4, 0.1 the threshold is 0; of 1, 0.8, −1 the first two stay, with
// (1.8 − 1)/2 = 0.4 taken off each; of 3 and 1 the first takes all; of equal ones all stay.
func TestSparsemax(t *testing.T) {
	for _, c := range []struct{ in, want []float64 }{
		{[]float64{0.5, 0.4, 0.1}, []float64{0.5, 0.4, 0.1}},
		{[]float64{1, 0.8, -1}, []float64{0.6, 0.4}},
		{[]float64{3, 1}, []float64{1}},
		{[]float64{7, 7, 7, 7}, []float64{0.25, 0.25, 0.25, 0.25}},
	} {
		got := sparsemax(c.in)
		sum := 0.0
		for i, w := range got {
			sum += w
			if i < len(c.want) && math.Abs(w-c.want[i]) > 1e-12 {
				t.Errorf("%v: %v, want %v", c.in, got, c.want)
			}
		}
		if len(got) != len(c.want) || math.Abs(sum-1) > 1e-12 {
			t.Errorf("%v: %v, want %v", c.in, got, c.want)
		}
	}
}

// TestOverlapAgainstHandReckonedWeights: an index of three pieces. "▁havn" has 9 n-grams, each once. "▁hav" has the 6
// ▁h ha av ▁ha hav ▁hav, all of them shared: cosine 6/√(9·6). "havet" has ha av ve et hav ave vet have avet, of which 3 are
// shared: 3/√(9·9). "▁og" shares none. Over 0.1: 8.165 and 3.333, so the first takes all; of "▁havet" both are near.
func TestOverlapAgainstHandReckonedWeights(t *testing.T) {
	tok := &Tokenizer{}
	for _, s := range []string{"▁hav", "havet", "▁og"} {
		tok.pieces = append(tok.pieces, piece{text: s, kind: Normal})
	}
	tok.pieces = append(tok.pieces, piece{text: "▁havn", kind: Control})
	o := NewOverlap(tok)
	ids, weights := o.Blend("▁havn")
	if !slices.Equal(ids, []int32{0}) || !slices.Equal(weights, []float64{1}) {
		t.Errorf("▁havn: %v with %v", ids, weights)
	}
	// "▁havet" has 12 n-grams: 5 of two, 4 of three, 3 of four. It shares 6 with "▁hav": 6/√(12·6) = 0.70711, and all 9
	// of "havet": 9/√(12·9) = 0.86603. Over 0.1: 8.6603 and 7.0711, which differ by 1.589: more than 1, so "havet" takes all.
	ids, weights = o.Blend("▁havet")
	if !slices.Equal(ids, []int32{1}) || !slices.Equal(weights, []float64{1}) {
		t.Errorf("▁havet: %v with %v", ids, weights)
	}
	// "▁have" has 9: it shares 6 with "▁hav", 6/√54 = 0.81650, and ha av ve hav ave have, 6/√81 = 0.66667, with "havet":
	// 1.498 apart. "have" has 6 n-grams, ha av ve hav ave have: with "▁hav" ha av hav, 3/6 = 0.5; with "havet" all 6, 6/√54.
	// "vet" has ve et vet: with "havet" 3/√27. "avn" has av vn avn: with "▁hav" 1/√18 = 0.23570, with "havet" 1/√27 = 0.19245;
	// over 0.1 they are 0.43252 apart, so the weights are (1 ± 0.43252)/2.
	ids, weights = o.Blend("avn")
	d := (1/math.Sqrt(18) - 1/math.Sqrt(27)) / 0.1
	if !slices.Equal(ids, []int32{0, 1}) || math.Abs(weights[0]-(1+d)/2) > 1e-12 || math.Abs(weights[1]-(1-d)/2) > 1e-12 {
		t.Errorf("avn: %v with %v, want %v and %v", ids, weights, (1+d)/2, (1-d)/2)
	}
}

// TestOverlapWithoutAny: a piece of characters that no old one has begins as what spells it.
func TestOverlapWithoutAny(t *testing.T) {
	o := DefaultTrainOptions()
	o.VocabSize = 300
	tok, err := Train(context.Background(), slices.Values([]string{"ravnen sad på skorstenen", "ravnen sad"}), o)
	if err != nil {
		t.Fatal(err)
	}
	ids, weights := NewOverlap(tok).Blend("ЖЖ")
	if spelled := tok.Spell("ЖЖ"); !slices.Equal(ids, spelled) || len(ids) != 4 || weights[0] != 0.25 {
		t.Errorf("%v with %v, want the bytes %v alike", ids, weights, spelled)
	}
}
