package progress

import (
	"bytes"
	"strings"
	"testing"
	"time"
)

func TestQuietOffTheTerminal(t *testing.T) {
	var out bytes.Buffer
	now := time.Unix(0, 0)
	r := New(&out)
	r.now = func() time.Time { return now }
	task := r.Start("read", 100, "documents")
	now = now.Add(2 * time.Second)
	task.Add(50)
	if out.Len() != 0 {
		t.Fatalf("wrote %q before the end", out.String())
	}
	task.Done()
	if got, want := out.String(), "read: 50 documents in 2.0s (25/s)\n"; got != want {
		t.Fatalf("got %q, want %q", got, want)
	}
}

func TestLineSaysShareRateAndTimeLeft(t *testing.T) {
	now := time.Unix(0, 0)
	r := New(&bytes.Buffer{})
	r.now = func() time.Time { return now }
	task := r.Start("train", 400, "steps")
	task.done = 100
	task.Note("loss 3.2")
	got := task.line(now.Add(50 * time.Second))
	for _, want := range []string{"100 of 400 (25 %) steps", "2/s", "2m30s left", "loss 3.2"} {
		if !strings.Contains(got, want) {
			t.Errorf("%q lacks %q", got, want)
		}
	}
}

func TestNilDoesNothing(t *testing.T) {
	var r *Reporter
	r.Logf("x")
	task := r.Start("a", 1, "b")
	task.Add(1)
	task.Note("c")
	task.Done()
}

func TestCountAndDuration(t *testing.T) {
	for n, want := range map[int64]string{0: "0", 9999: "9999", 12345: "12.3k", 4_560_000: "4.56M", 2_500_000_000: "2.50G"} {
		if got := Count(n); got != want {
			t.Errorf("Count(%d) = %q, want %q", n, got, want)
		}
	}
	for d, want := range map[time.Duration]string{800 * time.Millisecond: "0.8s", 42 * time.Second: "42s", 185 * time.Second: "3m05s", 130 * time.Minute: "2h10m"} {
		if got := Duration(d); got != want {
			t.Errorf("Duration(%v) = %q, want %q", d, got, want)
		}
	}
}
