package xla

import "github.com/gomlx/go-xla/pkg/installer"

func installCUDA(plugin, version, to string) error {
	return installer.CudaInstall(plugin, version, to, false, installer.Quiet)
}
