package run

import (
	"bufio"
	"bytes"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
)

// Machine says what a run ran on. It names no host and no person.
type Machine struct {
	CPU         string `json:"cpu"`          // as the system calls it; the architecture where it does not say
	Cores       int    `json:"cores"`        // logical processors this process may use
	MemoryBytes int64  `json:"memory_bytes"` // of the machine, or of the container when that is less; 0 is not known
	OS          string `json:"os"`           // linux/amd64
	Go          string `json:"go"`
}

// ThisMachine describes the machine that this process runs on.
var ThisMachine = sync.OnceValue(func() Machine {
	m := Machine{CPU: runtime.GOARCH, Cores: runtime.NumCPU(), OS: runtime.GOOS + "/" + runtime.GOARCH, Go: runtime.Version()}
	if data, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		if name := cpuName(data); name != "" {
			m.CPU = name
		}
	}
	if data, err := os.ReadFile("/proc/meminfo"); err == nil {
		m.MemoryBytes = memTotal(data)
	}
	for _, limit := range []string{"/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"} {
		data, err := os.ReadFile(limit)
		if err != nil {
			continue
		}
		if n, err := strconv.ParseInt(strings.TrimSpace(string(data)), 10, 64); err == nil && n > 0 && n < m.MemoryBytes {
			m.MemoryBytes = n
		}
	}
	return m
})

// cpuName finds the first processor's name in /proc/cpuinfo.
func cpuName(cpuinfo []byte) string {
	for s := bufio.NewScanner(bytes.NewReader(cpuinfo)); s.Scan(); {
		key, value, ok := strings.Cut(s.Text(), ":")
		if key = strings.TrimSpace(key); ok && (key == "model name" || key == "Model") {
			return strings.Join(strings.Fields(value), " ")
		}
	}
	return ""
}

// memTotal finds the machine's memory in /proc/meminfo, in bytes; 0 when it is not there.
func memTotal(meminfo []byte) int64 {
	for s := bufio.NewScanner(bytes.NewReader(meminfo)); s.Scan(); {
		if f := strings.Fields(s.Text()); len(f) == 3 && f[0] == "MemTotal:" && f[2] == "kB" {
			if n, err := strconv.ParseInt(f[1], 10, 64); err == nil && n > 0 {
				return n << 10
			}
		}
	}
	return 0
}
