package kernel

import "math"

// RMSNorm writes x / rms(x) * w to out, row by row, and 1/rms(x) to rstd for the way back; rstd may be nil.
// rms(x) is the square root of mean(x*x) + eps.
//
//	out, x (rows, c)   w (c)   rstd (rows)
//
// Zhang & Sennrich 2019, https://arxiv.org/abs/1910.07467.
func RMSNorm(p *Pool, out, rstd, x, w []float32, rows, c int, eps float32) {
	check(len(out) >= rows*c && len(x) >= rows*c && len(w) >= c && (rstd == nil || len(rstd) >= rows),
		"RMSNorm: a slice is too short")
	j := newJob(func(j *job, i int) {
		out, rstd, x, w := j.f[0], j.f[1], j.f[2], j.f[3]
		rows, c, per := j.n[0], j.n[1], j.n[2]
		for r := i * per; r < min((i+1)*per, rows); r++ {
			row := x[r*c : (r+1)*c]
			s := float32(1 / math.Sqrt(float64(active.dot(row, row))/float64(c)+float64(j.s[0])))
			active.mulScale(out[r*c:(r+1)*c], row, w[:c], s)
			if rstd != nil {
				rstd[r] = s
			}
		}
	})
	per := rowsPerTask(c)
	j.f[0], j.f[1], j.f[2], j.f[3] = out, rstd, x, w
	j.n[0], j.n[1], j.n[2], j.s[0] = rows, c, per, eps
	p.Run((rows+per-1)/per, j.run)
	j.free()
}

// normRows is the number of rows whose share of dw is summed by one task; fixed, so that threads do not matter.
const normRows = 32

// RMSNormBackward adds the gradients of RMSNorm to dx and dw, given dout and what the way forth wrote to rstd.
//
//	dx, dout, x (rows, c)   dw, w (c)   rstd (rows)
func RMSNormBackward(p *Pool, dx, dw, dout, x, w, rstd []float32, rows, c int) {
	check(len(dx) >= rows*c && len(dout) >= rows*c && len(x) >= rows*c && len(w) >= c && len(dw) >= c && len(rstd) >= rows,
		"RMSNormBackward: a slice is too short")
	n := (rows + normRows - 1) / normRows
	j := newJob(func(j *job, i int) {
		dx, dout, x, w, rstd := j.f[0], j.f[2], j.f[3], j.f[4], j.f[5]
		rows, c := j.n[0], j.n[1]
		dw := j.rows[i*c : (i+1)*c]
		clear(dw)
		for r := i * normRows; r < min((i+1)*normRows, rows); r++ {
			d, row, s := dout[r*c:(r+1)*c], x[r*c:(r+1)*c], rstd[r]
			// d(x s w)/dx with s = rstd: s (d w - x s^2 mean(d w x)).
			a := float32(float64(s) * float64(s) * float64(s) * float64(active.dot3(d, w[:c], row)) / float64(c))
			active.normBack(dx[r*c:(r+1)*c], dw, d, row, w[:c], s, a)
		}
	})
	if cap(j.rows) < n*c {
		j.rows = make([]float32, n*c)
	}
	j.rows = j.rows[:n*c]
	j.f[0], j.f[2], j.f[3], j.f[4], j.f[5] = dx, dout, x, w, rstd
	j.n[0], j.n[1] = rows, c
	p.Run(n, j.run)
	for i := range n {
		active.add(dw[:c], j.rows[i*c:(i+1)*c])
	}
	j.free()
}
