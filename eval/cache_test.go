package eval

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// counter counts what a model is asked.
type counter struct {
	Model
	name  string
	asked int
}

func (c *counter) Info() Info { return Info{Name: c.name, Hash: "h", MaxTokens: 9} }

func (c *counter) ChoiceScores(ctx context.Context, ps []ChoicePrompt) ([][]ChoiceScore, error) {
	c.asked += len(ps)
	return c.Model.ChoiceScores(ctx, ps)
}

func (c *counter) Generate(ctx context.Context, ps []GeneratePrompt) ([]Generation, error) {
	c.asked += len(ps)
	return c.Model.Generate(ctx, ps)
}

func (c *counter) TextLoss(ctx context.Context, texts []string) ([]TextLoss, error) {
	c.asked += len(texts)
	return c.Model.TextLoss(ctx, texts)
}

// Answers are asked for once, also across processes, are the same as asked anew, and survive a line that was cut off.
func TestCachedAsksOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "answers", "x.jsonl")
	choices := []ChoicePrompt{{Prompt: "a", Choices: []string{" ja", " nej"}}, {Prompt: "b", Choices: []string{" ja", " nej"}}, {Prompt: "a", Choices: []string{" ja", " nej"}}, {Prompt: "a", Choices: []string{" ja"}}}
	texts := []string{"hej", "verden"}
	want, err := NewDummy(1).ChoiceScores(t.Context(), choices)
	if err != nil {
		t.Fatal(err)
	}
	for round, asked := range []int{6, 0, 2, 6} { // three choices, one generation, two texts
		switch round {
		case 2: // the process died while it wrote its last line, and the one before was lost
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			lines := strings.SplitAfter(string(data), "\n")
			if err := os.WriteFile(path, []byte(strings.Join(lines[:5], "")+lines[5][:20]), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		m := &counter{Model: NewDummy(1), name: map[bool]string{false: "m", true: "other"}[round == 3]}
		c, err := OpenCache(path, m)
		if err != nil {
			t.Fatal(err)
		}
		got, err := c.ChoiceScores(t.Context(), choices)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("round %d: kept answers differ (-want +got):\n%s", round, diff)
		}
		if _, err := c.Generate(t.Context(), []GeneratePrompt{{Prompt: "a", MaxTokens: 3}}); err != nil {
			t.Fatal(err)
		}
		losses, err := c.TextLoss(t.Context(), texts)
		if err != nil || losses[1].Bytes != 6 {
			t.Errorf("round %d: losses %v, %v", round, losses, err)
		}
		if m.asked != asked || c.Hits() != 7-asked && round != 0 && round != 3 {
			t.Errorf("round %d: %d prompts asked, want %d (%d read)", round, m.asked, asked, c.Hits())
		}
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
