//go:build noasm || !amd64

package kernel

import "runtime"

// assembly returns no levels: this build has only plain Go.
func assembly() []*level { return nil }

// CPU describes the processor for manifests: architecture and the features that kernels could use.
func CPU() string { return runtime.GOARCH + " (no assembly in this build)" }
