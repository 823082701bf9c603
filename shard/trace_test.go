package shard

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// Every document's sightings against those collected from the spans of all steps.
func TestStepsOf(t *testing.T) {
	dir := t.TempDir()
	writeSet(t, dir, three(), WriterOptions{})
	set := openSet(t, dir)
	rows, err := set.Documents()
	if err != nil {
		t.Fatal(err)
	}
	for _, T := range []int{3, 40, 500} {
		t.Run(fmt.Sprint("T=", T), func(t *testing.T) {
			o := newOrder(t, set, OrderOptions{Mixture: []Share{{"adl", 0.45}, {"wiki", 0.55}}, Seed: 5, Rows: 3, T: T, Steps: 77, Skip: map[string]int64{"wiki": int64(T) * 7 / 3}})
			want := map[string][]Sighting{}
			for step := 1; step <= 77; step++ {
				spans, err := o.Spans(step)
				if err != nil {
					t.Fatal(err)
				}
				for _, s := range spans {
					want[s.Document] = append(want[s.Document], Sighting{step, s})
				}
			}
			seen, err := o.Seen(1, 77)
			if err != nil {
				t.Fatal(err)
			}
			total := int64(0)
			for i, d := range rows {
				got, err := o.StepsOf("", d.ID)
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(got, want[d.ID]); diff != "" {
					t.Fatalf("%s (-got +want):\n%s", d.ID, diff)
				}
				n := int64(0)
				for _, s := range got {
					n += int64(s.Len)
					if s.License != d.License || s.Number != d.Number || s.Section != d.Section {
						t.Errorf("sighting %+v of %+v", s, d)
					}
				}
				if n != seen[i] {
					t.Errorf("%s: sightings of %d tokens, Seen says %d", d.ID, n, seen[i])
				}
				total += n
			}
			if want := int64(77 * 3 * T); total != want {
				t.Errorf("%d tokens seen in all, the run reads %d", total, want)
			}
		})
	}
	o := newOrder(t, set, OrderOptions{Mixture: []Share{{"adl", 1}}, Rows: 1, T: 8, Steps: 1})
	_, err = o.StepsOf("", "adl_99")
	check(t, err, `no document "adl_99" in `, "column id of spans.parquet")
	_, err = o.StepsOf("wiki", "adl_1")
	check(t, err, `no document "adl_1" in section "wiki"`)
	if got, err := o.StepsOf("wiki", "wiki_1"); got != nil || err != nil {
		t.Errorf("a document outside the mixture: %v, %v", got, err)
	}
	_, err = o.Seen(1, 2)
	check(t, err, "no step 2; there are 1 to 1")
}
