package task

import (
	"context"

	"ravn/eval"
)

// Majority gives the same answer to everything: the label that is the commonest in the train split, an empty list of
// names, the answer that is the commonest, nothing for summaries. With eval.Dummy it is the floor of a score.
type Majority struct{ eval.Dummy }

// Info names it ravn/majority.
func (m *Majority) Info() eval.Info {
	i := m.Dummy.Info()
	i.Name, i.Kind = "ravn/majority", "majority"
	return i
}

// For knows the train split of a data set.
func (m *Majority) For(d *Dataset) eval.Model {
	count := map[string]int{}
	best := ""
	for i := range d.Train {
		r := &d.Train[i]
		answer := ""
		switch kinds[d.Task].(type) {
		case classification, multipleChoice:
			answer = " " + d.Labels[d.labelIndex(r.Label)].Word
		case questions:
			answer = r.Answers[0]
		case entities:
			answer = entityAnswer(&d.Spec, &Row{})
		}
		count[answer]++
		if count[answer] > count[best] || count[answer] == count[best] && answer < best {
			best = answer
		}
	}
	return &majority{m, best}
}

type majority struct {
	*Majority
	answer string
}

// ChoiceScores prefers the answer.
func (m *majority) ChoiceScores(ctx context.Context, prompts []eval.ChoicePrompt) ([][]eval.ChoiceScore, error) {
	out := make([][]eval.ChoiceScore, len(prompts))
	for i, p := range prompts {
		for _, c := range p.Choices {
			s := eval.ChoiceScore{LogProb: -1, FirstToken: -1, FirstRank: 2, Tokens: 1}
			if c == m.answer {
				s = eval.ChoiceScore{FirstRank: 1, Tokens: 1}
			}
			out[i] = append(out[i], s)
		}
	}
	return out, ctx.Err()
}

// Generate writes the answer.
func (m *majority) Generate(ctx context.Context, prompts []eval.GeneratePrompt) ([]eval.Generation, error) {
	out := make([]eval.Generation, len(prompts))
	for i := range out {
		out[i].Text = m.answer
	}
	return out, ctx.Err()
}
