package weights

import (
	"encoding/binary"
	"encoding/hex"
	"math"
	"math/rand/v2"
	"testing"

	"ravn/model"
)

// The bytes and numbers that the reference implementation of GGUF in Python (Debian's python3-gguf of llama.cpp 0.7.0) makes
// of the same input.
func TestBlocksAgainstReference(t *testing.T) {
	x := make([]float32, 64)
	for i := range x {
		x[i] = float32(i*37%101-50) / 64
		if i >= 32 {
			x[i] *= -0.3
		}
	}
	for d, want := range map[model.DType]string{
		model.Q8_0: "4d1e81df3d9af856b41270cd2b89e745a2005ebb1977d53390ee4caa0866c3217fdc6817c46a0aaa50f09136d77c1dbd6203a349e9892fcf7515b55bfb9b41e18127c76d",
		model.Q4_0: "402ee046acf258bd1379df358be046acf2685a27740fb953fd9731eb852fca640ea842fd",
	} {
		got := make([]byte, d.RowBytes(64))
		FromF32(got, x, d)
		if hex.EncodeToString(got) != want {
			t.Errorf("%s: %x, want %s", d, got, want)
		}
	}
	places := []int{0, 1, 31, 32, 63, 64, 100, 129, 200, 255}
	for d, c := range map[model.DType]struct {
		seed uint32
		want []float32
		sum  float64
	}{
		model.Q4_K: {1, []float32{-9.864715576171875, -7.970733642578125, -8.511871337890625, -27, -23.371917724609375, -26.3184814453125, -6.7926025390625, -9.433837890625, -15.7684326171875, -23.265045166015625}, -4412.03515625},
		model.Q6_K: {2, []float32{-34.0916748046875, -20.698516845703125, -7.05938720703125, -5.9033203125, 20.29266357421875, 37.486083984375, 10.958038330078125, -7.45294189453125, 7.87109375, -11.43768310546875}, 465.9564514160156},
	} {
		_, size := d.Block()
		b := make([]byte, size)
		for i, s := 0, c.seed; i < size; i++ {
			s = (s*1103515245 + 12345) & 0x7fffffff
			b[i] = byte(s >> 16)
		}
		scale := b
		if d == model.Q6_K {
			scale = b[208:]
		} else {
			binary.LittleEndian.PutUint16(b[2:], toF16(0.5))
		}
		binary.LittleEndian.PutUint16(scale, toF16(0.0123))
		y := make([]float32, 256)
		if err := ToF32(y, model.Tensor{DType: d, Data: b}); err != nil {
			t.Fatal(err)
		}
		var sum float64
		for _, v := range y {
			sum += float64(v)
		}
		for i, at := range places {
			if y[at] != c.want[i] {
				t.Errorf("%s: number %d is %v, want %v", d, at, y[at], c.want[i])
			}
		}
		if sum != c.sum {
			t.Errorf("%s: the sum is %v, want %v", d, sum, c.sum)
		}
	}
}

// A number is at most half a step away from what is read back, and the last eighth of a step at the upper end of Q4_0,
// which has no +8; a block of zeros and one of tiny numbers stay zeros.
func TestBlocksRound(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	for range 200 {
		x := make([]float32, 32)
		var largest float64
		for i := range x {
			x[i] = float32(rng.NormFloat64())
			largest = max(largest, math.Abs(float64(x[i])))
		}
		for d, bound := range map[model.DType]float64{
			model.Q8_0: largest / 127 * (0.5 + 127.0/2048), // half a step, and the scale rounded to 11 bits
			model.Q4_0: largest / 8 * (1 + 8.0/2048),       // a whole step where +8 is wanted
		} {
			b, y := make([]byte, d.RowBytes(32)), make([]float32, 32)
			FromF32(b, x, d)
			if err := ToF32(y, model.Tensor{DType: d, Data: b}); err != nil {
				t.Fatal(err)
			}
			for i := range x {
				if diff := math.Abs(float64(x[i] - y[i])); diff > bound {
					t.Fatalf("%s: %v is read back as %v, %g away, at most %g", d, x[i], y[i], diff, bound)
				}
			}
		}
	}
	for name, v := range map[string]float32{"zeros": 0, "subnormal numbers": 1e-44} {
		x, y := make([]float32, 32), make([]float32, 32)
		for i := range x {
			x[i] = v
		}
		for _, d := range []model.DType{model.Q8_0, model.Q4_0} {
			b := make([]byte, d.RowBytes(32))
			FromF32(b, x, d)
			if err := ToF32(y, model.Tensor{DType: d, Data: b}); err != nil {
				t.Fatal(err)
			}
			for i := range y {
				if y[i] != 0 {
					t.Errorf("%s of %s: number %d is read back as %g", d, name, i, y[i])
				}
			}
		}
	}
}

func BenchmarkQuantize(b *testing.B) {
	x := make([]float32, 1<<16)
	for i := range x {
		x[i] = float32(i%77) - 38
	}
	for _, d := range []model.DType{model.Q8_0, model.Q4_0} {
		out := make([]byte, d.RowBytes(len(x)))
		b.Run(string(d), func(b *testing.B) {
			b.SetBytes(int64(4 * len(x)))
			for range b.N {
				FromF32(out, x, d)
			}
		})
		b.Run(string(d)+"/read", func(b *testing.B) {
			b.SetBytes(int64(4 * len(x)))
			for range b.N {
				if err := ToF32(x, model.Tensor{DType: d, Data: out}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
