//go:build xla

package xla

import (
	"os"
	"strings"

	"github.com/gomlx/go-xla/pkg/pjrt"
	"github.com/gomlx/gomlx/backends"
	"github.com/gomlx/gomlx/backends/xla" // PJRT plug-ins, through cgo
)

// Plug-ins are fetched when somebody asks for it (Install), not when a program starts.
func init() { xla.EnableAutoInstall(false) }

// openPJRT starts a plug-in. Those of GPUs keep three quarters of the memory by default, of which a 7B model on one H200 has too
// little: they are asked for more, at once, or, when grow is set, as it is needed, so that the driver's figure tells what was.
func openPJRT(name string, grow bool) (backends.Backend, error) {
	plugin, ok := strings.CutPrefix(name, "xla:")
	if !ok || !strings.Contains(strings.ToLower(plugin), "cuda") {
		return backends.NewWithConfig(name)
	}
	for key, value := range cudaEnv(plugin, os.Getenv) {
		if err := os.Setenv(key, value); err != nil {
			return nil, err
		}
	}
	b, err := xla.NewWithOptions(plugin, pjrt.NamedValuesMap{"memory_fraction": float32(0.95), "preallocate": !grow})
	if err != nil && strings.Contains(err.Error(), "option") { // a plug-in that does not know these
		return backends.NewWithConfig(name)
	}
	if err != nil {
		return nil, err
	}
	return b, nil
}
