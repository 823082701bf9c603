// Package removal keeps the list of documents that may not be used: requests of rights holders and of people in the
// text, objections, own findings. The list only grows and holds ids and hashes, not the text it is about.
//
// docs/design/removal.md describes the file.
package removal

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"slices"
	"strings"

	"golang.org/x/text/unicode/norm"

	"ravn/internal/atomicfile"
	"ravn/rights"
)

// Kinds of requests.
var Kinds = []string{"copyright", "erasure", "objection", "agreement-ended", "finding"}

// Selectors say how a request names documents.
const (
	ByID     = "id"     // section/id, as written
	BySource = "source" // a whole section, as written
	ByURL    = "url"    // hash of an address, host or host with the beginning of a path
	ByAuthor = "author" // hash of a name
	ByText   = "text"   // hash of a text, whatever its case and white space
)

// Entry is one line of the list. Entries of one request have one number of request.
type Entry struct {
	Number   int    `json:"number"`   // from 1
	Request  string `json:"request"`  // the request's own id
	Kind     string `json:"kind"`     // one of Kinds
	Received string `json:"received"` // YYYY-MM-DD
	By       string `json:"by"`       // who entered it
	Reason   string `json:"reason"`
	Selector string `json:"selector"`          // id, source, url, author, text
	Value    string `json:"value"`             // id or source as written, else SHA-256 in hex
	Cluster  bool   `json:"cluster,omitempty"` // added as a near copy of what was named
	Previous string `json:"previous"`          // SHA-256 of the line before; "" in the first
}

// List is the entries of a file.
type List struct {
	Path    string
	Entries []Entry
	hash    string
	index   map[string]map[string]int // selector → value → place in Entries
}

// Subject is what a document is matched by.
type Subject struct{ Section, ID, URI, Author, Text string }

// maxBytes bounds the file.
const maxBytes = 1 << 30

// Open reads a list; a file that is not there is an empty one.
func Open(path string) (*List, error) {
	l := &List{Path: path, index: map[string]map[string]int{}}
	info, err := os.Stat(path)
	if errors.Is(err, os.ErrNotExist) {
		return l, nil
	}
	if err != nil {
		return nil, fmt.Errorf("removal: %w", err)
	}
	if info.Size() > maxBytes {
		return nil, fmt.Errorf("removal: %s holds %d bytes; %d are the most that is read", path, info.Size(), maxBytes)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("removal: %w", err)
	}
	if len(data) > 0 && data[len(data)-1] != '\n' {
		return nil, fmt.Errorf("removal: %s: the last line is cut off", path)
	}
	previous := ""
	for i, line := range bytes.SplitAfter(data, []byte("\n")) {
		if len(line) == 0 {
			break
		}
		var e Entry
		d := json.NewDecoder(bytes.NewReader(line))
		d.DisallowUnknownFields()
		if err := d.Decode(&e); err != nil {
			return nil, fmt.Errorf("removal: %s:%d: %w", path, i+1, err)
		}
		if e.Number != i+1 || e.Previous != previous {
			return nil, fmt.Errorf("removal: %s:%d: does not follow from the line before: the list was changed (take it from a backup or from version control)", path, i+1)
		}
		if err := e.check(); err != nil {
			return nil, fmt.Errorf("removal: %s:%d: %w", path, i+1, err)
		}
		previous = hash(string(line))
		l.add(e)
	}
	l.hash = previous
	return l, nil
}

// Hash is of the newest line, and so of all; "" for an empty list.
func (l *List) Hash() string { return l.hash }

func (l *List) add(e Entry) {
	if l.index[e.Selector] == nil {
		l.index[e.Selector] = map[string]int{}
	}
	if _, ok := l.index[e.Selector][e.Value]; !ok {
		l.index[e.Selector][e.Value] = len(l.Entries)
	}
	l.Entries = append(l.Entries, e)
}

func (e *Entry) check() error {
	var errs []error
	if !slices.Contains(Kinds, e.Kind) {
		errs = append(errs, fmt.Errorf("kind %q is not known (%s)", e.Kind, strings.Join(Kinds, ", ")))
	}
	if e.Request == "" || e.By == "" || e.Reason == "" || e.Received == "" {
		errs = append(errs, errors.New("request, by, reason and received are needed"))
	}
	if err := rights.CheckDate(e.Received); err != nil {
		errs = append(errs, err)
	}
	switch e.Selector {
	case ByID:
		if _, id, ok := strings.Cut(e.Value, "/"); !ok || id == "" {
			errs = append(errs, fmt.Errorf("id %q is not of the form SECTION/ID", e.Value))
		}
	case BySource:
		if e.Value == "" {
			errs = append(errs, errors.New("no source is named"))
		}
	case ByURL, ByAuthor, ByText:
		if raw, err := hex.DecodeString(e.Value); err != nil || len(raw) != sha256.Size {
			errs = append(errs, fmt.Errorf("%s is given by SHA-256, not by %q", e.Selector, e.Value))
		}
	default:
		errs = append(errs, fmt.Errorf("selector %q is not known", e.Selector))
	}
	return errors.Join(errs...)
}

// Add appends entries to the file; those that stand there for the same request are left out. It returns how many were new.
func (l *List) Add(entries ...Entry) (int, error) {
	data, err := os.ReadFile(l.Path)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return 0, fmt.Errorf("removal: %w", err)
	}
	added := 0
	for _, e := range entries {
		if slices.ContainsFunc(l.Entries, func(x Entry) bool {
			return x.Request == e.Request && x.Selector == e.Selector && x.Value == e.Value
		}) {
			continue
		}
		e.Number, e.Previous = len(l.Entries)+1, l.hash
		if err := e.check(); err != nil {
			return 0, fmt.Errorf("removal: %w", err)
		}
		line, err := json.Marshal(e)
		if err != nil {
			return 0, fmt.Errorf("removal: %w", err)
		}
		line = append(line, '\n')
		data = append(data, line...)
		l.hash = hash(string(line))
		l.add(e)
		added++
	}
	if added == 0 {
		return 0, nil
	}
	if err := atomicfile.WriteFile(l.Path, data); err != nil {
		return 0, fmt.Errorf("removal: %w", err)
	}
	return added, nil
}

// Match finds the first entry that a document falls under, or nil.
func (l *List) Match(s Subject) *Entry {
	first := -1
	look := func(selector, value string) {
		if i, ok := l.index[selector][value]; ok && (first < 0 || i < first) {
			first = i
		}
	}
	look(ByID, s.Section+"/"+s.ID)
	look(BySource, s.Section)
	if len(l.index[ByText]) > 0 && s.Text != "" {
		look(ByText, TextHash(s.Text))
	}
	if len(l.index[ByAuthor]) > 0 && s.Author != "" {
		look(ByAuthor, AuthorHash(s.Author))
	}
	if len(l.index[ByURL]) > 0 {
		for _, p := range prefixes(s.URI) {
			look(ByURL, hash(p))
		}
	}
	if first < 0 {
		return nil
	}
	return &l.Entries[first]
}

func hash(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:])
}

// plain is text in NFKC, small letters and single spaces: what copies of a text have in common.
func plain(s string) string {
	return strings.Join(strings.Fields(strings.ToLower(norm.NFKC.String(s))), " ")
}

// TextHash is the hash of a text, whatever its case and white space.
func TextHash(text string) string { return hash("text " + plain(text)) }

// AuthorHash is the hash of a name.
func AuthorHash(name string) string { return hash("author " + plain(name)) }

// URLHash is the hash of an address, a host, or a host with the beginning of a path: everything below it is meant, and
// of a host its subdomains too.
func URLHash(address string) (string, error) {
	list := prefixes(address)
	if len(list) == 0 {
		return "", fmt.Errorf("removal: %q is not an address (https://host/path, or host)", address)
	}
	return hash(list[0]), nil
}

// prefixes lists an address without scheme, and all that stand above it, the address itself first: host/a/b, host/a,
// host, and of the host the domains above, but for the last part alone.
func prefixes(address string) []string {
	address = strings.TrimSpace(address)
	if address == "" {
		return nil
	}
	if !strings.Contains(address, "://") {
		address = "https://" + address
	}
	u, err := url.Parse(address)
	if err != nil || !strings.Contains(u.Hostname(), ".") {
		return nil
	}
	host := strings.TrimPrefix(strings.ToLower(u.Hostname()), "www.")
	path := strings.Trim(u.EscapedPath(), "/")
	var out []string
	if u.RawQuery != "" {
		out = append(out, "url "+host+"/"+path+"?"+u.RawQuery)
	}
	for path != "" {
		out = append(out, "url "+host+"/"+path)
		i := strings.LastIndexByte(path, '/')
		path = path[:max(i, 0)]
	}
	for strings.Contains(host, ".") {
		out = append(out, "url "+host)
		_, host, _ = strings.Cut(host, ".")
	}
	return out
}
