//go:build unix

package tokenizer

import (
	"syscall"
	"testing"
	"time"
)

// cpuTime runs f and returns the processor time this process took meanwhile, which a busy machine does not stretch.
func cpuTime(t *testing.T, f func()) time.Duration {
	t.Helper()
	used := func() time.Duration {
		var u syscall.Rusage
		if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
			t.Fatal(err)
		}
		return time.Duration(u.Utime.Nano() + u.Stime.Nano())
	}
	start := used()
	f()
	return used() - start
}

// Eight times the text takes about eight times as long, not sixty-four.
func TestLongWordsTakeLinearTime(t *testing.T) {
	tok := mistral(t)
	for name, make := range longWords {
		short, long := make(1<<16), make(1<<19)
		encode := func(s string) func() { return func() { tok.Encode(nil, s) } }
		encode(long)() // the buffers have grown
		small, large := time.Hour, time.Hour
		for range 3 {
			small = min(small, cpuTime(t, func() {
				for range 8 {
					tok.Encode(nil, short)
				}
			}))
			large = min(large, cpuTime(t, encode(long)))
		}
		if large > 4*small+20*time.Millisecond {
			t.Errorf("%s: %v for 512 KiB, %v for eight times 64 KiB", name, large, small)
		}
	}
}

// On the whole sample, 8,000 pieces: the goal is well under a minute on one core.
func TestTrainSpeed(t *testing.T) {
	texts := danish(t)
	var tok *Tokenizer
	took := cpuTime(t, func() { tok = train(t, DefaultTrainOptions(), texts...) })
	size, ids := 0, 0
	for _, s := range texts {
		size += len(s)
		ids += len(tok.Encode(nil, s))
	}
	perToken := float64(size) / float64(ids)
	t.Logf("%d pieces of %.1f MB in %v of processor time; %.3f bytes a token", tok.Size(), float64(size)/1e6, took, perToken)
	if took > 30*time.Second {
		t.Errorf("training took %v", took)
	}
	if perToken < 3.5 {
		t.Errorf("%.3f bytes a token, want at least 3.5", perToken)
	}
}
