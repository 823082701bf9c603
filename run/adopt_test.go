package run

import (
	"os"
	"path/filepath"
	"testing"
)

// TestAdopt: a finished stage is taken over and skipped from the same inputs; what is not finished stays behind; a file
// that is written on in place is a copy.
func TestAdopt(t *testing.T) {
	donor, err := Create(filepath.Join(t.TempDir(), "a"))
	if err != nil {
		t.Fatal(err)
	}
	defer donor.Close()
	write := func(f *Folder, name, text string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(f.Path(name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(f.Path(name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	s, _, err := donor.Stage("shards", map[string]string{"x": "1"})
	if err != nil {
		t.Fatal(err)
	}
	write(donor, "shards/a.bin", "tokens")
	write(donor, "events.jsonl", "{}\n")
	if err := s.Finish("shards", "events.jsonl"); err != nil {
		t.Fatal(err)
	}
	if _, _, err := donor.Stage("base", nil); err != nil {
		t.Fatal(err)
	}
	f, err := Create(filepath.Join(t.TempDir(), "b"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := f.Adopt(donor, "shards", "base"); err != nil {
		t.Fatal(err)
	}
	if m := f.Manifest(); m.Stage("shards") == nil || m.Stage("base") != nil {
		t.Errorf("stages taken over: %+v", m.Stages)
	}
	if _, fresh, err := f.Stage("shards", map[string]string{"x": "1"}); err != nil || fresh {
		t.Errorf("the same inputs run it again: %v", err)
	}
	write(f, "events.jsonl", "changed\n")
	if data, err := os.ReadFile(donor.Path("events.jsonl")); err != nil || string(data) != "{}\n" {
		t.Errorf("the donor's events became %q, %v", data, err)
	}
	if _, fresh, err := f.Stage("shards", map[string]string{"x": "2"}); err != nil || !fresh {
		t.Errorf("other inputs do not run it again: %v", err)
	}
}
