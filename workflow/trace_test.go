package workflow

import (
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"ravn/checkpoint"
	"ravn/internal/builtin"
	"ravn/recipe"
	"ravn/rights/register"
	"ravn/shard"
)

// shardedRun is the quickstart up to its shards, with a register in which da-natur is under an agreement and
// da-samfund was decided to be share-alike, and with checkpoints of which only the names count.
func shardedRun(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := builtin.Extract(dir); err != nil {
		t.Fatal(err)
	}
	add := func(text string) {
		t.Helper()
		if _, err := register.Add(filepath.Join(dir, "register"), []byte(text), "anna", "2026-11-02", "a test"); err != nil {
			t.Fatal(err)
		}
	}
	add("agreement: owls\nkind: written\nparties: [authors, us]\ndocument: {reference: folder 7}\npermits: {store: true, process: true, train: true, publish_weights: true, commercial: true}\n")
	for name, more := range map[string]string{
		"da-natur":         "agreements: [owls]\ndecisions:\n  - {agreement: owls, by: anna, date: 2026-11-02, reason: the paper counts}\n",
		"da-samfund":       "decisions:\n  - {license: CC-BY-SA-4.0, by: anna, date: 2026-11-02, reason: a test}\n",
		"da-fortaellinger": "", "da-opskrifter": "", "en-howto": "", "en-nature": "", "en-stories": "",
	} {
		says := "CC0-1.0"
		if name == "da-opskrifter" {
			says = "CC-BY-4.0"
		}
		add(fmt.Sprintf("source: %s\ntitle: %s\nkind: public\nclaims:\n  - {says: %s, where: records, read: 2026-11-01}\npersonal_data: {level: none}\n%s", name, name, says, more))
	}
	text := strings.Replace(string(quickstartRecipe), "name: quickstart\n", "name: quickstart\nrights: register\n", 1)
	r, err := recipe.Parse([]byte(text), filepath.Join(dir, "quickstart.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	run := filepath.Join(dir, "run")
	f, err := Open(r, run, Options{Until: "shards", Threads: 2, Rights: RightsOptions{Date: "2026-11-25"}})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := f.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, step := range []int{1, 40, 120} {
		at := filepath.Join(run, "checkpoints", checkpoint.Name(step))
		if err := os.MkdirAll(at, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(at, "state.json"), []byte("{}"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return run
}

// TestTraceAgainstSpans asks every question and answers it again by reading the spans of all steps, one by one.
func TestTraceAgainstSpans(t *testing.T) {
	tr, err := OpenTrace(shardedRun(t), continuedPhase)
	if err != nil {
		t.Fatal(err)
	}
	defer tr.Close()
	type sight struct {
		step int
		shard.Span
	}
	var all []sight
	total := 0
	for step := 1; step <= tr.steps; step++ {
		spans, err := tr.order.Spans(step)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range spans {
			all = append(all, sight{step, s})
			total += s.Len
		}
	}
	if want := 120 * 16 * 128; total != want {
		t.Fatalf("the spans hold %d tokens, want %d", total, want)
	}
	in := func(sections ...string) func(sight) bool {
		return func(s sight) bool { return slices.Contains(sections, s.Section) }
	}
	for _, c := range []struct {
		ask  Selection
		want func(sight) bool
		docs int // documents in the shards, 0: not checked
	}{
		{Selection{Source: "da-natur"}, in("da-natur"), 0},
		{Selection{Source: "en-howto"}, in("en-howto"), 0},
		{Selection{Agreement: "owls"}, in("da-natur"), 0},
		{Selection{License: "cc-by-4.0"}, in("da-opskrifter"), 0},
		{Selection{License: "CC-BY-SA-4.0"}, in("da-samfund"), 0},                                                               // as decided
		{Selection{License: "CC0"}, in("da-natur", "da-samfund", "da-fortaellinger", "en-howto", "en-nature", "en-stories"), 0}, // as stated
	} {
		u, err := tr.Usage(c.ask)
		if err != nil {
			t.Fatalf("%+v: %v", c.ask, err)
		}
		tokens, steps, documents, first, last := 0, map[int]bool{}, map[string]int{}, 0, 0
		for _, s := range all {
			if !c.want(s) {
				continue
			}
			tokens += s.Len
			steps[s.step] = true
			documents[s.Section+"/"+s.Document] += s.Len
			if first == 0 {
				first = s.step
			}
			last = s.step
		}
		if u.Tokens != int64(tokens) || u.Steps != len(steps) || u.Read != len(documents) || u.First != first || u.Last != last {
			t.Errorf("%+v: %+v; by the spans %d tokens, %d steps, %d documents, first %d, last %d", c.ask, u, tokens, len(steps), len(documents), first, last)
		}
		if math.Abs(u.Share-float64(tokens)/float64(total)) > 1e-12 {
			t.Errorf("%+v: share %g", c.ask, u.Share)
		}
		most := 0
		for _, n := range documents {
			most = max(most, n)
		}
		if len(u.Examples) == 0 || documents[u.Examples[0]] != most {
			t.Errorf("%+v: most tokens of %q, want %d", c.ask, u.Examples, most)
		}
		wantSeen := []int{}
		for _, step := range []int{1, 40, 120} {
			if step >= first {
				wantSeen = append(wantSeen, step)
			}
		}
		if !slices.Equal(u.Seen, wantSeen) || len(u.Seen)+len(u.Clean) != 3 {
			t.Errorf("%+v: checkpoints that saw it %v, that did not %v; first at step %d", c.ask, u.Seen, u.Clean, first)
		}
	}
	for _, id := range []string{"da-natur/da-natur_ugler", "en-stories/en-stories_the-lamp-on-the-shelf"} {
		d, err := tr.Document(id)
		if err != nil {
			t.Fatal(err)
		}
		var want []shard.Sighting
		for _, s := range all {
			if s.Section+"/"+s.Document == id {
				want = append(want, shard.Sighting{Step: s.step, Span: s.Span})
			}
		}
		if len(want) == 0 || !slices.Equal(d.Sightings, want) {
			t.Errorf("%s: %v, want %v", id, d.Sightings, want)
		}
	}
	for _, c := range [][2]int{{0, 120}, {0, 40}, {40, 120}, {7, 8}} {
		d, err := tr.Difference(c[0], c[1])
		if err != nil {
			t.Fatal(err)
		}
		before, read, bySection := map[string]bool{}, map[string]bool{}, map[string]int{}
		tokens, fresh := 0, 0
		for _, s := range all {
			id := s.Section + "/" + s.Document
			switch {
			case s.step <= c[0]:
				before[id] = true
			case s.step <= c[1]:
				read[id] = true
				tokens += s.Len
				bySection[s.Section] += s.Len
			}
		}
		for id := range read {
			if !before[id] {
				fresh++
			}
		}
		got := map[string]int{}
		for _, x := range d.Sections {
			got[x.Name] = x.Tokens
		}
		if d.Tokens != int64(tokens) || d.Documents != len(read) || d.New != fresh || !maps.Equal(got, bySection) {
			t.Errorf("from %d to %d: %+v; by the spans %d tokens, %d documents, %d new, %v", c[0], c[1], d, tokens, len(read), fresh, bySection)
		}
	}
}

func TestTraceErrors(t *testing.T) {
	tr, err := OpenTrace(shardedRun(t), continuedPhase)
	if err != nil {
		t.Fatal(err)
	}
	defer tr.Close()
	if _, err := tr.Usage(Selection{Source: "da-nature"}); err == nil || !strings.Contains(err.Error(), "no document of source da-nature") {
		t.Errorf("a section that is not there: %v", err)
	}
	for _, c := range [][2]int{{-1, 4}, {4, 4}, {0, 121}} {
		if _, err := tr.Difference(c[0], c[1]); err == nil {
			t.Errorf("from %d to %d is answered", c[0], c[1])
		}
	}
	if _, err := tr.Document("da-natur/none"); err == nil || !strings.Contains(err.Error(), `no document "da-natur/none"`) {
		t.Errorf("a document that is not there: %v", err)
	}
}

// TestSpikesNameTheirDocuments writes losses that fall evenly and jump at two steps.
func TestSpikesNameTheirDocuments(t *testing.T) {
	dir := shardedRun(t)
	var b strings.Builder
	for step := 1; step <= 120; step++ {
		loss := 5 - 0.01*float64(step) + 0.01*float64(step%3)
		switch step {
		case 50:
			loss += 2
		case 90:
			loss += 1
		case 10: // before there are twenty to compare with
			loss += 9
		}
		fmt.Fprintf(&b, "{\"event\":\"train\",\"step\":%d,\"loss\":%g}\n", step, loss)
	}
	if err := os.WriteFile(filepath.Join(dir, "events.jsonl"), []byte(b.String()), 0o644); err != nil {
		t.Fatal(err)
	}
	tr, err := OpenTrace(dir, continuedPhase)
	if err != nil {
		t.Fatal(err)
	}
	defer tr.Close()
	spikes, err := tr.Spikes()
	if err != nil {
		t.Fatal(err)
	}
	if len(spikes) != 2 || spikes[0].Step != 50 || spikes[1].Step != 90 {
		t.Fatalf("spikes %+v", spikes)
	}
	step, err := tr.Step(50, false)
	if err != nil {
		t.Fatal(err)
	}
	tokens := map[string]int{}
	for _, d := range step.Documents {
		tokens[d.Section+"/"+d.Document] += d.Len
	}
	most := ""
	for id, n := range tokens {
		if most == "" || n > tokens[most] {
			most = id
		}
	}
	if tokens[spikes[0].Documents[0]] != tokens[most] || len(spikes[0].Documents) != min(10, len(tokens)) {
		t.Errorf("step 50 read %v, the spike names %v", tokens, spikes[0].Documents)
	}
}
