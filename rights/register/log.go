package register

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/goccy/go-yaml"

	"ravn/internal/atomicfile"
)

const logName = "log.jsonl"

// maxLog bounds the log that is read.
const maxLog = 256 << 20

// Entry is one line of the log.
type Entry struct {
	Number   int    `json:"number"`   // from 1
	Date     string `json:"date"`     // YYYY-MM-DD
	By       string `json:"by"`       // who
	Reason   string `json:"reason"`   // why
	File     string `json:"file"`     // sources/wiki.yaml
	Text     string `json:"text"`     // of that file from now on
	Previous string `json:"previous"` // SHA-256 of the line before, hex; "" in the first
}

func readLog(path string) ([]Entry, error) {
	info, err := os.Stat(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("register: %w", err)
	}
	if info.Size() > maxLog {
		return nil, fmt.Errorf("register: %s holds %d bytes; %d are the most that is read", path, info.Size(), maxLog)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("register: %w", err)
	}
	if len(data) > 0 && data[len(data)-1] != '\n' {
		return nil, fmt.Errorf("register: %s: the last line is cut off", path)
	}
	var log []Entry
	previous := ""
	for i, line := range bytes.SplitAfter(data, []byte("\n")) {
		if len(line) == 0 {
			break
		}
		var e Entry
		d := json.NewDecoder(bytes.NewReader(line))
		d.DisallowUnknownFields()
		if err := d.Decode(&e); err != nil {
			return nil, fmt.Errorf("register: %s:%d: %w", path, i+1, err)
		}
		if e.Number != i+1 || e.Previous != previous {
			return nil, fmt.Errorf("register: %s:%d: does not follow from the line before: the log was changed (take it from a backup or from version control)", path, i+1)
		}
		previous = lineHash(line)
		log = append(log, e)
	}
	return log, nil
}

func lineHash(line []byte) string {
	sum := sha256.Sum256(line)
	return hex.EncodeToString(sum[:])
}

// latest is the text of every file as the log has it.
func latest(log []Entry) map[string]string {
	out := map[string]string{}
	for _, e := range log {
		out[e.File] = e.Text
	}
	return out
}

// Add records the text of one source or agreement, new or changed, under the name that it gives itself. Claims,
// reservations and decisions that were there before must still be there, in order; agreements keep their kind and
// parties. The register must be whole afterwards. dir is made where it is not there.
func Add(dir string, text []byte, by, date, reason string) (file string, err error) {
	if by == "" || reason == "" || date == "" {
		return "", errors.New("register: who adds it, when and why must be said")
	}
	file, err = fileOf(text)
	if err != nil {
		return "", err
	}
	log, err := readLog(filepath.Join(dir, logName))
	if err != nil {
		return "", err
	}
	if was, ok := latest(log)[file]; ok {
		if was == string(text) {
			if err := writeText(dir, file, text); err != nil {
				return "", err
			}
			return file, nil
		}
		if err := grows(file, []byte(was), text); err != nil {
			return "", err
		}
	}
	e := Entry{Number: len(log) + 1, Date: date, By: by, Reason: reason, File: file, Text: string(text)}
	data, err := os.ReadFile(filepath.Join(dir, logName))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return "", fmt.Errorf("register: %w", err)
	}
	if lines := bytes.SplitAfter(data, []byte("\n")); len(lines) > 1 {
		e.Previous = lineHash(lines[len(lines)-2])
	}
	var line bytes.Buffer
	enc := json.NewEncoder(&line)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(e); err != nil {
		return "", fmt.Errorf("register: %w", err)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", fmt.Errorf("register: %w", err)
	}
	// The log first: a file without its line is refused when read, a line without its file is put right by adding again.
	if err := atomicfile.WriteFile(filepath.Join(dir, logName), append(data, line.Bytes()...)); err != nil {
		return "", fmt.Errorf("register: %w", err)
	}
	return file, writeText(dir, file, text)
}

// writeText puts a file where it belongs, unless it is there already.
func writeText(dir, file string, text []byte) error {
	path := filepath.Join(dir, filepath.FromSlash(file))
	if have, err := os.ReadFile(path); err == nil && bytes.Equal(have, text) {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fmt.Errorf("register: %w", err)
	}
	if err := atomicfile.WriteFile(path, text); err != nil {
		return fmt.Errorf("register: %w", err)
	}
	return nil
}

// fileOf reads text as a source or an agreement and says where it belongs.
func fileOf(text []byte) (string, error) {
	var head struct {
		Source    string `yaml:"source"`
		Agreement string `yaml:"agreement"`
	}
	if err := yaml.Unmarshal(text, &head); err != nil {
		return "", fmt.Errorf("register: %s", yamlError("what is to be added", err))
	}
	switch {
	case head.Source != "" && head.Agreement == "":
		_, err := parseSource("source "+head.Source, text)
		return "sources/" + head.Source + ".yaml", err
	case head.Agreement != "" && head.Source == "":
		_, err := parseAgreement("agreement "+head.Agreement, text)
		return "agreements/" + head.Agreement + ".yaml", err
	}
	return "", errors.New("register: what is to be added begins neither with source: NAME nor with agreement: ID")
}

// grows says whether nothing was taken out of a file.
func grows(file string, was, is []byte) error {
	if filepath.Dir(file) == "agreements" {
		a, err := parseAgreement(file, was)
		if err != nil {
			return err
		}
		b, err := parseAgreement(file, is)
		if err != nil {
			return err
		}
		if a.Kind != b.Kind || !slices.Equal(a.Parties, b.Parties) {
			return fmt.Errorf("register: %s: kind and parties of an agreement do not change (make it one of its own)", file)
		}
		return nil
	}
	a, err := parseSource(file, was)
	if err != nil {
		return err
	}
	b, err := parseSource(file, is)
	if err != nil {
		return err
	}
	lost := ""
	switch {
	case !prefix(a.Claims, b.Claims):
		lost = "claims"
	case !prefix(a.Decisions, b.Decisions):
		lost = "decisions"
	case !prefix(a.Reservations, b.Reservations):
		lost = "reservations"
	default:
		return nil
	}
	return fmt.Errorf("register: %s: %s that stood there are gone or changed (they are only added to; what was wrong is said in a new one)", file, lost)
}

func prefix[T comparable](was, is []T) bool {
	return len(is) >= len(was) && slices.Equal(was, is[:len(was)])
}

// With returns the text of a source with a claim or a decision added at its end.
func (r *Register) With(source string, claim *Claim, decision *Decision) ([]byte, error) {
	i := slices.IndexFunc(r.Sources, func(s *Source) bool { return s.Source == source })
	if i < 0 {
		return nil, fmt.Errorf("register: no source %q in %s", source, r.Dir)
	}
	s := *r.Sources[i]
	if claim != nil {
		s.Claims = append(slices.Clone(s.Claims), *claim)
	}
	if decision != nil {
		s.Decisions = append(slices.Clone(s.Decisions), *decision)
	}
	text, err := yaml.MarshalWithOptions(s, yaml.Indent(2), yaml.IndentSequence(true))
	if err != nil {
		return nil, fmt.Errorf("register: %w", err)
	}
	return text, nil
}
