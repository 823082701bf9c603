package serve

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"ravn/eval"
	"ravn/weights"
)

// The judge of what is served is eval.Local on the same folder: written by others, one session at a time.
func TestGreedyTextIsTheLocalModels(t *testing.T) {
	dir := tinyModel(t, "")
	s, h := start(t, "", Options{})
	local, err := eval.OpenLocal(dir, eval.LocalOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer local.Close()
	for _, p := range []string{"Hej", sentences[0] + "\n\n" + sentences[1], "Sætning: " + sentences[5] + "\nGrammatisk korrekt:"} {
		want, err := local.Generate(t.Context(), []eval.GeneratePrompt{{Prompt: p, MaxTokens: 24}})
		if err != nil {
			t.Fatal(err)
		}
		code, got := post(t, h.URL+"/v1/completions", obj{"model": "tiny", "prompt": p, "max_tokens": 24, "temperature": 0})
		if code != 200 {
			t.Fatalf("%d %v", code, got)
		}
		// Local decodes the answer alone, which drops the space before its first word.
		text := dig(got, "choices", 0, "text").(string)
		if strings.TrimPrefix(text, " ") != want[0].Text {
			t.Errorf("%q: served %q, local %q", p, text, want[0].Text)
		}
		if n := dig(got, "usage", "completion_tokens").(float64); int(n) != want[0].Tokens {
			t.Errorf("%v tokens counted, local wrote %d", n, want[0].Tokens)
		}
		if n := dig(got, "usage", "prompt_tokens").(float64); int(n) != local.CountTokens(p) {
			t.Errorf("%v prompt tokens counted, there are %d", n, local.CountTokens(p))
		}
	}
	if s.Name() != "tiny" {
		t.Errorf("name %q", s.Name())
	}
}

// Scoring of given text: every log-probability, its rivals and offsets, against eval.Local, whatever was computed before.
func TestEchoScoresTheLocalModels(t *testing.T) {
	dir := tinyModel(t, "")
	_, h := start(t, "", Options{})
	local, err := eval.OpenLocal(dir, eval.LocalOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer local.Close()
	shots := strings.Repeat(sentences[1]+" ", 3)
	for range 2 { // the second time everything is known
		for _, p := range []string{shots + "Er det rigtigt?", shots + "Hvor ligger den?"} {
			choices := []string{" ja", " nej", " skoven og"}
			want, err := local.ChoiceScores(t.Context(), []eval.ChoicePrompt{{Prompt: p, Choices: choices}})
			if err != nil {
				t.Fatal(err)
			}
			asked := []string{p}
			for _, c := range choices {
				asked = append(asked, p+c)
			}
			code, got := post(t, h.URL+"/v1/completions", obj{"prompt": asked, "max_tokens": 0, "echo": true, "logprobs": 0})
			if code != 200 {
				t.Fatalf("%d %v", code, got)
			}
			for i := range choices {
				text := dig(got, "choices", i+1, "text").(string)
				if text != p+choices[i] {
					t.Errorf("echo %q, want %q", text, p+choices[i])
				}
				lp := dig(got, "choices", i+1, "logprobs", "token_logprobs").([]any)
				if lp[0] != nil {
					t.Errorf("the first token has the log-probability %v", lp[0])
				}
				sum := 0.0
				for _, x := range lp[len(lp)-want[0][i].Tokens:] {
					sum += x.(float64)
				}
				if sum != want[0][i].LogProb {
					t.Errorf("%q: served %v, local %v", choices[i], sum, want[0][i].LogProb)
				}
				spelled := ""
				for _, x := range dig(got, "choices", i+1, "logprobs", "tokens").([]any)[1:] {
					spelled += x.(string)
				}
				if spelled != text {
					t.Errorf("tokens spell %q, the text is %q", spelled, text)
				}
			}
		}
	}
	_, got := post(t, h.URL+"/v1/completions", obj{"prompt": "Hun skrev", "max_tokens": 2, "echo": true, "logprobs": 3, "temperature": 0})
	lp := dig(got, "choices", 0, "logprobs").(obj)
	tokens, top, offsets := lp["tokens"].([]any), lp["top_logprobs"].([]any), lp["text_offset"].([]any)
	if len(top) != len(tokens) || len(offsets) != len(tokens) || top[0] != nil {
		t.Fatalf("%d tokens, %d lists of rivals (the first %v), %d offsets", len(tokens), len(top), top[0], len(offsets))
	}
	text := []rune(dig(got, "choices", 0, "text").(string))
	for i := range tokens[1:] {
		rivals := top[i+1].(obj)
		if len(rivals) < 3 {
			t.Errorf("token %d has rivals %v", i+1, rivals)
		}
		at := int(offsets[i+1].(float64))
		if s := tokens[i+1].(string); !strings.HasPrefix(s, "bytes:") && !strings.HasPrefix(string(text[at:]), s) {
			t.Errorf("token %d %q is said to stand at %d of %q", i+1, s, at, string(text))
		}
	}
	last := len(tokens) - 1
	own := lp["token_logprobs"].([]any)[last].(float64)
	for name, p := range top[last].(obj) {
		if p.(float64) > own {
			t.Errorf("greedy wrote a token with %v, %q has %v", own, name, p)
		}
	}
}

// Promise: what is asked at the same time changes no answer, and a seed fixes a drawn text.
func TestNeighboursDoNotMatter(t *testing.T) {
	_, h := start(t, "", Options{Batch: 5})
	bodies := make([]obj, 24)
	for i := range bodies {
		bodies[i] = obj{
			"prompt": strings.Repeat(sentences[i%6]+" ", 1+i%4), "max_tokens": 8 + i, "seed": i, "temperature": 0.2 * float64(i%8), "top_p": 1 - 0.05*float64(i%3),
			"logprobs": i % 3, "presence_penalty": float64(i%2) * 0.5, "logit_bias": obj{"44": i % 5}, "n": 1 + i%2, "stop": []string{"ø", "\n"},
		}
		if i%4 == 0 {
			bodies[i]["echo"] = true
		}
	}
	ask := func(b obj) string {
		code, v := post(t, h.URL+"/v1/completions", b)
		if code != 200 {
			t.Errorf("%d %v", code, v)
		}
		text, _ := json.Marshal([]any{v["choices"], v["usage"]})
		return string(text)
	}
	alone := make([]string, len(bodies))
	for i, b := range bodies {
		alone[i] = ask(b)
	}
	together := make([]string, len(bodies))
	var wg sync.WaitGroup
	for i, b := range bodies {
		wg.Go(func() { together[i] = ask(b) })
	}
	wg.Wait()
	for i := range bodies {
		if together[i] != alone[i] {
			t.Errorf("request %d:\nalone    %s\ntogether %s", i, alone[i], together[i])
		}
	}
}

func TestStreamIsTheWhole(t *testing.T) {
	_, h := start(t, chatML, Options{})
	for _, c := range []struct {
		path string
		body obj
	}{
		{"/v1/completions", obj{"prompt": "Ræven løb", "max_tokens": 40, "seed": 3, "logprobs": 2, "n": 2}},
		{"/v1/completions", obj{"prompt": "Ræven løb", "max_tokens": 40, "seed": 3, "echo": true, "stop": "e"}},
		{"/v1/chat/completions", obj{"messages": []obj{{"role": "user", "content": "Hej"}}, "max_tokens": 40, "seed": 5, "logprobs": true, "top_logprobs": 2}},
	} {
		code, whole := post(t, h.URL+c.path, c.body)
		if code != 200 {
			t.Fatalf("%d %v", code, whole)
		}
		c.body["stream"], c.body["stream_options"] = true, obj{"include_usage": true}
		data, _ := json.Marshal(c.body)
		r, err := http.Post(h.URL+c.path, "application/json", bytes.NewReader(data))
		if err != nil {
			t.Fatal(err)
		}
		parts, done := events(t, r.Body)
		r.Body.Close()
		if kind := r.Header.Get("Content-Type"); kind != "text/event-stream" || !done {
			t.Errorf("content type %q, done %v", kind, done)
		}
		for i := range whole["choices"].([]any) {
			text, finish, tokens := "", any(nil), 0
			for _, p := range parts {
				for _, x := range p["choices"].([]any) {
					if dig(x, "index") != float64(i) {
						continue
					}
					if s, ok := dig(x, "text").(string); ok {
						text += s
					}
					if s, ok := dig(x, "delta", "content").(string); ok {
						text += s
					}
					if f := dig(x, "finish_reason"); f != nil {
						finish = f
					}
					if l, ok := dig(x, "logprobs", "content").([]any); ok {
						tokens += len(l)
					}
					if l, ok := dig(x, "logprobs", "tokens").([]any); ok {
						tokens += len(l)
					}
				}
			}
			want := whole["choices"].([]any)[i].(obj)
			wantText, _ := want["text"].(string)
			if m, ok := dig(want, "message", "content").(string); ok {
				wantText = m
			}
			if text != wantText || finish != want["finish_reason"] {
				t.Errorf("%s: streamed %q (%v), whole %q (%v)", c.path, text, finish, wantText, want["finish_reason"])
			}
			wantTokens := len(slices.Concat(asList(dig(want, "logprobs", "tokens")), asList(dig(want, "logprobs", "content"))))
			if tokens != wantTokens {
				t.Errorf("%s: %d log-probabilities streamed, %d in the whole", c.path, tokens, wantTokens)
			}
		}
		if u := dig(parts[len(parts)-1], "usage"); fmt.Sprint(u) != fmt.Sprint(whole["usage"]) {
			t.Errorf("usage streamed %v, whole %v", u, whole["usage"])
		}
	}
}

func asList(v any) []any { l, _ := v.([]any); return l }

func TestChat(t *testing.T) {
	s, h := start(t, chatML, Options{})
	talk := []obj{{"role": "system", "content": "Svar kort."}, {"role": "user", "content": []obj{{"type": "text", "text": "Hej "}, {"type": "text", "text": "du"}}}}
	code, got := post(t, h.URL+"/v1/chat/completions", obj{"model": "tiny", "messages": talk, "max_completion_tokens": 5, "temperature": 0, "logprobs": true, "top_logprobs": 1})
	if code != 200 {
		t.Fatalf("%d %v", code, got)
	}
	// The same by hand: control tokens where the template names them.
	var ids []int32
	bos, eos := s.tok.BOS(), s.tok.EOS()
	for _, m := range []string{"system\nSvar kort.", "user\nHej du"} {
		ids = append(append(ids, bos), s.tok.Encode(nil, m)...)
		ids = append(ids, eos)
		ids = s.tok.Encode(ids, "\n")
	}
	ids = s.tok.Encode(append(ids, bos), "assistant\n")
	if n := dig(got, "usage", "prompt_tokens"); n != float64(len(ids)) {
		t.Errorf("%v prompt tokens, by hand %d", n, len(ids))
	}
	_, same := post(t, h.URL+"/v1/completions", obj{"prompt": ids, "max_tokens": 5, "temperature": 0})
	if a, b := dig(got, "choices", 0, "message", "content"), dig(same, "choices", 0, "text"); a != b {
		t.Errorf("chat writes %q, the same tokens as a completion %q", a, b)
	}
	first := dig(got, "choices", 0, "logprobs", "content", 0)
	if dig(first, "logprob") != dig(first, "top_logprobs", 0, "logprob") || dig(first, "token") != dig(first, "top_logprobs", 0, "token") {
		t.Errorf("greedy, but the first token is not the likeliest: %v", first)
	}
	code, got = post(t, h.URL+"/v1/chat/completions", obj{"messages": []obj{talk[1], talk[0]}})
	if code != 400 || !strings.Contains(fmt.Sprint(dig(got, "error", "message")), "system must come first") {
		t.Errorf("refused by the template: %d %v", code, got)
	}
	_, h = start(t, "", Options{})
	code, got = post(t, h.URL+"/v1/chat/completions", obj{"messages": talk})
	if code != 400 || dig(got, "error", "code") != "no_chat_template" {
		t.Errorf("without a template: %d %v", code, got)
	}
	_, h = start(t, "{% macro x() %}{% endmacro %}", Options{})
	code, got = post(t, h.URL+"/v1/chat/completions", obj{"messages": talk})
	if code != 400 || !strings.Contains(fmt.Sprint(dig(got, "error", "message")), `block "macro" is not supported`) {
		t.Errorf("with a template that is not supported: %d %v", code, got)
	}
}

func TestBadRequests(t *testing.T) {
	_, h := start(t, chatML, Options{MaxTokens: 64, Queue: 8, MaxBodyBytes: 1 << 16})
	long := strings.Repeat("æble ", 400)
	for _, c := range []struct {
		name   string
		path   string
		body   any
		status int
		want   string // part of the message
	}{
		{"no JSON", "completions", "prompt=hej", 400, "not the JSON that is wanted"},
		{"nothing", "completions", "", 400, "not the JSON that is wanted"},
		{"half", "completions", `{"prompt": "a`, 400, "not the JSON that is wanted"},
		{"two objects", "completions", `{"prompt": "a"} {}`, 400, "after top-level value"},
		{"deep", "completions", `{"prompt": ` + strings.Repeat("[", 20000) + strings.Repeat("]", 20000) + "}", 400, "depth"},
		{"huge", "completions", `{"prompt": "` + strings.Repeat("x", 1<<17) + `"}`, 413, "more than 65536 bytes"},
		{"huge tail", "completions", `{"prompt": "a"}` + strings.Repeat(" ", 1<<17), 413, "more than 65536 bytes"},
		{"not UTF-8", "completions", "{\"prompt\": \"a\xff\"}", 400, "not UTF-8"},
		{"UTF-16", "completions", "\xff\xfe{\x00}\x00", 400, "not UTF-8"},
		{"NaN", "completions", `{"prompt": "a", "temperature": NaN}`, 400, "invalid character 'N'"},
		{"beyond float64", "completions", `{"prompt": "a", "temperature": 1e999}`, 400, "temperature cannot be of type number 1e999"},
		{"seed beyond int64", "completions", `{"prompt": "a", "seed": 18446744073709551616}`, 400, "seed cannot be of type number"},
		{"another case", "completions", `[1, 2]`, 400, "The body cannot be of type array"},
		{"no prompt", "completions", obj{}, 400, "no prompt"},
		{"null", "completions", `{"prompt": null}`, 400, "no prompt"},
		{"no prompts", "completions", `{"prompt": []}`, 400, "no prompt"},
		{"ids that are none", "completions", `{"prompt": [1.5]}`, 400, "prompt must be"},
		{"texts and a number", "completions", `{"prompt": [[1], "a"]}`, 400, "prompt must be"},
		{"many prompts", "completions", `{"prompt": ["a","a","a","a","a","a","a","a","a"]}`, 400, "9 prompts, at most 8"},
		{"mixed prompt", "completions", `{"prompt": ["a", 1]}`, 400, "prompt must be"},
		{"prompt of another kind", "completions", `{"prompt": {"a": 1}}`, 400, "prompt must be"},
		{"id outside", "completions", obj{"prompt": []int{1, 400}}, 400, "token 400 is outside"},
		{"negative id", "completions", obj{"prompt": []int{-1}}, 400, "token -1 is outside"},
		{"no tokens", "completions", obj{"prompt": [][]int{{}}}, 400, "is empty"},
		{"long", "completions", obj{"prompt": long}, 400, "context is 512 tokens"},
		{"too many tokens", "completions", obj{"prompt": "a", "max_tokens": 65}, 400, "writes at most 64"},
		{"negative tokens", "completions", obj{"prompt": "a", "max_tokens": -1}, 400, "must not be negative"},
		{"text for a number", "completions", obj{"prompt": "a", "max_tokens": "many"}, 400, "max_tokens cannot be of type string"},
		{"n", "completions", obj{"prompt": "a", "n": 9}, 400, "n is 9"},
		{"n times prompts", "completions", obj{"prompt": []string{"a", "b", "c"}, "n": 4}, 400, "asks for 12 texts"},
		{"temperature", "completions", obj{"prompt": "a", "temperature": -1}, 400, "temperature is -1"},
		{"top_p", "completions", obj{"prompt": "a", "top_p": 0}, 400, "top_p is 0"},
		{"logprobs", "completions", obj{"prompt": "a", "logprobs": 99}, 400, "99 likeliest tokens"},
		{"stop", "completions", obj{"prompt": "a", "stop": []string{""}}, 400, "stop string"},
		{"stops", "completions", obj{"prompt": "a", "stop": make([]string, 17)}, 400, "stop has more than 16"},
		{"a stop that is none", "completions", `{"prompt": "a", "stop": [1]}`, 400, "stop cannot be of type number"},
		{"biases", "completions", `{"prompt": "a", "logit_bias": {` + strings.Repeat(`"5": 1, `, 1024) + `"6": 1}}`, 400, "logit_bias has 1025"},
		{"bias", "completions", obj{"prompt": "a", "logit_bias": obj{"x": 1}}, 400, "no token of the vocabulary"},
		{"bias value", "completions", obj{"prompt": "a", "logit_bias": obj{"5": 1000}}, 400, "between -100 and 100"},
		{"penalty", "completions", obj{"prompt": "a", "presence_penalty": 3}, 400, "presence_penalty is 3"},
		{"suffix", "completions", obj{"prompt": "a", "suffix": "b"}, 400, "suffix is not supported"},
		{"best_of", "completions", obj{"prompt": "a", "best_of": 3}, 400, "best_of is not supported"},
		{"format", "completions", obj{"prompt": "a", "response_format": obj{"type": "json_object"}}, 400, "only text"},
		{"other model", "completions", obj{"model": "gpt-4", "prompt": "a"}, 404, `"gpt-4" is not here`},
		{"no messages", "chat/completions", obj{}, 400, "no messages"},
		{"role", "chat/completions", obj{"messages": []obj{{"role": "tool", "content": "x"}}}, 400, `role "tool"`},
		{"messages", "chat/completions", `{"messages": {"role": "user"}}`, 400, "messages must be a list"},
		{"role of another kind", "chat/completions", `{"messages": [{"role": 1}]}`, 400, "messages.role cannot be of type number"},
		{"long chat", "chat/completions", obj{"messages": []obj{{"role": "user", "content": strings.Repeat("<s>", 3000)}}}, 400, "context is 512 tokens"},
		{"negative tokens of a chat", "chat/completions", obj{"messages": []obj{{"role": "user", "content": "x"}}, "max_tokens": -7}, 400, "at least 1"},
		{"picture", "chat/completions", obj{"messages": []obj{{"role": "user", "content": []obj{{"type": "image_url"}}}}}, 400, "only text is understood"},
		{"tools", "chat/completions", obj{"messages": []obj{{"role": "user", "content": "x"}}, "tools": []obj{{"type": "function"}}}, 400, "Tools are not supported"},
		{"rivals without logprobs", "chat/completions", obj{"messages": []obj{{"role": "user", "content": "x"}}, "top_logprobs": 2}, 400, "needs logprobs"},
		{"unknown", "embeddings", obj{}, 404, "There is no POST /v1/embeddings"},
	} {
		t.Run(c.name, func(t *testing.T) {
			code, got := post(t, h.URL+"/v1/"+c.path, c.body)
			msg, _ := dig(got, "error", "message").(string)
			if code != c.status || !strings.Contains(msg, c.want) {
				t.Errorf("got %d %v, want %d and %q", code, got, c.status, c.want)
			}
			if typ, _ := dig(got, "error", "type").(string); typ == "" {
				t.Errorf("error without a type: %v", got)
			}
			if param, _ := dig(got, "error", "param").(string); strings.HasPrefix(param, "settings") {
				t.Errorf("param %q is no field of the request", param)
			}
		})
	}
	r, err := http.Post(h.URL+"/v1/completions", "text/plain", strings.NewReader(`{"prompt": "a"}`))
	if err != nil {
		t.Fatal(err)
	}
	r.Body.Close()
	if r.StatusCode != http.StatusUnsupportedMediaType {
		t.Errorf("a plain text body, as pages of other origins can send: %d", r.StatusCode)
	}
	req, _ := http.NewRequest("POST", h.URL+"/v1/completions", strings.NewReader(`{"prompt": "a"}`))
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Origin", "https://example.org")
	if r, err = http.DefaultClient.Do(req); err != nil {
		t.Fatal(err)
	}
	r.Body.Close()
	if r.StatusCode != http.StatusForbidden {
		t.Errorf("a request of a page of another origin: %d", r.StatusCode)
	}
	if code, _ := get(t, h.URL+"/healthz"); code != 200 {
		t.Errorf("healthz %d", code)
	}
}

// Small bodies that would become large in memory are refused before they do, and long texts before they are cut into tokens.
func TestBodiesThatGrow(t *testing.T) {
	_, h := start(t, chatML, Options{})
	many := strings.Repeat(`"",`, 1<<20)
	for _, c := range []struct{ name, path, body, want string }{
		{"empty prompts", "completions", `{"prompt": [` + many + `""]}`, "more than 65536 elements"},
		{"prompts of a token", "completions", `{"prompt": [` + strings.Repeat("[1],", 900_000) + `[1]]}`, "more than 65536 elements"},
		{"stops", "completions", `{"prompt": "a", "stop": [` + many + `""]}`, "more than 16 elements"},
		{"messages", "chat/completions", `{"messages": [` + strings.Repeat("{},", 1<<20) + `{}]}`, "more than 65536 elements"},
		{"parts", "chat/completions", `{"messages": [{"role": "user", "content": [` + strings.Repeat(`{"type":"text"},`, 200_000) + `{}]}]}`, "more than 65536 elements"},
		{"spaces", "completions", `{"prompt": "` + strings.Repeat(" ", 4_000_000) + `"}`, "more than four times"},
		{"marks", "chat/completions", `{"messages": [{"role": "user", "content": "` + strings.Repeat("<s>", 1_300_000) + `"}]}`, "more than four times"},
	} {
		code, got := post(t, h.URL+"/v1/"+c.path, c.body)
		if msg, _ := dig(got, "error", "message").(string); code != 400 || !strings.Contains(msg, c.want) {
			t.Errorf("%s: got %d %v, want 400 and %q", c.name, code, got, c.want)
		}
	}
}

// A page whose name has been made to lead to this machine gets nothing, unless clients have to send a key.
func TestOtherNamesOfThisMachine(t *testing.T) {
	for _, key := range []string{"", "hemmelig"} {
		_, h := start(t, "", Options{APIKey: key})
		port := h.URL[strings.LastIndex(h.URL, ":"):]
		for _, c := range []struct {
			host   string
			status int
		}{{"127.0.0.1" + port, 200}, {"[::1]" + port, 200}, {"localhost" + port, 200}, {"ravn.localhost", 200}, {"example.org" + port, 421}, {"127.0.0.1.example.org", 421}, {"localhost.example.org", 421}} {
			req, _ := http.NewRequest("GET", h.URL+"/v1/models", nil)
			req.Host = c.host
			req.Header.Set("Authorization", "Bearer "+key)
			r, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			r.Body.Close()
			if want := map[bool]int{true: c.status, false: 200}[key == ""]; r.StatusCode != want {
				t.Errorf("as %s, key %q: %d, want %d", c.host, key, r.StatusCode, want)
			}
		}
	}
}

func TestKey(t *testing.T) {
	_, h := start(t, "", Options{APIKey: "hemmelig"})
	for _, c := range []struct {
		header, value string
		status        int
	}{{"", "", 401}, {"Authorization", "Bearer forkert", 401}, {"Authorization", "Bearer hemmelig", 200}, {"Api-Key", "hemmelig", 200}} {
		req, _ := http.NewRequest("GET", h.URL+"/v1/models", nil)
		if c.header != "" {
			req.Header.Set(c.header, c.value)
		}
		r, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		r.Body.Close()
		if r.StatusCode != c.status {
			t.Errorf("%s %q: %d, want %d", c.header, c.value, r.StatusCode, c.status)
		}
	}
	for _, path := range []string{"/", "/healthz"} {
		if code, _ := get(t, h.URL+path); code != 200 {
			t.Errorf("%s needs the key", path)
		}
	}
}

func TestPageMetricsModels(t *testing.T) {
	_, h := start(t, "", Options{})
	post(t, h.URL+"/v1/completions", obj{"prompt": "Hej", "max_tokens": 7, "ignore_eos": true})
	post(t, h.URL+"/v1/completions", obj{"prompt": "Hej", "max_tokens": 7000})
	code, page := get(t, h.URL+"/")
	if code != 200 || !strings.Contains(page, "<h1>tiny</h1>") || strings.Contains(page, "src=\"http") {
		t.Errorf("page %d: %.200s", code, page)
	}
	_, m := get(t, h.URL+"/metrics")
	for _, want := range []string{
		"ravn_generated_tokens_total 7\n", `ravn_requests_total{path="/v1/completions",status="200"} 1`, `status="400"} 1`,
		"ravn_first_token_seconds_count 1\n", "ravn_running 0\n", `ravn_request_seconds_bucket{le="+Inf"} 2`,
	} {
		if !strings.Contains(m, want) {
			t.Errorf("metrics lack %q:\n%s", want, m)
		}
	}
	_, list := get(t, h.URL+"/v1/models")
	var v obj
	if err := json.Unmarshal([]byte(list), &v); err != nil {
		t.Fatal(err)
	}
	if dig(v, "data", 0, "id") != "tiny" || dig(v, "data", 0, "max_model_len") != 512.0 {
		t.Errorf("models: %s", list)
	}
	if code, _ := get(t, h.URL+"/v1/models/other"); code != 404 {
		t.Errorf("another model: %d", code)
	}
	_, tok := post(t, h.URL+"/tokenize", obj{"prompt": "Hej"})
	if dig(tok, "count").(float64) < 2 || dig(tok, "tokens", 0) != 1.0 {
		t.Errorf("tokenize: %v", tok)
	}
}

// A full queue refuses with 429, a client that leaves frees its place, and a server that shuts down finishes what runs.
// What happens when is held by a gate in the scheduler, not by how fast this machine is.
func TestQueueCancelShutdown(t *testing.T) {
	s, h := start(t, "", Options{Batch: 1, Queue: 2})
	long := obj{"prompt": "Hej", "max_tokens": 500, "ignore_eos": true, "temperature": 0}
	data, _ := json.Marshal(long)
	g := hold(t, s)
	until(t, "the gate is computed", func() bool { running, _ := s.work.counts(); return running == 1 })
	ctx, leave := context.WithCancel(t.Context())
	left := make(chan error, 2)
	for range 2 { // fill the queue
		go func() {
			req, _ := http.NewRequestWithContext(ctx, "POST", h.URL+"/v1/completions", bytes.NewReader(data))
			req.Header.Set("Content-Type", "application/json")
			r, err := http.DefaultClient.Do(req)
			if err == nil {
				r.Body.Close()
			}
			left <- err
		}()
	}
	until(t, "two requests wait", func() bool { _, waiting := s.work.counts(); return waiting == 2 })
	r, err := http.Post(h.URL+"/v1/completions", "application/json", bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	r.Body.Close()
	if r.StatusCode != http.StatusTooManyRequests || r.Header.Get("Retry-After") == "" {
		t.Errorf("a request too many: %d, Retry-After %q", r.StatusCode, r.Header.Get("Retry-After"))
	}
	leave()
	for range 2 {
		if err := <-left; !errors.Is(err, context.Canceled) {
			t.Errorf("a client that has left got %v", err)
		}
	}
	// The server has seen that they left when their requests have ended: 499, and nothing was written for them.
	until(t, "the requests have ended", func() bool {
		_, m := get(t, h.URL+"/metrics")
		return strings.Contains(m, `status="499"} 2`)
	})
	g.open()
	until(t, "nothing is computed that nobody waits for", func() bool { running, waiting := s.work.counts(); return running+waiting == 0 })
	if n := s.metrics.generated.Load(); n != g.written {
		t.Errorf("%d tokens were written, %d of them for somebody who waits", n, g.written)
	}

	two, err := Open(tinyModel(t, ""), Options{})
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- two.Serve(ctx, l, time.Minute) }()
	url := "http://" + l.Addr().String()
	g = hold(t, two)
	until(t, "the gate is computed", func() bool { running, _ := two.work.counts(); return running == 1 })
	got := make(chan int, 1)
	go func() {
		code, v := post(t, url+"/v1/completions", long)
		if n, _ := dig(v, "usage", "completion_tokens").(float64); n != 500 {
			t.Errorf("an answer that ran at the shutdown has %v tokens", n)
		}
		got <- code
	}()
	until(t, "the request waits", func() bool { _, waiting := two.work.counts(); return waiting == 1 })
	g.step <- struct{}{} // one pass, and the next takes it in
	until(t, "the request runs", func() bool { running, _ := two.work.counts(); return running == 2 })
	stop()
	until(t, "the server is closing", two.closing.Load)
	g.open()
	if code := <-got; code != 200 {
		t.Errorf("a request that ran at the shutdown: %d", code)
	}
	if err := <-served; err != nil {
		t.Error(err)
	}
	if err := two.Close(); err != nil {
		t.Error(err)
	}
	if err := two.work.submit(nil); err != errClosing {
		t.Errorf("after the end: %v", err)
	}
}

// Shared beginnings are computed once: the second of two questions with the same examples costs little.
func TestBeginningsAreReused(t *testing.T) {
	s, h := start(t, "", Options{})
	shots := strings.Repeat(sentences[2]+" ", 8)
	post(t, h.URL+"/v1/completions", obj{"prompt": shots + "en", "max_tokens": 1})
	was, all := s.metrics.reused.Load(), s.metrics.prompt.Load()
	post(t, h.URL+"/v1/completions", obj{"prompt": shots + "to", "max_tokens": 1})
	reused, prompt := s.metrics.reused.Load()-was, s.metrics.prompt.Load()-all
	if reused < prompt-8 {
		t.Errorf("%d of %d tokens were reused", reused, prompt)
	}
	var list []string // one request with many ends of one beginning, scored
	for i := range 12 {
		list = append(list, shots+fmt.Sprint("nummer ", i))
	}
	was, all = s.metrics.reused.Load(), s.metrics.prompt.Load()
	post(t, h.URL+"/v1/completions", obj{"prompt": list, "max_tokens": 0, "echo": true, "logprobs": 0})
	reused, prompt = s.metrics.reused.Load()-was, s.metrics.prompt.Load()-all
	if float64(reused) < 0.8*float64(prompt) {
		t.Errorf("scoring reused %d of %d tokens", reused, prompt)
	}
}

func TestLikeliest(t *testing.T) {
	row := []float32{1, 5, 3, 5, -2, 4}
	if got, want := likeliest(row, 4), []int32{1, 3, 5, 2}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if got := likeliest(row, 9); len(got) != 6 || got[5] != 4 {
		t.Errorf("got %v", got)
	}
	if l := logSumExp([]float32{0, 0}); math.Abs(l-math.Ln2) > 1e-15 {
		t.Errorf("log 2 is %v", l)
	}
}

// TestServesGGUF compares a GGUF file with the folder it was made of: the same answers, with a chat template, and as F32
// the same hash.
func TestServesGGUF(t *testing.T) {
	folder := tinyModel(t, chatML)
	file := filepath.Join(t.TempDir(), "tiny.gguf")
	if _, err := weights.Convert(t.Context(), file, folder, weights.ConvertOptions{}); err != nil {
		t.Fatal(err)
	}
	var hashes, answers []string
	for _, path := range []string{folder, file} {
		s, err := Open(path, Options{Threads: 1})
		if err != nil {
			t.Fatal(err)
		}
		h := httptest.NewServer(s.Handler())
		status, got := post(t, h.URL+"/v1/chat/completions", map[string]any{
			"model": s.Name(), "max_tokens": 12, "temperature": 0, "messages": []map[string]string{{"role": "user", "content": "Hvad"}},
		})
		if status != http.StatusOK {
			t.Fatalf("%s: %d %v", path, status, got)
		}
		answers = append(answers, fmt.Sprint(got["choices"]))
		hashes = append(hashes, s.card().Meta.Hash)
		h.Close()
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
	if answers[0] != answers[1] {
		t.Errorf("folder and file answer differently:\n%s\n%s", answers[0], answers[1])
	}
	if hashes[0] != hashes[1] || len(hashes[0]) != 64 {
		t.Errorf("hashes %q", hashes)
	}
}
