package task

import (
	"context"
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"unicode/utf8"

	"ravn/eval"
	"ravn/stats"
)

// textChunk is how many texts a model is handed at once.
const textChunk = 16

func checkText(r *Row) error {
	if r.Text == "" {
		return errors.New("no text")
	}
	if !utf8.ValidString(r.Text) {
		return errors.New("the text is not UTF-8")
	}
	if r.Source == "" {
		return errors.New("no source (results are given by source)")
	}
	return nil
}

// bitsMetric is bits per byte of (bits, bytes): nats/(ln 2 · UTF-8 bytes), EOS not scored.
var bitsMetric = metric{"bpb", 1, func(c []float64) float64 { return c[0] / c[1] }, true}

// NewTexts makes a data set of texts for bits per byte. Each row has Text and Source; Language where it differs
// from the only one of the set.
func NewTexts(name string, languages []string, rows []Row) (*Dataset, error) {
	for i := range rows {
		if rows[i].Language == "" && len(languages) == 1 {
			rows[i].Language = languages[0]
		}
	}
	return New(Spec{Name: name, Task: BitsPerByte, Languages: languages}, nil, nil, rows)
}

// LoadTexts reads held-out texts from JSONL files (.gz and .zst too) with the fields text and source; a line without
// language has the one its file is named after (da.jsonl.gz).
func LoadTexts(name string, paths ...string) (*Dataset, error) {
	d := &Dataset{Spec: Spec{Name: name, Task: BitsPerByte}}
	var errs []error
	for _, path := range paths {
		stem, _, _ := strings.Cut(filepath.Base(path), ".")
		n := len(errs)
		err := eachLine(path, func(line int, data []byte) error {
			r, err := parseRow(data, nil)
			if r.Language == "" {
				r.Language = stem
			}
			if err == nil {
				err = checkText(&r)
			}
			if err != nil {
				errs = append(errs, fmt.Errorf("task: %s:%d: %w", path, line, err))
				if len(errs)-n == maxRowErrors {
					return errors.New("too many bad lines, the rest is not read")
				}
				return nil
			}
			d.Test = append(d.Test, r)
			return nil
		})
		if err != nil {
			errs = append(errs, fmt.Errorf("task: %s: %w", path, err))
		}
	}
	for i := range d.Test {
		if l := d.Test[i].Language; !slices.Contains(d.Languages, l) {
			d.Languages = append(d.Languages, l)
		}
	}
	slices.Sort(d.Languages)
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return d, d.checkParts()
}

// evaluateTexts scores whole texts. Estimates are "bpb" over all, "bpb/language=L" and "bpb/source=S"; documents are
// what is resampled, for windows of one document are not independent.
func evaluateTexts(ctx context.Context, m eval.Model, d *Dataset, o Options) (*Result, error) {
	rows, err := d.Split(o.Split)
	if err != nil {
		return nil, err
	}
	pick := limitBySource(rows, o.Limit)
	r := &Result{Record: newRecord(m, d, o)}
	p := r.Record.Ravn
	p.Mode, p.Primary, p.LowerBetter = eval.ModeRavn, bitsMetric.name, true
	p.Items, p.RowsInSplit, p.Limit, p.Iterations, p.Prompts = len(pick), len(rows), o.Limit, 1, len(pick)
	r.Record.FewShot = false
	cut := 0
	t := o.Progress.Start("eval "+d.Name, int64(len(pick)), "texts")
	defer t.Done()
	for at := 0; at < len(pick); at += textChunk {
		part := pick[at:min(at+textChunk, len(pick))]
		texts := make([]string, len(part))
		for i, row := range part {
			texts[i] = cutBytes(rows[row].Text, o.TextBytes)
			if len(texts[i]) < len(rows[row].Text) {
				cut++
			}
		}
		losses, err := m.TextLoss(ctx, texts)
		if err != nil {
			return nil, fmt.Errorf("task: %s on %s: %w", m.Info().Name, d.Name, err)
		}
		for i, row := range part {
			if math.IsNaN(losses[i].NLL) {
				return nil, fmt.Errorf("task: %s on %s: the loss of text %q is NaN", m.Info().Name, d.Name, rows[row].ID)
			}
			r.Predictions = append(r.Predictions, eval.Prediction{
				Row: row, Times: 1, ID: rows[row].ID, Group: rows[row].Language + "/" + rows[row].Source,
				Counts: []float64{losses[i].NLL / math.Ln2, float64(losses[i].Bytes)}, Seen: o.Seen[row],
			})
		}
		t.Add(int64(len(part)))
	}
	estimateTexts(p, r.Predictions, o)
	value := eval.Score(p.Estimates["bpb"].Value)
	r.Record.Results.Raw.Test = []map[string]eval.Score{{"bpb": value}}
	r.Record.Results.Total["test_bpb"] = value
	r.Record.Results.Total["test_bpb_se"] = eval.Score(1.96 * p.Estimates["bpb"].SE)
	if o.Seen != nil {
		markSeenTexts(p, r.Predictions, o)
	}
	warn(p, d)
	if cut > 0 {
		p.Warnings = append(p.Warnings, fmt.Sprintf("%d texts were scored on their first %d bytes only", cut, o.TextBytes))
	}
	return r, nil
}

// groups lists the groups of texts with the predictions of each: "", "language=da", "source=adl", sorted.
func groups(ps []eval.Prediction) (names []string, member func(p *eval.Prediction, name string) bool) {
	names = []string{""}
	for i := range ps {
		lang, source, _ := strings.Cut(ps[i].Group, "/")
		names = append(names, "language="+lang, "source="+source)
	}
	slices.Sort(names)
	return slices.Compact(names), func(p *eval.Prediction, name string) bool {
		lang, source, _ := strings.Cut(p.Group, "/")
		return name == "" || name == "language="+lang || name == "source="+source
	}
}

func estimateTexts(p *eval.Provenance, ps []eval.Prediction, o Options) {
	names, member := groups(ps)
	for _, name := range names {
		var bits, size []float64
		for i := range ps {
			if member(&ps[i], name) {
				bits, size = append(bits, ps[i].Counts[0]), append(size, ps[i].Counts[1])
			}
		}
		e := stats.BootstrapRatio(bits, size, o.Bootstrap)
		e.Method += " of documents"
		p.Estimates[groupKey(name)] = e
	}
}

func groupKey(name string) string {
	if name == "" {
		return bitsMetric.name
	}
	return bitsMetric.name + "/" + name
}

func markSeenTexts(p *eval.Provenance, ps []eval.Prediction, o Options) {
	c := &eval.Contamination{Against: o.SeenAgainst, Items: len(ps)}
	for i := range ps {
		if ps[i].Seen {
			c.Hit++
		}
	}
	p.Contamination = c
	if c.Hit > 0 {
		p.Warnings = append(p.Warnings, fmt.Sprintf("%d of %d texts were found in the training text", c.Hit, c.Items))
	}
}

// limitBySource takes the first limit rows of each source and language, in order; 0 takes all.
func limitBySource(rows []Row, limit int) []int {
	count := map[string]int{}
	var pick []int
	for i := range rows {
		key := rows[i].Language + "/" + rows[i].Source
		if limit > 0 && count[key] == limit {
			continue
		}
		count[key]++
		pick = append(pick, i)
	}
	return pick
}

// cutBytes is the beginning of s, at most n bytes and no broken character; 0 is all of it.
func cutBytes(s string, n int) string {
	if n <= 0 || len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}
