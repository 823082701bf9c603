package kernel

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func TestPoolRunsEachIndexOnce(t *testing.T) {
	for _, threads := range []int{1, 2, 3, 8} {
		p := NewPool(threads)
		for round := range 200 {
			n := round % 37
			seen := make([]atomic.Int32, n)
			p.Run(n, func(i int) { seen[i].Add(1) })
			for i := range seen {
				if got := seen[i].Load(); got != 1 {
					t.Fatalf("%d threads, n=%d: index %d ran %d times, want once", threads, n, i, got)
				}
			}
		}
		p.Close()
	}
}

func TestPoolNestedAndShared(t *testing.T) {
	p := NewPool(3)
	defer p.Close()
	var sum atomic.Int64
	p.Run(10, func(int) { p.Run(10, func(j int) { sum.Add(int64(j)) }) })
	if got := sum.Load(); got != 450 {
		t.Errorf("nested loops added %d, want 450", got)
	}
	sum.Store(0)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 100 {
				p.Run(5, func(i int) { sum.Add(int64(i)) })
			}
		})
	}
	wg.Wait()
	if got := sum.Load(); got != 8*100*10 {
		t.Errorf("shared pool added %d, want %d", got, 8*100*10)
	}
}

func TestPoolNilAndClosed(t *testing.T) {
	var none *Pool
	ran := 0
	none.Run(3, func(int) { ran++ })
	none.Close()
	p := NewPool(2)
	p.Close()
	p.Close()
	p.Run(3, func(int) { ran++ })
	if ran != 6 || none.Threads() != 1 || p.Threads() != 2 {
		t.Errorf("ran %d, threads %d and %d, want 6, 1 and 2", ran, none.Threads(), p.Threads())
	}
}

// TestPoolHeld runs loops while helpers are kept awake and while they are not, held twice at times, and with pauses that are
// longer than helpers look for.
func TestPoolHeld(t *testing.T) {
	for _, threads := range []int{2, 5} {
		p := NewPool(threads)
		var sum atomic.Int64
		want := int64(0)
		for round := range 300 {
			for range round % 3 {
				p.Hold()
			}
			for n := range 9 {
				p.Run(n, func(i int) { sum.Add(int64(i + 1)) })
				want += int64(n * (n + 1) / 2)
			}
			if round%100 == 2 {
				time.Sleep(5 * time.Millisecond)
				p.Run(threads, func(int) { sum.Add(1) })
				want += int64(threads)
			}
			for range round % 3 {
				p.Release()
			}
		}
		if got := sum.Load(); got != want {
			t.Errorf("%d threads: loops added %d, want %d", threads, got, want)
		}
		p.Hold()
		p.Close() // of helpers that are looking for work
		p.Release()
	}
	var none *Pool
	none.Hold()
	none.Release()
}

func TestPoolRunAllocatesNothing(t *testing.T) {
	p := NewPool(2)
	defer p.Close()
	f := func(int) {}
	if got := testing.AllocsPerRun(100, func() { p.Run(16, f) }); got != 0 {
		t.Errorf("Run made %v allocations, want none", got)
	}
}

func BenchmarkPoolRun(b *testing.B) {
	p := NewPool(2)
	defer p.Close()
	f := func(int) {}
	for _, held := range []bool{false, true} {
		b.Run(fmt.Sprintf("held=%v", held), func(b *testing.B) {
			if held {
				p.Hold()
				defer p.Release()
			}
			for b.Loop() {
				p.Run(2, f)
			}
		})
	}
}
