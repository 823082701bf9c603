package workflow

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sort"
	"strings"

	"ravn/eval"
	"ravn/eval/task"
	"ravn/internal/atomicfile"
	"ravn/internal/progress"
	"ravn/leaderboard"
	"ravn/model"
	"ravn/pipeline"
	"ravn/recipe"
	"ravn/release"
	"ravn/rights"
	"ravn/run"
	"ravn/shard"
	"ravn/stats"
	"ravn/train"
)

// IsRefusal tells whether an error is the gate's no.
func IsRefusal(err error) bool {
	var r *release.Refused
	return errors.As(err, &r)
}

// IsRun tells whether a folder is a run folder.
func IsRun(dir string) bool {
	_, err := os.Stat(filepath.Join(dir, "manifest.json"))
	return err == nil
}

// ReleaseDir is where a run's release goes.
func ReleaseDir(dir string) string { return filepath.Join(dir, "release") }

// HasCheckpoint tells whether the continued training, or the base's, can be gone on with.
func (f *Flow) HasCheckpoint() bool {
	for _, root := range []string{train.Root(f.Folder.Dir), train.Root(f.Folder.Path("base"))} {
		if entries, err := os.ReadDir(root); err == nil {
			for _, e := range entries {
				if strings.HasPrefix(e.Name(), "step-") {
					return true
				}
			}
		}
	}
	return false
}

// leaderboard makes the table of the run's records, with the announcement's rows below it.
func (f *Flow) leaderboard(context.Context) error {
	return f.once("leaderboard", f.Folder.Outputs("eval"), []string{"leaderboard.md", "leaderboard.json"}, func(*run.StageRun) (string, error) {
		records, err := eval.ReadRecords(f.Folder.RecordsFile())
		if err != nil {
			return "", err
		}
		t, err := leaderboard.Build(records, leaderboard.Options{Published: leaderboard.Announcement()})
		if err != nil {
			return "", err
		}
		text, err := t.JSON()
		if err != nil {
			return "", err
		}
		if err := atomicfile.WriteFile(f.Folder.Path("leaderboard.json"), text); err != nil {
			return "", err
		}
		return fmt.Sprintf("%d models", len(t.Rows)), atomicfile.WriteFile(f.Folder.Path("leaderboard.md"), []byte(t.Markdown()))
	})
}

// release asks the gate and, when it says yes, writes the folder that may be published.
func (f *Flow) release(ctx context.Context) error {
	in, err := hashed("recipe", []any{f.Recipe.Release, f.Recipe.Name, f.Recipe.Note, f.Recipe.Base.License})
	if err != nil {
		return err
	}
	said, err := f.rightsInput()
	if err != nil {
		return err
	}
	if list, err := f.removals(); err != nil {
		return err
	} else if list != nil && len(list.Entries) > 0 {
		in["removals"] = list.Hash()
	}
	in = inputs(in, said, f.Folder.Outputs("train"), f.Folder.Outputs("eval"), f.Folder.Outputs("shards"))
	return f.once("release", in, []string{"release"}, func(*run.StageRun) (string, error) {
		if err := f.keepRegister(); err != nil {
			return "", err
		}
		o, err := f.releaseOptions()
		if err != nil {
			return "", err
		}
		r, err := release.Build(ctx, *o)
		if err != nil {
			return "", err
		}
		return "licence " + r.License, nil
	})
}

// Release builds the release of a finished run in dir; out "" is its folder release. It is judged as o says: by the
// register that the run folder holds, unless another is named.
func Release(ctx context.Context, dir, out string, ro RightsOptions) (*release.Folder, error) {
	if err := ro.Validate(); err != nil {
		return nil, err
	}
	folder, err := run.Open(dir)
	if err != nil {
		return nil, err
	}
	r, err := recipe.Load(folder.RecipeFile())
	if err != nil {
		return nil, err
	}
	f := &Flow{Recipe: r, Folder: folder, Options: Options{Rights: ro}}
	o, err := f.releaseOptions()
	if err != nil {
		return nil, err
	}
	if out != "" {
		o.Out = out
	}
	return release.Build(ctx, *o)
}

func (f *Flow) releaseOptions() (*release.Options, error) {
	if err := f.refuseRemoved(); err != nil {
		return nil, err
	}
	uses, languages, err := f.uses()
	if err != nil {
		return nil, err
	}
	base, err := ReadBase(f.Folder)
	if err != nil {
		return nil, err
	}
	results, small, err := f.results()
	if err != nil {
		return nil, err
	}
	sum, err := pipeline.ReadSummary(filepath.Join(f.Folder.CorpusDir(), "summary.json"))
	if err != nil {
		return nil, err
	}
	result, err := f.resultDir()
	if err != nil {
		return nil, err
	}
	o := &release.Options{
		Checkpoint: result, Out: f.Folder.ReleaseDir(), Name: f.Recipe.Release.ModelName, Note: f.Recipe.Note, Version: run.Version(),
		Small: small, Uses: uses, Policy: f.policy(), Languages: languages, Results: results,
		Base: release.Base{Name: base.Name, License: base.License, Hash: base.Hash, Here: base.Steps > 0},
	}
	o.Provider, o.URL = release.Provider{Name: f.Recipe.Release.Provider, Contact: f.Recipe.Release.Contact}, f.Recipe.Release.URL
	for _, d := range f.Recipe.Release.GGUF {
		o.GGUF = append(o.GGUF, model.DType(strings.ToUpper(d)))
	}
	o.Removed = map[string]int64{}
	for reason, n := range sum.Total.Reasons {
		o.Removed[reason] = n.Documents
	}
	if o.Sources, err = f.releaseSources(sum); err != nil {
		return nil, err
	}
	for _, b := range sum.Benchmarks {
		o.Contamination = append(o.Contamination, release.Contamination{Dataset: b.Name, Items: b.Checked, Hit: b.Hit, Action: b.Action})
	}
	if o.Guard, err = f.guardRecord(); err != nil {
		return nil, err
	}
	o.Training, err = f.trainingFacts()
	return o, err
}

func (f *Flow) trainingFacts() (release.Training, error) {
	outcome, err := train.ReadOutcome(f.Folder.Dir, f.Recipe.Train.Steps)
	if err != nil {
		return release.Training{}, err
	}
	data, err := os.ReadFile(filepath.Join(train.StepDir(f.Folder.Dir, outcome.Steps), "config.json"))
	if err != nil {
		return release.Training{}, fmt.Errorf("workflow: the training is not finished: %w", err)
	}
	cfg, err := model.ParseConfig(data)
	if err != nil {
		return release.Training{}, err
	}
	p, t := f.Recipe.Train, f.Recipe.Data.SeqTokens
	hash, err := recipe.Hash(f.Recipe)
	if err != nil {
		return release.Training{}, err
	}
	facts := release.Training{
		Parameters: int64(cfg.NumParams()), Steps: outcome.Steps, Tokens: int64(outcome.Steps * p.RowsPerStep * t), SeqTokens: t, BatchTokens: p.RowsPerStep * t,
		Schedule: fmt.Sprintf("%s, %d steps of warm-up, floor %g of the peak", p.Schedule.Kind, p.Schedule.WarmupSteps, p.Schedule.FloorShare),
		PeakLR:   p.Schedule.PeakLR, Seed: f.Recipe.Seed, RecipeHash: hash,
	}
	m := f.Folder.Manifest()
	facts.Hardware = fmt.Sprintf("%s, %d cores", m.Machine.CPU, m.Machine.Cores)
	if s := m.Stage("train"); s != nil && s.Done() {
		facts.Hours = s.Seconds / 3600
		watts := wattsPerCore * float64(m.Machine.Cores)
		facts.KWh = facts.Hours * watts / 1000
		facts.EnergyHow = fmt.Sprintf("hours of the continued training at an assumed %.0f W (%.0f W a core), not metered", watts, wattsPerCore)
	}
	return facts, nil
}

// uses are the licences of all text that a step of this run has read, the base's training here included, with the
// languages by their tokens.
func (f *Flow) uses() ([]rights.Use, []string, error) {
	set, err := shard.Open(f.Folder.ShardsDir())
	if err != nil {
		return nil, nil, err
	}
	defer set.Close()
	rows, err := set.Documents()
	if err != nil {
		return nil, nil, err
	}
	seen := make([]int64, len(rows))
	outcome, err := train.ReadOutcome(f.Folder.Dir, f.Recipe.Train.Steps)
	if err != nil {
		return nil, nil, err
	}
	steps := map[string]int{continuedPhase: outcome.Steps}
	if base := f.Recipe.Base.Phase; base != nil {
		steps[basePhase] = base.Steps
	}
	for phase, n := range steps {
		order, err := f.order(set, phase)
		if err != nil {
			return nil, nil, err
		}
		tokens, err := order.Seen(1, n)
		if err != nil {
			return nil, nil, err
		}
		for i, n := range tokens {
			seen[i] += n
		}
	}
	claims, err := f.claims()
	if err != nil {
		return nil, nil, err
	}
	uses, language := map[string]*rights.Use{}, map[string]int64{}
	for i, d := range rows {
		if seen[i] > 0 {
			addUse(uses, d.Section, d.License, claims[d.Section+"/"+d.ID], d.TextBytes, seen[i], d.ID)
			language[d.Language] += seen[i]
		}
	}
	all, err := f.ruled(flattenUses(uses))
	if err != nil {
		return nil, nil, err
	}
	if f.Recipe.Base.Model != "" {
		all = append(all, rights.Use{Section: "base model " + f.Recipe.Base.Name, License: f.Recipe.Base.License, Base: true})
	}
	languages := sortedKeys(language)
	sort.SliceStable(languages, func(i, k int) bool { return language[languages[i]] > language[languages[k]] })
	return all, languages, nil
}

// claims are the licence statements on each kept document, by SECTION/ID.
func (f *Flow) claims() (map[string][]string, error) {
	rows, err := pipeline.ReadLedger(filepath.Join(f.Folder.CorpusDir(), "documents.parquet"))
	if err != nil {
		return nil, err
	}
	claims := map[string][]string{}
	for _, r := range rows {
		if r.Verdict == pipeline.VerdictKeep {
			claims[r.Section+"/"+r.ID] = r.Claims
		}
	}
	return claims, nil
}

// addUse counts a document. Documents of one section with the same licence and the same claims are one use.
func addUse(uses map[string]*rights.Use, section, license string, claims []string, bytes, tokens int64, id string) {
	key := strings.Join(append([]string{section, license}, claims...), "\x00")
	u := uses[key]
	if u == nil {
		u = &rights.Use{Section: section, License: license, Claims: claims}
		uses[key] = u
	}
	u.Documents++
	u.Bytes += bytes
	u.Tokens += tokens
	if len(u.Examples) < 5 {
		u.Examples = append(u.Examples, id)
	}
}

func flattenUses(uses map[string]*rights.Use) []rights.Use {
	var all []rights.Use
	for _, key := range sortedKeys(uses) {
		all = append(all, *uses[key])
	}
	return all
}

var languageNames = map[string]string{"da": "Danish", "nb": "Norwegian Bokmål", "nn": "Norwegian Nynorsk", "sv": "Swedish", "en": "English", "fo": "Faroese", "is": "Icelandic", "de": "German"}

// languageName is the English name of a language code, or the code.
func languageName(code string) string {
	if n := languageNames[code]; n != "" {
		return n
	}
	return code
}

// results are the measurements for the card: each data set by its first metric, held-out text by language.
func (f *Flow) results() (out []release.Result, small bool, err error) {
	cs, err := ReadComparisons(f.Folder)
	if err != nil {
		return nil, false, err
	}
	records, err := f.recordsByRole()
	if err != nil {
		return nil, false, err
	}
	for _, c := range mainComparisons(cs) {
		base, result := records[roleBase][c.Dataset], records[roleResult][c.Dataset]
		key := c.Metric
		if c.Group != "" {
			key += "/" + c.Group
		}
		language := strings.Join(c.Languages, ", ")
		r := release.Result{
			Label: c.Dataset, Dataset: c.Dataset, Task: c.Task, Language: language, Metric: c.Metric, LowerBetter: c.LowerBetter,
			Base: base.Ravn.Estimates[key], Result: result.Ravn.Estimates[key], Difference: c.Difference, Small: result.Ravn.Small,
		}
		if c.Task == task.BitsPerByte {
			r.Language = strings.TrimPrefix(c.Group, "language=")
			r.Label = languageName(r.Language) + " held-out text"
		}
		if c.Task == task.Acceptability || c.Task == task.Sentiment {
			chance := 0.0
			r.Chance = &chance
		}
		small = small || r.Small
		out = append(out, r)
	}
	return out, small, nil
}

// mainComparisons are those that a person should see first: held-out text by language, each data set by its first
// metric.
func mainComparisons(cs []task.Comparison) []task.Comparison {
	var out []task.Comparison
	first := map[string]bool{}
	for _, c := range cs {
		switch {
		case c.Task == task.BitsPerByte && strings.HasPrefix(c.Group, "language="):
			out = append(out, c)
		case c.Task != task.BitsPerByte && c.Group == "" && !first[c.Dataset]:
			first[c.Dataset] = true
			out = append(out, c)
		}
	}
	return out
}

func (f *Flow) recordsByRole() (map[string]map[string]eval.Record, error) {
	records, err := eval.ReadRecords(f.Folder.RecordsFile())
	if err != nil {
		return nil, err
	}
	base, err := ReadBase(f.Folder)
	if err != nil {
		return nil, err
	}
	out := map[string]map[string]eval.Record{roleBase: {}, roleResult: {}, roleDummy: {}}
	for _, r := range records {
		role := roleDummy
		switch r.Model {
		case base.Name:
			role = roleBase
		case f.Recipe.Release.ModelName:
			role = roleResult
		}
		out[role][r.Dataset] = r
	}
	return out, nil
}

// Refusal is the gate's no on a plan, or nil.
func (p *Plan) Refusal() error {
	if p.Rights == nil || p.Rights.Allowed {
		return nil
	}
	return &release.Refused{Decision: *p.Rights}
}

func writeDecision(w io.Writer, d rights.Decision) {
	if d.Allowed {
		fmt.Fprintf(w, "rights: may be released as %s (%s)\n", d.License, d.Why)
	} else {
		fmt.Fprintf(w, "rights: may not be released (%s)\n", d.Why)
	}
	for _, x := range d.Findings {
		fmt.Fprintf(w, "  %-9s %-20s %-34s %5.1f %%  %s", x.Verdict, x.Section, orUnknown(x.License), 100*x.Share, x.Reason)
		if x.Verdict != rights.Allowed && len(x.Examples) > 0 {
			fmt.Fprintf(w, " (%s)", strings.Join(x.Examples, ", "))
		}
		fmt.Fprintln(w)
	}
	for _, warning := range d.Warnings {
		fmt.Fprintf(w, "  note: %s\n", warning)
	}
}

func count(n int64) string { return progress.Count(n) }

// Outcome is what a person or program wants to know at the end of a run.
type Outcome struct {
	Name        string            `json:"name"`
	Dir         string            `json:"dir"`
	Corpus      pipeline.Count    `json:"kept"`
	Removed     map[string]int64  `json:"removed"` // documents by reason
	Comparisons []task.Comparison `json:"comparisons,omitempty"`
	Leaderboard string            `json:"leaderboard,omitempty"` // file
	Release     string            `json:"release,omitempty"`     // folder; "" when refused or not reached
	Report      string            `json:"report,omitempty"`      // file
	table       string
}

// Outcome collects it from the folder.
func (f *Flow) Outcome() (*Outcome, error) {
	o := &Outcome{Name: f.Recipe.Name, Dir: f.Folder.Dir, Removed: map[string]int64{}}
	sum, err := pipeline.ReadSummary(filepath.Join(f.Folder.CorpusDir(), "summary.json"))
	if err != nil {
		return nil, err
	}
	o.Corpus = sum.Total.Kept
	for reason, n := range sum.Total.Reasons {
		o.Removed[reason] = n.Documents
	}
	done := func(stage string) bool { return f.Folder.Outputs(stage) != nil }
	if done("leaderboard") {
		o.Leaderboard = f.Folder.Path("leaderboard.md")
		text, err := os.ReadFile(o.Leaderboard)
		if err != nil {
			return nil, fmt.Errorf("workflow: %w", err)
		}
		o.table = string(text)
		if o.Comparisons, err = ReadComparisons(f.Folder); err != nil {
			return nil, err
		}
	}
	if done("release") {
		o.Release = f.Folder.ReleaseDir()
	}
	if done("report") {
		o.Report = f.Folder.Path("report", "index.html")
	}
	return o, nil
}

// Write prints an outcome for people.
func (o *Outcome) Write(w io.Writer) {
	if o.table != "" {
		fmt.Fprintf(w, "\n%s\n", o.table)
	}
	if main := mainComparisons(o.Comparisons); len(main) > 0 {
		fmt.Fprintf(w, "result against base, paired on the same items (95 %% intervals; ~ is not told apart)\n")
		for _, c := range main {
			name := c.Dataset
			if c.Group != "" {
				name += " " + languageName(strings.TrimPrefix(c.Group, "language="))
			}
			fmt.Fprintf(w, "  %-28s %-10s %8.3f → %8.3f  %s  %s\n", name, c.Metric, c.Base, c.Result, difference(c.Difference), c.Verdict)
		}
	}
	if n := o.Removed["license_forbids"]; n > 0 {
		fmt.Fprintf(w, "\nrights: %d documents were left out because their licence does not allow a release; with them it would be refused (exit code 3)\n", n)
	}
	fmt.Fprintf(w, "\nrun folder   %s\n", o.Dir)
	for _, x := range []struct{ name, path string }{{"leaderboard", o.Leaderboard}, {"release", o.Release}, {"report", o.Report}} {
		if x.path != "" {
			fmt.Fprintf(w, "%-12s %s\n", x.name, x.path)
		}
	}
}

func difference(e stats.Estimate) string {
	return fmt.Sprintf("%+.3f [%+.3f, %+.3f] n=%d", e.Value, e.Low, e.High, e.N)
}
