package cli

import (
	"fmt"
	"os"
	"path/filepath"

	"ravn/engine/xla"
)

// PullPluginCmd fetches a PJRT plug-in.
type PullPluginCmd struct {
	Plugin  string `arg:"" enum:"cpu,cuda,cuda12,cuda13" help:"cpu, cuda (cuda13, or cuda12 where the driver is too old for that), cuda12 or cuda13."`
	To      string `help:"Folder; go-xla/ is made in it. Default ~/.local/lib, where ravn finds it by itself."`
	Version string `default:"latest" help:"Of JAX's package, for CUDA."`
	SHA256  string `name:"sha256" help:"What the plug-in's library must have, where you know it."`
	Replace bool   `help:"Fetch it again where it is already there."`
	JSON    bool   `name:"json" help:"As JSON."`
}

// Help is shown under --help.
func (c *PullPluginCmd) Help() string {
	return `CUDA's comes from JAX's packages with the libraries of NVIDIA that it needs, some gigabytes, each checked against the registry's
checksum; the one for processors from go-xla's releases, which have none. The checksums of all that was installed are in SHA256SUMS.
On a machine without a network: fetch it on another with the same --to and copy the folder.

Example:
  ravn pull-plugin cuda --to /opt/lib`
}

// Run fetches it.
func (c *PullPluginCmd) Run(s *Streams) error {
	to := c.To
	if to == "" {
		home, err := os.UserHomeDir()
		if err != nil {
			return usageError{fmt.Errorf("pull-plugin: %w (say where with --to)", err)}
		}
		to = filepath.Join(home, ".local", "lib")
	}
	plugin := c.Plugin
	if plugin == "cuda" {
		plugin = "cuda13"
		if major := driverMajor(driver()); major > 0 && major < cuda13Driver {
			plugin = "cuda12"
			s.Progress().Logf("pull-plugin: driver %d is too old for CUDA 13, which needs %d: cuda12", major, cuda13Driver)
		}
	}
	s.Progress().Logf("pull-plugin: %s to %s", plugin, filepath.Join(to, "go-xla"))
	in, err := xla.Install(plugin, c.Version, to, c.SHA256, c.Replace)
	if err != nil {
		return fmt.Errorf("pull-plugin: %w (without a network: run it on a machine that has one and copy the folder, or take xla_cuda_plugin.so from an installed JAX, and name the library in RAVN_PJRT)", err)
	}
	if c.JSON {
		return s.JSON(in)
	}
	state := "installed"
	if !in.Fresh {
		state = "was there already (--replace fetches it again)"
	}
	fmt.Fprintf(s.Out, "%s %s\nsha256 %s\n", in.File, state, in.SHA256)
	if c.To != "" {
		fmt.Fprintf(s.Out, "use it with: export RAVN_PJRT=%s\n", in.File)
	}
	if !xla.Linked() {
		fmt.Fprintln(s.Out, "this build of ravn cannot load it: build with CGO_ENABLED=1 go build -tags xla ./cmd/ravn")
	}
	return nil
}
