package cli

import (
	"context"
	"fmt"
	"io"

	"ravn/engine/cpu"
	"ravn/sampler"
	"ravn/tokenizer"
	"ravn/weights"
)

// GenerateCmd writes text with a model.
type GenerateCmd struct {
	Model       string   `arg:"" help:"Hugging Face folder."`
	Prompt      []string `help:"Text to go on from; may be repeated. Without it each line of stdin is a prompt." sep:"none"`
	MaxTokens   int      `default:"64" help:"Tokens to write at most."`
	Temperature float64  `default:"0" help:"0 takes the likeliest token; 1 draws with the model's probabilities."`
	TopK        int      `help:"Draw from the K likeliest tokens; 0 from all."`
	TopP        float64  `help:"Draw from the fewest tokens that hold this probability; 0 from all."`
	Seed        uint64   `default:"17" help:"The same seed writes the same text."`
	Stop        []string `help:"End before this text; may be repeated." sep:"none"`
	Threads     int      `help:"Threads; 0 uses all processors."`
	JSON        bool     `name:"json" help:"One JSON object a prompt."`
}

// Help is shown under --help.
func (c *GenerateCmd) Help() string {
	return `Example:
  ravn generate runs/quickstart/release --prompt "Ravnen fløj" --max-tokens 40`
}

type generated struct {
	Prompt string `json:"prompt"`
	Text   string `json:"text"`
	Tokens int    `json:"tokens"`
	Ended  string `json:"ended"` // "eos", "stop", "length"
}

// Run continues each prompt.
func (c *GenerateCmd) Run(ctx context.Context, s *Streams) error {
	o := sampler.Options{Temperature: c.Temperature, TopK: c.TopK, TopP: c.TopP, Seed: c.Seed}
	if err := o.Validate(); err != nil {
		return usageError{fmt.Errorf("generate: %w", err)}
	}
	w, err := weights.Load(c.Model)
	if err != nil {
		return err
	}
	tok, err := tokenizer.Load(c.Model)
	if err != nil {
		return err
	}
	engine, err := cpu.New(w, cpu.Options{Threads: c.Threads, Inference: true})
	if err != nil {
		return err
	}
	defer engine.Close()
	one := func(prompt string) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		return c.generate(ctx, s, engine, tok, o, prompt)
	}
	for _, p := range c.Prompt {
		if err := one(p); err != nil {
			return err
		}
	}
	if len(c.Prompt) > 0 {
		return nil
	}
	return eachLine(s.In, func(_ int, line []byte) error { return one(string(line)) })
}

// generate writes the prompt and what follows as it comes, or one JSON object at the end.
func (c *GenerateCmd) generate(ctx context.Context, s *Streams, engine *cpu.Engine, tok *tokenizer.Tokenizer, o sampler.Options, prompt string) error {
	pick, err := sampler.New(o)
	if err != nil {
		return err
	}
	var ids []int32
	if tok.BOS() >= 0 {
		ids = append(ids, tok.BOS())
	}
	ids = tok.Encode(ids, prompt)
	if len(ids) == 0 {
		return usageError{fmt.Errorf("generate: the prompt is empty and the tokenizer has no BOS to begin with")}
	}
	cfg := engine.Config()
	room := min(c.MaxTokens, cfg.MaxPositionEmbeddings-len(ids))
	if room <= 0 && c.MaxTokens > 0 {
		return fmt.Errorf("generate: the prompt has %d tokens, the model's context is %d (shorten the prompt)", len(ids), cfg.MaxPositionEmbeddings)
	}
	session, err := engine.NewSession(len(ids) + max(room, 0))
	if err != nil {
		return err
	}
	stream := s.Out
	if c.JSON {
		stream = io.Discard
	}
	fmt.Fprint(stream, prompt)
	logits := make([]float32, cfg.VocabSize)
	dec := tok.NewDecoder()
	for _, id := range ids { // the decoder has to know what went before to place the first space
		dec.Next(id)
	}
	out := generated{Prompt: prompt, Ended: "length"}
	stops := sampler.Stops{Strings: c.Stop}
	say := func(piece string) bool {
		text, done := stops.Next(piece)
		out.Text += text
		fmt.Fprint(stream, text)
		return done
	}
	feed := ids
	for range room {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := session.Append(feed, logits, len(feed)-1); err != nil {
			return err
		}
		id := pick.Pick(logits)
		if id == tok.EOS() {
			out.Ended = "eos"
			break
		}
		out.Tokens++
		if say(dec.Next(id)) {
			out.Ended = "stop"
			break
		}
		feed = []int32{id}
	}
	if out.Ended != "stop" && !say(dec.Flush()) {
		rest := stops.Flush()
		out.Text += rest
		fmt.Fprint(stream, rest)
	}
	if c.JSON {
		return s.JSON(out)
	}
	fmt.Fprintln(stream)
	return nil
}
