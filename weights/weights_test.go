package weights

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"ravn/model"
)

// small is the file of testdata/small.safetensors: three formats of floats, integers, a scalar and an empty tensor.
func small() ([]model.Tensor, map[string]string) {
	tensor := func(name string, d model.DType, shape []int, xs ...float32) model.Tensor {
		data := make([]byte, len(xs)*d.Size())
		FromF32(data, xs, d)
		return model.Tensor{Name: name, DType: d, Shape: shape, Data: data}
	}
	return []model.Tensor{
		tensor("a.weight", model.F32, []int{2, 3}, 1, -2.5, 3.14159274, 1e-30, -0, 65504),
		tensor("b.weight", model.F16, []int{3}, 1, 1e-7, 65504),
		tensor("c.weight", model.BF16, []int{1, 2}, 3.14159274, -1e30),
		{Name: "tæller", DType: "I64", Shape: []int{}, Data: binary.LittleEndian.AppendUint64(nil, 42)},
		{Name: "empty", DType: "F32", Shape: []int{0, 4}, Data: []byte{}},
	}, map[string]string{"format": "pt", "a": "\"b\""}
}

func TestWrittenFileAsPythonReadsIt(t *testing.T) {
	ts, meta := small()
	path := filepath.Join(t.TempDir(), "small.safetensors")
	if err := WriteSafetensors(path, ts, meta); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if os.Getenv("UPDATE") != "" {
		if err := os.WriteFile("testdata/small.safetensors", got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile("testdata/small.safetensors")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Fatalf("the file is not testdata/small.safetensors:\n%q\n%q", got, want)
	}
	var python struct {
		Metadata map[string]string
		Tensors  map[string]struct {
			DType  model.DType
			Values any
		}
	}
	readJSON(t, "testdata/small.json", &python)
	if d := cmp.Diff(python.Metadata, meta); d != "" {
		t.Errorf("metadata (-python +written):\n%s", d)
	}
	if len(python.Tensors) != len(ts) {
		t.Errorf("python reads %d tensors of %d", len(python.Tensors), len(ts))
	}
	for _, x := range ts {
		p := python.Tensors[x.Name]
		if p.DType != x.DType {
			t.Errorf("%s is %s in python, %s here", x.Name, p.DType, x.DType)
		}
		if x.DType.Size() == 0 {
			continue
		}
		values := make([]float32, x.NumElements())
		if err := ToF32(values, x); err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(flatten(p.Values), values, cmp.Transformer("f64", func(x float32) float64 { return float64(x) })); d != "" {
			t.Errorf("%s (-python +written):\n%s", x.Name, d)
		}
	}
}

// flatten turns nested JSON arrays of numbers to one slice.
func flatten(v any) []float32 {
	list, ok := v.([]any)
	if !ok {
		return []float32{float32(v.(float64))}
	}
	out := []float32{}
	for _, x := range list {
		out = append(out, flatten(x)...)
	}
	return out
}

func readJSON(t *testing.T, path string, v any) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, v); err != nil {
		t.Fatal(err)
	}
}

// TestRounding compares with numpy (F16) and PyTorch (BF16) on numbers, ties and limits that testdata/read.py drew.
func TestRounding(t *testing.T) {
	var python struct{ Rounding [][3]int64 }
	readJSON(t, "testdata/small.json", &python)
	if len(python.Rounding) < 1000 {
		t.Fatalf("only %d numbers", len(python.Rounding))
	}
	for _, r := range python.Rounding {
		x := math.Float32frombits(uint32(r[0]))
		h, b := toF16(x), toBF16(x)
		if x != x {
			if y := fromF16(h); y == y {
				t.Errorf("NaN %#x becomes %g in F16", r[0], y)
			}
			if y := math.Float32frombits(uint32(b) << 16); y == y {
				t.Errorf("NaN %#x becomes %g in BF16", r[0], y)
			}
			continue
		}
		if int64(h) != r[1] {
			t.Errorf("%g (%#x) is %#x in F16, numpy says %#x", x, r[0], h, r[1])
		}
		if int64(b) != r[2] {
			t.Errorf("%g (%#x) is %#x in BF16, PyTorch says %#x", x, r[0], b, r[2])
		}
	}
}

func TestHalfNumbersRoundTrip(t *testing.T) {
	for i := range 1 << 16 {
		h := uint16(i)
		if x := fromF16(h); x == x && toF16(x) != h {
			t.Errorf("F16 %#x is %g and goes back to %#x", h, x, toF16(x))
		}
		if x := math.Float32frombits(uint32(h) << 16); x == x && toBF16(x) != h {
			t.Errorf("BF16 %#x is %g and goes back to %#x", h, x, toBF16(x))
		}
	}
	// By hand: the smallest and the largest of each kind.
	for h, want := range map[uint16]float32{0x0001: 0x1p-24, 0x03ff: 1023 * 0x1p-24, 0x0400: 0x1p-14, 0x3c00: 1, 0x7bff: 65504, 0xc000: -2} {
		if got := fromF16(h); got != want {
			t.Errorf("F16 %#x is %g, want %g", h, got, want)
		}
	}
	if x := fromF16(0x8000); x != 0 || !math.Signbit(float64(x)) {
		t.Errorf("F16 0x8000 is %g, want -0", x)
	}
}

func TestRoundTrip(t *testing.T) {
	ts, meta := small()
	path := filepath.Join(t.TempDir(), "x.safetensors")
	if err := WriteSafetensors(path, ts, meta); err != nil {
		t.Fatal(err)
	}
	f, err := OpenSafetensors(path)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(ts, f.Tensors(), cmp.Comparer(bytes.Equal)); d != "" {
		t.Errorf("tensors (-written +read):\n%s", d)
	}
	if d := cmp.Diff(meta, f.Metadata()); d != "" {
		t.Errorf("metadata (-written +read):\n%s", d)
	}
	if x, ok := f.Tensor("tæller"); !ok || binary.LittleEndian.Uint64(x.Data) != 42 {
		t.Errorf("tæller: %v %v", x, ok)
	}
	if _, ok := f.Tensor("other"); ok {
		t.Error("a tensor that is not there was found")
	}
	if err := f.Close(); err != nil {
		t.Error(err)
	}
	if err := f.Close(); err != nil {
		t.Error("closed twice:", err)
	}
}

func TestWriteRefuses(t *testing.T) {
	x := model.Tensor{Name: "x", DType: "F32", Shape: []int{2}, Data: make([]byte, 8)}
	tests := []struct {
		want string
		ts   []model.Tensor
	}{
		{`two tensors are called "x"`, []model.Tensor{x, x}},
		{`tensor "y": data_offsets [0 8] hold 8 bytes, shape [3] of F32 needs 12`, []model.Tensor{{Name: "y", DType: "F32", Shape: []int{3}, Data: x.Data}}},
		{`tensor "y": unknown dtype "F31"`, []model.Tensor{{Name: "y", DType: "F31", Shape: []int{2}, Data: x.Data}}},
		{`tensor "y": shape [-1]`, []model.Tensor{{Name: "y", DType: "F32", Shape: []int{-1}, Data: x.Data}}},
		{`two tensors are called "__metadata__"`, []model.Tensor{{Name: "__metadata__", DType: "F32", Shape: []int{2}, Data: x.Data}}},
	}
	for _, tt := range tests {
		dir := t.TempDir()
		err := WriteSafetensors(filepath.Join(dir, "x.safetensors"), tt.ts, nil)
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("got %v, want %q", err, tt.want)
		}
		if left, _ := os.ReadDir(dir); len(left) > 0 {
			t.Errorf("%s: left %v", tt.want, left)
		}
	}
}

// file is a safetensors file with this header and n bytes of body.
func file(header string, n int) []byte {
	out := binary.LittleEndian.AppendUint64(nil, uint64(len(header)))
	return append(append(out, header...), make([]byte, n)...)
}

func TestBadFiles(t *testing.T) {
	const good = `{"x":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}`
	tests := []struct {
		name string
		data []byte
		want string
	}{
		{"empty", nil, "the file has 0 bytes"},
		{"seven bytes", make([]byte, 7), "the file has 7 bytes"},
		{"no header", file("", 0), "does not begin with {"},
		{"huge header", binary.LittleEndian.AppendUint64(nil, 1<<60), "the header would have 1152921504606846976 bytes, the limit is 100000000"},
		{"negative header", binary.LittleEndian.AppendUint64(nil, math.MaxUint64), "the limit is 100000000"},
		{"header longer than the file", binary.LittleEndian.AppendUint64(nil, 100), "the header would have 100 bytes, the file has 0"},
		{"zip", []byte("PK\x03\x04aaaaaaaaaaaa"), "is this a safetensors file?"},
		{"array", file(`[]`, 0), "does not begin with {"},
		{"leading space", file(` {}`, 0), "does not begin with {"},
		{"not UTF-8", file("{\"\xff\":1}", 0), "is not UTF-8"},
		{"cut header", file(good[:20], 8), "unexpected EOF"},
		{"after the header", file(good+"x", 8), "more after its closing }"},
		{"two objects", file(good+"{}", 8), "more after its closing }"},
		{"not an object", file(`{"x":3}`, 0), `tensor "x": want "{", have 3`},
		{"same name twice", file(`{"x":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"x":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}`, 8), `the name "x" occurs twice`},
		{"same name, escaped", file(`{"x":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"\u0078":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}`, 8), `the name "x" occurs twice`},
		{"same field twice", file(`{"x":{"dtype":"F32","dtype":"F32","shape":[2],"data_offsets":[0,8]}}`, 8), `the field "dtype" occurs twice`},
		{"no dtype", file(`{"x":{"shape":[2],"data_offsets":[0,8]}}`, 8), `tensor "x": has no dtype`},
		{"no shape", file(`{"x":{"dtype":"F32","data_offsets":[0,8]}}`, 8), "has no shape"},
		{"no offsets", file(`{"x":{"dtype":"F32","shape":[2]}}`, 8), "has no data_offsets"},
		{"unknown field", file(`{"x":{"dtype":"F32","shape":[2],"data_offsets":[0,8],"strides":[1]}}`, 8), `unknown field "strides"`},
		{"unknown dtype", file(`{"x":{"dtype":"F12","shape":[2],"data_offsets":[0,8]}}`, 8), `unknown dtype "F12"`},
		{"dtype is a number", file(`{"x":{"dtype":4,"shape":[2],"data_offsets":[0,8]}}`, 8), "dtype: want a string, have 4"},
		{"negative shape", file(`{"x":{"dtype":"F32","shape":[-2],"data_offsets":[0,8]}}`, 8), "shape: want a whole number from 0 to 2^63-1, have -2"},
		{"fraction", file(`{"x":{"dtype":"F32","shape":[2.0],"data_offsets":[0,8]}}`, 8), "have 2.0"},
		{"exponent", file(`{"x":{"dtype":"F32","shape":[2e0],"data_offsets":[0,8]}}`, 8), "have 2e0"},
		{"huge shape", file(`{"x":{"dtype":"F32","shape":[18446744073709551616],"data_offsets":[0,8]}}`, 8), "have 18446744073709551616"},
		{"shape overflows to the right size", file(`{"x":{"dtype":"F32","shape":[4611686018427387905,4],"data_offsets":[0,16]}}`, 16), "more bytes than can be counted"},
		{"shape is text", file(`{"x":{"dtype":"F32","shape":["2"],"data_offsets":[0,8]}}`, 8), `want a whole number, have "2"`},
		{"nested shape", file(`{"x":{"dtype":"F32","shape":[[2]],"data_offsets":[0,8]}}`, 8), "want a whole number, have ["},
		{"too many dimensions", file(`{"x":{"dtype":"F32","shape":[1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1],"data_offsets":[0,4]}}`, 4), "has more than 16 numbers"},
		{"wrong size", file(`{"x":{"dtype":"F32","shape":[3],"data_offsets":[0,8]}}`, 8), "hold 8 bytes, shape [3] of F32 needs 12"},
		{"end before begin", file(`{"x":{"dtype":"F32","shape":[2],"data_offsets":[8,0]}}`, 8), "[8 0] are not a begin and an end"},
		{"one offset", file(`{"x":{"dtype":"F32","shape":[2],"data_offsets":[8]}}`, 8), "[8] are not a begin and an end"},
		{"three offsets", file(`{"x":{"dtype":"F32","shape":[2],"data_offsets":[0,8,8]}}`, 8), "has more than 2 numbers"},
		{"overlap", file(`{"x":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"y":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}`, 8), `tensors "x" and "y" overlap: one ends at 8, the other begins at 4`},
		{"hole at the start", file(`{"x":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}`, 8), `a hole of 4 bytes lies between the header and tensor "x"`},
		{"hole", file(`{"y":{"dtype":"U8","shape":[1],"data_offsets":[7,8]},"x":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}`, 8), `a hole of 3 bytes lies between x and tensor "y"`},
		{"cut body", file(good, 7), "the tensors take 8 bytes, the file has 7"},
		{"long body", file(good, 9), "1 bytes follow the last tensor"},
		{"far offsets", file(`{"x":{"dtype":"U8","shape":[4611686018427387904],"data_offsets":[0,4611686018427387904]}}`, 8), "the tensors take 4611686018427387904 bytes, the file has 8"},
		{"metadata is text", file(`{"__metadata__":"pt"}`, 0), `want "{", have "pt"`},
		{"metadata with a number", file(`{"__metadata__":{"n":1}}`, 0), "__metadata__: want a string, have 1"},
		{"metadata twice", file(`{"__metadata__":{"n":"1","n":"2"}}`, 0), `the key "n" occurs twice`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "bad.safetensors")
			if err := os.WriteFile(path, tt.data, 0o644); err != nil {
				t.Fatal(err)
			}
			_, err := OpenSafetensors(path)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Fatalf("got %v, want %q", err, tt.want)
			}
			if !strings.HasPrefix(err.Error(), "weights: "+path+": ") {
				t.Errorf("%q does not begin with the file", err)
			}
		})
	}
	if _, err := parse("good", file(good+"   ", 8)); err != nil {
		t.Error("a header that ends in spaces:", err)
	}
	if _, err := OpenSafetensors(t.TempDir()); err == nil || !strings.Contains(err.Error(), "not a regular file") {
		t.Error("a folder:", err)
	}
}

func TestToF32Refuses(t *testing.T) {
	err := ToF32(make([]float32, 1), model.Tensor{Name: "n", DType: "I64", Data: make([]byte, 8)})
	if err == nil || !strings.Contains(err.Error(), `tensor "n" is I64`) {
		t.Error(err)
	}
	err = ToF32(make([]float32, 3), model.Tensor{Name: "n", DType: "F16", Data: make([]byte, 8)})
	if err == nil || !strings.Contains(err.Error(), "has 8 bytes of F16 for 3 numbers") {
		t.Error(err)
	}
}

func FuzzParse(f *testing.F) {
	ts, meta := small()
	path := filepath.Join(f.TempDir(), "x")
	if err := WriteSafetensors(path, ts, meta); err != nil {
		f.Fatal(err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Add(file(`{"x":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}`, 8))
	f.Fuzz(func(t *testing.T, data []byte) {
		st, err := parse("fuzz", data)
		if err != nil {
			return
		}
		// What is accepted covers the body once, and is written back with the same content.
		at := 0
		for _, x := range st.tensors {
			at += len(x.Data)
			if uint64(len(x.Data)) != uint64(x.NumElements())*dtypeSize[x.DType] {
				t.Fatalf("%v has %d bytes", x.Shape, len(x.Data))
			}
		}
		if n := 8 + int(binary.LittleEndian.Uint64(data)) + at; n != len(data) {
			t.Fatalf("tensors end at %d of %d", n, len(data))
		}
		var sources []source
		for _, x := range st.tensors {
			sources = append(sources, source{x.Name, x.DType, x.Shape, uint64(len(x.Data)), nil})
		}
		head, err := makeHeader(sources, st.metadata)
		if err != nil {
			t.Fatal(err)
		}
		again, err := parse("again", slices.Concat(head, data[len(data)-at:]))
		if err != nil {
			t.Fatal(err)
		}
		if fmt.Sprint(again.tensors, again.metadata) != fmt.Sprint(st.tensors, st.metadata) {
			t.Fatalf("%v is written back as %v", st.tensors, again.tensors)
		}
	})
}
