package cli

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"ravn/serve"
)

// KeyVariable is where ravn serve finds the key that clients have to send.
const KeyVariable = "RAVN_API_KEY"

// ServeCmd answers OpenAI's HTTP interface.
type ServeCmd struct {
	Path      string        `arg:"" name:"model" help:"Hugging Face folder."`
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

Example:
  ravn serve runs/quickstart/release --listen 127.0.0.1:8080`
}

// Run serves until it is stopped.
func (c *ServeCmd) Run(ctx context.Context, s *Streams) error {
	key := os.Getenv(KeyVariable)
	server, err := serve.Open(c.Path, serve.Options{
		Name: c.Name, Threads: c.Threads, APIKey: key, ContextTokens: c.Context, MaxTokens: c.MaxTokens, Batch: c.Batch, Queue: c.Queue,
		CacheTokens: c.Cache, MaxBodyBytes: c.MaxBody,
	})
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", c.Listen)
	if err != nil {
		return errors.Join(usageError{fmt.Errorf("serve: %w", err)}, server.Close())
	}
	if host, ok := l.Addr().(*net.TCPAddr); ok && !host.IP.IsLoopback() && key == "" {
		fmt.Fprintf(s.Err, "serve: %s can be reached from other machines and asks for no key (set %s)\n", l.Addr(), KeyVariable)
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
