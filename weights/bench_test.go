package weights

import (
	"path/filepath"
	"testing"

	"ravn/model"
)

// BenchmarkToF32 is one thread of Folder.Float32; the rate counts the bytes written.
func BenchmarkToF32(b *testing.B) {
	const n = 1 << 22
	dst := make([]float32, n)
	for _, d := range []model.DType{model.F32, model.BF16, model.F16} {
		t := model.Tensor{DType: d, Data: make([]byte, n*d.Size())}
		b.Run(string(d), func(b *testing.B) {
			b.SetBytes(n * 4)
			for b.Loop() {
				if err := ToF32(dst, t); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkFromF32 is the rounding on the way to disk; the rate counts the bytes read.
func BenchmarkFromF32(b *testing.B) {
	const n = 1 << 22
	src := make([]float32, n)
	for i := range src {
		src[i] = float32(i%4001-2000) * 1e-4
	}
	for _, d := range []model.DType{model.F32, model.BF16, model.F16} {
		dst := make([]byte, n*d.Size())
		b.Run(string(d), func(b *testing.B) {
			b.SetBytes(n * 4)
			for b.Loop() {
				FromF32(dst, src, d)
			}
		})
	}
}

// BenchmarkSaveFolder writes 12 million parameters as BF16, with the syncs of the disk.
func BenchmarkSaveFolder(b *testing.B) {
	c := tiny()
	c.VocabSize, c.HiddenSize, c.IntermediateSize, c.NumHiddenLayers = 8000, 256, 1024, 6
	w := model.Init(c, 1)
	dir := filepath.Join(b.TempDir(), "m")
	b.SetBytes(int64(len(w.Params)) * 2)
	for b.Loop() {
		if err := SaveFolder(dir, w, SaveOptions{DType: model.BF16}); err != nil {
			b.Fatal(err)
		}
	}
}
