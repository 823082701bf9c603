package workflow

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"ravn/corpus"
	"ravn/internal/atomicfile"
	"ravn/model"
	"ravn/recipe"
	"ravn/shard"
	"ravn/tokenizer"
	"ravn/weights"
)

const (
	extensionName = "extension.json" // in the tokenizer's folder
	extendedBase  = "base/extended"  // in the run folder
)

// Extension says what more pieces do to the number of tokens.
type Extension struct {
	Before    int         `json:"before"` // pieces
	After     int         `json:"after"`
	Languages []Fertility `json:"languages"` // on held-out text
}

// Fertility is the tokens that the words of a language take.
type Fertility struct {
	Language string `json:"language"`
	Words    int    `json:"words"`
	Bytes    int    `json:"bytes"`
	Before   int    `json:"before"` // tokens
	After    int    `json:"after"`
}

func (e *Extension) String() string {
	s := fmt.Sprintf("%d pieces, %d of them new", e.After, e.After-e.Before)
	for _, l := range e.Languages {
		s += fmt.Sprintf("; %s %.3f→%.3f tokens a word", l.Language, float64(l.Before)/float64(l.Words), float64(l.After)/float64(l.Words))
	}
	return s
}

// extendTokenizer adds pieces learnt from the target text.
func (f *Flow) extendTokenizer(ctx context.Context, tok *tokenizer.Tokenizer, n int) (*tokenizer.Tokenizer, error) {
	sections, err := f.sections()
	if err != nil {
		return nil, err
	}
	sections = slices.DeleteFunc(sections, func(s shard.SectionInput) bool { return s.Role != "target" })
	if len(sections) == 0 {
		return nil, errors.New("workflow: tokenizer.extend: no section has the role target, so there is no text to learn pieces from")
	}
	var failed error
	out, err := tok.Extend(ctx, textsOf(sections, &failed), n)
	if failed != nil {
		return nil, failed
	}
	return out, err
}

// compareFertility counts the tokens of the held-out text before and after.
func (f *Flow) compareFertility(now *tokenizer.Tokenizer) (*Extension, error) {
	path, err := f.Recipe.Path(f.Recipe.Tokenizer.Model)
	if err != nil {
		return nil, err
	}
	was, err := tokenizer.Load(path)
	if err != nil {
		return nil, err
	}
	e := &Extension{Before: was.Size(), After: now.Size()}
	err = f.heldoutDocuments(func(d *corpus.Document, h recipe.Heldout) {
		i := slices.IndexFunc(e.Languages, func(l Fertility) bool { return l.Language == h.Language })
		if i < 0 {
			i, e.Languages = len(e.Languages), append(e.Languages, Fertility{Language: h.Language})
		}
		l := &e.Languages[i]
		l.Words += len(strings.Fields(d.Text))
		l.Bytes += len(d.Text)
		l.Before += len(was.EncodeText(nil, d.Text))
		l.After += len(now.EncodeText(nil, d.Text))
	})
	e.Languages = slices.DeleteFunc(e.Languages, func(l Fertility) bool { return l.Words == 0 })
	slices.SortFunc(e.Languages, func(a, b Fertility) int { return cmp.Compare(a.Language, b.Language) })
	return e, err
}

// newRows says what the rows of the pieces that tok has behind those of was are made of.
func newRows(was, tok *tokenizer.Tokenizer, how string) []model.Blend {
	overlap := tokenizer.NewOverlap(was)
	var rows []model.Blend
	for id := was.Size(); id < tok.Size(); id++ {
		b := model.Blend{}
		if piece := tok.Piece(int32(id)); how == "overlap" {
			b.IDs, b.Weights = overlap.Blend(piece)
		} else {
			b.IDs = was.Spell(piece)
		}
		rows = append(rows, b)
	}
	return rows
}

// rowsInput is what a stage depends on beside the base and the tokenizer where new rows are not begun as they usually are.
func (f *Flow) rowsInput() map[string]string {
	if how := f.Recipe.Tokenizer.Init; how != "" && how != "mean" {
		return map[string]string{"new rows": how}
	}
	return nil
}

// extendBase writes the base model at path with rows for the new pieces of tok.
func (f *Flow) extendBase(path string, tok *tokenizer.Tokenizer) error {
	file, err := f.Recipe.Path(f.Recipe.Tokenizer.Model)
	if err != nil {
		return err
	}
	was, err := tokenizer.Load(file)
	if err != nil {
		return err
	}
	w, err := weights.Load(path)
	if err != nil {
		return err
	}
	if was.Size() > w.Config.VocabSize {
		return fmt.Errorf("workflow: the tokenizer has %d pieces before it is extended, the base model's vocabulary %d (use the tokenizer of the base)", was.Size(), w.Config.VocabSize)
	}
	out, err := model.Extend(w, was.Size(), newRows(was, tok, f.Recipe.Tokenizer.Init))
	if err != nil {
		return err
	}
	dir := f.Folder.Path(extendedBase)
	if err := os.MkdirAll(f.Folder.Path("base"), 0o755); err != nil {
		return fmt.Errorf("workflow: %w", err)
	}
	tmp, err := atomicfile.TempDir(dir)
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	if err := weights.WriteFolder(tmp, out, weights.SaveOptions{DType: model.F32, Files: tok.Files()}); err != nil {
		return err
	}
	return atomicfile.ReplaceDir(tmp, dir)
}
