//go:build !unix

package shard

import "os"

// mapFile reads the file whole where it is not mapped.
func mapFile(path string) ([]byte, error) { return os.ReadFile(path) }

func unmap([]byte) error { return nil }
