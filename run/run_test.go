package run

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func create(t *testing.T, dir string) *Folder {
	t.Helper()
	f, err := Create(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

// check asserts that err says all of want.
func check(t *testing.T, err error, want ...string) {
	t.Helper()
	if err == nil {
		t.Fatalf("no error, want one with %q", want)
	}
	for _, w := range want {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("error lacks %q:\n%v", w, err)
		}
	}
}

// A stage that writes one file, and then everything that makes it run again.
func TestStage(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "night")
	f := create(t, dir)
	step := func(name, wantReason string, wantFresh, wantInterrupted bool, inputs map[string]string, write func(), outputs ...string) {
		t.Helper()
		s, fresh, err := f.Stage("corpus", inputs)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if s.Reason != wantReason || fresh != wantFresh || s.Interrupted != wantInterrupted {
			t.Fatalf("%s: got %q, fresh %v, interrupted %v", name, s.Reason, fresh, s.Interrupted)
		}
		if write == nil {
			return
		}
		write()
		if err := s.Finish(outputs...); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
	}
	in := map[string]string{"adl": "aa", "wiki": "bb"}
	doc, tree := f.Path("corpus", "documents.parquet"), f.Path("corpus", "sections", "adl.jsonl")
	fill := func() { write(t, doc, "documents"); write(t, tree, "text") }
	outputs := []string{"corpus/documents.parquet", "corpus/sections"}

	step("first", "it has not run", true, false, in, fill, outputs...)
	step("again", "nothing has changed", false, false, in, nil)
	step("once more", "nothing has changed", false, false, in, nil)
	if got := f.Manifest().Stage("corpus").Skipped; got != 2 {
		t.Errorf("skipped %d times, want 2", got)
	}
	step("another hash", "input adl has changed", true, false, map[string]string{"adl": "cc", "wiki": "bb"}, fill, outputs...)
	step("one more input", "input nyt is new", true, false, map[string]string{"adl": "cc", "nyt": "dd", "wiki": "bb"}, fill, outputs...)
	step("one less", "input nyt is gone", true, false, map[string]string{"adl": "cc", "wiki": "bb"}, fill, outputs...)
	in = map[string]string{"adl": "cc", "wiki": "bb"}

	if err := os.Remove(doc); err != nil {
		t.Fatal(err)
	}
	step("file removed", "its output corpus/documents.parquet is missing", true, false, in, fill, outputs...)
	write(t, doc, "DOCUMENTS") // the same size
	step("file changed", "its output corpus/documents.parquet has changed", true, false, in, fill, outputs...)
	write(t, filepath.Join(filepath.Dir(tree), "more.jsonl"), "more")
	step("folder changed", "its output corpus/sections has changed", true, false, in, fill, outputs...)

	// Touched, not changed: it is read again, found the same, and the new stamp is kept.
	before := f.Manifest().Stage("corpus").Stamps["corpus/documents.parquet"]
	if err := os.Chtimes(doc, time.Time{}, time.Unix(1700000000, 0)); err != nil {
		t.Fatal(err)
	}
	step("touched", "nothing has changed", false, false, in, nil)
	if after := f.Manifest().Stage("corpus").Stamps["corpus/documents.parquet"]; after == before || after != "9@1700000000000000000" {
		t.Errorf("stamp %q became %q", before, after)
	}

	// Broken off: begun, never finished, also by a process that came before.
	in = map[string]string{"adl": "ee"}
	step("broken off", "input adl has changed", true, false, in, nil)
	step("begun again", "it was broken off", true, true, in, nil)
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	f = create(t, dir)
	step("by another process", "it was broken off", true, true, in, nil)
	step("with another input", "input adl has changed", true, false, map[string]string{"adl": "ff"}, fill, outputs...)
	// printf documents | sha256sum
	if got, want := f.Outputs("corpus")["corpus/documents.parquet"], "9b16b44d0e0a5cac4f968befb0b5b5eba913f9ef3dfa1501ed728b6ead72a357"; got != want {
		t.Errorf("hash %s, want %s", got, want)
	}
}

func TestFinishErrors(t *testing.T) {
	f := create(t, t.TempDir())
	s, _, err := f.Stage("train", nil)
	if err != nil {
		t.Fatal(err)
	}
	check(t, s.Finish("weights.bin", "../elsewhere", "/etc/passwd"),
		`stage "train" ended without its output weights.bin`, `output "../elsewhere" is not a path within`, `output "/etc/passwd" is not a path within`)
	if f.Manifest().Stage("train").Done() {
		t.Error("a stage that failed to finish is recorded as done")
	}
	if err := s.Finish(); err != nil {
		t.Fatal(err)
	}
	check(t, s.Finish(), `stage "train" was ended before`)
	_, _, err = f.Stage("", nil)
	check(t, err, "a stage needs a name")
}

func TestManifestSurvives(t *testing.T) {
	dir := t.TempDir()
	f := create(t, dir)
	if err := f.Describe("danish-tiny", 17, filepath.Join(dir, "..", "asked.yaml")); err != nil {
		t.Fatal(err)
	}
	s, _, err := f.Stage("corpus", map[string]string{"a": "<b>"})
	if err != nil {
		t.Fatal(err)
	}
	write(t, f.Path("out"), "x")
	if err := s.Finish("out"); err != nil {
		t.Fatal(err)
	}
	r, err := Open(dir) // beside the writer
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(f.Manifest(), r.Manifest()); diff != "" {
		t.Errorf("read back (-written +read):\n%s", diff)
	}
	m := r.Manifest()
	if m.Name != "danish-tiny" || m.Seed != 17 || m.Recipe != "../asked.yaml" || m.Machine.Cores < 1 || m.Machine.OS == "" || m.Version == "" || m.Created.IsZero() {
		t.Errorf("manifest %+v", m)
	}
	if got := r.AskedRecipe(); got != r.RecipeFile() {
		t.Errorf("a recipe that is not there any more: %s", got)
	}
	write(t, filepath.Join(dir, "..", "asked.yaml"), "name: x")
	if got := r.AskedRecipe(); got != filepath.Join(dir, "..", "asked.yaml") {
		t.Errorf("the recipe that was asked for: %s", got)
	}
	_, _, err = r.Stage("corpus", nil)
	check(t, err, "open for reading")
	check(t, r.Describe("other", 1, ""), "open for reading")
	data, err := os.ReadFile(f.ManifestFile())
	if err != nil || !strings.Contains(string(data), `"a": "<b>"`) {
		t.Errorf("manifest.json is not plain: %v\n%s", err, data)
	}
}

func TestBadFolders(t *testing.T) {
	good := `{"format": 1, "name": "x"`
	for _, c := range []struct {
		name, manifest string
		want           []string
	}{
		{"torn", good, []string{"manifest.json:1: unexpected end of JSON input", "restore it"}},
		{"mistyped", "{\n\"format\": 1,\n\"name\": 5}", []string{"manifest.json:3:", "cannot unmarshal number"}},
		{"not JSON", "format: 1", []string{"manifest.json:1: invalid character"}},
		{"newer", `{"format": 2, "version": "v9.0.0"}`, []string{"manifest format 2, this ravn knows 1", `"v9.0.0"`}},
		{"no format", `{}`, []string{"manifest format 0"}},
		{"stage twice", good + `, "stages": [{"name": "a"}, {"name": "a"}]}`, []string{`stage "a" has no name or stands there twice`}},
		{"stage without name", good + `, "stages": [{}]}`, []string{`stage "" has no name`}},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			write(t, filepath.Join(dir, "manifest.json"), c.manifest)
			_, err := Open(dir)
			check(t, err, c.want...)
			_, err = Create(dir)
			check(t, err, c.want...)
			os.Remove(filepath.Join(dir, "manifest.json"))
			f, err := Create(dir) // the failure gave the lock back
			if err != nil {
				t.Fatal(err)
			}
			f.Close()
		})
	}
	t.Run("not a run folder", func(t *testing.T) {
		dir := t.TempDir()
		_, err := Open(dir)
		check(t, err, "is not a run folder", "holds manifest.json")
		write(t, filepath.Join(dir, "thesis.tex"), "")
		_, err = Create(dir)
		check(t, err, `holds "thesis.tex" and no manifest.json`, "name a new folder")
	})
	t.Run("a file", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "file")
		write(t, path, "")
		_, err := Create(path)
		check(t, err, "not a directory")
	})
}

func TestLock(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, ".lock")
	host, _ := os.Hostname()
	f := create(t, dir)
	_, err := Create(dir)
	check(t, err, fmt.Sprintf("process %d on %s has been writing this folder since", os.Getpid(), host), "name another folder")
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if data, _ := os.ReadFile(path); len(data) != 0 {
		t.Errorf("a lock given back still says %q", data)
	}
	if f = create(t, dir); f.Notes != nil {
		t.Errorf("notes of an ordinary start: %q", f.Notes)
	}
	f.Close()

	hold := func(pid int, host string) {
		data, _ := json.Marshal(holder{PID: pid, Host: host, Since: time.Date(2024, 1, 11, 12, 0, 0, 0, time.UTC)})
		write(t, path, string(data))
	}
	hold(4194305, host) // above what Linux gives out
	f = create(t, dir)
	if want := "process 4194305, which began to write " + path + " at 2024-01-11 12:00:00, ended without giving it back; taken over"; len(f.Notes) != 1 || f.Notes[0] != want {
		t.Errorf("notes %q, want %q", f.Notes, want)
	}
	f.Close()
	hold(17, "elsewhere")
	_, err = Create(dir)
	check(t, err, "process 17 on elsewhere began to write this folder at 2024-01-11 12:00:00", "remove "+path)
	write(t, path, `{"pid": 1`) // torn
	if f = create(t, dir); f.Notes != nil {
		t.Errorf("notes %q", f.Notes)
	}
}

// A process that is killed while it holds the lock: the test starts itself a second time.
func TestLockOfKilledProcess(t *testing.T) {
	if dir := os.Getenv("RAVN_TEST_HOLD"); dir != "" {
		if _, err := Create(dir); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		fmt.Println("held")
		time.Sleep(time.Minute) // select {} would be a deadlock to the runtime, which ends the process
	}
	dir := t.TempDir()
	cmd := exec.Command(os.Args[0], "-test.run=^TestLockOfKilledProcess$")
	cmd.Env = append(os.Environ(), "RAVN_TEST_HOLD="+dir)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var word string
	fmt.Fscan(out, &word)
	_, err = Create(dir)
	cmd.Process.Kill()
	cmd.Wait()
	if word != "held" {
		t.Fatalf("the other process said %q", word)
	}
	check(t, err, fmt.Sprintf("process %d on ", cmd.Process.Pid))
	f := create(t, dir)
	if want := fmt.Sprintf("process %d, which began", cmd.Process.Pid); len(f.Notes) != 1 || !strings.Contains(f.Notes[0], want) {
		t.Errorf("notes %q, want one with %q", f.Notes, want)
	}
}

// HashTree against the coreutils line in its documentation.
func TestHashTree(t *testing.T) {
	dir := t.TempDir()
	for path, text := range map[string]string{"b.txt": "b", "a/b c.txt": "abc", "a.txt": "", "å/æ.txt": "dansk", ".hidden": "x", "a/.tmp/x": "x"} {
		write(t, filepath.Join(dir, path), text)
	}
	outside := filepath.Join(t.TempDir(), "blob")
	write(t, outside, "linked")
	if err := os.Symlink(outside, filepath.Join(dir, "link.bin")); err != nil {
		t.Skip(err)
	}
	got, err := HashTree(dir)
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("sh", "-c", `(cd "$0" && find -L * -type f -not -path '*/.*' | LC_ALL=C sort | xargs -d '\n' sha256sum) | sha256sum`, dir).Output()
	if err != nil {
		t.Skip("no coreutils")
	}
	if want := strings.Fields(string(out))[0]; got != want {
		t.Errorf("HashTree %s, coreutils %s", got, want)
	}

	_, err = HashTree(outside)
	check(t, err, "is not a folder")
	_, err = HashTree(filepath.Join(dir, "none"))
	check(t, err, "no such file")
	_, err = HashFile(filepath.Join(dir, "none"))
	check(t, err, "run: hash: ", "no such file")
	if err := os.Symlink(dir, filepath.Join(dir, "a", "loop")); err != nil {
		t.Fatal(err)
	}
	_, err = HashTree(dir)
	check(t, err, "loop is not a regular file")
	os.Remove(filepath.Join(dir, "a", "loop"))
	write(t, filepath.Join(dir, "a\nb"), "")
	_, err = HashTree(dir)
	check(t, err, "has a line break or backslash in its name")
}

func TestMachine(t *testing.T) {
	if got := cpuName([]byte("processor\t: 0\nmodel name\t: AMD  Ryzen 9 \nmodel name\t: second\n")); got != "AMD Ryzen 9" {
		t.Errorf("cpu name %q", got)
	}
	if got := memTotal([]byte("Foo: 1 kB\nMemTotal:       16384 kB\n")); got != 16<<20 {
		t.Errorf("memory %d", got)
	}
	if cpuName(nil) != "" || memTotal([]byte("MemTotal: x kB\nMemTotal: -5 kB")) != 0 {
		t.Error("found what is not there")
	}
}

func TestVersion(t *testing.T) {
	vcs := []debug.BuildSetting{{Key: "vcs.revision", Value: "0123456789abcdef"}, {Key: "vcs.modified", Value: "true"}}
	for _, c := range []struct {
		info debug.BuildInfo
		want string
	}{
		{debug.BuildInfo{Main: debug.Module{Version: "v0.3.1"}, Settings: vcs}, "v0.3.1"},
		{debug.BuildInfo{Main: debug.Module{Version: "(devel)"}, Settings: vcs}, "devel+0123456789ab.dirty"},
		{debug.BuildInfo{Main: debug.Module{Version: "(devel)"}, Settings: vcs[:1]}, "devel+0123456789ab"},
		{debug.BuildInfo{}, "devel"},
	} {
		if got := versionOf(&c.info); got != c.want {
			t.Errorf("got %q, want %q", got, c.want)
		}
	}
}
