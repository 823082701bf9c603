package cli

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"ravn/hub"
	"ravn/internal/progress"
)

// PullCmd fetches a repository of a hub.
type PullCmd struct {
	Repo     string   `arg:"" help:"OWNER/NAME on the hub."`
	Dataset  bool     `help:"A data set, not a model."`
	Revision string   `default:"main" help:"Branch, tag or commit; what is fetched is the commit that it names now."`
	Out      string   `help:"Folder; without it OWNER/NAME here, of data sets datasets/OWNER/NAME."`
	Include  []string `sep:"none" help:"Only files of these patterns, which may be repeated: *.json, or data/ for all in a folder. * also stands for slashes."`
	Exclude  []string `sep:"none" help:"No files of these patterns."`
	List     bool     `help:"Say what would be fetched, and fetch nothing."`
	JSON     bool     `name:"json" help:"As JSON."`
}

// Help is shown under --help.
func (c *PullCmd) Help() string {
	return `HF_ENDPOINT names another hub than ` + hub.DefaultEndpoint + `, HF_TOKEN is sent to it and to no other host. Every file is checked against the hash that
the hub names and appears under its name when it is whole. Called again, it goes on where it was cut off, and fetches only what is not there.
Where a model has safetensors, its weights in other formats are left out unless --include asks for them.

Examples:
  ravn pull mistralai/Mistral-7B-v0.1
  ravn pull --dataset ScandEval/scala-da --include data/ --out eval-data/scala-da`
}

// hubOptions are those that the environment gives.
func hubOptions() hub.Options {
	return hub.Options{Endpoint: os.Getenv("HF_ENDPOINT"), Token: os.Getenv("HF_TOKEN")}
}

// Run fetches.
func (c *PullCmd) Run(ctx context.Context, s *Streams) error {
	o := hubOptions()
	o.Dataset, o.Revision, o.Include, o.Exclude = c.Dataset, c.Revision, c.Include, c.Exclude
	if err := hub.CheckRepo(c.Repo); err != nil {
		return usageError{err}
	}
	if err := o.Validate(); err != nil {
		return usageError{err}
	}
	if c.List {
		list, err := hub.List(ctx, c.Repo, o)
		if err != nil {
			return err
		}
		if c.JSON {
			return s.JSON(list)
		}
		for _, f := range list.Files {
			fmt.Fprintf(s.Out, "%8s  %s\n", progress.Count(f.Size), f.Path)
		}
		fmt.Fprintf(s.Out, "%d files, %s bytes, commit %s, licence as its card says: %s\n", len(list.Files), progress.Count(list.SizeBytes()), list.Commit, unknown(list.License))
		return nil
	}
	dir := c.Out
	if dir == "" {
		dir = filepath.FromSlash(c.Repo)
		if c.Dataset {
			dir = filepath.Join("datasets", dir)
		}
	}
	r, err := pull(ctx, s, c.Repo, dir, o)
	if err != nil {
		return err
	}
	if c.JSON {
		return s.JSON(r)
	}
	writePulled(s, r)
	return nil
}

// pull fetches with progress.
func pull(ctx context.Context, s *Streams, repo, dir string, o hub.Options) (*hub.Result, error) {
	task := s.Progress().Start("pull "+repo, 0, "bytes")
	o.Progress = task.Add
	r, err := hub.Pull(ctx, repo, dir, o)
	task.Done()
	return r, err
}

func writePulled(s *Streams, r *hub.Result) {
	fmt.Fprintf(s.Out, "%s: %d files, %s bytes, of which %d were there already; commit %s, licence as its card says: %s\n",
		r.Dir, len(r.Files), progress.Count(r.SizeBytes()), r.Present, r.Commit, unknown(r.License))
	if n := len(r.LeftOut); n > 0 {
		fmt.Fprintf(s.Err, "pull: %d files were left out, among them %s\n", n, r.LeftOut[0])
	}
	for _, w := range r.Warnings {
		fmt.Fprintf(s.Err, "pull: warning: %s\n", w)
	}
}

func unknown(license string) string {
	if license == "" {
		return "unknown"
	}
	return license
}
