package cli

import (
	"context"
	"fmt"

	"ravn/release"
	"ravn/stats"
	"ravn/workflow"
)

// bootstrapOptions are those of differences that commands print.
var bootstrapOptions = stats.BootstrapOptions{Seed: 17}

// ReleaseCmd publishes a finished run into a folder, or refuses.
type ReleaseCmd struct {
	Dir      string `arg:"" name:"run" type:"existingdir" help:"Run folder."`
	Out      string `help:"Folder to write; default RUN/release."`
	Date     string `help:"Day on which it is released, YYYY-MM-DD; default today. Agreements are held to it."`
	Rights   string `help:"Register to judge by; default the one that the run was made with."`
	Removals string `help:"List of removals; default the one that the run was made with. A model that read something on it is not released."`
	Verify   bool   `help:"Only check the checksums of a release folder (RUN/release, or --out)."`
	JSON     bool   `name:"json" help:"Print the gate's decision as JSON."`
}

// Help is shown under --help.
func (c *ReleaseCmd) Help() string {
	return `Exits with 3, and writes nothing, when a document that was trained on has no known licence or one that does not allow it.

Example:
  ravn release runs/quickstart`
}

// Run asks the gate and writes.
func (c *ReleaseCmd) Run(ctx context.Context, s *Streams) error {
	if c.Verify {
		dir := c.Out
		if dir == "" {
			dir = workflow.ReleaseDir(c.Dir)
		}
		if err := release.Verify(ctx, dir); err != nil {
			return err
		}
		_, err := fmt.Fprintf(s.Out, "%s: every file is as it was released\n", dir)
		return err
	}
	r, err := workflow.Release(ctx, c.Dir, c.Out, workflow.RightsOptions{Date: c.Date, Register: c.Rights, Removals: c.Removals})
	if err != nil {
		return err
	}
	if c.JSON {
		return s.JSON(r)
	}
	fmt.Fprintf(s.Out, "released to %s as %s\n", r.Dir, r.License)
	for _, open := range r.Open {
		fmt.Fprintf(s.Out, "to be filled in before it is published: %s\n", open)
	}
	return nil
}
