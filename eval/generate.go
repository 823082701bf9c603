package eval

import "context"

// Texts that are written side by side share each pass through the model, whose weights are then read once for all of
// them: at most maxWriting, and no more than writingBytes of keys and values.
const (
	maxWriting   = 16
	writingBytes = 2 << 30
)

// writing is one text in the making.
type writing struct {
	session  Session
	out      *Generation
	prompt   GeneratePrompt
	spelling *spelling
	written  []int32
	logits   []float32 // (V), of its last token
}

// generate writes all texts. Prompts come in sorted order, so that a prompt computes only what the one before it does
// not begin with.
func (l *Local) generate(ctx context.Context, out []Generation, ids [][]int32, prompts []GeneratePrompt) error {
	batch, ok := l.engine.(Batcher)
	if !ok {
		batch = oneByOne{l.engine}
	}
	most, longest := 0, 0
	for i, p := range prompts {
		most, longest = max(most, len(ids[i])+p.MaxTokens), max(longest, len(ids[i]))
	}
	if len(prompts) == 0 {
		return nil
	}
	width := maxWriting
	if bytes := batch.SessionBytes(most); bytes > 0 {
		width = int(max(1, min(maxWriting, writingBytes/bytes)))
	}
	prompt, err := batch.NewSession(longest)
	if err != nil {
		return err
	}
	var held []int32 // by prompt
	var busy, idle []*writing
	order := sorted(len(prompts), func(i int) []int32 { return ids[i] })
	for len(order) > 0 || len(busy) > 0 {
		if err := ctx.Err(); err != nil {
			return err
		}
		for len(order) > 0 && len(busy) < width {
			i := order[0]
			order = order[1:]
			var w *writing
			if n := len(idle); n > 0 {
				w, idle = idle[n-1], idle[:n-1]
			} else {
				w = &writing{logits: make([]float32, l.vocab)}
				if w.session, err = batch.NewSession(most); err != nil {
					return err
				}
			}
			w.out, w.prompt, w.spelling, w.written = &out[i], prompts[i], l.spell(prompts[i].Grammar), w.written[:0]
			keep := min(commonPrefix(held, ids[i]), len(ids[i])-1)
			prompt.Truncate(keep)
			rest := ids[i][keep:]
			if err := batch.Append([]Step{{prompt, rest, w.logits, len(rest) - 1}}); err != nil {
				return err
			}
			held = ids[i]
			l.sent.Add(int64(len(ids[i])))
			l.computed.Add(int64(len(rest)))
			if l.next(w) {
				idle = append(idle, w)
				continue
			}
			if err := batch.Copy(w.session, prompt, held); err != nil {
				return err
			}
			busy = append(busy, w)
		}
		var steps []Step
		for _, w := range busy {
			steps = append(steps, Step{w.session, w.written[len(w.written)-1:], w.logits, 0})
		}
		if err := batch.Append(steps); err != nil {
			return err
		}
		going := busy[:0]
		for _, w := range busy {
			if l.next(w) {
				idle = append(idle, w)
			} else {
				going = append(going, w)
			}
		}
		busy = going
	}
	return nil
}

// next takes the likeliest token, and reports whether the text has ended.
func (l *Local) next(w *writing) (ended bool) {
	id, done := w.spelling.best(w.logits)
	if done || id == l.tok.EOS() {
		return true
	}
	w.written = append(w.written, id)
	text, stopped := cutStop(l.tok.Decode(w.written), w.prompt.Stop)
	w.out.Text, w.out.Tokens = text, len(w.written)
	return stopped || len(w.written) == w.prompt.MaxTokens
}
