package run

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

const lockName = ".lock"

// lock keeps a second process out of a folder. Where the system has advisory locks, these decide, so that a killed
// process never leaves a folder locked; the file's text tells people, and machines that share the disk, who holds it.
type lock struct {
	file *os.File
}

// holder is the text in a lock file. It is emptied when the lock is given back.
type holder struct {
	PID   int       `json:"pid"`
	Host  string    `json:"host"`
	Since time.Time `json:"since"`
}

// acquire takes the lock at path. The note tells of a lock that a dead process had left.
func acquire(path string) (l *lock, note string, err error) {
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, "", fmt.Errorf("run: %w", err)
	}
	fail := func(err error) (*lock, string, error) {
		file.Close()
		return nil, "", err
	}
	was, held := readHolder(path)
	host, _ := os.Hostname()
	switch free, err := tryLock(file, was, held); {
	case err != nil:
		return fail(fmt.Errorf("run: %s: %w", path, err))
	case !free:
		was, _ = readHolder(path)
		return fail(fmt.Errorf("run: %s: process %d on %s has been writing this folder since %s\n\t(wait for it, stop it, or name another folder)",
			path, was.PID, was.Host, was.Since.Format(time.DateTime)))
	}
	was, held = readHolder(path) // again, now that nobody else writes it
	if held && was.Host != host {
		return fail(fmt.Errorf("run: %s: process %d on %s began to write this folder at %s and has not ended; from %s it cannot be seen whether it lives\n\t(if it does not, remove %s)",
			path, was.PID, was.Host, was.Since.Format(time.DateTime), host, path))
	}
	if held {
		note = fmt.Sprintf("process %d, which began to write %s at %s, ended without giving it back; taken over", was.PID, path, was.Since.Format(time.DateTime))
	}
	data, err := json.Marshal(holder{PID: os.Getpid(), Host: host, Since: time.Now().UTC().Truncate(time.Second)})
	if err != nil {
		return fail(fmt.Errorf("run: lock: %w", err))
	}
	if err := file.Truncate(0); err != nil {
		return fail(fmt.Errorf("run: %w", err))
	}
	if _, err := file.WriteAt(append(data, '\n'), 0); err != nil {
		return fail(fmt.Errorf("run: %w", err))
	}
	return &lock{file}, note, nil
}

// readHolder reads who holds the lock; a text that is empty or torn names nobody.
func readHolder(path string) (h holder, held bool) {
	data, err := os.ReadFile(path)
	if err != nil || json.Unmarshal(data, &h) != nil || h.PID <= 0 {
		return holder{}, false
	}
	return h, true
}

// release gives the lock back. The file stays, empty: removing it could take it from under a process that has just
// opened it.
func (l *lock) release() error {
	if l == nil {
		return nil
	}
	err := l.file.Truncate(0)
	if e := l.file.Close(); err == nil {
		err = e
	}
	if err != nil {
		return fmt.Errorf("run: lock: %w", err)
	}
	return nil
}

// Writer says which process is writing the folder, where one is. A process on another machine cannot be looked at and
// counts as writing until it gives the folder back.
func Writer(dir string) (pid int, since time.Time, ok bool) {
	h, held := readHolder(filepath.Join(dir, lockName))
	if !held {
		return 0, time.Time{}, false
	}
	if host, _ := os.Hostname(); host == h.Host && !alive(h.PID) {
		return 0, time.Time{}, false
	}
	return h.PID, h.Since, true
}
