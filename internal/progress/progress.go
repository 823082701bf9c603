// Package progress tells a person how far a long piece of work is: share done, rate, time left.
//
// On a terminal it redraws one line; elsewhere it is quiet but for one line when a task ends. A nil Reporter and a nil
// Task do nothing, so that libraries need not ask.
package progress

import (
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"golang.org/x/term"
)

// Reporter draws tasks to one writer.
type Reporter struct {
	mu       sync.Mutex
	w        io.Writer
	terminal bool
	now      func() time.Time
}

// New returns a Reporter that writes to w and redraws when w is a terminal.
func New(w io.Writer) *Reporter {
	r := &Reporter{w: w, now: time.Now}
	if f, ok := w.(*os.File); ok {
		r.terminal = term.IsTerminal(int(f.Fd()))
	}
	return r
}

// Task is one piece of work with a known or unknown (0) total.
type Task struct {
	r           *Reporter
	name, unit  string
	total, done int64
	note        string
	start, last time.Time
}

// Start begins a task. Units are plural words: "documents", "tokens", "MB".
func (r *Reporter) Start(name string, total int64, unit string) *Task {
	if r == nil {
		return nil
	}
	now := r.now()
	return &Task{r: r, name: name, unit: unit, total: total, start: now, last: now}
}

// Logf writes a line of its own.
func (r *Reporter) Logf(format string, args ...any) {
	if r == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.clear()
	fmt.Fprintf(r.w, format+"\n", args...)
}

// Add counts n more units as done.
func (t *Task) Add(n int64) {
	if t == nil {
		return
	}
	t.r.mu.Lock()
	defer t.r.mu.Unlock()
	t.done += n
	if now := t.r.now(); t.r.terminal && now.Sub(t.last) > 200*time.Millisecond {
		t.last = now
		t.r.clear()
		fmt.Fprint(t.r.w, t.line(now))
	}
}

// Note sets a few words shown behind the numbers.
func (t *Task) Note(s string) {
	if t == nil {
		return
	}
	t.r.mu.Lock()
	defer t.r.mu.Unlock()
	t.note = s
}

// Done ends the task with one line.
func (t *Task) Done() {
	if t == nil {
		return
	}
	t.r.mu.Lock()
	defer t.r.mu.Unlock()
	t.r.clear()
	now := t.r.now()
	took := now.Sub(t.start)
	line := fmt.Sprintf("%s: %s %s in %s", t.name, Count(t.done), t.unit, Duration(took))
	if s := took.Seconds(); s > 0.5 && t.done > 0 {
		line += fmt.Sprintf(" (%s/s)", Count(int64(float64(t.done)/s)))
	}
	if t.note != "" {
		line += "  " + t.note
	}
	fmt.Fprintln(t.r.w, line)
}

func (r *Reporter) clear() {
	if r.terminal {
		fmt.Fprint(r.w, "\r\x1b[K")
	}
}

func (t *Task) line(now time.Time) string {
	took := now.Sub(t.start)
	rate := float64(t.done) / max(took.Seconds(), 1e-9)
	s := fmt.Sprintf("%s: %s", t.name, Count(t.done))
	if t.total > 0 {
		s = fmt.Sprintf("%s: %s of %s (%d %%)", t.name, Count(t.done), Count(t.total), 100*t.done/t.total)
	}
	s += fmt.Sprintf(" %s, %s/s", t.unit, Count(int64(rate)))
	if t.total > t.done && rate > 0 {
		s += ", " + Duration(time.Duration(float64(t.total-t.done)/rate*float64(time.Second))) + " left"
	}
	if t.note != "" {
		s += "  " + t.note
	}
	return s
}

// Count writes a number with three digits or so: 950, 12.3k, 4.56M.
func Count(n int64) string {
	switch f := float64(n); {
	case n >= 1e9:
		return fmt.Sprintf("%.2fG", f/1e9)
	case n >= 1e6:
		return fmt.Sprintf("%.2fM", f/1e6)
	case n >= 1e4:
		return fmt.Sprintf("%.1fk", f/1e3)
	}
	return fmt.Sprint(n)
}

// Duration writes a span of time as a person would: 0.8s, 42s, 3m05s, 2h10m.
func Duration(d time.Duration) string {
	switch {
	case d < 10*time.Second:
		return fmt.Sprintf("%.1fs", d.Seconds())
	case d < time.Minute:
		return fmt.Sprintf("%.0fs", d.Seconds())
	case d < time.Hour:
		return fmt.Sprintf("%dm%02ds", int(d.Minutes()), int(d.Seconds())%60)
	}
	return fmt.Sprintf("%dh%02dm", int(d.Hours()), int(d.Minutes())%60)
}
