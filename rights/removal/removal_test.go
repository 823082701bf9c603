package removal

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func entry(selector, value string) Entry {
	return Entry{Request: "2026-7", Kind: "erasure", Received: "2026-11-20", By: "anna", Reason: "asked for", Selector: selector, Value: value}
}

func TestMatch(t *testing.T) {
	site, _ := URLHash("https://www.example.org/blog")
	host, _ := URLHash("ugler.dk")
	path := filepath.Join(t.TempDir(), "removals.jsonl")
	l, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	n, err := l.Add(entry(ByID, "wiki/wiki_7"), entry(BySource, "hest"), entry(ByURL, site), entry(ByURL, host), entry(ByAuthor, AuthorHash("Anne  Andersen")), entry(ByText, TextHash("Uglen sover\n om dagen.")))
	if err != nil || n != 6 {
		t.Fatalf("%d added, %v", n, err)
	}
	if n, err := l.Add(entry(ByID, "wiki/wiki_7")); n != 0 || err != nil {
		t.Errorf("the same again: %d, %v", n, err)
	}
	if l, err = Open(path); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		s    Subject
		want int // number of the entry, 0 for none
	}{
		{Subject{Section: "wiki", ID: "wiki_7"}, 1},
		{Subject{Section: "wiki", ID: "wiki_70"}, 0},
		{Subject{Section: "web", ID: "wiki_7"}, 0},
		{Subject{Section: "hest", ID: "x"}, 2},
		{Subject{URI: "http://example.org/blog/2020/a.html?x=1"}, 3},
		{Subject{URI: "https://example.org/blog"}, 3},
		{Subject{URI: "https://example.org/blogs"}, 0},
		{Subject{URI: "https://example.org/"}, 0},
		{Subject{URI: "https://m.ugler.dk/a/b"}, 4},
		{Subject{URI: "https://UGLER.dk"}, 4},
		{Subject{URI: "https://smaaugler.dk"}, 0},
		{Subject{URI: "not an address"}, 0},
		{Subject{Author: "anne andersen"}, 5},
		{Subject{Author: "Anne Andersen Hansen"}, 0},
		{Subject{Text: " UGLEN sover om dagen.\n"}, 6},
		{Subject{Text: "Uglen sover om natten."}, 0},
		{Subject{}, 0},
	} {
		got := 0
		if e := l.Match(c.s); e != nil {
			got = e.Number
		}
		if got != c.want {
			t.Errorf("%+v falls under %d, want %d", c.s, got, c.want)
		}
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, secret := range []string{"Andersen", "andersen", "Uglen", "example.org", "ugler"} {
		if strings.Contains(string(data), secret) {
			t.Errorf("the list holds %q", secret)
		}
	}
}

func TestListOnlyGrows(t *testing.T) {
	path := filepath.Join(t.TempDir(), "removals.jsonl")
	l, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := l.Add(entry(ByID, "a/1"), entry(ByID, "a/2"), entry(ByID, "a/3")); err != nil {
		t.Fatal(err)
	}
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.SplitAfter(string(good), "\n")
	for what, bad := range map[string]string{
		"a line gone":    lines[0] + lines[2],
		"a line changed": strings.Replace(string(good), "a/1", "b/1", 1),
		"cut off":        string(good[:len(good)-3]),
		"unknown field":  strings.Replace(string(good), `"kind"`, `"sort"`, 1),
	} {
		if err := os.WriteFile(path, []byte(bad), 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(path); err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v", what, err)
		}
	}
	for what, e := range map[string]Entry{
		"selector":   entry("title", "x"),
		"form":       entry(ByID, "without-section"),
		"SHA-256":    entry(ByAuthor, "Anne Andersen"),
		"kind":       {Request: "1", Kind: "whim", Received: "2026-11-20", By: "a", Reason: "b", Selector: BySource, Value: "x"},
		"are needed": {Kind: "erasure", Selector: BySource, Value: "x"},
	} {
		if _, err := l.Add(e); err == nil || !strings.Contains(err.Error(), what) {
			t.Errorf("%+v: %v", e, err)
		}
	}
	if _, err := URLHash("nowhere"); err == nil {
		t.Error("a word is taken for an address")
	}
}
