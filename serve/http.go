package serve

import (
	"bytes"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// routes is the interface.
func (s *Server) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", s.page)
	mux.HandleFunc("GET /healthz", s.health)
	mux.HandleFunc("GET /metrics", s.protected(s.showMetrics))
	mux.HandleFunc("GET /v1/models", s.protected(s.models))
	mux.HandleFunc("GET /v1/models/{model...}", s.protected(s.model))
	mux.HandleFunc("POST /v1/completions", s.protected(s.completions))
	mux.HandleFunc("POST /v1/chat/completions", s.protected(s.chatCompletions))
	mux.HandleFunc("POST /tokenize", s.protected(s.tokenize))
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		s.fail(w, fault(http.StatusNotFound, "invalid_request_error", "", "unknown_url", "There is no %s %.200s here.", r.Method, r.URL.Path))
	})
	// Pages of other origins, open in the browser of somebody on this machine, may not use the model; nor may those whose
	// name has been made to lead to this machine, which no origin tells.
	same := http.NewCrossOriginProtection().Handler(mux)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			if p := recover(); p != nil {
				if p == http.ErrAbortHandler {
					panic(p)
				}
				s.fail(w, fault(http.StatusInternalServerError, "server_error", "", "", "internal error"))
			}
		}()
		start := time.Now()
		w.Header().Set("X-Content-Type-Options", "nosniff")
		rec := &recorder{ResponseWriter: w, status: http.StatusOK}
		if s.o.APIKey == "" && !meant(r) {
			s.fail(rec, fault(http.StatusMisdirectedRequest, "invalid_request_error", "", "", "This server answers for this machine only, not for %.200q. With a key it answers behind a proxy too.", r.Host))
			return
		}
		same.ServeHTTP(rec, r)
		switch r.URL.Path {
		case "/v1/completions", "/v1/chat/completions":
			s.metrics.request(r.URL.Path, strconv.Itoa(rec.status))
			s.metrics.whole.add(time.Since(start))
		}
	})
}

// meant reports whether a request that came over the loopback names this machine: by an address, or as localhost.
func meant(r *http.Request) bool {
	if at, ok := r.Context().Value(http.LocalAddrContextKey).(*net.TCPAddr); !ok || !at.IP.IsLoopback() {
		return true
	}
	host := r.Host
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	host = strings.Trim(host, "[]")
	return host == "" || net.ParseIP(host) != nil || host == "localhost" || strings.HasSuffix(host, ".localhost")
}

// recorder remembers the status of an answer.
type recorder struct {
	http.ResponseWriter
	status int
}

func (r *recorder) WriteHeader(status int) {
	r.status = status
	r.ResponseWriter.WriteHeader(status)
}

// Unwrap lets http.ResponseController reach the connection.
func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }

// protected asks for the key, where there is one.
func (s *Server) protected(f http.HandlerFunc) http.HandlerFunc {
	want := sha256.Sum256([]byte(s.o.APIKey))
	return func(w http.ResponseWriter, r *http.Request) {
		if s.o.APIKey != "" {
			key, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
			if key == "" {
				key = r.Header.Get("Api-Key") // as Azure's clients send it
			}
			if got := sha256.Sum256([]byte(key)); subtle.ConstantTimeCompare(got[:], want[:]) != 1 {
				s.fail(w, fault(http.StatusUnauthorized, "invalid_request_error", "", "invalid_api_key", "The API key is missing or wrong."))
				return
			}
		}
		f(w, r)
	}
}

// decode reads a JSON body into v. What the JSON becomes can be much larger than the body, so only so many are read at
// once as there are processors.
func (s *Server) decode(w http.ResponseWriter, r *http.Request, v any) error {
	if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != "application/json" {
		return fault(http.StatusUnsupportedMediaType, "invalid_request_error", "", "", "The body must be JSON, with Content-Type: application/json.")
	}
	data, err := io.ReadAll(http.MaxBytesReader(w, r.Body, s.o.MaxBodyBytes))
	var big *http.MaxBytesError
	if errors.As(err, &big) {
		return err
	}
	if err != nil {
		return bad("", "", "The body broke off: %v.", err)
	}
	if !utf8.Valid(data) { // the JSON reader would put U+FFFD in its place, and another text would be answered
		return bad("", "", "The body is not UTF-8.")
	}
	s.readers <- struct{}{}
	defer func() { <-s.readers }()
	err = json.Unmarshal(data, v)
	var e *apiError
	var wrong *json.UnmarshalTypeError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &e):
		return err
	case errors.As(err, &wrong):
		field := strings.TrimPrefix(wrong.Field, "settings.") // embedded here, not in the JSON
		return bad(field, "", "%s cannot be of type %s.", or(field, "The body"), wrong.Value)
	}
	return bad("", "", "The body is not the JSON that is wanted: %v.", err)
}

// elements reads a JSON list, or null, of at most most elements.
func elements[T any](data []byte, most int, field string) ([]T, error) {
	if string(data) == "null" {
		return nil, nil
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	if t, err := dec.Token(); err != nil || t != json.Delim('[') {
		return nil, bad(field, "", "%s must be a list.", field)
	}
	list := []T{}
	for dec.More() {
		if len(list) == most {
			return nil, bad(field, "", "%s has more than %d elements.", field, most)
		}
		var v T
		if err := dec.Decode(&v); err != nil {
			return nil, err
		}
		list = append(list, v)
	}
	return list, nil
}

func (s *Server) health(w http.ResponseWriter, _ *http.Request) {
	if s.closing.Load() {
		s.reply(w, http.StatusServiceUnavailable, map[string]string{"status": "shutting down"})
		return
	}
	running, waiting := s.work.counts()
	s.reply(w, http.StatusOK, map[string]any{"status": "ok", "running": running, "waiting": waiting})
}

func (s *Server) showMetrics(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
	running, waiting := s.work.counts()
	s.metrics.write(w, running, waiting)
}

// modelCard is an entry of /v1/models. max_model_len is vLLM's field, meta llama.cpp's; hash is ours.
type modelCard struct {
	ID          string    `json:"id"`
	Object      string    `json:"object"`
	Created     int64     `json:"created"`
	OwnedBy     string    `json:"owned_by"`
	MaxModelLen int       `json:"max_model_len"`
	Meta        modelMeta `json:"meta"`
}

type modelMeta struct {
	Params   int64  `json:"n_params"`
	Vocab    int    `json:"n_vocab"`
	Context  int    `json:"n_ctx_train"`
	Width    int    `json:"n_embd"`
	Hash     string `json:"hash"`
	Template bool   `json:"chat_template"`
}

func (s *Server) card() modelCard {
	c := s.engine.Config()
	hash, _ := s.hash() // "" if the file has changed under us
	return modelCard{
		ID: s.o.Name, Object: "model", Created: s.created.Unix(), OwnedBy: "ravn", MaxModelLen: s.o.ContextTokens,
		Meta: modelMeta{Params: int64(c.NumParams()), Vocab: c.VocabSize, Context: c.MaxPositionEmbeddings, Width: c.HiddenSize, Hash: hash, Template: s.template != nil},
	}
}

func (s *Server) models(w http.ResponseWriter, _ *http.Request) {
	s.reply(w, http.StatusOK, map[string]any{"object": "list", "data": []modelCard{s.card()}})
}

func (s *Server) model(w http.ResponseWriter, r *http.Request) {
	if err := s.known(r.PathValue("model")); err != nil {
		s.fail(w, err)
		return
	}
	s.reply(w, http.StatusOK, s.card())
}

// known reports a request for another model.
func (s *Server) known(name string) error {
	if name != "" && name != s.o.Name {
		return fault(http.StatusNotFound, "invalid_request_error", "model", "model_not_found", "The model %.200q is not here; this server has %q.", name, s.o.Name)
	}
	return nil
}

// tokenize answers in vLLM's form.
func (s *Server) tokenize(w http.ResponseWriter, r *http.Request) {
	var q struct {
		Model   string   `json:"model"`
		Prompt  *string  `json:"prompt"`
		Special *bool    `json:"add_special_tokens"`
		Talk    messages `json:"messages"`
	}
	err := s.decode(w, r, &q)
	if err == nil {
		err = s.known(q.Model)
	}
	var ids []int32
	if err == nil {
		switch {
		case q.Talk != nil:
			ids, err = s.conversation(q.Talk)
		case q.Prompt == nil:
			err = bad("prompt", "", "There is no prompt.")
		case q.Special != nil && !*q.Special:
			ids = s.tok.Encode([]int32{}, *q.Prompt)
		default:
			ids = s.encode(*q.Prompt)
		}
	}
	if err != nil {
		s.fail(w, err)
		return
	}
	s.reply(w, http.StatusOK, map[string]any{"count": len(ids), "max_model_len": s.o.ContextTokens, "tokens": ids})
}

// encode puts BOS, where there is one, before the tokens of text.
func (s *Server) encode(text string) []int32 {
	ids := []int32{}
	if bos := s.tok.BOS(); bos >= 0 {
		ids = append(ids, bos)
	}
	return s.tok.Encode(ids, text)
}

// stream writes server-sent events.
type stream struct {
	w       http.ResponseWriter
	c       *http.ResponseController
	timeout time.Duration
}

func (s *Server) stream(w http.ResponseWriter) *stream {
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Accel-Buffering", "no")
	w.WriteHeader(http.StatusOK)
	return &stream{w, http.NewResponseController(w), s.o.WriteTimeout}
}

// send writes one event; a client that takes nothing for too long is an error.
func (t *stream) send(v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return t.line(data)
}

func (t *stream) line(data []byte) error {
	t.c.SetWriteDeadline(time.Now().Add(t.timeout)) // not every writer has one
	if _, err := fmt.Fprintf(t.w, "data: %s\n\n", data); err != nil {
		return err
	}
	return t.c.Flush()
}
