package eval

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
)

// Session is one stream of tokens with its key-value cache. engine/cpu and engine/ref have such.
type Session interface {
	Len() int
	Truncate(n int)                                          // keeps the first n tokens
	Append(tokens []int32, logits []float32, from int) error // logits (len(tokens)-from, V) of tokens[from:]
}

// Engine opens sessions over shared weights. Logits must not depend on how a stream is cut into Append calls.
type Engine interface {
	NewSession(maxTokens int) (Session, error)
}

// Step is what one pass adds to one session, as Append of a session alone.
type Step struct {
	Session Session
	Tokens  []int32
	Logits  []float32
	From    int
}

// Batcher is an Engine that takes several sessions through the model in one pass, with all threads, and can copy what a
// session begins with. Each session gets what it would get alone.
type Batcher interface {
	Engine
	Append(steps []Step) error
	Copy(dst, src Session, tokens []int32) error // makes tokens, which src begins with, all of dst
	SessionBytes(maxTokens int) int64            // memory of one
}

// oneByOne is a Batcher of an engine that has no such passes.
type oneByOne struct{ Engine }

func (oneByOne) Append(steps []Step) error {
	for _, s := range steps {
		if err := s.Session.Append(s.Tokens, s.Logits, s.From); err != nil {
			return err
		}
	}
	return nil
}

func (oneByOne) Copy(dst, _ Session, tokens []int32) error {
	dst.Truncate(0)
	return dst.Append(tokens, nil, len(tokens))
}

func (oneByOne) SessionBytes(int) int64 { return 0 }

// EngineOf makes an Engine of an engine's NewSession method: eval.EngineOf(e.NewSession).
func EngineOf[S Session](newSession func(maxTokens int) (S, error)) Engine {
	return engineFunc(func(n int) (Session, error) { return newSession(n) })
}

type engineFunc func(maxTokens int) (Session, error)

func (f engineFunc) NewSession(maxTokens int) (Session, error) { return f(maxTokens) }

// Tokenizer is what a local model needs of a tokenizer; *tokenizer.Tokenizer is one.
type Tokenizer interface {
	Encode(dst []int32, text string) []int32
	EncodeText(dst []int32, text string) []int32 // of data: special strings stay text
	Decode(ids []int32) string
	BOS() int32
	EOS() int32
	Size() int
	Surface(id int32) string // what the id adds to a text that has begun; "" for control ids
}

// LocalOptions say how a local model is run. None of them changes what it answers but ContextTokens and WindowTokens.
type LocalOptions struct {
	Name          string // in records; "" is the folder's name
	Engine        string // "cpu" (also ""), "xla" for accelerators, or "ref", the slow reading copy
	Threads       int    // sessions that run beside each other; 0: one a processor
	ContextTokens int    // longest prompt and answer; 0: what the model was made for, at most 4096
	WindowTokens  int    // window of TextLoss; 0: ContextTokens, at most 1024
}

// Local is a model that runs here. Prompts are asked in sorted order so that a session computes what consecutive
// prompts have in common only once; this changes the time, not the answers.
type Local struct {
	engine  Engine
	tok     Tokenizer
	info    Info
	vocab   int // V, width of the logits
	context int
	window  int
	close   func() error

	mu      sync.Mutex // one call at a time
	workers []*worker
	forget  bool     // workers begin every prompt anew; tests measure what that costs
	masks   sync.Map // of grammars: maskKey to []uint64

	sent, computed atomic.Int64 // tokens of prompts
}

// NewLocal evaluates an engine that is already there. info.VocabSize is the width of its logits, info.MaxTokens what
// the model was made for.
func NewLocal(e Engine, tok Tokenizer, info Info, o LocalOptions) (*Local, error) {
	if info.VocabSize <= 0 || tok.Size() > info.VocabSize {
		return nil, fmt.Errorf("eval: %s: the tokenizer has %d pieces, the model scores %d (the tokenizer belongs to another model)", info.Name, tok.Size(), info.VocabSize)
	}
	if o.Name != "" {
		info.Name = o.Name
	}
	info.Generative, info.Grammars = true, true
	info.Kind = cmp.Or(info.Kind, "local")
	l := &Local{engine: e, tok: tok, vocab: info.VocabSize, context: o.ContextTokens, window: o.WindowTokens}
	if l.context <= 0 {
		l.context = 4096
	}
	if info.MaxTokens > 0 {
		l.context = min(l.context, info.MaxTokens)
	}
	if l.window <= 0 {
		l.window = 1024
	}
	l.window = min(l.window, l.context)
	if l.window < 4 {
		return nil, fmt.Errorf("eval: %s: a context of %d tokens is too short to ask anything", info.Name, l.context)
	}
	info.MaxTokens = l.context
	l.info = info
	threads := o.Threads
	if threads <= 0 {
		threads = runtime.GOMAXPROCS(0)
	}
	for range threads {
		l.workers = append(l.workers, &worker{l: l})
	}
	return l, nil
}

// Info describes the model; MaxTokens is the context it is asked with.
func (l *Local) Info() Info { return l.info }

// Close releases what OpenLocal loaded.
func (l *Local) Close() error {
	l.workers = nil
	if l.close == nil {
		return nil
	}
	return l.close()
}

// PromptTokens is how many tokens the prompts so far had, and how many of them went through the model; the others were in
// memory from a prompt that began alike. Tokens of choices count only as computed. It depends on the number of threads.
func (l *Local) PromptTokens() (sent, computed int64) { return l.sent.Load(), l.computed.Load() }

// CountTokens counts the tokens of text and a BOS where the tokenizer has one.
func (l *Local) CountTokens(text string) int { return len(l.encode(text)) }

// encode puts BOS, where there is one, before the tokens of text.
func (l *Local) encode(text string) []int32 {
	var ids []int32
	if bos := l.tok.BOS(); bos >= 0 {
		ids = append(ids, bos)
	}
	return l.tok.Encode(ids, text)
}

// cutLeft drops tokens after the BOS until n are left.
func (l *Local) cutLeft(ids []int32, n int) (cut []int32, dropped int) {
	if len(ids) <= n {
		return ids, 0
	}
	dropped = len(ids) - n
	if l.tok.BOS() >= 0 && n > 0 {
		return append([]int32{ids[0]}, ids[1+dropped:]...), dropped
	}
	return ids[dropped:], dropped
}

// choiceJob is a ChoicePrompt in tokens: the context all its choices share, and what each adds.
type choiceJob struct {
	context []int32
	choices [][]int32
	dropped int
}

// ChoiceScores scores Prompt+Choice against Prompt+Choice. Choices are compared from the first token that differs from
// the tokens of the prompt alone, so that a piece which joins the end of the prompt and the choice is scored too.
func (l *Local) ChoiceScores(ctx context.Context, prompts []ChoicePrompt) ([][]ChoiceScore, error) {
	jobs := make([]choiceJob, len(prompts))
	for i, p := range prompts {
		var err error
		if jobs[i], err = l.choiceJob(p); err != nil {
			return nil, fmt.Errorf("eval: prompt %d: %w", i, err)
		}
	}
	out := make([][]ChoiceScore, len(prompts))
	err := l.each(ctx, len(jobs), func(i int) []int32 { return jobs[i].context }, func(w *worker, i int) error {
		var err error
		out[i], err = w.choices(jobs[i])
		return err
	})
	return out, err
}

func (l *Local) choiceJob(p ChoicePrompt) (choiceJob, error) {
	if len(p.Choices) == 0 {
		return choiceJob{}, errors.New("no choices")
	}
	prompt := l.encode(p.Prompt)
	whole := make([][]int32, len(p.Choices))
	shared := len(prompt)
	for i, c := range p.Choices {
		whole[i] = l.encode(p.Prompt + c)
		shared = min(shared, commonPrefix(prompt, whole[i]), len(whole[i])-1)
	}
	if shared < 1 {
		return choiceJob{}, fmt.Errorf("prompt %q and choices %q leave no token of context (the tokenizer has no BOS)", p.Prompt, p.Choices)
	}
	longest := 0
	j := choiceJob{}
	for _, w := range whole {
		j.choices = append(j.choices, w[shared:])
		longest = max(longest, len(w)-shared)
	}
	if longest > l.context-1 {
		return choiceJob{}, fmt.Errorf("a choice of %d tokens does not fit the context of %d", longest, l.context)
	}
	j.context, j.dropped = l.cutLeft(prompt[:shared:shared], l.context-longest)
	return j, nil
}

// Generate continues greedily: the likeliest token, the lowest number on ties, until the end-of-text token, a stop
// string, or MaxTokens.
func (l *Local) Generate(ctx context.Context, prompts []GeneratePrompt) ([]Generation, error) {
	ids := make([][]int32, len(prompts))
	out := make([]Generation, len(prompts))
	for i, p := range prompts {
		if p.MaxTokens <= 0 || p.MaxTokens >= l.context {
			return nil, fmt.Errorf("eval: prompt %d: %d tokens to generate, the context holds %d", i, p.MaxTokens, l.context)
		}
		ids[i], out[i].Truncated = l.cutLeft(l.encode(p.Prompt), l.context-p.MaxTokens)
		if len(ids[i]) == 0 {
			return nil, fmt.Errorf("eval: prompt %d is empty (the tokenizer has no BOS)", i)
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.generate(ctx, out, ids, prompts); err != nil {
		return out, err
	}
	return out, nil
}

// each runs f for 0..n-1 on the workers, in the order of the tokens given by key and in small runs of neighbours, so
// that what a worker asks next mostly begins like what it asked last.
func (l *Local) each(ctx context.Context, n int, key func(i int) []int32, f func(w *worker, i int) error) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	order := sorted(n, key)
	const run = 4
	var next atomic.Int64
	errs := make([]error, len(l.workers))
	var wg sync.WaitGroup
	for k, w := range l.workers {
		wg.Go(func() {
			for {
				at := int(next.Add(run)) - run
				if at >= n {
					return
				}
				for _, i := range order[at:min(at+run, n)] {
					err := ctx.Err()
					if err == nil {
						err = f(w, i)
					}
					if err != nil {
						errs[k] = err
						next.Store(int64(n))
						w.reset()
						return
					}
				}
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// sorted is 0..n-1 in the order of the tokens that key gives; without a key as they are.
func sorted(n int, key func(i int) []int32) []int {
	order := make([]int, n)
	for i := range order {
		order[i] = i
	}
	if key != nil {
		slices.SortStableFunc(order, func(a, b int) int { return slices.Compare(key(a), key(b)) })
	}
	return order
}

func commonPrefix(a, b []int32) int {
	n := min(len(a), len(b))
	for i := range n {
		if a[i] != b[i] {
			return i
		}
	}
	return n
}

// argmax is the place of the largest value, the first on ties.
func argmax(x []float32) int {
	best := 0
	for i, v := range x {
		if v > x[best] {
			best = i
		}
	}
	return best
}

// logSumExp is log Σ exp(x), summed in float64 from first to last.
func logSumExp(x []float32) float64 {
	m := float64(x[argmax(x)])
	var s float64
	for _, v := range x {
		s += math.Exp(float64(v) - m)
	}
	return m + math.Log(s)
}

// cutStop cuts text before the earliest stop string.
func cutStop(text string, stop []string) (string, bool) {
	at := -1
	for _, s := range stop {
		if i := strings.Index(text, s); s != "" && i >= 0 && (at < 0 || i < at) {
			at = i
		}
	}
	if at < 0 {
		return text, false
	}
	return text[:at], true
}
