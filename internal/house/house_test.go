package house

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

const module = "ravn"

// TestLevels holds imports to the table: a package imports only packages of lower levels, every package stands in the
// table and everything in the table exists.
func TestLevels(t *testing.T) {
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	doc, err := os.ReadFile(filepath.Join(root, "ARCHITECTURE.md"))
	if err != nil {
		t.Fatal(err)
	}
	level := levels(string(doc))
	if len(level) < 15 {
		t.Fatalf("ARCHITECTURE.md: found only %d packages in the level table", len(level))
	}
	cmd := exec.Command("go", "list", "-json=ImportPath,Imports", "./...")
	cmd.Dir = root
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	seen := map[string]bool{}
	dec := json.NewDecoder(bytes.NewReader(out))
	for {
		var p struct {
			ImportPath string
			Imports    []string
		}
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		name := strings.TrimPrefix(p.ImportPath, module+"/")
		seen[name] = true
		if name == "internal/house" {
			continue
		}
		mine, ok := level[name]
		if !ok {
			t.Errorf("package %s is not in ARCHITECTURE.md's table of levels", name)
			continue
		}
		for _, imp := range p.Imports {
			other, ours := strings.CutPrefix(imp, module+"/")
			if !ours {
				continue
			}
			if l, ok := level[other]; ok && l >= mine {
				t.Errorf("%s (level %d) imports %s (level %d): only lower levels may be imported", name, mine, other, l)
			}
		}
	}
	for name := range level {
		if !seen[name] {
			t.Errorf("ARCHITECTURE.md names package %s, which does not exist", name)
		}
	}
}

var row = regexp.MustCompile(`^\|\s*(\d+)\s*\|([^|]*)\|`)

func levels(doc string) map[string]int {
	level := map[string]int{}
	for _, line := range strings.Split(doc, "\n") {
		m := row.FindStringSubmatch(line)
		if m == nil {
			continue
		}
		n, _ := strconv.Atoi(m[1])
		for _, name := range strings.Fields(m[2]) {
			level[strings.Trim(name, "`")] = n
		}
	}
	return level
}

// TestNoMachinePaths keeps paths and hosts of one machine out of the repository.
func TestNoMachinePaths(t *testing.T) {
	cmd := exec.Command("git", "grep", "-nIE", `/(work|root)/[a-z]+/`, "--", ":!*.sum", ":!internal/house")
	cmd.Dir = "../.."
	out, err := cmd.Output()
	var exit *exec.ExitError
	switch {
	case err == nil:
		t.Errorf("machine paths in tracked files:\n%s", out)
	case errors.As(err, &exit) && exit.ExitCode() == 1: // nothing found
	default:
		t.Skipf("git grep is not available here: %v", err)
	}
}
