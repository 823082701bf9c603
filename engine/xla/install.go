package xla

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/gomlx/go-xla/pkg/installer"
)

// Installed is a PJRT plug-in on disk.
type Installed struct {
	File   string `json:"file"` // of its library, for RAVN_PJRT
	SHA256 string `json:"sha256"`
	Fresh  bool   `json:"fresh"` // fetched by this call
}

// sums is the file of checksums in a folder of plug-ins, as sha256sum reads it.
const sums = "SHA256SUMS"

// Install fetches a PJRT plug-in by go-xla's installer into dir/go-xla: "cpu", as go-xla's own build, or "cuda12" or
// "cuda13" with NVIDIA's libraries, as JAX publishes it, in a version or "latest". One that is there stays, unless it is to be
// replaced. JAX's files are checked against the sums that the registry gives; want, where it is not "", is the SHA-256 that the
// library must have. The sums of all that was installed go to SHA256SUMS beside it.
func Install(plugin, version, dir, want string, replace bool) (*Installed, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("engine/xla: %w", err)
	}
	to := filepath.Join(dir, folder)
	file := filepath.Join(to, "pjrt_c_api_cpu_plugin.so")
	if plugin != "cpu" {
		file = filepath.Join(to, "nvidia", "pjrt_c_api_cuda_plugin.so")
	}
	in := &Installed{File: file}
	if _, err := os.Stat(file); err != nil || replace {
		if err := in.fetch(plugin, version, to, replace); err != nil {
			return nil, fmt.Errorf("engine/xla: plug-in %s: %w", plugin, err)
		}
		in.Fresh = true
	}
	if in.SHA256, err = hash(file); err != nil {
		return nil, fmt.Errorf("engine/xla: plug-in %s: %w", plugin, err)
	}
	if want != "" && !strings.EqualFold(want, in.SHA256) {
		return nil, fmt.Errorf("engine/xla: %s has SHA-256 %s, wanted is %s (it is another version, or not what it claims to be: do not use it)", file, in.SHA256, want)
	}
	return in, writeSums(to)
}

func (in *Installed) fetch(plugin, version, to string, replace bool) error {
	if err := os.MkdirAll(to, 0o755); err != nil {
		return err
	}
	out := os.Stdout
	os.Stdout = os.Stderr // go-xla's installer says on stdout what it has done, where results belong
	defer func() { os.Stdout = out }()
	if plugin == "cuda12" || plugin == "cuda13" {
		return installCUDA(plugin, version, to)
	}
	if plugin != "cpu" {
		return errors.New("there are cpu, cuda12 and cuda13")
	}
	if version != "latest" {
		return fmt.Errorf("version %q: go-xla fetches the one version that it was tested with (leave out --version)", version)
	}
	if replace { // the installer leaves alone what is there
		old, err := filepath.Glob(filepath.Join(to, "pjrt_c_api_cpu_*plugin.so"))
		if err != nil {
			return err
		}
		for _, file := range old {
			if err := os.Remove(file); err != nil {
				return err
			}
		}
	}
	return installer.CPUAutoInstall(to, false, installer.Quiet)
}

// hash is the SHA-256 of a file, in hexadecimal.
func hash(file string) (string, error) {
	f, err := os.Open(file)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// writeSums writes the checksums of all files in a folder of plug-ins.
func writeSums(dir string) error {
	var lines []string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() || d.Name() == sums {
			return err
		}
		sum, err := hash(path)
		if err != nil {
			return err
		}
		name, err := filepath.Rel(dir, path)
		lines = append(lines, sum+"  "+filepath.ToSlash(name)+"\n")
		return err
	})
	if err != nil {
		return fmt.Errorf("engine/xla: %w", err)
	}
	slices.Sort(lines)
	if err := os.WriteFile(filepath.Join(dir, sums), []byte(strings.Join(lines, "")), 0o644); err != nil {
		return fmt.Errorf("engine/xla: %w", err)
	}
	return nil
}
