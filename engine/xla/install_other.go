//go:build !(linux && amd64)

package xla

import "errors"

func installCUDA(string, string, string) error {
	return errors.New("CUDA's is published for Linux on amd64 alone")
}
