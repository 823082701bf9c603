package cpu

import (
	"fmt"
	"runtime"
	"testing"

	"ravn/model"
)

// TestMemoryIsPredicted compares Memory with what the runtime counts on the heap after a step, on the shapes of the
// recipes and on others: 10 % is the promise of `ravn plan`.
func TestMemoryIsPredicted(t *testing.T) {
	if testing.Short() {
		t.Skip("allocates 300 MB")
	}
	heap := func() int64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.GC() // the first only marks what pools hold
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	wide := sized(600, 128, 3, 4, 2, 512)
	windowed := sized(600, 128, 3, 4, 2, 512)
	windowed.SlidingWindow = 100
	tied := sized(4096, 256, 2, 8, 8, 704)
	tied.TieWordEmbeddings = true
	for _, c := range []struct {
		name string
		c    *model.Config
		B, T int
		o    Options
	}{
		{"S", small, 2, 256, Options{}},
		{"S, one layer's activations", small, 4, 256, Options{Recompute: true, Precision: model.BF16}},
		{"12M", medium, 2, 512, Options{Precision: model.BF16}},
		{"12M, recomputed", medium, 2, 512, Options{Recompute: true}},
		{"activations above all", wide, 8, 512, Options{}},
		{"long rows", wide, 1, 2048, Options{Recompute: true}},
		{"window", windowed, 1, 2048, Options{}},
		{"tied", tied, 2, 128, Options{}},
		{"without moments", tied, 2, 128, Options{NoMoments: true}},
		{"inference", tied, 8, 256, Options{Inference: true}},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.o.Threads, c.o.MaxTokens, c.o.MaxRow = 2, c.B*c.T, c.T
			before := heap()
			e, err := New(model.Init(c.c, 1), c.o)
			if err != nil {
				t.Fatal(err)
			}
			defer e.Close()
			b := batch(c.c, 1, c.B, c.T)
			if c.o.Inference {
				losses(t, e, b)
			} else {
				accumulate(t, e, b, 1)
			}
			got, want := heap()-before, model.TotalBytes(Memory(c.c, c.o))
			t.Logf("holds %d bytes, predicted %d", got, want)
			if ratio := float64(got) / float64(want); ratio < 0.9 || ratio > 1.1 {
				t.Errorf("holds %d bytes, predicted %d (%.2f of it):%s", got, want, ratio, table(Memory(c.c, c.o)))
			}
			runtime.KeepAlive(e)
		})
	}
}

func table(parts []model.MemoryPart) (s string) {
	for _, p := range parts {
		s += fmt.Sprintf("\n%14s %12d  %s", p.Name, p.Bytes, p.Formula)
	}
	return s
}
