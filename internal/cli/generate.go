package cli

import (
	"context"
	"fmt"
	"io"
	"slices"

	"ravn/engine/cpu"
	"ravn/eval"
	"ravn/model"
	"ravn/sampler"
	"ravn/tokenizer"
	"ravn/weights"
)

// GenerateCmd writes text with a model.
type GenerateCmd struct {
	Model             string   `arg:"" help:"Hugging Face folder or GGUF file."`
	Prompt            []string `help:"Text to go on from; may be repeated. Without it each line of stdin is a prompt." sep:"none"`
	MaxTokens         int      `default:"64" help:"Tokens to write at most."`
	Temperature       float64  `default:"0" help:"0 takes the likeliest token; 1 draws with the model's probabilities."`
	TopK              int      `help:"Draw from the K likeliest tokens; 0 from all."`
	TopP              float64  `help:"Draw from the fewest tokens that hold this probability; 0 from all."`
	MinP              float64  `help:"Draw from tokens at least this share as likely as the likeliest; 0 from all."`
	RepetitionPenalty float64  `default:"1" help:"Above 1, tokens of the prompt and of what was written become less likely."`
	Seed              uint64   `default:"17" help:"The same seed writes the same text."`
	Stop              []string `help:"End before this text; may be repeated." sep:"none"`
	Cache             string   `enum:"f32,bf16" default:"f32" help:"Number format of the keys and values that are kept; bf16 takes half the memory."`
	Threads           int      `help:"Threads; 0 uses all processors."`
	JSON              bool     `name:"json" help:"One JSON object a prompt."`
}

// Help is shown under --help.
func (c *GenerateCmd) Help() string {
	return `Example:
  ravn generate runs/quickstart/release --prompt "Ravnen fløj" --max-tokens 40`
}

type generated struct {
	Prompt       string `json:"prompt"`
	Text         string `json:"text"`
	PromptTokens int    `json:"prompt_tokens"`
	Tokens       int    `json:"tokens"`
	Ended        string `json:"ended"` // "eos", "stop", "length"
}

// Run continues each prompt.
func (c *GenerateCmd) Run(ctx context.Context, s *Streams) error {
	o := sampler.Options{
		RepetitionPenalty: c.RepetitionPenalty, Temperature: c.Temperature, TopK: c.TopK, MinP: c.MinP, TopP: c.TopP, Seed: c.Seed,
	}
	if err := o.Validate(); err != nil {
		return usageError{fmt.Errorf("generate: %w", err)}
	}
	m, err := weights.Open(c.Model)
	if err != nil {
		return err
	}
	defer m.Close()
	tok, err := weights.LoadTokenizer(c.Model)
	if err != nil {
		return err
	}
	cache := map[string]model.DType{"f32": model.F32, "bf16": model.BF16}[c.Cache]
	engine, err := eval.OpenEngine(m, c.Model, cpu.Options{Threads: c.Threads, Cache: cache, Slide: true})
	if err != nil {
		return fmt.Errorf("generate: %w", err)
	}
	defer engine.Close()
	w := &writer{c: c, s: s, engine: engine, tok: tok, o: o, logits: make([]float32, m.Config().VocabSize)}
	for _, p := range c.Prompt {
		if err := w.write(ctx, p); err != nil {
			return err
		}
	}
	if len(c.Prompt) > 0 {
		return nil
	}
	return eachLine(s.In, func(_ int, line []byte) error { return w.write(ctx, string(line)) })
}

// writer continues one prompt after the other. Of a prompt, only what the one before did not begin with is computed.
type writer struct {
	c       *GenerateCmd
	s       *Streams
	engine  *cpu.Engine
	tok     *tokenizer.Tokenizer
	o       sampler.Options
	logits  []float32
	session *cpu.Session
	room    int     // tokens of the session
	held    []int32 // in it
}

// begin brings the session to ids, with room for more tokens after them; its logits are those of the last id.
func (w *writer) begin(ids []int32, more int) error {
	if need := len(ids) + more; w.session == nil || need > w.room {
		w.room = min(w.engine.Config().MaxPositionEmbeddings, (need+255)/256*256)
		session, err := w.engine.NewSession(w.room)
		if err != nil {
			return err
		}
		session.UseThreads(true)
		w.session, w.held = session, nil
	}
	same := 0
	for same < min(len(ids)-1, len(w.held)) && ids[same] == w.held[same] {
		same++
	}
	w.session.Truncate(same)
	same = w.session.Len() // nothing, when a sliding window has let go of what it would have to see
	w.held = w.held[:same]
	return w.feed(ids[same:])
}

func (w *writer) feed(ids []int32) error {
	if err := w.session.Append(ids, w.logits, len(ids)-1); err != nil {
		return err
	}
	w.held = append(w.held, ids...)
	return nil
}

// write writes the prompt and what follows as it comes, or one JSON object at the end.
func (w *writer) write(ctx context.Context, prompt string) error {
	pick, err := sampler.New(w.o)
	if err != nil {
		return err
	}
	var ids []int32
	if w.tok.BOS() >= 0 {
		ids = append(ids, w.tok.BOS())
	}
	ids = w.tok.Encode(ids, prompt)
	if len(ids) == 0 {
		return usageError{fmt.Errorf("generate: the prompt is empty and the tokenizer has no BOS to begin with")}
	}
	cfg := w.engine.Config()
	if i := slices.IndexFunc(ids, func(id int32) bool { return int(id) >= cfg.VocabSize }); i >= 0 {
		return fmt.Errorf("generate: the tokenizer writes id %d, the model has %d (the tokenizer belongs to another model)", ids[i], cfg.VocabSize)
	}
	room := min(w.c.MaxTokens, cfg.MaxPositionEmbeddings-len(ids))
	if room <= 0 && w.c.MaxTokens > 0 {
		return fmt.Errorf("generate: the prompt has %d tokens, the model's context is %d (shorten the prompt)", len(ids), cfg.MaxPositionEmbeddings)
	}
	stream := w.s.Out
	if w.c.JSON {
		stream = io.Discard
	}
	fmt.Fprint(stream, prompt)
	pick.See(ids...)
	dec, stops := w.tok.NewDecoder(), sampler.Stops{Strings: w.c.Stop}
	for _, id := range ids { // the decoder has to know what went before to place the first space
		dec.Next(id)
	}
	out := generated{Prompt: prompt, PromptTokens: len(ids), Ended: "length"}
	show := func(text string) (ended bool) {
		text, ended = stops.Next(text)
		out.Text += text
		fmt.Fprint(stream, text)
		return ended
	}
	for i := range room {
		if err := ctx.Err(); err != nil {
			return err
		}
		if i == 0 {
			err = w.begin(ids, room)
		} else {
			err = w.feed(ids[len(ids)-1:])
		}
		if err != nil {
			return err
		}
		id := pick.Pick(w.logits)
		if id == w.tok.EOS() {
			out.Ended = "eos"
			break
		}
		ids = append(ids, id)
		out.Tokens++
		if show(dec.Next(id)) {
			out.Ended = "stop"
			break
		}
	}
	if out.Ended != "stop" && show(dec.Flush()) {
		out.Ended = "stop"
	}
	rest := stops.Flush()
	out.Text += rest
	fmt.Fprintln(stream, rest)
	if w.c.JSON {
		return w.s.JSON(out)
	}
	return nil
}
