package cli

import (
	"cmp"
	"errors"
	"fmt"
	"os"

	"ravn/rights/removal"
	"ravn/workflow"
)

// errPresent is the answer of a check that found what should be absent: exit code 3.
var errPresent = errors.New("documents that have to go are there, or were read")

// CorpusRemoveCmd adds a request.
type CorpusRemoveCmd struct {
	List     string   `arg:"" help:"List of removals; made when it is not there. Recipes name it as removals."`
	Request  string   `required:"" help:"The request's id in your own files."`
	Kind     string   `required:"" help:"copyright, erasure, objection, agreement-ended or finding."`
	By       string   `required:"" help:"Who enters it."`
	Reason   string   `required:"" help:"Why, in a few words without personal data."`
	Received string   `help:"Day on which it came, YYYY-MM-DD; default today."`
	Document []string `sep:"none" help:"Documents, SECTION/ID."`
	Source   []string `help:"Whole sections."`
	Address  []string `name:"url" sep:"none" help:"Addresses, hosts, or hosts with the beginning of a path; kept as hashes."`
	Author   []string `sep:"none" help:"Authors; kept as hashes."`
	Text     []string `type:"existingfile" help:"Files whose text has to go, under any id; kept as hashes."`
	Runs     []string `name:"run" type:"existingdir" help:"Runs to report on. Texts of named documents are taken from them, so that copies under other ids go too."`
	Cluster  bool     `help:"With --document and --run: also the near copies that the run's deduplication found."`
	JSON     bool     `name:"json" help:"Print the reports as JSON."`
}

// Help is shown under --help.
func (c *CorpusRemoveCmd) Help() string {
	return `The list only grows and holds ids and hashes. It works from the next ravn run on: documents on it are removed when they are read, and never reach the shards.

Examples:
  ravn corpus remove removals.jsonl --request 2026-7 --kind erasure --by anna --reason "letter of 20 November" --document da-natur/da-natur_ugler --run runs/quickstart
  ravn corpus remove removals.jsonl --request 2026-8 --kind copyright --by anna --reason "opted out" --url example.org/blog`
}

// Run adds and reports.
func (c *CorpusRemoveCmd) Run(s *Streams) error {
	if c.Cluster && (len(c.Runs) == 0 || len(c.Document) == 0) {
		return usageError{errors.New("corpus remove: --cluster needs --document and --run, whose deduplication found the copies")}
	}
	entries, err := c.entries()
	if err != nil {
		return err
	}
	if len(entries) == 0 {
		return usageError{errors.New("corpus remove: say what: --document, --source, --url, --author or --text")}
	}
	list, err := removal.Open(c.List)
	if err != nil {
		return err
	}
	n, err := list.Add(entries...)
	if err != nil {
		return usageError{err}
	}
	var reports []*workflow.RemovalReport
	for _, dir := range c.Runs {
		r, err := workflow.CheckRemovals(dir, c.List)
		if err != nil {
			return err
		}
		reports = append(reports, r)
	}
	if c.JSON {
		return s.JSON(reports)
	}
	fmt.Fprintf(s.Out, "%d new entries on %s, %d in all\n", n, c.List, len(list.Entries))
	for _, r := range reports {
		fmt.Fprintln(s.Out)
		r.Write(s.Out)
	}
	return nil
}

// entries turns what was named into lines.
func (c *CorpusRemoveCmd) entries() ([]removal.Entry, error) {
	var out []removal.Entry
	add := func(selector, value string) { out = append(out, removal.Entry{Selector: selector, Value: value}) }
	for _, d := range c.Document {
		add(removal.ByID, d)
	}
	for _, x := range c.Source {
		add(removal.BySource, x)
	}
	for _, x := range c.Address {
		h, err := removal.URLHash(x)
		if err != nil {
			return nil, usageError{err}
		}
		add(removal.ByURL, h)
	}
	for _, x := range c.Author {
		add(removal.ByAuthor, removal.AuthorHash(x))
	}
	for _, path := range c.Text {
		text, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		add(removal.ByText, removal.TextHash(string(text)))
	}
	if len(c.Document) > 0 {
		for _, dir := range c.Runs {
			copies, err := workflow.Copies(dir, c.Document, c.Cluster)
			if err != nil {
				return nil, err
			}
			out = append(out, copies...)
		}
	}
	for i := range out {
		e := &out[i]
		e.Request, e.Kind, e.By, e.Reason, e.Received = c.Request, c.Kind, c.By, c.Reason, cmp.Or(c.Received, today())
	}
	return out, nil
}

// CorpusCheckCmd proves absence.
type CorpusCheckCmd struct {
	Dir  string `arg:"" name:"run" type:"existingdir" help:"Run folder."`
	List string `help:"List of removals; default the run's own."`
	JSON bool   `name:"json" help:"As JSON."`
}

// Help is shown under --help.
func (c *CorpusCheckCmd) Help() string {
	return `Reads every text kept, held out and removed, the shards' documents, and what the phases read up to their newest checkpoint. Exits with 3 when something on the list is there or was read.

Example:
  ravn corpus check runs/quickstart --list removals.jsonl`
}

// Run checks.
func (c *CorpusCheckCmd) Run(s *Streams) error {
	r, err := workflow.CheckRemovals(c.Dir, c.List)
	if err != nil {
		return err
	}
	if c.JSON {
		if err := s.JSON(r); err != nil {
			return err
		}
	} else {
		r.Write(s.Out)
	}
	if !r.Clean {
		return errPresent
	}
	return nil
}
