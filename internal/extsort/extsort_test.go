package extsort

import (
	"context"
	"math/rand/v2"
	"os"
	"slices"
	"testing"
)

func TestSortedEqualsSort(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for _, n := range []int{0, 1, 100, minRecords, minRecords + 1, 5*minRecords + 17} {
		dir := t.TempDir()
		s := New(dir, 1) // the least: runs of minRecords
		var want []Record
		for range n {
			x := Record{Key: r.Uint64N(50), High: r.Uint32N(9), Low: r.Uint32()}
			want = append(want, x)
			if err := s.Add(x); err != nil {
				t.Fatal(err)
			}
		}
		slices.SortFunc(want, compare)
		var got []Record
		for x, err := range s.Sorted(context.Background()) {
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, x)
		}
		if !slices.Equal(got, want) {
			t.Errorf("%d records: not as slices.Sort gives them (%d back)", n, len(got))
		}
		if s.Len() != int64(n) {
			t.Errorf("Len %d, want %d", s.Len(), n)
		}
		s.Close()
		if left, _ := os.ReadDir(dir); len(left) != 0 {
			t.Errorf("%d records: %v left behind", n, left)
		}
	}
}
