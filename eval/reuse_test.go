package eval_test

import (
	"flag"
	"path/filepath"
	"sync/atomic"
	"testing"

	"ravn/engine/cpu"
	"ravn/eval"
	"ravn/eval/task"
	"ravn/internal/sampledata"
	"ravn/model"
	"ravn/tokenizer"
)

// counting is an engine that computes nothing and counts the tokens it is handed: what a prompt costs does not depend on
// what the model answers.
type counting struct{ tokens atomic.Int64 }

type countingSession struct {
	e *counting
	n int
}

func (e *counting) NewSession(int) (*countingSession, error) { return &countingSession{e: e}, nil }
func (s *countingSession) Len() int                          { return s.n }
func (s *countingSession) Truncate(n int)                    { s.n = n }
func (s *countingSession) Append(tokens []int32, _ []float32, _ int) error {
	s.n += len(tokens)
	s.e.tokens.Add(int64(len(tokens)))
	return nil
}

// scalaDa is scala-da and the vocabulary of Mistral, which is that of TinyLlama in size and kind.
func scalaDa(t testing.TB) (*task.Dataset, *tokenizer.Tokenizer) {
	dir := sampledata.Dir(t)
	d, err := task.LoadDataset(filepath.Join(dir, "eval", "scala-da"))
	if err != nil {
		t.Fatal(err)
	}
	tok, err := tokenizer.Load(filepath.Join(dir, "tokenizers", "mistral-7b-v0.1.model"))
	if err != nil {
		t.Fatal(err)
	}
	return d, tok
}

// scalaItems are asked; with -tags slow all 2,048, as docs/benchmarks.md has it.
var scalaItems = 128

// Of the prompt tokens of scala-da under ten draws of examples at most three tenths are computed.
func TestPromptTokensOfScaLA(t *testing.T) {
	d, tok := scalaDa(t)
	for _, mode := range []string{eval.ModeRavn, eval.ModeScandEval2024} {
		e := &counting{}
		l, err := eval.NewLocal(eval.EngineOf(e.NewSession), tok, eval.Info{Name: "counts", VocabSize: tok.Size(), MaxTokens: 2048}, eval.LocalOptions{Threads: 2})
		if err != nil {
			t.Fatal(err)
		}
		r, err := task.Evaluate(t.Context(), l, d, task.Options{Mode: mode, Limit: scalaItems, Iterations: 10})
		if err != nil {
			t.Fatal(err)
		}
		sent, computed := l.PromptTokens()
		share := float64(computed) / float64(sent)
		t.Logf("%s: %d prompts, %d tokens sent, %d computed: %.3f", mode, r.Record.Ravn.Prompts, sent, computed, share)
		if share > 0.3 || computed != e.tokens.Load() || int(sent) < 200*r.Record.Ravn.Prompts {
			t.Errorf("%s: %d of %d prompt tokens were computed, %d by the engine's count", mode, computed, sent, e.tokens.Load())
		}
	}
}

var (
	scalaModel = flag.String("scala-model", "", "BenchmarkScaLA: a Hugging Face folder or GGUF file in place of a small decoder of random weights")
	scalaCount = flag.Int("scala-items", 96, "BenchmarkScaLA: items asked, under one draw")
)

// BenchmarkScaLA asks a decoder of 512 width and 8 layers with 32,000 pieces, TinyLlama's kind in small, or the model that
// -scala-model names: 96 items of scala-da under one draw, which share nearly as much as 2,048 under ten do.
func BenchmarkScaLA(b *testing.B) {
	d, tok := scalaDa(b)
	open := func() (*eval.Local, func() error) {
		if *scalaModel != "" {
			l, err := eval.OpenLocal(*scalaModel, eval.LocalOptions{Threads: 2})
			if err != nil {
				b.Fatal(err)
			}
			return l, l.Close
		}
		w := model.Init(&model.Config{
			ModelType: "llama", VocabSize: tok.Size(), HiddenSize: 512, IntermediateSize: 1408, NumHiddenLayers: 8, NumAttentionHeads: 8, NumKeyValueHeads: 4,
			HeadDim: 64, HiddenAct: "silu", MaxPositionEmbeddings: 2048, RMSNormEps: 1e-5, RopeTheta: 10000, InitializerRange: 0.02,
		}, 1)
		e, err := cpu.New(w, cpu.Options{Threads: 2, Inference: true})
		if err != nil {
			b.Fatal(err)
		}
		l, err := eval.NewLocal(eval.EngineOf(e.NewSession), tok, eval.Info{Name: "small", VocabSize: tok.Size(), MaxTokens: 2048}, eval.LocalOptions{Threads: 2})
		if err != nil {
			b.Fatal(err)
		}
		return l, e.Close
	}
	for _, c := range []struct {
		name   string
		forget bool
	}{{"reuse", false}, {"anew", true}} {
		b.Run(c.name, func(b *testing.B) {
			for b.Loop() {
				b.StopTimer()
				l, end := open()
				if c.forget {
					l.Forget()
				}
				b.StartTimer()
				if _, err := task.Evaluate(b.Context(), l, d, task.Options{Limit: *scalaCount, Iterations: 1}); err != nil {
					b.Fatal(err)
				}
				sent, computed := l.PromptTokens()
				b.ReportMetric(float64(sent), "sent")
				b.ReportMetric(float64(computed), "computed")
				if err := end(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
