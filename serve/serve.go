// Package serve answers OpenAI's HTTP interface with a model that runs here.
//
// /v1/models, /v1/completions, /v1/chat/completions, /tokenize, /healthz, /metrics, and a page at / to try the model. All
// requests are computed together, a token each in every pass through the model, and none changes another's answer: the
// same request with the same seed gets the same text whatever else is asked meanwhile.
package serve

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"ravn/engine/cpu"
	"ravn/eval"
	"ravn/internal/jinja"
	"ravn/tokenizer"
	"ravn/weights"
)

// Options bound what a server does. Zero values are replaced by the defaults.
type Options struct {
	Name          string        // of the model, to clients; the folder's name
	Threads       int           // 0: all processors
	APIKey        string        // what clients have to send; "": nothing
	ContextTokens int           // prompt and answer together; what the model was made for, at most 4096
	MaxTokens     int           // most tokens written for one answer; ContextTokens
	Batch         int           // texts computed at once; 16
	Queue         int           // texts that may wait, and most texts of one request; 128
	CacheTokens   int           // tokens of context kept in memory, of running and of finished texts; 4 contexts, at least 16,384
	MaxBodyBytes  int64         // of a request; 4 MiB
	HeaderTimeout time.Duration // for the head of a request to come; 10 s
	BodyTimeout   time.Duration // for a whole request to come; 60 s
	WriteTimeout  time.Duration // for one piece of an answer to be taken; 30 s
}

// Validate reports options that contradict each other.
func (o *Options) Validate() error {
	var errs []error
	for _, x := range []struct {
		name string
		v    int64
	}{
		{"context tokens", int64(o.ContextTokens)},
		{"max tokens", int64(o.MaxTokens)},
		{"batch", int64(o.Batch)},
		{"queue", int64(o.Queue)},
		{"cache tokens", int64(o.CacheTokens)},
		{"body bytes", o.MaxBodyBytes},
	} {
		if x.v < 0 {
			errs = append(errs, fmt.Errorf("serve: %s is %d, must not be negative", x.name, x.v))
		}
	}
	if o.CacheTokens > 0 && o.CacheTokens < o.ContextTokens {
		errs = append(errs, fmt.Errorf("serve: memory for %d tokens does not hold one context of %d", o.CacheTokens, o.ContextTokens))
	}
	return errors.Join(errs...)
}

func or[T comparable](v, otherwise T) T {
	var zero T
	if v == zero {
		return otherwise
	}
	return v
}

// fill sets the defaults for a model that was made for this many tokens.
func (o *Options) fill(positions int) error {
	if err := o.Validate(); err != nil {
		return err
	}
	if o.ContextTokens > positions {
		return fmt.Errorf("serve: %d tokens of context, the model was made for %d", o.ContextTokens, positions)
	}
	o.ContextTokens = or(o.ContextTokens, min(positions, 4096))
	o.MaxTokens = min(or(o.MaxTokens, o.ContextTokens), o.ContextTokens)
	o.Batch = or(o.Batch, 16)
	o.Queue = or(o.Queue, 128)
	o.CacheTokens = max(or(o.CacheTokens, max(4*o.ContextTokens, 16384)), (o.ContextTokens+255)/256*256)
	o.MaxBodyBytes = or(o.MaxBodyBytes, 4<<20)
	o.HeaderTimeout = or(o.HeaderTimeout, 10*time.Second)
	o.BodyTimeout = or(o.BodyTimeout, time.Minute)
	o.WriteTimeout = or(o.WriteTimeout, 30*time.Second)
	return nil
}

// Server answers requests about one model.
type Server struct {
	o        Options
	tok      *tokenizer.Tokenizer
	engine   *cpu.Engine
	template *jinja.Template
	noChat   string                 // why there is no template
	longest  int                    // bytes of the longest piece
	readers  chan struct{}          // places for bodies that are being read
	weights  weights.Model          // where the engine reads
	hash     func() (string, error) // of the weights; the first call reads them all
	created  time.Time
	metrics  *metrics
	work     *scheduler
	mux      http.Handler
	requests atomic.Uint64
	closing  atomic.Bool
}

// Open opens a Hugging Face folder or a GGUF file. Its weights are read where they lie, in the format they have.
func Open(path string, o Options) (*Server, error) {
	tok, err := weights.LoadTokenizer(path)
	if err != nil {
		return nil, err
	}
	m, err := weights.Open(path)
	if err != nil {
		return nil, err
	}
	s, err := open(m, tok, path, o)
	if err != nil {
		return nil, errors.Join(err, m.Close())
	}
	return s, nil
}

func open(m weights.Model, tok *tokenizer.Tokenizer, path string, o Options) (*Server, error) {
	c := m.Config()
	if tok.Size() > c.VocabSize {
		return nil, fmt.Errorf("serve: %s: the tokenizer has %d pieces, the model scores %d (the tokenizer belongs to another model)", path, tok.Size(), c.VocabSize)
	}
	if err := o.fill(c.MaxPositionEmbeddings); err != nil {
		return nil, err
	}
	eos, err := endTokens(path, tok)
	if err != nil {
		return nil, err
	}
	e, err := eval.OpenEngine(m, path, cpu.Options{Threads: o.Threads})
	if err != nil {
		return nil, err
	}
	if o.Name == "" {
		o.Name = filepath.Base(filepath.Clean(path))
		if abs, err := filepath.Abs(path); err == nil {
			o.Name = filepath.Base(abs)
		}
	}
	s := &Server{o: o, tok: tok, engine: e, weights: m, created: time.Now(), metrics: newMetrics(), readers: make(chan struct{}, runtime.GOMAXPROCS(0))}
	for id := range tok.Size() {
		s.longest = max(s.longest, len(tok.Piece(int32(id))))
	}
	s.hash = sync.OnceValues(func() (string, error) { return weights.Hash(m) })
	s.template, s.noChat = chatTemplate(tok)
	s.work = newScheduler(e, eos, o, s.metrics)
	s.mux = s.routes()
	return s, nil
}

// endTokens are the ids that end an answer: the tokenizer's, and those of generation_config.json.
func endTokens(dir string, tok *tokenizer.Tokenizer) ([]int32, error) {
	eos := []int32{}
	if tok.EOS() >= 0 {
		eos = append(eos, tok.EOS())
	}
	if weights.IsGGUF(dir) {
		return eos, nil
	}
	path := filepath.Join(dir, "generation_config.json")
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return eos, nil
	}
	if err != nil {
		return nil, fmt.Errorf("serve: %w", err)
	}
	var c struct {
		EOS json.RawMessage `json:"eos_token_id"`
	}
	if err := json.Unmarshal(text, &c); err != nil {
		return nil, fmt.Errorf("serve: %s: %w", path, err)
	}
	var one int32
	var many []int32
	if json.Unmarshal(c.EOS, &one) == nil && len(c.EOS) > 0 && string(c.EOS) != "null" {
		many = []int32{one}
	} else if json.Unmarshal(c.EOS, &many) != nil {
		many = nil
	}
	for _, id := range many {
		if !slices.Contains(eos, id) {
			eos = append(eos, id)
		}
	}
	return eos, nil
}

// Name is what clients call the model.
func (s *Server) Name() string { return s.o.Name }

// Chat says whether the model has a chat template; if not, why.
func (s *Server) Chat() (ok bool, why string) { return s.template != nil, s.noChat }

// Handler is the server's HTTP interface.
func (s *Server) Handler() http.Handler { return s.mux }

// Close waits for what is being computed and gives the engine back. Requests must have ended or been cancelled before.
func (s *Server) Close() error {
	s.closing.Store(true)
	s.work.close()
	return errors.Join(s.engine.Close(), s.weights.Close())
}

// Serve answers on l until ctx is done; then new requests are refused, and running ones have grace to come to their end.
func (s *Server) Serve(ctx context.Context, l net.Listener, grace time.Duration) error {
	base, cancel := context.WithCancel(context.Background())
	defer cancel()
	h := &http.Server{
		Handler:           s.mux,
		ReadHeaderTimeout: s.o.HeaderTimeout,
		ReadTimeout:       s.o.BodyTimeout,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
		BaseContext:       func(net.Listener) context.Context { return base },
	}
	failed := make(chan error, 1)
	go func() { failed <- h.Serve(l) }()
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	s.closing.Store(true)
	end, stop := context.WithTimeout(context.Background(), grace)
	defer stop()
	err := h.Shutdown(end)
	if errors.Is(err, context.DeadlineExceeded) {
		cancel() // takes what still runs out of the batch
		last, stop := context.WithTimeout(context.Background(), 5*time.Second)
		defer stop()
		if err = h.Shutdown(last); err != nil {
			err = h.Close()
		}
	}
	return err
}
