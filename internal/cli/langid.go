package cli

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"strings"

	"ravn/corpus"
	"ravn/internal/atomicfile"
	"ravn/pipeline/langid"
)

// CorpusLangidCmd groups what is done with models of languages.
type CorpusLangidCmd struct {
	Train CorpusLangidTrainCmd `cmd:"" help:"Train a model on texts of known languages."`
	Guess CorpusLangidGuessCmd `cmd:"" help:"Say what language each line of the standard input is in."`
}

// CorpusLangidTrainCmd trains a model.
type CorpusLangidTrainCmd struct {
	Texts []string `arg:"" placeholder:"LANGUAGE=PATH" help:"Text of a language: a corpus, JSON lines or a .txt file. Repeat a language for several."`
	Out   string   `required:"" help:"File to write; data.language.model in a recipe reads it."`
	Bits  int      `default:"17" help:"2^BITS weights a language."`
	Seed  uint64   `default:"17" help:"Of the choice of examples."`
	JSON  bool     `name:"json" help:"As JSON."`
}

// Help is shown under --help.
func (c *CorpusLangidTrainCmd) Help() string {
	return "Example:\n  ravn corpus langid train da=danske.txt nb=norske.jsonl fi=suomi.txt --out my.langid"
}

// Run trains.
func (c *CorpusLangidTrainCmd) Run(ctx context.Context, s *Streams) error {
	texts := map[string][]string{}
	for _, a := range c.Texts {
		language, path, ok := strings.Cut(a, "=")
		if !ok {
			return usageError{fmt.Errorf("%q is not LANGUAGE=PATH (for example da=danske.txt)", a)}
		}
		all, err := corpus.Open(path, corpus.OpenOptions{})
		if err != nil {
			return err
		}
		for _, section := range all.Sections {
			for d, err := range section.Documents() {
				if err != nil {
					return err
				}
				texts[language] = append(texts[language], d.Text)
			}
		}
	}
	m, err := langid.Train(ctx, texts, langid.TrainOptions{Bits: c.Bits, Seed: c.Seed})
	if err != nil {
		return err
	}
	var b bytes.Buffer
	if err := m.Write(&b); err != nil {
		return err
	}
	if err := atomicfile.WriteFile(c.Out, b.Bytes()); err != nil {
		return err
	}
	if c.JSON {
		return s.JSON(map[string]any{"out": c.Out, "bytes": b.Len(), "languages": m.Languages()})
	}
	fmt.Fprintf(s.Out, "%s: %v, %d bytes\n", c.Out, m.Languages(), b.Len())
	return nil
}

// CorpusLangidGuessCmd identifies lines.
type CorpusLangidGuessCmd struct {
	Model string `type:"existingfile" help:"Model; default the built-in one."`
	JSON  bool   `name:"json" help:"As JSON, one value for all lines."`
}

// Help is shown under --help.
func (c *CorpusLangidGuessCmd) Help() string {
	return "Example:\n  echo 'Hvor er havnen?' | ravn corpus langid guess"
}

// Run identifies.
func (c *CorpusLangidGuessCmd) Run(s *Streams) error {
	m, err := langid.Builtin()
	if c.Model != "" {
		m, err = langid.Load(c.Model)
	}
	if err != nil {
		return err
	}
	data, err := io.ReadAll(s.In)
	if err != nil {
		return err
	}
	type guess struct {
		Language string  `json:"language"`
		P        float64 `json:"p"`
		Text     string  `json:"text"`
	}
	guesses := []guess{}
	for line := range strings.Lines(string(data)) {
		line = strings.TrimSpace(line)
		g := m.Identify(line)
		guesses = append(guesses, guess{g.Language, g.P, line})
		if !c.JSON {
			fmt.Fprintf(s.Out, "%-4s %.3f  %s\n", g.Language, g.P, line)
		}
	}
	if c.JSON {
		return s.JSON(guesses)
	}
	return nil
}
