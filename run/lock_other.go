//go:build !unix

package run

import "os"

// tryLock asks whether the process named in the lock file still exists. Two that start in the same instant are not
// told apart here.
func tryLock(_ *os.File, was holder, held bool) (free bool, err error) {
	if !held || was.PID == os.Getpid() {
		return true, nil
	}
	host, _ := os.Hostname()
	if was.Host != host {
		return true, nil // acquire refuses it with a better text
	}
	return !alive(was.PID), nil
}

// alive asks whether a process exists.
func alive(pid int) bool {
	p, err := os.FindProcess(pid) // fails where there is no such process
	if err != nil {
		return false
	}
	p.Release()
	return true
}
