package shard

import (
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// materialised is the order of a run in stages as it is told: a list of rows for each section, read from the front by
// one stage after the other; the interleave begins anew with each stage, and whenever a cap takes a section out.
func materialised(t *testing.T, o OrderOptions, stages []Stage, caps map[string]int64, weights func(stage int, out map[string]bool) map[string]int64) (rows []referenceRow, refs map[string]*reference) {
	t.Helper()
	refs = map[string]*reference{}
	for _, s := range three() {
		refs[s.Name] = newReference(three(), map[string]int64{s.Name: 1}, o)
	}
	next, out := map[string]int{}, map[string]bool{}
	for i, st := range stages {
		for left := st.Steps; left > 0; {
			ws := weights(i, out)
			names := slices.Sorted(maps.Keys(ws))
			var list []int64
			for _, n := range names {
				list = append(list, ws[n])
			}
			picked := chairmen(list, left*o.Rows)
			for again := false; left > 0 && !again; {
				would := maps.Clone(next)
				for _, s := range picked[:o.Rows] {
					would[names[s]]++
				}
				for name, most := range caps {
					if would[name] > int(most) && !out[name] && ws[name] > 0 {
						out[name], again = true, true
					}
				}
				if again {
					break
				}
				for _, s := range picked[:o.Rows] {
					rows = append(rows, refs[names[s]].rows[next[names[s]]])
					next[names[s]]++
				}
				picked, left = picked[o.Rows:], left-1
			}
		}
	}
	return rows, refs
}

func TestStagesAgainstBruteForce(t *testing.T) {
	dir := t.TempDir()
	in := three()
	for i := range in {
		in[i].Role = map[string]string{"wiki": "target", "adl": "target", "tiny": "replay"}[in[i].Name]
	}
	writeSet(t, dir, in, WriterOptions{})
	set := openSet(t, dir)
	wiki, adl, tiny := 0.5, 0.25, 0.25
	stages := []Stage{
		{Steps: 9, Mixture: []Share{{"wiki", wiki}, {"adl", adl}, {"tiny", tiny}}},
		{Steps: 1, Mixture: []Share{{"tiny", 1}}},
		{Steps: 12, Mixture: []Share{{"wiki", 0.75}, {"tiny", 0.25}}},
	}
	weights := func(stage int, out map[string]bool) map[string]int64 {
		return []map[string]int64{{"wiki": 2, "adl": 1, "tiny": 1}, {"tiny": 1}, {"wiki": 3, "tiny": 1}}[stage]
	}
	for _, T := range []int{7, 33} {
		o := OrderOptions{Seed: 11, Rows: 4, T: T, Steps: 22}
		compareStaged(t, set, o, stages, nil, weights)
		// A cap on adl in rows, so that it ends within the first stage: its share goes to wiki, the other of its role.
		capped := map[string]float64{"adl": (5.5 * float64(T)) / float64(set.sections["adl"].info.Tokens)}
		compareStaged(t, set, o, stages, capped, func(stage int, out map[string]bool) map[string]int64 {
			if stage == 0 && out["adl"] {
				return map[string]int64{"wiki": 3, "tiny": 1}
			}
			return weights(stage, out)
		})
	}
}

func compareStaged(t *testing.T, set *Set, o OrderOptions, stages []Stage, maxEpochs map[string]float64, weights func(int, map[string]bool) map[string]int64) {
	t.Helper()
	caps := map[string]int64{}
	for name, most := range maxEpochs {
		caps[name] = int64(most * float64(set.sections[name].info.Tokens) / float64(o.T))
	}
	rows, refs := materialised(t, o, stages, caps, weights)
	v, err := NewStaged(set, o, stages, maxEpochs)
	if err != nil {
		t.Fatal(err)
	}
	counted := make([]int64, set.info.Documents())
	documents, err := set.Documents()
	if err != nil {
		t.Fatal(err)
	}
	for step := 1; step <= o.Steps; step++ {
		got, err := v.Batch(step)
		if err != nil {
			t.Fatal(err)
		}
		spans, err := v.Spans(step)
		if err != nil {
			t.Fatal(err)
		}
		for r := range o.Rows {
			row := rows[(step-1)*o.Rows+r]
			stream := refs[row.section].streams[row.section]
			for i := range o.T {
				if want := stream[row.row*o.T+i].token; got.Tokens[r*o.T+i] != want {
					t.Fatalf("T %d, step %d, row %d of %s: token %d is %d, want %d", o.T, step, r, row.section, i, got.Tokens[r*o.T+i], want)
				}
			}
		}
		for _, s := range spans {
			i := slices.IndexFunc(documents, func(d DocumentRow) bool { return d.Section == s.Section && d.ID == s.Document })
			counted[i] += int64(s.Len)
			sights, err := v.StepsOf(s.Section, s.Document)
			if err != nil {
				t.Fatal(err)
			}
			if !slices.ContainsFunc(sights, func(x Sighting) bool { return x.Step == step && cmp.Equal(x.Span, s) }) {
				t.Fatalf("step %d reads %+v, which StepsOf does not say", step, s)
			}
		}
	}
	seen, err := v.Seen(1, o.Steps)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(seen, counted); diff != "" {
		t.Errorf("Seen and the spans disagree:\n%s", diff)
	}
	for name, most := range caps {
		if got := v.RowsRead()[name]; got > most {
			t.Errorf("%s: %d rows read, %d are allowed", name, got, most)
		}
	}
}

// TestStagesDoNotEditHistory: a stage put behind step 9 changes no batch and no hash up to there.
func TestStagesDoNotEditHistory(t *testing.T) {
	dir := t.TempDir()
	writeSet(t, dir, three(), WriterOptions{})
	set := openSet(t, dir)
	o := OrderOptions{Seed: 3, Rows: 4, T: 20, Steps: 20}
	mixture := []Share{{"wiki", 0.6}, {"adl", 0.4}}
	one, err := NewStaged(set, o, []Stage{{Steps: 20, Mixture: mixture}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	two, err := NewStaged(set, o, []Stage{{Steps: 9, Mixture: mixture}, {Steps: 11, Mixture: []Share{{"tiny", 1}}}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	plain := o
	plain.Mixture = mixture
	if one.HashTo(20) != newOrder(t, set, plain).Hash() {
		t.Error("one stage has another hash than the order without stages")
	}
	for step := 1; step <= 20; step++ {
		a, _ := one.Batch(step)
		b, _ := two.Batch(step)
		same := cmp.Equal(a, b)
		if hash := one.HashTo(step) == two.HashTo(step); hash != (step <= 9) || same != (step <= 9) {
			t.Errorf("step %d: same hash %v, same batch %v", step, hash, same)
		}
	}
	if diff := cmp.Diff(two.Parts(), []Part{{First: 1, Last: 9, Mixture: []Share{{"adl", 0.4}, {"wiki", 0.6}}}, {First: 10, Last: 20, Mixture: []Share{{"tiny", 1}}}}); diff != "" {
		t.Error(diff)
	}
}

func TestStagedErrors(t *testing.T) {
	dir := t.TempDir()
	writeSet(t, dir, three(), WriterOptions{})
	set := openSet(t, dir)
	o := OrderOptions{Seed: 3, Rows: 4, T: 20, Steps: 20}
	wiki := []Share{{"wiki", 1}}
	for _, c := range []struct {
		stages []Stage
		caps   map[string]float64
		want   string
	}{
		{nil, nil, "at least one stage"},
		{[]Stage{{Steps: 19, Mixture: wiki}}, nil, "19 steps together, the run 20"},
		{[]Stage{{Steps: 20, Mixture: wiki}}, map[string]float64{"wikki": 1}, `section "wikki"`},
		{[]Stage{{Steps: 20, Mixture: wiki}}, map[string]float64{"wiki": 0.001}, "every section of the mixture has been read as often as it may be"},
	} {
		_, err := NewStaged(set, o, c.stages, c.caps)
		check(t, err, c.want)
	}
	v, err := NewStaged(set, o, []Stage{{Steps: 20, Mixture: wiki}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, step := range []int{0, 21} {
		_, err := v.Batch(step)
		check(t, err, fmt.Sprintf("no step %d; there are 1 to 20", step))
	}
}

// TestPassedOver: a stage that reads on behind step 11 from step 9 on. Its rows of each section are those that the order
// without it has behind step 11, in the same sequence; what is before step 9 stays; and every sight is told.
func TestPassedOver(t *testing.T) {
	dir := t.TempDir()
	writeSet(t, dir, three(), WriterOptions{})
	set := openSet(t, dir)
	o := OrderOptions{Seed: 3, Rows: 4, T: 20, Steps: 20}
	mixture, late := []Share{{"wiki", 0.6}, {"adl", 0.4}}, []Share{{"wiki", 0.5}, {"tiny", 0.5}}
	stages := []Stage{{Steps: 10, Mixture: mixture}, {Steps: 10, Mixture: late}}
	plain, err := NewStaged(set, o, stages, nil)
	if err != nil {
		t.Fatal(err)
	}
	rows, err := plain.RowsTo(11)
	if err != nil {
		t.Fatal(err)
	}
	bySection := map[string]int64{}
	for step := 1; step <= 11; step++ {
		spans, err := plain.Spans(step)
		if err != nil {
			t.Fatal(err)
		}
		row := -1
		for _, s := range spans {
			if s.Row != row {
				bySection[s.Section]++
				row = s.Row
			}
		}
	}
	if diff := cmp.Diff(rows, bySection); diff != "" {
		t.Errorf("RowsTo(11) and the spans disagree:\n%s", diff)
	}
	cut, at := Begin(stages, 9)
	if at != 1 || len(cut) != 3 || cut[0].Steps != 8 || cut[1].Steps != 2 || cut[2].Steps != 10 {
		t.Fatalf("stages cut at step 9: %+v", cut)
	}
	if same, i := Begin(cut, 11); i != 2 || len(same) != 3 {
		t.Errorf("a stage begins at step 11 already: %d, %+v", i, same)
	}
	if _, i := Begin(cut, 21); i != 3 {
		t.Errorf("no step 21, but stage %d begins there", i)
	}
	cut[1].From, cut[1].Why = rows, "passed over"
	passed, err := NewStaged(set, o, cut, nil)
	if err != nil {
		t.Fatal(err)
	}
	refs := map[string]*reference{}
	for _, s := range three() {
		refs[s.Name] = newReference(three(), map[string]int64{s.Name: 1}, o)
	}
	next := map[string]int64{}
	for step := 1; step <= 20; step++ {
		if step == 9 {
			next = rows
		}
		a, err := plain.Batch(step)
		if err != nil {
			t.Fatal(err)
		}
		b, err := passed.Batch(step)
		if err != nil {
			t.Fatal(err)
		}
		if same := cmp.Equal(a, b); same != (step < 9) || (plain.HashTo(step) == passed.HashTo(step)) != (step < 9) {
			t.Errorf("step %d: the same batch: %v", step, same)
		}
		spans, err := passed.Spans(step)
		if err != nil {
			t.Fatal(err)
		}
		row := -1
		for _, s := range spans {
			if s.Row == row {
				continue
			}
			row = s.Row
			at := refs[s.Section].rows[next[s.Section]].row
			next[s.Section]++
			for i := range o.T {
				if want := refs[s.Section].streams[s.Section][at*o.T+i].token; b.Tokens[row*o.T+i] != want {
					t.Fatalf("step %d, row %d of %s: token %d is %d, want %d", step, row, s.Section, i, b.Tokens[row*o.T+i], want)
				}
			}
			sights, err := passed.StepsOf(s.Section, s.Document)
			if err != nil || !slices.ContainsFunc(sights, func(x Sighting) bool { return x.Step == step && cmp.Equal(x.Span, s) }) {
				t.Fatalf("step %d reads %+v, which StepsOf does not say: %v", step, s, err)
			}
		}
	}
}
