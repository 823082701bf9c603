package kernel

import "math"

// RopeTable fills the cosines and sines of the angles position * theta^(-2i/d), computed in float64.
//
//	cos, sin (positions, d/2)
//
// Su et al. 2021, https://arxiv.org/abs/2104.09864.
func RopeTable(cos, sin []float32, positions, d int, theta float64) {
	h := d / 2
	check(d%2 == 0 && len(cos) >= positions*h && len(sin) >= positions*h, "RopeTable: odd d or a slice is too short")
	for i := range h {
		f := math.Pow(theta, -2*float64(i)/float64(d))
		for t := range positions {
			s, c := math.Sincos(float64(t) * f)
			cos[t*h+i], sin[t*h+i] = float32(c), float32(s)
		}
	}
}

// Rope turns the pairs (x[i], x[i+d/2]) of each head by the angle of its row's position, in place; this pairing of
// halves is Hugging Face's. Row r starts at x[r*stride] and its heads lie side by side. inverse turns back, which is
// the gradient.
//
//	x (rows, stride >= heads*d)   pos (rows)   cos, sin (positions, d/2)
func Rope(p *Pool, x []float32, pos []int32, cos, sin []float32, rows, heads, d, stride int, inverse bool) {
	if rows == 0 {
		return
	}
	check(d%2 == 0 && stride >= heads*d && len(x) >= (rows-1)*stride+heads*d && len(pos) >= rows,
		"Rope: odd d, or a slice or the stride is too short")
	j := newJob(func(j *job, i int) {
		rows, heads, d, stride, per := j.n[0], j.n[1], j.n[2], j.n[3], j.n[4]
		h := d / 2
		for r := i * per; r < min((i+1)*per, rows); r++ {
			at := int(j.ids[r]) * h
			cos, sin := j.f[1][at:at+h], j.f[2][at:at+h]
			for k := range heads {
				x := j.f[0][r*stride+k*d:][:d]
				active.rotate(x[:h], x[h:], cos, sin, j.s[0])
			}
		}
	})
	per := rowsPerTask(heads * d)
	j.f[0], j.f[1], j.f[2], j.ids = x, cos, sin, pos
	j.n[0], j.n[1], j.n[2], j.n[3], j.n[4] = rows, heads, d, stride, per
	j.s[0] = 1
	if inverse {
		j.s[0] = -1
	}
	p.Run((rows+per-1)/per, j.run)
	j.free()
}
