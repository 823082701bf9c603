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
// testdata/mistral.txt, which was read by a person: no T×T matrix and no (rows, V) matrix longer than a block may be in
// it. UPDATE=1 writes it anew. Nothing is compiled or run.
func TestGraphsOfMistral(t *testing.T) {
	c := &model.Config{
		Architectures: []string{"MistralForCausalLM"}, ModelType: "mistral", VocabSize: 32000, HiddenSize: 4096, IntermediateSize: 14336,
		NumHiddenLayers: 32, NumAttentionHeads: 32, NumKeyValueHeads: 8, HeadDim: 128, HiddenAct: "silu", MaxPositionEmbeddings: 32768,
		RMSNormEps: 1e-5, RopeTheta: 10000, SlidingWindow: 4096,
	}
	const B, T = 1, 8192 // unlike the width, so that T×T would show
	d := &decoder{c: c, compute: dtypes.BFloat16, B: B, T: T, queries: 512, rows: 1024}
	backend, err := open(plainGo, false)
	if err != nil {
		t.Fatal(err)
	}
	defer backend.Finalize()
	f := func(dims ...int) shapes.Shape { return shapes.Make(dtypes.Float32, dims...) }
	i := func(dims ...int) shapes.Shape { return shapes.Make(dtypes.Int32, dims...) }
	var weights []shapes.Shape
	for _, p := range c.Layout()[1 : 1+numLayer] {
		weights = append(weights, f(p.Shape...))
	}
	stream, head := f(B*T, c.HiddenSize), f(c.VocabSize, c.HiddenSize)
	batch := []shapes.Shape{f(B*T, 64), f(B*T, 64), i(B, T)}
	block := append(append([]shapes.Shape{stream}, batch...), weights...)
	var b strings.Builder
	for _, x := range []struct {
		name string
		in   []shapes.Shape
		f    func(n []*graph.Node) []*graph.Node
	}{
		{"embed", []shapes.Shape{head, i(B * T)}, func(n []*graph.Node) []*graph.Node { return []*graph.Node{embed(n[0], n[1])} }},
		{"block forward", block, func(n []*graph.Node) []*graph.Node {
			out, _ := d.block(n[0], layerOf(n[4:]), n[1], n[2], n[3])
			return []*graph.Node{out}
		}},
		{"block backward", append(append(append([]shapes.Shape{}, block...), stream), weights...), func(n []*graph.Node) []*graph.Node {
			dx, g := d.blockBackward(n[4+numLayer], n[0], layerOf(n[4:]), layerOf(n[5+numLayer:]), n[1], n[2], n[3])
			return []*graph.Node{dx, g.inNorm, g.q, g.k, g.v, g.o, g.postNorm, g.gate, g.up, g.down}
		}},
		{"losses and gradients", []shapes.Shape{stream, f(c.HiddenSize), head, i(B * T), f(), f(c.HiddenSize), head}, func(n []*graph.Node) []*graph.Node {
			nll, dx, dnorm, dhead := d.headBackward(n[0], n[1], n[2], n[3], n[4], n[5], n[6])
			return []*graph.Node{nll, dx, dnorm, dhead}
		}},
	} {
		g := graph.NewGraph(backend, x.name)
		var in []*graph.Node
		for k, s := range x.in {
			in = append(in, graph.Parameter(g, fmt.Sprint(k), s))
		}
		out := x.f(in)
		describe(&b, x.name, g, in, out)
		g.Finalize()
	}
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
