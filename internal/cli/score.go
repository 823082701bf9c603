package cli

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"

	"ravn/engine/cpu"
	"ravn/engine/ref"
	"ravn/eval"
	"ravn/kernel"
	"ravn/model"
	"ravn/tokenizer"
	"ravn/weights"
)

// maxLine is the longest line that commands read from stdin, in bytes.
const maxLine = 64 << 20

// ScoreCmd says how likely a model finds given texts.
type ScoreCmd struct {
	Model   string `arg:"" help:"Hugging Face folder or GGUF file."`
	JSON    bool   `name:"json" help:"Read and write JSON lines (the only form; accepted for symmetry)."`
	Tokens  bool   `help:"Also write ids and logprobs, one per id after the first."`
	Engine  string `enum:"cpu,ref" default:"cpu" help:"cpu, or ref, the slow reading copy in float64."`
	Threads int    `help:"Threads; 0 uses all processors."`
	Window  int    `help:"Tokens of context at most; 0 is what the model was made for, at most 4096."`
}

// Help is shown under --help.
func (c *ScoreCmd) Help() string {
	return `Reads one JSON object a line from stdin and writes one for each:
  {"text": "…"}                          every token after BOS is scored
  {"prompt": "…", "continuation": "…"}   only the continuation's tokens are scored
  {"ids": [1, 450, …]}                   every id after the first; works without a tokenizer
Written: nll (nats over the scored tokens), tokens, bytes (UTF-8, of what was scored) and bpb (bits per byte). Texts longer
than the window are scored in overlapping windows: each token sees at least half a window of what stands before it.

Example:
  echo '{"text": "Ravnen fløj over marken."}' | ravn score runs/quickstart/release --json`
}

type scoreRequest struct {
	Text         *string `json:"text"`
	Prompt       *string `json:"prompt"`
	Continuation *string `json:"continuation"`
	IDs          []int32 `json:"ids"`
}

type scoreReply struct {
	NLL      float64   `json:"nll"`
	Tokens   int       `json:"tokens"`
	Bytes    int       `json:"bytes"`
	BPB      *float64  `json:"bpb"` // null where there are no bytes
	IDs      []int32   `json:"ids,omitempty"`
	LogProbs []float64 `json:"logprobs,omitempty"`
}

// lossEngine is what scoring needs of an engine.
type lossEngine interface {
	Loss(nll []float32, b *model.Batch) error
	Close() error
}

// Run reads requests until the end of input.
func (c *ScoreCmd) Run(ctx context.Context, s *Streams) error {
	m, err := weights.Open(c.Model)
	if err != nil {
		return err
	}
	defer m.Close()
	tok, err := weights.LoadTokenizer(c.Model)
	if err != nil && hasTokenizer(c.Model) {
		return err
	}
	cfg := m.Config()
	window := c.Window
	if window <= 0 {
		window = min(cfg.MaxPositionEmbeddings, 4096)
	}
	if window < 2 || window > cfg.MaxPositionEmbeddings {
		return usageError{fmt.Errorf("score: --window %d must lie between 2 and the model's %d", window, cfg.MaxPositionEmbeddings)}
	}
	engine, err := c.engine(m, window)
	if err != nil {
		return err
	}
	defer engine.Close()
	sc := &scorer{engine: engine, tok: tok, vocab: cfg.VocabSize, window: window}
	out := bufio.NewWriter(s.Out)
	defer out.Flush()
	enc := json.NewEncoder(out)
	enc.SetEscapeHTML(false)
	return eachLine(s.In, func(n int, line []byte) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		var q scoreRequest
		if err := json.Unmarshal(line, &q); err != nil {
			return fmt.Errorf("score: line %d: %w (one JSON object a line is wanted)", n, err)
		}
		reply, err := sc.score(q)
		if err != nil {
			return fmt.Errorf("score: line %d: %w", n, err)
		}
		if !c.Tokens {
			reply.IDs, reply.LogProbs = nil, nil
		}
		if err := enc.Encode(reply); err != nil {
			return err
		}
		return out.Flush()
	})
}

func (c *ScoreCmd) engine(m weights.Model, window int) (lossEngine, error) {
	if c.Engine == "ref" {
		w, err := m.Float32()
		if err != nil {
			return nil, err
		}
		return ref.New[float64](w)
	}
	e, err := eval.OpenEngine(m, c.Model, cpu.Options{Threads: c.Threads})
	if err != nil {
		return nil, err
	}
	session, err := e.NewSession(window)
	if err != nil {
		return nil, errors.Join(err, e.Close())
	}
	session.UseThreads(true)
	return &sessionLoss{e: e, session: session, logits: make([]float32, lossRows*m.Config().VocabSize)}, nil
}

// lossRows is how many rows of logits are held at once.
const lossRows = 128

// sessionLoss scores the one row of a batch in a session, whose weights may have any format.
type sessionLoss struct {
	e       *cpu.Engine
	session *cpu.Session
	logits  []float32
}

func (l *sessionLoss) Close() error { return l.e.Close() }

func (l *sessionLoss) Loss(nll []float32, b *model.Batch) error {
	vocab := l.e.Config().VocabSize
	l.session.Truncate(0)
	from := 0 // nothing before the first target needs logits
	for from < b.T && b.Targets[from] < 0 {
		nll[from] = 0
		from++
	}
	if err := l.session.Append(b.Tokens[:from], nil, from); err != nil {
		return err
	}
	for at := from; at < b.T; at += lossRows {
		n := min(lossRows, b.T-at)
		if err := l.session.Append(b.Tokens[at:at+n], l.logits, 0); err != nil {
			return err
		}
		kernel.CrossEntropy(nil, nll[at:at+n], l.logits[:n*vocab], b.Targets[at:at+n], n, vocab, 0, false)
	}
	return nil
}

func hasTokenizer(dir string) bool {
	if weights.IsGGUF(dir) {
		return true
	}
	for _, name := range []string{"tokenizer.model", "tokenizer.json"} {
		if _, err := os.Stat(filepath.Join(dir, name)); err == nil {
			return true
		}
	}
	return false
}

// eachLine calls f with each line that is not empty, counted from 1.
func eachLine(r io.Reader, f func(n int, line []byte) error) error {
	scan := bufio.NewScanner(r)
	scan.Buffer(nil, maxLine)
	n := 0
	for scan.Scan() {
		n++
		if len(scan.Bytes()) == 0 {
			continue
		}
		if err := f(n, scan.Bytes()); err != nil {
			return err
		}
	}
	if errors.Is(scan.Err(), bufio.ErrTooLong) {
		return fmt.Errorf("line %d is longer than %d bytes", n+1, maxLine)
	}
	return scan.Err()
}

type scorer struct {
	engine lossEngine
	tok    *tokenizer.Tokenizer // nil: only ids
	vocab  int
	window int
}

func (s *scorer) score(q scoreRequest) (*scoreReply, error) {
	ids, from, bytes, err := s.read(q)
	if err != nil {
		return nil, err
	}
	if len(ids) < 2 { // nothing to score: an empty text, or the one token that has nothing before it
		return &scoreReply{IDs: ids}, nil
	}
	lp, err := s.logProbs(ids)
	if err != nil {
		return nil, err
	}
	r := &scoreReply{IDs: ids, LogProbs: lp, Bytes: bytes, Tokens: len(ids) - from}
	for _, x := range lp[from-1:] {
		r.NLL -= x
	}
	if bytes > 0 {
		bpb := r.NLL / math.Ln2 / float64(bytes)
		r.BPB = &bpb
	}
	return r, nil
}

// read turns a request into ids, the first scored of them, and the bytes that these stand for.
func (s *scorer) read(q scoreRequest) (ids []int32, from, bytes int, err error) {
	forms := 0
	for _, given := range []bool{q.Text != nil, q.Prompt != nil || q.Continuation != nil, q.IDs != nil} {
		if given {
			forms++
		}
	}
	if forms != 1 || (q.Prompt == nil) != (q.Continuation == nil) {
		return nil, 0, 0, errors.New(`give "text", or "prompt" and "continuation", or "ids"`)
	}
	if q.IDs != nil {
		for _, id := range q.IDs {
			if id < 0 || int(id) >= s.vocab {
				return nil, 0, 0, fmt.Errorf("id %d is outside the vocabulary of %d", id, s.vocab)
			}
		}
		if s.tok != nil && len(q.IDs) > 1 {
			bytes = len(s.tok.Decode(q.IDs)) - len(s.tok.Decode(q.IDs[:1]))
		}
		return q.IDs, 1, max(bytes, 0), nil
	}
	if s.tok == nil {
		return nil, 0, 0, errors.New(`the model's folder has no tokenizer, so only "ids" can be scored`)
	}
	if bos := s.tok.BOS(); bos >= 0 {
		ids = append(ids, bos)
	}
	if q.Text != nil {
		return s.tok.Encode(ids, *q.Text), 1, len(*q.Text), nil
	}
	alone := s.tok.Encode(ids[:len(ids):len(ids)], *q.Prompt)
	ids = s.tok.Encode(ids, *q.Prompt+*q.Continuation)
	for from = 0; from < len(alone) && from < len(ids) && alone[from] == ids[from]; from++ {
	}
	if from == len(ids) {
		return nil, 0, 0, errors.New("the continuation is empty")
	}
	return ids, max(from, 1), len(*q.Continuation), nil
}

// logProbs is the natural-log probability of every id after the first. Windows beyond the first begin anew with the
// first id, which is BOS where there is one.
func (s *scorer) logProbs(ids []int32) ([]float64, error) {
	out := make([]float64, 0, len(ids)-1)
	nll := make([]float32, s.window)
	for len(out) < len(ids)-1 {
		done := len(out) + 1 // first target of this window
		end := min(done+s.window/2, len(ids))
		start := max(end-s.window, 1)
		if done == 1 {
			end, start = min(s.window+1, len(ids)), 1
		}
		input := append([]int32{ids[0]}, ids[start:end-1]...)
		targets := append([]int32(nil), ids[start:end]...)
		for i := range targets {
			if start+i < done {
				targets[i] = -1
			}
		}
		if err := s.engine.Loss(nll[:len(input)], &model.Batch{B: 1, T: len(input), Tokens: input, Targets: targets}); err != nil {
			return nil, err
		}
		for i := done - start; i < len(targets); i++ {
			out = append(out, -float64(nll[i]))
		}
	}
	return out, nil
}
