package endpoint

import (
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/openai/openai-go/v3/option"
)

// longestPause bounds what an endpoint's headers can make everybody wait.
const longestPause = 2 * time.Minute

// gate lets so many requests through at a time, and none while the endpoint has said to wait. After a refusal it lets
// half as many through; each success widens it a little again.
type gate struct {
	mu      sync.Mutex
	free    *sync.Cond
	most    int
	width   float64
	inside  int
	notTill time.Time
	now     func() time.Time
}

func newGate(most int) *gate {
	g := &gate{most: most, width: float64(most), now: time.Now}
	g.free = sync.NewCond(&g.mu)
	return g
}

// pass is the client's middleware: every attempt goes through it.
func (g *gate) pass(r *http.Request, next option.MiddlewareNext) (*http.Response, error) {
	stop := make(chan struct{})
	defer close(stop)
	go func() { // wakes the wait below when the request is given up
		select {
		case <-r.Context().Done():
			g.mu.Lock()
			g.free.Broadcast()
			g.mu.Unlock()
		case <-stop:
		}
	}()
	g.mu.Lock()
	for g.inside >= max(1, int(g.width)) && r.Context().Err() == nil {
		g.free.Wait()
	}
	g.inside++
	wait := g.notTill.Sub(g.now())
	g.mu.Unlock()
	defer func() {
		g.mu.Lock()
		g.inside--
		g.free.Broadcast()
		g.mu.Unlock()
	}()
	if wait > 0 {
		t := time.NewTimer(wait)
		defer t.Stop()
		select {
		case <-r.Context().Done():
		case <-t.C:
		}
	}
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	res, err := next(r)
	g.learn(res)
	return res, err
}

// learn reads what an answer says about the endpoint's limits.
func (g *gate) learn(res *http.Response) {
	if res == nil {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	wait := time.Duration(0)
	if res.StatusCode == http.StatusTooManyRequests || res.StatusCode == http.StatusServiceUnavailable {
		g.width = max(1, g.width/2)
		wait = retryAfter(res.Header)
	} else if res.StatusCode < 300 {
		g.width = min(float64(g.most), g.width+0.1)
	}
	for _, kind := range []string{"requests", "tokens"} {
		if res.Header.Get("X-Ratelimit-Remaining-"+kind) == "0" {
			if d, err := time.ParseDuration(res.Header.Get("X-Ratelimit-Reset-" + kind)); err == nil {
				wait = max(wait, d)
			}
		}
	}
	if till := g.now().Add(min(wait, longestPause)); wait > 0 && till.After(g.notTill) {
		g.notTill = till
	}
}

func retryAfter(h http.Header) time.Duration {
	if ms, err := strconv.ParseFloat(h.Get("Retry-After-Ms"), 64); err == nil && ms > 0 {
		return time.Duration(min(ms, 1e6) * float64(time.Millisecond))
	}
	if s, err := strconv.ParseFloat(h.Get("Retry-After"), 64); err == nil && s > 0 {
		return time.Duration(min(s, 1e4) * float64(time.Second))
	}
	if t, err := http.ParseTime(h.Get("Retry-After")); err == nil {
		return time.Until(t)
	}
	return 0
}
