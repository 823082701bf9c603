//go:build unix

package checkpoint

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestKilledWhileSaving kills a process that saves one checkpoint after the other, at several moments. Whatever has the
// name of a checkpoint must load, and pruning sweeps up the rest.
func TestKilledWhileSaving(t *testing.T) {
	const env = "RAVN_TEST_SAVE_TO"
	if root := os.Getenv(env); root != "" {
		s := state(tiny())
		for step := 1; ; step++ {
			m := meta
			m.Step = step
			if err := Save(filepath.Join(root, Name(step)), tiny(), s, m, nil); err != nil {
				t.Fatal(err)
			}
		}
	}
	saved, torn := 0, 0
	for i := range 12 {
		root := t.TempDir()
		cmd := exec.Command(os.Args[0], "-test.run=^TestKilledWhileSaving$")
		cmd.Env = append(os.Environ(), env+"="+root)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		// Wait for the first one, however slow the machine, then some odd time.
		for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
			if dirs, err := List(root); err == nil && len(dirs) > 0 {
				break
			}
		}
		time.Sleep(time.Duration(i) * 1700 * time.Microsecond)
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		if err := cmd.Wait(); err == nil || !strings.Contains(err.Error(), "killed") {
			t.Fatalf("the process ended by itself: %v", err)
		}
		dirs, err := List(root)
		if err != nil || len(dirs) == 0 {
			t.Fatalf("%d checkpoints: %v", len(dirs), err)
		}
		for _, dir := range dirs {
			if _, _, _, err := Load(dir); err != nil {
				t.Errorf("killed at moment %d: %v", i, err)
			}
		}
		saved += len(dirs)
		torn += len(folders(t, root)) - len(dirs)
		if err := Prune(root, 1); err != nil {
			t.Fatal(err)
		}
		if left := folders(t, root); len(left) != 1 || left[0] != filepath.Base(dirs[len(dirs)-1]) {
			t.Errorf("after pruning: %v", left)
		}
	}
	t.Logf("%d checkpoints in 12 processes, %d unfinished ones swept up", saved, torn)
}
