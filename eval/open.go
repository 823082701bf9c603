package eval

import (
	"cmp"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"

	"ravn/engine/cpu"
	"ravn/engine/ref"
	"ravn/engine/xla"
	"ravn/model"
	"ravn/run"
	"ravn/tokenizer"
	"ravn/weights"
)

// OpenLocal opens a Hugging Face folder or a GGUF file with its tokenizer. Close releases it.
func OpenLocal(path string, o LocalOptions) (*Local, error) {
	tok, err := weights.LoadTokenizer(path)
	if err != nil {
		return nil, fmt.Errorf("eval: %w", err)
	}
	m, err := weights.Open(path)
	if err != nil {
		return nil, fmt.Errorf("eval: %w", err)
	}
	l, err := openLocal(m, tok, path, o)
	if err != nil {
		return nil, errors.Join(err, m.Close())
	}
	return l, nil
}

func openLocal(m weights.Model, tok *tokenizer.Tokenizer, path string, o LocalOptions) (*Local, error) {
	e, closer, err := openEngine(m, path, o)
	if err != nil {
		return nil, err
	}
	name := filepath.Base(filepath.Clean(path))
	if abs, err := filepath.Abs(path); err == nil {
		name = filepath.Base(abs)
	}
	hash, err := weights.Hash(m)
	if err != nil {
		return nil, errors.Join(err, closer())
	}
	info := InfoOf(name, m.Config(), hash)
	if o.Engine != "" && o.Engine != "cpu" {
		info.Kind += " on " + o.Engine // whose roundings differ, so that kept answers are not mixed
	}
	l, err := NewLocal(e, tok, info, o)
	if err != nil {
		return nil, errors.Join(err, closer())
	}
	l.close = func() error { return errors.Join(closer(), m.Close()) }
	return l, nil
}

// InfoOf describes a decoder by its configuration.
func InfoOf(name string, c *model.Config, hash string) Info {
	return Info{
		Name: name, Params: int64(c.NumParams()), MaxTokens: c.MaxPositionEmbeddings, VocabSize: c.VocabSize,
		Generative: true, Hash: hash, Kind: "local",
	}
}

// openEngine starts the engine that o names over m.
func openEngine(m weights.Model, path string, o LocalOptions) (Engine, func() error, error) {
	switch cmp.Or(o.Engine, "cpu") {
	case "cpu":
		e, err := OpenEngine(m, path, cpu.Options{Threads: o.Threads})
		if err != nil {
			return nil, nil, err
		}
		return cpuEngine{e}, e.Close, nil
	case "ref":
		w, err := m.Float32()
		if err != nil {
			return nil, nil, err
		}
		e, err := ref.New[float32](w)
		if err != nil {
			return nil, nil, err
		}
		return &refEngine{e: e}, func() error { return nil }, nil
	case "xla":
		w, err := m.Float32()
		if err != nil {
			return nil, nil, err
		}
		e, err := xla.New(w, xla.Options{Devices: 1, BF16: m.Config().TorchDtype == "bfloat16"})
		if err != nil {
			return nil, nil, err
		}
		return xlaEngine{e}, e.Close, nil
	}
	return nil, nil, fmt.Errorf("eval: engine %q is not known (cpu, ref or xla)", o.Engine)
}

// OpenEngine runs the model m, which was opened from path, on the processor, its weights where they lie. m must stay
// open until the engine is closed. Of o, Threads, Cache and Slide count. A model that this machine's memory cannot hold
// is refused.
func OpenEngine(m weights.Model, path string, o cpu.Options) (*cpu.Engine, error) {
	tensors := m.Tensors
	if g, ok := m.(*weights.GGUF); ok {
		tensors, o.Interleaved = g.Stored, true
	}
	ts := tensors()
	if err := fits(m.Config(), o, ts, path, run.ThisMachine().MemoryBytes); err != nil {
		return nil, err
	}
	e, err := cpu.Open(m.Config(), ts, o)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return e, nil
}

// fits compares what a model takes with the memory of the machine, in bytes; 0 is not known. Pages of the file that do
// not fit would be read from the disk again for every token.
func fits(c *model.Config, o cpu.Options, ts []model.Tensor, path string, memory int64) error {
	var size, numbers int64
	for i := range ts {
		size += int64(len(ts[i].Data))
		numbers += int64(ts[i].NumElements())
	}
	context := min(c.MaxPositionEmbeddings, 2048)
	keys := cpu.SessionBytes(c, o, context)
	if memory == 0 || size+keys <= memory {
		return nil
	}
	advice := "use a machine with more memory"
	for _, d := range []model.DType{model.Q8_0, model.Q4_0} {
		if small := numbers / 32 * int64(d.RowBytes(32)); small+keys <= memory && small < size {
			advice = fmt.Sprintf("ravn convert %s %s --dtype %s makes a file of %s that does",
				path, filepath.Base(path)+"-"+strings.ToLower(string(d))+".gguf", strings.ToLower(string(d)), gigabytes(small))
			break
		}
	}
	return fmt.Errorf("%s takes %s for its weights and %s for %d tokens of text; this machine has %s, so it does not fit (%s)",
		path, gigabytes(size), gigabytes(keys), context, gigabytes(memory), advice)
}

func gigabytes(n int64) string { return fmt.Sprintf("%.1f GB", float64(n)/1e9) }

// cpuEngine is engine/cpu as a Batcher.
type cpuEngine struct{ e *cpu.Engine }

func (c cpuEngine) NewSession(maxTokens int) (Session, error) { return c.e.NewSession(maxTokens) }

func (c cpuEngine) SessionBytes(maxTokens int) int64 {
	return cpu.SessionBytes(c.e.Config(), cpu.Options{}, maxTokens)
}

func (c cpuEngine) Append(steps []Step) error {
	pieces := make([]cpu.Piece, len(steps))
	for i, s := range steps {
		pieces[i] = cpu.Piece{Session: s.Session.(*cpu.Session), Tokens: s.Tokens, Logits: s.Logits, From: s.From}
	}
	if len(pieces) > 0 {
		first := pieces[0].Session
		first.UseThreads(true)
		defer first.UseThreads(false)
	}
	return c.e.Append(pieces)
}

func (c cpuEngine) Copy(dst, src Session, tokens []int32) error {
	return dst.(*cpu.Session).CopyFrom(src.(*cpu.Session), len(tokens))
}

// xlaEngine is engine/xla as a Batcher.
type xlaEngine struct{ e *xla.Engine }

func (x xlaEngine) NewSession(maxTokens int) (Session, error) { return x.e.NewSession(maxTokens) }

func (x xlaEngine) SessionBytes(maxTokens int) int64 { return x.e.SessionBytes(maxTokens) }

func (x xlaEngine) Append(steps []Step) error {
	pieces := make([]xla.Piece, len(steps))
	for i, s := range steps {
		pieces[i] = xla.Piece{Session: s.Session.(*xla.Session), Tokens: s.Tokens, Logits: s.Logits, From: s.From}
	}
	return x.e.Append(pieces)
}

func (x xlaEngine) Copy(dst, src Session, tokens []int32) error {
	return dst.(*xla.Session).CopyFrom(src.(*xla.Session), len(tokens))
}

// refEngine gives the reading copy sessions without a cache: each Append reckons its text from the beginning, one
// session at a time.
type refEngine struct {
	mu sync.Mutex
	e  *ref.Engine[float32]
}

func (r *refEngine) NewSession(maxTokens int) (Session, error) {
	return &refSession{engine: r, max: maxTokens}, nil
}

type refSession struct {
	engine *refEngine
	max    int
	tokens []int32
}

func (s *refSession) Len() int       { return len(s.tokens) }
func (s *refSession) Truncate(n int) { s.tokens = s.tokens[:n] }

func (s *refSession) Append(tokens []int32, logits []float32, from int) error {
	if len(s.tokens)+len(tokens) > s.max {
		return fmt.Errorf("eval: %d tokens after %d, the session was made for %d", len(tokens), len(s.tokens), s.max)
	}
	s.tokens = append(s.tokens, tokens...)
	if from == len(tokens) {
		return nil
	}
	s.engine.mu.Lock()
	defer s.engine.mu.Unlock()
	all, err := s.engine.e.Logits(s.tokens)
	if err != nil {
		return err
	}
	copy(logits, all[(len(s.tokens)-len(tokens)+from)*s.engine.e.Config().VocabSize:])
	return nil
}
