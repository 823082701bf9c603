package xla

import (
	"os"
	"path/filepath"
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
		name := pluginName(file)
		if asked == name || asked == "" && (name != "cuda" || hasGPU()) {
			return file
		}
	}
	return asked
}

// pluginName is the cuda of pjrt_c_api_cuda_plugin.so.
func pluginName(file string) string {
	name := strings.TrimPrefix(filepath.Base(file), "pjrt_c_api_")
	name, _, _ = strings.Cut(name, "_")
	return name
}

func hasGPU() bool {
	cards, _ := filepath.Glob("/dev/nvidia[0-9]*")
	return len(cards) > 0
}

// Plugins are the libraries of PJRT plug-ins in the folders where they usually lie, those for GPUs first:
// PJRT_PLUGIN_LIBRARY_PATH, or lib/go-xla under the home's .local and under /usr/local.
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
	slices.SortStableFunc(found, func(a, b string) int {
		rank := func(file string) int {
			if pluginName(file) == "cpu" {
				return 1
			}
			return 0
		}
		return rank(a) - rank(b)
	})
	return found
}

// folder is go-xla's, below the one that plug-ins are installed to.
const folder = "go-xla"
