package kernel

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// Products of a training step: forth x·Wᵀ, back dy·W, and dyᵀ·x for the weights; then attention and decoding.
var benchShapes = []struct {
	m, n, k        int
	transA, transB bool
}{
	{512, 512, 512, false, false},
	{1024, 1024, 1024, false, false},
	{2048, 2048, 2048, false, false},
	{2048, 704, 256, false, true},
	{2048, 256, 704, false, true},
	{2048, 4096, 256, false, true},
	{2048, 384, 1024, false, false},
	{1024, 384, 2048, true, false},
	{2048, 384, 8192, false, false},
	{8192, 384, 2048, true, false},
	{2048, 2816, 512, false, true}, // 56M parameters
	{2048, 512, 1408, false, true},
	{2816, 512, 2048, true, false},
	{256, 32000, 512, false, true},
	{32000, 512, 256, true, false},
	{1024, 5632, 1024, false, true}, // 246M parameters
	{1024, 1024, 2816, false, true},
	{5632, 1024, 1024, true, false},
	{512, 512, 64, false, true},
	{512, 64, 512, false, false},
	{1, 4096, 1024, false, true},
	{4, 4096, 1024, false, true},
	{1, 8192, 384, false, true},
}

func operands(m, n, k int, transA, transB bool) (a, b Mat, c []float32) {
	a, b = Mat{random(1, m*k), k, transA}, Mat{random(2, k*n), n, transB}
	if transA {
		a.Stride = m
	}
	if transB {
		b.Stride = k
	}
	return a, b, make([]float32, m*n)
}

func BenchmarkMatMul(b *testing.B) {
	for _, s := range benchShapes {
		x, y, c := operands(s.m, s.n, s.k, s.transA, s.transB)
		for _, threads := range []int{1, 2} {
			b.Run(fmt.Sprintf("%dx%dx%d/%v/%v/threads=%d", s.m, s.n, s.k, s.transA, s.transB, threads), func(b *testing.B) {
				p := NewPool(threads)
				defer p.Close()
				for b.Loop() {
					MatMul(p, c, s.n, x, y, s.m, s.n, s.k, false)
				}
				b.ReportMetric(2e-9*float64(s.m)*float64(s.n)*float64(s.k)*float64(b.N)/b.Elapsed().Seconds(), "GFLOP/s")
				if s.m <= 8 { // B is read once, and that is the work
					b.ReportMetric(4e-9*float64(s.n)*float64(s.k)*float64(b.N)/b.Elapsed().Seconds(), "GB/s")
				}
			})
		}
	}
}

// TestCompareOpenBLAS times this package, in both precisions, and OpenBLAS in turns; _gen/openblas/serve.c says how.
func TestCompareOpenBLAS(t *testing.T) {
	server := os.Getenv("RAVN_OPENBLAS")
	if server == "" {
		t.Skip("RAVN_OPENBLAS does not name the program made from _gen/openblas/serve.c")
	}
	cmd := exec.Command(server)
	in, _ := cmd.StdinPipe()
	outPipe, _ := cmd.StdoutPipe()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	answers := bufio.NewScanner(outPipe)
	rounds := 15
	if s := os.Getenv("RAVN_ROUNDS"); s != "" {
		rounds, _ = strconv.Atoi(s)
	}
	t.Logf("level %s, %d rounds, GFLOP/s median (best)", Level(), rounds)
	for _, s := range benchShapes {
		a, b, c := operands(s.m, s.n, s.k, s.transA, s.transB)
		for _, threads := range []int{1, 2} {
			p := NewPool(threads)
			var ours, theirs, halves []float64
			u, v := Half{F32: a.Data, Stride: a.Stride, Trans: a.Trans}, Half{F32: b.Data, Stride: b.Stride, Trans: b.Trans}
			for range rounds {
				bit := func(x bool) int {
					if x {
						return 1
					}
					return 0
				}
				fmt.Fprintln(in, threads, s.m, s.n, s.k, bit(s.transA), bit(s.transB))
				answers.Scan()
				x, err := strconv.ParseFloat(strings.TrimSpace(answers.Text()), 64)
				if err != nil {
					t.Fatal(err)
				}
				theirs = append(theirs, x)
				time.Sleep(30 * time.Millisecond) // its threads look for work that long
				if s.m > 8 {
					MatMulBF16(p, c, s.n, u, v, s.m, s.n, s.k, false)
					start := time.Now()
					MatMulBF16(p, c, s.n, u, v, s.m, s.n, s.k, false)
					halves = append(halves, time.Since(start).Seconds())
				}
				MatMul(p, c, s.n, a, b, s.m, s.n, s.k, false)
				start := time.Now()
				MatMul(p, c, s.n, a, b, s.m, s.n, s.k, false)
				ours = append(ours, time.Since(start).Seconds())
			}
			p.Close()
			slices.Sort(ours)
			slices.Sort(theirs)
			if halves == nil {
				halves = ours // few rows have no product in bfloat16
			}
			slices.Sort(halves)
			g := func(x float64) float64 { return 2e-9 * float64(s.m) * float64(s.n) * float64(s.k) / x }
			t.Logf("%5d x %5d x %5d %5v %5v  %d threads: kernel %5.0f (%5.0f)  OpenBLAS %5.0f (%5.0f)  ratio %.2f (%.2f)  bf16 %5.0f (%5.0f)",
				s.m, s.n, s.k, s.transA, s.transB, threads, g(ours[rounds/2]), g(ours[0]), g(theirs[rounds/2]), g(theirs[0]),
				theirs[rounds/2]/ours[rounds/2], theirs[0]/ours[0], g(halves[rounds/2]), g(halves[0]))
		}
	}
	in.Close()
	cmd.Wait()
}

// Routines beside the products, in the sizes of a model with C 384 and V 8192 on rows of 512 tokens.
func BenchmarkVectors(b *testing.B) {
	const rows, c, f, v = 2048, 384, 1024, 8192
	x, y, z := random(1, rows*f), random(2, rows*f), random(3, rows*f)
	u, w := random(4, rows*f), random(5, rows*f)
	rstd, nll, targets, pos := make([]float32, rows), make([]float32, rows), make([]int32, rows), make([]int32, rows)
	for i := range pos {
		pos[i] = int32(i % 512)
	}
	cos, sin := make([]float32, 512*32), make([]float32, 512*32)
	RopeTable(cos, sin, 512, 64, 10000)
	big := make([][]float32, 4)
	for i := range big {
		big[i] = random(uint64(i), 12<<20)
	}
	logits := random(9, 256*v)
	step := AdamWParams{LR: 1e-9, Beta1: 0.9, Beta2: 0.95, Eps: 1e-8, WeightDecay: 0.1, GradScale: 1, BC1: 0.5, BC2: 0.5}
	for _, k := range []struct {
		name  string
		bytes int // read and written
		run   func(p *Pool)
	}{
		{"Dot/4096", 8 * 4096, func(*Pool) { Dot(x[:4096], y[:4096]) }},
		{"Axpy/4096", 12 * 4096, func(*Pool) { Axpy(x[:4096], 0, y[:4096]) }},
		{"ExpSub/2048", 8 * 2048, func(*Pool) { ExpSub(x[:2048], y[:2048], 3) }},
		{"Softmax/512", 8 * 512, func(*Pool) { Softmax(x[:512]) }},
		{"RMSNorm", 8 * rows * c, func(p *Pool) { RMSNorm(p, x, rstd, y, z, rows, c, 1e-5) }},
		{"RMSNormBackward", 16 * rows * c, func(p *Pool) { RMSNormBackward(p, x, y, z, u, w, rstd, rows, c) }},
		{"Rope", 8 * rows * c, func(p *Pool) { Rope(p, x, pos, cos, sin, rows, c/64, 64, c, false) }},
		{"SwiGLU", 12 * rows * f, func(p *Pool) { SwiGLU(p, x, y, z) }},
		{"SwiGLUBackward", 28 * rows * f, func(p *Pool) { SwiGLUBackward(p, x, y, z, u, w) }},
		{"CrossEntropy", 8 * 256 * v, func(p *Pool) { CrossEntropy(p, nll, logits, targets, 256, v, 1, true) }},
		{"SumSquares/12M", 4 * 12 << 20, func(p *Pool) { SumSquares(p, big[0]) }},
		{"AdamW/12M", 28 * 12 << 20, func(p *Pool) { AdamW(p, big[0], big[1], big[2], big[3], step, true) }},
	} {
		for _, threads := range []int{1, 2} {
			b.Run(fmt.Sprintf("%s/threads=%d", k.name, threads), func(b *testing.B) {
				clear(big[3])
				p := NewPool(threads)
				defer p.Close()
				for b.Loop() {
					k.run(p)
				}
				b.ReportMetric(1e-9*float64(k.bytes)*float64(b.N)/b.Elapsed().Seconds(), "GB/s")
			})
		}
	}
}
