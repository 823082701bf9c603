package xla

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// registry answers, on this machine, for all servers that the installer asks.
func registry(t *testing.T, answer func(path string) ([]byte, int)) {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, code := answer(r.URL.Path)
		w.WriteHeader(code)
		w.Write(body)
	}))
	t.Cleanup(server.Close)
	to, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	asked := http.DefaultTransport
	t.Cleanup(func() { http.DefaultTransport = asked })
	http.DefaultTransport = roundTripper(func(r *http.Request) (*http.Response, error) {
		r = r.Clone(r.Context())
		r.URL.Scheme, r.URL.Host, r.Host = to.Scheme, to.Host, to.Host
		return asked.RoundTrip(r)
	})
	quiet(t)
}

type roundTripper func(r *http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// quiet takes away what the installer prints.
func quiet(t *testing.T) {
	t.Helper()
	out := os.Stdout
	null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	os.Stdout = null
	t.Cleanup(func() { os.Stdout = out; null.Close() })
}

func zipped(t *testing.T, files map[string]string) []byte {
	t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for name, text := range files {
		w, err := z.Create(name)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, text); err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func sumOf(b []byte) string {
	s := sha256.Sum256(b)
	return hex.EncodeToString(s[:])
}

// TestInstallCUDA installs CUDA's plug-in from a server on this machine that has what a registry of Python packages has, checks
// sums, leaves alone what is there, and tells of a sum that is wrong.
func TestInstallCUDA(t *testing.T) {
	if runtime.GOOS != "linux" || runtime.GOARCH != "amd64" {
		t.Skip("CUDA's plug-in is published for Linux on amd64 alone")
	}
	wheels := map[string][]byte{
		"jax-cuda13-pjrt":   zipped(t, map[string]string{"jax_plugins/xla_cuda13/xla_cuda_plugin.so": "plug-in"}),
		"jax-cuda13-plugin": nil,
		"nvidia-cublas":     zipped(t, map[string]string{"nvidia/cu13/lib/libcublas.so.13": "cublas"}),
	}
	asked, tampered := 0, false
	registry(t, func(p string) ([]byte, int) {
		asked++
		if name, ok := strings.CutSuffix(strings.TrimPrefix(p, "/files/"), ".whl"); ok {
			return wheels[name], http.StatusOK
		}
		name := path.Base(path.Dir(p))
		wheel, ok := wheels[name]
		if !ok {
			return nil, http.StatusNotFound
		}
		sum := sumOf(wheel)
		if tampered {
			sum = sumOf([]byte("another"))
		}
		body, err := json.Marshal(map[string]any{
			"info": map[string]any{"author_email": "jax-dev@google.com", "version": "1.2.3", "requires_dist": []string{"nvidia-cublas>=1.0"}},
			"releases": map[string]any{"1.2.3": []any{map[string]any{
				"packagetype": "bdist_wheel", "filename": name + "-1.2.3-manylinux_2_27_x86_64.whl",
				"url": "http://127.0.0.1/files/" + name + ".whl", "digests": map[string]string{"sha256": sum},
			}}},
		})
		if err != nil {
			t.Error(err)
		}
		return body, http.StatusOK
	})
	dir := t.TempDir()
	in, err := Install("cuda13", "latest", dir, sumOf([]byte("plug-in")), false)
	if err != nil {
		t.Fatal(err)
	}
	if text, err := os.ReadFile(in.File); err != nil || string(text) != "plug-in" || !in.Fresh || in.SHA256 != sumOf(text) {
		t.Errorf("%+v: %q (%v)", in, text, err)
	}
	list, err := os.ReadFile(filepath.Join(dir, "go-xla", "SHA256SUMS"))
	want := fmt.Sprintf("%s  nvidia/pjrt_c_api_cuda_plugin.so\n", sumOf([]byte("plug-in")))
	if err != nil || !strings.Contains(string(list), want) || !strings.Contains(string(list), "libcublas.so.13") {
		t.Errorf("SHA256SUMS (%v):\n%swant a line\n%s", err, list, want)
	}
	t.Setenv("PJRT_PLUGIN_LIBRARY_PATH", filepath.Join(dir, "go-xla"))
	t.Setenv("RAVN_PJRT", "cuda")
	if found := Plugin(); found != in.File {
		t.Errorf("the plug-in that was installed is not found: %q, want %q", found, in.File)
	}
	before := asked
	if again, err := Install("cuda13", "latest", dir, "", false); err != nil || again.Fresh || asked != before {
		t.Errorf("a second time: %+v, %v, %d questions", again, err, asked-before)
	}
	if _, err := Install("cuda13", "latest", dir, sumOf([]byte("other")), false); err == nil || !strings.Contains(err.Error(), "do not use it") {
		t.Errorf("another sum is wanted: %v", err)
	}
	tampered = true
	if _, err := Install("cuda13", "latest", t.TempDir(), "", false); err == nil || !strings.Contains(strings.ToLower(err.Error()), "sha256") {
		t.Errorf("a file that is not what the registry says: %v", err)
	}
	if _, err := Install("cuda13", "9.9", t.TempDir(), "", false); err == nil || !strings.Contains(err.Error(), "1.2.3") {
		t.Errorf("a version that is not there: %v", err)
	}
}

// TestInstallCPU installs go-xla's own build of the plug-in for processors from such a server, and replaces it.
func TestInstallCPU(t *testing.T) {
	text, online := "first", true
	registry(t, func(p string) ([]byte, int) {
		if !online {
			return nil, http.StatusServiceUnavailable
		}
		asset := fmt.Sprintf("pjrt_cpu_%s_%s.tar.gz", runtime.GOOS, runtime.GOARCH)
		if !strings.HasSuffix(p, asset) {
			version := path.Base(p)
			body, err := json.Marshal(map[string]any{"assets": []any{map[string]string{"browser_download_url": "http://127.0.0.1/" + version + "/" + asset}}})
			if err != nil {
				t.Error(err)
			}
			return body, http.StatusOK
		}
		var b bytes.Buffer
		gz := gzip.NewWriter(&b)
		w := tar.NewWriter(gz)
		name := "pjrt_c_api_cpu_" + path.Base(path.Dir(p)) + "_plugin.so"
		for _, err := range []error{
			w.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(text)), Typeflag: tar.TypeReg}),
			func() error { _, err := io.WriteString(w, text); return err }(), w.Close(), gz.Close(),
		} {
			if err != nil {
				t.Error(err)
			}
		}
		return b.Bytes(), http.StatusOK
	})
	dir := t.TempDir()
	for _, want := range []string{"first", "second"} {
		text = want
		in, err := Install("cpu", "latest", dir, "", want == "second")
		if err != nil {
			t.Fatal(err)
		}
		if in.SHA256 != sumOf([]byte(want)) || !in.Fresh {
			t.Errorf("%+v, want the %s one", in, want)
		}
	}
	online = false
	if _, err := Install("cpu", "latest", t.TempDir(), "", false); err == nil || !strings.Contains(err.Error(), "503") {
		t.Errorf("a server that does not serve: %v", err)
	}
	for _, x := range [][2]string{{"tpu", "latest"}, {"cpu", "3"}} {
		if _, err := Install(x[0], x[1], t.TempDir(), "", false); err == nil {
			t.Errorf("plug-in %s in version %s was taken", x[0], x[1])
		}
	}
}

// TestPlugin: what RAVN_PJRT names wins, "none" is none, and a plug-in for GPUs is not taken by itself where there is none.
func TestPlugin(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"cpu", "cuda"} {
		if err := os.WriteFile(filepath.Join(dir, "pjrt_c_api_"+name+"_plugin.so"), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PJRT_PLUGIN_LIBRARY_PATH", dir)
	file := func(name string) string { return filepath.Join(dir, "pjrt_c_api_"+name+"_plugin.so") }
	alone := file("cpu")
	if hasGPU() {
		alone = file("cuda")
	}
	for asked, want := range map[string]string{"": alone, "cuda": file("cuda"), "cpu": file("cpu"), "none": "", "/a/b.so": "/a/b.so", "tpu": "tpu"} {
		t.Setenv("RAVN_PJRT", asked)
		if got := Plugin(); got != want {
			t.Errorf("RAVN_PJRT=%q: %q, want %q", asked, got, want)
		}
	}
}
