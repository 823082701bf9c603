package model

import "testing"

func TestBlocks(t *testing.T) {
	for _, c := range []struct {
		d    DType
		n    int
		want int
	}{
		{F32, 3, 12},
		{F16, 3, 6},
		{BF16, 3, 6},
		{Q8_0, 64, 68},
		{Q4_0, 64, 36},
		{Q4_K, 512, 288},
		{Q6_K, 512, 420},
		{Q8_0, 33, 0},
		{Q4_K, 128, 0},
		{"I8", 4, 0},
	} {
		if got := c.d.RowBytes(c.n); got != c.want {
			t.Errorf("%d numbers as %s: %d bytes, want %d", c.n, c.d, got, c.want)
		}
	}
	if Q8_0.Size() != 0 {
		t.Error("a format with blocks has no size of one element")
	}
}
