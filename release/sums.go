package release

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

const sumsName = "SHA256SUMS"

// writeSums writes SHA256SUMS over every file in dir, as sha256sum -c reads it, and returns the names.
func writeSums(ctx context.Context, dir string) ([]string, error) {
	names, err := fileNames(dir)
	if err != nil {
		return nil, err
	}
	var b strings.Builder
	for _, name := range names {
		sum, err := hashFile(ctx, filepath.Join(dir, filepath.FromSlash(name)))
		if err != nil {
			return nil, err
		}
		b.WriteString(sum + "  " + name + "\n")
	}
	return names, os.WriteFile(filepath.Join(dir, sumsName), []byte(b.String()), 0o644)
}

func fileNames(dir string) ([]string, error) {
	var names []string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, err := filepath.Rel(dir, path)
		if rel = filepath.ToSlash(rel); rel != sumsName {
			names = append(names, rel)
		}
		return err
	})
	slices.Sort(names)
	return names, err
}

func hashFile(ctx context.Context, path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	for {
		if err := ctx.Err(); err != nil {
			return "", err
		}
		if _, err := io.CopyN(h, f, 64<<20); errors.Is(err, io.EOF) {
			return hex.EncodeToString(h.Sum(nil)), nil
		} else if err != nil {
			return "", err
		}
	}
}

var sumLine = regexp.MustCompile(`^([0-9a-f]{64})  (\S.*)$`)

// Verify checks a release folder against its SHA256SUMS. All files that differ, are missing or are not listed are named.
func Verify(ctx context.Context, dir string) error {
	f, err := os.Open(filepath.Join(dir, sumsName))
	if err != nil {
		return fmt.Errorf("release: %w\n\t(not a release folder?)", err)
	}
	defer f.Close()
	var errs []error
	listed := map[string]bool{}
	sc := bufio.NewScanner(f)
	for line := 1; sc.Scan(); line++ {
		m := sumLine.FindStringSubmatch(sc.Text())
		if m == nil || !filepath.IsLocal(m[2]) {
			errs = append(errs, fmt.Errorf("release: %s:%d: not a checksum line", filepath.Join(dir, sumsName), line))
			continue
		}
		listed[m[2]] = true
		sum, err := hashFile(ctx, filepath.Join(dir, filepath.FromSlash(m[2])))
		switch {
		case errors.Is(err, fs.ErrNotExist):
			errs = append(errs, fmt.Errorf("release: %s: missing", m[2]))
		case err != nil:
			errs = append(errs, fmt.Errorf("release: %w", err))
		case sum != m[1]:
			errs = append(errs, fmt.Errorf("release: %s: has changed since the release was written", m[2]))
		}
	}
	if err := sc.Err(); err != nil {
		return fmt.Errorf("release: %s: %w", sumsName, err)
	}
	names, err := fileNames(dir)
	if err != nil {
		return fmt.Errorf("release: %w", err)
	}
	for _, name := range names {
		if !listed[name] {
			errs = append(errs, fmt.Errorf("release: %s: is not listed in %s", name, sumsName))
		}
	}
	return errors.Join(errs...)
}

// leaks are things that must not be published. They are meant to be seldom wrong rather than complete.
var leaks = []struct {
	what    string
	pattern *regexp.Regexp
}{
	{"a private key", regexp.MustCompile(`-----BEGIN [A-Z ]*PRIVATE KEY-----`)},
	{"a Hugging Face token", regexp.MustCompile(`\bhf_[A-Za-z0-9]{30,}`)},
	{"a GitHub token", regexp.MustCompile(`\b(gh[pousr]_[A-Za-z0-9]{36}|github_pat_[A-Za-z0-9_]{60,})`)},
	{"an AWS key", regexp.MustCompile(`\bAKIA[0-9A-Z]{16}\b`)},
	{"an API key", regexp.MustCompile(`\bsk-[A-Za-z0-9_-]{32,}`)},
	{"a Slack token", regexp.MustCompile(`\bxox[abprs]-[A-Za-z0-9-]{20,}`)},
	{"a password", regexp.MustCompile(`(?i)\b(password|passwd|secret|api_key|access_token)["']?\s*[:=]\s*["']?[^\s"',{}\[\]]{8,}`)},
	{"an address with a password", regexp.MustCompile(`\b[a-z][a-z0-9+.-]*://[^\s/:@"]+:[^\s/:@"]+@`)},
}

// personal is looked for in texts that ravn writes; vocabularies hold such strings lawfully.
var personal = regexp.MustCompile(`(/home/|/Users/|\\Users\\)[A-Za-z0-9._-]+`)

// scan looks through every file but the weights.
func scan(dir string) ([]string, error) {
	names, err := fileNames(dir)
	if err != nil {
		return nil, err
	}
	var found []string
	for _, name := range names {
		if strings.HasSuffix(name, ".safetensors") || strings.HasSuffix(name, ".gguf") {
			continue
		}
		data, err := os.ReadFile(filepath.Join(dir, filepath.FromSlash(name)))
		if err != nil {
			return nil, err
		}
		hit := func(what string, at int) {
			found = append(found, fmt.Sprintf("%s:%d: %s", name, 1+bytes.Count(data[:at], []byte("\n")), what))
		}
		for _, l := range leaks {
			if at := l.pattern.FindIndex(data); at != nil {
				hit(l.what, at[0])
			}
		}
		if at := personal.FindIndex(data); at != nil && !strings.Contains(name, "token") {
			hit("a path in somebody's home", at[0])
		}
	}
	return found, nil
}
