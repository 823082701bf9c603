package cli

import (
	"context"
	"fmt"
	"io"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"ravn/pipeline"
	"ravn/pipeline/filter"
	"ravn/recipe"
	"ravn/workflow"
)

// CorpusCmd groups what is done with documents.
type CorpusCmd struct {
	Build CorpusBuildCmd `cmd:"" help:"Judge the documents of a recipe: kept, held out, removed, with a ledger."`
	Stats CorpusStatsCmd `cmd:"" help:"Counts by section, licence and reason."`

	Langid CorpusLangidCmd `cmd:"" help:"Tell languages apart: of texts, or train a model on your own."`
	Remove CorpusRemoveCmd `cmd:"" help:"Put a removal request on a list: documents, sources, addresses, authors, texts, near copies."`
	Check  CorpusCheckCmd  `cmd:"" help:"Prove that what is on a list of removals is absent from a run, or say what saw it."`
	Export CorpusExportCmd `cmd:"" help:"Documents in any form out as dolma JSON lines or Danish Dynaword Parquet."`

	Synthesize CorpusSynthesizeCmd `cmd:"" help:"Make a corpus of any size out of a small one, with known copies, to measure with."`
}

// CorpusBuildCmd runs the corpus stage of a recipe.
type CorpusBuildCmd struct {
	Recipe    string `arg:"" type:"existingfile" help:"Recipe whose data is to be read."`
	Out       string `help:"Run folder; default runs/NAME. The corpus goes to its folder corpus/."`
	MaxErrors *int   `help:"Unreadable records that are passed over in each section, in place of the sources' max_errors."`
	Threads   int    `help:"Threads; 0 uses all processors. Does not change the result."`
	JSON      bool   `name:"json" help:"Print the summary as JSON."`
}

// Help is shown under --help.
func (c *CorpusBuildCmd) Help() string {
	return `Every record is checked; those that cannot be read are named with file and line, and more of them than are allowed end the command with 1.
What --max-errors says is kept in OUT/recipe.yaml; ravn run asks the recipe again, so write max_errors there to go on with it.

Example:
  ravn corpus build recipes/sample-da.yaml --out runs/sample-da`
}

// Run builds.
func (c *CorpusBuildCmd) Run(ctx context.Context, s *Streams) error {
	if c.MaxErrors != nil && *c.MaxErrors < 0 {
		return usageError{fmt.Errorf("--max-errors %d must not be negative", *c.MaxErrors)}
	}
	f, err := openFlow(s, c.Recipe, c.Out, workflow.Options{Until: "corpus", Threads: c.Threads}, func(r *recipe.Recipe) {
		for i := range r.Data.Sources {
			if c.MaxErrors != nil {
				r.Data.Sources[i].MaxErrors = *c.MaxErrors
			}
		}
	})
	if err != nil {
		return err
	}
	defer f.Close()
	if err := f.Run(ctx); err != nil {
		return err
	}
	return corpusStats(s, f.Folder.CorpusDir(), c.JSON)
}

// CorpusStatsCmd prints what became of the documents.
type CorpusStatsCmd struct {
	Dir  string `arg:"" name:"folder" type:"existingdir" help:"Run folder, or its folder corpus/."`
	JSON bool   `name:"json" help:"As JSON."`

	WhatIf []string `name:"what-if" placeholder:"preset=NAME,..." sep:"none" help:"What presets of filters would drop, from the scores in the ledger: preset=fineweb2-da,top_2_gram=0.4,off=new_line_ratio,except=ft. Repeat to compose."`
}

// Help is shown under --help.
func (c *CorpusStatsCmd) Help() string {
	return "Example:\n  ravn corpus stats runs/quickstart\n  ravn corpus stats runs/quickstart --what-if preset=fineweb2-da"
}

// Run prints.
func (c *CorpusStatsCmd) Run(s *Streams) error {
	dir := c.Dir
	if workflow.IsRun(dir) {
		dir = filepath.Join(dir, "corpus")
	}
	if len(c.WhatIf) > 0 {
		return c.whatIf(s, dir)
	}
	return corpusStats(s, dir, c.JSON)
}

// whatIf answers from the ledger alone.
func (c *CorpusStatsCmd) whatIf(s *Streams, dir string) error {
	var specs []filter.Spec
	for _, text := range c.WhatIf {
		spec, err := filter.ParseSpec(text)
		if err != nil {
			return usageError{err}
		}
		specs = append(specs, spec)
	}
	sum, err := pipeline.ReadSummary(filepath.Join(dir, "summary.json"))
	if err != nil {
		return err
	}
	rows, err := pipeline.ReadLedger(filepath.Join(dir, "documents.parquet"))
	if err != nil {
		return err
	}
	w, err := filter.NewWhatIf(rows, sum.Scores, specs...)
	if err != nil {
		return err
	}
	if c.JSON {
		return s.JSON(w)
	}
	fmt.Fprintf(s.Out, "%-20s %10s %10s %10s %10s %14s %10s\n", "section", "in", "kept now", "would keep", "would drop", "bytes dropped", "newly lost")
	for _, x := range append(w.Sections, w.Total) {
		fmt.Fprintf(s.Out, "%-20s %10d %10d %10d %10d %14d %10d\n", x.Name, x.In.Documents, x.Now.Documents, x.Kept.Documents, x.Dropped.Documents, x.Dropped.Bytes, x.Lost.Documents)
	}
	fmt.Fprintf(s.Out, "\n%-24s %22s %14s %26s\n", "rule", "documents, first rule", "bytes", "documents, rule alone")
	for _, r := range slices.Sorted(maps.Keys(w.Total.Rules)) {
		fmt.Fprintf(s.Out, "%-24s %22d %14d %26d\n", r, w.Total.Reasons[r].Documents, w.Total.Reasons[r].Bytes, w.Total.Rules[r])
	}
	for _, warning := range w.Warnings {
		fmt.Fprintf(s.Out, "\nwarning: %s\n", warning)
	}
	return nil
}

func corpusStats(s *Streams, dir string, asJSON bool) error {
	sum, err := pipeline.ReadSummary(filepath.Join(dir, "summary.json"))
	if err != nil {
		return err
	}
	if sum.Total.In.Tokens == 0 {
		if err := addTokens(sum, dir); err != nil {
			return err
		}
	}
	if asJSON {
		return s.JSON(sum)
	}
	writeSummary(s.Out, sum)
	return nil
}

// addTokens takes the tokens from the ledger, where they are counted when a tokenizer was trained on the corpus.
func addTokens(sum *pipeline.Summary, dir string) error {
	rows, err := pipeline.ReadLedger(filepath.Join(dir, "documents.parquet"))
	if err != nil {
		return err
	}
	at := map[string]*pipeline.SectionSummary{}
	for i := range sum.Sections {
		at[sum.Sections[i].Name] = &sum.Sections[i]
	}
	for _, r := range rows {
		for _, x := range []*pipeline.SectionSummary{at[r.Section], &sum.Total} {
			if x == nil {
				continue
			}
			add := func(m map[string]pipeline.Count, k string) {
				if c, ok := m[k]; ok {
					c.Tokens += r.Tokens
					m[k] = c
				}
			}
			x.In.Tokens += r.Tokens
			switch {
			case r.Verdict == pipeline.VerdictDrop:
				x.Removed.Tokens += r.Tokens
				add(x.Reasons, r.Reason)
				continue
			case r.Split == pipeline.SplitHeldout:
				x.Heldout.Tokens += r.Tokens
			default:
				x.Kept.Tokens += r.Tokens
			}
			add(x.Licenses, r.License)
			add(x.Marks, r.Reason)
			add(x.Detected, r.Detected)
		}
	}
	return nil
}

func writeSummary(w io.Writer, sum *pipeline.Summary) {
	fmt.Fprintf(w, "%-20s %-8s %-26s %8s %8s %8s %8s %13s %12s %12s %9s\n", "section", "language", "licence", "in", "kept", "held out", "removed", "bytes kept", "words", "tokens", "tokens/w.")
	line := func(x pipeline.SectionSummary) {
		license := x.License
		if license == "" && len(x.Licenses) > 0 {
			license = fmt.Sprintf("%d licences", len(x.Licenses))
			for id := range x.Licenses {
				if len(x.Licenses) == 1 {
					license = id
				}
			}
		}
		fertility := "-"
		if x.Kept.Tokens > 0 && x.Kept.Words > 0 {
			fertility = fmt.Sprintf("%.3f", float64(x.Kept.Tokens)/float64(x.Kept.Words))
		}
		fmt.Fprintf(w, "%-20s %-8s %-26s %8d %8d %8d %8d %13d %12d %12d %9s\n", x.Name, x.Language, license, x.In.Documents, x.Kept.Documents, x.Heldout.Documents,
			x.Removed.Documents, x.Kept.Bytes, x.Kept.Words, x.Kept.Tokens, fertility)
	}
	for _, x := range sum.Sections {
		line(x)
	}
	total := sum.Total
	total.Name, total.License, total.Licenses = "all", "", nil
	line(total)
	counts := func(title string, m map[string]pipeline.Count) {
		if len(m) == 0 {
			return
		}
		fmt.Fprintf(w, "\n%s\n", title)
		for _, k := range slices.Sorted(maps.Keys(m)) {
			fmt.Fprintf(w, "  %-24s %8d documents %14d bytes %12d tokens\n", k, m[k].Documents, m[k].Bytes, m[k].Tokens)
		}
	}
	fmt.Fprintf(w, "\nremoved, by reason\n")
	for _, r := range slices.Sorted(maps.Keys(sum.Total.Reasons)) {
		fmt.Fprintf(w, "  %-24s %8d documents %14d bytes\n", r, sum.Total.Reasons[r].Documents, sum.Total.Reasons[r].Bytes)
	}
	counts("kept and held out, by licence", sum.Total.Licenses)
	counts("kept with a mark", sum.Total.Marks)
	counts("language that was found, kept and held out", sum.Total.Detected)
	if len(sum.Total.Changes) > 0 {
		fmt.Fprintf(w, "\nfound or changed in the texts\n")
		for _, k := range slices.Sorted(maps.Keys(sum.Total.Changes)) {
			fmt.Fprintf(w, "  %-24s %8d\n", k, sum.Total.Changes[k])
		}
	}
	if c := sum.Total.Clusters; c.Clusters > 0 {
		fmt.Fprintf(w, "\n%d documents are copies or near copies of each other, in %d clusters\n", c.Documents, c.Clusters)
	}
	if len(sum.Total.Lengths) > 0 {
		fmt.Fprintf(w, "\nwords a document, kept and held out\n")
		most := slices.Max(sum.Total.Lengths)
		for i, n := range sum.Total.Lengths {
			if n > 0 {
				from := 0
				if i > 0 {
					from = 1 << (i - 1)
				}
				fmt.Fprintf(w, "  %8d to %8d %8d  %s\n", from, max(1<<i-1, 0), n, strings.Repeat("#", int(1+49*n/most)))
			}
		}
	}
	for _, b := range sum.Benchmarks {
		what := "removed from the training text"
		if b.Action == "mark" {
			what = "left in the training text, its scores are marked"
		}
		fmt.Fprintf(w, "\n%s: %d of %d items found in %d documents, %d of them word for word (%s)\n", b.Name, b.Hit, b.Items, len(b.Documents), b.Whole, what)
		for _, name := range slices.Sorted(maps.Keys(b.Sections)) {
			fmt.Fprintf(w, "  %-24s %8d items %8d documents\n", name, b.Sections[name].Items, b.Sections[name].Documents)
		}
	}
	for _, warning := range sum.Warnings {
		fmt.Fprintf(w, "\nwarning: %s\n", warning)
	}
}
