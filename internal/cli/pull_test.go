package cli

import (
	"bytes"
	"crypto/sha1"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestPullCommands fetches a model and a data set from a small hub, and reads the data set.
func TestPullCommands(t *testing.T) {
	const commit = "0123456789012345678901234567890123456789"
	rows := func(n int, word string) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, "{\"text\": \"%s nummer %d flyver om natten .\", \"label\": \"%s\"}\n", word, i, []string{"correct", "incorrect"}[i%2])
		}
		return b.String()
	}
	repos := map[string]map[string]string{
		"models/os/ugle":              {"config.json": "{}", "model.safetensors": "vægte", "model.bin": "x"},
		"datasets/ScandEval/scala-da": {"train.jsonl": rows(16, "Uglen"), "test.jsonl": rows(6, "Ravnen"), "other.csv": "x"},
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for repo, files := range repos {
			switch path := r.URL.Path; {
			case path == "/api/"+repo+"/revision/main":
				fmt.Fprintf(w, `{"sha": %q}`, commit)
				return
			case path == "/api/"+repo+"/tree/"+commit:
				list := []map[string]any{}
				for name, text := range files {
					h := sha1.New()
					fmt.Fprintf(h, "blob %d\x00%s", len(text), text)
					list = append(list, map[string]any{"type": "file", "path": name, "size": len(text), "oid": hex.EncodeToString(h.Sum(nil))})
				}
				json.NewEncoder(w).Encode(list)
				return
			default:
				name, ok := strings.CutPrefix(path, "/"+strings.TrimPrefix(repo, "models/")+"/resolve/"+commit+"/")
				if text, there := files[name]; ok && there {
					w.Write([]byte(text))
					return
				}
			}
		}
		http.NotFound(w, r)
	}))
	defer server.Close()
	t.Setenv("HF_ENDPOINT", server.URL)
	t.Setenv("HF_TOKEN", "hf_secret")
	dir := t.TempDir()
	ravn := func(args ...string) (code int, out, errs string) {
		var o, e bytes.Buffer
		code = Main(t.Context(), args, Streams{In: strings.NewReader(""), Out: &o, Err: &e})
		return code, o.String(), e.String()
	}

	code, out, errs := ravn("pull", "os/ugle", "--out", filepath.Join(dir, "ugle"))
	if code != ExitDone || !strings.Contains(out, "2 files") || !strings.Contains(out, commit) || !strings.Contains(errs, "model.bin") {
		t.Errorf("code %d: %s%s", code, out, errs)
	}
	if text, err := os.ReadFile(filepath.Join(dir, "ugle", "model.safetensors")); string(text) != "vægte" {
		t.Errorf("%q, %v", text, err)
	}
	code, out, errs = ravn("pull", "os/ugle", "--list", "--json")
	if code != ExitDone || !strings.Contains(out, `"size_bytes": 6`) || !strings.Contains(out, `"left_out"`) {
		t.Errorf("code %d: %s%s", code, out, errs)
	}
	code, out, errs = ravn("eval", "data", "pull", "scala-da", "--data-dir", dir)
	if code != ExitDone || !strings.Contains(out, "scala-da: 16 train, 0 val, 6 test rows, licence CC-BY-SA-4.0 (correct 3, incorrect 3)") || !strings.Contains(out, "the description says") {
		t.Errorf("code %d: %s%s", code, out, errs)
	}
	if _, err := os.Stat(filepath.Join(dir, "scala-da", "other.csv")); err == nil {
		t.Error("a file that is no split was fetched")
	}
	code, out, errs = ravn("eval", "data", "pull", "lcc-sentiment", "nothing", "--data-dir", dir)
	if code != ExitUsage || !strings.Contains(errs, "not on a hub: https://") || !strings.Contains(errs, `no data set is called "nothing"`) {
		t.Errorf("code %d: %s%s", code, out, errs)
	}
	code, out, errs = ravn("pull", "os/ugle", "--dataset", "--out", filepath.Join(dir, "none"))
	if code != ExitFailed || !strings.Contains(errs, "models are pulled without --dataset") || strings.Contains(out+errs, "hf_secret") {
		t.Errorf("code %d: %s%s", code, out, errs)
	}
	if code, _, errs = ravn("pull", "../ugle"); code != ExitUsage {
		t.Errorf("code %d: %s", code, errs)
	}
}
