package adapter

import (
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"ravn/engine/cpu"
	"ravn/engine/ref"
	"ravn/kernel"
	"ravn/model"
	"ravn/weights"
)

func config() *model.Config {
	return &model.Config{
		Architectures: []string{"LlamaForCausalLM"}, ModelType: "llama", VocabSize: 20, HiddenSize: 12, IntermediateSize: 20,
		NumHiddenLayers: 2, NumAttentionHeads: 2, NumKeyValueHeads: 1, HeadDim: 6, HiddenAct: "silu", MaxPositionEmbeddings: 32,
		RMSNormEps: 1e-5, RopeTheta: 10000, InitializerRange: 0.3, BOSTokenID: 1, EOSTokenID: 2, TorchDtype: "float32",
	}
}

func options(kind string, change ...func(o *Options)) Options {
	o := Options{Kind: kind, Rank: 3, Alpha: 7}
	o.Fill()
	for _, f := range change {
		f(&o)
	}
	return o
}

func modules(o *Options) { o.ModulesToSave = []string{"embed_tokens", "lm_head"} }

func text(c *model.Config, rows, t int) *model.Batch {
	b := &model.Batch{B: rows, T: t}
	r := rand.New(rand.NewPCG(3, 4))
	for range rows * t {
		b.Tokens, b.Targets = append(b.Tokens, int32(r.IntN(c.VocabSize))), append(b.Targets, int32(r.IntN(c.VocabSize)))
	}
	return b
}

// grown is an adapter on Init's weights whose numbers are all of some size, as after training.
func grown(t *testing.T, o Options) (*Adapter, *model.Weights) {
	t.Helper()
	w := model.Init(config(), 5)
	a, err := New(w, o, 1)
	if err != nil {
		t.Fatal(err)
	}
	r := rand.New(rand.NewPCG(1, 2))
	for i := range a.params {
		a.params[i] += float32(0.3 * r.NormFloat64())
	}
	return a, w
}

// byHand makes the effective weights of x, the adapter's numbers, in float64 as the equations say.
func byHand(a *Adapter, x []float64, w0 []float32) []float64 {
	w := make([]float64, len(w0))
	for i, v := range w0 {
		w[i] = float64(v)
	}
	r, s := a.o.Rank, a.o.Alpha/float64(a.o.Rank)
	for _, t := range a.targets {
		for i := range t.out {
			row := w[t.Offset+i*t.in : t.Offset+(i+1)*t.in]
			squares := 0.0
			for j := range row {
				for k := range r {
					row[j] += s * x[t.b+i*r+k] * x[t.a+k*t.in+j]
				}
				squares += row[j] * row[j]
			}
			for j := range row {
				if t.m >= 0 {
					row[j] *= x[t.m+i] / math.Sqrt(squares)
				}
			}
		}
	}
	for _, t := range a.whole {
		copy(w[t.Offset:t.Offset+t.Size], x[t.at:])
	}
	return w
}

func widened(x []float32) []float64 {
	y := make([]float64, len(x))
	for i, v := range x {
		y[i] = float64(v)
	}
	return y
}

func reference(t *testing.T, c *model.Config, params []float64) *ref.Engine[float64] {
	t.Helper()
	e, err := ref.New[float64](model.Init(c, 5))
	if err != nil {
		t.Fatal(err)
	}
	copy(e.Params(), params)
	return e
}

// TestGradientsAgainstFiniteDifferences compares the gradient of every kind of number with central differences of the
// loss, which engine/ref reckons in float64 from weights made by hand. The analytic side is float32.
func TestGradientsAgainstFiniteDifferences(t *testing.T) {
	for name, o := range map[string]Options{
		"lora": options("lora"), "dora": options("dora"),
		"dora, some targets, modules whole": options("dora", modules, func(o *Options) { o.Targets = []string{"v_proj", "down_proj"} }),
	} {
		t.Run(name, func(t *testing.T) {
			a, w := grown(t, o)
			b, x := text(a.config, 2, 9), widened(a.params)
			loss := func() float64 {
				nll, err := reference(t, a.config, byHand(a, x, w.Params)).Accumulate(b, 1)
				if err != nil {
					t.Fatal(err)
				}
				return nll
			}
			e := reference(t, a.config, byHand(a, x, w.Params))
			if _, err := e.Accumulate(b, 1); err != nil {
				t.Fatal(err)
			}
			dw := make([]float32, len(w.Params))
			for i, g := range e.Grads() {
				dw[i] = float32(g)
			}
			got := make([]float32, a.size)
			a.gradients(nil, got, dw, a.keep(w.Params), a.newScratch())
			largest := 0.0
			for _, g := range got {
				largest = max(largest, math.Abs(float64(g)))
			}
			r := rand.New(rand.NewPCG(7, 8))
			for _, ts := range a.tensors() {
				for range 4 {
					i := ts.at + r.IntN(ts.size())
					const h = 1e-5
					was := x[i]
					x[i] = was + h
					up := loss()
					x[i] = was - h
					down := loss()
					x[i] = was
					want := (up - down) / (2 * h)
					// Sums of float32 products, relative to the largest gradient; the differences are good to 1e-9 of the loss.
					if math.Abs(float64(got[i])-want) > 2e-6*largest {
						t.Errorf("%s[%d]: gradient %g, by differences %g (largest %g)", ts.name, i-ts.at, got[i], want, largest)
					}
				}
			}
		})
	}
}

// TestFirstWeightsAreTheBase: B is zero and m the rows' lengths, so nothing has changed, bit for bit.
func TestFirstWeightsAreTheBase(t *testing.T) {
	for _, kind := range []string{"lora", "dora"} {
		w := model.Init(config(), 5)
		a, err := New(w, options(kind, modules), 1)
		if err != nil {
			t.Fatal(err)
		}
		got := &model.Weights{Config: w.Config, Params: slices.Clone(w.Params)}
		if err := a.Merge(got); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(got.Params, w.Params) {
			t.Errorf("%s: the first weights are not the base's", kind)
		}
		// PEFT's Kaiming-uniform with a = √5 has the bound √(6/(1+5))/√in = 1/√in; variance is a third of its square.
		q := a.targets[0]
		bound, sum := 1/math.Sqrt(float64(q.in)), 0.0
		for _, x := range a.params[q.a:q.b] {
			if math.Abs(float64(x)) > bound {
				t.Errorf("%s: A has %g, beyond %g", kind, x, bound)
			}
			sum += float64(x) * float64(x)
		}
		if n := float64(q.b - q.a); sum/n < bound*bound/3*0.5 || sum/n > bound*bound/3*1.5 {
			t.Errorf("%s: variance of A is %g, want about %g", kind, sum/n, bound*bound/3)
		}
	}
}

// carried is an adapter on engine/cpu.
func carried(t *testing.T, o Options, threads int) *Engine {
	t.Helper()
	w := model.Init(config(), 5)
	e, err := cpu.New(w, cpu.Options{Threads: threads, MaxTokens: 4 * 16, MaxRow: 16, NoMoments: true})
	if err != nil {
		t.Fatal(err)
	}
	a, err := NewEngine(e, w, o, 9, "base", threads)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.Close() })
	return a
}

func step(t *testing.T, e *Engine, n int) {
	t.Helper()
	for _, rows := range []int{1, 3} { // accumulated
		if _, err := e.Accumulate(text(e.Config(), rows, 16), 1.0/64); err != nil {
			t.Fatal(err)
		}
	}
	if err := e.Update(model.Update{Step: n, LR: 0.01, Beta1: 0.9, Beta2: 0.95, Eps: 1e-8, WeightDecay: 0.1, GradScale: min(1, 1/e.GradNorm())}); err != nil {
		t.Fatal(err)
	}
}

// TestMergedFolderIsTheAdapter trains a little, merges the written adapter with the base, and compares the logits of that
// folder with those of weights made by hand in float64.
func TestMergedFolderIsTheAdapter(t *testing.T) {
	for _, kind := range []string{"lora", "dora"} {
		e := carried(t, options(kind, modules), 2)
		for n := range 5 {
			step(t, e, n+1)
		}
		dir := filepath.Join(t.TempDir(), "adapter", "step-000005")
		if _, err := e.Write(dir); err != nil {
			t.Fatal(err)
		}
		base := model.Init(config(), 5)
		a, err := Load(dir, base.Config)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(e.adapter.params, a.params); d != "" {
			t.Error("the adapter changed on the way:", d)
		}
		want := byHand(a, widened(a.params), base.Params)
		if err := a.Merge(base); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(base.Params, e.State().Params) {
			t.Errorf("%s: merged weights are not those that training went on with", kind)
		}
		merged := t.TempDir()
		if err := weights.SaveFolder(merged, base, weights.SaveOptions{}); err != nil {
			t.Fatal(err)
		}
		got, err := weights.Load(merged)
		if err != nil {
			t.Fatal(err)
		}
		tokens := text(base.Config, 1, 16).Tokens
		x, err := reference(t, base.Config, widened(got.Params)).Logits(tokens)
		if err != nil {
			t.Fatal(err)
		}
		y, err := reference(t, base.Config, want).Logits(tokens)
		if err != nil {
			t.Fatal(err)
		}
		far, changed := 0.0, 0.0
		first, err := reference(t, base.Config, widened(model.Init(config(), 5).Params)).Logits(tokens)
		if err != nil {
			t.Fatal(err)
		}
		for i := range x {
			far, changed = max(far, math.Abs(x[i]-y[i])), max(changed, math.Abs(first[i]-y[i]))
		}
		if far > 1e-5 || changed < 0.01 { // weights rounded to float32
			t.Errorf("%s: logits differ by %g at most, having changed by %g from the base", kind, far, changed)
		}
	}
}

// TestUpdateIsAdamWOnTheAdapter takes one step by hand: at first the moments are (1-β)g and (1-β)g², corrected g and g².
func TestUpdateIsAdamWOnTheAdapter(t *testing.T) {
	e := carried(t, options("dora"), 1)
	was := slices.Clone(e.adapter.params)
	if _, err := e.Accumulate(text(e.Config(), 2, 16), 1.0/32); err != nil {
		t.Fatal(err)
	}
	g := slices.Clone(e.Grads())
	sum := 0.0
	for _, x := range g {
		sum += float64(x) * float64(x)
	}
	if norm := e.GradNorm(); math.Abs(norm-math.Sqrt(sum)) > 1e-9 {
		t.Errorf("gradient norm %g, want %g", norm, math.Sqrt(sum))
	}
	const lr, decay, eps, scale = 0.01, 0.1, 1e-8, 0.5
	if err := e.Update(model.Update{Step: 1, LR: lr, Beta1: 0.9, Beta2: 0.95, Eps: eps, WeightDecay: decay, GradScale: scale}); err != nil {
		t.Fatal(err)
	}
	for _, ts := range e.adapter.tensors() {
		d := decay
		if strings.HasSuffix(ts.name, "magnitude_vector") { // a length, as a norm's weights are
			d = 0
		}
		for i := ts.at; i < ts.at+ts.size(); i++ {
			x := scale * float64(g[i])
			want := float64(was[i]) - lr*(x/(math.Abs(x)+eps)+d*float64(was[i]))
			if math.Abs(float64(e.adapter.params[i])-want) > 1e-6 {
				t.Fatalf("%s[%d]: %g, want %g", ts.name, i-ts.at, e.adapter.params[i], want)
			}
		}
	}
	base := model.Init(config(), 5).Params
	for _, p := range e.Config().Layout() {
		same := slices.Equal(base[p.Offset:p.Offset+p.Size], e.params[p.Offset:p.Offset+p.Size])
		if want := !slices.Contains(Targets, module(p.Name)); same != want {
			t.Errorf("%s is as it was: %v, want %v", p.Name, same, want)
		}
	}
	if n := e.GradNorm(); n != 0 {
		t.Errorf("gradient norm %g after the update, want 0", n)
	}
}

func TestThreadsDoNotMatter(t *testing.T) {
	for _, kind := range []string{"lora", "dora"} {
		var first []float32
		for _, threads := range []int{1, 2, 5} {
			e := carried(t, options(kind, modules), threads)
			for n := range 4 {
				step(t, e, n+1)
			}
			got := slices.Concat(e.adapter.params, e.m, e.v, e.params)
			if first == nil {
				first = got
			}
			if !slices.Equal(first, got) {
				t.Errorf("%s: %d threads give other numbers than 1", kind, threads)
			}
		}
	}
}

// TestNamesAreThoseOfPEFT: as get_peft_model_state_dict of PEFT 0.18 names them, adapter's name left out.
func TestNamesAreThoseOfPEFT(t *testing.T) {
	e := carried(t, options("dora", modules, func(o *Options) { o.Targets = []string{"v_proj", "gate_proj"} }), 1)
	dir := filepath.Join(t.TempDir(), "a")
	if _, err := e.Write(dir); err != nil {
		t.Fatal(err)
	}
	f, err := weights.OpenSafetensors(filepath.Join(dir, "adapter_model.safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var got []string
	for _, x := range f.Tensors() {
		got = append(got, fmt.Sprintf("%s %s %d", x.Name, x.DType, x.Shape))
	}
	var want []string
	for l := range 2 {
		p := fmt.Sprintf("base_model.model.model.layers.%d.", l)
		want = append(want,
			p+"self_attn.v_proj.lora_A.weight F32 [3 12]", p+"self_attn.v_proj.lora_B.weight F32 [6 3]", p+"self_attn.v_proj.lora_magnitude_vector F32 [6]",
			p+"mlp.gate_proj.lora_A.weight F32 [3 12]", p+"mlp.gate_proj.lora_B.weight F32 [20 3]", p+"mlp.gate_proj.lora_magnitude_vector F32 [20]")
	}
	want = append(want, "base_model.model.model.embed_tokens.weight F32 [20 12]", "base_model.model.lm_head.weight F32 [20 12]")
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("(-want +got)\n%s", d)
	}
	data, err := os.ReadFile(filepath.Join(dir, "adapter_config.json"))
	if err != nil {
		t.Fatal(err)
	}
	var c map[string]any
	if err := json.Unmarshal(data, &c); err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string]any{
		"peft_type": "LORA", "task_type": "CAUSAL_LM", "r": 3.0, "lora_alpha": 7.0, "use_dora": true, "bias": "none", "base_model_name_or_path": "base",
		"target_modules": []any{"v_proj", "gate_proj"}, "modules_to_save": []any{"embed_tokens", "lm_head"},
	} {
		if d := cmp.Diff(want, c[key]); d != "" {
			t.Errorf("adapter_config.json: %s: (-want +got)\n%s", key, d)
		}
	}
}

// TestCost: by hand for two layers of width 12, 2 heads of 6, one of keys: q 12×12, k and v 6×12, o 12×12.
func TestCost(t *testing.T) {
	c := config()
	attention := func(o *Options) { o.Targets = []string{"q_proj", "k_proj", "v_proj", "o_proj"} }
	lora, based := 3*2*((12+12)+(6+12)+(6+12)+(12+12)), 2*(12*12+2*6*12+12*12)
	for want, o := range map[int]Options{
		lora: options("lora", attention), lora + 2*(12+6+6+12): options("dora", attention), lora + 2*20*12: options("lora", attention, modules),
	} {
		got, memory, err := o.Cost(c)
		product := 12 * 3
		if o.Kind == "dora" {
			product += 12 * 12
		}
		if bytes := model.TotalBytes(memory); err != nil || got != want || bytes != int64(4*based+16*want+4*product) {
			t.Errorf("%s: %d numbers, %d bytes, want %d numbers (%v)", o, got, bytes, want, err)
		}
	}
}

// TestRowOfZeros: a row without a direction stays what it is, and its gradient is nothing rather than no number.
func TestRowOfZeros(t *testing.T) {
	w := model.Init(config(), 5)
	q := w.Config.Layout()[2]
	clear(w.Params[q.Offset : q.Offset+12])
	a, err := New(w, options("dora"), 1)
	if err != nil {
		t.Fatal(err)
	}
	base, s := a.keep(w.Params), a.newScratch()
	a.apply(nil, w.Params, base, s)
	dw, g := make([]float32, len(w.Params)), make([]float32, a.size)
	for i := range dw {
		dw[i] = 1
	}
	a.gradients(nil, g, dw, base, s)
	if n := kernel.SumSquares(nil, append(g, w.Params...)); math.IsNaN(n) || w.Params[q.Offset] != 0 || g[a.targets[0].m] != 0 {
		t.Errorf("sum of squares %g, weight %g, gradient of m %g", n, w.Params[q.Offset], g[a.targets[0].m])
	}
}

func TestReadRefuses(t *testing.T) {
	e := carried(t, options("lora"), 1)
	step(t, e, 1)
	dir := filepath.Join(t.TempDir(), "a")
	hash, err := e.Write(dir)
	if err != nil {
		t.Fatal(err)
	}
	again := carried(t, options("lora"), 1)
	if err := again.Read(dir, hash); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(again.params, e.params) || !slices.Equal(again.m, e.m) || !slices.Equal(again.v, e.v) {
		t.Error("what was read is not what was written")
	}
	refused := func(err error, want string) {
		t.Helper()
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
	refused(again.Read(dir, "0000"), "is not what was written with the checkpoint")
	refused(carried(t, options("dora"), 1).Read(dir, hash), "holds another kind of adapter (lora, rank 3, alpha 7, on q_proj")
	refused(again.SetState(e.State()), "they follow from the base and the adapter")
	other := config()
	other.HiddenSize, other.NumAttentionHeads, other.NumKeyValueHeads = 24, 4, 2
	_, err = Load(dir, other)
	refused(err, `base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight" has shape [3 12], the base and r ask for [3 24]`)
	_, err = Load(t.TempDir(), other)
	refused(err, "an adapter's folder has adapter_config.json and adapter_model.safetensors")
	for want, change := range map[string][2]string{
		`peft_type "IA3" is not read`:                   {`"LORA"`, `"IA3"`},
		"use_rslora is not read":                        {`"use_rslora": false`, `"use_rslora": true`},
		`bias "all" is not read`:                        {`"none"`, `"all"`},
		"adapter.rank 0 must be positive":               {`"r": 3`, `"r": 0`},
		`no module is called "c_attn"`:                  {`"q_proj"`, `"c_attn"`},
		"rank_pattern and alpha_pattern are not read":   {`"r": 3`, `"r": 3, "rank_pattern": {"q_proj": 4}`},
		"layers_to_transform is not read":               {`"r": 3`, `"r": 3, "layers_to_transform": [0]`},
		"adapter.rank 300 is more than the 12 of model": {`"r": 3`, `"r": 300`},
		"lora_magnitude_vector\" is missing":            {`"use_dora": false`, `"use_dora": true`},
		"k_proj.lora_A.weight\" is unexpected":          {"    \"k_proj\",\n", ""},
		"lm_head (with tie_word_embeddings, embed_tok":  {`"modules_to_save": null`, `"modules_to_save": ["lm_head"]`},
		"json: invalid character":                       {`"r": 3`, `"r": x`},
	} {
		data, err := os.ReadFile(filepath.Join(dir, "adapter_config.json"))
		if err != nil {
			t.Fatal(err)
		}
		bad := strings.Replace(string(data), change[0], change[1], 1)
		if bad == string(data) {
			t.Fatalf("%q is not in\n%s", change[0], data)
		}
		copied := t.TempDir()
		if err := os.CopyFS(copied, os.DirFS(dir)); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(copied, "adapter_config.json"), []byte(bad), 0o644); err != nil {
			t.Fatal(err)
		}
		c := config()
		c.TieWordEmbeddings = true
		_, err = Load(copied, c)
		refused(err, want)
	}
}
