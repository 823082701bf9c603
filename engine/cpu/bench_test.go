package cpu

import (
	"fmt"
	"sync"
	"testing"

	"ravn/model"
)

func sized(V, C, L, H, K, F int) *model.Config {
	return &model.Config{
		ModelType: "mistral", VocabSize: V, HiddenSize: C, IntermediateSize: F, NumHiddenLayers: L,
		NumAttentionHeads: H, NumKeyValueHeads: K, HeadDim: C / H, HiddenAct: "silu",
		MaxPositionEmbeddings: 2048, RMSNormEps: 1e-5, RopeTheta: 10000, InitializerRange: 0.02,
	}
}

var (
	small  = sized(4096, 256, 6, 8, 4, 704)
	medium = sized(8192, 384, 6, 6, 2, 1024)
	shapeM = sized(32000, 512, 8, 8, 4, 1408)
	shapeL = sized(32000, 1024, 16, 16, 4, 2816)
)

// BenchmarkStep is a whole training step: forward, backward, norm, update.
func BenchmarkStep(b *testing.B) {
	for _, bc := range []struct {
		name string
		c    *model.Config
		B, T int
		docs []int
	}{
		{"S", small, 8, 256, nil},
		{"S,documents of 60", small, 8, 256, []int{60}},
		{"12M", medium, 4, 512, nil},
		{"M", shapeM, 4, 512, nil},
		{"L", shapeL, 2, 512, nil},
	} {
		for i := range 4 {
			threads, precision := 1+i%2, []model.DType{model.F32, model.BF16}[i/2]
			b.Run(fmt.Sprintf("%s/%s/threads=%d", bc.name, precision, threads), func(b *testing.B) {
				e := newEngine(b, model.Init(bc.c, 1), Options{Threads: threads, MaxTokens: bc.B * bc.T, MaxRow: bc.T, Precision: precision})
				data := batch(bc.c, 1, bc.B, bc.T)
				if bc.docs != nil {
					documents(bc.docs...)(data)
				}
				u := model.Update{LR: 1e-4, Beta1: 0.9, Beta2: 0.95, Eps: 1e-8, WeightDecay: 0.1, GradScale: 1}
				for b.Loop() {
					accumulate(b, e, data, 1.0/2048)
					e.GradNorm()
					u.Step++
					if err := e.Update(u); err != nil {
						b.Fatal(err)
					}
				}
				tokens := float64(bc.B*bc.T*b.N) / b.Elapsed().Seconds()
				b.ReportMetric(tokens, "tokens/s")
				if bc.docs == nil {
					b.ReportMetric(tokens*bc.c.TrainFLOPs(bc.T)/1e9, "GFLOP/s")
				}
			})
		}
	}
}

// BenchmarkSession is evaluation: a prefix of 512 tokens that stays, and prompts of 40 tokens after it, whose logits are
// wanted for the last 5. Two goroutines share the work.
func BenchmarkSession(b *testing.B) {
	e := newEngine(b, model.Init(medium, 1), Options{Inference: true})
	data := batch(medium, 1, 1, 1024)
	for _, together := range []int{1, 8} {
		b.Run(fmt.Sprintf("prompts/together=%d", together), func(b *testing.B) {
			const workers, prefix, prompt = 2, 512, 40
			var all [workers][]Piece
			for i := range all {
				for range together {
					s := newSession(b, e, 600)
					if err := s.Append(data.Tokens[:prefix], nil, prefix); err != nil {
						b.Fatal(err)
					}
					all[i] = append(all[i], Piece{s, data.Tokens[prefix:][:prompt], make([]float32, 5*e.V), prompt - 5})
				}
			}
			for b.Loop() {
				var wg sync.WaitGroup
				for _, pieces := range all {
					wg.Add(1)
					go func() {
						defer wg.Done()
						if err := e.Append(pieces); err != nil {
							b.Error(err)
						}
						for _, p := range pieces {
							p.Session.Truncate(prefix)
						}
					}()
				}
				wg.Wait()
			}
			prompts := float64(workers*together*b.N) / b.Elapsed().Seconds()
			b.ReportMetric(prompts, "prompts/s")
			b.ReportMetric(prompts*prompt, "tokens/s")
		})
	}
	b.Run("prefill", func(b *testing.B) {
		s := newSession(b, e, 1024)
		for b.Loop() {
			s.Truncate(0)
			if err := s.Append(data.Tokens, nil, 1024); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(1024*float64(b.N)/b.Elapsed().Seconds(), "tokens/s")
	})
	b.Run("decode", func(b *testing.B) {
		s := newSession(b, e, 1024)
		extend(b, s, data.Tokens[:300])
		logits := make([]float32, e.V)
		for b.Loop() {
			if s.Len() == 1024 {
				s.Truncate(300)
			}
			if err := s.Append(data.Tokens[:1], logits, 0); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "tokens/s")
	})
}
