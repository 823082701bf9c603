package workflow

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"

	"ravn/internal/atomicfile"
	"ravn/pipeline"
	"ravn/recipe"
	"ravn/release"
	"ravn/rights"
	"ravn/rights/register"
	"ravn/shard"
)

// RightsOptions say for what, on which day and by which register a recipe or run is judged. Empty fields are those of
// the recipe, and today.
type RightsOptions struct {
	Purpose  string // "release", "research"
	Date     string // YYYY-MM-DD
	Register string // folder
	Removals string // list of removals
}

// Validate checks the words.
func (o RightsOptions) Validate() error {
	if !slices.Contains([]string{"", "release", "research"}, o.Purpose) {
		return fmt.Errorf("purpose %q is not known (release or research)", o.Purpose)
	}
	return rights.CheckDate(o.Date)
}

// policy is what the recipe, or the caller, wants the result for.
func (f *Flow) policy() rights.Policy {
	return rights.Policy{
		Purpose: cmp.Or(f.Rights.Purpose, f.Recipe.Release.Purpose), ShareAlike: f.Recipe.Release.ShareAlike,
		Date: cmp.Or(f.Rights.Date, time.Now().Format(time.DateOnly)),
	}
}

// register opens the recipe's register, or nil when it has none. A run folder holds a copy, which counts where the
// recipe's own path leads nowhere.
func (f *Flow) register() (*register.Register, error) {
	dir := f.Rights.Register
	if dir == "" && f.Recipe.Register == "" {
		return nil, nil
	}
	if dir == "" {
		path, err := f.Recipe.Path(f.Recipe.Register)
		if f.Folder != nil && (err != nil || !exists(path)) {
			path, err = f.Folder.Path("rights"), nil
		}
		if err != nil {
			return nil, err
		}
		dir = path
	}
	r, err := register.Open(dir)
	if err != nil {
		return nil, err
	}
	return r, nil
}

// ruled gives uses the terms of the register, where there is one.
func (f *Flow) ruled(uses []rights.Use) ([]rights.Use, error) {
	reg, err := f.register()
	if err != nil || reg == nil {
		return uses, err
	}
	return reg.Apply(uses, f.policy().Date), nil
}

// rightsInput is the hash of what a register says today, for stages that ask it.
func (f *Flow) rightsInput() (map[string]string, error) {
	reg, err := f.register()
	if err != nil || reg == nil {
		return nil, err
	}
	return map[string]string{"rights": reg.Fingerprint(f.policy())}, nil
}

// keepRegister copies the register into the run folder, so that the run can be judged without the recipe's folder.
func (f *Flow) keepRegister() error {
	reg, err := f.register()
	to := f.Folder.Path("rights")
	if err != nil || reg == nil || filepath.Clean(reg.Dir) == filepath.Clean(to) {
		return err
	}
	tmp, err := atomicfile.TempDir(to)
	if err != nil {
		return fmt.Errorf("workflow: %w", err)
	}
	defer os.RemoveAll(tmp)
	if err := os.CopyFS(tmp, os.DirFS(reg.Dir)); err != nil && !errors.Is(err, os.ErrExist) {
		return fmt.Errorf("workflow: %w", err)
	}
	return atomicfile.ReplaceDir(tmp, to)
}

// RightsCheck is the answer of ravn rights check: each section with its part of what would be read, and the gate's word.
type RightsCheck struct {
	Recipe   string           `json:"recipe"`
	Policy   rights.Policy    `json:"policy"`
	Register string           `json:"register,omitempty"` // hash of its files
	Sections []PlannedSection `json:"sections"`
	Decision rights.Decision  `json:"decision"`
	LeftOut  []rights.Finding `json:"left_out,omitempty"` // text that data.rights: drop removes, and why
	Warnings []string         `json:"warnings,omitempty"`
}

// PlannedSection is a section's part of the training that a recipe asks for.
type PlannedSection struct {
	Section   string  `json:"section"`
	Role      string  `json:"role"`
	Documents int64   `json:"documents"`
	Bytes     int64   `json:"bytes"`
	Tokens    int64   `json:"tokens"`    // that all phases read
	Share     float64 `json:"share"`     // of them
	Continued float64 `json:"continued"` // share of the continued phase alone
	Published bool    `json:"published"` // sizes are the register's, the data are not at hand
}

// CheckRights judges a recipe before anything is trained.
func CheckRights(r *recipe.Recipe, o RightsOptions) (*RightsCheck, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	flow := &Flow{Recipe: r, Options: Options{Rights: o}}
	p := &Plan{Name: r.Name}
	if err := p.readSources(flow); err != nil {
		return nil, err
	}
	if p.Rights == nil {
		for _, s := range p.Sources {
			if s.Problem != "" {
				p.Warnings = append(p.Warnings, fmt.Sprintf("%s: %s", s.Path, s.Problem))
			}
		}
		return nil, fmt.Errorf("workflow: %s cannot be judged: %s", r.File(), joinLines(p.Warnings))
	}
	c := &RightsCheck{Recipe: r.Name, Policy: flow.policy(), Sections: p.Mixture, Decision: *p.Rights, LeftOut: p.LeftOut, Warnings: p.Warnings}
	if reg, err := flow.register(); err == nil && reg != nil {
		c.Register = reg.Hash()
	}
	return c, nil
}

func joinLines(lines []string) string {
	text := ""
	for _, l := range lines {
		text += "\n\t" + l
	}
	return text
}

// Refusal is the gate's no, or nil.
func (c *RightsCheck) Refusal() error {
	if c.Decision.Allowed {
		return nil
	}
	return &release.Refused{Decision: c.Decision}
}

// Write prints the check for people.
func (c *RightsCheck) Write(w io.Writer) {
	fmt.Fprintf(w, "%s, for %s on %s\n\n", c.Recipe, cmp.Or(c.Policy.Purpose, "release"), c.Policy.Date)
	writeMixture(w, c.Sections)
	fmt.Fprintln(w)
	writeDecision(w, c.Decision)
	writeLeftOut(w, c.LeftOut)
	for _, a := range c.Decision.Attribution {
		fmt.Fprintf(w, "  to be named: %s\n", a)
	}
	for _, warning := range c.Warnings {
		fmt.Fprintf(w, "\nwarning: %s\n", warning)
	}
}

// writeLeftOut prints what is removed before training.
func writeLeftOut(w io.Writer, list []rights.Finding) {
	for _, f := range list {
		fmt.Fprintf(w, "  left out  %-20s %-34s %s bytes, %s: %s\n", f.Section, cmp.Or(f.License, "unknown"), count(f.Bytes), f.Verdict, f.Reason)
	}
}

func writeMixture(w io.Writer, sections []PlannedSection) {
	fmt.Fprintf(w, "%-20s %-8s %10s %12s %12s %8s %10s\n", "section", "role", "documents", "bytes", "tokens read", "of all", "continued")
	for _, s := range sections {
		mark := ""
		if s.Published {
			mark = "  (size as published)"
		}
		fmt.Fprintf(w, "%-20s %-8s %10d %12s %12s %6.1f %% %8.1f %%%s\n", s.Section, s.Role, s.Documents, count(s.Bytes), count(s.Tokens), 100*s.Share, 100*s.Continued, mark)
	}
}

// plannedText is what would be read of one section under one licence.
type plannedText struct {
	use  rights.Use
	role string
	lang string
}

// spread gives every use its tokens: those of its section by the mixtures of all phases, parted by bytes.
func (p *Plan) spread(r *recipe.Recipe, texts []plannedText) ([]rights.Use, error) {
	var infos []shard.SectionInfo
	for _, t := range texts {
		i := slices.IndexFunc(infos, func(s shard.SectionInfo) bool { return s.Name == t.use.Section })
		if i < 0 {
			infos = append(infos, shard.SectionInfo{Name: t.use.Section, Role: t.role, Language: t.lang})
			i = len(infos) - 1
		}
		infos[i].Tokens += t.use.Bytes
		infos[i].Documents += t.use.Documents
	}
	phases := []recipe.Phase{r.Train}
	if r.Base.Phase != nil && r.Base.Model == "" {
		phases = append(phases, *r.Base.Phase)
	}
	tokens, continued, total := map[string]float64{}, map[string]float64{}, 0.0
	for i, phase := range phases {
		steps, err := phase.StageSteps()
		if err != nil {
			return nil, err
		}
		for k, shares := range phase.Mixtures() {
			if shares, err = mixture(infos, shares, phase.Temperature); err != nil {
				return nil, err
			}
			sum := 0.0
			for _, s := range shares {
				if !slices.ContainsFunc(infos, func(x shard.SectionInfo) bool { return x.Name == s.Section }) {
					return nil, fmt.Errorf("mixture: no section %q in the sources", s.Section)
				}
				sum += s.Share
			}
			all := float64(steps[k]) * float64(phase.RowsPerStep) * float64(r.Data.SeqTokens)
			total += all
			for _, s := range shares {
				tokens[s.Section] += all * s.Share / sum
				if i == 0 {
					continued[s.Section] += s.Share / sum * float64(steps[k]) / float64(phase.Steps)
				}
			}
		}
	}
	for _, s := range infos {
		p.Mixture = append(p.Mixture, PlannedSection{
			Section: s.Name, Role: s.Role, Documents: s.Documents, Bytes: s.Tokens,
			Tokens: int64(tokens[s.Name] + 0.5), Share: tokens[s.Name] / total, Continued: continued[s.Name],
		})
	}
	var uses []rights.Use
	for _, t := range texts {
		u := t.use
		i := slices.IndexFunc(infos, func(s shard.SectionInfo) bool { return s.Name == u.Section })
		if infos[i].Tokens > 0 {
			u.Tokens = int64(tokens[u.Section]*float64(u.Bytes)/float64(infos[i].Tokens) + 0.5)
		}
		if u.Tokens > 0 {
			uses = append(uses, u)
		}
	}
	return uses, nil
}

// releaseSources is what a release says about each section: from the register where there is one, and the file that the
// corpus stage wrote, with the hash that the shards were made from.
func (f *Flow) releaseSources(sum *pipeline.Summary) ([]release.Source, error) {
	reg, err := f.register()
	if err != nil {
		return nil, err
	}
	info, err := shard.ReadInfo(f.Folder.ShardsDir())
	if err != nil {
		return nil, err
	}
	var out []release.Source
	for _, s := range sum.Sections {
		x := release.Source{Section: s.Name, Language: s.Language, File: "sections/" + s.Name + ".jsonl.zst"}
		if in := info.Section(s.Name); in != nil {
			x.FileSHA256 = in.Source
		}
		if stat, err := os.Stat(filepath.Join(f.Folder.CorpusDir(), filepath.FromSlash(x.File))); err == nil {
			x.FileBytes = stat.Size()
		}
		if reg != nil {
			if r := reg.Source(s.Name); r != nil {
				x.Title, x.Content, x.Kind, x.Origin, x.Holders, x.Period, x.Collected = r.Title, r.Content, r.Kind, r.Origin, r.Holders, r.Period, r.Collected
				x.Language = cmp.Or(x.Language, r.Language)
				x.PersonalData = r.PersonalData.Level
				if r.PersonalData.Note != "" && x.PersonalData != "none" {
					x.PersonalData += ": " + r.PersonalData.Note
				}
				for _, v := range r.Reservations {
					x.Reservations = append(x.Reservations, fmt.Sprintf("%s at %s, read %s: %s", v.Signal, v.Where, v.Read, map[bool]string{true: "reserved", false: "not reserved"}[v.Reserved]))
				}
			}
		}
		out = append(out, x)
	}
	return out, nil
}
