package eval

// promptChunk bounds how many prompt tokens an engine is handed at once, and with it its working memory.
const promptChunk = 256

// worker is one session of a Local and the tokens it holds.
type worker struct {
	l        *Local
	session  Session
	capacity int     // tokens
	tokens   []int32 // what the session's cache holds
	logits   []float32
}

// reset forgets the session after an error left it unknown.
func (w *worker) reset() { w.session, w.tokens, w.capacity = nil, nil, 0 }

// reserve makes a session that holds n tokens.
func (w *worker) reserve(n int) error {
	if w.session != nil && w.capacity >= n {
		return nil
	}
	w.reset()
	capacity := min(w.l.context, (n+255)/256*256)
	s, err := w.l.engine.NewSession(capacity)
	if err != nil {
		return err
	}
	w.session, w.capacity = s, capacity
	return nil
}

// rewind goes back to the first n tokens.
func (w *worker) rewind(n int) {
	w.session.Truncate(n)
	w.tokens = w.tokens[:n]
}

// push appends tokens and returns the logits of tokens[from:], (len(tokens)-from, V), valid until the next push.
func (w *worker) push(tokens []int32, from int) ([]float32, error) {
	rows := len(tokens) - from
	if need := rows * w.l.vocab; cap(w.logits) < need {
		w.logits = make([]float32, need)
	}
	logits := w.logits[:rows*w.l.vocab]
	for at := 0; at < from; {
		n := min(promptChunk, from-at)
		if err := w.session.Append(tokens[at:at+n], nil, n); err != nil {
			return nil, err
		}
		at += n
	}
	if rows > 0 {
		if err := w.session.Append(tokens[from:], logits, 0); err != nil {
			return nil, err
		}
	}
	w.tokens = append(w.tokens, tokens...)
	return logits, nil
}

// prompt brings the session to exactly these tokens, reusing what it holds of them, and returns the logits after the
// last one. extra is room for what will follow.
func (w *worker) prompt(tokens []int32, extra int) ([]float32, error) {
	if err := w.reserve(len(tokens) + extra); err != nil {
		return nil, err
	}
	keep := min(commonPrefix(w.tokens, tokens), len(tokens)-1)
	if w.l.forget {
		keep = 0
	}
	w.l.sent.Add(int64(len(tokens)))
	w.rewind(keep)
	rest := tokens[keep:]
	w.l.computed.Add(int64(len(rest)))
	return w.push(rest, len(rest)-1)
}

func (w *worker) choices(j choiceJob) ([]ChoiceScore, error) {
	longest := 0
	for _, c := range j.choices {
		longest = max(longest, len(c))
	}
	logits, err := w.prompt(j.context, longest)
	if err != nil {
		return nil, err
	}
	out := make([]ChoiceScore, len(j.choices))
	norm := logSumExp(logits)
	for i, c := range j.choices {
		p := float64(logits[c[0]]) - norm
		out[i] = ChoiceScore{LogProb: p, FirstToken: p, FirstRank: rank(logits, c[0]), Tokens: len(c), Truncated: j.dropped}
	}
	for i, c := range j.choices {
		if len(c) == 1 {
			continue
		}
		w.rewind(len(j.context))
		w.l.computed.Add(int64(len(c) - 1))
		rows, err := w.push(c[:len(c)-1], 0)
		if err != nil {
			return nil, err
		}
		for k, id := range c[1:] {
			row := rows[k*w.l.vocab : (k+1)*w.l.vocab]
			out[i].LogProb += float64(row[id]) - logSumExp(row)
		}
	}
	return out, nil
}

// rank is the place of a token by likelihood, from 1; equals share the first of theirs.
func rank(logits []float32, id int32) int {
	r := 1
	for _, v := range logits {
		if v > logits[id] {
			r++
		}
	}
	return r
}
