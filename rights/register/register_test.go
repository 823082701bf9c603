package register

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"ravn/rights"
)

const wiki = `source: wiki
title: Encyclopedia
kind: public
claims:
  - {says: CC0, where: loader, read: 2026-11-01}
  - {says: CC BY-SA 4.0, where: origin, read: 2026-11-02}
attribution: the contributors
personal_data: {level: unknown}
`

const decided = wiki + `decisions:
  - {license: CC-BY-SA-4.0, by: anna, date: 2026-11-10, reason: the origin counts}
`

const forum = `source: forum
title: Forum
sections: [forum, forum-old]
kind: private
claims: []
agreements: [owners]
personal_data: {level: present}
`

const owners = `agreement: owners
kind: written
parties: [the owners of the forum, us]
document: {reference: archive 2024-17}
valid_from: 2024-05-01
valid_to: 2026-12-31
permits: {store: true, process: true, train: true, publish_weights: true, publish_data: false, commercial: true}
`

func add(t *testing.T, dir string, texts ...string) {
	t.Helper()
	for _, text := range texts {
		if _, err := Add(dir, []byte(text), "anna", "2026-11-10", "a test"); err != nil {
			t.Fatal(err)
		}
	}
}

func open(t *testing.T, dir string) *Register {
	t.Helper()
	r, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestTerms(t *testing.T) {
	undecidedDir, dir := t.TempDir(), t.TempDir()
	add(t, undecidedDir, wiki)
	add(t, dir, wiki, owners, forum, decided)
	late := t.TempDir()
	add(t, late, decided, strings.Replace(decided, "attribution:", "  - {says: all rights reserved, where: page footer, read: 2026-11-20}\nattribution:", 1))
	refused := t.TempDir()
	add(t, refused, wiki+"decisions:\n  - {refuse: true, by: anna, date: 2026-11-10, reason: too close to call}\n")
	mining := t.TempDir()
	add(t, mining, strings.Replace(decided, "attribution:", "reservations:\n  - {signal: \"tdm-reservation: 1\", where: /.well-known/tdmrep.json, read: 2026-11-05, reserved: true}\nattribution:", 1))
	byDocument := t.TempDir()
	add(t, byDocument, strings.Replace(wiki, "kind: public", "kind: public\nby_document: true", 1))
	for _, c := range []struct {
		name, dir, section, license, day string
		claims                           []string
		verdict                          rights.Verdict
		reason                           string
	}{
		{"contradiction", undecidedDir, "wiki", "", "2026-11-25", nil, rights.Held, "CC-BY-SA-4.0 (origin) / CC0-1.0 (loader)"},
		{"decided", dir, "wiki", "", "2026-11-25", nil, rights.Allowed, "share-alike"},
		{"before the decision", dir, "wiki", "", "2026-11-09", nil, rights.Held, "contradict"},
		{"a statement that was weighed", dir, "wiki", "CC0-1.0", "2026-11-25", []string{"LICENSE file: CC0-1.0"}, rights.Allowed, ""},
		{"a statement that was not", dir, "wiki", "CC-BY-NC-4.0", "2026-11-25", []string{"LICENSE file: CC-BY-NC-4.0"}, rights.Held, "state what the register does not have: CC-BY-NC-4.0"},
		{"a claim read after the decision", late, "wiki", "", "2026-11-25", nil, rights.Held, "all rights reserved"},
		{"refused", refused, "wiki", "", "2026-11-25", nil, rights.Forbidden, "refused by anna, 2026-11-10: too close to call"},
		{"mining reserved", mining, "wiki", "", "2026-11-25", nil, rights.Forbidden, "tdm-reservation: 1 at /.well-known/tdmrep.json, read 2026-11-05"},
		{"mining not yet reserved", mining, "wiki", "", "2026-11-04", nil, rights.Held, "contradict"},
		{"by document", byDocument, "wiki", "CC0 1.0", "2026-11-25", nil, rights.Allowed, "public domain"},
		{"by document, none stated", byDocument, "wiki", "", "2026-11-25", nil, rights.Held, "contradict"},
		{"by document, another", byDocument, "wiki", "MIT", "2026-11-25", nil, rights.Held, "contradict"},
		{"agreement", dir, "forum-old", "", "2026-11-25", nil, rights.Allowed, "owners"},
		{"agreement, ended", dir, "forum", "", "2027-01-01", nil, rights.Forbidden, "ended on 2026-12-31"},
		{"not in the register", dir, "news", "CC0-1.0", "2026-11-25", nil, rights.Held, `"news" is not in the register`},
	} {
		r := open(t, c.dir)
		uses := r.Apply([]rights.Use{{Section: c.section, License: c.license, Claims: c.claims, Tokens: 1}}, c.day)
		f := rights.Gate(uses, rights.Policy{ShareAlike: "allow", Date: c.day}).Findings[0]
		if f.Verdict != c.verdict || !strings.Contains(f.Reason, c.reason) {
			t.Errorf("%s: %s, %q", c.name, f.Verdict, f.Reason)
		}
	}
}

func TestFingerprintFollowsTheDay(t *testing.T) {
	dir := t.TempDir()
	add(t, dir, owners, forum)
	r := open(t, dir)
	on := func(day string) string { return r.Fingerprint(rights.Policy{Date: day}) }
	if on("2026-11-25") != on("2026-11-26") || on("2026-12-31") == on("2027-01-01") {
		t.Error("the fingerprint must change on the day after the agreement's last, and on no other")
	}
}

// TestNothingIsTakenOut holds the register to growing only.
func TestNothingIsTakenOut(t *testing.T) {
	for name, text := range map[string]string{
		"a claim gone":       strings.Replace(decided, "  - {says: CC0, where: loader, read: 2026-11-01}\n", "", 1),
		"a claim changed":    strings.Replace(decided, "where: loader", "where: elsewhere", 1),
		"a decision gone":    wiki,
		"a decision changed": strings.Replace(decided, "by: anna", "by: bo", 1),
	} {
		dir := t.TempDir()
		add(t, dir, decided)
		if _, err := Add(dir, []byte(text), "bo", "2026-11-11", "tidying"); err == nil || !strings.Contains(err.Error(), "only added to") {
			t.Errorf("%s: %v", name, err)
		}
		if r := open(t, dir); len(r.Log) != 1 {
			t.Errorf("%s: the log has %d entries", name, len(r.Log))
		}
	}
	dir := t.TempDir()
	add(t, dir, owners)
	if _, err := Add(dir, []byte(strings.Replace(owners, "kind: written", "kind: statute", 1)), "bo", "2026-11-11", "x"); err == nil || !strings.Contains(err.Error(), "kind and parties") {
		t.Errorf("an agreement of another kind: %v", err)
	}
}

func TestLogAndFilesMustAgree(t *testing.T) {
	write := func(t *testing.T, path, text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for name, c := range map[string]struct {
		spoil func(t *testing.T, dir string)
		want  string
	}{
		"a file changed by hand": {func(t *testing.T, dir string) { write(t, filepath.Join(dir, "sources", "wiki.yaml"), decided) }, "is not as the log has it"},
		"a file gone":            {func(t *testing.T, dir string) { os.Remove(filepath.Join(dir, "sources", "wiki.yaml")) }, "is in the log and not in the folder"},
		"a file without a log":   {func(t *testing.T, dir string) { os.Remove(filepath.Join(dir, logName)) }, "is not as the log has it"},
		"a line changed": {func(t *testing.T, dir string) {
			data, _ := os.ReadFile(filepath.Join(dir, logName))
			write(t, filepath.Join(dir, logName), strings.Replace(string(data), "anna", "bo", 1))
		}, "log.jsonl:2: does not follow"},
		"the first line gone": {func(t *testing.T, dir string) {
			data, _ := os.ReadFile(filepath.Join(dir, logName))
			_, rest, _ := strings.Cut(string(data), "\n")
			write(t, filepath.Join(dir, logName), rest)
		}, "log.jsonl:1: does not follow"},
		"the last line cut off": {func(t *testing.T, dir string) {
			data, _ := os.ReadFile(filepath.Join(dir, logName))
			write(t, filepath.Join(dir, logName), string(data[:len(data)-9]))
		}, "cut off"},
	} {
		dir := t.TempDir()
		add(t, dir, wiki, owners)
		if open(t, dir); true {
			c.spoil(t, dir)
		}
		if _, err := Open(dir); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

// TestBrokenAddIsPutRight: the log has the line, the file was not written; adding again writes it, and no second line.
func TestBrokenAddIsPutRight(t *testing.T) {
	dir := t.TempDir()
	add(t, dir, wiki)
	if err := os.Remove(filepath.Join(dir, "sources", "wiki.yaml")); err != nil {
		t.Fatal(err)
	}
	add(t, dir, wiki)
	if r := open(t, dir); len(r.Log) != 1 {
		t.Errorf("%d entries", len(r.Log))
	}
}

func TestBadFiles(t *testing.T) {
	for text, want := range map[string]string{
		"source: a\ntitel: x\n": `:2: unknown field "titel"`,
		"title: x\n":            "begins neither with",
		strings.Replace(wiki, "source: wiki", "source: ../wiki", 1):                "must be letters",
		strings.Replace(wiki, "read: 2026-11-01", "read: 1.11.2026", 1):            "not of the form",
		strings.Replace(wiki, "where: loader, ", "", 1):                            "needs says and where",
		strings.Replace(wiki, "kind: public", "kind: open", 1):                     `kind "open" is not known`,
		strings.Replace(wiki, "level: unknown", "level: some", 1):                  `personal_data.level "some"`,
		strings.Replace(decided, "license: CC-BY-SA-4.0, ", "", 1):                 "needs one of license",
		strings.Replace(decided, "license: CC-BY-SA-4.0", "license: CC-BY-SA", 1):  "not a licence that ravn knows",
		strings.Replace(owners, "valid_to: 2026-12-31", "valid_to: 2023-12-31", 1): "is before valid_from",
		strings.Replace(owners, "document: {reference: archive 2024-17}\n", "", 1): "needs document.reference",
		strings.Replace(owners, "publish_data: false", "publish_date: false", 1):   "publish_date",
		strings.Replace(forum, "agreements: [owners]\n", "", 1):                    "neither claims nor agreements",
		decided + "  - {hold: true, by: bo, date: 2026-11-01, reason: earlier}\n":  "stands after one of",
		"source: !!binary x\n- y\n":                                                "",
	} {
		if _, err := Add(t.TempDir(), []byte(text), "anna", "2026-11-10", "a test"); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
	dir := t.TempDir()
	add(t, dir, forum)
	if _, err := Open(dir); err == nil || !strings.Contains(err.Error(), `names agreement "owners"`) {
		t.Errorf("an agreement that is not there: %v", err)
	}
	add(t, dir, owners, strings.Replace(wiki, "kind: public", "kind: public\nsections: [forum]", 1))
	if _, err := Open(dir); err == nil || !strings.Contains(err.Error(), `section "forum" is of source`) {
		t.Errorf("a section of two sources: %v", err)
	}
}

func TestWithKeepsWhatStood(t *testing.T) {
	dir := t.TempDir()
	add(t, dir, owners, forum, wiki)
	r := open(t, dir)
	text, err := r.With("wiki", &Claim{Says: "CC0-1.0", Where: "blog", Read: "2026-11-11"}, &Decision{License: "CC-BY-SA-4.0", By: "anna", Date: "2026-11-12", Reason: "the origin's: counts"})
	if err != nil {
		t.Fatal(err)
	}
	add(t, dir, string(text))
	s := open(t, dir).Source("wiki")
	if len(s.Claims) != 3 || len(s.Decisions) != 1 || s.Decisions[0].Reason != "the origin's: counts" || s.Attribution != "the contributors" {
		t.Errorf("%+v", s)
	}
}

// TestShippedRegisters opens the registers of recipes/ and holds the Danish Gigaword one to what its public claims say.
func TestShippedRegisters(t *testing.T) {
	open(t, "../../recipes/rights/gigaword-sample")
	r := open(t, "../../recipes/rights/danish-gigaword")
	if len(r.Sources) != 25 { // the sections of release 1.0
		t.Errorf("%d sources", len(r.Sources))
	}
	want := map[string]rights.Verdict{"ft": rights.Held, "hest": rights.Held, "tv2r": rights.Held, "wikibooks": rights.Held, "wikisource": rights.Held, "opensub": rights.Held, "datwitter": rights.Forbidden, "twfv19": rights.Forbidden}
	for _, s := range r.Sources {
		f := r.Status(s, rights.Policy{Purpose: "release", ShareAlike: "allow", Date: "2026-11-25"})
		if w := want[s.Source]; w == "" && f.Verdict != rights.Allowed || w != "" && f.Verdict != w {
			t.Errorf("%s: %s: %s", s.Source, f.Verdict, f.Reason)
		}
	}
	// Before anybody decided, the encyclopedia was held too, with all four claims shown.
	f := r.Status(r.Source("wiki"), rights.Policy{Purpose: "release", ShareAlike: "allow", Date: "2026-11-24"})
	if f.Verdict != rights.Held || len(f.Claims) != 4 {
		t.Errorf("wiki on the day before: %s, %d claims", f.Verdict, len(f.Claims))
	}
}
