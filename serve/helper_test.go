package serve

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"ravn/model"
	"ravn/tokenizer"
	"ravn/weights"
)

var sentences = []string{
	"Ræven løb over marken og ind i skoven.", "Der er en by i Jylland, som hedder Aarhus.",
	"Hun skrev et brev til sin søster om sommeren.", "Følgende er sætninger og om de er grammatisk korrekte.",
	"Sætning: Grammatisk korrekt: ja nej", "Vi skal købe mælk, brød og æbler i dag.",
}

// chatML is a template of ours in the ChatML form, with the tokenizer's end token as its mark.
const chatML = `{% for m in messages %}{% if m.role == 'system' and not loop.first %}{{ raise_exception('system must come first') }}{% endif %}{{ bos_token }}{{ m.role + '\n' + m.content + eos_token + '\n' }}{% endfor %}{{ bos_token }}{% if add_generation_prompt %}{{ 'assistant\n' }}{% endif %}`

// tinyModel is a folder with an untrained decoder and a tokenizer of 400 pieces.
func tinyModel(t testing.TB, template string) string {
	t.Helper()
	o := tokenizer.DefaultTrainOptions()
	o.VocabSize = 400
	tok, err := tokenizer.Train(t.Context(), slices.Values(sentences), o)
	if err != nil {
		t.Fatal(err)
	}
	c, err := model.ParseConfig([]byte(`{"model_type": "mistral", "architectures": ["MistralForCausalLM"], "vocab_size": 400,
		"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
		"max_position_embeddings": 512, "rms_norm_eps": 1e-5, "initializer_range": 0.3}`))
	if err != nil {
		t.Fatal(err)
	}
	files := tok.Files()
	if template != "" {
		files["chat_template.jinja"] = []byte(template)
	}
	dir := filepath.Join(t.TempDir(), "tiny")
	if err := weights.SaveFolder(dir, model.Init(c, 7), weights.SaveOptions{Files: files}); err != nil {
		t.Fatal(err)
	}
	return dir
}

// start serves a tiny model; at the end of the test it must close, and leave no goroutine.
func start(t testing.TB, template string, o Options) (*Server, *httptest.Server) {
	t.Helper()
	before := runtime.NumGoroutine()
	s, err := Open(tinyModel(t, template), o)
	if err != nil {
		t.Fatal(err)
	}
	h := httptest.NewServer(s.Handler())
	t.Cleanup(func() {
		h.CloseClientConnections()
		h.Close()
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		http.DefaultClient.CloseIdleConnections()
		for end := time.Now().Add(time.Minute); runtime.NumGoroutine() > before; time.Sleep(10 * time.Millisecond) {
			if time.Now().After(end) {
				buf := make([]byte, 1<<16)
				t.Fatalf("%d goroutines, before the server there were %d:\n%s", runtime.NumGoroutine(), before, buf[:runtime.Stack(buf, true)])
			}
		}
	})
	return s, h
}

// post sends v and reads the answer.
func post(t testing.TB, url string, v any) (int, map[string]any) {
	t.Helper()
	var body []byte
	switch v := v.(type) {
	case string:
		body = []byte(v)
	default:
		var err error
		if body, err = json.Marshal(v); err != nil {
			t.Fatal(err)
		}
	}
	r, err := http.Post(url, "application/json", bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	data, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	var out map[string]any
	if err := json.Unmarshal(data, &out); err != nil {
		t.Fatalf("%s: not JSON: %.300s", url, data)
	}
	return r.StatusCode, out
}

// dig goes into nested JSON: dig(v, "choices", 0, "text").
func dig(v any, path ...any) any {
	for _, p := range path {
		switch p := p.(type) {
		case string:
			m, _ := v.(map[string]any)
			v = m[p]
		case int:
			l, _ := v.([]any)
			if p >= len(l) {
				return nil
			}
			v = l[p]
		}
	}
	return v
}

type obj = map[string]any

func get(t testing.TB, url string) (int, string) {
	t.Helper()
	r, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	data, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return r.StatusCode, string(data)
}

// events reads a stream of server-sent events up to its end.
func events(t testing.TB, r io.Reader) (parts []map[string]any, done bool) {
	t.Helper()
	data, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	for _, block := range strings.Split(strings.TrimSpace(string(data)), "\n\n") {
		text, ok := strings.CutPrefix(block, "data: ")
		if !ok {
			t.Fatalf("not an event: %q", block)
		}
		if text == "[DONE]" {
			done = true
			continue
		}
		var v map[string]any
		if err := json.Unmarshal([]byte(text), &v); err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		parts = append(parts, v)
	}
	return parts, done
}

// until waits for what has to come; only a test that fails waits long.
func until(t testing.TB, what string, f func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !f(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("it never came that %s", what)
		}
	}
}

// gate is the context of a text that holds up each pass of the scheduler until it gets a step or is opened.
type gate struct {
	context.Context
	asked   bool // by admit, before the first pass
	step    chan struct{}
	opened  chan struct{}
	once    sync.Once
	written int64 // tokens of the gate's own text
}

func (g *gate) Err() error {
	if !g.asked {
		g.asked = true
		return nil
	}
	select {
	case <-g.step:
	case <-g.opened:
	}
	return nil
}

func (g *gate) open() { g.once.Do(func() { close(g.opened) }) }

// hold gives s a text of eight tokens whose passes a gate holds up.
func hold(t testing.TB, s *Server) *gate {
	t.Helper()
	g := &gate{Context: t.Context(), step: make(chan struct{}), opened: make(chan struct{}), written: 8}
	j, err := s.sequences(g, &settings{IgnoreEOS: true}, [][]int32{{1, 2}}, 8, false, false, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(g.open) // of a test that has failed
	if err := s.work.submit(j.list); err != nil {
		t.Fatal(err)
	}
	return g
}
