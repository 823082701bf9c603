package eval

import (
	"context"

	"ravn/kernel"
)

// lossRows bounds how many rows of logits are held at once.
const lossRows = 128

// window is a part of a text to be scored: targets text[from:to], seen after BOS and text[start:from].
type window struct {
	text, start, from, to int
}

// windows cuts n tokens so that each is scored once: the first size tokens in the first window, then size/2 a window,
// each of them with at least size/2 tokens of context. bos is 1 when a BOS stands before every window, else 0; without
// a BOS the first token of a text has nothing before it and is not scored.
func windows(text, n, size, bos int) []window {
	first := 1 - bos // first target
	if n <= first {
		return nil
	}
	w := []window{{text, 0, first, min(n, size)}}
	for at := size; at < n; {
		to := min(n, at+size/2)
		// bos and text[start:to-1] are the input, at most size tokens
		w = append(w, window{text, to - 1 - (size - bos), at, to})
		at = to
	}
	return w
}

// Window is a part of a text of tokens to be scored: [From, To), given those from Start on.
type Window struct{ Start, From, To int }

// Windows cuts n tokens into the windows of size tokens in which TextLoss scores them; bos is 1 when a BOS stands before
// each.
func Windows(n, size, bos int) []Window {
	var out []Window
	for _, w := range windows(0, n, size, bos) {
		out = append(out, Window{w.start, w.from, w.to})
	}
	return out
}

// TextLoss scores every token of each text given BOS (where the tokenizer has one) and what stands before it, EOS not
// included. Texts longer than the window are scored by overlapping windows.
func (l *Local) TextLoss(ctx context.Context, texts []string) ([]TextLoss, error) {
	bos := 0
	if l.tok.BOS() >= 0 {
		bos = 1
	}
	ids := make([][]int32, len(texts))
	var ws []window
	for i, s := range texts {
		ids[i] = l.tok.EncodeText(nil, s)
		ws = append(ws, windows(i, len(ids[i]), l.window, bos)...)
	}
	nats := make([]float64, len(ws))
	err := l.each(ctx, len(ws), nil, func(w *worker, i int) error {
		var err error
		nats[i], err = w.windowLoss(ids[ws[i].text], ws[i])
		return err
	})
	if err != nil {
		return nil, err
	}
	out := make([]TextLoss, len(texts))
	for i, s := range texts {
		out[i].Bytes = len(s)
	}
	for i, w := range ws {
		out[w.text].NLL += nats[i]
		out[w.text].Tokens += w.to - w.from
	}
	return out, nil
}

// windowLoss is the sum of nats over the targets of one window, added from first to last.
func (w *worker) windowLoss(text []int32, win window) (float64, error) {
	if err := w.reserve(w.l.window); err != nil {
		return 0, err
	}
	w.rewind(0)
	var input []int32
	if bos := w.l.tok.BOS(); bos >= 0 {
		input = append(input, bos)
	}
	input = append(input, text[win.start:win.to-1]...)
	targets := text[win.from:win.to]
	context := len(input) - len(targets)
	if _, err := w.push(input[:context], context); err != nil {
		return 0, err
	}
	var sum float64
	for at := 0; at < len(targets); at += lossRows {
		n := min(lossRows, len(targets)-at)
		rows, err := w.push(input[context+at:context+at+n], 0)
		if err != nil {
			return 0, err
		}
		var nll [lossRows]float32
		kernel.CrossEntropy(nil, nll[:n], rows, targets[at:at+n], n, w.l.vocab, 0, false)
		for _, x := range nll[:n] {
			sum += float64(x)
		}
	}
	return sum, nil
}
