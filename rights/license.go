// Package rights knows what licences allow, and computes from the licences of all text what a model may be released as.
//
// Lookup and Normalize turn what people write into SPDX ids. Gate judges uses of text under a policy. It fails closed:
// what it does not know is held, what forbids is forbidden, and contradicting claims are held with all of them shown.
//
// The release licence is computed by this rule, from the uses that the gate allows, the base model's among them:
//
//  1. a share-alike source, when the policy allows it: the share-alike licence itself (CC-BY-SA-4.0 over 3.0);
//  2. otherwise the base model's licence, when there is one: weights made from it keep it;
//  3. otherwise Apache-2.0. Public domain, CC0, statute, attribution and agreements do not ask for more than a notice.
//
// Whether weights are an adaptation of the text they were trained on is not settled; rule 1 takes the cautious view, and
// a policy may refuse share-alike text altogether.
// This is bookkeeping of claims. It is not legal advice.
package rights

import (
	"slices"
	"strings"
)

// Class groups licences by what they ask.
type Class string

// The classes, from free to forbidding. Order in classes is the order of reports.
const (
	Statute        Class = "exempt by statute"
	PublicDomain   Class = "public domain"
	Permissive     Class = "permissive" // software licences, as of base models
	Attribution    Class = "attribution"
	ShareAlike     Class = "share-alike"
	AgreementClass Class = "agreement" // public models, private data
	Verbal         Class = "verbal"    // agreed, not written down
	ResearchOnly   Class = "research only"
	NonCommercial  Class = "non-commercial"
	NoDerivatives  Class = "no derivatives"
	Reserved       Class = "all rights reserved"
	Unknown        Class = "unknown"
)

// License is what the register knows about one licence.
type License struct {
	ID      string // SPDX, or LicenseRef-…
	Name    string
	Class   Class
	URL     string
	Hub     string   // Hugging Face's id; "other" where it has none
	Duties  []string // what a release must do
	Caution string   // what the licence does not cover, to be shown with it
}

// TrainPublicModel reports whether text under l may be in a model whose weights are published openly.
func (l License) TrainPublicModel() bool {
	switch l.Class {
	case Statute, PublicDomain, Permissive, Attribution, ShareAlike, AgreementClass:
		return true
	}
	return false
}

// TrainResearchModel reports whether text under l may be in a model that stays within a research project.
func (l License) TrainResearchModel() bool {
	return l.TrainPublicModel() || l.Class == ResearchOnly || l.Class == NonCommercial
}

// PublishData reports whether the text itself may be passed on, with the duties.
func (l License) PublishData() bool {
	switch l.Class {
	case Statute, PublicDomain, Permissive, Attribution, ShareAlike:
		return true
	}
	return false
}

// Licenses lists the register, sorted by id.
func Licenses() []License {
	all := slices.Clone(register)
	slices.SortFunc(all, func(a, b License) int { return strings.Compare(a.ID, b.ID) })
	return all
}

// Lookup returns the licence with that id, whatever the case of its letters. LicenseRef-Agreement-<id> stands for any
// written agreement of public models and private data.
func Lookup(id string) (License, bool) {
	if l, ok := byID[strings.ToLower(id)]; ok {
		return l, true
	}
	const agreement = "licenseref-agreement-"
	if s := strings.ToLower(id); strings.HasPrefix(s, agreement) && len(s) > len(agreement) {
		return License{ID: "LicenseRef-Agreement-" + id[len(agreement):], Name: "written agreement " + id[len(agreement):], Class: AgreementClass, Hub: "other", Duties: []string{dutyName, dutyPrivate}}, true
	}
	return License{ID: id, Class: Unknown}, false
}

var byID = func() map[string]License {
	m := make(map[string]License, len(register))
	for _, l := range register {
		m[strings.ToLower(l.ID)] = l
	}
	return m
}()
