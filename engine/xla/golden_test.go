package xla

import (
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"testing"

	"github.com/gomlx/gomlx/pkg/core/dtypes"
	"github.com/gomlx/gomlx/pkg/core/graph"
	"github.com/gomlx/gomlx/pkg/core/shapes"
	"github.com/google/go-cmp/cmp"

	"ravn/model"
)

// TestGraphsOfMistral writes what the programs of Mistral-7B in rows of 8,192 read, write and do, and compares it with
// testdata/mistral.txt, which was read by a person. UPDATE=1 writes it anew. Nothing is compiled or run.
func TestGraphsOfMistral(t *testing.T) {
	c := &model.Config{
		Architectures: []string{"MistralForCausalLM"}, ModelType: "mistral", VocabSize: 32000, HiddenSize: 4096, IntermediateSize: 14336,
		NumHiddenLayers: 32, NumAttentionHeads: 32, NumKeyValueHeads: 8, HeadDim: 128, HiddenAct: "silu", MaxPositionEmbeddings: 32768,
		RMSNormEps: 1e-5, RopeTheta: 10000, SlidingWindow: 4096,
	}
	d := &decoder{c: c, compute: dtypes.BFloat16, B: 1, T: 8192, queries: 512, rows: 1024}
	var b strings.Builder
	eachGraph(t, d, func(name string, g *graph.Graph, in, out []*graph.Node) { describe(&b, name, g, in, out) })
	path := filepath.Join("testdata", "mistral.txt")
	if os.Getenv("UPDATE") != "" {
		if err := os.WriteFile(path, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), b.String()); diff != "" {
		t.Errorf("-%s +now (UPDATE=1 rewrites it):\n%s", path, diff)
	}
}

// TestNoSquareOfTokens holds the programs of a decoder in rows of 4,096 and 8,192 tokens, with and without a window, to what
// their blocks promise: no value has the tokens of a row along two of its axes, none has more than the widest layer's numbers
// for each token (heads times keys would be more), and no logits are longer than a block of rows.
func TestNoSquareOfTokens(t *testing.T) {
	for _, T := range []int{4096, 8192} {
		for _, window := range []int{0, 4096} {
			c := tinyLlama()
			c.SlidingWindow = window
			d := &decoder{c: c, compute: dtypes.BFloat16, B: 1, T: T, queries: 512, rows: 1024}
			values := 0
			eachGraph(t, d, func(name string, g *graph.Graph, _, _ []*graph.Node) {
				for _, n := range g.Nodes() {
					values++
					dims := n.Shape().Dimensions
					tokens, others := 0, 1
					for _, size := range dims {
						if size == T {
							tokens++
						} else {
							others *= size
						}
					}
					if tokens > 1 || tokens == 1 && others > c.IntermediateSize {
						t.Errorf("T %d, window %d, %s: a value of %s", T, window, name, n.Shape())
					}
					if len(dims) == 2 && dims[1] == c.VocabSize && dims[0] > 1024 {
						t.Errorf("T %d, window %d, %s: logits of %s", T, window, name, n.Shape())
					}
				}
			})
			if values < 1000 {
				t.Errorf("T %d: the programs have %d values: not all were looked at", T, values)
			}
		}
	}
}

// tinyLlama is a decoder none of whose widths is a number of tokens that is tested.
func tinyLlama() *model.Config {
	return &model.Config{
		Architectures: []string{"LlamaForCausalLM"}, ModelType: "llama", VocabSize: 32000, HiddenSize: 2048, IntermediateSize: 5632,
		NumHiddenLayers: 22, NumAttentionHeads: 32, NumKeyValueHeads: 4, HeadDim: 64, HiddenAct: "silu", MaxPositionEmbeddings: 8192,
		RMSNormEps: 1e-5, RopeTheta: 10000,
	}
}

// eachGraph builds the programs of a decoder that read a batch, one after the other. Nothing is compiled or run.
func eachGraph(t *testing.T, d *decoder, f func(name string, g *graph.Graph, in, out []*graph.Node)) {
	t.Helper()
	backend, err := open(plainGo, false)
	if err != nil {
		t.Fatal(err)
	}
	defer backend.Finalize()
	for _, x := range programsOf(d) {
		g := graph.NewGraph(backend, x.name)
		var in []*graph.Node
		for k, s := range x.in {
			in = append(in, graph.Parameter(g, fmt.Sprint(k), s))
		}
		f(x.name, g, in, x.f(in))
		g.Finalize()
	}
}

// program is one of a decoder's: what it reads and how it is written.
type program struct {
	name string
	in   []shapes.Shape
	f    func(n []*graph.Node) []*graph.Node
}

func programsOf(d *decoder) []program {
	c, N := d.c, d.B*d.T
	f := func(dims ...int) shapes.Shape { return shapes.Make(dtypes.Float32, dims...) }
	i := func(dims ...int) shapes.Shape { return shapes.Make(dtypes.Int32, dims...) }
	var weights []shapes.Shape
	for _, p := range c.Layout()[1 : 1+numLayer] {
		weights = append(weights, f(p.Shape...))
	}
	stream, head := f(N, c.HiddenSize), f(c.VocabSize, c.HiddenSize)
	batch := []shapes.Shape{f(N, c.HeadDim/2), f(N, c.HeadDim/2), i(d.B, d.T)}
	block := append(append([]shapes.Shape{stream}, batch...), weights...)
	return []program{
		{"embed", []shapes.Shape{head, i(N)}, func(n []*graph.Node) []*graph.Node { return []*graph.Node{embed(n[0], n[1])} }},
		{"block forward", block, func(n []*graph.Node) []*graph.Node {
			out, _ := d.block(n[0], layerOf(n[4:]), n[1], n[2], n[3])
			return []*graph.Node{out}
		}},
		{"block backward", append(append(append([]shapes.Shape{}, block...), stream), weights...), func(n []*graph.Node) []*graph.Node {
			dx, g := d.blockBackward(n[4+numLayer], n[0], layerOf(n[4:]), layerOf(n[5+numLayer:]), n[1], n[2], n[3])
			return []*graph.Node{dx, g.inNorm, g.q, g.k, g.v, g.o, g.postNorm, g.gate, g.up, g.down}
		}},
		{"losses and gradients", []shapes.Shape{stream, f(c.HiddenSize), head, i(N), f(), f(c.HiddenSize), head}, func(n []*graph.Node) []*graph.Node {
			nll, dx, dnorm, dhead := d.headBackward(n[0], n[1], n[2], n[3], n[4], n[5], n[6])
			return []*graph.Node{nll, dx, dnorm, dhead}
		}},
	}
}

// describe writes the inputs, outputs, products and largest values of a graph.
func describe(b *strings.Builder, name string, g *graph.Graph, in, out []*graph.Node) {
	fmt.Fprintf(b, "%s\n", name)
	line := func(what string, nodes []*graph.Node) {
		var all []string
		for _, n := range nodes {
			all = append(all, n.Shape().String())
		}
		fmt.Fprintf(b, "  %s %s\n", what, strings.Join(all, " "))
	}
	line("in", in)
	line("out", out)
	products, largest := map[string]int{}, map[string]int{}
	for _, n := range g.Nodes() {
		if n.Type() == graph.NodeTypeDotGeneral {
			products[n.Shape().String()]++
		}
		if n.Shape().Size() >= 1<<24 && n.Type() != graph.NodeTypeParameter {
			largest[n.Shape().String()]++
		}
	}
	for _, x := range []struct {
		what   string
		counts map[string]int
	}{{"products", products}, {"values of 16 million numbers and more", largest}} {
		var all []string
		for s, n := range x.counts {
			all = append(all, fmt.Sprintf("%s×%d", s, n))
		}
		sort.Strings(all)
		fmt.Fprintf(b, "  %s: %s\n", x.what, strings.Join(all, " "))
	}
}
