package release

import (
	"cmp"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"ravn/rights"
)

// Source is what is known about a section beyond its licence, for the documents of a release. Fields may be empty.
type Source struct {
	Section      string   `json:"section"`
	Title        string   `json:"title,omitempty"`
	Content      string   `json:"content,omitempty"`  // kind of text
	Kind         string   `json:"kind,omitempty"`     // "public", "licensed", "private", "crawled", "user", "synthetic", "other"
	Language     string   `json:"language,omitempty"` // code
	Origin       string   `json:"origin,omitempty"`   // address
	Holders      []string `json:"holders,omitempty"`  // of rights
	Period       string   `json:"period,omitempty"`   // when the text was written
	Collected    string   `json:"collected,omitempty"`
	PersonalData string   `json:"personal_data,omitempty"` // "none", "pseudonymised", "present", "unknown", with a note
	Reservations []string `json:"reservations,omitempty"`  // readings of robots.txt and the like
	File         string   `json:"file,omitempty"`          // of the section's kept text, as the run wrote it
	FileBytes    int64    `json:"file_bytes,omitempty"`
	FileSHA256   string   `json:"file_sha256,omitempty"`
}

// Provider is who publishes the model.
type Provider struct {
	Name    string `json:"name,omitempty"`
	Contact string `json:"contact,omitempty"`
}

// toFill stands where only a person can answer.
const toFill = "to be filled in by the provider"

// part is a source with the gate's finding on it: one row of the data table. A section whose documents have several
// licences has several.
type part struct {
	rights.Finding
	Source Source
	mixed  bool // its documents state different licences
}

// parts joins findings with sources, the base model left out, in the findings' order.
func (o *Options) parts(d *rights.Decision) []part {
	var out []part
	for _, f := range d.Findings {
		if f.Base {
			continue
		}
		if i := slices.IndexFunc(out, func(p part) bool { return p.Section == f.Section && p.License == f.License }); i >= 0 {
			was := &out[i] // other claims, same licence
			was.Documents, was.Bytes, was.Tokens, was.Share = was.Documents+f.Documents, was.Bytes+f.Bytes, was.Tokens+f.Tokens, was.Share+f.Share
			was.Data = was.Data && f.Data
			if was.Stated != f.Stated {
				was.Stated, was.mixed = "", true
			}
			for _, c := range f.Claims {
				if !slices.Contains(was.Claims, c) {
					was.Claims = append(slices.Clone(was.Claims), c)
				}
			}
			continue
		}
		p := part{Finding: f, Source: Source{Section: f.Section}}
		if i := slices.IndexFunc(o.Sources, func(s Source) bool { return s.Section == f.Section }); i >= 0 {
			p.Source = o.Sources[i]
		}
		p.Source.Title = cmp.Or(p.Source.Title, f.Section)
		out = append(out, p)
	}
	return out
}

// baseFinding is the finding on the base model, or nil.
func baseFinding(d *rights.Decision) *rights.Finding {
	for i := range d.Findings {
		if d.Findings[i].Base {
			return &d.Findings[i]
		}
	}
	return nil
}

// licenseText is LICENSE: which licence the weights have and where its text is. The texts of others are not copied.
func licenseText(o *Options, out *Folder) []byte {
	l, _ := rights.Lookup(out.License)
	var b strings.Builder
	fmt.Fprintf(&b, "SPDX-License-Identifier: %s\n\n", out.License)
	fmt.Fprintf(&b, "The weights of %s and the files beside them are published under %s.\n", o.Name, cmp.Or(l.Name, out.License))
	switch {
	case l.URL != "":
		fmt.Fprintf(&b, "Its full text: %s\n", l.URL)
	case out.License == "LicenseRef-Research-Only":
		b.WriteString("The weights may be used within the research project that made them and may not be passed on.\n")
	}
	fmt.Fprintf(&b, "\nWhy this licence: %s.\n", out.Decision.Why)
	if len(out.Decision.Attribution) > 0 {
		b.WriteString("Who is to be named when it is passed on: ATTRIBUTION.md.\n")
	}
	b.WriteString("The licence does not cover the text that the model was trained on, which is not part of this folder.\n")
	return []byte(b.String())
}

// dataTable is DATA.md: every source with its licence, what it rests on and its part of the tokens.
func dataTable(o *Options, d *rights.Decision) []byte {
	var b strings.Builder
	fmt.Fprintf(&b, "# Data of %s\n\nJudged for %s on %s. Shares are of the tokens that training read, repeats counted.\n\n", o.Name, cmp.Or(o.Policy.Purpose, "release"), o.Policy.Date)
	b.WriteString("| section | what | language | licence | class | documents | bytes | tokens | share | rests on |\n|---|---|---|---|---|---|---|---|---|---|\n")
	var sum rights.Finding
	for _, p := range o.parts(d) {
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s | %s | %s | %s | %.1f %% | %s |\n", cell(p.Section), cell(p.Source.Title), p.Source.Language, cell(p.License), p.Class, number(p.Documents), number(p.Bytes), number(p.Tokens), 100*p.Share, cell(p.basis()))
		sum.Documents, sum.Bytes, sum.Tokens, sum.Share = sum.Documents+p.Documents, sum.Bytes+p.Bytes, sum.Tokens+p.Tokens, sum.Share+p.Share
	}
	fmt.Fprintf(&b, "| all | | | | | %s | %s | %s | %.1f %% | |\n", number(sum.Documents), number(sum.Bytes), number(sum.Tokens), 100*sum.Share)
	if f := baseFinding(d); f != nil {
		fmt.Fprintf(&b, "\nContinued from %s, %s.\n", f.Section, f.License)
	}
	return []byte(b.String())
}

// basis says on what the licence of a part rests.
func (p *part) basis() string {
	switch {
	case p.Agreement != "" && p.ValidTo != "":
		return fmt.Sprintf("agreement %s, to %s", p.Agreement, p.ValidTo)
	case p.Agreement != "":
		return "agreement " + p.Agreement
	case p.Decided != "":
		return "decided by " + p.Decided
	}
	return "what the source states"
}

// writeJSON is indented JSON with plain characters.
func writeJSON(v any) ([]byte, error) {
	var b strings.Builder
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	err := enc.Encode(v)
	return []byte(b.String()), err
}

// consistent compares the documents of a release folder with DATA.json: they are computed from the same decision, and
// a release in which they differ is not published. All differences are named.
func consistent(dir string) error {
	var data struct {
		Decision rights.Decision `json:"decision"`
	}
	if err := readJSON(filepath.Join(dir, "DATA.json"), &data); err != nil {
		return err
	}
	want := map[string]int64{}
	for _, f := range data.Decision.Findings {
		if !f.Base {
			want[f.Section+"\x00"+f.License] += f.Tokens
		}
	}
	var bad []string
	check := func(file, license string, got map[string]int64) {
		if license != data.Decision.License {
			bad = append(bad, fmt.Sprintf("%s says the licence is %q, DATA.json %q", file, license, data.Decision.License))
		}
		for key, n := range want {
			if got[key] != n {
				section, id, _ := strings.Cut(key, "\x00")
				bad = append(bad, fmt.Sprintf("%s has %d tokens of %s under %s, DATA.json %d", file, got[key], section, id, n))
			}
		}
		for key := range got {
			if _, ok := want[key]; !ok {
				section, id, _ := strings.Cut(key, "\x00")
				bad = append(bad, fmt.Sprintf("%s has %s under %s, which DATA.json does not", file, section, id))
			}
		}
	}
	for _, r := range []struct {
		file string
		read func(path string) (license string, tokens map[string]int64, err error)
	}{{"spdx.json", readSPDX}, {"croissant.json", readCroissant}, {"TRAINING-CONTENT.json", readSummary}} {
		license, tokens, err := r.read(filepath.Join(dir, r.file))
		if err != nil {
			return err
		}
		check(r.file, license, tokens)
	}
	text, err := os.ReadFile(filepath.Join(dir, "LICENSE"))
	if err != nil {
		return fmt.Errorf("release: %w", err)
	}
	if !strings.HasPrefix(string(text), "SPDX-License-Identifier: "+data.Decision.License+"\n") {
		bad = append(bad, "LICENSE names another licence than DATA.json")
	}
	if len(bad) > 0 {
		slices.Sort(bad)
		return fmt.Errorf("release: the documents contradict each other:\n\t%s", strings.Join(bad, "\n\t"))
	}
	return nil
}

// maxDocument bounds a document that is read back.
const maxDocument = 64 << 20

func readJSON(path string, v any) error {
	info, err := os.Stat(path)
	if err != nil {
		return fmt.Errorf("release: %w", err)
	}
	if info.Size() > maxDocument {
		return fmt.Errorf("release: %s holds %d bytes; a document of a release has %d at most", path, info.Size(), maxDocument)
	}
	text, err := os.ReadFile(path)
	if err == nil {
		err = json.Unmarshal(text, v)
	}
	if err != nil {
		return fmt.Errorf("release: %s: %w", path, err)
	}
	return nil
}
