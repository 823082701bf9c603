package kernel

// matMulGeneric is the definition of MatMul, element by element.
func matMulGeneric(c []float32, ldc int, a, b Mat, m, n, k int, add bool) {
	step := kBlock(k)
	for i := range m {
		for j := range n {
			sum := float32(0)
			if add {
				sum = c[i*ldc+j]
			}
			for k0 := 0; k0 < k; k0 += step {
				s := float32(0)
				for l := k0; l < min(k0+step, k); l++ {
					s += float32(a.Data[a.at(i, l)] * b.Data[b.at(l, j)])
				}
				sum += s
			}
			c[i*ldc+j] = sum
		}
	}
}
