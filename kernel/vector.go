package kernel

// Dot returns the sum of x[i]*y[i], in float32, in 64 interleaved sums that are then added as a tree.
func Dot(x, y []float32) float32 {
	check(len(x) == len(y), "Dot: lengths differ")
	return active.dot(x, y)
}

// Axpy adds a*x to dst.
func Axpy(dst []float32, a float32, x []float32) {
	check(len(dst) == len(x), "Axpy: lengths differ")
	active.axpy(dst, a, x)
}

// Add adds x to dst.
func Add(dst, x []float32) {
	check(len(dst) == len(x), "Add: lengths differ")
	active.add(dst, x)
}

// Scale multiplies dst by a.
func Scale(dst []float32, a float32) { active.scale(dst, a) }

// SumSquares returns the sum of x[i]*x[i]. Products and sums are float64, so all levels give the same value.
func SumSquares(p *Pool, x []float32) float64 {
	n := numSpans(len(x))
	if n <= 1 {
		return active.sumSquares(x)
	}
	j := newJob(func(j *job, i int) {
		x := j.f[0]
		j.sums[i] = active.sumSquares(x[i*span : min((i+1)*span, len(x))])
	})
	j.f[0] = x
	if cap(j.sums) < n {
		j.sums = make([]float64, n)
	}
	j.sums = j.sums[:n]
	p.Run(n, j.run)
	sum := 0.0
	for _, s := range j.sums {
		sum += s
	}
	j.free()
	return sum
}
