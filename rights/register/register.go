// Package register keeps what is known about the rights in each source: a folder of strict YAML and a log that only grows.
//
//	register/
//	  sources/wiki.yaml        one source: where it is from, every licence claim, decisions
//	  agreements/dbc-1.yaml    one agreement: parties, permitted acts, dates
//	  log.jsonl                every change, with the whole text it led to, each line holding the hash of the line before
//
// Claims that contradict each other stay side by side and hold the source until a person has decided and said why. A
// claim that was read after the decision opens the question again. Files and log must agree: what was changed by hand
// has to be added (Add) before it counts. docs/design/register.md describes the format.
package register

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"

	"ravn/rights"
)

// Register is a folder that was read and found to agree with its log.
type Register struct {
	Dir        string
	Sources    []*Source    // by name
	Agreements []*Agreement // by id
	Log        []Entry      // oldest first

	bySection map[string]*Source
	byID      map[string]*Agreement
	hash      string
}

// Source is one file of sources/.
type Source struct {
	Source       string        `yaml:"source" json:"source"`                                 // name, as the file's
	Title        string        `yaml:"title" json:"title"`                                   // for people
	Sections     []string      `yaml:"sections,omitempty" json:"sections"`                   // sections of corpora that are this source; default its name
	Content      string        `yaml:"content,omitempty" json:"content,omitempty"`           // kind of text: "encyclopedia", "law"
	Language     string        `yaml:"language,omitempty" json:"language,omitempty"`         // code
	Origin       string        `yaml:"origin,omitempty" json:"origin,omitempty"`             // address
	Kind         string        `yaml:"kind" json:"kind"`                                     // "public", "licensed", "private", "crawled", "user", "synthetic", "other": the parts of the Article 53 summary
	Holders      []string      `yaml:"holders,omitempty" json:"holders,omitempty"`           // of rights
	Period       string        `yaml:"period,omitempty" json:"period,omitempty"`             // when the text was written: "2009, 2019"
	Collected    string        `yaml:"collected,omitempty" json:"collected,omitempty"`       // YYYY-MM-DD on which it was last fetched
	Size         Size          `yaml:"size,omitempty" json:"size,omitzero"`                  // as published, where the data are not at hand
	Claims       []Claim       `yaml:"claims" json:"claims"`                                 // grows only
	ByDocument   bool          `yaml:"by_document,omitempty" json:"by_document,omitempty"`   // documents state a licence each, which has to be one of the claims; they then do not contradict each other
	Agreements   []string      `yaml:"agreements,omitempty" json:"agreements,omitempty"`     // ids
	Attribution  string        `yaml:"attribution,omitempty" json:"attribution,omitempty"`   // who is to be named, as asked
	PersonalData PersonalData  `yaml:"personal_data" json:"personal_data"`                   //
	Reservations []Reservation `yaml:"reservations,omitempty" json:"reservations,omitempty"` // of text and data mining, as read; grows only
	Decisions    []Decision    `yaml:"decisions,omitempty" json:"decisions,omitempty"`       // grows only; the last on or before the day counts
	Review       string        `yaml:"review,omitempty" json:"review,omitempty"`             // day on which to look again
	Notes        []string      `yaml:"notes,omitempty" json:"notes,omitempty"`               //
}

// Size is as somebody published it.
type Size struct {
	Documents  int64  `yaml:"documents,omitempty" json:"documents,omitempty"`
	Characters int64  `yaml:"characters,omitempty" json:"characters,omitempty"`
	Words      int64  `yaml:"words,omitempty" json:"words,omitempty"`
	From       string `yaml:"from,omitempty" json:"from,omitempty"` // where it says so
}

// IsZero says whether nothing is known.
func (s Size) IsZero() bool { return s == Size{} }

// Claim is a statement about the licence, with where and when it was read.
type Claim struct {
	Says    string `yaml:"says" json:"says"`                           // the words, short
	License string `yaml:"license,omitempty" json:"license,omitempty"` // what they mean, where the words alone do not say
	Where   string `yaml:"where" json:"where"`
	Read    string `yaml:"read" json:"read"` // YYYY-MM-DD
}

// ID is the licence that a claim means: an id that package rights knows, or the words.
func (c Claim) ID() string {
	if c.License != "" {
		id, _ := rights.Normalize(c.License)
		return id
	}
	id, _ := rights.Normalize(c.Says)
	return id
}

func (c Claim) String() string {
	what := c.Says
	if id := c.ID(); id != c.Says {
		what = fmt.Sprintf("%s (%s)", c.Says, id)
	}
	return fmt.Sprintf("%s, read %s: %s", c.Where, c.Read, what)
}

// PersonalData says what is known of people in the text.
type PersonalData struct {
	Level string `yaml:"level" json:"level"` // "none", "pseudonymised", "present", "unknown"
	Note  string `yaml:"note,omitempty" json:"note,omitempty"`
	Basis string `yaml:"basis,omitempty" json:"basis,omitempty"` // legal basis for the processing
	DPIA  string `yaml:"dpia,omitempty" json:"dpia,omitempty"`   // reference of the impact assessment
}

// Reservation is a machine-readable statement on mining: robots.txt, ai.txt, tdmrep.json, a header.
type Reservation struct {
	Signal   string `yaml:"signal" json:"signal"`
	Where    string `yaml:"where" json:"where"`
	Read     string `yaml:"read" json:"read"`
	SHA256   string `yaml:"sha256,omitempty" json:"sha256,omitempty"` // of the snapshot
	Reserved bool   `yaml:"reserved" json:"reserved"`
}

// Decision is what a person made of the claims. One of License, Agreement, Hold and Refuse is set.
type Decision struct {
	License   string `yaml:"license,omitempty" json:"license,omitempty"`
	Agreement string `yaml:"agreement,omitempty" json:"agreement,omitempty"`
	Hold      bool   `yaml:"hold,omitempty" json:"hold,omitempty"`
	Refuse    bool   `yaml:"refuse,omitempty" json:"refuse,omitempty"`
	By        string `yaml:"by" json:"by"`
	Date      string `yaml:"date" json:"date"`
	Reason    string `yaml:"reason" json:"reason"`
}

func (d Decision) String() string { return fmt.Sprintf("%s, %s: %s", d.By, d.Date, d.Reason) }

// Agreement is one file of agreements/.
type Agreement struct {
	Agreement   string         `yaml:"agreement" json:"agreement"` // id, as the file's name
	Kind        string         `yaml:"kind" json:"kind"`           // "written", "verbal", "statute"
	Parties     []string       `yaml:"parties" json:"parties"`
	Contact     string         `yaml:"contact,omitempty" json:"contact,omitempty"`
	Document    Document       `yaml:"document,omitempty" json:"document,omitzero"` // the paper itself is kept elsewhere
	Signed      string         `yaml:"signed,omitempty" json:"signed,omitempty"`
	ValidFrom   string         `yaml:"valid_from,omitempty" json:"valid_from,omitempty"`
	ValidTo     string         `yaml:"valid_to,omitempty" json:"valid_to,omitempty"` // last day
	Permits     rights.Permits `yaml:"permits" json:"permits"`
	Duties      []string       `yaml:"duties,omitempty" json:"duties,omitempty"`
	Attribution string         `yaml:"attribution,omitempty" json:"attribution,omitempty"`
	Territory   string         `yaml:"territory,omitempty" json:"territory,omitempty"`
	Persons     string         `yaml:"persons,omitempty" json:"persons,omitempty"`     // who may use it, and where
	Retention   string         `yaml:"retention,omitempty" json:"retention,omitempty"` // when copies must go
	Review      string         `yaml:"review,omitempty" json:"review,omitempty"`
	Notes       []string       `yaml:"notes,omitempty" json:"notes,omitempty"`
}

// Document names a paper without holding it.
type Document struct {
	Reference string `yaml:"reference,omitempty" json:"reference,omitempty"`
	SHA256    string `yaml:"sha256,omitempty" json:"sha256,omitempty"`
}

// IsZero says whether nothing is known.
func (d Document) IsZero() bool { return d == Document{} }

func (a *Agreement) terms() *rights.Agreement {
	return &rights.Agreement{ID: a.Agreement, Kind: a.Kind, ValidFrom: a.ValidFrom, ValidTo: a.ValidTo, Permits: a.Permits, Duties: a.Duties}
}

// Open reads a register and checks every file, and the log against the files. All problems are reported.
func Open(dir string) (*Register, error) {
	r := &Register{Dir: dir, bySection: map[string]*Source{}, byID: map[string]*Agreement{}}
	info, err := os.Stat(dir)
	if err != nil {
		return nil, fmt.Errorf("register: %w (ravn rights add makes one)", err)
	}
	if !info.IsDir() {
		return nil, fmt.Errorf("register: %s is not a folder", dir)
	}
	var errs []error
	r.Log, err = readLog(filepath.Join(dir, logName))
	if err != nil {
		return nil, err
	}
	logged := latest(r.Log)
	sum := sha256.New()
	for _, kind := range []string{"sources", "agreements"} {
		files, err := filepath.Glob(filepath.Join(dir, kind, "*.yaml"))
		if err != nil {
			return nil, fmt.Errorf("register: %w", err)
		}
		slices.Sort(files)
		for _, path := range files {
			text, err := readSmall(path)
			if err != nil {
				return nil, err
			}
			name := kind + "/" + filepath.Base(path)
			fmt.Fprintf(sum, "%s %x\n", name, sha256.Sum256(text))
			if was, ok := logged[name]; !ok || was != string(text) {
				errs = append(errs, fmt.Errorf("register: %s is not as the log has it (ravn rights add %s %s --by NAME --reason WHY records the change)", path, dir, path))
			}
			delete(logged, name)
			if err := r.add(kind, path, text); err != nil {
				errs = append(errs, err)
			}
		}
	}
	for _, name := range sortedKeys(logged) {
		errs = append(errs, fmt.Errorf("register: %s is in the log and not in the folder (entries are never taken out; refuse the source in a decision instead)", filepath.Join(dir, filepath.FromSlash(name))))
	}
	errs = append(errs, r.link()...)
	if len(r.Sources) == 0 && len(errs) == 0 {
		errs = append(errs, fmt.Errorf("register: %s holds no sources (ravn rights add %s FILE adds one)", dir, dir))
	}
	r.hash = hex.EncodeToString(sum.Sum(nil))
	return r, errors.Join(errs...)
}

// Hash is of all files.
func (r *Register) Hash() string { return r.hash }

// maxFile bounds a file of the register.
const maxFile = 1 << 20

func readSmall(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("register: %w", err)
	}
	if info.Size() > maxFile {
		return nil, fmt.Errorf("register: %s holds %d bytes; a file of a register is text of %d at most", path, info.Size(), maxFile)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("register: %w", err)
	}
	return text, nil
}

// add reads one file.
func (r *Register) add(kind, path string, text []byte) error {
	name := strings.TrimSuffix(filepath.Base(path), ".yaml")
	if kind == "agreements" {
		a, err := parseAgreement(path, text)
		if err != nil {
			return err
		}
		if a.Agreement != name {
			return fmt.Errorf("register: %s: agreement %q must be in %s.yaml", path, a.Agreement, a.Agreement)
		}
		r.Agreements, r.byID[name] = append(r.Agreements, a), a
		return nil
	}
	s, err := parseSource(path, text)
	if err != nil {
		return err
	}
	if s.Source != name {
		return fmt.Errorf("register: %s: source %q must be in %s.yaml", path, s.Source, s.Source)
	}
	r.Sources = append(r.Sources, s)
	return nil
}

// link checks what concerns several files.
func (r *Register) link() (errs []error) {
	for _, s := range r.Sources {
		for _, section := range s.Sections {
			if was := r.bySection[section]; was != nil {
				errs = append(errs, fmt.Errorf("register: section %q is of source %q and of %q (a section is one source)", section, was.Source, s.Source))
			}
			r.bySection[section] = s
		}
		for _, id := range s.named() {
			if r.byID[id] == nil {
				errs = append(errs, fmt.Errorf("register: source %q names agreement %q, which is not in agreements/", s.Source, id))
			}
		}
	}
	return errs
}

// named lists all agreements that a source speaks of.
func (s *Source) named() []string {
	ids := slices.Clone(s.Agreements)
	for _, d := range s.Decisions {
		if d.Agreement != "" {
			ids = append(ids, d.Agreement)
		}
	}
	return ids
}

// decode reads strict YAML; what the library panics on is bad input.
func decode(path string, text []byte, v any) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("register: %s: the YAML cannot be read: %v", path, p)
		}
	}()
	if err := yaml.UnmarshalWithOptions(text, v, yaml.Strict()); err != nil {
		return fmt.Errorf("register: %s", yamlError(path, err))
	}
	return nil
}

var position = regexp.MustCompile(`^\[(\d+):\d+\] `)

func yamlError(path string, err error) string {
	text, where := yaml.FormatError(err, false, false), path
	if m := position.FindStringSubmatch(text); m != nil {
		where, text = path+":"+m[1], text[len(m[0]):]
	}
	what, _, _ := strings.Cut(text, "\n")
	return where + ": " + what + " (docs/design/register.md lists the fields)"
}

var nameForm = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]*$`)

// problems gathers what is wrong with one file.
type problems struct {
	path string
	errs []error
}

func (p *problems) bad(format string, args ...any) {
	p.errs = append(p.errs, fmt.Errorf("register: %s: %s", p.path, fmt.Sprintf(format, args...)))
}

func (p *problems) date(field, s string, needed bool) {
	if s == "" && needed {
		p.bad("%s has no date", field)
	}
	if err := rights.CheckDate(s); err != nil {
		p.bad("%s: %v", field, err)
	}
}

func (p *problems) oneOf(field, s string, words ...string) {
	if !slices.Contains(words, s) {
		p.bad("%s %q is not known (%s)", field, s, strings.Join(words, ", "))
	}
}

func parseSource(path string, text []byte) (*Source, error) {
	s := &Source{}
	if err := decode(path, text, s); err != nil {
		return nil, err
	}
	if len(s.Sections) == 0 {
		s.Sections = []string{s.Source}
	}
	p := problems{path: path}
	if !nameForm.MatchString(s.Source) {
		p.bad("source %q must be letters, digits, dot, dash, underscore", s.Source)
	}
	if s.Title == "" {
		p.bad("no title")
	}
	p.oneOf("kind", s.Kind, "public", "licensed", "private", "crawled", "user", "synthetic", "other")
	p.oneOf("personal_data.level", s.PersonalData.Level, "none", "pseudonymised", "present", "unknown")
	p.date("collected", s.Collected, false)
	p.date("review", s.Review, false)
	for i, c := range s.Claims {
		at := fmt.Sprintf("claims[%d]", i)
		if c.Says == "" || c.Where == "" {
			p.bad("%s needs says and where", at)
		}
		p.date(at+".read", c.Read, true)
		if _, known := rights.Normalize(c.License); c.License != "" && !known {
			p.bad("%s.license %q is not a licence that ravn knows (leave it out; the claim then stands as it is worded and holds the source)", at, c.License)
		}
	}
	for i, x := range s.Reservations {
		at := fmt.Sprintf("reservations[%d]", i)
		if x.Signal == "" || x.Where == "" {
			p.bad("%s needs signal and where", at)
		}
		p.date(at+".read", x.Read, true)
	}
	last := ""
	for i, d := range s.Decisions {
		at := fmt.Sprintf("decisions[%d]", i)
		n := 0
		for _, set := range []bool{d.License != "", d.Agreement != "", d.Hold, d.Refuse} {
			if set {
				n++
			}
		}
		if n != 1 {
			p.bad("%s needs one of license, agreement, hold, refuse", at)
		}
		if _, known := rights.Normalize(d.License); d.License != "" && !known {
			p.bad("%s.license %q is not a licence that ravn knows", at, d.License)
		}
		if d.By == "" || d.Reason == "" {
			p.bad("%s needs by and reason", at)
		}
		p.date(at+".date", d.Date, true)
		if d.Date < last {
			p.bad("%s of %s stands after one of %s (decisions are added at the end)", at, d.Date, last)
		}
		last = d.Date
	}
	if len(s.Claims) == 0 && len(s.Agreements) == 0 {
		p.bad("neither claims nor agreements (write down at least one, with where and when it was read)")
	}
	return s, errors.Join(p.errs...)
}

func parseAgreement(path string, text []byte) (*Agreement, error) {
	a := &Agreement{}
	if err := decode(path, text, a); err != nil {
		return nil, err
	}
	p := problems{path: path}
	if !nameForm.MatchString(a.Agreement) {
		p.bad("agreement %q must be letters, digits, dot, dash, underscore", a.Agreement)
	}
	p.oneOf("kind", a.Kind, "written", "verbal", "statute")
	if len(a.Parties) == 0 {
		p.bad("no parties")
	}
	for _, d := range []struct{ name, value string }{{"signed", a.Signed}, {"valid_from", a.ValidFrom}, {"valid_to", a.ValidTo}, {"review", a.Review}} {
		p.date(d.name, d.value, false)
	}
	if a.ValidFrom != "" && a.ValidTo != "" && a.ValidTo < a.ValidFrom {
		p.bad("valid_to %s is before valid_from %s", a.ValidTo, a.ValidFrom)
	}
	if a.Kind == "written" && a.Document.Reference == "" {
		p.bad("a written agreement needs document.reference: where the paper is kept")
	}
	return a, errors.Join(p.errs...)
}

// Source returns the source that a section is, or nil.
func (r *Register) Source(section string) *Source { return r.bySection[section] }

// Agreement returns the agreement of that id, or nil.
func (r *Register) Agreement(id string) *Agreement { return r.byID[id] }

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
