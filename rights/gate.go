package rights

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Use is text under one licence that went into a model, or the base model itself.
type Use struct {
	Section   string   // name of the section, or of the base model
	License   string   // as the data say it; Gate normalises
	Claims    []string // what several places say, "where: what"; more than one different licence is a contradiction
	Documents int64
	Bytes     int64
	Tokens    int64
	Examples  []string // ids of a few documents
	Base      bool     // the base model, not text
	Credit    string   // who is to be named; empty is the section's name
	Terms     *Terms   // what a register says of the section; nil where none is kept
}

// Policy says what the result is for.
type Policy struct {
	Purpose    string `json:"purpose"`        // "release" (default): weights for everybody; "research": weights stay within a project
	ShareAlike string `json:"share_alike"`    // "allow" or "refuse" (default): whether share-alike text may be in the model
	Date       string `json:"date,omitempty"` // YYYY-MM-DD on which it is done; agreements are held to it
}

// Verdict of a finding.
type Verdict string

// The verdicts. Held means a person must decide; it stops a release as forbidden does.
const (
	Allowed   Verdict = "allowed"
	Held      Verdict = "held"
	Forbidden Verdict = "forbidden"
)

// Finding is the judgement of one use.
type Finding struct {
	Section   string   `json:"section"`
	License   string   `json:"license"` // register's id, or the raw text when unknown
	Class     Class    `json:"class"`
	Verdict   Verdict  `json:"verdict"`
	Reason    string   `json:"reason"`
	Claims    []string `json:"claims,omitempty"`
	Documents int64    `json:"documents"`
	Bytes     int64    `json:"bytes"`
	Tokens    int64    `json:"tokens"`
	Share     float64  `json:"share"` // of all text's tokens
	Examples  []string `json:"examples,omitempty"`
	Base      bool     `json:"base,omitempty"`
	Duties    []string `json:"duties,omitempty"`
	Agreement string   `json:"agreement,omitempty"` // its id in the register
	ValidTo   string   `json:"valid_to,omitempty"`  // last day of the agreement
	Decided   string   `json:"decided,omitempty"`   // who decided between claims, when and why
	Stated    string   `json:"stated,omitempty"`    // licence that the documents state, where a decision or an agreement gives another
	Credit    string   `json:"credit,omitempty"`    // who is to be named
	Data      bool     `json:"publish_data"`        // whether the text itself may be passed on
}

// Decision is the gate's answer.
type Decision struct {
	Allowed     bool      `json:"allowed"`
	License     string    `json:"license,omitempty"` // of the release; empty when not allowed
	Why         string    `json:"why"`               // the rule that gave the licence, or what stops it
	Findings    []Finding `json:"findings"`          // worst first, then by tokens
	Attribution []string  `json:"attribution,omitempty"`
	Warnings    []string  `json:"warnings,omitempty"`
}

// Gate judges all uses and computes the release licence. See the package comment for the rule.
func Gate(uses []Use, p Policy) Decision {
	var d Decision
	var total int64
	for _, u := range uses {
		if !u.Base {
			total += u.Tokens
		}
	}
	if err := p.check(); err != "" {
		return Decision{Why: err}
	}
	if len(uses) == 0 {
		return Decision{Why: "nothing is known about what the model was made from"}
	}
	for _, u := range uses {
		f, l := judge(u, p)
		if total > 0 && !u.Base {
			f.Share = float64(u.Tokens) / float64(total)
		}
		if f.Verdict == Allowed {
			f.Credit = d.credit(u, l)
			if l.Caution != "" {
				d.Warnings = append(d.Warnings, fmt.Sprintf("%s (%s): %s", u.Section, l.ID, l.Caution))
			}
			if u.Terms != nil {
				for _, w := range u.Terms.Warnings {
					d.Warnings = append(d.Warnings, u.Section+": "+w)
				}
			}
		}
		d.Findings = append(d.Findings, f)
	}
	sortFindings(d.Findings)
	d.conclude(p)
	slices.Sort(d.Warnings)
	d.Warnings = slices.Compact(d.Warnings)
	slices.Sort(d.Attribution)
	d.Attribution = slices.Compact(d.Attribution)
	return d
}

// check returns what is wrong with a policy, or nothing. An unknown word must not open the gate.
func (p Policy) check() string {
	if !slices.Contains([]string{"", "release", "research"}, p.Purpose) {
		return fmt.Sprintf("purpose %q is not known (release or research)", p.Purpose)
	}
	if err := CheckDate(p.Date); err != nil {
		return err.Error()
	}
	if !slices.Contains([]string{"", "allow", "refuse"}, p.ShareAlike) {
		return fmt.Sprintf("share-alike policy %q is not known (allow or refuse)", p.ShareAlike)
	}
	return ""
}

func judge(u Use, p Policy) (Finding, License) {
	f := Finding{Section: u.Section, Documents: u.Documents, Bytes: u.Bytes, Tokens: u.Tokens, Examples: u.Examples, Base: u.Base, Claims: u.Claims}
	if u.Terms != nil {
		return judgeTerms(f, u, p)
	}
	id, known := Normalize(u.License)
	l, _ := Lookup(id)
	f.License, f.Class, f.Duties, f.Data = id, l.Class, l.Duties, l.PublishData()
	if !known {
		f.Class = Unknown
	}
	stop := func(v Verdict, reason string) (Finding, License) {
		f.Verdict, f.Reason = v, reason
		return f, l
	}
	if clash := contradictions(u); len(clash) > 1 {
		return stop(Held, "claims contradict each other: "+strings.Join(clash, "; ")+" (a person must decide and record why)")
	}
	if strings.TrimSpace(u.License) == "" {
		return stop(Held, "no licence is given")
	}
	if !known {
		return stop(Held, fmt.Sprintf("licence %q is not in the register", shorten(u.License)))
	}
	if why := unseen(l); why != "" && !u.Base {
		return stop(Held, why)
	}
	if u.Base && l.Class == AgreementClass {
		return stop(Held, "the base model is under an agreement (a person must read what it says about models made from it)")
	}
	return stop(judgeClass(l, p))
}

// unseen says why a licence that only names an agreement does not count, or nothing: its dates and permits are unknown.
func unseen(l License) string {
	if name, ok := strings.CutPrefix(l.ID, "LicenseRef-Agreement-"); ok {
		return fmt.Sprintf("no register says what agreement %s permits, and until when (add the agreement to one, rights: in the recipe)", name)
	}
	return ""
}

// judgeClass is the verdict on text under a licence that is known and not in doubt.
func judgeClass(l License, p Policy) (Verdict, string) {
	switch {
	case l.TrainPublicModel() && l.Class != ShareAlike:
	case l.Class == ShareAlike && (p.ShareAlike == "allow" || p.Purpose == "research"):
	case l.Class == ShareAlike:
		return Forbidden, "share-alike text, and the policy refuses it"
	case p.Purpose == "research" && l.TrainResearchModel():
		return Allowed, string(l.Class) + ": allowed within a research project, the weights may not be published"
	case l.Class == Verbal:
		return Held, "the agreement is verbal (get it in writing)"
	default:
		return Forbidden, string(l.Class) + ": the text may not be in a model that is published"
	}
	return Allowed, string(l.Class)
}

// contradictions lists the different licences that a use claims, each as it was written. One or none is no contradiction.
func contradictions(u Use) []string {
	seen := map[string]string{}
	for _, c := range append([]string{u.License}, u.Claims...) {
		c = strings.TrimSpace(c)
		if c == "" {
			continue
		}
		id := Claimed(c)
		for old := range seen { // "where: what" of words that are no licence that is known
			if strings.HasSuffix(id, ": "+old) {
				id = old
			}
		}
		if old, ok := seen[id]; !ok || len(c) > len(old) {
			seen[id] = c
		}
	}
	var list []string
	for _, c := range seen {
		list = append(list, shorten(c))
	}
	slices.Sort(list)
	return list
}

// Claimed is the licence of a claim, which may be written "where: what", or "what (where)".
func Claimed(c string) string {
	if _, what, ok := strings.Cut(c, ": "); ok {
		if id, known := Normalize(what); known {
			return id
		}
	}
	id, known := Normalize(c)
	if open := strings.LastIndex(c, " ("); !known && open > 0 {
		id, _ = Normalize(c[:open])
	}
	return id
}

// credit adds a line for everybody who must be named, and returns who that is.
func (d *Decision) credit(u Use, l License) string {
	if len(l.Duties) == 0 {
		return ""
	}
	who := cmp.Or(u.Credit, u.Section)
	if u.Terms != nil {
		who = cmp.Or(u.Terms.Attribution, who)
	}
	line := who + ", " + l.Name
	if u.Base {
		line = "base: " + strings.TrimPrefix(line, "base model ")
	}
	if l.URL != "" {
		line += ", " + l.URL
	}
	d.Attribution = append(d.Attribution, line)
	return who
}

// conclude computes the release licence from findings that are all allowed, or says what stops it.
func (d *Decision) conclude(p Policy) {
	stopped := map[Verdict]int64{}
	n := 0
	for _, f := range d.Findings {
		if f.Verdict != Allowed {
			stopped[f.Verdict] += f.Documents
			n++
		}
	}
	if n > 0 {
		d.Why = fmt.Sprintf("%d of %d sources stop it: %d documents forbidden, %d held", n, len(d.Findings), stopped[Forbidden], stopped[Held])
		return
	}
	if p.Purpose == "research" {
		d.Allowed, d.License, d.Why = true, "LicenseRef-Research-Only", "the purpose is research"
		return
	}
	base, shareAlike := "", ""
	for _, f := range d.Findings {
		if f.Class == ShareAlike && f.License > shareAlike {
			shareAlike = f.License
		}
		if f.Base {
			base = f.License
		}
	}
	d.Allowed = true
	switch {
	case shareAlike != "":
		d.License, d.Why = shareAlike, fmt.Sprintf("%.1f %% of the tokens are share-alike, and the policy allows that", 100*d.share(ShareAlike))
		d.Warnings = append(d.Warnings, "whether weights must carry the share-alike licence of their text is not settled; this release carries it")
	case base != "":
		d.License, d.Why = base, "the base model's licence; no source asks for another"
		if l, _ := Lookup(base); l.Class != Permissive {
			d.License, d.Why = d.openWith(l)
		}
	default:
		d.License, d.Why = "Apache-2.0", "no source asks for another"
	}
}

// openWith is the licence of weights whose base is under l, which is not a software licence.
func (d *Decision) openWith(l License) (id, why string) {
	switch l.Class {
	case PublicDomain, Statute:
		return "Apache-2.0", "the base model is free of rights, and no source asks for another"
	}
	return l.ID, "the base model's licence; no source asks for another"
}

func (d *Decision) share(c Class) (sum float64) {
	for _, f := range d.Findings {
		if f.Class == c && !f.Base {
			sum += f.Share
		}
	}
	return sum
}

func sortFindings(list []Finding) {
	order := map[Verdict]int{Forbidden: 0, Held: 1, Allowed: 2}
	slices.SortStableFunc(list, func(a, b Finding) int {
		return cmp.Or(cmp.Compare(order[a.Verdict], order[b.Verdict]), cmp.Compare(b.Tokens, a.Tokens), cmp.Compare(a.Section, b.Section), cmp.Compare(a.License, b.License))
	})
}

func shorten(s string) string {
	s = strings.Join(strings.Fields(s), " ")
	if r := []rune(s); len(r) > 60 {
		return string(r[:60]) + "…"
	}
	return s
}
