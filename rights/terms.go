package rights

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Terms are what a register says of one source: the licence or agreement that counts, or what keeps the gate shut. The
// zero value, with nothing that counts, is held.
type Terms struct {
	Source      string     // its name in the register
	License     string     // that all claims agree on, or that was decided; "" when an agreement counts
	Agreement   *Agreement // that was decided, or is the only basis
	Held        string     // why a person must decide first
	Forbidden   string     // why it may not be used at all
	Decided     string     // "who, date: reason"
	Claims      []string   // every claim, "where, date: what"
	Attribution string     // who is to be named, in the words asked for
	Warnings    []string
}

// Agreement is what was agreed with those who hold rights, or what a statute says, beyond a public licence.
type Agreement struct {
	ID        string
	Kind      string // "written", "verbal", "statute"
	ValidFrom string // YYYY-MM-DD; "" is always
	ValidTo   string // last day; "" is without end
	Permits   Permits
	Duties    []string // beyond being named and keeping the text private
}

// Permits are the acts that an agreement allows.
type Permits struct {
	Store          bool `yaml:"store" json:"store"`                     // keep copies
	Process        bool `yaml:"process" json:"process"`                 // clean, filter, annotate
	Train          bool `yaml:"train" json:"train"`                     // have it in a model
	PublishWeights bool `yaml:"publish_weights" json:"publish_weights"` // and pass that model on to everybody
	PublishData    bool `yaml:"publish_data" json:"publish_data"`       // pass the text on
	Commercial     bool `yaml:"commercial" json:"commercial"`           // others may use the model commercially
}

// lacking lists the acts that a purpose needs and p does not allow.
func (p Permits) lacking(purpose string) []string {
	var out []string
	for _, x := range []struct {
		ok, research bool
		name         string
	}{{p.Store, true, "storing"}, {p.Process, true, "processing"}, {p.Train, true, "training"}, {p.PublishWeights, false, "publishing weights"}, {p.Commercial, false, "commercial use of the model"}} {
		if !x.ok && (x.research || purpose != "research") {
			out = append(out, x.name)
		}
	}
	return out
}

// Class is the group of licences that a means the same as.
func (a *Agreement) Class() Class {
	p := a.Permits
	switch {
	case a.Kind == "verbal":
		return Verbal
	case !p.Store || !p.Process || !p.Train:
		return Reserved
	case !p.PublishWeights:
		return ResearchOnly
	case !p.Commercial:
		return NonCommercial
	case a.Kind == "statute":
		return Statute
	}
	return AgreementClass
}

// License is how a stands in tables of licences.
func (a *Agreement) License() License {
	l := License{ID: "LicenseRef-Agreement-" + a.ID, Name: a.Kind + " agreement " + a.ID, Class: a.Class(), Hub: "other", Duties: slices.Clone(a.Duties)}
	if a.Kind == "statute" {
		l.Name = "statute " + a.ID
		return l
	}
	l.Duties = append([]string{dutyName}, l.Duties...)
	if !a.Permits.PublishData {
		l.Duties = append(l.Duties, dutyPrivate)
	}
	return l
}

// Judge says whether a allows a purpose on a day.
func (a *Agreement) Judge(p Policy) (Verdict, string) {
	if p.Date == "" && (a.ValidFrom != "" || a.ValidTo != "") {
		return Held, fmt.Sprintf("agreement %s has dates, and it was not said on which day it is used", a.ID)
	}
	switch {
	case a.ValidTo != "" && p.Date > a.ValidTo:
		return Forbidden, fmt.Sprintf("agreement %s ended on %s, before %s", a.ID, a.ValidTo, p.Date)
	case a.ValidFrom != "" && p.Date < a.ValidFrom:
		return Forbidden, fmt.Sprintf("agreement %s begins on %s, after %s", a.ID, a.ValidFrom, p.Date)
	case a.Kind == "verbal":
		return Held, fmt.Sprintf("agreement %s is verbal (get it in writing)", a.ID)
	}
	purpose := "release"
	if p.Purpose == "research" {
		purpose = "research"
	}
	if no := a.Permits.lacking(purpose); len(no) > 0 {
		return Forbidden, fmt.Sprintf("%s: agreement %s does not permit %s", a.Class(), a.ID, strings.Join(no, " and "))
	}
	if purpose == "research" {
		return Allowed, fmt.Sprintf("agreement %s permits training", a.ID)
	}
	return Allowed, fmt.Sprintf("agreement %s permits publishing weights", a.ID)
}

// judgeTerms is judge for a use that a register knows.
func judgeTerms(f Finding, u Use, p Policy) (Finding, License) {
	t := u.Terms
	f.Decided, f.Claims = t.Decided, t.Claims
	id, known := Normalize(t.License)
	l, _ := Lookup(id)
	if t.Agreement != nil {
		l, known = t.Agreement.License(), true
		f.Agreement, f.ValidTo, f.Data = t.Agreement.ID, t.Agreement.ValidTo, t.Agreement.Permits.PublishData
	} else {
		f.Data = l.PublishData()
	}
	f.License, f.Class, f.Duties = l.ID, l.Class, l.Duties
	if stated, _ := Normalize(u.License); stated != f.License {
		f.Stated = stated
	}
	switch {
	case t.Forbidden != "":
		f.Verdict, f.Reason = Forbidden, t.Forbidden
	case t.Held != "":
		f.Verdict, f.Reason = Held, t.Held
		if t.License == "" && t.Agreement == nil {
			f.Class = Unknown
		}
	case !known:
		f.Verdict, f.Reason, f.Class = Held, fmt.Sprintf("licence %q is not one that ravn knows", shorten(t.License)), Unknown
	case t.Agreement != nil:
		f.Verdict, f.Reason = t.Agreement.Judge(p)
	case unseen(l) != "":
		f.Verdict, f.Reason = Held, unseen(l)
	default:
		f.Verdict, f.Reason = judgeClass(l, p)
	}
	return f, l
}

// CheckDate says what is wrong with a date, or nil; "" is no date.
func CheckDate(s string) error {
	if s == "" {
		return nil
	}
	if _, err := time.Parse(time.DateOnly, s); err != nil {
		return fmt.Errorf("date %q is not of the form 2026-11-25", s)
	}
	return nil
}
