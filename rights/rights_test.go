package rights

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestNormalize(t *testing.T) {
	// Left: spellings met on dataset pages, in LICENSE files and in Danish Gigaword's metadata. Right: read by a person.
	for raw, want := range map[string]string{
		"CC0": "CC0-1.0", " cc0-1.0 ": "CC0-1.0", "CC-0 1.0 Universal": "CC0-1.0", "CC0 1.0 Universal (CC0 1.0) Public Domain Dedication": "CC0-1.0",
		"Creative Commons Legal Code\n\nCC0 1.0 Universal\n\n    CREATIVE COMMONS CORPORATION IS NOT A LAW FIRM": "CC0-1.0",
		"https://creativecommons.org/publicdomain/zero/1.0/":                                                     "CC0-1.0",
		"Creative Commons Zero v1.0": "CC0-1.0",
		"cc-by-sa-4.0":               "CC-BY-SA-4.0",
		"CC BY-SA 4.0":               "CC-BY-SA-4.0",
		"Creative Commons Attribution-ShareAlike 4.0 International Public License": "CC-BY-SA-4.0",
		"https://creativecommons.org/licenses/by-sa/3.0/deed.da":                   "CC-BY-SA-3.0",
		"Creative Commons Attribution 4.0 International":                           "CC-BY-4.0",
		"CC-BY-NC-4.0": "CC-BY-NC-4.0", "cc by-nc-sa 4.0": "CC-BY-NC-SA-4.0", "cc by nc nd 4.0": "CC-BY-NC-ND-4.0",
		"public domain": "LicenseRef-Public-Domain", "This work is in the public domain.": "LicenseRef-Public-Domain",
		"Danish \"Ophavsretsloven\" § 9":              "LicenseRef-DK-Ophavsretsloven-9",
		"jf. ophavsretslovens § 9, stk. 1":            "LicenseRef-DK-Ophavsretsloven-9",
		"licenseref-dk-ophavsretsloven-9":             "LicenseRef-DK-Ophavsretsloven-9",
		"Apache License\n  Version 2.0, January 2004": "Apache-2.0", "apache-2.0": "Apache-2.0", "MIT License": "MIT",
		"NLOD-2.0": "NLOD-2.0", "odc-by": "ODC-By-1.0", "ODC-By-1.0": "ODC-By-1.0",
		"Project Gutenberg License": "LicenseRef-Project-Gutenberg", "DanNet 1.0 License": "LicenseRef-DanNet-1.0",
		"Alle rettigheder forbeholdt": "LicenseRef-All-Rights-Reserved", "© 2019 TV 2. All rights reserved.": "LicenseRef-All-Rights-Reserved",
		"for research purposes only": "LicenseRef-Research-Only",
		"licenseref-agreement-dbc-7": "LicenseRef-Agreement-dbc-7",
		// The first lines of the legal texts as published, and their addresses.
		"Attribution-ShareAlike 4.0 International\n\n=====\n\nCreative Commons Corporation (\"Creative Commons\") is not a law firm": "CC-BY-SA-4.0",
		"Attribution-NonCommercial-ShareAlike 4.0 International":                                                                     "CC-BY-NC-SA-4.0", "Attribution 4.0 International\n": "CC-BY-4.0",
		"https://creativecommons.org/licenses/by-sa/4.0/legalcode": "CC-BY-SA-4.0", "https://creativecommons.org/publicdomain/zero/1.0/legalcode": "CC0-1.0",
		"https://creativecommons.org/publicdomain/mark/1.0/": "LicenseRef-Public-Domain", "https://spdx.org/licenses/CC-BY-4.0.html": "CC-BY-4.0",
		"Danish Copyright law (Ophavsretsloven) section 9 states:\n\n§ 9. Love er ikke genstand for ophavsret": "LicenseRef-DK-Ophavsretsloven-9",
	} {
		if got, known := Normalize(raw); !known || got != want {
			t.Errorf("Normalize(%q) = %q, %v, want %q", raw, got, known, want)
		}
	}
	for _, raw := range []string{"", "CC-BY", "cc by-sa", "other", "open", "free to use", "not standard", "LicenseRef-Agreement-", "Apache-2.0 or MIT License", "CC BY-SA 2.5", "this is not CC0", "CC0 1.0, undtagen tegningerne", "zero rights"} {
		if got, known := Normalize(raw); known || got != strings.TrimSpace(raw) {
			t.Errorf("Normalize(%q) = %q, %v, want it unknown and unchanged", raw, got, known)
		}
	}
}

func TestRegister(t *testing.T) {
	for _, l := range Licenses() {
		if id, known := Normalize(l.ID); !known || id != l.ID {
			t.Errorf("Normalize(%q) = %q", l.ID, id)
		}
		if l.Name == "" || l.Hub == "" || l.Class == "" || l.Class == Unknown {
			t.Errorf("%s is not complete: %+v", l.ID, l)
		}
		if id, known := Normalize(l.Name); known && id != l.ID {
			t.Errorf("the name %q is read as %s, want %s", l.Name, id, l.ID)
		}
		if l.URL != "" && strings.Contains(l.URL, "creativecommons") {
			if id, _ := Normalize(l.URL); id != l.ID && l.ID != "LicenseRef-Public-Domain" {
				t.Errorf("the address %s is read as %s, want %s", l.URL, id, l.ID)
			}
		}
		if l.TrainPublicModel() && !l.TrainResearchModel() {
			t.Errorf("%s allows a release but no research", l.ID)
		}
	}
	for id, want := range map[string][3]bool{ // public model, research model, data: from the table of classes in the design notes
		"CC0-1.0": {true, true, true}, "LicenseRef-DSK-1": {true, true, false}, "CC-BY-NC-4.0": {false, true, false},
		"LicenseRef-Research-Only": {false, true, false}, "LicenseRef-All-Rights-Reserved": {false, false, false}, "LicenseRef-Verbal-Agreement": {false, false, false},
		"CC-BY-SA-4.0": {true, true, true}, "LicenseRef-Agreement-dbc-1": {true, true, false},
	} {
		l, ok := Lookup(id)
		if got := [3]bool{l.TrainPublicModel(), l.TrainResearchModel(), l.PublishData()}; !ok || got != want {
			t.Errorf("%s allows %v, want %v", id, got, want)
		}
	}
	if l, ok := Lookup("LicenseRef-Nothing"); ok || l.Class != Unknown {
		t.Errorf("Lookup of an unknown id: %+v, %v", l, ok)
	}
}

func use(section, license string, tokens int64, claims ...string) Use {
	return Use{Section: section, License: license, Tokens: tokens, Documents: tokens / 100, Examples: []string{section + "_1"}, Claims: claims}
}

func TestGate(t *testing.T) {
	base := Use{Section: "mistralai/Mistral-7B-v0.1", License: "apache-2.0", Base: true}
	allow := Policy{Purpose: "release", ShareAlike: "allow"}
	tests := []struct {
		name    string
		uses    []Use
		policy  Policy
		license string // of the release; empty when refused
		why     string // part of Why
		reason  string // part of the first finding's reason
		verdict Verdict
	}{
		{"free text alone", []Use{use("adl", "CC0-1.0", 100)}, Policy{}, "Apache-2.0", "no source asks for another", "public domain", Allowed},
		{"free text on a base", []Use{use("adl", "CC0", 100), use("retsinformationdk", "LicenseRef-DK-Ophavsretsloven-9", 900), base}, allow, "Apache-2.0", "the base model's licence", "statute", Allowed},
		{"attribution keeps the base's licence", []Use{use("dannet", "DanNet 1.0 License", 100), {Section: "b", License: "MIT", Base: true}}, allow, "MIT", "the base model's licence", "attribution", Allowed},
		{"a base free of rights", []Use{use("adl", "CC0-1.0", 100), {Section: "b", License: "CC0-1.0", Base: true}}, allow, "Apache-2.0", "free of rights", "public domain", Allowed},
		{"share-alike allowed", []Use{use("wiki", "CC-BY-SA-4.0", 250), use("adl", "CC0-1.0", 750), base}, allow, "CC-BY-SA-4.0", "25.0 %", "public domain", Allowed},
		{"the newer share-alike", []Use{use("wiki", "CC-BY-SA-3.0", 250), use("jvj", "CC-BY-SA-4.0", 1)}, allow, "CC-BY-SA-4.0", "100.0 %", "share-alike", Allowed},
		{"share-alike refused", []Use{use("wiki", "CC-BY-SA-4.0", 250), base}, Policy{ShareAlike: "refuse"}, "", "1 of 2 sources stop it", "the policy refuses it", Forbidden},
		{"share-alike without a policy", []Use{use("wiki", "CC-BY-SA-4.0", 250)}, Policy{}, "", "1 of 1", "the policy refuses it", Forbidden},
		{"reserved", []Use{use("adl", "CC0-1.0", 900), use("news", "LicenseRef-All-Rights-Reserved", 100)}, allow, "", "1 documents forbidden, 0 held", "all rights reserved", Forbidden},
		{"unknown", []Use{use("adl", "CC0-1.0", 900), use("hest", "forum terms", 100)}, allow, "", "0 documents forbidden, 1 held", `"forum terms" is not in the register`, Held},
		{"none", []Use{use("adl", " ", 900)}, allow, "", "9 held", "no licence is given", Held},
		{"unknown words in two places are one claim", []Use{use("x", "Foo-1.0", 100, "jsonl license field: Foo-1.0")}, allow, "", "1 held", `licence "Foo-1.0" is not in the register`, Held},
		{"an agreement that no register has", []Use{use("x", "LicenseRef-Agreement-dbc-1", 100)}, allow, "", "1 held", "no register says what agreement dbc-1 permits", Held},
		{"contradiction", []Use{use("wiki", "CC0-1.0", 100, "README.md: CC-BY-SA 4.0", "LICENSE file: CC0 1.0 Universal")}, allow, "", "1 held", "LICENSE file: CC0 1.0 Universal; README.md: CC-BY-SA 4.0", Held},
		{"claims that agree", []Use{use("adl", "CC0-1.0", 100, "README.md: cc0", "LICENSE file: Creative Commons Legal Code CC0 1.0 Universal", "CC0-1.0 (blog, 2024)")}, allow, "Apache-2.0", "", "public domain", Allowed},
		{"a claim nobody knows", []Use{use("ft", "CC0-1.0", 100, "blog: not standard")}, allow, "", "1 held", "blog: not standard", Held},
		{"non-commercial", []Use{use("norec", "CC-BY-NC-4.0", 100)}, allow, "", "", "non-commercial", Forbidden},
		{"non-commercial in research", []Use{use("norec", "CC-BY-NC-4.0", 100)}, Policy{Purpose: "research"}, "LicenseRef-Research-Only", "research", "may not be published", Allowed},
		{"reserved in research", []Use{use("news", "All rights reserved", 100)}, Policy{Purpose: "research"}, "", "", "all rights reserved", Forbidden},
		{"verbal", []Use{use("cvr", "LicenseRef-Verbal-Agreement", 100)}, allow, "", "", "get it in writing", Held},
		{"a base that forbids", []Use{use("adl", "CC0-1.0", 100), {Section: "b", License: "CC-BY-NC-4.0", Base: true}}, allow, "", "", "non-commercial", Forbidden},
		{"a base under an agreement", []Use{{Section: "b", License: "LicenseRef-DSK-1", Base: true}}, allow, "", "", "a person must read", Held},
		{"nothing", nil, allow, "", "nothing is known", "", ""},
		{"a policy misspelt", []Use{use("adl", "CC0-1.0", 100)}, Policy{Purpose: "relase"}, "", `purpose "relase" is not known`, "", ""},
		{"another policy misspelt", []Use{use("adl", "CC0-1.0", 100)}, Policy{ShareAlike: "yes"}, "", `share-alike policy "yes" is not known`, "", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d := Gate(tt.uses, tt.policy)
			if d.Allowed != (tt.license != "") || d.License != tt.license || !strings.Contains(d.Why, tt.why) {
				t.Fatalf("allowed %v as %q because %q, want %q because %q", d.Allowed, d.License, d.Why, tt.license, tt.why)
			}
			if tt.verdict == "" {
				return
			}
			f := d.Findings[0]
			if f.Verdict != tt.verdict || !strings.Contains(f.Reason, tt.reason) {
				t.Errorf("first finding: %s, %q; want %s, %q", f.Verdict, f.Reason, tt.verdict, tt.reason)
			}
			if len(d.Findings) != len(tt.uses) {
				t.Errorf("%d findings for %d uses", len(d.Findings), len(tt.uses))
			}
		})
	}
}

func TestGateCountsAndCredits(t *testing.T) {
	d := Gate([]Use{
		use("dannet", "LicenseRef-DanNet-1.0", 100), use("adl", "CC0-1.0", 700), use("gutenberg", "LicenseRef-Project-Gutenberg", 200),
		{Section: "mistralai/Mistral-7B-v0.1", License: "Apache-2.0", Base: true},
	}, Policy{})
	var sections []string
	sum := 0.0
	for _, f := range d.Findings {
		sections = append(sections, f.Section)
		sum += f.Share
	}
	if want := []string{"adl", "gutenberg", "dannet", "mistralai/Mistral-7B-v0.1"}; !slices.Equal(sections, want) || sum < 1-1e-12 || sum > 1+1e-12 {
		t.Errorf("sections %v with shares that sum to %v, want %v and 1", sections, sum, want)
	}
	want := []string{
		"base: mistralai/Mistral-7B-v0.1, Apache License 2.0, https://www.apache.org/licenses/LICENSE-2.0",
		"dannet, DanNet 1.0 License, https://cst.ku.dk/projekter/dannet/license.txt",
		"gutenberg, Project Gutenberg License, https://www.gutenberg.org/policy/license.html",
	}
	if diff := cmp.Diff(want, d.Attribution); diff != "" {
		t.Errorf("attribution (-want +got):\n%s", diff)
	}
	if len(d.Warnings) != 1 || !strings.Contains(d.Warnings[0], "trademark") {
		t.Errorf("warnings %q", d.Warnings)
	}
	if f := d.Findings[2]; f.Documents != 1 || f.Examples[0] != "dannet_1" {
		t.Errorf("the finding of dannet lost its counts or examples: %+v", f)
	}
}

func FuzzNormalize(f *testing.F) {
	for _, s := range []string{"CC0", "cc-by-sa-4.0", "Creative Commons Attribution 4.0", "§ 9 ophavsretsloven", "\xff"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		id, known := Normalize(s)
		if !known {
			return
		}
		if _, ok := Lookup(id); !ok {
			t.Errorf("Normalize(%q) = %q, which the register does not hold", s, id)
		}
		if again, ok := Normalize(id); !ok || again != id {
			t.Errorf("Normalize(%q) = %q, and of that %q", s, id, again)
		}
	})
}
