package kernel

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

var formatNames = [numFormats]string{"F32", "F16", "BF16", "Q8_0", "Q4_0"}

// stored makes a weight of random numbers at an odd place in memory, and the numbers that its bytes stand for, worked
// out from the description of the formats.
func stored(f Format, seed uint64, out, in int) (*Weight, []float64) {
	r := rand.New(rand.NewPCG(seed, 7))
	data := make([]byte, out*f.RowBytes(in)+1)[1:]
	values := make([]float64, 0, out*in)
	scale := func(b []byte) float64 { // halves with exponents around 2^-6, of both signs
		h := uint16(r.UintN(1024)) | uint16(7+r.UintN(4))<<10 | uint16(r.UintN(2))<<15
		binary.LittleEndian.PutUint16(b, h)
		return math.Ldexp(float64(1024+h&1023), int(h>>10&31)-25) * (1 - 2*float64(h>>15))
	}
	for at := 0; at < len(data); {
		b := data[at:]
		switch f {
		case FormatF32:
			x := float32(r.NormFloat64())
			binary.LittleEndian.PutUint32(b, math.Float32bits(x))
			values = append(values, float64(x))
			at += 4
		case FormatBF16:
			bits := math.Float32bits(float32(r.NormFloat64())) >> 16
			binary.LittleEndian.PutUint16(b, uint16(bits))
			values = append(values, float64(math.Float32frombits(bits<<16)))
			at += 2
		case FormatF16:
			values = append(values, scale(b))
			at += 2
		case FormatQ8:
			d := scale(b)
			for i := range 32 {
				b[2+i] = byte(r.UintN(256))
				values = append(values, d*float64(int8(b[2+i])))
			}
			at += 34
		case FormatQ4:
			d := scale(b)
			for i := range 16 {
				b[2+i] = byte(r.UintN(256))
				values = append(values, d*float64(int(b[2+i]&15)-8))
			}
			for i := range 16 {
				values = append(values, d*float64(int(b[2+i]>>4)-8))
			}
			at += 18
		}
	}
	return &Weight{Format: f, Data: data, Out: out, In: in}, values
}

// asRead is activations as the products read them: rounded to 8 bits of fraction for BF16, to whole multiples of a
// 127th of the largest in a block of 32 for blocks.
func asRead(f Format, x []float32) []float64 {
	out := make([]float64, len(x))
	for i, v := range x {
		out[i] = float64(v)
		if f == FormatBF16 && v != 0 {
			_, exp := math.Frexp(float64(v))
			unit := math.Ldexp(1, exp-8)
			out[i] = math.RoundToEven(float64(v)/unit) * unit
		}
	}
	if f.blocks() {
		for at := 0; at < len(x); at += 32 {
			var most float32
			for _, v := range x[at : at+32] {
				most = max(most, float32(math.Abs(float64(v))))
			}
			if most > 0 {
				for i, v := range x[at : at+32] {
					out[at+i] = math.RoundToEven(float64(v*(127/most))) * float64(most/127)
				}
			}
		}
	}
	return out
}

// multiplied is x·wᵀ (n, out) as Multiply has it.
func multiplied(p *Pool, w *Weight, x []float32, n int) []float32 {
	var in Input
	in.Set(p, w.Format, x, n, w.In)
	c := make([]float32, n*w.Out)
	Multiply(p, &in, Product{W: w, C: c, Stride: w.Out})
	return c
}

// checkMultiply compares with sums in float64 of the same rounded factors.
func checkMultiply(t *testing.T, f Format, seed uint64, n, out, in int) {
	t.Helper()
	w, values := stored(f, seed, out, in)
	x := random(seed, n*in)
	got := multiplied(nil, w, x, n)
	a := asRead(f, x)
	for r := range n {
		for o := range out {
			var want, size float64
			for i := range in {
				v := a[r*in+i] * values[o*in+i]
				want += v
				size += math.Abs(v)
			}
			// A running sum of `in` terms: each addition rounds by at most 2^-24 of what was summed so far, and a few
			// factors, scales and products are rounded themselves.
			tol := float64(in+4) * 0x1p-24 * size
			if d := math.Abs(float64(got[r*out+o]) - want); !(d <= tol) {
				t.Fatalf("%s, %d rows, %d×%d: element %d,%d is %v, want %v ± %v", formatNames[f], n, out, in, r, o, got[r*out+o], want, tol)
			}
		}
	}
}

func TestMultiplyAgainstFloat64(t *testing.T) {
	eachLevel(t, func(t *testing.T) {
		for f := range numFormats {
			for in := 1; in <= 300; in++ {
				if f.blocks() && in%quantBlock != 0 {
					continue
				}
				checkMultiply(t, f, uint64(in), 1+in%8, 1+in*7%70, in)
			}
			for out := 1; out <= 140; out += 3 {
				checkMultiply(t, f, uint64(out), 2, out, 64)
			}
			checkMultiply(t, f, 1, 13, 65, 1088)
		}
	})
}

// TestPackAgainstPlain compares the panels of the assembly with those of the plain routine, byte by byte.
func TestPackAgainstPlain(t *testing.T) {
	for _, l := range levels[1:] {
		for f := range numFormats {
			kit := &l.rows[f]
			for units := 0; units <= 300/kit.unit+1; units++ {
				k := units*kit.unit + kit.unit // a unit more than is packed
				w, _ := stored(f, uint64(units+3), kit.lanes, k)
				if f == FormatF16 && units > 0 { // halves of every kind
					for i := range len(w.Data) / 2 {
						binary.LittleEndian.PutUint16(w.Data[2*i:], uint16(i*40503))
					}
				}
				width := kit.lanes * kit.vecs
				var panels [2][]uint32
				for i, pack := range []func(*rowPack){packRowsGeneric, kit.pack} {
					panel, scale := make([]uint32, (units+1)*kit.unit*width), make([]float32, (units+1)*width)
					p := &rowPack{
						src: &w.Data[0], next: &w.Data[0], stride: f.RowBytes(k), units: units, dst: byteOf(&panel[kit.lanes]), dstStride: 4 * width,
						scale: &scale[kit.lanes], unit: kit.unit, lanes: kit.lanes, offset: kit.offset, format: f, words: kit.pairs || f == FormatF32,
						chain: units * 4 * width,
					}
					pack(p)
					for _, s := range scale {
						panel = append(panel, math.Float32bits(s))
					}
					panels[i] = panel
				}
				if !slices.Equal(panels[0], panels[1]) {
					t.Fatalf("%s at %s: panels of %d units differ", formatNames[f], l.name, units)
				}
			}
		}
	}
}

// checkPrepare compares the assembly that cuts activations into blocks with the plain routine.
func checkPrepare(t *testing.T, x []float32) {
	t.Helper()
	for _, l := range levels[1:] {
		n := len(x) / quantBlock
		var q [2][]int8
		var d [2][]float32
		var zero [2][]int32
		for i, quantize := range []func([]int8, []float32, []int32, []float32, int){quantizeGeneric, l.rows[FormatQ8].quantize} {
			q[i], d[i], zero[i] = make([]int8, n*quantBlock), make([]float32, n), make([]int32, n)
			quantize(q[i], d[i], zero[i], x[:n*quantBlock], 128)
			for k, v := range d[i] {
				if v != v {
					d[i][k] = -1
				}
			}
		}
		if !slices.Equal(q[0], q[1]) || !slices.Equal(d[0], d[1]) || !slices.Equal(zero[0], zero[1]) {
			t.Fatalf("%s: blocks of %v differ:\n%v %v %v\n%v %v %v", l.name, x, q[1], d[1], zero[1], q[0], d[0], zero[0])
		}
	}
}

func TestPrepareAgainstPlain(t *testing.T) {
	for n := range 300 {
		x := random(uint64(n), n+1)[1:]
		for i := range x {
			if n%5 == 0 && i%11 == 3 {
				x[i] = math.Float32frombits(uint32(i*n) * 2654435761) // anything
			}
			if n%7 == 0 {
				x[i] *= 0x1p-122
			}
		}
		checkPrepare(t, x)
	}
}

func FuzzPrepare(f *testing.F) {
	f.Add(make([]byte, 256), true)
	f.Fuzz(func(t *testing.T, b []byte, _ bool) {
		x := make([]float32, len(b)/4)
		for i := range x {
			x[i] = math.Float32frombits(binary.LittleEndian.Uint32(b[4*i:]))
		}
		checkPrepare(t, x)
	})
}

func FuzzMultiply(f *testing.F) {
	f.Add(uint64(1), uint8(0), uint8(3), uint8(5), uint16(77))
	f.Add(uint64(2), uint8(4), uint8(1), uint8(130), uint16(640))
	f.Fuzz(func(t *testing.T, seed uint64, format, n, out uint8, in uint16) {
		x := Format(format) % numFormats
		k := 1 + int(in)%1500
		if x.blocks() {
			k = (k + 31) / 32 * 32
		}
		checkMultiply(t, x, seed, 1+int(n)%16, 1+int(out)%150, k)
	})
}

// TestMultiplyRowsStandAlone multiplies rows together, alone, in threads, beside another product and added to what was
// there: each gets the same bits. So do AVX2 and AVX-512 where both sum the same way.
func TestMultiplyRowsStandAlone(t *testing.T) {
	pool := NewPool(3)
	defer pool.Close()
	const n, out, in = 21, 150, 1600
	for f := range numFormats {
		w, _ := stored(f, 5, out, in)
		other, _ := stored(f, 6, 70, in)
		x := random(7, n*in)
		var last []float32
		eachLevel(t, func(t *testing.T) {
			want := multiplied(nil, w, x, n)
			for r := range n {
				same(t, formatNames[f]+" a row alone", multiplied(nil, w, x[r*in:][:in], 1), want[r*out:][:out])
			}
			same(t, formatNames[f]+" five rows", multiplied(nil, w, x[3*in:][:5*in], 5), want[3*out:][:5*out])
			same(t, formatNames[f]+" in threads", multiplied(pool, w, x, n), want)
			var input Input
			input.Set(pool, f, x, n, in)
			c, sum := make([]float32, n*(out+70)), slices.Repeat([]float32{3}, n*out)
			Multiply(pool, &input, Product{W: other, C: c[out:], Stride: out + 70}, Product{W: w, C: c, Stride: out + 70},
				Product{W: w, C: sum, Stride: out, Add: true})
			for r := range n {
				same(t, formatNames[f]+" beside another", c[r*(out+70):][:out], want[r*out:][:out])
				for o, v := range want[r*out:][:out] {
					if sum[r*out+o] != 3+v {
						t.Fatalf("%s: added %v to 3, got %v", formatNames[f], v, sum[r*out+o])
					}
				}
			}
			// BF16's products are exact in float32 too, but VDPBF16PS makes sixteen sums of them.
			if f == FormatBF16 && !active.rows[f].pairs || f != FormatBF16 && active != levels[0] {
				if last != nil {
					same(t, formatNames[f]+" of both levels", want, last)
				}
				last = want
			}
		})
	}
}

// TestPairsHaveSixteenSums compares the bits of products with BF16 with their description, worked out in float32: over
// lengths around a unit and around a stretch of 2048.
func TestPairsHaveSixteenSums(t *testing.T) {
	eachLevel(t, func(t *testing.T) {
		if !active.rows[FormatBF16].pairs {
			t.Skip("this level has one running sum")
		}
		const out, n = 35, 7
		for _, in := range []int{1, 2, 3, 31, 32, 33, 63, 64, 97, 300, 2047, 2048, 2050, 4099} {
			w, values := stored(FormatBF16, uint64(in), out, in)
			x := random(8, n*in)
			a := asRead(FormatBF16, x)
			for _, rows := range []int{1, 4, n} {
				got := multiplied(nil, w, x[:rows*in], rows)
				for e, v := range got {
					r, o := e/out, e%out
					want := float32(0)
					for from := 0; from < in; from += 2048 {
						to := min(in, from+2048)
						for l := range 16 {
							sum := float32(0)
							for i := from + 2*l; i < to; i += 32 {
								if i+1 < to { // the second of a pair first
									sum += float32(a[r*in+i+1] * values[o*in+i+1])
								}
								sum += float32(a[r*in+i] * values[o*in+i])
							}
							want += sum
						}
					}
					if v != want {
						t.Fatalf("%d elements, %d rows: element %d,%d is %v, want exactly %v", in, rows, r, o, v, want)
					}
				}
			}
		}
	})
}

// TestFewRowsAreThoseOfMany compares the bits of products with few rows, which need no panels, with those of the same
// rows among many, which do: over lengths, edges of the weight and cuts of the input.
func TestFewRowsAreThoseOfMany(t *testing.T) {
	eachLevel(t, func(t *testing.T) {
		const many = 17
		for f := range numFormats {
			for in := 1; in <= 300; in++ {
				k, out := in, []int{1, 15, 16, 33, 64, 70}[in%6]
				if f.blocks() {
					if in%8 != 0 {
						continue
					}
					k *= 4
				}
				w, _ := stored(f, uint64(in), out, k)
				x := random(uint64(in), many*k)
				want := multiplied(nil, w, x, many)
				for n := 1 + in%2; n <= 8; n += 2 {
					at := in % (many - n)
					same(t, fmt.Sprintf("%s, %d rows, %d×%d", formatNames[f], n, out, k), multiplied(nil, w, x[at*k:][:n*k], n), want[at*out:][:n*out])
				}
			}
		}
	})
}

func TestMultiplyRefuses(t *testing.T) {
	w, _ := stored(FormatQ8, 1, 4, 64)
	for name, f := range map[string]func(in *Input){
		"blocks":      func(in *Input) { in.Set(nil, FormatQ4, make([]float32, 40), 1, 40) },
		"short input": func(in *Input) { in.Set(nil, FormatF32, make([]float32, 40), 1, 41) },
		"format": func(in *Input) {
			in.Set(nil, FormatQ4, make([]float32, 64), 1, 64)
			Multiply(nil, in, Product{W: w, C: make([]float32, 4), Stride: 4})
		},
		"width": func(in *Input) {
			in.Set(nil, FormatQ8, make([]float32, 32), 1, 32)
			Multiply(nil, in, Product{W: w, C: make([]float32, 4), Stride: 4})
		},
		"short C": func(in *Input) {
			in.Set(nil, FormatQ8, make([]float32, 128), 2, 64)
			Multiply(nil, in, Product{W: w, C: make([]float32, 7), Stride: 4})
		},
		"short data": func(in *Input) {
			in.Set(nil, FormatQ8, make([]float32, 64), 1, 64)
			Multiply(nil, in, Product{W: &Weight{FormatQ8, w.Data[:100], 4, 64}, C: make([]float32, 4), Stride: 4})
		},
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: no panic", name)
				}
			}()
			f(new(Input))
		}()
	}
}

func TestMultiplyAllocatesNothing(t *testing.T) {
	if raceOn {
		t.Skip("the race detector allocates")
	}
	for f := range numFormats {
		w, _ := stored(f, 1, 200, 512)
		x, c := random(1, 2*512), make([]float32, 2*200)
		var in Input
		if n := testing.AllocsPerRun(20, func() {
			in.Set(nil, f, x, 2, 512)
			Multiply(nil, &in, Product{W: w, C: c, Stride: 200})
		}); n > 0 {
			t.Errorf("%s: %v allocations", formatNames[f], n)
		}
	}
}

// BenchmarkMultiply reads weights of 134M numbers, far more than any cache holds, with one row; and multiplies 256 rows
// with weights of a feed-forward layer.
func BenchmarkMultiply(b *testing.B) {
	for f := range numFormats {
		for _, s := range []struct{ n, out, in int }{{1, 65536, 2048}, {1, 256, 2048}, {4, 65536, 2048}, {256, 5632, 2048}} {
			for _, threads := range []int{1, 2} {
				b.Run(fmt.Sprintf("%s/rows=%d/out=%d/threads=%d", formatNames[f], s.n, s.out, threads), func(b *testing.B) {
					w := &Weight{Format: f, Data: make([]byte, s.out*f.RowBytes(s.in)), Out: s.out, In: s.in}
					for i := range w.Data {
						w.Data[i] = byte(i*7) & 0x3f
					}
					p := NewPool(threads)
					defer p.Close()
					x, c := random(1, s.n*s.in), make([]float32, s.n*s.out)
					var in Input
					for b.Loop() {
						in.Set(p, f, x, s.n, s.in)
						Multiply(p, &in, Product{W: w, C: c, Stride: s.out})
					}
					sec := b.Elapsed().Seconds() / float64(b.N)
					b.ReportMetric(float64(len(w.Data))*1e-9/sec, "GB/s")
					b.ReportMetric(2e-9*float64(s.n)*float64(s.out)*float64(s.in)/sec, "GFLOP/s")
				})
			}
		}
	}
}
