package corpus

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"unicode/utf8"
)

// maxSideBytes is how much of a licence or README file is read.
const maxSideBytes = 1 << 20

// readLicense reads what LICENSE, README and SOURCE files in dir say.
func (s *Section) readLicense(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("corpus: %w", err)
	}
	for _, e := range entries {
		up := strings.ToUpper(e.Name())
		isLicense := strings.HasPrefix(up, "LICENSE") || strings.HasPrefix(up, "LICENCE") || strings.HasPrefix(up, "COPYING")
		isReadme := strings.HasPrefix(up, "README") || strings.HasPrefix(up, "SOURCE") || up == strings.ToUpper(s.Name)+".MD"
		if e.IsDir() || !isLicense && !isReadme {
			continue
		}
		path := filepath.Join(dir, e.Name())
		text, err := readSide(path)
		if err != nil {
			return err
		}
		if isReadme {
			for _, c := range readmeClaims(text) {
				s.Claims = append(s.Claims, e.Name()+": "+c)
			}
			continue
		}
		if strings.TrimSpace(text) == "" {
			s.note(path + ": is empty")
			continue
		}
		s.Claims = append(s.Claims, e.Name()+" file: "+claimText(text))
		if s.LicenseText == "" {
			s.LicenseText, s.License = text, LicenseName(text)
		}
	}
	return nil
}

// readSide reads the beginning of a small text file.
func readSide(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", fmt.Errorf("corpus: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return "", fmt.Errorf("corpus: %w", err)
	}
	data := make([]byte, min(info.Size(), maxSideBytes))
	n, err := io.ReadFull(f, data)
	if err != nil {
		return "", fmt.Errorf("corpus: %s: %w", path, err)
	}
	return strings.TrimPrefix(strings.ToValidUTF8(string(data[:n]), "\uFFFD"), "\uFEFF"), nil
}

// readmeLine is a line such as "license: cc0-1.0", "- Licence: …", "**License**: …".
var readmeLine = regexp.MustCompile(`(?im)^[ \t>*_#-]*licen[sc]e(?:_name)?[*_]*[ \t]*:[ \t]*(.*\S)[ \t]*\r?$`)

// readmeClaims returns what a README says behind the word licence.
func readmeClaims(text string) []string {
	var out []string
	for _, m := range readmeLine.FindAllStringSubmatch(text, -1) {
		if c := strings.Trim(m[1], `*_"' `); c != "" {
			out = append(out, clip(c, 300))
		}
	}
	return out
}

// claimText shortens a statement for a claim: a recognised text to its name, another to its first lines.
func claimText(raw string) string {
	name := LicenseName(raw)
	if one := clip(raw, 80); len(one) <= 80 && name != one {
		return one // short, and says it in its own words
	}
	return name
}

// knownTexts recognises licences by words that their texts or names hold, most telling first.
var knownTexts = []struct {
	id    string
	words []string // all must be there, lower-case
}{
	{"LicenseRef-DK-Ophavsretsloven-9", []string{"ophavsretsloven", "§ 9"}},
	{"LicenseRef-DK-Ophavsretsloven-9", []string{"danish copyright law", "section 9"}},
	{"LicenseRef-Project-Gutenberg", []string{"project gutenberg", "license"}},
	{"LicenseRef-DanNet-1.0", []string{"dannet", "license"}},
	{"CC-BY-NC-SA-4.0", []string{"creative commons", "attribution-noncommercial-sharealike 4.0"}},
	{"CC-BY-NC-ND-4.0", []string{"creative commons", "attribution-noncommercial-noderivatives 4.0"}},
	{"CC-BY-NC-4.0", []string{"creative commons", "attribution-noncommercial 4.0"}},
	{"CC-BY-ND-4.0", []string{"creative commons", "attribution-noderivatives 4.0"}},
	{"CC-BY-SA-4.0", []string{"attribution-sharealike 4.0"}},
	{"CC-BY-SA-3.0", []string{"attribution-sharealike 3.0"}},
	{"CC-BY-4.0", []string{"creative commons", "attribution 4.0"}},
	{"CC-BY-3.0", []string{"creative commons", "attribution 3.0"}},
	{"CC0-1.0", []string{"cc0 1.0 universal"}},
	{"Apache-2.0", []string{"apache license", "version 2.0"}},
	{"MIT", []string{"permission is hereby granted, free of charge", "the software is provided \"as is\""}},
	{"NLOD-2.0", []string{"norwegian licence for open government data", "2.0"}},
	{"ODC-By-1.0", []string{"open data commons attribution license"}},
}

// knownNames maps short statements, lower-case without blanks, hyphens, dots and underscores.
var knownNames = map[string]string{
	"cc0": "CC0-1.0", "cc010": "CC0-1.0", "cczero": "CC0-1.0", "publicdomain": "LicenseRef-Public-Domain",
	"ccby40": "CC-BY-4.0", "ccby30": "CC-BY-3.0", "ccbysa40": "CC-BY-SA-4.0", "ccbysa30": "CC-BY-SA-3.0",
	"ccbync40": "CC-BY-NC-4.0", "ccbyncsa40": "CC-BY-NC-SA-4.0", "ccbyncnd40": "CC-BY-NC-ND-4.0", "ccbynd40": "CC-BY-ND-4.0",
	"apache20": "Apache-2.0", "apachelicense20": "Apache-2.0", "mit": "MIT", "mitlicense": "MIT", "nlod20": "NLOD-2.0",
	"odcby": "ODC-By-1.0", "odcby10": "ODC-By-1.0",
}

// LicenseName gives a licence text or statement a short name: an SPDX id or LicenseRef-… where it is recognised, else
// its first line. It judges nothing; package rights does.
func LicenseName(raw string) string {
	raw = strings.TrimSpace(strings.TrimPrefix(raw, "\uFEFF"))
	if !strings.ContainsAny(raw, " \n") && strings.HasPrefix(raw, "LicenseRef-") {
		return raw
	}
	squeeze := strings.Map(func(r rune) rune {
		if strings.ContainsRune(" -._", r) {
			return -1
		}
		return r
	}, strings.ToLower(clip(raw, 60)))
	if id, ok := knownNames[squeeze]; ok {
		return id
	}
	low := strings.ToLower(strings.Join(strings.Fields(head(raw, 4096)), " "))
	for _, k := range knownTexts {
		all := true
		for _, w := range k.words {
			all = all && strings.Contains(low, w)
		}
		if all {
			return k.id
		}
	}
	first, _, _ := strings.Cut(raw, "\n")
	return clip(first, 100)
}

// head is the first n bytes of s, cut at a rune.
func head(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}
