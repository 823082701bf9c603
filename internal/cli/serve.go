package cli

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"ravn/serve"
	"ravn/workflow"
)

// KeyVariable is where ravn serve finds the key that clients have to send.
const KeyVariable = "RAVN_API_KEY"

// ServeCmd answers OpenAI's HTTP interface, or shows a run.
type ServeCmd struct {
	Path      string        `arg:"" name:"model or run" help:"Hugging Face folder or GGUF file; or a run's folder, whose report is then shown live. An empty folder is a run to come."`
	Listen    string        `default:"127.0.0.1:8080" help:"Address and port; port 0 takes a free one."`
	Name      string        `help:"What clients call the model; the folder's name."`
	Context   int           `help:"Tokens of prompt and answer; 0 is what the model was made for, at most 4096."`
	MaxTokens int           `help:"Tokens of one answer at most; 0 is the context."`
	Batch     int           `default:"16" help:"Texts computed at once."`
	Queue     int           `default:"128" help:"Texts that may wait; more are refused with 429."`
	Cache     int           `help:"Tokens of context kept in memory; 0 is four contexts, at least 16384."`
	MaxBody   int64         `default:"4194304" help:"Bytes of a request at most."`
	Grace     time.Duration `default:"30s" help:"How long running answers may take to end when the server is stopped."`
	Threads   int           `help:"Threads; 0 uses all processors. Does not change any answer."`
	JSON      bool          `name:"json" help:"Say the address as JSON."`
}

// Help is shown under --help.
func (c *ServeCmd) Help() string {
	return `OpenAI's interface: /v1/completions, /v1/chat/completions (where the model has a chat template), /v1/models; also /tokenize,
/healthz, /metrics for Prometheus, and a page at / to try the model. With ` + KeyVariable + ` in the environment, clients have to send that key.
Only this machine is answered unless --listen says otherwise. Ctrl-C lets running answers come to their end.
Of a run folder the report's page is served, which follows the run while it goes on; with the key in the environment, browsers ask for it
as password. The folder is read; nothing is written into it but the index of names that ravn trace uses.

Examples:
  ravn serve runs/quickstart/release --listen 127.0.0.1:8080
  ravn serve runs/quickstart`
}

// Run serves until it is stopped.
func (c *ServeCmd) Run(ctx context.Context, s *Streams) error {
	key := os.Getenv(KeyVariable)
	if isRun, err := runFolder(c.Path); err != nil || isRun {
		if err != nil {
			return err
		}
		return c.dashboard(ctx, s, key)
	}
	server, err := serve.Open(c.Path, serve.Options{
		Name: c.Name, Threads: c.Threads, APIKey: key, ContextTokens: c.Context, MaxTokens: c.MaxTokens, Batch: c.Batch, Queue: c.Queue,
		CacheTokens: c.Cache, MaxBodyBytes: c.MaxBody,
	})
	if err != nil {
		return err
	}
	l, err := c.listen(s, key)
	if err != nil {
		return errors.Join(err, server.Close())
	}
	url := "http://" + l.Addr().String()
	chat, why := server.Chat()
	if c.JSON {
		err = s.JSON(map[string]any{"url": url, "model": server.Name(), "chat": chat})
	} else {
		_, err = fmt.Fprintf(s.Out, "%s at %s (Ctrl-C stops)\n", server.Name(), url)
	}
	if !chat {
		fmt.Fprintf(s.Err, "serve: no /v1/chat/completions: %s\n", why)
	}
	if err == nil {
		err = server.Serve(ctx, l, c.Grace)
	}
	return errors.Join(err, server.Close())
}

func (c *ServeCmd) listen(s *Streams, key string) (net.Listener, error) {
	l, err := net.Listen("tcp", c.Listen)
	if err != nil {
		return nil, usageError{fmt.Errorf("serve: %w", err)}
	}
	if host, ok := l.Addr().(*net.TCPAddr); ok && !host.IP.IsLoopback() && key == "" {
		fmt.Fprintf(s.Err, "serve: %s can be reached from other machines and asks for no key (set %s)\n", l.Addr(), KeyVariable)
	}
	return l, nil
}

// runFolder tells a run, or an empty folder that may become one, from a model.
func runFolder(path string) (bool, error) {
	entries, err := os.ReadDir(path)
	if err != nil {
		if info, e := os.Stat(path); e == nil && !info.IsDir() {
			return false, nil
		}
		return false, usageError{fmt.Errorf("serve: %w", err)}
	}
	if _, err := os.Stat(filepath.Join(path, "manifest.json")); err == nil {
		return true, nil
	}
	return len(entries) == 0, nil
}

// dashboard shows a run until it is stopped.
func (c *ServeCmd) dashboard(ctx context.Context, s *Streams, key string) error {
	live := workflow.Live(c.Path)
	live.Key = key
	l, err := c.listen(s, key)
	if err != nil {
		return err
	}
	url := "http://" + l.Addr().String()
	if c.JSON {
		err = s.JSON(map[string]any{"url": url, "run": c.Path})
	} else {
		_, err = fmt.Fprintf(s.Out, "%s at %s (Ctrl-C stops)\n", c.Path, url)
	}
	if err != nil {
		return errors.Join(err, l.Close())
	}
	h := &http.Server{
		Handler: live.Handler(), ReadHeaderTimeout: 10 * time.Second, ReadTimeout: 60 * time.Second, IdleTimeout: 2 * time.Minute,
		MaxHeaderBytes: 64 << 10, BaseContext: func(net.Listener) context.Context { return ctx }, // ends the streams
	}
	failed := make(chan error, 1)
	go func() { failed <- h.Serve(l) }()
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	end, stop := context.WithTimeout(context.Background(), 5*time.Second)
	defer stop()
	if h.Shutdown(end) != nil {
		return h.Close()
	}
	return nil
}
