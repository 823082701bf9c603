package cli

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"ravn/engine/xla"
	"ravn/internal/progress"
	"ravn/kernel"
	"ravn/run"
)

// VersionCmd prints the version.
type VersionCmd struct {
	JSON bool `name:"json" help:"As JSON."`
}

// Run prints it.
func (c *VersionCmd) Run(s *Streams) error {
	if c.JSON {
		return s.JSON(map[string]string{"version": run.Version(), "go": runtime.Version()})
	}
	_, err := fmt.Fprintf(s.Out, "ravn %s (%s)\n", run.Version(), runtime.Version())
	return err
}

// DoctorCmd looks at the machine.
type DoctorCmd struct {
	JSON bool   `name:"json" help:"As JSON."`
	Dir  string `default:"." help:"Folder where runs are to be written." type:"existingdir"`
}

// Help is shown under --help.
func (c *DoctorCmd) Help() string { return "Example:\n  ravn doctor" }

// finding is one thing that doctor looked at.
type finding struct {
	What   string `json:"what"`
	State  string `json:"state"` // "ok", "note", "problem"
	Found  string `json:"found"`
	Advice string `json:"advice,omitempty"`
}

// Run looks, prints, and fails when something is a problem.
func (c *DoctorCmd) Run(s *Streams) error {
	all := c.look()
	problems := 0
	for _, f := range all {
		if f.State == "problem" {
			problems++
		}
	}
	if c.JSON {
		if err := s.JSON(all); err != nil {
			return err
		}
	} else {
		for _, f := range all {
			fmt.Fprintf(s.Out, "%-8s %-12s %s\n", f.State, f.What, f.Found)
			if f.Advice != "" {
				fmt.Fprintf(s.Out, "%22s%s\n", "", f.Advice)
			}
		}
	}
	if problems > 0 {
		return fmt.Errorf("doctor: %d problems found", problems)
	}
	return nil
}

func (c *DoctorCmd) look() []finding {
	m := run.ThisMachine()
	all := []finding{
		{"version", "ok", run.Version() + ", " + runtime.Version(), ""},
		{"processor", "ok", fmt.Sprintf("%s, %d cores", m.CPU, m.Cores), ""},
		lookKernels(),
		lookMemory(m.MemoryBytes),
		c.lookDisk(),
		lookData(),
	}
	return append(all, lookGPU(os.Getenv("RAVN_PJRT"), xla.Linked()))
}

// lookGPU tells whether --engine xla would find a GPU: a card with its driver, a build that can load plug-ins, and a
// plug-in for the card.
func lookGPU(plugin string, linked bool) finding {
	f := finding{What: "gpu", State: "note", Found: "no GPU driver found"}
	cards, _ := filepath.Glob("/dev/nvidia[0-9]*")
	for _, other := range []string{"/dev/kfd", "/dev/accel*"} {
		more, _ := filepath.Glob(other)
		cards = append(cards, more...)
	}
	if len(cards) > 0 {
		f.Found = strings.Join(cards, ", ")
	}
	switch {
	case len(cards) == 0 && plugin == "":
		f.Advice = "training runs on the processor, which is enough up to a few hundred million parameters; see docs/design/xla.md for GPUs"
	case !linked:
		f.Advice = "this build cannot load PJRT plug-ins: build with CGO_ENABLED=1 go build -tags xla ./cmd/ravn"
	case plugin == "":
		f.Advice = "set RAVN_PJRT to a PJRT plug-in: the path of its library (it comes with JAX: jax_plugins/xla_cuda12/xla_cuda_plugin.so), or a name such as cuda"
	case filepath.IsAbs(plugin):
		if _, err := os.Stat(plugin); err != nil {
			f.State, f.Advice = "problem", fmt.Sprintf("RAVN_PJRT: %v", err)
			return f
		}
		fallthrough
	default:
		f.State, f.Found = "ok", f.Found+"; plug-in "+plugin
		f.Advice = "use it with --engine xla"
	}
	return f
}

func lookKernels() finding {
	f := finding{"kernels", "ok", kernel.Level() + " (" + kernel.CPU() + ")", ""}
	if kernel.Level() == "portable" {
		f.State, f.Advice = "note", "no assembly for this processor (or RAVN_CPU=portable, or -tags noasm): training is many times slower"
	}
	return f
}

func lookMemory(bytes int64) finding {
	switch {
	case bytes == 0:
		return finding{"memory", "note", "not known on this system", "ravn plan RECIPE says what a run needs"}
	case bytes < 2<<30:
		return finding{"memory", "note", progress.Count(bytes) + " bytes", "enough for quickstart; ravn plan RECIPE says what a run needs"}
	}
	return finding{"memory", "ok", progress.Count(bytes) + " bytes", ""}
}

// lookDisk writes and removes a file where runs are to be.
func (c *DoctorCmd) lookDisk() finding {
	dir, err := filepath.Abs(c.Dir)
	if err != nil {
		dir = c.Dir
	}
	probe, err := os.CreateTemp(dir, ".ravn-doctor*")
	if err != nil {
		return finding{"disk", "problem", err.Error(), "choose a folder that you may write, with --dir here and --out for runs"}
	}
	name := probe.Name()
	probe.Close()
	os.Remove(name)
	f := finding{"disk", "ok", dir + " can be written", ""}
	if free, ok := freeBytes(dir); ok {
		f.Found += fmt.Sprintf(", %s bytes free", progress.Count(free))
		if free < 1<<30 {
			f.State, f.Advice = "note", "a checkpoint with its optimizer state takes 12 bytes a parameter"
		}
	}
	return f
}

func lookData() finding {
	if dir := os.Getenv("RAVN_DATA"); dir != "" {
		if _, err := os.Stat(dir); err != nil {
			return finding{"RAVN_DATA", "problem", err.Error(), "recipes read it; name a folder that exists, or unset it"}
		}
		return finding{"RAVN_DATA", "ok", dir, ""}
	}
	return finding{"RAVN_DATA", "note", "not set", "recipes with ${RAVN_DATA} take their default; ravn quickstart needs nothing"}
}
