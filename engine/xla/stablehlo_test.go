//go:build xla

package xla

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unsafe"

	"github.com/gomlx/go-xla/pkg/pjrt"
	pjrtbackend "github.com/gomlx/gomlx/backends/xla"
	"github.com/gomlx/gomlx/pkg/core/distributed"
	"github.com/gomlx/gomlx/pkg/core/dtypes"
	"github.com/gomlx/gomlx/pkg/core/graph"
	"github.com/gomlx/gomlx/pkg/core/shapes"
	"github.com/google/go-cmp/cmp"
	"k8s.io/klog/v2"

	"ravn/model"
)

// builderOnly is GoMLX's XLA backend with n devices and no plug-in, which writes programs and can compile none. Its fields
// are not ours, so they are set by reflection; a version that renames them fails here.
func builderOnly(t *testing.T, n int) *pjrtbackend.Backend {
	t.Helper()
	b := &pjrtbackend.Backend{}
	for name, value := range map[string]any{"plugin": &pjrt.Plugin{}, "numDevices": n, "capabilities": pjrtbackend.Capabilities.Clone()} {
		f := reflect.ValueOf(b).Elem().FieldByName(name)
		if !f.IsValid() {
			t.Fatalf("GoMLX's XLA backend has no field %s", name)
		}
		reflect.NewAt(f.Type(), unsafe.Pointer(f.UnsafeAddr())).Elem().Set(reflect.ValueOf(value))
	}
	return b
}

// programText is the StableHLO of a program, as it would be handed to the plug-in: GoMLX logs it before it does so.
func programText(t *testing.T, d *devices, name string, cuts []int, f func(in []*graph.Node) []*graph.Node, in []shapes.Shape, inCuts []int) string {
	t.Helper()
	var log bytes.Buffer
	flags := flag.NewFlagSet("", flag.PanicOnError)
	klog.InitFlags(flags)
	for _, x := range [][2]string{{"logtostderr", "false"}, {"stderrthreshold", "FATAL"}, {"v", "2"}} {
		if err := flags.Set(x[0], x[1]); err != nil {
			t.Fatal(err)
		}
	}
	klog.SetOutput(&log)
	defer flags.Set("v", "0")
	func() {
		defer func() { _ = recover() }() // there is no client to compile with
		g := graph.NewGraph(d.backend, name)
		var nodes []*graph.Node
		if d.mesh == nil {
			for i, s := range in {
				nodes = append(nodes, graph.Parameter(g, fmt.Sprintf("arg%d", i), s))
			}
			g.Compile(f(nodes)...)
			return
		}
		if err := g.SetAutoSharding(d.mesh); err != nil {
			t.Fatal(err)
		}
		for i, s := range in {
			nodes = append(nodes, graph.ShardedParameter(g, "arg"+string(rune('a'+i)), s, d.spec(inCuts[i])))
		}
		out := f(nodes)
		var specs []*distributed.ShardingSpec
		for i := range out {
			specs = append(specs, d.spec(cuts[min(i, len(cuts)-1)]))
		}
		g.CompileWithSharding(out, specs)
	}()
	klog.Flush()
	_, text, ok := strings.Cut(log.String(), "StableHLO program:\n")
	if !ok {
		t.Fatalf("%s: no program was written:\n%s", name, log.String())
	}
	return text
}

// TestStableHLO compares what XLA's partitioner is told of programs on 4 devices with testdata/stablehlo.txt, which was read
// by a person: the mesh, and how each input and output is cut. The shapes of a 7B model, whose programs are built and
// not compiled. UPDATE=1 writes it anew.
func TestStableHLO(t *testing.T) {
	c := &model.Config{
		Architectures: []string{"MistralForCausalLM"}, ModelType: "mistral", VocabSize: 32000, HiddenSize: 4096, IntermediateSize: 14336,
		NumHiddenLayers: 32, NumAttentionHeads: 32, NumKeyValueHeads: 8, HeadDim: 128, HiddenAct: "silu", MaxPositionEmbeddings: 32768,
		RMSNormEps: 1e-5, RopeTheta: 10000, SlidingWindow: 4096,
	}
	const B, T = 4, 4096
	mesh, err := distributed.NewDeviceMesh([]int{4}, []string{meshAxis})
	if err != nil {
		t.Fatal(err)
	}
	dev := &devices{backend: builderOnly(t, 4), n: 4, mesh: mesh}
	e := &Engine{config: c, options: Options{BF16: true}, dev: dev}
	d := &decoder{c: c, compute: e.compute(), B: B, T: T, queries: 512, rows: 1024, devices: 4}
	f32 := func(dims ...int) shapes.Shape { return shapes.Make(dtypes.Float32, dims...) }
	i32 := func(dims ...int) shapes.Shape { return shapes.Make(dtypes.Int32, dims...) }
	half := func(s shapes.Shape) shapes.Shape {
		if s.Rank() == 2 {
			s = shapes.Make(e.compute(), s.Dimensions...)
		}
		return s
	}
	var parts, wholes []shapes.Shape
	var partCuts, wholeCuts []int
	for _, p := range c.Layout()[1 : 1+numLayer] {
		s := f32(p.Shape...)
		parts, partCuts = append(parts, s), append(partCuts, dev.axis(p.Shape))
		wholes, wholeCuts = append(wholes, half(s)), append(wholeCuts, whole)
	}
	batch, rows := []shapes.Shape{f32(B*T, 4096), f32(B*T, 64), f32(B*T, 64), i32(B, T)}, []int{0, 0, 0, 0}
	var all strings.Builder
	for _, x := range []struct {
		name   string
		in     []shapes.Shape
		inCuts []int
		cuts   []int
		f      func(n []*graph.Node) []*graph.Node
	}{
		{"gather", parts, partCuts, []int{whole}, d.round},
		{"block_backward", slices.Concat(batch, wholes, batch[:1], parts), slices.Concat(rows, wholeCuts, rows[:1], partCuts), append([]int{0}, partCuts...), func(n []*graph.Node) []*graph.Node {
			dx, g := d.blockBackward(n[4+numLayer], n[0], layerOf(n[4:]), layerOf(n[5+numLayer:]), n[1], n[2], n[3])
			return []*graph.Node{dx, g.inNorm, g.q, g.k, g.v, g.o, g.postNorm, g.gate, g.up, g.down}
		}},
		{"embed", []shapes.Shape{f32(32000, 4096), i32(B * T)}, []int{0, 0}, []int{0}, func(n []*graph.Node) []*graph.Node { return []*graph.Node{embed(n[0], n[1])} }},
		{"squares", parts, partCuts, []int{whole}, squares},
	} {
		all.WriteString(told(t, programText(t, dev, x.name, x.cuts, x.f, x.in, x.inCuts)))
	}
	path := filepath.Join("testdata", "stablehlo.txt")
	if os.Getenv("UPDATE") != "" {
		if err := os.WriteFile(path, []byte(all.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), all.String()); diff != "" {
		t.Errorf("-%s +now (UPDATE=1 rewrites it):\n%s", path, diff)
	}
}

// TestStableHLOHasNoSquare reads the text that XLA is handed of the blocks of a decoder in rows of 8,192 tokens: no tensor
// in it has the tokens of a row along two axes, and no product has more than a block's numbers for each head.
func TestStableHLOHasNoSquare(t *testing.T) {
	const n, T = 2, 8192
	mesh, err := distributed.NewDeviceMesh([]int{n}, []string{meshAxis})
	if err != nil {
		t.Fatal(err)
	}
	dev := &devices{backend: builderOnly(t, n), n: n, mesh: mesh}
	d := &decoder{c: tinyLlama(), compute: dtypes.BFloat16, B: n, T: T, queries: 512, rows: 1024, devices: n}
	for _, p := range programsOf(d) {
		if !strings.HasPrefix(p.name, "block") {
			continue
		}
		inCuts := make([]int, len(p.in))
		for i := range inCuts {
			inCuts[i] = whole
		}
		text := programText(t, dev, strings.ReplaceAll(p.name, " ", "_"), []int{whole}, p.f, p.in, inCuts)
		products := strings.Count(text, "dot_general")
		if want := 136 * 2; products < want { // 16·17/2 pairs of blocks, two products each, and the layer's own
			t.Errorf("%s has %d products, want %d and more", p.name, products, want)
		}
		if square := regexp.MustCompile(`tensor<[0-9x]*8192x([0-9]+x)*8192[^>]*>`).FindString(text); square != "" {
			t.Errorf("%s: %s", p.name, square)
		}
		if !strings.Contains(text, "tensor<2x4x4096x512xbf16>") { // rows, key heads, 8 query heads of 512 each, keys
			t.Errorf("%s: no product of a block of queries and one of keys", p.name)
		}
	}
}

// TestStableHLOParses gives the text of all programs on one device to MLIR's own parser, which checks form, names and that what an
// operation reads has the type that it was made with; of StableHLO's operations themselves it knows nothing. It needs mlir-opt (Debian's
// mlir-tools).
func TestStableHLOParses(t *testing.T) {
	var parser string
	for _, name := range []string{"mlir-opt", "mlir-opt-22", "mlir-opt-19"} {
		if path, err := exec.LookPath(name); err == nil {
			parser = path
		}
	}
	if parser == "" {
		t.Skip("no mlir-opt")
	}
	v := variants()[4]
	c := &v.cfg
	dev := &devices{backend: builderOnly(t, 1), n: 1}
	d := &decoder{c: c, compute: dtypes.BFloat16, B: 2, T: 13, queries: 4, rows: 8, zLoss: 0.1}
	f := func(dims ...int) shapes.Shape { return shapes.Make(dtypes.Float32, dims...) }
	i := func(dims ...int) shapes.Shape { return shapes.Make(dtypes.Int32, dims...) }
	half := func(dims ...int) shapes.Shape { return shapes.Make(dtypes.BFloat16, dims...) }
	programs := programsOf(d)
	block := programs[1].in[4:]
	K, D, M, half2 := c.NumKeyValueHeads, c.HeadDim, 8, c.HeadDim/2
	cacheOf := f(K, M, D)
	programs = append(programs,
		program{"losses", programs[3].in[:4], func(n []*graph.Node) []*graph.Node { return []*graph.Node{d.headLoss(n[0], n[1], n[2], n[3])} }},
		program{"embed backward", []shapes.Shape{f(c.VocabSize, c.HiddenSize), i(26), f(26, c.HiddenSize)}, func(n []*graph.Node) []*graph.Node {
			return []*graph.Node{embedBackward(n[0], n[1], n[2])}
		}},
		program{"squares", block, squares},
		program{"gather", block, d.round},
		program{"adamw", []shapes.Shape{f(5, 3), f(5, 3), half(5, 3), half(5, 3), f(8)}, func(n []*graph.Node) []*graph.Node {
			w, m, v := adamW(n[0], n[1], n[2], n[3], n[4], true)
			return []*graph.Node{w, graph.ZerosLike(n[1]), m, v}
		}},
		program{"extend", append(append([]shapes.Shape{f(8, c.HiddenSize), f(8, half2), f(8, half2), i(2)}, block...), cacheOf, cacheOf, cacheOf, cacheOf), func(n []*graph.Node) []*graph.Node {
			e := &decoder{c: c, compute: dtypes.BFloat16, B: 2, T: 4}
			last := n[4+numLayer:]
			out, keys, values := e.extend(n[0], layerOf(n[4:]), n[1], n[2], n[3], last[:2], last[2:])
			return append(append([]*graph.Node{out}, keys...), values...)
		}},
		program{"copy keys", []shapes.Shape{f(K, 12, D), f(K, M, D)}, func(n []*graph.Node) []*graph.Node {
			return []*graph.Node{over(n[0], n[1]), over(n[1], n[0])}
		}},
		program{"logits", []shapes.Shape{f(8, c.HiddenSize), f(c.HiddenSize), f(c.VocabSize, c.HiddenSize), i(4)}, func(n []*graph.Node) []*graph.Node {
			normed, _ := d.rmsNorm(embed(n[0], n[3]), n[1])
			return []*graph.Node{d.linear(normed, n[2])}
		}},
	)
	for _, p := range programs {
		text := programText(t, dev, p.name, nil, p.f, p.in, nil)
		if at := logLine.FindStringIndex(text); at != nil {
			text = text[:at[0]]
		}
		cmd := exec.Command(parser, "--allow-unregistered-dialect", "-")
		cmd.Stdin = strings.NewReader(text)
		if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "stablehlo.") {
			t.Errorf("%s: %v\n%.2000s", p.name, err, out)
		}
	}
}

// logLine is the beginning of what GoMLX logs behind a program.
var logLine = regexp.MustCompile(`(?m)^[IWE][0-9]{4} `)

var comma = regexp.MustCompile(`, (%|tensor)`)

// told is the head of a program: all up to its first operation, a line for each input and output.
func told(t *testing.T, text string) string {
	t.Helper()
	at := strings.Index(text, "func.func @main")
	end := strings.Index(text[max(at, 0):], "{\n")
	if at < 0 || end < 0 {
		t.Fatalf("a program without main:\n%.2000s", text)
	}
	return comma.ReplaceAllString(text[:at+end+1], ",\n    $1") + "\n"
}
