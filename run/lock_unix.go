//go:build unix

package run

import (
	"errors"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// tryLock takes an advisory lock on the open file. The system gives it back when the process ends, however it ends.
func tryLock(file *os.File, _ holder, _ bool) (free bool, err error) {
	defer runtime.KeepAlive(file)
	for {
		switch err := unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB); {
		case err == nil:
			return true, nil
		case errors.Is(err, unix.EINTR):
		case errors.Is(err, unix.EWOULDBLOCK):
			return false, nil
		default:
			return false, err
		}
	}
}

// alive asks whether a process exists.
func alive(pid int) bool {
	err := unix.Kill(pid, 0)
	return err == nil || errors.Is(err, unix.EPERM)
}
