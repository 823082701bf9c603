package xla

import (
	"debug/elf"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"github.com/gomlx/gomlx/backends"
)

// Linked tells whether this build can load PJRT plug-ins (the tag xla).
func Linked() bool { return slices.Contains(backends.List(), "xla") }

// plainGo runs one operation after the other: the workers that GoMLX 0.26 gives operations to can wait for each other
// for ever on machines with few cores.
const plainGo = "go:ops_sequential"

// DefaultBackend is "xla:" and Plugin in a build with the tag xla, and GoMLX's backend in plain Go where there is none.
func DefaultBackend() string {
	if plugin := Plugin(); plugin != "" && Linked() {
		return "xla:" + plugin
	}
	return plainGo
}

// Plugin is the PJRT plug-in to use: what RAVN_PJRT names, by the path of its library or by a name such as cuda, or the
// first of Plugins that this machine has a device for; "" is none. RAVN_PJRT=none is none too.
func Plugin() string {
	asked := os.Getenv("RAVN_PJRT")
	if asked == "none" {
		return ""
	}
	if filepath.IsAbs(asked) {
		return asked
	}
	for _, file := range Plugins() {
		name := PluginName(file)
		if asked == name || asked == "" && (name != "cuda" || hasGPU()) {
			return file
		}
	}
	return asked
}

// PluginName is the cuda of pjrt_c_api_cuda_plugin.so, or of JAX's xla_cuda_plugin.so.
func PluginName(file string) string {
	name := strings.TrimPrefix(strings.TrimPrefix(filepath.Base(file), "pjrt_c_api_"), "xla_")
	name, _, _ = strings.Cut(name, "_")
	return name
}

func hasGPU() bool {
	cards, _ := filepath.Glob("/dev/nvidia[0-9]*")
	return len(cards) > 0
}

// Plugins are the libraries of PJRT plug-ins in the folders where they usually lie, those for GPUs first:
// PJRT_PLUGIN_LIBRARY_PATH, or lib/go-xla under the home's .local and under /usr/local, and then the packages of JAX that
// python3 has.
func Plugins() []string {
	var dirs, found []string
	if path := os.Getenv("PJRT_PLUGIN_LIBRARY_PATH"); path != "" {
		dirs = filepath.SplitList(path)
	} else {
		if home, err := os.UserHomeDir(); err == nil {
			dirs = append(dirs, filepath.Join(home, ".local", "lib", folder))
		}
		dirs = append(dirs, filepath.Join("/usr/local/lib", folder))
	}
	for _, dir := range dirs {
		for _, sub := range []string{"nvidia", ""} {
			files, _ := filepath.Glob(filepath.Join(dir, sub, "pjrt_c_api_*_plugin.so"))
			for _, file := range files {
				if abs, err := filepath.Abs(file); err == nil {
					found = append(found, abs)
				}
			}
		}
	}
	if os.Getenv("PJRT_PLUGIN_LIBRARY_PATH") == "" {
		found = append(found, jaxPlugins()...)
	}
	slices.SortStableFunc(found, func(a, b string) int {
		rank := func(file string) int {
			if PluginName(file) == "cpu" {
				return 1
			}
			return 0
		}
		return rank(a) - rank(b)
	})
	return found
}

// jaxPlugins are those of JAX's packages for CUDA beside python3, newer CUDA first: they have the libraries that they need.
func jaxPlugins() (found []string) {
	var roots []string
	if python, err := exec.LookPath("python3"); err == nil {
		roots = append(roots, filepath.Dir(filepath.Dir(python)))
	}
	if home, err := os.UserHomeDir(); err == nil {
		roots = append(roots, filepath.Join(home, ".local"))
	}
	for _, root := range append(roots, "/usr/local") {
		for _, packages := range []string{"site-packages", "dist-packages"} {
			files, _ := filepath.Glob(filepath.Join(root, "lib", "python3*", packages, "jax_plugins", "xla_cuda1[0-9]", "xla_cuda_plugin.so"))
			slices.Sort(files)
			slices.Reverse(files)
			for _, file := range files {
				if !slices.Contains(found, file) {
					found = append(found, file)
				}
			}
		}
	}
	return found
}

// IsPlugin says whether a file is a library that a PJRT plug-in could be, without loading it: of this processor's kind, and with
// the one function that all of them have.
func IsPlugin(file string) error {
	f, err := elf.Open(file)
	if err != nil {
		if runtime.GOOS != "linux" {
			return nil // of another kind, which is found out when it is loaded
		}
		return fmt.Errorf("%s is no library: %w", file, err)
	}
	defer f.Close()
	if machine, ok := map[string]elf.Machine{"amd64": elf.EM_X86_64, "arm64": elf.EM_AARCH64}[runtime.GOARCH]; ok && f.Machine != machine {
		return fmt.Errorf("%s is for another processor (%s)", file, f.Machine)
	}
	symbols, err := f.DynamicSymbols()
	if err != nil || !slices.ContainsFunc(symbols, func(s elf.Symbol) bool { return s.Name == "GetPjrtApi" && s.Section != elf.SHN_UNDEF }) {
		return fmt.Errorf("%s is a library, but no PJRT plug-in: it has no GetPjrtApi", file)
	}
	return nil
}

// cudaFolder is where XLA is to look for ptxas and libdevice: in NVIDIA's packages beside a plug-in as go-xla's installer and pip lay
// them, or in CUDA's own folder; "" where they are in none.
func cudaFolder(plugin string) string {
	at := filepath.Dir(plugin)
	packages := filepath.Join(at, "..", "..", "nvidia") // of jax_plugins/xla_cuda13
	for _, dir := range []string{
		filepath.Join(at, "cu13"), filepath.Join(at, "cuda_nvcc"), filepath.Join(packages, "cu13"), filepath.Join(packages, "cuda_nvcc"),
		"/usr/local/cuda",
	} {
		if _, err := os.Stat(filepath.Join(dir, "nvvm", "libdevice")); err == nil {
			return dir
		}
	}
	return ""
}

// cudaEnv are variables of the environment that CUDA's plug-in is to find. go-xla 0.1.4 would put a folder of its author's
// machine into XLA_FLAGS, unless its checks are off. Products in float32 are to be that, and not TF32, which has 10 bits.
func cudaEnv(plugin string, get func(string) string) map[string]string {
	env := map[string]string{"GOPJRT_CUDA_CHECKS": "0"}
	if get("NVIDIA_TF32_OVERRIDE") == "" {
		env["NVIDIA_TF32_OVERRIDE"] = "0"
	}
	const flag = "--xla_gpu_cuda_data_dir="
	if flags, dir := get("XLA_FLAGS"), cudaFolder(plugin); dir != "" && !strings.Contains(flags, flag) {
		env["XLA_FLAGS"] = strings.TrimSpace(flags + " " + flag + dir)
	}
	return env
}

// advice is what to try after an error of a backend, in brackets; "" where nothing is known.
func advice(text string) string {
	has := func(any ...string) bool {
		return slices.ContainsFunc(any, func(s string) bool { return strings.Contains(strings.ToLower(text), strings.ToLower(s)) })
	}
	switch {
	case has("failed to find symbol"):
		return " (the file is a library, but no PJRT plug-in; ravn pull-plugin fetches one)"
	case has("failed to dynamically load", "failed to stat", "not found in paths", "no plugins found", "available plugins found"):
		return " (the plug-in, or a library that it needs, is not there; ravn doctor says which plug-ins are, ravn pull-plugin fetches one)"
	case has("driver version is insufficient", "INSUFFICIENT_DRIVER", "driver mismatch", "driver version is older"):
		return " (the driver is older than the plug-in's CUDA: CUDA 13 needs 580, CUDA 12 525; ravn pull-plugin cuda12)"
	case has("NO_DEVICE", "no supported devices", "no visible gpu", "libcuda", "failed call to cuInit"):
		return " (the plug-in sees no GPU: look at nvidia-smi and CUDA_VISIBLE_DEVICES, and in a container whether it was started with GPUs)"
	case has("RESOURCE_EXHAUSTED", "out of memory"):
		return " (memory of the device: ravn plan says what is needed; fewer rows at once, moments: bf16, more devices)"
	}
	return ""
}

// folder is go-xla's, below the one that plug-ins are installed to.
const folder = "go-xla"
