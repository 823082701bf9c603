package workflow

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"ravn/adapter"
	"ravn/engine/cpu"
	"ravn/engine/xla"
	"ravn/model"
	"ravn/recipe"
	"ravn/rights"
	"ravn/rights/register"
	"ravn/tokenizer"
	"ravn/weights"
)

// Plan is what a recipe will cost and whether its result could be released, reckoned before anything starts.
type Plan struct {
	Name     string           `json:"name"`
	Params   int              `json:"parameters"`
	Config   *model.Config    `json:"-"`
	Phases   []PlannedPhase   `json:"phases"`
	Sources  []PlannedSource  `json:"sources"`
	Corpus   *PlannedCorpus   `json:"corpus,omitempty"`   // nil where the sources could not be read
	Mixture  []PlannedSection `json:"mixture,omitempty"`  // what each section's part of the training would be
	Rights   *rights.Decision `json:"rights,omitempty"`   // nil where the sources could not be read
	LeftOut  []rights.Finding `json:"left_out,omitempty"` // text that data.rights: drop removes, and why
	Warnings []string         `json:"warnings,omitempty"`
}

// PlannedPhase is the cost of one training phase.
type PlannedPhase struct {
	Name        string             `json:"name"`
	Tokens      int64              `json:"tokens"`            // rows × seq_tokens × steps
	FLOPs       float64            `json:"flops"`             // model.Config.TrainFLOPs a token
	Hours       map[string]float64 `json:"hours"`             // by sustained speed
	KWh         map[string]float64 `json:"kwh"`               // hours times the power assumed for that machine
	Precision   string             `json:"precision"`         // of matrix products
	Adapter     string             `json:"adapter,omitempty"` // what is put on the weights, which are trained themselves where it is ""
	Trained     int                `json:"trained"`           // parameters
	Groups      []OptimizerGroup   `json:"groups"`            // of the weights; what an adapter trains is not among them
	FirstSteps  int                `json:"first_steps,omitempty"`
	FirstGroups []OptimizerGroup   `json:"first_groups,omitempty"` // of the first steps, where those train less
	Memory      []model.MemoryPart `json:"memory"`
	MemoryBytes int64              `json:"memory_bytes"`
	Devices     []PlannedDevices   `json:"devices"`         // engine/xla on GPUs
	Tasks       []PlannedTask      `json:"tasks,omitempty"` // that the guard asks
}

// OptimizerGroup is the parameters that the optimizer treats alike: "decayed" by weight_decay, "not decayed", which norms
// are, or "frozen".
type OptimizerGroup struct {
	Name    string `json:"name"`
	Params  int    `json:"parameters"`
	Tensors int    `json:"tensors"`
}

// optimizerGroups sorts the parameters of c into the groups of a step, and counts those that are trained.
func optimizerGroups(c *model.Config, p recipe.Phase, step int) (groups []OptimizerGroup, trained int, err error) {
	frozen, err := p.FrozenAt(c, step)
	if err != nil {
		return nil, 0, err
	}
	all := []OptimizerGroup{{Name: "decayed"}, {Name: "not decayed"}, {Name: "frozen"}}
	for _, x := range c.Layout() {
		g := &all[0]
		switch {
		case p.Adapter != nil || frozen != nil && frozen(x.Name):
			g = &all[2]
		case !x.Decay || p.WeightDecay == 0:
			g = &all[1]
		}
		g.Params, g.Tensors = g.Params+x.Size, g.Tensors+1
	}
	all = slices.DeleteFunc(all, func(g OptimizerGroup) bool { return g.Tensors == 0 })
	for _, g := range all {
		if g.Name != "frozen" {
			trained += g.Params
		}
	}
	return all, trained, nil
}

// PlannedDevices is what a phase takes on each of a number of GPUs.
type PlannedDevices struct {
	Devices     int                `json:"devices"`
	Rows        int                `json:"rows"` // at once, on each
	Memory      []model.MemoryPart `json:"memory"`
	MemoryBytes int64              `json:"memory_bytes"` // on each
	Fits        []string           `json:"fits"`         // the cards of gpus that hold it
}

// gpus are cards and what a program finds free on them.
var gpus = []struct {
	name  string
	bytes int64
}{{"24 GB", 23 << 30}, {"80 GB", 78 << 30}, {"141 GB (H200)", 139 << 30}}

// planDevices reckons memory for 1, 2, 4 and 8 GPUs. A twentieth of a card is left for what XLA keeps for itself.
func planDevices(c *model.Config, p recipe.Phase, t int) []PlannedDevices {
	var out []PlannedDevices
	for _, n := range []int{1, 2, 4, 8} {
		d := PlannedDevices{Devices: n, Rows: max(1, min(p.MicroRows, p.RowsPerStep/n))}
		d.Memory = xla.Memory(c, xlaOptions(p, n), d.Rows, t, n)
		d.MemoryBytes = model.TotalBytes(d.Memory)
		for _, g := range gpus {
			if d.MemoryBytes <= g.bytes/20*19 {
				d.Fits = append(d.Fits, g.name)
			}
		}
		out = append(out, d)
	}
	return out
}

// PlannedSource is what lies at one source of the recipe.
type PlannedSource struct {
	Path      string `json:"path"`
	Documents int64  `json:"documents"`
	Bytes     int64  `json:"bytes"`
	Problem   string `json:"problem,omitempty"` // why it could not be read
}

// PlannedCorpus is what the corpus stage takes at most, roughly.
type PlannedCorpus struct {
	MemoryBytes int64 `json:"memory_bytes"` // data.memory_mb, what is kept of each document, and the program itself
	WorkBytes   int64 `json:"work_bytes"`   // of disk while it works: examined texts, facts, signatures, what is sorted, and the corpus that is being written
	OutBytes    int64 `json:"out_bytes"`    // of disk that the corpus takes afterwards
}

// planCorpus reckons with the layouts of pipeline's work folder and of dedup's records.
func planCorpus(d *recipe.Data, documents, bytes int64) (*PlannedCorpus, error) {
	const (
		program  = 192 << 20 // with models, evaluation sets and the garbage collector's room
		facts    = 600       // of a document: names, claims, scores
		byNumber = 24        // of a document in memory: places in shards, clusters
		record   = 16        // of an external sort
		line     = 60        // bytes, about
	)
	near, err := d.Near.MinHash()
	if err != nil {
		return nil, err
	}
	p := &PlannedCorpus{MemoryBytes: program + int64(d.MemoryMB)<<20 + byNumber*documents}
	p.WorkBytes = bytes + bytes/50 + facts*documents
	if d.Dedup || near != nil {
		p.WorkBytes += 2 * record * documents
	}
	if near != nil {
		signature := int64(4 * near.Bands * near.Rows)
		p.WorkBytes += documents * (2*signature + record*int64(near.Bands))
	}
	if d.Lines.Unit != "" {
		p.WorkBytes += bytes / line * (8 + 2*record)
	}
	p.OutBytes = bytes*2/5 + facts/4*documents
	p.WorkBytes += p.OutBytes // the work folder goes when the corpus is whole
	return p, nil
}

// wattsPerCore is the power at the plug that the card of a release assumes for each core: that of the first row below.
const wattsPerCore = 30.0

// sustained are speeds to reckon hours with, in FLOP/s, and powers to reckon energy with, in watts at the plug. The
// speed of two cores was measured (docs/benchmarks.md); the others are proportions and goals, the powers assumptions.
var sustained = []struct {
	name         string
	flops, watts float64
}{
	{"2 cores with AVX-512 (150 GFLOP/s, 60 W)", 150e9, 60},
	{"16 cores with AVX-512 (1.2 TFLOP/s, 300 W)", 1.2e12, 300},
	{"one H200 at 45 % of its bf16 peak (445 TFLOP/s, 1 kW)", 445e12, 1000},
}

// NewPlan reckons the cost of r. Sources that are not there are named in the plan rather than failing it.
func NewPlan(r *recipe.Recipe) (*Plan, error) {
	p, err := PlanCost(r)
	if err != nil {
		return nil, err
	}
	return p, p.readSources(&Flow{Recipe: r})
}

// PlanCost is the plan without a look at the sources.
func PlanCost(r *recipe.Recipe) (*Plan, error) {
	cfg, warnings, err := plannedConfig(r)
	if err != nil {
		return nil, err
	}
	p := &Plan{Name: r.Name, Params: cfg.NumParams(), Config: cfg, Warnings: warnings}
	if r.Base.Phase != nil {
		base, err := plannedPhase(basePhase, cfg, *r.Base.Phase, r.Data.SeqTokens)
		if err != nil {
			return nil, fmt.Errorf("workflow: %s: base.%w", r.File(), err)
		}
		p.Phases = append(p.Phases, base)
	}
	continued, err := plannedPhase(continuedPhase, cfg, r.Train, r.Data.SeqTokens)
	if err != nil {
		return nil, fmt.Errorf("workflow: %s: %w", r.File(), err)
	}
	if err := continued.adapt(r.Train.Adapter, cfg); err != nil {
		return nil, fmt.Errorf("workflow: %s: train.%w", r.File(), err)
	}
	p.Phases = append(p.Phases, continued)
	last := &p.Phases[len(p.Phases)-1]
	last.Tasks = planTasks(&Flow{Recipe: r}, cfg, r.Train, last.FLOPs)
	p.lint(r)
	return p, nil
}

// plannedConfig is the shape of the recipe's model: of the folder where it is there, else as the recipe says it.
func plannedConfig(r *recipe.Recipe) (*model.Config, []string, error) {
	if r.Base.Model != "" {
		path, err := r.Path(r.Base.Model)
		if err == nil {
			var folder *weights.Folder
			if folder, err = weights.OpenFolder(path); err == nil {
				defer folder.Close()
				cfg := *folder.Config()
				cfg.VocabSize += r.Tokenizer.Extend
				return &cfg, nil, nil
			}
		}
		if r.Base.Config == nil {
			return nil, nil, fmt.Errorf("%w (pull the base, or give its shape as base.config so that the plan can be made without it)", err)
		}
	}
	vocab := r.Tokenizer.Train
	var warnings []string
	if r.Base.Config.VocabSize > 0 {
		vocab = r.Base.Config.VocabSize
	}
	if vocab == 0 {
		path, err := r.Path(r.Tokenizer.Model)
		if err != nil {
			return nil, nil, err
		}
		tok, err := tokenizer.Load(path)
		if err != nil {
			return nil, nil, err
		}
		vocab = tok.Size()
	}
	if r.Base.Model != "" {
		warnings = append(warnings, "the base model's folder is not there yet; its shape is taken from base.config")
	}
	cfg := NewConfig(r.Base.Config, vocab, 1, 2)
	cfg.VocabSize += r.Tokenizer.Extend
	if err := cfg.Validate(); err != nil {
		return nil, nil, fmt.Errorf("workflow: %s: base.config: %w", r.File(), err)
	}
	return cfg, warnings, nil
}

func plannedPhase(name string, c *model.Config, p recipe.Phase, t int) (PlannedPhase, error) {
	out := PlannedPhase{Name: name, Tokens: int64(p.Steps) * int64(p.RowsPerStep) * int64(t), Hours: map[string]float64{}, KWh: map[string]float64{}}
	out.FLOPs = float64(out.Tokens) * c.TrainFLOPs(t)
	for _, s := range sustained {
		out.Hours[s.name] = out.FLOPs / s.flops / 3600
		out.KWh[s.name] = out.Hours[s.name] * s.watts / 1000
	}
	var err error
	if out.Groups, out.Trained, err = optimizerGroups(c, p, p.Steps); err != nil {
		return out, err
	}
	if p.First != nil {
		out.FirstSteps = p.First.Steps
		if out.FirstGroups, _, err = optimizerGroups(c, p, 1); err != nil {
			return out, err
		}
	}
	out.Precision = p.Precision
	out.Memory = cpu.Memory(c, engineOptions(p, t, 0))
	out.MemoryBytes = model.TotalBytes(out.Memory)
	out.Devices = planDevices(c, p, t)
	return out, nil
}

// adapt counts what an adapter trains and holds.
func (p *PlannedPhase) adapt(o *adapter.Options, c *model.Config) error {
	if o == nil {
		return nil
	}
	trained, memory, err := o.Cost(c)
	if err != nil {
		return err
	}
	p.Adapter, p.Trained = o.String(), trained
	p.Memory = append(p.Memory, memory...)
	p.MemoryBytes = model.TotalBytes(p.Memory)
	return nil
}

// lint names what is known to have hurt.
func (p *Plan) lint(r *recipe.Recipe) {
	replay := 0.0
	role := map[string]string{"role:replay": "replay", "role:target": "target"}
	for _, s := range r.Data.Sources {
		if group := "language:" + s.Language; s.Language != "" && role[group] != "target" {
			role[group] = s.Role
		}
		for _, section := range s.Sections {
			role[section] = s.Role
		}
		if s.Section != "" {
			role[s.Section] = s.Role
		}
	}
	steps, err := r.Train.StageSteps()
	for i, mixture := range r.Train.Mixtures() {
		for _, s := range mixture {
			if err == nil && role[s.Section] == "replay" {
				replay += s.Share * float64(steps[i])
			}
		}
	}
	if replay == 0 {
		p.Warnings = append(p.Warnings, "no replay: text of the base's own kind is what keeps the base's abilities; in arXiv 2403.08763 a change of language without it raised the old language's loss from 2.26 to 3.56, a quarter of replay to 2.33")
	}
	if len(r.Train.MaxEpochs) > 0 {
		p.Warnings = append(p.Warnings, "train.max_epochs is not reckoned with here, since how many tokens a section has is not known yet; order.json in the run folder says from which step on a section has been read as often as it may be")
	}
	if r.Train.Schedule.WarmupSteps == 0 {
		p.Warnings = append(p.Warnings, "no warm-up: the first updates come at the full rate (arXiv 2308.04014 sees an early spike)")
	}
	if r.Data.Separators == "none" || r.Data.AcrossDocs {
		p.Warnings = append(p.Warnings, "documents run into each other (separators none or attention across documents)")
	}
	if r.Data.Decontaminate.Action == "mark" || len(r.Data.Decontaminate.Against) == 0 && len(r.Eval.Datasets) > 0 {
		p.Warnings = append(p.Warnings, "evaluation sets are not removed from the training text: their scores will carry a mark, or nobody will know")
	}
}

// readSources counts what lies at the sources and asks the gate about it. Of sections that are not at hand the sizes
// that the register names count, when it has the section.
func (p *Plan) readSources(flow *Flow) error {
	r := flow.Recipe
	reg, err := flow.register()
	if err != nil {
		return err
	}
	var texts []plannedText
	published := map[string]bool{}
	missing := false
	for _, s := range r.Data.Sources {
		planned, found, err := readSource(r, s)
		if err != nil {
			return err
		}
		if planned.Problem != "" && reg != nil {
			found = publishedSizes(reg, s)
			for _, t := range found {
				published[t.use.Section] = true
				planned.Documents += t.use.Documents
				planned.Bytes += t.use.Bytes
			}
		}
		missing = missing || planned.Problem != "" && len(found) == 0
		texts = append(texts, found...)
		p.Sources = append(p.Sources, planned)
	}
	if !missing {
		var documents, bytes int64
		for _, x := range p.Sources {
			documents, bytes = documents+x.Documents, bytes+x.Bytes
		}
		if p.Corpus, err = planCorpus(&r.Data, documents, bytes); err != nil {
			return err
		}
	}
	if missing {
		p.Warnings = append(p.Warnings, "some sources could not be read, so the gate was not asked")
		return nil
	}
	if reg != nil {
		for i := range texts {
			u := &texts[i].use
			u.Terms = reg.Terms(u.Section, u.License, u.Claims, flow.policy().Date)
		}
	}
	if r.Data.Rights == "drop" {
		texts = slices.DeleteFunc(texts, func(t plannedText) bool {
			d := rights.Gate([]rights.Use{t.use}, flow.policy())
			if !d.Allowed {
				p.LeftOut = append(p.LeftOut, d.Findings...)
			}
			return !d.Allowed
		})
	}
	all, err := p.spread(r, texts)
	if err != nil {
		p.Warnings = append(p.Warnings, fmt.Sprintf("the gate was not asked: %v", err))
		for _, f := range p.LeftOut {
			p.Warnings = append(p.Warnings, fmt.Sprintf("%s is left out (data.rights: drop): %s: %s", f.Section, f.Verdict, f.Reason))
		}
		return nil
	}
	for i := range p.Mixture {
		p.Mixture[i].Published = published[p.Mixture[i].Section]
	}
	if len(published) > 0 {
		p.Warnings = append(p.Warnings, "some sections are not at hand; their sizes are those that the register names")
	}
	if r.Base.Model != "" {
		all = append(all, rights.Use{Section: "base model " + r.Base.Name, License: r.Base.License, Base: true})
	}
	d := rights.Gate(all, flow.policy())
	p.Rights = &d
	return nil
}

// readSource counts the documents of one source by section, licence and claims.
func readSource(r *recipe.Recipe, s recipe.Source) (PlannedSource, []plannedText, error) {
	planned := PlannedSource{Path: s.Path}
	one := *r
	one.Data.Sources = []recipe.Source{s}
	corpora, err := (&Flow{Recipe: &one}).openSources()
	if err != nil {
		planned.Problem = err.Error()
		return planned, nil, nil
	}
	var texts []plannedText
	for _, c := range corpora {
		for _, section := range c.Sections {
			uses := map[string]*rights.Use{}
			for d, err := range section.Documents() {
				if err != nil {
					return planned, nil, err
				}
				planned.Documents++
				planned.Bytes += int64(len(d.Text))
				addUse(uses, d.Section, d.License, d.Claims, int64(len(d.Text)), 0, d.ID)
			}
			for _, u := range flattenUses(uses) {
				texts = append(texts, plannedText{u, s.Role, cmp.Or(section.Language, s.Language)})
			}
		}
	}
	return planned, texts, nil
}

// publishedSizes are the sections of a register that a source of the recipe asks for, with the sizes published for them.
func publishedSizes(reg *register.Register, s recipe.Source) []plannedText {
	var out []plannedText
	for _, x := range reg.Sources {
		for _, section := range x.Sections {
			wanted := s.Section == section || slices.Contains(s.Sections, section) || s.Section == "" && len(s.Sections) == 0 && s.Format == "gigaword"
			if !wanted || slices.Contains(s.Exclude, section) || x.Size.Characters == 0 {
				continue
			}
			u := rights.Use{Section: section, Documents: x.Size.Documents, Bytes: x.Size.Characters}
			out = append(out, plannedText{u, s.Role, cmp.Or(s.Language, x.Language)})
		}
	}
	return out
}

// Write prints the plan for people.
func (p *Plan) Write(w io.Writer) {
	fmt.Fprintf(w, "%s: %s parameters\n\n", p.Name, count(int64(p.Params)))
	for _, s := range p.Sources {
		if s.Problem != "" {
			fmt.Fprintf(w, "source %s: not read: %s\n", s.Path, s.Problem)
			continue
		}
		fmt.Fprintf(w, "source %s: %s documents, %s bytes\n", s.Path, count(s.Documents), count(s.Bytes))
	}
	if c := p.Corpus; c != nil {
		fmt.Fprintf(w, "corpus: at most %s bytes of memory; %s bytes of disk while it works, %s afterwards\n", count(c.MemoryBytes), count(c.WorkBytes), count(c.OutBytes))
	}
	for _, ph := range p.Phases {
		fmt.Fprintf(w, "\nphase %s: %s tokens, %.2g FLOPs\n", ph.Name, count(ph.Tokens), ph.FLOPs)
		if ph.Adapter != "" {
			fmt.Fprintf(w, "  trains %s parameters, %.2g %% of the model: %s\n", count(int64(ph.Trained)), 100*float64(ph.Trained)/float64(p.Params), ph.Adapter)
		}
		for _, g := range ph.FirstGroups {
			fmt.Fprintf(w, "  %-12s %10s parameters in %d tensors, up to step %d\n", g.Name, count(int64(g.Params)), g.Tensors, ph.FirstSteps)
		}
		for _, g := range ph.Groups {
			fmt.Fprintf(w, "  %-12s %10s parameters in %d tensors\n", g.Name, count(int64(g.Params)), g.Tensors)
		}
		for _, s := range sustained {
			fmt.Fprintf(w, "  %-56s %-10s %.2g kWh\n", s.name, hours(ph.Hours[s.name]), ph.KWh[s.name])
		}
		fmt.Fprintf(w, "  memory of the CPU engine, products in %s: %s bytes\n", ph.Precision, count(ph.MemoryBytes))
		for _, m := range ph.Memory {
			fmt.Fprintf(w, "    %-14s %10s  %s\n", m.Name, count(m.Bytes), m.Formula)
		}
		for _, t := range ph.Tasks {
			if t.Problem != "" {
				fmt.Fprintf(w, "  guard task %s: not reckoned: %s\n", t.Dataset, t.Problem)
				continue
			}
			fmt.Fprintf(w, "  guard task %s: asked %d times, at most %s tokens each, %.2g FLOPs, %.1f %% of the phase\n", t.Dataset, t.Times, count(t.Tokens), t.FLOPs, 100*t.Share)
		}
	}
	p.writeDevices(w)
	if p.Rights != nil {
		fmt.Fprintln(w)
		writeMixture(w, p.Mixture)
		fmt.Fprintln(w)
		writeDecision(w, *p.Rights)
		writeLeftOut(w, p.LeftOut)
	}
	for _, warning := range p.Warnings {
		fmt.Fprintf(w, "\nwarning: %s\n", warning)
	}
}

// writeDevices prints what the last phase, the continued training, takes on GPUs.
func (p *Plan) writeDevices(w io.Writer) {
	ph := p.Phases[len(p.Phases)-1]
	fmt.Fprintf(w, "\nengine xla, products in %s, phase %s: memory of each GPU, parameters, gradients and moments cut over several\n", ph.Precision, ph.Name)
	for _, d := range ph.Devices {
		fits := "no card"
		if len(d.Fits) > 0 {
			fits = strings.Join(d.Fits, ", ")
		}
		fmt.Fprintf(w, "  %d × %5.1f GiB, %d rows at once on each; fits: %s\n", d.Devices, float64(d.MemoryBytes)/(1<<30), d.Rows, fits)
	}
	for _, m := range ph.Devices[0].Memory {
		fmt.Fprintf(w, "    %-14s %10s  %s\n", m.Name, count(m.Bytes), m.Formula)
	}
}

func hours(h float64) string {
	switch {
	case h < 1.0/60:
		return fmt.Sprintf("%.0f s", h*3600)
	case h < 1:
		return fmt.Sprintf("%.0f min", h*60)
	case h < 100:
		return fmt.Sprintf("%.1f h", h)
	}
	return fmt.Sprintf("%.0f days", h/24)
}

// exists tells whether a path is there.
func exists(path string) bool {
	_, err := os.Stat(filepath.Clean(path))
	return !errors.Is(err, os.ErrNotExist)
}
