package sampler

import (
	"math"
	"math/rand/v2"
	"slices"
	"sort"
	"strings"
	"testing"
)

func pick(t *testing.T, o Options, logits []float32, n int) map[int32]int {
	t.Helper()
	s, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	got := map[int32]int{}
	for range n {
		got[s.Pick(logits)]++
	}
	return got
}

func TestGreedyTakesTheFirstOfEquals(t *testing.T) {
	if got := pick(t, Options{}, []float32{0, 3, 1, 3}, 5); got[1] != 5 {
		t.Fatalf("got %v, want token 1 five times", got)
	}
}

func TestTemperatureOneFollowsTheProbabilities(t *testing.T) {
	// p = 0.5, 0.25, 0.25; the standard error of a share over 8,000 draws is below 0.006, five of them are allowed.
	logits := []float32{float32(math.Log(2)), 0, 0}
	got := pick(t, Options{Temperature: 1, Seed: 3}, logits, 8000)
	for id, want := range map[int32]float64{0: 0.5, 1: 0.25, 2: 0.25} {
		if share := float64(got[id]) / 8000; math.Abs(share-want) > 0.03 {
			t.Errorf("token %d: share %.3f, want %.2f", id, share, want)
		}
	}
}

func TestTopKAndTopPCut(t *testing.T) {
	logits := []float32{1, 3, 2, 0} // probabilities about 0.087, 0.644, 0.237, 0.032
	if got := pick(t, Options{Temperature: 1, TopK: 2}, logits, 500); got[0]+got[3] != 0 || got[1] == 0 || got[2] == 0 {
		t.Errorf("top-k 2 drew %v, want only 1 and 2", got)
	}
	if got := pick(t, Options{Temperature: 1, TopP: 0.6}, logits, 200); got[1] != 200 {
		t.Errorf("top-p 0.6 drew %v, want only 1", got)
	}
	if got := pick(t, Options{Temperature: 1, TopP: 0.7}, logits, 500); got[0]+got[3] != 0 || got[2] == 0 {
		t.Errorf("top-p 0.7 drew %v, want 1 and 2", got)
	}
}

func TestMinPKeepsWhatIsNearlyAsLikely(t *testing.T) {
	// Shares of the likeliest: 1, 0.368, 0.135, 0.05.
	logits := []float32{1, 3, 2, 0}
	if got := pick(t, Options{Temperature: 1, MinP: 0.3}, logits, 500); got[0]+got[3] != 0 || got[2] == 0 {
		t.Errorf("min-p 0.3 drew %v, want 1 and 2", got)
	}
	if got := pick(t, Options{Temperature: 1, MinP: 0.1}, logits, 1000); got[3] != 0 || got[0] == 0 {
		t.Errorf("min-p 0.1 drew %v, want all but 3", got)
	}
}

// TestCutsOfALargeVocabulary compares with cuts by a full sort, on logits of which many are equal.
func TestCutsOfALargeVocabulary(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for trial := range 20 {
		logits := make([]float32, 3000)
		for i := range logits {
			logits[i] = float32(int(r.NormFloat64()*4*float64(1+trial%5))) / 2
		}
		order := make([]int, len(logits))
		for i := range order {
			order[i] = i
		}
		sort.SliceStable(order, func(a, b int) bool { return logits[order[a]] > logits[order[b]] })
		k, p := 1+trial*17, 0.05+0.9*float64(trial)/20
		allowed := map[int32]bool{}
		for _, i := range order[:min(k, len(order))] {
			allowed[int32(i)] = true
		}
		for id := range pick(t, Options{Temperature: 1.3, TopK: k, Seed: uint64(trial)}, logits, 60) {
			if !allowed[id] {
				t.Fatalf("top-k %d drew %d, which is not among them", k, id)
			}
		}
		sum := 0.0
		for _, x := range logits {
			sum += math.Exp(float64(x-logits[order[0]]) / 1.3)
		}
		clear(allowed)
		held := 0.0
		for _, i := range order {
			if held >= p*sum*(1+1e-9) {
				break
			}
			allowed[int32(i)] = true
			held += math.Exp(float64(logits[i]-logits[order[0]]) / 1.3)
		}
		for id := range pick(t, Options{Temperature: 1.3, TopP: p, Seed: uint64(trial)}, logits, 60) {
			if !allowed[id] {
				t.Fatalf("top-p %g drew %d, which is not among the %d", p, id, len(allowed))
			}
		}
	}
}

func TestRepetitionPenalty(t *testing.T) {
	s, err := New(Options{RepetitionPenalty: 2, RepetitionWindow: 2})
	if err != nil {
		t.Fatal(err)
	}
	logits := []float32{3, 2.5, 2, -1}
	s.See(9, -1, 0) // ids outside are no harm
	var got []int32
	for range 4 {
		got = append(got, s.Pick(logits))
	}
	// 0 is halved to 1.5: 1. Then 0 and 1 are: 2. Then 1 and 2, and 0 is free again. Then 2 and 0: 1.
	if want := []int32{1, 2, 0, 1}; !slices.Equal(got, want) {
		t.Errorf("picked %v, want %v", got, want)
	}
	if logits[0] != 3 {
		t.Error("the caller's logits were changed")
	}
	s, _ = New(Options{RepetitionPenalty: 4})
	s.See(0, 0, 1)
	if got := s.Pick([]float32{-0.5, -1, -1.9}); got != 2 { // -2 and -4 against -1.9
		t.Errorf("picked %d of negative logits, want 2", got)
	}
}

func TestLogitsThatAreNoNumbers(t *testing.T) {
	nan := float32(math.NaN())
	for _, o := range []Options{{}, {Temperature: 1}, {Temperature: 1, TopK: 1, MinP: 0.5, TopP: 0.5}} {
		if got := pick(t, o, []float32{nan, nan}, 1); got[0] != 1 {
			t.Errorf("%+v: drew %v, want 0", o, got)
		}
	}
	inf := float32(math.Inf(-1))
	if got := pick(t, Options{Temperature: 1, TopK: 3}, []float32{inf, 1, inf}, 20); got[1] != 20 {
		t.Errorf("drew %v, want the only possible token", got)
	}
}

func BenchmarkPick(b *testing.B) {
	logits := make([]float32, 32000)
	r := rand.New(rand.NewPCG(1, 2))
	for i := range logits {
		logits[i] = float32(r.NormFloat64() * 3)
	}
	for name, o := range map[string]Options{"greedy": {}, "temperature": {Temperature: 1}, "top-k 40": {Temperature: 1, TopK: 40}, "top-p 0.9": {Temperature: 1, TopP: 0.9}} {
		b.Run(name, func(b *testing.B) {
			s, err := New(o)
			if err != nil {
				b.Fatal(err)
			}
			for b.Loop() {
				s.Pick(logits)
			}
		})
	}
}

func TestSameSeedSameTokens(t *testing.T) {
	logits := []float32{0, 0.1, 0.2, 0.3}
	a, _ := New(Options{Temperature: 2, Seed: 9})
	b, _ := New(Options{Temperature: 2, Seed: 9})
	for i := range 50 {
		if x, y := a.Pick(logits), b.Pick(logits); x != y {
			t.Fatalf("draw %d: %d and %d", i, x, y)
		}
	}
}

func TestBadOptions(t *testing.T) {
	_, err := New(Options{Temperature: -1, TopK: -2, TopP: 1.5, MinP: math.NaN(), RepetitionPenalty: -3, RepetitionWindow: -4})
	for _, want := range []string{"temperature -1", "top-k -2", "top-p 1.5", "min-p NaN", "repetition penalty -3", "repetition window -4"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v lacks %q", err, want)
		}
	}
}
