package langid

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
)

// TrainOptions of a model. The zero value means the defaults.
type TrainOptions struct {
	Bits      int     // of a feature's hash: 2^Bits weights a language; 0: 17, a megabyte in memory
	Epochs    int     // 0: 12
	PerEpoch  int     // examples of each language in an epoch; 0: 20,000
	Seed      uint64  // of the choice of examples
	LearnRate float64 // of the first step, AdaGrad's; 0: 40
}

func (o TrainOptions) withDefaults() TrainOptions {
	o.Bits, o.Epochs, o.PerEpoch, o.LearnRate = cmp.Or(o.Bits, 17), cmp.Or(o.Epochs, 12), cmp.Or(o.PerEpoch, 20000), cmp.Or(o.LearnRate, 40)
	return o
}

// Train makes a model from texts by language, by stochastic gradient descent on the likelihood of the right language. An
// example is a sentence, or a run of 1 to 12 words of one; as many are drawn of each language, and within a language as many
// of each text, so that it does not matter of which there is more. The same texts and options give the same model.
func Train(ctx context.Context, texts map[string][]string, o TrainOptions) (*Model, error) {
	o = o.withDefaults()
	languages := slices.Sorted(maps.Keys(texts))
	if len(languages) < 2 || len(languages) > maxLanguages {
		return nil, fmt.Errorf("langid: %d languages (give texts of 2 to %d)", len(languages), maxLanguages)
	}
	if o.Bits < 8 || o.Bits > 22 {
		return nil, fmt.Errorf("langid: hashes of %d bits (use 8 to 22)", o.Bits)
	}
	sentences := make([][][]string, len(languages)) // by language and text
	for i, l := range languages {
		if l == "" || len(l) > 16 {
			return nil, fmt.Errorf("langid: language %q (use a code such as da)", l)
		}
		n := 0
		for _, t := range texts[l] {
			if s := Sentences(t); len(s) > 0 {
				sentences[i] = append(sentences[i], s)
				n += len(s)
			}
		}
		if n < 10 {
			return nil, fmt.Errorf("langid: language %s: %d sentences are too few (give at least 10, better some hundreds)", l, n)
		}
	}
	mask := uint64(1)<<o.Bits - 1
	weights := make([][maxLanguages]float64, 1<<o.Bits)
	history := make([]float64, 1<<o.Bits) // AdaGrad's sum of squares, by feature
	r := rand.New(rand.NewPCG(o.Seed, 0x6c616e67))
	var seen []uint64
	p := make([]float64, len(languages))
	steps := o.Epochs * o.PerEpoch * len(languages)
	for step := range steps {
		if step&1023 == 0 && ctx.Err() != nil {
			return nil, ctx.Err()
		}
		right := step % len(languages)
		text := sentences[right][r.IntN(len(sentences[right]))]
		s := text[r.IntN(len(text))]
		if words := strings.Fields(s); r.IntN(2) > 0 {
			n := 1 + r.IntN(min(12, len(words)))
			from := r.IntN(len(words) - n + 1)
			s = strings.Join(words[from:from+n], " ")
		}
		seen = seen[:0]
		features(s, func(h uint64) { seen = append(seen, h&mask) })
		if len(seen) == 0 {
			continue
		}
		clear(p)
		n := float64(len(seen))
		for _, h := range seen {
			for i := range p {
				p[i] += weights[h][i] / n
			}
		}
		softmax(p)
		p[right]-- // now the gradient
		norm := 0.0
		for _, g := range p {
			norm += g * g
		}
		rate := o.LearnRate * (1 - float64(step)/float64(steps))
		for _, h := range seen {
			history[h] += norm / n
			k := rate / (math.Sqrt(history[h]) + 0.5) / math.Sqrt(n)
			for i, g := range p {
				weights[h][i] -= k * g
			}
		}
	}
	return quantise(languages, weights), nil
}

// quantise puts weights into bytes. The thousandth that is farthest from zero is cut.
func quantise(languages []string, weights [][maxLanguages]float64) *Model {
	var all []float64
	for i := range weights {
		for k := range languages {
			if v := math.Abs(float64(weights[i][k])); v > 0 {
				all = append(all, v)
			}
		}
	}
	slices.Sort(all)
	m := &Model{languages: languages, scale: 1, weights: make([]uint64, len(weights))}
	if len(all) > 0 {
		m.scale = all[len(all)*999/1000] / 127
	}
	for i := range weights {
		for k := range maxLanguages {
			v := math.Round(float64(weights[i][k]) / m.scale)
			m.weights[i] |= uint64(byte(int(max(-127, min(127, v)))+128)) << (8 * k)
		}
	}
	return m
}

// Sentences cuts a text at the ends of lines and behind marks that end sentences.
func Sentences(text string) []string {
	var out []string
	for line := range strings.Lines(text) {
		from := 0
		for i := 0; i < len(line); i++ {
			if c := line[i]; (c == '.' || c == '!' || c == '?') && i+1 < len(line) && line[i+1] == ' ' && i-from > 20 {
				out = append(out, strings.TrimSpace(line[from:i+1]))
				from = i + 1
			}
		}
		if s := strings.TrimSpace(line[from:]); strings.ContainsFunc(s, letter) {
			out = append(out, s)
		}
	}
	return out
}
