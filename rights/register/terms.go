package register

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	"ravn/rights"
)

// Apply gives every use of text the terms that the register has for its section on a day, YYYY-MM-DD. The base model
// is left as it is.
func (r *Register) Apply(uses []rights.Use, day string) []rights.Use {
	out := slices.Clone(uses)
	for i := range out {
		if !out[i].Base {
			out[i].Terms = r.Terms(out[i].Section, out[i].License, out[i].Claims, day)
		}
	}
	return out
}

// Terms are what counts for a section on a day: of its documents license is what they state, and claims where.
//
//  1. A section that is not in the register is held.
//  2. A statement of the documents themselves that the register does not have among its claims is held.
//  3. Reserved from mining, as last read of each place: forbidden, unless an agreement was decided on.
//  4. The last decision up to that day counts. A claim of another licence that was read after it opens the question again.
//  5. Without a decision: an agreement when it is the only basis, or the one licence that all claims agree on.
func (r *Register) Terms(section, license string, claims []string, day string) *rights.Terms {
	s := r.bySection[section]
	if s == nil {
		return &rights.Terms{License: license, Claims: claims, Held: fmt.Sprintf("section %q is not in the register %s (ravn rights add)", section, r.Dir)}
	}
	t := &rights.Terms{Source: s.Source, Attribution: s.Attribution}
	ids := map[string]bool{}
	for _, c := range s.Claims {
		t.Claims = append(t.Claims, c.String())
		ids[c.ID()] = true
	}
	if s.Review != "" && day > s.Review {
		t.Warnings = append(t.Warnings, fmt.Sprintf("was to be looked at again by %s", s.Review))
	}
	d := s.decision(day)
	stated, _ := rights.Normalize(license)
	if d == nil && s.ByDocument && ids[stated] {
		t.License = stated
	} else {
		r.settle(t, s, d, ids)
	}
	if d != nil {
		t.Decided = d.String()
	}
	switch {
	case t.Forbidden != "" || t.Held != "":
	case d != nil && reopened(s, d) != "":
		t.Held = "decided, but later another claim was read: " + reopened(s, d) + " (decide again)"
	default:
		if where := r.unknownStatement(s, d, license, claims, ids); where != "" {
			t.Held = "the documents themselves state what the register does not have: " + where + " (add the claim, then decide)"
		}
	}
	if at := reserved(s, day); at != "" && t.Agreement == nil && t.Forbidden == "" {
		t.Forbidden = "mining is reserved by " + at
	}
	return t
}

// settle finds what counts: licence, agreement, or why none does.
func (r *Register) settle(t *rights.Terms, s *Source, d *Decision, ids map[string]bool) {
	agreement := func(id string) {
		a := r.byID[id]
		t.Agreement = a.terms()
		if a.Attribution != "" {
			t.Attribution = a.Attribution
		}
	}
	switch {
	case d != nil && d.Refuse:
		t.Forbidden = "refused by " + d.String()
	case d != nil && d.Hold:
		t.Held = "held by " + d.String()
	case d != nil && d.Agreement != "":
		agreement(d.Agreement)
	case d != nil:
		t.License, _ = rights.Normalize(d.License)
	case len(ids) == 1 && len(s.Agreements) == 0:
		t.License = sortedKeys(ids)[0]
	case len(s.Agreements) == 1 && len(ids) == 0:
		agreement(s.Agreements[0])
	case len(ids) > 1:
		var list []string
		for _, id := range sortedKeys(ids) {
			var where []string
			for _, c := range s.Claims {
				if c.ID() == id {
					where = append(where, c.Where)
				}
			}
			list = append(list, fmt.Sprintf("%s (%s)", id, strings.Join(where, "; ")))
		}
		t.Held = "claims contradict each other: " + strings.Join(list, " / ") + " (a person must decide and record why)"
	default:
		t.Held = "there are claims and agreements, and nobody has decided which count"
	}
}

// decision is the last one up to a day; "" counts them all.
func (s *Source) decision(day string) *Decision {
	for i := len(s.Decisions) - 1; i >= 0; i-- {
		if day == "" || s.Decisions[i].Date <= day {
			return &s.Decisions[i]
		}
	}
	return nil
}

// reopened names a claim that was read after d and says what no earlier claim, nor d, says.
func reopened(s *Source, d *Decision) string {
	known := map[string]bool{}
	if d.License != "" {
		id, _ := rights.Normalize(d.License)
		known[id] = true
	}
	for _, c := range s.Claims {
		if c.Read <= d.Date {
			known[c.ID()] = true
		}
	}
	for _, c := range s.Claims {
		if c.Read > d.Date && !known[c.ID()] {
			return c.String()
		}
	}
	return ""
}

// unknownStatement names what documents state beyond the register's claims.
func (r *Register) unknownStatement(s *Source, d *Decision, license string, claims []string, ids map[string]bool) string {
	known := func(id string) bool {
		if d != nil && d.License != "" {
			if decided, _ := rights.Normalize(d.License); decided == id {
				return true
			}
		}
		return ids[id] || strings.HasPrefix(id, "LicenseRef-Agreement-") && slices.ContainsFunc(s.named(), func(a string) bool { return id == "LicenseRef-Agreement-"+a })
	}
	for _, c := range append([]string{license}, claims...) {
		if c = strings.TrimSpace(c); c != "" && !known(rights.Claimed(c)) {
			return c
		}
	}
	return ""
}

// reserved names the place that reserves mining, by its newest reading up to a day.
func reserved(s *Source, day string) string {
	newest := map[string]Reservation{}
	for _, x := range s.Reservations {
		if was, ok := newest[x.Where]; (!ok || x.Read >= was.Read) && (day == "" || x.Read <= day) {
			newest[x.Where] = x
		}
	}
	for _, where := range sortedKeys(newest) {
		if x := newest[where]; x.Reserved {
			return fmt.Sprintf("%s at %s, read %s", x.Signal, x.Where, x.Read)
		}
	}
	return ""
}

// Status says how a source stands for a purpose on a day, on its own; of licences by document the worst.
func (r *Register) Status(s *Source, p rights.Policy) rights.Finding {
	stated := []string{""}
	if s.ByDocument {
		for _, c := range s.Claims {
			stated = append(stated, c.ID())
		}
		stated = stated[1:]
	}
	var uses []rights.Use
	for _, license := range stated {
		uses = append(uses, rights.Use{Section: s.Source, Documents: s.Size.Documents, Tokens: 1, Terms: r.Terms(s.Sections[0], license, nil, p.Date)})
	}
	return rights.Gate(uses, p).Findings[0]
}

// Fingerprint changes when what counts on a day changes: files, decisions that came into force, agreements that ended.
func (r *Register) Fingerprint(p rights.Policy) string {
	h := sha256.New()
	fmt.Fprintln(h, r.hash)
	for _, s := range r.Sources {
		f := r.Status(s, p)
		fmt.Fprintln(h, s.Source, f.Verdict, f.License, f.Reason)
	}
	return hex.EncodeToString(h.Sum(nil))
}
