package release

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"ravn/rights"
)

// documentOptions is a release of four sources, small enough to reckon by hand: 1,000 tokens, of which 400 parliament
// (decided: attribution), 300 acts (statute), 200 encyclopedia (share-alike), 100 reviews (an agreement).
func documentOptions(t *testing.T) Options {
	o := options(t)
	o.Name, o.Small, o.Results, o.Contamination = "eksempel-da", false, nil, nil
	o.Provider = Provider{Name: "Example Institute"}
	o.Base = Base{Name: "mistralai/Mistral-7B-v0.1", License: "Apache-2.0", Hash: "abc"}
	o.Removed = map[string]int64{"too_short": 12, "contaminated": 3}
	o.Training.RecipeHash = "0123456789abcdef0123456789abcdef"
	all := rights.Permits{Store: true, Process: true, Train: true, PublishWeights: true, Commercial: true}
	o.Uses = []rights.Use{
		{Section: "ft", License: "CC0-1.0", Documents: 4, Bytes: 1600, Tokens: 400, Terms: &rights.Terms{Source: "ft", License: "LicenseRef-Folketinget-Open-Data", Decided: "anna, 2026-11-25: naming satisfies both claims", Attribution: "Folketinget", Claims: []string{"loader, read 2026-11-22: CC0-1.0", "the origin, read 2026-11-22: terms of open data"}}},
		{Section: "retsinformationdk", License: "LicenseRef-DK-Ophavsretsloven-9", Documents: 30, Bytes: 1200, Tokens: 300},
		{Section: "wiki", License: "CC-BY-SA-4.0", Documents: 20, Bytes: 800, Tokens: 150, Claims: []string{"LICENSE file: CC-BY-SA-4.0"}},
		{Section: "wiki", License: "CC-BY-SA-4.0", Documents: 5, Bytes: 200, Tokens: 50},
		{Section: "anmeldelser", Documents: 10, Bytes: 400, Tokens: 100, Terms: &rights.Terms{Source: "anmeldelser", Agreement: &rights.Agreement{ID: "dbc-1", Kind: "written", ValidFrom: "2024-05-01", ValidTo: "2030-12-31", Permits: all}, Attribution: "DBC"}},
		{Section: "base model mistralai/Mistral-7B-v0.1", License: "Apache-2.0", Base: true},
	}
	o.Sources = []Source{
		{Section: "ft", Title: "Folketinget, 2009-2019", Content: "debates", Kind: "public", Language: "da", Origin: "https://www.ft.dk", Period: "2009, 2019", Collected: "2020-09-14", PersonalData: "present: members of parliament", File: "sections/ft.jsonl.zst", FileBytes: 700, FileSHA256: strings.Repeat("ab", 32)},
		{Section: "retsinformationdk", Title: "Danish acts", Content: "law", Kind: "public", Language: "da", PersonalData: "none"},
		{Section: "wiki", Title: "Danish Wikipedia", Content: "encyclopedia", Kind: "crawled", Language: "da", Reservations: []string{"robots.txt at da.wikipedia.org, read 2026-11-20: not reserved"}},
		{Section: "anmeldelser", Title: "Reviews", Content: "reviews", Kind: "licensed", Language: "da", Holders: []string{"DBC"}},
	}
	return o
}

// TestDocuments compares all documents of the worked example with files that were read by hand; docs/design/rights.md
// goes through their numbers.
func TestDocuments(t *testing.T) {
	o := documentOptions(t)
	f, err := Build(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if f.License != "CC-BY-SA-4.0" {
		t.Errorf("licence %s", f.License)
	}
	for _, name := range []string{"LICENSE", "ATTRIBUTION.md", "DATA.md", "TRAINING-CONTENT.md", "TRAINING-CONTENT.json", "spdx.json", "croissant.json"} {
		golden(t, filepath.Join("documents", name), read(t, o.Out, name))
	}
	if len(f.Open) == 0 || !strings.Contains(strings.Join(f.Open, "\n"), "2.3 crawler") || !strings.Contains(strings.Join(f.Open, "\n"), "1.2 link to the summary of the base model") {
		t.Errorf("open: %q", f.Open)
	}
}

// TestDocumentsContradict changes one document at a time: the release would not be published.
func TestDocumentsContradict(t *testing.T) {
	for _, c := range []struct{ file, old, with, want string }{
		{"LICENSE", "CC-BY-SA-4.0", "Apache-2.0", "LICENSE names another licence"},
		{"spdx.json", "tokens read in training: 400;", "tokens read in training: 401;", "spdx.json has 401 tokens of ft"},
		{"spdx.json", `"simplelicensing_licenseExpression": "LicenseRef-Agreement-dbc-1"`, `"simplelicensing_licenseExpression": "CC0-1.0"`, "spdx.json has anmeldelser under CC0-1.0, which DATA.json does not"},
		{"spdx.json", `"simplelicensing_licenseExpression": "CC-BY-SA-4.0"`, `"simplelicensing_licenseExpression": "MIT"`, `spdx.json says the licence is "MIT"`},
		{"croissant.json", "200 tokens read", "20 tokens read", "croissant.json has 20 tokens of wiki"},
		{"croissant.json", "the model made from it is CC-BY-SA-4.0", "the model made from it is CC0-1.0", "croissant.json says the licence"},
		{"TRAINING-CONTENT.json", `"section": "wiki"`, `"section": "viki"`, "TRAINING-CONTENT.json has viki"},
	} {
		o := documentOptions(t)
		if _, err := Build(t.Context(), o); err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(o.Out, c.file)
		text := string(read(t, path))
		if !strings.Contains(text, c.old) {
			t.Fatalf("%s does not hold %q", c.file, c.old)
		}
		if err := os.WriteFile(path, []byte(strings.Replace(text, c.old, c.with, 1)), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := consistent(o.Out); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.file, err, c.want)
		}
	}
}

func TestSizeRange(t *testing.T) {
	// The template's ranges for text.
	for n, want := range map[int64]string{0: "less than 1 billion", 999_999_999: "less than 1 billion", 1e9: "1 billion to 10 trillion", 10e12: "1 billion to 10 trillion", 10e12 + 1: "more than 10 trillion"} {
		if got := sizeRange(n); !strings.HasPrefix(got, want) {
			t.Errorf("%d tokens: %s", n, got)
		}
	}
}

func TestBaseLicenceIsKeptApart(t *testing.T) {
	o := options(t)
	if err := os.WriteFile(filepath.Join(o.Checkpoint, "LICENSE"), []byte("the base's own terms\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	f, err := Build(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Contains(f.Files, "BASE-LICENSE") || !strings.HasPrefix(string(read(t, o.Out, "LICENSE")), "SPDX-License-Identifier: Apache-2.0\n") {
		t.Errorf("files %v", f.Files)
	}
}

// TestComputeOfBothPhases: 1,000 tokens were read in all. A base trained in the same run read some of them, so all count;
// for a base that was fetched, only the continued training's.
func TestComputeOfBothPhases(t *testing.T) {
	for here, want := range map[bool]float64{true: 6 * 100 * 1000, false: 6 * 100 * 400} {
		o := documentOptions(t)
		o.Training.Parameters, o.Training.Tokens, o.Base.Here = 100, 400, here
		if _, err := Build(t.Context(), o); err != nil {
			t.Fatal(err)
		}
		var c trainingContent
		if err := json.Unmarshal(read(t, o.Out, "TRAINING-CONTENT.json"), &c); err != nil {
			t.Fatal(err)
		}
		if c.FLOPs != want {
			t.Errorf("base trained here %v: %g FLOPs, want %g", here, c.FLOPs, want)
		}
	}
}
