package weights

import (
	"bytes"
	"encoding/binary"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"ravn/model"
	"ravn/tokenizer"
)

// wholeBlocks is a decoder whose rows are whole blocks, with heads wide enough that their halves differ.
func wholeBlocks() *model.Config {
	c := tiny()
	c.VocabSize, c.HiddenSize, c.IntermediateSize, c.HeadDim, c.SlidingWindow = 330, 32, 64, 16, 24
	return c
}

func someTokenizer(t *testing.T) *tokenizer.Tokenizer {
	t.Helper()
	o := tokenizer.DefaultTrainOptions()
	o.VocabSize = 325
	tok, err := tokenizer.Train(t.Context(), slices.Values([]string{strings.Repeat("Ravnen fløj over marken og råbte 123 gange; rødgrød med fløde. ", 30)}), o)
	if err != nil {
		t.Fatal(err)
	}
	return tok
}

func convert(t *testing.T, dst, src string, o ConvertOptions) *Converted {
	t.Helper()
	c, err := Convert(t.Context(), dst, src, o)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func tensorsOf(t *testing.T, path string) map[string]model.Tensor {
	t.Helper()
	m, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	out := map[string]model.Tensor{}
	for _, x := range m.Tensors() {
		out[x.Name] = x
	}
	return out
}

// From a folder to GGUF and back every byte of every tensor, the configuration and the ids of texts are the same.
func TestGGUFRoundTrip(t *testing.T) {
	tok := someTokenizer(t)
	tied := wholeBlocks()
	tied.TieWordEmbeddings, tied.ModelType, tied.SlidingWindow = true, "llama", 0
	wide := wholeBlocks()
	wide.HeadDim, wide.RMSNormEps, wide.RopeTheta = 24, 1.25e-6, 1e6
	for name, c := range map[string]*model.Config{"plain": wholeBlocks(), "tied": tied, "wide heads": wide} {
		for _, d := range []model.DType{model.F32, model.F16, model.BF16} {
			dir, _ := save(t, c, SaveOptions{DType: d, Files: tok.Files()})
			file, back := filepath.Join(t.TempDir(), "m.gguf"), filepath.Join(t.TempDir(), "back")
			convert(t, file, dir, ConvertOptions{})
			got := convert(t, back, file, ConvertOptions{})
			if want := map[model.DType]int{d: len(c.Layout())}; !cmp.Equal(got.Tensors, want) {
				t.Errorf("%s %s: wrote %v, want %v", name, d, got.Tensors, want)
			}
			was, is := tensorsOf(t, dir), tensorsOf(t, back)
			if diff := cmp.Diff(is, was); diff != "" {
				t.Errorf("%s %s: the tensors changed:\n%.400s", name, d, diff)
			}
			for _, file := range []string{configName, generationName} {
				was, _ := os.ReadFile(filepath.Join(dir, file))
				is, _ := os.ReadFile(filepath.Join(back, file))
				if diff := cmp.Diff(string(is), string(was)); diff != "" {
					t.Errorf("%s %s: %s changed:\n%s", name, d, file, diff)
				}
			}
			read, err := tokenizer.Load(back)
			if err != nil {
				t.Fatal(err)
			}
			for _, text := range []string{"Ravnen fløj", "  123\n\t中", ""} {
				if got, want := read.Encode(nil, text), tok.Encode(nil, text); !slices.Equal(got, want) {
					t.Errorf("%s: %q has ids %d, want %d", name, text, got, want)
				}
			}
			if read.Size() != tok.Size() {
				t.Errorf("%s: the tokenizer has %d pieces, want %d without the padding", name, read.Size(), tok.Size())
			}
		}
	}
}

// Without ravn.config the keys of the format itself give everything that they have names for.
func TestGGUFConfigWithoutOurKey(t *testing.T) {
	want := wholeBlocks()
	want.HeadDim, want.RMSNormEps, want.RopeTheta = 24, 1e-5, 1e6
	pairs, err := modelPairs(want, model.F32, &About{Name: "x"})
	if err != nil {
		t.Fatal(err)
	}
	pairs = slices.DeleteFunc(pairs, func(p pair) bool { return p.key == configKey })
	var ts []source
	for _, p := range want.Layout() {
		ts = append(ts, floatSource(Floats{ggufName(p.Name), model.F32, p.Shape, make([]float32, p.Size)}))
	}
	path := filepath.Join(t.TempDir(), "m.gguf")
	if err := ggufSources(path, pairs, ts); err != nil {
		t.Fatal(err)
	}
	g, err := OpenGGUF(path)
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	want.Architectures = []string{"MistralForCausalLM"}
	if diff := cmp.Diff(g.Config(), want); diff != "" {
		t.Errorf("configuration (-got +want):\n%s", diff)
	}
}

// The permutation by hand: heads of 4 rows, halves (0 1)(2 3), become the pairs 0 2 1 3.
func TestInterleavedByHand(t *testing.T) {
	var order []int
	for r := range 8 {
		order = append(order, halves(r, 2, 8))
		if back := interleaved(halves(r, 2, 8), 2, 8); back != r {
			t.Errorf("row %d comes back as %d", r, back)
		}
	}
	if want := []int{0, 2, 1, 3, 4, 6, 5, 7}; !slices.Equal(order, want) {
		t.Errorf("GGUF's rows are Hugging Face's %d, want %d", order, want)
	}
}

func TestGGUFStoredAndTensors(t *testing.T) {
	dir, _ := save(t, wholeBlocks(), SaveOptions{})
	path := filepath.Join(t.TempDir(), "m.gguf")
	convert(t, path, dir, ConvertOptions{DType: model.Q8_0})
	g, err := OpenGGUF(path)
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	for i, x := range g.Stored() {
		y := g.Tensors()[i]
		if same := bytes.Equal(x.Data, y.Data); same == strings.Contains(x.Name, "_proj") && (strings.Contains(x.Name, "q_proj") || strings.Contains(x.Name, "k_proj")) {
			t.Errorf("%s: as stored and in Hugging Face's order: same is %t", x.Name, same)
		}
	}
}

func TestConvertQuantised(t *testing.T) {
	tok := someTokenizer(t)
	dir, w := save(t, wholeBlocks(), SaveOptions{DType: model.BF16, Files: tok.Files()})
	q4 := filepath.Join(t.TempDir(), "q4.gguf")
	got := convert(t, q4, dir, ConvertOptions{DType: model.Q4_0})
	if want := (map[model.DType]int{model.F32: 5, model.Q4_0: 15, model.Q8_0: 1}); !cmp.Equal(got.Tensors, want) {
		t.Errorf("a Q4_0 file has %v, want %v", got.Tensors, want)
	}
	// Back to a folder: F32 by default, and what a block says exactly.
	back := filepath.Join(t.TempDir(), "back")
	convert(t, back, q4, ConvertOptions{})
	a, err := Load(q4)
	if err != nil {
		t.Fatal(err)
	}
	b, err := Load(back)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(a.Params, b.Params) {
		t.Error("the numbers of a Q4_0 file and of the F32 folder made of it differ")
	}
	var worst float64
	for i, x := range w.Params {
		worst = max(worst, math.Abs(float64(x-a.Params[i])))
	}
	if worst == 0 || worst > 0.02 { // initial weights of deviation 0.02, steps of about 0.06/8
		t.Errorf("Q4_0 changes a number by at most %g", worst)
	}
	// Between GGUF files.
	q8 := filepath.Join(t.TempDir(), "q8.gguf")
	convert(t, q8, q4, ConvertOptions{DType: model.Q8_0})
	if _, err := LoadTokenizer(q8); err != nil {
		t.Error(err)
	}
}

func TestConvertRefuses(t *testing.T) {
	c := wholeBlocks()
	dir, w := save(t, c, SaveOptions{})
	gguf, folder := filepath.Join(t.TempDir(), "m.gguf"), filepath.Join(t.TempDir(), "m")
	check := func(name, dst string, o ConvertOptions, want string) {
		t.Helper()
		_, err := Convert(t.Context(), dst, dir, o)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q in it", name, err, want)
		}
		if _, err := os.Stat(dst); err == nil {
			t.Errorf("%s: %s was written", name, dst)
		}
	}
	check("blocks in a folder", folder, ConvertOptions{DType: model.Q8_0}, "cannot be written as Q8_0")
	check("unknown", gguf, ConvertOptions{DType: "Q3"}, "cannot be written as Q3")
	w.Params[c.Layout()[2].Offset] = 1e6
	if err := SaveFolder(dir, w, SaveOptions{}); err != nil {
		t.Fatal(err)
	}
	check("range", gguf, ConvertOptions{DType: model.F16}, "beyond the range of F16")
	check("scale", gguf, ConvertOptions{DType: model.Q8_0}, "beyond the range of F16")
	w.Params[c.Layout()[2].Offset] = float32(math.NaN())
	if err := SaveFolder(dir, w, SaveOptions{}); err != nil {
		t.Fatal(err)
	}
	check("NaN", gguf, ConvertOptions{DType: model.Q4_0}, "cannot be quantised")
}

// rows that are not whole blocks stay F16, and the result says so.
func TestConvertOddRows(t *testing.T) {
	dir, _ := save(t, tiny(), SaveOptions{})
	path := filepath.Join(t.TempDir(), "m.gguf")
	got := convert(t, path, dir, ConvertOptions{DType: model.Q8_0})
	if got.Tensors[model.Q8_0] != 0 || len(got.Notes) == 0 || !strings.Contains(strings.Join(got.Notes, "\n"), "not whole blocks") {
		t.Errorf("rows of 8 numbers: %v, notes %q", got.Tensors, got.Notes)
	}
	if _, err := Load(path); err != nil {
		t.Error(err)
	}
}

// ggufBytes is a valid small file to be damaged.
func ggufBytes(t testing.TB) []byte {
	t.Helper()
	c := tiny()
	c.NumHiddenLayers = 1
	w := model.Init(c, 5)
	pairs, err := modelPairs(c, model.F32, &About{Name: "x", Languages: []string{"da"}})
	if err != nil {
		t.Fatal(err)
	}
	pairs = append(pairs, pair{keyTokenizer, "llama"}, pair{keyTokens, []string{"<unk>", "<s>", "</s>", "a", "b"}},
		pair{keyScores, []float32{0, 0, 0, -1, -2}}, pair{keyKinds, []int32{2, 3, 3, 1, 1}})
	var ts []source
	for _, p := range c.Layout() {
		ts = append(ts, floatSource(Floats{ggufName(p.Name), model.F32, p.Shape, w.Params[p.Offset : p.Offset+p.Size]}))
	}
	path := filepath.Join(t.TempDir(), "m.gguf")
	if err := ggufSources(path, pairs, ts); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// head is the start of a file: magic, version, counts, and what follows.
func head(version uint32, tensors, pairs uint64, rest ...any) []byte {
	b := binary.LittleEndian.AppendUint32([]byte("GGUF"), version)
	b = binary.LittleEndian.AppendUint64(b, tensors)
	b = binary.LittleEndian.AppendUint64(b, pairs)
	for _, x := range rest {
		switch x := x.(type) {
		case string:
			b = appendText(b, x)
		case []byte:
			b = append(b, x...)
		case uint32:
			b = binary.LittleEndian.AppendUint32(b, x)
		case int:
			b = binary.LittleEndian.AppendUint64(b, uint64(x))
		}
	}
	return b
}

func TestMalformedGGUF(t *testing.T) {
	good := ggufBytes(t)
	const huge = math.MaxInt64
	edit := func(old, new string) []byte {
		if !bytes.Contains(good, []byte(old)) || len(old) != len(new) {
			t.Fatalf("%q cannot become %q", old, new)
		}
		return bytes.Replace(good, []byte(old), []byte(new), 1)
	}
	arch := []any{"general.architecture", uint32(kindString), "llama"}
	zeros := make([]byte, 256)
	for name, c := range map[string]struct {
		data []byte
		want string
	}{
		"empty":                 {nil, "not a GGUF file"},
		"another format":        {[]byte(strings.Repeat("PK", 40)), "not a GGUF file"},
		"version 1":             {head(1, 0, 0), "GGUF version 1"},
		"version 9":             {head(9, 0, 0), "GGUF version 9"},
		"big-endian":            {head(3<<24, 0, 0), "big-endian"},
		"pairs":                 {head(3, 0, huge), "claims 9223372036854775807 metadata entries"},
		"tensors":               {head(3, huge, 0), "claims 9223372036854775807 tensors"},
		"key length":            {head(3, 0, 1, huge, zeros), "metadata entry 0: byte 32: 9223372036854775807 bytes are wanted"},
		"text length":           {head(3, 0, 1, "k", uint32(kindString), huge, zeros), `metadata entry 0, "k"`},
		"value type":            {head(3, 0, 1, "k", uint32(13), zeros), "values of type 13 are unknown"},
		"array length":          {head(3, 0, 1, "k", uint32(kindArray), uint32(kindUint8), huge, zeros), "an array of 9223372036854775807 values"},
		"array of texts":        {head(3, 0, 1, "k", uint32(kindArray), uint32(kindString), 1<<40, zeros), "an array of 1099511627776 values"},
		"array of arrays":       {head(3, 0, 1, "k", uint32(kindArray), uint32(kindArray), 1, zeros), "arrays of type 9 are not read"},
		"key twice":             {head(3, 0, 2, "k", uint32(kindUint8), []byte{1}, "k", uint32(kindUint8), []byte{1}), `key "k" occurs twice`},
		"empty key":             {head(3, 0, 1, "", uint32(kindUint8), []byte{1}), `has the key ""`},
		"no architecture":       {head(3, 0, 0, zeros), `general.architecture is ""`},
		"other architecture":    {edit("\x05\x00\x00\x00\x00\x00\x00\x00llama", "\x05\x00\x00\x00\x00\x00\x00\x00gemma"), `general.architecture is "gemma"`},
		"no keys":               {head(3, 0, 1, append(arch, zeros)...), `key "llama.embedding_length" is missing`},
		"alignment":             {head(3, 0, 1, "general.alignment", uint32(kindUint32), uint32(24), zeros), "must be a power of two"},
		"alignment 0":           {head(3, 0, 1, "general.alignment", uint32(kindUint32), uint32(0), zeros), "must be a power of two"},
		"dimensions":            {head(3, 1, 0, "t", uint32(9), zeros), "9 dimensions"},
		"no dimensions":         {head(3, 1, 0, "t", uint32(0), zeros), "0 dimensions"},
		"dimension 0":           {head(3, 1, 0, "t", uint32(1), 0, uint32(0), 0, zeros), "dimension 0 is 0"},
		"dimensions overflow":   {head(3, 1, 0, "t", uint32(2), 1<<40, 1<<40, uint32(0), 0, zeros), "more elements than can be"},
		"number format":         {head(3, 1, 0, "t", uint32(1), 256, uint32(13), 0, zeros), "are Q5_K, which is not read"},
		"unknown format":        {head(3, 1, 0, "t", uint32(1), 256, uint32(999), 0, zeros), "of the unknown type 999"},
		"blocks":                {head(3, 1, 0, "t", uint32(1), 48, uint32(2), 0, zeros), "not whole blocks of Q4_0"},
		"tensor twice":          {head(3, 2, 0, "t", uint32(1), 1, uint32(0), 0, "t", uint32(1), 1, uint32(0), 32, zeros), `two tensors are called "t"`},
		"place":                 {head(3, 1, 0, "t", uint32(1), 1, uint32(0), 3, zeros), "not at a multiple of 32"},
		"beyond the end":        {head(3, 1, 0, "t", uint32(1), 1<<20, uint32(0), 0, zeros), "(cut off?)"},
		"far beyond the end":    {head(3, 1, 0, "t", uint32(1), 1, uint32(0), -32, zeros), "(cut off?)"},
		"overlap":               {head(3, 2, 0, "t", uint32(1), 16, uint32(0), 0, "u", uint32(1), 1, uint32(0), 32, zeros), "overlap"},
		"no body":               {head(3, 1, 0, "t", uint32(1), 1, uint32(0), 0), "cut off?"},
		"tensor name":           {edit("blk.0.attn_q.weight", "blk.0.attn_x.weight"), `tensor "blk.0.attn_q.weight" is missing`},
		"tensor unexpected":     {edit("blk.0.attn_q.weight", "blk.0.attn_x.weight"), `tensor "blk.0.attn_x.weight" is unexpected`},
		"a key of another type": {edit("llama.block_count\x04\x00\x00\x00\x01\x00\x00\x00", "llama.block_count\x06\x00\x00\x00\x01\x00\x00\x00"), `"llama.block_count"`},
		"many layers":           {edit("llama.block_count\x04\x00\x00\x00\x01\x00\x00\x00", "llama.block_count\x04\x00\x00\x00\xff\xff\xff\x7f"), "block_count is 2147483647, the file has only"},
		"vocabulary":            {edit("llama.vocab_size\x04\x00\x00\x00\x0b\x00\x00\x00", "llama.vocab_size\x04\x00\x00\x00\x0c\x00\x00\x00"), "has shape"},
		"our own key":           {edit(`"hidden_act": "silu"`, `"hidden_act": "gelu"`), `key "ravn.config"`},
	} {
		path := filepath.Join(t.TempDir(), "m.gguf")
		if err := os.WriteFile(path, c.data, 0o600); err != nil {
			t.Fatal(err)
		}
		g, err := OpenGGUF(path)
		if err == nil {
			g.Close()
		}
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v\n\twant %q in it", name, err, c.want)
		} else if !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v does not name the file", name, err)
		}
	}
	path := filepath.Join(t.TempDir(), "cut.gguf")
	for n := 0; n < len(good); n += 1 + len(good)/400 {
		if err := os.WriteFile(path, good[:n], 0o600); err != nil {
			t.Fatal(err)
		}
		if g, err := OpenGGUF(path); err == nil {
			g.Close()
			t.Errorf("a file cut to %d of %d bytes is opened", n, len(good))
		}
	}
}

func TestMalformedTokenizer(t *testing.T) {
	good := ggufBytes(t)
	for name, c := range map[string]struct{ old, new, want string }{
		"kind":   {"tokenizer.ggml.model\x08\x00\x00\x00\x05\x00\x00\x00\x00\x00\x00\x00llama", "tokenizer.ggml.model\x08\x00\x00\x00\x05\x00\x00\x00\x00\x00\x00\x00llamb", "want llama or gpt2"},
		"scores": {"tokenizer.ggml.scores", "tokenizer.ggml.scoren", `"tokenizer.ggml.scores"`},
		"tokens": {"tokenizer.ggml.tokens", "tokenizer.ggml.tokena", `"tokenizer.ggml.tokens"`},
		"twice":  {"\x01\x00\x00\x00\x00\x00\x00\x00a\x01", "\x01\x00\x00\x00\x00\x00\x00\x00b\x01", "are both"},
	} {
		path := filepath.Join(t.TempDir(), "m.gguf")
		if !bytes.Contains(good, []byte(c.old)) {
			t.Fatalf("%s: %q is not in the file", name, c.old)
		}
		if err := os.WriteFile(path, bytes.Replace(good, []byte(c.old), []byte(c.new), 1), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := LoadTokenizer(path); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q in it", name, err, c.want)
		}
	}
}

func FuzzGGUF(f *testing.F) {
	f.Add(ggufBytes(f))
	f.Add(head(3, 1, 0, "t", uint32(1), 32, uint32(2), 0, make([]byte, 64)))
	f.Add(head(3, 0, 1, "k", uint32(kindArray), uint32(kindString), 1, "x"))
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := parseContainer(data)
		if err != nil {
			return
		}
		total := 0
		for _, x := range c.tensors {
			total += len(x.Data)
		}
		if total > len(data) {
			t.Fatalf("tensors of %d bytes in a file of %d", total, len(data))
		}
		g := &GGUF{path: "fuzz", c: c, unmap: func() error { return nil }}
		if g.read() != nil {
			return
		}
		g.ordered = g.reorder
		if _, err := g.Float32(); err != nil {
			t.Fatal(err)
		}
		_, _ = g.Tokenizer()
	})
}
