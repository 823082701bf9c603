//go:build !xla

package xla

import "github.com/gomlx/gomlx/backends"

// openPJRT is for builds with the tag xla; without it only plain Go is there.
func openPJRT(name string, _ bool) (backends.Backend, error) { return backends.NewWithConfig(name) }
