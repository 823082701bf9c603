// Package hub brings models and data sets from a Hugging Face hub: a snapshot of one commit, every file checked against
// the hash that the hub names, downloads that go on where they were cut off.
//
// A folder that was pulled holds .ravn-pull.json, which says from where, of which commit and with which hashes; pieces of
// unfinished files lie in .ravn-pull/ under the hash of the whole. The token goes to the hub's own host alone, and
// stands in no error and no file.
package hub

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// DefaultEndpoint is the hub that is asked when no other is named.
const DefaultEndpoint = "https://huggingface.co"

// Options say which hub is asked for what. Zero values are replaced by the defaults.
type Options struct {
	Endpoint string   // address of the hub; DefaultEndpoint
	Token    string   // "": only what is public
	Dataset  bool     // a data set, not a model
	Revision string   // branch, tag or commit; main
	Include  []string // patterns of files to take; none: all. * stands for any characters, also /
	Exclude  []string // patterns of files to leave out
	Workers  int      // files fetched at a time; 4. Does not change what is fetched

	Attempts  int           // at a file without a byte of progress; 5
	Pause     time.Duration // before the second attempt, then twice as long each time; 1 s
	StallTime time.Duration // without a byte, after which an attempt is given up; 60 s

	Progress func(done int64) // called with bytes as they arrive, from several goroutines; may be nil
}

// Validate reports everything that is wrong with o.
func (o *Options) Validate() error {
	var errs []error
	u, err := url.Parse(o.endpoint())
	switch {
	case err != nil:
		errs = append(errs, errors.New("hub: the endpoint is not an address (https://HOST)")) // the address may hold a password
	case u.Scheme != "https" && u.Scheme != "http" || u.Host == "":
		errs = append(errs, fmt.Errorf("hub: endpoint %s must begin with https:// or http://", u.Redacted()))
	case u.User != nil || u.RawQuery != "" || u.Fragment != "":
		errs = append(errs, fmt.Errorf("hub: endpoint %s may hold no user, query or fragment", u.Redacted()))
	case o.Token != "" && u.Scheme == "http" && !loopback(u.Hostname()):
		errs = append(errs, fmt.Errorf("hub: the token is not sent to %s without encryption (use https, or no token)", u.Host))
	}
	if strings.ContainsFunc(o.Token, func(r rune) bool { return r <= ' ' || r > '~' }) {
		errs = append(errs, errors.New("hub: the token holds blanks or control characters"))
	}
	if o.Workers < 0 || o.Attempts < 0 || o.Pause < 0 || o.StallTime < 0 {
		errs = append(errs, errors.New("hub: workers, attempts and times must not be negative"))
	}
	return errors.Join(errs...)
}

func (o *Options) endpoint() string {
	if o.Endpoint == "" {
		return DefaultEndpoint
	}
	return strings.TrimRight(o.Endpoint, "/")
}

func (o *Options) fill() {
	o.Endpoint = o.endpoint()
	if o.Revision == "" {
		o.Revision = "main"
	}
	if o.Workers == 0 {
		o.Workers = 4
	}
	if o.Attempts == 0 {
		o.Attempts = 5
	}
	if o.Pause == 0 {
		o.Pause = time.Second
	}
	if o.StallTime == 0 {
		o.StallTime = time.Minute
	}
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// File is a file of a snapshot.
type File struct {
	Path   string `json:"path"` // with slashes
	Size   int64  `json:"size_bytes"`
	SHA256 string `json:"sha256,omitempty"`   // of large files
	Git    string `json:"git_blob,omitempty"` // SHA-1 of small ones, as git counts it: "blob SIZE\x00" and the content
}

// Snapshot is what a repository holds at a commit.
type Snapshot struct {
	Repo     string   `json:"repo"`
	Kind     string   `json:"kind"` // "model" or "dataset"
	Endpoint string   `json:"endpoint"`
	Revision string   `json:"revision"` // asked for
	Commit   string   `json:"commit"`
	License  string   `json:"license,omitempty"` // as the repository's card states it
	Files    []File   `json:"files"`
	LeftOut  []string `json:"left_out,omitempty"` // files that were not asked for
}

// SizeBytes is the sum of all files.
func (s *Snapshot) SizeBytes() int64 {
	var n int64
	for _, f := range s.Files {
		n += f.Size
	}
	return n
}

// Error is what the hub answered in place of what was asked.
type Error struct {
	Status  int
	Code    string // of the hub: RepoNotFound, GatedRepo, RevisionNotFound, EntryNotFound
	Message string // in words, with advice
	after   time.Duration
}

func (e *Error) Error() string { return e.Message }

// temporary errors are worth another attempt.
func (e *Error) temporary() bool {
	return e.Status == http.StatusTooManyRequests || e.Status == http.StatusRequestTimeout || e.Status >= 500
}

var (
	repoForm   = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*)?$`)
	sha1Form   = regexp.MustCompile(`^[0-9a-f]{40}$`)
	sha256Form = regexp.MustCompile(`^[0-9a-f]{64}$`)
)

// CheckRepo reports a name that is not OWNER/NAME.
func CheckRepo(repo string) error {
	if len(repo) > 200 || !repoForm.MatchString(repo) || strings.Contains(repo, "..") {
		return fmt.Errorf("hub: %.200q is not the name of a repository (OWNER/NAME: letters, digits, dots, hyphens, underscores)", repo)
	}
	return nil
}

// client asks one hub about one repository.
type client struct {
	o    Options
	repo string
	http http.Client
}

func newClient(repo string, o Options) (*client, error) {
	if err := errors.Join(CheckRepo(repo), o.Validate()); err != nil {
		return nil, err
	}
	o.fill()
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.DisableCompression = true // sizes and hashes are of the bytes themselves
	t.ResponseHeaderTimeout = o.StallTime
	return &client{o: o, repo: repo, http: http.Client{Transport: t, CheckRedirect: redirect(nil)}}, nil
}

// redirect follows at most 5 redirects, never from https to http, and takes the token to no other host. seen, where it
// is not nil, gets the headers of every answer on the way.
func redirect(seen func(http.Header)) func(*http.Request, []*http.Request) error {
	return func(req *http.Request, via []*http.Request) error {
		first := via[0].URL
		switch {
		case len(via) > 5:
			return errors.New("more than 5 redirects")
		case req.URL.Scheme != "https" && (req.URL.Scheme != "http" || via[len(via)-1].URL.Scheme == "https"):
			return fmt.Errorf("redirected to an address of scheme %s", req.URL.Scheme)
		}
		if req.URL.Host != first.Host || req.URL.Scheme != first.Scheme {
			req.Header.Del("Authorization")
		}
		req.Header.Del("Referer") // Go sends the address before; signed addresses are secrets
		if seen != nil {
			seen(req.Response.Header)
		}
		return nil
	}
}

func (c *client) kind() string {
	if c.o.Dataset {
		return "dataset"
	}
	return "model"
}

// page is the repository's address for people.
func (c *client) page() string {
	if c.o.Dataset {
		return c.o.Endpoint + "/datasets/" + c.repo
	}
	return c.o.Endpoint + "/" + c.repo
}

func (c *client) api(parts ...string) string {
	return c.o.Endpoint + "/api/" + c.kind() + "s/" + c.repo + "/" + strings.Join(parts, "/")
}

// get sends a request; header adds to it. Answers other than 2xx are an Error.
func (c *client) get(ctx context.Context, h *http.Client, address, what string, header http.Header) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, fmt.Errorf("hub: %s: not an address", what)
	}
	for k, v := range header {
		req.Header[k] = v
	}
	req.Header.Set("User-Agent", "ravn")
	if c.o.Token != "" {
		req.Header.Set("Authorization", "Bearer "+c.o.Token)
	}
	resp, err := h.Do(req)
	if err != nil {
		return nil, fmt.Errorf("hub: %s: %w", what, withoutAddress(err))
	}
	if resp.StatusCode/100 == 2 {
		return resp, nil
	}
	defer resp.Body.Close()
	text, _ := io.ReadAll(io.LimitReader(resp.Body, 4096))
	return nil, c.refused(resp, text, what)
}

// withoutAddress takes addresses out of an error: those of storage hosts are signed, and are secrets.
func withoutAddress(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		return u.Err
	}
	return err
}

func (c *client) refused(resp *http.Response, text []byte, what string) error {
	e := &Error{Status: resp.StatusCode, Code: resp.Header.Get("X-Error-Code")}
	if n, err := strconv.Atoi(resp.Header.Get("Retry-After")); err == nil && n > 0 {
		e.after = min(time.Duration(n)*time.Second, time.Minute)
	}
	said := resp.Header.Get("X-Error-Message")
	if said == "" {
		var v struct {
			Error string `json:"error"`
		}
		if json.Unmarshal(text, &v) == nil {
			said = v.Error
		}
	}
	if said = printable(said); said != "" {
		said = fmt.Sprintf(", the hub says: %s", said)
	}
	where := fmt.Sprintf("hub: %s %s: %s: HTTP %d%s", c.kind(), c.repo, what, e.Status, said)
	token := "set HF_TOKEN to a token that may read it"
	if c.o.Token != "" {
		token = "the token in HF_TOKEN is wrong, has expired, or may not read it"
	}
	switch {
	case e.Code == "GatedRepo" || e.Status == http.StatusForbidden:
		e.Message = fmt.Sprintf("%s\n\t(its makers ask for consent before it is given out: agree on %s, and %s)", where, c.page(), token)
	case e.Status == http.StatusUnauthorized:
		e.Message = fmt.Sprintf("%s\n\t(it is private, or does not exist under this name: look at %s; %s)", where, c.page(), token)
	case e.Code == "RevisionNotFound":
		e.Message = fmt.Sprintf("%s\n\t(there is no revision %q; --revision takes a branch, tag or commit)", where, c.o.Revision)
	case e.Status == http.StatusNotFound:
		other := "data sets need --dataset"
		if c.o.Dataset {
			other = "models are pulled without --dataset"
		}
		e.Message = fmt.Sprintf("%s\n\t(check the name on %s; %s)", where, c.page(), other)
	case e.temporary():
		e.Message = where + "\n\t(try again later; what has been fetched is kept)"
	default:
		e.Message = where
	}
	return e
}

// printable keeps what a server says on one line.
func printable(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, s)
	if len(s) > 300 {
		s = strings.ToValidUTF8(s[:300], "") + "…"
	}
	return strings.TrimSpace(s)
}

const (
	maxPageBytes = 64 << 20
	maxFiles     = 500_000
)

// ask reads one JSON answer, with attempts.
func (c *client) ask(ctx context.Context, address, what string, v any) (http.Header, error) {
	for attempt := 1; ; attempt++ {
		header, err := c.askOnce(ctx, address, what, v)
		if err == nil || attempt >= c.o.Attempts || !again(err) {
			return header, err
		}
		if err := c.wait(ctx, attempt, err); err != nil {
			return nil, err
		}
	}
}

func (c *client) askOnce(ctx context.Context, address, what string, v any) (http.Header, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*c.o.StallTime)
	defer cancel()
	resp, err := c.get(ctx, &c.http, address, what, nil)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(io.LimitReader(resp.Body, maxPageBytes+1))
	if err != nil {
		return nil, fmt.Errorf("hub: %s: %s: %w", c.repo, what, err)
	}
	if len(data) > maxPageBytes {
		return nil, badAnswer{fmt.Errorf("hub: %s: %s: the answer is larger than %d bytes", c.repo, what, maxPageBytes)}
	}
	if err := json.Unmarshal(data, v); err != nil {
		return nil, badAnswer{fmt.Errorf("hub: %s: %s: the answer is not the JSON of a hub: %w (is %s a Hugging Face hub?)", c.repo, what, err, c.o.Endpoint)}
	}
	return resp.Header, nil
}

// badAnswer is an answer that will not be better the next time.
type badAnswer struct{ error }

func (e badAnswer) Unwrap() error { return e.error }

// again says whether another attempt may help.
func again(err error) bool {
	var e *Error
	var b badAnswer
	switch {
	case errors.As(err, &e):
		return e.temporary()
	case errors.As(err, &b):
		return false
	}
	return true // the connection
}

// wait pauses before the next attempt.
func (c *client) wait(ctx context.Context, attempt int, why error) error {
	d := c.o.Pause << min(attempt-1, 5)
	var e *Error
	if errors.As(why, &e) && e.after > 0 {
		d = e.after
	}
	select {
	case <-ctx.Done():
		return fmt.Errorf("hub: %s: %w", c.repo, context.Cause(ctx))
	case <-time.After(d):
		return nil
	}
}

// List asks what a repository holds.
func List(ctx context.Context, repo string, o Options) (*Snapshot, error) {
	c, err := newClient(repo, o)
	if err != nil {
		return nil, err
	}
	return c.list(ctx)
}

func (c *client) list(ctx context.Context) (*Snapshot, error) {
	var info struct {
		SHA  string `json:"sha"`
		Card struct {
			License json.RawMessage `json:"license"`
		} `json:"cardData"`
	}
	if _, err := c.ask(ctx, c.api("revision", url.PathEscape(c.o.Revision)), "revision "+c.o.Revision, &info); err != nil {
		return nil, err
	}
	if !sha1Form.MatchString(info.SHA) {
		return nil, fmt.Errorf("hub: %s: the hub names no commit for revision %s", c.repo, c.o.Revision)
	}
	s := &Snapshot{Repo: c.repo, Kind: c.kind(), Endpoint: c.o.Endpoint, Revision: c.o.Revision, Commit: info.SHA, License: license(info.Card.License)}
	files, err := c.tree(ctx, info.SHA)
	if err != nil {
		return nil, err
	}
	s.Files, s.LeftOut, err = choose(files, &c.o)
	if err != nil {
		return nil, err
	}
	if len(s.Files) == 0 {
		return nil, fmt.Errorf("hub: %s: none of its %d files is asked for (--include and --exclude)", c.repo, len(files))
	}
	return s, nil
}

// license reads what a card states: one name, or several.
func license(raw json.RawMessage) string {
	var one string
	var many []string
	if json.Unmarshal(raw, &one) == nil {
		return printable(one)
	}
	if json.Unmarshal(raw, &many) == nil {
		return printable(strings.Join(many, ", "))
	}
	return ""
}

// tree lists all files of a commit, page by page.
func (c *client) tree(ctx context.Context, commit string) ([]File, error) {
	var files []File
	var bad []error
	seen := map[string]bool{}
	for address := c.api("tree", commit) + "?recursive=true"; address != ""; {
		var page []struct {
			Type string `json:"type"`
			OID  string `json:"oid"`
			Size int64  `json:"size"`
			Path string `json:"path"`
			LFS  *struct {
				OID  string `json:"oid"`
				Size int64  `json:"size"`
			} `json:"lfs"`
		}
		header, err := c.ask(ctx, address, "list of files", &page)
		if err != nil {
			return nil, err
		}
		for _, e := range page {
			if e.Type != "file" {
				continue
			}
			f := File{Path: e.Path, Size: e.Size}
			if e.LFS != nil {
				f.Size = e.LFS.Size
				f.SHA256 = strings.TrimPrefix(e.LFS.OID, "sha256:")
			} else {
				f.Git = e.OID
			}
			if err := f.check(); err != nil {
				bad = append(bad, fmt.Errorf("hub: %s: %w", c.repo, err))
			}
			if seen[f.Path] {
				bad = append(bad, fmt.Errorf("hub: %s: file %q is listed twice", c.repo, f.Path))
			}
			seen[f.Path] = true
			files = append(files, f)
		}
		if len(bad) > 0 {
			return nil, errors.Join(bad[:min(len(bad), 10)]...)
		}
		if len(files) > maxFiles {
			return nil, fmt.Errorf("hub: %s: more than %d files", c.repo, maxFiles)
		}
		next, err := c.next(address, header)
		if err != nil {
			return nil, err
		}
		if next != "" && len(page) == 0 {
			return nil, fmt.Errorf("hub: %s: the list of files does not end", c.repo)
		}
		address = next
	}
	return files, nil
}

// check refuses names that would leave the folder and hashes that are none.
func (f *File) check() error {
	p := f.Path
	odd := strings.ContainsFunc(p, func(r rune) bool { return r < ' ' || r == 0x7f || r == '\\' || r == ':' })
	parts := strings.Split(p, "/")
	if odd || len(p) > 1000 || !filepath.IsLocal(filepath.FromSlash(p)) || slices.ContainsFunc(parts, func(s string) bool { return s == "" || s == "." || s == ".." }) {
		return fmt.Errorf("file name %.200q would not stay in the folder; nothing was fetched", p)
	}
	if first := strings.ToLower(parts[0]); first == markName || first == partsDir {
		return fmt.Errorf("file name %.200q is one that ravn keeps for itself; nothing was fetched", p)
	}
	switch {
	case f.Size < 0:
		return fmt.Errorf("file %q has size %d", p, f.Size)
	case f.SHA256 != "" && !sha256Form.MatchString(f.SHA256):
		return fmt.Errorf("file %q: %.100q is not a SHA-256", p, f.SHA256)
	case f.Git != "" && !sha1Form.MatchString(f.Git):
		return fmt.Errorf("file %q: %.100q is not a git hash", p, f.Git)
	}
	return nil
}

var linkForm = regexp.MustCompile(`<([^>]*)>\s*;\s*rel="?next"?`)

// next is the address of the following page, which must be at the same hub.
func (c *client) next(address string, header http.Header) (string, error) {
	m := linkForm.FindStringSubmatch(header.Get("Link"))
	if m == nil {
		return "", nil
	}
	here, err := url.Parse(address)
	if err != nil {
		return "", err
	}
	u, err := here.Parse(m[1])
	if err != nil || u.Host != here.Host {
		return "", fmt.Errorf("hub: %s: the list of files goes on at another host", c.repo)
	}
	u.Scheme = here.Scheme // hubs behind a proxy write http
	return u.String(), nil
}

// choose keeps what is asked for. Without patterns, weights in formats that ravn does not read are left out where the
// same model is there as safetensors.
func choose(files []File, o *Options) (kept []File, left []string, err error) {
	include, err := patterns(o.Include)
	if err != nil {
		return nil, nil, err
	}
	exclude, err := patterns(o.Exclude)
	if err != nil {
		return nil, nil, err
	}
	safe := slices.ContainsFunc(files, func(f File) bool { return strings.HasSuffix(f.Path, ".safetensors") })
	for _, f := range files {
		ok := include == nil || include.MatchString(f.Path)
		if exclude != nil && exclude.MatchString(f.Path) {
			ok = false
		}
		if include == nil && !o.Dataset && safe && otherWeights.MatchString(f.Path) {
			ok = false
		}
		if ok {
			kept = append(kept, f)
		} else {
			left = append(left, f.Path)
		}
	}
	return kept, left, nil
}

var otherWeights = regexp.MustCompile(`\.(bin|pt|pth|h5|msgpack|onnx|ot|tflite|bin\.index\.json)$|^original/|^(onnx|openvino|coreml)/`)

// patterns makes one expression of shell patterns: * and ? as usual, but * also stands for slashes; a folder with its
// slash stands for all in it.
func patterns(list []string) (*regexp.Regexp, error) {
	if len(list) == 0 {
		return nil, nil
	}
	var alternatives []string
	for _, p := range list {
		if p == "" || len(p) > 500 {
			return nil, fmt.Errorf("hub: %.50q is not a pattern of file names", p)
		}
		if strings.HasSuffix(p, "/") {
			p += "*"
		}
		q := regexp.QuoteMeta(p)
		q = strings.NewReplacer(`\*`, ".*", `\?`, ".").Replace(q)
		alternatives = append(alternatives, q)
	}
	return regexp.Compile("^(?:" + strings.Join(alternatives, "|") + ")$")
}
