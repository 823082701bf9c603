package serve

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// metrics are counted here and written in Prometheus' text format, version 0.0.4.
type metrics struct {
	prompt, reused, generated, passes atomic.Int64
	first, whole                      histogram

	mu       sync.Mutex
	requests map[[2]string]int64 // by path and status
}

func newMetrics() *metrics { return &metrics{requests: map[[2]string]int64{}} }

// bounds are those of the histograms, in seconds.
var bounds = []float64{0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100}

type histogram struct {
	mu    sync.Mutex
	count [10]int64 // the last for what lies beyond
	sum   float64
}

func (h *histogram) add(d time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	at, _ := slices.BinarySearch(bounds, d.Seconds())
	h.count[at]++
	h.sum += d.Seconds()
}

func (h *histogram) write(w io.Writer, name, help string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	fmt.Fprintf(w, "# HELP %s %s\n# TYPE %s histogram\n", name, help, name)
	var n int64
	for i, b := range bounds {
		n += h.count[i]
		fmt.Fprintf(w, "%s_bucket{le=\"%g\"} %d\n", name, b, n)
	}
	n += h.count[len(bounds)]
	fmt.Fprintf(w, "%s_bucket{le=\"+Inf\"} %d\n%s_sum %g\n%s_count %d\n", name, n, name, h.sum, name, n)
}

func (m *metrics) request(path, status string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.requests[[2]string{path, status}]++
}

func (m *metrics) write(w io.Writer, running, waiting int) {
	for _, x := range []struct {
		name, kind, help string
		v                int64
	}{
		{"ravn_prompt_tokens_total", "counter", "Tokens of prompts.", m.prompt.Load()},
		{"ravn_prompt_tokens_reused_total", "counter", "Tokens of prompts that earlier texts had computed.", m.reused.Load()},
		{"ravn_generated_tokens_total", "counter", "Tokens written.", m.generated.Load()},
		{"ravn_passes_total", "counter", "Passes through the model.", m.passes.Load()},
		{"ravn_running", "gauge", "Texts being computed.", int64(running)},
		{"ravn_waiting", "gauge", "Texts waiting.", int64(waiting)},
	} {
		fmt.Fprintf(w, "# HELP %s %s\n# TYPE %s %s\n%s %d\n", x.name, x.help, x.name, x.kind, x.name, x.v)
	}
	m.first.write(w, "ravn_first_token_seconds", "From the request to its first token.")
	m.whole.write(w, "ravn_request_seconds", "From the request to the end of its answer.")
	m.mu.Lock()
	defer m.mu.Unlock()
	fmt.Fprint(w, "# HELP ravn_requests_total Requests answered.\n# TYPE ravn_requests_total counter\n")
	for _, k := range slices.SortedFunc(maps.Keys(m.requests), func(a, b [2]string) int { return slices.Compare(a[:], b[:]) }) {
		fmt.Fprintf(w, "ravn_requests_total{path=%q,status=%q} %d\n", k[0], k[1], m.requests[k])
	}
}
