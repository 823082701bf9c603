// Package kernel does the arithmetic of a decoder on flat float32 slices: matrix products, norms, rotary positions,
// SwiGLU, softmax, cross entropy and AdamW.
//
// All matrices are row-major. The destination comes first. Functions whose name ends in Backward add to gradients.
// A *Pool says how many threads may help; nil means this goroutine alone. Slices that are too short are broken
// promises and panic.
//
// # Order
//
// The number of threads never changes a result: every sum has an order that its length alone decides. A row of a
// product is the same, bit for bit, alone and within a larger matrix.
//
// # Levels
//
// Each routine exists as plain Go ("portable", the truth that the others are tested against) and, on amd64, as
// assembly for AVX2 with FMA ("avx2") and for AVX-512 ("avx512"). The best one is chosen at start-up; the variable
// RAVN_CPU asks for a lower one, and the build tag noasm leaves the assembly out. The two assembly levels sum in the
// same order with the same fused operations and agree bit for bit; the portable level rounds after each product, so
// it differs from them in the last bits, and is the same on every architecture.
//
// # bfloat16
//
// MatMulBF16 takes operands (Half) in float32, which it rounds on the way, or in bfloat16 as files have them, and sums
// in float32. Products of bfloat16 are exact, so all levels agree bit for bit. With AVX512_BF16 the level avx512 takes
// two of them at a time; elsewhere the rounded operands go through the tiles for float32.
//
// # Shapes
//
// B batch, T time, C width, V vocabulary, D head width; M, N, K of a matrix product.
package kernel

// check panics when a promise about arguments is broken.
func check(ok bool, what string) {
	if !ok {
		panic("kernel: " + what)
	}
}
