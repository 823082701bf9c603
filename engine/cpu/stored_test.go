package cpu

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"ravn/engine/ref"
	"ravn/model"
	disk "ravn/weights"
)

var storedFormats = []model.DType{model.F32, model.F16, model.BF16, model.Q8_0, model.Q4_0}

// wide is a small decoder whose rows are whole blocks.
func wide(change ...func(c *model.Config)) *model.Config {
	return config(append([]func(c *model.Config){func(c *model.Config) {
		c.VocabSize, c.HiddenSize, c.IntermediateSize, c.HeadDim, c.InitializerRange = 101, 64, 96, 16, 0.15
	}}, change...)...)
}

// inFormat is w's tensors, matrices in the formats that f says.
func inFormat(w *model.Weights, f func(i int, p model.Param) model.DType) []model.Tensor {
	var ts []model.Tensor
	for i, p := range w.Config.Layout() {
		d := model.F32
		if len(p.Shape) == 2 {
			d = f(i, p)
		}
		t := model.Tensor{Name: p.Name, DType: d, Shape: p.Shape}
		t.Data = make([]byte, d.RowBytes(p.Shape[len(p.Shape)-1])*p.Size/p.Shape[len(p.Shape)-1]+1)[1:] // an odd place
		disk.FromF32(t.Data, w.Params[p.Offset:p.Offset+p.Size], d)
		ts = append(ts, t)
	}
	return ts
}

// widened is the numbers that tensors stand for.
func widened(t testing.TB, c *model.Config, ts []model.Tensor) *model.Weights {
	t.Helper()
	w := &model.Weights{Config: c, Params: make([]float32, c.NumParams())}
	for i, p := range c.Layout() {
		if err := disk.ToF32(w.Params[p.Offset:p.Offset+p.Size], ts[i]); err != nil {
			t.Fatal(err)
		}
	}
	return w
}

func open(t testing.TB, c *model.Config, ts []model.Tensor, o Options) *Engine {
	t.Helper()
	e, err := Open(c, ts, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() })
	return e
}

// mixed gives the matrices of a block different formats.
func mixed(i int, _ model.Param) model.DType { return storedFormats[i*7%len(storedFormats)] }

func only(d model.DType) func(int, model.Param) model.DType {
	return func(int, model.Param) model.DType { return d }
}

// apart is the distance of logits as a share of the reference's own size, both as root mean squares.
func apart(got []float32, want []float64) float64 {
	var d, size float64
	for i, x := range want {
		d += (float64(got[i]) - x) * (float64(got[i]) - x)
		size += x * x
	}
	return math.Sqrt(d / size)
}

// TestStoredAgainstReference computes logits from weights of every format and compares them with engine/ref in float64
// on the numbers that these stand for.
func TestStoredAgainstReference(t *testing.T) {
	for _, tc := range []struct {
		name   string
		format func(int, model.Param) model.DType
		// F32 and F16 differ by the rounding of sums in float32. BF16 rounds activations by up to 2^-9 of each, Q8_0 and
		// Q4_0 by up to 1/254 of the largest of 32, of which single ones are small: some tenths of a percent and about a
		// percent in each product, and a few such products follow each other.
		tolerance float64
	}{
		{"F32", only(model.F32), 2e-6},
		{"F16", only(model.F16), 2e-6},
		{"BF16", only(model.BF16), 0.01},
		{"Q8_0", only(model.Q8_0), 0.04},
		{"Q4_0", only(model.Q4_0), 0.04},
		{"mixed", mixed, 0.04},
	} {
		for _, v := range []struct {
			name   string
			change func(c *model.Config)
		}{
			{"plain", func(*model.Config) {}},
			{"tied", func(c *model.Config) { c.TieWordEmbeddings = true }},
			{"window", func(c *model.Config) { c.SlidingWindow = 9 }},
			{"one head", func(c *model.Config) { c.NumKeyValueHeads = 1; c.VocabSize = 33 }},
		} {
			t.Run(tc.name+"/"+v.name, func(t *testing.T) {
				c := wide(v.change)
				ts := inFormat(weights(c, 3), tc.format)
				r, err := ref.New[float64](widened(t, c, ts))
				if err != nil {
					t.Fatal(err)
				}
				tokens := batch(c, 4, 1, 70).Tokens
				want, err := r.Logits(tokens)
				if err != nil {
					t.Fatal(err)
				}
				s := newSession(t, open(t, c, ts, Options{Threads: 2}), 70)
				got := append(extend(t, s, tokens[:1]), extend(t, s, tokens[1:])...)
				d := apart(got, want)
				t.Logf("%.2g apart", d)
				if !(d <= tc.tolerance) {
					t.Errorf("logits are %.3g apart, want %.3g at most", d, tc.tolerance)
				}
			})
		}
	}
}

// TestStoredCuts appends the same tokens in pieces of many sizes, in one thread and several, and beside other sessions:
// in every format the logits are the same bits.
func TestStoredCuts(t *testing.T) {
	for _, name := range append([]model.DType{"mixed"}, storedFormats...) {
		format := only(name)
		if name == "mixed" {
			format = mixed
		}
		c := wide(func(c *model.Config) { c.SlidingWindow = 50 })
		ts := inFormat(weights(c, 5), format)
		tokens := batch(c, 6, 1, 300).Tokens
		want := extend(t, newSession(t, open(t, c, ts, Options{Threads: 1}), 300), tokens)
		e := open(t, c, ts, Options{Threads: 3})
		r := rand.New(rand.NewPCG(7, 8))
		for trial, most := range []int{1, 4, 9, 70, 300} {
			s, beside := newSession(t, e, 300), newSession(t, e, 300)
			s.UseThreads(trial%2 == 0)
			var got []float32
			for s.Len() < 300 {
				n := min(300-s.Len(), 1+r.IntN(most))
				logits := make([]float32, n*c.VocabSize)
				pieces := []Piece{{Session: s, Tokens: tokens[s.Len() : s.Len()+n], Logits: logits}}
				if trial%2 == 1 {
					pieces = append([]Piece{{Session: beside, Tokens: tokens[:1], From: 1}}, pieces...)
				}
				if err := e.Append(pieces); err != nil {
					t.Fatal(err)
				}
				beside.Truncate(0)
				got = append(got, logits...)
			}
			if !slices.Equal(got, want) {
				t.Errorf("%s, pieces of up to %d: logits differ", name, most)
			}
		}
	}
}

// TestStoredInterleaved reads q and k in GGUF's order of rows.
func TestStoredInterleaved(t *testing.T) {
	c := wide()
	for _, d := range storedFormats {
		ts := inFormat(weights(c, 9), only(d))
		twined := slices.Clone(ts)
		for i, x := range ts {
			if !strings.Contains(x.Name, "q_proj") && !strings.Contains(x.Name, "k_proj") {
				continue
			}
			row := len(x.Data) / x.Shape[0]
			data := make([]byte, len(x.Data))
			for r := range x.Shape[0] { // row j of a head's first half comes to 2j, of its second to 2j+1
				head, at := r/c.HeadDim, r%c.HeadDim
				to := head*c.HeadDim + at%(c.HeadDim/2)*2 + at/(c.HeadDim/2)
				copy(data[to*row:][:row], x.Data[r*row:])
			}
			twined[i].Data = data
		}
		tokens := batch(c, 10, 1, 40).Tokens
		want := extend(t, newSession(t, open(t, c, ts, Options{}), 40), tokens)
		got := extend(t, newSession(t, open(t, c, twined, Options{Interleaved: true}), 40), tokens)
		if !slices.Equal(got, want) {
			t.Errorf("%s: logits of interleaved rows differ", d)
		}
	}
}

// TestOpenRefuses lists tensors that are not those of the configuration.
func TestOpenRefuses(t *testing.T) {
	c := wide()
	good := func() []model.Tensor { return inFormat(weights(c, 1), only(model.Q8_0)) }
	for _, tc := range []struct {
		want  string
		spoil func(ts []model.Tensor) []model.Tensor
	}{
		{"engine/cpu: 20 tensors, the configuration has 21", func(ts []model.Tensor) []model.Tensor { return ts[1:] }},
		{`tensor "model.norm.weight" is Q8_0, which is not computed with`, func(ts []model.Tensor) []model.Tensor { ts[19].DType = model.Q8_0; return ts }},
		{`tensor "lm_head.weight" is Q6_K, which is not computed with`, func(ts []model.Tensor) []model.Tensor { ts[20].DType = model.Q6_K; return ts }},
		{`tensor "lm_head.weight" has 6867 bytes, 101 rows of 64 numbers in Q8_0 do not fit them`, func(ts []model.Tensor) []model.Tensor { ts[20].Data = ts[20].Data[1:]; return ts }},
		{`tensor 20 is "x" [101 64], the configuration has "lm_head.weight" [101 64] there`, func(ts []model.Tensor) []model.Tensor { ts[20].Name = "x"; return ts }},
	} {
		if _, err := Open(c, tc.spoil(good()), Options{}); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%v, want %s", err, tc.want)
		}
	}
	e := open(t, c, good(), Options{})
	if err := e.Loss(make([]float32, 4), batch(c, 1, 1, 4)); err == nil || !strings.Contains(err.Error(), "made for sessions alone") {
		t.Errorf("a batch: %v", err)
	}
}

// BenchmarkStored decodes one token after 64 and takes in prompts of 256, with the width of TinyLlama and fewer layers.
func BenchmarkStored(b *testing.B) {
	c := sized(32000, 2048, 4, 32, 4, 5632)
	w := model.Init(c, 1)
	for _, d := range storedFormats {
		ts := inFormat(w, only(d))
		bytes := 0
		for _, x := range ts[1:] {
			bytes += len(x.Data)
		}
		e := open(b, c, ts, Options{Threads: 2})
		for _, n := range []int{1, 256} {
			b.Run(fmt.Sprintf("%s/tokens=%d", d, n), func(b *testing.B) {
				s := newSession(b, e, 512)
				s.UseThreads(true)
				tokens := batch(c, 1, 1, 64+n).Tokens
				logits := make([]float32, c.VocabSize)
				if err := s.Append(tokens[:64], nil, 64); err != nil {
					b.Fatal(err)
				}
				for b.Loop() {
					s.Truncate(64)
					if err := s.Append(tokens[64:], logits, n-1); err != nil {
						b.Fatal(err)
					}
				}
				sec := b.Elapsed().Seconds() / float64(b.N)
				b.ReportMetric(float64(n)/sec, "tokens/s")
				b.ReportMetric(float64(bytes)*1e-9/sec, "GB/s")
			})
		}
	}
}
