//go:build xla

package xla

import _ "github.com/gomlx/gomlx/backends/xla" // PJRT plug-ins, through cgo
