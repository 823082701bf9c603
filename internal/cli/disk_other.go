//go:build !unix

package cli

func freeBytes(string) (int64, bool) { return 0, false }
