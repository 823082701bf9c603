package langid

import (
	"errors"
	"fmt"
	"slices"

	"ravn/pipeline"
)

// WrongLanguage is the reason of the verdict.
const WrongLanguage = "wrong_language"

// Options of the stage.
type Options struct {
	Keep     []string // languages that are kept; empty: all, and every document is only told its language
	MinScore float64  // probability from which the language counts as found; below, a document is not kept either
	Mark     bool     // keep and mark what would be dropped
	Except   []string // sections that are never dropped
}

// NewStage makes the stage that tells each document its language.
func NewStage(m *Model, o Options) (pipeline.Stage, error) {
	var errs []error
	for _, l := range o.Keep {
		if !slices.Contains(m.languages, l) {
			errs = append(errs, fmt.Errorf("langid: the model does not know language %q (it knows %v; train one with ravn corpus langid train)", l, m.languages))
		}
	}
	if !(o.MinScore >= 0 && o.MinScore < 1) {
		errs = append(errs, fmt.Errorf("langid: MinScore %v (use 0 to below 1)", o.MinScore))
	}
	return &stage{m, o}, errors.Join(errs...)
}

type stage struct {
	m *Model
	o Options
}

func (*stage) Name() string { return "langid" }

// Scores is the probability of the language that was found.
func (*stage) Scores() []string { return []string{"score"} }

func (s *stage) Examine(x *pipeline.Doc) pipeline.Verdict {
	g := s.m.Identify(x.Text)
	x.Detected = g.Language
	x.Score(0, g.P)
	if len(s.o.Keep) == 0 || slices.Contains(s.o.Except, x.Section) || slices.Contains(s.o.Keep, g.Language) && g.P >= s.o.MinScore {
		return pipeline.Keep
	}
	detail := fmt.Sprintf("%s with probability %.3f, %v with at least %v wanted", g.Language, g.P, s.o.Keep, s.o.MinScore)
	if g.Language == "" {
		detail = fmt.Sprintf("no letters to tell a language by, %v wanted", s.o.Keep)
	}
	if s.o.Mark {
		return pipeline.Mark(WrongLanguage, detail)
	}
	return pipeline.Drop(WrongLanguage, detail)
}
