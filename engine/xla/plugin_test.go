package xla

import (
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
)

// TestJAXPlugins: the plug-ins of JAX's packages beside python3 are found, the newer CUDA first, and with them the folder that XLA
// needs for ptxas and libdevice.
func TestJAXPlugins(t *testing.T) {
	root := t.TempDir()
	packages := filepath.Join(root, "lib", "python3.12", "site-packages")
	for _, file := range []string{
		filepath.Join(root, "bin", "python3"),
		filepath.Join(packages, "jax_plugins", "xla_cuda12", "xla_cuda_plugin.so"),
		filepath.Join(packages, "jax_plugins", "xla_cuda13", "xla_cuda_plugin.so"),
		filepath.Join(packages, "nvidia", "cu13", "nvvm", "libdevice", "libdevice.10.bc"),
	} {
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, nil, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", filepath.Join(root, "bin"))
	t.Setenv("HOME", root)
	t.Setenv("PJRT_PLUGIN_LIBRARY_PATH", "")
	newer := filepath.Join(packages, "jax_plugins", "xla_cuda13", "xla_cuda_plugin.so")
	if found := Plugins(); len(found) < 2 || found[0] != newer || PluginName(found[0]) != "cuda" {
		t.Fatalf("found %q, want %q first", found, newer)
	}
	t.Setenv("RAVN_PJRT", "cuda")
	if got := Plugin(); got != newer {
		t.Errorf("RAVN_PJRT=cuda is %q, want %q", got, newer)
	}
	folder := filepath.Join(packages, "nvidia", "cu13")
	for _, x := range []struct{ flags, tf32, wantFlags, wantTF32 string }{
		{"", "", "--xla_gpu_cuda_data_dir=" + folder, "0"},
		{"--a=b", "1", "--a=b --xla_gpu_cuda_data_dir=" + folder, ""},
		{"--xla_gpu_cuda_data_dir=/mine", "", "", "0"},
	} {
		env := cudaEnv(newer, func(key string) string {
			return map[string]string{"XLA_FLAGS": x.flags, "NVIDIA_TF32_OVERRIDE": x.tf32}[key]
		})
		if env["XLA_FLAGS"] != x.wantFlags || env["NVIDIA_TF32_OVERRIDE"] != x.wantTF32 || env["GOPJRT_CUDA_CHECKS"] != "0" {
			t.Errorf("XLA_FLAGS=%q, NVIDIA_TF32_OVERRIDE=%q: %v", x.flags, x.tf32, env)
		}
	}
}

// TestIsPlugin: text and libraries of other kinds are told apart from what could be a plug-in.
func TestIsPlugin(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("ELF is Linux's")
	}
	text := filepath.Join(t.TempDir(), "plugin.so")
	if err := os.WriteFile(text, []byte("version https://git-lfs.github.com/spec/v1"), 0o644); err != nil {
		t.Fatal(err)
	}
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for file, want := range map[string]string{text: "no library", filepath.Join(t.TempDir(), "gone.so"): "no library", program: "no GetPjrtApi"} {
		if err := IsPlugin(file); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", file, err, want)
		}
	}
}

// TestAdvice: messages as CUDA, XLA and go-xla write them, and what each says to try.
func TestAdvice(t *testing.T) {
	for _, x := range []struct{ text, want string }{
		{`failed to dynamically load PJRT plugin from "/a.so: file too short"`, "pull-plugin"},
		{`tried to load "/a.so", but failed to find symbol "GetPjrtApi"`, "no PJRT plug-in"},
		{"FAILED_PRECONDITION: CUDA driver version is insufficient for CUDA runtime version", "cuda12"},
		{"INTERNAL: no supported devices found for platform CUDA", "nvidia-smi"},
		{"RESOURCE_EXHAUSTED: Out of memory while trying to allocate 1073741824 bytes.", "ravn plan"},
		{"something else", ""},
	} {
		if got := advice(x.text); !strings.Contains(got, x.want) || x.want == "" && got != "" {
			t.Errorf("%q: %q, want %q", x.text, got, x.want)
		}
	}
}

// TestGroups: all parameters that learn are in one group each, a block's together.
func TestGroups(t *testing.T) {
	v := variants()[0]
	e, _ := pair(t, v, Options{})
	var all []int
	for _, g := range e.groups() {
		all = append(all, g...)
	}
	if !slices.IsSorted(all) || len(all) != len(e.layout) || len(e.groups()) != 2+v.cfg.NumHiddenLayers {
		t.Errorf("groups %v of %d parameters", e.groups(), len(e.layout))
	}
	e.Freeze(func(name string) bool { return name != "model.norm.weight" })
	if g := e.groups(); len(g) != 1 || len(g[0]) != 1 || g[0][0] != e.norm() {
		t.Errorf("all but the norm are frozen: groups %v, want [[%d]]", g, e.norm())
	}
}
