package cli

import (
	"context"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"

	"ravn/engine/cpu"
	"ravn/eval"
	"ravn/internal/progress"
	"ravn/model"
	"ravn/weights"
)

// ConvertCmd writes a model in another form.
type ConvertCmd struct {
	Src         string `arg:"" help:"Hugging Face folder or GGUF file."`
	Dst         string `arg:"" help:"What to write: a GGUF file when the name ends in .gguf, else a Hugging Face folder."`
	DType       string `name:"dtype" enum:",f32,f16,bf16,q8_0,q4_0" default:"" help:"Number format: f32, f16, bf16, and for GGUF q8_0 or q4_0. Without it the source's is kept."`
	Force       bool   `help:"Replace what stands at DST."`
	NoTokenizer bool   `help:"Leave the tokenizer out."`
	NoCheck     bool   `help:"Do not compare the result with the source."`
	Threads     int    `help:"Threads of the comparison; 0 uses all processors."`
	JSON        bool   `name:"json" help:"As JSON."`
}

// Help is shown under --help.
func (c *ConvertCmd) Help() string {
	return `Reads and writes a piece of a tensor at a time; DST appears whole or not at all. F32, F16 and BF16 come back from a round trip
with the same bytes. A q4_0 file has its output head in q8_0 and its norms in f32. Afterwards both models are opened and their
logits on fixed prompts compared.

Example:
  ravn convert runs/quickstart/release ravn-da.gguf --dtype q8_0`
}

// converted is what the command reports.
type converted struct {
	*weights.Converted
	Check *logitCheck `json:"check,omitempty"`
}

// Run converts, then compares.
func (c *ConvertCmd) Run(ctx context.Context, s *Streams) error {
	if _, err := os.Lstat(c.Dst); err == nil && !c.Force {
		return usageError{fmt.Errorf("convert: %s: %w (--force replaces it)", c.Dst, fs.ErrExist)}
	}
	if same, err := sameFile(c.Src, c.Dst); err == nil && same {
		return usageError{fmt.Errorf("convert: %s would replace its own source", c.Dst)}
	}
	var task *progress.Task
	var last int64
	done, err := weights.Convert(ctx, c.Dst, c.Src, weights.ConvertOptions{
		DType: model.DType(strings.ToUpper(c.DType)), NoTokenizer: c.NoTokenizer,
		Progress: func(done, total int64) {
			if task == nil {
				task = s.Progress().Start("convert", total, "bytes")
			}
			task.Add(done - last)
			last = done
		},
	})
	if err != nil {
		return err
	}
	task.Done()
	out := converted{Converted: done}
	if !c.NoCheck {
		if out.Check, err = compareLogits(ctx, c.Src, c.Dst, c.Threads); err != nil {
			out.Notes = append(out.Notes, fmt.Sprintf("not compared with the source: %v", err))
		}
	}
	if c.JSON {
		return s.JSON(out)
	}
	return out.print(s)
}

func sameFile(a, b string) (bool, error) {
	x, err := os.Stat(a)
	if err != nil {
		return false, err
	}
	y, err := os.Stat(b)
	return err == nil && os.SameFile(x, y), err
}

func (r *converted) print(s *Streams) error {
	fmt.Fprintf(s.Out, "%s: %s bytes of tensors", r.Path, progress.Count(r.Bytes))
	for _, d := range slices.Sorted(maps.Keys(r.Tensors)) {
		fmt.Fprintf(s.Out, ", %d in %s", r.Tensors[d], d)
	}
	fmt.Fprintln(s.Out)
	if r.Check != nil {
		fmt.Fprintf(s.Out, "logits differ from the source's by at most %.3g (they spread over %.3g); the likeliest token is the same at %d of %d places\n",
			r.Check.MaxDifference, r.Check.Spread, r.Check.SameTop, r.Check.Positions)
	}
	for _, n := range r.Notes {
		fmt.Fprintf(s.Out, "note: %s\n", n)
	}
	return nil
}

// logitCheck compares two models on fixed prompts.
type logitCheck struct {
	Positions     int     `json:"positions"`
	MaxDifference float64 `json:"max_difference"` // of a logit
	Spread        float64 `json:"spread"`         // largest less smallest logit of the source, for scale
	SameTop       int     `json:"same_top"`       // places where both find the same token likeliest
}

// checkPrompts are what converted models are compared on, in the tokens of the source.
var checkPrompts = []string{
	"Der var engang en ravn, som boede på et tag i Aarhus.",
	"The first law of the forest is that 17 + 25 = 42.",
	"Ærø, Östersund, Tromsø: rødgrød med fløde.\n\n- et\n- to\n",
}

// compareLogits runs the models at two paths over the prompts.
func compareLogits(ctx context.Context, was, is string, threads int) (*logitCheck, error) {
	a, err := weights.Open(was)
	if err != nil {
		return nil, err
	}
	defer a.Close()
	prompts := checkIDs(was, a.Config())
	want, err := logits(ctx, a, was, prompts, threads)
	if err != nil {
		return nil, err
	}
	b, err := weights.Open(is)
	if err != nil {
		return nil, err
	}
	defer b.Close()
	got, err := logits(ctx, b, is, prompts, threads)
	if err != nil {
		return nil, err
	}
	r := &logitCheck{}
	V := a.Config().VocabSize
	for i := range want {
		for at := 0; at < len(want[i]); at += V {
			r.add(got[i][at:at+V], want[i][at:at+V])
		}
	}
	return r, nil
}

// add compares the logits of one place.
func (r *logitCheck) add(got, want []float32) {
	r.Positions++
	var top [2]int
	for i := range want {
		r.MaxDifference = max(r.MaxDifference, float64(got[i]-want[i]), float64(want[i]-got[i]))
		if want[i] > want[top[0]] {
			top[0] = i
		}
		if got[i] > got[top[1]] {
			top[1] = i
		}
	}
	r.Spread = max(r.Spread, float64(slices.Max(want)-slices.Min(want)))
	if top[0] == top[1] {
		r.SameTop++
	}
}

// checkIDs are the tokens of the prompts; ids spread over the vocabulary for a model without a tokenizer.
func checkIDs(path string, c *model.Config) (out [][]int32) {
	room := min(c.MaxPositionEmbeddings, 64)
	tok, err := weights.LoadTokenizer(path)
	if err != nil || tok.Size() > c.VocabSize {
		ids := make([]int32, min(room, 32))
		for i := range ids {
			ids[i] = int32(i * 7919 % c.VocabSize)
		}
		return [][]int32{ids}
	}
	for _, p := range checkPrompts {
		var ids []int32
		if tok.BOS() >= 0 {
			ids = append(ids, tok.BOS())
		}
		ids = tok.Encode(ids, p)
		out = append(out, ids[:min(len(ids), room)])
	}
	return out
}

// logits are those of every place of every prompt.
func logits(ctx context.Context, m weights.Model, path string, prompts [][]int32, threads int) ([][]float32, error) {
	e, err := eval.OpenEngine(m, path, cpu.Options{Threads: threads})
	if err != nil {
		return nil, err
	}
	defer e.Close()
	var out [][]float32
	for _, ids := range prompts {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		session, err := e.NewSession(len(ids))
		if err != nil {
			return nil, err
		}
		session.UseThreads(true)
		l := make([]float32, len(ids)*m.Config().VocabSize)
		if err := session.Append(ids, l, 0); err != nil {
			return nil, err
		}
		out = append(out, l)
	}
	return out, nil
}
