package weights

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"

	"ravn/internal/atomicfile"
	"ravn/model"
	"ravn/tokenizer"
)

// ConvertOptions say how a model is written in another form.
type ConvertOptions struct {
	// DType is one of F32, F16 and BF16, in a GGUF file also Q8_0 and Q4_0. Empty keeps what the source has; a Hugging
	// Face folder made of a GGUF file with blocks is then F32.
	DType       model.DType
	ShardBytes  int64 // of a Hugging Face folder; 0 is DefaultShardBytes
	NoTokenizer bool  // leave it out: for tokenizers that GGUF cannot say, and models that have none
	About       About // of a GGUF file; an empty name is that of the source

	Progress func(done, total int64) // called with bytes of the source that are done; may be nil
}

// Converted says what was written.
type Converted struct {
	Path    string                `json:"path"`
	Format  string                `json:"format"` // "gguf" or "huggingface"
	Tensors map[model.DType]int   `json:"tensors"`
	Bytes   int64                 `json:"bytes"` // of the tensors
	Sizes   map[model.DType]int64 `json:"bytes_by_type"`
	Notes   []string              `json:"notes,omitempty"`
}

// Convert writes the model at src, a Hugging Face folder or a GGUF file, to dst: a GGUF file when its name ends in .gguf,
// a folder otherwise. It reads and writes a piece of a tensor at a time. dst appears whole or not at all; one of that name
// is replaced.
//
// Between F32, F16, BF16 and the same format nothing is rounded, so a model comes back from a round trip with the same
// bytes. Rounding to F16 that would make a number infinite is an error.
func Convert(ctx context.Context, dst, src string, o ConvertOptions) (*Converted, error) {
	c, err := newConversion(ctx, dst, src, o)
	if err != nil {
		return nil, err
	}
	defer c.close()
	if c.out.Format == "gguf" {
		err = c.toGGUF()
	} else {
		err = c.toFolder()
	}
	if err != nil {
		return nil, err
	}
	return &c.out, nil
}

// conversion is one on its way.
type conversion struct {
	ctx      context.Context
	o        ConvertOptions
	src, dst string
	from     Model
	stored   []model.Tensor // in the order of the layout, rows as they are stored
	place    map[string]int
	rowsIn   bool // q and k are interleaved in the source
	rowsOut  bool // and in the result
	done     int64
	total    int64
	out      Converted
}

func newConversion(ctx context.Context, dst, src string, o ConvertOptions) (*conversion, error) {
	c := &conversion{ctx: ctx, o: o, src: src, dst: dst, place: map[string]int{}}
	c.out = Converted{Path: dst, Format: "huggingface", Tensors: map[model.DType]int{}, Sizes: map[model.DType]int64{}}
	if strings.EqualFold(filepath.Ext(dst), ".gguf") {
		c.out.Format, c.rowsOut = "gguf", true
	}
	if o.DType != "" && (!slices.Contains(writable, o.DType) || !c.rowsOut && o.DType.Size() == 0) {
		return nil, fmt.Errorf("weights: %s cannot be written as %s (a folder holds F32, F16 and BF16, a .gguf file also Q8_0 and Q4_0)", dst, o.DType)
	}
	var err error
	if c.from, err = Open(src); err != nil {
		return nil, err
	}
	c.stored = c.from.Tensors()
	if g, ok := c.from.(*GGUF); ok {
		c.stored, c.rowsIn = g.Stored(), true
	}
	for i, t := range c.stored {
		c.place[t.Name] = i
		c.total += int64(len(t.Data))
	}
	c.out.Notes = slices.Clone(c.from.Notes())
	return c, nil
}

func (c *conversion) close() { c.from.Close() }

// mainType is the format that most numbers of the source are in.
func (c *conversion) mainType() model.DType {
	count := map[model.DType]int{}
	best := c.stored[0].DType
	for _, t := range c.stored {
		if count[t.DType] += t.NumElements(); count[t.DType] > count[best] {
			best = t.DType
		}
	}
	return best
}

func (c *conversion) note(format string, args ...any) {
	c.out.Notes = append(c.out.Notes, fmt.Sprintf(format, args...))
}

// toFolder writes a Hugging Face folder.
func (c *conversion) toFolder() error {
	o := SaveOptions{DType: c.o.DType, ShardBytes: c.o.ShardBytes}
	if o.DType == "" {
		if o.DType = c.mainType(); o.DType.Size() == 0 {
			o.DType = model.F32
		}
	}
	if !c.o.NoTokenizer {
		tok, err := c.tokenizer()
		if err != nil {
			return err
		}
		if tok != nil {
			o.Files = tok.Files()
		}
	}
	tmp, err := atomicfile.TempDir(c.dst)
	if err != nil {
		return fmt.Errorf("weights: %w", err)
	}
	defer os.RemoveAll(tmp)
	if err := writeFolder(tmp, c.from.Config(), o, func(p model.Param) source { return c.source(p, p.Name, o.DType) }); err != nil {
		return err
	}
	if err := atomicfile.ReplaceDir(tmp, c.dst); err != nil {
		return fmt.Errorf("weights: %w", err)
	}
	return nil
}

// toGGUF writes a GGUF file.
func (c *conversion) toGGUF() error {
	main := c.o.DType
	if main == "" {
		main = c.mainType()
	}
	if c.o.About.Name == "" {
		base := filepath.Base(filepath.Clean(c.src))
		c.o.About.Name = strings.TrimSuffix(base, filepath.Ext(base))
		if !c.rowsIn {
			c.o.About.Name = base
		}
	}
	pairs, err := modelPairs(c.from.Config(), main, &c.o.About)
	if err != nil {
		return fmt.Errorf("weights: %s: %w", c.dst, err)
	}
	if c.o.NoTokenizer {
		pairs = append(pairs, pair{keyTokenizer, "none"})
	} else {
		tok, err := c.tokenizer()
		if err != nil {
			return err
		}
		if tok != nil {
			more, err := tokenizerPairs(tok, c.from.Config().VocabSize)
			if err != nil {
				return fmt.Errorf("weights: %s: %w\n\t(--no-tokenizer leaves it out)", c.dst, err)
			}
			pairs = append(pairs, more...)
		} else {
			pairs = append(pairs, pair{keyTokenizer, "none"})
		}
	}
	pairs = c.keep(pairs)
	var ts []source
	for _, p := range c.from.Config().Layout() {
		ts = append(ts, c.source(p, ggufName(p.Name), c.mix(p)))
	}
	return ggufSources(c.dst, pairs, ts)
}

// keep adds what a GGUF source says and this package does not write.
func (c *conversion) keep(pairs []pair) []pair {
	g, ok := c.from.(*GGUF)
	if !ok {
		return pairs
	}
	have := map[string]bool{"general.alignment": true}
	for _, p := range pairs {
		have[p.key] = true
	}
	for _, p := range g.c.pairs {
		if !have[p.key] && !strings.HasPrefix(p.key, "tokenizer.") {
			pairs = append(pairs, p)
		}
	}
	return pairs
}

// mix is the format of a parameter in a GGUF file: vectors F32; the head of a Q4_0 file Q8_0, which costs little and
// helps much; rows that are not whole blocks F16; all else as asked.
func (c *conversion) mix(p model.Param) model.DType {
	d := c.o.DType
	head := p.Name == "lm_head.weight" || c.from.Config().TieWordEmbeddings && p.Name == "model.embed_tokens.weight"
	switch {
	case len(p.Shape) == 1:
		return model.F32
	case d == "":
		d = c.stored[c.place[p.Name]].DType
	case d == model.Q4_0 && head:
		d = model.Q8_0
	}
	if d.RowBytes(p.Shape[1]) == 0 {
		n, _ := d.Block()
		c.note("%s is F16: its rows of %d are not whole blocks of %d", p.Name, p.Shape[1], n)
		return model.F16
	}
	return d
}

// tokenizer reads the source's; nil when it has none.
func (c *conversion) tokenizer() (*tokenizer.Tokenizer, error) {
	if g, ok := c.from.(*GGUF); ok {
		if kind, there := g.c.byKey[keyTokenizer]; !there || kind == "none" {
			c.note("the source has no tokenizer")
			return nil, nil
		}
		return g.Tokenizer()
	}
	for _, name := range []string{"tokenizer.model", "tokenizer.json"} {
		if exists(filepath.Join(c.src, name)) {
			return tokenizer.Load(c.src)
		}
	}
	c.note("the source has no tokenizer")
	return nil, nil
}

// source is parameter p to be written as name in the format d.
func (c *conversion) source(p model.Param, name string, d model.DType) source {
	t := c.stored[c.place[p.Name]]
	rows, width := 1, p.Shape[0]
	if len(p.Shape) > 1 {
		rows, width = p.Shape[0], p.Shape[1]
	}
	order := func(r int) int { return r }
	if heads := rotated(c.from.Config(), p.Name); heads > 0 && c.rowsIn != c.rowsOut {
		if c.rowsIn {
			order = func(r int) int { return interleaved(r, heads, rows) }
		} else {
			order = func(r int) int { return halves(r, heads, rows) }
		}
	}
	bytes := uint64(rows) * uint64(d.RowBytes(width))
	c.out.Tensors[d]++
	c.out.Sizes[d] += int64(bytes)
	c.out.Bytes += int64(bytes)
	return source{name, d, p.Shape, bytes, func(w io.Writer) error {
		r := rewriter{t: t, to: d, rows: rows, width: width, order: order}
		return r.write(w, func(n int64) error {
			c.done += n
			if c.o.Progress != nil {
				c.o.Progress(c.done, c.total)
			}
			return c.ctx.Err()
		})
	}}
}

// halves undoes interleaved: which row of Hugging Face's order stands as row r of GGUF's.
func halves(r, heads, rows int) int {
	d := rows / heads
	head, at := r/d, r%d
	return head*d + at%2*(d/2) + at/2
}

// rewriter writes the rows of a tensor in another order and format.
type rewriter struct {
	t           model.Tensor
	to          model.DType
	rows, width int
	order       func(r int) int // the stored row that becomes row r
}

// pieceElements is about how many numbers one worker converts at a time.
const pieceElements = 1 << 18

// write converts pieces of rows on all processors and writes them in order. It calls tell with the bytes of t that are
// done.
func (r *rewriter) write(w io.Writer, tell func(n int64) error) error {
	size := len(r.t.Data) / r.rows
	piece := max(1, pieceElements/r.width)
	workers := runtime.GOMAXPROCS(0)
	bufs, errs := make([][]byte, workers), make([]error, workers)
	for at := 0; at < r.rows; {
		var wg sync.WaitGroup
		first, n := at, 0
		for k := range workers {
			if at == r.rows {
				break
			}
			from, to := at, min(at+piece, r.rows)
			at, n = to, k+1
			wg.Go(func() { bufs[k], errs[k] = r.convert(bufs[k][:0], from, to) })
		}
		wg.Wait()
		if err := errors.Join(errs[:n]...); err != nil {
			return err
		}
		for _, b := range bufs[:n] {
			if _, err := w.Write(b); err != nil {
				return err
			}
		}
		if err := tell(int64((at - first) * size)); err != nil {
			return err
		}
	}
	return nil
}

// convert appends rows from to to of the result to dst.
func (r *rewriter) convert(dst []byte, from, to int) ([]byte, error) {
	size := len(r.t.Data) / r.rows
	if r.t.DType == r.to {
		for i := from; i < to; i++ {
			at := r.order(i) * size
			dst = append(dst, r.t.Data[at:at+size]...)
		}
		return dst, nil
	}
	row := make([]float32, r.width)
	for i := from; i < to; i++ {
		at := r.order(i) * size
		if err := ToF32(row, model.Tensor{Name: r.t.Name, DType: r.t.DType, Data: r.t.Data[at : at+size]}); err != nil {
			return nil, err
		}
		if err := r.fits(row, i); err != nil {
			return nil, err
		}
		n := len(dst)
		dst = slices.Grow(dst, r.to.RowBytes(r.width))[:n+r.to.RowBytes(r.width)]
		FromF32(dst[n:], row, r.to)
	}
	return dst, nil
}

// fits reports numbers that the format cannot hold.
func (r *rewriter) fits(row []float32, i int) error {
	const f16Max = 65520 // rounds to infinity
	for _, x := range row {
		switch {
		case r.to == model.F16 && abs(x) >= f16Max && !math.IsInf(float64(x), 0):
			return fmt.Errorf("weights: tensor %q, row %d: %g is beyond the range of F16 (take bf16 or f32)", r.t.Name, i, x)
		case r.to.Size() == 0 && x-x != 0:
			return fmt.Errorf("weights: tensor %q, row %d: %g cannot be quantised (the model is broken)", r.t.Name, i, x)
		case r.to.Size() == 0 && abs(x) > 65504*8:
			return fmt.Errorf("weights: tensor %q, row %d: %g needs a scale beyond the range of F16 (take bf16)", r.t.Name, i, x)
		}
	}
	return nil
}
