package eval

import (
	"context"
	"math"

	"github.com/cespare/xxhash/v2"
)

// Dummy guesses: every choice gets a seeded random score, every generation is empty, every byte costs eight bits.
// It is the floor that a score has to stand above to mean anything.
type Dummy struct{ seed uint64 }

// NewDummy returns a guesser. The same seed gives the same guesses for the same prompts in any order.
func NewDummy(seed uint64) *Dummy { return &Dummy{seed} }

// Info names it ravn/dummy.
func (d *Dummy) Info() Info {
	return Info{Name: "ravn/dummy", Params: 0, MaxTokens: -1, VocabSize: -1, Generative: true, Hash: "", Kind: "dummy"}
}

// ChoiceScores draws each score from the hash of seed, prompt and choice; the exponentials of one prompt's scores are
// uniform, so every choice is as likely to win.
func (d *Dummy) ChoiceScores(ctx context.Context, prompts []ChoicePrompt) ([][]ChoiceScore, error) {
	out := make([][]ChoiceScore, len(prompts))
	for i, p := range prompts {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		out[i] = make([]ChoiceScore, len(p.Choices))
		for j, c := range p.Choices {
			h := xxhash.NewWithSeed(d.seed)
			h.WriteString(p.Prompt)
			h.WriteString("\x00")
			h.WriteString(c)
			u := (float64(h.Sum64()>>11) + 0.5) / (1 << 53)
			out[i][j] = ChoiceScore{LogProb: math.Log(u), FirstToken: math.Log(u), Tokens: 1}
		}
	}
	return out, nil
}

// Generate writes nothing.
func (d *Dummy) Generate(ctx context.Context, prompts []GeneratePrompt) ([]Generation, error) {
	return make([]Generation, len(prompts)), ctx.Err()
}

// TextLoss is that of a uniform guess over bytes.
func (d *Dummy) TextLoss(ctx context.Context, texts []string) ([]TextLoss, error) {
	out := make([]TextLoss, len(texts))
	for i, s := range texts {
		out[i] = TextLoss{NLL: float64(len(s)) * 8 * math.Ln2, Tokens: len(s), Bytes: len(s)}
	}
	return out, ctx.Err()
}

// CountTokens counts bytes.
func (d *Dummy) CountTokens(text string) int { return len(text) }
