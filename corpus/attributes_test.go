package corpus

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestAttributes(t *testing.T) {
	write := func(path, text string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	dir := t.TempDir()
	write(filepath.Join(dir, "ugler", "documents", "a.jsonl"), `{"id":"u_1","text":"Uglen.","source":"ugler"}`+"\n"+`{"id":"u_2","text":"Musen.","source":"ugler"}`+"\n")
	side := filepath.Join(dir, "ugler", "attributes", "pii", "a.jsonl")
	good := `{"id":"u_1","attributes":{"email":[[0,5,1.0]],"ip":[]}}` + "\n" + `{"id":"u_2","attributes":{"email":[]}}` + "\n"
	write(side, good)
	read := func() (docs []*Document, err error) {
		c, err := Open(dir, OpenOptions{})
		if err != nil {
			t.Fatal(err)
		}
		for d, err := range c.Sections[0].Documents() {
			if err != nil {
				return docs, err
			}
			docs = append(docs, d)
		}
		return docs, nil
	}
	docs, err := read()
	if err != nil || len(docs) != 2 || docs[0].Meta["attributes.email"] != "[[0,5,1.0]]" || docs[1].Meta["attributes.email"] != "[]" {
		t.Fatalf("%v, %v", docs, err)
	}
	for bad, want := range map[string]string{
		strings.Replace(good, "u_2", "u_3", 1):           side + `:2: the attributes are of "u_3", the document is "u_2"`,
		strings.SplitAfter(good, "\n")[0]:                "ends before its documents do",
		strings.Replace(good, `"ip":[]}}`, `"ip":[}`, 1): side + ":1",
	} {
		write(side, bad)
		if _, err := read(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}
