package cpu

// hugeBytes is the size of a huge page on amd64 and, as a rule, on arm64.
const hugeBytes = 2 << 20

// floats makes n zeros in huge pages, where the system gives them on request: passes over weights and moments, and the
// packing of columns, otherwise wait for the translation of addresses.
func floats(n int) []float32 {
	x := make([]float32, n)
	hugePages(x)
	return x
}
