package release

import (
	"bytes"
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"

	"ravn/model"
	"ravn/rights"
	"ravn/stats"
)

// frontMatter is the head of a model card, in the hub's names.
type frontMatter struct {
	Language    []string     `yaml:"language"`
	License     string       `yaml:"license"`
	LicenseName string       `yaml:"license_name,omitempty"`
	LicenseLink string       `yaml:"license_link,omitempty"`
	LibraryName string       `yaml:"library_name"`
	PipelineTag string       `yaml:"pipeline_tag"`
	BaseModel   string       `yaml:"base_model,omitempty"`
	Relation    string       `yaml:"base_model_relation,omitempty"`
	Datasets    []string     `yaml:"datasets,omitempty"`
	Metrics     []string     `yaml:"metrics,omitempty"`
	Tags        []string     `yaml:"tags"`
	ModelIndex  []modelIndex `yaml:"model-index,omitempty"`
}

type modelIndex struct {
	Name    string        `yaml:"name"`
	Results []indexResult `yaml:"results"`
}

type indexResult struct {
	Task    indexTask     `yaml:"task"`
	Dataset indexDataset  `yaml:"dataset"`
	Metrics []indexMetric `yaml:"metrics"`
}

type indexTask struct {
	Type string `yaml:"type"`
	Name string `yaml:"name"`
}

type indexDataset struct {
	Name   string `yaml:"name"`
	Type   string `yaml:"type"`
	Config string `yaml:"config,omitempty"` // the language, where it is known
	Split  string `yaml:"split"`
}

type indexMetric struct {
	Type  string  `yaml:"type"`
	Name  string  `yaml:"name"`
	Value float64 `yaml:"value"`
}

// card is README.md.
func card(o *Options, out *Folder) ([]byte, error) {
	front, err := yaml.MarshalWithOptions(head(o, out), yaml.IndentSequence(true))
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "---\n%s---\n\n# %s\n\n", front, o.Name)
	writeWorse(&b, out)
	if o.Note != "" {
		b.WriteString(o.Note + "\n\n")
	}
	if o.Small {
		b.WriteString("**Made of small or synthetic material.** It shows how a release is made; it is not a model to use.\n\n")
	}
	l, _ := rights.Lookup(out.License)
	fmt.Fprintf(&b, "Licence: %s. %s.\n\n", link(cmp.Or(l.Name, out.License), l.URL), upperFirst(out.Decision.Why))
	writeResults(&b, o)
	writeLimitations(&b, out)
	writeUse(&b, o)
	writeTraining(&b, o)
	writeGuard(&b, o.Guard)
	writeData(&b, o, out)
	if o.Version != "" {
		fmt.Fprintf(&b, "\nWritten by ravn %s from the measurements of the run. `sha256sum -c SHA256SUMS` checks the files.\n", o.Version)
	}
	return b.Bytes(), nil
}

// writeWorse puts first what nobody should overlook.
func writeWorse(b *bytes.Buffer, out *Folder) {
	first := true
	for _, l := range out.Limitations {
		if where, ok := strings.CutPrefix(l, worseThanBase); ok {
			if first {
				b.WriteString("> **▼ Worse than its base:**\n>\n")
				first = false
			}
			b.WriteString("> - " + where + "\n")
		}
	}
	if !first {
		b.WriteString("\n")
	}
}

func head(o *Options, out *Folder) frontMatter {
	l, _ := rights.Lookup(out.License)
	f := frontMatter{Language: o.Languages, License: cmp.Or(l.Hub, "other"), LibraryName: "transformers", PipelineTag: "text-generation", Datasets: o.Datasets, Tags: []string{"ravn", "continued-pretraining"}}
	if f.License == "other" {
		f.LicenseName, f.LicenseLink = strings.ToLower(out.License), cmp.Or(l.URL, "ATTRIBUTION.md")
	}
	if o.Base.Name != "" && !o.Base.Here {
		f.BaseModel, f.Relation = o.Base.Name, "finetune"
	}
	if o.Small {
		f.Tags = append(f.Tags, "small-or-synthetic-material")
	}
	index := modelIndex{Name: o.Name}
	for _, r := range o.Results {
		if r.Result.N == 0 || math.IsNaN(r.Result.Value) {
			continue
		}
		if !slices.Contains(f.Metrics, r.Metric) {
			f.Metrics = append(f.Metrics, r.Metric)
		}
		name := fmt.Sprintf("%s, 95 %% interval and n: %s", r.Metric, r.Result)
		index.Results = append(index.Results, indexResult{indexTask{"text-generation", r.Task}, indexDataset{Name: r.Label, Type: cmp.Or(r.Dataset, r.Label), Config: r.Language, Split: "test"}, []indexMetric{{r.Metric, name, r.Result.Value}}})
	}
	if len(index.Results) > 0 {
		f.ModelIndex = []modelIndex{index}
	}
	return f
}

// evalResults is the newer result file of the hub, nil when nothing was measured.
func evalResults(o *Options) ([]byte, error) {
	type dataset struct {
		ID   string `yaml:"id"`
		Task string `yaml:"task_id"`
	}
	type entry struct {
		Dataset dataset `yaml:"dataset"`
		Value   float64 `yaml:"value"`
		Notes   string  `yaml:"notes"`
	}
	var list []entry
	for _, r := range o.Results {
		if r.Result.N == 0 || math.IsNaN(r.Result.Value) {
			continue
		}
		list = append(list, entry{dataset{cmp.Or(r.Dataset, r.Label), r.Task}, r.Result.Value, r.Metric + " " + r.Result.String() + smallMark(&r)})
	}
	if list == nil {
		return nil, nil
	}
	return yaml.Marshal(list)
}

func smallMark(r *Result) string {
	if r.Small {
		return " (small or synthetic data)"
	}
	return ""
}

func writeResults(b *bytes.Buffer, o *Options) {
	b.WriteString("## Results\n\n")
	if len(o.Results) == 0 {
		b.WriteString("Nothing was measured.\n\n")
		return
	}
	fmt.Fprintf(b, "Base and result on the same items, with 95 %% intervals. `~`: not told apart. The base is %s.\n\n", cmp.Or(o.Base.Name, "not named"))
	b.WriteString("| | metric | base | this model | difference |\n|---|---|---|---|---|\n")
	notes := map[string]int{}
	var order []string
	for _, r := range o.Results {
		arrow := "↑"
		if r.LowerBetter {
			arrow = "↓"
		}
		marks := ""
		warnings := slices.Concat(r.Base.Warnings, r.Result.Warnings, r.Difference.Warnings)
		if r.Small {
			warnings = append(warnings, "small or synthetic data")
		}
		slices.Sort(warnings)
		for _, w := range slices.Compact(warnings) {
			if notes[w] == 0 {
				order = append(order, w)
				notes[w] = len(order)
			}
			marks += fmt.Sprintf(" [%d]", notes[w])
		}
		fmt.Fprintf(b, "| %s%s | %s %s | %s | %s | %s |\n", cell(r.Label), marks, cell(r.Metric), arrow, show(r.Base), show(r.Result), showDifference(r.Difference))
	}
	b.WriteString("\n")
	for i, w := range order {
		fmt.Fprintf(b, "[%d] %s  \n", i+1, w)
	}
	if len(order) > 0 {
		b.WriteString("\n")
	}
}

func show(e stats.Estimate) string {
	if e.N == 0 {
		return "–"
	}
	return e.String()
}

func showDifference(e stats.Estimate) string {
	if e.N == 0 {
		return "–"
	}
	return e.Difference()
}

func writeLimitations(b *bytes.Buffer, out *Folder) {
	b.WriteString("## Limitations\n\n")
	for _, l := range out.Limitations {
		b.WriteString("- " + l + "\n")
	}
	b.WriteString("\n")
}

func writeUse(b *bytes.Buffer, o *Options) {
	fmt.Fprintf(b, "## Use\n\nA base model: it continues text.\n\n```python\nfrom transformers import AutoModelForCausalLM, AutoTokenizer\n\ntokenizer = AutoTokenizer.from_pretrained(%[1]q)\nmodel = AutoModelForCausalLM.from_pretrained(%[1]q)\n"+
		"inputs = tokenizer(\"Der var engang\", return_tensors=\"pt\")\nprint(tokenizer.decode(model.generate(**inputs, max_new_tokens=50)[0]))\n```\n\nor `ravn generate %s --prompt \"Der var engang\"`.\n\n", o.Name, shellWord(o.Name))
	if len(o.GGUF) > 0 {
		b.WriteString("For llama.cpp, ollama and other programs that read GGUF:\n\n")
		for _, d := range o.GGUF {
			fmt.Fprintf(b, "- `%s`: %s\n", o.ggufName(d), ggufKinds[d])
		}
		fmt.Fprintf(b, "\n`llama-completion -m %s -p \"Der var engang\"`\n\n", shellWord(o.ggufName(o.GGUF[0])))
	}
}

// ggufKinds say in a few words what a number format is.
var ggufKinds = map[model.DType]string{
	model.F32: "32 bits a weight", model.F16: "16 bits a weight, IEEE half precision", model.BF16: "16 bits a weight, bfloat16",
	model.Q8_0: "8.5 bits a weight, quantised", model.Q4_0: "4.5 bits a weight, quantised, the output head 8.5; it answers less well than the others",
}

func writeTraining(b *bytes.Buffer, o *Options) {
	t := o.Training
	b.WriteString("## Training\n\n| | |\n|---|---|\n")
	row := func(name, value string) { fmt.Fprintf(b, "| %s | %s |\n", name, cell(cmp.Or(value, "not known"))) }
	base := o.Base.Name
	if o.Base.Here {
		base += " (trained in the same run)"
	}
	row("continued from", base)
	row("parameters", number(t.Parameters))
	row("steps", number(int64(t.Steps)))
	row("tokens", number(t.Tokens))
	if t.SeqTokens > 0 {
		row("tokens a row, a step", number(int64(t.SeqTokens))+", "+number(int64(t.BatchTokens)))
	}
	schedule := t.Schedule
	if schedule != "" && t.PeakLR > 0 {
		schedule += fmt.Sprintf(", peak learning rate %g", t.PeakLR)
	}
	row("schedule", schedule)
	row("seed", fmt.Sprint(t.Seed))
	row("hardware", t.Hardware)
	row("hours", positive("%.3g", t.Hours))
	energy := positive("%.3g kWh, estimate", t.KWh)
	if energy != "" && t.EnergyHow != "" {
		energy += ": " + t.EnergyHow
	}
	row("energy", energy)
	if t.Parameters > 0 && t.Tokens > 0 {
		row("training FLOPs, 6·N·D", fmt.Sprintf("%.2g", 6*float64(t.Parameters)*float64(t.Tokens)))
	}
	b.WriteString("\n")
}

// writeGuard says what training was not allowed to take away, and whether it did.
func writeGuard(b *bytes.Buffer, g *Guard) {
	b.WriteString("## What was retained\n\n")
	if g == nil {
		b.WriteString("Nothing was watched during training: no limit was set on what the base may lose.\n\n")
		return
	}
	b.WriteString("Bits per byte of held-out text at the last evaluation of the training, against the base, paired by document; lower is better.\n\n| held-out text | change, 95 % interval | documents | limit | |\n|---|---|---|---|---|\n")
	words := map[string]string{"within": "within", "above": "above the limit, not told apart from it", "warned": "above the limit", "beyond": "**beyond the limit**"}
	for _, r := range g.Rows {
		if r.Task {
			continue
		}
		limit := "none"
		if r.Limit != nil {
			limit = fmt.Sprintf("%+.2f %%", 100**r.Limit)
		}
		fmt.Fprintf(b, "| %s | %+.2f %% [%+.2f, %+.2f] | %d | %s | %s |\n", cell(r.Group), 100*r.Change, 100*r.Low, 100*r.High, r.Documents, limit, words[r.State])
	}
	b.WriteString("\n")
	if slices.ContainsFunc(g.Rows, func(r Guarded) bool { return r.Task }) {
		b.WriteString("Tasks that were asked during the training, a few items of each, against the base, paired by item; in points of the score, higher is better.\n\n| data set | change, 95 % interval | items | limit | |\n|---|---|---|---|---|\n")
		for _, r := range g.Rows {
			if r.Task {
				fmt.Fprintf(b, "| %s | %+.2f [%+.2f, %+.2f] | %d | %+.2f | %s |\n", cell(r.Group), -100*r.Change, -100*r.High, -100*r.Low, r.Documents, -100**r.Limit, words[r.State])
			}
		}
		b.WriteString("\n")
	}
	for _, a := range g.Actions {
		fmt.Fprintf(b, "- %s\n", a)
	}
	if len(g.Actions) > 0 {
		b.WriteString("\n")
	}
}

func writeData(b *bytes.Buffer, o *Options, out *Folder) {
	b.WriteString("## Data\n\n| licence | class | sections | documents | tokens | share |\n|---|---|---|---|---|---|\n")
	for _, r := range byLicense(&out.Decision) {
		fmt.Fprintf(b, "| %s | %s | %s | %s | %s | %.1f %% |\n", cell(r.License), r.Class, cell(strings.Join(r.Sections, ", ")), number(r.Documents), number(r.Tokens), 100*r.Share)
	}
	b.WriteString("\nSources in full, with how each was judged, are in DATA.json.\n")
	if len(out.Decision.Attribution) > 0 {
		b.WriteString("\nTo be named:\n\n")
		for _, a := range out.Decision.Attribution {
			b.WriteString("- " + a + "\n")
		}
	}
	for _, w := range out.Decision.Warnings {
		b.WriteString("\nNote: " + w + ".\n")
	}
	if len(o.Contamination) > 0 {
		b.WriteString("\nTest items found in the training text:\n\n| data set | items looked for | found | what was done |\n|---|---|---|---|\n")
		for _, c := range o.Contamination {
			done := "nothing to do"
			if c.Hit > 0 {
				done = map[string]string{"drop": "the documents were removed", "mark": "**trained on; scores are marked**"}[c.Action]
			}
			fmt.Fprintf(b, "| %s | %d | %d | %s |\n", cell(c.Dataset), c.Items, c.Hit, cmp.Or(done, c.Action))
		}
	}
}

type licenseRow struct {
	License   string       `json:"license"`
	Class     rights.Class `json:"class"`
	Sections  []string     `json:"sections"`
	Documents int64        `json:"documents"`
	Bytes     int64        `json:"bytes"`
	Tokens    int64        `json:"tokens"`
	Share     float64      `json:"share"`
}

// byLicense adds the findings up, the base model left out, most tokens first.
func byLicense(d *rights.Decision) []licenseRow {
	var rows []licenseRow
	for _, f := range d.Findings {
		if f.Base {
			continue
		}
		i := slices.IndexFunc(rows, func(r licenseRow) bool { return r.License == f.License })
		if i < 0 {
			i = len(rows)
			rows = append(rows, licenseRow{License: f.License, Class: f.Class})
		}
		r := &rows[i]
		r.Documents, r.Bytes, r.Tokens, r.Share = r.Documents+f.Documents, r.Bytes+f.Bytes, r.Tokens+f.Tokens, r.Share+f.Share
		if !slices.Contains(r.Sections, f.Section) {
			r.Sections = append(r.Sections, f.Section)
		}
	}
	slices.SortStableFunc(rows, func(a, b licenseRow) int {
		return cmp.Or(cmp.Compare(b.Tokens, a.Tokens), cmp.Compare(a.License, b.License))
	})
	return rows
}

func link(name, url string) string {
	if url == "" {
		return name
	}
	return "[" + name + "](" + url + ")"
}

// cell keeps a text within one cell of a table.
func cell(s string) string {
	return strings.NewReplacer("|", `\|`, "\n", " ", "\r", " ").Replace(s)
}

func upperFirst(s string) string {
	if s == "" {
		return s
	}
	r := []rune(s)
	return strings.ToUpper(string(r[:1])) + string(r[1:])
}

func positive(format string, x float64) string {
	if !(x > 0) {
		return ""
	}
	return fmt.Sprintf(format, x)
}

// number writes 1234567 as 1,234,567 and 0 as nothing.
func number(n int64) string {
	if n == 0 {
		return ""
	}
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

func shellWord(s string) string {
	if strings.ContainsFunc(s, func(r rune) bool {
		return !(r == '-' || r == '_' || r == '.' || r == '/' || '0' <= r && r <= '9' || 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z')
	}) {
		return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
	}
	return s
}
