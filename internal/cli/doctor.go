package cli

import (
	"bytes"
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
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
	return append(all, lookGPU(driver(), os.Getenv("RAVN_PJRT"), xla.Plugins(), xla.Linked(), hasLibCUDA()))
}

// driver says which accelerators this machine has, with the version of their driver; "" is none.
func driver() string {
	cards, _ := filepath.Glob("/dev/nvidia[0-9]*")
	for _, other := range []string{"/dev/kfd", "/dev/accel*"} {
		more, _ := filepath.Glob(other)
		cards = append(cards, more...)
	}
	found := strings.Join(cards, ", ")
	if text, err := os.ReadFile("/proc/driver/nvidia/version"); err == nil && found != "" {
		line, _, _ := strings.Cut(string(text), "\n")
		found += " (" + strings.Join(strings.Fields(strings.TrimPrefix(line, "NVRM version:")), " ") + ")"
	}
	return found
}

// lookGPU tells whether --engine xla would find a GPU: a card with its driver, a build that can load plug-ins, and a
// plug-in, which asked names (RAVN_PJRT) or is among those that lie where they usually do; libcuda is its driver's library.
func lookGPU(cards, asked string, plugins []string, linked, libcuda bool) finding {
	f := finding{What: "gpu", State: "note", Found: cmp.Or(cards, "no GPU driver found")}
	if asked != "" {
		f.Found += "; RAVN_PJRT=" + asked
	}
	if len(plugins) > 0 {
		f.Found += "; plug-ins: " + strings.Join(plugins, ", ")
	}
	const build = "this build cannot load PJRT plug-ins: build with CGO_ENABLED=1 go build -tags xla ./cmd/ravn"
	switch {
	case filepath.IsAbs(asked) && !exists(asked):
		f.State, f.Advice = "problem", "RAVN_PJRT: no such file: "+asked
	case filepath.IsAbs(asked) && xla.IsPlugin(asked) != nil:
		f.State, f.Advice = "problem", "RAVN_PJRT: "+xla.IsPlugin(asked).Error()
	case cards == "" && asked == "":
		f.Advice = "training runs on the processor, which is enough up to a few hundred million parameters; see docs/design/xla.md for GPUs"
	case asked == "" && len(plugins) == 0:
		f.Advice = "ravn pull-plugin cuda fetches a PJRT plug-in with the libraries it needs; or set RAVN_PJRT to the path of one (it comes with JAX: jax_plugins/xla_cuda12/xla_cuda_plugin.so)"
		if !linked {
			f.Advice += "; " + build
		}
	case !linked:
		f.Advice = build
	case asked != "" && asked != "none" && !filepath.IsAbs(asked) && !slices.ContainsFunc(plugins, func(file string) bool { return xla.PluginName(file) == asked }):
		f.State, f.Advice = "problem", fmt.Sprintf("RAVN_PJRT: no plug-in %q where they usually lie (ravn pull-plugin %s, or the path of its library)", asked, asked)
	case cards != "" && !libcuda && strings.Contains(cards, "nvidia"):
		f.State, f.Advice = "problem", "the card is there, but not its driver's library libcuda.so.1 (in a container: start it with GPUs, such as docker run --gpus all)"
	default:
		f.State, f.Advice = "ok", "use it with --engine xla; ravn bench parity says whether it computes right"
	}
	if major := driverMajor(cards); major > 0 && major < cuda13Driver && f.State != "problem" {
		f.Advice += fmt.Sprintf("; driver %d is too old for CUDA 13, which needs %d: ravn pull-plugin cuda12 (which needs 525)", major, cuda13Driver)
	}
	return f
}

// cuda13Driver is the first driver that runs programs of CUDA 13 (NVIDIA's release notes).
const cuda13Driver = 580

var driverVersion = regexp.MustCompile(`\b(\d{3})\.\d+(\.\d+)?\b`)

// driverMajor is the 580 of a text such as driver's; 0 where it has none.
func driverMajor(cards string) int {
	m := driverVersion.FindStringSubmatch(cards)
	if m == nil {
		return 0
	}
	n, _ := strconv.Atoi(m[1])
	return n
}

// hasLibCUDA tells whether the library of NVIDIA's driver is where the loader finds it.
func hasLibCUDA() bool {
	dirs := append(filepath.SplitList(os.Getenv("LD_LIBRARY_PATH")), "/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/lib64", "/usr/lib", "/usr/lib/wsl/lib", "/usr/local/nvidia/lib64", "/usr/local/nvidia/lib", "/run/opengl-driver/lib")
	if slices.ContainsFunc(dirs, func(dir string) bool { return dir != "" && exists(filepath.Join(dir, "libcuda.so.1")) }) {
		return true
	}
	cache, err := os.ReadFile("/etc/ld.so.cache")
	return err == nil && bytes.Contains(cache, []byte("/libcuda.so.1\x00"))
}

func exists(file string) bool {
	_, err := os.Stat(file)
	return err == nil
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
