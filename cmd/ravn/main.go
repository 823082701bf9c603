// Command ravn turns an open base language model and a small language's text into a better model for that language.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"ravn/internal/cli"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(cli.Main(ctx, os.Args[1:], cli.Streams{In: os.Stdin, Out: os.Stdout, Err: os.Stderr}))
}
