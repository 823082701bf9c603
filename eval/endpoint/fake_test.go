package endpoint

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"ravn/eval"
)

const secret = "sk-hemmelig-nøgle-123"

// fake is an endpoint of a given kind that answers "ja" to everything.
type fake struct {
	completions, chat, logProbs bool
	refuse                      string // parameter that chat refuses
	trouble                     func(n int64, w http.ResponseWriter) bool
	calls, inside, most         atomic.Int64
	mu                          sync.Mutex
	headers                     []http.Header
	urls                        []string
}

func (f *fake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	n := f.calls.Add(1)
	f.mu.Lock()
	f.headers = append(f.headers, r.Header.Clone())
	f.urls = append(f.urls, r.URL.String())
	f.mu.Unlock()
	f.most.Store(max(f.most.Load(), f.inside.Add(1)))
	defer f.inside.Add(-1)
	w.Header().Set("Content-Type", "application/json")
	fail := func(status int, param, msg string) {
		w.WriteHeader(status)
		fmt.Fprintf(w, `{"error": {"message": %q, "type": "x", "param": %q, "code": null}}`, msg, param)
	}
	if f.trouble != nil && f.trouble(n, w) {
		return
	}
	var body map[string]any
	json.NewDecoder(r.Body).Decode(&body)
	if f.refuse != "" && body[f.refuse] != nil {
		fail(400, f.refuse, f.refuse+" is not supported")
		return
	}
	usage := `"usage": {"prompt_tokens": 1000, "completion_tokens": 10, "total_tokens": 1010}`
	switch {
	case strings.HasSuffix(r.URL.Path, "/chat/completions") && f.chat:
		logProbs := "null"
		if f.logProbs && body["logprobs"] == true {
			logProbs = `{"content": [{"token": "Ja", "logprob": -0.1, "bytes": null, "top_logprobs": [{"token": "Ja", "logprob": -0.1, "bytes": null}, {"token": " ne", "logprob": -2.5, "bytes": null}, {"token": "x", "logprob": -9, "bytes": null}]}]}`
		}
		fmt.Fprintf(w, `{"id": "1", "object": "chat.completion", "created": 1, "model": "m", "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "Ja.\n\nmere"}, "logprobs": %s}], %s}`, logProbs, usage)
	case strings.HasSuffix(r.URL.Path, "/completions") && !strings.Contains(r.URL.Path, "chat") && f.completions:
		if body["echo"] == true {
			fail(400, "echo", "echo is not supported")
			return
		}
		fmt.Fprintf(w, `{"id": "1", "object": "text_completion", "created": 1, "model": "m", "choices": [{"index": 0, "finish_reason": "stop", "text": " nej", "logprobs": null}], %s}`, usage)
	case strings.HasSuffix(r.URL.Path, "/completions"):
		fail(404, "model", "This is a chat model and not supported in the v1/completions endpoint.")
	default:
		fail(404, "", "nothing here")
	}
}

func open(t *testing.T, f *fake, o Options) (*Model, *httptest.Server) {
	t.Helper()
	h := httptest.NewServer(f)
	t.Cleanup(h.Close)
	o.Model, o.BaseURL = "m", h.URL+"/v1"
	m, err := Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return m, h
}

func TestProbing(t *testing.T) {
	choice := []eval.ChoicePrompt{{Prompt: "Er det rigtigt?", Choices: []string{" ja", " nej"}}}
	for _, c := range []struct {
		name string
		f    *fake
		how  string
		best int // of ja, nej; -1: no scores
		text string
	}{
		{"chat that tells its likeliest tokens", &fake{chat: true, logProbs: true}, "chat, labels by the first token among the 20 likeliest", 0, "Ja."},
		{"chat that tells nothing", &fake{chat: true}, "chat, labels by what is written", -1, "Ja."},
		{"chat that wants max_completion_tokens", &fake{chat: true, refuse: "max_tokens"}, "chat, labels by what is written", -1, "Ja."},
		{"chat that takes no temperature", &fake{chat: true, logProbs: true, refuse: "temperature"}, "chat, labels by the first token among the 20 likeliest", 0, "Ja."},
		{"completions without echo", &fake{completions: true}, "completions, labels by what is written", -1, " nej"},
	} {
		t.Run(c.name, func(t *testing.T) {
			m, _ := open(t, c.f, Options{})
			if m.How() != c.how || m.Info().NoScores != (c.best < 0) {
				t.Errorf("%s, NoScores %v; want %s", m.How(), m.Info().NoScores, c.how)
			}
			scores, err := m.ChoiceScores(t.Context(), choice)
			switch {
			case c.best < 0:
				if err == nil {
					t.Error("scores without log-probabilities")
				}
			case err != nil:
				t.Error(err)
			case scores[0][0].FirstToken != -0.1 || scores[0][1].FirstToken != -2.5:
				t.Errorf("scores %+v, the endpoint says -0.1 and -2.5", scores[0])
			}
			g, err := m.Generate(t.Context(), []eval.GeneratePrompt{{Prompt: "Er det rigtigt?", MaxTokens: 5, Stop: []string{"\n\n"}}})
			if err != nil || g[0].Text != c.text {
				t.Errorf("wrote %+v, %v, want %q", g, err, c.text)
			}
			if _, err := m.TextLoss(t.Context(), []string{"hej"}); err == nil {
				t.Error("bits per byte of an endpoint that scores no text")
			}
		})
	}
}

func TestRetriesAndLimits(t *testing.T) {
	var first time.Time
	f := &fake{chat: true, trouble: func(n int64, w http.ResponseWriter) bool {
		switch n {
		case 5: // the first after the probing
			first = time.Now()
			w.Header().Set("Retry-After-Ms", "300")
			w.WriteHeader(429)
			return true
		case 6:
			if d := time.Since(first); d < 290*time.Millisecond {
				t.Errorf("asked again after %v, the endpoint said 300 ms", d)
			}
			w.WriteHeader(500)
			return true
		}
		return false
	}}
	m, _ := open(t, f, Options{Concurrency: 1}) // so that no other request is on its way when the first is refused
	var prompts []eval.GeneratePrompt
	for i := range 30 {
		prompts = append(prompts, eval.GeneratePrompt{Prompt: fmt.Sprint(i), MaxTokens: 2})
	}
	if _, err := m.Generate(t.Context(), prompts); err != nil {
		t.Fatal(err)
	}
	if n := f.calls.Load(); n != 4+30+2 {
		t.Errorf("%d calls, want 36: four to probe, thirty, two again", n)
	}

	g := newGate(8)
	now := time.Unix(0, 0)
	g.now = func() time.Time { return now }
	h := http.Header{}
	h.Set("X-Ratelimit-Remaining-Requests", "0")
	h.Set("X-Ratelimit-Reset-Requests", "1m30s")
	g.learn(&http.Response{StatusCode: 200, Header: h})
	if d := g.notTill.Sub(now); d != 90*time.Second {
		t.Errorf("nothing is left for 1m30s, waits %v", d)
	}
	g.learn(&http.Response{StatusCode: 429, Header: http.Header{"Retry-After": {"99999"}}})
	if d := g.notTill.Sub(now); d != longestPause || g.width != 4 {
		t.Errorf("waits %v with %v at a time, want %v with 4", d, g.width, longestPause)
	}
	wide := &fake{chat: true}
	m, _ = open(t, wide, Options{Concurrency: 3})
	if _, err := m.Generate(t.Context(), prompts); err != nil {
		t.Fatal(err)
	}
	if n := wide.most.Load(); n > 3 {
		t.Errorf("%d requests at a time, 3 are allowed", n)
	}
}

func TestCostStops(t *testing.T) {
	f := &fake{chat: true}
	m, _ := open(t, f, Options{Concurrency: 1, Price: Price{Input: 10, Output: 30}, MaxCost: 0.1})
	var prompts []eval.GeneratePrompt
	for i := range 100 {
		prompts = append(prompts, eval.GeneratePrompt{Prompt: fmt.Sprint(i), MaxTokens: 2})
	}
	_, err := m.Generate(t.Context(), prompts)
	var cost *CostError
	if !errors.As(err, &cost) {
		t.Fatalf("got %v, want the cost to stop it", err)
	}
	// Each call costs 1000*10/1e6 + 10*30/1e6 = 0.0103: the tenth goes beyond 0.1.
	if in, out, c := m.Spent(); in != 10_000 || out != 100 || c < 0.1 || c > 0.1031 {
		t.Errorf("spent %d, %d, %v", in, out, c)
	}
}

// Keys come from the environment and are in no error, even when the endpoint repeats them, nor sent to other hosts unasked.
func TestKeysStayInHeaders(t *testing.T) {
	t.Setenv("MY_KEY", secret)
	t.Setenv("OPENAI_API_KEY", secret)
	echoes := func(status int) *fake {
		return &fake{chat: true, trouble: func(n int64, w http.ResponseWriter) bool {
			w.WriteHeader(status)
			fmt.Fprintf(w, `{"error": {"message": "bad key %s", "type": "x", "param": null, "code": null}}`, secret)
			return true
		}}
	}
	for _, status := range []int{400, 401, 403, 404} {
		f := echoes(status)
		h := httptest.NewServer(f)
		_, err := Open(t.Context(), Options{Model: "m", BaseURL: h.URL + "/v1", KeyVariable: "MY_KEY", Retries: -1})
		h.Close()
		if err == nil || strings.Contains(fmt.Sprintf("%v %+v %#v", err, err, err), "hemmelig") || !strings.Contains(err.Error(), fmt.Sprint(status)) {
			t.Errorf("%d: error %v", status, err)
		}
		if got := f.headers[0].Get("Authorization"); got != "Bearer "+secret {
			t.Errorf("%d: the key was sent as %q", status, got)
		}
	}
	if _, err := Open(t.Context(), Options{Model: "m", BaseURL: "http://127.0.0.1:1/v1", KeyVariable: "MY_KEY", Retries: -1}); err == nil || strings.Contains(err.Error(), "hemmelig") {
		t.Errorf("nobody listens: %v", err)
	}
	f := &fake{chat: true}
	open(t, f, Options{})
	for _, h := range f.headers {
		if h.Get("Authorization") != "" || h.Get("Api-Key") != "" {
			t.Error("OPENAI_API_KEY was sent to an endpoint of somebody else")
		}
	}
	f = &fake{chat: true}
	open(t, f, Options{KeyVariable: "MY_KEY", APIVersion: "2024-10-21"})
	for i, h := range f.headers {
		if h.Get("Api-Key") != secret || h.Get("Authorization") != "" || !strings.Contains(f.urls[i], "api-version=2024-10-21") {
			t.Errorf("Azure: headers %v, URL %s", h, f.urls[i])
		}
	}
	for _, url := range []string{"http://me:" + "pw@host/v1", "http://host/v1?key=x", "host/v1", "ftp://host", "://"} {
		if _, err := Open(t.Context(), Options{Model: "m", BaseURL: url}); err == nil || strings.Contains(err.Error(), "pw") {
			t.Errorf("base URL %q: %v", url, err)
		}
	}
	t.Setenv("OPENAI_API_KEY", "")
	if _, err := Open(t.Context(), Options{Model: "m"}); err == nil || !strings.Contains(err.Error(), "OPENAI_API_KEY") {
		t.Errorf("without a key: %v", err)
	}
}

func TestDistance(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want int
	}{{"", "ja", 2}, {"nej", "ja", 3}, {"positiv", "positive", 1}, {"nøytral", "neutral", 2}, {"æ", "æ", 0}} {
		if got := distance([]rune(c.a), []rune(c.b)); got != c.want {
			t.Errorf("%q, %q: %d, by hand %d", c.a, c.b, got, c.want)
		}
	}
}

// noSecrets fails when a file below dir holds the key.
func noSecrets(t *testing.T, dir string) {
	t.Helper()
	files := 0
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		files++
		data, err := os.ReadFile(path)
		if err == nil && strings.Contains(string(data), "hemmelig") {
			t.Errorf("%s holds the key", path)
		}
		return err
	})
	if err != nil || files == 0 {
		t.Errorf("%d files read: %v", files, err)
	}
}
