package hub

import (
	"bytes"
	"context"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

const (
	testRepo = "ravn-labs/ugle-1b"
	secret   = "hf_notToBeSeenAnywhere"
)

// fakeHub answers as huggingface.co does: the API, and resolve, which redirects large files to a storage host with a
// signed address. Facts: the hub's API documentation and what its Python client sends and reads.
type fakeHub struct {
	hub, storage *httptest.Server

	mu       sync.Mutex
	commit   string
	files    map[string][]byte
	large    map[string]bool
	gated    bool
	cut      map[string]int // bytes after which the first answer breaks off
	wrong    map[string]bool
	moreTree []map[string]any
	failures int // answers of 503 before the first right one
	log      []string
	leaks    []string // requests that took the token elsewhere
}

func newFakeHub(t *testing.T) *fakeHub {
	f := &fakeHub{commit: strings.Repeat("ab", 20), files: map[string][]byte{}, large: map[string]bool{}, cut: map[string]int{}, wrong: map[string]bool{}}
	f.storage = httptest.NewServer(http.HandlerFunc(f.serveStorage))
	t.Cleanup(f.storage.Close)
	f.hub = httptest.NewServer(http.HandlerFunc(f.serveHub))
	t.Cleanup(f.hub.Close)
	weights := bytes.Repeat([]byte("ravnens vægte, 0123456789\n"), 40_000)
	f.files["model.safetensors"], f.large["model.safetensors"] = weights, true
	f.files["config.json"] = []byte("{\"model_type\": \"llama\"}\n")
	f.files["README.md"] = []byte("# Ugle\n")
	f.files["empty.txt"] = nil
	f.files["sub/mappe æ/tokens.txt"] = []byte("en to tre")
	f.files["pytorch_model.bin"], f.large["pytorch_model.bin"] = []byte("a pickle"), true
	return f
}

func (f *fakeHub) options() Options {
	return Options{Endpoint: f.hub.URL, Token: secret, Pause: time.Millisecond, StallTime: 5 * time.Second}
}

func gitHash(data []byte) string {
	h := sha1.New()
	fmt.Fprintf(h, "blob %d\x00", len(data))
	h.Write(data)
	return hex.EncodeToString(h.Sum(nil))
}

func shaHash(data []byte) string {
	h := sha256.Sum256(data)
	return hex.EncodeToString(h[:])
}

func (f *fakeHub) serveHub(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.log = append(f.log, r.URL.EscapedPath()+" "+r.Header.Get("Range"))
	if f.failures > 0 {
		f.failures--
		http.Error(w, "busy", http.StatusServiceUnavailable)
		return
	}
	known := r.Header.Get("Authorization") == "Bearer "+secret
	refuse := func(status int, code, message string) {
		w.Header().Set("X-Error-Code", code)
		w.Header().Set("X-Error-Message", message)
		w.WriteHeader(status)
		json.NewEncoder(w).Encode(map[string]string{"error": message})
	}
	rest, api := strings.CutPrefix(r.URL.Path, "/api/models/"+testRepo+"/")
	if !api {
		rest, api = strings.CutPrefix(r.URL.Path, "/api/datasets/"+testRepo+"/")
	}
	switch {
	case api && strings.HasPrefix(rest, "revision/"):
		if rev := strings.TrimPrefix(rest, "revision/"); rev != "main" && rev != "refs/pr/1" && rev != f.commit {
			refuse(http.StatusNotFound, "RevisionNotFound", "Invalid rev id: "+rev)
			return
		}
		json.NewEncoder(w).Encode(map[string]any{"sha": f.commit, "cardData": map[string]any{"license": "apache-2.0"}})
	case api && rest == "tree/"+f.commit:
		f.serveTree(w, r)
	case strings.Contains(r.URL.Path, testRepo+"/resolve/"+f.commit+"/"):
		_, name, _ := strings.Cut(r.URL.Path, "/resolve/"+f.commit+"/")
		data, ok := f.files[name]
		switch {
		case f.gated && !known:
			refuse(http.StatusUnauthorized, "GatedRepo", "Access to model "+testRepo+" is restricted.")
		case f.gated:
			refuse(http.StatusForbidden, "GatedRepo", "Your request to access model "+testRepo+" is awaiting a review.")
		case !ok:
			refuse(http.StatusNotFound, "EntryNotFound", "Entry not found")
		case f.large[name]:
			w.Header().Set("X-Linked-Etag", `"`+shaHash(data)+`"`)
			w.Header().Set("X-Linked-Size", strconv.Itoa(len(data)))
			http.Redirect(w, r, f.storage.URL+"/blob/"+url.PathEscape(name)+"?Signature=verySecretSignature", http.StatusFound)
		default:
			f.send(w, r, name, data)
		}
	default:
		refuse(http.StatusUnauthorized, "RepoNotFound", "Repository not found")
	}
}

// serveTree gives two files a page.
func (f *fakeHub) serveTree(w http.ResponseWriter, r *http.Request) {
	entries := []map[string]any{{"type": "directory", "oid": strings.Repeat("0", 40), "size": 0, "path": "sub"}}
	for _, name := range slices.Sorted(maps.Keys(f.files)) {
		data := f.files[name]
		e := map[string]any{"type": "file", "oid": gitHash(data), "size": len(data), "path": name}
		if f.large[name] {
			e["oid"] = strings.Repeat("c", 40) // of the pointer
			e["lfs"] = map[string]any{"oid": shaHash(data), "size": len(data), "pointerSize": 134}
		}
		entries = append(entries, e)
	}
	entries = append(entries, f.moreTree...)
	at, _ := strconv.Atoi(r.URL.Query().Get("cursor"))
	end := min(at+2, len(entries))
	if end < len(entries) {
		w.Header().Set("Link", fmt.Sprintf(`<%s%s?recursive=true&cursor=%d>; rel="next"`, f.hub.URL, r.URL.Path, end))
	}
	json.NewEncoder(w).Encode(entries[at:end])
}

func (f *fakeHub) serveStorage(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.log = append(f.log, "storage "+r.URL.Path+" "+r.Header.Get("Range"))
	if r.Header.Get("Authorization") != "" || r.Header.Get("Referer") != "" {
		f.leaks = append(f.leaks, r.URL.String())
	}
	name := strings.TrimPrefix(r.URL.Path, "/blob/")
	if r.URL.Query().Get("Signature") == "" {
		w.WriteHeader(http.StatusForbidden)
		return
	}
	f.send(w, r, name, f.files[name])
}

func (f *fakeHub) send(w http.ResponseWriter, r *http.Request, name string, data []byte) {
	if f.wrong[name] {
		data = bytes.ToUpper(data)
	}
	if n, ok := f.cut[name]; ok {
		delete(f.cut, name)
		w.Header().Set("Content-Length", strconv.Itoa(len(data)))
		w.Write(data[:n])
		w.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	}
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(data))
}

// check compares a folder with the hub's files.
func (f *fakeHub) check(t *testing.T, dir string, names ...string) {
	t.Helper()
	var have []string
	err := filepath.WalkDir(dir, func(p string, d os.DirEntry, err error) error {
		if rel, _ := filepath.Rel(dir, p); err == nil && !d.IsDir() && rel != markName {
			have = append(have, filepath.ToSlash(rel))
			data, err := os.ReadFile(p)
			if err != nil || !bytes.Equal(data, f.files[filepath.ToSlash(rel)]) {
				t.Errorf("%s is not what the hub has (%v)", rel, err)
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(have)
	slices.Sort(names)
	if diff := cmp.Diff(have, names); diff != "" {
		t.Errorf("files:\n%s", diff)
	}
	if f.mu.Lock(); len(f.leaks) > 0 {
		t.Errorf("the token or an address went to the storage host: %v", f.leaks)
	}
	f.mu.Unlock()
}

func TestPull(t *testing.T) {
	f := newFakeHub(t)
	dir := filepath.Join(t.TempDir(), "ugle")
	var mu sync.Mutex
	var seen int64
	o := f.options()
	o.Progress = func(n int64) { mu.Lock(); seen += n; mu.Unlock() }
	r, err := Pull(t.Context(), testRepo, dir, o)
	if err != nil {
		t.Fatal(err)
	}
	f.check(t, dir, "model.safetensors", "config.json", "README.md", "empty.txt", "sub/mappe æ/tokens.txt")
	if r.Fetched != 5 || r.Present != 0 || r.Commit != f.commit || r.License != "apache-2.0" || seen != r.SizeBytes() || r.BytesRead != seen {
		t.Errorf("fetched %d, present %d, commit %s, licence %q, progress %d, read %d of %d", r.Fetched, r.Present, r.Commit, r.License, seen, r.BytesRead, r.SizeBytes())
	}
	if diff := cmp.Diff(r.LeftOut, []string{"pytorch_model.bin"}); diff != "" {
		t.Errorf("left out: %s", diff)
	}
	// The second time nothing is fetched.
	f.log = nil
	if r, err = Pull(t.Context(), testRepo, dir, f.options()); err != nil || r.Fetched != 0 || r.Present != 5 || r.BytesRead != 0 {
		t.Errorf("again: %+v, %v", r, err)
	}
	for _, l := range f.log {
		if strings.Contains(l, "resolve") {
			t.Errorf("fetched again: %s", l)
		}
	}
	// A file that somebody has changed is not written over; one of an older commit is.
	if err := os.WriteFile(filepath.Join(dir, "config.json"), []byte("mine"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err = Pull(t.Context(), testRepo, dir, f.options()); err == nil || !strings.Contains(err.Error(), "move it away") {
		t.Errorf("a changed file: %v", err)
	}
	os.Remove(filepath.Join(dir, "config.json"))
	f.commit, f.files["README.md"] = strings.Repeat("cd", 20), []byte("# Ugle, anden udgave\n")
	if r, err = Pull(t.Context(), testRepo, dir, f.options()); err != nil || r.Fetched != 2 {
		t.Errorf("a new commit: %+v, %v", r, err)
	}
	f.check(t, dir, "model.safetensors", "config.json", "README.md", "empty.txt", "sub/mappe æ/tokens.txt")
	mark, err := os.ReadFile(filepath.Join(dir, markName))
	if err != nil || bytes.Contains(mark, []byte(secret)) || !bytes.Contains(mark, []byte(f.commit)) {
		t.Errorf("mark (%v): %s", err, mark)
	}
}

func TestPullChoosesFiles(t *testing.T) {
	f := newFakeHub(t)
	for _, c := range []struct {
		name             string
		include, exclude []string
		want             []string
	}{
		{"include", []string{"*.json", "*.bin"}, nil, []string{"config.json", "pytorch_model.bin"}},
		{"a folder", []string{"sub/"}, nil, []string{"sub/mappe æ/tokens.txt"}},
		{"exclude", nil, []string{"*.safetensors", "sub/*"}, []string{"README.md", "config.json", "empty.txt"}},
		{"both", []string{"*e*.*"}, []string{"*.txt", "*.safetensors", "*.bin"}, nil},
	} {
		o := f.options()
		o.Include, o.Exclude = c.include, c.exclude
		s, err := List(t.Context(), testRepo, o)
		if c.want == nil {
			if err == nil || !strings.Contains(err.Error(), "none of its 6 files") {
				t.Errorf("%s: %v", c.name, err)
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, f := range s.Files {
			got = append(got, f.Path)
		}
		slices.Sort(got)
		if diff := cmp.Diff(got, c.want); diff != "" {
			t.Errorf("%s: %s", c.name, diff)
		}
	}
}

// TestPullGoesOn cuts a download twice: once it goes on by itself, once a later call does.
func TestPullGoesOn(t *testing.T) {
	f := newFakeHub(t)
	dir := filepath.Join(t.TempDir(), "ugle")
	f.cut["model.safetensors"] = 300_000
	f.failures = 2
	r, err := Pull(t.Context(), testRepo, dir, f.options())
	if err != nil {
		t.Fatal(err)
	}
	f.check(t, dir, "model.safetensors", "config.json", "README.md", "empty.txt", "sub/mappe æ/tokens.txt")
	if r.BytesRead != r.SizeBytes() {
		t.Errorf("%d bytes read for %d", r.BytesRead, r.SizeBytes())
	}
	if !slices.Contains(f.log, "storage /blob/model.safetensors bytes=300000-") {
		t.Errorf("it did not go on at the byte where it was cut: %q", f.log)
	}

	dir = filepath.Join(t.TempDir(), "ugle")
	f.cut["model.safetensors"] = 500_000
	o := f.options()
	o.Attempts = 1
	if _, err := Pull(t.Context(), testRepo, dir, o); err == nil {
		t.Fatal("a download that was cut and may not go on has no error")
	}
	if _, err := os.Stat(filepath.Join(dir, "model.safetensors")); err == nil {
		t.Error("half a file stands under its name")
	}
	r, err = Pull(t.Context(), testRepo, dir, o)
	if err != nil || r.Resumed != 1 || r.BytesRead >= r.SizeBytes() {
		t.Errorf("resumed %d, read %d of %d, %v", r.Resumed, r.BytesRead, r.SizeBytes(), err)
	}
	f.check(t, dir, "model.safetensors", "config.json", "README.md", "empty.txt", "sub/mappe æ/tokens.txt")

	// A piece that has gone bad on the disk is found out, and the next call begins it anew.
	dir = filepath.Join(t.TempDir(), "ugle")
	f.cut["model.safetensors"] = 500_000
	if _, err := Pull(t.Context(), testRepo, dir, o); err == nil {
		t.Fatal("no error")
	}
	parts, _ := filepath.Glob(filepath.Join(dir, partsDir, "*.part"))
	spoiled := 0
	for _, p := range parts {
		if data, _ := os.ReadFile(p); len(data) > 1000 {
			data[77] ^= 1
			spoiled++
			if err := os.WriteFile(p, data, 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	if _, err = Pull(t.Context(), testRepo, dir, o); spoiled != 1 || err == nil || !strings.Contains(err.Error(), "thrown away") {
		t.Errorf("a spoiled piece: %v (%d spoiled)", err, spoiled)
	}
	if _, err = Pull(t.Context(), testRepo, dir, o); err != nil {
		t.Error(err)
	}
	f.check(t, dir, "model.safetensors", "config.json", "README.md", "empty.txt", "sub/mappe æ/tokens.txt")
}

func TestPullChecksHashes(t *testing.T) {
	for _, name := range []string{"model.safetensors", "config.json"} {
		f := newFakeHub(t)
		f.wrong[name] = true
		dir := filepath.Join(t.TempDir(), "ugle")
		_, err := Pull(t.Context(), testRepo, dir, f.options())
		if err == nil || !strings.Contains(err.Error(), name+": its hash is") {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := os.Stat(filepath.Join(dir, name)); err == nil {
			t.Errorf("%s stands there with a wrong hash", name)
		}
	}
}

func TestPullRefusals(t *testing.T) {
	file := func(name string) func(*fakeHub, *Options) {
		return func(f *fakeHub, _ *Options) {
			f.moreTree = []map[string]any{{"type": "file", "oid": strings.Repeat("0", 40), "size": 3, "path": name}}
		}
	}
	for _, c := range []struct {
		name, repo string
		change     func(*fakeHub, *Options)
		want       []string
	}{
		{"gated without token", testRepo, func(f *fakeHub, o *Options) { f.gated, o.Token = true, "" }, []string{"HTTP 401", "ask for consent", "/" + testRepo, "set HF_TOKEN"}},
		{"gated with token", testRepo, func(f *fakeHub, _ *Options) { f.gated = true }, []string{"HTTP 403", "awaiting a review", "may not read it"}},
		{"no such repository", "ravn-labs/intet", nil, []string{"HTTP 401", "does not exist"}},
		{"no such revision", testRepo, func(_ *fakeHub, o *Options) { o.Revision = "v9" }, []string{"no revision \"v9\""}},
		{"leaves the folder", testRepo, file("../../etc/passwd"), []string{"would not stay in the folder"}},
		{"absolute", testRepo, file("/etc/passwd"), []string{"would not stay in the folder"}},
		{"backslash", testRepo, file(`..\x`), []string{"would not stay in the folder"}},
		{"dots within", testRepo, file("a/../../b"), []string{"would not stay in the folder"}},
		{"our own mark", testRepo, file(markName), []string{"keeps for itself"}},
		{"our own folder", testRepo, file(".RAVN-pull/x"), []string{"keeps for itself"}},
		{"twice", testRepo, file("config.json"), []string{"listed twice"}},
		{"repository name", "../secrets", nil, []string{"not the name of a repository"}},
		{"token over http", testRepo, func(_ *fakeHub, o *Options) { o.Endpoint = "http://hub.example" }, []string{"not sent to hub.example without encryption"}},
		{"password in the endpoint", testRepo, func(_ *fakeHub, o *Options) { o.Endpoint = "https://me:" + secret + "@hub.example" }, []string{"no user"}},
		{"not a hub", testRepo, func(f *fakeHub, o *Options) { o.Endpoint = f.storage.URL }, []string{"HTTP 403"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newFakeHub(t)
			o := f.options()
			if c.change != nil {
				c.change(f, &o)
			}
			parent := t.TempDir()
			_, err := Pull(t.Context(), c.repo, filepath.Join(parent, "x"), o)
			if err == nil {
				t.Fatal("no error")
			}
			for _, want := range c.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%q lacks %q", err, want)
				}
			}
			if strings.Contains(err.Error(), secret) || strings.Contains(err.Error(), "Signature") {
				t.Errorf("a secret stands in %q", err)
			}
			if entries, _ := os.ReadDir(parent); len(entries) > 1 {
				t.Errorf("something stands beside the folder: %v", entries)
			}
		})
	}
}

func TestPullBoundsRedirects(t *testing.T) {
	var hops int
	var s *httptest.Server
	s = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		hops++
		http.Redirect(w, r, s.URL+"/again?Signature=verySecretSignature", http.StatusFound)
	}))
	defer s.Close()
	_, err := List(t.Context(), testRepo, Options{Endpoint: s.URL, Attempts: 1})
	if err == nil || !strings.Contains(err.Error(), "more than 5 redirects") || strings.Contains(err.Error(), "Signature") || hops > 6 {
		t.Errorf("%d hops: %v", hops, err)
	}
}

func TestPullLeavesOtherFoldersAlone(t *testing.T) {
	f := newFakeHub(t)
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "thesis.txt"), []byte("mine"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := Pull(t.Context(), testRepo, dir, f.options()); err == nil || !strings.Contains(err.Error(), "holds other things") {
		t.Errorf("%v", err)
	}
	// A link that an earlier pull's folder holds does not lead out of it.
	dir, outside := t.TempDir(), t.TempDir()
	o := f.options()
	o.Include = []string{"config.json"}
	if _, err := Pull(t.Context(), testRepo, dir, o); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(outside, filepath.Join(dir, "sub")); err != nil {
		t.Skip(err)
	}
	if _, err := Pull(t.Context(), testRepo, dir, f.options()); err == nil {
		t.Error("written through a link")
	}
	if entries, _ := os.ReadDir(outside); len(entries) > 0 {
		t.Errorf("outside: %v", entries)
	}
}

func TestPullStops(t *testing.T) {
	f := newFakeHub(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Pull(ctx, testRepo, filepath.Join(t.TempDir(), "x"), f.options()); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}
