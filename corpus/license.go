package corpus

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"unicode/utf8"

	"ravn/rights"
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
			claims, remarks := readmeClaims(text)
			for _, c := range claims {
				s.Claims = append(s.Claims, e.Name()+": "+c)
			}
			for _, r := range remarks {
				s.note(path + ": remark on the licence: " + r)
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

// maxClaim is how long a README's words on a licence can be to name one; longer ones explain and weigh.
const maxClaim = 80

// readmeClaims returns what a README says behind the word licence: short statements, which are claims, and remarks, which
// are for a person to read.
func readmeClaims(text string) (claims, remarks []string) {
	for _, m := range readmeLine.FindAllStringSubmatch(text, -1) {
		switch c := clip(strings.Trim(m[1], `*_"' `), 400); {
		case c == "":
		case utf8.RuneCountInString(c) <= maxClaim:
			claims = append(claims, c)
		default:
			remarks = append(remarks, c)
		}
	}
	return claims, remarks
}

// claimText is how a claim gives a statement: a line in its own words, a whole text by its name.
func claimText(raw string) string {
	raw = strings.TrimSpace(raw)
	if strings.Contains(raw, "\n") || utf8.RuneCountInString(raw) > maxClaim {
		return LicenseName(raw)
	}
	return clip(raw, maxClaim)
}

// LicenseName gives a licence text or statement a short name: an SPDX id or LicenseRef-… where it is recognised, else
// its first line. It judges nothing; package rights does.
func LicenseName(raw string) string {
	raw = strings.TrimSpace(strings.TrimPrefix(raw, "\uFEFF"))
	if id, known := rights.Normalize(raw); known {
		return id
	}
	first, _, _ := strings.Cut(raw, "\n")
	return clip(first, 100)
}
