package workflow

import (
	"bytes"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"ravn/internal/builtin"
	"ravn/recipe"
	"ravn/rights"
	"ravn/shard"
)

func TestPlanOfTheQuickstart(t *testing.T) {
	dir := t.TempDir()
	if err := builtin.Extract(dir); err != nil {
		t.Fatal(err)
	}
	r, err := recipe.Parse(quickstartRecipe, filepath.Join(dir, "quickstart.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	p, err := NewPlan(r)
	if err != nil {
		t.Fatal(err)
	}
	// By hand: embedding and head 2·1024·128, four blocks of q and o 2·128·128, k and v 2·64·128, gate, up and down
	// 3·352·128, two norms 2·128, and the last norm.
	want := 2*1024*128 + 4*(2*128*128+2*64*128+3*352*128+2*128) + 128
	if p.Params != want {
		t.Errorf("%d parameters, want %d", p.Params, want)
	}
	if p.Phases[0].Tokens != 140*16*128 || p.Phases[1].Tokens != 120*16*128 {
		t.Errorf("tokens %d and %d", p.Phases[0].Tokens, p.Phases[1].Tokens)
	}
	// 6·N without the embedding, and attention 12·L·C·(T+1)/2 with all heads as wide as C.
	perToken := 6*float64(want-1024*128) + 12*4*128*129/2
	if got := p.Phases[0].FLOPs / float64(p.Phases[0].Tokens); math.Abs(got/perToken-1) > 1e-9 {
		t.Errorf("%.0f FLOPs a token, want %.0f", got, perToken)
	}
	if p.Rights == nil || !p.Rights.Allowed || p.Refusal() != nil {
		t.Errorf("the plan is refused: %+v", p.Rights)
	}
	var out bytes.Buffer
	p.Write(&out)
	for _, s := range []string{"phase base", "phase continued", "kWh", "may be released as"} {
		if !strings.Contains(out.String(), s) {
			t.Errorf("the plan lacks %q:\n%s", s, out.String())
		}
	}
}

func TestPlanOfTheJanuaryRunWarns(t *testing.T) {
	for _, name := range []string{"DAGW", "MISTRAL", "RAVN_DATA"} {
		t.Setenv(name, "")
		os.Unsetenv(name)
	}
	r, err := recipe.Load("../recipes/munin-7b-alpha.yaml")
	if err != nil {
		t.Fatal(err)
	}
	p, err := NewPlan(r)
	if err != nil {
		t.Fatal(err)
	}
	if p.Params != 7_241_732_096 { // Mistral-7B-v0.1's published count
		t.Errorf("%d parameters", p.Params)
	}
	all := strings.Join(p.Warnings, "\n")
	for _, want := range []string{"no replay", "no warm-up", "documents run into each other", "not removed from the training text", "folder is not there yet", "sizes are those that the register names"} {
		if !strings.Contains(all, want) {
			t.Errorf("no warning says %q:\n%s", want, all)
		}
	}
}

// TestPlanOfTheJanuaryRunIsHeld: with the public claims side by side, five sections need a person first.
func TestPlanOfTheJanuaryRunIsHeld(t *testing.T) {
	t.Setenv("DAGW", "")
	t.Setenv("MISTRAL", "")
	r, err := recipe.Load("../recipes/munin-7b-alpha.yaml")
	if err != nil {
		t.Fatal(err)
	}
	c, err := CheckRights(r, RightsOptions{Date: "2026-11-25"})
	if err != nil {
		t.Fatal(err)
	}
	var held []string
	for _, f := range c.Decision.Findings {
		if f.Verdict != rights.Allowed {
			held = append(held, f.Section)
		}
	}
	if want := []string{"hest", "ft", "tv2r", "wikibooks", "wikisource"}; !slices.Equal(held, want) || c.Refusal() == nil {
		t.Errorf("held %v, want %v", held, want)
	}
	// hest by the published sizes: 1193.7 of 4502.8 million characters.
	if f := c.Decision.Findings[0]; math.Abs(f.Share-1193.7/4502.79) > 1e-3 {
		t.Errorf("hest has share %g", f.Share)
	}
}

func TestMixtureStandsForSections(t *testing.T) {
	sections := []shard.SectionInfo{
		{Name: "adl", Role: "target", Language: "da", Tokens: 300},
		{Name: "ft", Role: "target", Language: "da", Tokens: 100},
		{Name: "en", Role: "replay", Language: "en", Tokens: 50},
	}
	for _, c := range []struct {
		in   []shard.Share
		want map[string]float64
	}{
		{nil, map[string]float64{"adl": 0.75, "ft": 0.25}},
		{[]shard.Share{{Section: "role:target", Share: 0.8}, {Section: "en", Share: 0.2}}, map[string]float64{"adl": 0.6, "ft": 0.2, "en": 0.2}},
		{[]shard.Share{{Section: "language:da", Share: 1}, {Section: "ft", Share: 1}}, map[string]float64{"adl": 0.75, "ft": 1.25}},
	} {
		got, err := mixture(sections, c.in, 0)
		if err != nil {
			t.Fatal(err)
		}
		if len(got) != len(c.want) {
			t.Errorf("%v became %v", c.in, got)
		}
		for _, s := range got {
			if math.Abs(s.Share-c.want[s.Section]) > 1e-12 {
				t.Errorf("%v: %s has %g, want %g", c.in, s.Section, s.Share, c.want[s.Section])
			}
		}
	}
	if _, err := mixture(sections, []shard.Share{{Section: "role:anneal", Share: 1}}, 0); err == nil || !strings.Contains(err.Error(), `no section has role "anneal"`) {
		t.Errorf("unknown role: %v", err)
	}
}

func TestCutTextKeepsWholeCharacters(t *testing.T) {
	for _, c := range []struct {
		n    int
		want string
	}{{0, "aæø"}, {1, "a"}, {2, "a"}, {3, "aæ"}, {4, "aæ"}, {5, "aæø"}, {9, "aæø"}} {
		if got := cutText("aæø", c.n); got != c.want {
			t.Errorf("%d bytes: %q, want %q", c.n, got, c.want)
		}
	}
}

// The corpus stage's needs by hand, for 1,000 documents of 100,000 bytes.
func TestPlanOfTheCorpus(t *testing.T) {
	d := recipe.Data{Dedup: true}
	d.MemoryMB = 512
	got, err := planCorpus(&d, 1000, 100_000_000)
	if err != nil {
		t.Fatal(err)
	}
	if want := (PlannedCorpus{MemoryBytes: 704<<20 + 24_000, WorkBytes: 102_000_000 + 600_000 + 32_000 + 40_150_000, OutBytes: 40_150_000}); *got != want {
		t.Errorf("got %+v, want %+v", *got, want)
	}
	d.Near.Preset = "ravn" // 320 values of 4 bytes, twice; 64 bands of 16 bytes
	d.Lines.Unit = "line"
	more, err := planCorpus(&d, 1000, 100_000_000)
	if err != nil {
		t.Fatal(err)
	}
	if want := got.WorkBytes + 1000*(2560+1024) + 1666666*40; more.WorkBytes != want {
		t.Errorf("got %d bytes of work, want %d", more.WorkBytes, want)
	}
	d.Near.Preset = "x"
	if _, err := planCorpus(&d, 1, 1); err == nil {
		t.Error("an unknown preset was planned")
	}
}
