//go:build unix

package cli

import (
	"runtime"

	"golang.org/x/sys/unix"
)

// peakMemory is the most memory that this process has had at once, in bytes.
func peakMemory() (int64, bool) {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		return 0, false
	}
	if runtime.GOOS == "darwin" || runtime.GOOS == "ios" {
		return u.Maxrss, true
	}
	return u.Maxrss << 10, true // kilobytes elsewhere
}
