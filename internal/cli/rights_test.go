package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"ravn/rights"
	"ravn/rights/register"
	"ravn/workflow"
)

// sourceYAML is a source of the built-in material whose documents state a licence.
func sourceYAML(name, license, more string) string {
	return fmt.Sprintf("source: %s\ntitle: built-in texts %s\nkind: public\nclaims:\n  - {says: %s, where: the records, read: 2026-11-01}\npersonal_data: {level: none}\n%s", name, name, license, more)
}

func agreementYAML(id, to, permits string) string {
	return fmt.Sprintf("agreement: %s\nkind: written\nparties: [authors, us]\ndocument: {reference: folder 7}\nvalid_from: 2026-01-01\nvalid_to: %s\npermits: {%s}\n", id, to, permits)
}

// materialRegister is a register of the built-in material in which da-fortaellinger is under the given agreement.
func materialRegister(t *testing.T, dir, agreement string) {
	t.Helper()
	texts := []string{
		agreementYAML("authors", "2026-12-31", agreement),
		sourceYAML("da-fortaellinger", "CC0-1.0", "agreements: [authors]\ndecisions:\n  - {agreement: authors, by: anna, date: 2026-11-02, reason: the paper counts}\n"),
		sourceYAML("da-arkiv", "LicenseRef-All-Rights-Reserved", ""),
		sourceYAML("da-opskrifter", "CC-BY-4.0", "attribution: the cooks\n"),
	}
	for _, name := range []string{"da-natur", "da-samfund", "en-howto", "en-nature", "en-stories"} {
		texts = append(texts, sourceYAML(name, "CC0-1.0", ""))
	}
	for _, text := range texts {
		if _, err := register.Add(dir, []byte(text), "anna", "2026-11-02", "a test"); err != nil {
			t.Fatal(err)
		}
	}
}

const openPermits = "store: true, process: true, train: true, publish_weights: true, publish_data: false, commercial: true"

// withRegister is the tiny recipe with a register, and without what edit takes away.
func withRegister(t *testing.T, agreement string, edit ...string) string {
	t.Helper()
	path := tiny(t)
	materialRegister(t, filepath.Join(filepath.Dir(path), "register"), agreement)
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	text := strings.NewReplacer(edit...).Replace("rights: register\n" + string(data))
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

const keepAll = "rights: keep"

// TestRightsCheck: a held, expired, research-only or non-commercial source stops the recipe and is named; the same recipe
// without it passes.
func TestRightsCheck(t *testing.T) {
	without := []string{"rights: drop", keepAll, "format: jsonl, language: da", "format: jsonl, exclude: [da-arkiv, da-fortaellinger], language: da"}
	all := []string{"rights: drop", keepAll, "format: jsonl, language: da", "format: jsonl, exclude: [da-arkiv], language: da"}
	for _, c := range []struct {
		name, permits, date, purpose string
		more                         []string // sources or decisions added
		edit                         []string
		code                         int
		want                         string // on stderr, or the licence
	}{
		{"all is well", openPermits, "2026-11-25", "release", nil, all, ExitDone, "Apache-2.0"},
		{"expired", openPermits, "2027-01-01", "release", nil, all, ExitGate, "agreement authors ended on 2026-12-31"},
		{"expired, without it", openPermits, "2027-01-01", "release", nil, without, ExitDone, "Apache-2.0"},
		{"research only", "store: true, process: true, train: true", "2026-11-25", "release", nil, all, ExitGate, "does not permit publishing weights"},
		{"research only, for research", "store: true, process: true, train: true", "2026-11-25", "research", nil, all, ExitDone, "LicenseRef-Research-Only"},
		{"research only, without it", "store: true, process: true, train: true", "2026-11-25", "release", nil, without, ExitDone, "Apache-2.0"},
		{"non-commercial", strings.Replace(openPermits, "commercial: true", "commercial: false", 1), "2026-11-25", "release", nil, all, ExitGate, "non-commercial: agreement authors"},
		{"non-commercial, without it", strings.Replace(openPermits, "commercial: true", "commercial: false", 1), "2026-11-25", "release", nil, without, ExitDone, "Apache-2.0"},
		{"held", openPermits, "2026-11-25", "release", []string{"--source", "da-fortaellinger", "--says", "all rights reserved", "--where", "title page", "--date", "2026-11-20"}, all, ExitGate, "decided, but later another claim was read"},
		{"held, without it", openPermits, "2026-11-25", "release", []string{"--source", "da-fortaellinger", "--says", "all rights reserved", "--where", "title page", "--date", "2026-11-20"}, without, ExitDone, "Apache-2.0"},
		{"share-alike", openPermits, "2026-11-25", "release", []string{"--source", "da-natur", "--decide", "CC-BY-SA-4.0", "--date", "2026-11-20"}, all, ExitDone, "CC-BY-SA-4.0"},
	} {
		path := withRegister(t, c.permits, c.edit...)
		if c.more != nil {
			mustRavn(t, append([]string{"rights", "add", filepath.Join(filepath.Dir(path), "register"), "--by", "bo", "--reason", "seen"}, c.more...)...)
		}
		cmd := ravn("rights", "check", path, "--purpose", c.purpose, "--date", c.date, "--json")
		var out, errs bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &errs
		cmd.Run()
		if code := cmd.ProcessState.ExitCode(); code != c.code {
			t.Errorf("%s: exit code %d, want %d\n%s", c.name, code, c.code, errs.String())
			continue
		}
		var x workflow.RightsCheck
		if err := json.Unmarshal(out.Bytes(), &x); err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		if c.code == ExitDone {
			if x.Decision.License != c.want {
				t.Errorf("%s: released as %s, want %s", c.name, x.Decision.License, c.want)
			}
			continue
		}
		if said := errs.String(); !strings.Contains(said, "da-fortaellinger") || !strings.Contains(said, c.want) {
			t.Errorf("%s: the refusal says %s", c.name, said)
		}
	}
}

// TestRightsCheckShares: shares follow the mixture. Continued: three quarters Danish by bytes, a quarter English; the
// base before it as long, all English.
func TestRightsCheckShares(t *testing.T) {
	path := withRegister(t, openPermits)
	var x workflow.RightsCheck
	if err := json.Unmarshal([]byte(mustRavn(t, "rights", "check", path, "--json", "--date", "2026-11-25")), &x); err != nil {
		t.Fatal(err)
	}
	danish, english, continued := 0.0, 0.0, 0.0
	var bytes, all float64
	for _, s := range x.Sections {
		if s.Role == "replay" {
			english += s.Share
			continue
		}
		danish += s.Share
		continued += s.Continued
		all += float64(s.Bytes)
		if s.Section == "da-opskrifter" {
			bytes = float64(s.Bytes)
		}
	}
	if near := func(a, b float64) bool { return a-b < 1e-9 && b-a < 1e-9 }; !near(danish, 0.375) || !near(english, 0.625) || !near(continued, 0.75) {
		t.Errorf("Danish %g, English %g, Danish of the continued phase %g; want 0.375, 0.625, 0.75", danish, english, continued)
	}
	for _, f := range x.Decision.Findings {
		if f.Section == "da-arkiv" {
			t.Error("a section that is dropped is judged")
		}
		if want := 0.375 * bytes / all; f.Section == "da-opskrifter" && (f.Share-want > 1e-3 || want-f.Share > 1e-3) {
			t.Errorf("da-opskrifter has share %g, want %g", f.Share, want)
		}
	}
	if len(x.LeftOut) != 1 || x.LeftOut[0].Section != "da-arkiv" || x.LeftOut[0].Verdict == rights.Allowed || x.LeftOut[0].Reason == "" {
		t.Errorf("left out: %+v", x.LeftOut)
	}
	if len(x.Decision.Attribution) == 0 || !strings.HasPrefix(x.Decision.Attribution[len(x.Decision.Attribution)-1], "the cooks, ") {
		t.Errorf("attribution %q", x.Decision.Attribution)
	}
}

// TestReleaseAsksTheRegister runs once and releases on several days: the agreement is held to the day of the release,
// by the copy of the register that the run folder holds.
func TestReleaseAsksTheRegister(t *testing.T) {
	path := withRegister(t, openPermits, "steps: 24", "steps: 4", "iterations: 1, limit: 16", "iterations: 1, limit: 8")
	dir := filepath.Join(t.TempDir(), "run")
	run := ravn("run", path, "--out", dir)
	run.Run()
	if code := run.ProcessState.ExitCode(); code != ExitDone && code != ExitGate { // today may be after the agreement's end
		t.Fatalf("exit code %d\n%s", code, run.Stdout)
	}
	if err := os.RemoveAll(filepath.Join(filepath.Dir(path), "register")); err != nil {
		t.Fatal(err)
	}
	to := filepath.Join(t.TempDir(), "release")
	mustRavn(t, "release", dir, "--out", to, "--date", "2026-11-25")
	data, err := os.ReadFile(filepath.Join(to, "DATA.json"))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"date": "2026-11-25"`, `"agreement": "authors"`, `"valid_to": "2026-12-31"`, "LicenseRef-Agreement-authors", "anna, 2026-11-02: the paper counts"} {
		if !strings.Contains(string(data), want) {
			t.Errorf("DATA.json lacks %s", want)
		}
	}
	mustRavn(t, "corpus", "remove", filepath.Join(to, "..", "list.jsonl"), "--request", "9", "--kind", "objection", "--by", "bo", "--reason", "asked", "--source", "en-howto", "--source", "en-nature", "--source", "en-stories", "--run", dir) // the base has read nothing else
	gone := ravn("release", dir, "--out", filepath.Join(t.TempDir(), "gone"), "--date", "2026-11-25", "--removals", filepath.Join(to, "..", "list.jsonl"))
	gone.Run()
	if said := fmt.Sprint(gone.Stdout); gone.ProcessState.ExitCode() != ExitGate || !strings.Contains(said, "request 9 (objection)") || !strings.Contains(said, "phase base read 512 tokens, first at step 1") {
		t.Errorf("exit code %d: %s", gone.ProcessState.ExitCode(), said)
	}
	late := ravn("release", dir, "--out", filepath.Join(t.TempDir(), "late"), "--date", "2027-01-01")
	late.Run()
	if said := fmt.Sprint(late.Stdout); late.ProcessState.ExitCode() != ExitGate || !strings.Contains(said, "da-fortaellinger") || !strings.Contains(said, "ended on 2026-12-31") {
		t.Errorf("exit code %d: %s", late.ProcessState.ExitCode(), said)
	}
}
