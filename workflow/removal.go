package workflow

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strings"

	"ravn/corpus"
	"ravn/internal/atomicfile"
	"ravn/pipeline"
	"ravn/recipe"
	"ravn/release"
	"ravn/rights/removal"
	"ravn/run"
	"ravn/shard"
)

// removals opens the recipe's list, or nil when it names none. A run folder holds a copy, which counts where the recipe's
// own path leads nowhere.
func (f *Flow) removals() (*removal.List, error) {
	if f.Rights.Removals != "" {
		return removal.Open(f.Rights.Removals)
	}
	if f.Recipe.Removals == "" {
		return nil, nil
	}
	path, err := f.Recipe.Path(f.Recipe.Removals)
	if f.Folder != nil && (err != nil || !exists(path)) {
		path, err = f.Folder.Path("removals.jsonl"), nil
	}
	if err != nil {
		return nil, err
	}
	return removal.Open(path)
}

// keepRemovals copies the list into the run folder.
func (f *Flow) keepRemovals() error {
	list, err := f.removals()
	if err != nil || list == nil || len(list.Entries) == 0 || list.Path == f.Folder.Path("removals.jsonl") {
		return err
	}
	data, err := os.ReadFile(list.Path)
	if err != nil {
		return fmt.Errorf("workflow: %w", err)
	}
	return atomicfile.WriteFile(f.Folder.Path("removals.jsonl"), data)
}

func subject(section string, d *corpus.Document) removal.Subject {
	return removal.Subject{Section: section, ID: d.ID, URI: d.URI, Author: d.Author, Text: d.Text}
}

// stillThere is the error of a document that has to go and is about to be used.
func stillThere(list *removal.List, section string, d *corpus.Document) error {
	if e := list.Match(subject(section, d)); e != nil {
		return fmt.Errorf("workflow: %s/%s falls under removal request %s and is still in the corpus\n\t(build the corpus again with the list)", section, d.ID, e.Request)
	}
	return nil
}

// removalStage removes what the list names, before anything else looks at it.
type removalStage struct{ list *removal.List }

func (removalStage) Name() string { return "removal" }

// removedReason is the reason in the ledger.
const removedReason = "removed_on_request"

func (s removalStage) Judge(d *corpus.Document) pipeline.Verdict {
	e := s.list.Match(subject(d.Section, d))
	if e == nil {
		return pipeline.Keep
	}
	return pipeline.Drop(removedReason, fmt.Sprintf("request %s (%s, received %s), by %s", e.Request, e.Kind, e.Received, e.Selector))
}

// RemovalReport says what a run holds of the documents on a list, and what saw them.
type RemovalReport struct {
	Run      string          `json:"run"`
	List     string          `json:"list"` // hash of the list
	Entries  int             `json:"entries"`
	Requests []RequestReport `json:"requests"`
	Clean    bool            `json:"clean"` // no document that has to go is in the corpus or the shards, nor was one read
	// The shards are of the corpus that was looked through: its files have the hashes that the shards were made from.
	ShardsMatch bool `json:"shards_match"`
}

// RequestReport is about one request.
type RequestReport struct {
	Request   string              `json:"request"`
	Kind      string              `json:"kind"`
	Received  string              `json:"received"`
	Removed   int                 `json:"removed"` // documents that the corpus stage removed for it
	Otherwise int                 `json:"removed_otherwise"`
	Kept      int                 `json:"kept"`    // still in the training text
	Heldout   int                 `json:"heldout"` // still in the text held out
	Shards    int                 `json:"shards"`  // in the shards
	Phases    map[string]*Reading `json:"phases,omitempty"`
	Release   bool                `json:"release"` // the run's release folder holds a model that saw it
	Documents []string            `json:"documents,omitempty"`
}

// Reading is what a training phase read of a request's documents.
type Reading struct {
	Tokens int64   `json:"tokens"`
	Share  float64 `json:"share"` // of the phase's tokens
	First  int     `json:"first_step"`
	Last   int     `json:"last_step"`
	Seen   []int   `json:"checkpoints_that_saw_it"`
	Clean  []int   `json:"checkpoints_before"`
}

// CheckRemovals looks for the documents of a list in a run: in the texts kept, held out and removed, in the shards, and
// in what the phases read. listPath "" is the run's own list.
func CheckRemovals(dir, listPath string) (*RemovalReport, error) {
	folder, err := run.Open(dir)
	if err != nil {
		return nil, err
	}
	r, err := recipe.Load(folder.RecipeFile())
	if err != nil {
		return nil, err
	}
	f := &Flow{Recipe: r, Folder: folder}
	list, err := f.removals()
	if listPath != "" {
		list, err = removal.Open(listPath)
	}
	if err != nil {
		return nil, err
	}
	if list == nil {
		return nil, fmt.Errorf("workflow: the recipe of %s names no list of removals (name one)", dir)
	}
	report := &RemovalReport{Run: r.Name, List: list.Hash(), Entries: len(list.Entries), Clean: true}
	byRequest := map[string]*RequestReport{}
	for _, e := range list.Entries {
		if byRequest[e.Request] == nil {
			byRequest[e.Request] = &RequestReport{Request: e.Request, Kind: e.Kind, Received: e.Received, Phases: map[string]*Reading{}}
		}
	}
	named := map[string]string{} // section/id → request
	err = f.allDocuments(func(part, section string, d *corpus.Document) error {
		e := list.Match(subject(section, d))
		if e == nil {
			return nil
		}
		q := byRequest[e.Request]
		switch reason := d.Meta["removed_reason"]; {
		case part == "sections":
			q.Kept++
		case part == "heldout":
			q.Heldout++
		case reason == removedReason:
			q.Removed++
		default:
			q.Otherwise++
		}
		named[section+"/"+d.ID] = e.Request
		if len(q.Documents) < 20 {
			q.Documents = append(q.Documents, section+"/"+d.ID)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if exists(filepath.Join(folder.ShardsDir(), "shards.json")) {
		if err := f.readOfRemoved(list, named, byRequest, report); err != nil {
			return nil, err
		}
	}
	released := exists(filepath.Join(folder.ReleaseDir(), "DATA.json"))
	for _, id := range sortedKeys(byRequest) {
		q := byRequest[id]
		q.Release = released && len(q.Phases) > 0
		if q.Kept+q.Heldout+q.Shards > 0 || len(q.Phases) > 0 {
			report.Clean = false
		}
		report.Requests = append(report.Requests, *q)
	}
	return report, nil
}

// allDocuments visits every document of the corpus stage's output.
func (f *Flow) allDocuments(visit func(part, section string, d *corpus.Document) error) error {
	for _, part := range []string{"sections", "heldout", "removed"} {
		files, err := filepath.Glob(filepath.Join(f.Folder.CorpusDir(), part, "*.jsonl.zst"))
		if err != nil {
			return fmt.Errorf("workflow: %w", err)
		}
		sort.Strings(files)
		for _, path := range files {
			section := strings.TrimSuffix(filepath.Base(path), ".jsonl.zst")
			c, err := corpus.Open(path, corpus.OpenOptions{Format: "jsonl", Section: section})
			if err != nil {
				return err
			}
			for d, err := range c.Sections[0].Documents() {
				if err != nil {
					return err
				}
				if err := visit(part, section, d); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// readOfRemoved looks through the shards' documents and what each phase read of them.
func (f *Flow) readOfRemoved(list *removal.List, named map[string]string, byRequest map[string]*RequestReport, report *RemovalReport) error {
	info, err := shard.ReadInfo(f.Folder.ShardsDir())
	if err != nil {
		return err
	}
	report.ShardsMatch = true
	for _, s := range info.Sections {
		h, err := run.HashFile(filepath.Join(f.Folder.CorpusDir(), "sections", s.Name+".jsonl.zst"))
		report.ShardsMatch = report.ShardsMatch && err == nil && h == s.Source
	}
	phases := []string{continuedPhase}
	if f.Recipe.Base.Phase != nil && f.Recipe.Base.Model == "" {
		phases = append(phases, basePhase)
	}
	for i, phase := range phases {
		tr, err := OpenTrace(f.Folder.Dir, phase)
		if err != nil {
			return err
		}
		err = tr.readOfRemoved(list, named, byRequest, i == 0)
		tr.Close()
		if err != nil {
			return err
		}
	}
	return nil
}

func (t *Trace) readOfRemoved(list *removal.List, named map[string]string, byRequest map[string]*RequestReport, count bool) error {
	request := map[int]*RequestReport{}
	for row := range t.names.Len() {
		section, id := t.names.Section(row), t.names.ID(row)
		of := named[section+"/"+id]
		if e := list.Match(removal.Subject{Section: section, ID: id}); of == "" && e != nil {
			of = e.Request
		}
		if of == "" {
			continue
		}
		request[row] = byRequest[of]
		if count {
			byRequest[of].Shards++
		}
	}
	if len(request) == 0 {
		return nil
	}
	total := int64(0)
	trained, err := t.lastStep()
	if err != nil {
		return err
	}
	err = t.order.Walk(1, trained, func(step, document, n int) {
		total += int64(n)
		q := request[document]
		if q == nil {
			return
		}
		r := q.Phases[t.phase]
		if r == nil {
			r = &Reading{First: step}
			q.Phases[t.phase] = r
		}
		r.Tokens += int64(n)
		r.Last = step
	})
	if err != nil {
		return err
	}
	for _, q := range byRequest {
		if r := q.Phases[t.phase]; r != nil {
			r.Share = float64(r.Tokens) / float64(total)
			if r.Seen, r.Clean, err = t.checkpoints(r.First); err != nil {
				return err
			}
		}
	}
	return nil
}

// lastStep is how far the phase has been trained: its newest checkpoint's step, or 0.
func (t *Trace) lastStep() (int, error) {
	_, all, err := t.checkpoints(0)
	if err != nil || len(all) == 0 {
		return 0, err
	}
	return min(slices.Max(all), t.steps), nil
}

// Copies are the ids and texts that a run knows of documents named by SECTION/ID, and with cluster of all near copies
// that its deduplication found: what has to be on the list so that they stay away.
func Copies(dir string, documents []string, cluster bool) ([]removal.Entry, error) {
	folder, err := run.Open(dir)
	if err != nil {
		return nil, err
	}
	f := &Flow{Folder: folder}
	rows, err := pipeline.ReadLedger(filepath.Join(folder.CorpusDir(), "documents.parquet"))
	if err != nil {
		return nil, err
	}
	wanted, clusters := map[string]bool{}, map[int64]bool{}
	for _, r := range rows {
		key := r.Section + "/" + r.ID
		if !slices.Contains(documents, key) {
			continue
		}
		wanted[key] = false // named, not a copy
		if cluster && r.Cluster >= 0 {
			clusters[r.Cluster] = true
		}
	}
	for _, d := range documents {
		if _, ok := wanted[d]; !ok {
			return nil, fmt.Errorf("workflow: no document %s in %s (ids are those of corpus/documents.parquet)", d, dir)
		}
	}
	for _, r := range rows {
		key := r.Section + "/" + r.ID
		if _, ok := wanted[key]; !ok && r.Cluster >= 0 && clusters[r.Cluster] {
			wanted[key] = true
		}
	}
	var out []removal.Entry
	err = f.allDocuments(func(_, section string, d *corpus.Document) error {
		key := section + "/" + d.ID
		if copied, ok := wanted[key]; ok {
			out = append(out, removal.Entry{Selector: removal.ByID, Value: key, Cluster: copied}, removal.Entry{Selector: removal.ByText, Value: removal.TextHash(d.Text), Cluster: copied})
		}
		return nil
	})
	return out, err
}

// Write prints the report for people.
func (r *RemovalReport) Write(w io.Writer) {
	fmt.Fprintf(w, "%s against a list of %d entries, %.12s\n", r.Run, r.Entries, r.List)
	for _, q := range r.Requests {
		fmt.Fprintf(w, "\nrequest %s (%s, received %s): %d removed for it, %d removed otherwise, %d kept, %d held out, %d in the shards\n", q.Request, q.Kind, q.Received, q.Removed, q.Otherwise, q.Kept, q.Heldout, q.Shards)
		for _, phase := range sortedKeys(q.Phases) {
			p := q.Phases[phase]
			fmt.Fprintf(w, "  phase %s read %d tokens of it, %.4f %% of its tokens, first at step %d, last at step %d\n", phase, p.Tokens, 100*p.Share, p.First, p.Last)
			writeCheckpoints(w, p.Seen, p.Clean)
		}
		if q.Release {
			fmt.Fprintln(w, "  the release in this folder saw it: say so in the card, make the next version without it, or go back to a checkpoint that did not see it")
		}
		if len(q.Documents) > 0 {
			fmt.Fprintf(w, "  documents: %s\n", strings.Join(q.Documents, ", "))
		}
	}
	switch {
	case r.Clean && r.ShardsMatch:
		fmt.Fprintln(w, "\nnothing of it is in the corpus or the shards, and nothing of it was read; the shards are of this corpus")
	case r.Clean:
		fmt.Fprintln(w, "\nnothing of it is in the corpus; there are no shards of this corpus yet")
	default:
		fmt.Fprintln(w, "\nNOT ABSENT")
	}
}

// refuseRemoved is the refusal of a release whose model read what has to go, or nil.
func (f *Flow) refuseRemoved() error {
	list, err := f.removals()
	if err != nil || list == nil || len(list.Entries) == 0 {
		return err
	}
	report, err := CheckRemovals(f.Folder.Dir, list.Path)
	if err != nil {
		return err
	}
	refused := &release.Refused{}
	for _, q := range report.Requests {
		if len(q.Phases) == 0 { // the model has not read it
			continue
		}
		line := fmt.Sprintf("request %s (%s): %d documents in the shards", q.Request, q.Kind, q.Shards)
		for _, phase := range sortedKeys(q.Phases) {
			line += fmt.Sprintf("; phase %s read %d tokens, first at step %d", phase, q.Phases[phase].Tokens, q.Phases[phase].First)
		}
		refused.Removed = append(refused.Removed, line+": "+strings.Join(q.Documents[:min(3, len(q.Documents))], ", "))
	}
	if len(refused.Removed) == 0 {
		return nil
	}
	return refused
}
