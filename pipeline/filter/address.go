package filter

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"ravn/corpus"
	"ravn/pipeline"
)

// Reasons of verdicts on addresses.
const (
	BlockedAddress = "blocked_address" // the address stands on a list
	MiningReserved = "mining_reserved" // the site says that it may not be mined or trained on
)

// AddressOptions say which addresses are not wanted. Documents without one pass.
type AddressOptions struct {
	Lists   []string // files of hosts and addresses, one a line: everything below them goes. # begins a remark
	Signals string   // folder of snapshots, HOST/robots.txt, ai.txt, tdmrep.json, headers.txt; "" for none
	Agents  []string // crawlers whose exclusion in robots.txt counts; empty: TrainingAgents
	Mark    bool     // keep and mark
}

// TrainingAgents are crawlers that gather text to train models with; a site that shuts one of them out has said no.
var TrainingAgents = []string{"GPTBot", "CCBot", "ClaudeBot", "anthropic-ai", "Google-Extended", "Applebot-Extended", "Meta-ExternalAgent", "Bytespider", "Amazonbot", "cohere-training-data-crawler"}

// address is the stage.
type address struct {
	o      AddressOptions
	listed map[string]string // host, or host/path → the list it stands on
	sites  map[string]*site
}

// site is what a host says.
type site struct {
	robots, ai []robotRule
	tdm        []robotRule
	whole      string // a signal for all of it, "" for none
}

// robotRule allows or forbids the paths that a pattern matches.
type robotRule struct {
	pattern, said string
	allow         bool
}

// NewAddresses reads lists and snapshots. What a site says counts whenever the text was fetched: snapshots block
// retroactively.
func NewAddresses(o AddressOptions) (pipeline.Stage, error) {
	if len(o.Agents) == 0 {
		o.Agents = TrainingAgents
	}
	s := &address{o: o, listed: map[string]string{}, sites: map[string]*site{}}
	for _, path := range o.Lists {
		if err := s.readList(path); err != nil {
			return nil, err
		}
	}
	if o.Signals == "" {
		return s, nil
	}
	hosts, err := os.ReadDir(o.Signals)
	if err != nil {
		return nil, fmt.Errorf("filter: %w", err)
	}
	for _, h := range hosts {
		if !h.IsDir() {
			continue
		}
		x, err := readSite(filepath.Join(o.Signals, h.Name()), o.Agents)
		if err != nil {
			return nil, err
		}
		s.sites[plainHost(h.Name())] = x
	}
	return s, nil
}

func plainHost(h string) string {
	return strings.TrimPrefix(strings.ToLower(strings.TrimSuffix(h, ".")), "www.")
}

// split cuts an address into host and path with its query; ok is false for what is none.
func split(address string) (host, path string, ok bool) {
	address = strings.TrimSpace(address)
	if !strings.Contains(address, "://") {
		address = "https://" + address
	}
	u, err := url.Parse(address)
	if err != nil || !strings.Contains(u.Hostname(), ".") {
		return "", "", false
	}
	path = u.EscapedPath()
	if path == "" {
		path = "/"
	}
	if u.RawQuery != "" {
		path += "?" + u.RawQuery
	}
	return plainHost(u.Hostname()), path, true
}

// readList reads a list; lines of a hosts file, "0.0.0.0 host", are read too.
func (s *address) readList(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("filter: %w", err)
	}
	defer f.Close()
	in := bufio.NewScanner(f)
	for n := 1; in.Scan(); n++ {
		line, _, _ := strings.Cut(in.Text(), "#")
		fields := strings.Fields(line)
		if len(fields) == 2 && (fields[0] == "0.0.0.0" || fields[0] == "127.0.0.1") {
			fields = fields[1:]
		}
		if len(fields) == 0 {
			continue
		}
		host, at, ok := split(fields[0])
		if !ok || len(fields) > 1 {
			return fmt.Errorf("filter: %s:%d: %q is no host or address\n        (one a line, for example example.org or example.org/forum)", path, n, in.Text())
		}
		s.listed[host+strings.TrimSuffix(at, "/")] = filepath.Base(path)
	}
	if err := in.Err(); err != nil {
		return fmt.Errorf("filter: %s: %w", path, err)
	}
	return nil
}

func (s *address) Name() string { return "address" }

// Judge looks the document's address up.
func (s *address) Judge(d *corpus.Document) pipeline.Verdict {
	host, path, ok := split(d.URI)
	if d.URI == "" || !ok {
		return pipeline.Keep
	}
	if entry, list := s.find(host, path); list != "" {
		return s.verdict(BlockedAddress, fmt.Sprintf("%s stands on the list %s", entry, list))
	}
	for h := host; strings.Contains(h, "."); _, h, _ = strings.Cut(h, ".") {
		if x := s.sites[h]; x != nil {
			if said := x.reserved(path); said != "" {
				return s.verdict(MiningReserved, fmt.Sprintf("%s says %s", h, said))
			}
			break // the nearest host speaks
		}
	}
	return pipeline.Keep
}

func (s *address) verdict(reason, detail string) pipeline.Verdict {
	if s.o.Mark {
		return pipeline.Mark(reason, detail)
	}
	return pipeline.Drop(reason, detail)
}

// find looks for the address, what stands above it, its host and the domains above.
func (s *address) find(host, path string) (entry, list string) {
	for at := path; ; {
		at = strings.TrimSuffix(at, "/")
		if list := s.listed[host+at]; list != "" {
			return host + at, list
		}
		i := strings.LastIndexAny(at, "/?")
		if i < 0 {
			break
		}
		at = at[:i]
	}
	for h := host; strings.Contains(h, "."); _, h, _ = strings.Cut(h, ".") {
		if list := s.listed[h]; list != "" {
			return h, list
		}
	}
	return "", ""
}

// reserved says by what a path is reserved, "" when it is not.
func (x *site) reserved(path string) string {
	if x.whole != "" {
		return x.whole
	}
	for _, rules := range [][]robotRule{x.robots, x.ai, x.tdm} {
		best := robotRule{allow: true}
		for _, r := range rules { // the longest pattern counts, of equal ones the one that allows (RFC 9309)
			if matches(r.pattern, path) && (len(r.pattern) > len(best.pattern) || len(r.pattern) == len(best.pattern) && r.allow) {
				best = r
			}
		}
		if !best.allow {
			return best.said
		}
	}
	return ""
}

// matches compares a path with a pattern of robots.txt: * stands for anything, $ for the end.
func matches(pattern, path string) bool {
	end := strings.HasSuffix(pattern, "$")
	parts := strings.Split(strings.TrimSuffix(pattern, "$"), "*")
	if !strings.HasPrefix(path, parts[0]) {
		return false
	}
	rest := path[len(parts[0]):]
	for i, p := range parts[1:] {
		if end && i == len(parts)-2 {
			return strings.HasSuffix(rest, p)
		}
		at := strings.Index(rest, p)
		if at < 0 {
			return false
		}
		rest = rest[at+len(p):]
	}
	return !end || rest == ""
}

// readSite reads a host's snapshots.
func readSite(dir string, agents []string) (*site, error) {
	x := &site{}
	read := func(name string, f func(data string) error) error {
		data, err := os.ReadFile(filepath.Join(dir, name))
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("filter: %w", err)
		}
		if err := f(string(data)); err != nil {
			return fmt.Errorf("filter: %s: %w", filepath.Join(dir, name), err)
		}
		return nil
	}
	return x, errors.Join(
		read("robots.txt", func(s string) error { x.robots = x.rules("robots.txt", s, agents); return nil }),
		read("ai.txt", func(s string) error { x.ai = x.rules("ai.txt", s, append([]string{"*"}, agents...)); return nil }),
		read("tdmrep.json", x.readTDM),
		read("headers.txt", func(s string) error {
			for line := range strings.Lines(s) {
				x.header(line)
			}
			return nil
		}),
	)
}

// rules are those of the groups for the agents. A group is a run of user-agent lines and what follows.
func (x *site) rules(file, text string, agents []string) []robotRule {
	var out []robotRule
	agent, inRules := "", true
	for line := range strings.Lines(text) {
		line, _, _ = strings.Cut(line, "#")
		key, value, ok := strings.Cut(line, ":")
		if !ok {
			continue
		}
		value = strings.TrimSpace(value)
		switch key = strings.ToLower(strings.TrimSpace(key)); key {
		case "user-agent":
			if inRules {
				agent, inRules = "", false
			}
			if slices.ContainsFunc(agents, func(a string) bool { return strings.EqualFold(a, value) }) {
				agent = value
			}
		case "allow", "disallow":
			inRules = true
			if agent != "" && value != "" {
				if value[0] != '/' && value[0] != '*' {
					value = "/" + value
				}
				out = append(out, robotRule{value, fmt.Sprintf("%s: %s for %s in %s", key, value, agent, file), key == "allow"})
			}
		default:
			inRules = true
			x.header(line)
		}
	}
	return out
}

// header notes a line that reserves the whole site: TDMRep, Content-Signal, IETF aipref's Content-Usage, noai.
func (x *site) header(line string) {
	key, value, _ := strings.Cut(line, ":")
	value = strings.ReplaceAll(strings.ToLower(strings.TrimSpace(value)), " ", "")
	has := func(words ...string) bool {
		return slices.ContainsFunc(strings.FieldsFunc(value, func(r rune) bool { return r == ',' || r == ';' }), func(w string) bool { return slices.Contains(words, w) })
	}
	reserved := false
	switch strings.ToLower(strings.TrimSpace(key)) {
	case "tdm-reservation":
		reserved = value == "1"
	case "content-signal":
		reserved = has("ai-train=no")
	case "content-usage":
		reserved = has("train-ai=n")
	case "x-robots-tag":
		reserved = has("noai")
	}
	if reserved && x.whole == "" {
		x.whole = strings.TrimSpace(line)
	}
}

// readTDM reads tdmrep.json.
func (x *site) readTDM(text string) error {
	var all []struct {
		Location    string `json:"location"`
		Reservation any    `json:"tdm-reservation"`
	}
	if err := json.Unmarshal([]byte(text), &all); err != nil {
		return fmt.Errorf("%w\n        (a list of objects with location and tdm-reservation)", err)
	}
	for _, r := range all {
		n, err := strconv.ParseFloat(fmt.Sprint(r.Reservation), 64)
		if err != nil || n != 0 && n != 1 || r.Location == "" {
			return fmt.Errorf("location %q has tdm-reservation %v (0 or 1)", r.Location, r.Reservation)
		}
		x.tdm = append(x.tdm, robotRule{r.Location, "tdm-reservation: 1 at " + r.Location + " in tdmrep.json", n == 0})
	}
	return nil
}
