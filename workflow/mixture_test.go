package workflow

import (
	"math"
	"strings"
	"testing"

	"ravn/shard"
)

var nordic = []shard.SectionInfo{
	{Name: "adl", Role: "target", Language: "da", Tokens: 3000},
	{Name: "wiki", Role: "target", Language: "da", Tokens: 6000},
	{Name: "fo", Role: "target", Language: "fo", Tokens: 1000},
	{Name: "en", Role: "replay", Language: "en", Tokens: 50000},
	{Name: "law", Role: "anneal", Language: "da", Tokens: 100},
}

func sharesOf(t *testing.T, shares []shard.Share, err error) map[string]float64 {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	sum, out := 0.0, map[string]float64{}
	for _, s := range shares {
		sum += s.Share
	}
	for _, s := range shares {
		out[s.Section] = s.Share / sum
	}
	return out
}

func near(t *testing.T, got, want map[string]float64) {
	t.Helper()
	if len(got) != len(want) {
		t.Errorf("got %v, want %v", got, want)
	}
	for name, w := range want {
		if math.Abs(got[name]-w) > 1e-12 {
			t.Errorf("%s: share %.6f, want %.6f", name, got[name], w)
		}
	}
}

// TestTemperature: da has 9,000 tokens and fo 1,000. At temperature 2 their shares are as 30·√10 to 10·√10, so 3 to 1.
func TestTemperature(t *testing.T) {
	group := []shard.Share{{Section: "role:target", Share: 0.8}, {Section: "en", Share: 0.2}}
	m, err := mixture(nordic, group, 0)
	near(t, sharesOf(t, m, err), map[string]float64{"adl": 0.24, "wiki": 0.48, "fo": 0.08, "en": 0.2})
	m, err = mixture(nordic, group, 2)
	near(t, sharesOf(t, m, err), map[string]float64{"adl": 0.2, "wiki": 0.4, "fo": 0.2, "en": 0.2})
}

// TestRaisedReplay doubles a replay of 10 % behind step 6 of two stages, then of 20 %, then up to three quarters.
func TestRaisedReplay(t *testing.T) {
	stages := []shard.Stage{
		{Steps: 10, Mixture: []shard.Share{{Section: "adl", Share: 0.6}, {Section: "wiki", Share: 0.3}, {Section: "en", Share: 0.1}}},
		{Steps: 5, Mixture: []shard.Share{{Section: "law", Share: 1}, {Section: "en", Share: 1}}},
	}
	got, err := raiseReplay(nordic, stages, 6, 2)
	if err != nil || len(got) != 3 || got[0].Steps != 6 || got[1].Steps != 4 || got[2].Steps != 5 || got[0].Why != "" || !strings.Contains(got[1].Why, "behind step 6 to 20 %") {
		t.Fatalf("%+v, %v", got, err)
	}
	near(t, sharesOf(t, got[0].Mixture, nil), map[string]float64{"adl": 0.6, "wiki": 0.3, "en": 0.1})
	near(t, sharesOf(t, got[1].Mixture, nil), map[string]float64{"adl": 0.8 * 2 / 3, "wiki": 0.8 / 3, "en": 0.2})
	near(t, sharesOf(t, got[2].Mixture, nil), map[string]float64{"law": 0.25, "en": 0.75}) // half, doubled, at most three quarters
	again, err := raiseReplay(nordic, got, 10, 2)
	if err == nil || !strings.Contains(err.Error(), "75 % at step 11") {
		t.Errorf("replay at its most was raised: %+v, %v", again, err)
	}
	if _, err := raiseReplay(nordic, []shard.Stage{{Steps: 9, Mixture: []shard.Share{{Section: "adl", Share: 1}}}}, 3, 2); err == nil || !strings.Contains(err.Error(), "0 %") {
		t.Errorf("no replay was raised: %v", err)
	}
}
