package rights

import (
	"strings"
	"testing"
)

func TestAgreements(t *testing.T) {
	all := Permits{Store: true, Process: true, Train: true, PublishWeights: true, PublishData: true, Commercial: true}
	private, research, noMoney, noTraining := all, all, all, all
	private.PublishData = false
	research.PublishWeights, research.Commercial, research.PublishData = false, false, false
	noMoney.Commercial = false
	noTraining.Train = false
	written := func(p Permits) *Agreement {
		return &Agreement{ID: "a", Kind: "written", ValidFrom: "2024-05-01", ValidTo: "2030-12-31", Permits: p}
	}
	// The classes of the design notes: "public models, private data", research only, non-commercial, verbal, and dates.
	for _, c := range []struct {
		name    string
		a       *Agreement
		purpose string
		date    string
		verdict Verdict
		reason  string
		class   Class
	}{
		{"public model, private data", written(private), "release", "2026-11-25", Allowed, "permits publishing weights", AgreementClass},
		{"first day", written(all), "release", "2024-05-01", Allowed, "", AgreementClass},
		{"last day", written(all), "release", "2030-12-31", Allowed, "", AgreementClass},
		{"day before", written(all), "release", "2024-04-30", Forbidden, "begins on 2024-05-01", AgreementClass},
		{"day after", written(all), "release", "2031-01-01", Forbidden, "ended on 2030-12-31, before 2031-01-01", AgreementClass},
		{"no day said", written(all), "release", "", Held, "on which day", AgreementClass},
		{"research only", written(research), "release", "2026-11-25", Forbidden, "does not permit publishing weights and commercial use", ResearchOnly},
		{"research only, for research", written(research), "research", "2026-11-25", Allowed, "permits training", ResearchOnly},
		{"research only, for research, ended", written(research), "research", "2031-01-01", Forbidden, "ended", ResearchOnly},
		{"non-commercial", written(noMoney), "release", "2026-11-25", Forbidden, "non-commercial: agreement a does not permit commercial use", NonCommercial},
		{"no training", written(noTraining), "research", "2026-11-25", Forbidden, "training", Reserved},
		{"verbal", &Agreement{ID: "v", Kind: "verbal", Permits: all}, "release", "2026-11-25", Held, "get it in writing", Verbal},
		{"verbal, for research", &Agreement{ID: "v", Kind: "verbal", Permits: all}, "research", "2026-11-25", Held, "get it in writing", Verbal},
		{"statute", &Agreement{ID: "s", Kind: "statute", Permits: all}, "release", "", Allowed, "", Statute},
		{"nothing permitted", &Agreement{ID: "n", Kind: "written"}, "release", "", Forbidden, "storing and processing and training", Reserved},
	} {
		d := Gate([]Use{{Section: "s", Tokens: 1, Terms: &Terms{Agreement: c.a}}}, Policy{Purpose: c.purpose, Date: c.date})
		f := d.Findings[0]
		if f.Verdict != c.verdict || !strings.Contains(f.Reason, c.reason) || f.Class != c.class || f.License != "LicenseRef-Agreement-"+c.a.ID {
			t.Errorf("%s: %s, %q, class %s, licence %s", c.name, f.Verdict, f.Reason, f.Class, f.License)
		}
		if f.Data != c.a.Permits.PublishData {
			t.Errorf("%s: publishing the text: %t", c.name, f.Data)
		}
		if d.Allowed != (c.verdict == Allowed) {
			t.Errorf("%s: the gate says %t", c.name, d.Allowed)
		}
	}
}

func TestTermsFailClosed(t *testing.T) {
	for _, c := range []struct {
		name    string
		terms   Terms
		verdict Verdict
		reason  string
	}{
		{"empty", Terms{}, Held, `licence "" is not one`},
		{"unknown licence", Terms{License: "forum terms"}, Held, "not one that ravn knows"},
		{"held wins over a licence", Terms{License: "CC0-1.0", Held: "somebody must look"}, Held, "somebody must look"},
		{"forbidden wins over held", Terms{License: "CC0-1.0", Held: "x", Forbidden: "refused"}, Forbidden, "refused"},
		{"a licence", Terms{License: "CC0"}, Allowed, "public domain"},
	} {
		// What the text says about itself does not matter once a register has spoken.
		f := Gate([]Use{{Section: "s", License: "CC0-1.0", Tokens: 1, Terms: &c.terms}}, Policy{}).Findings[0]
		if f.Verdict != c.verdict || !strings.Contains(f.Reason, c.reason) {
			t.Errorf("%s: %s, %q", c.name, f.Verdict, f.Reason)
		}
	}
	d := Gate([]Use{{Section: "wiki", Tokens: 1, Terms: &Terms{License: "CC-BY-4.0", Attribution: "the contributors"}}}, Policy{})
	if len(d.Attribution) != 1 || !strings.HasPrefix(d.Attribution[0], "the contributors, Creative Commons Attribution 4.0") {
		t.Errorf("attribution %q", d.Attribution)
	}
	if d := Gate([]Use{{Section: "s", License: "CC0-1.0", Tokens: 1}}, Policy{Date: "25.11.2026"}); d.Allowed || !strings.Contains(d.Why, "25.11.2026") {
		t.Errorf("a date in another form: %+v", d)
	}
}

// A claim that names an agreement is not the agreement: without its text nobody knows what it permits and until when.
func TestNamedAgreementIsHeld(t *testing.T) {
	u := Use{Section: "x", Documents: 1, Tokens: 1, Terms: &Terms{Source: "x", License: "LicenseRef-Agreement-dbc-1"}}
	if d := Gate([]Use{u}, Policy{Date: "2026-11-25"}); d.Allowed || d.Findings[0].Verdict != Held || !strings.Contains(d.Findings[0].Reason, "agreement dbc-1") {
		t.Errorf("%+v", d)
	}
	u.Terms.Agreement = &Agreement{ID: "dbc-1", Kind: "written", Permits: Permits{Store: true, Process: true, Train: true, PublishWeights: true, Commercial: true}}
	if d := Gate([]Use{u}, Policy{Date: "2026-11-25"}); !d.Allowed {
		t.Errorf("%+v", d)
	}
}
