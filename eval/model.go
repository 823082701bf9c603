// Package eval asks models: the questions a benchmark puts, a local model that answers them, and the records that keep
// the answers.
//
// What is asked and how answers are judged is in eval/task. A Model may be a checkpoint on disk, a baseline that
// guesses, or anything else that can score continuations, write text and say how likely a text is.
package eval

import "context"

// Model is something that can be evaluated. The results of a call never depend on the order of its prompts.
type Model interface {
	Info() Info
	// ChoiceScores says, for each prompt, how likely each of its continuations is.
	ChoiceScores(ctx context.Context, prompts []ChoicePrompt) ([][]ChoiceScore, error)
	// Generate continues each prompt greedily.
	Generate(ctx context.Context, prompts []GeneratePrompt) ([]Generation, error)
	// TextLoss says how likely each whole text is.
	TextLoss(ctx context.Context, texts []string) ([]TextLoss, error)
	// CountTokens is how many tokens of context the text takes, a leading BOS included.
	CountTokens(text string) int
}

// Info describes a model. Unknown numbers are -1.
type Info struct {
	Name       string
	Params     int64
	MaxTokens  int // context: prompt and answer together
	VocabSize  int
	Generative bool
	Hash       string // of weights, configuration and tokenizer
	Kind       string // "local", "dummy", ...
	Grammars   bool   // Generate keeps to GeneratePrompt.Grammar
	NoScores   bool   // ChoiceScores cannot be asked: the answer has to be read from what Generate writes
}

// ChoicePrompt is a prompt and the continuations to compare. Prompt + Choices[i] is the whole text, so a choice that
// follows after a space begins with it.
type ChoicePrompt struct {
	Prompt  string
	Choices []string
	Ranks   bool // FirstRank is wanted, which endpoints are asked for by a request more
}

// ChoiceScore is the natural-log probability of one choice given its prompt.
type ChoiceScore struct {
	LogProb    float64 // of the whole choice: the sum over its tokens
	FirstToken float64 // of its first token alone
	FirstRank  int     // place of its first token among all tokens by likelihood, from 1; 0 unknown
	Tokens     int     // number of its tokens
	Truncated  int     // tokens of the prompt that were cut on the left to fit the context
}

// GeneratePrompt asks for at most MaxTokens tokens, up to the first of the Stop strings or the end of text.
type GeneratePrompt struct {
	Prompt    string
	MaxTokens int
	Stop      []string
	Grammar   Grammar // what may be written; nil: anything. Models whose Info says no Grammars leave it aside
}

// Generation is what was written, without the stop string.
type Generation struct {
	Text      string
	Tokens    int // number written, before the text was cut
	Truncated int // tokens of the prompt that were cut on the left to fit the context
}

// TextLoss is the surprise at a whole text: nats summed over its tokens given BOS. The end of the text is not scored.
type TextLoss struct {
	NLL    float64 // nats
	Tokens int     // scored
	Bytes  int     // of the text in UTF-8, what bits per byte divide by
}
