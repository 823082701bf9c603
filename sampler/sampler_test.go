package sampler

import (
	"math"
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
	_, err := New(Options{Temperature: -1, TopK: -2, TopP: 1.5})
	for _, want := range []string{"temperature -1", "top-k -2", "top-p 1.5"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v lacks %q", err, want)
		}
	}
}
