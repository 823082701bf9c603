//go:build ignore

// Step times training steps of engine/cpu on the shapes of step.py, in its form:
//
//	go run bench/pytorch/step.go S|M|L fp32|bf16 STEPS [THREADS] [none|block]
//
// It prints one line: shape, precision, threads, the median and the best tokens/s, and the peak of resident memory in MB.
package main

import (
	"fmt"
	"log"
	"math/rand/v2"
	"os"
	"runtime/debug"
	"slices"
	"strconv"
	"syscall"
	"time"

	"ravn/engine/cpu"
	"ravn/model"
)

type shape struct{ V, C, L, H, K, F, T, B int }

var shapes = map[string]shape{
	"S": {4096, 256, 6, 8, 4, 704, 256, 8},
	"M": {32000, 512, 8, 8, 4, 1408, 512, 4},
	"L": {32000, 1024, 16, 16, 4, 2816, 512, 2},
}

func main() {
	log.SetFlags(0)
	if len(os.Args) < 4 {
		log.Fatal("usage: step S|M|L fp32|bf16 STEPS [THREADS] [none|block]")
	}
	s, ok := shapes[os.Args[1]]
	steps, err := strconv.Atoi(os.Args[3])
	if !ok || err != nil || steps < 1 {
		log.Fatal("step: shape S, M or L and a number of steps")
	}
	threads, recompute := 2, false
	if len(os.Args) > 4 {
		if threads, err = strconv.Atoi(os.Args[4]); err != nil {
			log.Fatal(err)
		}
	}
	if len(os.Args) > 5 {
		recompute = os.Args[5] == "block"
	}
	c := &model.Config{
		ModelType: "llama", VocabSize: s.V, HiddenSize: s.C, IntermediateSize: s.F, NumHiddenLayers: s.L,
		NumAttentionHeads: s.H, NumKeyValueHeads: s.K, HeadDim: s.C / s.H, HiddenAct: "silu",
		MaxPositionEmbeddings: s.T, RMSNormEps: 1e-5, RopeTheta: 10000, InitializerRange: 0.02,
	}
	precision := map[string]model.DType{"fp32": model.F32, "bf16": model.BF16}[os.Args[2]]
	e, err := cpu.New(model.Init(c, 1), cpu.Options{Threads: threads, MaxTokens: s.B * s.T, MaxRow: s.T, Precision: precision, Recompute: recompute})
	if err != nil {
		log.Fatal(err)
	}
	debug.FreeOSMemory()
	b := &model.Batch{B: s.B, T: s.T, Tokens: make([]int32, s.B*s.T), Targets: make([]int32, s.B*s.T)}
	r := rand.New(rand.NewPCG(1, 1))
	for i := range b.Tokens {
		b.Tokens[i], b.Targets[i] = r.Int32N(int32(s.V)), r.Int32N(int32(s.V))
	}
	u := model.Update{LR: 1e-4, Beta1: 0.9, Beta2: 0.95, Eps: 1e-8, WeightDecay: 0.1}
	var seconds []float64
	for i := range steps + 1 {
		start := time.Now()
		if _, err := e.Accumulate(b, 1/float32(s.B*s.T)); err != nil {
			log.Fatal(err)
		}
		u.Step, u.GradScale = i+1, min(1, 1/e.GradNorm())
		if err := e.Update(u); err != nil {
			log.Fatal(err)
		}
		seconds = append(seconds, time.Since(start).Seconds())
	}
	seconds = seconds[1:]
	slices.Sort(seconds)
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		log.Fatal(err)
	}
	tokens := float64(s.B * s.T)
	fmt.Printf("ravn %s %s %d %.0f %.0f %d\n", os.Args[1], os.Args[2], threads, tokens/seconds[len(seconds)/2], tokens/seconds[0], usage.Maxrss/1024)
}
